"""Training with activations in bfloat16: near float32, finite, and the same bits each time."""

from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("ml_dtypes")

import minigan
from minigan.backends.cpu import CpuBackend
from minigan.errors import DivergenceError
from minigan.inspection.real_step import step_of_recipe
from minigan.inspection.step_ledger import measured_ledger
from minigan.nn import Conv2D
from minigan.recipes import DCGAN, RECIPES, Recipe
from minigan.training.out_of_memory import largest_outputs

SMALL = {"width": 8, "hidden": 32, "batch_size": 16, "n_critic": 1}
PENALTIES = {
    "wgan-gp": DCGAN(width=8, batch_size=16, d_norm="none", loss="wasserstein", penalty="wgan-gp"),
    "r1 of a smooth D": DCGAN(width=8, batch_size=16, penalty="r1"),
    "spectral": DCGAN(width=8, batch_size=16, d_norm="spectral", loss="hinge", penalty="r1"),
    "projection": DCGAN(width=8, batch_size=16, condition="projection", ema=0.9),
    "augmented": DCGAN(width=8, batch_size=16, augment="color,translation,cutout"),
}


def small(name: str) -> Recipe:
    kind = RECIPES[name]
    settings = {field.name for field in fields(kind)}
    return kind(**{key: value for key, value in SMALL.items() if key in settings})


CASES = {name: small(name) for name in RECIPES} | PENALTIES
VECTORS = ("mlp", "minimax", "pacgan")  # networks without images inside


@pytest.fixture
def bf16(monkeypatch):
    monkeypatch.setenv("MINIGAN_PRECISION", "bf16")


in_bf16 = pytest.mark.usefixtures("bf16")


def gradients(recipe: Recipe) -> dict[str, np.ndarray]:
    """The first step's of a training, by network."""
    with step_of_recipe(recipe, backend="cpu", data=None) as step:
        step.run()
        return {name: grads.flat.copy() for name, grads in step.state.learner.grads.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_step_of_every_recipe_is_near_float32(name: str, monkeypatch):
    found = {}
    for precision in ("bf16", "fp32"):
        monkeypatch.setenv("MINIGAN_PRECISION", precision)
        found[precision] = gradients(CASES[name])
    for network, exact in found["fp32"].items():
        rounded = found["bf16"][network]
        assert np.isfinite(rounded).all()
        cosine = float(exact @ rounded) / float(np.linalg.norm(exact) * np.linalg.norm(rounded))
        # G's gradient goes through a D after its update: the first of Adam has a step's length, with either sign.
        assert cosine > (0.95 if network == "G" else 0.99)
        assert (exact != rounded).mean() > 0.5 or name in VECTORS


@in_bf16
def test_the_same_seed_gives_the_same_bits():
    first, second = (gradients(PENALTIES["r1 of a smooth D"]) for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@in_bf16
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    settings = {"data": "digits", "width": 4, "batch_size": 8, "backend": "cpu", "quiet": True, "ema": 0.5}
    whole = minigan.train("dcgan", steps=4, out=tmp_path / "whole", **settings)
    half = minigan.train("dcgan", steps=2, out=tmp_path / "half", **settings)
    resumed = half.resume(steps=4)
    for run in (whole, resumed):
        assert run.step == 4
        assert all(np.isfinite(value) for line in run.log for value in line.values() if isinstance(value, float))
    assert (whole.folder / "model.safetensors").read_bytes() == (resumed.folder / "model.safetensors").read_bytes()
    images = whole.generator.sample(4, seed=1)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, resumed.generator.sample(4, seed=1))
    assert len(np.unique(images)) > 1000  # more than the 8 bits of an activation


@in_bf16
def test_a_number_that_is_not_finite_is_found_and_its_layer_named():
    with step_of_recipe(DCGAN(width=4, batch_size=8), backend="cpu", data=None) as step:
        learner = step.state.learner
        layer = next(layer for layer in learner.D if isinstance(layer, Conv2D))
        layer.w.value[...] = 1e38
        learner.D.arena.updated()
        before = learner.D.arena.flat.copy()
        with pytest.raises(DivergenceError, match=rf"the output of {layer.path}"):
            learner.step(step._batches(), step.state.rng)
        np.testing.assert_array_equal(learner.D.arena.flat, before)


@in_bf16
def test_the_ledger_counts_two_bytes_an_activation():
    with step_of_recipe(DCGAN(width=4, batch_size=8), backend="cpu", data=None) as step:
        assert measured_ledger(step, limits=False, rounds=(1, 1)).rows
        first, *others, last = (layer.activations.itemsize for layer in step.state.learner.G)
        assert (first, last) == (4, 4)  # a Reshape of a vector, and a Tanh
        assert set(others) == {2}
        ends = [layer.activations.itemsize for layer in step.state.learner.D][-3:]
        assert ends == [2, 4, 4]
        (nbytes, _, shape), *_ = largest_outputs({"D": step.state.learner.D}, batch_size=8)
    assert nbytes == 2 * np.prod(shape)


@in_bf16
def test_the_backend_says_its_precision():
    assert minigan.backends.get_backend("cpu").precision == "bf16"
    assert CpuBackend(precision="fp32").describe().endswith("fp32")
