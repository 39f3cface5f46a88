"""Path-length regularization of a generator with styles; its second order is written by hand."""

import math

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.network import Sequential
from minigan.nn.network.mapping import MappingNetwork
from minigan.nn.parameters import Gradients
from minigan.support.arguments import number, whole
from minigan.support.representation import constructor_call

__all__ = ["PathLength", "mapping_of"]

EPS = 1e-12  # the least length to divide by


class PathLength:
    """Regularization λ E[(|J' t| - a)²] of G: a step in w is to change the image by as much wherever it is taken.

    J is the derivative of an image with respect to the styles w (rows, F), and t a random image of N(0, 1 / (H W)), so
    that J' t is one backward pass through the synthesis. |J' t|² is the sum over F and the mean over the rows, and a
    follows the mean of |J' t| over the steps that have the penalty. In P's derivative a counts as a constant (the
    authors' code also goes through the hundredth of a that the step itself has added).

    1. forward to the image, and backward to the styles with every layer's cotangent recorded: J' t
    2. P, and v = dP/d(J' t), in closed form
    3. `double_backward` of the synthesis: dP/dw of its weights, and of the styles, which goes on to the mapping

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.2 and appendix B.

    Args:
        weight: λ, 2 in the source's code.
        interval: updates of G from one penalty to the next, at which it has `interval` times the weight.
        decay: of a, .01 a step.
        shrink: the penalty is taken on a batch so many times smaller.
    """

    def __init__(self, *, weight: float = 2.0, interval: int = 4, decay: float = 0.01, shrink: int = 2) -> None:
        name = type(self).__name__
        self.weight = number(weight, "weight", of=name, above=0)
        self.interval = whole(interval, "interval", of=name)
        self.decay = number(decay, "decay", of=name, above=0, most=1)
        self.shrink = whole(shrink, "shrink", of=name)

    def __repr__(self) -> str:
        return constructor_call(self, defaults=True)

    def examples(self, batch_size: int) -> int:
        """The number of examples that the penalty is taken on, in place of a batch of that many."""
        return max(1, batch_size // self.shrink)

    def add_gradients(self, G: Sequential, z: Array, *, grads: Gradients, rng: np.random.Generator) -> Array:
        """Adds dP/dw to the gradients of G's weights, and moves a, which is a state of G.

        Args:
            G: a `MappingNetwork` and the layers of the synthesis, under a condition if it takes one.
            z: G's inputs, (N, Z).
            rng: draws t, and what G draws in training.
        Returns:
            P, a scalar array of the backend.
        """
        mapping, synthesis = mapping_of(G), G[1:]
        styles, mapping_tape = mapping.forward(z, train=True, rng=rng)
        y, tape = synthesis.forward(styles, train=True, rng=rng)
        H, W = y.shape[1:3]
        t = G.kernels.feed(lambda: rng.standard_normal(y.shape) / math.sqrt(H * W), dtype=G.dtype)
        slope, record = synthesis.backward_recorded(t, tape)
        value, v = self._of_slope(slope, mapping)
        _, dstyles = synthesis.double_backward(v, record, tape, grads=grads)
        if dstyles is not None:
            mapping.backward(dstyles, mapping_tape, grads=grads, need_dx=False)
        return value

    def _of_slope(self, slope: Array, mapping: MappingNetwork) -> tuple[Array, Array]:
        """P and dP/d(slope), for the slope (N, rows, F)."""
        xp, ranks, rows = mapping.kernels.xp, mapping.kernels.ranks, slope.shape[1]
        lengths = xp.sqrt((slope * slope).sum(axis=(1, 2)) / rows)
        a = mapping.path_length.value
        a += self.decay * (ranks.sum(lengths.mean()) / ranks.size - a)
        apart, scale = lengths - a, self.weight * self.interval / len(slope)
        factor = 2 * scale / rows * apart / xp.maximum(lengths, EPS)
        return scale * (apart * apart).sum(), slope * factor[:, None, None]


def mapping_of(G: Sequential) -> MappingNetwork:
    """The mapping network that G begins with.

    Raises:
        ConfigError: it begins with something else.
    """
    first = G.layers[0]
    if not isinstance(first, MappingNetwork):
        raise ConfigError(
            f"{G.path}: expected a generator that begins with a MappingNetwork, got a {type(first).__name__}. Path "
            "lengths and mixing are for generators with styles."
        )
    return first
