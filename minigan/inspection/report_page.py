"""A report as a page: the parts of one or two runs put together."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minigan.backends.precision import AUTO
from minigan.inspection.curve_guides import GENERAL, Group, groups
from minigan.inspection.document import Document
from minigan.inspection.history import History
from minigan.inspection.inspecting import Inspection
from minigan.inspection.inspection_document import inspection_document
from minigan.inspection.page import body_of, prose
from minigan.inspection.plot import Line, heat_map, plot
from minigan.inspection.report_data import Pictures, as_script_data, numbers, pictures
from minigan.live.replay import replay_script, replay_style
from minigan.recipes import get_recipe
from minigan.support.package_files import packaged
from minigan.support.web_page import framed, safe

__all__ = ["Findings", "report_page"]

MOMENTS = 400  # of the slider, if there are no pictures
LETTERS = "AB"
SPANS = 6  # of the log's verdicts, at most
HEADING = "<h2>{}</h2>"
PICTURE_READING = (
    "Always of the same inputs, so what changes between two steps is G alone. The slider moves the line in every plot, "
    "too; Play is the film of the training. All alike: G has collapsed. Each one changing from step to step without "
    "getting better: the rates are high."
)
LIKENESS_READING = (
    "Top: training examples. Middle: samples of G. Bottom: below each sample the training example nearest to it by its "
    "pixels. Copies in the bottom rows would mean that G has learned examples by heart."
)
PULL_READING = (
    "Fakes, and to the right of each -dL/dpixel: bright where G is asked for more light, dark where for less, gray "
    "where for no change. Gray throughout: D gives G nothing to go by. Fine noise: D judges by texture, not by shape."
)
REPLAY_READING = (
    "The networks of each checkpoint, as `minigan live` shows a training: move the slider above. Blue is what D takes "
    "for real, orange for fake."
)
HEAT_READING = (
    "Norm of each layer's gradient, by color, over the training. Dark rows toward G's input: gradients vanish on "
    "their way. A row that turns dark: that layer has stopped learning. All bright at once: a step that was too large."
)


class Findings:
    """Parts of a report that its run's folder does not hold but that were computed; each may be missing.

    Attributes:
        likeness: a PNG of real, fake and nearest examples.
        searched: the number of training examples among which the nearest were found.
        pull: a PNG of fakes, each with the change that G's loss asks for.
        inspection: of a step.
        ledger: a document.
        replay: frames of the checkpoints, see `minigan.live.replay`.
        notes: lines on what is missing, and why.
    """

    def __init__(self) -> None:
        self.likeness: bytes | None = None
        self.searched = 0
        self.pull: bytes | None = None
        self.inspection: Inspection | None = None
        self.ledger: Document | None = None
        self.replay: Mapping[str, Any] | None = None
        self.notes: list[str] = []


def report_page(histories: Sequence[History], findings: Sequence[Findings], comparison: Document | None = None) -> str:
    """The page.

    Args:
        histories: of one run, or of two to be laid over each other.
        findings: of each.
        comparison: of the inspections of two.
    """
    shown = [pictures(history, runs=len(histories)) for history in histories]
    tables = [numbers(history, runs=len(histories)) for history in histories]
    title = " and ".join(history.name for history in histories)
    parts = [
        *_facts(histories),
        *_notes([*(note for found in findings for note in found.notes), *(n for _, some in tables for n in some)]),
        *_slider(),
        *_board(histories, shown),
        *_replays(histories, findings),
        *_likeness(histories, findings),
        *_heat_maps(histories),
        *_inspections(histories, findings, comparison),
        *_ledgers(histories, findings),
        *_settings(histories),
    ]
    replays = [found.replay for found in findings]
    data = as_script_data(_data(histories, shown, [table for table, _ in tables], replays))
    body = "\n".join(parts) + f'\n<script type="application/json" id="data">{data}</script>\n'
    style, script = (
        packaged(__package__, "page.css") + packaged(__package__, "report.css"),
        packaged(__package__, "report.js"),
    )
    if any(found.replay for found in findings):
        style, script = style + replay_style(), replay_script() + script
    return framed(f"Report of {title}", body, style=style, script=script)


def _data(
    histories: Sequence[History],
    shown: Sequence[Pictures],
    tables: Sequence[Mapping[str, Any]],
    replays: Sequence[Mapping[str, Any] | None],
) -> dict[str, Any]:
    """All that the scripts read."""
    replayed = {frame["step"] for replay in replays if replay is not None for frame in replay["frames"]}
    moments = sorted({step for some in shown for step in some.data} | replayed)
    if not moments:
        logged = sorted({row[0] for table in tables for row in table["rows"]})
        moments = [logged[i] for i in np.unique(np.linspace(0, len(logged) - 1, MOMENTS).astype(int))]
    runs = [
        {"name": history.name, "steps": list(some.data), "pictures": list(some.data.values()), "table": table}
        for history, some, table in zip(histories, shown, tables, strict=True)
    ]
    return {"moments": moments, "runs": runs, **({"replays": list(replays)} if any(replays) else {})}


def _facts(histories: Sequence[History]) -> Iterator[str]:
    for index, history in enumerate(histories):
        config = history.config
        rows = [
            ("run", f"{_letter(histories, index)}{history.name}"),
            ("trained", f"{config.recipe} on {config.data}, seed {config.seed}"),
            ("step", f"{history.step:,} of {int(config.settings['steps']):,}"),
            ("by", f"minigan {config.minigan}, {config.engine or config.backend}"),
            *(
                []
                if config.precision in (AUTO, config.engine.rpartition(", ")[2])
                else [("products in", config.precision)]
            ),
            *([("log says", _words(history))] if history.words else []),
        ]
        yield f"<dl>{''.join(f'<dt>{safe(name)}</dt><dd>{safe(text)}</dd>' for name, text in rows)}</dl>"
        yield f'<p><button class="csv" data-run="{index}">Save the log as CSV</button></p>'


def _words(history: History) -> str:
    """The verdicts of the log: `healthy from step 100, D wins from step 260`; the newest of many."""
    spans = [f"{word or 'too little to judge by'} from step {step:,}" for step, word in history.words.items()]
    return ", ".join(["...", *spans[-SPANS:]] if len(spans) > SPANS else spans)


def _notes(notes: Sequence[str]) -> Iterator[str]:
    for note in dict.fromkeys(notes):
        yield f'<p class="note">{prose(note)}</p>'


def _letter(histories: Sequence[History], index: int) -> str:
    return f"{LETTERS[index]}: " if len(histories) > 1 else ""


# ------------------------------------------------------------------------------------------ pictures


def _board(histories: Sequence[History], shown: Sequence[Pictures]) -> Iterator[str]:
    """Pictures and curves, which the slider moves together: side by side where there is room."""
    kind = "seen two" if sum(bool(some.data) for some in shown) > 1 else "seen"
    yield f'<div class="board"><div class="{kind}">'
    yield from _pictures(histories, shown)
    yield "</div><div>"
    yield from _curves(histories)
    yield "</div></div>"


def _slider() -> Iterator[str]:
    yield HEADING.format("Step by step")
    yield (
        '<div class="bar"><button id="play">Play</button><input id="step" type="range" min="0" max="0" value="0" '
        'aria-label="step"><output id="shown"></output></div>'
    )
    yield "<noscript><p>The slider, the pictures and the CSV need the page's own script.</p></noscript>"


def _pictures(histories: Sequence[History], shown: Sequence[Pictures]) -> Iterator[str]:
    figures = [
        f'<figure><figcaption id="at{index}">{safe(history.name)}</figcaption><img id="picture{index}" alt=""></figure>'
        for index, (history, some) in enumerate(zip(histories, shown, strict=True))
        if some.data
    ]
    if figures:
        yield f'<div class="pictures">{"".join(figures)}</div><p class="reading">{safe(PICTURE_READING)}</p>'
    yield from _notes([note for some in shown for note in some.notes])
    for history in histories:
        if not history.pictures:
            yield f'<p class="note">{safe(history.name)} has no pictures.</p>'


def _replays(histories: Sequence[History], findings: Sequence[Findings]) -> Iterator[str]:
    """Places for the frames of the live page, which the slider moves."""
    if any(found.replay for found in findings):
        yield HEADING.format("The game once more")
        yield f'<p class="reading">{safe(REPLAY_READING)}</p>'
    for index, (history, found) in enumerate(zip(histories, findings, strict=True)):
        if found.replay is None:
            continue
        name = f"{_letter(histories, index)}{history.name}"
        yield f'<h3>{safe(name)}, <span id="replayed{index}"></span></h3><div class="live" id="replay{index}"></div>'
        if changes := found.replay["changes"]:
            listed = "".join(f"<li>{safe(text)}</li>" for text in changes)
            yield f"<details><summary>changed while it was trained</summary><ol>{listed}</ol></details>"


def _likeness(histories: Sequence[History], findings: Sequence[Findings]) -> Iterator[str]:
    if any(found.likeness for found in findings):
        yield HEADING.format("Real, fake, and the nearest training example")
        yield f'<p class="reading">{safe(LIKENESS_READING)}</p>'
    yield from _side_by_side(
        _one(f"{history.name}, searched {found.searched:,} training examples", found.likeness)
        for history, found in zip(histories, findings, strict=True)
        if found.likeness
    )
    if any(found.pull for found in findings):
        yield HEADING.format("The change that G's loss asks of its fakes")
        yield f'<p class="reading">{safe(PULL_READING)}</p>'
    yield from _side_by_side(
        _one(history.name, found.pull) for history, found in zip(histories, findings, strict=True) if found.pull
    )


def _side_by_side(figures: Iterator[str]) -> Iterator[str]:
    yield f'<div class="pictures">{"".join(figures)}</div>'


def _one(title: str, png: bytes) -> str:
    """A picture that the slider does not move."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return (
        f'<figure class="one"><figcaption>{safe(title)}</figcaption><img alt="{safe(title)}" src="{source}"></figure>'
    )


# ------------------------------------------------------------------------------------------ plots


def _curves(histories: Sequence[History]) -> Iterator[str]:
    """Plots of equal title are laid over each other, if they are read alike: one loss is not measured by another."""
    yield "<h2>Curves, and how to read them</h2>"
    yield f"<p>{safe(GENERAL)}</p>"
    found = [{group.title: group for group in groups(history)} for history in histories]
    last = max(history.step for history in histories)
    plots = []
    for title in dict.fromkeys(title for some in found for title in some):
        shared = [(run, some[title]) for run, some in enumerate(found) if title in some]
        if len({group.reading for _, group in shared}) == 1:
            plots.append(_plot(title, shared, last))
        else:
            plots += [_plot(f"{title}: {histories[run].name}", [(run, group)], last) for run, group in shared]
    yield f'<div class="plots">{"".join(plots)}</div>'


def _plot(title: str, of_runs: Sequence[tuple[int, Group]], last: int) -> str:
    names = list(dict.fromkeys(name for _, group in of_runs for name in group.curves))
    lines = [
        Line(name, curve, names.index(name), run) for run, group in of_runs for name, curve in group.curves.items()
    ]
    marks = list(dict.fromkeys(mark for _, group in of_runs for mark in group.marks))
    legend = "".join(
        f'<span class="c{line.color % 6}{" b" if line.run else ""}"><b>{safe(line.name)}</b> '
        f'<output data-run="{line.run}" data-name="{safe(line.name)}"></output></span>'
        for line in lines
    )
    readings = dict.fromkeys(group.reading for _, group in of_runs)
    reading = "".join(f'<p class="reading">{safe(text)}</p>' for text in readings)
    drawing = plot(title, lines, last=last, marks=marks)
    return f'<figure><figcaption>{safe(title)}</figcaption><p class="legend">{legend}</p>{drawing}{reading}</figure>'


def _heat_maps(histories: Sequence[History]) -> Iterator[str]:
    yield HEADING.format("Gradients, layer by layer")
    yield f'<p class="reading">{safe(HEAT_READING)}</p>'
    for history in histories:
        if not history.gradients:
            yield (
                f'<p class="note">{safe(history.name)} has not logged them: train with '
                "<code>log_gradients=50</code>.</p>"
            )
            continue
        networks = dict.fromkeys(name.split(".")[0] for name in history.gradients)
        maps = [
            f"<figure><figcaption>{safe(f'{history.name}: {network}')}</figcaption>"
            f"{heat_map(network, {n: c for n, c in history.gradients.items() if n.split('.')[0] == network})}</figure>"
            for network in networks
        ]
        yield f'<div class="plots">{"".join(maps)}</div>'


# ------------------------------------------------------------------------------------------ documents and settings


def _inspections(
    histories: Sequence[History], findings: Sequence[Findings], comparison: Document | None
) -> Iterator[str]:
    """Each inspection; of two runs first both side by side, and each by itself where it can be unfolded."""
    inspections = [found.inspection for found in findings]
    if any(inspections):
        yield HEADING.format("Inspection: one step done again")
    if comparison is not None:
        yield _unfolding(f"A and B side by side: {comparison.title}", comparison, first=1, is_open=True)
    for index, inspection in enumerate(inspections):
        if inspection is not None:
            document = inspection_document(inspection)
            summary = f"{_letter(histories, index)}{document.title}: {inspection.word}"
            yield _unfolding(summary, document, first=100 * (index + 1), is_open=comparison is None)


def _ledgers(histories: Sequence[History], findings: Sequence[Findings]) -> Iterator[str]:
    if any(found.ledger for found in findings):
        yield HEADING.format("Ledger: one step by operations")
    for index, found in enumerate(findings):
        if found.ledger is not None:
            summary = f"{_letter(histories, index)}{found.ledger.title}"
            yield _unfolding(summary, found.ledger, first=100 * (index + 3), is_open=False)


def _unfolding(summary: str, document: Document, *, first: int, is_open: bool) -> str:
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{safe(summary)}</summary>{body_of(document, first=first)}</details>"


def _settings(histories: Sequence[History]) -> Iterator[str]:
    for history in histories:
        settings, defaults = history.config.settings, get_recipe(history.config.recipe).from_settings({}).settings()
        rows = [
            (name, defaults.get(name, ""), value) for name, value in settings.items() if defaults.get(name) != value
        ]
        yield HEADING.format(safe(f"Settings of {history.name} that differ from {history.config.recipe}'s defaults"))
        yield _rows(("setting", "default", "this run"), rows) if rows else "<p>None.</p>"
    if len(histories) > 1:
        one, other = (_everything(history) for history in histories)
        names = dict.fromkeys([*one, *other])
        rows = [(n, one.get(n, "-"), other.get(n, "-")) for n in names if one.get(n) != other.get(n)]
        yield HEADING.format("Settings in which the two runs differ")
        yield _rows(("setting", *(history.name for history in histories)), rows) if rows else "<p>None.</p>"


def _everything(history: History) -> dict[str, Any]:
    config = history.config
    named = {"recipe": config.recipe, "data": config.data, "seed": config.seed, "engine": config.engine}
    return named | {"precision": config.precision} | config.settings


def _rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lefts = (' class="w"', *[""] * (len(header) - 1))
    head = "".join(f"<th{left}>{safe(text)}</th>" for text, left in zip(header, lefts, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{left}>{safe(str(cell))}</td>' for cell, left in zip(row, lefts, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
