"""The recipes that draw from noise: the layers that they promise, sizes, and what they refuse."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.data import open_dataset
from minigan.errors import ConfigError
from minigan.losses import Minimax, NonSaturating, SoftmaxMixture
from minigan.losses.gradient_penalties import R1, PenaltyOfEach
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    Maxout,
    ReLU,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.network import Parallel, Residual, Sequential
from minigan.nn.schedules import ExponentialDecay
from minigan.recipes import R3GAN, SNGAN, DCGANCifar, DCGANKeras, MinimaxGame, MultiD, PacGAN, Recipe
from minigan.recipes.dcgan_keras import growth


def weights(network: Sequential) -> list[tuple[int, ...]]:
    return [layer.w.shape for _, layer in network.walk() if isinstance(layer, Conv2D | Dense)]


def networks(recipe: Recipe, shape: tuple[int, ...], backend: Backend) -> tuple[Sequential, Sequential]:
    gan = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0))
    return gan.G, gan.D


SIZES = [
    *((DCGANKeras(width=1, latent=3), size) for size in [(28, 28), (32, 32), (64, 64), (100, 100), (60, 100)]),
    *((DCGANCifar(width=1, dense=4, latent=3), size) for size in [(32, 32), (64, 64), (48, 96)]),
    *((SNGAN(width=2, latent=3), size) for size in [(28, 28), (32, 32), (48, 48), (64, 64), (32, 48)]),
    *((MultiD(width=1, latent=3), size) for size in [(28, 28), (64, 64), (32, 64)]),
    (MultiD(width=1, latent=3, multi_scale=True), (32, 32)),
    (MinimaxGame(hidden=4, latent=3), (28, 28)),
]


@pytest.mark.parametrize(
    ("recipe", "size"), SIZES, ids=[f"{recipe.name} {size[0]}x{size[1]}" for recipe, size in SIZES]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_becomes_images_and_images_become_logits(
    reference: Backend, recipe: Recipe, size: tuple[int, int], channels: int
):
    shape = (*size, channels)
    G, D = networks(recipe, shape, reference)
    z = recipe.noise(np.random.default_rng(0), 2).astype(np.float32)
    fake, _ = G.forward(z, train=True)
    logits, _ = D.forward(fake, train=True, rng=np.random.default_rng(0))
    assert fake.shape == (2, *shape)
    assert logits.shape == (2, recipe.discriminators if isinstance(recipe, MultiD) else 1)
    assert recipe.fit_size(size) == size


# ---------------------------------------------------------------------------------------------- minimax, pacgan


def test_minimax_has_maxout_and_both_losses(reference: Backend):
    G, D = networks(MinimaxGame(), (28, 28, 1), reference)
    assert weights(G) == [(100, 512), (512, 512), (512, 784)]
    assert weights(D) == [(784, 5 * 128), (128, 5 * 128), (128, 1)]
    assert sum(isinstance(layer, Maxout) for layer in D.layers) == 2
    assert sum(isinstance(layer, Dropout) for layer in D.layers) == 2
    assert isinstance(G.layers[-2], Tanh)
    for loss, kind in (("minimax", Minimax), ("non-saturating", NonSaturating)):
        gan = MinimaxGame(loss=loss).assemble((4, 4, 1), backend=reference, rng=np.random.default_rng(0))
        assert type(gan.loss) is kind
    assert MinimaxGame().loss == "minimax"


def test_minimax_draws_points_without_dropout(reference: Backend):
    recipe = MinimaxGame(hidden=8)
    recipe.check_points()
    G, D = networks(recipe, (2,), reference)
    assert isinstance(G.layers[-1], Dense)
    assert not any(isinstance(layer, Dropout) for layer in D.layers)


def test_pacgan_is_the_papers(reference: Backend):
    recipe = PacGAN(pack=2, batch_size=200)
    recipe.check_points()
    G, D = networks(recipe, (2,), reference)
    assert weights(G) == [(2, 400), (400, 400), (400, 400), (400, 400), (400, 2)]
    assert weights(D) == [(4, 1000), (200, 1000), (200, 1000), (200, 1)]
    assert sum(isinstance(layer, BatchNorm) for layer in G.layers) == 4
    assert sum(isinstance(layer, Maxout) for layer in D.layers) == 3
    assert not any(isinstance(layer, BatchNorm) for layer in D.layers)
    assert [name for name, _ in G.named_parameters() if name.endswith(".b")] == ["12.b"]
    w = np.concatenate([p.value.ravel() for net in (G, D) for name, p in net.named_parameters() if name.endswith(".w")])
    assert abs(w.std() - 0.02) < 1e-3
    assert (recipe.latent, recipe.lr, recipe.beta1, recipe.beta2) == (2, 1e-4, 0.8, 0.999)
    assert (PacGAN().batch_size, PacGAN().steps) == (100, 400 * 100_000 // 100)


# ---------------------------------------------------------------------------------------------- dcgan-keras, -cifar


@pytest.mark.parametrize(
    ("side", "grown"),
    [
        (28, (7, 1, 2, 2)),
        (32, (4, 2, 2, 2)),
        (48, (4, 2, 2, 3)),
        (64, (4, 2, 2, 4)),
        (100, (4, 1, 5, 5)),
        (96, (4, 2, 3, 4)),
        (128, (4, 2, 4, 4)),
        (5, (5, 1, 1, 1)),
    ],
)
def test_growth(side: int, grown: tuple[int, ...]):
    assert growth(side) == grown


@pytest.mark.parametrize("side", [3, 11, 62, 101, 129, 160])
def test_sides_that_do_not_grow(side: int):
    with pytest.raises(ConfigError, match=rf"three factors up to 5.*such as 28, 32, 64, 100.*got a side of {side}\."):
        growth(side)


def test_dcgan_keras_is_the_tutorials(reference: Backend):
    G, D = networks(DCGANKeras(), (100, 100, 3), reference)
    assert weights(G) == [(100, 4096), (5, 5, 256, 128), (5, 5, 128, 128), (5, 5, 128, 64), (7, 7, 64, 3)]
    assert weights(D) == [(5, 5, 3, 64), (5, 5, 64, 128), (5, 5, 128, 256), (13 * 13 * 256, 1)]
    assert [layer.factor for layer in G.layers if isinstance(layer, UpSampling2D)] == [(1, 1), (5, 5), (5, 5)]
    kinds = [type(layer) for layer in G.layers]
    assert kinds.count(BatchNorm) == kinds.count(ReLU) == 4
    assert not any(isinstance(layer, BatchNorm) for layer in D.layers)
    recipe = DCGANKeras()
    assert (recipe.lr, recipe.beta1, recipe.loss) == (2e-4, 0.5, "non-saturating")


def test_dcgan_cifar_is_the_tutorials(reference: Backend):
    recipe = DCGANCifar()
    gan = recipe.assemble((32, 32, 3), backend=reference, rng=np.random.default_rng(0))
    ladder = [(5, 5, 3, 64), (5, 5, 64, 128), (5, 5, 128, 256), (5, 5, 256, 512)]
    assert weights(gan.D) == [*ladder, (2048, 1024), (1024, 1)]
    assert weights(gan.G) == [(100, 1024), (1024, 2048), *ladder[::-1]]
    assert sum(isinstance(layer, BatchNorm) for layer in gan.D.layers) == 3
    everywhere = DCGANCifar(width=1, dense=4, d_norm="all").discriminator((32, 32, 3))
    assert [type(layer) for layer in everywhere.layers if not isinstance(layer, Flatten)] == [
        *[Conv2D, BatchNorm, LeakyReLU] * 4, Dense, BatchNorm, LeakyReLU, Dense
    ]  # fmt: skip
    assert sum(isinstance(layer, LeakyReLU) for layer in gan.D.layers) == 5
    assert sum(isinstance(layer, BatchNorm) for layer in gan.G.layers) == 5
    assert (recipe.batch_size, recipe.steps) == (64, 100 * (50_000 // 64))
    assert gan.g_optimizer.schedule == ExponentialDecay(2e-4, 0.5, every=100_000)


@pytest.mark.parametrize(
    ("recipe", "data", "trained_at"),
    [
        (DCGANKeras(), None, (64, 64)),
        (DCGANKeras(), (30, 31), (30, 30)),
        (DCGANKeras(), (600, 800), (96, 128)),
        (DCGANCifar(), None, (64, 64)),
        (DCGANCifar(), (28, 28), (32, 32)),
        (DCGANCifar(), (32, 96), (32, 96)),
        (SNGAN(), None, (32, 32)),
        (SNGAN(), (96, 96), (64, 64)),
        (MinimaxGame(), (100, 100), (64, 64)),
        (PacGAN(), (20, 30), (20, 30)),
    ],
)
def test_sizes_are_chosen_by_the_data(recipe: Recipe, data: tuple[int, int] | None, trained_at: tuple[int, int]):
    assert recipe.fit_size(data) == trained_at


@pytest.mark.parametrize(
    ("recipe", "size", "says"),
    [
        (DCGANCifar(), (28, 28), r"dcgan-cifar halves images four times.*got 28x28\. Use `size=32`"),
        (DCGANCifar(), (160, 160), "up to 128"),
        (SNGAN(), (30, 32), r"sngan: expected sides.*at most 64.*got 30x32\. Use `size=32`"),
        (SNGAN(), (14, 14), r"got 14x14"),
        (SNGAN(), (128, 128), r"got 128x128"),
        (MultiD(multi_scale=True), (28, 28), r"multi-d: .*28x28 images allow 2, got discriminators=3"),
    ],
)
def test_sizes_that_do_not_fit(recipe: Recipe, size: tuple[int, int], says: str):
    with pytest.raises(ConfigError, match=says):
        recipe.discriminator((*size, 1))


# ---------------------------------------------------------------------------------------------- sngan


def test_sngan_is_the_papers(reference: Backend):
    recipe = SNGAN(width=8)
    G, D = networks(recipe, (32, 32, 3), reference)
    assert weights(G)[0] == (128, 4 * 4 * 8)
    assert weights(G)[-1] == (3, 3, 8, 3)
    assert len(weights(G)) == 1 + 3 * 3 + 1
    assert len(weights(D)) == 2 * 3 + 2 * 2 + 1
    assert D.layers[-3].input_shape == (8, 8, 4)
    wrapped = {id(layer.inner) for _, layer in D.walk() if isinstance(layer, SpectralNorm)}
    assert all(id(layer) in wrapped for _, layer in D.walk() if isinstance(layer, Conv2D | Dense))
    assert not any(isinstance(layer, SpectralNorm) for _, layer in G.walk())
    assert (recipe.loss, recipe.n_critic, recipe.beta1, recipe.beta2) == ("hinge", 5, 0, 0.9)
    assert SNGAN().width == 256


@pytest.mark.parametrize(("side", "smallest"), [(28, 7), (32, 8), (48, 6), (64, 8)])
def test_sngans_discriminator_ends_with_small_images(reference: Backend, side: int, smallest: int):
    _, D = networks(SNGAN(width=2), (side, side, 1), reference)
    assert D.layers[-3].input_shape == (smallest, smallest, 1)


# ---------------------------------------------------------------------------------------------- multi-d


def test_discriminators_differ_in_their_weights_alone(reference: Backend):
    _, D = networks(MultiD(width=2, discriminators=4), (28, 28, 1), reference)
    (parallel,) = D.layers
    assert isinstance(parallel, Parallel)
    assert len(parallel.branches) == 4
    assert len({str(weights(branch)) for branch in parallel.branches}) == 1
    assert len({branch.layers[0].w.value.tobytes() for branch in parallel.branches}) == 4


def test_discriminators_of_three_scales(reference: Backend):
    _, D = networks(MultiD(width=2, multi_scale=True), (32, 32, 1), reference)
    (parallel,) = D.layers
    pools = [
        [layer.factor for layer in branch.layers if isinstance(layer, AveragePooling2D)] for branch in parallel.branches
    ]
    assert pools == [[], [(2, 2)], [(4, 4)]]


def test_the_mean_over_logits_is_the_mean_of_the_losses():
    logits = np.random.default_rng(0).normal(size=(5, 3))
    loss = NonSaturating()
    value, gradient = loss.generator(logits)
    each = [loss.generator(logits[:, k]) for k in range(3)]
    assert value == pytest.approx(np.mean([v for v, _ in each]))
    np.testing.assert_allclose(gradient, np.stack([g for _, g in each], axis=1) / 3)
    mixed, mixed_gradient = SoftmaxMixture(loss, sharpness=0).generator(logits)
    assert mixed == pytest.approx(value)
    np.testing.assert_allclose(mixed_gradient, gradient)


def test_a_sharp_softmax_hears_the_strictest_alone():
    logits = np.array([[3.0, -2.0], [4.0, -1.0]])  # the second is sure of fakes: G's loss against it is large
    value, gradient = SoftmaxMixture(NonSaturating(), sharpness=1e4).generator(logits)
    strict, strict_gradient = NonSaturating().generator(logits[:, 1])
    assert value == pytest.approx(strict)
    np.testing.assert_allclose(gradient[:, 1], strict_gradient)
    assert not gradient[:, 0].any()


def test_multi_d_passes_its_settings_on(reference: Backend):
    def assembled(**settings: object):
        return MultiD(width=1, **settings).assemble((28, 28, 1), backend=reference, rng=np.random.default_rng(0))

    assert type(assembled().loss) is NonSaturating
    loss = assembled(weights="softmax", sharpness=2.5, loss="minimax").loss
    assert isinstance(loss, SoftmaxMixture)
    assert (type(loss.loss), loss.sharpness) == (Minimax, 2.5)
    penalty = assembled(penalty="r1", penalty_weight=4.0, penalty_interval=3).penalty
    assert isinstance(penalty, PenaltyOfEach)
    assert (penalty.weight, penalty.interval, type(penalty.penalty)) == (4.0, 3, R1)


WRONG = [
    (MultiD, {"discriminators": 0}, "multi-d: discriminators must be from 1 to 1,000, got 0"),
    (MultiD, {"weights": "max"}, "multi-d: weights must be one of mean, softmax, got 'max'"),
    (MultiD, {"sharpness": "inf"}, "multi-d: sharpness must be a number from 0 up, got inf"),
    (MultiD, {"loss": "relativistic-average"}, "multi-d: the loss relativistic-average would compare one discrim"),
    (MultiD, {"feature_matching": 0.1}, "multi-d: feature_matching needs a single discriminator, got 3"),
    (MultiD, {"penalty": "r1", "pack": 2}, "multi-d: penalty=r1 cannot be used with augment.*Leave one of them out"),
    (MultiD, {"penalty": "r1", "augment": "color"}, "multi-d: penalty=.* cannot be used"),
    (MultiD, {"penalty": "r1", "condition": "concatenation"}, "multi-d: penalty=.* cannot be used"),
    (MinimaxGame, {"hidden": 3}, "minimax: hidden must be at least 4, got 3"),
    (MinimaxGame, {"dropout": 1.0}, r"minimax: dropout must be in \[0, 1\), got 1."),
    (MinimaxGame, {"pieces": 0}, "minimax: pieces must be positive, got 0"),
    (PacGAN, {"pieces": 0}, "pacgan: pieces must be positive, got 0"),
    (DCGANKeras, {"width": 0}, "dcgan-keras: width must be positive, got 0"),
    (DCGANCifar, {"dense": 0}, "dcgan-cifar: dense must be positive, got 0"),
    (DCGANCifar, {"d_norm": "none"}, "dcgan-cifar: d_norm must be one of inner, all, got 'none'"),
    (SNGAN, {"width": 1}, "sngan: width must be at least 2, got 1"),
]


@pytest.mark.parametrize(("recipe", "settings", "says"), WRONG, ids=[case[2] for case in WRONG])
def test_settings_that_do_not_go_together(recipe: type[Recipe], settings: dict[str, object], says: str):
    with pytest.raises(ConfigError, match=says):
        recipe.from_settings(settings)


def test_a_penalty_of_each_needs_discriminators_side_by_side(reference: Backend):
    D = Sequential([Dense(1)], name="D").build((2,), backend=reference, rng=np.random.default_rng(0))
    x = np.zeros((2, 2), np.float32)
    with pytest.raises(ConfigError, match="D: expected one Parallel of discriminators, got Dense"):
        PenaltyOfEach(R1()).add_gradients(D, x, x, grads=D.gradients(), rng=np.random.default_rng(0))


@pytest.mark.parametrize("recipe", [DCGANCifar, DCGANKeras, SNGAN], ids=lambda recipe: recipe.name)
def test_a_size_that_cannot_be_drawn_is_refused_with_the_settings(recipe: type[Recipe]):
    with pytest.raises(ConfigError, match=r"got .*106.*Use `size="):
        recipe(size=106)
    assert recipe(size=64).fit_size((106, 106)) == (64, 64)


# ---------------------------------------------------------------------------------------------- r3gan


PUBLISHED = {
    "cifar10": ({"condition": "projection"}, 20.8, 21.3),
    "ffhq64": ({}, 22.4, 22.4),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_r3gan_has_the_published_numbers_of_parameters(preset: str):
    """In millions; of the authors' configurations at full width."""
    more, *expected = PUBLISHED[preset]
    recipe = R3GAN.from_settings({"preset": preset, **more})
    for (network, _), shape, count in zip(
        recipe.networks((recipe.size, recipe.size, 3)),
        (recipe.source_shape((recipe.size,) * 2), (recipe.size, recipe.size, 3)),
        expected,
        strict=True,
    ):
        network.setup(shape, network.path)
        assert round(sum(p.size for _, p in network.named_parameters()) / 1e6, 1) == count


def test_r3gan_starts_as_the_paper_has_it(reference: Backend):
    """Blocks as identities, gains by the number of blocks; only the first two convolutions of a block have biases."""
    recipe = R3GAN(widths="64,64,32", blocks=2, condition="projection", classes=10)
    for network, shape in recipe.networks((16, 16, 3)):
        network.build(shape, backend=reference, rng=np.random.default_rng(0))
        spread = {name: float(np.std(p.value)) for name, p in network.named_parameters()}
        biases = [name for name, p in network.named_parameters() if p.name == "b"]
        assert len(biases) == 2 * 6
        for _, layer in network.walk():
            if not isinstance(layer, Residual):
                continue
            first, _, grouped, _, last = layer.inner.layers
            gain = (2 / 1.04) ** 0.5 * 6**-0.25
            assert float(np.std(first.w.value)) == pytest.approx(gain / first.w.shape[2] ** 0.5, rel=0.1)
            assert float(np.std(grouped.w.value)) == pytest.approx(gain / (9 * 16) ** 0.5, rel=0.1)
            assert grouped.groups == grouped.channels // 16
            assert not last.w.value.any()
            assert last.b is None
        if network.path == "G":
            assert spread["0.E"] == pytest.approx(10**-0.5, rel=0.1)
            assert spread["2.basis"] == pytest.approx(1, rel=0.1)
        else:
            basis = next(name for name in spread if name.endswith("basis"))
            assert spread[basis] == pytest.approx(1 / 4, rel=0.1)


def test_r3gans_numbers_follow_the_images(reference: Backend):
    """Over 1,000 images in batches of 10: half-way after 50 steps, held after 100; D's updates count for D."""
    recipe = R3GAN(widths="4,4", group=4, batch_size=10, ramp_images=1000, n_critic=2, augment="flip", condition="none")
    gan = recipe.assemble((8, 8, 1), backend=reference, rng=np.random.default_rng(0))
    average = recipe.moving_averages(gan, seed=0)["G"]
    for steps, share in ((0, 0.0), (50, 0.5), (100, 1.0), (10**6, 1.0)):
        gan.g_optimizer.steps, gan.d_optimizer.steps, average.updates = steps, 2 * steps, steps
        for optimizer in (gan.g_optimizer, gan.d_optimizer):
            assert optimizer.lr == pytest.approx(1e-3 + (5e-4 - 1e-3) * share)
            assert optimizer.beta2_at(optimizer.steps) == pytest.approx(0.9 + 0.09 * share)
        assert gan.penalty.weight_at(2 * steps) == pytest.approx(2 + (1 - 2) * share)
        half_life = 5000 * share
        assert average.decay_now() == pytest.approx(0.5 ** (10 / half_life) if half_life else 0)
    (layer,) = gan.augmenting
    assert (layer.end, layer.steps) == (0.3, 200)


R3GAN_REFUSED = [
    ({"widths": "64,x"}, "r3gan: widths must be numbers of channels joined by commas, got '64,x'"),
    ({"widths": "64,0"}, "widths must be numbers of channels"),
    ({"widths": "64,12"}, "groups of 16 channels do not divide the 24 of a block of width 12. Use `group=12`"),
    ({"size": 28}, "r3gan: expected images whose sides are a power of two times 4 pixels, such as 32 or 64, got 28x28"),
    ({"size": 48}, "got 48x48. Use `size=32`"),
    ({"size": 64, "widths": "64,64,32,16"}, "expected 5 widths for images of 64x64"),
    ({"penalty_weight": 0}, "r3gan: penalty_weight must be positive, got 0. Use `penalty='none'`"),
    ({"penalty_weight_end": 0}, "penalty_weight_end must be positive, got 0"),
    ({"ema_half_life": -1}, "ema_half_life must be a number from 0 up, got -1"),
    ({"augment_p": 1.5}, "augment_p must be in [0, 1], got 1.5"),
    ({"beta2_end": 1}, "beta2_end must be in [0, 1), got 1"),
    ({"blocks": 0}, "blocks must be from 1"),
]


@pytest.mark.parametrize(("settings", "says"), R3GAN_REFUSED, ids=[str(settings) for settings, _ in R3GAN_REFUSED])
def test_r3gan_refuses_in_one_line(settings, says: str):
    with pytest.raises(ConfigError) as caught:
        R3GAN.from_settings(settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_r3gan_takes_the_nearest_size_that_it_draws():
    recipe = R3GAN()
    assert [recipe.fit_size(size) for size in ((28, 28), (32, 32), (100, 90))] == [(32, 32), (32, 32), (64, 64)]


def test_an_average_that_remembers_more_than_there_is_gets_a_line():
    data = open_dataset("digits", size=32)
    R3GAN(steps=10, batch_size=8, ema_half_life=5000.0).fit(data)
    told = [line for line in data.notes if "half-life" in line]
    assert len(told) == 1
    assert "half-life of 5,000 images is longer than the training of 80" in told[0]
    quiet = open_dataset("digits", size=32)
    R3GAN(steps=1000, ema_half_life=5000.0).fit(quiet)
    assert not [line for line in quiet.notes if "half-life" in line]
