"""Recipes from image to image: their data, what is held out, a whole step's gradients, resuming, what they refuse."""

import io

import numpy as np
import pytest

from minigan import runs
from minigan.backends import Backend
from minigan.data import open_dataset
from minigan.data.interpolation import bicubic, block_means
from minigan.data.subset import split_dataset
from minigan.errors import ConfigError, DataError
from minigan.nn.gradcheck import check_gradient
from minigan.recipes import Denoise, Inpaint, Pix2Pix, Segment, SuperResolution, get_recipe
from minigan.recipes.bases.translation import spread
from minigan.runs.prepare import create_folder, load_checkpoint, prepare_from_folder, prepare_run
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress
from minigan.training.rhythm import Rhythm

SMALL = {
    "pix2pix": {"width": 1, "d_width": 2, "size": 16},
    "segment": {"width": 2, "d_width": 2, "size": 16, "adversarial": 0.0},
    "inpaint": {"width": 1, "d_width": 2, "size": 16, "batch_size": 3},
    "denoise": {"width": 2, "d_width": 2, "size": 16, "batch_size": 3, "adversarial": 0.0},
    "superres": {"width": 2, "d_width": 2, "size": 16, "batch_size": 3, "blocks": 1},
}


def pictures(folder, sizes, *, mode="RGB"):
    """Side-by-side files of random pixels."""
    image = pytest.importorskip("PIL.Image")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(str(folder)))
    for k, (height, width) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        image.fromarray(pixels).convert(mode).save(folder / f"{k}.png")


# ---------------------------------------------------------------------------------------------- data


def test_pairs_of_a_folder_with_a_split(tmp_path):
    pictures(tmp_path / "ab" / "train", [(16, 32)] * 3)
    pictures(tmp_path / "ab" / "val", [(20, 40)] * 2)
    recipe = Pix2Pix(direction="BtoA")
    data = recipe.open_data(str(tmp_path / "ab"), seed=0)
    assert (len(data), recipe.image_shape(data)) == (3, (16, 16, 3))
    held_out = recipe.held_out(str(tmp_path / "ab"), data, seed=0)
    assert (len(held_out), held_out.b_shape) == (2, (16, 16, 3))  # scaled like those to train on
    source, target = recipe.batch(data.read([1]), np.random.default_rng(0))[2::-2]
    a, b = Pix2Pix().open_data(str(tmp_path / "ab"), seed=0).read([1])
    np.testing.assert_array_equal(source, b)
    np.testing.assert_array_equal(target, a)


def test_a_folder_without_a_split_shows_what_it_trains_on(tmp_path):
    pictures(tmp_path / "ab", [(16, 32), (18, 36)])
    recipe = Segment(size=16)
    data = recipe.open_data(str(tmp_path / "ab"), seed=0)
    assert recipe.held_out(str(tmp_path / "ab"), data, seed=0) is data
    with pytest.raises(ConfigError, match=r"expected held-out pairs in a folder named val or test, found neither"):
        recipe.open_split(str(tmp_path / "ab"), (16, 16, 3), split=None, seed=0)


def test_pairs_that_are_none(tmp_path):
    pictures(tmp_path / "odd", [(16, 33)])
    with pytest.raises(DataError, match="odd width of 33"):
        Pix2Pix().open_data(str(tmp_path / "odd"), seed=0)
    with pytest.raises(ConfigError, match="digits: expected pairs, found none"):
        Pix2Pix().open_data("digits", seed=0)


def test_embedded_pairs_are_fresh_when_held_out():
    recipe = Segment(size=16)
    data = recipe.open_data("shapes", seed=0)
    fresh = recipe.held_out("shapes", data, seed=0)
    assert (data.read([0])[0] != fresh.read([0])[0]).any()
    again = recipe.open_split("shapes", (16, 16, 3), split="train", seed=0)
    np.testing.assert_array_equal(again.read([0])[0], data.read([0])[0])
    with pytest.raises(ConfigError, match="expected the split train or val, got 'test'"):
        recipe.open_split("shapes", (16, 16, 3), split="test", seed=0)


@pytest.mark.parametrize(
    ("data", "size"), [((256, 256), (256, 256)), ((64, 48), (64, 48)), ((600, 600), (256, 256)), ((30, 30), (28, 28))]
)
def test_pix2pix_chooses_a_size(data, size):
    assert Pix2Pix().fit_size(data) == size
    assert Pix2Pix().fit_size(None) == (256, 256)


def test_restored_images_are_split():
    recipe = Denoise(size=16, held_back=7)
    train = recipe.open_data("digits", seed=0)
    kept = recipe.held_out("digits", train, seed=0)
    assert (len(train), len(kept)) == (19_993, 7)
    everything = open_dataset("digits", size=16)
    assert len(np.intersect1d(train.taken, kept.taken)) == 0
    for part in (train, kept):
        np.testing.assert_array_equal(part.read([0, 6]), everything.read(part.taken[[0, 6]]))
    assert train.labels is not None
    with pytest.raises(ConfigError, match="expected the split train or val, got 'test'"):
        recipe.open_split("digits", (16, 16, 1), split="test", seed=0)
    with pytest.raises(ConfigError, match="denoise draws images, got points"):
        recipe.open_data("ring", seed=0)


@pytest.mark.parametrize("recipe", [Denoise(size=16), Inpaint(size=16), SuperResolution(size=16)])
def test_what_spoils_an_image_depends_on_the_seed_and_its_row_alone(recipe):
    data = recipe.open_data("digits", seed=0)
    many, targets = recipe.examples(data, np.array([3, 5, 8]), seed=4)
    one, target = recipe.examples(data, np.array([5]), seed=4)
    np.testing.assert_array_equal(many[1], one[0])
    np.testing.assert_array_equal(targets[1], target[0])
    assert many.shape[1:] == recipe.source_shape((16, 16, 1))
    assert many.dtype == targets.dtype == np.float32
    assert recipe.baseline(one).shape == target.shape
    assert all(column.shape == target.shape for column in recipe.shown(one))
    assert len(recipe.shown(one)) + 2 == len(recipe.columns)


def test_noise_has_the_strength_that_was_asked_for():
    recipe = Denoise(sigma=51)
    clean = np.zeros((4, 64, 64, 3), np.float32)
    noise = recipe.spoil(clean, np.random.default_rng(0)) - clean
    assert noise.std() == pytest.approx(0.4, rel=0.02)


def test_a_hole_leaves_something_known():
    source, _ = Inpaint(hole=0.99).pair(np.ones((2, 16, 16, 1), np.float32), np.random.default_rng(0))
    assert (source[..., 0] == 1).all()  # the hole has the mean of what is known
    assert (source[..., 1].sum(axis=(1, 2)) == 15 * 15).all()


def test_block_means_and_bicubic():
    ramp = np.linspace(-1, 1, 32).reshape(1, 32, 1, 1) * np.ones((1, 32, 32, 1))
    small = block_means(ramp, factor=4)
    assert small.shape == (1, 8, 8, 1)
    np.testing.assert_allclose(bicubic(small, factor=4)[0, 8:-8], ramp[0, 8:-8], atol=1e-12)  # straight lines stay
    square = np.linspace(-1, 1, 8).reshape(1, 1, 8, 1) ** 2 * np.ones((1, 8, 8, 1))
    fine = ((np.arange(32) + 0.5) / 4 - 0.5) * 2 / 7 - 1
    np.testing.assert_allclose(bicubic(square, factor=4)[0, 0, 8:-8, 0], fine[8:-8] ** 2, atol=1e-12)
    constant = np.full((2, 4, 6, 3), 0.5, np.float32)
    np.testing.assert_allclose(bicubic(constant, factor=2), 0.5, atol=1e-6)


def test_rows_are_spread():
    np.testing.assert_array_equal(spread(10, 4), [0, 2, 5, 7])
    np.testing.assert_array_equal(spread(3, 8), [0, 1, 2])


# ---------------------------------------------------------------------------------------------- one step


@pytest.mark.parametrize("conditional", [True, False])
def test_all_gradients_of_a_step(reference: Backend, conditional: bool):
    recipe = Pix2Pix(width=1, d_width=2, dropout=0.0, l1=3.0, adversarial=0.5, conditional=conditional)
    rng = np.random.default_rng(0)
    gan = recipe.assemble((16, 16, 2), backend=reference, dtype="float64", rng=rng)
    for network in (gan.G, gan.D):
        for _, p in network.named_parameters():
            p.value[...] = rng.normal(0, 0.4, p.shape)
        network.arena.updated()
    x, y = rng.uniform(-1, 1, (2, 2, 16, 16, 2))
    D = gan.D.given(x if conditional else None)
    assert any(type(layer).__name__ == "ConcatCondition" for layer in gan.D.layers) == conditional

    def softplus(s):
        return np.log1p(np.exp(s)).mean()

    def d_loss():
        return softplus(-D.forward(y, train=True)[0]) + softplus(D.forward(fake, train=True)[0])

    def g_loss():
        drawn, _ = gan.G.forward(x, train=True, rng=rng)
        return 0.5 * softplus(-D.forward(drawn, train=True)[0]) + 3 * np.abs(drawn - y).mean()

    fake, tape = gan.G.forward(x, train=True, rng=rng)
    condition = x if conditional else None
    d_values = gan.discriminator_gradients(y, fake, rng, condition=condition)
    g_value = gan.generator_gradients(fake, tape, y, rng, condition=condition)
    assert d_values.loss == pytest.approx(d_loss(), rel=1e-10)
    assert g_value.loss == pytest.approx(g_loss(), rel=1e-10)
    for network, grads, value in ((gan.D, gan.d_grads, d_loss), (gan.G, gan.g_grads, g_loss)):
        checks = [
            check_gradient(
                value, p.value, grads[p], path=network.path, what=name, rng=np.random.default_rng(0), scale=50.0
            )
            for name, p in network.named_parameters()
        ]
        assert [str(check) for check in checks if not check.passed] == []


# ---------------------------------------------------------------------------------------------- runs


def config(recipe: str, backend: str = "reference", **settings) -> runs.RunConfig:
    full = get_recipe(recipe).from_settings({**SMALL[recipe], "steps": 4, **settings}).settings()
    rhythm = Rhythm(log_every=1, sample_every=4, checkpoint_every=2)
    data = get_recipe(recipe).default_data
    return runs.RunConfig(recipe=recipe, settings=full, data=data, seed=3, backend=backend, rhythm=rhythm)


def train(run, *, stop_at=None):
    class Stopping(PlainProgress):
        def advance(self, step, *, images_per_second):
            super().advance(step, images_per_second=images_per_second)
            interruption.requested = step == stop_at

    interruption = Interruption()
    with run.trainer.state.loader:
        run.trainer.run(Stopping(start=run.trainer.state.step, total=4, stream=io.StringIO()), interruption)


def test_at_most_a_tenth_is_held_out():
    images = open_dataset("digits", size=16, count=30)
    for held_out, kept in ((500, 3), (2, 2)):
        parts = [split_dataset(images, held_out=held_out, part=part) for part in ("train", "val")]
        assert [len(part) for part in parts] == [30 - kept, kept]


@pytest.mark.parametrize("recipe", SMALL)
def test_an_interrupted_run_continues_with_the_same_bits(tmp_path, recipe):
    whole = prepare_run(config(recipe), tmp_path / "whole")
    create_folder(whole)
    train(whole)
    first = prepare_run(config(recipe), tmp_path / "parts")
    create_folder(first)
    train(first, stop_at=3)
    second = prepare_from_folder(tmp_path / "parts")
    assert load_checkpoint(second) == ()
    train(second)
    for name, array in whole.trainer.state.learner.to_dict().items():
        np.testing.assert_array_equal(second.trainer.state.learner.to_dict()[name], array, err_msg=name)
    name = "samples/step-000004.png"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_the_average_of_the_weights_is_drawn_as_in_training(tmp_path):
    run = prepare_run(config("pix2pix", ema=0.5), tmp_path / "run")
    create_folder(run)
    train(run)
    trained = runs.load_generator(tmp_path / "run", backend="reference")
    assert trained.averaged
    assert (tmp_path / "run" / "samples" / "step-000004.png").exists()


WRONG = [
    (Pix2Pix, {"l1": 0, "adversarial": 0}, "pix2pix: l1=0 and adversarial=0 leave G nothing to minimize"),
    (Pix2Pix, {"size": 30}, "multiples of 4 from 8 up (best 64, 128 or 256), got 30x30"),
    (Pix2Pix, {"direction": "AB"}, "pix2pix: direction must be one of AtoB, BtoA, got 'AB'"),
    (Pix2Pix, {"norm": "none"}, "pix2pix: norm must be one of batch, instance, got 'none'"),
    (Pix2Pix, {"adversarial": -1}, "pix2pix: adversarial must be a number from 0 up, got -1"),
    (Segment, {"depth": 1}, "segment: depth must be from 2 to 1,000, got 1"),
    (Segment, {"size": 4}, "segment: expected sides of at least 8 pixels, got 4x4"),
    (SuperResolution, {"factor": 3}, "superres: factor must be 2, 4 or 8, got 3"),
    (SuperResolution, {"size": 18}, "superres: expected sides that are multiples of factor=4, got 18x18"),
    (Denoise, {"sigma": 0}, "denoise: sigma must be positive, got 0"),
    (Inpaint, {"hole": 1}, "inpaint: hole must be above 0 and below 1, got 1"),
    (Inpaint, {"size": 18}, "inpaint: expected sides of at least 16 pixels that are multiples of 4, got 18x18"),
    (Denoise, {"held_back": 0}, "denoise: held_back must be positive, got 0"),
]


@pytest.mark.parametrize(("recipe", "settings", "says"), WRONG, ids=[case[2] for case in WRONG])
def test_wrong_settings(recipe, settings, says):
    with pytest.raises(ConfigError) as caught:
        recipe.from_settings(settings)
    assert says in str(caught.value)
