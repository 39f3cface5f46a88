"""G trained alone: its step, what it refuses, and what it says of numbers that are not finite."""

from dataclasses import replace

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError, DivergenceError, MiniganError
from minigan.losses import l1, mse
from minigan.nn.gradcheck import check_gradient
from minigan.nn.layers import BatchNorm, Conv2D, Tanh
from minigan.nn.network import Sequential
from minigan.nn.optimizers import SGD, Adam
from minigan.recipes import Pix2Pix
from minigan.training.batch import Batch
from minigan.training.generator_term import GeneratorTerm
from minigan.training.supervised import Supervised


def learner(backend: Backend, dtype="float64", *, optimizer=Adam, lr=0.01) -> Supervised:
    G = Sequential([Conv2D(3, 3), BatchNorm(), Tanh(), Conv2D(1, 3)], name="G")
    G.build((6, 6, 2), backend=backend, dtype=dtype, rng=np.random.default_rng(0))
    terms = [GeneratorTerm(3.0, l1), GeneratorTerm(0.5, mse)]
    return Supervised(G, terms=terms, optimizer=optimizer(G.arena, lr=lr))


def batch() -> Batch:
    rng = np.random.default_rng(1)
    return Batch(rng.uniform(-1, 1, (4, 6, 6, 1)), source=rng.normal(size=(4, 6, 6, 2)))


def test_all_gradients_of_a_step(reference: Backend):
    one = learner(reference, optimizer=SGD, lr=1e-300)  # moves nothing

    def value() -> float:
        y, _ = one.G.forward(batch().source, train=True)
        difference = y - batch().real
        return float(3 * np.abs(difference).mean() + 0.5 * (difference**2).mean())

    values = one.step(iter([batch()]), np.random.default_rng(0))
    assert values.g_loss == pytest.approx(value(), rel=1e-12)
    assert values.headline() == {"G": values.g_loss}
    checks = [
        check_gradient(value, p.value, one.grads["G"][p], path="G", what=name, rng=np.random.default_rng(0), scale=5.0)
        for name, p in one.G.named_parameters()
    ]
    assert [str(check) for check in checks if not check.passed] == []


def test_it_learns(backend: Backend):
    one = learner(backend, "float32")
    losses = [float(one.step(iter([batch()]), np.random.default_rng(0)).g_loss) for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]
    assert (one.G.state.flat != 0).any()
    assert one.rates() == {"g_lr": 0.01}
    assert one.networks == {"G": one.G}


def test_going_back(reference: Backend):
    one, other = learner(reference), learner(reference)
    for _ in range(3):
        one.step(iter([batch()]), np.random.default_rng(0))
    kept = one.to_dict()
    other.load_dict(kept)
    for each in (one, other):
        each.step(iter([batch()]), np.random.default_rng(0))
    for name, array in one.to_dict().items():
        np.testing.assert_array_equal(other.to_dict()[name], array, err_msg=name)
    before = one.to_dict()
    with pytest.raises(MiniganError):
        one.load_dict({name: array for name, array in kept.items() if not name.startswith("g_optimizer")})
    for name, array in one.to_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_what_is_not_finite_is_named_and_costs_nothing(reference: Backend):
    one, bad = learner(reference), batch()
    before = one.to_dict()
    bad.source[0, 0, 0, 0] = np.nan
    with pytest.raises(DivergenceError, match="the input of G is not finite"), np.errstate(all="ignore"):
        one.step(iter([bad]), np.random.default_rng(0))
    far = replace_real(batch(), 1e200)
    with pytest.raises(DivergenceError, match=r"the loss of G is not finite"), np.errstate(all="ignore"):
        one.step(iter([far]), np.random.default_rng(0))
    for name, array in one.to_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def replace_real(b: Batch, value: float) -> Batch:
    return b._replace(real=np.full_like(b.real, value))


def test_what_does_not_fit(reference: Backend):
    one = learner(reference)
    with pytest.raises(ConfigError, match="at least one term"):
        Supervised(one.G, terms=[], optimizer=one.optimizers["g"])
    with pytest.raises(ConfigError, match="must update G's arena"):
        Supervised(one.G, terms=one.terms, optimizer=learner(reference).optimizers["g"])
    with pytest.raises(ConfigError, match="expects batches with a source"):
        one.step(iter([Batch(batch().real)]), np.random.default_rng(0))


def test_without_its_part_in_the_game_g_is_trained_alone(reference: Backend):
    recipe = Pix2Pix(width=2, d_width=2)
    alone = replace(recipe, adversarial=0.0).assemble((16, 16, 3), backend=reference, rng=np.random.default_rng(0))
    both = recipe.assemble((16, 16, 3), backend=reference, rng=np.random.default_rng(0))
    assert isinstance(alone, Supervised)
    np.testing.assert_array_equal(alone.G.arena.flat, both.G.arena.flat)
    assert alone.terms == both.generator_terms == (GeneratorTerm(100.0, l1),)
