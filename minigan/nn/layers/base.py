"""The base of all layers: shape inference, forward, backward, double backward."""

import html
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from minigan.backends import Array, Backend, get_backend
from minigan.errors import ConfigError, NotBuiltError, ShapeError
from minigan.nn.initializers import Initializer
from minigan.nn.parameters import Arena, Gradients, Parameter
from minigan.support.arguments import flag, is_whole, kind_of
from minigan.support.representation import constructor_call

Shape = tuple[int, ...]
Cache = Any  # what a layer's backward needs from its forward: a NamedTuple of the layer's own


class Layer(ABC):
    """Base of all layers: a differentiable map of batches, with its parameters.

    The constructor takes the user's choices. `build`, of the layer or of the network around it, infers shapes,
    allocates all parameters in one arena and binds the backend's kernels. After that `forward` and `backward` are pure,
    except that `backward` adds to the gradients it is given.

    Shapes are without the batch axis: `(H, W, C)` for images, `(F,)` for vectors.

    A layer of your own annotates in its class what `infer` sets (`w: Parameter`): before `build` these names raise
    `NotBuiltError`.

    Attributes:
        path: the layer's place in its network, for error messages: `"D.3.Conv2D"`.
        input_shape, output_shape: set by `build`.
        kernels: the backend, set by `build`.
        activations: the dtype in which its x and y lie in memory in the network that was built: the network's, or the
            backend's narrower one.
        arena: the parameters of the whole network that was built.
        state: the arrays of the whole network that are kept but not trained.
    """

    transparent: ClassVar[bool] = False  # whether summaries show the layers inside instead of it
    separable: ClassVar[bool] = False  # see `is_separable`; not inherited, since a subclass may have passes of its own
    piecewise_linear: ClassVar[bool] = False  # see `is_piecewise_linear`; not inherited either

    # Whether the passes also take arrays of the backend's `activation_dtype`, and then return such: they leave all
    # arithmetic to kernels. A network gives other layers arrays of its own dtype. A subclass may have passes of its
    # own, so each class says it for itself.
    narrow: ClassVar[bool] = False

    path: str
    input_shape: Shape
    output_shape: Shape
    kernels: Backend
    dtype: np.dtype[Any]
    activations: np.dtype[Any]
    arena: Arena
    state: Arena

    def __init__(self) -> None:
        self.path = type(self).__name__
        self.own_parameters: list[Parameter] = []
        self.own_state: list[Parameter] = []

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            annotated = any(name in getattr(c, "__annotations__", ()) for c in type(self).__mro__)  # what build sets
            if annotated or ("kernels" not in vars(self) and isinstance(getattr(type(self), name, None), property)):
                path = vars(self).get("path", type(self).__name__)
                raise NotBuiltError(f"{path}: not built, so it has no {name}. Call build(input_shape, rng=...) first.")
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        return self.title()

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<code>{html.escape(repr(self))}</code>"

    def call_text(self) -> str:
        """The call that makes such a layer: `Conv2D(64, 3, stride=2)`; layers inside stand as `...`."""
        return constructor_call(self, elide=("layers", "branches", "stages"), leave_out=("shortcut",))

    def title(self) -> str:
        """One line for a prompt: the call, and once built the shapes and the number of parameters."""
        if not self.is_built:
            return self.call_text()
        count = sum(p.size for _, p in self.named_parameters())
        parameters = f", {count:,} parameters" if count else ""
        return f"{self.call_text()}: {self.input_shape} -> {self.output_shape}{parameters}"

    @property
    def is_built(self) -> bool:
        """True once `build` has given it shapes and weights."""
        return "kernels" in vars(self)

    # ------------------------------------------------------------------------------------------ to be written

    @abstractmethod
    def infer(self, input_shape: Shape) -> Shape:
        """Infers the output shape, and declares parameters with `add_parameter`.

        Raises:
            ShapeError: the layer does not fit that shape.
        """

    @abstractmethod
    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Cache]:
        """The output y and what `backward` needs; changes nothing.

        Args:
            x: (N, *input_shape).
            train: True in training: BatchNorm uses the batch's statistics, and Dropout drops.
            rng: the random numbers of Dropout and other random layers.
        """

    @abstractmethod
    def backward(self, dy: Array, cache: Cache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        """Computes the gradient dx of the input, and adds the gradients of the parameters to `grads`.

        Args:
            dy: gradient of the output, (N, *output_shape).
            grads: the destination; None computes none, for frozen weights.
            need_dx: False computes and returns no dx.
        """

    @abstractmethod
    def double_backward(
        self, v: Array, record: Any, cache: Cache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        """The gradient of `backward`: of a number P that depends on its dx, given v = dP/d(dx).

        Args:
            v: like x.
            record: from `backward_recorded`; of a simple layer the dy it was given.
            grads: gets dP/dw added; None computes none.
        Returns:
            dP/d(dy) like dy, and dP/dx like x; None where backward does not depend on x.
        """

    # ------------------------------------------------------------------------------------------ with a default

    def backward_recorded(self, dy: Array, cache: Cache) -> tuple[Array, Any]:
        """Computes dx, and the record of cotangents that `double_backward` needs; no gradients of parameters."""
        return self.backward(dy, cache, grads=None), dy

    def extend(self, u: Array, record: Any, cache: Cache, *, grads: Gradients | None) -> Array:
        """The map that a piecewise linear layer is around x, at another input u: J u + b, for y = J x + b.

        Adds the gradients of the parameters that `backward` would add, had u been x; the mask of a LeakyReLU stays that
        of x. Only for layers that say so, see `is_piecewise_linear`; right as it stands for those with b = 0.

        Args:
            u: like x.
            record: from `backward_recorded`, which has been given dy.
        """
        return self.double_backward(u, record, cache, grads=grads)[0]

    def commit_statistics(self, cache: Cache) -> None:  # noqa: B027 (most layers have none)
        """Folds the batch statistics that a training-mode forward left in the cache into the running ones."""

    def takes_narrow(self) -> bool:
        """Whether its passes are given activations in the backend's `activation_dtype`.

        Those from or to vectors are not: vectors are small next to images, and next to the weights of dense layers.
        """
        images = len(self.input_shape) > 1 and len(self.output_shape) > 1
        return bool(vars(type(self)).get("narrow", False)) and (images or self.transparent)

    def settle(self) -> None:  # noqa: B027 (most layers have nothing to settle)
        """Brings state to its limit for the weights as they are.

        For a layer whose backward treats a value computed by forward from the weights as a constant: only at the limit
        is its gradient forward's derivative.
        """

    def repair_state(self) -> None:  # noqa: B027 (most states are as good averaged)
        """Brings back into the state what an average of several states lacks, such as a vector's length of 1.

        To be called when the state was averaged, or loaded from a file that may hold an average. It leaves every other
        state as it is, to the bit.
        """

    @property
    def is_separable(self) -> bool:
        """Whether in training, too, each example's passes depend on that example alone: no statistics, no draws.

        Then two batches can go through as one. A class says so by `separable = True`, for itself but not for the layers
        inside it.
        """
        return all(vars(type(layer)).get("separable", False) for _, layer in self.walk())

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether each example's y is J x + b around its x, with J and b the same for all x nearby.

        They are the example's own: no other one is in them. Then `extend` is right. A class says so by
        `piecewise_linear = True`, for itself but not for the layers inside it.
        """
        return all(vars(type(layer)).get("piecewise_linear", False) for _, layer in self.walk())

    @property
    def own_flops(self) -> int:
        """Operations of one forward pass per example, without those of the layers inside; a multiply-add is two."""
        return int(np.prod(self.output_shape))

    @property
    def flops(self) -> int:
        """Operations of one forward pass per example, with those of the layers inside; a multiply-add is two."""
        return sum(layer.own_flops for _, layer in self.walk())

    def children(self) -> Iterator[tuple[str, "Layer"]]:
        """The layers inside, with their names as in parameter names."""
        return iter(())

    def given(self, condition: Array | None) -> Self:
        """This layer with its condition held fixed: the map x -> f(x | condition), with the same parameters.

        A condition tells more of each example than x: its class as a one-hot vector, or an image. Layers without one
        are returned as they are, as are networks of only such layers; `minigan.nn.layers.condition` has those with one.

        Args:
            condition: (N, ...), a row for each example of `forward`; None changes nothing. A
                `minigan.nn.layers.condition.Condition` is not held fixed: it gets gradients.
        """
        return self

    def describe(self) -> str:
        """The layer in a few characters, for the summary table."""
        return type(self).__name__

    def algorithms(self, batch_size: int) -> tuple[str, ...]:
        """The backend's algorithms for forward, dx and dw of such a batch, where it has several; else nothing."""
        return ()

    # ------------------------------------------------------------------------------------------ building

    def plan(self, *, fuse: bool) -> None:  # noqa: B027 (only networks walk through layers)
        """Plans the walk through the layers inside; the last act of `build`."""

    def note_activations(self, given: np.dtype[Any]) -> None:
        """Notes the dtype of activations, from here inwards.

        Args:
            given: of x, in the network that was built.
        """
        self.activations = given
        for _, layer in self.children():
            layer.note_activations(given)

    def add_parameter(self, name: str, shape: Shape, initializer: Initializer) -> Parameter:
        """Declares a trained array of this layer; to be called in `infer`."""
        self.own_parameters.append(Parameter(name, shape, initializer))
        return self.own_parameters[-1]

    def add_state(self, name: str, shape: Shape, initializer: Initializer) -> Parameter:
        """Declares an array that is kept but not trained; to be called in `infer`."""
        self.own_state.append(Parameter(name, shape, initializer))
        return self.own_state[-1]

    def setup(self, input_shape: Shape, path: str) -> Shape:
        """Infers shapes and declares parameters, from here inwards."""
        self.path = path
        self.own_parameters, self.own_state = [], []
        self.input_shape = input_shape
        self.output_shape = self.infer(input_shape)
        return self.output_shape

    def build(
        self,
        input_shape: Shape,
        *,
        backend: str | Backend = "auto",
        precision: str | None = None,
        dtype: str | np.dtype[Any] | type = "float32",
        rng: np.random.Generator,
        fuse: bool = True,
    ) -> Self:
        """Infers all shapes, allocates and initializes the parameters, binds the kernels.

        Args:
            input_shape: the shape of one example: (H, W, C) or (F,).
            backend: an object or a name, see `minigan.backends.get_backend`.
            precision: of the products of float32 networks, see there; double precision is never rounded.
            dtype: float32 or float64.
            rng: draws the weights, in the order of the layers.
            fuse: let neighboring layers share passes over memory, see `minigan.nn.layers.fused`. Results differ by
                rounding only; False runs every layer's own forward and backward.
        Returns:
            self, ready to run.
        Raises:
            ShapeError: two layers do not fit; the message names them.
            ConfigError: a dtype that is no float, a precision that the backend does not have, one layer object in two
                places, or a layer of another built network. Either error leaves the network as it was: one that was
                built before still works.
        """
        shape, dtype = self._checked_shape(input_shape), self._checked_dtype(dtype)
        if not isinstance(rng, np.random.Generator):
            raise ConfigError(
                f"{self.path}: rng must be a numpy.random.Generator, got {kind_of(rng)}. "
                "Pass rng=np.random.default_rng(0)."
            )
        backend, fuse = get_backend(backend, precision=precision), flag(fuse, "fuse", of=self.path)
        self._refuse_repeated_layers()
        self._refuse_layers_of_others()
        before = [(layer, dict(vars(layer))) for _, layer in self.walk()]
        try:
            self._build(shape, backend=backend, dtype=dtype, rng=rng, fuse=fuse)
        except BaseException:  # a build that fails leaves all layers as they were
            for layer, attributes in before:
                vars(layer).clear()
                vars(layer).update(attributes)
            raise
        return self

    def _build(
        self, input_shape: Shape, *, backend: Backend, dtype: np.dtype[Any], rng: np.random.Generator, fuse: bool
    ) -> None:
        self.setup(input_shape, self.path)
        arena = Arena(dict(self.named_parameters()), backend=backend, dtype=dtype, rng=rng)
        state = Arena(dict(self.named_state()), backend=backend, dtype=dtype, rng=rng)
        arena.belong_to(self)
        for _, layer in self.walk():
            layer.kernels, layer.dtype, layer.arena, layer.state = backend, dtype, arena, state
            layer.plan(fuse=fuse)
        self.note_activations(dtype)

    def _checked_shape(self, shape: Any) -> Shape:
        if isinstance(shape, int | np.integer):
            raise ShapeError(
                f"{self.path}: input_shape must be a tuple without the batch axis, got {shape}. Write ({shape},)."
            )
        sides = tuple(shape) if isinstance(shape, tuple | list) else ()
        if not sides or not all(is_whole(n) and n > 0 for n in sides):
            raise ShapeError(
                f"{self.path}: input_shape must be positive integers, (H, W, C) or (F,) without the batch axis, got "
                f"{kind_of(shape)}."
            )
        return tuple(int(n) for n in sides)

    def _checked_dtype(self, dtype: str | np.dtype[Any] | type) -> np.dtype[Any]:
        try:
            found: np.dtype[Any] | str = np.dtype(dtype)
        except TypeError:  # no dtype of NumPy's
            found = kind_of(dtype)
        if not isinstance(found, np.dtype) or found not in (np.float32, np.float64):
            raise ConfigError(f"{self.path}: dtype must be float32 or float64, got {found}.")
        return found

    def _refuse_repeated_layers(self) -> None:
        """Refuses a layer object in two places: it holds the shapes and weights of one, so the last would win."""
        seen: dict[int, str] = {}
        for prefix, layer in self.walk():
            if id(layer) in seen:
                raise ConfigError(
                    f"{self.path}: the same {type(layer).__name__} object stands at {seen[id(layer)]} and at "
                    f"{prefix.rstrip('.')}. Make a layer for each place."
                )
            seen[id(layer)] = prefix.rstrip(".")

    def _refuse_layers_of_others(self) -> None:
        """Refuses a layer that another built network runs: it would get other shapes and weights under its feet."""
        for _, layer in self.walk():
            owner = layer.arena.owner() if layer.is_built else None
            if not isinstance(owner, Layer) or owner is self or all(layer is not other for _, other in owner.walk()):
                continue
            raise ConfigError(
                f"{self.path}: cannot build the {type(layer).__name__} at {layer.path}: the built network "
                f"{owner.path!r} runs it, and would lose its weights. Make new layers, or build a copy: "
                "copy.deepcopy(net)."
            )

    def walk(self, prefix: str = "") -> Iterator[tuple[str, "Layer"]]:
        """This layer and all inside it, each with the prefix of its parameters' names (`"3."`)."""
        yield prefix, self
        for name, child in self.children():
            yield from child.walk(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The trained parameters of this layer and all inside it: `("3.w", parameter)`."""
        return ((f"{prefix}{p.name}", p) for prefix, layer in self.walk() for p in layer.own_parameters)

    def named_state(self) -> Iterator[tuple[str, Parameter]]:
        """The arrays that are kept but not trained, such as BatchNorm's running statistics."""
        return ((f"{prefix}{p.name}", p) for prefix, layer in self.walk() for p in layer.own_state)

    def gradients(self) -> Gradients:
        """A new destination for `backward`, all zero."""
        return self.arena.gradients()

    def expect_image(self, input_shape: Shape) -> tuple[int, int, int]:
        """The input shape (H, W, C), if it is an image's.

        Raises:
            ShapeError: it is not.
        """
        if len(input_shape) != 3:
            raise ShapeError(
                f"{self.path}: expected images (H, W, C), got {input_shape} from the layer before. "
                "Put a Reshape((H, W, C)) between them."
            )
        return input_shape

    def expect_vector(self, input_shape: Shape) -> int:
        """The number of features F, if the input shape is a vector's.

        Raises:
            ShapeError: it is not.
        """
        if len(input_shape) != 1:
            raise ShapeError(
                f"{self.path}: expected vectors (F,), got {input_shape} from the layer before. "
                "Put a Flatten() between them."
            )
        return input_shape[0]
