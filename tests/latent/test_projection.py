"""Projection: the gradient with respect to z, and how near a picture comes."""

import numpy as np
import pytest
from tiny_generators import tiny_generator

from minigan.data.png import encode_png
from minigan.errors import ConfigError, DataError
from minigan.evaluation.classifier import Classifier, network
from minigan.evaluation.features import StackedClassifier
from minigan.latent import FeatureDistance
from minigan.latent.projection import _Loss
from minigan.latent.spaces import NoiseSpace
from minigan.recipes import Denoise
from minigan.runs import TrainedGenerator

KINDS = {
    "signed": {"name": "dcgan", "shape": (28, 28, 1), "scale": 6.0},
    "unit": {},
    "logits": {"name": "vae", "shape": (28, 28, 1), "scale": 2.0},
    "residual": {"name": "sngan", "shape": (32, 32, 3), "scale": 1.0},
    "classes": {"condition": "concatenation"},
}


def classifier(shape, *, dtype="float32") -> Classifier:
    net = network(shape, 4).build(shape, backend="reference", dtype=dtype, rng=np.random.default_rng(1))
    return Classifier(net, accuracy=0.5, count=1, name="noise")


def picture(shape):
    return np.random.default_rng(8).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("features", [False, True])
def test_the_gradient_with_respect_to_z(kind: str, features: bool):
    """Compared with finite differences of each row's loss, in float64."""
    trained = tiny_generator(**KINDS[kind], dtype="float64")
    target = picture(trained.G.output_shape)
    distance = FeatureDistance(classifier(target.shape, dtype="float64"), target) if features else None
    loss = _Loss(NoiseSpace(trained.G, trained.recipe), trained.recipe, target, distance)
    label = 2 if kind == "classes" else None
    z, condition = trained.recipe.sources(np.random.default_rng(2), 2, label=label)
    G = trained.G.given(None if condition is None else condition.astype(np.float64))
    values, dz = loss.with_gradient(G, z)
    assert values.shape == (2,) and dz.shape == z.shape
    direction, h = np.random.default_rng(3).standard_normal(z.shape), 1e-7
    up, down = (loss.with_gradient(G, z + sign * h * direction)[0] for sign in (1, -1))
    np.testing.assert_allclose((dz * direction).sum(axis=1), (up - down) / (2 * h), rtol=2e-4, atol=1e-8)


def test_projecting_computes_no_gradient_of_a_weight_and_changes_nothing():
    trained = tiny_generator("dcgan", shape=(28, 28, 1), scale=10.0)
    weights, state = trained.G.arena.flat.copy(), trained.G.state.flat.copy()
    trained.project(picture((28, 28, 1)), steps=4)
    np.testing.assert_array_equal(trained.G.arena.flat, weights)
    np.testing.assert_array_equal(trained.G.state.flat, state)


@pytest.mark.parametrize(
    ("name", "shape", "scale"), [("mlp", (8, 8, 1), 3.0), ("dcgan", (28, 28, 1), 12.0), ("vae", (28, 28, 1), 3.0)]
)
def test_a_sample_comes_back(name: str, shape, scale: float):
    """Within a thousandth of the range from black to white, where the best of 512 samples is off by a tenth."""
    trained = tiny_generator(name, shape=shape, scale=scale)
    target = trained.sample(seeds=[50])[0]
    found = trained.project(target)
    assert found.l1 < 2e-3 < 0.1 < found.start_l1
    assert found.l1 == pytest.approx(np.abs(found.image - target).mean(), rel=1e-5)
    assert found.psnr > 50
    assert (found.label, found.features, found.start_features) == (None, None, None)
    np.testing.assert_array_equal(trained.draw(found.z)[0], found.image)
    again = trained.project(target)
    np.testing.assert_array_equal(again.z, found.z)
    assert (trained.project(target, seed=1, steps=3).z != found.z).any()


def test_every_class_is_tried_and_the_best_taken():
    trained = tiny_generator(condition="concatenation", scale=4.0)
    target = trained.sample(seeds=[50], label=6)[0]
    found = trained.project(target)
    assert (found.label, found.l1 < 2e-3) == (6, True)
    np.testing.assert_array_equal(trained.draw(found.z, label=6)[0], found.image)
    other = trained.project(target, label=3)
    assert other.label == 3
    assert other.l1 > found.l1


def test_features_count():
    """The search follows them: with them it comes nearer in features than without."""
    trained = tiny_generator(shape=(8, 8, 1))
    target, seen = picture((8, 8, 1)), classifier((8, 8, 1))
    with_features, without = trained.project(target, classifier=seen, steps=60), trained.project(target, steps=60)
    distance = FeatureDistance(seen, target)
    assert with_features.features == pytest.approx(float(distance(with_features.image[None])[0][0]), rel=1e-4)
    assert with_features.features < float(distance(without.image[None])[0][0])
    assert without.l1 < with_features.l1
    assert distance(target[None])[0][0] == 0


def test_features_of_stacked_images_are_those_of_each_channel():
    single, target = classifier((28, 28, 1), dtype="float64"), picture((28, 28, 3))
    distance = FeatureDistance(StackedClassifier(single), target)
    x = np.random.default_rng(4).uniform(-1, 1, (2, 28, 28, 3))
    features = StackedClassifier(single)
    expected = np.square(features(x) - features(target[None])).sum(axis=1) / np.square(features(target[None])).sum()
    values, dx = distance(x)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    direction, h = np.random.default_rng(3).standard_normal(x.shape), 1e-7
    up, down = (distance(x + sign * h * direction)[0] for sign in (1, -1))
    np.testing.assert_allclose((dx * direction).sum(axis=(1, 2, 3)), (up - down) / (2 * h), rtol=1e-4)


def test_z_stays_where_it_is_drawn():
    trained = tiny_generator(latent=20)
    found = trained.project(picture((8, 8, 1)), steps=60)
    assert np.linalg.norm(found.z) <= np.sqrt(20) + 3 + 1e-5


def test_an_average_with_each_batch_s_statistics():
    trained = tiny_generator(
        "dcgan",
        shape=(28, 28, 1),
        scale=10.0,
        ema=0.9,
        ema_statistics="batch",
        averaged=True,
        condition="concatenation",
    )
    state = trained.G.state.flat.copy()
    found = trained.project(trained.sample(seeds=[50], label=6)[0], label=6)
    assert found.l1 < 2e-3 < 0.1 < found.start_l1
    np.testing.assert_array_equal(trained.G.state.flat, state)


# ---------------------------------------------------------------------------------------- pictures


def test_an_array_of_another_kind_is_brought_to_the_generator_s():
    pytest.importorskip("PIL")
    trained = tiny_generator(shape=(8, 8, 1))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    found = trained.project(pixels, steps=1)
    assert found.notes == (
        "the picture is scaled from 16x32 to 8x8",
        "the middle of the picture is used: 50% at its sides are cut off",
        "the picture has colors and is used in grayscale",
    )
    assert found.target.shape == (8, 8, 1)
    gray = np.random.default_rng(0).uniform(-1, 1, (8, 8))
    found = tiny_generator(shape=(8, 8, 3)).project(gray, steps=1)
    assert found.notes == ("the picture is grayscale and is used with three equal channels",)
    np.testing.assert_allclose(found.target[..., 2], gray, atol=1e-6)
    assert trained.project(gray, steps=1).notes == ()


def test_a_file_is_read_and_scaled(tmp_path):
    pytest.importorskip("PIL")
    trained, path = tiny_generator(shape=(8, 8, 1)), tmp_path / "picture"
    pixels = np.zeros((16, 16, 1), np.uint8)
    pixels[:, 8:] = 255
    path.write_bytes(encode_png(pixels))
    found = trained.project(path, steps=1)
    assert found.notes == ("the picture is scaled from 16x16 to 8x8",)
    assert np.abs(found.target[:, [0, 7], 0] - [-1, 1]).max() < 0.2
    path.write_bytes(encode_png(pixels[:8, 4:12].repeat(3, axis=2)))
    found = trained.project(str(path), steps=1)
    assert found.notes == ("the picture has colors and is used in grayscale",)
    np.testing.assert_array_equal(found.target[:, :4], -1)
    np.testing.assert_array_equal(found.target[:, 4:], 1)
    path.write_text("a text")
    with pytest.raises(DataError, match="picture: expected an image, found one that cannot be read"):
        trained.project(path)
    for other, what in ((tmp_path, "a folder"), (tmp_path / "none", "no file")):
        with pytest.raises(DataError, match=f"expected a picture, found {what}"):
            trained.project(other)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            np.zeros((2, 8, 8, 1)),
            "picture must be a path or an array (H, W, C), uint8 or floats in [-1, 1], got an array",
        ),
        (np.zeros((8, 8, 2)), "got an array (8, 8, 2) of float64"),
        (np.zeros((8, 8, 1), int), "got an array (8, 8, 1) of int64"),
        (np.zeros((0, 8, 1)), "got an array (0, 8, 1)"),
        (7, "got 7"),
        (
            np.full((8, 8), 200.0),
            "picture must have values in [-1, 1], got 200 to 200. Convert them: pixels / 127.5 - 1.",
        ),
        (np.full((8, 8), np.nan), "picture must have values in [-1, 1], got nan"),
        ("", "picture must be a path, got ''"),
    ],
)
def test_what_is_no_picture(given, says: str):
    with pytest.raises(ConfigError) as caught:
        tiny_generator(shape=(8, 8, 1)).project(given)
    assert says in str(caught.value)


def test_generators_that_cannot_be_asked():
    with pytest.raises(ConfigError, match="mlp draws points here, onto which no picture is projected"):
        tiny_generator(shape=(2,)).project(picture((8, 8, 1)))
    recipe = Denoise(width=2)
    G = recipe.built_generator((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
    restores = TrainedGenerator(G, recipe, 0, 1.0, (), averaged=False)
    for ask in (
        lambda: restores.project(picture((8, 8, 1))),
        lambda: restores.walk(3),
        lambda: restores.sample(seeds=[1]),
        lambda: restores.draw(np.zeros(3)),
    ):
        with pytest.raises(ConfigError, match="denoise draws from images, not from noise"):
            ask()
    with pytest.raises(ConfigError, match="was trained without classes, got the class 3"):
        tiny_generator().project(picture((8, 8, 1)), label=3)
    with pytest.raises(ConfigError, match="expected a class from 0 to 9, got 10"):
        tiny_generator(condition="concatenation").project(picture((8, 8, 1)), label=10)


def test_a_classifier_of_other_images():
    trained = tiny_generator(shape=(8, 8, 1))
    with pytest.raises(ConfigError, match=r"classifier must look at images \(8, 8, 1\) like the generator's"):
        trained.project(picture((8, 8, 1)), classifier=classifier((28, 28, 1)))
    with pytest.raises(ConfigError, match="classifier must be one of minigan's, got 'digits'"):
        trained.project(picture((8, 8, 1)), classifier="digits")


def test_a_projection_shows_itself():
    found = tiny_generator(condition="concatenation").project(picture((8, 8, 1)), label=2, steps=2)
    assert repr(found).startswith("<Projection: class 2, z (6,), L1 ")
    assert found.picture().shape == (8 * 8 + 4, 2 * 8 * 8 + 6, 1)
    assert found._repr_html_().startswith('<div><img alt="&lt;Projection: class 2')
    seen = []
    tiny_generator().project(picture((8, 8, 1)), steps=6, starts=2, advance=lambda *told: seen.append(told))
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert all(images == 2 for _, images, _ in seen)
    losses = [loss for _, _, loss in seen]
    assert losses == sorted(losses, reverse=True)
