"""Runs on several processes, under a real `mpiexec`: one run folder, one voice, one end."""

import json
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from mpiexec import TRAIN, Launched, launch, needs_mpi, train
from safetensors.numpy import load_file
from thread_ranks import on_ranks

import minigan
from minigan.cli import main
from minigan.errors import ConfigError
from minigan.recipes import get_recipe
from minigan.runs.among_ranks import expect_alike
from minigan.runs.config import new_config
from minigan.runs.prepare import prepare_run

needs_mpi()
BATCH = "batch_size=8"
FIRST = pytest.param(0, signal.SIGTERM, marks=pytest.mark.exhaustive)
QUICK = {"MINIGAN_RANK_LIMIT": "2"}


def lines(run: Path) -> list[dict]:
    log = run / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def last_saved(run: Path) -> int:
    """The step of the newest checkpoint, which is whole."""
    path = max((run / "checkpoints").glob("step-*.safetensors"))
    assert all(np.isfinite(array).all() for array in load_file(path).values())
    return int(path.stem.removeprefix("step-"))


def files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A run on two ranks, and the same one on one."""
    folder = tmp_path_factory.mktemp("ranks")
    steps = ("--steps", "6", "--checkpoint-every", "3", "--sample-every", "3")
    done = train(2, BATCH, *steps, "--out", "two", folder=folder)
    assert done.code == 0, done.err
    assert main([*TRAIN, BATCH, *steps, "--out", str(folder / "one"), "-q"]) == 0
    return folder, done


def test_one_run_folder_and_one_voice(shared):
    folder, done = shared
    assert files(folder / "two") == files(folder / "one")
    assert done.err == ""
    assert done.out.count("run folder two") == 1
    assert "2 ranks, 4 of the batch's 8 examples each" in done.out
    one, two = load_file(folder / "one/model.safetensors"), load_file(folder / "two/model.safetensors")
    assert all(np.allclose(one[name], two[name], atol=1e-6) for name in one)


def test_the_run_says_how_many_made_it(shared):
    folder, _ = shared
    assert [record.get("ranks") for record in lines(folder / "two")] == [2] * 6
    assert "ranks" not in lines(folder / "one")[0]
    assert minigan.open_run(folder / "two").config.engine.startswith("2 ranks of reference backend")


def test_goes_on_with_another_number_of_ranks(shared, capsys):
    folder, _ = shared
    more = launch(4, "train", "--resume", "two", "--steps", "8", folder=folder).end()
    assert (more.code, len(more.complaints)) == (0, 1)
    assert "this run was made with 2 ranks of reference backend" in more.err
    assert main(["train", "--resume", str(folder / "two"), "--steps", "9"]) == 0
    assert "this run was made with 4 ranks" in capsys.readouterr().err
    assert [record.get("ranks") for record in lines(folder / "two")] == [2] * 6 + [4] * 2 + [None]
    refused = launch(3, "train", "--resume", "two", "--steps", "12", folder=folder).end()
    assert (refused.code, last_saved(folder / "two")) == (2, 9)
    assert refused.complaints == [
        "minigan: 3 ranks need equal parts, got --batch-size 8. Choose a multiple of 3, or start another number of "
        "ranks."
    ]


def test_other_commands_run_on_one_process(shared):
    folder, _ = shared
    done = launch(2, "sample", "two", "--count", "8", folder=folder).end()
    assert done.code == 0
    assert done.out.count("8 samples of mlp at step ") == 1
    assert done.complaints == ["minigan: sample runs on one process: the other process ends at once."]


# ---------------------------------------------------------------------------------------- ends


def running(folder: Path, *words: str, ranks: int = 2) -> Launched:
    """A long training that has saved its third step and gone on."""
    started = launch(
        ranks, *TRAIN, BATCH, "--steps", "1000000", "--checkpoint-every", "1000000", *words, "--out", "run",
        folder=folder, **QUICK,
    )  # fmt: skip
    started.wait_for(lambda: len(lines(folder / "run")) > 5)
    return started


def step_told(line: str) -> int:
    """The step from which one is told to resume; a rank may end right after it has saved a later one."""
    told = re.search(r"\. (?:Resume from step ([\d,]+) with|Step ([\d,]+) is saved: resume with): ", line)
    return int((told[1] or told[2]).replace(",", ""))


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.exhaustive)])
def test_a_rank_that_is_stopped(tmp_path, rank):
    started = running(tmp_path, "--checkpoint-every", "3")
    stopped = started.process_of(rank)
    started.signal(rank, signal.SIGSTOP)
    ended = started.end()
    assert ended.code == 2
    (line,) = ended.complaints
    assert line.startswith(f"minigan: rank {rank} (process {stopped} on ")
    assert "has given no sign of life for 2 s: it was stopped, or its host is lost." in line
    assert line.endswith("with: mpiexec -n 2 minigan train --resume run")
    assert 3 <= step_told(line) <= last_saved(tmp_path / "run")


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.exhaustive)])
def test_a_rank_that_is_killed(tmp_path, rank):
    started = running(tmp_path, "--checkpoint-every", "3")
    killed = started.process_of(rank)
    started.signal(rank, signal.SIGKILL)
    ended = started.end()
    assert ended.code not in (0, 2)
    (line,) = ended.complaints
    assert line.startswith(f"minigan: rank {rank} (process {killed} on ")
    assert " was killed or has crashed. " in line
    assert 3 <= step_told(line) <= last_saved(tmp_path / "run")
    assert line.endswith(": mpiexec -n 2 minigan train --resume run")


@pytest.mark.parametrize(("rank", "number"), [(None, signal.SIGINT), (1, signal.SIGTERM), FIRST])
def test_asked_to_end_all_end_after_the_same_step(tmp_path, rank, number):
    started = running(tmp_path)
    started.signal(rank, number)
    ended = started.end()
    step = last_saved(tmp_path / "run")
    assert ended.code == 130
    assert f"stopped at step {step}. Resume with: mpiexec -n 2 minigan train --resume run" in ended.out
    assert ended.out.count("saving after this step") == 1
    assert not (tmp_path / "run/.lock").exists()


def test_nan_on_all_ranks_is_told_once(tmp_path):
    ended = train(2, BATCH, "lr=1e30", "--steps", "50", "--out", "run", folder=tmp_path)
    (line,) = ended.complaints
    assert ended.code == 3
    assert "training diverged at step" in line
    assert "Traceback" not in ended.err


SCRIPT = """
import os, signal, sys, time
import minigan

class Victim(minigan.training.Listener):
    def on_start(self, training):
        self.state = training.state

    def on_step(self, step):
        if step.number == 5 and self.state.ranks.rank == {rank}:
            {deed}

small = dict(steps=9, batch_size=8, hidden=8, latent=4)
minigan.train("mlp", data="ring", backend="reference", out="run", log_every=1, listeners=[Victim()], **small)
"""


def victim(folder: Path, rank: int, deed: str):
    (folder / "script.py").write_text(SCRIPT.format(rank=rank, deed=deed))
    return Launched(2, ["script.py"], folder=folder, **QUICK).end()


def test_an_error_of_one_rank_ends_all_and_the_step_is_saved(tmp_path):
    ended = victim(tmp_path, 1, "1 / 0")
    assert ended.code == 2
    assert ended.err.count("ListenerError: rank 1: the listener Victim.on_step failed at step 5") == 1
    assert "Step 5 is saved" in ended.err
    assert last_saved(tmp_path / "run") == 5


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("rank", "deed", "code", "text"),
    [
        (0, "1 / 0", 2, "the listener Victim.on_step failed at step 5: ZeroDivisionError"),
        (1, "raise MemoryError('no more')", 2, "rank 1: the listener Victim.on_step failed"),
        (1, "sys.exit(5)", 5, "rank 1: the program ended with 5"),
        (0, "sys.exit(5)", 5, "rank 0: the program ended with 5. Resume from step 5"),
        (1, "os._exit(7)", None, "rank 1 (process "),
        (0, "os._exit(7)", None, "rank 0 (process "),
        (1, "os.abort()", None, "rank 1 (process "),
        (1, "raise KeyboardInterrupt", 130, "rank 1: interrupted."),
        (0, "os.remove('run/log.jsonl'); os.symlink('/dev/full', 'run/log.jsonl')", 2, "No space left on device"),
    ],
)
def test_every_kind_of_end_of_one_rank(tmp_path, rank, deed, code, text):
    ended = victim(tmp_path, rank, deed)
    assert text in ended.err
    if code is None:
        assert ended.code != 0
    else:
        assert ended.code == code


REMOVED = """
import shutil, sys
import minigan

class Remover(minigan.training.Listener):
    def on_start(self, training):
        self.state = training.state

    def remove(self):
        if self.state.ranks.is_first:
            shutil.rmtree(self.state.folder)

    def on_step(self, step):
        if step.number == 5 and self.state.folder.name == "between":
            self.remove()

    def on_record(self, record):
        if record["step"] == 4 and "seconds" in record and self.state.folder.name == "within":
            self.remove()

small = dict(steps=6, checkpoint_every=4, batch_size=8, hidden=8, latent=4, backend="reference", log_every=1)
small |= dict(evaluate_every=4, sample_every=4)
wide = dict(steps=1, batch_size=4, width=2, latent=4, backend="reference", condition="none", quiet=True)
minigan.train("dcgan", data="digits", out="warned", loss="wasserstein", penalty="wgan-gp", **wide)
try:
    minigan.train("mlp", data="ring", out="diverged", lr=1e30, **{**small, "steps": 20})
except minigan.errors.DivergenceError:
    pass
for out in ("between", "within"):
    minigan.train("mlp", data="ring", out=out, listeners=[Remover()], **small)
"""


def test_a_folder_that_is_removed_leaves_no_rank_waiting(tmp_path):
    """Made anew between two steps; within one, its evaluation and checkpoint are left out on the first alone.

    And a script warns once, not on each rank, and may train again after a divergence.
    """
    (tmp_path / "script.py").write_text(REMOVED)
    ended = Launched(2, ["script.py"], folder=tmp_path, **QUICK).end()
    assert ended.err.count("makes each logit depend on the whole batch") == 1
    assert last_saved(tmp_path / "between") == 6
    assert ended.code == 2
    assert "OutputError: cannot write " in ended.err
    assert "within/samples: No such file or directory." in ended.err
    assert "Step 4 is saved: resume with" in ended.err
    assert last_saved(tmp_path / "within") == 4


@pytest.mark.exhaustive
def test_a_rank_that_cannot_be_watched_speaks_for_itself(tmp_path):
    """A firewall between hosts may leave MPI's ports open alone."""
    cut = (
        "import os, minigan.distributed.watch as w\nif os.environ['PMI_RANK'] == '1': w._connected = lambda *_: None\n"
    )
    (tmp_path / "script.py").write_text(cut + SCRIPT.format(rank=1, deed="1 / 0"))
    ended = Launched(2, ["script.py"], folder=tmp_path, **QUICK).end()
    told, failed = ended.complaints
    assert told.startswith("minigan: rank 1 cannot be watched, for want of a connection to rank 0's host: if it is")
    assert failed.startswith("minigan: rank 1: the listener Victim.on_step failed at step 5: ZeroDivisionError")
    assert ended.code == 2


# ---------------------------------------------------------------------------------------- bad starts


BAD_STARTS = {
    "--seed $PMI_RANK": "all ranks must train alike, but --seed is 0 on rank 0 and 1 on rank 1.",
    "--data $([ $PMI_RANK = 1 ] && echo grid || echo ring)": "but the data is ring: 100,000 2-D points",
    "--data $([ $PMI_RANK = 1 ] && echo nix || echo ring)": "rank 1: nix: no such file, folder or embedded",
    "--out run": "does not see run, which rank 0 has made. Choose an --out on a disk that all hosts share.",
}


@pytest.mark.parametrize(
    "words",
    ["--seed $PMI_RANK", *(pytest.param(words, marks=pytest.mark.exhaustive) for words in list(BAD_STARTS)[1:])],
)
def test_ranks_that_would_train_something_else(tmp_path, words):
    """One line, one exit code, and nothing is left."""
    line = BAD_STARTS[words]
    for rank in "01":
        (tmp_path / rank).mkdir()
    where, words = ("cd $PMI_RANK; ", words) if "--out" in words else ("", f"{words} --out run")
    script = f"{where}exec {sys.executable} -m minigan {' '.join(TRAIN)} {BATCH} --steps 3 {words}"
    (tmp_path / "script").write_text(script)
    ended = Launched(2, ("script",), folder=tmp_path, program="sh").end()
    assert ended.code == 2
    (complaint,) = ended.complaints
    assert line in complaint
    assert not list(tmp_path.rglob("run"))


@pytest.mark.parametrize(("name", "first", "other"), [("best", "modes", "high_quality"), ("engine", "1 thread", "2")])
def test_what_would_take_the_ranks_apart_later_is_told_at_the_start(tmp_path, monkeypatch, name, first, other):
    recipe = get_recipe("mlp").from_settings({"hidden": 8, "latent": 4, "batch_size": 8})

    def told(ranks):
        own = first if ranks.is_first else other
        best = own if name == "best" else "modes"
        config = new_config(recipe, data="ring", backend="reference", evaluate_every=2, best=best)
        run = prepare_run(config, tmp_path / "run", ranks=ranks)
        if name == "engine":
            monkeypatch.setattr(run.backend, "describe", lambda: own)
        with pytest.raises(ConfigError) as raised:
            expect_alike(run)
        return str(raised.value)

    for line in on_ranks(2, told):
        assert line.startswith("all ranks must train alike, but ")
        assert f" is {first} on rank 0 and {other} on rank 1." in line


@pytest.mark.exhaustive
def test_ranks_that_would_resume_differently_change_nothing(shared):
    folder, _ = shared
    before = (folder / "two/config.toml").read_bytes(), lines(folder / "two")
    (folder / "script").write_text(f"exec {sys.executable} -m minigan train --resume two --steps $((90 + $PMI_RANK))")
    ended = Launched(2, ("script",), folder=folder, program="sh").end()
    assert ended.code == 2
    assert "but --steps is 90 on rank 0 and 91 on rank 1." in ended.complaints[0]
    assert ((folder / "two/config.toml").read_bytes(), lines(folder / "two")) == before
