"""The ranks that a launcher has started: found, introduced to each other, and ended together."""

import atexit
import contextlib
import functools
import os
import sys
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from minigan.distributed.ranks import ALONE, Ranks
from minigan.errors import BackendError, ConfigError, MiniganError, MissingExtraError, printable
from minigan.support.launch import Launch, find_launch

if TYPE_CHECKING:
    from minigan.distributed.watch import Watch

__all__ = ["end_all", "find_ranks", "has_begun"]

READING = 0.2  # seconds: a launcher that kills all loses what it has not read yet
WITH_ITS_OWN = "Start it with the mpiexec of that library: with pip's mpich, the one next to this Python."


def find_ranks() -> Ranks:
    """All processes that were started together with this one; this one alone without a launcher.

    mpi4py is imported only if there are several. Every rank has to call this.

    Raises:
        MissingExtraError: mpi4py is not installed.
        BackendError: it finds no MPI library.
        ConfigError: the launcher is of another MPI than mpi4py's.
    """
    launch = find_launch()
    return ALONE if launch.size == 1 else _started_together(launch)


def has_begun() -> bool:
    """Whether this process knows of others, which may wait for it."""
    return _started_together.cache_info().currsize > 0


@functools.cache
def _started_together(launch: Launch) -> Ranks:
    """The ranks of a launch, of which a process has one."""
    world = _world(launch)
    # Late: one process needs none of it.
    from minigan.distributed.mpi import MpiRanks
    from minigan.distributed.watch import Meeting, Watch, rank_limit, start_herald

    limit = rank_limit()
    ranks = MpiRanks(world)
    meeting = ranks.from_first(start_herald(ranks.size, limit=limit) if ranks.is_first else None)
    watch = Watch(None if meeting is None else Meeting(*meeting), ranks.rank, end_process=ranks.abort)
    unwatched = [rank for rank, is_on in enumerate(ranks.gather(watch.is_on)) if not is_on]
    if unwatched:
        ranks.warning = (
            f"rank {', '.join(map(str, unwatched))} cannot be watched, for want of a connection to rank 0's host: "
            "if it is stopped or its host is lost, the others wait for it."
        )
    ranks.watch = watch
    _end_with_this_process(ranks, watch)
    return ranks


def _world(launch: Launch) -> Any:
    """MPI's communicator of all processes.

    Raises:
        MissingExtraError, BackendError, ConfigError: see `find_ranks`.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "mpi4py":
            raise MissingExtraError.of(
                package="mpi4py", extra="mpi", purpose=f"training on the {launch.size} processes that were started"
            ) from None
        raise _no_library(error) from None
    except RuntimeError as error:
        raise _no_library(error) from None
    if MPI.COMM_WORLD.size != launch.size:
        library = MPI.Get_library_version().partition("\n")[0].partition(",")[0].strip(" \0:\t")
        raise ConfigError(
            f"{launch.launcher} started {launch.size} processes, but mpi4py's {library} sees {MPI.COMM_WORLD.size}. "
            f"{WITH_ITS_OWN}"
        )
    return MPI.COMM_WORLD


def _no_library(error: Exception) -> BackendError:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return BackendError(
        f"mpi4py is installed, but finds no MPI library: {reason}. Install one: pip install 'minigan[mpi]'"
    )


# ---------------------------------------------------------------------------------------- the end


def end_all(code: int, error: BaseException | None = None) -> NoReturn:
    """Ends all ranks with this exit code, after this one has said why.

    The first rank speaks, and has some time to do so: another one tells it of the error and waits.
    """
    from minigan.distributed.watch import GRACE

    ranks = find_ranks()
    watch: Watch | None = getattr(ranks, "watch", None)
    if error is not None:
        ranks.tell(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed
            stream.flush()
    if watch is not None and ranks.is_first:
        watch.said()
        time.sleep(READING)
    elif not ranks.is_first:
        if watch is not None and watch.is_on:
            time.sleep(GRACE)  # the first rank, or the herald, ends this one
        with contextlib.suppress(OSError):  # neither did: this rank speaks for itself
            os.write(2, f"minigan: rank {ranks.rank}: {printable(str(error))}\n".encode())
    ranks.abort(code)


def _end_with_this_process(ranks: Ranks, watch: "Watch") -> None:
    """Sees to it that no rank waits for one whose program has ended, in order or with an error."""
    show = sys.excepthook

    def fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if ranks.is_first:
            show(kind, error, trace)
        elif not isinstance(error, MiniganError) and sys.__stderr__ is not None:  # a bug: its place helps
            with contextlib.suppress(OSError, ValueError):
                traceback.print_exception(error, file=sys.__stderr__)
        end_all(130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1), error)

    sys.excepthook = fail
    atexit.register(watch.bye)  # before MPI's own end, which waits for all
