"""The kernel contract: what every backend can do, stated once.

`reference/` and `cpu/` hold the same file names, one a family, so that reading `reference/conv.py` beside
`cpu/conv.py` is the lesson; what a backend does not override it inherits from the reference. A kernel is a verb on
arrays: it knows nothing of networks, checks at most what would make it read beyond an array (the rest the network
around it checks), and leaves its arguments as they are but for `add_to=`, which it accumulates into.

Arrays belong to the backend (`numpy.ndarray`, or `cupy.ndarray` on the GPU), are C-contiguous, and share one dtype,
float32 or float64, in any one call. Images are `(N, H, W, C)`, vectors `(N, F)`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from minigan.backends.geometry import ConvGeometry, IntPair
from minigan.errors import DTypeError, ShapeError

Array = Any  # numpy.ndarray or cupy.ndarray: the two share an interface but no base class
Number = Any  # a Python number, or a float64 array of shape (): what `Backend.numbers` gives
Shape = tuple[int, ...]


def expect(name: str, array: Array, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Refuses an array that a compiled kernel, which checks no bounds, would read beyond or misread.

    Raises:
        ShapeError, DTypeError: it has another shape or dtype.
    """
    if array.shape != shape:
        raise ShapeError(f"{name}: expected shape {shape}, got {array.shape}. Check the layer's sizes.")
    if array.dtype != dtype:
        raise DTypeError(f"{name}: expected dtype {dtype} like the arrays beside it, got {array.dtype}. Convert it.")


class KernelCoverage(NamedTuple):
    """Where a backend's kernel comes from."""

    kernel: str
    origin: Literal["native", "inherited"]


class MemoryUse(NamedTuple):
    """Bytes of a device's memory.

    Attributes:
        used: by arrays that are alive.
        held: by this program: also what it keeps for arrays to come.
        peak: the most that was held whenever somebody asked.
        free, total: on the device.
    """

    used: int
    held: int
    peak: int
    free: int
    total: int


class Guard(Protocol):
    """Whether all numbers were finite until now, known to the device alone: the host need not wait for the answer.

    Attributes:
        sound: bool, of shape (). Once false it stays so, and nothing that training changes is changed any more.
    """

    sound: Array

    def demand(self, *flags: Array) -> None:
        """One more thing that must be so; each of shape ()."""

    def keep(self, array: Array, before: Array) -> None:
        """Goes back to what the array was before, unless all is sound."""


class StepGraphs(Protocol):
    """Training steps that run without the host waiting for them, see `minigan.training.stepper`."""

    def run(self, kind: Hashable, step: Callable[[], Any]) -> Any:
        """One step.

        Args:
            kind: of steps that differ in nothing but what they are fed, so that one may be replayed as another; None
                if no other is like it.
        Returns:
            What the step returned; another step of its kind may overwrite the arrays.
        """

    def look(self) -> int | None:
        """Waits for the steps since the last look.

        Returns:
            The index, among these, of the first in which a number was not finite; None if there is none.
        """

    def again(self, index: int, step: Callable[[], Any]) -> Any:
        """Does the step of that index once more, looking at every number; from there on all are taken for sound."""


class Backend(ABC):
    """One engine's kernels, bound to a network by `build`.

    Two backends can live in one process, so that their results can be compared.
    """

    name: str
    xp: ModuleType  # numpy or cupy
    guard: Guard | None = None  # None: each number is looked at before it does harm

    # ------------------------------------------------------------------------------------------ arrays

    @abstractmethod
    def asarray(self, array: np.ndarray | Array, *, dtype: np.dtype[Any] | None = None) -> Array:
        """A host or backend array as this backend's array; copies only when it must."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray:
        """The array in host memory; copies only when it must."""

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """A new array for a result, its numbers undefined; on memory that no other array uses any more, if possible."""
        return self.xp.empty(shape, dtype=dtype)

    # ------------------------------------------------------------------------------------------ a training step

    def feed(self, draw: Callable[[], Any], *, dtype: np.dtype[Any] | None = None) -> Any:
        """What the host makes anew in each training step, on the backend: a batch, noise, a mask.

        A backend that captures a step calls `draw` again whenever it replays the step, with all others in the order of
        the step. So all that is random or read in `draw` is as it would be without capturing.

        Args:
            draw: gives an array, or a tuple of arrays and None; of the same shapes in each step.
            dtype: of the arrays; None leaves each its own.
        Returns:
            What draw gave, as arrays of the backend. While a step is captured their numbers are undefined.
        """
        drawn = draw()
        if isinstance(drawn, tuple):
            return tuple(None if array is None else self.asarray(array, dtype=dtype) for array in drawn)
        return self.asarray(drawn, dtype=dtype)

    def numbers(self, draw: Callable[[], tuple[float, ...]]) -> tuple[Any, ...]:
        """As `feed`, for numbers that change from step to step, such as a learning rate.

        Returns:
            Python's numbers, or while a step is captured float64 arrays of shape (), which the optimisers' kernels
            take as well.
        """
        return draw()

    def each_step(self, action: Callable[[], None]) -> None:
        """Does what the host has to do in each training step, such as counting it."""
        action()

    def only_if_sound(self, *arrays: Array) -> AbstractContextManager[None]:
        """Around changes of these arrays, which take place only while the guard, if there is one, is sound."""
        return nullcontext()

    def optimising(self, *arrays: Array) -> AbstractContextManager[None]:
        """As `only_if_sound`, around the optimisers' kernels alone, which may look at the guard themselves."""
        return self.only_if_sound(*arrays)

    def step_graphs(self) -> StepGraphs | None:
        """What runs a learner's steps, where the host need not wait for each; else None."""
        return None

    # ------------------------------------------------------------------------------------------ the engine

    def synchronize(self) -> None:  # noqa: B027 (on the CPU a call returns when it is done)
        """Waits until all is computed that was asked for."""

    def free_memory(self) -> None:  # noqa: B027 (most backends keep none)
        """Gives back what is kept for later calls: scratch memory, and that of results that are gone."""

    def memory(self) -> MemoryUse | None:
        """What is used of the device's own memory; None on the CPU."""
        return None

    def compile_ahead(self) -> None:  # noqa: B027 (most backends have nothing to compile)
        """Begins, beside the caller, with what the first training step would have to wait for."""

    def describe(self) -> str:
        """One line that says what runs: the backend's name, library and version, device or threads, precision."""
        return self.name

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    def algorithm(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str | None:
        """The name, for people, of how a convolution of that many images is computed; None where there is only one way.

        Args:
            kernel: "conv2d", "conv2d_input_grad" or "conv2d_weight_grad".
        """
        return None

    def coverage(self) -> list[KernelCoverage]:
        """Each kernel of the contract, and whether this backend has its own or inherits the reference's."""

        def package(cls: type) -> list[str]:
            return cls.__module__.split(".")[:3]  # minigan.backends.cpu

        owners = {kernel: next(c for c in type(self).__mro__ if kernel in vars(c)) for kernel in KERNELS}
        return [
            KernelCoverage(kernel, "native" if package(owner) == package(type(self)) else "inherited")
            for kernel, owner in owners.items()
        ]

    # ------------------------------------------------------------------------------------------ convolution

    @abstractmethod
    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        """Cross-correlation of images with filters, as deep learning calls a convolution.

        y[n,p,q,k] = b[k] + sum_{r,s,c} w[r,s,c,k] * x[n, p*stride+r-top, q*stride+s-left, c], x being 0 outside.

        Args:
            x: (N, H, W, C).
            w: (R, S, C, K).
            b: (K,), or None for no bias.
            geometry: all sizes but N.
        Returns:
            y, (N, P, Q, K).
        Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", 2016, relationship 6.
        """

    @abstractmethod
    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
        """The gradient of `conv2d` with respect to x; also the transposed convolution's forward pass.

        dx[n,i,j,c] = b[c] + sum of w[r,s,c,k] * dy[n,p,q,k] over all p*stride+r-top = i, q*stride+s-left = j.

        Args:
            dy: (N, P, Q, K).
            w: (R, S, C, K), the convolution's own layout.
            geometry: of the convolution.
            b: (C,), added to every pixel: a transposed convolution's bias.
        Returns:
            dx, (N, H, W, C).
        Source: Dumoulin & Visin 2016, section 4, relationship 14.
        """

    @abstractmethod
    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        """The gradient of `conv2d` with respect to w.

        add_to[r,s,c,k] += sum_{n,p,q} x[n, p*stride+r-top, q*stride+s-left, c] * dy[n,p,q,k].

        Args:
            x: (N, H, W, C).
            dy: (N, P, Q, K).
            geometry: of the convolution.
            add_to: (R, S, C, K).
        """

    # ------------------------------------------------------------------------------------------ dense

    @abstractmethod
    def matmul(
        self,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
        add_to: Array | None = None,
    ) -> Array:
        """The matrix product of a (M, L) and b (L, N), either one given transposed.

        Args:
            bias: (N,), added to every row.
            add_to: (M, N), accumulates the product; then it is also what is returned.
        Returns:
            (M, N).
        """

    @abstractmethod
    def batched_matmul(self, a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
        """The matrix product of each of N pairs: a (N, M, L) and b (N, L, K), all of a or of b given transposed.

        Returns:
            (N, M, K).
        """

    @abstractmethod
    def dense_grad(
        self, dy: Array, x: Array, w: Array, *, add_to: tuple[Array, Array | None] | None, need_dx: bool = True
    ) -> Array | None:
        """The gradients of y = x w + b.

        Args:
            dy: (N, K).
            x: (N, F).
            w: (F, K).
            add_to: (dw, db), accumulating x' dy (F, K) and the sum of dy over N (K,); db may be None, for no bias.
                None computes neither.
            need_dx: False computes no dx.
        Returns:
            dx = dy w', (N, F), or None.
        """

    @abstractmethod
    def channel_sum(self, dy: Array, *, add_to: Array) -> None:
        """The gradient of a bias: add_to[k] += the sum of dy (..., K) over all axes but the last."""

    # ------------------------------------------------------------------------------------------ normalisation

    @abstractmethod
    def batchnorm(self, x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
        """Batch normalisation with the batch's own statistics, over all axes but the last.

        y = gamma * (x - mean) / sqrt(var + eps) + beta, with the biased variance.

        Args:
            x: (N, H, W, C) or (N, C).
            gamma, beta: (C,).
        Returns:
            y like x, mean (C,), var (C,).
        Source: Ioffe & Szegedy 2015, algorithm 1; section 3.2 for convolutions.
        """

    @abstractmethod
    def batchnorm_grad(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: tuple[Array, Array] | None,
        need_dx: bool = True,
    ) -> Array | None:
        """The gradient of `batchnorm`, whose mean and variance depend on x.

        With u = (x - mean) / sqrt(var + eps):
        dx = gamma / sqrt(var + eps) * (dy - mean(dy) - u * mean(dy * u)).

        Args:
            add_to: (dgamma, dbeta), each (C,), accumulating sum(dy * u) and sum(dy); None computes none.
            need_dx: False computes no dx.
        Returns:
            dx like x, or None.
        Source: Ioffe & Szegedy 2015, section 3.
        """

    @abstractmethod
    def batchnorm_double_grad(
        self,
        v: Array,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: Array | None,
    ) -> tuple[Array, Array]:
        """The gradient of `batchnorm_grad`'s dx along a cotangent v.

        Args:
            v: like x, the derivative of some P with respect to dx.
            add_to: (C,), accumulates dP/dgamma; None computes none.
        Returns:
            dP/d(dy) and dP/dx, both like x.
        Source: derived in `reference/norm.py`.
        """

    @abstractmethod
    def batchnorm_frozen(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) -> Array:
        """Batch normalisation with given (running) statistics: an affine map of each channel.

        Source: Ioffe & Szegedy 2015, algorithm 2.
        """

    @abstractmethod
    def batchnorm_frozen_grad(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: tuple[Array, Array] | None,
        need_dx: bool = True,
    ) -> Array | None:
        """The gradient of `batchnorm_frozen`: dx = dy * gamma / sqrt(var + eps), the statistics being constants."""

    @abstractmethod
    def group_norm(self, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float) -> tuple[Array, Array, Array]:
        """Normalisation of each example by itself, its channels in groups of neighbours.

        y = gamma * (x - mean) / sqrt(var + eps) + beta, with the mean and the biased variance over all pixels and the
        channels of a group. One group is layer normalisation, C groups are instance normalisation.

        Args:
            x: (N, H, W, C) or (N, C).
            gamma, beta: (C,).
            groups: divides C.
        Returns:
            y like x, mean (N, groups), var (N, groups).
        Source: Wu & He 2018, equations 1, 2, 6 and 7.
        """

    @abstractmethod
    def group_norm_grad(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: tuple[Array, Array] | None,
        need_dx: bool = True,
    ) -> Array | None:
        """The gradient of `group_norm`, whose mean and variance depend on x; the groups are as many as mean has.

        With u = (x - mean) / sqrt(var + eps), g = gamma * dy and means over a group:
        dx = (g - mean(g) - u * mean(g * u)) / sqrt(var + eps).

        Args:
            add_to: (dgamma, dbeta), each (C,), accumulating sum(dy * u) and sum(dy); None computes none.
            need_dx: False computes no dx.
        Returns:
            dx like x, or None.
        """

    @abstractmethod
    def group_norm_double_grad(
        self,
        v: Array,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: Array | None,
    ) -> tuple[Array, Array]:
        """The gradient of `group_norm_grad`'s dx along a cotangent v.

        Args:
            v: like x, the derivative of some P with respect to dx.
            add_to: (C,), accumulates dP/dgamma; None computes none.
        Returns:
            dP/d(dy) and dP/dx, both like x.
        Source: derived in `reference/group_norm.py`.
        """

    # ------------------------------------------------------------------------------------------ two in one

    @abstractmethod
    def conv2d_leaky_relu(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, *, slope: float) -> Array:
        """`conv2d`, then `leaky_relu` of its y; slope 0 is ReLU.

        Returns:
            y (N, P, Q, K), after the activation.
        """

    @abstractmethod
    def dense_leaky_relu(self, x: Array, w: Array, b: Array | None, *, slope: float) -> Array:
        """x w + b, then `leaky_relu` of it; slope 0 is ReLU.

        Args:
            x: (N, F).
            w: (F, K).
            b: (K,), or None for no bias.
        Returns:
            y (N, K), after the activation.
        """

    @abstractmethod
    def dense_leaky_relu_grad(
        self,
        dy: Array,
        x: Array,
        w: Array,
        y: Array,
        *,
        slope: float,
        add_to: tuple[Array, Array | None] | None,
        need_dx: bool = True,
    ) -> Array | None:
        """The gradients of `dense_leaky_relu`: `leaky_relu_grad`, then `dense_grad`."""

    @abstractmethod
    def batchnorm_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, *, eps: float, slope: float
    ) -> tuple[Array, Array, Array]:
        """`batchnorm`, then `leaky_relu` of its y; slope 0 is ReLU.

        Returns:
            y like x, after the activation; mean (C,), var (C,).
        """

    @abstractmethod
    def batchnorm_frozen_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float, slope: float
    ) -> Array:
        """`batchnorm_frozen`, then `leaky_relu` of its y."""

    @abstractmethod
    def batchnorm_leaky_relu_grad(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        slope: float,
        add_to: tuple[Array, Array] | None,
        need_dx: bool = True,
    ) -> Array | None:
        """The gradient of `batchnorm_leaky_relu`: `leaky_relu_grad`, then `batchnorm_grad`.

        The activation's sign is found again from x, so no y is needed; the rest is as in `batchnorm_grad`.
        """

    # ------------------------------------------------------------------------------------------ activations

    @abstractmethod
    def leaky_relu(self, x: Array, *, slope: float) -> Array:
        """y = x where x > 0, slope * x elsewhere. Source: Maas, Hannun & Ng 2013, section 2."""

    @abstractmethod
    def leaky_relu_grad(self, dy: Array, y: Array, *, slope: float) -> Array:
        """dx = dy where y > 0, slope * dy elsewhere: the output's sign is the input's, as slope >= 0."""

    @abstractmethod
    def tanh(self, x: Array) -> Array:
        """The hyperbolic tangent."""

    @abstractmethod
    def tanh_grad(self, dy: Array, y: Array) -> Array:
        """dx = dy * (1 - y^2), with y = tanh(x)."""

    @abstractmethod
    def sigmoid(self, x: Array) -> Array:
        """y = 1 / (1 + exp(-x)), without overflow for any finite x."""

    @abstractmethod
    def sigmoid_grad(self, dy: Array, y: Array) -> Array:
        """dx = dy * y * (1 - y), with y = sigmoid(x)."""

    @abstractmethod
    def maxout(self, x: Array, *, pieces: int) -> Array:
        """The largest of each group: y[...,k] = max_p x[...,p*K+k] with K = channels / pieces; NaN if one is.

        Args:
            x: (..., pieces * K).
        Returns:
            y, (..., K).
        Source: Goodfellow et al. 2013 ("Maxout Networks"), section 3.
        """

    @abstractmethod
    def maxout_grad(self, dy: Array, x: Array, y: Array, *, pieces: int) -> Array:
        """dx[...,p*K+k] = dy[...,k] for the first p whose x[...,p*K+k] reaches y[...,k]; 0 for the others.

        Args:
            dy: (..., K).
            x: (..., pieces * K).
            y: maxout(x), (..., K).
        """

    # ------------------------------------------------------------------------------------------ shape, noise

    @abstractmethod
    def upsample_nearest(self, x: Array, *, factor: IntPair) -> Array:
        """Each pixel of x (N, H, W, C) repeated: (N, H * factor[0], W * factor[1], C)."""

    @abstractmethod
    def upsample_nearest_grad(self, dy: Array, *, factor: IntPair) -> Array:
        """The gradient of `upsample_nearest`: the sum over each factor[0] x factor[1] block."""

    @abstractmethod
    def depth_to_space(self, x: Array, *, factor: IntPair) -> Array:
        """Channels become pixels, with factor (a, b): (N, H, W, a * b * C) becomes (N, H * a, W * b, C).

        y[n, i * a + r, j * b + s, c] = x[n, i, j, (r * b + s) * C + c].
        Source: Shi et al. 2016, equation 4.
        """

    @abstractmethod
    def space_to_depth(self, y: Array, *, factor: IntPair) -> Array:
        """The inverse of `depth_to_space`, and its gradient."""

    @abstractmethod
    def dropout_mask(self, rng: np.random.Generator, shape: Shape, *, rate: float, dtype: np.dtype[Any]) -> Array:
        """A mask of 0 with probability `rate` and 1 / (1 - rate) elsewhere ("inverted" dropout).

        Drawn on the host, so that the same generator gives the same mask on every backend.
        Source: Srivastava et al. 2014, section 4, scaled at training time (section 10).
        """

    # ------------------------------------------------------------------------------------------ optimisers

    @abstractmethod
    def adam_step(
        self,
        w: Array,
        dw: Array,
        m: Array,
        v: Array,
        *,
        lr: Number,
        beta1: float,
        beta2: float,
        eps: float,
        step: Number,
        weight_decay: float = 0.0,
    ) -> None:
        """One step of Adam in place on w, m and v, all flat arrays of one length.

        m <- beta1 m + (1 - beta1) dw; v <- beta2 v + (1 - beta2) dw^2;
        w <- (1 - lr * weight_decay) w - lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps).

        Args:
            step: counts from 1.
            weight_decay: beside the gradient, not in it: AdamW. 0 is Adam.
        Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
        """

    @abstractmethod
    def sgd_step(self, w: Array, dw: Array, velocity: Array, *, lr: Number, momentum: float) -> None:
        """One step of gradient descent with momentum, in place on w and velocity.

        velocity <- momentum * velocity + dw; w <- w - lr * velocity.
        Source: Sutskever et al. 2013, section 2, with the rate outside of the velocity as PyTorch has it.
        """

    @abstractmethod
    def rmsprop_step(self, w: Array, dw: Array, square: Array, *, lr: Number, decay: float, eps: float) -> None:
        """One step of RMSprop, in place on w and square.

        square <- decay * square + (1 - decay) dw^2; w <- w - lr * dw / (sqrt(square) + eps).
        Source: Tieleman & Hinton 2012, lecture 6.5, with eps outside of the root as PyTorch has it.
        """

    @abstractmethod
    def ema_step(self, average: Array, w: Array, *, decay: Number) -> None:
        """One step of an exponential moving average, in place: average <- average + (1 - decay) * (w - average)."""

    @abstractmethod
    def clip_norm(self, dw: Array, *, limit: float) -> None:
        """Shortens a flat array to the Euclidean norm `limit` if it is longer, in place; the norm in double precision.

        Source: Pascanu et al. 2013, algorithm 1.
        """

    @abstractmethod
    def clip_value(self, x: Array, *, limit: float) -> None:
        """Moves each number of a flat array into [-limit, limit], in place; NaN stays."""


KERNELS = tuple(
    name
    for name, member in vars(Backend).items()
    if getattr(member, "__isabstractmethod__", False) and name not in ("asarray", "to_numpy")
)
