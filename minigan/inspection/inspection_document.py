"""Inspections as documents: the verdict first, then what it rests on."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from minigan.errors import ConfigError
from minigan.inspection.document import Bars, Block, Document, Facts, Heading, Table, Text
from minigan.inspection.game_health import GameHealth
from minigan.inspection.health_checks import Check
from minigan.inspection.health_limits import LIMITS
from minigan.inspection.inspecting import Inspection, record
from minigan.inspection.layer_health import LayerHealth

__all__ = ["comparison_document", "inspection_document"]

BINS = 12
OPTIONAL = ("dead", "sat.", "sigma", "BN")  # columns that are left out where all cells are empty
HEADER = ("layer", "rms", "dead", "sat.", "dw rms", "dw max", "update", "BN", "sigma")
READING = (
    "rms of the outputs; dead channels; sat.: saturated share of a tanh or sigmoid; rms and largest of the weights' "
    "gradient; update: change of the weights over the weights; BN: distance of running from batch statistics; sigma: "
    "spectral norm of the weight."
)


def inspection_document(inspection: Inspection) -> Document:
    """The verdict of an inspection, its checks, the layers of each network, and the game."""
    blocks: list[Block] = [*_verdict(inspection), Heading("The step"), *_facts(inspection)]
    blocks += [Heading("Checks"), _check_table(inspection.checks)]
    for name in inspection.health.learner.networks:
        rows = [row for row in inspection.health.layers if row.network == name]
        blocks += [Heading(f"{name}, layer by layer"), _layer_table(rows)]
    blocks.append(Text(READING))
    if inspection.health.game is not None:
        blocks += [Heading("The game"), *_game(inspection.health.game, inspection.health.pull)]
    blocks.append(Text("minigan explain health explains each word and each limit."))
    title = f"{inspection.run}: step {inspection.step:,} of {inspection.recipe.name}, done again"
    return Document(title, blocks, record(inspection))


def _verdict(inspection: Inspection) -> Iterator[Block]:
    yield Heading(f"Verdict: {inspection.word}")
    if not inspection.ill:
        yield Text(f"All {len(inspection.checks)} checks are within their limits.")
    for check in inspection.ill:
        finding = check.finding[0].upper() + check.finding[1:]
        measured = f"({check.word}: {number(check.value)}, limit {check.limit.text})"
        yield Text(f"{finding} {measured}. {check.remedy}.", lead=check.where)
    if len(inspection.ill) > 1:
        yield Text("One cause often has several of these signs: change one setting, and look again.")
    starts = {name: limit.judged_from(inspection.recipe.steps) for name, limit in LIMITS.items()}
    early = [name for name, start in starts.items() if start > inspection.step and _could_apply(name, inspection)]
    if early:
        since = ", ".join(f"{name} (from step {starts[name]:,})" for name in early)
        yield Text(f"Too early to tell: {since}.")


def _could_apply(name: str, inspection: Inspection) -> bool:
    """Whether a check of later steps would be made of this run."""
    game = inspection.health.game
    if name in ("collapsed", "repeating", "missing"):
        return game is not None and (name == "collapsed" or (game.coverage is not None) == (name == "missing"))
    return name == "hasty"


def _facts(inspection: Inspection) -> Iterator[Block]:
    health = inspection.health
    values = ", ".join(f"{name} {number(value)}" for name, value in health.values.items())
    rates = ", ".join(f"{name} {number(value)}" for name, value in health.rates.items())
    rows = [
        ("run", f"{health.recipe.name} on {inspection.data[0]}, seed {inspection.data[1]}"),
        ("replayed", f"from the checkpoint of step {inspection.start:,}{_agreement(inspection)}"),
        ("values", values),
        ("rates", rates),
    ]
    rows += [("note", note) for note in inspection.notes]
    yield Facts(rows)


def _agreement(inspection: Inspection) -> str:
    if not inspection.logged:
        return ""
    if not inspection.differs:
        return "; every value is the log's, to the last bit"
    shown = ", ".join(
        f"{name} {inspection.health.values[name]:.9g} (log {inspection.logged[name]:.9g})"
        for name in inspection.differs
    )
    return f"; not as the log has it: {shown}"


# ------------------------------------------------------------------------------------------ tables


def number(value: float | None) -> str:
    """A measure in three digits; "" for none."""
    if value is None:
        return ""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.1e}" if not 1e-3 <= abs(value) < 1e5 else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _check_table(found: Sequence[Check]) -> Table:
    rows = [
        (("ILL " if check.ill else "ok  ") + check.word, check.where, number(check.value), check.limit.text)
        for check in found
    ]
    return Table(("check", "worst place", "value", "limit"), rows, left=2)


def _layer_table(rows: Sequence[LayerHealth]) -> Table:
    cells = [
        (
            row.label,
            number(row.rms),
            f"{row.dead}/{row.channels}" if row.dead is not None else "",
            f"{row.saturated:.0%}" if row.saturated is not None else "",
            number(row.gradient),
            number(row.largest),
            number(row.update),
            number(row.apart),
            number(row.sigma),
        )
        for row in rows
    ]
    kept = [
        column for column, title in enumerate(HEADER) if title not in OPTIONAL or any(line[column] for line in cells)
    ]
    return Table([HEADER[column] for column in kept], [[line[column] for column in kept] for line in cells])


# ------------------------------------------------------------------------------------------ the game


def _game(game: GameHealth, pull: float | None) -> Iterator[Block]:
    logits = {"real": game.real, "fake": game.fake, "held out": game.held_out}
    shown = {name: values for name, values in logits.items() if values is not None}
    slopes = {"real": game.slope_real, "fake": game.slope_fake}
    rows = [
        (
            name,
            number(float(x.mean())),
            number(float(x.std())),
            number(float(slopes[name].mean())) if name in slopes else "",
        )
        for name, x in shown.items()
    ]
    yield Table(("D's logits", "mean", "std", "|dD/dx|"), rows)
    yield _histogram(shown)
    facts = [("variety", f"{game.spread:.2f} of the variance of real examples")]
    if game.coverage is None:
        facts.append(("near-duplicates", f"{game.duplicates:.0%} of {game.examples} fakes"))
    else:
        facts.append(("covered", f"{game.coverage:.0%} of the real points have a fake near"))
    if game.memory is not None and game.memory_error is not None:
        way = f"{game.memory:.0%} of the way from real to fake, standard error {game.memory_error:.0%}"
        facts.append(("held-out images", way))
    elif game.held_out is not None:
        facts.append(("held-out images", "D does not tell real from fake, so it cannot be seen whether it overfits"))
    if pull is not None:
        facts.append(
            ("G's pull", f"{number(pull)}: sum of |dL/ds| at D's logits, 1 for a loss with all of its gradient")
        )
    yield Facts(facts)


def _histogram(arrays: dict[str, np.ndarray]) -> Bars:
    """Bars of the share of logits in each of a few equal ranges; the longest bar of each column has the full length."""
    low, high = min(float(x.min()) for x in arrays.values()), max(float(x.max()) for x in arrays.values())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = {name: np.histogram(x, bins=edges)[0] for name, x in arrays.items()}
    rows = [
        (
            f"{number(float(edges[b]))} to {number(float(edges[b + 1]))}",
            [int(c[b]) / max(int(c.max()), 1) for c in counts.values()],
        )
        for b in reversed(range(BINS))
    ]
    return Bars(("logit", *arrays), rows)


# ------------------------------------------------------------------------------------------ two runs


def comparison_document(one: Inspection, other: Inspection) -> Document:
    """Two inspections side by side: their verdicts, the settings that differ, their checks and their layers.

    Raises:
        ConfigError: the runs are of recipes without a measure in common.
    """
    both = [check.word for check in one.checks if any(check.word == second.word for second in other.checks)]
    if not both:
        raise ConfigError(f"{one.recipe.name} and {other.recipe.name} have no check in common. Inspect each by itself.")
    blocks: list[Block] = [_names(one, other)]
    for inspection in (one, other):
        blocks += [Heading(f"{inspection.run}: {inspection.word}"), *list(_verdict(inspection))[1:]]
    blocks += [Heading("Settings that differ"), _settings(one, other), Heading("Checks"), _both_checks(one, other)]
    for name in one.health.learner.networks:
        blocks += [Heading(f"{name}, layer by layer"), _both_layers(one, other, name)]
    title = f"{one.run} (A) and {other.run} (B)"
    return Document(title, blocks, {"A": record(one), "B": record(other)})


def _names(one: Inspection, other: Inspection) -> Facts:
    return Facts(
        [
            (letter, f"{x.run}: {x.recipe.name} on {x.data[0]}, seed {x.data[1]}, step {x.step:,}")
            for letter, x in (("A", one), ("B", other))
        ]
    )


def _settings(one: Inspection, other: Inspection) -> Block:
    a, b = one.recipe.settings(), other.recipe.settings()
    rows = [(name, str(a.get(name, "-")), str(b.get(name, "-"))) for name in {**a, **b} if a.get(name) != b.get(name)]
    return Table(("setting", "A", "B"), rows) if rows else Text("None: only seed, data or step do.")


def _both_checks(one: Inspection, other: Inspection) -> Table:
    def cell(inspection: Inspection, word: str) -> str:
        limit = LIMITS[word]
        values = [check.value for check in inspection.checks if check.word == word]
        if not values:
            return ""
        worst = max(values) if limit.upper else min(values)
        return f"{number(worst)}{' !' if limit.is_ill(worst) else '  '}"

    words = list(dict.fromkeys(check.word for x in (one, other) for check in x.checks))
    rows = [(word, cell(one, word), cell(other, word), LIMITS[word].text) for word in words]
    return Table(("check", "A", "B", "limit"), rows)


def _both_layers(one: Inspection, other: Inspection, name: str) -> Block:
    """The layers of a network in both runs, side by side, if they are alike."""
    a, b = ([row for row in x.health.layers if row.network == name] for x in (one, other))
    if not a or [row.label for row in a] != [row.label for row in b]:
        return Text(f"A and B have other layers in {name}. The inspection of each by itself shows them.")

    def dead(row: LayerHealth) -> str:
        return "" if row.dead is None else f"{row.dead}/{row.channels}"

    rows = [
        (
            first.label,
            *(number(row.rms) for row in (first, second)),
            *(dead(row) for row in (first, second)),
            *(number(row.gradient) for row in (first, second)),
            *(number(row.update) for row in (first, second)),
        )
        for first, second in zip(a, b, strict=True)
    ]
    header = ("layer", "rms A", "rms B", "dead A", "dead B", "dw A", "dw B", "update A", "update B")
    return Table(header, rows)
