"""Palettes, figures of pairs, and the commands sample, evaluate and translate."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from minigan.cli.command_line import main
from minigan.data import open_pairs
from minigan.data.png import encode_png
from minigan.evaluation import Likeness, MapScore, Palette, find_palette
from minigan.evaluation.metrics import psnr
from minigan.evaluation.palette import CAMVID, SHAPES
from minigan.runs import load_generator
from minigan.runs.translation import outputs


def squares(colors, *, n=2, side=64, cell=16) -> np.ndarray:
    """Maps of random flat cells, in [-1, 1]."""
    cells = np.random.default_rng(0).integers(len(colors), size=(n, side // cell, side // cell))
    labels = cells.repeat(cell, axis=1).repeat(cell, axis=2)
    return np.array(colors, np.float32)[labels] / 127.5 - 1


def as_jpeg(images: np.ndarray) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    kept = []
    for pixels in np.rint((images + 1) * 127.5).astype(np.uint8):
        file = io.BytesIO()
        image.fromarray(pixels).save(file, "jpeg", quality=80)
        kept.append(np.asarray(image.open(file), np.float32) / 127.5 - 1)
    return np.array(kept)


def test_palettes_are_found_in_compressed_maps():
    assert find_palette(open_pairs("shapes", count=8).read(np.arange(8))[1]) is SHAPES
    assert find_palette(as_jpeg(squares(CAMVID.colors, n=4))) is CAMVID
    odd = [(10, 200, 30), (250, 250, 250), (90, 0, 160)]
    found = find_palette(as_jpeg(squares(odd)))
    assert found.name == "found in the maps"
    assert found.void is None
    assert sorted(odd) == pytest.approx(np.array(sorted(found.colors)), abs=4)


@pytest.mark.parametrize("palette", [CAMVID, SHAPES])
def test_a_few_colors_of_a_known_palette_do_not_make_it(palette: Palette):
    """Black is CamVid's void, but the ground of other maps: there its pixels count."""
    found = find_palette(squares([(0, 0, 0), palette.colors[1]]))
    assert (found.name, found.void, len(found.colors)) == ("found in the maps", None, 2)


def test_pictures_that_are_no_maps_have_no_palette():
    rng = np.random.default_rng(0)
    assert find_palette(rng.uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)) is None
    shades = np.broadcast_to(np.linspace(-1, 1, 256, dtype=np.float32)[None, None, :, None], (1, 32, 256, 3))
    assert find_palette(shades) is None  # flat everywhere, but of no few colors
    assert find_palette(np.zeros((1, 32, 32, 1), np.float32)) is None
    assert find_palette(np.zeros((1, 32, 32, 3), np.float32)) is None  # one color is no map


def test_void_and_the_blur_of_edges_do_not_count():
    palette = Palette("test", ((255, 0, 0), (0, 255, 0), (0, 0, 0)), ("a", "b", "void"), void=2)
    pixels = np.array([[[255, 0, 0], [0, 250, 5], [0, 0, 0], [128, 128, 0]]], np.float32)
    image = pixels[None] / 127.5 - 1
    assert palette.labels(image).tolist() == [[[0, 1, 2, 0]]]
    assert palette.truth(image).tolist() == [[[0, 1, -1, -1]]]


def test_figures_of_maps():
    palette = Palette("test", ((255, 0, 0), (0, 255, 0), (0, 0, 0)), ("a", "b", "void"), void=2)
    truth = np.array([[[255, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 0]]], np.float32)[None] / 127.5 - 1
    drawn = np.array([[[250, 9, 9], [0, 0, 0], [0, 200, 0], [255, 0, 0]]], np.float32)[None] / 127.5 - 1
    score = MapScore(palette)
    score.add(drawn, truth, None)
    figures = {figure.name: figure for figure in score.figures()}
    assert figures["pixel_accuracy"].value == pytest.approx(2 / 3)  # what was said of void does not count
    assert figures["class_accuracy"].value == pytest.approx((1 / 2 + 1) / 2)
    assert figures["mean_iou"].value == pytest.approx((1 / 2 + 1) / 2)
    assert figures["pixel_accuracy"].data == pytest.approx(2 / 3)
    assert figures["mean_iou"].data == pytest.approx((2 / 3) / 2)
    assert score.remarks()[1].startswith("25.0% of the targets' pixels do not count: void and colors")
    assert "a 0.50, b 1.00" in score.remarks()[2]


def test_figures_of_images():
    rng = np.random.default_rng(0)
    target = rng.uniform(-0.5, 0.5, (3, 16, 16, 1))
    output, worse = (target + rng.normal(0, s, target.shape) for s in (0.01, 0.1))
    score = Likeness("worse")
    for k in range(3):
        score.add(output[k : k + 1], target[k : k + 1], worse[k : k + 1])
    figures = {figure.name: figure for figure in score.figures()}
    assert figures["psnr"].value == pytest.approx(psnr(output, target).mean())
    assert figures["psnr"].data == pytest.approx(psnr(worse, target).mean())
    assert figures["psnr"].samples == 3
    assert figures["ssim"].data < figures["ssim"].value < 1
    small = Likeness()
    small.add(target[:, :8, :8], target[:, :8, :8], None)
    assert [figure.name for figure in small.figures()] == ["psnr"]  # too small for SSIM's window


# ---------------------------------------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of one step each."""
    folder = tmp_path_factory.mktemp("runs")
    quick = ["--steps", "1", "--backend", "reference"]
    small = ["--set", "width=1", "d_width=2", "size=16"]
    assert main(["train", "pix2pix", *quick, *small, "--out", str(folder / "pix2pix")]) == 0
    assert main(["train", "superres", *quick, *small, "blocks=1", "--out", str(folder / "superres")]) == 0
    assert main(["train", "inpaint", *quick, *small, "--out", str(folder / "inpaint")]) == 0
    assert main(["train", "mlp", *quick, "--set", "hidden=4", "--out", str(folder / "mlp")]) == 0
    return folder


def fails(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minigan: ")
    assert error.count("\n") == 1
    return error


def test_sample_shows_pairs(trained, tmp_path, capsys):
    for name, columns in (("pix2pix", "source | output"), ("superres", "source | bicubic | output")):
        out = tmp_path / f"{name}.png"
        arguments = ["sample", str(trained / name), "--count", "3", "--out", str(out), "--backend", "reference"]
        assert main(arguments) == 0
        assert f"{name} at step 1: {columns} | target, 3 of " in capsys.readouterr().out
        assert out.read_bytes().startswith(b"\x89PNG")
        assert main([*arguments, "--split", "train", "--data", "shapes"]) == 0


def test_evaluate_maps_and_images(trained, tmp_path, capsys):
    arguments = ["evaluate", "--backend", "reference", "--count", "3", "--json", "--out", str(tmp_path)]
    assert main([*arguments, str(trained / "pix2pix")]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(found["figures"]) == ["pixel_accuracy", "class_accuracy", "mean_iou"]
    assert found["baseline"] == "commonest class"
    assert found["figures"]["mean_iou"]["samples"] == 3
    first = (tmp_path / "evaluation.png").read_bytes()
    assert main([*arguments, str(trained / "pix2pix")]) == 0
    assert (tmp_path / "evaluation.png").read_bytes() == first
    capsys.readouterr()
    assert main([*arguments, str(trained / "superres")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["baseline"] == "bicubic"
    assert figures["figures"]["psnr"]["data"] > 10


def test_figures_are_written_with_their_picture_or_not_at_all(trained, tmp_path, capsys):
    (tmp_path / "evaluation.png").mkdir()
    arguments = ("evaluate", trained / "pix2pix", "--backend", "reference", "--count", "3", "--out", tmp_path)
    assert "evaluation.png: Is a directory" in fails(capsys, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.png"]


def test_translate_a_folder(trained, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name, size in (("one.jpg", (40, 30)), ("deep/two.png", (16, 16))):
        image.new("RGB", size, (200, 30, 90)).save(tmp_path / "in" / name)
    arguments = ["translate", str(trained / "pix2pix"), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--backend", "reference"]) == 0
    assert "2 pictures translated by pix2pix at step 1" in capsys.readouterr().out
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert [Path(name).as_posix() for name in found] == ["deep/two.png", "one.png"]
    with image.open(tmp_path / "out" / "one.png") as one:
        assert one.size == (16, 16)


def test_a_translation_depends_on_no_later_picture(trained, tmp_path):
    """Dropout, which pix2pix draws with, is the same for a picture however many follow."""
    for name, count in (("few", 17), ("many", 20)):
        (tmp_path / name).mkdir()
        for n in range(count):
            (tmp_path / name / f"{n:02}.png").write_bytes(encode_png(np.full((16, 16, 3), 90, np.uint8)))
        arguments = [
            "translate",
            str(trained / "pix2pix"),
            str(tmp_path / name),
            "--out",
            str(tmp_path / f"{name}-out"),
        ]
        assert main([*arguments, "--backend", "reference"]) == 0
    few, many = ([path.read_bytes() for path in sorted((tmp_path / f"{n}-out").iterdir())] for n in ("few", "many"))
    assert few == many[:17]
    assert len(set(few)) > 1  # Dropout is at work


def test_translating_overwrites_no_picture(trained, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (16, 16), (200, 30, 90)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    arguments = ("translate", trained / "pix2pix", tmp_path, "--backend", "reference", "--out")
    assert "a.png is one of the pictures to translate" in fails(capsys, *arguments, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert main([*map(str, arguments), str(tmp_path / "link")]) == 2
    left_out, refused = capsys.readouterr().err.splitlines()
    assert "link is left out" in left_out
    assert "a.png is one of the pictures to translate" in refused
    (tmp_path / "link").unlink()
    assert (tmp_path / "a.png").read_bytes() == before
    image.new("RGB", (16, 16), (20, 130, 90)).save(tmp_path / "a.jpg")
    assert "a.jpg and a.png would both become" in fails(capsys, *arguments, tmp_path.parent / "both")
    assert not (tmp_path.parent / "both").exists()


def test_an_average_with_the_statistics_of_each_batch_draws_so(tmp_path):
    settings = ("width=2", "d_width=2", "size=16", "ema=0.9", "ema_statistics=batch")
    run = [
        "train",
        "denoise",
        "--data",
        "shapes",
        "--steps",
        "2",
        "--backend",
        "reference",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*run, "--set", "batch_size=2", *settings]) == 0
    trained = load_generator(tmp_path / "run", backend="reference")
    x = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    by_batch, _ = trained.G.forward(x, train=True)
    alone, _ = trained.G.forward(x, train=False)
    np.testing.assert_array_equal(outputs(trained, x), np.clip(by_batch, -1, 1))
    assert not np.array_equal(by_batch, alone)
    for flags, weights in (((), "moving average"), (("--last-weights",), "last")):
        arguments = ["evaluate", str(tmp_path / "run"), "--backend", "reference", "--count", "2", *flags]
        assert main(arguments) == 0
        assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["weights"] == weights
    last = load_generator(tmp_path / "run", backend="reference", average=False)
    np.testing.assert_array_equal(outputs(last, x), np.clip(last.G.forward(x, train=False)[0], -1, 1))


def test_what_cannot_be_done_is_said(trained, tmp_path, capsys):
    assert "mlp draws from noise" in fails(capsys, "sample", trained / "mlp", "--data", "shapes")
    assert "mlp draws from noise" in fails(capsys, "evaluate", trained / "mlp", "--split", "val")
    line = fails(capsys, "translate", trained / "mlp", tmp_path)
    assert line.endswith("mlp draws from noise, not from images. Draw samples of it instead.\n")
    assert "draws from images, not from noise, got --class in addition" in fails(
        capsys, "sample", trained / "pix2pix", "--class", "1"
    )
    assert "no features" in fails(capsys, "evaluate", trained / "pix2pix", "--features", "pixels")
    assert "expected the split train or val" in fails(capsys, "sample", trained / "pix2pix", "--split", "odd")
    assert "starts from 2 channels" in fails(capsys, "translate", trained / "inpaint", tmp_path)
    assert "expected a folder of pictures" in fails(capsys, "translate", trained / "pix2pix", tmp_path / "no")
    (tmp_path / "model.safetensors").write_bytes((trained / "pix2pix" / "model.safetensors").read_bytes())
    assert "Add --data SOURCE" in fails(capsys, "sample", tmp_path / "model.safetensors")
