"""The norms of a step's gradients, for each learner and each layer."""

import itertools

import numpy as np
import pytest

from minigan.backends import Backend, get_backend
from minigan.nn.optimizers import SGD, Clipping
from minigan.recipes import get_recipe
from minigan.training.gradient_norms import gradient_norms
from minigan.training.learner import Learner
from minigan.training.stepper import Stepper

SHAPE = (16, 16, 1)
CASES = {
    "sngan": {"width": 2},
    "vae": {"width": 2},
    "pix2pix": {"width": 2, "d_width": 2},
    "denoise": {"width": 2, "adversarial": 0},
}
SHOWN = {
    "sngan": {"G.0.Dense", "G.2.Residual.shortcut.0.Conv2D", "D.0.Residual.inner.0.SpectralNorm.Conv2D"},
    "vae": {"E.0.Conv2D"},
    "pix2pix": {"D.9.Conv2D"},
    "denoise": {"G.0.Residual.inner.20.Conv2D"},
}


def trained(name: str, backend: Backend, *, steps: int = 1) -> Learner:
    """A small learner after its first steps."""
    recipe = get_recipe(name).from_settings({"batch_size": 2, "steps": steps, **CASES[name]})
    learner = recipe.assemble(SHAPE, backend=backend, rng=np.random.default_rng(0))
    rng, data = np.random.default_rng(1), np.random.default_rng(2)

    def batch(_: int):
        images = data.uniform(-1, 1, (2, 2, *SHAPE)).astype(np.float32)
        return recipe.batch(tuple(images) if name == "pix2pix" else images[0], rng)

    stepper = Stepper(learner, map(batch, itertools.count()), rng)
    for _ in range(steps):
        stepper.step()
    stepper.check()
    return learner


@pytest.mark.parametrize("name", CASES)
def test_every_layer_with_weights_has_its_norm(fast_backend: Backend, name: str):
    learner = trained(name, fast_backend)
    norms = gradient_norms(learner)
    paths = [layer.path for net in learner.networks.values() for _, layer in net.walk() if layer.own_parameters]
    assert list(norms) == paths
    assert norms.keys() >= SHOWN[name]
    for network, grads in zip(learner.networks.values(), learner.grads.values(), strict=True):
        host = fast_backend.to_numpy(grads.flat).astype(np.float64)
        own = [norms[layer.path] for _, layer in network.walk() if layer.own_parameters]
        assert np.linalg.norm(own) == pytest.approx(np.linalg.norm(host), rel=1e-5)
        assert min(own) >= 0
        assert max(own) > 0
    layer = next(layer for _, layer in learner.G.walk() if len(layer.own_parameters) == 2)
    parts = [fast_backend.to_numpy(learner.grads["G"][p]).astype(np.float64).ravel() for p in layer.own_parameters]
    assert norms[layer.path] == pytest.approx(np.linalg.norm(np.concatenate(parts)), rel=1e-6)


def test_replayed_steps_leave_theirs(device: Backend):
    ours, reference = (gradient_norms(trained("sngan", b, steps=4)) for b in (device, get_backend("reference")))
    assert ours == pytest.approx(reference, rel=1e-6)


def test_they_are_taken_after_clipping(reference: Backend):
    learner = trained("vae", reference)
    for name, network in learner.networks.items():
        learner.optimizers[name[0].lower()] = SGD(network.arena, lr=0.1, clipping=Clipping(norm=1e-3))
    x = np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)).astype(np.float32)
    learner.step(iter([x]), np.random.default_rng(0))
    for letter in "EG":
        norms = [norm for path, norm in gradient_norms(learner).items() if path.startswith(letter)]
        assert np.linalg.norm(norms) == pytest.approx(1e-3, rel=1e-4)


def test_large_gradients_do_not_overflow(reference: Backend):
    learner = trained("vae", reference)
    learner.grads["G"].flat.fill(3e38)
    assert all(np.isfinite(norm) for norm in gradient_norms(learner).values())
