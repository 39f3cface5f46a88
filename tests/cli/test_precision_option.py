"""`--precision` on the command line: wherever a backend can be named, and what is printed and written of it."""

import argparse
import json
from pathlib import Path

import pytest
from engines import is_installed

from minigan.backends.precision import PRECISIONS, VARIABLE
from minigan.cli import command_line
from minigan.cli.command_line import main
from minigan.runs.config import read_config

TINY = ("--set", "hidden=4", "latent=2", "batch_size=8")
needs_numba = pytest.mark.skipif(not is_installed("cpu"), reason="numba is not installed")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)


def fails(capsys, *arguments):
    """The one line on standard error of a command that must fail."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("minigan: ")
    assert error.count("\n") == 1
    return error.removeprefix("minigan: ").rstrip()


def test_it_is_where_a_backend_can_be_named():
    (commands,) = (a for a in command_line._parser()._actions if isinstance(a, argparse._SubParsersAction))
    options = {name: command._option_string_actions for name, command in commands.choices.items()}
    having = {name for name, found in options.items() if "--precision" in found}
    assert having == {name for name, found in options.items() if "--backend" in found}
    assert {"train", "sample", "evaluate", "explain", "inspect", "report", "bench", "warmup"} <= having
    for name in having:
        action = options[name]["--precision"]
        assert tuple(action.choices) == ("auto", *PRECISIONS)
        assert action.default is None
        repeats = "the same as in training" in action.help
        assert repeats == (name in ("train", "live", "explain", "inspect", "report"))


def test_unknown_words_are_usage_errors(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["train", "--precision", "fp16"])
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert "argument --precision: invalid choice: 'fp16'" in error
    assert "bf16" in error


@needs_numba
def test_a_training_and_what_follows_it(capsys, monkeypatch):
    train = ("train", "mlp", "--data", "ring", "--out", "run", "--backend", "cpu", *TINY)
    assert main([*train, "--steps", "1", "--precision", "bf16"]) == 0
    assert ", bf16; run folder run\n" in capsys.readouterr().out
    assert read_config(Path("run")).precision == "bf16"
    monkeypatch.setenv(VARIABLE, "fp32")
    assert main(["train", "--resume", "run", "--steps", "2"]) == 0
    line = "MINIGAN_PRECISION=fp32 is for new runs: this one goes on in bf16. --precision fp32 changes it."
    assert capsys.readouterr().err == f"minigan: {line}\n"
    assert read_config(Path("run")).precision == "bf16"
    monkeypatch.delenv(VARIABLE)
    assert main(["train", "--resume", "run", "--steps", "3", "--precision", "fp32", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("minigan: this run was trained in bf16 to step 2; from here on in fp32.\n")
    assert json.loads(said.out.splitlines()[-1])["engine"].endswith(", fp32")
    for word, expected in ((), "fp32"), (("--precision", "bf16"), "bf16"):
        assert main(["sample", "run", "--count", "4", "--backend", "cpu", "--json", *word]) == 0
        assert json.loads(capsys.readouterr().out)["precision"] == expected
    assert main(["evaluate", "run", "--count", "60", "--backend", "cpu", "--precision", "bf16", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["precision"] == "bf16"
    assert record["engine"].endswith(", bf16")
    refused = fails(capsys, "sample", "run", "--film", "film.png", "--precision", "bf16")
    assert refused.startswith("--film shows the training's own pictures, got --precision in addition.")
    refused = fails(capsys, "report", "run", "--quick", "--precision", "bf16")
    assert refused == "a quick report computes nothing. Leave --precision or --quick out."


def test_what_a_backend_does_not_have_gets_one_line_in_flags(capsys, monkeypatch):
    train = ("train", "mlp", "--data", "ring", "--steps", "1", *TINY)
    line = "the reference backend has no bf16: expected fp32. Write --precision auto for fp32."
    assert fails(capsys, *train, "--backend", "reference", "--precision", "bf16") == line
    assert not Path("runs").exists()
    if is_installed("cpu"):
        line = "the cpu backend has no tf32: expected fp32 or bf16. Write --precision auto for fp32."
        assert fails(capsys, *train, "--backend", "cpu", "--precision", "tf32") == line
        monkeypatch.setenv(VARIABLE, "fp16")
        line = "MINIGAN_PRECISION must be one of auto, fp32, tf32, bf16, got 'fp16'. Write MINIGAN_PRECISION=auto for "
        assert fails(capsys, *train, "--backend", "cpu") == f"{line}the default."


@needs_numba
def test_info_names_the_precisions_and_their_instructions(capsys, monkeypatch):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "  precision fp32 (default): " in out
    assert "  precision bf16: " in out
    monkeypatch.setenv(VARIABLE, "bf16")
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["backends"]
    assert found["cpu"]["precision"] == "bf16"
    assert list(found["cpu"]["precisions"]) == ["fp32", "bf16"]
    assert (found["reference"]["precision"], list(found["reference"]["precisions"])) == ("fp32", ["fp32"])


@needs_numba
def test_bench_measures_in_a_precision(capsys):
    quick = ("--backend", "cpu", "--rounds", "1", "--seconds", "0.01", "--batch-size", "8", "--precision", "bf16")
    assert main(["bench", "mlp", "--json", *quick]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["precision"] == "bf16"
    assert found["backend"].endswith(", bf16")
    assert main(["recipes", "mlp", "--set", "hidden=4", "--backend", "cpu", "--precision", "bf16"]) == 0
    assert "products in bf16" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=needs_numba)])
def test_gradients_are_checked_in_double_precision(capsys, monkeypatch, backend):
    check = ("gradcheck", "mlp", "--data", "ring", "--backend", backend, *TINY)
    monkeypatch.setenv(VARIABLE, "bf16")
    assert main(check) == 0
    said = capsys.readouterr()
    assert "all gradients and double gradients agree" in said.out
    assert "products in fp64" in said.out
    assert said.err == ""
    if backend == "cpu":
        assert main([*check, "--precision", "bf16"]) == 0
        line = "minigan: these networks are float64: bf16 rounds products of float32 only.\n"
        assert capsys.readouterr().err == line
