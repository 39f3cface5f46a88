"""A live training from its configuration to its end: folder, session, server, browser."""

import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minigan.live.changes import is_game, no_game
from minigan.live.hub import Hub
from minigan.live.live_run import LiveRun
from minigan.live.page import live_page
from minigan.live.server import LiveServer
from minigan.live.session import Session
from minigan.recipes import get_recipe
from minigan.runs.config import RunConfig
from minigan.runs.session import start_run
from minigan.support.interruption import Interruption
from minigan.support.output import Output
from minigan.support.progress import open_progress
from minigan.support.representation import short_path

__all__ = ["Ended", "go_live"]


@dataclass(frozen=True)
class Ended:
    """A live training that has ended.

    Attributes:
        folders: of its runs.
        step: the number of steps done.
        engine: the backend in words.
    """

    folders: Sequence[Path]
    step: int
    engine: str


def go_live(
    config: RunConfig,
    out: Path | None = None,
    *,
    compare: Mapping[str, Any] | None = None,
    port: int = 0,
    opens_browser: bool = True,
    output: Output | None = None,
) -> Ended:
    """Trains while a page on this machine shows and steers it, until Ctrl-C; then saves.

    Args:
        config: of the run.
        out: its folder; None takes the next of runs/RECIPE-DATA-1, -2, ...
        compare: settings of a second run, which begins with the same seed.
        port: of the page; 0 takes a free one.
        opens_browser: whether to open the page.
        output: the place for messages.
    Raises:
        MiniganError: the configuration, the data, the backend, the folder or the port cannot be used.
    """
    output = output or Output()
    progress = open_progress(start=0, total=int(config.settings["steps"]), output=Output(quiet=True))
    configs = [config] if compare is None else [config, other_config(config, compare)]
    if not is_game(get_recipe(config.recipe)):
        raise no_game(config.recipe)
    with ExitStack() as stack:
        server = stack.enter_context(closing(LiveServer(live_page(), port=port)))
        runs = []
        for index, each in enumerate(configs):
            prepared = start_run(each, out if index == 0 else None, root=_root(out))
            run = stack.enter_context(LiveRun(prepared, progress))
            for line in prepared.dataset.notes if index == 0 else ():
                output.note(line)
            runs.append(run)
        runs[0].prepared.backend.compile_ahead()
        session = Session(runs, Hub(), say=output.say)
        stack.enter_context(server.serving(session))
        interruption = stack.enter_context(Interruption(output.say))
        engine = runs[0].prepared.backend.describe()
        output.say(f"{config.recipe} on {runs[0].prepared.dataset.describe()}; {engine}")
        output.say(f"run folder {' and '.join(short_path(run.folder) for run in runs)}")
        output.say(f"open {server.address} (only for you; Ctrl-C ends it and saves)")
        if opens_browser:
            webbrowser.open(server.address)
        session.run(interruption)
        return Ended([run.folder for run in session.runs], session.step, engine)


def other_config(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration of a second run.

    Raises:
        ConfigError: a setting is unknown, or out of range.
    """
    kind = get_recipe(config.recipe)
    settings = kind.from_settings({**config.settings, **kind.with_preset(changes)}).settings()
    return replace(config, settings=settings)


def _root(out: Path | None) -> Path:
    """The folder of a run that is not named."""
    return Path("runs").absolute() if out is None else out.absolute().parent
