"""A training that is not done: what it says, and that it leaves nothing behind."""

import json
import tracemalloc

import numpy as np
import pytest

import minigan
from minigan.cli.command_line import main
from minigan.errors import CheckpointError, ConfigError, DataError, DivergenceError, OutOfMemoryError, OutputError
from minigan.inspection import dry_run
from minigan.inspection.dry_training import MOST, DryRun, dry_resume
from minigan.recipes import get_recipe
from minigan.support.folder_owner import FolderOwner
from minigan.support.representation import duration
from minigan.training.alternating import AlternatingOptimizer

SMALL = {"settings": {"hidden": 8, "latent": 3, "batch_size": 16}, "data": "ring", "backend": "reference"}


@pytest.fixture(autouse=True)
def _few_timed_steps(monkeypatch):
    monkeypatch.setattr("minigan.inspection.dry_training.SECONDS", 0.05)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_it_says_what_a_training_then_does(place):
    found = dry_run("mlp", **SMALL, steps=30, seed=5)
    assert contents(place) == {}
    assert found.folder == place / "runs" / "mlp-ring-1"
    run = minigan.train("mlp", data="ring", backend="reference", steps=30, seed=5, quiet=True, **SMALL["settings"])
    assert run.folder == found.folder
    assert run.config.settings == found.config.settings
    learner = get_recipe("mlp").from_settings(run.config.settings).assemble((2,), rng=np.random.default_rng(0))
    assert found.parameters == {name: len(network.arena) for name, network in learner.networks.items()}
    assert dry_run("mlp", **SMALL, steps=30).folder == place / "runs" / "mlp-ring-2"
    numbers = sum(net.arena.flat.size for net in learner.networks.values())
    assert found.lasting == {"weights": 4 * numbers, "gradients": 4 * numbers, "optimizers": 8 * numbers}


def test_it_changes_no_random_number(place):
    """The training after it has the bits of one without it; nor does anybody else's generator move."""
    settings = {"steps": 4, "quiet": True, "data": "ring", "backend": "reference", **SMALL["settings"]}
    first = minigan.train("mlp", **settings, out=place / "a")
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (others' generator)
    dry_run("mlp", **SMALL, steps=4)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    second = minigan.train("mlp", **settings, out=place / "b")
    files = [run.folder / "model.safetensors" for run in (first, second)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_memory_of_a_step_is_measured():
    """A step's arrays are about those that a tape of both networks holds, and grow with the batch."""
    peaks = {}
    for size in (16, 64):
        settings = {"width": 8, "batch_size": size}
        found = dry_run("dcgan", settings=settings, data="digits", backend="reference", steps=3)
        peaks[size] = found.peak
        learner = get_recipe("dcgan").from_settings(settings).assemble((28, 28, 1), rng=np.random.default_rng(0))
        outputs = sum(4 * int(np.prod(layer.output_shape)) for net in learner.networks.values() for layer in net)
        assert 0.5 * size * outputs < found.peak < 6 * size * outputs
    assert 0.5 * 48 * outputs < peaks[64] - peaks[16] < 6 * 48 * outputs
    assert not tracemalloc.is_tracing()


def test_time_is_that_of_real_steps(place, monkeypatch):
    done = []
    step = AlternatingOptimizer.step
    monkeypatch.setattr(AlternatingOptimizer, "step", lambda *given: done.append(None) or step(*given))
    found = dry_run("mlp", **SMALL, steps=1000)
    assert found.timing.steps <= MOST
    assert len(done) == found.timing.steps + 3 + 1, "three before the clock, and one whose memory is measured"
    assert found.seconds == pytest.approx(1000 * found.timing.each)
    assert 0 < found.timing.each < 1
    assert contents(place) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.25, "0.25 s"), (59.6, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (200_000, "2 d 7 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_one_image_is_no_plural():
    found = dry_run("mlp", **{**SMALL, "settings": {**SMALL["settings"], "batch_size": 1}}, steps=2)
    assert "2 steps of 1 image take" in str(found)


def test_batches_of_all_updates_are_counted():
    settings = {**SMALL["settings"], "n_critic": 3, "accumulate": 2}
    assert dry_run("mlp", **{**SMALL, "settings": settings}, steps=2).batch == 16 * 6


# ---------------------------------------------------------------------------------------------- resumed


def test_of_a_run_that_would_be_resumed(place):
    run = minigan.train("mlp", data="ring", backend="reference", steps=6, quiet=True, **SMALL["settings"])
    before = contents(place)
    found = dry_resume(run.folder, steps=20)
    assert (found.step, found.steps) == (6, 20)
    assert found.seconds == pytest.approx(14 * found.timing.each)
    assert "steps 7 to 20 of 16 images take" in str(found)
    done = str(dry_resume(run.folder))
    assert "; all 6 steps are done, and `steps=N` with a larger N trains on\n" in done
    assert "7 to 6" not in done
    assert contents(place) == before
    with pytest.raises(CheckpointError, match=r"has done 6 steps, expected at least as many in all, got 5"):
        dry_resume(run.folder, steps=5)
    with pytest.raises(CheckpointError, match="is not a run folder"):
        dry_resume(place)
    with (
        FolderOwner(run.folder, remedy="Wait."),
        pytest.raises(OutputError, match="this process already trains in it"),
    ):
        dry_resume(run.folder)


# ---------------------------------------------------------------------------------------------- errors


def test_errors_are_those_of_a_training(place):
    with pytest.raises(ConfigError, match=r"mlp has no setting 'hiden'\. Did you mean hidden"):
        dry_run("mlp", settings={"hiden": 3})
    with pytest.raises(DataError, match="nowhere"):
        dry_run("dcgan", data="nowhere", backend="reference")
    taken = place / "taken"
    taken.mkdir()
    (taken / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"taken is not empty and holds no run that can be read"):
        dry_run("mlp", **SMALL, out=taken)
    with pytest.raises(OutputError, match="notes"):
        dry_run("mlp", **SMALL, out=taken / "notes.txt" / "run")
    with pytest.raises(OutOfMemoryError, match=r"would take .* but only"):
        dry_run("mlp", **{**SMALL, "settings": {"hidden": 10**8}})
    with pytest.raises(DivergenceError, match="training diverged at step"):
        dry_run("mlp", **{**SMALL, "settings": {**SMALL["settings"], "lr": 1e30, "optimizer": "sgd"}})
    assert contents(place).keys() == {taken.relative_to(place), (taken / "notes.txt").relative_to(place)}


def test_a_folder_that_a_killed_training_left_is_free(place):
    """A half-written file is no run; and a dry run does not tidy it up."""
    left = place / "run"
    left.mkdir()
    (left / ".config.toml.1.999999.tmp").write_text("form")
    before = contents(place)
    assert dry_run("mlp", **SMALL, steps=2, out=left).folder == left
    assert contents(place) == before


def test_too_little_memory_is_said(place, monkeypatch):
    monkeypatch.setattr("minigan.inspection.dry_training.memory_limit", lambda: (9_000, "the machine's memory"))
    assert "too much: only 9.0 kB are available. Use a smaller `batch_size`." in dry_run("mlp", **SMALL).lines()
    assert contents(place) == {}


# ---------------------------------------------------------------------------------------------- the command line


def test_the_command_says_it_in_lines_and_in_json(place, capsys):
    words = ["train", "mlp", "--data", "ring", "--steps", "40", "--backend", "reference", "--dry-run"]
    words += ["--set", "hidden=8", "batch_size=16"]
    assert main(words) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        *("mlp", "reference", "parameters:", "memory:", "time:", "run", "nothing"),
    ]
    assert "measured in one step" in lines[3]
    assert lines[5] == "run folder: runs/mlp-ring-1"
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["steps"] == 40
    assert record["memory"]["total"] == sum(value for name, value in record["memory"].items() if name != "total")
    assert record["measured_steps"] >= 1
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main([*words, "--set", "hidden=0"]) == 2
    assert contents(place) == {}
    assert main(["train", "--resume", "runs/none", "--dry-run", "--seed", "3"]) == 2
    assert "--resume takes the run's own configuration, got --seed" in capsys.readouterr().err


def test_the_notes_of_the_data_are_said(place, capsys):
    words = ["train", "superres", "--data", "shapes", "--steps", "2", "--backend", "reference", "--dry-run"]
    assert main([*words, "--set", "size=16", "width=2", "d_width=2", "batch_size=2", "mirror=true"]) == 0
    assert "minigan: each image is flipped left to right with probability 1/2" in capsys.readouterr().err
    assert contents(place) == {}


def test_at_a_prompt():
    found = dry_run("mlp", **SMALL, steps=2)
    assert isinstance(found, DryRun)
    assert repr(found).startswith("<DryRun: mlp on ring, ")
    assert str(found).splitlines()[-1] == "nothing was written"
