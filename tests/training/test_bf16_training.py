"""Training with activations in bfloat16: near float32, finite, and the same bits each time."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

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
from minigan.nn.network import Observer
from minigan.recipes import DCGAN, RECIPES, NoiseRecipe, Recipe
from minigan.training.learner import Learner
from minigan.training.out_of_memory import largest_outputs

SMALL = {"width": 8, "channel_max": 8, "w_dim": 16, "hidden": 32, "batch_size": 16, "n_critic": 1}
PAPER: dict[str, Any] = {"mapping": 0, "head": 0, "condition": "none"}  # so that layers have the numbers below
PENALTIES = {
    "wgan-gp": DCGAN(**PAPER, width=8, batch_size=16, d_norm="none", loss="wasserstein", penalty="wgan-gp"),
    "r1 of a smooth D": DCGAN(**PAPER, width=8, batch_size=16, penalty="r1"),
    "spectral": DCGAN(width=8, batch_size=16, d_norm="spectral", loss="hinge", penalty="r1"),
    "projection": DCGAN(width=8, batch_size=16, condition="projection", ema=0.9),
    "augmented": DCGAN(**PAPER, width=8, batch_size=16, augment="color,translation,cutout"),
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


# Wide enough for convolutions with few multiplications, which take many seconds to compile in each precision.
WINOGRAD = ["dcgan-keras", *(name for name, recipe in RECIPES.items() if not issubclass(recipe, NoiseRecipe))]
GIVEN = [pytest.param(name, "1" if name in WINOGRAD else "", id=name) for name in CASES]
GIVEN += [pytest.param(name, "", id=f"{name}, few multiplications", marks=pytest.mark.exhaustive) for name in WINOGRAD]


@pytest.mark.parametrize(("name", "exact"), GIVEN)
def test_a_step_of_every_recipe_is_near_float32(name: str, exact: str, monkeypatch):
    monkeypatch.setenv("MINIGAN_EXACT", exact)
    found = {}
    for precision in ("bf16", "fp32"):
        monkeypatch.setenv("MINIGAN_PRECISION", precision)
        found[precision] = gradients(CASES[name])
    for network, exact in found["fp32"].items():
        rounded = found["bf16"][network]
        assert np.isfinite(rounded).all()
        cosine = float(exact @ rounded) / float(np.linalg.norm(exact) * np.linalg.norm(rounded))
        # G's gradient goes through a D after its update: the first of Adam has a step's length, with either sign. And
        # cyclegan's go through another G as well, and have the signs of differences.
        assert cosine > (0.95 if network.startswith("G") else 0.99)
        moved = exact != 0  # r3gan's blocks begin with a filter of zeros, before which gradients are 0
        assert (exact != rounded)[moved].mean() > 0.5 or name in VECTORS


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
    with step_of_recipe(DCGAN(**PAPER, width=4, batch_size=8), backend="cpu", data=None) as step:
        learner = step.state.learner
        layer = next(layer for layer in learner.D if isinstance(layer, Conv2D))
        layer.w.value[...] = 1e38
        learner.D.arena.updated()
        before = learner.D.arena.flat.copy()
        with pytest.raises(DivergenceError, match=rf"the output of {layer.path}"):
            learner.step(step._batches(), step.state.rng)
        np.testing.assert_array_equal(learner.D.arena.flat, before)


GAMES = {"dcgan": DCGAN(**PAPER, width=8, batch_size=16), "wgan-gp": PENALTIES["wgan-gp"]}
LARGEST = 3.4e38  # a float32, and infinity as a bfloat16


def filled(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda w: np.full_like(w, value)


def signed(w: np.ndarray) -> np.ndarray:
    return np.where(w < 0, -3e38, 3e38)


class NotFinite(Observer):
    """Remembers the first layer whose output has a bfloat16 that is not finite, and whether any output has a NaN."""

    narrow = True
    first = ""
    has_nan = False

    def after(self, now):
        result = now.result.astype(np.float32)
        if not self.first and not np.isfinite(result).all():
            assert now.result.dtype.name == "bfloat16"
            self.first = now.path
        self.has_nan |= bool(np.isnan(result).any())


def blow_up(learner: Learner, changes: dict[str, Callable]) -> None:
    """Replaces weights, named by layer and parameter; a network's name alone is all of its filters."""
    left = dict(changes)
    for network in learner.networks.values():
        for _, layer in network.walk():
            for parameter in layer.own_parameters:
                for name in (f"{layer.path} {parameter.name}", f"{network.path} {parameter.name}"):
                    if name in changes:
                        parameter.value[...] = changes[name](parameter.value)
                        left.pop(name, None)
        network.arena.updated()
    assert not left


def diverged(recipe: Recipe, changes: dict[str, Callable]) -> tuple[str, NotFinite]:
    """The message of a step with those weights, which leaves all as it was; and what a forward pass of D or G holds."""
    seen = NotFinite()
    with step_of_recipe(recipe, backend="cpu", data=None) as step, np.errstate(all="ignore"):
        learner, rng = step.state.learner, step.state.rng
        blow_up(learner, changes)
        before = learner.to_dict()
        with pytest.raises(DivergenceError) as caught:
            learner.step(step._batches(), rng)
        assert all(array.tobytes() == before[name].tobytes() for name, array in learner.to_dict().items())
        network = learner.networks[next(iter(changes))[0]]
        if network.kernels.precision == "bf16":
            with network.observed(seen):
                x = rng.uniform(-1, 1, (16, *network.input_shape))
                network.forward(network.kernels.asarray(x, dtype=network.dtype), train=True, rng=rng)
    return str(caught.value), seen


PRODUCTS = {
    "an infinity in G": ({"G.4.ConvTranspose2D w": filled(1e38)}, "G.4.ConvTranspose2D"),
    "an infinity in D": ({"D.2.Conv2D w": filled(1e38), "D.0.Conv2D w": filled(10)}, "D.2.Conv2D"),
    "two that cancel to NaN": ({"D.2.Conv2D w": signed, "D.0.Conv2D w": filled(1e4)}, "D.2.Conv2D"),
}


@in_bf16
@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("case", PRODUCTS)
def test_products_that_overflow_are_named(case: str, game: str):
    """The layer where it began, not one of those after it, where infinities have become NaN."""
    changes, layer = PRODUCTS[case]
    message, seen = diverged(GAMES[game], changes)
    assert message == f"the output of {layer} is not finite."
    assert seen.first
    assert seen.has_nan or "NaN" not in case


ROUNDED = {
    "dcgan, G": ("dcgan", "G.2.BatchNorm beta", "G.2.BatchNorm"),
    "dcgan, D": ("dcgan", "D.3.BatchNorm beta", "D.3.BatchNorm"),
    "wgan-gp, G": ("wgan-gp", "G.5.BatchNorm beta", "G.5.BatchNorm"),
    "wgan-gp, D": ("wgan-gp", "D.2.Conv2D b", "D.2.Conv2D"),
}


@pytest.mark.parametrize("case", ROUNDED)
def test_a_float32_that_is_infinite_as_a_bfloat16_is_named(case: str, monkeypatch):
    game, parameter, layer = ROUNDED[case]
    monkeypatch.setenv("MINIGAN_PRECISION", "bf16")
    message, seen = diverged(GAMES[game], {parameter: filled(LARGEST)})
    assert message == f"the output of {layer} is not finite."
    assert seen.first
    monkeypatch.setenv("MINIGAN_PRECISION", "fp32")
    with step_of_recipe(GAMES[game], backend="cpu", data=None) as step, np.errstate(all="ignore"):
        learner = step.state.learner
        blow_up(learner, {parameter: filled(LARGEST)})
        try:
            learner.step(step._batches(), step.state.rng)
        except DivergenceError as error:  # float32 holds the number: only later ones are infinite
            assert str(error) != message


SLOPES = {
    "dcgan": ({"D.5.Conv2D w": lambda w: w * 1e30}, "the square of the gradient of D.3.BatchNorm"),
    "wgan-gp": ({"D w": lambda w: w * 1e9}, "the penalty on the slope of D"),
}


@in_bf16
@pytest.mark.parametrize("game", SLOPES)
def test_gradients_that_overflow_are_named(game: str):
    changes, named = SLOPES[game]
    message, seen = diverged(GAMES[game], changes)
    assert message == f"{named} is not finite."
    assert not seen.first  # all activations are finite


@in_bf16
def test_the_ledger_counts_two_bytes_an_activation():
    with step_of_recipe(DCGAN(**PAPER, width=4, batch_size=8), backend="cpu", data=None) as step:
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
