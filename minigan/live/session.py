"""A session: one run, or two from one seed, trained as the page asks."""

import contextlib
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minigan.errors import ConfigError, DivergenceError
from minigan.live.changes import choices_of, with_changes
from minigan.live.commands import Command
from minigan.live.frames import frames_of
from minigan.live.hub import Client, Hub
from minigan.live.live_run import LiveRun
from minigan.live.pace import FramePace, StepPace
from minigan.live.slow_motion import Moment, SlowMotion
from minigan.live.view import Unit, View
from minigan.nn.network import Observer
from minigan.support.interruption import Interruption
from minigan.support.representation import short_path
from minigan.training.failures import add_line, how_to_go_on, release_memory

__all__ = ["Session"]

MOST_COMMANDS = 256  # that wait
PAUSE = 0.2  # seconds between two looks for an interruption


class Session:
    """One run, or two from one seed, trained as the page asks.

    All training and all frames are made in the thread that calls `run`; the server's threads only put commands in.

    Args:
        runs: one or two, entered; they are at the same step.
        hub: the pages.
        say: shows a line to the user.
    """

    def __init__(self, runs: list[LiveRun], hub: Hub, *, say: Callable[[str], None]) -> None:
        self.runs, self.hub = list(runs), hub
        self.frames = frames_of(runs[0].prepared)
        self.view = View(layers=self.frames.first)
        self._inbox: queue.SimpleQueue[Command | Client] = queue.SimpleQueue()
        self._late: list[Command] = []  # that came in the middle of a step
        self._tell_user = say
        self._stack = contextlib.ExitStack()
        self._is_playing, self._is_stale = False, True
        self._pace, self._steps = FramePace(), StepPace()
        self._stops = 4  # of slow motion, a second; 0 waits for a key
        self._interruption: Interruption | None = None
        self._lap: tuple[float, int] = (time.monotonic(), self.step)
        self._speed = 0.0

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self.runs[0].state.step

    # ------------------------------------------------------------------------------------------ from the server

    def submit(self, command: Command) -> None:
        """Takes a command, in any thread.

        Raises:
            ConfigError: it cannot be done, or too many wait.
        """
        if self._inbox.qsize() >= MOST_COMMANDS:
            raise ConfigError("too many commands wait. Try again in a moment.")
        if command.name == "set":
            if command.value["run"] == 1 and len(self.runs) == 1:
                raise ConfigError("there is no second run. Begin one first.")
            for run in self._chosen(command.value["run"]):
                with_changes(run.recipe, command.value["changes"])
        self._inbox.put(command)

    def welcome(self, client: Client) -> None:
        """Shows a new page what there is, as soon as training can; in any thread."""
        self._inbox.put(client)

    # ------------------------------------------------------------------------------------------ the loop

    def run(self, interruption: Interruption) -> None:
        """Trains until interrupted, then saves.

        Raises:
            MiniganError: the data cannot be read, or the folder not be written.
        """
        self._interruption = interruption
        with self._stack:
            try:
                while not interruption.requested:
                    if not self._is_undisturbed():
                        self._obey_all()
                    if self._is_playing:
                        self._play()
                    if self.hub.is_watched:
                        self._show()
                self.save()
            except BaseException as error:
                with interruption.held_back():
                    release_memory(error)
                    for run in self.runs:
                        _make_whole(run)
                        add_line(error, how_to_go_on(error, run.prepared.trainer.checkpoints, is_whole=run.is_whole))
                raise
            finally:
                self.hub.send("end", {"step": self.step, "folders": [short_path(run.folder) for run in self.runs]})

    def save(self) -> None:
        """Saves all runs."""
        for run in self.runs:
            run.save()

    def _is_undisturbed(self) -> bool:
        """Whether it plays as fast as it goes, and nobody has asked for anything."""
        return self._is_playing and not self._steps.per_second and not self._late and self._inbox.empty()

    def _obey_all(self) -> None:
        """Does what was asked for; waits for it if there is nothing else to do."""
        late, self._late = self._late, []
        for held in late:
            self._obey(held)
        for _ in range(MOST_COMMANDS):  # then a step and a look for Ctrl-C, however many come
            if (command := self._next_command()) is None:
                return
            self._obey(command)

    def _next_command(self) -> Command | Client | None:
        """A command; None if there is none, after a while if there is nothing else to do."""
        if not self._inbox.empty():
            return self._inbox.get_nowait()
        if self._is_playing:
            wait = self._steps.wait(time.monotonic())
        else:
            wait = 0.0 if self._is_stale and self.hub.is_watched else PAUSE
        if wait <= 0:
            return None
        try:
            return self._inbox.get(timeout=min(wait, PAUSE))
        except queue.Empty:
            return None

    def _play(self) -> None:
        """A step, if it is time."""
        if self._steps.per_second and self._steps.wait(time.monotonic()) > 0:
            return
        if self.step >= self.runs[0].state.steps:
            self._is_playing = False
            self._say(f"all {self.step:,} steps are done.")
            return
        self._steps.stepped(time.monotonic())
        self._advance()

    def _advance(self, side: Any = None) -> None:
        """A step of all runs."""
        began = self.step
        try:
            for run in self.runs:
                run.advance(side)
        except DivergenceError as error:
            self._undo(began, error)
        self._is_stale = True

    def _undo(self, step: int, error: DivergenceError) -> None:
        """All runs at one step again, after one of them diverged."""
        self._is_playing = False
        for run in self.runs:
            if run.state.step != step:
                run.return_to(step)
        self._say(f"{error} Everything is as before that step: go back further, or lower a rate.")

    # ------------------------------------------------------------------------------------------ commands

    def _obey(self, command: Command | Client) -> None:
        if isinstance(command, Client):
            self._welcome(command)
            return
        try:
            self._do(command)
        except ConfigError as error:
            self._say(str(error))
        self._is_stale = True
        self._pace.soon()
        self._tell()

    def _do(self, command: Command) -> None:
        value = command.value
        match command.name:
            case "play" | "pause":
                self._is_playing = command.name == "play"
                self._lap = time.monotonic(), self.step
            case "step":
                self._is_playing = False
                self._advance(value.get("side"))
            case "back":
                self._is_playing = False
                self._go_back(value["to"])
            case "slow":
                self._is_playing = False
                self._slowly()
            case "fast":
                self._stops = value["stops"]
            case "pace":
                self._steps.per_second = value["steps"]
            case "set":
                for run in self._chosen(value["run"]):
                    run.change(value["changes"])
            case "view":
                unit = value["unit"]
                known = self.frames.layers
                layers = tuple(name for name in known if name in value["layers"])
                self.view = View(layers, None if unit is None else Unit(unit["network"], unit["layer"], unit["sample"]))
            case "fork" if len(self.runs) == 1:
                self.runs.append(self._stack.enter_context(self.runs[0].fork()))
            case "single" if len(self.runs) == 2:
                self.runs.pop().save()

    def _chosen(self, run: int | None) -> list[LiveRun]:
        return self.runs if run is None else self.runs[run : run + 1]

    def _go_back(self, step: int) -> None:
        """All runs at an earlier step."""
        target = min(step, self.step)
        for run in self.runs:
            run.return_to(target)
        self._lap = time.monotonic(), self.step

    # ------------------------------------------------------------------------------------------ slow motion

    def _slowly(self) -> None:
        """A step of the first run in slow motion, and then one of the second."""
        began, first = self.step, self.runs[0]
        try:
            with first.game.observed(Observer()):  # observed steps are never replayed from a recording
                first.advance(watched=SlowMotion(self._stop))
            for run in self.runs[1:]:
                run.advance()
        except DivergenceError as error:
            self._undo(began, error)
        self.hub.send("slow", {"over": True})

    def _stop(self, moment: Moment) -> bool:
        """Shows a stop of slow motion, and waits until it is to go on; False if the step is to be finished at once."""
        self.hub.send("slow", moment)
        until = time.monotonic() + (1 / self._stops if self._stops else 1e9)
        while not (self._interruption is None or self._interruption.requested) and self.hub.is_watched:
            left = until - time.monotonic()
            if left <= 0:
                return True
            try:
                command = self._inbox.get(timeout=min(left, PAUSE))
            except queue.Empty:
                continue
            if isinstance(command, Client):
                self._welcome(command)
                self.hub.send("slow", moment, to=command)
            elif command.name == "next":
                return True
            elif command.name == "fast":
                self._stops = command.value["stops"]
                until = time.monotonic() + (1 / self._stops if self._stops else 1e9)
            elif command.name == "finish":
                return False
            else:
                self._late.append(command)
                return False
        return False

    # ------------------------------------------------------------------------------------------ to the pages

    def _show(self) -> None:
        """Sends a frame if there is something new, and it is time."""
        began = time.monotonic()
        if not self._is_stale or (self._is_playing and not self._pace.is_due(began)):
            return
        self.hub.send("frame", self.frame())
        self._is_stale = False
        self._pace.made(began, time.monotonic(), free=not self._is_playing or self._steps.per_second > 0)

    def frame(self) -> dict[str, Any]:
        """The present of all runs as their pages show it."""
        view = View(self.view.layers, self.view.unit, is_still=not self._is_playing)
        now = time.monotonic()
        if self._is_playing and now - self._lap[0] > 0.5:
            self._speed = (self.step - self._lap[1]) / (now - self._lap[0])
            self._lap = now, self.step
        runs = []
        for run in self.runs:
            values = run.measure()
            shown = None if values is None else [_finite(value) for value in values]
            with np.errstate(all="ignore"):  # a frame of weights that have diverged is a frame
                runs.append({"values": shown, **self.frames.frame(run.game, view)})
        return {"step": self.step, "speed": round(self._speed, 1) if self._is_playing else 0, "runs": runs}

    def _welcome(self, client: Client) -> None:
        """All that a new page needs."""
        history = [[[_finite(value) for value in values] for values in run.history] for run in self.runs]
        about = {"about": self.frames.about(self.runs[0].game), "history": history, "title": self._title()}
        self.hub.send("hello", {**about, "choices": self._choices()}, to=client)
        self.hub.send("state", self._state(), to=client)
        self.hub.send("frame", self.frame(), to=client)

    def _title(self) -> str:
        config = self.runs[0].config
        return f"{config.recipe} on {config.data}, seed {config.seed}"

    def _choices(self) -> dict[str, Any]:
        return {name: choice._asdict() for name, choice in choices_of(self.runs[0].recipe).items()}

    def _tell(self) -> None:
        self.hub.send("state", self._state())

    def _state(self) -> dict[str, Any]:
        """Settings, changes and how it is played."""
        runs = [
            {
                "folder": short_path(run.folder),
                "settings": {name: choice.value for name, choice in choices_of(run.recipe).items()},
                "differs": _differences(run, self.runs[0]),
                "notes": [[note.step, note.kind, note.value] for note in _told(run)],
                "updates": run.game_steps,
            }
            for run in self.runs
        ]
        pace = {"pace": self._steps.per_second, "stops": self._stops}
        unit = None if self.view.unit is None else self.view.unit._asdict()
        view = {"layers": list(self.view.layers), "unit": unit}
        return {"playing": self._is_playing, "step": self.step, **pace, "view": view, "runs": runs}

    def _say(self, text: str) -> None:
        """Shows a line on the pages, and to the user."""
        self.hub.send("say", {"text": text})
        self._tell_user(text)


def _make_whole(run: LiveRun) -> None:
    """Undoes a step that has failed half-way, if that can be done."""
    if not run.is_whole:
        with contextlib.suppress(BaseException):  # the first error is the one to know of
            run.return_to(run.state.step)


def _told(run: LiveRun) -> Iterator[Any]:
    """The last notes that a page lists."""
    notes = [note for note in run.journal.notes if note.kind in ("set", "only")]
    yield from notes[-40:]


def _differences(run: LiveRun, other: LiveRun) -> Mapping[str, Any]:
    """The settings in which a run differs from another."""
    settings = other.recipe.settings()
    return {name: value for name, value in run.recipe.settings().items() if settings[name] != value}


def _finite(value: float) -> float | None:
    return value if isinstance(value, int) else float(f"{value:.5g}") if abs(value) < float("inf") else None
