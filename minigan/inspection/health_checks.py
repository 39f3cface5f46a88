"""Verdicts on a step: its measures against the limits, each with the setting to change."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigan.inspection.game_health import GameHealth
from minigan.inspection.health_limits import LIMITS, Limit
from minigan.inspection.layer_health import LayerHealth
from minigan.losses.gradient_penalties import UnitSlope
from minigan.recipes import Recipe
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.learner import Learner

__all__ = ["Check", "StepHealth", "checks"]


@dataclass(frozen=True)
class StepHealth:
    """Everything measured in one step.

    Attributes:
        step: its number.
        recipe: of the run.
        learner: after the step.
        layers: a row a layer, or two that run as one.
        game: None for a learner without D.
        pull: sum of |dL/ds| at D's logits in G's step, without the loss's weight; None without D.
        handed_down: largest absolute gradient of G's loss at a number of a fake, as D hands it down; None without D.
        values: that training measures in a step.
        rates: the learning rates of the step.
    """

    step: int
    recipe: Recipe
    learner: Learner
    layers: tuple[LayerHealth, ...]
    game: GameHealth | None
    pull: float | None
    handed_down: float | None
    values: Mapping[str, float]
    rates: Mapping[str, float]


class Check(NamedTuple):
    """A measure next to its limit.

    Attributes:
        word: its name in `LIMITS`.
        where: the network or the layer with the worst number: `"D.5 Conv2D 4x4"`; "" for the whole game.
        value: that number.
        ill: whether it lies beyond the limit.
        finding: a sentence with the number, for an ill one; "" for a healthy one.
        remedy: the settings to change, for an ill one.
    """

    word: str
    where: str
    value: float
    ill: bool
    finding: str
    remedy: str

    @property
    def limit(self) -> Limit:
        """The limit that the value was held against."""
        return LIMITS[self.word]

    def record(self) -> dict[str, Any]:
        """The same as numbers and texts."""
        return {**self._asdict(), "limit": self.limit.value, "limit_is": "upper" if self.limit.upper else "lower"}


def checks(health: StepHealth) -> list[Check]:
    """All checks that apply to the run and to its step, the layers' first.

    A word of the table that is missing does not apply: there is no such layer, or the step comes too early.
    """
    found = [check for part in (_of_layers, _of_networks, _of_game, _of_code) for check in part(health)]
    return [check for check in found if health.step >= check.limit.judged_from(health.recipe.steps)]


def _check(word: str, where: str, value: float, finding: str, remedy: str) -> Check:
    ill = LIMITS[word].is_ill(value)
    return Check(word, where, value, ill, finding if ill else "", remedy if ill else "")


# ------------------------------------------------------------------------------------------ layers


def _of_layers(health: StepHealth) -> Iterator[Check]:
    """For each network the layer that is worst: one cause makes many layers ill."""
    for name in health.learner.networks:
        rows = [row for row in health.layers if row.network == name]
        slower = _slower(health, name)
        # Outputs that are the same everywhere are another trouble: saturated or collapsed.
        dead = [(row.dead / row.channels, row) for row in rows if row.dead is not None and row.saturated is None]
        if dead:
            share, row = max(dead, key=lambda pair: pair[0])
            finding = f"{row.dead} of {row.channels} channels are dead: they give one number for all that they see"
            yield _check("dead", _place(row), share, finding, f"{slower}, and train anew: dead channels stay dead")
        moved = [(row.update, row) for row in rows if row.update is not None]
        if moved:
            update, row = max(moved, key=lambda pair: pair[0])
            finding = f"a step changes its weights by {update:.1%} of their size"
            yield _check("hasty", _place(row), update, finding, slower)
        normed = [(row.sigma, row) for row in rows if row.sigma is not None and "SpectralNorm" in row.path]
        if normed:
            sigma, row = max(normed, key=lambda pair: pair[0])
            yield _check(
                "loose", _place(row), sigma, f"its normalized weight has the spectral norm {sigma:.2f}, not 1", slower
            )
        if name == "G":
            yield from _of_generator(rows, slower)


def _of_generator(rows: list[LayerHealth], slower: str) -> Iterator[Check]:
    ends = [row for row in rows if row.passed is not None]
    if ends:
        row = ends[-1]
        scale = 4.0 if "Sigmoid" in row.label else 1.0
        passed = scale * (row.passed or 0.0)
        finding = f"{row.saturated or 0:.0%} of its outputs are saturated, and {passed:.1%} of the gradient passes it"
        remedy = f"{slower}, and train anew"
        yield _check("saturated", _place(row), passed, finding, remedy)
    norms = [(row.apart, row) for row in rows if row.apart is not None]
    if norms:
        apart, row = max(norms, key=lambda pair: pair[0])
        finding = f"its running statistics are {apart:.2f} from the batch's"
        remedy = "Draw with statistics of their own (`ema=0.999, ema_statistics='standing'`), or " + _lower(slower)
        yield _check("lagging", _place(row), apart, finding, remedy)


def _of_networks(health: StepHealth) -> Iterator[Check]:
    for name in health.learner.networks:
        gradients = [row.largest for row in health.layers if row.network == name and row.largest is not None]
        if gradients and health.rates.get(f"{name[0].lower()}_lr", 1.0) > 0:
            largest = max(gradients)
            starved = name == "G" and health.handed_down is not None and LIMITS["stopped"].is_ill(health.handed_down)
            why = ", since D hands none down to it" if starved else ": it learns nothing any more"
            remedy = f"{_slower(health, 'D' if starved else name)}, and train anew"
            yield _check("stopped", name, largest, f"its largest gradient is {largest:.1g}{why}", remedy)


def _place(row: LayerHealth) -> str:
    return f"{row.network}.{row.label}"


# ------------------------------------------------------------------------------------------ the game


def _of_game(health: StepHealth) -> Iterator[Check]:
    game, learner, recipe = health.game, health.learner, health.recipe
    if game is None or not isinstance(learner, AlternatingOptimizer):
        return
    if health.pull is not None:
        yield _vanishing(health, game)
    if recipe.settings().get("loss") in ("minimax", "non-saturating", "squared-probability"):
        size = float(np.abs(np.concatenate([game.real, game.fake])).mean())
        yield _check("runaway", "D", size, f"its logits have a mean size of {size:,.0f}", _slower(health, "D"))
    if isinstance(learner.penalty, UnitSlope):
        slope = float(np.concatenate([game.slope_real, game.slope_fake]).mean())
        weight = 3 * learner.penalty.weight_at(learner.d_optimizer.steps)
        more = f"Give the penalty more weight (`penalty_weight={weight:g}`)"
        remedy = f"{more}, or {_lower(_slower(health, 'D'))}"
        yield _check("steep", "D", slope, f"its slope is {slope:.1f} at the examples, not 1", remedy)
    yield from _variety(health, game)
    if game.memory is not None and game.memory_error is not None:
        surely = game.memory - 2 * game.memory_error
        finding = (
            f"held-out images lie {game.memory:.0%} of the way from real to fake (standard error "
            f"{game.memory_error:.0%}): D knows its training images by heart"
        )
        augment = " augment them (`augment='adaptive'`)," if _can_augment(recipe, learner) else ""
        remedy = f"Use more data,{augment} or stop at an earlier step"
        yield _check("overfitting", "D", surely, finding, remedy)


def _can_augment(recipe: Recipe, learner: AlternatingOptimizer) -> bool:
    """Whether the recipe has augmentations that the run does not use yet."""
    return len(learner.D.input_shape) == 3 and recipe.settings().get("augment", "none") == ""


def _vanishing(health: StepHealth, game: GameHealth) -> Check:
    pull = health.pull or 0.0
    sure = "that the fakes are fake" if game.fake.mean() <= game.real.mean() else "that the fakes are real"
    finding = f"the loss passes {pull:.1%} of its gradient on to G, since D is sure {sure}"
    if sure.endswith("real"):
        remedy = "Let D catch up: " + _lower(_slower(health, "G"))
    else:
        other = "" if health.recipe.settings().get("loss") == "non-saturating" else "Use `loss='non-saturating'`, or "
        remedy = (other + _lower(_slower(health, "D"))) if other else _slower(health, "D")
    return _check("vanishing", "G", pull, finding, remedy)


def _variety(health: StepHealth, game: GameHealth) -> Iterator[Check]:
    pack = "" if health.recipe.settings().get("pack", 2) != 1 else ", or let D judge several together (`pack=2`)"
    remedy = (
        f"Start anew from another seed with a G that learns more slowly than D: {_lower(_slower(health, 'G'))}{pack}"
    )
    finding = f"its fakes vary {game.spread:.1%} as much as real examples"
    yield _check("collapsed", "G", game.spread, finding, remedy)
    if game.coverage is not None:
        finding = f"only {game.coverage:.0%} of the real points have a fake near"
        yield _check(
            "missing", "G", game.coverage, finding, f"Train on, if this figure still rises. If not: {_lower(remedy)}"
        )
    elif not LIMITS["collapsed"].is_ill(game.spread):
        finding = f"{game.duplicates:.0%} of its fakes have a near-duplicate among {game.examples}"
        yield _check("repeating", "G", game.duplicates, finding, remedy)


def _of_code(health: StepHealth) -> Iterator[Check]:
    if (kl := health.values.get("kl")) is not None:
        remedy = f"Give the divergence less weight (`kl_weight={health.recipe.settings().get('kl_weight', 1) / 10:g}`)"
        yield _check("unused", "encoder", kl, f"its code is {kl:.2f} nats from the prior", remedy)


# ------------------------------------------------------------------------------------------ settings


def _slower(health: StepHealth, name: str) -> str:
    """The call for a lower learning rate of a network, by the recipe's setting for it."""
    letter, settings = name[0].lower(), health.recipe.settings()
    setting = f"{letter}_lr" if f"{letter}_lr" in settings else "lr"
    now = float(settings.get(setting) or settings["lr"])
    return f"Lower {name}'s learning rate from {now:g} (`{setting}={now / 10:.2g}`)"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
