"""Real ranks: programs under `mpiexec`, and signals to one of their processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

MPIEXEC = Path(sys.executable).with_name("mpiexec")
LIMIT = 60.0  # seconds: none of these programs takes a quarter of that
TRAIN = (
    "train",
    "mlp",
    "--data",
    "ring",
    "--backend",
    "reference",
    "--log-every",
    "1",
    "--set",
    "hidden=8",
    "latent=4",
)


def needs_mpi() -> None:
    """Skips a module where no ranks can be started."""
    pytest.importorskip("mpi4py")
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec next to this Python: pip install 'minigan[mpi]'", allow_module_level=True)


class Launched:
    """A program on several ranks."""

    def __init__(
        self, ranks: int, words: Sequence[str], *, folder: Path, program: str = sys.executable, **environment: str
    ) -> None:
        threads = {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(MPIEXEC), "-n", str(ranks), program, *words],
            cwd=folder,
            env={**os.environ, **threads, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def process_of(self, rank: int) -> int:
        """The process of a rank, below the launcher's."""
        wanted = f"PMI_RANK={rank}".encode()
        for child in _descendants(self.process.pid):
            if wanted in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return child
        raise AssertionError(f"no process of rank {rank}")

    def signal(self, rank: int | None, number: int) -> None:
        """Sends a signal to a rank, or with None to mpiexec."""
        os.kill(self.process.pid if rank is None else self.process_of(rank), number)

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() - self.began < LIMIT
            time.sleep(0.01)

    def end(self) -> "Ended":
        try:
            out, err = self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            for child in _descendants(self.process.pid):
                os.kill(child, 9)
            self.process.kill()
            raise
        return Ended(self.process.returncode, out, err)


class Ended:
    """End of a program on several ranks: exit code and output."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def complaints(self) -> list[str]:
        """The lines of minigan on standard error."""
        return [line for line in self.err.splitlines() if line.startswith("minigan: ")]


def launch(ranks: int, *words: str, folder: Path, **environment: str) -> Launched:
    """Starts the command line on ranks."""
    return Launched(ranks, ("-m", "minigan", *words), folder=folder, **environment)


def train(ranks: int, *words: str, folder: Path, **environment: str) -> Ended:
    """A small training on ranks, to its end."""
    return launch(ranks, *TRAIN, *words, folder=folder, **environment).end()


def _descendants(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found
