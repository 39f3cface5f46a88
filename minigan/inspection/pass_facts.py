"""The facts of a pass through one or two layers: its operations, what they cost, how they are computed."""

import math
from collections.abc import Iterator

from minigan.backends import Backend
from minigan.inspection.network_facts import JOINED
from minigan.inspection.step_costs import NONLINEAR, Counted, counted, has_weights, inner_layers
from minigan.inspection.step_marks import Span
from minigan.inspection.work import Cost
from minigan.nn.layers import Conv2D, Dense, EqualizedRate, Layer, SpectralNorm
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Sequential

__all__ = ["PassFacts", "place_in_network"]

BY_TURNS = "called as one kernel, in which this backend computes one layer after the other"


class PassFacts:
    """Answers about the passes of a step, which are asked for in order.

    Args:
        backend: of the networks.
    Attributes:
        examples: that went into each layer, by its path, the last time.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        native = {row.kernel for row in backend.coverage() if row.origin == "native"}
        self._native = set() if backend.name == "reference" else native
        self.examples: dict[str, int] = {}

    def operations(self, span: Span, index: int) -> dict[str, tuple[str, ...]]:
        """The operations of a layer in a pass, each with the passes that it stands for."""
        layer = span.layers[index]
        if span.name == "forward":
            return {"y": ("y",)}
        if span.name == "backward_recorded":
            return {"dx": ("dx",)}
        if span.name in ("double_backward", "extended"):
            return {"2nd": ("second",)}
        weights = span.with_grads and has_weights(layer)
        # Behind the first of two layers that run as one, dx is what the first one's weights need.
        dx = span.with_result or (index > 0 and span.with_grads)
        if isinstance(layer, Conv2D) and weights:
            return {"dw": ("dw",), **({"dx": ("dx",)} if dx else {})}
        if weights:
            return {"dx dw": ("dx", "dw")} if dx else {"dw": ("dw",)}
        return {"dx": ("dx",)} if dx else {"": ()}

    def cost(self, span: Span, layer: Layer, passes: tuple[str, ...]) -> Counted:
        """The cost of these for the examples that went into the layer; a forward pass tells how many."""
        given = span.shapes[0][0]
        if span.name == "forward":
            self.examples[layer.path] = given
        return counted(layer, self.examples.get(layer.path, given), *passes) if passes else Counted()

    def default(self, span: Span, layer: Layer, cost: Counted) -> Counted:
        """The same cost, but that PyTorch leaves dP/d(dy) of a last product out, whose dy is constant.

        Of a last convolution it computes it all the same. Where one sweep serves D's loss and its penalty, PyTorch
        does one for each.
        """
        if span.name == "extended":
            return cost + counted(layer, self.examples[layer.path], "dx", "dw")
        dense = layer.inner if isinstance(layer, SpectralNorm | EqualizedRate) else layer
        if span.name == "double_backward" and isinstance(dense, Dense) and _is_topmost(layer, span.network):
            above = counted(layer, self.examples[layer.path], "y")
            return Counted(Cost(cost.cost.flops - above.products), cost.products - above.products)
        return cost

    def why_fused(self, joined: list[str]) -> str:
        """A clause on kernels that compute two layers."""
        return JOINED if self._native.issuperset(joined) else BY_TURNS

    def algorithm(self, span: Span, layer: Layer, operation: str) -> str:
        """The names of the algorithms of a convolution, or of the kernels that another layer has called."""
        kernels = dict.fromkeys(inner.name for inner in span.inside if inner.kind == "kernel")
        if isinstance(layer, Conv2D):
            wanted = {"y": layer.PASSES[:1], "dx": layer.PASSES[1:2], "dw": layer.PASSES[2:]}
            names = wanted.get(operation, (layer.PASSES[0], layer.PASSES[2]))
            n = self.examples.get(layer.path, span.shapes[0][0])
            found = [self._backend.algorithm(name, layer.geometry, n, layer.dtype) or name for name in names]
            return ", ".join(dict.fromkeys(found))
        if len(span.layers) > 1:
            second = layer is span.layers[1]
            kernels = {n: None for n in kernels if (n in ("leaky_relu", "leaky_relu_grad")) == second}
        return ", ".join(kernels)

    def shapes(self, layer: Layer, operation: str, given: int) -> tuple[tuple[int, ...], ...]:
        """The shapes of what an operation is given and of its result."""
        n = self.examples.get(layer.path, given)
        outputs = n // layer.count if isinstance(layer, Pack) else n
        x, y = (n, *layer.input_shape), (outputs, *layer.output_shape)
        if operation == "dw":
            weights = [p.shape for inner in inner_layers(layer) for p in inner.own_parameters]
            return x, max(weights, key=math.prod)
        return (y, x) if operation.startswith("dx") else (x, y)

    def label(self, layer: Layer) -> str:
        """The layer with its network and its place: `D 3 Conv2D 4x4 /2`."""
        network = layer.path.split(".")[0]
        return f"{network} {place_in_network(layer)} {layer.describe()}"

    def whole(self, layers: Iterator[tuple[str, Layer]], *passes: str) -> Counted:
        """The cost of passes of layers that were reached, each by itself."""
        found = Counted()
        for _, layer in layers:
            if layer.path in self.examples:
                found += counted(layer, self.examples[layer.path], *passes)
        return found


def place_in_network(layer: Layer) -> str:
    """The layer's place in its network, short of what stands between numbers in a block: `2.3` for `2.inner.3`."""
    steps = layer.path.split(".")[1:]
    return ".".join(step for step in steps if step.isdecimal() or (step.islower() and step != "inner"))


def _is_topmost(layer: Layer, network: Sequential) -> bool:
    """Whether the layers above it in a network hand on a constant dy: they have no weights and are linear."""
    if layer not in network.layers:
        return False
    above = network.layers[network.layers.index(layer) + 1 :]
    inner = [each for one in above for _, each in one.walk()]
    return not any(isinstance(each, NONLINEAR) or each.own_parameters for each in inner)
