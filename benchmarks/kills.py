"""Training that is killed and resumed again and again, compared bit for bit with training that was left alone.

    python -m benchmarks.kills --kills 200 --json kills.json

Small networks of several recipes train in processes of their own. Half of the kills come at a random time, the others
right before a random operation on a file of the run folder (`benchmarks.mortal`). A third of those at a random time are
SIGHUP, as from a terminal that is closed: a training then saves and ends. All others are SIGKILL. After each,
`--resume` continues the run; one that died before it had a config.toml is started again. In the end every checkpoint,
the model, the pictures and the losses in the log must be those of a run that was not killed, and no temporary file may
be left.

While a training is alive its folder must have an owner, and once it is dead it must be free: the lock file that a
killed process leaves keeps nobody out, and a process that was asked to end has removed its own.

What the system has not written to the disk yet survives SIGKILL: this shows what a killed process leaves, not what a
power cut does. For that, files and folders are synced before and after each renaming
(tests/checkpoints/test_format.py).
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.cli.train import INTERRUPTED
from minigan.errors import MiniganError, OutputError
from minigan.support.folder_owner import LOCK_FILE, refuse_if_owned

CASES = {
    "mlp": "mlp --data ring --steps 24 --evaluate-every 3 --set hidden=8 latent=4 batch_size=8 ema=0.9 n_critic=2 "
    "optimizer=adamw schedule=cosine clip_norm=1",
    "dcgan": "dcgan --steps 16 --set width=2 batch_size=4 latent=4 fake_pool=8 ema=0.9 ema_statistics=standing "
    "augment=color,translation",
    "sngan": "sngan --steps 12 --checkpoint-every 3 --set width=4 batch_size=4 latent=4 ema=0.9",
    "wgan-gp": "dcgan --steps 16 --checkpoint-every 2 --set width=2 batch_size=4 latent=4 loss=wasserstein "
    "penalty=wgan-gp penalty_interval=3 d_norm=none optimizer=rmsprop",
    "vae": "vae --steps 16 --set width=2 batch_size=4 latent=2",
    "multi-d": "multi-d --steps 12 --keep 1 --set width=2 batch_size=4 latent=4 optimizer=sgd momentum=0.9",
    "pix2pix": "pix2pix --steps 6 --checkpoint-every 2 --set width=2 d_width=2 batch_size=2",
}
EVERY = ("--checkpoint-every", "1", "--sample-every", "4", "--log-every", "1", "--seed", "3")
TIMINGS = ("images_per_second", "seconds")  # of the log: of no two runs alike
LIMIT = 300.0  # seconds: longer than any of these runs takes
PER_RUN = 12  # kills, after which a run is left alone


class Whole(NamedTuple):
    """A run that is not killed."""

    folder: Path
    seconds: float  # from the first to the last step
    operations: int  # on its files


class Death(NamedTuple):
    """The end of a process that was to be killed."""

    killed: bool
    hung_up: bool  # by SIGHUP
    began: bool  # whether the run had a config.toml by then
    writing: bool  # whether it left a temporary file
    locked: bool  # whether it left its lock file


class Tally:
    """The counts of one case.

    Attributes:
        wrong: how runs differ from the whole one, or what went wrong.
    """

    def __init__(self) -> None:
        self.kills = self.hangups = self.writing = self.locked = self.early = self.runs = 0
        self.wrong: list[str] = []

    def add(self, death: Death) -> None:
        self.kills += death.killed
        self.hangups += death.hung_up
        self.writing += death.killed and death.writing
        self.locked += death.killed and death.locked
        self.early += death.killed and not death.began


def process(folder: Path, arguments: Sequence[str], *, operation: int = 0) -> subprocess.Popen[str]:
    """Training, in a process that dies at that operation on the run's files."""
    line = [sys.executable, "-m", "benchmarks.mortal", str(operation), str(folder), *arguments]
    single = {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **single}
    )


def beginning(folder: Path, case: str, backend: str) -> list[str]:
    """The command that starts a run."""
    recipe, *rest = CASES[case].split()
    return ["train", recipe, *EVERY, "--out", str(folder), "--backend", backend, *rest]


def begun(child: subprocess.Popen[str]) -> float:
    """The time when training begins, which the line that names the run folder tells."""
    assert child.stdout is not None
    for line in child.stdout:
        if "; run folder " in line:
            break
    return time.monotonic()


def train_whole(folder: Path, case: str, backend: str) -> Whole:
    """Trains without any kill."""
    with process(folder, beginning(folder, case, backend)) as child:
        began = begun(child)
        out, err = child.communicate(timeout=LIMIT)
    if child.returncode != 0:
        sys.exit(f"{case} on {backend} does not train: {err}")
    return Whole(folder, time.monotonic() - began, int(out.rpartition("operations ")[2]))


def train_until_killed(folder: Path, arguments: Sequence[str], whole: Whole, rng: random.Random) -> Death:
    """Trains until killed, or to the end.

    Raises:
        RuntimeError: it ended by itself, with an error.
    """
    at_operation, number = rng.random() < 0.5, signal.SIGKILL
    operation = rng.randint(1, whole.operations // 2) if at_operation else 0
    with process(folder, arguments, operation=operation) as child:
        if not at_operation:
            number = rng.choice((signal.SIGHUP, signal.SIGKILL, signal.SIGKILL))
            if rng.random() < 0.8:
                begun(child)
                time.sleep(rng.uniform(0, whole.seconds / 2))
                expect_owned(folder, child)
            else:  # perhaps it does not train yet
                time.sleep(rng.uniform(0, 1))
            child.send_signal(number)
        err = child.communicate(timeout=LIMIT)[1]
    saved = number == signal.SIGHUP and child.returncode == INTERRUPTED
    killed = saved or child.returncode == -number
    if not killed and child.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ends with {child.returncode}: {err.strip()}")
    locked = (folder / LOCK_FILE).exists()
    if locked and (saved or not killed):
        raise RuntimeError(f"{' '.join(arguments)} has left {folder / LOCK_FILE}")
    refuse_if_owned(folder, remedy="Its training has ended.")
    writing = any(folder.rglob(f"*.{child.pid}.tmp"))
    return Death(killed, killed and number == signal.SIGHUP, (folder / "config.toml").exists(), writing, locked)


def expect_owned(folder: Path, child: subprocess.Popen[str]) -> None:
    """Raises RuntimeError if another training could begin in the folder of one that is alive."""
    try:
        refuse_if_owned(folder, remedy="")
    except OutputError:
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(2)  # it has just come to its end
        return
    raise RuntimeError(f"{folder} has no owner, but process {child.pid} trains in it")


def kill_case(folder: Path, case: str, backend: str, *, kills: int, rng: random.Random) -> Tally:
    """Kills runs of one case, until there were so many kills, and compares each run with one that is left alone."""
    tally = Tally()
    whole = train_whole(folder / "whole", case, backend)
    while tally.kills < kills and not tally.wrong:
        killed = folder / f"killed-{tally.runs}"
        try:
            kill_run(killed, beginning(killed, case, backend), whole, tally, kills=kills, rng=rng)
        except (RuntimeError, OutputError) as error:
            tally.wrong.append(str(error))
        else:
            tally.wrong += differences(whole.folder, killed)
        tally.runs += 1
        if not tally.wrong:
            shutil.rmtree(killed)
    return tally


def kill_run(killed: Path, start: Sequence[str], whole: Whole, tally: Tally, *, kills: int, rng: random.Random) -> None:
    """One run to its end, with kills on the way. Raises RuntimeError if it cannot be resumed after one."""
    before = tally.kills
    arguments, alive = start, False
    while tally.kills < min(kills, before + PER_RUN) and not alive:
        death = train_until_killed(killed, arguments, whole, rng)
        tally.add(death)
        arguments = ("train", "--resume", str(killed)) if death.began else start
        alive = not death.killed
    if not alive:
        with process(killed, arguments) as child:
            err = child.communicate(timeout=LIMIT)[1]
        if child.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)} ends with {child.returncode}: {err.strip()}")


def differences(whole: Path, killed: Path) -> Iterator[str]:
    """The differences between two run folders, except for times."""
    expected, found = ({str(p.relative_to(f)): p for p in f.rglob("*") if p.is_file()} for f in (whole, killed))
    # A training that saves when it is asked to end leaves a checkpoint of another step: it pushes out the oldest one.
    newest = max((name for name in expected if name.startswith("checkpoints/step-")), default="")
    in_one = expected.keys() ^ found.keys()
    for name in sorted(name for name in in_one if name == newest or not name.startswith("checkpoints/step-")):
        yield f"{killed}: {name} is in one of the folders only"
    for name in sorted(expected.keys() & found.keys()):
        read = losses if name == "log.jsonl" else Path.read_bytes
        if read(expected[name]) != read(found[name]):
            yield f"{killed}: {name} differs"


def losses(log: Path) -> list[dict[str, float]]:
    """The records of a log without their times."""
    records = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in record.items() if key not in TIMINGS} for record in records]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=command.count, default=200, help="in all (default 200)")
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--backend", choices=command.HOST, nargs="+", default=list(command.HOST))
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--json", metavar="FILE", help="the counts and what they were made with")
    options = parser.parse_args(arguments)
    try:
        setting = environment.describe([get_backend(name) for name in options.backend][-1])
    except MiniganError as error:
        parser.error(str(error))
    environment.show(setting)
    pairs = [(case, backend) for backend in options.backend for case in options.case]
    rng, rows = random.Random(options.seed), []
    columns = ("kills", "hangups", "writing", "locked", "early", "runs")
    print(f"{'case':10} {'backend':9} {' '.join(f'{name:>8}' for name in columns)}  result")
    for n, (case, backend) in enumerate(pairs):
        kills = options.kills * (n + 1) // len(pairs) - options.kills * n // len(pairs)
        folder = Path(tempfile.mkdtemp(prefix="minigan-kills-"))
        tally = kill_case(folder, case, backend, kills=kills, rng=rng)
        rows.append({"case": case, "backend": backend, **vars(tally)})
        result = tally.wrong[0] if tally.wrong else "the same bits"
        counts = " ".join(f"{getattr(tally, name):8}" for name in columns)
        print(f"{case:10} {backend:9} {counts}  {result}", flush=True)
        if not tally.wrong:
            shutil.rmtree(folder)
        command.write_json(options.json, {"setting": setting, "cases": rows})
    total, wrong = sum(row["kills"] for row in rows), sum(bool(row["wrong"]) for row in rows)
    hangups, writing, locked, early = (sum(row[key] for row in rows) for key in columns[1:5])
    print(
        f"{total} kills: {hangups} by SIGHUP, {writing} in the middle of a write, {early} before there was a run to "
        f"resume; {locked} left a lock file"
    )
    if wrong:
        sys.exit(f"{wrong} of {len(pairs)} cases went wrong; their folders are kept")


if __name__ == "__main__":
    main()
