"""A separate process that passes one input after the other to a reader, under a limit of memory."""

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.fuzzing.readers import Inputs, Reader, write
from benchmarks.fuzzing.reading import Wrong
from minigan.errors import MiniganError

READ, REFUSED = "read", "refused"  # every other outcome is a finding
STARTUP = 300.0  # seconds until a process must be ready


class Limits(NamedTuple):
    """The time and memory that one input may take.

    Attributes:
        seconds: of the processor.
        space: bytes of addresses beyond those that the process begins with; requests for more are refused.
        patience: seconds until a process that says nothing is given up.
    """

    seconds: float = 5.0
    space: int = 2**31
    patience: float = 60.0


USUAL = Limits()


class Outcome(NamedTuple):
    """The result of a reader on one input.

    Attributes:
        kind: read, refused, or what is wrong in a word or two.
        detail: of what is wrong: the error, and where it came from.
    """

    index: int
    kind: str
    detail: str = ""


def attempt(reader: Reader, inputs: Inputs, index: int, folder: Path, limits: Limits = USUAL) -> Outcome:
    """One input, written to an empty folder and read there."""
    rng = inputs.chance(index)
    write(inputs.files(index, rng), folder)
    peak, began = _peak(), time.process_time()
    try:
        reader.read(folder, rng)
        outcome = Outcome(index, READ)
        if len(inputs.sound) <= index < len(inputs):
            outcome = Outcome(index, "hostile input read")
    except MiniganError as error:
        outcome = Outcome(index, REFUSED)
        if any(map(_asked_in_vain, _causes(error))):
            outcome = Outcome(index, "memory", f"{_where(error)}: {error}")
        elif index < len(inputs.sound):
            outcome = Outcome(index, "sound input refused", str(error))
        elif not str(error).isprintable():
            outcome = Outcome(index, "message of several lines", repr(str(error)))
    except Wrong as error:
        outcome = Outcome(index, "wrong result", str(error))
    except BaseException as error:  # a panic in Rust is no Exception
        outcome = Outcome(index, type(error).__name__, f"{_where(error)}: {error}")
    seconds, grown = time.process_time() - began, _peak() - peak
    if grown > reader.growth:
        return Outcome(index, "memory", f"{grown / 2**20:,.0f} MiB more at once; {outcome.kind} {outcome.detail}")
    if seconds > limits.seconds:
        return Outcome(index, "slow", f"{seconds:.1f} s; {outcome.kind} {outcome.detail}")
    return outcome


def _peak() -> int:
    """Bytes; not what getrusage says, which a process has from the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _asked_in_vain(error: BaseException) -> bool:
    """Tells whether memory was refused; Python's parser raises the same error for too many brackets."""
    frames = traceback.extract_tb(error.__traceback__)
    parsed = bool(frames) and frames[-1].filename.endswith("ast.py")
    return isinstance(error, MemoryError) and not isinstance(error, MiniganError) and not parsed


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _where(error: BaseException) -> str:
    """The last place in minigan, and the last one of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}minigan{os.sep}" in frame.filename] or frames
    places = dict.fromkeys(f"{Path(frame.filename).name}:{frame.name}" for frame in (frames[-1], ours[-1]))
    return " < ".join(places)


def work(
    reader: Reader, seed: int, limits: Limits, start: int, stop: int, scratch: str, connection: Connection
) -> None:
    """The work of the process: sends a word when it is ready, and an outcome for each input."""
    warnings.simplefilter("error")
    inputs = Inputs(reader, seed=seed)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + limits.space,) * 2)
    connection.send("ready")
    with open(Path(scratch) / "stderr", "w") as errors:  # decoders in C talk there, and so does the fault handler
        os.dup2(errors.fileno(), 2)
        faulthandler.enable()
        for index in range(start, stop):
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                connection.send(attempt(reader, inputs, index, Path(folder), limits))


def outcomes(reader: Reader, *, seed: int, start: int, stop: int, limits: Limits = USUAL) -> Iterator[Outcome]:
    """Outcomes of inputs `start` to `stop`; a process that hangs or dies is a finding, and another one continues."""
    context = multiprocessing.get_context("spawn")
    while start < stop:
        with tempfile.TemporaryDirectory() as scratch:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=work, args=(reader, seed, limits, start, stop, scratch, theirs), daemon=True
            )
            process.start()
            theirs.close()
            try:
                if ours.poll(STARTUP):
                    ours.recv()
                while start < stop:
                    if not ours.poll(limits.patience):
                        yield Outcome(start, "hang", f"nothing for {limits.patience:.0f} s")
                        break
                    outcome: Outcome = ours.recv()
                    start = outcome.index + 1
                    yield outcome
                    if outcome.kind == "memory":
                        start -= 1
                        break  # the peak would hide the next one
            except EOFError:
                process.join()
                yield Outcome(start, "crash", f"exit code {process.exitcode}; {_last_words(Path(scratch))}")
            finally:
                with contextlib.suppress(OSError):
                    process.kill()
                process.join()
                ours.close()
            start += 1


def _last_words(scratch: Path) -> str:
    lines = (scratch / "stderr").read_text(errors="replace").splitlines() if (scratch / "stderr").exists() else []
    frames = [line.strip() for line in lines if line.startswith(("Fatal", "  File"))]
    return " < ".join([*lines[-1:], *frames[:3]]) or "no last words"
