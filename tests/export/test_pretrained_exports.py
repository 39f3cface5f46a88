"""The generators that come with minigan in all five formats: they agree with the engine, and so with each other."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from c_compilers import GCC, load
from pages import drawn_by_javascript, opened, picture

from benchmarks.browser import BROWSER, Browser
from minigan import load_generator
from minigan.cli.command_line import main
from minigan.export import Subject
from minigan.runs.pretrained import PRETRAINED
from minigan.training.portable_noise import portable_classes, portable_normals

COUNT = 3


@pytest.fixture(scope="module", params=PRETRAINED)
def pretrained(request):
    """A name, its network as what is exported, and pictures of seed 7 that the engine draws: z, conditions, images."""
    trained = load_generator(f"pretrained:{request.param}", backend="reference")
    classes = len(trained.classes) if trained.recipe.conditional else 0
    subject = Subject(trained.G, request.param, from_noise=True, classes=classes)
    z = portable_normals(7, COUNT, *trained.G.input_shape).astype(np.float32)
    c = np.eye(classes, dtype=np.float32)[portable_classes(7, COUNT, classes)] if classes else None
    images = trained.sample(COUNT, seed=7, portable=True)
    np.testing.assert_allclose(trained.G.given(c).forward(z, train=False)[0], images, atol=1e-5)
    return request.param, subject, z, c, images


def exported(name: str, to: str, out: Path) -> Path:
    """A file or folder that the command has written."""
    assert main(["export", f"pretrained:{name}", "--to", to, "--out", str(out)]) == 0
    return out


def assert_close(found: np.ndarray, images: np.ndarray) -> None:
    assert np.ptp(images) > 0.5
    np.testing.assert_allclose(found, images, rtol=1e-5, atol=1e-5)


def test_numpy(pretrained, tmp_path: Path):
    name, _, _, _, images = pretrained
    spec = importlib.util.spec_from_file_location("generator", exported(name, "numpy", tmp_path) / "generator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert_close(module.sample(COUNT, seed=7, portable=True), images)


def test_onnx(pretrained, tmp_path: Path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    name, _, z, c, images = pretrained
    path = exported(name, "onnx", tmp_path / "g.onnx")
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"z": z} if c is None else {"z": z, "condition": c})
    assert_close(np.moveaxis(found, 1, -1) if found.ndim == 4 else found, images)


def test_torch(pretrained, tmp_path: Path):
    """The module that the file's metadata say takes z and the one-hot class, joined."""
    torch = pytest.importorskip("torch")
    from safetensors import safe_open
    from safetensors.torch import load_file

    name, _, z, c, images = pretrained
    path = exported(name, "torch", tmp_path / "g.safetensors")
    with safe_open(path, framework="numpy") as file:
        definitions, source = file.metadata()["module"].rsplit("\n\n", 1)
    names = {}
    exec(definitions, names)
    module = eval(source, names).eval()
    module.load_state_dict(load_file(path), strict=True)
    with torch.no_grad():
        found = module(torch.from_numpy(z if c is None else np.concatenate([z, c], axis=1))).numpy()
    assert_close(np.moveaxis(found, 1, -1) if found.ndim == 4 else found, images)


@pytest.mark.skipif(GCC is None, reason="no gcc to compile exported C with")
def test_c(pretrained, tmp_path: Path):
    _, subject, _, _, images = pretrained
    found = load({"g": subject}, tmp_path)["g"]
    assert_close(found.samples(7, COUNT, *[-1] * bool(subject.classes)), images)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_html(pretrained, tmp_path: Path):
    """The page of the command draws the picture of seed 7 to 2 of 255, with fp32 weights its engine to 1e-5."""
    name, subject, z, c, images = pretrained
    path = exported(name, "html", tmp_path / "g.html")
    browser = Browser(tmp_path / "profile")
    try:
        opened(browser, path, "#seed=7")
        assert browser.run("document.getElementById('check').className") == "check ok"
        if images.ndim == 4:
            assert np.abs(picture(browser, 1) - (images[0] + 1) * 127.5).max() <= 2
        found, _ = drawn_by_javascript(browser, subject, z, c)
        assert_close(found, images)
    finally:
        browser.close()


@pytest.mark.parametrize(("to", "weights"), [("onnx", "int8"), ("numpy", "fp16")])
def test_what_fewer_bits_cost_is_told_with_the_data_at_hand(capsys, tmp_path: Path, to: str, weights: str):
    """The digits come with minigan, and so FID does; Fashion-MNIST does not."""
    for name, known in (("digits", True), ("fashion", False)):
        assert (
            main(["export", f"pretrained:{name}", "--to", to, "--weights", weights, "--out", str(tmp_path / to)]) == 0
        )
        told = capsys.readouterr().out
        assert f"{weights} weights: PSNR " in told
        assert ("; FID " in told and "the engine's " in told) == known


def test_a_format_that_keeps_all_bits_says_so(capsys, tmp_path: Path):
    command = ["export", "pretrained:ring", "--to", "torch", "--weights", "fp16", "--out", str(tmp_path / "g")]
    assert main(command) == 2
    assert (
        "--weights can be used with --to numpy, onnx, c, html, got --to torch. Leave it out." in capsys.readouterr().err
    )
