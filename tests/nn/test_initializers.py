"""How weights start."""

import numpy as np
import pytest

from minigan.errors import ConfigError
from minigan.nn.initializers import (
    INITIALIZERS,
    Constant,
    GlorotUniform,
    HeNormal,
    Initializer,
    Normal,
    Orthogonal,
    fans,
    get_initializer,
)
from minigan.nn.layers import Conv2D, Dense, Flatten
from minigan.nn.network import Sequential

SHAPE = (5, 3, 40, 60)  # (R, S, C, K): fan in 600, fan out 900


def draw(initializer: Initializer, shape: tuple[int, ...] = SHAPE, *, seed: int = 0) -> np.ndarray:
    return initializer(np.random.default_rng(seed), shape)


def test_fans():
    assert fans((100, 128)) == (100, 128)
    assert fans(SHAPE) == (5 * 3 * 40, 5 * 3 * 60)


def test_normal():
    numbers = draw(Normal(std=0.02, mean=1.0))
    assert abs(numbers.mean() - 1) < 5 * 0.02 / numbers.size**0.5
    assert abs(numbers.std() / 0.02 - 1) < 0.02


def test_constant():
    assert (draw(Constant(3.5)) == 3.5).all()


def test_glorot_uniform():
    numbers = draw(GlorotUniform())
    limit = (6 / (600 + 900)) ** 0.5
    assert abs(numbers).max() <= limit
    assert abs(numbers).max() > 0.99 * limit
    assert abs(numbers.std() / (2 / 1500) ** 0.5 - 1) < 0.02
    assert abs(numbers.mean()) < 5 * limit / numbers.size**0.5


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_he_normal(slope: float):
    numbers = draw(HeNormal(slope=slope))
    assert abs(numbers.std() / (2 / ((1 + slope**2) * 600)) ** 0.5 - 1) < 0.02
    assert abs(numbers.mean()) < 5 * numbers.std() / numbers.size**0.5


def test_he_normal_keeps_the_size_of_activations():
    """The purpose of the initializer: through many layers with LeakyReLU the mean square neither grows nor dies."""
    x = np.random.default_rng(0).normal(size=(200, 256))
    for layer in range(20):
        y = x @ draw(HeNormal(slope=0.2), (256, 256), seed=layer)
        x = np.where(y > 0, y, 0.2 * y)
    assert 0.3 < (x**2).mean() < 3


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (20, 20), (3, 2, 4, 5), (2, 2, 3, 40), (7, 1), (1, 7)])
def test_orthogonal(shape: tuple[int, ...]):
    w = draw(Orthogonal(gain=3.0), shape).reshape(-1, shape[-1]) / 3
    gram = w.T @ w if len(w) >= shape[-1] else w @ w.T
    np.testing.assert_allclose(gram, np.eye(min(w.shape)), atol=1e-12)


def test_orthogonal_matrices_are_uniform():
    """The mean over all of them is zero in each place; without the sign's correction the diagonal's is not."""
    matrices = np.array([draw(Orthogonal(), (3, 3), seed=seed) for seed in range(2000)])
    assert abs(matrices.mean(axis=0)).max() < 5 * (1 / 3) ** 0.5 / 2000**0.5


def test_orthogonal_keeps_the_length_of_what_passes_through():
    x = np.random.default_rng(0).normal(size=(10, 64))
    y = x
    for layer in range(50):
        y = y @ draw(Orthogonal(), (64, 64), seed=layer)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-12)


def test_names():
    assert get_initializer("orthogonal") == Orthogonal()
    assert get_initializer("normal") == Normal(std=0.02)
    with pytest.raises(ConfigError, match="unknown initializer 'saxe': expected one of normal, orthogonal, he, glorot"):
        get_initializer("saxe")
    assert set(INITIALIZERS) == {"normal", "orthogonal", "he", "glorot"}


@pytest.mark.parametrize("initializer", [Normal(), Constant(1), GlorotUniform(), HeNormal(), Orthogonal()])
def test_numbers_are_float64_of_the_shape_and_repeat(initializer: Initializer):
    numbers = draw(initializer, (3, 2, 4, 5))
    assert numbers.shape == (3, 2, 4, 5)
    assert numbers.dtype == np.float64
    assert (numbers == draw(initializer, (3, 2, 4, 5))).all()
    random = not isinstance(initializer, Constant)
    assert (numbers != draw(initializer, (3, 2, 4, 5), seed=1)).any() == random


def test_one_seed_starts_float32_and_float64_from_the_same_weights():
    nets = {}
    for dtype in ("float32", "float64"):
        net = Sequential([Conv2D(3, 3, init=HeNormal()), Flatten(), Dense(2)])
        nets[dtype] = net.build((4, 4, 2), backend="reference", dtype=dtype, rng=np.random.default_rng(0)).arena.flat
    assert (nets["float32"] == nets["float64"].astype(np.float32)).all()
    assert nets["float64"].any()


def test_biases_start_at_zero():
    net = Sequential([Conv2D(3, 3), Flatten(), Dense(2)])
    net.build((4, 4, 2), backend="reference", rng=np.random.default_rng(0))
    arrays = net.arena.to_dict()
    assert not arrays["0.b"].any()
    assert not arrays["2.b"].any()
    assert arrays["0.w"].all()
    assert arrays["2.w"].all()
