"""Saving from a loop of one's own: parts by name, restored as a whole or not at all, and generators of recipes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.checkpoints.format import save_arrays
from minigan.cli.command_line import main
from minigan.errors import CheckpointError, ConfigError, NotBuiltError, OutputError, ShapeError
from minigan.nn.layers import BatchNorm, Dense
from minigan.nn.network import Sequential
from minigan.nn.optimizers import SGD, Adam
from minigan.recipes import DCGAN, MLP

RECIPE = MLP(batch_size=8)
SHAPE = (28, 28, 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def network(features=3, seed=0):
    return Sequential([Dense(features), BatchNorm(), Dense(2)]).build((4,), backend="reference", rng=rng(seed))


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_a_training_goes_on_bit_for_bit(tmp_path):
    images = rng(1).uniform(-1, 1, (8, *SHAPE))

    def trained(gan, generator, steps):
        for _ in range(steps):
            gan.step(iter([images]), generator)
        return gan.to_dict()

    gan, generator = RECIPE.assemble(SHAPE, backend="reference", rng=rng()), rng(2)
    trained(gan, generator, 2)
    minigan.save(tmp_path / "gan.safetensors", {"gan": gan}, notes={"step": 2, "rng": generator.bit_generator.state})
    expected = trained(gan, generator, 2)

    again, generator = RECIPE.assemble(SHAPE, backend="reference", rng=rng(9)), rng(9)
    notes = minigan.load(str(tmp_path / "gan.safetensors"), {"gan": again})
    assert notes["step"] == 2
    generator.bit_generator.state = notes["rng"]
    same(trained(again, generator, 2), expected)


def test_parts_of_a_file_and_of_its_parts(tmp_path):
    one, other = network(), network(5)
    minigan.save(tmp_path / "x", {"one": one, "other": other, "adam": Adam(one.arena, lr=0.1)})
    fresh = network(seed=7)
    assert minigan.load(tmp_path / "x", {"one": fresh}) == {}
    same(fresh.arena.to_dict(), one.arena.to_dict())

    gan = RECIPE.assemble(SHAPE, backend="reference", rng=rng())
    minigan.save(tmp_path / "gan", {"gan": gan})
    G = RECIPE.built_generator(SHAPE, backend="reference", rng=rng(1))
    minigan.load(tmp_path / "gan", {"gan.G": G})
    same(G.arena.to_dict(), gan.G.arena.to_dict())


def test_what_does_not_fit_changes_nothing(tmp_path):
    first, second = network(), network()
    minigan.save(tmp_path / "x", {"first": first, "second": network(5), "sgd": SGD(first.arena, lr=0.1)})
    into = {"first": network(seed=3), "second": network(seed=4)}
    before = {name: part.arena.to_dict() for name, part in into.items()}
    with pytest.raises(ShapeError, match=r"x, second: 1\.running_mean has shape \(5,\), the network expects \(3,\)"):
        minigan.load(tmp_path / "x", into)
    for name, part in into.items():
        same(part.arena.to_dict(), before[name])
    with pytest.raises(CheckpointError, match="x, sgd: expected the state of Adam") as caught:
        minigan.load(tmp_path / "x", {"sgd": Adam(second.arena, lr=0.1)})
    size = len(second.arena.flat)
    listing = f"m <float32 ({size},)>, v <float32 ({size},)>, steps <int64 (1,)>, got steps <int64 (1,)>, velocity"
    assert listing in str(caught.value)
    with pytest.raises(CheckpointError, match=r"x, first: .*got 0\.b <float32 .*, \d+ more\. Name the optimizer"):
        minigan.load(tmp_path / "x", {"first": Adam(second.arena, lr=0.1)})


def test_what_cannot_be_saved_or_found_is_named(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(ConfigError, match=r"a name without dots for each part, got 'a\.b'"):
        minigan.save(path, {"a.b": network()})
    with pytest.raises(NotBuiltError):
        minigan.save(path, {"net": Sequential([Dense(2)])})
    with pytest.raises(ConfigError, match=r"notes that JSON can hold: .*ndarray"):
        minigan.save(path, {"net": network()}, notes={"z": np.zeros(2)})
    for notes in (3, [1], "x"):
        with pytest.raises(ConfigError, match=r"save: notes must be a dict, got .*Write notes="):
            minigan.save(path, {"net": network()}, notes=notes)
    with pytest.raises(ConfigError, match="save: expected a name for each part, got an empty one"):
        minigan.save(path, {"": network()})
    with pytest.raises(OutputError, match="expected a path without NUL characters"):
        minigan.save("a\0b", {"net": network()})
    assert not path.exists()
    for missing in (path, "a\0b"):
        with pytest.raises(CheckpointError, match=r"cannot read .*: no such file\. Name a file that minigan wrote"):
            minigan.load(missing, {"net": network()})
    with pytest.raises(CheckpointError, match=r": it is a folder\. Name a file"):
        minigan.load(tmp_path, {"net": network()})
    minigan.save(path, {"net": network()})
    with pytest.raises(ConfigError, match="load: expected a name for each part, got an empty one"):
        minigan.load(path, {"": network()})
    with pytest.raises(CheckpointError, match=r"x has no G, but net\. Name"):
        minigan.load(path, {"G": network()})
    save_arrays(path, {}, description={"format": "minigan-state/1", "parts": 3})
    with pytest.raises(CheckpointError, match="expected a list of parts and an object of notes"):
        minigan.load(path, {"net": network()})


def test_a_generator_of_ones_own_loop_is_one_of_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    G = RECIPE.built_generator(SHAPE, backend="reference", rng=rng())
    minigan.save_generator("model.safetensors", G, RECIPE, step=12)
    again = minigan.load_generator(".", backend="reference")
    pixels = again.pixels(4, seed=3)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (4, *SHAPE))
    z, _ = RECIPE.sources(rng(3), 4)
    np.testing.assert_array_equal(pixels, minigan.to_pixels(RECIPE.to_images(minigan.generate(G, z))))
    assert main(["sample", "model.safetensors", "--count", "2", "--backend", "reference"]) == 0
    assert "2 samples of mlp at step 12: samples.png" in capsys.readouterr().out


def test_a_generator_of_another_recipe_is_refused(tmp_path):
    G = Sequential([Dense(784)], name="G").build((100,), backend="reference", rng=rng())
    with pytest.raises(CheckpointError, match="as a generator of mlp, is of another network: missing"):
        minigan.save_generator(tmp_path / "x", G, MLP())
    assert list(Path(tmp_path).iterdir()) == []


def test_points_have_no_pixels(tmp_path):
    G = RECIPE.built_generator((2,), backend="reference", rng=rng())
    minigan.save_generator(tmp_path / "x", G, RECIPE, extent=2.0)
    trained = minigan.load_generator(tmp_path / "x", backend="reference")
    assert (trained.extent, trained.sample(5, seed=0).shape) == (2.0, (5, 2))
    with pytest.raises(ConfigError, match="draws points here, which have no pixels"):
        trained.pixels()


@pytest.mark.parametrize(("backend", "library"), [("reference", "numpy"), ("cpu", "numba")])
def test_threads_share_a_generator(tmp_path, backend, library):
    pytest.importorskip(library)
    recipe = DCGAN(width=8)
    G = recipe.built_generator(SHAPE, backend="reference", rng=rng())
    minigan.save_generator(tmp_path / "x", G, recipe)
    trained = minigan.load_generator(tmp_path / "x", backend=backend)

    def draw(seed):
        return trained.sample(16, seed=seed)

    alone = [draw(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(draw, range(8)), alone, strict=True):
            np.testing.assert_array_equal(one, other)
