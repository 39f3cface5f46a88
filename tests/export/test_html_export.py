"""Generators as pages: the same pictures in a browser, from disk, and controls that change what they should."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from export_cases import CASES, inputs
from pages import click, drawn_by_javascript, opened, picture, settled

from benchmarks.browser import BROWSER, Browser
from minigan import load_generator
from minigan.cli.command_line import main
from minigan.errors import ConfigError, OutputError
from minigan.export import FORMATS, Call, ExportOptions, Subject, translates
from minigan.export import graph as g
from minigan.export.evaluation import evaluate
from minigan.export.fewer_bits import in_bits
from minigan.export.html_directions import directions
from minigan.nn.layers import Conv2D, Dense, MinibatchStdDev, ReLU, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.support.package_files import packaged
from minigan.training.portable_noise import inverse_normal, portable_normals, portable_uniforms

EVIL = "G of </script><script>alert(1)</script>\"'&<!--"


def network(*layers, shape=(3,)) -> Sequential:
    return Sequential(layers, name="N").build(shape, backend="reference", rng=np.random.default_rng(0))


def write(subject: Subject, out: Path, weights: str = "") -> str:
    return FORMATS["html"].write(subject, out, ExportOptions(weights=weights))


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="data">([^<]*)<', page)[1])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if BROWSER is None:
        pytest.skip("no Chromium here")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind, by name of its case; with fp16 weights."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("dcgan", "sngan with classes", "pix2pix instance", "inpaint"):
        write(CASES[name].subject(), folder / f"{name}.html", "fp16")
    return {path.stem: path for path in folder.iterdir()}


def assert_no_complaint(browser, path: Path) -> None:
    assert browser.messages == []
    assert [url for url in browser.requests if not url.startswith(("data:", "about:", "blob:"))] in (
        [],
        [path.as_uri()],
    )


# ---------------------------------------------------------------------------------------------- the engine


@pytest.mark.parametrize("name", CASES)
def test_the_same_numbers(browser, name: str):
    case = CASES[name]
    subject = case.subject()
    x, c = inputs(subject)
    found, _ = drawn_by_javascript(browser, subject, x, c)
    expected = case.expected(subject, x, c)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_weights_in_fewer_bits(browser, kind: str):
    """JavaScript has the very weights that Python says it has."""
    for name in ("dcgan", "spectral norm"):
        subject = CASES[name].subject()
        x, c = inputs(subject)
        found, program = drawn_by_javascript(browser, subject, x, c, kind)
        np.testing.assert_allclose(found, evaluate(program.graph, x, c), rtol=2e-5, atol=2e-5)
        assert any(tensor["type"] == kind for tensor in program.tensors)


def test_noise_of_a_thousand_seeds(browser):
    """Among them large ones, as whole numbers of JavaScript go."""
    seeds = [n * (2**42 + 1) for n in range(1000)]
    found = np.array(
        browser.run(f"""(() => {{ {packaged("minigan.export", "html_engine.js")}
return {seeds}.map(seed => Array.from(noise(seed, 3, 101, 1))); }})()""")
    )
    expected = np.stack([portable_normals(seed, 4, 101)[3] for seed in seeds])
    assert np.abs(found - expected).max() < 2e-6


def test_portable_noise_and_its_middle(browser):
    script = f"""(() => {{ {packaged("minigan.export", "html_engine.js")}
const given = [[7, 0, 1], [2 ** 40 + 3, 2, 1], [7, 0, 0.7], [7, 0, 0]];
return given.map(([seed, n, truncation]) => Array.from(noise(seed, n, 101, truncation)));
}})()"""
    plain, large, middle, none = np.array(browser.run(script))
    np.testing.assert_allclose(plain, portable_normals(7, 1, 101)[0], atol=2e-6)
    np.testing.assert_allclose(large, portable_normals(2**40 + 3, 3, 101)[2], atol=2e-6)
    p = 0.5 + 0.7 * (portable_uniforms(7, 1, 101)[0] - 0.5)
    np.testing.assert_allclose(middle, inverse_normal(p), atol=2e-6)
    np.testing.assert_array_equal(none, 0)


# ---------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize(("width", "dark"), [(320, True), (1200, False)])
def test_a_page_draws_the_engines_picture(browser, pages, width: int, dark: bool):
    path, subject = pages["dcgan"], CASES["dcgan"].subject()
    opened(browser, path, "#seed=7", width=width, dark=dark)
    assert browser.run("document.getElementById('check').className") == "check ok"
    z = portable_normals(7, 1, 100).astype(np.float32)
    expected = (CASES["dcgan"].expected(subject, z, None)[0].clip(-1, 1) + 1) * 127.5
    assert np.ptp(expected) > 20
    assert np.abs(picture(browser, 1) - expected).max() <= 2
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) < 60) == dark
    assert_no_complaint(browser, path)


@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_every_page_of_digits_draws_its_weights_to_two_levels(browser, tmp_path: Path, weights: str):
    """And in fp16 the engine's own picture; a new one takes less than 50 ms."""
    trained = load_generator("pretrained:digits", backend="reference")
    subject = Subject(trained.G, "digits", from_noise=True, classes=10, class_names=tuple("ABCDEFGHIJ"))
    write(subject, tmp_path / "g.html", weights)
    opened(browser, tmp_path / "g.html", "#seed=7&class=3")
    assert browser.run("document.getElementById('check').className") == "check ok"
    told = browser.run("document.getElementById('status').textContent")
    assert told.startswith("Seed 7, class D, drawn in ") and float(told.split()[-2]) < 50
    label = browser.run("document.querySelector('#classes label:nth-of-type(5)').textContent")
    assert label == "D"
    graph = in_bits(g.fold_batch_norms(subject.graph(to="html")), weights)
    z, c = portable_normals(7, 1, 100).astype(np.float32), np.eye(10, dtype=np.float32)[[3]]
    expected = evaluate(graph, z, c) if weights == "int8" else trained.sample(1, seed=7, label=3, portable=True)
    assert np.abs(picture(browser, 1) - (expected[0].clip(-1, 1) + 1) * 127.5).max() <= 2
    assert_no_complaint(browser, tmp_path / "g.html")


def test_points_of_the_plane(browser, tmp_path: Path):
    """Each of the thousand is a dot where the engine has it, and hardly anything else is; a slider moves them."""
    subject = CASES["mlp of points"].subject()
    path = tmp_path / "g.html"
    write(subject, path)
    opened(browser, path, "#seed=7")
    assert browser.run("document.getElementById('check').className") == "check ok"
    data = data_of(path.read_text())
    z = portable_normals(7, 1000, *subject.network.input_shape).astype(np.float32)
    points = CASES["mlp of points"].expected(subject, z, None)
    assert np.abs(points).max() < 1.5 * data["extent"]
    image = picture(browser, 3)
    empty = (image == image[0, 0]).all(axis=-1)
    seen = np.abs(points).max(axis=1) < data["extent"]
    columns, rows = np.rint((points[seen] * [1, -1] / data["extent"] + 1) / 2 * 447).astype(int).T
    assert not empty[rows, columns].any()
    near = np.zeros_like(empty)
    for down in range(-6, 7):
        for right in range(-6, 7):
            near[(rows + down).clip(0, 447), (columns + right).clip(0, 447)] = True
    assert empty[~near].all() and seen.mean() > 0.98
    opened(browser, path, "#seed=7&d1=3")
    assert (picture(browser, 3) != image).any()
    assert_no_complaint(browser, path)


def test_the_page_draws_in_another_thread_or_without_one(browser, pages):
    """The same picture, whether a worker starts, there is none, or it fails."""
    count = "globalThis.workers = 0; const own = globalThis.Worker; globalThis.Worker = class extends own"
    counting = f"{count} {{ constructor(url) {{ workers++; super(url); }} }};"
    broken = f"{count} {{ constructor() {{ workers++; throw new Error(); }} }};"
    failing = f"{count} {{ constructor(url) {{ workers++; super(URL.createObjectURL(new Blob(['!']))); }} }};"
    drawn = []
    for source in (counting, broken, failing):
        added = browser.call("Page.addScriptToEvaluateOnNewDocument", source=source)["identifier"]
        try:
            opened(browser, pages["dcgan"], "#seed=7")
        finally:
            browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)
        assert browser.run("workers") == 1
        assert browser.run("document.getElementById('check').className") == "check ok"
        drawn.append(picture(browser, 1))
        click(browser, "#new")
        assert (picture(browser, 1) != drawn[0]).any()
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_a_class_and_a_new_picture(browser, pages):
    path, case = pages["sngan with classes"], CASES["sngan with classes"]
    opened(browser, path, "#seed=7&class=1")
    z = portable_normals(7, 1, case.subject().network.input_shape[0]).astype(np.float32)
    for label in (1, 3):
        click(browser, f'#classes input[value="{label}"]')
        c = np.eye(case.subject().classes, dtype=np.float32)[[label]]
        expected = (case.expected(case.subject(), z, c)[0].clip(-1, 1) + 1) * 127.5
        assert np.abs(picture(browser, 1) - expected).max() <= 2
        assert browser.run("location.hash") == f"#seed=7&class={label}"
        assert f"class {label}" in browser.run("document.getElementById('picture').getAttribute('aria-label')")
    before = picture(browser, 1)
    click(browser, "#new")
    seed = int(browser.run("document.getElementById('seed').value"))
    assert seed != 7 and browser.run("location.hash") == f"#seed={seed}&class=3"
    assert np.abs(picture(browser, 1) - before).max() > 2
    assert_no_complaint(browser, path)


def test_sliders_the_pad_and_the_address(browser, pages):
    path = pages["dcgan"]
    opened(browser, path, "#seed=7")
    first = picture(browser, 1)
    press = "document.getElementById('pad').dispatchEvent(new KeyboardEvent('keydown', {key: 'End', bubbles: true}))"
    browser.run(press)
    settled(browser)
    corner = picture(browser, 1)
    assert browser.run("document.getElementById('pad').getAttribute('aria-valuetext')") == "100 % across, 100 % down"
    opened(browser, path, "#seed=10")
    np.testing.assert_array_equal(picture(browser, 1), corner)  # the last corner is the third seed from here
    for n in range(8):
        opened(browser, path, f"#seed=7&d{n + 1}=3")
        assert np.abs(picture(browser, 1) - first).max() > 2
    click(browser, "#reset")
    np.testing.assert_array_equal(picture(browser, 1), first)
    opened(browser, path, "#seed=7&truncation=0")
    middle = picture(browser, 1)
    opened(browser, path, "#seed=8&truncation=0")
    np.testing.assert_array_equal(picture(browser, 1), middle)
    opened(browser, path, "#seed=%3Cimg%3E&class=9&truncation=NaN&d1=1e999&x=-3")
    assert browser.run("location.hash") == "#seed=0"
    assert_no_complaint(browser, path)


CONTROLS = {"button", "slider", "radio", "spinbutton", "image"}


@pytest.mark.parametrize("name", ["sngan with classes", "inpaint"])
def test_screen_readers_the_keyboard_and_a_finger(browser, pages, name: str):
    """On a narrow screen: each control has a name and is reached by Tab, and a finger moves the pad or the hole."""
    opened(browser, pages[name], width=320)
    browser.call("Accessibility.enable")
    nodes = [node for node in browser.call("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
    found = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes]
    found = [(role, name) for role, name in found if role in CONTROLS]
    assert len(found) > 5 and all(name for _, name in found)
    reached = set()
    for _ in range(60):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.add(browser.run("document.activeElement.id || document.activeElement.textContent"))
    expected = browser.run(
        "Array.from(document.querySelectorAll('button, [type=range], [type=number], [tabindex], "
        "[type=file]'), element => element.id || element.textContent)"
    )
    assert set(expected) <= reached
    place = "pad" if name == "sngan with classes" else "source"
    before = picture(browser, 1)
    x, y = browser.run(f"""(() => {{ const shown = document.getElementById('{place}');
      shown.scrollIntoView({{ block: 'center' }});
      const box = shown.getBoundingClientRect();
      return [box.left + 0.75 * box.width, box.top + 0.75 * box.height]; }})()""")
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    settled(browser)
    assert (picture(browser, 1) != before).any()
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.messages == []


def test_a_walk_and_its_end(browser, pages):
    opened(browser, pages["dcgan"], "#seed=7")
    before = picture(browser, 1)
    click(browser, "#walk")
    assert browser.run("document.getElementById('walk').textContent") == "Pause"
    browser.run("new Promise(done => setTimeout(done, 400))")
    click(browser, "#walk")
    there = picture(browser, 1)
    assert np.abs(there - before).max() > 2
    settled(browser)
    np.testing.assert_array_equal(picture(browser, 1), there)
    assert browser.messages == []


def test_a_picture_is_saved(browser, pages):
    opened(browser, pages["dcgan"], "#seed=7")
    name, kind, *size = browser.run("""new Promise(done => {
      const make = URL.createObjectURL;
      let saved = null;
      URL.createObjectURL = blob => { saved = blob; return make(blob); };
      HTMLAnchorElement.prototype.click = async function () {
        const bitmap = await createImageBitmap(saved);
        done([this.download, saved.type, bitmap.width, bitmap.height]);
      };
      document.getElementById('save').click();
    })""")
    assert (name, kind, size) == ("dcgan-seed-7.png", "image/png", [504, 504])  # each pixel 18 by 18


def test_layers_show_what_they_compute(browser, pages):
    opened(browser, pages["dcgan"], "#seed=7")
    assert browser.run("document.getElementById('activations').hidden")
    buttons = browser.run("Array.from(document.querySelectorAll('#layers button'), button => button.textContent)")
    assert buttons[-1].endswith("Tanh28\u00d728\u00d71") and len(buttons) > 5
    click(browser, "#layers li:last-child button")
    assert not browser.run("document.getElementById('activations').hidden")
    shown = browser.run("document.getElementById('shown').textContent")
    numbers = [float(text) for text in re.findall(r"-?\d\.\d+", shown)]
    z = portable_normals(7, 1, 100).astype(np.float32)
    expected = CASES["dcgan"].expected(CASES["dcgan"].subject(), z, None)
    np.testing.assert_allclose(numbers, [expected.min(), expected.max()], atol=6e-3)
    click(browser, "#layers li:last-child button")
    assert browser.run("document.getElementById('activations').hidden")


@pytest.mark.parametrize("name", ["pix2pix instance", "inpaint"])
def test_a_picture_that_is_dropped(browser, pages, name: str):
    """A picture of the network's size comes in as it is, and what comes out is the engine's."""
    path, case = pages[name], CASES[name]
    opened(browser, path)
    assert browser.run("document.getElementById('check').className") == "check ok"
    first = picture(browser, 3)
    H, W, C = case.subject().network.input_shape
    browser.run(f"""(async () => {{
      const canvas = document.createElement('canvas'), image = new ImageData({W}, {H});
      canvas.width = {W}; canvas.height = {H};
      for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : i * 37 % 251;
      canvas.getContext('2d').putImageData(image, 0, 0);
      const blob = await new Promise(done => canvas.toBlob(done));
      const files = new DataTransfer();
      files.items.add(new File([blob], '<b>.png', {{ type: 'image/png' }}));
      dispatchEvent(new DragEvent('drop', {{ dataTransfer: files, bubbles: true, cancelable: true }}));
      await new Promise(done => setTimeout(done, 300));
    }})()""")
    assert browser.run("document.getElementById('status').textContent").startswith("From <b>.png, drawn in ")
    levels = (np.arange(H * W * 4) * 37 % 251).reshape(H, W, 4)[..., :3]
    x = (levels / 127.5 - 1).astype(np.float32)[None]
    if C == 4:
        mask = np.zeros((1, H, W, 1), np.float32)
        mask[:, 5:11, 5:11] = 1  # 0.4 of 16, in the middle
        known = x[mask[..., 0] == 0].mean(axis=0)
        x = np.concatenate([np.where(mask == 1, known, x), mask], axis=-1).astype(np.float32)
    expected = (case.expected(case.subject(), x, None)[0].clip(-1, 1) + 1) * 127.5
    found = picture(browser, 3)
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - first).max() > 2
    assert_no_complaint(browser, path)


def test_hostile_names(browser, tmp_path: Path):
    G = CASES["dcgan"].subject().network
    path = tmp_path / "a \"'<x>&.html"
    write(Subject(G, EVIL, from_noise=True), path)
    page = path.read_text()
    assert len(re.findall("</script", page)) == 3 and "<!--" not in page.lower()
    assert data_of(page)["name"] == "a-x"
    opened(browser, path)
    assert browser.run("document.title") == EVIL
    assert browser.run("document.getElementById('check').className") == "check ok"
    assert_no_complaint(browser, path)


def test_a_page_that_draws_another_picture_says_so(browser, pages, tmp_path: Path):
    page = pages["dcgan"].read_text()
    data = re.search(r'id="data">([^<]*)<', page)[1]
    other = json.loads(data)
    other["check"]["levels"] = base64.b64encode(bytes(other["check"]["count"])).decode()
    (tmp_path / "g.html").write_text(page.replace(data, json.dumps(other)))
    opened(browser, tmp_path / "g.html")
    assert browser.run("document.getElementById('check').className") == "check failed"


# ---------------------------------------------------------------------------------------------- without a browser


def test_a_policy_forbids_all_but_the_pages_own(pages):
    page = pages["dcgan"].read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "connect-src" not in policy
    assert re.search(r"fetch\(|XMLHttpRequest|import\(|https?:", page) is None


@pytest.mark.parametrize(("weights", "least"), [([], 75), (["--weights", "int8"], 50)])
def test_the_digits_are_small(tmp_path: Path, capsys, weights: list[str], least: int):
    """The trained generator that comes with minigan; weights are as exact as fit into a page."""
    assert main(["export", "pretrained:digits", "--to", "html", *weights, "--out", str(tmp_path / "g.html")]) == 0
    assert (tmp_path / "g.html").stat().st_size < 1.2e6
    told = capsys.readouterr().out
    assert float(re.search(rf"^{(weights or ['fp16'])[-1]} weights: PSNR ([\d.]+) dB", told, re.MULTILINE)[1]) > least
    assert re.search(r"^[\d,]+ bytes, [\d.]+ MFLOP a picture; open it in a browser$", told, re.MULTILINE)


def test_directions_are_those_of_the_largest_response():
    """The singular vectors, of a linear layer."""
    G = network(Dense(48), Reshape((4, 4, 3)), ReLU(), Conv2D(1, 3), Tanh(), shape=(12,))
    scales = 2.0 ** -np.arange(12)
    G.layers[0].w.value[:] = scales[:, None] * np.linalg.qr(np.random.default_rng(0).normal(size=(48, 12)))[0].T
    subject = Subject(G, "N", from_noise=True)
    found = directions(subject, g.fold_batch_norms(subject.graph(to="html")))
    np.testing.assert_allclose(found @ found.T, np.eye(8), atol=1e-5)
    assert (np.abs(np.diag(found))[:3] > 0.95).all()


def test_what_cannot_be_a_page(tmp_path: Path):
    out = tmp_path / "g.html"
    with pytest.raises(
        ConfigError, match=r"^a page shows pictures of 1 or 3 channels, or points of the plane, N draws one of .*\(4,\)"
    ):
        write(Subject(network(Dense(4)), "N", from_noise=True), out)
    with pytest.raises(
        ConfigError, match=r"^a page asks for a class, N needs a condition of shape \(5,\)\. Use --to c"
    ):
        write(CASES["a vector concatenated to every pixel"].subject(), out)
    with pytest.raises(ConfigError, match=r"^N\.1\.MinibatchStdDev .* cannot be exported to html: it mixes .* it\.$"):
        write(Subject(network(Conv2D(1, 1), MinibatchStdDev(), shape=(4, 4, 1)), "N"), out)
    with pytest.raises(ConfigError, match=r"^expected `weights` as one of fp32, fp16, int8, got 'int4'\.$"):
        write(CASES["dcgan"].subject(), out, "int4")
    subject = CASES["dcgan"].subject()
    next(iter(subject.network.arena.items()))[1].value[...] = np.nan
    with pytest.raises(ConfigError, match=r": expected finite weights, found NaN or infinity in w\. Train again\.$"):
        write(subject, out)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError):
        write(CASES["dcgan"].subject(), tmp_path)


class Square(Tanh):
    """y = x^2."""

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        return x**2, None


@translates(Square, to="html")
def square(layer, program):  # noqa: ARG001
    return Call(
        program.function("square", "(op, [x], y) => { for (let i = 0; i < y.length; i++) y[i] = x[i] * x[i]; }")
    )


def test_a_layer_of_ones_own(browser, tmp_path: Path):
    subject = Subject(network(Dense(16), Square(), Reshape((4, 4, 1)), Tanh()), "N", from_noise=True)
    write(subject, tmp_path / "g.html")
    opened(browser, tmp_path / "g.html")
    assert browser.run("document.getElementById('check').className") == "check ok"


def test_the_command(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--steps", "1", "--backend", "reference", "--out", "run", "--set", "width=4", "batch_size=10"]
    assert main(["train", *small]) == 0
    Path("g.html").write_text("old")
    assert main(["export", "run", "--to", "html", "--weights", "fp16", "--out", "g.html"]) == 0
    assert "fp16 weights: PSNR" in capsys.readouterr().out
    page = Path("g.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "<title>G of dcgan at step 1" in page
