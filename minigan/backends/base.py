"""The kernel contract: what every backend can do, stated once.

`reference/`, `cpu/` and `gpu/` hold the same file names, one for each family of kernels, so that comparing
`reference/conv.py` with `cpu/conv.py` is the lesson. A backend inherits from the reference each kernel that it does not
override. A kernel is a verb on arrays and knows nothing of networks. It checks only what would make it read beyond an
array; the network around it checks the rest. It leaves its arguments unchanged, except for `add_to=`, to which it adds.

Arrays belong to the backend (`numpy.ndarray`, or `cupy.ndarray` on the GPU) and share one dtype, float32 or float64, in
any one call. Activations and their gradients (x, y, dy, dx, v) may have the backend's `activation_dtype`, such as
bfloat16, where parameters, their gradients and statistics are float32: results of their kind have it then, too, and
sums are float32 all the same.

Arrays may have any layout, also those that a kernel changes; what is not contiguous costs a copy. (On a GPU the sums
over pixels, and of a normalization, must be contiguous; others are refused.) Images are `(N, H, W, C)`, vectors
`(N, F)`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any, Literal, NamedTuple, NoReturn, Protocol, Self, TypeVar

import numpy as np

from minigan.backends.constants import Constants
from minigan.backends.geometry import ConvGeometry, IntPair
from minigan.backends.precision import Precision
from minigan.distributed.nccl import Seat
from minigan.distributed.ranks import ALONE, Ranks
from minigan.errors import BackendError, DTypeError, ShapeError
from minigan.support.copying import refuse_pickle

Array = Any  # numpy.ndarray or cupy.ndarray: the two share an interface but no base class
Number = Any  # a Python number, or a float64 array of shape (): what `Backend.numbers` gives
Shape = tuple[int, ...]


def expect(name: str, array: Array, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Refuses an array of another shape or dtype, which a compiled kernel without bounds checks would misread.

    Raises:
        ShapeError, DTypeError: it has another shape or dtype.
    """
    if array.shape != shape:
        raise ShapeError(f"{name}: expected shape {shape}, got {array.shape}. Check the layer's sizes.")
    if array.dtype != dtype:
        raise DTypeError(f"{name}: expected dtype {dtype} as in the other arrays, got {array.dtype}. Convert it.")


Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def looks_at_guard(kernel: Kernel) -> Kernel:
    """Marks a native kernel that changes arrays in place, and changes nothing once the guard is not sound.

    What is not marked, such as a kernel that a backend inherits from the reference, knows of no guard: around it the
    arrays are kept, see `Backend.optimizing`.
    """
    kernel.looks_at_guard = True  # type: ignore[attr-defined]
    return kernel


class KernelCoverage(NamedTuple):
    """A kernel, and whether the backend has its own ("native") or the reference's ("inherited")."""

    kernel: str
    origin: Literal["native", "inherited"]


class MemoryUse(NamedTuple):
    """Bytes of a device's memory.

    Attributes:
        used: taken by arrays that are alive.
        held: taken by this program, including memory that it keeps for later arrays.
        peak: the largest `held` of all calls of `Backend.memory`.
        free, total: of the device.
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

    def demand_below(self, array: Array, limit: float) -> None:
        """One more thing that must be so: all absolute values are below the limit. NaN is not."""

    def keep(self, array: Array, before: Array) -> None:
        """Restores the array as it was before, unless all is sound."""


class RecordedStep(Protocol):
    """The calls of a training step on the host, see `minigan.training.replays`.

    Attributes:
        refused: why the step cannot be replayed; None if it can.
    """

    refused: str | None

    def open(self) -> AbstractContextManager[None]:
        """Notes what is called within this context."""

    def trace(self, array: Array) -> Array:
        """A view of an array that lasts, whose operations are noted."""

    def replay(self) -> bool:
        """Does the step again, on new inputs. False: a number was not sound or an input has another shape.

        It then has done a part of the step.
        """

    def beside(self, step: Callable[[], Any]) -> Any:
        """Does a step in Python, in the memory of this one; `refused` if anything of it remains there."""


class NotCaptured(BackendError):
    """A kind of step that a backend tried to capture, in vain; nothing was done. The next step of the kind is eager."""


class StepGraphs(Protocol):
    """Training steps that the host starts without waiting for their end, see `minigan.training.stepper`.

    Attributes:
        is_eager: whether the last step that was run did its work bit by bit: an error in it may have left a part done.
    """

    is_eager: bool

    def run(self, kind: Hashable, step: Callable[[], Any]) -> Any:
        """Runs one step.

        Args:
            kind: the same for steps that differ only in what they are fed, so that one may be replayed as another;
                None if no other step is like it.
        Returns:
            The step's result; another step of its kind may overwrite the arrays.
        Raises:
            NotCaptured: but the host has gone through the step.
        """

    def look(self) -> int | None:
        """Waits for the steps since the last look.

        Returns:
            The index among these of the first step in which a number was not finite; None if all were finite.
        """

    def again(self, index: int, step: Callable[[], Any]) -> Any:
        """Repeats the step of that index and looks at every number; later steps count as sound from then on."""


class Backend(ABC):
    """The kernels of one engine, bound to a network by `build`.

    One process can hold several backends, so that their results can be compared.
    """

    name: str
    xp: ModuleType  # numpy or cupy
    precision: Precision = "fp32"  # of the factors of products, see `precision.py`
    guard: Guard | None = None  # None: each number is looked at before it does harm
    ranks: Ranks = ALONE  # that have the other rows of a batch: its means and sums are theirs, too
    # Bytes of a layer's output up to which one call on two batches is quicker than two calls; 0: never.
    joined_bytes: int = 0

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The backend itself: a copy of a network runs on the same engine."""
        return self

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)

    # ------------------------------------------------------------------------------------------ arrays

    @abstractmethod
    def asarray(self, array: np.ndarray | Array, *, dtype: np.dtype[Any] | None = None) -> Array:
        """A host or backend array as this backend's array; copies only when it must."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray:
        """The array in host memory; copies only when it must."""

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """A new array for a result, its numbers undefined; in memory that a former array has left, if possible."""
        return self.xp.empty(shape, dtype=dtype)

    def activation_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Dtype of activations, and of the gradients that flow between layers, inside a network of that dtype.

        The network's own, or a narrower one: half the memory, and half the time of a pass over it. Parameters, their
        gradients, statistics and losses have the network's always.
        """
        return dtype

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        """The array itself if it has that dtype, else its numbers rounded to the nearest of that dtype."""
        return array if array.dtype == dtype else array.astype(dtype)

    def add(self, a: Array, b: Array, *, out: Array | None = None) -> Array:
        """a + b, of equal shapes; the result has a's dtype, b may have another. `out` may be one of them."""
        return self.xp.add(a, b, out=self.empty(a.shape, a.dtype) if out is None else out)

    def multiply(self, a: Array, b: Array) -> Array:
        """a * b, of equal shapes; the result has a's dtype, b may have another."""
        return self.xp.multiply(a, b, out=self.empty(a.shape, a.dtype))

    def zeros(self, size: int, dtype: np.dtype[Any]) -> Array:
        """A new flat array of zeros, for numbers that stay for the whole training: weights, gradients, moments."""
        return self.xp.zeros(size, dtype=dtype)

    def erase(self, array: Array) -> None:
        """Sets all numbers of a flat array to zero."""
        array.fill(0)

    def join(self, first: Array, second: Array, both: Array) -> None:
        """Copies two batches into one, one after the other."""
        both[: len(first)], both[len(first) :] = first, second

    def weighted_sum(self, a: Array, b: Array, *, weight: float) -> Array:
        """a + weight * b, for arrays of one shape."""
        return a + weight * b

    def is_below(self, array: Array, limit: float) -> bool:
        """Whether all absolute values are below the limit; NaN is not. On a device the host waits for the answer."""
        return not array.size or bool((array.max() < limit) & (array.min() > -limit))

    def share(self, ranks: Ranks) -> None:
        """Shares each batch with these ranks from now on; all of them call it, whatever their backend.

        Raises:
            BackendError, ConfigError: they cannot exchange numbers; the same on all of them.
        """
        if ranks.size > 1:
            seats = [Seat(*seat) for seat in ranks.gather(list(self.seat()))]
            if len({seat.backend for seat in seats}) == 1:  # else the start of a run names the difference
                ranks = self.connected(ranks, seats)
        self.ranks = ranks

    def seat(self) -> Seat:
        """Where this process computes."""
        import socket  # late: one process needs none

        return Seat(self.name, socket.gethostname())

    def connected(self, ranks: Ranks, seats: list[Seat]) -> Ranks:
        """The ranks, with what this backend's arrays need to go from one to another."""
        return ranks

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within this context the backend computes for this process only: a picture, the search for a NaN."""
        ranks, self.ranks = self.ranks, ALONE
        try:
            yield
        finally:
            self.ranks = ranks

    def clear_unless_below(self, flag: Array, array: Array, *, limit: float) -> None:
        """Sets a flag, bool of shape (), to False unless all absolute values are below the limit; NaN is not."""
        self.xp.logical_and(flag, (array.max() < limit) & (array.min() > -limit), out=flag)

    def move_statistics(
        self, running: tuple[Array, Array], batch: tuple[Array, Array], *, momentum: float, count: int
    ) -> None:
        """Folds a batch's mean and variance, each (C,), into the running ones: momentum * running + rest * batch.

        Args:
            count: of the numbers that the batch's biased variance is a mean of; the unbiased one is folded.
        """
        unbiased = batch[1] * (count / (count - 1))
        for average, new in zip(running, (batch[0], unbiased), strict=True):
            average[...] = momentum * average + (1 - momentum) * new

    # ------------------------------------------------------------------------------------------ a training step

    def feed(self, draw: Callable[[], Any], *, dtype: np.dtype[Any] | None = None) -> Any:
        """Arrays that the host makes anew in each training step, on the backend: a batch, noise, a mask.

        A backend that captures a step calls `draw` again at each replay, together with the step's other draws and in
        their order. So random numbers and files are read as they would be without capturing.

        Args:
            draw: returns an array, or a tuple of arrays and None, with the same shapes in each step.
            dtype: of the arrays; None leaves each its own.
        Returns:
            The drawn arrays, on the backend. While a step is captured their numbers are undefined.
        """
        drawn = draw()
        if isinstance(drawn, tuple):
            return tuple(None if array is None else self.asarray(array, dtype=dtype) for array in drawn)
        return self.asarray(drawn, dtype=dtype)

    def numbers(self, draw: Callable[[], tuple[float, ...]]) -> tuple[Any, ...]:
        """Numbers that change from step to step, such as a learning rate; drawn as in `feed`.

        Returns:
            Python numbers; while a step is captured, float64 arrays of shape (), which the optimizers' kernels accept
            as well.
        """
        return draw()

    def each_step(self, action: Callable[[], None]) -> None:
        """Performs an action of the host in each training step, such as counting it."""
        action()

    def perform(self, action: Callable[[], None]) -> None:
        """Performs a part of a training step whose numbers on the host differ from step to step: an update.

        A step that is recorded does it in Python each time; one that is captured on a device has it captured.
        """
        action()

    def only_if_sound(self, *arrays: Array) -> AbstractContextManager[None]:
        """Around changes of these arrays, which take place only while the guard, if there is one, is sound."""
        return nullcontext()

    def optimizing(self, *arrays: Array, kernels: Iterable[str] = ()) -> AbstractContextManager[None]:
        """As `only_if_sound`, at no cost where all the kernels in it look at the guard themselves.

        Args:
            kernels: names of the kernels that alone change the arrays; none if something else may change them.
        """
        names = tuple(kernels)
        guarded = all(getattr(getattr(type(self), name), "looks_at_guard", False) for name in names)
        return nullcontext() if names and guarded else self.only_if_sound(*arrays)

    def step_graphs(self) -> StepGraphs | None:
        """The runner of a learner's steps, where the host need not wait for each of them; else None."""
        return None

    def recording(self) -> RecordedStep | None:
        """A new list for the calls of a step, where a step can be replayed at once; else None."""
        return None

    # ------------------------------------------------------------------------------------------ the engine

    def synchronize(self) -> None:  # noqa: B027 (on the CPU a call returns when it is done)
        """Waits until all calls so far are computed."""

    def free_memory(self) -> None:  # noqa: B027 (most backends keep none)
        """Releases memory that is kept for later calls: scratch, and the memory of results that are gone."""

    def holding(self, constants: Constants) -> AbstractContextManager[None]:
        """Within this context, on this thread, kernels may keep what they make of these weights, and use it again."""
        return nullcontext()

    def memory(self) -> MemoryUse | None:
        """Use of the device's own memory; None on the CPU."""
        return None

    def compile_ahead(self) -> None:  # noqa: B027 (most backends have nothing to compile)
        """Starts to compile, in the background, the kernels that the first training step would have to wait for."""

    def describe(self) -> str:
        """One line that says what runs: the backend's name, library and version, device or threads, precision."""
        return self.name

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    def precisions(self) -> Mapping[Precision, str]:
        """The precisions that this backend has on this machine, each with what computes its products."""
        return {"fp32": f"{self.xp.__name__}'s products"}

    def algorithm(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str | None:
        """The readable name of the algorithm for a convolution of that many images; None where there is only one.

        Args:
            kernel: "conv2d", "conv2d_input_grad" or "conv2d_weight_grad".
        """
        return None

    def reason(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        """A clause that says why `algorithm` is the one for that convolution; arguments as there."""
        return "a matrix product for each tap of the filter, the one algorithm here"

    def coverage(self) -> list[KernelCoverage]:
        """Each kernel of the contract, and whether this backend has its own or inherits the reference's."""

        def package(cls: type) -> list[str]:
            return cls.__module__.split(".")[:3]  # minigan.backends.cpu

        def defines(cls: type, kernel: str) -> bool:
            return kernel in vars(cls) and not hasattr(vars(cls)[kernel], "__wrapped__")  # no kernel, but around one

        owners = {kernel: next(c for c in type(self).__mro__ if defines(c, kernel)) for kernel in KERNELS}
        return [
            KernelCoverage(kernel, "native" if package(owner) == package(type(self)) else "inherited")
            for kernel, owner in owners.items()
        ]

    # ------------------------------------------------------------------------------------------ convolution

    @abstractmethod
    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        """Cross-correlation of images with filters, as deep learning calls a convolution.

        y[n,p,q,k] = b[k] + sum_{r,s,c} w[r,s,c,k] * x[n, p*stride+r-top, q*stride+s-left, c], x being 0 outside.

        In groups it is one such convolution for each, side by side: outputs k // (K / groups) = g see the channels from
        g * C / groups on. What is not finite in one group reaches no other.

        Args:
            x: (N, H, W, C).
            w: (R, S, C / groups, K).
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
            w: (R, S, C / groups, K), the convolution's own layout.
            geometry: of the convolution.
            b: (C,), added to every pixel: the bias of a transposed convolution. None for no bias.
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
            add_to: (R, S, C / groups, K).
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
        """The matrix product of a (M, L) and b (L, N); either factor may be given transposed.

        Args:
            bias: (N,), added to every row.
            add_to: (M, N), accumulates the product.
        Returns:
            The product (M, N), or add_to if it is given.
        """

    @abstractmethod
    def batched_matmul(self, a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
        """The matrix products of N pairs, a (N, M, L) and b (N, L, K); either factor may be given transposed.

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
            add_to: (dw, db). Adds x' dy to dw (F, K) and the sum of dy over N to db (K,); db is None without a bias.
                None instead of the pair computes neither.
            need_dx: False skips dx.
        Returns:
            dx = dy w', (N, F), or None.
        """

    @abstractmethod
    def channel_sum(self, dy: Array, *, add_to: Array) -> None:
        """The gradient of a bias: add_to[k] += the sum of dy (..., K) over all axes but the last."""

    # ------------------------------------------------------------------------------------------ normalization

    @abstractmethod
    def batchnorm(self, x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
        """Batch normalization with the batch's own statistics, over all axes but the last.

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
            add_to: (dgamma, dbeta), each (C,), accumulating sum(dy * u) and sum(dy); None skips both.
            need_dx: False skips dx.
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
            v: like x, the derivative of a scalar P with respect to dx.
            add_to: (C,), accumulates dP/dgamma; None skips it.
        Returns:
            dP/d(dy) and dP/dx, both like x.
        Source: derived in `reference/norm.py`.
        """

    @abstractmethod
    def batchnorm_frozen(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) -> Array:
        """Batch normalization with given (running) statistics: an affine map of each channel.

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
        """The gradient of `batchnorm_frozen`, with constant statistics: dx = dy * gamma / sqrt(var + eps)."""

    @abstractmethod
    def group_norm(self, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float) -> tuple[Array, Array, Array]:
        """Normalization of each example by itself, over groups of neighboring channels.

        y = gamma * (x - mean) / sqrt(var + eps) + beta, with the mean and the biased variance over all pixels and the
        channels of a group. One group is layer normalization, C groups are instance normalization.

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
        """The gradient of `group_norm`, whose mean and variance depend on x; mean (N, groups) gives the groups.

        With u = (x - mean) / sqrt(var + eps), g = gamma * dy and means over a group:
        dx = (g - mean(g) - u * mean(g * u)) / sqrt(var + eps).

        Args:
            add_to: (dgamma, dbeta), each (C,), accumulating sum(dy * u) and sum(dy); None skips both.
            need_dx: False skips dx.
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
            v: like x, the derivative of a scalar P with respect to dx.
            add_to: (C,), accumulates dP/dgamma; None skips it.
        Returns:
            dP/d(dy) and dP/dx, both like x.
        Source: derived in `reference/group_norm.py`.
        """

    # ------------------------------------------------------------------------------------------ two in one

    @abstractmethod
    def conv2d_leaky_relu(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, *, slope: float) -> Array:
        """`conv2d` followed by `leaky_relu`; slope 0 is ReLU.

        Returns:
            y (N, P, Q, K), after the activation.
        """

    @abstractmethod
    def dense_leaky_relu(self, x: Array, w: Array, b: Array | None, *, slope: float) -> Array:
        """x w + b followed by `leaky_relu`; slope 0 is ReLU.

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
        """`batchnorm` followed by `leaky_relu`; slope 0 is ReLU.

        Returns:
            y like x, after the activation; mean (C,), var (C,).
        """

    @abstractmethod
    def batchnorm_frozen_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float, slope: float
    ) -> Array:
        """`batchnorm_frozen` followed by `leaky_relu`."""

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

        The sign of the activation is computed again from x, so y is not needed. The rest is as in `batchnorm_grad`.
        """

    # ------------------------------------------------------------------------------------------ activations

    @abstractmethod
    def leaky_relu(self, x: Array, *, slope: float) -> Array:
        """y = x where x > 0, slope * x elsewhere; slope 0 makes 0 of -infinity, too. NaN stays.

        Source: Maas, Hannun & Ng 2013, section 2.
        """

    @abstractmethod
    def leaky_relu_grad(self, dy: Array, y: Array, *, slope: float) -> Array:
        """dx = dy where y > 0, slope * dy elsewhere; as slope >= 0, y has the sign of x.

        With slope 0 it is 0 there, also of an infinite dy.
        """

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
        """The maximum over pieces: y[...,k] = max_p x[...,p*K+k] with K = channels / pieces; NaN if one piece is NaN.

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
        """Repeats each pixel of x (N, H, W, C): the result is (N, H * factor[0], W * factor[1], C)."""

    @abstractmethod
    def upsample_nearest_grad(self, dy: Array, *, factor: IntPair) -> Array:
        """The gradient of `upsample_nearest`: the sum over each factor[0] x factor[1] block."""

    @abstractmethod
    def depth_to_space(self, x: Array, *, factor: IntPair) -> Array:
        """Turns channels into pixels: with factor (a, b), (N, H, W, a * b * C) becomes (N, H * a, W * b, C).

        y[n, i * a + r, j * b + s, c] = x[n, i, j, (r * b + s) * C + c].
        Source: Shi et al. 2016, equation 4.
        """

    @abstractmethod
    def space_to_depth(self, y: Array, *, factor: IntPair) -> Array:
        """The inverse of `depth_to_space`, and its gradient."""

    @abstractmethod
    def reflect_pad(self, x: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        """Continues images beyond their borders by their mirror images; the border itself is not repeated.

        y[n, p, q, c] = x[n, m(p - top, H), m(q - left, W), c] with m(i, n) = |i| for i < n, and 2 (n - 1) - i above.

        Args:
            x: (N, H, W, C).
            padding: ((top, bottom), (left, right)), each less than the side that it continues.
        Returns:
            y, (N, top + H + bottom, left + W + right, C).
        """

    @abstractmethod
    def reflect_pad_grad(self, dy: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        """The gradient of `reflect_pad`: each pixel's own number and those of its mirror images, added up."""

    @abstractmethod
    def scale_channels(self, x: Array, s: Array) -> Array:
        """Scales the channels of each image by its own numbers: y[n,h,w,c] = s[n,c] x[n,h,w,c].

        Args:
            x: (N, H, W, C).
            s: (N, C).
        Source: the two ends of a modulated convolution, Karras et al. 2020 (StyleGAN2), equations 1 and 3.
        """

    @abstractmethod
    def scale_channels_grad(self, dy: Array, x: Array, s: Array, *, need_dx: bool = True) -> tuple[Array | None, Array]:
        """The gradients of `scale_channels`, in one pass.

        dx[n,h,w,c] = s[n,c] dy[n,h,w,c];  ds[n,c] = sum_{h,w} dy[n,h,w,c] x[n,h,w,c].

        Args:
            dy, x: (N, H, W, C).
            s: (N, C).
            need_dx: False computes no dx, and returns None in its place.
        Returns:
            dx, ds.
        """

    @abstractmethod
    def noise_leaky_relu(self, x: Array, n: Array, strength: Array, b: Array, *, slope: float, gain: float) -> Array:
        """Noise, a bias and a LeakyReLU with a gain: y = gain * f(x[n,h,w,c] + strength n[n,h,w] + b[c]).

        Args:
            x: (N, H, W, C).
            n: the noise, (N, H, W, 1), or (1, H, W, 1) for all images.
            strength: (1,).
            b: (C,).
            slope: f's for negative numbers.
        Source: a layer's end in StyleGAN2's synthesis, Karras et al. 2020, figure 2c.
        """

    @abstractmethod
    def noise_leaky_relu_grad(
        self, dy: Array, y: Array, n: Array, *, slope: float, gain: float, add_to: tuple[Array, Array] | None
    ) -> Array:
        """The gradients of `noise_leaky_relu`.

        dx = gain * dy where y > 0, else gain * slope * dy;  dstrength = sum dx n;  db[c] = sum_{n,h,w} dx.

        Args:
            dy, y: (N, H, W, C).
            n, slope, gain: as in `noise_leaky_relu`.
            add_to: dstrength (1,) and db (C,) are added to; None computes none.
        Returns:
            dx.
        """

    @abstractmethod
    def dropout_mask(self, rng: np.random.Generator, shape: Shape, *, rate: float, dtype: np.dtype[Any]) -> Array:
        """A mask of 0 with probability `rate` and 1 / (1 - rate) elsewhere ("inverted" dropout).

        Drawn on the host, so that the same generator gives the same mask on every backend.
        Source: Srivastava et al. 2014, section 4, scaled at training time (section 10).
        """

    # ------------------------------------------------------------------------------------------ optimizers

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
        beta2: Number,
        eps: float,
        step: Number,
        weight_decay: float = 0.0,
    ) -> None:
        """One step of Adam in place on w, m and v, all flat arrays of one length.

        m <- beta1 m + (1 - beta1) dw; v <- beta2 v + (1 - beta2) dw^2;
        w <- (1 - lr * weight_decay) w - lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps).

        Args:
            step: counts from 1.
            weight_decay: AdamW's, which shrinks w directly and does not go through m and v. 0 is Adam.
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
        """Scales a flat array down in place to the Euclidean norm `limit`, if its norm is larger.

        The norm is computed in double precision.

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
