"""The command `minigan explain`: text, JSON, page, and one line for bad input."""

import json
from pathlib import Path

import pytest

from minigan.cli.command_line import main

TINY = ("--backend", "reference", "--set", "width=2", "size=28", "channels=1", "batch_size=4")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_list_of_everything(capsys):
    assert main(["explain"]) == 0
    out = capsys.readouterr().out
    for name in ("dcgan", "Conv2D", "hinge", "wgan-gp", "Adam", "conv2d_weight_grad"):
        assert name in out
    assert main(["explain", "--json"]) == 0
    assert "hinge" in json.loads(capsys.readouterr().out)["topics"]["loss"]


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_a_recipe_fits_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["explain", "dcgan", *TINY]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= min(columns, 100)
    assert "G's step leaves D's" in out
    assert "minigan/nn/layers/conv.py:" in out


def test_json_and_page_together(capsys):
    assert main(["explain", "hinge", "--json", "--html", "hinge.html"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["kind"], record["name"]) == ("loss", "hinge")
    assert {check["gradient"] for check in record["example"]["checks"]} == {
        *("D's loss, real", "D's loss, fake", "G's loss, fake")
    }
    assert Path("hinge.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_page_says_where_it_is(capsys):
    assert main(["explain", "dcgan", *TINY, "--html", "page.html"]) == 0
    assert capsys.readouterr().out == "dcgan: a recipe: page.html\n"
    assert "<svg" in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["hing"], "nothing has the name 'hing', and no run is there. Did you mean hinge?"),
        (["runs/none"], "runs/none: no run is there. Name a folder that a training has written, or its model file."),
        (["."], ". is not a run folder: cannot read config.toml: No such file or directory. Name the folder that a "),
        (["hinge", "--set", "lr=1"], "the loss hinge takes no settings, got lr=1. Give them with a recipe."),
        (["--set", "width=1"], "--set and --backend need a recipe to explain. Write minigan explain RECIPE --set KEY="),
        (["hinge", "--backend", "cpu"], "the loss hinge is explained on the reference backend. Leave --backend out."),
        (["dcgan", "--set", "widht=1"], "dcgan has no setting 'widht'. Did you mean width?"),
        (
            ["dcgan", "--set", "size=31"],
            "expected images whose sides are 4 to 7 pixels times a power of two, up to 128",
        ),
        (["segment", "--backend", "reference", "--set", "size=32768"], "out of memory: a small step would take "),
        (["hinge", "--html", "none/page.html"], "cannot write none/page.html: No such file or directory. Create the "),
        (["hinge", "--html", "."], "cannot write .: Is a directory. It is a folder: name a file in it."),
    ],
)
def test_bad_input_gets_one_line(arguments, error, capsys):
    assert main(["explain", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"minigan: {error}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
