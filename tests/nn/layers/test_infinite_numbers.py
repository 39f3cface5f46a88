"""Infinite numbers and NaN reach what they are part of, and no other group, pixel, channel or example."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Layer, LeakyReLU, ReLU
from minigan.nn.network import Sequential

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
IMAGE = (7, 6, 8)
LAYERS = {
    "in 4 groups": lambda kind, padding: kind(8, 3, groups=4, padding=padding),
    "depthwise": lambda kind, padding: kind(8, 3, groups=8, padding=padding),
    "dilated": lambda kind, padding: kind(8, 3, dilation=2, padding=padding),
    "dilated, in 4 groups": lambda kind, padding: kind(16, (3, 2), dilation=(2, 3), groups=4, padding=padding),
}


def built(layer: Layer, backend: Backend) -> Layer:
    return layer.build(IMAGE, backend=backend, dtype="float32", rng=np.random.default_rng(0))


def reached(values: np.ndarray) -> np.ndarray:
    """Where numbers are not finite."""
    return ~np.isfinite(values)


def moved(call, x: np.ndarray, place: tuple[int, ...]) -> np.ndarray:
    """Where results change if the finite number at that place does."""
    other = x.copy()
    other[place] += 100
    return np.abs(call(other) - call(x)) > 1e-3


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_what_an_infinite_number_of_a_grouped_or_dilated_convolution_reaches(
    host_backend: Backend, kind, name, bad, padding
):
    layer = built(LAYERS[name](kind, padding), host_backend)
    layer.w.value[...] = 0.5 + np.abs(layer.w.value)
    x = np.random.default_rng(1).normal(size=(3, *IMAGE)).astype(np.float32)
    dy = np.random.default_rng(2).normal(size=(3, *layer.output_shape)).astype(np.float32)

    def forward(x: np.ndarray) -> np.ndarray:
        return layer.forward(x, train=True)[0]

    def backward(dy: np.ndarray) -> np.ndarray:
        return layer.backward(dy, layer.forward(x, train=True)[1], grads=None)

    for call, values in ((forward, x), (backward, dy)):
        place = (1, 2, 1, 5)
        expected = moved(call, values, place)
        assert 0 < expected.sum() < expected.size / 3
        spoilt = values.copy()
        spoilt[place] = bad
        found = call(spoilt)
        np.testing.assert_array_equal(reached(found), expected)
        np.testing.assert_allclose(found[~expected], call(values)[~expected], rtol=1e-4, atol=1e-4)

    grads = layer.gradients()
    spoilt = x.copy()
    spoilt[1, 2, 1, 5] = bad
    layer.backward(dy, layer.forward(spoilt, train=True)[1], grads=grads)
    dw = np.asarray(grads[layer.w])
    of_transposed = kind is ConvTranspose2D
    groups, channel = layer.groups, 5
    width = 8 // groups
    seen = np.zeros(dw.shape, bool)
    if of_transposed:  # w is (R, S, K / groups, c)
        seen[..., channel] = True
    else:
        outputs = dw.shape[3] // groups
        group = channel // width
        seen[:, :, channel % width, group * outputs : (group + 1) * outputs] = True
    assert not (reached(dw) & ~seen).any()
    assert reached(dw).any()


@pytest.mark.parametrize("activation", [ReLU, LeakyReLU])
def test_a_fused_activation_keeps_an_infinite_number_in_its_group(host_backend: Backend, activation):
    x = np.random.default_rng(1).normal(size=(2, *IMAGE)).astype(np.float32)
    x[0, 3, 3, 1] = -np.inf
    found = []
    for fuse in (True, False):
        net = Sequential([Conv2D(8, 3, groups=4), activation()])
        net.build(IMAGE, backend=host_backend, rng=np.random.default_rng(0), fuse=fuse)
        found.append(net.forward(x, train=True)[0])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)
    assert np.isfinite(found[0][..., 2:]).all()
    assert np.isfinite(found[0][1]).all()


@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
@pytest.mark.parametrize("settings", [{}, {"stride": 2}], ids=str)
def test_an_infinite_image_reaches_no_other_image(backend: Backend, kind, settings):
    layer = kind(16, 4 if settings else 3, **settings)
    layer.build((8, 8, 16), backend=backend, dtype="float32", rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 8, 8, 16)).astype(np.float32)
    x[2, 4, 4, 3] = np.inf
    y, cache = layer.forward(backend.asarray(x), train=True)
    assert reached(backend.to_numpy(y)).any(axis=(1, 2, 3)).tolist() == [False, False, True, False, False]
    dx = layer.backward(y, cache, grads=None)
    assert not reached(np.delete(backend.to_numpy(dx), 2, axis=0)).any()


@pytest.mark.parametrize("width", [2, 80])
def test_an_infinite_row_reaches_no_other_row(backend: Backend, width: int):
    x = np.random.default_rng(1).normal(size=(70, 600)).astype(np.float32)
    x[41, 5] = np.inf
    for layer in (Dense(width), BatchNorm()):
        layer.build((600,), backend=backend, dtype="float32", rng=np.random.default_rng(0))
        y = backend.to_numpy(layer.forward(backend.asarray(x), train=False)[0])
        assert np.flatnonzero(reached(y).any(axis=1)).tolist() == [41]
