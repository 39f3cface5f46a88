"""A run folder has one owner: a second training is refused, a reader is not; a closed terminal ends a training."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.checkpoints.folder import CheckpointFolder
from minigan.cli.command_line import main
from minigan.errors import DataError, ListenerError, OutputError
from minigan.support.folder_owner import LOCK_FILE
from minigan.training import Listener

RING = {"data": "ring", "backend": "reference", "quiet": True, "hidden": 4, "latent": 2, "batch_size": 8}
WORDS = ("--data", "ring", "--backend", "reference", "--batch-size", "8", "--steps", "4")
TINY = ("--set", "hidden=4", "latent=2")
WITH_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where all tests run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ring(steps=4, **arguments):
    return minigan.train("mlp", steps=steps, **{**RING, **arguments})


class At(Listener):
    """Does something at a step."""

    def __init__(self, step, action):
        self.number, self.action = step, action

    def on_step(self, step):
        if step.number == self.number:
            self.action()


def files():
    return sorted(str(path) for path in Path("run").rglob("*") if path.is_file())


@pytest.mark.parametrize("checkpoints", [1, 1000])
def test_a_second_training_is_refused_while_the_first_is_alive(capsys, checkpoints):
    """With or without a checkpoint to resume from."""

    def second():
        before = files()
        for line in (
            ["train", "mlp", "--out", "run", *WORDS, *TINY],
            ["train", "mlp", "--out", str(Path("run").absolute()), *WORDS, *TINY],
            ["train", "--resume", "run"],
            *(["train", "--resume", path] for path in before if "checkpoints" in path),
        ):
            capsys.readouterr()
            assert main(line) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert re.fullmatch(r"minigan: cannot write run: this process already trains in it\. Wait .*\.\n", err)
        for attempt in (lambda: ring(out="run"), lambda: minigan.open_run("run").resume(quiet=True)):
            with pytest.raises(OutputError, match="this process already trains in it"):
                attempt()
        assert files() == before

    run = ring(out="run", checkpoint_every=checkpoints, listeners=[At(3, second)])
    assert run.step == 4
    assert not Path("run", LOCK_FILE).exists()
    assert main(["train", "--resume", "run", "--steps", "5", "--quiet"]) == 0
    assert run.resume(steps=6, listeners=[]).step == 6


def test_who_only_reads_is_let_in():
    def read():
        assert main(["sample", "run", "--count", "9", "--backend", "reference"]) == 0
        assert main(["evaluate", "run", "--count", "50", "--backend", "reference"]) == 0
        assert main(["export", "run", "--to", "torch", "--out", "net.safetensors"]) == 0
        assert main(["export", "run", "--to", "torch", "--network", "D", "--out", "d.safetensors"]) == 0
        assert minigan.open_run("run").generator.step == 2

    assert ring(out="run", checkpoint_every=1, listeners=[At(3, read)]).step == 4


@pytest.mark.parametrize("data", [None, "nowhere.npy"])
def test_an_error_gives_the_folder_up(data):
    with pytest.raises((ListenerError, DataError)):
        ring(out="run", listeners=[At(2, lambda: 1 / 0)], **({} if data is None else {"data": data}))
    assert not Path("run", LOCK_FILE).exists()
    if data is None:
        with pytest.raises(DataError):
            minigan.open_run("run").resume(data="nowhere.npy", quiet=True)
        assert minigan.open_run("run").resume(quiet=True).step == 4


def test_a_killed_start_s_lock_does_not_block_the_next():
    Path("run").mkdir()
    Path("run", LOCK_FILE).write_text('{"process": 1, "host": "container"}')
    assert ring(out="run").step == 4
    assert sorted(os.listdir("run")) == ["checkpoints", "config.toml", "log.jsonl", "model.safetensors", "samples"]


def test_a_folder_that_another_training_has_made_its_own_is_left_alone():
    """The first one's folder was moved away, and somebody started anew under its name."""
    told = []

    class First(Listener):
        """Goes on as soon as the second has begun."""

        def on_step(self, step):
            if step.number == 2:
                Path("run").rename("elsewhere")
                second.start()
                assert begun.wait(60)

        def on_end(self):
            done.set()

    begun, done = threading.Event(), threading.Event()
    second = threading.Thread(
        target=lambda: told.append(ring(9, out="run", listeners=[At(2, lambda: (begun.set(), done.wait(60)))]))
    )
    try:
        with pytest.raises(
            OutputError, match=r"^cannot write .*run: this process already trains in it\..* Step 2 is not saved\.$"
        ):
            ring(out="run", listeners=[First()], checkpoint_every=1)
    finally:
        done.set()
        second.join()
    assert (told[0].step, minigan.open_run("elsewhere").step) == (9, 1)
    assert [record["step"] for record in told[0].log] == [1, 9]


def test_a_checkpoint_that_vanishes_before_it_is_read_has_a_newer_one(monkeypatch):
    """A training keeps the newest ones only, and a reader that has just listed them may be late."""
    ring(out="run", checkpoint_every=1)
    folder = CheckpointFolder(Path("run/checkpoints"))
    newest = folder.paths()[-1]
    gone = [[newest.with_name(f"step-0000009{n}.safetensors")] for n in (4, 3, 2, 1)]
    right = CheckpointFolder.candidates
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "candidates", lambda self: gone.pop() if gone else right(self))
        path, _, description = folder.load()
    assert (path, description["step"], gone) == (newest, 4, [])


def test_readers_keep_up_with_a_training_that_removes_checkpoints():
    ring(1, out="run", checkpoint_every=1, keep=1)
    done, errors = threading.Event(), []

    def read():
        try:
            while not done.is_set():
                CheckpointFolder(Path("run/checkpoints").absolute()).load()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        minigan.open_run("run").resume(steps=60, quiet=True)
    finally:
        done.set()
        thread.join()
    assert errors == []


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_closed_terminal_ends_a_training_as_sigterm_does():
    import pty

    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "minigan", "train", "mlp", "--out", "run", *WORDS, "--steps", "1000000", *TINY]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with subprocess.Popen([sys.executable, "-c", WITH_TERMINAL, *line], **streams, start_new_session=True) as child:
        os.close(theirs)
        log, deadline = Path("run/log.jsonl"), time.monotonic() + 60
        while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
            os.read(ours, 1000)
        os.close(ours)  # the system sends SIGHUP
        assert child.wait(60) == 130
    run = minigan.open_run("run")
    assert run.step > 0
    assert not Path("run", LOCK_FILE).exists()
    assert run.resume(steps=run.step + 1, quiet=True).step == run.step
    assert np.isfinite(run.generator.sample(4)).all()
