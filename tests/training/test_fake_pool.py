"""The pool of earlier fakes: what D is shown, and that G's step still sees its own."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import CheckpointError, ConfigError
from minigan.nn.layers import Dense
from minigan.nn.network import Sequential
from minigan.recipes import MLP
from minigan.training.fake_pool import FakePool


def pool(backend: Backend, size: int) -> FakePool:
    G = Sequential([Dense(2)]).build((3,), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    return FakePool(G, size=size)


def batch(backend: Backend, first: int, n: int):
    """Fakes that can be told apart by their numbers."""
    return backend.asarray(np.repeat(np.arange(first, first + n, dtype=np.float64)[:, None], 2, axis=1))


def numbers(backend: Backend, fakes) -> list[int]:
    return backend.to_numpy(fakes)[:, 0].astype(int).tolist()


def test_it_collects_until_it_is_full(backend: Backend):
    p, rng = pool(backend, 10), np.random.default_rng(0)
    for first in (0, 6):
        fakes = batch(backend, first, 6)
        assert p.mix(fakes, rng) is fakes
    assert numbers(backend, p.fakes) == list(range(10))


@pytest.mark.parametrize(("size", "n"), [(10, 6), (10, 7), (3, 8), (50, 1)])
def test_then_half_of_a_batch_is_older_and_makes_room_for_new_ones(backend: Backend, size: int, n: int):
    p, rng = pool(backend, size), np.random.default_rng(0)
    p.mix(batch(backend, 0, size), rng)
    for step in range(1, 6):
        before, fakes = numbers(backend, p.fakes), batch(backend, 100 * step, n)
        shown, new = numbers(backend, p.mix(fakes, rng)), numbers(backend, fakes)
        assert new == list(range(100 * step, 100 * step + n))
        half = sum(number in before for number in shown)
        assert half in {min(n // 2, size), min((n + 1) // 2, size)}, "of an odd number, one more or not"
        assert shown[half:] == new[half:]
        assert set(shown[:half]) <= set(before)
        assert sorted(numbers(backend, p.fakes)) == sorted((set(before) - set(shown[:half])) | set(new[:half]))


def test_the_discriminator_learns_from_the_pool_and_the_generator_from_its_own(backend: Backend, monkeypatch):
    recipe = MLP(latent=3, hidden=4, fake_pool=8, mse_weight=0.0)
    gan = recipe.assemble((2,), backend=backend, rng=np.random.default_rng(0))
    shown, own = [], []
    d_step, g_step = gan.discriminator_step, gan.generator_step
    monkeypatch.setattr(
        gan, "discriminator_step", lambda x, fake, rng, **c: shown.append(fake) or d_step(x, fake, rng, **c)
    )
    monkeypatch.setattr(gan, "generator_step", lambda fake, *rest, **c: own.append(fake) or g_step(fake, *rest, **c))
    rng = np.random.default_rng(1)
    for _ in range(3):
        gan.step(iter([rng.normal(size=(8, 2))]), rng)
    assert shown[0] is own[0]
    older, drawn = backend.to_numpy(shown[1]), backend.to_numpy(own[1])
    np.testing.assert_array_equal(older[4:], drawn[4:])
    first = backend.to_numpy(own[0])
    assert all((first == fake).all(axis=1).any() for fake in older[:4])


def test_the_pool_comes_back(backend: Backend):
    one, two, rng = pool(backend, 6), pool(backend, 6), np.random.default_rng(0)
    one.mix(batch(backend, 0, 4), rng)
    saved = one.to_dict()
    one.mix(batch(backend, 10, 4), rng)
    two.load_dict(saved)
    assert two.count == 4
    two.mix(batch(backend, 10, 4), rng)
    assert numbers(backend, one.fakes) == numbers(backend, two.fakes)
    for wrong in ({}, saved | {"fakes": saved["fakes"][:5]}, saved | {"count": np.array([1.0])}):
        with pytest.raises(CheckpointError, match="a file: expected a pool of fakes"):
            two.load_dict(wrong, source="a file")
    assert two.count == 6


def test_a_pool_of_nothing_is_refused(reference: Backend):
    with pytest.raises(ConfigError, match=r"FakePool: size must be a positive integer, got 0\. Leave the pool out"):
        pool(reference, 0)
