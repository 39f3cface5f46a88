"""The page in a browser: its buttons do what they say, and the same seed and clicks give the same pictures."""

import contextlib
import json
import time

import pytest
from live_sessions import live_run, watched

import minigan
from benchmarks.browser import BROWSER, Browser
from minigan.inspection import report_run

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium")

PICTURES = "[...document.querySelectorAll('.live .panels canvas')].map(one => one.toDataURL())"
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


class Page:
    """The page of a session, as a user works with it."""

    def __init__(self, browser, seen):
        self.browser, self.seen = browser, seen

    def run(self, script):
        return self.browser.run(script)

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, name, value):
        self.run(
            f"(() => {{ const one = document.getElementById({json.dumps(name)}); one.value = {json.dumps(value)};"
            " one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); })()"
        )

    def until(self, script, seconds=20):
        """Waits until something is so on the page."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never so: {script}"
            assert not self.seen.errors, self.seen.errors
            time.sleep(0.02)
        self.run(DRAWN)

    def at(self, step):
        self.until(f"miniganLive.step === {step} && miniganLive.state && miniganLive.state.step === {step}")

    def is_clean(self):
        """Whether nothing was complained of, and nothing asked of anybody else."""
        own = f"http://127.0.0.1:{self.seen.server.server_port}/{self.seen.server.token}/"
        strangers = [url for url in self.browser.requests if not url.startswith((own, "data:", "about:"))]
        return self.browser.messages == [] and strangers == []


def opened(browser, seen, **window):
    browser.open("about:blank")
    browser.open(seen.server.address, **window)
    page = Page(browser, seen)
    page.until("window.miniganLive && miniganLive.frames > 0 && miniganLive.state !== null")
    return page


def test_the_buttons_do_what_they_say(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page, session = opened(browser, seen), seen.session
        assert page.run("document.getElementById('back').disabled")
        page.click("#step")
        page.at(1)
        game = session.runs[0].game
        assert (game.d_optimizer.steps, game.g_optimizer.steps) == (1, 1)
        page.click("#d")
        page.at(2)
        page.click("#g")
        page.at(3)
        page.click("#g")
        page.at(4)
        assert (game.d_optimizer.steps, game.g_optimizer.steps) == (2, 3)
        assert page.run("document.querySelectorAll('#notes li').length") == 3
        page.click("#back")
        page.at(3)
        assert (game.d_optimizer.steps, game.g_optimizer.steps) == (2, 2)
        page.click("#play")
        page.until("miniganLive.step > 30")
        page.click("#play")
        page.until("!miniganLive.state.playing")
        page.click("#start")
        page.at(0)
        assert page.run("document.querySelectorAll('#notes li').length") == 0
        assert page.is_clean()


def test_settings_layers_and_units(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page, run = opened(browser, seen), seen.session.runs[0]
        page.choose("set-loss", "hinge")
        page.until("miniganLive.state.runs[0].settings.loss === 'hinge'")
        page.choose("set-penalty", "wgan-gp")
        page.choose("set-g_lr", "-2")
        page.until("miniganLive.state.runs[0].settings.g_lr === 0.01")
        assert type(run.game.loss).__name__ == "Hinge" and type(run.game.penalty).__name__ == "WGANGP"
        assert run.game.g_optimizer.lr == 0.01 and run.game.d_optimizer.lr == 1e-3
        assert "from step 1: loss hinge" in page.run("document.getElementById('notes').textContent")
        for layer in ("slope", "manifold", "penalty"):
            page.click(f"[data-layer={layer}]")
            page.until(f"miniganLive.state.view.layers.includes('{layer}')")
        page.until("document.querySelectorAll('.panels canvas').length === 3")
        page.click(".units .names button:nth-child(2)")
        page.until("document.querySelectorAll('.units canvas:not([hidden])').length === 1")
        page.run("[...document.querySelectorAll('#stories button')][1].click()")
        page.until("miniganLive.state.runs[0].settings.penalty === 'r1'")
        assert page.is_clean()


def test_two_runs_side_by_side(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page = opened(browser, seen)
        page.click("#step")
        page.at(1)
        page.click("#fork")
        page.until("document.querySelectorAll('.run').length === 2")
        one, other = page.run(
            "[...document.querySelectorAll('.run')].map(run => run.querySelector('canvas').toDataURL())"
        )
        assert one == other
        page.click("[name=run][value='1']")
        page.choose("set-loss", "hinge")
        page.until("miniganLive.state.runs[1].settings.loss === 'hinge'")
        assert page.run("miniganLive.state.runs[0].settings.loss") == "non-saturating"
        page.click("#step")
        page.at(2)
        page.until("document.querySelectorAll('h3')[1].textContent.includes('loss hinge')")
        page.click("#fork")
        page.until("document.querySelectorAll('.run').length === 1")
        assert page.is_clean()


def test_slow_motion_lights_the_lines(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page = opened(browser, seen)
        page.choose("stops", "0")
        page.until("miniganLive.state.stops === 0")
        page.click("#slow")
        page.until("!document.getElementById('slowly').hidden")
        lit = []
        for _ in range(12):
            before = page.run("document.getElementById('place').textContent")
            lit.append((before, page.run("document.querySelector('#inner .lit, #outer .lit').textContent")))
            page.click("#next")
            page.until(f"document.getElementById('place').textContent !== {json.dumps(before)}")
        assert len({place for place, _ in lit}) > 8 and all(text for _, text in lit)
        assert any("minigan/nn/layers/" in place for place, _ in lit)
        assert seen.session.step == 0
        page.click("#finish")
        page.at(1)
        page.until("document.getElementById('slowly').hidden")
        assert page.is_clean()


CLICKS = ("#step", "#step", "#d", "#back", "#step", "#g", "#fork", "#step")


def test_the_same_seed_and_clicks_give_the_same_pictures(browser, tmp_path):
    found = []
    for name in ("one", "two"):
        with watched(live_run(tmp_path / name)) as seen:
            page, pictures = opened(browser, seen), []
            for step, selector in zip((1, 2, 3, 2, 3, 4, 4, 5), CLICKS, strict=True):
                page.click(selector)
                page.at(step)
                if selector == "#fork":
                    page.until("document.querySelectorAll('.run').length === 2")
                pictures.append(page.run(PICTURES))
            found.append(pictures)
    assert found[0] == found[1]
    assert found[0][1] == found[0][3] and found[0][1] != found[0][0]  # step 2, and step 2 after a step back


def test_keys(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page = opened(browser, seen)
        for step, key in ((1, "ArrowRight"), (2, "d"), (3, "g"), (2, "ArrowLeft"), (0, "Home")):
            page.browser.call("Input.dispatchKeyEvent", type="keyDown", key=key)
            page.browser.call("Input.dispatchKeyEvent", type="keyUp", key=key)
            page.at(step)
        page.browser.call("Input.dispatchKeyEvent", type="keyDown", key="2")
        page.until("miniganLive.state.view.layers.includes('slope')")
        page.browser.call("Input.dispatchKeyEvent", type="keyDown", key=" ")
        page.until("miniganLive.step > 3")
        assert page.is_clean()


def test_it_fits_narrow_and_dark(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        seen.do("step", side=None)
        for width, dark in ((400, False), (400, True), (1400, True)):
            page = opened(browser, seen, width=width, dark=dark)
            page.at(1)
            assert page.run("document.documentElement.scrollWidth <= innerWidth")
            paper = page.run("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(21, 24, 31)" if dark else "rgb(253, 253, 251)")
            low = page.run("[...document.querySelectorAll('.bar button')].filter(one => one.offsetHeight < 36).length")
            assert low == 0  # a finger finds them
            assert page.is_clean()


class Finger:
    """Touches a page as a finger does: nothing is clicked but by what the browser makes of the touch."""

    def __init__(self, page):
        self.page = page

    def place(self, selector):
        """The middle of something, once it is on the screen."""
        self.page.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{ block: 'center' }})")
        self.page.run(DRAWN)
        time.sleep(0.1)  # the browser makes no click of a touch that comes within the scroll
        return self.page.run(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.left, box.top, box.width, box.height]; })()"
        )

    def touch(self, kind, *points):
        self.page.browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points])

    def tap(self, selector, *, across=0.5, down=0.5):
        left, top, width, height = self.place(selector)
        self.touch("touchStart", (left + across * width, top + down * height))
        self.touch("touchEnd")

    def tap_until(self, selector, script):
        """Taps once more where nothing came of it: a busy browser may take a tap for the end of what was before."""
        for _ in range(3):
            self.tap(selector)
            with contextlib.suppress(AssertionError):
                return self.page.until(script, seconds=5)
        raise AssertionError(f"never so: {script}")

    def drag(self, selector, *, to):
        """From where the slider's handle is to a share of its width."""
        left, top, width, height = self.place(selector)
        share = self.page.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " return (one.value - one.min) / (one.max - one.min); })()"
        )
        at, end = (left + 8 + x * (width - 16) for x in (share, to))
        self.touch("touchStart", (at, top + height / 2))
        for part in (0.25, 0.5, 0.75, 1, 1, 1):  # at rest in the end: no fling
            self.touch("touchMove", (at + part * (end - at), top + height / 2))
            time.sleep(0.02)
        self.touch("touchEnd")
        time.sleep(0.4)  # the browser makes no click of a tap that follows at once


@pytest.fixture
def touching(browser):
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=1)
    yield
    browser.call("Emulation.setTouchEmulationEnabled", enabled=False)


@pytest.mark.usefixtures("touching")
def test_a_finger_works_every_button_at_400_px(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page = opened(browser, seen, width=400)
        finger, run = Finger(page), seen.session.runs[0]
        for step, button in ((1, "#step"), (2, "#d"), (3, "#g"), (2, "#back"), (0, "#start")):
            finger.tap(button)
            page.at(step)
        finger.tap("#play")
        page.until("miniganLive.state.playing && miniganLive.step > 3")
        finger.tap("#play")
        page.until("!miniganLive.state.playing")
        page.choose("stops", "0")  # the list of a select is the system's, not the page's
        finger.tap("#slow")
        page.until("!document.getElementById('slowly').hidden")
        before = page.run("document.getElementById('place').textContent")
        finger.tap("#next")
        page.until(f"document.getElementById('place').textContent !== {json.dumps(before)}")
        finger.tap("#finish")
        page.until("document.getElementById('slowly').hidden")
        finger.tap("[data-layer=slope]")
        page.until("miniganLive.state.view.layers.includes('slope')")
        finger.tap(".units .names button:nth-child(2)")
        page.until("miniganLive.state.view.unit !== null")
        finger.tap("#stories button:nth-child(2)")
        page.until("miniganLive.state.runs[0].settings.penalty === 'r1'")
        finger.drag("#set-g_lr", to=0.2)
        page.until("Math.abs(miniganLive.state.runs[0].settings.g_lr - 1e-5) < 3e-6")
        assert run.game.g_optimizer.lr == pytest.approx(1e-5, rel=0.3)
        finger.tap_until("#fork", "miniganLive.state.runs.length === 2")
        finger.tap("#which label:nth-child(3)")
        finger.tap("#stories button:nth-child(4)")
        page.until("miniganLive.state.runs[1].settings.loss === 'hinge'")
        assert page.run("miniganLive.state.runs[0].settings.loss") == "non-saturating"
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.is_clean()


@pytest.mark.usefixtures("touching")
def test_a_finger_scrolls_over_the_pictures_and_never_zooms_by_two_taps(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page = opened(browser, seen, width=400)
        finger = Finger(page)
        left, _, width, _ = finger.place(".panels canvas")
        page.run("scrollTo(0, 0)")
        x, y = left + width / 2, page.run("document.querySelector('.panels canvas').getBoundingClientRect().top") + 150
        finger.touch("touchStart", (x, y))
        for way in range(20, 301, 20):
            finger.touch("touchMove", (x, y - way))
            time.sleep(0.02)
        finger.touch("touchEnd")
        page.until("scrollY > 100")
        style = "getComputedStyle(document.querySelector('#step')).touchAction"
        assert page.run(style) == "manipulation"  # quick steps are steps
        assert page.run("matchMedia('(pointer: coarse)').matches")
        assert page.is_clean()


@pytest.mark.usefixtures("touching")
def test_a_finger_picks_a_fake(browser, tmp_path):
    with watched(live_run(tmp_path / "one", data="digits", recipe="mlp", hidden=8, batch_size=16)) as seen:
        page = opened(browser, seen, width=400)
        Finger(page).tap(".panels canvas", across=0.4, down=0.2)
        page.until("miniganLive.state.view.unit && miniganLive.state.view.unit.sample === 8")
        page.until("document.querySelectorAll('.units canvas:not([hidden])').length === 1")
        assert page.is_clean()


def test_the_keyboard_alone_reaches_every_control(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page = opened(browser, seen)
        page.run("document.body.focus()")
        reached = []
        for _ in range(60):
            for kind in ("keyDown", "keyUp"):
                page.browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            name = page.run("(one => one === document.body ? '' : one.id || one.textContent)(document.activeElement)")
            if not name:  # once around
                break
            outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", name
            reached.append(name)
        wanted = page.run(
            "[...document.querySelectorAll('button,select,input')].filter(one => one.offsetParent && !one.disabled"
            " && one.type !== 'radio').map(one => one.id || one.textContent)"
        )
        assert set(wanted) <= set(reached), sorted(set(wanted) - set(reached))
        page.run("document.getElementById('set-g_lr').focus()")
        page.browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", windowsVirtualKeyCode=37)
        page.until("miniganLive.state.runs[0].settings.g_lr < 1e-3")
        assert page.run("miniganLive.step") == 0  # the arrow was the slider's
        page.run("document.getElementById('step').focus()")
        page.browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", text="\r", windowsVirtualKeyCode=13)
        page.at(1)
        assert page.is_clean()


def test_pictures_of_digits(browser, tmp_path):
    with watched(live_run(tmp_path / "one", data="digits", recipe="mlp", hidden=8, batch_size=16)) as seen:
        page = opened(browser, seen)
        page.click("#step")
        page.at(1)
        page.until("document.querySelectorAll('.panels canvas').length === 3")
        page.run(
            "(() => { const one = document.querySelector('.panels canvas'), box = one.getBoundingClientRect();"
            " one.dispatchEvent(new MouseEvent('click', { clientX: box.left + box.width * .4,"
            " clientY: box.top + box.height * .2 })); })()"
        )
        page.until("miniganLive.state.view.unit && miniganLive.state.view.unit.sample === 8")
        page.until("document.querySelectorAll('.units canvas:not([hidden])').length === 1")
        assert page.is_clean()


def test_a_page_that_is_opened_again_shows_the_present(browser, tmp_path):
    with watched(live_run(tmp_path / "one")) as seen:
        page = opened(browser, seen)
        page.click("#step")
        page.at(1)
        page = opened(browser, seen)
        page.at(1)
        seen.end()
        page.until("!document.getElementById('say').hidden")
        assert "saved" in page.run("document.getElementById('say').textContent")


# ------------------------------------------------------------------------------------------ in a report


def test_a_report_shows_the_game_once_more(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.inspection.step_ledger.limits_of", lambda *_: None)
    with live_run(tmp_path / "run") as run:
        for _ in range(3):
            run.advance()
        run.save()
        run.change({"loss": "hinge"})
        for _ in range(4):
            run.advance()
        run.save()
    report = report_run(tmp_path / "run")
    assert not [note for note in report.notes if "replay" in note]
    file = tmp_path / "report.html"
    file.write_text(report.page, encoding="utf-8")
    assert len(report.page) < 5_000_000
    browser.open(file.as_uri())
    assert browser.messages == []
    assert "checkpoint of step 7" in browser.run("document.getElementById('replayed0').textContent")
    last = browser.run(PICTURES)
    slide = "const one = document.getElementById('step'); one.value = 0; one.dispatchEvent(new Event('input'));"
    browser.run(f"(() => {{ {slide} }})()")
    assert "checkpoint of step 3" in browser.run("document.getElementById('replayed0').textContent")
    assert browser.run(PICTURES) != last
    browser.run("document.querySelector('[data-layer=slope]').click()")
    browser.run(DRAWN)
    assert browser.run("document.querySelectorAll('.live .panels canvas').length") == 3
    assert "from step 4: loss hinge" in report.page
    browser.open(file.as_uri(), width=400, dark=True)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.messages == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def test_a_report_of_an_ordinary_training_of_digits_has_a_replay(tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.inspection.report.SEARCHED", 20)
    monkeypatch.setattr("minigan.inspection.step_ledger.limits_of", lambda *_: None)
    settings = {"backend": "reference", "quiet": True, "batch_size": 8, "hidden": 4, "steps": 3}
    minigan.train("mlp", data="digits", out=tmp_path / "run", checkpoint_every=1, **settings)
    page = report_run(tmp_path / "run").page
    assert '"pull"' in page and page.count('id="replay0"') == 1


# ------------------------------------------------------------------------------------------ a long session


@pytest.mark.exhaustive
def test_a_minute_leaves_no_complaint(browser, tmp_path):
    with watched(live_run(tmp_path / "one", hidden=64)) as seen:
        page = opened(browser, seen)
        end, turn = time.monotonic() + 60, 0
        while time.monotonic() < end:
            page.click(("#play", "#step", "#d", "#g", "#back", "#slow", "#fork", "#play")[turn % 8])
            page.click(f".chips button:nth-child({1 + turn % 6})")
            page.choose("set-loss", ("hinge", "minimax", "wasserstein", "non-saturating")[turn % 4])
            page.choose("stops", "30")
            time.sleep(0.4)
            page.click("#finish")
            turn += 1
        page.click("#start")
        page.at(0)
        assert not seen.errors and page.is_clean()
