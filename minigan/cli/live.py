"""The command `minigan live`: a page on which a GAN is watched, stopped, stepped and changed as it learns."""

import argparse
import contextlib
from typing import Any

from minigan.cli.recipes import parse_settings
from minigan.cli.settings import chosen_settings
from minigan.data.surveying import items_of, open_for_survey
from minigan.recipes import Recipe
from minigan.runs.config import RunConfig, new_config
from minigan.runs.plan import suited_recipe
from minigan.runs.session import recipe_named
from minigan.support.output import Output
from minigan.support.representation import short_path

__all__ = ["live"]

STEPS = 1_000_000  # a training that is watched ends when somebody ends it
LOG, PICTURE, CHECKPOINT, KEEP = 100, 2000, 2000, 20  # steps from one to the next; checkpoints for a replay
# On the plane: a game that finds the ring, and noise whose whole image is a net that can be drawn.
ON_POINTS = {"loss": "non-saturating", "mse_weight": 0.0, "lr": 1e-3, "instance_noise": 0.0, "latent": 2}


def live(options: argparse.Namespace) -> int:
    """Trains while a page shows and steers it, until Ctrl-C; then saves."""
    # Late: the other commands do not pay for a server.
    from minigan.live import go_live

    out = Output.of(options)
    config = _config(options)
    compare = None if options.compare is None else parse_settings(options.compare)
    ended = go_live(
        config, options.out, compare=compare, port=options.port, opens_browser=not options.no_browser, output=out
    )
    folders = [short_path(folder) for folder in ended.folders]
    for folder in folders:
        out.say(f"saved step {ended.step:,}: minigan report {folder}, or minigan train --resume {folder} to go on")
    out.record({"runs": folders, "step": ended.step, "engine": ended.engine})
    return 0


def _config(options: argparse.Namespace) -> RunConfig:
    """The configuration of the run: the recipe that suits the data, on points with settings that find the ring."""
    source = options.data or ("ring" if options.recipe is None else None)
    settings: dict[str, Any] = {"steps": STEPS}
    if options.recipe is None:
        kind, settings = _suited(source or "ring", settings)
    else:
        kind = recipe_named(options.recipe)
    recipe = kind.from_settings({**settings, **chosen_settings(options)})
    return new_config(
        recipe,
        data=source,
        seed=options.seed,
        backend=options.backend,
        precision=options.precision,
        log_every=LOG,
        sample_every=PICTURE,
        checkpoint_every=CHECKPOINT,
        keep=KEEP,
    )


def _suited(source: str, settings: dict[str, Any]) -> tuple[type[Recipe], dict[str, Any]]:
    with contextlib.closing(open_for_survey(source)) as dataset:
        items = items_of(dataset)
    return suited_recipe(items), {**settings, **(ON_POINTS if items == "points" else {})}
