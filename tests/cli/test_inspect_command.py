"""The command `minigan inspect`: text, JSON, page, picture, comparison, and one line for bad input."""

import json
from pathlib import Path

import pytest

import minigan
from minigan.cli.command_line import main

TINY = {"backend": "reference", "quiet": True, "checkpoint_every": 1, "batch_size": 8, "hidden": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs: one of points, one of images."""
    root = tmp_path_factory.mktemp("runs")
    minigan.train("mlp", data="ring", steps=2, out=root / "ring", **TINY)
    minigan.train("mlp", data="digits", steps=2, out=root / "digits", **TINY)
    return root


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_an_inspection_fits_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["inspect", "digits"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= min(columns, 100)
    for part in (
        "digits: step 3 of mlp, done again",
        "Verdict: ",
        "G, layer by layer",
        "D's logits",
        "held out",
        "###",
    ):
        assert part in out


def test_json_page_and_picture(capsys):
    assert main(["inspect", "digits", "--step", "2", "--json", "--html", "page.html", "--out", "pull.png"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["step"], record["checkpoint"], record["recipe"]) == (2, 1, "mlp")
    assert record["differs_from_log"] == []
    assert {"layers", "checks", "game", "verdict"} <= record.keys()
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert Path("pull.png").read_bytes().startswith(b"\x89PNG")


def test_two_runs(capsys):
    assert main(["inspect", "digits", "--compare", "ring"]) == 0
    out = capsys.readouterr().out
    assert "digits (A) and ring (B)" in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["none"], "none: no run is there. Name a folder that a training has written."),
        (["ring", "--step", "9"], "ring: the checkpoints of steps 1 to 2 lead to steps 2 to 3, got step 9."),
        (
            ["ring/checkpoints/step-00000002.safetensors", "--step", "9"],
            "ring: the only checkpoint leads to step 3, got",
        ),
        (["ring", "--compare", "none"], "none: no run is there."),
        (["ring", "--compare", "digits", "--out", "x.png"], "--out draws the gradients of one run."),
        (["ring", "--out", "x.png"], "mlp has no D that judges images, so there is no picture. Leave --out out."),
        (["ring", "--held-out", "none.npy"], "none.npy"),
        (["ring", "--data", "none.npy"], "none.npy"),
    ],
)
def test_bad_input_gets_one_line(arguments, error, capsys):
    assert main(["inspect", *arguments]) == 2
    captured = capsys.readouterr()
    assert error in captured.err
    assert captured.err.startswith("minigan: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_words_are_explained(capsys):
    assert main(["explain", "health"]) == 0
    assert "vanishing" in capsys.readouterr().out
