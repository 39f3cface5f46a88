"""The ledger's count of what a default autograd engine runs, compared with PyTorch's counter on PyTorch's own step."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from torch_twin import to_nchw, twin  # noqa: E402

from minigan.inspection.real_step import RealStep, step_of_recipe  # noqa: E402
from minigan.inspection.step_ledger import measured_ledger  # noqa: E402
from minigan.recipes import DCGAN, MLP, SNGAN, VAE, Recipe  # noqa: E402

BATCH = 4
SMALL = {"batch_size": BATCH, "condition": "none"}


def slopes(D: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The square of D's slope at each x, differentiable."""
    x = x.detach().clone().requires_grad_().clone()  # the counter does not bear a leaf here
    (dx,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return dx.square().flatten(1).sum(dim=1)


def pytorch_step(step: RealStep, penalty: bool) -> None:
    """As PyTorch's DCGAN example has it; the penalty as the WGAN-GP programs have it."""
    learner = step.state.learner
    G, D = twin(learner.G), twin(learner.D)
    z = learner.noise(step.state.rng, BATCH).astype("float32")
    real = to_nchw(_images(step))
    fake = G(to_nchw(z))
    D(real).mean().backward()
    D(fake.detach()).mean().backward()
    if penalty:
        slopes(D, real).mean().backward()
    D(fake).mean().backward()


def _images(step: RealStep):
    batch = next(step._batches())
    return getattr(batch, "real", batch).astype("float32")


CASES = {
    "dcgan": (DCGAN(width=2, mapping=0, head=0, **SMALL), False),
    "mlp": (MLP(hidden=8, **SMALL), False),
    "piecewise linear with penalty": (
        DCGAN(width=2, mapping=0, head=0, d_norm="none", penalty="wgan-gp", **SMALL),
        True,
    ),
    "smooth with penalty": (DCGAN(width=2, mapping=0, head=0, d_norm="batch", penalty="r1", **SMALL), True),
    "residual": (SNGAN(width=4, n_critic=1, **SMALL), False),
    "residual with penalty": (SNGAN(width=4, n_critic=1, penalty="r1", **SMALL), True),
    "dense with penalty": (MLP(hidden=8, penalty="r1", **SMALL), True),
}


@pytest.mark.parametrize("name", CASES)
def test_a_default_engine_runs_what_pytorch_counts(name):
    """Convolutions and fully connected layers, which both count alike; the counter knows no others of these."""
    recipe, penalty = CASES[name]
    with step_of_recipe(recipe, backend="reference", data=None) as step:
        totals = measured_ledger(step, limits=False, rounds=(1, 1)).totals()
        with FlopCounterMode(display=False) as counter:
            pytorch_step(step, penalty)
    assert counter.get_total_flops() == totals.default_products
    assert totals.run_products < totals.default_products


def test_an_autoencoder_leaves_nothing_out_that_pytorch_runs():
    recipe: Recipe = VAE(width=2, **SMALL)
    with step_of_recipe(recipe, backend="reference", data=None) as step:
        totals = measured_ledger(step, limits=False, rounds=(1, 1)).totals()
        learner = step.state.learner
        encoder, G = twin(learner.encoder), twin(learner.G)
        with FlopCounterMode(display=False) as counter:
            code = encoder(to_nchw(_images(step)))
            G(code[:, : code.shape[1] // 2]).mean().backward()
    assert counter.get_total_flops() == totals.default_products == totals.run_products
