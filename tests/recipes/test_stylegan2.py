"""StyleGAN2's recipe: its sizes, its presets, and what it says to settings and data that it cannot use."""

import warnings

import numpy as np
import pytest
import safetensors.numpy

import minigan
from minigan.data import open_dataset
from minigan.errors import ConfigError
from minigan.nn import MinibatchStdDev, Residual, Sequential
from minigan.nn.network.stylegan import doublings, widths
from minigan.recipes import StyleGAN2, get_recipe
from minigan.training.moving_average import MovingAverage

TINY = {"latent": 6, "w_dim": 5, "channel_base": 32, "channel_max": 4, "batch_size": 4}


def sizes(recipe: StyleGAN2, shape: tuple[int, int, int]) -> list[int]:
    """Numbers of weights of G and D."""
    found = []
    for network, source in recipe.networks(shape):
        network.setup(source, network.path)
        found.append(sum(p.size for _, p in network.named_parameters()))
    return found


def test_the_configuration_for_cifar10_has_as_many_weights_as_its_authors():
    """19.9 and 20.7 million, as for CIFAR-10 without classes."""
    without, classes = (
        StyleGAN2.from_settings({"preset": "cifar10", "condition": condition}) for condition in ("none", "projection")
    )
    assert sizes(without, (32, 32, 3)) == [19_947_539, 20_720_641]
    with_classes = sizes(classes, (32, 32, 3))
    assert with_classes == [19_947_539 + 5_632 + 512 * 512, 20_720_641 + 5_632 + 8 * 262_656 + 511 * 513]


def test_presets():
    small, larger = (StyleGAN2.from_settings({"preset": name}) for name in ("small", "ffhq256"))
    assert small == StyleGAN2()
    assert max(sizes(small, (32, 32, 1))) < 450_000
    assert "  preset='small': the default" in (StyleGAN2.__doc__ or "")
    assert (larger.mapping, larger.residual, larger.mixing, larger.path_weight) == (8, True, 0.9, 2.0)
    D = larger.discriminator((256, 256, 3))
    assert sum(isinstance(layer, Residual) for layer in D.layers) == 6
    assert next(layer.group for layer in D.layers if isinstance(layer, MinibatchStdDev)) == 8
    assert [widths(16_384, 512)(r) for r in (4, 32, 64, 256)] == [512, 512, 256, 64]


@pytest.mark.parametrize(
    ("size", "n"), [((8, 8), 1), ((32, 32), 3), ((256, 256), 6), ((32, 48), 3), ((12, 8), 1), ((8, 9), None)]
)
def test_sizes(size, n):
    assert doublings(size) == n
    if n is not None:
        G, D = (network for network, _ in StyleGAN2(condition="none", **TINY).networks((*size, 1)))
        assert G.setup((6,), "G") == (*size, 1)
        assert D.setup((*size, 1), "D") == (1,)


@pytest.mark.parametrize("size", [(28, 28), (4, 4), (24, 24), (48, 48), (512, 512), (32, 36)])
def test_sizes_that_no_doubling_reaches(size):
    assert doublings(size) is None or max(size) > 256
    with pytest.raises(
        ConfigError, match=rf"4 pixels times a power of two, .* got {size[0]}x{size[1]}\. Use `size=32`"
    ):
        StyleGAN2(size=size)


def test_digits_are_scaled_to_the_nearest_size():
    assert StyleGAN2().fit_size((28, 28)) == (32, 32)
    assert StyleGAN2().fit_size((100, 100)) == (128, 128)
    assert StyleGAN2().fit_size(None) == (32, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty_weight": 0}, "penalty_weight must be positive, got 0"),
        ({"condition": "concatenation"}, "condition must be one of auto, none, projection, got 'concatenation'"),
        ({"mixing": 2}, r"mixing must be in \[0, 1\], got 2"),
        ({"path_weight": -1}, "path_weight must be a number from 0 up, got -1"),
        ({"batch_size": 48}, "groups of 32 images do not divide a batch of 48. Use `group=24`, or `batch_size=32`."),
        ({"mapping": 0}, "mapping must be from 1 to 1,000, got 0"),
        ({"fake_pool": 10}, "stylegan2 has no use for fake_pool, got 10. Leave it out"),
        ({"instance_noise": 0.1}, "stylegan2 has no use for instance_noise"),
        ({"schedule": "linear"}, "expected schedule=constant"),
        ({"width": 4}, "stylegan2 has no setting 'width'"),
        ({"preset": "huge"}, "has no preset 'huge': expected one of small, cifar10, ffhq256"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        StyleGAN2.from_settings(settings)


def test_classes_need_labels():
    recipe = StyleGAN2(condition="projection", **TINY)
    without = open_dataset("digits", size=(32, 32))
    unlabeled = type("Unlabeled", (), {"labels": None, "name": "faces", "classes": None, "shape": without.shape})()
    with pytest.raises(ConfigError, match="needs the class of each image, but faces has no labels"):
        recipe.fit(unlabeled)
    fitted = StyleGAN2(**TINY).fit(without)
    assert (fitted.condition, fitted.classes) == ("projection", 10)


@pytest.mark.parametrize("condition", ["none", "projection"])
def test_penalties_weigh_what_the_settings_say(condition):
    recipe = StyleGAN2(condition=condition, path_weight=2.0, **TINY)
    learner = recipe.assemble((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
    assert learner.penalty.interval == 16
    assert learner.path_length.interval == 4
    assert learner.d_optimizer.lr == pytest.approx(0.0025 * 16 / 17)
    assert learner.g_optimizer.lr == pytest.approx(0.0025 * 4 / 5)
    assert learner.d_optimizer.beta2 == pytest.approx(0.99 ** (16 / 17))
    plain = StyleGAN2(condition=condition, penalty="none", **TINY)
    learner = plain.assemble((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
    assert learner.penalty is None
    assert (learner.d_optimizer.lr, learner.g_optimizer.lr) == (0.0025, 0.0025)


def test_the_average_follows_images():
    """Half-life 500,000 images, at most a twentieth of those seen."""
    recipe = StyleGAN2(condition="none", **TINY)
    learner = recipe.assemble((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
    average = recipe.moving_averages(learner, seed=0)["G"]
    assert isinstance(average, MovingAverage)
    assert average.decay_now() == 0
    average.updates = 1000
    assert average.decay_now() == pytest.approx(0.5 ** (4 / (0.05 * 4000)))
    average.updates = 10**8
    assert average.decay_now() == pytest.approx(0.5 ** (4 / 500_000))
    assert StyleGAN2(ema_images=0, **TINY).moving_averages(learner, seed=0) == {}
    with pytest.warns(UserWarning, match="half-life of 500,000 images, but the training sees 400:"):
        StyleGAN2(**TINY, condition="none", ema_ramp=0, steps=100).moving_averages(learner, seed=0)


def test_truncation_is_that_of_styles():
    recipe = get_recipe("stylegan2")(condition="none", **TINY)
    G = recipe.built_generator((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
    z = np.random.default_rng(1).standard_normal((3, 6))
    assert recipe.truncated(z, 0.2, np.random.default_rng(0)) is z
    G.layers[0].w_avg.value[...] = 0.5
    assert recipe.truncated_generator(G, 1.0) is G
    middle = recipe.truncated_generator(G, 0.0)
    assert isinstance(middle, Sequential)
    images, _ = middle.forward(z.astype(np.float32), train=False)
    np.testing.assert_array_equal(images[0], images[1])  # all of the mean style
    narrowed, _ = recipe.truncated_generator(G, 0.5).forward(z.astype(np.float32), train=False)
    plain, _ = G.forward(z.astype(np.float32), train=False)
    assert narrowed.std(axis=0).mean() < plain.std(axis=0).mean()


def test_no_warning_at_usual_settings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = StyleGAN2(condition="none", **TINY)
        learner = recipe.assemble((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
        recipe.moving_averages(learner, seed=0)


def test_a_run_is_resumed_bit_for_bit(tmp_path):
    """From between two updates of each regularization, with adaptive augmentation and the average."""
    settings = {
        **TINY,
        "size": 8,
        "augment": "adaptive",
        "augment_over": 100,
        "ema_images": 40.0,
        "mixing": 0.9,
        "path_weight": 2.0,
        "path_interval": 3,
        "penalty_interval": 5,
    }
    how = {"data": "digits", "backend": "reference", "quiet": True, **settings}
    whole = minigan.train("stylegan2", steps=8, out=tmp_path / "whole", **how)
    minigan.train("stylegan2", steps=4, out=tmp_path / "part", **how)
    part = minigan.open_run(tmp_path / "part").resume(steps=8, quiet=True)
    files = [(run.folder / "model.safetensors").read_bytes() for run in (whole, part)]
    arrays = [safetensors.numpy.load(content) for content in files]
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], err_msg=name)
