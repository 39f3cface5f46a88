"""The recipes: the networks they promise, their settings, and what they refuse."""

import dataclasses
import itertools
import pydoc
import sys

import numpy as np
import pytest
from selection import few_quick

from minigan.backends import Backend
from minigan.errors import ConfigError
from minigan.losses import LOSSES, WGANGP, CoupledLoss, Hinge, NonSaturating, mse
from minigan.losses.gradient_penalties import PENALTIES, PenaltyOfEach
from minigan.nn.gradcheck import check_network
from minigan.nn.initializers import INITIALIZERS
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, LeakyReLU, ReLU, Sigmoid, Tanh
from minigan.nn.network import Sequential
from minigan.nn.optimizers import SGD, Adam, AdamW, Clipping, RMSprop
from minigan.nn.schedules import LinearDecay
from minigan.recipes import (
    DCGAN,
    MLP,
    R3GAN,
    RECIPES,
    SNGAN,
    DCGANCifar,
    DCGANKeras,
    MinimaxGame,
    MultiD,
    NoiseRecipe,
    PacGAN,
    Recipe,
    get_recipe,
)
from minigan.recipes.bases.settings import OPTIMIZERS
from minigan.recipes.dcgan import halvings
from minigan.training.alternating import AlternatingOptimizer

GANS = {name: recipe for name, recipe in RECIPES.items() if issubclass(recipe, NoiseRecipe)}
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
every_gan = pytest.mark.parametrize("recipe", GANS.values(), ids=GANS.keys())
# Settings that make a recipe's networks small, and images that it draws where 28x28 is not among them.
TINY = {
    "dcgan": {"width": 2},
    "mlp": {"hidden": 4},
    "minimax": {"hidden": 8},
    "dcgan-keras": {"width": 2},
    "dcgan-cifar": {"width": 2, "dense": 8},
    "sngan": {"width": 4, "n_critic": 1},
    "r3gan": {"widths": "4,4,2,2", "group": 2},
    "stylegan2": {"w_dim": 4, "channel_base": 32, "channel_max": 4},
    "multi-d": {"width": 2},
    "pacgan": {"g_hidden": 8, "d_hidden": 4},
}
SHAPES = {"dcgan-cifar": (32, 32, 1), "r3gan": (32, 32, 1), "stylegan2": (16, 16, 1)}


def tiny(recipe: type[Recipe], **settings: object) -> Recipe:
    return recipe.from_settings({"latent": 4, **TINY[recipe.name], **settings})


def shape_of(recipe: type[Recipe] | Recipe) -> tuple[int, ...]:
    return SHAPES.get(recipe.name, (28, 28, 1))


def built(network: Sequential, input_shape: tuple[int, ...], backend: Backend, *, dtype="float32") -> Sequential:
    return network.build(input_shape, backend=backend, dtype=dtype, rng=np.random.default_rng(0))


def images(shape: tuple[int, ...], n: int = 2, *, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (n, *shape)).astype(dtype)


def convolutions(network: Sequential) -> list[tuple[int, ...]]:
    return [layer.w.shape for _, layer in network.walk() if isinstance(layer, Conv2D)]


# ---------------------------------------------------------------------------------------------- dcgan


# Channels of the hidden images from the largest to the smallest, in units of width.
LADDERS = {28: [1, 2], 32: [1, 2, 4], 64: [1, 2, 4, 8], 128: [1, 2, 4, 8, 16]}
SMALLEST = {28: 7, 32: 4, 64: 4, 128: 4}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", LADDERS)
def test_dcgan_maps_noise_to_images_and_images_to_logits(backend: Backend, size: int, channels: int):
    recipe, shape = DCGAN(width=2, latent=5), (size, size, channels)
    gan = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0))
    assert gan.G.input_shape == (5,)
    assert gan.G.output_shape == gan.D.input_shape == shape
    assert gan.D.output_shape == (1,)
    rng = np.random.default_rng(0)
    fake, _ = gan.G.forward(backend.asarray(recipe.noise(rng, 2), dtype=gan.G.dtype), train=True)
    logits, _ = gan.D.forward(fake, train=True)
    assert fake.shape == (2, *shape)
    assert logits.shape == (2, 1)
    assert float(abs(fake).max()) <= 1


@pytest.mark.parametrize("size", LADDERS)
def test_dcgan_has_the_papers_layers(reference: Backend, size: int):
    recipe = DCGAN.from_settings({"preset": "paper", "width": 2, "latent": 5})
    width = [2 * k for k in LADDERS[size]]
    G = built(recipe.generator((size, size, 3)), (5,), reference)
    D = built(recipe.discriminator((size, size, 3)), (size, size, 3), reference)
    ends = SMALLEST[size]
    # w is (R, S, C, K) in D and (R, S, K, c) in G: the same list of shapes, read from the other end.
    ladder = [(4, 4, a, b) for a, b in zip([3, *width], width, strict=False)]
    assert convolutions(D) == [*ladder, (ends, ends, width[-1], 1)]
    assert convolutions(G) == [(ends, ends, width[-1], 5), *ladder[::-1]]

    kinds = {name: [type(layer) for layer in net.layers] for name, net in (("G", G), ("D", D))}
    n = len(width)
    assert kinds["G"].count(BatchNorm) == kinds["G"].count(ReLU) == n
    assert kinds["G"][-2:] == [ConvTranspose2D, Tanh]
    assert kinds["D"].count(BatchNorm) == n - 1
    assert kinds["D"][:2] == [Conv2D, LeakyReLU]
    assert kinds["D"].count(LeakyReLU) == n
    assert {layer.slope for layer in D.layers if isinstance(layer, LeakyReLU)} == {0.2}


def test_dcgan_starts_as_the_paper_says(reference: Backend):
    recipe = DCGAN.from_settings({"preset": "paper", "width": 32})
    for network, shape in (
        (recipe.generator((32, 32, 3)), (100,)),
        (recipe.discriminator((32, 32, 3)), (32, 32, 3)),
    ):
        arrays = built(network, shape, reference).arena.to_dict()
        weights = np.concatenate([a.ravel() for name, a in arrays.items() if name.endswith(".w")])
        gammas = np.concatenate([a.ravel() for name, a in arrays.items() if name.endswith("gamma")])
        assert abs(weights.mean()) < 1e-3
        assert abs(weights.std() - 0.02) < 1e-3
        assert abs(gammas.mean() - 1) < 0.01
        assert abs(gammas.std() - 0.02) < 0.005
        assert not any(name.endswith(".b") for name in arrays)  # BatchNorm's beta does that
    assert (recipe.lr, recipe.beta1, recipe.latent) == (2e-4, 0.5, 100)


@pytest.mark.parametrize("init", INITIALIZERS)
def test_dcgan_starts_as_the_setting_says(reference: Backend, init: str):
    recipe = DCGAN(width=8, init=init)
    D = built(recipe.discriminator((32, 32, 3)), (32, 32, 3), reference, dtype="float64")
    first = INITIALIZERS[init](np.random.default_rng(0), (4, 4, 3, 8))
    np.testing.assert_array_equal(D.layers[0].w.value, first)


@pytest.mark.parametrize(("size", "n"), [(28, 2), (32, 3), (64, 4), (128, 5), (8, 1), (14, 1), (40, 3), (96, 4)])
def test_halvings(size: int, n: int):
    assert halvings((size, size)) == n


def test_halvings_of_oblong_images(backend: Backend):
    assert halvings((28, 56)) == 2
    recipe = DCGAN(width=2, latent=3)
    G = built(recipe.generator((16, 24, 1)), (3,), backend)
    D = built(recipe.discriminator((16, 24, 1)), (16, 24, 1), backend)
    assert G.output_shape == (16, 24, 1)
    assert D.output_shape == (1,)


@pytest.mark.parametrize("size", [(30, 30), (100, 100), (7, 7), (1, 1), (256, 256), (28, 30), (64, 200), (4, 64)])
def test_sizes_that_cannot_be_halved(size: tuple[int, int]):
    with pytest.raises(ConfigError, match=rf"expected images .*28, 32, 64, 128.*got {size[0]}x{size[1]}.*`size=64`"):
        halvings(size)


@pytest.mark.parametrize(
    ("data", "trained_at"),
    [
        ((28, 28), (28, 28)),
        ((32, 32), (32, 32)),
        ((96, 64), (96, 64)),
        ((100, 100), (96, 96)),
        ((30, 31), (28, 28)),
        ((70, 50), (64, 48)),
        ((600, 800), (96, 128)),
        ((5, 5), (8, 8)),
        (None, (64, 64)),
    ],
)
def test_dcgan_chooses_a_size(data: tuple[int, int] | None, trained_at: tuple[int, int]):
    assert DCGAN().fit_size(data) == trained_at
    assert DCGAN(size=32).fit_size(data) == (32, 32)


def test_dcgan_refuses_points():
    with pytest.raises(ConfigError, match=r"dcgan draws images, got points.*recipe mlp"):
        DCGAN().check_points()


@pytest.mark.parametrize(
    ("size", "width", "units"),
    [
        *[((14, 14), 16, 128), ((28, 28), 16, 128), ((28, 56), 16, 128)],
        *[((32, 32), 32, 0), ((56, 56), 32, 0), ((64, 64), 64, 0), ((128, 128), 64, 0)],
    ],
)
def test_dcgan_chooses_its_networks_by_the_size_of_the_images(
    reference: Backend, size: tuple[int, int], width: int, units: int
):
    sized = DCGAN().for_images((*size, 1))
    assert (sized.width, sized.mapping, sized.head) == (width, units, units)
    assert sized.for_images((128, 128, 3)) == sized  # numbers stay
    own = DCGAN(width=2, mapping=3, head=0)
    assert own.for_images((*size, 1)) == own
    if max(size) > 32:
        return
    G, D = DCGAN(latent=5).generator((*size, 1)), DCGAN(latent=5).discriminator((*size, 1))
    assert [layer.features for layer in G.layers if isinstance(layer, Dense)] == ([units] if units else [])
    assert [layer.features for layer in D.layers if isinstance(layer, Dense)] == ([units, 1] if units else [])
    assert convolutions(built(D, (*size, 1), reference))[0] == (4, 4, 1, width)
    first = convolutions(built(G, (5,), reference))[0]
    assert first[2:] == (width << (halvings(size) - 1), units or 5)


def test_dcgan_keeps_the_numbers_that_the_size_decided(tmp_path):
    for side, expected in ((28, (16, 128, 128)), (32, (32, 0, 0))):
        np.save(tmp_path / f"{side}.npy", np.zeros((64, side, side), np.uint8))
        recipe = DCGAN()
        fitted = recipe.fit(recipe.open_data(str(tmp_path / f"{side}.npy"), seed=0))
        assert (fitted.width, fitted.mapping, fitted.head) == expected
        assert DCGAN.from_stored(fitted.settings()) == fitted
    assert (MultiD().width, MultiD().mapping, MultiD().head) == (64, 0, 0)


def test_dcgan_without_batchnorm_in_the_critic(reference: Backend):
    recipe = DCGAN(width=2, latent=5, d_norm="none", mapping=6, head=6)
    D = built(recipe.discriminator((32, 32, 3)), (32, 32, 3), reference)
    G = built(recipe.generator((32, 32, 3)), (5,), reference)
    assert not any(isinstance(layer, BatchNorm) for layer in D.layers)
    assert sum(isinstance(layer, BatchNorm) for layer in G.layers) == 4
    assert [name for name, _ in D.named_parameters()] == [
        *("0.w", "2.w", "2.b", "4.w", "4.b"),
        *("7.w", "7.b", "9.w", "9.b"),
    ]


def test_dcgan_warns_of_batchnorm_under_wgan_gp(reference: Backend):
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match=r"D\.3\.BatchNorm.*Use a D without BatchNorm"):
        DCGAN(width=2, penalty="wgan-gp").assemble((28, 28, 1), backend=reference, rng=rng)
    DCGAN(width=2, penalty="wgan-gp", d_norm="none").assemble((28, 28, 1), backend=reference, rng=rng)


# ---------------------------------------------------------------------------------------------- mlp


def test_mlp_has_the_tutorials_layers(reference: Backend):
    recipe = MLP()
    G = built(recipe.generator((28, 28, 1)), (100,), reference)
    D = built(recipe.discriminator((28, 28, 1)), (28, 28, 1), reference)

    def widths(network: Sequential) -> list[tuple[int, ...]]:
        return [layer.w.shape for layer in network.layers if isinstance(layer, Dense)]

    assert widths(G) == [(100, 128), (128, 128), (128, 784)]
    assert widths(D) == [(784, 128), (128, 128), (128, 1)]
    assert [layer.slope for layer in G.layers + D.layers if isinstance(layer, LeakyReLU)] == [0.2] * 4
    assert sum(isinstance(layer, Sigmoid) for layer in G.layers) == 1
    assert not any(isinstance(layer, Sigmoid) for layer in D.layers)
    (term,) = recipe.generator_terms()
    assert term == (1e-4, mse)
    assert MLP(mse_weight=0).generator_terms() == ()
    assert recipe.loss == "squared-probability"
    assert recipe.lr == 2e-4


def test_points_are_not_augmented(reference: Backend):
    with pytest.raises(ConfigError, match=r"mlp: augment needs images, got points\. Leave `augment='color'` out"):
        MLP(augment="color").assemble((2,), backend=reference, rng=np.random.default_rng(0))


def test_mlp_draws_points_with_a_linear_layer(backend: Backend):
    recipe = MLP(hidden=8, latent=3)
    recipe.check_points()
    gan = recipe.assemble((2,), backend=backend, rng=np.random.default_rng(0))
    points = backend.asarray(np.random.default_rng(1).normal(size=(4, 2)), dtype=gan.D.dtype)
    values = gan.step(iter([points]), np.random.default_rng(2))
    assert all(np.isfinite(float(v)) for v in values)
    assert gan.G.output_shape == (2,)
    assert not any(isinstance(layer, Sigmoid) for layer in gan.G.layers)


@pytest.mark.parametrize(
    ("data", "trained_at"), [((28, 28), (28, 28)), ((20, 64), (20, 64)), ((65, 10), (64, 10)), (None, (28, 28))]
)
def test_mlp_chooses_a_size(data: tuple[int, int] | None, trained_at: tuple[int, int]):
    assert MLP().fit_size(data) == trained_at


# ---------------------------------------------------------------------------------------------- all of them


@every_gan
def test_a_step_trains_both_networks(backend: Backend, recipe: type[Recipe]):
    loss = {"loss": "non-saturating"} if recipe is SNGAN else {}  # the hinge's slopes cancel in D's last bias
    gan = tiny(recipe, **loss).assemble(shape_of(recipe), backend=backend, rng=np.random.default_rng(0))
    before = gan.to_dict()
    real = backend.asarray(images(shape_of(recipe), 4))
    for _ in range(2 if recipe is R3GAN else 1):  # its blocks begin as identities
        values = gan.step(iter([real] * gan.batches_per_step), np.random.default_rng(0))
    assert all(np.isfinite(float(v)) for v in values)
    after = gan.to_dict()
    fixed = {name for name in before if name.endswith(("running_var", ".steps", ".noise", ".path_length"))}
    fixed |= {name for name in before if name.endswith(".u") and before[name].size == 1}  # a direction on a line
    assert [name for name in before.keys() - fixed if not (before[name] != after[name]).any()] == []


@every_gan
def test_prepare_is_undone_by_to_images(recipe: type[Recipe]):
    r = recipe()
    x = images((28, 28, 3))
    prepared = r.prepare(x)
    assert prepared.shape == x.shape
    assert prepared.dtype == x.dtype
    np.testing.assert_allclose(r.to_images(prepared), x, atol=1e-6)


@pytest.mark.parametrize("recipe", [pytest.param(r, id=name) for name, r in GANS.items() if name != "stylegan2"])
def test_prepared_images_have_the_range_of_the_generator(reference: Backend, recipe: type[Recipe]):
    """Weights so large that G's last activation saturates draw the darkest and the brightest pixel there is.

    StyleGAN2's G has no last activation: its images are clipped when they are drawn.
    """
    r = tiny(recipe)
    G = built(r.generator(shape_of(r)), (4,), reference)
    G.arena.flat[:] *= 1e4
    G.arena.updated()
    drawn, _ = G.forward(r.noise(np.random.default_rng(0), 16).astype(np.float32), train=True)
    darkest, brightest = r.prepare(np.array([-1.0, 1.0], np.float32).reshape(2, 1, 1, 1)).ravel()
    if recipe is R3GAN:  # linear, and cut off where it is drawn
        assert drawn.min() < darkest < brightest < drawn.max()
        return
    assert drawn.min() == pytest.approx(darkest, abs=1e-5)
    assert drawn.max() == pytest.approx(brightest, abs=1e-5)


def test_points_are_left_as_they_are():
    x = images((2,))
    assert (MLP().prepare(x) == x).all()
    assert (MLP().to_images(x) == x).all()


@every_gan
def test_noise_is_normal(recipe: type[Recipe]):
    r = recipe(latent=50)
    z = r.noise(np.random.default_rng(0), 400)
    assert z.shape == (400, 50)
    assert z.dtype == np.float64
    assert abs(z.mean()) < 0.05
    assert abs(z.std() - 1) < 0.05
    assert (z == r.noise(np.random.default_rng(0), 400)).all()


@every_gan
def test_assembly_passes_the_settings_on(reference: Backend, recipe: type[Recipe]):
    r = tiny(recipe, lr=3e-3, beta1=0.25, beta2=0.75, n_critic=4, loss="minimax", penalty="none")
    gan = r.assemble(shape_of(r), backend=reference, dtype="float64", rng=np.random.default_rng(0))
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        assert (optimizer.lr, optimizer.beta1, optimizer.beta2_at(0)) == (3e-3, 0.25, 0.75)
    assert gan.n_critic == 4
    assert type(gan.loss).__name__ == "Minimax"
    assert gan.noise == r.noise
    assert gan.G.dtype == gan.D.dtype == np.float64
    assert (gan.G.path, gan.D.path) == ("G", "D")


@every_gan
@pytest.mark.filterwarnings("ignore:.*makes each logit depend on the whole batch:UserWarning")
def test_losses_and_penalties_are_settings(fast_backend: Backend, recipe: type[Recipe]):
    """Every loss with some penalty and every penalty with some loss trains."""
    extra = {"d_norm": "none"} if issubclass(recipe, DCGAN) else {}
    for loss, penalty in itertools.zip_longest(LOSSES, ("none", *PENALTIES), fillvalue="none"):
        if recipe is MultiD and issubclass(LOSSES[loss], CoupledLoss):
            continue
        r = tiny(recipe, loss=loss, penalty=penalty, **extra)
        gan = r.assemble(shape_of(r), backend=fast_backend, rng=np.random.default_rng(0))
        assert type(gan.loss) is LOSSES[loss]
        kind = type(gan.penalty.penalty if isinstance(gan.penalty, PenaltyOfEach) else gan.penalty)
        assert kind is PENALTIES.get(penalty, type(None))
        real = fast_backend.asarray(images(shape_of(r)))
        values = gan.step(iter([real] * gan.batches_per_step), np.random.default_rng(0))
        assert all(np.isfinite(float(v)) for v in values)


def test_features_are_matched_behind_augmentations_and_packs(backend: Backend):
    augment = "color,translation,cutout"
    r = DCGAN(latent=4, width=2, head=0, feature_matching=0.5, augment=augment, pack=2, penalty="r1")
    gan = r.assemble((28, 28, 1), backend=backend, rng=np.random.default_rng(0))
    values = gan.step(iter([backend.asarray(images((28, 28, 1)))]), np.random.default_rng(0))
    assert all(np.isfinite(float(v)) for v in values)


def test_numbers_of_losses_and_penalties_are_passed_on(reference: Backend):
    r = MLP(
        label_smoothing=0.1,
        penalty="r1",
        penalty_weight=2.5,
        penalty_interval=16,
        instance_noise=0.2,
        instance_noise_steps=7,
    )
    gan = r.assemble((5, 4, 1), backend=reference, rng=np.random.default_rng(0))
    assert gan.loss.real_label == 0.9
    assert (gan.penalty.weight, gan.penalty.interval) == (2.5, 16)
    assert gan.instance_noise == (0.2, 7)


def assembled(recipe: Recipe, backend: Backend) -> AlternatingOptimizer:
    return recipe.assemble((28, 28, 1), backend=backend, rng=np.random.default_rng(0))


def test_each_optimizer_has_its_settings(reference: Backend):
    made = {
        name: assembled(
            MLP(optimizer=name, beta1=0.25, momentum=0.75, rms_decay=0.875, weight_decay=0.5), reference
        ).d_optimizer
        for name in OPTIMIZERS
    }
    assert {name: type(optimizer) for name, optimizer in made.items()} == {
        "adam": Adam, "adamw": AdamW, "sgd": SGD, "rmsprop": RMSprop,
    }  # fmt: skip
    assert made["adam"].beta1 == made["adamw"].beta1 == 0.25
    assert (made["adam"].weight_decay, made["adamw"].weight_decay) == (0, 0.5)
    assert (made["sgd"].momentum, made["rmsprop"].decay) == (0.75, 0.875)


def test_two_time_scales_and_the_original_wgans_clipping(reference: Backend):
    gan = assembled(MLP(lr=1e-3, d_lr=4e-3, clip_norm=2, clip_value=1, clip_weights=0.01), reference)
    assert (gan.g_optimizer.lr, gan.d_optimizer.lr) == (1e-3, 4e-3)
    assert assembled(MLP(lr=1e-3, g_lr=5e-4), reference).g_optimizer.lr == 5e-4
    assert gan.g_optimizer.clipping == Clipping(norm=2, value=1)
    assert gan.d_optimizer.clipping == Clipping(norm=2, value=1, weights=0.01)


@pytest.mark.parametrize(
    ("settings", "rates"),  # at G's steps 0, 10, 15, 20
    [
        ({"schedule": "constant"}, [1, 1, 1, 1]),
        ({"schedule": "linear", "decay_from": 10}, [1, 1, 0.5, 0]),
        ({"schedule": "cosine", "decay_until": 10}, [1, 0, 0, 0]),
        ({"schedule": "exponential", "decay_every": 5, "decay_factor": 0.1}, [1, 0.01, 0.001, 0.0001]),
    ],
)
def test_schedules_count_the_generators_steps(reference: Backend, settings: dict, rates: list[float]):
    gan = assembled(MLP(lr=1.0, steps=20, n_critic=3, **settings), reference)
    for step, rate in zip((0, 10, 15, 20), rates, strict=True):
        gan.g_optimizer.steps, gan.d_optimizer.steps = step, 3 * step
        assert (gan.g_optimizer.lr, gan.d_optimizer.lr) == pytest.approx((rate, rate), abs=1e-12)


SMALL = {
    "dcgan": (DCGAN(width=2, latent=3), (28, 28, 1)),
    "dcgan, three halvings": (DCGAN(width=1, latent=3), (32, 32, 3)),
    "dcgan, augmented": (DCGAN(width=1, latent=3, augment="color"), (28, 28, 1)),
    "dcgan, packed": (DCGAN(width=1, latent=3, pack=4, augment="color"), (16, 16, 3)),
    "mlp": (MLP(hidden=6, latent=3), (5, 4, 1)),
    "minimax": (MinimaxGame(hidden=8, latent=3), (5, 4, 1)),
    "minimax, points": (MinimaxGame(hidden=8, latent=3), (2,)),
    "dcgan-keras": (DCGANKeras(width=1, latent=3), (10, 7, 3)),
    "dcgan-cifar": (DCGANCifar(width=1, dense=6, latent=3), (16, 32, 1)),
    "sngan": (SNGAN(width=4, latent=3), (16, 16, 1)),
    "r3gan": (R3GAN(widths="4,2", group=2, latent=3, augment=""), (8, 8, 1)),
    "multi-d": (MultiD(width=1, latent=3, discriminators=2, multi_scale=True), (16, 16, 1)),
    "multi-d, packed": (MultiD(width=1, latent=3, discriminators=2, pack=2, augment="color"), (8, 8, 1)),
    "pacgan": (PacGAN(g_hidden=6, d_hidden=3, batch_size=4, pack=2), (2,)),
}


# The gradients of each layer are checked, and those of whole steps of the other recipes: `test_step_gradients.py`.
QUICK = ("dcgan", "mlp", "minimax, points", "r3gan", "multi-d, packed", "pacgan")


@pytest.mark.parametrize("name", few_quick(SMALL, QUICK))
def test_whole_networks_pass_the_gradient_check(host_backend: Backend, name: str):
    recipe, shape = SMALL[name]
    rng = np.random.default_rng(0)
    n = 3 * recipe.pack
    z = recipe.noise(rng, n)
    x = recipe.prepare(images(shape, n, dtype="float64"))
    gan = recipe.assemble(shape, backend=host_backend, dtype="float64", rng=np.random.default_rng(0))
    for network, inputs in ((gan.G, z), (gan.D, x)):
        for _, p in network.named_parameters():  # DCGAN's first weights are so small that hardly anything depends on x
            p.value[...] = rng.normal(0, 0.5, p.shape)
        checks = list(check_network(network, inputs, rng=rng))
        assert [str(check) for check in checks if not check.passed] == []
        assert len(checks) > 4 * len(network.layers)


# ---------------------------------------------------------------------------------------------- settings


def test_names():
    assert get_recipe("dcgan") is DCGAN
    assert all(get_recipe(name).name == name for name in RECIPES)
    for name, says in (
        ("dcgna", r"unknown recipe 'dcgna': expected one of dcgan, mlp.*\. Did you mean dcgan\?"),
        ("dcgan ", r"Did you mean dcgan\?"),
        ("DCGAN", r"Did you mean dcgan\?"),
        (["dcgan"], r"unknown recipe \['dcgan'\]: expected one of dcgan"),
        (3, "unknown recipe 3: expected one of dcgan"),
    ):
        with pytest.raises(ConfigError, match=says):
            get_recipe(name)


@every_gan
def test_settings_go_round(recipe: type[Recipe]):
    r = recipe(lr=1e-3, latent=7)
    assert recipe.from_settings(r.settings()) == r
    assert recipe.from_settings({key: str(value) for key, value in r.settings().items()}) == r
    assert recipe.from_settings({}) == recipe()


def test_a_preset_stands_for_its_settings():
    recipe = DCGAN.from_settings({"preset": "wgan-gp", "lr": "5e-4"})
    assert (recipe.loss, recipe.penalty, recipe.n_critic, recipe.mapping, recipe.lr) == (
        *("wasserstein", "wgan-gp", 5, 0),
        5e-4,  # what is set beside the preset wins
    )
    assert "preset" not in recipe.settings()
    assert DCGAN.from_settings(DCGAN.from_settings({"preset": "paper"}).settings()) == DCGAN.from_settings(
        {"lr": 2e-4, "steps": 4000, "width": 64, "mapping": 0, "head": 0, "ema": 0, "condition": "none"}
    )
    for kind, name, says in (
        (DCGAN, "papr", r"dcgan has no preset 'papr': expected one of paper, wgan-gp\. Did you mean paper\?"),
        (DCGAN, 3, "dcgan has no preset 3: expected one of paper, wgan-gp"),
        (MLP, "paper", "mlp has no preset 'paper': it has none"),
    ):
        with pytest.raises(ConfigError, match=says):
            kind.from_settings({"preset": name})
    for kind in RECIPES.values():
        for name in kind.presets:
            assert kind.from_settings({"preset": name}).settings().items() >= dict(kind.presets[name]).items()
            assert f"preset={name!r}: " in kind.__doc__


def test_settings_are_read_from_text():
    r = DCGAN.from_settings({"lr": "1e-4", "width": "32", "loss": "minimax", "size": "64"})
    assert (r.lr, r.width, r.loss, r.size) == (1e-4, 32, "minimax", 64)
    assert DCGAN.from_settings({"lr": 1}).lr == 1.0
    assert isinstance(DCGAN.from_settings({"lr": 1}).lr, float)


WRONG = [
    ({"widht": 3}, "dcgan has no setting 'widht'. Did you mean width?"),
    ({"width": "many"}, "dcgan: width must be an integer, got 'many'"),
    ({"width": -1}, "dcgan: width must be a number from 0 up, got -1"),
    ({"mapping": -2}, "dcgan: mapping must be at least -1, got -2"),
    ({"head": -3}, "dcgan: head must be at least -1, got -3"),
    ({"width": 2.5}, "dcgan: width must be an integer, got 2.5"),
    ({"width": "2.5"}, "dcgan: width must be an integer, got '2.5'"),
    ({"width": True}, "dcgan: width must be an integer, got True"),
    ({"width": None}, "dcgan: width must be an integer, got None"),
    ({"lr": "fast"}, "dcgan: lr must be a number, got 'fast'"),
    ({"loss": 3}, "dcgan: loss must be a string, got 3"),
    (
        {"loss": "wgan"},
        "dcgan: loss must be one of minimax, non-saturating, squared-probability, least-squares, "
        "wasserstein, hinge, relativistic-average, relativistic-pairing, got 'wgan'",
    ),
    ({"latent": 0}, "dcgan: latent must be positive, got 0"),
    ({"batch_size": -1}, "dcgan: batch_size must be positive, got -1"),
    ({"steps": 0}, "dcgan: steps must be positive, got 0"),
    ({"n_critic": 0}, "dcgan: n_critic must be positive, got 0"),
    ({"lr": 0}, "dcgan: lr must be positive, got 0"),
    ({"lr": "nan"}, "dcgan: lr must be positive, got nan"),
    ({"beta1": 1}, "dcgan: beta1 must be in [0, 1), got 1"),
    ({"beta2": -0.5}, "dcgan: beta2 must be in [0, 1), got -0.5"),
    ({"label_smoothing": 1}, "dcgan: label_smoothing must be in [0, 1), got 1"),
    ({"label_smoothing": 0.1, "loss": "hinge"}, "dcgan: the loss hinge has no labels to smooth: expected one of mini"),
    ({"penalty": "gp"}, "dcgan: penalty must be one of none, wgan-gp, dragan, r1, r2, r1+r2, got 'gp'"),
    ({"penalty_weight": 0}, "dcgan: penalty_weight must be positive, got 0"),
    ({"penalty_interval": 0}, "dcgan: penalty_interval must be positive, got 0"),
    ({"instance_noise": -0.1}, "dcgan: instance_noise must be a number from 0 up, got -0.1"),
    ({"feature_matching": -1}, "dcgan: feature_matching must be a number from 0 up, got -1"),
    ({"instance_noise_steps": 0}, "dcgan: instance_noise_steps must be positive, got 0"),
    ({"d_norm": "layer"}, "dcgan: d_norm must be one of batch, spectral, none, got 'layer'"),
    ({"init": "saxe"}, "dcgan: init must be one of normal, orthogonal, he, glorot, got 'saxe'"),
    ({"optimizer": "lion"}, "dcgan: optimizer must be one of adam, adamw, sgd, rmsprop, got 'lion'"),
    ({"schedule": "step"}, "dcgan: schedule must be one of constant, linear, exponential, cosine, got 'step'"),
    ({"d_lr": -1}, "dcgan: d_lr must be a number from 0 up, got -1"),
    ({"clip_norm": "inf"}, "dcgan: clip_norm must be a number from 0 up, got inf"),
    ({"momentum": 1}, "dcgan: momentum must be in [0, 1), got 1"),
    ({"decay_every": 0}, "dcgan: decay_every must be positive, got 0"),
    ({"schedule": "linear", "decay_from": 9000}, "got decay_from=9000, decay_until=0, steps=3000"),
    (
        {"augment": "color,mixup"},
        "unknown augmentation 'mixup': expected some of flip, turns, color, translation, cutout",
    ),
    ({"fake_pool": -1}, "dcgan: fake_pool must be a number from 0 up, got -1"),
    ({"pack": 3}, "dcgan: pack must divide batch_size, got pack=3, batch_size=64"),
    ({"pack": 0}, "dcgan: pack must divide batch_size, got pack=0"),
    ({"ema": 1}, "dcgan: ema must be in [0, 1), got 1"),
    ({"ema_statistics": "eval"}, "dcgan: ema_statistics must be one of running, batch, standing, got 'eval'"),
    ({"channels": 2}, "channels must be 1 or 3"),
    ({"size": -28}, "size must be a side or (height, width), from 1 up (0 chooses by the data), got -28"),
    ({"size": 30}, "got 30x30"),
]


@pytest.mark.parametrize(("settings", "says"), WRONG, ids=[case[1] for case in WRONG])
def test_wrong_settings(settings: dict[str, object], says: str):
    with pytest.raises(ConfigError) as caught:
        DCGAN.from_settings(settings)
    assert says in str(caught.value)


@pytest.mark.parametrize("settings", [{"hidden": 0}, {"mse_weight": -1.0}, {"mse_weight": float("nan")}])
def test_wrong_settings_of_the_mlp(settings: dict[str, object]):
    with pytest.raises(ConfigError, match=r"mlp: (hidden must be positive|mse_weight must be a number from 0 up), got"):
        MLP.from_settings(settings)


@every_recipe
def test_every_setting_is_documented(recipe: type[Recipe]):
    assert [f.name for f in dataclasses.fields(recipe) if not recipe.meanings.get(f.name)] == []


@every_recipe
def test_help_has_every_setting_with_its_default_and_the_paper(recipe: type[Recipe]):
    text = pydoc.plain(pydoc.render_doc(recipe))
    for name, default in recipe().settings().items():
        assert f"{name} = {default!r}: {recipe.meanings[name]}" in text
    assert sys.modules[recipe.__module__].__doc__.splitlines()[0] in text
    assert recipe.__doc__.splitlines()[0] in text


@every_recipe
def test_a_recipe_shows_what_differs_from_its_defaults(recipe: type[Recipe]):
    assert repr(recipe()) == f"{recipe.__name__}()"
    assert repr(recipe(steps=7, lr=0.5)) == f"{recipe.__name__}(steps=7, lr=0.5)"


def test_constructors_take_numpys_numbers_and_keep_pythons():
    recipe = DCGAN(width=np.int64(4), lr=np.float32(0.5), steps=np.int32(3), beta1=0)
    assert (type(recipe.width), type(recipe.lr), type(recipe.beta1)) == (int, float, float)
    assert recipe == DCGAN(width=4, lr=0.5, steps=3, beta1=0.0)
    assert type(get_recipe("superres")(conditional=np.True_).conditional) is bool


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"width": "4"}, r"width must be an integer, got '4'\. Write width=4\."),
        ({"width": 4.0}, r"width must be an integer, got 4\.0\. Write width=4\."),
        ({"width": True}, r"width must be an integer, got True\."),
        ({"size": (64, 64, 3)}, r"size must be a side or \(height, width\), .*, got \(64, 64, 3\)\."),
        ({"lr": "1e-3"}, r"lr must be a number, got '1e-3'\. Write lr=1e-3\."),
        ({"lr": 10**400}, r"lr must be a number, got 1000"),
        ({"lr": 0}, r"lr must be positive, got 0\."),
        ({"lr": None}, r"lr must be a number, got None\."),
        ({"loss": Hinge}, r"loss must be a string, got the class Hinge\. Write loss='hinge'\."),
        ({"loss": NonSaturating()}, r"loss must be a string, got a NonSaturating\. Write loss='non-saturating'\."),
        ({"penalty": WGANGP}, r"Write penalty='wgan-gp'\."),
        ({"optimizer": AdamW}, r"Write optimizer='adamw'\."),
        ({"schedule": LinearDecay(1e-3, 0, 9)}, r"Write schedule='linear'\."),
        ({"schedule": print}, r"schedule must be a string, got the function print\.$"),
        ({"loss": "Hinge"}, r"got 'Hinge'\. Did you mean hinge\?"),
        ({"optimizer": "Adam"}, r"got 'Adam'\. Did you mean adam\?"),
        ({"loss": ["hinge"]}, r"loss must be a string, got \['hinge'\]\."),
        ({"augment": 3}, r"augment must be a string, got 3\."),
    ],
)
def test_constructors_check_kinds(settings: dict[str, object], says: str):
    with pytest.raises(ConfigError, match=rf"^dcgan: .*{says}"):
        DCGAN(**settings)


def test_superres_checks_kinds_before_ranges():
    with pytest.raises(ConfigError, match=r"^superres: blocks must be an integer, got '3'\. Write blocks=3\.$"):
        get_recipe("superres")(blocks="3")
    with pytest.raises(ConfigError, match="factor must be 2, 4 or 8, got 0"):
        get_recipe("superres")(factor=0, size=64)


@every_recipe
@pytest.mark.parametrize("shape", [28, (28, 28), ((28, 28), 1), (28.0, 28, 1), (0, 28, 1), None, "28"])
def test_an_image_shape_that_is_none_is_refused(recipe: type[Recipe], shape: object):
    for method in (recipe().assemble, recipe().built_generator):
        with pytest.raises(ConfigError, match=r"image_shape must be \(H, W, C\), or \(2,\) for points, got .*Write"):
            method(shape, backend="reference", rng=np.random.default_rng(0))


def test_points_are_refused_by_a_recipe_of_images():
    with pytest.raises(ConfigError, match="dcgan draws images, got points"):
        DCGAN().assemble((2,), backend="reference", rng=np.random.default_rng(0))
