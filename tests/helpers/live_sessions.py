"""Live runs of tiny networks, and sessions of them with their server in threads."""

import contextlib
import hashlib
import http.client
import json
import threading
import time

from minigan.live import LiveRun, Session
from minigan.live.hub import Hub
from minigan.live.page import live_page
from minigan.live.server import LiveServer
from minigan.recipes import get_recipe
from minigan.runs.config import new_config
from minigan.runs.session import start_run
from minigan.support.interruption import Interruption
from minigan.support.output import Output
from minigan.support.progress import open_progress

POINTS = {"hidden": 8, "latent": 2, "batch_size": 16, "loss": "non-saturating", "mse_weight": 0.0, "lr": 1e-3}
STEPS = 1_000_000


def tiny_config(*, data="ring", recipe="mlp", seed=0, steps=STEPS, **settings):
    chosen = {**(POINTS if recipe == "mlp" and data in ("ring", "grid") else {}), "steps": steps, **settings}
    made = get_recipe(recipe).from_settings(chosen)
    rhythm = {"log_every": 5, "sample_every": 1000, "checkpoint_every": 1000}
    return new_config(made, data=data, seed=seed, backend="reference", **rhythm)


def silent():
    return open_progress(start=0, total=1, output=Output(quiet=True))


def live_run(folder, **settings):
    return LiveRun(start_run(tiny_config(**settings), folder), silent())


def bits(run):
    """Stands for all that training has changed."""
    arrays = sorted(run.state.arrays().items())
    place = json.dumps([run.state.loader.state(), str(run.state.rng.bit_generator.state)])
    return hashlib.sha256(b"".join(array.tobytes() for _, array in arrays) + place.encode()).hexdigest()


class Watched:
    """A session that runs in a thread of its own, with its server.

    Attributes:
        said: the lines for the user.
    """

    def __init__(self, runs):
        self.said, self.errors = [], []
        self.session = Session(runs, Hub(), say=self.said.append)
        self.server = LiveServer(live_page())
        self.interruption = Interruption()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            self.session.run(self.interruption)
        except BaseException as error:
            self.errors.append(error)
            self.session.hub.close()

    def request(self, method, path, body=None, headers=None, *, token=None):
        """Status, headers and content of an answer; the path follows the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        token = self.server.token if token is None else token
        with contextlib.closing(connection):
            connection.request(method, f"/{token}/{path}", body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def do(self, name, **more):
        """Sends a command as the page does; returns the status."""
        text = json.dumps({"do": name, **more})
        return self.request("POST", "do", text, {"Content-Type": "application/json"})[0]

    @contextlib.contextmanager
    def events(self):
        """An iterator over events, each a kind and its data."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", f"/{self.server.token}/events")
            with contextlib.closing(connection.getresponse()) as answer:  # it holds the connection, too
                yield events_of(answer)

    def until(self, is_so, seconds=20):
        """Waits until something is so."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, "it never came"
            assert not self.errors, self.errors
            time.sleep(0.005)

    def settle(self):
        """Waits until all commands are done."""
        self.until(lambda: self.session._inbox.empty())
        time.sleep(0.05)

    def end(self):
        self.interruption.requested = True
        self._thread.join(20)


def events_of(answer):
    """An iterator over the events of a stream, each a kind and its data."""
    kind = ""
    for line in answer:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            kind = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield kind, json.loads(text.removeprefix("data: "))


@contextlib.contextmanager
def watched(*runs):
    """A running session of runs; it has ended, and saved, afterwards."""
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(run)
        made = Watched(list(runs))
        made._thread.start()
        try:
            with contextlib.closing(made.server), made.server.serving(made.session):
                yield made
                made.end()
        finally:
            made.end()
        assert not made.errors, made.errors
