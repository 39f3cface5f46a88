"""Output skips and StyleGAN2's synthesis: their sum by hand, gradients in both orders, sizes, and what a run needs."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError, ShapeError
from minigan.nn.gradcheck import check_backward, check_double_backward
from minigan.nn.layers import Conv2D, FIRUpSampling2D, Modulated, NoiseInjection, Tanh, UpSampling2D
from minigan.nn.network import Sequential
from minigan.nn.network.mapping import MappingNetwork
from minigan.nn.network.stylegan import mapping_layers, widths
from minigan.nn.network.synthesis import OutputSkips, synthesis_network


def weighted(net, *, seed: int = 0):
    """Numbers that hide nothing: the noise's strengths and many biases start at 0."""
    for name, p in net.named_parameters():
        size = 100 if name.startswith("0.") else 0.3 if "affine" in name else 1  # a mapping has .01 of the rate
        p.value[...] = net.kernels.asarray(np.random.default_rng(seed + p.size).normal(0, size, p.shape))
    net.arena.updated()
    return net


def generator(backend: Backend, *, size=(8, 8), channels: int = 3, dtype: str = "float64"):
    synthesis = synthesis_network(size, channels, widths(16, 3), features=5)
    mapping = MappingNetwork(mapping_layers(2, 5), rows=synthesis.rows)
    return Sequential([mapping, synthesis], name="G").build(
        (6,), backend=backend, dtype=dtype, rng=np.random.default_rng(0)
    )


@pytest.mark.parametrize("enlarge", [FIRUpSampling2D, lambda: Sequential([UpSampling2D(2), Tanh()])])
def test_skips_are_the_formula_with_its_gradients(host_backend: Backend, enlarge):
    stages = [([Conv2D(2, 3), Tanh()], [Conv2D(1, 1), Tanh()]), ([UpSampling2D(2), Tanh()], [Conv2D(1, 3)])]
    net = OutputSkips(stages, enlarge=enlarge)
    net.build((3, 4, 2), backend=host_backend, dtype="float64", rng=np.random.default_rng(0))
    x, rng = np.random.default_rng(1).normal(size=(2, 3, 4, 2)), np.random.default_rng(2)
    y, _ = net.forward(x, train=True)
    h, _ = net.blocks[0].forward(x, train=True)
    first, _ = net.outputs[0].forward(h, train=True)
    enlarged, _ = net.ups[0].forward(first, train=True)
    second, _ = net.outputs[1].forward(net.blocks[1].forward(h, train=True)[0], train=True)
    np.testing.assert_allclose(y, enlarged + second, rtol=1e-12)
    checks = check_backward(net, x, rng=rng) + check_double_backward(net, x, rng=rng)
    assert [str(check) for check in checks if not check.passed] == []
    assert net.backward(y, net.forward(x, train=True)[1], grads=net.gradients(), need_dx=False) is None


def test_skips_of_other_sizes_are_refused():
    with pytest.raises(ConfigError, match="expected at least one stage, got none"):
        OutputSkips([])
    net = OutputSkips([([Conv2D(2, 3)], [Conv2D(1, 1)]), ([Conv2D(2, 3)], [Conv2D(1, 1)])])
    with pytest.raises(ShapeError, match=r"stage 1's image \(4, 4, 1\) to the one before, enlarged to \(8, 8, 1\)"):
        net.build((4, 4, 2), backend="reference", rng=np.random.default_rng(0))


def test_a_generator_with_styles_has_both_orders_right(host_backend: Backend):
    G, rng = weighted(generator(host_backend, size=(8, 16))), np.random.default_rng(1)
    x = rng.normal(size=(2, 6))
    checks = check_backward(G, x, rng=rng) + check_double_backward(G, x, rng=rng)
    assert [str(check) for check in checks if not check.passed] == []


def test_each_layer_has_a_row_and_the_image_shares_the_next_layers(backend: Backend):
    """8 pixels: 4x4 has a layer and an image, 8x8 two layers and an image."""
    synthesis = synthesis_network((8, 8), 3, widths(16, 3), features=5)
    rows = [layer.row for _, layer in synthesis.walk() if isinstance(layer, Modulated)]
    assert synthesis.rows == 4
    assert rows == [0, 1, 1, 2, 3]
    net = Sequential([synthesis]).build((4, 5), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    weighted(net)
    styles = np.random.default_rng(1).normal(size=(1, 4, 5))
    coarse, _ = net.forward(backend.asarray(styles), train=False)
    styles[:, 3] = 0  # of the last image alone
    fine, _ = net.forward(backend.asarray(styles), train=False)
    assert np.abs(backend.to_numpy(fine - coarse)).max() > 1e-3


def test_parameters_are_as_many_as_published():
    """The small configuration at 32x32: 19.9 million, 2 layers of mapping among them."""
    synthesis = synthesis_network((32, 32), 3, widths(32768, 512), features=512)
    G = Sequential([MappingNetwork(mapping_layers(2, 512), rows=synthesis.rows), synthesis])
    G.setup((512,), "G")
    assert synthesis.rows == 8
    assert sum(p.size for _, p in G.named_parameters()) == 19_947_539


def test_images_begin_as_large_as_others(backend: Backend):
    G = generator(backend, size=(16, 16), dtype="float32")
    z = backend.asarray(np.random.default_rng(1).standard_normal((16, 6)), dtype=np.dtype(np.float32))
    y = backend.to_numpy(G.forward(z, train=True, rng=np.random.default_rng(2))[0])
    assert y.shape == (16, 16, 16, 3)
    assert 0.1 < y.std() < 4


@pytest.mark.parametrize("size", [(4, 4), (12, 12), (32, 36), (8, 4), (20, 20)])
def test_other_sizes_are_refused(size):
    with pytest.raises(ConfigError, match=r"a synthesis network doubles images of 4 pixels: .* got \d+x\d+"):
        synthesis_network(size, 3, widths(64, 16), features=8)


# ---------------------------------------------------------------------------------------- noise


def test_noise_is_drawn_in_training_and_one_image_in_evaluation(backend: Backend):
    layer = NoiseInjection().build((2, 3, 4), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    x = backend.asarray(np.random.default_rng(1).normal(size=(5, 2, 3, 4)))
    assert (backend.to_numpy(layer.forward(x, train=True, rng=np.random.default_rng(2))[0] - x) == 0).all()
    layer.strength.value[...] = 2.0
    layer.arena.updated()
    y, _ = layer.forward(x, train=True, rng=np.random.default_rng(2))
    n = np.random.default_rng(2).standard_normal((5, 2, 3, 1))
    np.testing.assert_allclose(backend.to_numpy(y), backend.to_numpy(x) + 2 * n, rtol=1e-12)
    y, _ = layer.forward(x, train=False)
    fixed = backend.to_numpy(y - x)
    np.testing.assert_allclose(fixed, 2 * np.broadcast_to(backend.to_numpy(layer.noise.value), fixed.shape), atol=1e-12)
    assert fixed.std() > 0.5
    with pytest.raises(ConfigError, match="expected an rng in training, got none"):
        layer.forward(x, train=True)
    quiet = synthesis_network((8, 8), 3, widths(16, 3), features=5, noise=False)
    assert not any(isinstance(layer, NoiseInjection) for _, layer in quiet.walk())


def test_a_generator_of_one_style_draws_one_picture(backend: Backend):
    G = weighted(generator(backend))
    z = backend.asarray(np.random.default_rng(1).normal(size=(2, 6)))
    first, again = (backend.to_numpy(G.forward(z, train=False)[0]) for _ in range(2))
    assert (first == again).all()
    one = backend.to_numpy(G.forward(z[:1], train=False)[0])
    np.testing.assert_allclose(one, first[:1], rtol=1e-9, atol=1e-9)
    drawn = [backend.to_numpy(G.forward(z, train=True, rng=np.random.default_rng(s))[0]) for s in (1, 1, 2)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()
