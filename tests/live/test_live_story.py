"""The story of the lost modes that docs/live.md tells, by real clicks on the page."""

import time

import pytest
from live_sessions import silent, watched

from benchmarks.browser import BROWSER, Browser
from minigan.cli import command_line
from minigan.cli.live import _config
from minigan.live import LiveRun
from minigan.runs.session import start_run

MODES = "Number(document.querySelector('.facts .real b').textContent.split(' of ')[0])"


class Story:
    """`minigan live` in a browser, where somebody clicks and reads how many modes are reached."""

    def __init__(self, browser, seen):
        self.browser, self.seen = browser, seen

    def until(self, script, seconds=120):
        end = time.monotonic() + seconds
        while not self.browser.run(script):
            assert time.monotonic() < end and not self.seen.errors, (script, self.seen.errors)
            time.sleep(0.02)

    def click(self, selector):
        """A click of the mouse on something's middle."""
        x, y = self.browser.run(
            f"(() => {{ const one = document.querySelector('{selector}'); one.scrollIntoView({{ block: 'center' }});"
            " const box = one.getBoundingClientRect();"
            " return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def play(self, steps):
        """Plays to about that step, pauses, and returns the modes seen over the last thousand steps."""
        self.click("#play")
        self.until(f"miniganLive.step >= {steps - 1000}")
        seen = []
        while self.browser.run("miniganLive.step") < steps:
            seen.append(self.browser.run(MODES))
            time.sleep(0.05)
        self.click("#play")
        self.until("!miniganLive.state.playing && document.getElementById('speed').textContent === 'paused'")
        return seen


@pytest.mark.exhaustive
@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_the_ring_collapses_and_r1_heals_it(tmp_path):
    pytest.importorskip("numba")
    config = _config(command_line._parse(["live", "--backend", "cpu", "--seed", "0"]))
    browser = Browser(tmp_path / "profile")
    try:
        with watched(LiveRun(start_run(config, tmp_path / "run"), silent())) as seen:
            browser.open(seen.server.address)
            story = Story(browser, seen)
            story.until("window.miniganLive && miniganLive.frames > 0 && miniganLive.state !== null")
            story.click("#stories button:nth-child(1)")
            story.until("miniganLive.state.runs[0].settings.loss === 'minimax'")
            lost = story.play(1250)
            assert sum(lost) / len(lost) < 4 and min(lost) <= 2
            story.play(3000)
            story.click("#stories button:nth-child(2)")
            story.until("miniganLive.state.runs[0].settings.penalty === 'r1'")
            found = story.play(6500)
            assert sum(found) / len(found) > 6 and max(found) == 8
            assert browser.run("miniganLive.state.runs[0].settings.loss") == "minimax"
            assert browser.messages == []
    finally:
        browser.close()
