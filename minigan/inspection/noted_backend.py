"""Backends that tell which kernels were called; one of them leaves the arithmetic of products out."""

import sys
from typing import Any

import numpy as np

from minigan.backends import Array, Number
from minigan.backends.base import KERNELS
from minigan.backends.geometry import ConvGeometry
from minigan.backends.reference import ReferenceBackend

__all__ = ["DryBackend", "NotedBackend"]

_KERNELS = frozenset(KERNELS)
_ROOM = "minigan.backends."
SMALL = 0.01  # stands for each number that is not computed: finite wherever it goes


class NotedBackend(ReferenceBackend):
    """The reference, with a note of each kernel that a layer or an optimizer calls, in order.

    Attributes:
        noted: names of kernels. Those that kernels themselves call are not in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in _KERNELS and not sys._getframe(1).f_globals["__name__"].startswith(_ROOM):
            object.__getattribute__(self, "noted").append(name)
        return object.__getattribute__(self, name)


class DryBackend(NotedBackend):
    """Results of the right shapes, without the products that take nearly all of a step's time; weights stay."""

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:  # noqa: ARG002
        return _filled((len(x), *geometry.output_shape), x)

    def conv2d_input_grad(
        self,
        dy: Array,
        w: Array,  # noqa: ARG002
        geometry: ConvGeometry,
        *,
        b: Array | None = None,  # noqa: ARG002
    ) -> Array:
        return _filled((len(dy), *geometry.input_shape), dy)

    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        """Adds nothing."""

    def matmul(
        self,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,  # noqa: ARG002
        add_to: Array | None = None,
    ) -> Array:
        return add_to if add_to is not None else _filled((a.shape[int(transpose_a)], b.shape[int(not transpose_b)]), a)

    def batched_matmul(self, a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
        return _filled((len(a), a.shape[1 + int(transpose_a)], b.shape[1 + int(not transpose_b)]), a)

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
        """Updates nothing."""

    def sgd_step(self, w: Array, dw: Array, velocity: Array, *, lr: Number, momentum: float) -> None:
        """Updates nothing."""

    def rmsprop_step(self, w: Array, dw: Array, square: Array, *, lr: Number, decay: float, eps: float) -> None:
        """Updates nothing."""


def _filled(shape: tuple[int, ...], like: Array) -> Array:
    return np.full(shape, SMALL, like.dtype)
