"""Worked examples of layers: y, its gradients, and the gradients of these."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigan.inspection.trials import Board, Trial, Worked, distinct, small_numbers
from minigan.nn import Layer, Sequential

__all__ = ["LayerTrial"]


class LayerTrial(Trial):
    """A layer on a small batch: y, and for P = <y, dy> its gradients; then for P = <dx, v> the second order.

    Args:
        layer: not built.
        input_shape: of one example.
        batch_size: the number of examples.
        scale: the largest number of x; None for whole numbers.
        condition: for a conditional layer, (batch_size, ...).
        weights: the shown numbers of its weights; None for small whole numbers.
        train: whether its passes are those of training, or of evaluation.
    """

    def __init__(
        self,
        layer: Layer,
        input_shape: tuple[int, ...],
        *,
        batch_size: int = 1,
        scale: float | None = None,
        condition: np.ndarray | None = None,
        weights: Sequence[float] | None = None,
        train: bool = True,
    ) -> None:
        self.layer, self.input_shape, self.batch_size = layer, input_shape, batch_size
        self.scale, self.condition, self.weights, self.train = scale, condition, weights, train

    def run(self) -> Worked:
        """Computes and checks."""
        layer = self.layer
        board = Board(type(layer).__name__)
        layer.build(self.input_shape, backend=board.backend, dtype="float64", rng=np.random.default_rng(0))
        self._set_weights()
        for _, inner in layer.walk():
            inner.settle()
        layer = layer.given(self.condition)
        x = distinct((self.batch_size, *self.input_shape), self.scale, seed=1)

        def forward() -> tuple[Any, Any]:
            return layer.forward(x, train=self.train, rng=np.random.default_rng(7))

        board.backend.noted.clear()
        y, cache = forward()
        dy = small_numbers(y.shape, seed=2)
        grads = layer.gradients()
        dx = layer.backward(dy, cache, grads=grads)
        parameters = list(layer.named_parameters())
        board.say(f"{_call(layer)} on x {x.shape}, in {'training' if self.train else 'evaluation'}:")
        shown = {"x": x, **{name: p.value for name, p in parameters}}
        if self.condition is not None:
            shown["c"] = self.condition
        board.show(shown)
        board.show({"y": y})
        board.say("Backward, for a loss with the gradient dy:")
        board.show({"dy": dy, "dx": dx, **{f"d({name})": grads[p] for name, p in parameters}})
        scale = float(np.abs(y * dy).sum())
        board.check("dx", lambda: _dot(forward()[0], dy), x, dx, scale=scale)
        for name, p in parameters:
            board.check(f"d({name})", lambda: _dot(forward()[0], dy), p.value, grads[p], scale=scale)
        self._second_order(board, layer, x, dy, forward)
        return board.worked()

    def _second_order(
        self,
        board: Board,
        layer: Layer,
        x: np.ndarray,
        dy: np.ndarray,
        forward: Callable[[], tuple[Any, Any]],
    ) -> None:
        _, cache = forward()
        dx, record = layer.backward_recorded(dy, cache)
        v = small_numbers(dx.shape, seed=3)
        grads = layer.gradients()
        ddy, ddx = layer.double_backward(v, record, cache, grads=grads)
        parameters = list(layer.named_parameters())

        def P() -> float:
            return _dot(layer.backward(dy, forward()[1], grads=None), v)

        board.say("Double backward, for a penalty P of dx with v = dP/d(dx):")
        bent = {} if ddx is None else {"dP/dx": ddx}
        board.show({"v": v, "dP/d(dy)": ddy, **bent, **{f"dP/d({name})": grads[p] for name, p in parameters}})
        if ddx is None:
            board.say("dP/dx = 0: the slope does not change with x.")
        scale = float(np.abs(dx * v).sum())
        board.check("dP/d(dy)", P, dy, ddy, scale=scale)
        board.check("dP/dx", P, x, np.zeros_like(x) if ddx is None else ddx, scale=scale)
        for name, p in parameters:
            board.check(f"dP/d({name})", P, p.value, grads[p], scale=scale)

    def _set_weights(self) -> None:
        """Whole numbers, which are easy to follow with pencil and paper."""
        for index, (_, p) in enumerate(self.layer.named_parameters()):
            numbers = small_numbers(p.shape, seed=10 + index)
            p.value[...] = np.resize(self.weights, p.shape) if self.weights is not None else numbers
        self.layer.arena.updated()


def _call(layer: Layer) -> str:
    """The call that makes a layer, those inside of it written out."""
    if isinstance(layer, Sequential):
        return f"Sequential([{', '.join(_call(inner) for inner in layer)}])"
    return layer.call_text()


def _dot(y: Any, weights: np.ndarray) -> float:
    return float((y * weights).sum())
