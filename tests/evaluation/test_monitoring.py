"""`--evaluate-every`: figures of the samples in the log, from the same noise each time."""

import json
from pathlib import Path

import numpy as np
import pytest

from minigan import runs
from minigan.checkpoints.format import CHECKPOINT_FORMAT, load_arrays
from minigan.cli.command_line import main
from minigan.data import open_dataset
from minigan.errors import DataError
from minigan.recipes import MLP
from minigan.runs.config import read_config
from minigan.runs.config_migrations import CONFIG_FORMAT
from minigan.runs.measure import FixedNoiseMeasure


def records(folder: Path, key: str) -> list[dict[str, float]]:
    """The lines of a log that have that key."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if key in record]


def train(folder: Path, recipe: str, data: str, *rest: str) -> int:
    options = ("--evaluate-every", "2", "--backend", "reference", "--out", str(folder))
    return main(["train", recipe, "--data", data, *options, *rest])


SMALL = ("--set", "hidden=8", "batch_size=16", "latent=4")


def test_points_have_their_modes_counted(tmp_path, capsys):
    assert train(tmp_path / "run", "mlp", "ring", "--steps", "5", *SMALL) == 0
    found = records(tmp_path / "run", "modes")
    assert [record["step"] for record in found] == [2, 4, 5]
    assert all(0 <= record["modes"] <= 8 and 0 <= record["high_quality"] <= 1 for record in found)
    assert "step 5: modes" in capsys.readouterr().out
    assert read_config(tmp_path / "run").rhythm.evaluate_every == 2


@pytest.mark.parametrize("extra", [(), ("ema=0.9",)], ids=["last weights", "average"])
def test_images_without_labels_are_compared_by_their_pixels(tmp_path, extra: tuple[str, ...]):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    assert train(tmp_path / "run", "mlp", str(tmp_path / "x.npy"), "--steps", "4", *SMALL, *extra) == 0
    found = records(tmp_path / "run", "fid")
    assert [record["step"] for record in found] == [2, 4]
    assert found[0]["fid"] != found[1]["fid"]
    assert all(np.isfinite(record["kid"]) for record in found)


def test_as_many_samples_as_real_examples_are_looked_at():
    """The FID of other numbers does not compare."""
    for recipe, data, count in ((MLP(), "digits", 2000), (MLP(), "ring", 2500)):
        measure = FixedNoiseMeasure(recipe, open_dataset(data), rng=np.random.default_rng(0), seed=0)
        assert measure.z.shape == (count, recipe.latent)


def test_a_run_that_is_resumed_logs_the_same_figures(tmp_path):
    assert train(tmp_path / "whole", "mlp", "ring", "--steps", "4", *SMALL) == 0
    assert train(tmp_path / "half", "mlp", "ring", "--steps", "2", *SMALL) == 0
    assert main(["train", "--resume", str(tmp_path / "half"), "--steps", "4"]) == 0
    assert records(tmp_path / "half", "modes") == records(tmp_path / "whole", "modes")


def test_it_changes_nothing_but_the_log(tmp_path):
    assert train(tmp_path / "watched", "mlp", "ring", "--steps", "3", *SMALL) == 0
    options = ("--backend", "reference", "--out", str(tmp_path / "alone"), *SMALL)
    assert main(["train", "mlp", "--data", "ring", "--steps", "3", *options]) == 0
    watched, alone = (tmp_path / name / "model.safetensors" for name in ("watched", "alone"))
    assert watched.read_bytes() == alone.read_bytes()


def test_points_without_known_modes_are_refused_before_training(tmp_path, capsys):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32))
    assert train(tmp_path / "run", "mlp", str(tmp_path / "points.npy"), "--steps", "2", *SMALL) == 2
    assert "expected ring, grid, or at least 2 images to monitor" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_images_too_few_for_a_classifier_are_compared_by_their_pixels(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.array([0, 1, 0, 1, 1]))
    assert (
        train(tmp_path / "run", "mlp", str(tmp_path / "x.npz"), "--steps", "2", "--set", "hidden=8", "batch_size=5")
        == 0
    )
    assert (
        "features are pixels: x.npz: expected at least 6 images for a classifier, found 5." in capsys.readouterr().out
    )
    assert len(records(tmp_path / "run", "fid")) == 1


def test_what_cannot_be_evaluated_costs_no_step(tmp_path, capsys, monkeypatch):
    def damaged(*_):
        raise DataError("7.png: damaged.")

    with monkeypatch.context() as patch:
        patch.setattr(FixedNoiseMeasure, "__call__", damaged)
        assert train(tmp_path / "run", "mlp", "ring", "--steps", "4", *SMALL) == 2
    assert "7.png: damaged. Step 2 is saved: replace or remove" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert [record["step"] for record in records(tmp_path / "run", "modes")] == [2, 4]  # the missing one is made up


def test_runs_from_before_there_was_such_a_thing(tmp_path):
    options = ("--backend", "reference", "--out", str(tmp_path / "run"), *SMALL)
    assert main(["train", "mlp", "--data", "ring", "--steps", "2", *options]) == 0
    path = tmp_path / "run" / "config.toml"
    text = path.read_text(encoding="utf-8")
    assert "evaluate_every = 0\n" in text
    older = text.replace("evaluate_every = 0\n", "").replace(f"format = {CONFIG_FORMAT}\n", "")
    path.write_text(older, encoding="utf-8")
    assert runs.read_config(tmp_path / "run").rhythm.evaluate_every == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--steps", "3"]) == 0


TINY = ("--set", "width=2", "d_width=2", "batch_size=2")


@pytest.mark.parametrize(
    ("recipe", "size", "figures"),
    [
        ("pix2pix", 32, ["pixel_accuracy", "class_accuracy", "mean_iou"]),
        ("denoise", 16, ["psnr", "ssim"]),
        ("superres", 16, ["psnr", "ssim"]),
        ("segment", 32, ["pixel_accuracy", "class_accuracy", "mean_iou"]),
    ],
)
def test_outputs_are_compared_with_targets_held_out(tmp_path, recipe, size, figures):
    words = ("--steps", "2", "--evaluate-every", "1", "--best", figures[-1], *TINY, f"size={size}")
    assert train(tmp_path / "run", recipe, "shapes", *words) == 0
    found = records(tmp_path / "run", figures[0])
    assert [list(record) for record in found] == [["step", *figures]] * 2
    best = load_arrays(tmp_path / "run" / "checkpoints" / "best.safetensors", format=CHECKPOINT_FORMAT)[1]
    assert best["figures"][figures[-1]] == max(record[figures[-1]] for record in found)


def test_the_best_of_pairs_must_be_a_figure_of_theirs(tmp_path, capsys):
    assert train(tmp_path / "run", "pix2pix", "shapes", "--steps", "1", "--best", "fid", *TINY, "size=32") == 2
    assert (
        "--best must be one of pixel_accuracy, class_accuracy, mean_iou with shapes, got fid."
        in capsys.readouterr().err
    )
