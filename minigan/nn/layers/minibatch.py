"""Minibatch standard deviation: the examples of a batch see each other."""

from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import number, whole


class MinibatchStdDevCache(NamedTuple):
    u: Array  # (group, groups, features), each example's distance from its group's mean, in standard deviations
    std: Array  # (groups, features)


class MinibatchStdDev(Layer):
    """Minibatch standard deviation: y = [x, s], with one more channel that tells D how much a group of examples varies.

    s is the standard deviation over the group of each number of x, averaged over all these numbers; it is the same
    everywhere in an example. Where G draws the same image again and again s is small, and D sees it.

    With G examples in a group, F numbers in an example and u = (x - mean) / std over the group,

        dx = dy, without the last channel, + u * ds / (G F),   ds = the sum of dy's last channel over the group.

    u's derivative is that of batch normalization, so dP/dx = ds / (G F) * (v - mean(v) - u mean(v u)) / std, the means
    over the group.

    Source: Karras et al. 2018, section 3.

    Args:
        group: the number of examples that are compared with each other; four as in the authors' code, each from
            another part of the batch. A smaller batch is one group; a larger one must be a multiple.
        eps: added to the variance.
    """

    def __init__(self, group: int = 4, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.group = whole(group, "group", of=self.path)
        self.eps = number(eps, "eps", of=self.path, above=0)

    def infer(self, input_shape: Shape) -> Shape:
        return *input_shape[:-1], input_shape[-1] + 1

    def forward(
        self, x: Array, *, train: bool, rng: np.random.Generator | None = None
    ) -> tuple[Array, MinibatchStdDevCache]:
        grouped = self._grouped(x)
        centered = grouped - grouped.mean(axis=0)
        std = self.kernels.xp.sqrt((centered**2).mean(axis=0) + self.eps)
        return self._join(x, std.mean(axis=1)), MinibatchStdDevCache(centered / std, std)

    def backward(
        self, dy: Array, cache: MinibatchStdDevCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        if not need_dx:
            return None
        dx = dy[..., :-1] + (cache.u * self._ds(dy, cache)).reshape(len(dy), *self.input_shape)
        return self.kernels.xp.ascontiguousarray(dx)

    def double_backward(
        self, v: Array, record: Array, cache: MinibatchStdDevCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        u, std = cache
        grouped = v.reshape(u.shape)
        ddy = self._join(v, (grouped * u).mean(axis=(0, 2)))
        projected = grouped - grouped.mean(axis=0) - u * (grouped * u).mean(axis=0)
        return ddy, (projected / std * self._ds(record, cache)).reshape(v.shape)

    def _ds(self, dy: Array, cache: MinibatchStdDevCache) -> Array:
        """ds / (G F) of each group, (groups, 1)."""
        group, groups, features = cache.u.shape
        return dy[..., -1].reshape(group, groups, -1).sum(axis=(0, 2))[:, None] / (group * features)

    def _grouped(self, x: Array) -> Array:
        """(examples of a group, groups, numbers of an example)."""
        ranks = self.kernels.ranks.size
        group = min(self.group, len(x) * ranks)
        if len(x) % group:
            part = f", {len(x)} on each of {ranks} ranks" if ranks > 1 else ""
            raise ShapeError(
                f"{self.path}: groups of {group} examples do not divide a batch of {len(x) * ranks}{part}. "
                f"Choose a batch size that is a multiple{' on each rank' if part else ''}, or another group=."
            )
        return x.reshape(group, len(x) // group, -1)

    def _join(self, x: Array, s: Array) -> Array:
        """x with one more channel, s (groups,)."""
        y = self.kernels.empty((len(x), *self.output_shape), x.dtype)
        y[..., :-1] = x
        y[..., -1] = self.kernels.xp.tile(s, len(x) // len(s)).reshape(-1, *[1] * (x.ndim - 2))
        return y

    @property
    def own_flops(self) -> int:
        return 4 * int(np.prod(self.input_shape))
