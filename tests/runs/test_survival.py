"""Runs that are stopped, damaged or robbed of their folder, on the command line: what is said, and how they go on."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from minigan import runs
from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.format import load_arrays, load_checkpoint, load_model, save_arrays
from minigan.cli.command_line import main
from minigan.errors import CheckpointError, ConfigError
from minigan.runs.measure import FixedNoiseMeasure
from minigan.training.listeners import Checkpoints, Log, Pictures
from minigan.training.trainer import Trainer

SMALL = ("--checkpoint-every", "2", "--log-every", "1", "--backend", "reference", "--batch-size", "8")
SETTINGS = ("--set", "hidden=4", "latent=2", "ema=0.9")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(folder, *rest, steps=8, data="ring"):
    return main(["train", "mlp", "--data", data, "--steps", str(steps), "--out", folder, *SMALL, *rest, *SETTINGS])


def complaint(capsys, *arguments):
    """The one line of a command that fails."""
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def names(folder):
    return sorted(path.name for path in Path(folder, "checkpoints").iterdir())


def same(folder):
    """Whether a run has the final weights of an undisturbed one, in its model and its newest checkpoint."""
    train("undisturbed")
    names = ("model.safetensors", "checkpoints/step-00000008.safetensors")
    return all(Path(folder, name).read_bytes() == Path("undisturbed", name).read_bytes() for name in names)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


@pytest.fixture
def stop_at(monkeypatch):
    """Has training stop, or something else happen, right before the log of a step."""

    def install(step, what=None):
        right = Log.on_step

        def on_step(self, done):
            if done.number == step:
                monkeypatch.setattr(Log, "on_step", right)
                if what is None:
                    raise KeyboardInterrupt
                what()
            right(self, done)

        monkeypatch.setattr(Log, "on_step", on_step)

    return install


# ------------------------------------------------------------------------------------------ damage


def test_the_command_that_is_offered_for_a_damaged_checkpoint_works(capsys, stop_at):
    stop_at(7)
    assert train("run") == 130
    flip(Path("run/checkpoints/step-00000007.safetensors"))
    error = complaint(capsys, "train", "--resume", "run")
    assert "step-00000007.safetensors is damaged: its content is not what its checksum says" in error
    offered = error.strip().partition("Resume from step 6 with: minigan ")[2].split()
    assert offered == ["train", "--resume", "run/checkpoints/step-00000006.safetensors"]
    assert main(offered) == 0
    assert same("run")
    assert names("run") == [f"step-0000000{step}.safetensors" for step in (4, 6, 8)]  # 7 was given up


def test_a_damaged_model_is_refused_and_written_anew_by_resuming(capsys):
    train("run")
    flip(Path("run/model.safetensors"))
    assert "model.safetensors is damaged" in complaint(capsys, "sample", "run")
    assert main(["train", "--resume", "run"]) == 0
    assert same("run")


def test_a_run_stopped_before_its_first_checkpoint_begins_again(capsys, stop_at):
    stop_at(1)
    assert train("run") == 130
    shutil.rmtree("run/checkpoints")
    Path("run/model.safetensors").unlink()
    assert main(["train", "--resume", "run"]) == 0
    assert "minigan: run has no checkpoint yet: training begins at step 0.\n" in capsys.readouterr().err
    assert same("run")
    assert [json.loads(line)["step"] for line in Path("run/log.jsonl").read_text().splitlines()] == [*range(1, 9)]


def test_a_trained_model_without_checkpoints_is_not_trained_over(capsys):
    train("run")
    shutil.rmtree("run/checkpoints")
    assert "no checkpoint in run/checkpoints" in complaint(capsys, "train", "--resume", "run")


def test_a_start_that_was_killed_does_not_block_the_next():
    Path("run").mkdir()
    Path(f"run/.config.toml.{os.getpid()}.tmp").write_text("half of it")
    assert train("run") == 0
    assert not list(Path("run").glob(".*"))


@pytest.mark.parametrize("killed", [False, True])
def test_an_evaluation_that_was_not_finished_is_done_again(monkeypatch, killed):
    with monkeypatch.context() as patch:
        patch.setattr(FixedNoiseMeasure, "__call__", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train("run", "--evaluate-every", "4") == 130
    assert names("run") == ["step-00000002.safetensors", "step-00000004.safetensors"]
    if killed:
        Path("run/checkpoints/step-00000004.safetensors").unlink()
    assert main(["train", "--resume", "run"]) == 0
    figures = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines() if "modes" in line]
    assert [record["step"] for record in figures] == [4, 8]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "minigan: interrupted. Step 4 is saved: resume with: minigan train --resume run\n"),
        (MemoryError("no"), 2, "width. Step 4 is saved: resume with: minigan train --resume run\n"),
        (FileNotFoundError(2, "No such file", "x"), 2, "Step 4 is saved: resume with: minigan train --resume run\n"),
        (BrokenPipeError(32, "Broken pipe"), 2, "Step 4 is saved: resume with: minigan train --resume run\n"),
        (ConfigError("odd."), 2, "minigan: odd. Step 4 is saved: resume with: minigan train --resume run\n"),
        (RuntimeError("no home"), None, "Step 4 is saved: resume with: minigan train --resume run"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_evaluation_that_fails_costs_no_step(capsys, monkeypatch, error, code, line):
    """A bug's traceback is Python's to print, with the line below it."""
    with monkeypatch.context() as patch:
        patch.setattr(FixedNoiseMeasure, "__call__", lambda *_: (_ for _ in ()).throw(error))
        if code is None:
            with pytest.raises(RuntimeError, match=r"^no home\n") as caught:
                train("run", "--evaluate-every", "4")
            assert caught.value.__notes__ == [line]
        else:
            assert train("run", "--evaluate-every", "4") == code
            assert capsys.readouterr().err.splitlines(keepends=True)[-1].endswith(line)
    assert names("run") == ["step-00000002.safetensors", "step-00000004.safetensors"]
    assert main(["train", "--resume", "run"]) == 0
    assert train("undisturbed") == 0
    assert Path("run/model.safetensors").read_bytes() == Path("undisturbed/model.safetensors").read_bytes()


def test_other_versions_are_told_of(capsys):
    train("run", steps=2)
    path = Path("run/checkpoints/step-00000002.safetensors")
    arrays, description = load_checkpoint(path)
    save_arrays(path, arrays, description={**description, "versions": {**description["versions"], "numpy": "1.0"}})
    assert main(["train", "--resume", "run", "--steps", "4"]) == 0
    assert "the checkpoint was written with numpy 1.0, this is minigan " in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ folders and disks


@pytest.mark.parametrize(
    ("kind", "function"), [(Trainer, "_step"), (Log, "on_step"), (Pictures, "on_step"), (Checkpoints, "save")]
)
def test_a_folder_that_is_removed_is_there_again(capsys, monkeypatch, kind, function):
    right, robbed = getattr(kind, function), []

    def rob(self, *arguments, **options):
        state = self.training.state if kind in (Log, Pictures) else self.state
        if state.step == 8 - (kind is Trainer) and not robbed:
            robbed.append(shutil.rmtree("run"))
        return right(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kind, function, rob)
        assert train("run") == 0
    assert capsys.readouterr().out.count("run was removed. It was made anew, with a checkpoint of step 8.\n") == 1
    assert same("run")
    assert runs.read_config(Path("run")) == runs.read_config(Path("undisturbed"))
    assert main(["train", "--resume", "run", "--steps", "9"]) == 0


def test_a_folder_that_is_removed_with_the_one_above_it_gets_a_line(capsys, monkeypatch):
    right = Trainer._step

    def moved(self, *arguments):
        if self.state.step == 5:
            Path("above").rename("elsewhere")
        return right(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", moved)
        assert train("above/run") == 2
    error = capsys.readouterr().err
    assert error.startswith("minigan: cannot write above/run: it was removed or moved together with the folder above")
    assert error.count("\n") == 1
    assert main(["train", "--resume", "elsewhere/run"]) == 0
    assert same("elsewhere/run")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device. Free some space"),
        (errno.EROFS, "Read-only file system. Choose a folder that can be written to."),
    ],
)
def test_a_disk_that_is_full_or_read_only_costs_the_steps_since_the_last_checkpoint(capsys, stop_at, number, remedy):
    right = os.fsync

    def fail(_descriptor):
        raise OSError(number, os.strerror(number))

    stop_at(5, lambda: setattr(os, "fsync", fail))
    try:
        assert train("run") == 2
    finally:
        os.fsync = right
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"cannot write run/checkpoints/step-00000006.safetensors: {remedy}" in error
    assert error.endswith(" Resume from step 4 with: minigan train --resume run\n")
    assert names("run") == ["step-00000002.safetensors", "step-00000004.safetensors"]
    assert main(["train", "--resume", "run"]) == 0
    assert same("run")


# ------------------------------------------------------------------------------------------ the last and the best


def figured(monkeypatch, *figures):
    """Has the monitor find these, one after the other."""
    coming = iter(figures)
    monkeypatch.setattr(FixedNoiseMeasure, "__call__", lambda *_: next(coming))


def best(folder):
    _, description = load_checkpoint(CheckpointFolder(Path(folder, "checkpoints")).best)
    return description["step"], description["figures"]


def test_the_best_checkpoint_is_kept_and_can_be_used(capsys, monkeypatch):
    modes = ({"modes": n, "high_quality": q} for n, q in ((3.0, 0.1), (5.0, 0.1), (5.0, 0.2), (5.0, 0.2), (4.0, 0.9)))
    figured(monkeypatch, *modes)
    assert train("run", "--evaluate-every", "1", "--keep", "1", steps=5) == 0
    assert names("run") == ["best.safetensors", "step-00000005.safetensors"]
    assert best("run") == (3, {"modes": 5.0, "high_quality": 0.2})
    lines = [line for line in capsys.readouterr().out.splitlines() if "modes" in line]
    assert [line.endswith(", the best so far") for line in lines] == [True, True, True, False, False]
    file = "run/checkpoints/best.safetensors"
    assert main(["sample", file, "--count", "9", "--backend", "reference"]) == 0
    assert "9 samples of mlp at step 3, moving average" in capsys.readouterr().out
    assert main(["evaluate", file, "--count", "50", "--backend", "reference"]) == 0
    assert Path("run/evaluation.json").exists()
    figured(monkeypatch, *[{"modes": 0.0, "high_quality": 0.0}] * 2)
    assert main(["train", "--resume", file, "--steps", "5"]) == 0
    assert best("run")[0] == 3


def test_the_figure_that_tells_the_best_can_be_chosen(monkeypatch):
    figured(monkeypatch, *({"modes": n, "high_quality": q} for n, q in ((3.0, 0.1), (5.0, 0.1), (4.0, 0.9))))
    assert train("run", "--evaluate-every", "1", "--best", "high_quality", steps=3) == 0
    assert best("run")[0] == 3
    assert runs.read_config(Path("run")).keep.best == "high_quality"


def test_lower_distances_are_better(monkeypatch):
    figured(monkeypatch, *({"fid": fid, "kid": 0.0} for fid in (9.0, 4.0, 7.0)))
    assert train("run", "--evaluate-every", "1", "--best", "fid", steps=3, data="digits") == 0
    assert best("run") == (2, {"fid": 4.0, "kid": 0.0})


def test_a_figure_that_nobody_measures_is_refused(capsys):
    line = ["train", "mlp", "--data", "ring", "--out", "run", "--best", "fid"]
    assert "--best fid needs figures to go by. Add --evaluate-every N." in complaint(capsys, *line)
    error = complaint(capsys, *line, "--evaluate-every", "5")
    assert "--best must be one of modes, high_quality with ring, got fid." in error
    assert not Path("run").exists()


def test_a_checkpoint_carries_its_configuration_and_what_a_model_does():
    train("run")
    path = Path("run/checkpoints/step-00000008.safetensors")
    assert load_checkpoint(path)[1]["config"] == Path("run/config.toml").read_text()
    (arrays, description), (whole, found) = load_model(Path("run/model.safetensors")), load_model(path)
    assert all((whole[name] == array).all() for name, array in arrays.items())
    assert {**found, "format": None} == {**description, "format": None}
    with pytest.raises(CheckpointError, match="found 'minigan-checkpoint/2'"):
        load_arrays(path, format="minigan-model/1")
