"""Reports: what is in them, that nothing in a run's folder gets out of its place, and that they work in a browser."""

import base64
import hashlib
import json
import re
import shutil

import numpy as np
import pytest

import minigan
from benchmarks.browser import BROWSER, Browser
from minigan.data.png import encode_png
from minigan.errors import CheckpointError, ConfigError
from minigan.inspection import report_data as data_module
from minigan.inspection import report_run
from minigan.inspection.curve_guides import groups
from minigan.inspection.history import Curve, read_history
from minigan.inspection.plot import Line, heat_map, plot
from minigan.inspection.report_data import as_script_data, numbers, pictures

EVIL = "</script><img src=x onerror=alert(1)>\"'&"
TINY = {"backend": "reference", "quiet": True, "checkpoint_every": 3, "batch_size": 8, "hidden": 4, "log_every": 1}
MOST_BYTES, MOST_SECONDS = 5_000_000, 2.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of images that logs gradients, and one of another rate."""
    root = tmp_path_factory.mktemp("report")
    minigan.train("mlp", data="digits", steps=6, sample_every=2, log_gradients=2, out=root / "one", **TINY)
    minigan.train("mlp", data="digits", steps=6, sample_every=3, lr=0.01, out=root / "two", **TINY)
    return root


@pytest.fixture(scope="module")
def page(runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minigan.inspection.report.SEARCHED", 300)
        patch.setattr("minigan.inspection.limits.COPIED", 1 << 16)
        patch.setattr("minigan.inspection.limits.ROUND", 0)
        return report_run(runs / "one").page


@pytest.fixture(scope="module")
def pair(runs):
    return report_run(runs / "one", runs / "two", quick=True).page


@pytest.fixture
def evil(runs, tmp_path):
    """A run that a stranger has prepared."""
    folder = tmp_path / "a<b onclick=x>"
    shutil.copytree(runs / "one", folder)
    config = (folder / "config.toml").read_text(encoding="utf-8")
    text = json.dumps(EVIL)
    config = re.sub(r'(?m)^(data|engine|minigan) = ".*"$', lambda match: f"{match[1]} = {text}", config)
    (folder / "config.toml").write_text(config, encoding="utf-8")
    record = {"step": 7, "seconds": 1, "d_loss": 1e400, EVIL: 1.5, "=1+1": 2, "g_loss": 10**400, "d_real": True}
    with open(folder / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({**record, "gradients": {EVIL: 2.0, f"{EVIL}.1": 0}}) + "\n")
        log.write(json.dumps({"step": 7, EVIL: float("nan")}) + "\n")
    (folder / "samples" / "step-000007.png").write_text(EVIL, encoding="utf-8")
    return folder


def data_of(page):
    """The data that the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# ------------------------------------------------------------------------------------------ what is in it


def test_a_report_holds_all_parts(page, runs):
    for part in (
        "Losses of D and G",
        "D on real and on fake",
        "Real, fake, and the nearest training example",
        "Gradients, layer by layer",
        "one, searched 300 training examples",
        "The change that G's loss asks of its fakes",
        "Verdict: ",
        "Why not",
        "Settings of",
        "G.1.Dense",
    ):
        assert part in page, part
    data = data_of(page)
    assert data["moments"] == [2, 3, 4, 6]  # pictures, and checkpoints
    first = base64.b64decode(data["runs"][0]["pictures"][0].removeprefix("data:image/png;base64,"))
    assert first == (runs / "one" / "samples" / "step-000002.png").read_bytes()
    assert 'class="note"' not in page  # nothing is missing


def test_the_table_is_the_log(page, runs):
    table = data_of(page)["runs"][0]["table"]
    records = [json.loads(line) for line in (runs / "one" / "log.jsonl").read_text().splitlines()]
    assert [row[0] for row in table["rows"]] == [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    column = table["columns"].index("d_loss")
    assert [row[column] for row in table["rows"]] == pytest.approx([record["d_loss"] for record in records], rel=1e-5)
    column = table["columns"].index("gradient of G.1.Dense")
    assert [row[column] is None for row in table["rows"]] == [True, False, True, False, True, False]


def test_settings_are_those_that_differ(page, pair):
    rows = re.findall(r'<tr><td class="w">(\w+)</td><td>(.*?)</td><td>(.*?)</td></tr>', page)
    assert ("steps", "6") in [(name, value) for name, _, value in rows]
    assert "lr" not in [name for name, _, _ in rows]
    between = pair[pair.index("in which the two runs differ") :]
    assert '<td class="w">lr</td><td>0.0002</td><td>0.01</td>' in between
    assert ">steps</td>" not in between


def test_two_runs_lie_over_each_other(pair):
    losses = re.search(r'<svg[^>]*aria-label="Losses of D and G".*?</svg>', pair, re.DOTALL)[0]
    assert losses.count('class="mean c0"') == losses.count('class="mean c0 b"') == 1
    assert data_of(pair)["moments"] == [2, 3, 4, 6]


def test_two_inspections_stand_side_by_side(runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minigan.inspection.report.SEARCHED", 20)
        patch.setattr("minigan.inspection.game_health.EXAMPLES", 16)
        patch.setattr("minigan.inspection.step_ledger.limits_of", lambda *_: None)
        page = report_run(runs / "one", runs / "two").page
    summaries = re.findall(r"<details( open)?><summary>([^<]*):", page)
    shown = [(opened, text.partition(":")[0]) for opened, text in summaries]
    assert [letter for opened, letter in shown if opened] == ["A and B side by side"]
    assert [letter for opened, letter in shown if not opened and letter in ("A", "B")] == ["A", "B", "A", "B"]
    beside = page[page.index("side by side") :]
    assert "<td>lr</td><td>0.0002</td><td>0.01</td>" in beside[: beside.index("</details>")].replace(' class="w"', "")
    assert "<th>update A</th><th>update B</th>" in beside


def test_inspections_without_a_check_in_common_are_noted(runs, monkeypatch):
    def refuse(*_):
        raise ConfigError("nothing in common")

    monkeypatch.setattr("minigan.inspection.report.comparison_document", refuse)
    monkeypatch.setattr("minigan.inspection.report.SEARCHED", 20)
    monkeypatch.setattr("minigan.inspection.game_health.EXAMPLES", 16)
    monkeypatch.setattr("minigan.inspection.step_ledger.limits_of", lambda *_: None)
    report = report_run(runs / "one", runs / "two")
    assert report.notes == ("No comparison: nothing in common",)
    assert "side by side" not in report.page and report.page.count("<details open>") == 2


def test_losses_of_other_kinds_are_not_laid_over_each_other(runs, tmp_path):
    minigan.train("mlp", data="digits", steps=2, loss="wasserstein", mse_weight=0, out=tmp_path / "three", **TINY)
    page = report_run(runs / "one", tmp_path / "three", quick=True).page
    names = [read_history(folder).name for folder in (runs / "one", tmp_path / "three")]
    for name, kind in zip(names, ("c0", "c0 b"), strict=True):
        losses = re.search(rf'<svg[^>]*aria-label="Losses of D and G: {re.escape(name)}".*?</svg>', page, re.DOTALL)[0]
        assert re.findall(r'class="(?:mean|raw) (c0[^"]*)"', losses) == [kind]
    rates = re.search(r'<svg[^>]*aria-label="Learning rates".*?</svg>', page, re.DOTALL)[0]
    assert 'class="mean c0"' in rates and 'class="mean c0 b"' in rates


def test_a_level_line_and_small_numbers_have_short_ticks():
    drawing = plot("t", [Line("x", Curve(np.arange(2), np.full(2, 2e-4)), 0)], last=2000)
    ticks = re.findall(r'class="tick-y">([^<]*)<', drawing)
    assert ticks == ["0", "2e-4", "4e-4"]
    assert re.findall(r'class="tick-x[^>]*>([^<]*)<', drawing) == ["0", "500", "1k", "1.5k", "2k"]


def test_a_quick_report_computes_nothing(runs, monkeypatch):
    for name in ("inspect_run", "measure_step", "load_generator"):
        monkeypatch.setattr(f"minigan.inspection.report.{name}", None)
    report = report_run(runs / "one", quick=True)
    assert report.notes == ()
    assert "Verdict" not in report.page


@pytest.mark.parametrize(
    ("loss", "heights"),
    [
        ("minimax", (2 * np.log(2), -np.log(2))),
        ("non-saturating", (2 * np.log(2), np.log(2))),
        ("least-squares", (0.25, 0.125)),
        ("hinge", (2, 0)),
        ("relativistic-average", (2 * np.log(2), 2 * np.log(2))),
        ("wasserstein", ()),
    ],
)
def test_reference_lines_are_the_losses_of_a_d_that_cannot_tell(runs, loss, heights):
    history = read_history(runs / "one")
    history.config.settings["loss"] = loss
    losses = next(groups(history))
    assert [height for height, _ in losses.marks] == pytest.approx(list(heights), abs=1e-6)


def test_a_large_loss_of_g_has_a_plot_of_its_own(runs):
    history = read_history(runs / "one")
    together = [group.title for group in groups(history)]
    history.values["g_loss"].values[:] += 90
    apart = [group.title for group in groups(history)]
    assert together[:2] == ["Losses of D and G", "D on real and on fake"]
    assert apart[:3] == ["Loss of D", "Loss of G", "D on real and on fake"]


# ------------------------------------------------------------------------------------------ drawings


def test_a_peak_is_not_lost_in_many_values():
    values = np.zeros(20_000)
    values[12_345] = 1.0
    lines = [Line("x", Curve(np.arange(20_000), values), 0), Line("y", Curve(np.arange(2), np.ones(2)), 1)]
    drawing = plot("t", lines, last=20_000)
    raw = re.search(r'd="(M[^"]*)" class="raw c0"', drawing)[1]
    points = np.array(raw[1:].split(), float).reshape(-1, 2)
    top = points[points[:, 1].argmin()]
    assert len(points) <= 601
    assert top[1] < points[:, 1].max() - 100
    assert (top[0] - 66) / (590 - 66) * 20_000 == pytest.approx(12_345, abs=5)


def test_a_smooth_line_is_drawn_as_it_is():
    values = np.zeros(100)
    values[50] = 1.0
    drawing = plot("t", [Line("x", Curve(np.arange(100), values), 2, 1, is_smooth=True)], last=100)
    assert "raw" not in drawing
    heights = np.array(re.search(r'd="M([^"]*)" class="mean c2 b"', drawing)[1].split(), float)[1::2]
    assert len(heights) == 100
    assert len(np.unique(heights)) == 2  # no mean of the peak and its neighbors


def test_numbers_that_are_not_finite_are_left_out():
    values = np.array([1.0, np.nan, np.inf, 2.0])
    drawing = plot("t", [Line("x", Curve(np.arange(4), values), 0)], last=4)
    assert "nan" not in drawing and "inf" not in drawing.replace("infinite", "")
    everything = plot("t", [Line("x", Curve(np.arange(2), values[1:3]), 0)], last=2)
    assert "nan" not in everything


def test_a_heat_map_is_dark_where_gradients_are_small():
    curves = {"G.0": Curve(np.array([1, 2]), np.array([1e-6, 1.0])), "G.1": Curve(np.array([2]), np.array([np.nan]))}
    colors = re.findall(r'fill="(#\w+)"><title>(\S+), step (\d)', heat_map("G", curves))
    assert colors == [("#440154", "G.0", "1"), ("#fde725", "G.0", "2"), ("#ff0044", "G.1", "2")]


# ------------------------------------------------------------------------------------------ bounds


def test_pictures_that_are_too_large_become_fewer_or_smaller(runs, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(runs / "one", folder)
    noise = np.random.default_rng(0)
    for step in range(1, 21):
        pixels = noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (folder / "samples" / f"step-{step:06}.png").write_bytes(encode_png(pixels))
    monkeypatch.setattr(data_module, "PICTURES_MOST", 60_000)
    smaller = pictures(read_history(folder))
    monkeypatch.setattr(data_module, "load_pillow", missing)
    fewer = pictures(read_history(folder))
    for found in (smaller, fewer):
        assert sum(map(len, found.data.values())) <= 60_000 + 100
        assert max(found.data) == 20 and min(found.data) == 1
        assert f"{len(found.data)} of 20 pictures" in " ".join(found.notes)
    assert 2 < len(fewer.data) < len(smaller.data) < 20
    assert "Pillow" in " ".join(fewer.notes)


def missing():
    raise minigan.errors.MissingExtraError("no Pillow")


def test_a_long_table_is_thinned_out(runs, monkeypatch):
    monkeypatch.setattr(data_module, "NUMBERS_MOST", 400)
    table, notes = numbers(read_history(runs / "one"))
    assert [row[0] for row in table["rows"]][:: len(table["rows"]) - 1] == [1, 6]
    assert len(as_script_data(table)) <= 500
    assert notes[-1] == f"CSV: {len(table['rows'])} of 6 records of {read_history(runs / 'one').name}."


# ------------------------------------------------------------------------------------------ strangers


def test_nothing_of_a_strangers_run_becomes_markup(evil):
    page = report_run(evil, quick=True).page
    assert page.count("<script") == page.count("</script>") == 2
    assert EVIL not in page and "<img src=x" not in page and "<b onclick" not in page
    assert page.count("&lt;/script&gt;") > 5
    assert "1 files in" in page  # the picture that is none


def test_the_policy_names_the_only_script_and_style(page):
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digests[1]}'; img-src data:"
    )
    assert set(re.findall(r'\b(?:src|href)="([^"]{5})', page)) == {"data:"}
    assert not re.search(r'\s(?:style|on\w+)="', page)


@pytest.mark.parametrize("line", ["not JSON", "[1]", '{"loss": 1}'])
def test_a_damaged_log_is_named(runs, tmp_path, line):
    folder = tmp_path / "run"
    shutil.copytree(runs / "one", folder)
    log = (folder / "log.jsonl").read_text()
    (folder / "log.jsonl").write_text(f"{line}\n{log}")
    with pytest.raises(CheckpointError, match=r"log.jsonl is damaged: line 1 .* Remove that line.$"):
        report_run(folder)


def test_what_is_missing_is_noted(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs / "one", folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "model.safetensors").unlink()
    report = report_run(folder)
    assert [note.split(":")[0] for note in report.notes] == [
        "No replay",
        "No real examples next to fakes",
        "No inspection",
        "No ledger",
    ]
    assert report.page.count('class="note"') == 4
    shutil.rmtree(folder / "samples")
    assert data_of(report_run(folder, quick=True).page)["moments"] == [1, 2, 3, 4, 5, 6]
    (folder / "log.jsonl").unlink()
    with pytest.raises(CheckpointError, match="logged nothing yet"):
        report_run(folder)


def test_bad_arguments(runs, tmp_path):
    with pytest.raises(CheckpointError, match="no run is there"):
        report_run(tmp_path / "none")
    with pytest.raises(ConfigError, match="run must be"):
        report_run(5)
    with pytest.raises(CheckpointError, match="is not a run folder"):
        report_run(tmp_path)
    with pytest.raises(ConfigError, match="computes nothing"):
        report_run(runs / "one", quick=True, data="digits")


# ------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if BROWSER is None:
        pytest.skip("no Chromium here")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def put(path, page):
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_fits_the_window(browser, pair, tmp_path, width, dark):
    url = put(tmp_path / "r.html", pair)
    browser.open(url, width=width, dark=dark)
    assert browser.messages == []
    assert [request for request in browser.requests if not request.startswith("data:")] == [url]
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 60) == dark


MOVE = "(() => {{ const s = document.getElementById('step'); s.value = {}; s.dispatchEvent(new Event('input')); }})()"
SEEN = """[document.getElementById('shown').textContent, document.getElementById('at0').textContent.split(', ').pop(),
document.getElementById('picture0').src, document.querySelector('.now').getAttribute('transform'),
document.querySelector('output[data-name=d_loss]').textContent]"""


def test_one_slider_moves_everything(browser, page, runs, tmp_path):
    browser.open(put(tmp_path / "r.html", page))
    log = [json.loads(line) for line in (runs / "one" / "log.jsonl").read_text().splitlines()]
    for index, step in ((3, 6), (0, 2), (2, 4)):
        if index != 3:  # the last step is shown at first
            browser.run(MOVE.format(index))
        shown, at, source, line, loss = browser.run(SEEN)
        png = (runs / "one" / "samples" / f"step-{step:06}.png").read_bytes()
        assert (shown, at) == (f"step {step}", f"step {step}")
        assert base64.b64decode(source.partition(",")[2]) == png
        assert float(re.search(r"\((\S+) 0\)", line)[1]) == pytest.approx(66 + (590 - 66) * step / 6)
        assert float(loss) == pytest.approx(log[step - 1]["d_loss"], rel=1e-3)
    assert browser.run("document.getElementById('picture0').decode().then(() => true)")
    assert browser.messages == []


def test_play_is_a_film(browser, page, tmp_path):
    browser.open(put(tmp_path / "r.html", page))
    seen = browser.run("""new Promise(done => {
        const seen = [], shown = document.getElementById('shown'), play = document.getElementById('play');
        new MutationObserver(() => seen.push(shown.textContent)).observe(shown, {childList: true});
        new MutationObserver(() => play.textContent === 'Play' && done(seen)).observe(play, {childList: true});
        play.click();
    })""")
    assert [text.split()[-1] for text in seen] == ["2", "3", "4", "6"]


def test_the_log_is_saved_as_csv(browser, evil, tmp_path):
    """A stranger's names of columns are no formulas, and nothing runs."""
    browser.open(put(tmp_path / "r.html", report_run(evil, quick=True).page))
    text = browser.run("""(() => {
        const make = URL.createObjectURL;
        let saved;
        URL.createObjectURL = blob => { saved = blob; return make.call(URL, blob); };
        document.querySelector('button.csv').click();
        return saved.text();
    })()""")
    head, *rows = text.splitlines()
    assert head.startswith('"step","d_loss",')
    assert '"\'=1+1"' in head and EVIL.replace('"', '""') in head
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4", "5", "6", "7"]
    assert browser.messages == []
    assert browser.run("document.querySelectorAll('img[src=x]').length") == 0


def test_a_long_run_gives_a_small_page_that_opens_at_once(browser, runs, tmp_path):
    folder = tmp_path / "long"
    shutil.copytree(runs / "one", folder)
    noise = np.random.default_rng(0)
    names = ("d_loss", "g_loss", "d_real", "d_fake", "g_lr", "d_lr", "images_per_second", "seconds")
    with open(folder / "log.jsonl", "w", encoding="utf-8") as log:
        for step in range(1, 20_001):
            log.write(json.dumps({"step": step, **dict(zip(names, noise.normal(size=8).tolist(), strict=True))}) + "\n")
    png = encode_png(noise.integers(90, 166, (530, 530, 3), dtype=np.uint8))
    for step in range(250, 20_001, 250):
        (folder / "samples" / f"step-{step:06}.png").write_bytes(png)
    page = report_run(folder, quick=True).page
    assert len(page.encode()) <= MOST_BYTES
    assert browser.open(put(tmp_path / "r.html", page)) < MOST_SECONDS
    assert browser.run("document.querySelectorAll('path.mean').length") > 5
    assert browser.messages == []
