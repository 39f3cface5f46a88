"""The curves of a run, in groups, each with how it is read."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from minigan.inspection.history import Curve, History
from minigan.losses import LOSSES, Wasserstein
from minigan.training.log_verdict import UNDECIDED, undecided_losses

__all__ = ["GENERAL", "Group", "groups"]

GENERAL = (
    "The losses of a GAN are moves in a game, not distances to a goal: G's loss is measured by a D that changes, so it "
    "may rise while the pictures get better. Look for balance rather than for a minimum, and stop by the pictures or "
    "by a figure such as the FID, not by a loss. Pale: each logged value; strong: their running mean."
)
FAR = 8.0  # times D's loss
AUXILIARY = (
    "Much larger than D's: an auxiliary term, such as the distance from a target, is most of it. That term is a "
    "distance to a goal: it falls, and levels off; the small part from D hides in it."
)
LOSS_WORDS = {
    "minimax": "Near its lower bound D wins: G's gradient saturates, and it learns nothing more.",
    "non-saturating": "D's near 0 with G's rising: D wins, and G gets noise for gradients; lower D's rate.",
    "hinge": "D's at 0: every example is beyond the margin, and D learns nothing from any.",
    "wasserstein": "-D's loss estimates the distance of fakes from the data: D's climbs toward 0 as pictures improve. "
    "It is the one GAN loss that says when to stop. G's has no zero, so its height says nothing.",
}
WORDS: Mapping[str, tuple[str, str]] = {
    "d_penalty": (
        "Gradient penalty",
        "The penalty that D's slope costs. It falls early and then stays low. Rising without end: the rate is too "
        "high, or the penalty's weight too low. It is 0 without a penalty, and in steps that skip it.",
    ),
    "rates": ("Learning rates", "As scheduled: a change in the curves above may be due to these."),
    "images_per_second": (
        "Speed",
        "Training examples a second. The first value includes compiling. A slow fall: the machine is hot or shared.",
    ),
    "gpu_memory": ("GPU memory", "Bytes held. After the first steps it does not grow."),
    "reconstruction": ("Reconstruction", "Distance of a reconstruction from its original: it falls, and levels off."),
    "kl": (
        "KL divergence",
        "Distance of the codes from the prior. Near 0 the codes are ignored: the decoder draws the same for all.",
    ),
    "loss": ("Loss", "What is minimized: it falls, and levels off. When it has, more steps add little."),
    "fid": ("FID", "Fréchet distance of features of samples from those of the data. Stop when it no longer falls."),
    "kid": ("KID", "Kernel distance of features. As the FID, with less bias for few samples; near 0 is good."),
    "psnr": ("PSNR", "Decibels from the true image, on held-out images. It rises, and levels off."),
    "ssim": ("SSIM", "Structural similarity to the true image, on held-out images; 1 is equal."),
    "cycle": (
        "Cycle error",
        "Mean difference between an image and itself there and back, of 2 from black to white. A small one says "
        "that the way back is known, not that the translation is right.",
    ),
    "modes": ("Modes", "Modes or classes that are drawn. It rises to all of them; a fall is a collapse."),
    "high_quality": ("High quality", "Share of points near a mode of the data; 1 is best."),
    "reverse_kl": ("Reverse KL", "Evenness of the modes that are drawn; 0 is even."),
}


class Group(NamedTuple):
    """Curves that share a plot.

    Attributes:
        title: of the plot.
        reading: how it is read.
        curves: by name.
        marks: heights of reference lines, with their words.
    """

    title: str
    reading: str
    curves: Mapping[str, Curve]
    marks: tuple[tuple[float, str], ...] = ()


def groups(history: History) -> Iterator[Group]:
    """The plots of a run: losses, D's verdicts, figures, then the rest. Curves that are 0 throughout are left out."""
    curves = {name: curve for name, curve in history.values.items() if np.any(curve.values != 0)}
    loss = history.config.settings.get("loss", "")
    losses = _taken(curves, "d_loss", "g_loss")
    if losses:
        yield from _losses(str(loss), losses)
    verdicts = _taken(curves, "d_real", "d_fake")
    if verdicts:
        yield Group("D on real and on fake", *_verdicts(str(loss), verdicts))
    for name in ("loss", "reconstruction", "kl"):
        if found := _taken(curves, name):
            yield Group(*WORDS[name], found)
    for name, curve in history.figures.items():
        yield Group(*_figure_words(name), {name: curve})
    if penalty := _taken(curves, "d_penalty"):
        yield Group(*WORDS["d_penalty"], penalty)
    rates = _taken(curves, *[name for name in curves if name.endswith("_lr")])
    speed, memory = _taken(curves, "images_per_second"), _taken(curves, "gpu_memory")
    for name, curve in curves.items():
        yield Group(*WORDS.get(name, (name, "A value that this recipe logs.")), {name: curve})
    for name, found in (("rates", rates), ("images_per_second", speed), ("gpu_memory", memory)):
        if found:
            yield Group(*WORDS[name], found)


def _figure_words(name: str) -> tuple[str, str]:
    """Title and reading of a figure; `fid_AtoB` is a FID, that of A to B."""
    if name in WORDS:
        return WORDS[name]
    kind, _, part = name.partition("_")
    if kind not in WORDS:
        return name, "A figure of the evaluations during training."
    title, reading = WORDS[kind]
    return f"{title}, {part.replace('to', ' to ')}", reading


def _taken(curves: dict[str, Curve], *names: str) -> dict[str, Curve]:
    """The curves of those names, which are taken out of the others."""
    return {name: curves.pop(name) for name in names if name in curves}


def _losses(loss: str, curves: Mapping[str, Curve]) -> Iterator[Group]:
    """The losses in one plot, or in one each where an auxiliary term makes G's many times as large."""
    words = LOSS_WORDS.get(loss, "D's at its lower bound: D wins, and G learns little.")
    marks: dict[str, tuple[float, str]] = {}
    if loss != "wasserstein" and loss in LOSSES:
        d, g = undecided_losses(loss)
        marks["d_loss"] = d, f"D's loss if it cannot tell real from fake: {d:.3g}"
        marks["g_loss"] = g, f"G's loss then, without auxiliary terms: {g:.3g}"
        level = f"{d:.3g}" if d == g else f"D's {d:.3g}, G's {g:.3g}"
        words = f"Dotted: where both would be if fakes were perfect, {level}. Hovering near is health. {words}"
    if not _far_apart(curves):
        yield Group("Losses of D and G", words, curves, tuple(marks.values()))
        return
    yield Group("Loss of D", words, {"d_loss": curves["d_loss"]}, tuple(marks.values())[:1])
    yield Group("Loss of G", AUXILIARY, {"g_loss": curves["g_loss"]})


def _far_apart(curves: Mapping[str, Curve]) -> bool:
    """Whether G's loss is so large that D's would be a line on the axis."""
    sizes = {name: np.abs(curve.values[np.isfinite(curve.values)]) for name, curve in curves.items()}
    if len(sizes) < 2 or not all(size.size for size in sizes.values()):
        return False
    return bool(np.median(sizes["g_loss"]) > FAR * np.median(sizes["d_loss"]) > 0)


def _verdicts(loss: str, curves: Mapping[str, Curve]) -> tuple[str, Mapping[str, Curve], tuple[tuple[float, str], ...]]:
    shared = (
        "D's mean verdict on each. Apart by a steady gap: both learn. Far apart for good: D wins. On top of each "
        "other: D has learned nothing, or G has won. d_fake in great swings: G jumps from mode to mode."
    )
    if loss not in LOSSES or LOSSES[loss] is Wasserstein:
        return shared, curves, ()
    logits = np.full((2, 1), UNDECIDED.get(loss, 0.0))
    middle = float(LOSSES[loss]().verdict(logits))
    if not math.isfinite(middle):
        return shared, curves, ()
    return f"{shared} Dotted: undecided, {middle:.3g}.", curves, ((middle, f"undecided: {middle:.3g}"),)
