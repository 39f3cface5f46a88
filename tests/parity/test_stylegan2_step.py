"""Whole steps of StyleGAN2's training, compared with a twin in PyTorch that is written from the paper."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stylegan_twin import Twin  # noqa: E402

from minigan.nn import Sequential  # noqa: E402
from minigan.recipes import StyleGAN2  # noqa: E402
from minigan.training.batch import Batch  # noqa: E402
from minigan.training.lazily_regularized import LazilyRegularized  # noqa: E402

N = 4
SMALL = {"latent": 7, "w_dim": 5, "channel_base": 48, "channel_max": 6, "batch_size": N, "penalty_interval": 2}
CASES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "small configuration": ({"condition": "none"}, (16, 16, 2)),
    "classes": ({"condition": "projection", "classes": 3, "group": 2}, (8, 8, 1)),
    "larger configuration": (
        {"condition": "none", "mapping": 3, "residual": True, "mixing": 0.8, "path_weight": 2.0, "path_interval": 2},
        (16, 16, 1),
    ),
    "everything, not square": (
        {"condition": "projection", "classes": 2, "residual": True, "mixing": 0.9, "path_weight": 2.0, "group": 1},
        (8, 12, 1),
    ),
}


def assembled(recipe: StyleGAN2, shape: tuple[int, ...], *, backend: str, dtype: str) -> LazilyRegularized:
    """The learner, with weights away from 0 where they would hide a term: strengths of noise, and biases."""
    learner = recipe.assemble(shape, backend=backend, dtype=dtype, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for network in (learner.G, learner.D):
        for _, parameter in network.named_parameters():
            if not parameter.value.any():
                parameter.value[...] = 0.3 * rng.normal(size=parameter.shape)
        network.arena.updated()
    return learner


def batch(recipe: StyleGAN2, shape: tuple[int, ...], rng: np.random.Generator) -> Batch:
    real = rng.normal(size=(recipe.batch_size, *shape)).astype(np.float32)
    labels = rng.integers(recipe.classes, size=len(real))
    return Batch(real, condition=recipe.one_hot(labels) if recipe.conditional else None)


def differences(network: Sequential, before: list[np.ndarray], expected: list) -> list[float]:
    """For each weight the largest error beyond its own rounding, in shares of its largest change."""
    found = []
    for (_, p), old, new in zip(network.named_parameters(), before, expected, strict=True):
        new = new.detach().numpy()
        rounding = 4 * np.finfo(p.value.dtype).eps * np.abs(new).max()
        error, change = np.abs(p.value - new).max() - rounding, np.abs(new - old).max()
        found.append(max(float(error / (change + 1e-30)), 0.0))
    return found


@pytest.mark.parametrize("name", CASES)
def test_steps_with_lazy_regularization(name: str):
    """Two intervals of each regularization: losses, all weights, the mean style and the mean path length."""
    settings, shape = CASES[name]
    recipe = StyleGAN2(**SMALL, **settings)
    learner = assembled(recipe, shape, backend="reference", dtype="float64")
    twin, rng = Twin(learner, recipe), np.random.default_rng(5)
    for _ in range(3):
        real, condition, _ = given = batch(recipe, shape, rng)
        expected = twin.step(real, condition, rng)
        values = learner.step(iter([given]), rng)
        for key, value in expected.items():
            assert float(getattr(values, key)) == pytest.approx(value, rel=1e-9, abs=1e-15), key
        for network, weights in ((learner.G, twin.G), (learner.D, twin.D)):
            for (path, p), w in zip(network.named_parameters(), weights, strict=True):
                np.testing.assert_allclose(p.value, w.detach().numpy(), rtol=1e-9, atol=1e-10, err_msg=path)
        mapping = learner.G.layers[0]
        np.testing.assert_allclose(mapping.w_avg.value, twin.w_avg, rtol=1e-9)
        assert float(mapping.path_length.value[0]) == pytest.approx(twin.path_length, rel=1e-9)


@pytest.mark.exhaustive
@pytest.mark.parametrize("settings", [{}, {"residual": True, "path_weight": 2.0, "mixing": 0.9, "mapping": 8}])
def test_a_step_at_full_width_in_float32(settings: dict[str, Any]):
    """19.9 and 20.7 million weights, moved by gradient descent: Adam's first step would only tell the signs."""
    how = {"condition": "none", "augment": "", "batch_size": N, "optimizer": "sgd", "lr": 1.0, "penalty_weight": 1.0}
    recipe = StyleGAN2.from_settings({"preset": "cifar10", **how, **settings})
    learner = assembled(recipe, (32, 32, 3), backend="cpu", dtype="float32")
    before = [[p.value.copy() for _, p in net.named_parameters()] for net in (learner.G, learner.D)]
    twin, rng = Twin(learner, recipe), np.random.default_rng(5)
    given = batch(recipe, (32, 32, 3), rng)
    expected = twin.step(given.real, None, rng)
    values = learner.step(iter([given]), rng)
    for key, value in expected.items():
        assert float(getattr(values, key)) == pytest.approx(value, rel=1e-3), key
    for network, old, weights in ((learner.G, before[0], twin.G), (learner.D, before[1], twin.D)):
        assert max(differences(network, old, weights)) < 0.04  # of the mapping's first layers; 0.001 in D
