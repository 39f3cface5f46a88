"""The command `minigan gradcheck`: a recipe's gradients and finite differences."""

import argparse
import contextlib
import itertools
from collections.abc import Sequence

import numpy as np

from minigan.backends import get_backend
from minigan.cli.settings import chosen_settings
from minigan.nn.gradcheck import GradientCheck, check_network
from minigan.runs.session import recipe_named
from minigan.support.output import Output

__all__ = ["gradcheck"]


def gradcheck(options: argparse.Namespace) -> int:
    """Compares all gradients of a recipe's networks with finite differences."""
    out = Output.of(options)
    recipe = recipe_named(options.recipe).from_settings({"batch_size": 4, **chosen_settings(options)})
    dataset = recipe.open_data(options.data or recipe.default_data, seed=options.seed)
    recipe, rng = recipe.fit(dataset), np.random.default_rng(options.seed)
    backend = get_backend(options.backend, precision=options.precision)
    if options.precision in ("tf32", "bf16"):
        out.note(f"these networks are float64: {options.precision} rounds products of float32 only.")
    learner = recipe.assemble(recipe.image_shape(dataset), backend=backend, dtype="float64", rng=rng)
    with contextlib.closing(dataset):
        batch = recipe.batch(next(recipe.loader(dataset, seed=options.seed, prefetch=0, shuffle=False)), rng)
    checks: list[GradientCheck] = []
    for network, x in learner.inputs(batch, rng):
        out.show(f"{network.summary()}\n")
        for path, found in itertools.groupby(check_network(network, x, rng=rng), key=lambda check: check.path):
            group = list(found)
            checks += group
            _show_layer(path, group, out)
        out.show()
    failed = sum(not check.passed for check in checks)
    out.record({"recipe": recipe.name, "failed": failed, "gradients": [check._asdict() for check in checks]})
    if failed:
        out.show(f"{failed} gradients are wrong; the first is that of the first layer marked FAIL above.")
        return 2
    out.show("all gradients and double gradients agree with finite differences.")
    return 0


def _show_layer(path: str, checks: Sequence[GradientCheck], out: Output) -> None:
    wrong = [check for check in checks if not check.passed]
    for check in wrong:
        out.show(str(check))
    if not wrong:
        error = max(check.error for check in checks)
        out.show(f"ok   {path:24} {len(checks):3} gradients, largest relative error {error:.1e}")
