"""The watch over the other ranks: a thread that shows the herald that this rank is alive, and hears who is not."""

import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minigan import errors
from minigan.distributed import herald
from minigan.errors import ConfigError, DataError, MiniganError, RankError
from minigan.support.threads import start_thread

__all__ = ["GRACE", "LIMIT", "Meeting", "Watch", "rank_limit", "start_herald"]

VARIABLE = "MINIGAN_RANK_LIMIT"
LIMIT = 30.0  # seconds without a sign of life, unless the environment says otherwise
GRACE = 60.0  # seconds that the first rank has to save, once another has failed
CUT_OFF = 2  # times the limit, after which a rank that hears nothing ends by itself
ENDED = 2.0  # seconds in which an exchange with a rank whose program has ended may still come to its end
CONNECTING = 5.0  # seconds
MOST_TEXT = 4000  # characters of an error: however they are written, the herald takes so many as one line


class Meeting(NamedTuple):
    """The place of the herald, as the first rank tells the others.

    Attributes:
        addresses: of its host; not all can be reached from every other host.
        limit: seconds without a sign of life; 0 is never.
    """

    addresses: tuple[str, ...]
    port: int
    token: str
    limit: float


def rank_limit() -> float:
    """The seconds after which a silent rank is given up, from MINIGAN_RANK_LIMIT; 0 is never.

    Raises:
        ConfigError: it is no such number.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        limit = float(text or LIMIT)
    except ValueError:
        limit = -1.0
    if not 0 <= limit <= 86_400 or 0 < limit < 1:
        raise ConfigError(f"{VARIABLE} must be a number of seconds from 1, or 0 for no limit, got {text!r}. Try 30.")
    return limit


def start_herald(size: int, *, limit: float) -> Meeting | None:
    """Starts the herald, on the first rank; None if this system starts no such program."""
    token = secrets.token_hex()
    given = {"token": token, "size": size, "limit": limit, "grace": GRACE}
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(herald.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # neither Ctrl-C nor what ends the ranks is for it
        )
        port = _ask_port((child.stdin, child.stdout), json.dumps(given))
    except (OSError, ValueError):
        return None
    child.returncode = 0  # it outlives this process: nobody waits for it
    return Meeting(tuple(own_addresses()), port, token, limit)


def _ask_port(pipes: tuple[Any, Any], given: str) -> int:
    to, back = pipes
    with to, back:
        to.write(given.encode() + b"\n")
        to.flush()
        return int(back.readline())


def own_addresses() -> list[str]:
    """The addresses of this host, the likeliest first: on its network, then those that only its own processes reach."""
    found: list[str] = []
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for _, name in socket.if_nameindex():
                try:
                    answer = fcntl.ioctl(probe.fileno(), 0x8915, name.encode()[:15].ljust(256, b"\0"))  # SIOCGIFADDR
                except OSError:  # without an address
                    continue
                found.append(socket.inet_ntoa(answer[20:24]))
    except (ImportError, OSError):  # another system
        pass
    with contextlib.suppress(OSError):
        found += [str(place[4][0]) for place in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    known = dict.fromkeys([*found, "127.0.0.1"])
    return sorted(known, key=lambda address: address.startswith("127."))


class Watch:
    """Shows the herald that this rank is alive, and learns who has failed.

    Args:
        meeting: where the herald is; None watches nothing.
        rank: this one.
        end_process: called with the exit code when the herald ends all ranks, whatever they do.
    Attributes:
        exchanges: those begun with other ranks; counted by the caller.
        is_on: whether somebody watches.
    """

    def __init__(self, meeting: Meeting | None, rank: int, *, end_process: Callable[[int], object] = os._exit) -> None:
        self._end_process = end_process
        self.exchanges = 0
        self.limit = 0.0 if meeting is None else meeting.limit
        self.rank = rank
        self.lost: RankError | MiniganError | None = None  # an error of the first rank that failed
        self._ended: dict[int, float] = {}  # ranks whose program has ended, and since when
        self._has_told = False
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._socket = None if meeting is None else _connected(meeting, rank)
        if self._socket is not None and meeting is not None:
            pause = min(meeting.limit / herald.BEATS, 1.0) if meeting.limit else 1.0
            self._thread = threading.Thread(target=self._live, args=(pause,), name="minigan-watch", daemon=True)
            if not start_thread(self._thread):
                self._socket.close()
                self._socket = None

    @property
    def is_on(self) -> bool:
        """Whether somebody would notice if this rank were killed or stopped."""
        return self._socket is not None

    def expect_all(self, waited: float) -> None:
        """Raises the error of a rank that has failed, in place of waiting for it for ever.

        Args:
            waited: seconds since this rank has begun to wait.
        """
        if self.lost is not None:
            raise self.lost
        if waited > ENDED and self._ended:
            rank, since = next(iter(self._ended.items()))
            if time.monotonic() - since > ENDED:
                raise RankError(f"rank {rank} has ended its program, while the others go on.")

    def tell(self, error: BaseException) -> None:
        """Tells the others that this error ends this rank; the first one counts."""
        if self._has_told or error is self.lost:
            return
        self._has_told = True
        kind, code = "RankError", getattr(error, "exit_code", 1)
        if isinstance(error, MiniganError):
            kind, text = type(error).__name__, str(error)
        elif isinstance(error, KeyboardInterrupt):
            text, code = "interrupted.", 130
        elif isinstance(error, SystemExit):
            text, code = f"the program ended with {error.code!r}.", error.code if isinstance(error.code, int) else 1
        else:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ") + "."
        self._send({"failed": kind, "text": text[:MOST_TEXT], "code": code})

    def can_resume(self, text: str) -> None:
        """How to go on from what is saved, for a line after the death of the first rank."""
        self._send({"resume": text})

    def said(self) -> None:
        """The first rank has told the user how all ends."""
        self._send({"said": True})

    def bye(self) -> None:
        """This program ends in order."""
        self._send({"bye": True})

    def close(self) -> None:
        """Watches no longer."""
        connection, self._socket = self._socket, None
        if connection is not None and self._thread is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            self._thread.join()

    # ------------------------------------------------------------------------------------------ the thread

    def _live(self, pause: float) -> None:
        buffer = b""
        connection = self._socket
        heard = before = time.monotonic()
        while connection is not None and self._socket is not None:
            try:
                is_ready = bool(select.select([connection], [], [], pause)[0])
                now = time.monotonic()
                if is_ready or now - before > 3 * pause:  # or this process was stopped
                    heard = now
                before = now
                if self.rank and self.limit and now - heard > CUT_OFF * self.limit:
                    self._end_cut_off()
                if is_ready:
                    received = connection.recv(herald.LONGEST)
                    if not received:
                        break
                    *lines, buffer = (buffer + received).split(b"\n")
                    for line in lines:
                        self._hear(json.loads(line))
                self._send(self.exchanges)
            except (OSError, ValueError):
                break
        self._socket = None  # the herald was killed: work goes on without it
        if connection is not None:
            connection.close()

    def _end_cut_off(self) -> None:
        """Ends this process, for which nobody else can: its host has lost the network to the first rank's."""
        line = f"minigan: rank {self.rank} has lost the network to rank 0, and ends."
        with contextlib.suppress(OSError):
            os.write(2, line.encode() + b"\n")
        self._end_process(RankError.exit_code)

    def _hear(self, message: dict[str, Any]) -> None:
        if "end" in message:
            self._end_process(int(message["end"]))
        if "ended" in message:
            self._ended[int(message["ended"])] = time.monotonic()
        elif "lost" in message and self.lost is None:
            self.lost = _error(message)

    def _send(self, message: object) -> None:
        connection = self._socket
        if connection is None:
            return
        try:
            with self._sending:
                connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._socket = None


def _connected(meeting: Meeting, rank: int) -> socket.socket | None:
    """A connection to the herald; None if none of its addresses can be reached."""
    hello = {"token": meeting.token, "rank": rank, "process": os.getpid(), "host": socket.gethostname()}
    for address in meeting.addresses:
        try:
            connection = socket.create_connection((address, meeting.port), timeout=CONNECTING)
        except OSError:
            continue
        try:
            connection.sendall(json.dumps(hello).encode() + b"\n")
            if json.loads(_line(connection)) == {"welcome": rank}:
                connection.settimeout(None)
                return connection
        except (OSError, ValueError):
            pass
        connection.close()
    return None


def _line(connection: socket.socket) -> bytes:
    """The first line; byte by byte, so that nothing after it is taken."""
    line = b""
    while not line.endswith(b"\n") and len(line) < herald.LONGEST:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line


def _error(message: dict[str, Any]) -> MiniganError:
    """The error of another rank, of its own kind: what is to be done about it depends on that."""
    kind = getattr(errors, str(message["kind"]), RankError)
    alike: Sequence[type[MiniganError]] = (DataError, ConfigError, errors.OutputError, errors.ListenerError)
    found = kind(message["text"]) if kind in alike else RankError(message["text"])
    found.exit_code = int(message["code"])
    return found
