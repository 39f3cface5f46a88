"""Augmentation whose probability adapts: what it does to images, and how D's logits move it."""

import numpy as np
import pytest

from minigan.backends import Backend, get_backend
from minigan.errors import ConfigError
from minigan.losses import LOSSES, SoftmaxMixture, get_loss
from minigan.nn.gradcheck import check_gradient
from minigan.nn.layers.augmentation import AdaptiveAugmentation, Color, Cutout, Translation, augmentations
from minigan.recipes import DCGAN, MLP
from minigan.training.stepper import Stepper

SHAPE = (16, 16, 3)
OVER = 640


def layer(backend: Backend | str = "reference", *, p: float = 0.0, policy: str = "adaptive", over: float = OVER):
    (made,) = augmentations(policy, over=over)
    made.build(SHAPE, backend=backend, dtype="float64", rng=np.random.default_rng(0))
    made.p.value[...] = p
    return made


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, *SHAPE))


# ---------------------------------------------------------------------------------------------- what it does


def test_a_policy_names_some_or_means_all():
    assert [type(inner) for inner in layer().layers] == [Color, Translation, Cutout]
    assert [type(inner) for inner in layer(policy="adaptive:cutout, color").layers] == [Cutout, Color]


@pytest.mark.parametrize(
    "policy", ["adaptive:", "adaptive:hue", "adaptive,color", "color,adaptive", "adaptive:adaptive"]
)
def test_a_policy_that_is_none_is_refused(policy):
    with pytest.raises(
        ConfigError, match=r"unknown augmentation .*: expected some of flip, turns, color, translation, cutout"
    ):
        augmentations(policy)
    with pytest.raises(ConfigError, match=r"With adaptive: before them, or adaptive alone, their probability adapts\."):
        DCGAN(augment=policy)


@pytest.mark.parametrize("train", [True, False])
def test_with_p_0_and_in_evaluation_nothing_changes(host_backend: Backend, train: bool):
    x = images(6)
    y, cache = layer(host_backend, p=0.0 if train else 1.0).forward(x, train=train, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(layer().backward(y, cache, grads=None), y)


def test_with_p_1_it_is_all_of_them_one_after_the_other():
    made, x = layer(p=1.0), images(5)
    maps = made.draw(np.random.default_rng(7), 5)
    expected = x
    for inner, (own, chosen) in zip(made.layers, maps, strict=True):
        assert chosen.all()
        expected = inner.affine(expected, own)
    y, _ = made.forward(x, train=True, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_each_image_is_changed_by_each_with_probability_p(p):
    """Cutout and brightness leave no image as it was, so that the changed ones can be counted."""
    n = 2000
    for policy in ("adaptive:cutout", "adaptive:color"):
        made, x = layer(p=p, policy=policy), np.ones((n, *SHAPE))
        y, _ = made.forward(x, train=True, rng=np.random.default_rng(1))
        changed = (y != x).any((1, 2, 3)).mean()
        assert abs(changed - p) < 4 * np.sqrt(p * (1 - p) / n)
    both = layer(p=0.5, policy="adaptive:cutout,color").draw(np.random.default_rng(2), n)
    together = (both[0][1] & both[1][1]).mean()
    assert abs(together - 0.25) < 0.04, "independently of each other"


def test_backward_is_the_adjoint_and_double_backward_the_map_itself(host_backend: Backend):
    made, n = layer(host_backend, p=0.5), 12
    x, v, dy = images(n), images(n, 1), images(n, 2)
    rng = np.random.default_rng(3)
    y, cache = made.forward(x, train=True, rng=rng)
    moved = made.affine(x + v, cache)
    up, nothing = made.double_backward(v, dy, cache, grads=None)
    np.testing.assert_allclose(moved - y, up, atol=1e-12)
    assert nothing is None
    np.testing.assert_allclose((up * dy).sum(), (v * made.backward(dy, cache, grads=None)).sum(), rtol=1e-12)
    assert 0 < sum(int(chosen.sum()) for _, chosen in cache) < 3 * n


@pytest.mark.parametrize("penalty", ["none", "r1", "wgan-gp"])
def test_a_whole_step_s_gradients(penalty: str):
    """All of D's and of G's, the penalty's second order among them, against finite differences with the same draws."""
    rng = np.random.default_rng(0)
    options = {"augment": "adaptive", "augment_over": 10**9, "penalty": penalty, "d_norm": "none"}
    gan = DCGAN(width=2, latent=3, **options).assemble(SHAPE, backend="reference", dtype="float64", rng=rng)
    gan.augmenting[0].p.value[...] = 0.5
    for network in (gan.G, gan.D):
        for _, p in network.named_parameters():
            p.value[...] = rng.normal(0, 0.3, p.shape)
    real, z = images(6), gan.noise(rng, 6)

    def d_loss() -> float:
        values = gan.discriminator_gradients(real, gan.G.forward(z, train=True)[0], np.random.default_rng(7))
        return float(values.loss + values.penalty)

    def g_loss() -> float:
        fake, tape = gan.G.forward(z, train=True)
        return float(gan.generator_gradients(fake, tape, real, np.random.default_rng(7)).loss)

    for function, network, grads in ((d_loss, gan.D, gan.d_grads), (g_loss, gan.G, gan.g_grads)):
        function()
        gradient = grads.flat.copy()
        check = check_gradient(
            function, network.arena.flat, gradient, path=network.path, what="loss", rng=rng, scale=1.0
        )
        assert check.passed, check
        assert np.abs(gradient).max() > 1e-3


# ---------------------------------------------------------------------------------------------- how p moves


def moved(made: AdaptiveAugmentation, logits: np.ndarray, times: int, boundary: float = 0.0) -> list[float]:
    """p after each of so many updates on 64 real images with these logits."""
    found = []
    for _ in range(times):
        made.note(logits, boundary, images=64)
        made.adapt()
        found.append(float(made.p.value[0]))
    return found


def test_p_moves_after_four_updates_by_the_share_of_their_images():
    made, step = layer(), 4 * 64 / OVER
    sure = np.ones((64, 1))
    assert moved(made, sure, 9) == [0, 0, 0, step, step, step, step, 2 * step, 2 * step]
    assert made.verdict.value[0] == 1
    moved(made, sure, 3 + 4)
    assert made.p.value[0] == 1, "and no further"
    undecided = np.r_[np.ones(32), -np.ones(32)]
    assert moved(made, undecided, 4)[-1] == 1 - step
    assert made.verdict.value[0] == 0
    moved(made, undecided, 20)
    assert made.p.value[0] == 0


@pytest.mark.parametrize(("positive", "rises"), [(0.75, False), (0.79, False), (0.81, True), (0.95, True)])
def test_it_rises_where_the_mean_sign_is_above_the_target(positive, rises):
    """The mean sign is 2 * positive - 1; the target .6 is 80 % of the logits."""
    made = layer(p=0.5)
    logits = np.where(np.arange(100) < 100 * positive, 3.0, -0.1)
    assert (moved(made, logits, 4)[-1] > 0.5) == rises
    assert made.verdict.value[0] == pytest.approx(2 * positive - 1)


def test_signs_of_all_four_updates_count():
    made = layer(p=0.5)
    for logits in (np.ones(64), np.ones(64), np.ones(64), -np.ones(64)):
        moved(made, logits, 1)
    assert made.verdict.value[0] == 0.5
    assert made.p.value[0] < 0.5


@pytest.mark.parametrize("loss", LOSSES)
def test_the_boundary_is_where_the_loss_leaves_d_undecided(loss):
    real, fake = np.array([3.0, 5.0]), np.array([-1.0, 1.0])
    expected = {"least-squares": 0.5, "wasserstein": 2.0, "relativistic-average": 2.0, "relativistic-pairing": 2.0}.get(
        loss, 0.0
    )
    assert get_loss(loss).boundary(real, fake) == expected
    if not loss.startswith("relativistic"):
        assert SoftmaxMixture(get_loss(loss)).boundary(real, fake) == expected


def test_with_smoothed_labels_least_squares_lies_between_them():
    assert get_loss("least-squares", label_smoothing=0.2).boundary(np.ones(2), np.ones(2)) == pytest.approx(0.4)


@pytest.mark.parametrize("loss", LOSSES)
def test_scores_without_a_zero_move_p_as_those_around_it_would(loss):
    """A critic's scores may all be positive: only what lies between real and fake ones counts."""
    real, fake = np.full(8, 7.0), np.full(8, 6.0)
    made = layer()
    made.note(real, get_loss(loss).boundary(real, fake), images=8)
    made.note(fake, get_loss(loss).boundary(real, fake), images=8)
    shifts = loss == "wasserstein" or loss.startswith("relativistic")
    assert made.counts.value[0] == (0 if shifts else 16)


# ---------------------------------------------------------------------------------------------- in a training


def small(backend="reference", **options):
    recipe = MLP(**{"latent": 4, "hidden": 16, "augment": "adaptive", "augment_over": 2000, "lr": 1e-3, **options})
    return recipe.assemble((6, 6, 1), backend=backend, rng=np.random.default_rng(0))


def test_p_is_logged_and_kept_in_checkpoints():
    gan, rng = small(augment_over=64), np.random.default_rng(1)
    real = np.random.default_rng(2).uniform(-1, 1, (16, 6, 6, 1)).astype(np.float32)
    for _ in range(40):
        gan.step(iter([real]), rng)
    found = gan.measures()
    assert found.keys() == {"augment_p", "augment_r"}
    state = gan.to_dict()
    assert state["D.state.0.p"][0] == np.float32(found["augment_p"])
    twin = small(augment_over=64)
    twin.load_dict(state)
    assert twin.measures() == found
    assert MLP(hidden=4).assemble((6, 6, 1), backend="reference", rng=rng).measures() == {}


@pytest.mark.parametrize("options", [{"n_critic": 2}, {"accumulate": 2}, {"accumulate": 2, "n_critic": 2}, {"pack": 2}])
def test_it_counts_updates_of_d_and_their_images(options):
    gan, rng = small(**options), np.random.default_rng(1)
    real = np.zeros((16, 6, 6, 1), np.float32)
    updates, accumulate = options.get("n_critic", 1), options.get("accumulate", 1)
    gan.step(iter([real] * 4), rng)
    _, logits, shown, done = gan.augmenting[0].counts.value
    assert done == updates
    assert shown == updates * accumulate * 16
    assert logits == shown / options.get("pack", 1)


def test_divergence_leaves_p_as_it_was():
    gan, rng = small(augment_over=64), np.random.default_rng(1)
    stepper = Stepper(gan, iter([np.full((16, 6, 6, 1), value, np.float32) for value in (0, 0, 0, np.nan)]), rng)
    for _ in range(3):
        stepper.step()
    before = gan.D.state.flat.copy()
    with pytest.raises(Exception, match="not finite"), np.errstate(all="ignore"):
        stepper.step()
    np.testing.assert_array_equal(gan.D.state.flat, before)


def test_d_that_knows_its_images_by_heart_raises_p_and_one_that_cannot_does_not():
    """D against fakes that never change: few images it learns by heart, of many it can only guess.

    Real images and fakes have the same distribution, so that there is nothing to be learned but the images themselves.
    """
    draw = np.random.default_rng(0)
    found = {}
    for count in (200, 20_000):
        gan = small(hidden=64, lr=2e-3, augment_over=20_000, augment="adaptive:color")
        real = draw.normal(size=(count, 6, 6, 1)).astype(np.float32)
        rng = np.random.default_rng(1)
        for _ in range(700):
            fake = draw.normal(size=(32, 6, 6, 1)).astype(np.float32)
            gan.discriminator_step(real[draw.integers(count, size=32)], fake, rng)
        found[count] = gan.measures()
    assert found[200]["augment_p"] > 0.08
    assert found[20_000]["augment_p"] < 0.02


def test_bad_settings_are_refused():
    for name, wrong in (("augment_target", "1"), ("augment_target", "-0.5"), ("augment_over", "0")):
        with pytest.raises(ConfigError, match=name.partition("_")[2]):
            DCGAN.from_settings({"augment": "adaptive", name: wrong})
    with pytest.raises(ConfigError, match=r"AdaptiveAugmentation: expected at least one augmentation, got none"):
        AdaptiveAugmentation([])
    with pytest.raises(ConfigError, match=r"mlp: augment needs images, got points\. Leave `augment='adaptive'` out\."):
        MLP(augment="adaptive").assemble((2,), backend="reference", rng=np.random.default_rng(0))


def test_it_adds_nothing_to_learn():
    plain, adaptive = (
        DCGAN(width=2, augment=augment).assemble(
            (28, 28, 1), backend=get_backend("reference"), rng=np.random.default_rng(0)
        )
        for augment in ("", "adaptive")
    )
    np.testing.assert_array_equal(plain.D.arena.flat, adaptive.D.arena.flat)
    assert not adaptive.D.is_separable
    assert adaptive.D.layers[0].path == "D.0.AdaptiveAugmentation"
