"""A run that several ranks share: they start alike, and in one folder that the first of them makes."""

import contextlib
import hashlib
import os
import platform
import socket
import time
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

import minigan
from minigan.distributed import expect_same_start
from minigan.errors import ConfigError, MiniganError
from minigan.runs.config import FILE
from minigan.runs.prepare import PreparedRun, create_folder
from minigan.support.launch import find_launch
from minigan.support.representation import short_path

__all__ = ["create_shared_folder", "expect_alike", "expect_same_step", "one_voice"]

LOOKED_AT = 16  # items of the data that are compared
PATIENCE = 10.0  # seconds in which a network's disk shows a new file


def one_voice() -> AbstractContextManager[object]:
    """A context in which Python's warnings are shown by the first rank alone: all of them meet the same."""
    return contextlib.nullcontext() if find_launch().is_first else warnings.catch_warnings(action="ignore")


def expect_alike(run: PreparedRun) -> None:
    """Compares versions, settings and data of all ranks; all of them call it.

    Raises:
        ConfigError: they differ.
    """
    ranks = run.backend.ranks
    if ranks.size == 1:
        return
    config = run.config
    facts = {
        "minigan": minigan.__version__,
        "NumPy": np.__version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "the recipe": config.recipe,
        **{f"`{name}`": repr(value) for name, value in config.settings.items() if name not in ("targets", "data_b")},
        "`seed`": str(config.seed),
        "`backend`": config.backend,
        "`precision`": config.precision,
        "the engine": run.backend.describe(),  # with another vector width or thread count sums have other bits
        "the networks' dtype": config.dtype,
        **{f"`{name}`": str(value) for name, value in vars(config.rhythm).items()},
        "`keep`": str(config.keep.last),
        "`best`": config.keep.best,
        "the data": run.dataset.describe(),
        "the content of the data": _fingerprint(run),
    }
    expect_same_start(ranks, facts)


def expect_same_step(run: PreparedRun) -> None:
    """Compares how far all ranks are, once a checkpoint is loaded; all of them call it.

    Raises:
        ConfigError: they differ.
    """
    expect_same_start(run.backend.ranks, {"the number of steps done": str(run.trainer.state.step)})


def _fingerprint(run: PreparedRun) -> str:
    """A hash of some items from all over the data; their paths may differ from host to host."""
    rows = np.linspace(0, len(run.dataset) - 1, min(len(run.dataset), LOOKED_AT), dtype=np.intp)
    digest = hashlib.sha256()
    try:
        items = run.dataset.read(rows)
    except MiniganError:  # training tells when it comes to it
        return "unreadable"
    for part in items if isinstance(items, tuple) else (items,):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def create_shared_folder(run: PreparedRun, *, numbered: bool) -> None:
    """Creates the run's folder on the first rank, and makes sure that all ranks see it; all of them call this.

    Args:
        numbered: see `create_folder`.
    Raises:
        ConfigError, OutputError: see `create_folder`; or a rank does not see the folder. Nothing is left of it.
    """
    ranks, state = run.backend.ranks, run.trainer.state
    if ranks.is_first:
        create_folder(run, numbered=numbered)
    state.folder, expected = ranks.from_first((state.folder, _mark(state.folder) if ranks.size > 1 else ""))
    blind = "" if ranks.size == 1 or _sees(state.folder, expected) else socket.gethostname()
    hosts = ranks.gather(blind)
    if any(hosts):
        if ranks.is_first:
            _remove_new(run)
        rank = next(rank for rank, host in enumerate(hosts) if host)
        raise ConfigError(
            f"rank {rank} on {hosts[rank]} does not see {short_path(state.folder)}, which rank 0 has made. Choose an "
            "`out` on a disk that all hosts share."
        )


def _mark(folder: Path) -> str:
    """Tells this config.toml from one of another disk: its content and time."""
    try:
        file = folder / FILE
        return f"{hashlib.sha256(file.read_bytes()).hexdigest()} {os.stat(file).st_mtime_ns // 1000}"
    except OSError:
        return "missing"


def _sees(folder: Path, expected: str) -> bool:
    """Whether the file is there; a network's disk may need some time to show it."""
    until = time.monotonic() + PATIENCE
    while _mark(folder) != expected:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _remove_new(run: PreparedRun) -> None:
    """Takes back what `create_folder` has made."""
    state = run.trainer.state
    if state.owner is not None:
        state.owner.release()
    with contextlib.suppress(OSError):
        (state.folder / "log.jsonl").unlink()
        (state.folder / FILE).unlink()
        state.folder.rmdir()
