"""A training before it begins: what a recipe would make of a source of data."""

from collections.abc import Iterator

import numpy as np

from minigan.data.survey_result import Survey
from minigan.errors import ConfigError
from minigan.recipes import NoiseRecipe, Recipe, UnpairedRecipe, get_recipe
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.recipes.bases.classes import why_not_tell
from minigan.recipes.bases.noise import AUTO
from minigan.recipes.bases.translation import PairRecipe

__all__ = ["suited_recipe", "training_plan", "unpaired_plan"]

USUAL = {"pictures": "dcgan", "points": "mlp", "pairs": "pix2pix"}
SLIGHT = 0.005  # of a picture: a strip that nobody would miss


def suited_recipe(items: str) -> type[Recipe]:
    """The recipe to begin with: dcgan for pictures, mlp for points, pix2pix for pairs."""
    return get_recipe(USUAL[items])


def training_plan(found: Survey, recipe: Recipe) -> tuple[str, ...]:
    """Lines on what `minigan train` would do with the data.

    They tell the size and the colors of what G draws, what is scaled and cut off for it, the use of the classes, and
    how often each item is seen.
    """
    name = recipe.name
    if (found.items == "pairs") != isinstance(recipe, PairRecipe):
        kind = "pairs" if isinstance(recipe, PairRecipe) else "single pictures or points"
        return (f"{name} learns from {kind}; these are {found.items}: use {USUAL[found.items]}",)
    if found.items == "points":
        try:
            recipe.check_points()
        except ConfigError as error:
            return (str(error),)
        lines = [f"{name} draws points of the plane"]
    else:
        height, width = recipe.fit_size(found.size)
        channels = recipe.channels or _channels(found)
        lines = [f"{name} draws {'color' if channels == 3 else 'grayscale'} pictures {height}x{width}"]
        lines += _scaling(found, (height, width))
        if channels == 1 and found.color:
            lines.append(f"{found.color:,} pictures lose their colors")
    lines += _classes(found, recipe)
    if set(found.classes) == {"A", "B"} and found.items == "pictures":
        lines.append("if the folders of A and B are two kinds to translate between, use cyclegan")
    if recipe.mirror:
        together = ", those of a pair together" if found.items == "pairs" else ""
        lines.append(f"each picture is flipped left to right with probability 1/2{together}")
    lines.append(f"{_steps(recipe)} see each of them {_times(recipe, found.count)} times")
    return tuple(lines)


def unpaired_plan(a: Survey, b: Survey, recipe: UnpairedRecipe) -> tuple[str, ...]:
    """The same for images of A and of B, none of which belong together."""
    name, (height, width) = recipe.name, recipe.fit_size(a.size)
    own = [recipe.a_channels or recipe.channels or _channels(a), recipe.b_channels or recipe.channels or _channels(b)]
    if len({*own}) > 1 and not (recipe.a_channels or recipe.b_channels or recipe.channels):
        own = [3, 3]
    tones = " and ".join("color" if channels == 3 else "grayscale" for channels in dict.fromkeys(own))
    lines = [f"{name} translates between {tones} pictures {height}x{width}, from A to B and from B to A"]
    for letter, found, channels in (("A", a, own[0]), ("B", b, own[1])):
        lines += [f"{letter}: {line}" for line in _scaling(found, (height, width))]
        if channels == 1 and found.color:
            lines.append(f"{letter}: {found.color:,} pictures lose their colors")
        if channels == 3 and found.grayscale:
            lines.append(f"{letter}: {found.grayscale:,} grayscale pictures are taken in color")
    high, wide = recipe.enlarged_size((height, width))
    if (high, wide) != (height, width):
        lines.append(f"each is enlarged to {high}x{wide}, and a part of {height}x{width} is cut out at random")
    if recipe.mirror:
        lines.append("each picture is flipped left to right with probability 1/2")
    seen = [_times(recipe, found.count) for found in (a, b)]
    lines.append(f"{_steps(recipe)} of each side see each of A {seen[0]} times, and each of B {seen[1]} times")
    for letter, found in (("A", a), ("B", b)):
        if found.count < recipe.batch_size:
            lines.append(f"{letter} has fewer pictures than a batch: lower `batch_size`")
    return tuple(lines)


def _channels(found: Survey) -> int:
    """The number of channels of the data's own."""
    return 3 if found.color or not found.grayscale else 1


def _batches(recipe: Recipe) -> int:
    """The number of batches in a step."""
    return recipe.accumulate * (recipe.n_critic if isinstance(recipe, AdversarialRecipe) else 1)


def _steps(recipe: Recipe) -> str:
    """All steps with what each of them takes, in words."""
    batches = _batches(recipe)
    batch = f"{recipe.batch_size}" if batches == 1 else f"{batches} x {recipe.batch_size}"
    return f"{recipe.steps:,} steps of {batch}"


def _times(recipe: Recipe, count: int) -> str:
    """How often a training sees each of so many items, in words."""
    passes = recipe.steps * _batches(recipe) * recipe.batch_size / count
    return f"{passes:,.0f}" if passes >= 10 else f"{passes:.1f}"


def _scaling(found: Survey, size: tuple[int, int]) -> Iterator[str]:
    """How pictures get the size: as `minigan.data.resize.cover` does, they are scaled to cover it, and cut."""
    if found.size == size or not found.sizes:
        yield "they are taken as they are" if found.sizes else "none of them could be read"
        return
    height, width = size
    total = sum(found.sizes.values())
    shares = {
        each: 1 - min(each[1] * height, each[0] * width) / max(each[1] * height, each[0] * width)
        for each in found.sizes
    }
    worst = max(shares, key=lambda each: shares[each])
    smaller = sum(count for (h, w), count in found.sizes.items() if h < height or w < width)
    if shares[worst] < SLIGHT:
        yield f"they are scaled to {height}x{width}, and nothing is cut off"
    elif len(shares) == 1:
        yield f"they are scaled to cover {height}x{width}; {_cut_off(worst, size, shares[worst])}"
    else:
        mean = sum(shares[each] * count for each, count in found.sizes.items()) / total
        yield f"they are scaled to cover {height}x{width}; {mean:.0%} of a picture is cut off on average"
        yield f"most is lost of those of {worst[0]}x{worst[1]}: {_cut_off(worst, size, shares[worst])}"
    if smaller:
        yield f"{smaller:,} of {total:,} are smaller than that and are enlarged"


def _cut_off(of: tuple[int, int], size: tuple[int, int], share: float) -> str:
    """How much is cut off pictures of a size, and where."""
    where = "left and right" if of[1] * size[0] > of[0] * size[1] else "above and below"
    return f"{share:.0%} is cut off, {where} alike"


def _classes(found: Survey, recipe: Recipe) -> Iterator[str]:
    if not found.classes or not isinstance(recipe, NoiseRecipe):
        return
    remedy = f"`condition={recipe.conditions[-1]!r}` gives them to G and D"
    if recipe.condition == AUTO and not recipe.blind_to_classes(recipe.conditions[-1]) and found.items == "pictures":
        reason = why_not_tell(np.array(list(found.classes.values())), remedy=remedy)
        if reason is None:
            yield f"G and D are given the {len(found.classes):,} classes; `condition='none'` trains without them"
        elif reason:
            yield f"the classes are not used: {reason}"
    elif recipe.conditional:
        yield f"G and D are given the {len(found.classes):,} classes"
    else:
        yield f"the classes are not used; {remedy}"
