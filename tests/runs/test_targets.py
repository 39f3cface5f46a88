"""Runs on pairs in two folders: the targets in config.toml, moved data, figures by class, maps that are translated."""

import json
import os

import numpy as np
import pytest

import minigan
from minigan.cli.command_line import main
from minigan.data.class_maps import voc_palette
from minigan.data.dataset import unit_range
from minigan.errors import ConfigError, DataError
from minigan.recipes import Pix2Pix
from minigan.runs.config import RunConfig, read_config, write_config
from minigan.runs.translation import outputs

Image = pytest.importorskip("PIL.Image")
VOC = voc_palette()
TINY = ["--backend", "reference", "--set", "width=1", "d_width=2", "size=16"]


def write(root, numbers=(0, 1, 2, 255)):
    """Gray noise in photos/, class numbers in maps/; train and val."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for k in range(count):
            maps = np.kron(rng.permutation(np.resize(numbers, 16)).reshape(4, 4), np.ones((4, 4))).astype(np.uint8)
            for side, pixels in (("photos", rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)), ("maps", maps)):
                path = root / side / split / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = write(tmp_path_factory.mktemp("targets"))
    sources = ["--data", str(root / "photos"), "--targets", str(root / "maps")]
    assert main(["train", "pix2pix", *sources, "--steps", "1", "--out", str(root / "run"), *TINY]) == 0
    return root


def command(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


def test_a_run_keeps_where_its_targets_are(trained, tmp_path, monkeypatch, capsys):
    settings = read_config(trained / "run").settings
    assert settings["targets"] == str(trained / "maps")
    monkeypatch.chdir(tmp_path)
    code, _, told = command(capsys, "evaluate", trained / "run", "--backend", "reference", "--out", tmp_path)
    assert code == 0
    assert "minigan: B are maps: 3 classes by number" in told
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(found["figures"]) == ["pixel_accuracy", "class_accuracy", "mean_iou"]
    assert "palette: Pascal VOC's, by number, 3 classes" in " ".join(found["remarks"])
    assert "25.0% of the targets' pixels do not count: void" in " ".join(found["remarks"])
    code, said, _ = command(capsys, "sample", trained / "run", "--backend", "reference", "--out", tmp_path / "s.png")
    assert code == 0
    assert "source | output | target, 2 of photos" in said
    shown = {tuple(color) for color in np.asarray(Image.open(tmp_path / "s.png")).reshape(-1, 3).tolist()}
    assert {tuple(VOC[n].tolist()) for n in (0, 1, 2)} <= shown


def test_other_data_have_other_targets(trained, tmp_path, capsys):
    other = write(tmp_path / "other", (4, 5, 6, 7))
    evaluate = ["evaluate", trained / "run", "--backend", "reference", "--out", tmp_path]
    code, _, told = command(capsys, *evaluate, "--data", other / "photos", "--targets", other / "maps")
    assert (code, "4 classes by number" in told) == (0, True)
    code, _, told = command(capsys, *evaluate, "--data", other)  # both sides are in it
    assert (code, "A is photos/train/0.png" in told) == (0, True)
    code, _, told = command(capsys, *evaluate, "--data", other / "photos")
    assert (code, "expected two images side by side" in told) == (2, True)


def test_data_that_have_moved(tmp_path):
    root = write(tmp_path / "before")
    run = minigan.train(
        "segment",
        data=root / "photos",
        targets=root / "maps",
        steps=1,
        backend="reference",
        out=tmp_path / "run",
        quiet=True,
        width=1,
        d_width=1,
        depth=2,
        size=16,
    )
    assert run.config.settings["targets"] == str(root / "maps")
    os.rename(root, tmp_path / "after")
    with pytest.raises(DataError, match="before"):
        run.resume(steps=2)
    run.resume(steps=2, data=tmp_path / "after/photos", targets=tmp_path / "after/maps")
    assert run.step == 2
    assert run.config.settings["targets"] == str(tmp_path / "after/maps")
    run.resume(steps=3, data=tmp_path / "after")
    assert run.config.settings["targets"] == ""


def test_a_run_is_looked_at_where_its_targets_are_now(tmp_path, monkeypatch, capsys):
    """Inspection, ledger and report; its own folders at first, then those that are named."""
    monkeypatch.setattr("minigan.inspection.game_health.EXAMPLES", 2)
    monkeypatch.setattr("minigan.inspection.step_ledger.ROUNDS", (1, 1))
    monkeypatch.setattr("minigan.inspection.step_ledger.limits_of", lambda *_: None)
    root = write(tmp_path / "before")
    sources = {"data": root / "photos", "targets": root / "maps"}
    settings = {"width": 1, "d_width": 2, "size": 16, "backend": "reference", "quiet": True}
    minigan.train("pix2pix", steps=1, out=tmp_path / "run", **sources, **settings)
    monkeypatch.chdir(tmp_path)
    commands = [["inspect", "run"], ["explain", "run/", "--step"]]
    for words in commands:
        assert command(capsys, *words)[0] == 0
    os.rename(root, tmp_path / "after")
    asked = "run/config.toml; if it has moved, add --data SOURCE --targets FOLDER.\n"
    for words in commands:
        code, _, told = command(capsys, *words)
        assert (code, told.endswith(asked)) == (2, True), told
    moved = ["--data", "after/photos", "--targets", "after/maps"]
    for words in commands:
        assert command(capsys, *words, *moved)[0] == 0
    code, _, told = command(capsys, "inspect", "run", *moved, "--held-out", "after")  # both sides are in it
    assert (code, told) == (0, "")
    code, _, told = command(capsys, "report", "run", *moved)
    assert (code, told.count("\n"), "pix2pix translates pictures" in told) == (0, 1, True)
    code, _, told = command(capsys, "report", "run")
    assert (code, told.count("add --data SOURCE --targets FOLDER")) == (0, 2)


def test_a_recipe_s_step_takes_targets(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("minigan.inspection.step_ledger.ROUNDS", (1, 1))
    monkeypatch.setattr("minigan.inspection.step_ledger.limits_of", lambda *_: None)
    root = write(tmp_path)
    step = ["--step", "--data", root / "photos", "--targets", root / "maps"]
    code, said, _ = command(capsys, "explain", "pix2pix", *step, *TINY, "batch_size=1")
    assert (code, "pix2pix on" in said) == (0, True)
    code, _, told = command(capsys, "explain", "dcgan", *step)
    assert (code, "dcgan learns from no pairs" in told) == (2, True)
    code, _, told = command(capsys, "explain", "pix2pix", *step[3:])
    assert (code, told) == (2, "minigan: --targets belongs to a step. Add --step.\n")


def test_targets_of_a_name_that_is_no_text(tmp_path):
    root = write(tmp_path)
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/m\xe4ps")
    try:
        os.rename(root / "maps", odd)
    except OSError:
        pytest.skip("this file system has names of UTF-8 only")
    recipe = Pix2Pix(targets=odd, size=16)
    data = recipe.open_data(str(root / "photos"), seed=0)
    assert len(data) == 3
    write_config(RunConfig("pix2pix", recipe.fit(data).settings(), str(root / "photos")), tmp_path)
    assert read_config(tmp_path).settings["targets"] == odd


def test_maps_are_painted_to_be_translated(tmp_path, capsys):
    root = write(tmp_path)
    words = ["--data", root / "photos", "--targets", root / "maps", "--steps", "1", "--out", root / "run", *TINY]
    assert command(capsys, "train", "pix2pix", *words, "direction=BtoA")[0] == 0
    translate = ["translate", root / "run", root / "maps/val", "--backend", "reference", "--out", root / "out"]
    code, said, told = command(capsys, *translate)
    assert (code, "2 pictures translated" in said) == (0, True)
    assert "these are maps: 3 classes by number" in told
    painted = np.stack([VOC[np.asarray(Image.open(root / f"maps/val/{k}.png"))] for k in (0, 1)])
    trained = minigan.load_generator(root / "run", backend="reference")
    expected = minigan.to_pixels(outputs(trained, unit_range(painted)))
    np.testing.assert_array_equal([np.asarray(Image.open(root / f"out/{k}.png")) for k in (0, 1)], expected)


def test_recipes_without_pairs_have_no_targets(trained, tmp_path, capsys):
    for words in (["train", "dcgan", "--targets", tmp_path], ["train", "superres", "--targets", tmp_path]):
        code, _, told = command(capsys, *words)
        assert (code, "learns from no pairs, got --targets. Use pix2pix or segment." in told) == (2, True)
    with pytest.raises(ConfigError, match="targets must be a string, got 3"):
        minigan.get_recipe("pix2pix")(targets=3)
    assert "targets" not in minigan.load_generator(trained / "run").describe()
