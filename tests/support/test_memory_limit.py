"""Requests for more memory than the machine has, or than a file can fill, are refused before memory is allocated."""

import tracemalloc

import numpy as np
import pytest

from minigan import runs
from minigan.checkpoints.format import MODEL_FORMAT, network_arrays, save_arrays
from minigan.errors import CheckpointError, ConfigError, MiniganError, OutOfMemoryError
from minigan.nn.layers import Dense
from minigan.nn.network import Sequential
from minigan.recipes import get_recipe
from minigan.support.memory_limit import expect_room
from minigan.training.fake_pool import FakePool

RNG = np.random.default_rng(0)


def dense(units):
    return Sequential([Dense(units)]).build((4,), backend="reference", rng=RNG)


def test_more_than_the_machine_has():
    expect_room(2**20, what="this")
    for nbytes, amount in ((2**60, "1,073,741,824.0 GiB"), (10**4000, "more than any machine has")):
        with pytest.raises(
            OutOfMemoryError, match=rf"^out of memory: this would take {amount}, but only [\d,.]+ GiB are available"
        ):
            expect_room(nbytes, what="this")
    assert issubclass(OutOfMemoryError, MiniganError)
    assert issubclass(OutOfMemoryError, MemoryError)


@pytest.mark.parametrize("units", [10**12, 10**30, 10**4000])
def test_networks_and_pools_without_end(units):
    with pytest.raises(OutOfMemoryError, match="a network's weights would take"):
        dense(units)
    with pytest.raises(OutOfMemoryError, match="the pool of fakes would take"):
        FakePool(dense(4), size=units)


@pytest.mark.parametrize(
    ("recipe", "layers"),
    [("multi-d", "discriminators"), ("superres", "blocks"), ("segment", "depth"), ("denoise", "depth")],
)
def test_layers_without_end(recipe, layers):
    with pytest.raises(ConfigError, match=rf"{recipe}: {layers} must be from \d to 1,000, got 1000000000000"):
        get_recipe(recipe).from_settings({layers: 10**12})


@pytest.mark.parametrize(
    "claim",
    [
        {"settings": {"hidden": 40_000, "latent": 2}},  # 6 GiB
        {"settings": {"hidden": 10**9, "latent": 2}},
        {"settings": {"hidden": 2, "latent": 10**30}},
        {"shape": [10_000, 10_000, 3]},
        {"shape": [4, 4, 2**60 + 1]},  # in 64 bits the product is that of 4x4x1
    ],
)
def test_a_model_that_claims_more_weights_than_its_file_has(tmp_path, claim):
    recipe = get_recipe("mlp").from_settings({"hidden": 2, "latent": 2})
    G = recipe.built_generator((4, 4, 1), backend="reference", dtype="float32", rng=RNG)
    description = {"format": MODEL_FORMAT, "step": 1, "recipe": "mlp", "settings": {"hidden": 2, "latent": 2}}
    description |= {"shape": [4, 4, 1], "dtype": "float32", "extent": 1.0}
    save_arrays(tmp_path / "model.safetensors", network_arrays(G, "G"), description=description)
    assert runs.load_generator(tmp_path, backend="reference").step == 1
    save_arrays(tmp_path / "model.safetensors", network_arrays(G, "G"), description=description | claim)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: .* has shape .*, the network expects"):
        runs.load_generator(tmp_path, backend="reference")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
