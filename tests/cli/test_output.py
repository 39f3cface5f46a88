"""Output of commands: JSON for programs, nothing with --quiet, help with examples that run, completion."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from selection import few_quick

from minigan.cli import command_line as cli
from minigan.cli import commands
from minigan.cli.command_line import main
from minigan.cli.help_texts import EXIT_CODES, USAGE
from minigan.cli.recipes import parse_settings
from minigan.recipes import get_recipe

COMMANDS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
NUMPY = ("--backend", "reference")
TRAIN = ("train", "mlp", "--data", "ring", "--batch-size", "8", "--steps", "3", *NUMPY)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """A run folder with a generator of three steps."""
    assert main([*TRAIN, "--out", "run", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    return "run"


def records(capsys, *arguments, code=0):
    """Standard output as JSON lines, and standard error."""
    assert main([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    return [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()], err


def test_a_training_prints_its_log_and_what_was_done(capsys):
    lines, err = records(capsys, *TRAIN, "--out", "run")
    assert lines[:-1] == [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert (lines[-1]["run"], lines[-1]["step"], lines[-1]["steps"]) == ("run", 3, 3)
    assert "more: minigan sample run" in err
    lines, err = records(capsys, "train", "--resume", "run", "--quiet")
    assert [line["step"] for line in lines] == [3]
    assert err == ""


def test_figures_on_the_way_are_in_the_json(capsys):
    lines, _ = records(capsys, *TRAIN, "--evaluate-every", "9", "--out", "run", "--quiet")
    assert [line["step"] for line in lines if "modes" in line] == [3]


def test_commands_tell_programs_what_they_did(capsys, run):
    of_run = {"recipe": "mlp", "step": 3, "weights": "last", "precision": "fp32"}
    (sampled,), err = records(capsys, "sample", run, "--count", "4", *NUMPY)
    assert (sampled, err) == ({**of_run, "samples": 4, "seeds": None, "truncation": 1.0, "out": "samples.png"}, "")
    (exported,), err = records(capsys, "export", run, "--to", "torch", "--out", "G.safetensors")
    assert exported == {"network": "G of mlp at step 3", "format": "torch", "out": "G.safetensors"}
    assert main(["export", run, "--to", "numpy", "--out", "G", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    (found,), err = records(capsys, "evaluate", run, "--count", "60", *NUMPY)
    assert found == json.loads(Path("run/evaluation.json").read_text())
    assert "60 samples, compared with ring" in err


def test_commands_tell_programs_what_is_here(capsys):
    (listed,), _ = records(capsys, "recipes")
    assert listed["recipes"]["mlp"] == "A fully connected GAN for small images or points of the plane."
    (mlp,), _ = records(capsys, "recipes", "mlp", *NUMPY, "--set", "lr=0.5", "channels=1")
    assert mlp["settings"]["lr"] == {"value": 0.5, "default": 2e-4, "meaning": "learning rate of G and D."}
    assert mlp["networks"]["D"]["input"] == [28, 28, 1]
    (here,), _ = records(capsys, "info")
    assert here["numpy"] == np.__version__
    assert "conv2d" in here["backends"]["reference"]["native"]
    assert all(("engine" in found) != ("error" in found) for found in here["backends"].values())


def test_a_gradient_is_a_record(capsys):
    (found,), err = records(capsys, "gradcheck", "mlp", "--data", "ring", "--set", "hidden=4")
    assert (found["recipe"], found["failed"], err) == ("mlp", 0, "")
    first = found["gradients"][0]
    assert first.keys() == {"path", "what", "error", "passed"}
    assert first["passed"] is True
    assert main(["gradcheck", "mlp", "--data", "ring", "--set", "hidden=4", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "run", "--count", "2", *NUMPY),
        ("evaluate", "run", "--count", "60", *NUMPY),
        ("train", "--resume", "run", "--steps", "4"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.usefixtures("run")
def test_quiet_commands_say_nothing(capsys, arguments):
    before = len(list(Path().rglob("*")))
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert len(list(Path().rglob("*"))) > before


def test_errors_are_no_json(capsys):
    for arguments in (("sample", "nowhere"), ("train", "--data", "nowhere")):
        assert main([*arguments, "--json", "--quiet"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"minigan: .+\n", err)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", few_quick(["recipes", "info --json", "train --help"], ["recipes"]))
def test_a_reader_may_stop_after_a_line(words, unbuffered):
    command = f"'{sys.executable}' -m minigan {words} | head -1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 1)


def test_evaluate_writes_its_files_though_nobody_reads(run):
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "minigan", "evaluate", run, "--count", "60", *NUMPY]
    ended = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Path("run/evaluation.json").exists()


# ---------------------------------------------------------------------------------------------- help


def test_every_command_has_a_usage():
    assert set(USAGE) == set(commands.COMMANDS)


@pytest.mark.parametrize("name", USAGE)
def test_help_has_examples_that_are_commands(capsys, name):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert USAGE[name].description in out
    lines = re.findall(r"^  (?:mpiexec -n 4 )?minigan ([^#|>&\n]+)", out.partition("examples:\n")[2], re.MULTILINE)
    assert len(lines) == USAGE[name].examples.count("\n") + 1
    for line in lines:
        options = cli._parse(shlex.split(line))
        assert options.command == name
        if getattr(options, "set", None):
            recipe = options.what if name == "explain" else options.recipe or "mlp"  # on points
            get_recipe(recipe).from_settings(parse_settings(options.set))


def test_exit_codes_are_told(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert EXIT_CODES in capsys.readouterr().out
    (told,) = re.findall(r"^Exit codes: (.+?)\.$", COMMANDS, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ +(\d+)", EXIT_CODES, re.MULTILINE) == re.findall(r"(?:^|;\s)(\d+) ", told)


# ---------------------------------------------------------------------------------------------- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", "powershell"])
def test_completion_knows_commands_and_recipes(capsys, shell):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("gradcheck", "evaluate-every", "dcgan-keras", "wgan-gp", "BatchNorm"):
        assert word in script


def test_bash_completes(capsys):
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    Path("script").write_text(capsys.readouterr().out)
    Path("file.npy").touch()

    def completed(*words: str) -> list[str]:
        code = f"source ./script; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
        code += "_shtab_minigan; echo ${COMPREPLY[@]}"
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert completed("minigan", "tra") == ["train", "translate"]
    assert completed("minigan", "train", "dcgan-") == ["dcgan-keras", "dcgan-cifar"]
    assert completed("minigan", "train", "--backend", "r") == ["reference"]
    assert completed("minigan", "train", "--data", "fi") == ["file.npy"]


def test_completion_needs_shtab(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "completion needs shtab, which is not installed. Run: pip install 'minigan[cli]'" in capsys.readouterr().err


def test_explanations_without_docstrings_say_so():
    for arguments in (["recipes"], ["recipes", "dcgan", *NUMPY]):
        command = [sys.executable, "-OO", "-m", "minigan", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "Python -OO leaves explanations out. Run it without -OO." in done.stdout
        assert done.stderr == ""
