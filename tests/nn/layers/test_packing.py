"""Packing: which example goes where, its gradients, and a GAN whose discriminator judges several at once."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError, ShapeError
from minigan.nn.gradcheck import check_backward, check_double_backward
from minigan.nn.layers import Conv2D, Dense, Flatten, Tanh
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Sequential
from minigan.recipes import MLP


def built(layer: Pack | Sequential, shape: tuple[int, ...], backend: Backend, *, dtype: str = "float64"):
    return layer.build(shape, backend=backend, dtype=dtype, rng=np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(4, 3, 2), (5,), (2, 2, 1)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_neighbors_are_joined_along_the_channels(backend: Backend, shape: tuple[int, ...], count: int):
    layer = built(Pack(count), shape, backend)
    x = np.random.default_rng(0).normal(size=(6, *shape))
    y, cache = layer.forward(backend.asarray(x), train=True)
    expected = np.concatenate([x[k::count] for k in range(count)], axis=-1)
    assert layer.output_shape == expected.shape[1:]
    np.testing.assert_array_equal(backend.to_numpy(y), expected)
    np.testing.assert_array_equal(backend.to_numpy(layer.backward(y, cache, grads=None)), x)
    assert layer.backward(y, cache, grads=None, need_dx=False) is None


def test_gradients_through_a_packed_network(reference: Backend):
    """Whose outputs are fewer than its inputs, nested ones too."""
    for layers in ([Pack(2)], [Sequential([Pack(2), Conv2D(3, 3)]), Tanh(), Pack(3), Flatten(), Dense(1)]):
        net = built(Sequential(layers), (3, 2, 2), reference)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(12, 3, 2, 2))
        checks = check_backward(net, x, rng=rng) + check_double_backward(net, x, rng=rng)
        assert [str(check) for check in checks if not check.passed] == []


def test_a_cotangent_for_each_output(reference: Backend):
    net = built(Sequential([Pack(2), Flatten(), Dense(1)], name="D"), (3,), reference)
    _, tape = net.forward(np.ones((6, 3)), train=True)
    assert (tape.inputs, tape.outputs) == (6, 3)
    with pytest.raises(ShapeError, match=r"expected dy of shape .* with N = 3"):
        net.backward(np.ones((6, 1)), tape, grads=None)


def test_a_batch_that_does_not_divide_is_refused(reference: Backend):
    with pytest.raises(ShapeError, match=r"Pack: joins 2 examples, got a batch of 5\. Use a multiple of 2\."):
        built(Pack(2), (3,), reference).forward(np.ones((5, 3)), train=True)
    with pytest.raises(ConfigError, match="count must be a positive integer, got 0"):
        Pack(0)


@pytest.mark.parametrize("shape", [(8, 8, 1), (2,)])
def test_a_packed_gan_trains(backend: Backend, shape: tuple[int, ...]):
    recipe = MLP(latent=3, hidden=8, pack=2, batch_size=6, loss="non-saturating", mse_weight=0.0)
    gan = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0))
    assert gan.D.input_shape == shape
    reals = np.random.default_rng(1).uniform(0, 1, (6, *shape))
    before = gan.to_dict()
    values = gan.step(iter([reals]), np.random.default_rng(2))
    assert all(np.isfinite(float(v)) for v in values)
    assert all((before[name] != array).any() for name, array in gan.to_dict().items() if name.endswith(".w"))
