"""60 steps of the recipe `mlp` with each optimizer, schedule and clipping, compared with PyTorch's, in float64.

The moving average of G's weights is compared with PyTorch's `AveragedModel`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_torch_training import BATCH, IMAGE, batches, bce, copy_weights, mlp_networks, noise_generator  # noqa: E402
from torch import nn  # noqa: E402
from torch.optim.swa_utils import AveragedModel  # noqa: E402
from torch_twin import parameters_back, tensor, to_nchw  # noqa: E402

from minigan.backends import Backend  # noqa: E402
from minigan.recipes import MLP  # noqa: E402

STEPS = 60
RATES = {"lr": 1e-3, "d_lr": 2e-3}
COMMON = {
    "batch_size": BATCH,
    "instance_noise": 0.0,
    "loss": "non-saturating",
    "mse_weight": 0.0,
    "steps": STEPS,
    "ema": 0.9,
    **RATES,
}

Rate = Callable[[int], float]  # step -> factor of the rate
CASES: dict[str, tuple[dict[str, Any], Callable[..., torch.optim.Optimizer], Rate]] = {
    "adamw, cosine": (
        {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine"},
        lambda w, lr: torch.optim.AdamW(w, lr=lr, betas=(0.5, 0.999), weight_decay=0.1),
        lambda step: (1 + np.cos(np.pi * step / STEPS)) / 2,
    ),
    "rmsprop, weights clipped, exponential": (
        {"optimizer": "rmsprop", "clip_weights": 0.05, "schedule": "exponential", "decay_every": 20},
        lambda w, lr: torch.optim.RMSprop(w, lr=lr, alpha=0.99, eps=1e-8),
        lambda step: 0.5 ** (step / 20),
    ),
    "sgd, gradients clipped, linear": (
        {"optimizer": "sgd", "momentum": 0.9, "clip_value": 1e-3, "schedule": "linear", "decay_from": 30},
        lambda w, lr: torch.optim.SGD(w, lr=lr, momentum=0.9),
        lambda step: min(1.0, 2 - step / 30),
    ),
}


def scheduled(make: Callable[..., torch.optim.Optimizer], network: nn.Module, lr: float, rate: Rate):
    optimizer = make(network.parameters(), lr)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def share(old: torch.Tensor, new: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    t = int(count) - 1  # PyTorch's first call copies
    return old.lerp(new, 1 - min(0.9, (1 + t) / (10 + t)))


@pytest.mark.parametrize("name", CASES)
def test_training_beside_pytorch(reference: Backend, name: str):
    settings, make, rate = CASES[name]
    recipe = MLP(**COMMON, **settings)
    gan = recipe.assemble(IMAGE, backend=reference, dtype="float64", rng=np.random.default_rng(0))
    average = recipe.moving_averages(gan, seed=0)["G"]
    G, D = (network.double() for network in mlp_networks())
    copy_weights(gan.G, G)
    copy_weights(gan.D, D)
    their_average = AveragedModel(G, avg_fn=share)
    their_average.update_parameters(G)
    g_optimizer, g_schedule = scheduled(make, G, recipe.lr, rate)
    d_optimizer, d_schedule = scheduled(make, D, recipe.d_lr, rate)

    ours, theirs = [], []
    (reals, rng), (their_reals, their_rng) = ((batches("mlp", "float64"), noise_generator()) for _ in range(2))
    for _ in range(STEPS):
        values = gan.step(reals, rng)
        average.update()
        ours.append((float(values.d_loss), float(values.g_loss)))

        real, z = to_nchw(next(their_reals)), tensor(their_rng.standard_normal((BATCH, 100)))
        fake = G(z)
        D.zero_grad()
        d_loss = bce(D(real), 1.0) + bce(D(fake.detach()), 0.0)
        d_loss.backward()
        update(d_optimizer, d_schedule, D, recipe.clip_value)
        if recipe.clip_weights:
            with torch.no_grad():
                for p in D.parameters():
                    p.clamp_(-recipe.clip_weights, recipe.clip_weights)
        G.zero_grad()
        g_loss = bce(D(fake), 1.0)
        g_loss.backward()
        update(g_optimizer, g_schedule, G, recipe.clip_value)
        their_average.update_parameters(G)
        theirs.append((d_loss.item(), g_loss.item()))

    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    for network, module in ((gan.G, G), (gan.D, D), (average.network, their_average.module)):
        expected = parameters_back(network, module, [p.detach() for p in module.parameters()])
        for key, array in network.arena.to_dict().items():
            np.testing.assert_allclose(array, expected[key], rtol=1e-6, atol=1e-9, err_msg=key)


def update(optimizer: torch.optim.Optimizer, schedule: Any, network: nn.Module, clip_value: float) -> None:
    if clip_value:
        torch.nn.utils.clip_grad_value_(network.parameters(), clip_value)
    optimizer.step()
    schedule.step()
