"""From a generator to arrays and pictures, and what is said where the arguments do not fit."""

import sys

import numpy as np
import pytest

import minigan
from minigan.data.pictures import ImageBatch, image_grid, to_pixels
from minigan.data.png import encode_png
from minigan.errors import (
    ConfigError,
    DTypeError,
    MiniganError,
    MissingExtraError,
    NotBuiltError,
    OutputError,
    ShapeError,
)
from minigan.nn import Dense, Reshape, Sequential, Tanh
from minigan.nn.optimizers import SGD
from minigan.training.exhibit import Exhibit
from minigan.training.learner import Learner
from minigan.training.moving_average import MovingAverage

RNG = np.random.default_rng


def generator(*shape: int) -> Sequential:
    layers = [Dense(int(np.prod(shape))), *([Reshape(shape)] if len(shape) > 1 else []), Tanh()]
    return Sequential(layers, name="G").build((3,), backend="reference", rng=RNG(0))


def noise(count: int = 5) -> np.ndarray:
    return RNG(1).standard_normal((count, 3))


def test_images_show_themselves_and_points_are_plain():
    images = minigan.generate(generator(4, 4, 1), noise())
    assert isinstance(images, ImageBatch) and images.shape == (5, 4, 4, 1) and images.dtype == np.float32
    assert images._repr_png_()
    assert type(minigan.generate(generator(2), noise())) is np.ndarray


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda G: minigan.generate(G, 4), ConfigError, "G expects z of shape (N, 3), got 4. Write z = np.random"),
        (
            lambda G: minigan.generate(G, [[0, 0, 0]]),
            ConfigError,
            "got a list of 1. Write z = np.random",
        ),
        (lambda G: minigan.generate(G, noise()[0]), ShapeError, "z of shape (N, 3), got (3,)."),
        (lambda G: minigan.generate(G, noise()[:0]), ShapeError, "z of shape (N, 3), got (0, 3)."),
        (lambda G: minigan.generate(noise(), G), ConfigError, "expected a network first, got an array (5, 3)"),
        (lambda G: minigan.generate(G, noise(), noise(2)), ShapeError, "a condition for each of 5 examples, got 2."),
        (
            lambda G: minigan.generate(G, noise(), noise()),
            ConfigError,
            "G takes no condition, got an array (5, 3) of fl",
        ),
        (lambda G: minigan.generate(G, noise(), [1] * 5), ConfigError, "expected a condition as an array, got a list"),
        (lambda G: minigan.generate(G, noise() * 1j), DTypeError, "real numbers, got an array (5, 3) of complex128."),
        (lambda G: minigan.generate(G, noise().astype(object)), DTypeError, "got an array (5, 3) of object."),
        (lambda G: minigan.generate(G, noise(), batch_size=0), ConfigError, "batch_size must be a positive integer"),
        (lambda G: minigan.generate(G, noise(), batch_statistics="no"), ConfigError, "must be True or False, got 'no'"),
        (lambda _: minigan.generate(Sequential([Dense(3)], name="G"), noise()), NotBuiltError, "G: not built"),
    ],
)
def test_what_a_generator_cannot_draw_from(make, error: type[MiniganError], says: str):
    with pytest.raises(error) as caught:
        make(generator(4, 4, 1))
    assert says in str(caught.value)


def test_the_remedy_works():
    G = generator(4, 4, 1)
    with pytest.raises(ConfigError) as caught:
        minigan.generate(G, 4)
    remedy = str(caught.value).partition("Write z = ")[2].removesuffix(".")
    assert minigan.generate(G, eval(remedy)).shape == (4, 4, 4, 1)


def test_save_picture_takes_a_picture_or_a_batch(tmp_path):
    images = minigan.generate(generator(4, 4, 1), noise())
    path = tmp_path / "a.png"
    for picture, expected in (
        (images, image_grid(images)),
        (to_pixels(images), image_grid(images)),
        (images[0], to_pixels(images[0])),
        (to_pixels(images[0]), to_pixels(images[0])),
    ):
        minigan.save_picture(path, picture)
        assert path.read_bytes() == encode_png(expected)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (
            (np.zeros((2, 4, 4, 1)),),
            ConfigError,
            'of float64 and no picture. Write save_picture("samples.png", images).',
        ),
        (
            (np.zeros((4, 4, 1)), "a.png"),
            ConfigError,
            "expected a path and a picture, got an array (4, 4, 1) of fl",
        ),
        (("a.png",), ConfigError, "expected a path and a picture, got 'a.png' and no picture."),
        (("a.gif", np.zeros((4, 4, 3))), ConfigError, "'a.gif': expected a name that ends with one of .png .jpg"),
        (("a.png.txt", np.zeros((4, 4, 3))), ConfigError, "Name it a.png."),
        (("a/.png", np.zeros((4, 4, 3))), ConfigError, "Name it samples.png."),
        (("a", np.zeros((4, 4, 3))), ConfigError, "Name it a.png."),
        (("a.png", np.zeros((0, 4, 3))), ShapeError, "got an array (0, 4, 3) of float64."),
        (("a.png", np.zeros((0, 4, 4, 3), np.uint8)), ShapeError, "got an array (0, 4, 4, 3) of uint8."),
        (("a.png", np.full((4, 4, 3), np.nan)), ConfigError, "to_pixels: expected images in [-1, 1], got NaN"),
        (("a\0.png", np.zeros((4, 4, 3))), OutputError, "expected a path without NUL characters"),
        (("a.png", np.zeros((4, 4))), ShapeError, "got an array (4, 4) of float64. Write picture[..., None]"),
        (("a.png", np.zeros((4, 4, 3), int)), DTypeError, "expected float images in [-1, 1]"),
    ],
)
def test_what_is_no_picture(arguments, error: type[MiniganError], says: str):
    with pytest.raises(error) as caught:
        minigan.save_picture(*arguments)
    assert says in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (".PNG", "PNG"),
        (".jpg", "JPEG"),
        (".JPEG", "JPEG"),
        (".webp", "WEBP"),
        (".bmp", "BMP"),
        (".tif", "TIFF"),
        (".TIFF", "TIFF"),
    ],
)
def test_the_ending_decides_the_format(tmp_path, ending: str, kind: str, channels: int):
    pillow = pytest.importorskip("PIL.Image")
    smooth = np.linspace(0, 255, 40 * 30 * channels).reshape(40, 30, channels).astype(np.uint8)
    path = tmp_path / f"picture{ending}"
    minigan.save_picture(path, smooth)
    with pillow.open(path) as image:
        assert (image.format, image.size) == (kind, (30, 40))
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(smooth.shape)
    difference = np.abs(pixels.astype(int) - smooth).max()
    assert difference <= 4 if kind == "JPEG" else difference == 0


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_a_picture_too_long_for_its_format_is_refused(tmp_path, ending: str):
    pytest.importorskip("PIL.Image")
    path, strip = tmp_path / f"strip{ending}", np.zeros((1, 65_501, 1), np.uint8)
    with pytest.raises(ConfigError, match=r"pixels a side, got a picture of 1x65501\. Name it strip\.png\."):
        minigan.save_picture(path, strip)
    minigan.save_picture(path.with_suffix(".png"), strip)
    assert [each.name for each in tmp_path.iterdir()] == ["strip.png"]


def test_without_pillow_only_png_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"writing \.jpg files needs Pillow, which is not installed"):
        minigan.save_picture(tmp_path / "a.jpg", np.zeros((4, 4, 3)))
    minigan.save_picture(tmp_path / "a.png", np.zeros((4, 4, 3)))


def test_an_exhibit_shows_no_numbers():
    assert repr(Exhibit(noise(64))).startswith("Exhibit(z=<float64 (64, 3)>, condition=None, before=(), after=()")


class SeveralGenerators(Learner):
    """A learner for its pictures alone."""

    def step(self, batches, rng):
        raise NotImplementedError

    def inputs(self, batch, rng):
        raise NotImplementedError


def several(*shapes: tuple[int, int], average: str = "") -> tuple[SeveralGenerators, dict]:
    """Generators of points by their inputs and outputs, each with weights of its own; and an average of one."""
    nets = {}
    for k, (latent, out) in enumerate(shapes):
        G = Sequential([Dense(out)], name=f"G_{k}")
        nets[f"G_{k}"] = G.build((latent,), backend="reference", rng=np.random.default_rng(k))
    parts = {name: (net, SGD(net.arena, lr=0.1)) for name, net in nets.items()}
    learner, averages = SeveralGenerators(parts), {}
    if average:
        twin = Sequential([Dense(2)], name=average).build((3,), backend="reference", rng=np.random.default_rng(9))
        averages[average] = MovingAverage(twin, nets[average], decay=0.5)
        nets[average].arena.flat[...] = 0
    return learner, averages


def test_a_picture_shows_each_of_several_generators():
    exhibit = Exhibit(np.random.default_rng(0).standard_normal((50, 3)), extent=5.0)

    def alone(network: Sequential) -> np.ndarray:
        return exhibit.picture(exhibit.draw(network))

    learner, _ = several((3, 2), (3, 2), (3, 2))
    shown = exhibit.picture_by(learner, {}, lambda points: points)
    own = [alone(network) for network in learner.networks.values()]
    width = own[0].shape[1]
    assert shown.shape[1] == 3 * width + 2 * 4
    for k, picture in enumerate(own):
        np.testing.assert_array_equal(shown[:, k * (width + 4) : k * (width + 4) + width], picture)
    assert (shown[:, width : width + 4] == 255).all(), "a line between them"
    learner, averages = several((3, 2), (3, 2), average="G_1")
    shown = exhibit.picture_by(learner, averages, lambda points: points)
    np.testing.assert_array_equal(shown[:, width + 4 :], alone(averages["G_1"].network))
    learner, _ = several((3, 2), (4, 2))
    np.testing.assert_array_equal(
        exhibit.picture_by(learner, {}, lambda points: points), alone(learner.G), "one from other inputs"
    )
