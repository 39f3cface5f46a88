"""Trained generators that come with minigan, and weights that are stored in fewer bits."""

from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.checkpoints.format import MODEL_FORMAT, load_arrays, save_arrays
from minigan.checkpoints.narrow import STORED, narrowed, widened
from minigan.cli.command_line import main
from minigan.errors import CheckpointError, ConfigError
from minigan.recipes import MLP
from minigan.runs.pretrained import FOLDER, PRETRAINED, pretrained_file


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PRETRAINED)
def test_each_draws(name: str):
    trained = minigan.load_generator(f"pretrained:{name}", backend="reference")
    samples = trained.sample(20, seed=1)
    assert samples.shape == ((20, 2) if name == "ring" else (20, 28, 28, 1))
    assert samples.std() > 0.2
    np.testing.assert_array_equal(samples, trained.sample(20, seed=1))
    assert len(trained.classes) == (8 if name == "ring" else 10)


def test_they_are_small_and_all_named():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == PRETRAINED.keys()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1.5e6
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in PRETRAINED)


def test_a_digit_is_its_class():
    """Mean pictures of the real digits of each class are nearest to those of the generated ones."""
    trained = minigan.load_generator("pretrained:digits", backend="reference")
    data = minigan.open_dataset("digits")
    real = np.stack([data.read(np.flatnonzero(data.labels == k)[:100]).mean(axis=0).ravel() for k in range(10)])
    fake = trained.sample(label=[k for k in range(10) for _ in range(20)]).reshape(10, 20, -1).mean(axis=1)
    distances = np.linalg.norm(fake[:, None] - real[None], axis=2)
    assert distances.argmin(axis=1).tolist() == list(range(10))


def test_the_commands_take_them(capsys):
    assert main(["sample", "pretrained:digits", "--class", "7", "--count", "4", "--backend", "reference"]) == 0
    assert Path("samples.png").exists()
    assert main(["export", "pretrained:ring", "--to", "numpy", "--out", "ring"]) == 0
    assert main(["evaluate", "pretrained:ring", "--backend", "reference", "--count", "500"]) == 0
    assert (Path("pretrained-ring") / "evaluation.json").exists()
    capsys.readouterr()
    assert main(["recipes"]) == 0
    assert "pretrained:fashion" in capsys.readouterr().out


def test_what_is_not_there_is_told(capsys):
    for arguments, says in (
        (["sample", "pretrained:digit"], "no pretrained generator 'digit': expected one of digits, fashion, ring. Did"),
        (["evaluate", "pretrained:fashion", "--count", "50", "--backend", "reference"], "Add --data SOURCE."),
        (["train", "--resume", "pretrained:digits"], "pretrained:digits is a trained generator alone"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1


# ---------------------------------------------------------------------------------------------- fewer bits


def test_weights_come_back_as_near_as_is_promised():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 3, 4, 6)).astype(np.float32) * 10.0 ** np.arange(-3, 3, dtype=np.float32)
    w[..., 2] = 0
    arrays = {"G.0.w": w, "G.0.b": np.float32([1e-9, 1e9])}
    for stored, error in (("float16", 2**-11 * np.abs(w) + 2**-25), ("int8", np.abs(w).max(axis=(0, 1, 2)) / 253)):
        back = widened(narrowed(arrays, stored), "float32", source="it")
        assert back.keys() == arrays.keys()
        assert (np.abs(back["G.0.w"] - w) <= error).all()
        assert back["G.0.w"].dtype == np.float32
        np.testing.assert_array_equal(back["G.0.b"], arrays["G.0.b"])


@pytest.mark.parametrize("stored", STORED)
def test_a_generator_is_kept_in_fewer_bits(tmp_path, stored):
    recipe = MLP(hidden=64)
    G = recipe.built_generator((28, 28, 1), backend="reference", rng=np.random.default_rng(0))
    sizes = {}
    for kind in ("", stored):
        minigan.save_generator(tmp_path / "g", G, recipe, stored=kind)
        sizes[kind] = (tmp_path / "g").stat().st_size
    assert sizes[stored] < sizes[""] * (0.56 if stored == "float16" else 0.32)
    again = minigan.load_generator(tmp_path / "g", backend="reference")
    z = np.random.default_rng(1).normal(size=(8, 100)).astype(np.float32)
    before, after = (net.forward(z, train=False)[0] for net in (G, again.G))
    np.testing.assert_allclose(after, before, atol=0.02)
    with pytest.raises(ConfigError, match=r"stored must be one of float16, int8, or '' for all bits, got 'int4'"):
        minigan.save_generator(tmp_path / "g", G, recipe, stored="int4")


@pytest.mark.parametrize("change", [lambda _: None, lambda scale: scale[:-1], lambda scale: scale.astype("f8")])
def test_a_wrong_scale_is_told(tmp_path, change):
    arrays, description = load_arrays(pretrained_file("digits"), format=MODEL_FORMAT)
    name = next(name for name in arrays if name.endswith(":scale"))
    scale = change(arrays.pop(name))
    arrays |= {} if scale is None else {name: scale}
    save_arrays(tmp_path / "bad", arrays, description=description)
    with pytest.raises(CheckpointError, match="expected a scale for each channel of"):
        minigan.load_generator(tmp_path / "bad", backend="reference")


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "pretrained:ring"],
        ["report", "pretrained:ring"],
        ["card", "pretrained:ring"],
        ["explain", "pretrained:ring", "--step"],
        ["train", "--resume", "pretrained:ring"],
        ["train", "--resume", "pretrained:ring", "--dry-run"],
        ["sample", "pretrained:ring", "--film", "film.gif"],
        ["export", "pretrained:ring", "--to", "torch", "--network", "D", "--out", "d.safetensors"],
    ],
    ids=" ".join,
)
def test_what_needs_a_whole_run_says_so(capsys, words):
    assert main(words) == 2
    line = capsys.readouterr().err
    assert line.startswith("minigan: pretrained:ring is a trained generator alone, without the checkpoints and the log")
    assert line.count("\n") == 1
    assert not list(Path().iterdir())


def test_explain_shows_their_networks(capsys):
    assert main(["explain", "pretrained:ring", "--backend", "reference"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("pretrained:ring: a run of mlp") and "20,000" in text
    assert main(["explain", "pretrained:rings"]) == 2
    assert "there is no pretrained generator 'rings'" in capsys.readouterr().err
