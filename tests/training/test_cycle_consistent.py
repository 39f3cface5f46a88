"""The learner of CycleGAN: its gradients against finite differences, its pools, its refusals."""

import numpy as np
import pytest

from minigan.errors import ConfigError, DivergenceError, ShapeError
from minigan.losses import LeastSquares, RelativisticAverage
from minigan.nn import Adam, Conv2D, InstanceNorm, LeakyReLU, Sequential, Tanh
from minigan.nn.initializers import Normal
from minigan.training import CycleConsistent, FakePool, Learner, Sides
from minigan.training.learner import short_names

A, B = (5, 6, 3), (5, 6, 3)
INIT = Normal(0.4)


def network(name: str, shape, channels: int, backend, *, judge: bool = False, seed: int = 0) -> Sequential:
    inner = [Conv2D(4, 3, init=INIT), InstanceNorm(affine=False), LeakyReLU(0.3), Conv2D(channels, 3, init=INIT)]
    layers = inner if judge else [*inner, Tanh()]
    return Sequential(layers, name=name).build(shape, backend=backend, dtype="float64", rng=np.random.default_rng(seed))


def assembled(backend="reference", a=A, b=B, *, pools: int = 0, loss=None, **weights) -> CycleConsistent:
    nets = {
        "G_AB": network("G_AB", a, b[-1], backend, seed=1),
        "G_BA": network("G_BA", b, a[-1], backend, seed=2),
        "D_A": network("D_A", a, 1, backend, judge=True, seed=3),
        "D_B": network("D_B", b, 1, backend, judge=True, seed=4),
    }
    return CycleConsistent(
        *nets.values(),
        optimizers={name: Adam(net.arena, lr=1e-3) for name, net in nets.items()},
        loss=loss or LeastSquares(),
        pools=(FakePool(nets["G_BA"], size=pools), FakePool(nets["G_AB"], size=pools)) if pools else None,
        **weights,
    )


def sides(n: int = 2, a=A, b=B, seed: int = 5) -> Sides:
    rng = np.random.default_rng(seed)
    return Sides(rng.uniform(-1, 1, (n, *a)), rng.uniform(-1, 1, (n, *b)))


def generators_loss(learner: CycleConsistent, batch: Sides) -> float:
    """Equation 3 of the paper with the identity term, in terms of `forward` alone."""
    nets = learner.networks

    def run(name: str, x: np.ndarray) -> np.ndarray:
        return nets[name].forward(x, train=True)[0]

    value = 0.0
    for x, there, back, D in ((batch.a, "G_AB", "G_BA", "D_B"), (batch.b, "G_BA", "G_AB", "D_A")):
        fake = run(there, x)
        value += learner.adversarial * ((run(D, fake) - 1) ** 2).mean() / 2
        value += learner.cycle * np.abs(run(back, fake) - x).mean()
        target = batch.b if there == "G_AB" else batch.a
        value += learner.identity * np.abs(run(there, target) - target).mean()
    return float(value)


def judges_loss(learner: CycleConsistent, batch: Sides, fakes: dict[str, np.ndarray]) -> float:
    nets, value = learner.networks, 0.0
    for D, real in (("D_A", batch.a), ("D_B", batch.b)):
        on_real, on_fake = (nets[D].forward(x, train=True)[0] for x in (real, fakes[D]))
        value += ((on_real - 1) ** 2).mean() / 2 + (on_fake**2).mean() / 2
    return float(value)


@pytest.mark.parametrize(
    "weights", [{"cycle": 10.0, "identity": 5.0}, {"adversarial": 2.0, "cycle": 0.0, "identity": 0.0}]
)
def test_a_whole_step_has_the_gradients_of_finite_differences(reference, weights):
    learner, batch = assembled(reference, **weights), sides()
    fakes = {"D_B": learner.networks["G_AB"].forward(batch.a, train=True)[0]}
    fakes["D_A"] = learner.networks["G_BA"].forward(batch.b, train=True)[0]
    expected_g, expected_d = generators_loss(learner, batch), judges_loss(learner, batch, fakes)
    before = {name: net.arena.flat.copy() for name, net in learner.networks.items()}
    values = learner.step(iter([batch]), np.random.default_rng(0))
    assert float(values.g_loss) == pytest.approx(expected_g, rel=1e-12)
    assert float(values.d_loss) == pytest.approx(expected_d / 2, rel=1e-12)  # the mean of both
    gradients = {name: grads.flat.copy() for name, grads in learner.grads.items()}
    for name, net in learner.networks.items():
        net.arena.flat[...] = before[name]
        net.arena.updated()
    for name, net in learner.networks.items():
        loss = generators_loss if name.startswith("G") else lambda a, b: judges_loss(a, b, fakes)

        def value(flat: np.ndarray, net=net, loss=loss) -> float:
            net.arena.flat[...] = flat
            net.arena.updated()
            return loss(learner, batch)

        error = difference(value, before[name], gradients[name])
        assert error < 1e-6, f"{name}: {error:.1e}"
        value(before[name])


def difference(value, x: np.ndarray, gradient: np.ndarray, *, h: float = 1e-6) -> float:
    """The largest relative error of some directional derivatives."""
    rng, errors = np.random.default_rng(9), []
    for _ in range(6):
        v = rng.standard_normal(x.shape)
        slope = (value(x + h * v) - value(x - h * v)) / (2 * h)
        errors.append(abs(slope - gradient @ v) / max(abs(slope), 1e-3))
    return max(errors)


def test_all_networks_learn_and_the_cycle_closes():
    learner, rng = assembled(cycle=10.0, identity=0.0), np.random.default_rng(0)
    batch = sides()
    values = [learner.step(iter([batch]), rng) for _ in range(60)]
    assert float(values[-1].cycle) < 0.8 * float(values[0].cycle)
    assert all(optimizer.steps == 60 for optimizer in learner.optimizers.values())


def test_optimizers_and_rates_have_the_whole_names_of_networks_that_begin_alike():
    learner = assembled()
    assert list(learner.optimizers) == ["g_ab", "g_ba", "d_a", "d_b"]
    assert list(learner.rates()) == ["g_ab_lr", "g_ba_lr", "d_a_lr", "d_b_lr"]
    assert learner.generators == ("G_AB", "G_BA") and learner.G is learner.networks["G_AB"]
    assert "g_ab_optimizer" in repr(learner.memories)


def test_each_discriminator_learns_from_its_own_pool_of_earlier_fakes():
    learner, rng = assembled(pools=3), np.random.default_rng(0)
    for seed in range(12):
        learner.step(iter([sides(1, seed=seed)]), rng)
    first, second = (pool.fakes.copy() for pool in learner.pools.values())
    assert [pool.count for pool in learner.pools.values()] == [3, 3]
    assert not np.array_equal(first, second)
    assert {"d_a_pool", "d_b_pool"} < learner.memories.keys()
    other = assembled(pools=3)
    other.load_dict(learner.to_dict())
    one, two = (each.step(iter([sides(1, seed=99)]), np.random.default_rng(4)) for each in (learner, other))
    assert [float(x) for x in one] == [float(x) for x in two]


def test_a_step_that_diverges_leaves_all_networks_as_they_were():
    learner = assembled()
    before = {name: net.arena.flat.copy() for name, net in learner.networks.items()}
    bad = sides()
    bad.b[0, 0, 0, 0] = np.nan
    with pytest.raises(DivergenceError, match="not finite"):
        learner.step(iter([bad]), np.random.default_rng(0))
    for name, net in learner.networks.items():
        np.testing.assert_array_equal(net.arena.flat, before[name])


def test_what_does_not_fit_together_is_told():
    with pytest.raises(ConfigError, match=r"A are \(5, 6, 1\) and those of B \(5, 6, 3\). Set identity=0"):
        assembled(a=(5, 6, 1))
    assert assembled(a=(5, 6, 1), identity=0.0).random_batch(2, np.random.default_rng(0)).a.shape == (2, 5, 6, 1)
    with pytest.raises(ConfigError, match="RelativisticAverage compares real with fake images"):
        assembled(loss=RelativisticAverage())
    learner = assembled()
    nets = dict(learner.networks)
    with pytest.raises(ConfigError, match="one for each of G_AB, G_BA, D_A, D_B; D_B is missing"):
        CycleConsistent(*nets.values(), optimizers={}.fromkeys(("G_AB", "G_BA", "D_A")), loss=LeastSquares())
    odd = network("D_A", (4, 4, 3), 1, "reference", judge=True)
    optimizers = {name: Adam(net.arena, lr=1e-3) for name, net in {**nets, "D_A": odd}.items()}
    with pytest.raises(ShapeError, match=r"G_BA draws \(5, 6, 3\), D_A expects \(4, 4, 3\)"):
        CycleConsistent(nets["G_AB"], nets["G_BA"], odd, nets["D_B"], optimizers=optimizers, loss=LeastSquares())
    with pytest.raises(ConfigError, match=r"batches of A and of B: Sides\(a, b\)"):
        learner.step(iter([sides().a]), np.random.default_rng(0))


# ---------------------------------------------------------------------------------------------- any networks


class Idle(Learner):
    """A learner of any networks, which does nothing."""

    def step(self, batches, rng):
        raise NotImplementedError

    def inputs(self, batch, rng):
        raise NotImplementedError


def idle(*names: str, generators=()) -> Idle:
    nets = {name: network(name, A, 3, "reference") for name in names}
    return Idle({name: (net, Adam(net.arena, lr=1e-3)) for name, net in nets.items()}, generators=generators)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (("G", "D"), ["g", "d"]),  # as in files of every version
        (("encoder", "G"), ["e", "g"]),
        (("G_1", "G_2", "D"), ["g_1", "g_2", "d"]),
        (("Generator", "G", "D", "Encoder"), ["generator", "g", "d", "e"]),
    ],
)
def test_short_names_tell_all_networks_apart(names, short):
    assert list(short_names(names).values()) == short
    learner = idle(*names)
    assert list(learner.optimizers) == short
    for name in names:
        assert learner.optimizer_of(name).arena is learner.networks[name].arena
    heads = {key.partition(".")[0] for key in learner.to_dict()}
    assert heads == {*names, *(f"{name}_optimizer" for name in short)}
    other = idle(*names)
    for net in learner.networks.values():
        net.arena.flat[...] += 1
    other.load_dict(learner.to_dict())
    for name, net in learner.networks.items():
        np.testing.assert_array_equal(other.networks[name].arena.to_dict()["0.w"], net.arena.to_dict()["0.w"])


def test_the_networks_that_draw_are_named_or_begin_with_g():
    assert idle("D", "G_2", "G_1").generators == ("G_2", "G_1")
    assert idle("decoder", "judge").generators == ("decoder",)
    chosen = idle("G", "decoder", generators=("decoder",))
    assert chosen.generators == ("decoder",) and chosen.G is chosen.networks["decoder"]
    with pytest.raises(ConfigError, match="Idle has no network 'H' to draw samples: expected some of G, D"):
        idle("G", "D", generators=("G", "H"))
