"""The herald: a small process beside the ranks, which notices when one of them is killed or stops, and says so.

A rank cannot tell of its own death, and its launcher then kills the others at once. So the first rank starts this
program, with nothing of minigan or NumPy in it; every rank connects to it, and shows every so often that it is alive.

    rank to herald    {"token", "rank", "process", "host"}   first
                      a number                               alive; so many exchanges with other ranks were begun
                      {"failed", "text", "code"}             an error ends this rank
                      {"resume": text}                       of the first rank: how to go on from what is saved by now
                      {"said": true}                         of the first rank: it has told the user how all ends
                      {"bye": true}                          the program ends in order
    herald to ranks   {}                                     alive; a rank that hears nothing is cut off, and ends
                      {"lost", "kind", "text", "code"}       that rank has failed; the first one saves, and says so
                      {"ended": rank}                        that rank's program has ended
                      {"end": code}                          end at once

If the first rank is lost itself, or does not come to an end in time, the herald prints the line and ends the others.
"""

import contextlib
import hmac
import json
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Herald"]

BEATS = 10  # signs of life in the time after which a silent rank is given up
PATIENCE = 60  # times that limit: for one that shows life, but does not come to the others' next exchange
SETTLING = 0.3  # seconds in which the launcher's own killing arrives, before the line is printed
LONGEST = 1 << 16  # bytes of a line
KILLED = 137  # the exit code of a process that was killed, as shells have it


class Rank:
    """A connection, and what is known of the rank at its other end.

    Attributes:
        number: of the rank; None until it has named itself.
        heard: when it was last heard.
        exchanges: those it has begun, and since when it has begun no other.
    """

    def __init__(self, connection: socket.socket, now: float) -> None:
        self.connection, self.heard, self.moved = connection, now, now
        self.number: int | None = None
        self.name = ""
        self.exchanges = 0
        self.buffer = b""
        self.has_ended = False  # in order
        self.has_failed = False  # and has told so


class Herald:
    """Listens to the ranks until all of them have gone.

    Args:
        server: listens.
        token: what a rank shows first; others who connect are sent away.
        size: the number of ranks.
        limit: seconds without a sign of life after which a rank is given up; 0 is never.
        grace: seconds that the first rank has to save and to say how all ended.
        say: prints the line.
        clock: seconds.
    """

    def __init__(
        self,
        server: socket.socket,
        *,
        token: str,
        size: int,
        limit: float,
        grace: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server, self.token, self.size, self.limit, self.grace = server, token, size, limit, grace
        self.say, self.clock = say, clock
        self.ranks: dict[int, Rank] = {}
        self.gone: set[int] = set()
        self.news: dict[str, Any] | None = None  # the first failure: the others follow from it
        self.deadline = 0.0  # of the first rank, to say so
        self.has_said = False
        self.resume = ""
        self.selector = selectors.DefaultSelector()
        self.selector.register(server, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Returns when all ranks have gone; or all that ever came, some time after the first failure."""
        try:
            self._listen()
        finally:
            for key in list(self.selector.get_map().values()):
                if key.data is not None:
                    key.data.connection.close()
            self.selector.close()

    def _listen(self) -> None:
        before = began = greeted = self.clock()
        pause = min(self.limit / BEATS, 1.0) if self.limit else 1.0
        while len(self.gone) < self.size:
            self._hear(pause / 100 if self.news else pause)
            now = self.clock()
            if now - before > 3 * pause:  # this program was stopped itself, and perhaps all ranks with it
                for rank in self.ranks.values():
                    rank.heard, rank.moved = now, now
            if now - greeted > pause:
                greeted = now
                for rank in self.ranks.values():
                    self._send(rank, {})
            before = now
            if self.news is None:
                self._look_for_silence(now)
            elif now > self.deadline or not self._is_first_alive():
                self._end()
                return
            if not self.ranks and (self.gone or now - began > self.grace):  # the others could not come
                return
        self._end()

    # ------------------------------------------------------------------------------------------ hearing

    def _hear(self, pause: float) -> None:
        for key, _ in self.selector.select(pause):  # on Linux in the order in which they became ready
            if key.data is None:
                self._welcome()
                continue
            rank: Rank = key.data
            try:
                received = rank.connection.recv(LONGEST)
            except BlockingIOError:
                continue
            except OSError:
                received = b""
            if received:
                rank.heard = self.clock()
                for line in self._lines(rank, received):
                    self._understand(rank, line)
            else:
                self._part_from(rank)

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self.server.accept()
            connection.setblocking(False)
            self.selector.register(connection, selectors.EVENT_READ, Rank(connection, self.clock()))

    def _lines(self, rank: Rank, received: bytes) -> Iterator[bytes]:
        *lines, rank.buffer = (rank.buffer + received).split(b"\n")
        if len(rank.buffer) > LONGEST:
            rank.buffer = b""
        yield from lines

    def _understand(self, rank: Rank, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if rank.number is None:
            self._introduce(rank, message)
        elif isinstance(message, int):
            if message != rank.exchanges:
                rank.exchanges, rank.moved = message, self.clock()
        elif isinstance(message, dict):
            self._take(rank, rank.number, message)

    def _introduce(self, rank: Rank, message: Any) -> None:
        """Takes a rank in that shows the token; others are left without an answer."""
        if not isinstance(message, dict) or not hmac.compare_digest(
            str(message.get("token")).encode(), self.token.encode()
        ):
            self._close(rank)
            return
        rank.number = int(message["rank"])
        rank.name = f"rank {rank.number} (process {message['process']} on {message['host']})"
        self.ranks[rank.number] = rank
        self._send(rank, {"welcome": rank.number})

    def _take(self, rank: Rank, number: int, message: dict[str, Any]) -> None:
        if "failed" in message:
            rank.has_failed = True
            text = str(message["text"])
            if not text.startswith("rank "):  # it may be about another one
                text = f"rank {number}: {text}"
            self._tell(number, message["failed"], text, message["code"])
        elif "resume" in message and number == 0:
            self.resume = str(message["resume"])
        elif "said" in message and number == 0:
            self.has_said = True
        elif "bye" in message:
            rank.has_ended = True
            for other in self.ranks.values():
                if other is not rank:
                    self._send(other, {"ended": number})

    def _part_from(self, rank: Rank) -> None:
        self._close(rank)
        if rank.number is None:
            return
        self.ranks.pop(rank.number, None)
        self.gone.add(rank.number)
        if not (rank.has_ended or rank.has_failed):
            self._tell(rank.number, "RankError", f"{rank.name} was killed or has crashed.", KILLED)

    def _close(self, rank: Rank) -> None:
        self.selector.unregister(rank.connection)
        rank.connection.close()

    # ------------------------------------------------------------------------------------------ judging

    def _look_for_silence(self, now: float) -> None:
        if not self.limit:
            return
        furthest = max((rank.exchanges for rank in self.ranks.values()), default=0)
        for rank in self.ranks.values():
            silent, behind = now - rank.heard, now - rank.moved
            if rank.has_ended or rank.has_failed:
                continue
            if silent > self.limit:
                text = f"{rank.name} has given no sign of life for {silent:.0f} s: it was stopped, or its host is lost."
            elif rank.exchanges < furthest and behind > PATIENCE * self.limit:
                text = f"{rank.name} is alive, but has kept the others waiting for {behind:.0f} s."
            else:
                continue
            self._tell(rank.number or 0, "RankError", text, 2)
            return

    def _tell(self, number: int, kind: str, text: str, code: int) -> None:
        """Passes the first failure on to all others."""
        if self.news is not None:
            return
        self.news = {"lost": number, "kind": kind, "text": text, "code": code}
        self.deadline = self.clock() + self.grace
        for other in self.ranks.values():
            if other.number != number:
                self._send(other, self.news)

    def _is_first_alive(self) -> bool:
        """Whether the first rank can still say how all ended."""
        first = self.ranks.get(0)
        if first is None or first.has_ended:
            return False
        return first.has_failed or self.news is None or self.news["lost"] != 0

    def _end(self) -> None:
        """Prints the line, unless the first rank has done so, and ends all ranks that are left."""
        if self.news is None:
            return
        until = self.clock() + SETTLING
        while not self.has_said and 0 in self.ranks and self.clock() < until:  # its word may be on its way
            self._hear(SETTLING / 10)
        if not self.has_said:
            self.say(f"minigan: {self.news['text']} {self.resume}".rstrip())
        for rank in self.ranks.values():
            self._send(rank, {"end": self.news["code"]})

    def _send(self, rank: Rank, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has gone, or does not listen
            rank.connection.send(json.dumps(message).encode() + b"\n")


def _print(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Reads token, size, limit and grace from standard input, and prints the port to standard output."""
    given = json.loads(sys.stdin.readline())
    with socket.create_server(("", 0), backlog=1024) as server:
        server.setblocking(False)
        print(server.getsockname()[1], flush=True)
        sys.stdout.close()
        Herald(server, say=_print, **given).run()


if __name__ == "__main__":
    main()
