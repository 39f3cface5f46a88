"""The herald and the watch: who is lost, and who says so; sockets in one process, and a clock of the test's."""

import json
import socket
import threading
import time

import pytest

from minigan.distributed import watch as watching
from minigan.distributed.herald import Herald
from minigan.distributed.watch import Meeting, Watch, rank_limit
from minigan.errors import ConfigError, DataError, RankError

TOKEN = "secret"


class Stage:
    """A herald in a thread, and ranks that are plain sockets."""

    def __init__(self, size, *, limit=0.5, grace=5.0):
        self.said = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.port = self.server.getsockname()[1]
        self.herald = Herald(self.server, token=TOKEN, size=size, limit=limit, grace=grace, say=self.said.append)
        self.ranks = [self.connect(rank) for rank in range(size)]
        self.thread = threading.Thread(target=self.herald.run, daemon=True)
        self.thread.start()
        assert [self.hear(rank) for rank in range(size)] == [{"welcome": rank} for rank in range(size)]

    def connect(self, rank, token=TOKEN):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.tell(connection, {"token": token, "rank": rank, "process": 100 + rank, "host": "h"})
        return connection

    @staticmethod
    def tell(connection, message):
        connection.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, rank):
        line = b""
        while line in (b"", b"{}\n"):  # nothing but alive
            line = b""
            while not line.endswith(b"\n"):
                line += self.ranks[rank].recv(1) or b"\n"
        return json.loads(line)

    def beat(self, *ranks, exchanges=0):
        for rank in ranks:
            self.tell(self.ranks[rank], exchanges)

    def end(self):
        for connection in self.ranks:
            connection.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.server.close()
        return self.said


def test_an_end_in_order_says_nothing():
    stage = Stage(2)
    for connection in stage.ranks:
        stage.tell(connection, {"bye": True})
    assert stage.hear(1) == {"ended": 0}
    assert stage.end() == []


def test_a_killed_rank_is_told_to_the_first_which_speaks():
    stage = Stage(3)
    stage.ranks[2].close()
    news = stage.hear(0)
    assert (news["lost"], news["kind"], news["code"]) == (2, "RankError", 137)
    assert news["text"] == "rank 2 (process 102 on h) was killed or has crashed."
    assert stage.hear(1) == news
    stage.tell(stage.ranks[0], {"said": True})
    stage.ranks[0].close()
    assert stage.hear(1) == {"end": 137}
    assert stage.end() == []


def test_a_first_rank_that_is_killed_itself_is_spoken_for():
    stage = Stage(2)
    stage.tell(stage.ranks[0], {"resume": "Resume from step 7 with: X"})
    stage.ranks[0].close()
    assert stage.hear(1)["lost"] == 0
    assert stage.hear(1) == {"end": 137}
    assert stage.end() == ["minigan: rank 0 (process 100 on h) was killed or has crashed. Resume from step 7 with: X"]


def test_the_first_of_several_deaths_counts():
    """A launcher kills the others as soon as one has died."""
    stage = Stage(3)
    for rank in (1, 0, 2):
        stage.ranks[rank].close()
        time.sleep(0.02)
    (line,) = stage.end()
    assert line.startswith("minigan: rank 1 ")


def test_silence():
    stage = Stage(2, limit=0.4)
    until = time.monotonic() + 5
    stage.ranks[0].settimeout(0.02)
    heard = b""
    while b"lost" not in heard and time.monotonic() < until:
        stage.beat(0)
        try:
            heard += stage.ranks[0].recv(4096)
        except TimeoutError:
            continue
    news = next(json.loads(line) for line in heard.splitlines() if b"lost" in line)
    assert news["lost"] == 1
    assert "no sign of life for 0 s" in news["text"]
    stage.tell(stage.ranks[0], {"said": True})
    assert stage.end() == []


def test_alive_but_behind(monkeypatch):
    monkeypatch.setattr("minigan.distributed.herald.PATIENCE", 1)
    stage = Stage(2, limit=0.4)
    stage.ranks[0].settimeout(0.02)
    heard, until = b"", time.monotonic() + 5
    exchanges = 0
    while b"lost" not in heard and time.monotonic() < until:
        stage.beat(0, exchanges=(exchanges := exchanges + 1))
        stage.beat(1, exchanges=1)
        try:
            heard += stage.ranks[0].recv(4096)
        except TimeoutError:
            continue
    news = next(json.loads(line) for line in heard.splitlines() if b"lost" in line)
    assert news["text"].startswith("rank 1 (process 101 on h) is alive, but has kept the others waiting")
    stage.tell(stage.ranks[0], {"said": True})
    assert stage.end() == []


def test_a_first_rank_that_does_not_come_to_its_end():
    stage = Stage(2, limit=0, grace=0.2)
    stage.tell(stage.ranks[1], {"failed": "DataError", "text": "bad.", "code": 2})
    assert stage.hear(0) == {"lost": 1, "kind": "DataError", "text": "rank 1: bad.", "code": 2}
    assert stage.hear(0) == {"end": 2}
    assert stage.end() == ["minigan: rank 1: bad."]


def test_strangers_are_sent_away():
    stage = Stage(1)
    stranger = stage.connect(0, token="guess")
    assert stranger.recv(10) == b""
    stranger.close()
    loud = socket.create_connection(("127.0.0.1", stage.port), timeout=10)
    loud.sendall(b"\xff{[\n" + b"x" * 200_000)
    loud.close()
    stage.tell(stage.ranks[0], {"bye": True})
    assert stage.end() == []


# ---------------------------------------------------------------------------------------- the watch


@pytest.fixture
def pair():
    """A herald of two ranks: the first is a watch, the other a plain socket."""
    said, ends = [], []
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    port = server.getsockname()[1]
    herald = Herald(server, token=TOKEN, size=2, limit=1.0, grace=5.0, say=said.append)
    thread = threading.Thread(target=herald.run, daemon=True)
    thread.start()
    watch = Watch(Meeting(("127.0.0.1",), port, TOKEN, 1.0), 0, end_process=ends.append)
    other = Watch(Meeting(("127.0.0.1",), port, TOKEN, 1.0), 1, end_process=ends.append)
    assert watch.is_on
    assert other.is_on
    yield watch, other
    watch.said()
    for each in (watch, other):
        each.bye()
        each.close()
    thread.join(10)
    server.close()


def error_of(watch, *, waited=0.0):
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            watch.expect_all(waited)
        except Exception as error:
            return error
        time.sleep(0.01)
    return None


def test_an_error_arrives_with_its_kind(pair):
    watch, other = pair
    watch.expect_all(100.0)
    other.tell(DataError("a.png: damaged."))
    error = error_of(watch)
    assert isinstance(error, DataError)
    assert str(error) == "rank 1: a.png: damaged."


def test_other_errors_arrive_as_a_rank_s(pair):
    watch, other = pair
    other.tell(ZeroDivisionError("division\nby zero"))
    error = error_of(watch)
    assert type(error) is RankError
    assert (str(error), error.exit_code) == ("rank 1: ZeroDivisionError: division by zero.", 1)


def test_an_endless_error_arrives_too(pair):
    """The herald throws lines away that are too long: the others would wait for the whole limit."""
    watch, other = pair
    other.tell(ZeroDivisionError("\N{GRINNING FACE}" * 100_000))
    assert str(error_of(watch)).startswith("rank 1: ZeroDivisionError: \N{GRINNING FACE}")


def test_a_program_that_has_ended_is_not_waited_for(pair, monkeypatch):
    watch, other = pair
    monkeypatch.setattr(watching, "ENDED", 0.1)
    other.bye()
    assert str(error_of(watch, waited=1.0)) == "rank 1 has ended its program, while the others go on."


def test_a_rank_that_is_cut_off_ends(capfd):
    """Its herald has not gone, but nothing comes from there any more."""
    ends = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: answers.append(server.accept()[0]))
        answers = []
        answer.start()
        thread = threading.Thread(
            target=lambda: watches.append(
                Watch(Meeting(("127.0.0.1",), server.getsockname()[1], TOKEN, 0.1), 1, end_process=ends.append)
            )
        )
        watches = []
        thread.start()
        answer.join(5)
        answers[0].sendall(b'{"welcome": 1}\n')
        thread.join(5)
        until = time.monotonic() + 5
        while not ends and time.monotonic() < until:
            time.sleep(0.01)
        watches[0].close()
        answers[0].close()
    assert ends[0] == 2
    assert "minigan: rank 1 has lost the network to rank 0, and ends." in capfd.readouterr().err


def test_without_a_herald_nobody_watches():
    watch = Watch(None, 0)
    assert not watch.is_on
    watch.tell(ValueError())
    watch.bye()
    watch.expect_all(100.0)


@pytest.mark.parametrize("text", ["soon", "-1", "0.5", "1e9", "nan"])
def test_a_limit_that_is_none(monkeypatch, text):
    monkeypatch.setenv("MINIGAN_RANK_LIMIT", text)
    with pytest.raises(ConfigError, match="MINIGAN_RANK_LIMIT must be a number of seconds from 1"):
        rank_limit()


@pytest.mark.parametrize(("text", "limit"), [("", 30.0), ("0", 0.0), ("90", 90.0)])
def test_limits(monkeypatch, text, limit):
    monkeypatch.setenv("MINIGAN_RANK_LIMIT", text)
    assert rank_limit() == limit
