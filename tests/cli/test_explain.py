"""The command `minigan explain`: text, JSON, page, and one line for bad input."""

import json
from pathlib import Path

import pytest

import minigan
from minigan.cli.command_line import main
from minigan.inspection import limits, step_ledger

TINY = ("--backend", "reference", "--set", "width=2", "size=28", "channels=1", "batch_size=4")


STEP = ("--step", *TINY)


@pytest.fixture(autouse=True)
def quick_measurements(monkeypatch):
    """Limits by small copies, in one short round."""
    monkeypatch.setattr(limits, "COPIED", 1 << 16)
    monkeypatch.setattr(limits, "ROUND", 0)
    monkeypatch.setattr(step_ledger, "ROUNDS", (1, 1))


@pytest.fixture
def run():
    """A run of two steps."""
    settings = {"preset": "paper", "width": 2, "batch_size": 4, "loss": "wasserstein", "penalty": "wgan-gp"}
    settings["d_norm"] = "none"
    minigan.train("dcgan", steps=2, backend="reference", out="run", quiet=True, **settings)
    return "run"


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
        (
            ["--set", "width=1"],
            "--set, --backend and --precision need a recipe to explain. Write minigan explain RECIPE ",
        ),
        (["--precision", "bf16"], "--set, --backend and --precision need a recipe to explain. Write minigan explain "),
        (["hinge", "--backend", "cpu"], "the loss hinge is explained on the reference backend. Leave --backend out."),
        (
            ["hinge", "--precision", "fp32"],
            "the loss hinge is explained on the reference backend. Leave --precision out.",
        ),
        (
            ["dcgan", "--backend", "reference", "--precision", "bf16"],
            "the reference backend has no bf16: expected fp32.",
        ),
        (["dcgan", "--set", "widht=1"], "dcgan has no setting 'widht'. Did you mean width?"),
        (
            ["dcgan", "--set", "size=31"],
            "expected images whose sides are 4 to 7 pixels times a power of two, up to 128",
        ),
        (["segment", "--backend", "reference", "--set", "size=32768"], "out of memory: a small step would take "),
        (["--step"], "--step needs a recipe or a run. Write minigan explain dcgan --step."),
        (["dcgan", "--trace", "step.json"], "--trace belongs to a step. Add --step."),
        (["dcgan", "--data", "digits"], "--data belongs to a step. Add --step."),
        (["hinge", "--step"], "the loss hinge has no step of its own. Name a recipe, or the folder of a run."),
        (["runs/none", "--step"], "runs/none: no run is there. Name a folder that a training has written."),
        (["dcgan", *STEP, "--data", "nowhere"], "nowhere: no such file, folder or embedded dataset. Give an existing"),
        (["dcgan", *STEP, "--trace", "none/step.json"], "cannot write none/step.json: No such file or directory. "),
        (["pix2pix", "--step", "--data", "digits"], "digits: expected pairs, found none. Use shapes,"),
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


# ---------------------------------------------------------------------------------------- a step


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_a_runs_step_fits_the_terminal(columns, run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["explain", run, "--step"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= min(columns, 100)
    for words in ("3, the next after all 2", "Penalty: ", "skipped: zeros", "skipped: frozen", "fused with 0"):
        assert words in out


def test_a_step_as_json_page_and_trace(run, capsys):
    files = {path: path.read_bytes() for path in Path(run).rglob("*") if path.is_file()}
    assert main(["explain", run, "--step", "--json", "--html", "step.html", "--trace", "step.json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["step"] == 3
    assert record["flops"]["run"] == sum(row["flops"] for row in record["rows"] if row["status"] != "skipped")
    assert record["flops"]["default"] == sum(row["default"] for row in record["rows"])
    assert sum(row["seconds"] or 0 for row in record["rows"]) == pytest.approx(record["seconds"])
    first = record["rows"][0]
    assert {"phase", "layer", "operation", "status", "reason", "shapes", "bytes", "algorithm", "live"} <= first.keys()
    page = Path("step.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "D 2 Conv2D 4x4 /2" in page
    assert json.loads(Path("step.json").read_text())["displayTimeUnit"] == "ms"
    assert files == {path: path.read_bytes() for path in Path(run).rglob("*") if path.is_file()}  # only read


def test_a_checkpoint_and_data_that_have_moved(run, capsys):
    config = Path(run) / "config.toml"
    config.write_text(config.read_text().replace('data = "digits"', 'data = "/gone/away"'))
    assert main(["explain", run, "--step"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minigan: /gone/away: no such file")
    assert error.endswith("This source is from run/config.toml; if it has moved, add --data SOURCE.\n")
    (checkpoint,) = (Path(run) / "checkpoints").iterdir()
    assert main(["explain", str(checkpoint), "--step", "--data", "digits", "--html", "page.html"]) == 0
    assert "step 3, operation by operation: page.html" in capsys.readouterr().out


def test_a_run_with_nearly_the_name_of_a_topic(run, capsys):
    """A folder goes before a topic written otherwise, but not before one of its very name."""
    for name in ("wgangp", "hinge"):
        Path(run).rename(name)
        run = name
        assert main(["explain", name]) == 0
        assert capsys.readouterr().out.startswith("wgangp: a run of" if name == "wgangp" else "hinge: a loss")
    assert main(["explain", "hinge", "--step"]) == 2
    found = "Name a recipe, or the folder of a run, such as ./hinge.\n"
    assert capsys.readouterr().err == f"minigan: the loss hinge has no step of its own. {found}"


def test_a_run_without_a_checkpoint_has_no_step(run, capsys):
    for checkpoint in (Path(run) / "checkpoints").iterdir():
        checkpoint.unlink()
    assert main(["explain", run, "--step"]) == 2
    expected = "minigan: no checkpoint in run/checkpoints. Name a run folder that training has written to.\n"
    assert capsys.readouterr().err == expected
    assert main(["explain", run, "--step", "--set", "lr=1"]) == 2
    assert capsys.readouterr().err == "minigan: the run run takes no settings, got lr=1. Give them with a recipe.\n"
