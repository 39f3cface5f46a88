"""Notes on how a source was understood: kept by every wrapper, shown in notebooks, printed by commands."""

import os
from pathlib import Path

import pytest

from minigan.cli import main
from minigan.data import StackedImages, open_dataset
from minigan.data.channels import Recolored
from minigan.data.dataset import Collection, PixelDataset
from minigan.data.subset import split_dataset
from minigan.support.representation import printable


def digits() -> PixelDataset:
    data = open_dataset("digits", size=8, count=20)
    assert isinstance(data, PixelDataset)
    data.note("2 files left out: .txt <b>", "the training set was taken", "the training set was taken")
    return data


def wrappers() -> dict[str, Collection]:
    return {
        "labels": digits().with_labels(),
        "subset": split_dataset(digits(), held_out=2, part="val"),
        "colors": Recolored(digits(), channels=3),
        "stacked": StackedImages(digits(), count=10),
        "two": split_dataset(Recolored(digits(), channels=3), held_out=2, part="train").with_labels(),
    }


@pytest.mark.parametrize("name", wrappers())
def test_a_wrapper_passes_its_sources_notes_along(name: str):
    assert wrappers()[name].notes[:2] == ("2 files left out: .txt <b>", "the training set was taken")
    more = ("2 of 20 images are held out of training, for pictures and figures",) if name == "two" else ()
    assert wrappers()[name].notes[2:] == more


def test_a_notebook_shows_the_notes_as_text():
    shown = digits()._repr_html_()
    assert "<div>2 files left out: .txt &lt;b&gt;</div><div>the training set was taken</div>" in shown


def test_names_that_cannot_be_printed_are_escaped():
    assert printable("grün") == "grün"
    assert printable(os.fsdecode(b"caf\xe9\n\x1b[2J")) == r"caf\xe9\n\x1b[2J"
    data = digits()
    data.note(os.fsdecode(b"left out: \xff.tga"))
    assert data.notes[-1] == r"left out: \xff.tga"
    data.name = os.fsdecode(b"\xff")
    assert data.describe().startswith(r"\xff: 20 grayscale")


def test_classes_are_named_in_one_line():
    data = digits()
    assert data.describe().endswith(", 10 classes")  # their names are their numbers
    data.classes = ("cat", "dog\n")
    assert data.describe().endswith(r", 2 classes (cat, dog\n)")
    data.classes = tuple(f"class {k}" for k in range(1000))
    assert ", 1000 classes (class 0, class 1, " in data.describe()
    assert data.describe().endswith(", ...)") and len(data.describe()) < 200
    data.classes = ("x" * 10_000,)
    assert len(data.describe()) < 200


def test_commands_print_the_notes_to_standard_error(tmp_path: Path, monkeypatch, capsys):
    def noted(source, **options):
        data = open_dataset(source, count=500, **options)
        data.note("the training set was taken")
        return data

    monkeypatch.setattr("minigan.recipes.bases.recipe.open_dataset", noted)
    monkeypatch.setattr("minigan.evaluation.data_and_features.open_dataset", noted)
    run = tmp_path / "run"
    train = ["train", "mlp", "--data", "ring", "--out", str(run), "--steps", "1", "--backend", "reference"]
    assert main([*train, "--set", "batch_size=4", "hidden=4", "latent=2"]) == 0
    out, err = capsys.readouterr()
    assert err == "minigan: the training set was taken\n" and "training set" not in out
    assert main(["evaluate", str(run), "--count", "100", "--backend", "reference"]) == 0
    assert capsys.readouterr().err == "minigan: the training set was taken\n"
    assert main(["train", "--resume", str(run), "--steps", "2", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
