"""The networks from image to image: shapes, receptive fields, gradients, and the same numbers as PyTorch."""

import numpy as np
import pytest
from selection import few_quick

from minigan.backends import Backend
from minigan.errors import ConfigError, ShapeError
from minigan.nn.gradcheck import check_network
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dropout, InstanceNorm, Tanh
from minigan.nn.network import Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.unet import patch_discriminator, unet, unet_levels
from minigan.recipes import Denoise, Inpaint, Pix2Pix, Segment, SuperResolution

TINY = {
    "pix2pix": (Pix2Pix(width=2, d_width=2, dropout=0.25), (16, 16, 1)),
    "pix2pix, instance norm, oblong": (Pix2Pix(width=1, d_width=2, norm="instance"), (16, 32, 3)),
    "segment": (Segment(width=3, d_width=2, depth=3), (16, 16, 3)),
    "superres": (SuperResolution(width=2, d_width=2, blocks=1, factor=2), (16, 16, 1)),
    "superres, conditional": (SuperResolution(width=1, d_width=1, blocks=1, conditional=True), (16, 16, 1)),
    "denoise": (Denoise(width=2, d_width=2, depth=3), (16, 16, 1)),
    "inpaint": (Inpaint(width=1, d_width=2), (16, 16, 1)),
}


def item(recipe, shape, n=2, *, dtype="float64"):
    """A batch as the recipe's step takes it, of random images."""
    rng = np.random.default_rng(1)
    images = [rng.uniform(-1, 1, (n, *shape)).astype(dtype) for _ in range(2)]
    return recipe.batch(tuple(images) if recipe.default_data == "shapes" else images[0], rng)


# Others differ from these in nothing but layers, each of which is checked by itself.
@pytest.mark.parametrize("name", few_quick(TINY, ("pix2pix", "segment", "superres", "denoise")))
def test_every_gradient(reference: Backend, name: str):
    recipe, shape = TINY[name]
    learner = recipe.assemble(shape, backend=reference, dtype="float64", rng=np.random.default_rng(0))
    rng = np.random.default_rng(3)
    for network, x in learner.inputs(item(recipe, shape), rng):
        for _, p in network.named_parameters():  # the first weights are so small that hardly anything depends on x
            p.value[...] = rng.normal(0, 0.4, p.shape)
        network.arena.updated()
        checks = list(check_network(network, x, rng=rng))
        assert [str(check) for check in checks if not check.passed] == []


@pytest.mark.parametrize("name", TINY)
def test_a_step_on_one_image_trains_both_networks(backend: Backend, name: str):
    recipe, shape = TINY[name]
    learner = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0))
    assert learner.G.output_shape == learner.D.input_shape == shape
    assert learner.D.output_shape[-1] == 1
    before = learner.to_dict()
    values = learner.step(iter([item(recipe, shape, 1, dtype="float32")]), np.random.default_rng(0))
    assert all(np.isfinite(float(value)) for value in values)
    after = learner.to_dict()
    weights = [name for name in before if name.endswith(".w") and "optimizer" not in name]
    assert all((before[name] != after[name]).any() for name in weights)


@pytest.mark.parametrize(
    ("size", "levels"), [((256, 256), 8), ((512, 512), 8), ((64, 64), 6), ((96, 64), 5), ((12, 20), 2), ((28, 28), 2)]
)
def test_levels_of_a_unet(size: tuple[int, int], levels: int):
    assert unet_levels(size) == levels


@pytest.mark.parametrize("size", [(30, 30), (7, 8), (2, 4)])
def test_sizes_that_cannot_be_halved_twice(size: tuple[int, int]):
    with pytest.raises(ConfigError, match=rf"multiples of 4 .*got {size[0]}x{size[1]}\. Use `size=256`"):
        unet_levels(size)


def test_pix2pix_has_the_papers_layers(reference: Backend):
    recipe = Pix2Pix(width=2, d_width=2)
    G = recipe.generator((256, 256, 3)).build((256, 256, 3), backend=reference, rng=np.random.default_rng(0))
    encoder = [a.channels for _, a in G.walk() if type(a) is Conv2D]
    decoder = [a.channels for _, a in G.walk() if isinstance(a, ConvTranspose2D)]
    assert encoder == [2, 4, 8, 16, 16, 16, 16, 16]
    assert decoder == [16, 16, 16, 16, 8, 4, 2, 3]  # each twice as wide where a skip has joined it
    assert sum(isinstance(layer, Dropout) for _, layer in G.walk()) == 3
    assert sum(isinstance(layer, SkipConcat) for _, layer in G.walk()) == 7
    assert sum(isinstance(layer, BatchNorm) for _, layer in G.walk()) == 6 + 7  # not the first, not the innermost
    bottleneck = next(layer for _, layer in G.walk() if type(layer) is Conv2D and layer.output_shape[:2] == (1, 1))
    assert bottleneck.b is not None
    (source,) = recipe.pair((np.zeros((1, 256, 256, 3)), None), np.random.default_rng(0))[:1]
    assert source.shape == (1, *recipe.source_shape((256, 256, 3)))
    assert (recipe.lr, recipe.beta1, recipe.batch_size, recipe.l1) == (2e-4, 0.5, 1, 100)
    assert any(isinstance(layer, InstanceNorm) for layer in patch_discriminator(norm="instance"))


@pytest.mark.parametrize(("halvings", "field"), [(3, 70), (2, 34), (1, 16)])
def test_patches_have_the_papers_size(halvings: int, field: int):
    seen = 1
    for layer in reversed(patch_discriminator(halvings=halvings)):
        if isinstance(layer, Conv2D):
            seen = (seen - 1) * layer.stride[0] + layer.filter[0]
    assert seen == field


def test_what_is_no_norm_is_named():
    with pytest.raises(ConfigError, match=r"norm: expected one of batch, instance, got 'layer'"):
        unet(3, levels=3, norm="layer")


def test_known_pixels_stay(backend: Backend):
    recipe, shape = TINY["inpaint"]
    G = recipe.built_generator(shape, backend=backend, dtype="float32", rng=np.random.default_rng(0))
    batch = item(recipe, shape, 3, dtype="float32")
    y = backend.to_numpy(G.forward(backend.asarray(batch.source), train=True)[0])
    hole = batch.source[..., -1:] == 1
    assert hole.mean() == pytest.approx(0.4**2, abs=0.03)
    np.testing.assert_array_equal(np.where(hole, 0, y), np.where(hole, 0, batch.real))
    assert (y != batch.real)[hole].all()


def test_a_hole_is_filled_with_images_of_its_size(reference: Backend):
    network = Sequential([Inpainting([Conv2D(3, 3, stride=2), Tanh()])])
    with pytest.raises(ShapeError, match=r"expected inner layers that draw \(8, 8, 3\).*got \(4, 4, 3\)"):
        network.build((8, 8, 4), backend=reference, rng=np.random.default_rng(0))


# ---------------------------------------------------------------------------------------------- PyTorch


def torch_copy(torch, layers):
    """The same network of PyTorch's modules, with the same weights; U-Net levels as modules of their own."""
    nn = torch.nn

    class Skip(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return torch.cat([x, self.inner(x)], dim=1)

    def convolution(layer):
        transposed = isinstance(layer, ConvTranspose2D)
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        module = kind(layer.input_shape[-1], layer.channels, 4, layer.stride, 1, bias=layer.bias)
        # Ours is (R, S, C, K), and (R, S, K, c) transposed; PyTorch's (K, C, R, S), and (c, K, R, S).
        module.weight.data = torch.from_numpy(np.array(layer.w.value.transpose(3, 2, 0, 1)))
        if layer.bias:
            module.bias.data = torch.from_numpy(np.array(layer.b.value))
        return module

    modules = []
    for layer in layers:
        name = type(layer).__name__
        if isinstance(layer, Conv2D):
            modules.append(convolution(layer))
        elif name == "BatchNorm":
            module = nn.BatchNorm2d(layer.input_shape[-1])
            module.weight.data = torch.from_numpy(np.array(layer.gamma.value))
            module.bias.data = torch.from_numpy(np.array(layer.beta.value))
            modules.append(module)
        elif name == "SkipConcat":
            modules.append(Skip(torch_copy(torch, layer.inner.layers)))
        else:
            modules.append({"LeakyReLU": nn.LeakyReLU(0.2), "ReLU": nn.ReLU(), "Tanh": nn.Tanh()}[name])
    return nn.Sequential(*modules)


@pytest.mark.parametrize("which", ["U-Net", "patches"])
def test_the_same_numbers_as_pytorch(reference: Backend, which: str):
    torch = pytest.importorskip("torch")
    layers = unet(3, levels=5, width=2, dropout=0) if which == "U-Net" else patch_discriminator(width=2)
    rng = np.random.default_rng(0)
    net = Sequential(layers).build((32, 32, 3), backend=reference, dtype="float64", rng=rng)
    for _, p in net.named_parameters():
        p.value[...] = rng.normal(0, 0.3, p.shape)
    net.arena.updated()
    x = rng.normal(size=(2, 32, 32, 3))
    theirs_x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    # Dropout of rate 0 is left out of the copy.
    theirs = torch_copy(torch, list(_without_dropout(net))).double()
    expected = theirs(theirs_x)
    y, tape = net.forward(x, train=True, rng=rng)
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2), expected.detach().numpy(), rtol=1e-9, atol=1e-12)

    dy, grads = rng.normal(size=y.shape), net.gradients()
    dx = net.backward(dy, tape, grads=grads)
    expected.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(dx.transpose(0, 3, 1, 2), theirs_x.grad.numpy(), rtol=1e-7, atol=1e-10)
    ours = [grads[layer.w].transpose(3, 2, 0, 1) for _, layer in net.walk() if isinstance(layer, Conv2D)]
    convolutions = [m for m in theirs.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    for mine, module in zip(ours, convolutions, strict=True):
        np.testing.assert_allclose(mine, module.weight.grad.numpy(), rtol=1e-7, atol=1e-9)


def _without_dropout(network: Sequential):
    for layer in network.layers:
        if isinstance(layer, SkipConcat):
            layer.inner.layers = list(_without_dropout(layer.inner))
            layer.inner.plan(fuse=False)
        if not isinstance(layer, Dropout):
            yield layer
