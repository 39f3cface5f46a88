"""Worked examples of losses and gradient penalties."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.inspection.trials import Board, Trial, Worked, distinct
from minigan.losses import FAKE, REAL, AdversarialLoss, CoupledLoss, FeatureMatching, GradientPenalty
from minigan.nn import Layer, Sequential

__all__ = ["FunctionTrial", "LossTrial", "MatchingTrial", "PenaltyTrial"]


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
        board = Board(type(self.loss).__name__)
        real, fake = (distinct(self.shape, 2.0, seed=seed) for seed in (1, 2))
        board.say(f"{self.loss!r} on D's logits of five real examples and of five fakes:")
        board.show({"real": real, "fake": fake})
        if isinstance(self.loss, CoupledLoss):
            self._coupled(board, self.loss, real, fake)
        else:
            self._separate(board, self.loss, real, fake)
        return board.worked()

    def _separate(self, board: Board, loss: AdversarialLoss, real: np.ndarray, fake: np.ndarray) -> None:
        on_real, on_fake = loss.discriminator(real, REAL), loss.discriminator(fake, FAKE)
        of_g = loss.generator(fake)
        board.say(f"D's loss: {on_real[0]:.4f} on real + {on_fake[0]:.4f} on fake. G's loss: {of_g[0]:.4f}.")
        board.show({"d(D's loss)/d(real)": on_real[1], "d(D's loss)/d(fake)": on_fake[1]})
        board.show({"d(G's loss)/d(fake)": of_g[1]})
        board.check("D's loss, real", lambda: float(loss.discriminator(real, REAL)[0]), real, on_real[1])
        board.check("D's loss, fake", lambda: float(loss.discriminator(fake, FAKE)[0]), fake, on_fake[1])
        board.check("G's loss, fake", lambda: float(loss.generator(fake)[0]), fake, of_g[1])

    def _coupled(self, board: Board, loss: CoupledLoss, real: np.ndarray, fake: np.ndarray) -> None:
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
        board = Board(self.function.__name__)
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
        board = Board(type(self.penalty).__name__)
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
        board = Board("FeatureMatching")
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
