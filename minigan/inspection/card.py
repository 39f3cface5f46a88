"""A model card: what a trained generator is, what it learned from, how well it does, and what nobody knows of it.

From the run's folder alone: what is not written there is said to be missing. The sections are those of Mitchell et al.
2019, "Model Cards for Model Reporting".
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.format import load_model
from minigan.checkpoints.resume_checks import log_lines, logged
from minigan.data import EMBEDDED, STACKED
from minigan.data.headers import PNG_SIGNATURE
from minigan.errors import CheckpointError
from minigan.recipes import Recipe, TranslationRecipe, UnpairedRecipe, get_recipe
from minigan.runs.config import RunConfig, read_config
from minigan.runs.folders import run_folder
from minigan.runs.pretrained import expect_run
from minigan.support.arguments import path as expect_path
from minigan.support.representation import duration
from minigan.support.words import decoded
from minigan.training.listeners.pictures import saved_pictures

__all__ = ["Card", "card_of_run"]

PATHS = {"targets": "Targets", "data_b": "Source of B"}  # settings that name data
LARGEST = 32_000_000  # bytes of a file that is read
# What Markdown acts on, and what would begin a list, a link or an entity.
SPECIAL = re.compile(r"[\\`*_{}\[\]#|~$@]|(?<=www)\.|:(?=//)|^[-+=]|(?<=^\d)[.)](?=\s)")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
LONGEST = 200  # letters of a stranger's text


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes:
        folder: the run's.
        body: Markdown, with `{picture}` in the place of the picture.
        picture: the newest sample picture; None if there is none.
        missing: what the run does not tell.
    """

    folder: Path
    body: str
    picture: Path | None
    missing: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Card: {len(self.body):,} characters, {self.folder}>"

    @property
    def text(self) -> str:
        """The Markdown of a card in the run's folder."""
        return self.with_picture("" if self.picture is None else f"{self.picture.parent.name}/{self.picture.name}")

    def with_picture(self, link: str) -> str:
        """The Markdown with that path of the picture, seen from the card; "" for no picture."""
        shown = f"![Samples]({quote(link)})" if link else "No picture was drawn."
        return self.body.replace("{picture}", shown, 1)


@dataclass(frozen=True)
class Facts:
    """Content of a run's folder; None or empty where it holds none."""

    config: RunConfig
    recipe: Recipe
    model: Mapping[str, Any] | None
    checkpoint: Mapping[str, Any] | None
    records: list[dict[str, Any]]
    evaluation: Mapping[str, Any] | None

    @property
    def step(self) -> int | None:
        """The step of the weights in model.safetensors."""
        return None if self.model is None else int(self.model["step"])


def card_of_run(run: str | os.PathLike[str]) -> Card:
    """Writes the model card of a run; nothing is computed, and nothing in the folder is changed.

        card = minigan.inspection.card_of_run("runs/dcgan-digits-1")
        print(card.text)

    Args:
        run: the path of its folder, or of a file in it.
    Raises:
        CheckpointError: there is no run, or one of its files is damaged.
    """
    path = expect_path(run, "run", remedy="Write card_of_run('runs/dcgan-digits-1').").expanduser()
    expect_run(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no run is there. Name a folder that a training has written.")
    folder = run_folder(path)
    facts, missing = _facts(folder)
    sections = {
        f"Model card: {safe(facts.recipe.name)} on {safe(_source(facts.config))}": ["{picture}"],
        "Model details": [*_details(facts)],
        "Intended use": [*_use(facts)],
        "Training data": [*_data(facts, missing)],
        "Training": [*_training(facts, missing)],
        "Settings": [*_settings(facts)],
        "Evaluation": [*_evaluation(facts, missing)],
        "Limits": [*_limits(facts)],
        "How to use it": [*_commands(facts)],
    }
    parts = [f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items()]
    picture = next((file for file in reversed(saved_pictures(folder).values()) if _is_png(file)), None)
    if picture is None:
        missing.append("a sample picture")
    return Card(folder, "\n\n".join(parts)[1:] + "\n", picture, tuple(missing))


def _facts(folder: Path) -> tuple[Facts, list[str]]:
    config = read_config(folder)
    missing: list[str] = []
    files = CheckpointFolder(folder / "checkpoints")
    checkpoint = files.load()[2] if files.candidates() else None
    if checkpoint is None:
        missing.append("a checkpoint")
    file = folder / "model.safetensors"
    model = load_model(file)[1] if file.exists() else None
    if model is None:
        missing.append("a trained generator (model.safetensors)")
    records = [record for line in log_lines(folder / "log.jsonl") or () if (record := logged(line))]
    if not records:
        missing.append("a log")
    recipe = get_recipe(config.recipe).from_settings(config.settings)
    return Facts(config, recipe, model, checkpoint, records, _read_evaluation(folder / "evaluation.json")), missing


def _read_evaluation(file: Path) -> dict[str, Any] | None:
    """The content of evaluation.json; None if there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        content = json.loads(decoded(file.read_bytes()))
        if not isinstance(content, dict) or not isinstance(content.get("figures"), dict):
            raise ValueError("it has no figures")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {file}: {error}. Evaluate the run again, or remove the file.") from None
    return content


# ------------------------------------------------------------------------------------------ sections


def _details(facts: Facts) -> Iterator[str]:
    kind, config = type(facts.recipe), facts.config
    summary = (kind.__doc__ or "").partition("\n")[0]
    yield f"- Recipe `{facts.recipe.name}` of minigan {safe(config.minigan)}. {safe(summary)}"
    if facts.model is not None:
        shape = tuple(facts.model["shape"])
        drawn = "points of the plane" if len(shape) == 1 else f"images of {shape[0]}x{shape[1]}, {_tone(shape[2])}"
        yield f"- Draws {drawn}."
        if classes := facts.model["classes"]:
            told = "" if facts.config.settings.get("condition", "none") != "none" else ", which it is not told"
            yield f"- Classes of its data{told}: {_list(classes)}."
    yield f"- Numbers: {safe(config.dtype)}, products in {safe(config.precision)}."
    average = facts.recipe.average_in_words()
    yield f"- Weights: a moving average {average}." if average else "- Weights: those of the last step."


def _use(facts: Facts) -> Iterator[str]:
    if isinstance(facts.recipe, UnpairedRecipe):
        yield "- Turns pictures like those of A into pictures like those of B, and back. Other pictures were not tried."
    elif isinstance(facts.recipe, TranslationRecipe):
        yield "- Turns pictures like its sources into pictures like its targets. Other pictures were not tried."
    else:
        yield "- Draws samples that resemble its training data, to study GANs, to benchmark and to play with."
    yield "- The run says nothing of other uses, nor of a license of the weights or the data."


def _data(facts: Facts, missing: list[str]) -> Iterator[str]:
    known = (facts.checkpoint or {}).get("data")
    found = known if isinstance(known, dict) else {}
    yield f"- Source: {safe(_source(facts.config))}"
    for name, title in PATHS.items():
        if place := facts.config.settings.get(name):
            yield f"- {title}: {safe(_place(place))}"
    if isinstance(text := found.get("description"), str):
        yield f"- {safe(text)}"
    elif isinstance(items := (facts.checkpoint or {}).get("loader", {}).get("items"), int):
        yield f"- {items:,} items."
    notes = found.get("notes")
    if isinstance(notes, list):
        yield from (f"- {safe(str(note))}" for note in notes)
    else:
        missing.append("how the data were understood")
        yield "- How the source was understood (files left out, values scaled) is not kept in this run."
    sources = (facts.config.data, *filter(None, (facts.config.settings.get(name) for name in PATHS)))
    if all(str(source).removeprefix(STACKED) in EMBEDDED for source in sources):
        yield "- Drawn by minigan itself: nobody is in them."
    else:
        yield "- Where the data come from, who is in them and who agreed to that: the run does not say."


def _training(facts: Facts, missing: list[str]) -> Iterator[str]:
    config, recipe = facts.config, facts.recipe
    of = f" of {recipe.steps:,}" if facts.step != recipe.steps else ""
    done = "none saved yet" if facts.step is None else f"{facts.step:,}"
    yield f"- Steps: {done}{of}."
    batches = f"{recipe.accumulate} batches" if recipe.accumulate > 1 else "a batch"
    yield f"- {batches.capitalize()} of {recipe.batch_size} for each update; {recipe.optimizer}, seed {config.seed}."
    yield f"- Engine: {safe(config.engine)}." if config.engine else "- Engine: not written down."
    parts = list(sittings(facts.records))
    if parts:
        several = f", in {len(parts)} sittings" if len(parts) > 1 else ""
        yield f"- Time: {duration(sum(parts))}{several}, up to the last record of the log."
    else:
        missing.append("the training's time")
        yield "- Time: the log does not tell."
    last = next((record for record in reversed(facts.records) if "seconds" in record), None)
    if last is not None:
        losses = [f"{name} {_number(last[name])}" for name in last if name == "loss" or name.endswith("_loss")]
        yield f"- Last record, step {last['step']:,}: {safe(', '.join(losses)) or 'no losses'}."


def sittings(records: list[dict[str, Any]]) -> Iterator[float]:
    """Seconds of each part of a training that was resumed: the log's clock begins anew then."""
    before = 0.0
    for record in records:
        seconds = record.get("seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds):
            if seconds < before:
                yield before
            before = float(seconds)
    if before:
        yield before


def _settings(facts: Facts) -> Iterator[str]:
    usual = type(facts.recipe)().settings()
    changed = {name: value for name, value in facts.recipe.settings().items() if value != usual[name]}
    if not changed:
        yield f"All settings are the defaults of `{facts.recipe.name}`."
        return
    yield f"Different from the defaults of `{facts.recipe.name}`:\n"
    yield "| setting | value | default |"
    yield "|---|---|---|"
    for name, value in changed.items():
        value = _place(value) if name in PATHS else value
        yield f"| {safe(name)} | {safe(str(value))} | {safe(str(usual[name]))} |"


def _evaluation(facts: Facts, missing: list[str]) -> Iterator[str]:
    found = False
    if (evaluation := facts.evaluation) is not None:
        found = True
        yield from _figures(evaluation)
    figures = [record for record in facts.records if "seconds" not in record and len(record) > 1]
    if figures:
        found = True
        last = {name: value for name, value in figures[-1].items() if name != "step"}
        text = ", ".join(f"{name} {_number(value)}" for name, value in last.items())
        yield f"\nDuring training, at step {figures[-1]['step']:,}: {safe(text)}."
    if not found:
        missing.append("an evaluation")
        yield "None was made: `minigan evaluate RUN` measures."


def _figures(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """The figures of evaluation.json as a table."""
    step, features = evaluation.get("step"), evaluation.get("features")
    baseline = str(evaluation.get("baseline", "data itself"))
    by = f", features: {safe(str(features))}" if features else ""
    yield f"`minigan evaluate`, at step {_number(step)}{by}, seed {_number(evaluation.get('seed'))}:\n"
    yield f"| figure | value | {safe(baseline)} | better | |"
    yield "|---|---|---|---|---|"
    for name, figure in evaluation["figures"].items():
        if isinstance(figure, dict):
            cells = (name, _number(figure.get("value")), _number(figure.get("data")))
            words = (str(figure.get("better", "")), str(figure.get("meaning", "")))
            yield f"| {' | '.join(safe(cell) for cell in (*cells, *words))} |"
    remarks = evaluation.get("remarks")
    yield from (f"\nNote: {safe(str(remark))}" for remark in (remarks if isinstance(remarks, list) else ()))


def _limits(facts: Facts) -> Iterator[str]:
    yield "- It draws only what its data show, and not all of that: recall and coverage tell, where they were measured."
    yield "- It may repeat what is wrong with its data, and may come near single training examples."
    yield "- Its figures belong to these data, features and numbers of samples, and compare with no others."
    if facts.step is not None and facts.step < facts.recipe.steps:
        yield f"- Training is not complete: {facts.step:,} of {facts.recipe.steps:,} steps."


def _commands(facts: Facts) -> Iterator[str]:
    if facts.model is None:
        yield "There is no trained generator yet: `minigan train --resume RUN` trains on."
        return
    yield "RUN is this run's folder.\n"
    yield "```sh"
    yield from _drawing(facts.recipe, tuple(facts.model["shape"]))
    yield "minigan evaluate RUN"
    yield "minigan export RUN --to onnx --out model.onnx   # or numpy, torch"
    if isinstance(facts.recipe, UnpairedRecipe):
        yield "minigan export RUN --direction BtoA --to onnx --out back.onnx"
    yield "```"


def _drawing(recipe: Recipe, image_shape: tuple[int, ...]) -> Iterator[str]:
    """The commands that draw with the generator, or with both."""
    if isinstance(recipe, UnpairedRecipe):
        yield "minigan translate RUN FOLDER_OF_A --direction AtoB --out LIKE_B"
        yield "minigan translate RUN FOLDER_OF_B --direction BtoA --out LIKE_A"
    elif recipe.from_images and recipe.source_shape(image_shape)[-1] in (1, 3):
        yield "minigan translate RUN FOLDER --out OUTPUTS"
    elif recipe.from_images:  # a hole's mask goes with the picture: no file has that
        yield "minigan sample RUN --out samples.png"
    else:
        yield "minigan sample RUN --count 64 --seed 0 --out samples.png"


# ------------------------------------------------------------------------------------------ texts


def _source(config: RunConfig) -> str:
    """The data's name."""
    return _place(config.data)


def _place(path: Any) -> str:
    """A path's last part, without the folders of somebody's machine."""
    text = str(path)
    return os.path.basename(text.rstrip("/\\")) or text


def _tone(channels: int) -> str:
    return "grayscale" if channels == 1 else "color"


def _list(names: list[str]) -> str:
    shown = ", ".join(safe(name) for name in names[:20])
    return shown + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def safe(text: str) -> str:
    """A stranger's text in one line, in which nothing means anything to Markdown or HTML."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = plain if len(plain) <= LONGEST else f"{plain[:LONGEST]} ..."
    escaped = SPECIAL.sub(r"\\\g<0>", plain.encode("utf-8", "replace").decode())
    return "".join(ENTITIES.get(letter, letter) for letter in escaped)


def _is_png(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE
    except OSError:
        return False
