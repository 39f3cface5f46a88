"""Learning rates of a resumed run, which jump where a schedule ends with the run and the run has become longer."""

import tomllib
from collections.abc import Mapping

from minigan.nn.optimizers import Optimizer
from minigan.recipes import Recipe

__all__ = ["rate_warnings"]


def rate_warnings(recipe: Recipe, optimizers: Mapping[str, Optimizer], step: int, config: str) -> tuple[str, ...]:
    """A line on each learning rate that is another than before at the step after `step`.

    Args:
        recipe: as it trains on.
        optimizers: by the first letter of their networks' names; as they were after `step`.
        step: the number of steps done.
        config: the text of config.toml when the checkpoint was made.
    """
    try:
        steps = tomllib.loads(config)["settings"]["steps"]
    except (ValueError, KeyError, TypeError):  # a checkpoint by a loop of the user's
        return ()
    changed: dict[str, list[str]] = {}
    for letter, optimizer in optimizers.items():
        before = recipe.schedule_before(optimizer.schedule, steps=steps)(optimizer.steps)
        if abs(optimizer.lr - before) > 1e-9 * abs(before):
            changed.setdefault(f"from {before:.3g} to {optimizer.lr:.3g}", []).append(letter.upper())
    return tuple(
        f"the learning rate of {' and '.join(networks)} jumps {values} at step {step + 1:,}: the {recipe.schedule} "
        f"schedule ends with the run, at step {recipe.steps:,} and no longer {steps:,}."
        for values, networks in changed.items()
    )
