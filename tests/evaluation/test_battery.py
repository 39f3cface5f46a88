"""The battery, the monitor, and the command from end to end."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from minigan.checkpoints.format import load_arrays, save_arrays
from minigan.cli.command_line import main
from minigan.data import Digits, StackedImages, grid, open_dataset, ring
from minigan.errors import DataError, ShapeError
from minigan.evaluation import (
    Figure,
    ImageBattery,
    Monitor,
    PixelFeatures,
    Report,
    evaluate_points,
    nearest_items,
    neighbor_picture,
    train_classifier,
)

FIGURES = ["fid", "kid", "precision", "recall", "density", "coverage", "swd_16x16", "support", "nearer"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("minigan.evaluation.classifier_cache.train_classifier", quickly)
    for name, value in {"SUBSETS": 3, "PATCHES": 8, "DIRECTIONS": 16}.items():
        monkeypatch.setattr(f"minigan.evaluation.battery.{name}", value)


def quickly(dataset, *, seed, backend):
    return train_classifier(dataset, seed=seed, backend=backend, steps=3)


def digits(count=600, seed=0):
    return open_dataset("digits", size=16, count=count, seed=seed)


# ---------------------------------------------------------------------------------------- the battery


def test_fresh_data_gets_what_the_data_gets_and_noise_does_not(rng):
    battery = ImageBattery(digits(), features=PixelFeatures())
    good, neighbors = battery.report(digits(seed=1).read(np.arange(300)))
    bad, _ = battery.report(rng.uniform(-1, 1, (300, 16, 16, 1)))
    assert [f.name for f in good.figures] == [*FIGURES, "distance_ratio"]
    assert good.value("fid") == pytest.approx(good.figures[0].data, rel=0.3)
    assert good.value("nearer") == pytest.approx(0.5, abs=0.1)
    assert good.value("coverage") > 0.8
    assert bad.value("fid") > 5 * good.value("fid")
    assert bad.value("precision") == bad.value("coverage") == bad.value("nearer") == 0
    assert neighbors.items.shape == (300, 3)
    again, _ = ImageBattery(digits(), features=PixelFeatures()).report(digits(seed=1).read(np.arange(300)))
    assert again == good
    assert ImageBattery(digits(), features=PixelFeatures(), seed=1).report(digits(seed=1).read(range(300)))[0] != good


def test_copies_are_found():
    data = digits()
    battery = ImageBattery(data, features=PixelFeatures())
    train = battery.rows[300:]  # the first 300 are the real ones that samples are compared with
    copies, neighbors = battery.report(data.read(train[:100]))
    assert copies.value("nearer") > 0.99
    assert copies.value("distance_ratio") < 0.01
    np.testing.assert_array_equal(neighbors.items[:, 0], train[:100])
    few, _ = battery.report(data.read(np.resize(train[:20], 200)))
    assert few.value("support") < 25
    assert few.value("nearer") > 0.99


def test_any_function_can_be_the_features():
    battery = ImageBattery(digits(), features=lambda x: x.mean(axis=(2, 3)))
    report, _ = battery.report(digits(seed=1).read(np.arange(60)))
    assert report.value("fid") < 1
    assert "lambda" in report.features
    assert report.remarks == ()
    noted, _ = ImageBattery(digits(200), features=PixelFeatures()).report(digits(seed=1).read(np.arange(60)))
    assert "few examples (60) in many dimensions (256)" in noted.remarks[0]


def test_a_classifier_counts_classes():
    data = digits()
    report, _ = ImageBattery(data, features=train_classifier(data, steps=30)).report(data.read(np.arange(0, 600, 10)))
    assert report.figures[0].meaning == "of 10 classes, by the classifier"
    assert report.value("modes") < 10  # the samples are all of one class
    assert report.value("reverse_kl") > 0.5
    assert report.figures[1].data < 0.5
    assert sum(report.histogram) == 60


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (np.zeros((60, 28, 28, 1)), ShapeError, r"data's shape \(16, 16, 1\), got \(28, 28, 1\)"),
        (np.zeros((49, 16, 16, 1)), ShapeError, r"at least 50 samples to evaluate, got 49\. Draw more \(`count`\)\."),
        (np.full((60, 16, 16, 1), np.nan), DataError, "NaN or infinity in 60 of 60. The generator has diverged"),
    ],
)
def test_samples_that_do_not_do(samples, error, message):
    with pytest.raises(error, match=message):
        ImageBattery(digits(200), features=PixelFeatures()).report(samples)


def test_too_little_data():
    with pytest.raises(DataError, match="at least 100 images to compare with, found 99"):
        ImageBattery(digits(99), features=PixelFeatures())


def test_neighbors_in_chunks_are_those_of_all_at_once(monkeypatch, rng):
    data, features = digits(100), PixelFeatures()
    queries, rows = features(digits(seed=5).read(range(7))), rng.permutation(100)[:80]
    whole = nearest_items(queries, data, rows=rows, features=features, k=3)
    monkeypatch.setattr("minigan.evaluation.nearest_images.CHUNK", 2)
    parts = nearest_items(queries, data, rows=rows, features=features, k=3)
    np.testing.assert_array_equal(whole.items, parts.items)
    np.testing.assert_allclose(whole.distances, parts.distances)
    assert np.isin(whole.items, rows).all()
    picture = neighbor_picture(data.read(range(7)), data, whole.items)
    assert picture.shape == (4 * 66 + 2, 7 * 66 + 2, 1)  # 16 pixels, four times as large, and gaps


# ---------------------------------------------------------------------------------------- points


def test_points_of_the_mixture_and_of_one_mode():
    data = ring(count=5000)
    good = evaluate_points(ring(count=2500, seed=1).read(np.arange(2500)), data)
    assert good.value("modes") == 8
    assert good.value("high_quality") == pytest.approx(good.figures[1].data, abs=0.01)
    bad = evaluate_points(np.tile(data.centers[:1], (2500, 1)), data)
    assert (bad.value("modes"), bad.value("high_quality")) == (1, 1)
    assert bad.value("reverse_kl") == pytest.approx(np.log(8))
    assert bad.histogram == (2500, 0, 0, 0, 0, 0, 0, 0)


def test_points_without_known_modes():
    np.save("points.npy", np.zeros((100, 2)))
    with pytest.raises(DataError, match=r"expected a mixture whose modes are known, found points\.npy"):
        evaluate_points(np.zeros((100, 2)), open_dataset("points.npy"))


# ---------------------------------------------------------------------------------------- the report


def test_table_and_json():
    figures = (
        Figure("fid", 12.3456, "lower", "a distance", 10_000, 2000, data=0.5),
        Figure("kid", 0.5, "lower", "another", 10, 20, std=0.25),
        Figure("support", float("inf"), "data's", "pairs", 10, 20, data=123456.7),
    )
    report = Report(figures, seed=3, remarks=("look",))
    assert report.table().splitlines()[2:] == [
        "fid           12.35          0.5  lower    10,000  2,000  a distance",
        "kid      0.5 ± 0.25               lower        10     20  another",
        "support         inf    123,456.7  data's       10     20  pairs",
    ]
    text = json.dumps(report.to_json(), allow_nan=False)
    figures = json.loads(text)["figures"]
    assert figures["support"]["value"] is None
    assert figures["kid"] == {
        "value": 0.5,
        "better": "lower",
        "meaning": "another",
        "samples": 10,
        "real": 20,
        "data": None,
        "std": 0.25,
    }


# ---------------------------------------------------------------------------------------- the monitor


def test_the_monitor_of_images(rng):
    monitor = Monitor(digits(), count=200)
    good, bad = monitor(digits(seed=1).read(np.arange(200))), monitor(rng.uniform(-1, 1, (200, 16, 16, 1)))
    assert set(good) == {"fid", "kid"}
    assert good["fid"] < bad["fid"] / 5
    assert good["kid"] < bad["kid"]
    assert monitor(digits(seed=1).read(np.arange(200))) == good
    too_large = 3 * digits(seed=1).read(np.arange(200))
    assert monitor(too_large) == monitor(np.clip(too_large, -1, 1)) != good
    assert Monitor(digits(), count=200, features=lambda x: x[:, 8, :, 0])(digits().read(range(50)))["fid"] > 0


def test_the_monitor_of_points():
    monitor = Monitor(grid(count=100))
    assert monitor(grid(count=2500, seed=1).read(np.arange(2500)))["modes"] == 25
    np.save("points.npy", np.zeros((100, 2)))
    with pytest.raises(DataError, match="Leave the monitor out"):
        Monitor(open_dataset("points.npy"))


# ---------------------------------------------------------------------------------------- the command

QUICK = ("--backend", "reference", "--steps", "2")
SMALL = (*QUICK, "--set", "width=4", "batch_size=8", "size=16")


def fails(capsys, *arguments):
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("minigan: ")
    assert error.count("\n") == 1
    return error


def test_a_run_on_images(capsys, monkeypatch):
    monkeypatch.setattr("minigan.data.source.Digits", few_digits)
    assert main(["train", "--out", "run", *SMALL]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--count", "60", "--backend", "reference"]) == 0
    out = capsys.readouterr().out
    assert "dcgan at step 2, 60 samples, compared with digits: 400 grayscale images 16x16, 10 classes" in out
    assert re.search(r"features: classifier of digits \(\d+.\d\d% right on held-out images\)", out)
    assert re.search(r"^figure +value +data itself +better +samples +real$", out, re.MULTILINE)
    assert re.search(r"^fid +[\d.,]+ +[\d.,]+ +lower +60 +200  Fréchet", out, re.MULTILINE)
    assert f"seed 0; written: {Path('run/evaluation.json')}, {Path('run/evaluation.png')}" in out
    found = json.loads(Path("run/evaluation.json").read_text())
    assert (found["recipe"], found["step"], found["data"], found["weights"]) == ("dcgan", 2, "digits", "moving average")
    assert Path("run/evaluation.png").read_bytes().startswith(b"\x89PNG")
    arguments = [
        "evaluate",
        "run/model.safetensors",
        "--count",
        "60",
        "--backend",
        "reference",
        "--json",
        "--out",
        "new",
    ]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads(Path("new/evaluation.json").read_text()) == found
    assert captured.err.startswith("dcgan at step 2")


def few_digits(*, size, count, seed, cache_bytes):
    """Fewer than were asked for, so that the test is quick."""
    return Digits(size=size, count=min(count, 400), seed=seed, cache_bytes=cache_bytes)


def test_a_run_on_points_and_one_on_stacked_images(capsys, monkeypatch):
    assert main(["train", "mlp", "--data", "ring", "--out", "points", *QUICK]) == 0
    assert main(["evaluate", "points", "--backend", "reference"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^modes +\d +8 +higher +2,500 +2,500  of 8", out, re.MULTILINE)
    assert "features are for images, got points" in fails(capsys, "evaluate", "points", "--features", "pixels")
    monkeypatch.setattr("minigan.evaluation.battery.MOST_FOR_NEIGHBORS", 50)
    monkeypatch.setattr("minigan.data.source.Digits", few_digits)
    monkeypatch.setattr("minigan.data.source.StackedImages", stacked_of_few)
    assert main(["train", "--data", "stacked:digits", "--out", "stacked", *SMALL]) == 0
    assert main(["evaluate", "stacked", "--count", "50", "--backend", "reference"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^modes +\d+ +\d+ +higher +50 +500  of 1000 classes, by the classifier", out, re.MULTILINE)
    assert "right on held-out images), channel by channel" in out


def stacked_of_few(source, *, seed):
    return StackedImages(source, count=500, seed=seed)


def test_what_does_not_go_together_is_one_line(capsys):
    np.save("gray.npy", np.random.default_rng(0).integers(0, 256, (100, 16, 16), np.uint8))
    assert main(["train", "--data", "gray.npy", "--out", "run", *SMALL]) == 0
    assert "gray.npy: expected labeled images" in fails(
        capsys, "evaluate", "run", "--features", "classifier", "--count", "60"
    )
    assert "at least 50 samples to evaluate, got 3" in fails(capsys, "evaluate", "run", "--count", "3")
    assert "the generator draws 16x16 images with 1 channels; ring" in fails(
        capsys, "evaluate", "run", "--data", "ring"
    )
    assert "no such file" in fails(capsys, "evaluate", "run", "--data", "nowhere")
    assert "no trained generator at" in fails(capsys, "evaluate", "elsewhere")
    Path("run/model.safetensors").rename("model.safetensors")
    assert "lies in no run folder that names its data. Add --data SOURCE." in fails(
        capsys, "evaluate", "model.safetensors"
    )


def test_samples_are_looked_at_before_a_classifier_is_trained(capsys, monkeypatch):
    monkeypatch.setattr("minigan.data.source.Digits", few_digits)
    assert main(["train", "--out", "run", *SMALL]) == 0
    monkeypatch.setattr("minigan.cli.evaluate.choose_features", None)
    assert "at least 50 samples to evaluate, got 1." in fails(capsys, "evaluate", "run", "--count", "1")


def test_a_generator_that_diverged(capsys):
    assert main(["train", "mlp", "--data", "ring", "--out", "run", *QUICK]) == 0
    path = Path("run/model.safetensors")
    arrays, description = load_arrays(path, format="minigan-model/1")
    save_arrays(path, {name: np.full_like(a, np.nan) for name, a in arrays.items()}, description=description)
    for command in ("evaluate", "sample"):
        assert "expected finite weights, found NaN or infinity in G.0.w. Train again." in fails(capsys, command, "run")
    assert not Path("samples.png").exists()
