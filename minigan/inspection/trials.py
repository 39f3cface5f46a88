"""Worked examples: small arrays, everything computed from them, and each gradient checked before anything is shown.

A check compares with central differences in float64; an optimizer's step is compared with its formula evaluated number
by number. If one fails, `GradientCheckError` is raised: wrong numbers are never shown.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.errors import GradientCheckError
from minigan.inspection.document import Block, Facts, Matrices, Text
from minigan.inspection.noted_backend import NotedBackend
from minigan.losses import FAKE, REAL, AdversarialLoss, CoupledLoss, FeatureMatching, GradientPenalty
from minigan.nn import Dense, Layer, Optimizer, Sequential
from minigan.nn.gradcheck import GradientCheck, check_gradient

__all__ = [
    "FunctionTrial",
    "LayerTrial",
    "LossTrial",
    "MatchingTrial",
    "OptimizerTrial",
    "PenaltyTrial",
    "StepTrial",
    "Trial",
    "Worked",
]

EXACT = 1e-12  # the largest relative difference of two ways to compute the same in float64


class Worked(NamedTuple):
    """A worked example, checked.

    Attributes:
        blocks: to show.
        checks: one for each array that was checked.
        kernels: the backend's, in the order of their first calls.
        arrays: by name.
    """

    blocks: list[Block]
    checks: list[GradientCheck]
    kernels: tuple[str, ...]
    arrays: dict[str, np.ndarray]

    def record(self) -> dict[str, Any]:
        """Numbers and texts, which JSON can hold."""
        return {
            "arrays": {name: array.tolist() for name, array in self.arrays.items()},
            "checks": [{"gradient": check.what, "error": check.error} for check in self.checks],
            "kernels": list(self.kernels),
        }


class Trial(ABC):
    """Base of the makers of worked examples."""

    @abstractmethod
    def run(self) -> Worked:
        """Computes and checks.

        Raises:
            GradientCheckError: a gradient is wrong.
        """


class _Board:
    """Collects the blocks, the arrays and the checks of an example."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.backend = NotedBackend()
        self.rng = np.random.default_rng(0)
        self.blocks: list[Block] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.checks: list[GradientCheck] = []

    def say(self, text: str) -> None:
        self.blocks.append(Text(text))

    def show(self, arrays: Mapping[str, Any]) -> None:
        """Shows arrays as they are now, by name."""
        kept = {name: np.array(array, dtype=np.float64) for name, array in arrays.items()}
        self.arrays |= kept
        flat = [item for name, array in kept.items() for item in _planes(name, array)]
        self.blocks.append(Matrices(flat))

    def check(
        self, what: str, function: Callable[[], float], array: np.ndarray, gradient: Any, *, scale: float = 0.0
    ) -> None:
        """Compares a gradient with central differences of a function of the array.

        Args:
            scale: the size of the terms that the function adds up.
        """
        gradient = np.asarray(gradient)
        self.judge(check_gradient(function, array, gradient, path=self.path, what=what, rng=self.rng, scale=scale))

    def judge(self, found: GradientCheck) -> None:
        self.checks.append(found)
        if not found.passed:
            raise GradientCheckError(
                f"{self.path}: {found.what} of the worked example is wrong: relative error {found.error:.1e}. "
                "Nothing is shown; please report it, or mend the layer if it is your own."
            )

    def worked(self, *, against: str = "central differences in float64") -> Worked:
        rows = [(check.what, f"largest relative error {check.error:.1e}") for check in self.checks]
        self.blocks += [Text(f"Checked with {against}:"), Facts(rows)]
        kernels = tuple(dict.fromkeys(self.backend.noted))
        return Worked(self.blocks, self.checks, kernels, self.arrays)


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
        board = _Board(type(layer).__name__)
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
        board: _Board,
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


class LossTrial(Trial):
    """A loss on five real and five fake logits: values and gradients of D and of G.

    Args:
        loss: an adversarial loss.
        shape: of each batch of logits.
    """

    def __init__(self, loss: AdversarialLoss | CoupledLoss, shape: tuple[int, ...] = (5,)) -> None:
        self.loss, self.shape = loss, shape

    def run(self) -> Worked:
        """Computes and checks."""
        board = _Board(type(self.loss).__name__)
        real, fake = (distinct(self.shape, 2.0, seed=seed) for seed in (1, 2))
        board.say(f"{self.loss!r} on D's logits of five real examples and of five fakes:")
        board.show({"real": real, "fake": fake})
        if isinstance(self.loss, CoupledLoss):
            self._coupled(board, self.loss, real, fake)
        else:
            self._separate(board, self.loss, real, fake)
        return board.worked()

    def _separate(self, board: _Board, loss: AdversarialLoss, real: np.ndarray, fake: np.ndarray) -> None:
        on_real, on_fake = loss.discriminator(real, REAL), loss.discriminator(fake, FAKE)
        of_g = loss.generator(fake)
        board.say(f"D's loss: {on_real[0]:.4f} on real + {on_fake[0]:.4f} on fake. G's loss: {of_g[0]:.4f}.")
        board.show({"d(D's loss)/d(real)": on_real[1], "d(D's loss)/d(fake)": on_fake[1]})
        board.show({"d(G's loss)/d(fake)": of_g[1]})
        board.check("D's loss, real", lambda: float(loss.discriminator(real, REAL)[0]), real, on_real[1])
        board.check("D's loss, fake", lambda: float(loss.discriminator(fake, FAKE)[0]), fake, on_fake[1])
        board.check("G's loss, fake", lambda: float(loss.generator(fake)[0]), fake, of_g[1])

    def _coupled(self, board: _Board, loss: CoupledLoss, real: np.ndarray, fake: np.ndarray) -> None:
        value, dreal, dfake = loss.discriminator(real, fake)
        of_g, dg = loss.generator(real, fake)
        board.say(f"D's loss: {value:.4f} on both together. G's loss: {of_g:.4f}.")
        board.show({"d(D's loss)/d(real)": dreal, "d(D's loss)/d(fake)": dfake})
        board.show({"d(G's loss)/d(fake)": dg})
        board.check("D's loss, real", lambda: float(loss.discriminator(real, fake)[0]), real, dreal)
        board.check("D's loss, fake", lambda: float(loss.discriminator(real, fake)[0]), fake, dfake)
        board.check("G's loss, fake", lambda: float(loss.generator(real, fake)[0]), fake, dg)


class FunctionTrial(Trial):
    """A loss with a target: its value and its gradient.

    Args:
        function: (prediction, target) -> (value, gradient).
        prediction, target: its arguments.
        names: of the two.
    """

    def __init__(
        self,
        function: Callable[[Any, Any], tuple[Any, Any]],
        prediction: np.ndarray,
        target: np.ndarray,
        names: tuple[str, str] = ("prediction", "target"),
    ) -> None:
        self.function, self.prediction, self.target, self.names = function, prediction, target, names

    def run(self) -> Worked:
        """Computes and checks."""
        board = _Board(self.function.__name__)
        prediction = self.prediction.astype(np.float64)
        value, gradient = self.function(prediction, self.target)
        board.show(dict(zip(self.names, (prediction, self.target), strict=True)))
        board.say(f"The value is {float(value):.4f}.")
        board.show({f"d(value)/d({self.names[0]})": gradient})
        what = f"d({self.names[0]})"
        board.check(what, lambda: float(self.function(prediction, self.target)[0]), prediction, gradient)
        return board.worked()


class PenaltyTrial(Trial):
    """A gradient penalty of a small D on a 5x5 image: its value, and its gradient for each of D's weights.

    Args:
        penalty: a gradient penalty.
        layers: make D's layers, not built.
        input_shape: of D.
    """

    def __init__(
        self, penalty: GradientPenalty, layers: Callable[[], list[Layer]], input_shape: tuple[int, ...] = (5, 5, 1)
    ) -> None:
        self.penalty, self.layers, self.input_shape = penalty, layers, input_shape

    def run(self) -> Worked:
        """Computes and checks."""
        board = _Board(type(self.penalty).__name__)
        D = Sequential(self.layers(), name="D")
        D.build(self.input_shape, backend=board.backend, dtype="float64", rng=np.random.default_rng(3))
        board.backend.noted.clear()
        real, fake = (distinct((1, *self.input_shape), 1.0, seed=seed) for seed in (1, 2))

        def P(grads: Any) -> float:
            rng = np.random.default_rng(5)  # the same points each time
            return float(self.penalty.add_gradients(D, real, fake, grads=grads, rng=rng))

        grads = D.gradients()
        value = P(grads)
        scratch = D.gradients()
        points = self.penalty.points(real, fake, np.random.default_rng(5), D.kernels)
        logits, tape = D.forward(points, train=True)
        slope, _ = D.backward_recorded(np.ones_like(logits), tape)
        board.say(f"{self.penalty!r} of D = {', '.join(layer.call_text() for layer in D)}, on one real and one fake:")
        board.show({"real": real, "fake": fake})
        board.show({"points x": points, "dD/dx": slope})
        board.say(f"|dD/dx| = {float(np.linalg.norm(slope)):.4f}, so P = {value:.4f}. Its gradient for D's weights:")
        board.show({f"dP/d({name})": grads[p] for name, p in D.named_parameters()})
        for name, p in D.named_parameters():
            board.check(f"dP/d({name})", lambda: P(scratch), p.value, grads[p])
        return board.worked()


class MatchingTrial(Trial):
    """Feature matching with a small D.

    Args:
        layers: make D's layers, not built.
        input_shape: of D.
    """

    def __init__(self, layers: Callable[[], list[Layer]], input_shape: tuple[int, ...] = (5, 5, 1)) -> None:
        self.layers, self.input_shape = layers, input_shape

    def run(self) -> Worked:
        """Computes and checks."""
        board = _Board("FeatureMatching")
        D = Sequential(self.layers(), name="D")
        D.build(self.input_shape, backend=board.backend, dtype="float64", rng=np.random.default_rng(3))
        board.backend.noted.clear()
        loss = FeatureMatching(D)
        real, fake = (distinct((1, *self.input_shape), 1.0, seed=seed) for seed in (1, 2))
        value, gradient = loss(fake, real)
        board.say(
            f"D = {', '.join(layer.call_text() for layer in D)}; the features are those that its last layer sees:"
        )
        board.show({"real": real, "fake": fake})
        board.say(f"The value is {float(value):.4f}.")
        board.show({"d(value)/d(fake)": gradient})
        board.check("d(fake)", lambda: float(loss(fake, real)[0]), fake, gradient)
        return board.worked()


class StepTrial(Trial):
    """A kernel that changes an array in place.

    Args:
        kernel: its name.
        arrays: its arguments by name, the first of which is changed.
        options: numbers by name.
        formula: the changed array from the arguments, written with Python's numbers.
    """

    def __init__(
        self,
        kernel: str,
        arrays: Mapping[str, Sequence[float]],
        options: Mapping[str, float],
        formula: Callable[..., list[float]],
    ) -> None:
        self.kernel, self.arrays, self.options, self.formula = kernel, arrays, options, formula

    def run(self) -> Worked:
        """Computes and compares."""
        board = _Board(self.kernel)
        arrays = {name: np.array(numbers, np.float64) for name, numbers in self.arrays.items()}
        expected = self.formula(*self.arrays.values(), *self.options.values())
        board.say(f"{self.kernel} with {', '.join(f'{name}={value:g}' for name, value in self.options.items())}:")
        board.show(arrays)
        getattr(board.backend, self.kernel)(*arrays.values(), **self.options)
        changed = next(iter(arrays))
        board.show({f"{changed} afterwards": arrays[changed]})
        board.judge(_same(f"{changed} afterwards", arrays[changed], expected))
        return board.worked(against="the formula, number by number")


class OptimizerTrial(Trial):
    """Three steps of an optimizer on five weights.

    Args:
        make: makes the optimizer of an arena.
        formula: the same update of one number: (w, dw, memory, step) -> (w, memory).
        names: of the memory.
    """

    def __init__(
        self,
        make: Callable[[Any], Optimizer],
        formula: Callable[[float, float, tuple[float, ...], int], tuple[float, tuple[float, ...]]],
        names: tuple[str, ...],
    ) -> None:
        self.make, self.formula, self.names = make, formula, names

    def run(self) -> Worked:
        """Computes and compares."""
        board = _Board("the optimizer")
        layer = Dense(5, bias=False).build((1,), backend=board.backend, dtype="float64", rng=np.random.default_rng(0))
        layer.w.value[...] = [[1.0, -2.0, 0.5, 3.0, -1.0]]
        optimizer, grads = self.make(layer.arena), layer.gradients()
        board.path = type(optimizer).__name__
        board.backend.noted.clear()
        expected = [(w, (0.0,) * len(self.names)) for w in layer.w.value[0].tolist()]
        board.say(f"{optimizer.title().partition(', 0 steps')[0]} on five weights w:")
        board.show({"w": layer.w.value})
        for step in (1, 2, 3):
            dw = distinct((1, 5), 1.0, seed=step)
            grads.zero()
            grads[layer.w][...] = dw
            optimizer.step(grads)
            expected = [self.formula(w, d, memory, step) for (w, memory), d in zip(expected, dw[0], strict=True)]
            found = {f"w after step {step}": layer.w.value}
            found |= {name: optimizer.buffers[name][:5] for name in self.names}
            board.show({f"dw of step {step}": dw, **found})
            here = [np.concatenate([[w], memory]) for w, memory in expected]
            for index, (name, array) in enumerate(found.items()):
                board.judge(_same(name if index == 0 else f"{name} after step {step}", array, [n[index] for n in here]))
        return board.worked(against="the formula, number by number")


def _call(layer: Layer) -> str:
    """The call that makes a layer, those inside of it written out."""
    if isinstance(layer, Sequential):
        return f"Sequential([{', '.join(_call(inner) for inner in layer)}])"
    return layer.call_text()


def _same(what: str, found: Any, expected: Sequence[float]) -> GradientCheck:
    error = float(np.abs(np.ravel(found) - expected).max() / max(np.abs(expected).max(), EXACT))
    return GradientCheck("optimizer", what, error, error <= EXACT)


def distinct(shape: tuple[int, ...], scale: float | None = None, *, seed: int) -> np.ndarray:
    """Different numbers, none of them 0, so that no layer has its kink or a tie there.

    Args:
        scale: the largest; None for whole numbers.
    """
    size = int(np.prod(shape))
    half = (size + 1) // 2
    numbers = np.array([*range(-half, 0), *range(1, half + 1)][:size], dtype=np.float64)
    mixed = np.random.default_rng(seed).permutation(numbers).reshape(shape)
    return mixed if scale is None else mixed * (scale / half)


def small_numbers(shape: tuple[int, ...], *, seed: int) -> np.ndarray:
    """Whole numbers from -2 to 2."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float64)


def _dot(y: Any, weights: np.ndarray) -> float:
    return float((y * weights).sum())


def _planes(name: str, array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """An array as matrices: a filter for each channel in and out, an image for each example and channel."""
    if array.ndim <= 2:
        return [(name, np.atleast_2d(array))]
    if array.ndim == 3:
        return [(f"{name}[{i}]", plane) for i, plane in enumerate(array)]
    if not re.search(r"(^|[.(])w\)?$", name):
        array = np.moveaxis(array, 0, 2)  # (N, H, W, C) with the examples where a filter has its input channels
    names = [""] if array.shape[2:] == (1, 1) else [f"[{c},{k}]" for c, k in np.ndindex(*array.shape[2:])]
    planes = array.reshape(*array.shape[:2], -1)
    return [(name + place, planes[..., i]) for i, place in enumerate(names)]
