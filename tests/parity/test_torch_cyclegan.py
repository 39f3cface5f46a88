"""A whole step of CycleGAN in PyTorch, by autograd as the paper's equations have it: its losses and all gradients.

PyTorch's networks are twins of minigan's. The generators' losses are written out from the paper (sections 3 and 5.2),
the discriminators' from its section 4, in the order of the authors' code: first the generators, then the
discriminators on detached fakes.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_twin import parameters, parameters_back, to_nchw, twin  # noqa: E402

from minigan.backends import Backend  # noqa: E402
from minigan.recipes import CycleGAN  # noqa: E402
from minigan.training import Sides  # noqa: E402

NAMES = ("G_AB", "G_BA", "D_A", "D_B")
SIZES = {"alike": (3, 3, 5.0), "of other channels": (1, 3, 0.0)}


def assembled(backend: Backend, a_channels: int, b_channels: int, identity: float):
    recipe = CycleGAN(width=3, blocks=2, d_width=2, a_channels=a_channels, identity=identity, pool=0)
    learner = recipe.assemble((24, 28, b_channels), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    for network in learner.networks.values():  # N(0, .02) would let every gradient of G be tiny
        network.arena.flat[...] *= 8
        network.arena.updated()
    return learner


def torch_step(twins, a, b, *, identity: float):
    """The losses, and the gradients of all four networks."""
    G_AB, G_BA, D_A, D_B = (twins[name] for name in NAMES)
    fake_b, fake_a = G_AB(a), G_BA(b)
    cycle = (G_BA(fake_b) - a).abs().mean() + (G_AB(fake_a) - b).abs().mean()
    same = (G_AB(b) - b).abs().mean() + (G_BA(a) - a).abs().mean() if identity else torch.zeros(())
    game = ((D_B(fake_b) - 1) ** 2).mean() + ((D_A(fake_a) - 1) ** 2).mean()
    g_loss = game + 10 * cycle + identity * same
    of_generators = [p for name in NAMES[:2] for p in parameters(twins[name])]
    gradients = list(torch.autograd.grad(g_loss, of_generators))
    d_loss = sum(
        0.5 * (((D(real) - 1) ** 2).mean() + (D(fake.detach()) ** 2).mean())
        for D, real, fake in ((D_A, a, fake_a), (D_B, b, fake_b))
    )
    of_judges = [p for name in NAMES[2:] for p in parameters(twins[name])]
    gradients += torch.autograd.grad(d_loss, of_judges)
    return [float(x.detach()) for x in (g_loss, d_loss / 2, cycle, same)], iter(gradients)


@pytest.mark.parametrize("case", SIZES)
def test_losses_and_all_gradients_are_those_of_autograd(host_backend: Backend, case: str):
    a_channels, b_channels, identity = SIZES[case]
    learner = assembled(host_backend, a_channels, b_channels, identity)
    rng = np.random.default_rng(1)
    a, b = (rng.uniform(-1, 1, (2, 24, 28, channels)) for channels in (a_channels, b_channels))
    twins = {name: twin(learner.networks[name]) for name in NAMES}
    expected_values, gradients = torch_step(twins, to_nchw(a), to_nchw(b), identity=identity)

    values = learner.step(iter([Sides(a, b)]), rng)

    found = [float(x) for x in (values.g_loss, values.d_loss, values.cycle, values.identity)]
    np.testing.assert_allclose(found, expected_values, rtol=1e-10)
    for name in NAMES:
        network, module = learner.networks[name], twins[name]
        expected = parameters_back(network, module, [next(gradients) for _ in parameters(module)])
        largest = max(np.abs(array).max() for array in expected.values())
        assert largest > 1e-4, name
        for key, parameter in network.named_parameters():
            actual = network.kernels.to_numpy(learner.grads[name][parameter])
            np.testing.assert_allclose(actual, expected[key], rtol=1e-7, atol=1e-10 * largest, err_msg=f"{name} {key}")
