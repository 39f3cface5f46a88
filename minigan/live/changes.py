"""Settings that may change while a GAN is trained: their values, and the learner that takes them over."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from minigan.errors import ConfigError
from minigan.losses import LOSSES, PENALTIES
from minigan.recipes import Recipe
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.training import AlternatingOptimizer, InstanceNoise, Learner

__all__ = ["CHANGES", "Choice", "apply_settings", "choices_of", "expect_game", "is_game", "no_game", "with_changes"]

# By name, each with its values; none for a number.
CHANGES: Mapping[str, tuple[str, ...]] = {
    "loss": tuple(LOSSES),
    "penalty": ("none", *PENALTIES),
    "penalty_weight": (),
    "g_lr": (),
    "d_lr": (),
    "n_critic": (),
    "instance_noise": (),
}
NUMBERS = {"g_lr": (1e-6, 0.1), "d_lr": (1e-6, 0.1), "penalty_weight": (1e-4, 1e4)} | {
    "n_critic": (1, 20),
    "instance_noise": (0.0, 10.0),
}


class Choice(NamedTuple):
    """A setting that may change.

    Attributes:
        value: the present one.
        values: those to choose from; empty for a number.
        least, most: of a number.
        meaning: in a sentence.
    """

    value: Any
    values: tuple[str, ...]
    least: float
    most: float
    meaning: str


def expect_game(recipe: Recipe, learner: Learner) -> AlternatingOptimizer:
    """The learner of a recipe, if it is a game of G, which draws from noise, and D.

    Raises:
        ConfigError: it is none.
    """
    if is_game(type(recipe)) and isinstance(learner, AlternatingOptimizer):
        return learner
    raise no_game(recipe.name)


def no_game(name: str) -> ConfigError:
    """The error of a recipe that the page cannot show."""
    return ConfigError(
        f"the live page shows GANs that draw from noise, {name} is none. Use mlp, dcgan, sngan or another of those."
    )


def is_game(recipe: type[Recipe]) -> bool:
    """Whether a recipe's G draws from noise and plays against a D."""
    return issubclass(recipe, NoiseRecipe)


def choices_of(recipe: AdversarialRecipe) -> dict[str, Choice]:
    """The settings that may change, by name, as they are in a recipe."""
    settings = recipe.settings()
    rates = {name: settings[name] or settings["lr"] for name in ("g_lr", "d_lr")}
    return {
        name: Choice(
            rates.get(name, settings[name]), values, *NUMBERS.get(name, (0.0, 0.0)), recipe.meanings.get(name, "")
        )
        for name, values in CHANGES.items()
    }


def with_changes(recipe: AdversarialRecipe, changes: Mapping[str, Any]) -> AdversarialRecipe:
    """The recipe with other settings.

    Raises:
        ConfigError: a name is none of `CHANGES`, or a value is of another type or out of range.
    """
    for name, value in changes.items():
        if name not in CHANGES:
            raise ConfigError(f"{name!r} cannot change during a training: expected one of {', '.join(CHANGES)}.")
        least, most = NUMBERS.get(name, (0.0, 0.0))
        if not CHANGES[name] and not (type(value) in (int, float) and least <= value <= most):
            raise ConfigError(f"{name} must be a number from {least:g} to {most:g}, got {value!r}.")
    return replace(recipe, **changes)


def apply_settings(learner: AlternatingOptimizer, recipe: AdversarialRecipe) -> None:
    """Lets a learner go on with the recipe's settings as far as these may change; a step must not be under way."""
    learner.loss = recipe.adversarial_loss()
    learner.penalty = recipe.gradient_penalty()
    learner.n_critic = recipe.n_critic
    learner.instance_noise = InstanceNoise(recipe.instance_noise, recipe.instance_noise_steps)
    learner.g_optimizer.schedule, learner.d_optimizer.schedule = recipe.game_rates()
