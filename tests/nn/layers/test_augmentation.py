"""Augmentation compared with the authors' formulas in PyTorch, its ranges, and whole training steps through it.

That its backward and double backward are right is tested with all other layers, in `layers/`.
"""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError, ShapeError
from minigan.nn.gradcheck import check_gradient
from minigan.nn.layers.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Color,
    ColorMaps,
    Cutout,
    Flip,
    QuarterTurns,
    Translation,
    augmentations,
)
from minigan.nn.network import Sequential
from minigan.recipes import DCGAN

every_augmentation = pytest.mark.parametrize("kind", AUGMENTATIONS.values(), ids=AUGMENTATIONS.keys())


def built(layer: Augmentation, shape: tuple[int, int, int], backend: Backend) -> Augmentation:
    return layer.build(shape, backend=backend, dtype="float64", rng=np.random.default_rng(0))


def images(n: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (n, *shape))


# ---------------------------------------------------------------------------------------------- PyTorch's side


def torch_color(x, maps: ColorMaps):
    """x (N, C, H, W)."""
    torch = pytest.importorskip("torch")
    brightness, saturation, contrast = (torch.from_numpy(np.array(m)) for m in maps)
    x = x + brightness
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * saturation + mean
    mean = x.mean(dim=[1, 2, 3], keepdim=True)
    return (x - mean) * contrast + mean


def torch_translation(x, shifts: np.ndarray):
    """By reading an image with a border of zeros at clamped places."""
    torch = pytest.importorskip("torch")
    N, _, H, W = x.shape
    down, right = (torch.from_numpy(shifts[:, axis]).reshape(N, 1, 1) for axis in (0, 1))
    image, row, column = torch.meshgrid(torch.arange(N), torch.arange(H), torch.arange(W), indexing="ij")
    row, column = (row - down + 1).clamp(0, H + 1), (column - right + 1).clamp(0, W + 1)
    padded = torch.nn.functional.pad(x, [1, 1, 1, 1])
    return padded.permute(0, 2, 3, 1)[image, row, column].permute(0, 3, 1, 2)


def torch_cutout(x, corners: np.ndarray):
    torch = pytest.importorskip("torch")
    N, _, H, W = x.shape
    mask = torch.ones(N, 1, H, W, dtype=x.dtype)
    for n, (top, bottom, left, right) in enumerate(corners.tolist()):
        mask[n, :, top:bottom, left:right] = 0
    return x * mask


@pytest.mark.parametrize("shape", [(8, 16, 3), (9, 5, 1), (16, 16, 3)])
@pytest.mark.parametrize(
    ("kind", "twin"), [(Color, torch_color), (Translation, torch_translation), (Cutout, torch_cutout)]
)
def test_outputs_and_gradients_are_pytorchs(backend: Backend, kind: type[Augmentation], twin, shape):
    torch = pytest.importorskip("torch")
    layer, n = built(kind(), shape, backend), 32
    x, dy = images(n, shape), np.random.default_rng(2).normal(size=(n, *shape))
    y, cache = layer.forward(backend.asarray(x), train=True, rng=np.random.default_rng(3))
    maps = layer.draw(np.random.default_rng(3), n)
    maps = ColorMaps(*map(backend.to_numpy, maps)) if kind is Color else backend.to_numpy(maps)
    their_x = torch.from_numpy(np.moveaxis(x, 3, 1).copy()).requires_grad_()
    their_y = twin(their_x, maps)
    their_y.backward(torch.from_numpy(np.moveaxis(dy, 3, 1).copy()))
    dx = layer.backward(backend.asarray(dy), cache, grads=None)
    for ours, theirs in ((y, their_y.detach()), (dx, their_x.grad)):
        np.testing.assert_allclose(backend.to_numpy(ours), np.moveaxis(theirs.numpy(), 1, 3), atol=1e-13)


# ---------------------------------------------------------------------------------------------- what is drawn


def test_colors_are_drawn_from_the_papers_ranges(reference: Backend):
    maps = built(Color(), (2, 2, 3), reference).draw(np.random.default_rng(0), 4000)
    for drawn, (least, most) in zip(maps, [(-0.5, 0.5), (0, 2), (0.5, 1.5)], strict=True):
        assert drawn.shape == (4000, 1, 1, 1)
        assert least <= drawn.min() < least + 0.01 < most - 0.01 < drawn.max() <= most


@pytest.mark.parametrize(("side", "most"), [(28, 4), (32, 4), (64, 8), (3, 0), (4, 1)])
def test_images_move_by_up_to_an_eighth(reference: Backend, side: int, most: int):
    shifts = built(Translation(), (side, 64, 1), reference).draw(np.random.default_rng(0), 1000)
    assert set(shifts[:, 0]) == set(range(-most, most + 1))
    assert set(shifts[:, 1]) == set(range(-8, 9))


@pytest.mark.parametrize("side", [1, 2, 5, 6, 7, 8])
def test_what_is_cut_out(reference: Backend, side: int):
    """A rectangle of half the sides about any pixel, or between any two; at least a pixel of it is in the image."""
    layer = built(Cutout(), (side, side, 1), reference)
    size = int(side / 2 + 0.5)
    centers = range(side + 1 - size % 2)
    expected = {(max(c - size // 2, 0), c - size // 2 + size) for c in centers}
    assert set(map(tuple, layer.draw(np.random.default_rng(0), 2000)[:, :2].tolist())) == expected
    y, _ = layer.forward(np.ones((200, side, side, 1)), train=True, rng=np.random.default_rng(0))
    zeros = (y == 0).sum(axis=(1, 2, 3))
    assert zeros.min() >= 1
    assert zeros.max() == size**2


@every_augmentation
def test_each_image_of_each_pass_is_changed_in_its_own_way(backend: Backend, kind: type[Augmentation]):
    layer = built(kind(), (16, 16, 3), backend)
    x = backend.asarray(np.broadcast_to(images(1, (16, 16, 3)), (2, 16, 16, 3)))
    rng = np.random.default_rng(0)
    one, _ = layer.forward(x, train=True, rng=rng)
    other, _ = layer.forward(x, train=True, rng=rng)
    again, _ = layer.forward(x, train=True, rng=np.random.default_rng(0))
    assert bool((one[0] != one[1]).any())
    assert bool((one != other).any())
    assert bool((one == again).all())


@every_augmentation
def test_nothing_changes_in_evaluation(backend: Backend, kind: type[Augmentation]):
    layer, x = built(kind(), (8, 8, 3), backend), backend.asarray(images(2, (8, 8, 3)))
    y, cache = layer.forward(x, train=False)
    assert y is x
    assert layer.backward(x, cache, grads=None) is x


# ---------------------------------------------------------------------------------------------- in a GAN


@pytest.mark.parametrize("policy", ["color,translation,cutout", "translation", "cutout, color"])
def test_a_whole_step_s_gradients(host_backend: Backend, policy: str):
    """All of D's and of G's, against finite differences of the losses with the same draws."""
    shape, rng = (16, 16, 3), np.random.default_rng(0)
    gan = DCGAN(width=2, latent=3, augment=policy).assemble(shape, backend=host_backend, dtype="float64", rng=rng)
    for network in (gan.G, gan.D):
        for _, p in network.named_parameters():
            p.value[...] = rng.normal(0, 0.3, p.shape)
    real, z = images(4, shape), gan.noise(rng, 4)

    def draws() -> np.random.Generator:
        return np.random.default_rng(7)

    def g_forward():
        return gan.G.forward(z, train=True)

    fake, g_tape = g_forward()
    gan.discriminator_gradients(real, fake, draws())
    gan.generator_gradients(fake, g_tape, real, draws())
    d_gradient, g_gradient = gan.d_grads.flat.copy(), gan.g_grads.flat.copy()

    def d_loss() -> float:
        return float(gan.discriminator_gradients(real, fake, draws())[0])

    def g_loss() -> float:
        fake, g_tape = g_forward()
        return float(gan.generator_gradients(fake, g_tape, real, draws()).loss)

    for function, network, gradient in ((d_loss, gan.D, d_gradient), (g_loss, gan.G, g_gradient)):
        check = check_gradient(
            function, network.arena.flat, gradient, path=network.path, what="loss", rng=rng, scale=1.0
        )
        assert check.passed, check


def test_a_policy_gives_layers_in_its_order():
    assert [type(layer) for layer in augmentations("cutout,color")] == [Cutout, Color]
    assert augmentations("") == []


@pytest.mark.parametrize("policy", ["hue", "color,", ",", "color;cutout"])
def test_an_unknown_augmentation_is_refused(policy: str):
    with pytest.raises(
        ConfigError, match="expected some of flip, turns, color, translation, cutout, joined by commas, got"
    ):
        augmentations(policy)


def test_the_discriminator_begins_with_the_augmentations(reference: Backend):
    def discriminator(augment: str) -> Sequential:
        return DCGAN(augment=augment).assemble((28, 28, 1), backend=reference, rng=np.random.default_rng(0)).D

    plain, augmented = discriminator(""), discriminator("color,cutout")
    assert [type(layer) for layer in augmented.layers[:2]] == [Color, Cutout]
    assert [type(layer) for layer in augmented.layers[2:]] == [type(layer) for layer in plain.layers]
    np.testing.assert_array_equal(augmented.arena.flat, plain.arena.flat)
    assert augmented.layers[0].path == "D.0.Color"


@every_augmentation
def test_what_is_missing_is_told(reference: Backend, kind: type[Augmentation]):
    with pytest.raises(ShapeError, match=r"expected images \(H, W, C\), got \(5,\)"):
        kind().build((5,), backend=reference, rng=np.random.default_rng(0))
    layer = built(kind(), (4, 4, 1), reference)
    with pytest.raises(ConfigError, match=r"expected an rng in training, got none\. Pass forward\(\.\.\., rng="):
        layer.forward(images(2, (4, 4, 1)), train=True)


# ---------------------------------------------------------------------------------------------- flips and turns


def test_flips_mirror_about_half_and_turns_take_each_quarter_alike(backend: Backend):
    """Each image is one of NumPy's own flips or turns of it, and all of these occur about equally often."""
    x = images(400, (4, 4, 2))
    for kind, variants in (
        (Flip, [x, x[:, :, ::-1]]),
        (QuarterTurns, [np.rot90(x, k, axes=(1, 2)) for k in range(4)]),
    ):
        y, _ = built(kind(), (4, 4, 2), backend).forward(backend.asarray(x), train=True, rng=np.random.default_rng(0))
        found = np.array(
            [[np.array_equal(a, b) for a, b in zip(backend.to_numpy(y), v, strict=True)] for v in variants]
        )
        assert (found.sum(axis=0) == 1).all()
        np.testing.assert_allclose(found.mean(axis=1), 1 / len(variants), atol=0.08)


def test_images_that_are_no_squares_turn_half_way_round(backend: Backend):
    x = images(200, (3, 5, 1))
    y, _ = built(QuarterTurns(), (3, 5, 1), backend).forward(
        backend.asarray(x), train=True, rng=np.random.default_rng(0)
    )
    turned = [np.array_equal(a, b[::-1, ::-1]) for a, b in zip(backend.to_numpy(y), x, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(backend.to_numpy(y), x, strict=True)]
    assert sum(turned) + sum(same) == 200
    assert 70 < sum(turned) < 130
