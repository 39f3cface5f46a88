"""Gradient checks: hand-written gradients against central differences, in float64.

For a scalar P of some array a, and a direction u, `(P(a + h u) - P(a - h u)) / 2h` must equal `<dP/da, u>`. Small
arrays are checked along every axis. Large ones, and those of a network with hundreds of such axes, are checked along
random unit vectors mixed with the gradient itself, so that the compared number is as large as the gradient and not lost
in rounding. Where both sides of `a` differ, by the kink of a ReLU closer than h, one of them is enough:
`(4 P(a + h u) - P(a + 2h u) - 3 P(a)) / 2h`, or with -h.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigan.errors import DTypeError
from minigan.nn.layers.base import Layer
from minigan.nn.layers.condition import Condition
from minigan.nn.network import Sequential

__all__ = ["GradientCheck", "check_backward", "check_double_backward", "check_gradient", "check_network"]

STEP = 1e-7  # h relative to the array: the fewer of a network's kinks it crosses the better, rounding costs 1e-9
EVERY_AXIS = 64  # arrays up to this size are tried along every axis
DIRECTIONS = 3  # larger ones along this many
MOST_AXES = 512  # a layer with more in all, such as a whole network, is tried along one direction for each array


class GradientCheck(NamedTuple):
    """One gradient compared with finite differences.

    Attributes:
        path: the layer, `"D.3.Conv2D"`.
        what: the gradient, `"dx"` or `"dP/dw"`.
        error: the largest |analytic - numeric| relative to the larger of the two.
        passed: True if the error is within the tolerance.
    """

    path: str
    what: str
    error: float
    passed: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.path} {self.what}: relative error {self.error:.1e}"


def check_gradient(
    function: Callable[[], float],
    array: np.ndarray,
    gradient: np.ndarray,
    *,
    path: str,
    what: str,
    rng: np.random.Generator,
    scale: float = 0.0,
    tolerance: float = 1e-5,
    sparing: bool = False,
) -> GradientCheck:
    """Compares a gradient with central differences.

    Args:
        function: P as it is at the array's current numbers.
        array: changed in place and restored.
        gradient: dP/d(array).
        path, what: the layer and the gradient, for the result.
        rng: draws the directions.
        scale: the size of the terms whose sum P is; their rounding is forgiven.
        tolerance: the largest relative error that passes.
        sparing: along a single random direction, whatever the array's size.
    Raises:
        DTypeError: the array is not float64.
    """
    _expect_float64(array.dtype, path)
    h = STEP * (float(np.linalg.norm(array)) or array.size**0.5)
    # What rounding alone can do to the difference counts as an error of one tolerance.
    floor = 10 * np.finfo(np.float64).eps * scale / h / tolerance + np.finfo(np.float64).tiny
    original = array.copy()

    def value_at(step: float, direction: np.ndarray) -> float:
        array[...] = original + step * direction
        value = function()
        array[...] = original
        return value

    def error_of(numeric: float, direction: np.ndarray) -> float:
        analytic = float((gradient * direction).sum())
        error = abs(numeric - analytic) / (max(abs(numeric), abs(analytic)) + floor)
        return float(error) if np.isfinite(error) else np.inf

    def error_at(step: float, direction: np.ndarray) -> float:
        numeric = (value_at(step, direction) - value_at(-step, direction)) / (2 * step)
        return error_of(numeric, direction)

    def one_sided_error_at(step: float, direction: np.ndarray) -> float:
        here, near, far = (value_at(k * step, direction) for k in (0, 1, 2))
        return error_of((4 * near - far - 3 * here) / (2 * step), direction)

    worst = 0.0
    for direction in _directions(gradient, rng, sparing):
        error = error_at(h, direction)
        if error > tolerance:  # a kink may lie within a step, or a deep network's rounding may drown it
            error = min(error, error_at(h / 10, direction), error_at(h * 10, direction))
        if error > tolerance:  # a kink next to the array: the gradient is that of the side on which the array lies
            error = min(error, *(one_sided_error_at(side * h, direction) for side in (1, -1)))
        worst = max(worst, error)
    return GradientCheck(path, what, worst, worst <= tolerance)


def _expect_float64(dtype: np.dtype[Any], path: str) -> None:
    if dtype != np.float64:
        raise DTypeError(f"{path}: finite differences need float64, got {dtype}. Build with dtype='float64'.")


def _directions(gradient: np.ndarray, rng: np.random.Generator, sparing: bool) -> Iterator[np.ndarray]:
    if gradient.size <= (1 if sparing else EVERY_AXIS):
        yield from np.eye(gradient.size).reshape(-1, *gradient.shape)
        return
    along = gradient / (np.linalg.norm(gradient) or 1)
    for _ in range(1 if sparing else DIRECTIONS):
        across = rng.normal(size=gradient.shape)
        direction = along + across / np.linalg.norm(across)
        yield direction / np.linalg.norm(direction)


class _Trial(NamedTuple):
    """A scalar P of arrays, at a batch.

    Attributes:
        value: P as it is at the arrays' current numbers.
        scale: the size of the terms whose sum P is.
        gradients: each gradient's name, its array and the gradient to check.
    """

    value: Callable[[], float]
    scale: float
    gradients: list[tuple[str, Any, Any]]


def check_backward(
    layer: Layer,
    x: np.ndarray,
    *,
    condition: np.ndarray | None = None,
    rng: np.random.Generator,
    train: bool = True,
    tolerance: float = 1e-5,
) -> list[GradientCheck]:
    """Compares `backward` with finite differences of `forward`: dx, dc, and the gradient of each parameter.

    Args:
        layer: a layer or network, built with dtype float64 on a CPU backend.
        x: a batch to try it on, (N, *input_shape), float64; keep it off the kinks of (Leaky)ReLU.
        condition: c, (N, ...), for a layer with one; it gets gradients, see `minigan.nn.layers.condition`.
        rng: draws the scalar (a random weighting of y), the directions, and one seed for Dropout's masks.
        train: True for training mode.
        tolerance: the largest relative error that passes.
    Raises:
        DTypeError: the layer or the batch is not float64.
    """

    def trial(inputs: _Inputs, forward: Callable[[], tuple[Any, Any]]) -> _Trial:
        x, c = inputs
        y, cache = forward()
        dy = rng.normal(size=y.shape)
        grads = layer.gradients()
        dc = None if c is None else np.zeros_like(c)
        dx = _given(layer, c, dc).backward(dy, cache, grads=grads)
        gradients = [("dx", x, dx), *((f"d({name})", p.value, grads[p]) for name, p in layer.named_parameters())]
        if c is not None:
            gradients.append(("dc", c, dc))
        return _Trial(lambda: _weighted(forward()[0], dy), _scale(y, dy), gradients)

    return _checked(trial, layer, _Inputs(x, condition), rng=rng, train=train, tolerance=tolerance)


def check_double_backward(
    layer: Layer,
    x: np.ndarray,
    *,
    condition: np.ndarray | None = None,
    rng: np.random.Generator,
    train: bool = True,
    tolerance: float = 1e-5,
) -> list[GradientCheck]:
    """Compares `double_backward` with finite differences of `backward`: dP/d(dy), dP/dx, dP/dc and dP/dw.

    P is a random weighting of dx and dc. Arguments and errors are those of `check_backward`.
    """

    def trial(inputs: _Inputs, forward: Callable[[], tuple[Any, Any]]) -> _Trial:
        x, c = inputs
        y, cache = forward()
        dy = rng.normal(size=y.shape)
        dc = None if c is None else np.zeros_like(c)
        dx, record = _given(layer, c, dc).backward_recorded(dy, cache)
        v = rng.normal(size=dx.shape)
        u = None if c is None else rng.normal(size=c.shape)
        grads = layer.gradients()
        ddc = None if c is None else np.zeros_like(c)
        ddy, ddx = _given(layer, c, ddc, u).double_backward(v, record, cache, grads=grads)
        gradients = [("dP/d(dy)", dy, ddy), ("dP/dx", x, np.zeros_like(x) if ddx is None else ddx)]
        gradients += [(f"dP/d({name})", p.value, grads[p]) for name, p in layer.named_parameters()]
        if c is not None:
            gradients.append(("dP/dc", c, ddc))

        def P() -> float:
            dc = None if c is None else np.zeros_like(c)
            dx = _given(layer, c, dc).backward(dy, forward()[1], grads=None)
            return _weighted(dx, v) + (0 if u is None else _weighted(dc, u))

        return _Trial(P, _scale(dx, v) + (0 if u is None else _scale(dc, u)), gradients)

    return _checked(trial, layer, _Inputs(x, condition), rng=rng, train=train, tolerance=tolerance)


class _Inputs(NamedTuple):
    x: np.ndarray
    condition: np.ndarray | None


def _given(layer: Layer, c: np.ndarray | None, gradient: np.ndarray | None, tangent: Any = None) -> Layer:
    return layer if c is None else layer.given(Condition(c, gradient, tangent))


def _checked(
    trial: Callable[[_Inputs, Callable[[], tuple[Any, Any]]], _Trial],
    layer: Layer,
    inputs: _Inputs,
    *,
    rng: np.random.Generator,
    train: bool,
    tolerance: float,
) -> list[GradientCheck]:
    """Checks all gradients of a trial, which is given copies of the inputs and the forward pass at them."""
    _expect_float64(layer.dtype, layer.path)
    _expect_float64(inputs.x.dtype, f"{layer.path}'s input")
    with _settled(layer):
        seed = int(rng.integers(2**32))
        x, c = inputs.x.copy(), None if inputs.condition is None else inputs.condition.copy()

        def forward() -> tuple[Any, Any]:
            return layer.given(c).forward(x, train=train, rng=np.random.default_rng(seed))

        value, scale, gradients = trial(_Inputs(x, c), forward)
        sparing = sum(g.size for _, _, g in gradients if g.size <= EVERY_AXIS) > MOST_AXES
        check = partial(check_gradient, value, path=layer.path, rng=rng, scale=scale, tolerance=tolerance)
        return [check(array, gradient, what=what, sparing=sparing) for what, array, gradient in gradients]


@contextmanager
def _settled(layer: Layer) -> Iterator[None]:
    """Brings all layers inside to rest for the time of a check; afterwards the state is as it was."""
    before = layer.state.flat.copy()
    for _, inner in layer.walk():
        inner.settle()
    try:
        yield
    finally:
        layer.state.flat[...] = before


def _weighted(y: Any, weights: np.ndarray) -> float:
    """The scalar sum(y * weights)."""
    return float((y * weights).sum())


def _scale(y: Any, weights: np.ndarray) -> float:
    """The sum of the sizes of the terms of `_weighted`."""
    return float(np.abs(y * weights).sum())


def check_network(
    network: Sequential, x: np.ndarray, *, rng: np.random.Generator, tolerance: float = 1e-5
) -> Iterator[GradientCheck]:
    """Checks each layer with both checks, on the input it gets in the network, and then the network as a whole.

    So a wrong gradient is reported under the name of its layer. Arguments and errors are those of `check_backward`.
    """

    def both(layer: Layer, x: np.ndarray) -> Iterator[GradientCheck]:
        yield from check_backward(layer, x, rng=rng, tolerance=tolerance)
        yield from check_double_backward(layer, x, rng=rng, tolerance=tolerance)

    inputs = x
    for layer in network:
        yield from both(layer, inputs)
        inputs, _ = layer.forward(inputs, train=True, rng=rng)
        inputs = np.where(inputs == 0, 0.1, inputs)  # Dropout leaves zeros, where the next ReLU would have its kink
    yield from both(network, x)
