"""Class-conditional GANs from end to end: labeled data, training, resuming, drawing one class."""

import contextlib
import json

import numpy as np
import pytest
from PIL import Image

import minigan
from minigan import runs
from minigan.backends import Backend
from minigan.cli.command_line import main
from minigan.data.png import encode_png
from minigan.errors import CheckpointError, ConfigError, DivergenceError
from minigan.nn.layers import ConcatCondition, InnerProduct
from minigan.recipes import DCGAN, MLP, RECIPES, MinimaxGame, PacGAN
from minigan.runs import TrainedGenerator
from minigan.runs.measure import FixedNoiseMeasure
from minigan.training.batch import Batch

SMALL = ("batch_size=8", "latent=4")


def train(folder, *settings: str, recipe: str = "dcgan", data: str = "digits", steps: int = 2) -> int:
    width = "hidden=8" if recipe == "mlp" else "width=2"
    return main(
        [
            *("train", recipe, "--data", data, "--steps", str(steps), "--out", str(folder), "--backend", "reference"),
            *("--sample-every", "2", "--set", *SMALL, width, *settings),
        ]
    )


@pytest.mark.parametrize(
    ("recipe", "condition"),
    [
        ("dcgan", "concatenation"),
        ("dcgan", "projection"),
        ("mlp", "concatenation"),
        ("sngan", "projection"),
        ("multi-d", "projection"),
        ("dcgan-keras", "concatenation"),
    ],
)
def test_training_and_drawing_a_class(tmp_path, capsys, recipe: str, condition: str):
    run = tmp_path / "run"
    assert train(run, f"condition={condition}", recipe=recipe) == 0
    assert (run / "samples" / "step-000002.png").exists()
    out = tmp_path / "seven.png"
    assert main(["sample", str(run), "--class", "7", "--count", "4", "--out", str(out)]) == 0
    assert main(["sample", str(run), "--count", "4", "--out", str(tmp_path / "any.png")]) == 0
    assert out.read_bytes() != (tmp_path / "any.png").read_bytes()
    capsys.readouterr()
    for label, says in (
        ("10", "expected a class from 0 to 9, got 10"),
        ("seven", "expected a class as one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, or a number"),
    ):
        assert main(["sample", str(run), "--class", label, "--out", str(out)]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, kind in RECIPES.items() if "latent" in kind.kinds()])
def test_a_sample_depends_on_the_seed_and_its_place_alone(name: str):
    """Not on how many are drawn, with random or given classes or none; nor on whether they are drawn bit by bit."""
    kind = RECIPES[name]
    for condition in getattr(kind, "conditions", ("none",)):
        recipe = kind() if condition == "none" else kind(condition=condition)
        for label in (None,) if condition == "none" else (None, 3):
            z, classes = recipe.sources(np.random.default_rng(7), 64, label=label)
            for count in (1, 10):
                few, their_classes = recipe.sources(np.random.default_rng(7), count, label=label)
                np.testing.assert_array_equal(few, z[:count])
                np.testing.assert_array_equal(their_classes, None if classes is None else classes[:count])
            rng = np.random.default_rng(7)
            parts = [recipe.sources(rng, count, label=label) for count in (3, 1, 6)]
            np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), z[:10])
            if classes is not None:
                np.testing.assert_array_equal(np.concatenate([given for _, given in parts]), classes[:10])
        assert classes is None or (classes.argmax(1) == 3).all()


def test_the_classes_of_samples_are_all_drawn():
    _, classes = MLP(condition="concatenation").sources(np.random.default_rng(0), 2000)
    assert classes.sum(axis=1).tolist() == [1] * 2000
    assert 150 < classes.sum(axis=0).min() <= classes.sum(axis=0).max() < 250


def test_classes_have_the_names_of_their_folders(tmp_path, capsys):
    pytest.importorskip("PIL")
    rng = np.random.default_rng(0)
    for name in ("boot", "bag", "coat"):
        (tmp_path / "clothes" / name).mkdir(parents=True)
        for n in range(4):
            picture = rng.integers(0, 256, (28, 28, 1), dtype=np.uint8)
            (tmp_path / "clothes" / name / f"{n}.png").write_bytes(encode_png(picture))
    assert train(tmp_path / "run", "condition=projection", data=str(tmp_path / "clothes")) == 0
    trained = runs.load_generator(tmp_path / "run", backend="reference")
    assert trained.recipe.classes == 3
    assert trained.classes == ("bag", "boot", "coat")
    assert (trained.label("boot"), trained.label("2")) == (1, 2)
    capsys.readouterr()
    assert main(["sample", str(tmp_path / "run"), "--class", "hat", "--out", str(tmp_path / "hat.png")]) == 2
    assert "expected a class as one of bag, boot, coat, or a number, got 'hat'" in capsys.readouterr().err
    assert main(["sample", str(tmp_path / "run"), "--class", "boot", "--out", str(tmp_path / "boot.png")]) == 0


def test_resuming_gives_the_same_bits(tmp_path):
    settings = ("condition=projection", "ema=0.9")
    assert train(tmp_path / "whole", *settings, steps=4) == 0
    assert train(tmp_path / "half", *settings, steps=2) == 0
    assert main(["train", "--resume", str(tmp_path / "half"), "--steps", "4"]) == 0
    for name in ("model.safetensors", "samples/step-000004.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "half" / name).read_bytes()


# ---------------------------------------------------------------------------------------------- unasked


def labeled(path, labels, shape=(28, 28)) -> str:
    pictures = np.random.default_rng(0).integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    np.savez(path, images=pictures, labels=labels)
    return str(path)


def test_the_default_tells_the_classes_and_keeps_what_it_took(tmp_path, capsys):
    assert train(tmp_path / "run") == 0
    told = (
        "minigan: G and D are told the 10 classes (condition=concatenation); --set condition=none trains without them\n"
    )
    assert told in capsys.readouterr().err
    settings = runs.read_config(tmp_path / "run").settings
    assert (settings["condition"], settings["classes"]) == ("concatenation", 10)
    assert main(["train", "--resume", str(tmp_path / "run"), "--steps", "3"]) == 0
    assert "told the" not in capsys.readouterr().err
    header = (tmp_path / "run" / "samples" / "step-000003.png").read_bytes()[16:24]
    assert int.from_bytes(header[:4]) > int.from_bytes(header[4:])  # ten columns, a class each, and eight rows
    assert train(tmp_path / "not", "condition=none") == 0
    assert "told the" not in capsys.readouterr().err
    assert runs.load_generator(tmp_path / "not", backend="reference").recipe.conditional is False


@pytest.mark.parametrize(
    ("labels", "settings", "taken", "says"),
    [
        (np.arange(60) % 3, (), "concatenation", "G and D are told the 3 classes"),
        (np.arange(60), (), "none", "60 classes have 1 images each on average, which are few; --set condition=conc"),
        (np.arange(300) % 250, (), "none", "not told the classes: 250 are many; --set condition=concatenation tells"),
        (np.arange(60) % 2 * 5, (), "none", "not told the classes: 4 of 6 have no images; --set condition=concat"),
        (np.arange(60) % 3 - 1, (), "none", "not told the classes: the labels run from -1 to 1\n"),
        (np.zeros(60, int), (), "none", None),
        (np.arange(60) % 3, ("pack=2",), "none", "not told the classes: pack cannot be used with them\n"),
        (np.arange(60) % 3, ("ema_statistics=standing",), "none", "ema_statistics=standing cannot be used with them"),
    ],
)
def test_which_classes_are_told_unasked(tmp_path, capsys, labels, settings, taken, says):
    data = labeled(tmp_path / "x.npz", labels)
    assert train(tmp_path / "run", *settings, data=data, steps=1) == 0
    error = capsys.readouterr().err
    assert says in error if says else "told the" not in error
    assert runs.read_config(tmp_path / "run").settings["condition"] == taken


def test_recipes_about_modes_and_points_are_left_as_they_are(tmp_path, capsys):
    assert PacGAN().condition == MinimaxGame().condition == "none"
    assert train(tmp_path / "run", recipe="mlp", data="ring") == 0
    assert "told the" not in capsys.readouterr().err
    assert not runs.load_generator(tmp_path / "run", backend="reference").recipe.conditional
    assert not DCGAN().conditional  # until it has seen data


def test_a_file_from_before_has_no_classes():
    settings = DCGAN(width=4).settings()
    old = {name: value for name, value in settings.items() if name not in ("condition", "mapping", "head", "ema")}
    recipe = DCGAN.from_stored(old)
    assert (recipe.condition, recipe.mapping, recipe.head, recipe.ema, recipe.width) == ("none", 0, 0, 0.0, 4)
    assert DCGAN.from_stored(settings) == DCGAN(width=4)


def test_several_discriminators_with_a_penalty_are_not_told(tmp_path, capsys):
    data = labeled(tmp_path / "x.npz", np.arange(60) % 3)
    assert train(tmp_path / "run", "penalty=r1", "d_norm=none", recipe="multi-d", data=data, steps=1) == 0
    assert "not told the classes: penalty=r1 cannot be used with them" in capsys.readouterr().err


def test_data_without_labels_are_refused(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((20, 28, 28), np.uint8))
    assert train(tmp_path / "run", "condition=concatenation", data=str(tmp_path / "x.npy")) == 2
    assert "needs the class of each image, but x.npy has no labels" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("odd", [-1, 10**9])
def test_labels_that_do_not_count_from_0_are_refused(tmp_path, capsys, odd: int):
    images, labels = np.zeros((20, 28, 28), np.uint8), np.resize([3, odd], 20)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    assert train(tmp_path / "run", "condition=projection", data=str(tmp_path / "x.npz")) == 2
    says = f"expected classes counted from 0, at most 10,000, but the labels of x.npz run from {min(3, odd)} to"
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("default:x.npz has no images")
def test_classes_without_images_are_told(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", images=np.zeros((20, 28, 28), np.uint8), labels=np.resize([0, 5], 20))
    assert train(tmp_path / "run", "condition=projection", data=str(tmp_path / "x.npz")) == 0
    assert "x.npz has no images for 4 of 6 classes (1, 2, 3 ...)" in capsys.readouterr().err


def test_a_class_of_a_generator_without_classes(tmp_path, capsys):
    assert train(tmp_path / "run", "condition=none") == 0
    capsys.readouterr()
    assert main(["sample", str(tmp_path / "run"), "--class", "3", "--out", str(tmp_path / "3.png")]) == 2
    assert "was trained without classes" in capsys.readouterr().err


@pytest.mark.parametrize("setting", [{"pack": 2}, {"fake_pool": 50}, {"feature_matching": 1.0}])
def test_what_takes_no_account_of_classes_is_refused(setting: dict[str, object]):
    with pytest.raises(ConfigError, match="cannot be used with classes"):
        DCGAN.from_settings({"condition": "concatenation", **setting})
    with pytest.raises(ConfigError, match="condition must be one of auto, none, concatenation, got 'projection'"):
        MLP.from_settings({"condition": "projection"})


def test_standing_statistics_are_refused():
    with pytest.raises(ConfigError, match="ema_statistics=standing cannot be used with classes"):
        DCGAN(condition="concatenation", ema=0.9, ema_statistics="standing")


def test_where_the_condition_enters(reference: Backend):
    networks = {
        condition: DCGAN(width=2, latent=4, classes=3, condition=condition, augment="color").assemble(
            (28, 28, 1), backend=reference, rng=np.random.default_rng(0)
        )
        for condition in ("concatenation", "projection")
    }
    for gan in networks.values():
        assert isinstance(gan.G.layers[0], ConcatCondition)
    kinds = {name: [type(layer) for _, layer in gan.D.walk()] for name, gan in networks.items()}
    assert ConcatCondition in kinds["concatenation"]
    assert InnerProduct not in kinds["concatenation"]
    assert InnerProduct in kinds["projection"]
    assert ConcatCondition not in kinds["projection"]


def test_it_learns_which_class_is_which(fast_backend: Backend):
    """Class 0 is black and class 1 white: after some steps so are G's samples of them."""
    r = MLP(latent=2, hidden=16, classes=2, condition="concatenation", loss="non-saturating", mse_weight=0, lr=5e-3)
    rng = np.random.default_rng(0)
    gan = r.assemble((2, 2, 1), backend=fast_backend, rng=rng)

    def batches():
        while True:
            labels = rng.integers(2, size=32)
            shades = (0.1 + 0.8 * labels + rng.normal(0, 0.05, 32)).reshape(-1, 1, 1, 1)
            yield Batch(np.broadcast_to(shades, (32, 2, 2, 1)), condition=r.one_hot(labels))

    steps = batches()
    for _ in range(400):
        gan.step(steps, rng)
    z = fast_backend.asarray(r.noise(rng, 64), dtype=gan.G.dtype)
    means = []
    for label in (0, 1):
        condition = fast_backend.asarray(r.one_hot(np.full(64, label)))
        fake, _ = gan.G.given(condition).forward(z, train=False)
        means.append(float(fake.mean()))
    assert means[0] < 0.35
    assert means[1] > 0.65


@pytest.mark.parametrize("condition", ["concatenation", "projection"])
def test_where_it_diverged_is_found_under_the_condition(reference: Backend, condition: str):
    r = DCGAN(width=2, latent=4, classes=3, condition=condition)
    rng = np.random.default_rng(0)
    gan = r.assemble((28, 28, 1), backend=reference, rng=rng)
    real, labels = np.zeros((2, 28, 28, 1)), r.one_hot(np.array([2, 0]))
    gan.adversarial_weight = np.nan
    with pytest.raises(DivergenceError, match="is not finite"):
        gan.step(iter([Batch(real, condition=labels)]), rng)
    name, last = list(gan.D.named_parameters())[-1]
    last.value[...] = np.nan
    gan.D.arena.updated()
    with pytest.raises(DivergenceError, match=rf"D\.{name.split('.')[0]}\..* is not finite"):
        gan.step(iter([Batch(real, condition=labels)]), rng)


def test_batches_without_a_source_for_a_gan_without_noise(reference: Backend):
    gan = MLP(latent=4).assemble((2, 2, 1), backend=reference, rng=np.random.default_rng(0))
    gan.noise = None
    with pytest.raises(ConfigError, match="expects batches with a source"):
        gan.step(iter([np.zeros((2, 2, 2, 1))]), np.random.default_rng(0))


def test_a_model_that_is_not_labeled_as_it_should(tmp_path):
    assert train(tmp_path / "run", "condition=projection") == 0
    from minigan.checkpoints.format import MODEL_FORMAT, load_arrays, save_arrays

    path = tmp_path / "run" / "model.safetensors"
    arrays, description = load_arrays(path, format=MODEL_FORMAT)
    save_arrays(path, arrays, description={**description, "classes": 7})
    with pytest.raises(CheckpointError, match="'classes' must be a list of names, got 7"):
        runs.load_generator(path, backend="reference")
    del description["classes"]  # as models were before there were classes
    save_arrays(path, arrays, description=description)
    assert runs.load_generator(path, backend="reference").classes == ()


# ---------------------------------------------------------------------------------------------- uneven classes


def uneven(tmp_path, counts=(30, 0, 6, 0, 4)) -> str:
    """A file of images whose classes have so many each."""
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "uneven.npz", images=pixels, labels=labels)
    return str(tmp_path / "uneven.npz")


MLP_SETTINGS = {"condition": "concatenation", "hidden": 8, "latent": 4, "batch_size": 4}


@pytest.mark.filterwarnings("ignore:uneven.npz has no images", "ignore:the data had 40 items")
def test_a_generator_knows_the_classes_that_it_never_saw(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = minigan.train(
        "mlp", data=uneven(tmp_path), steps=2, out="run", backend="reference", quiet=True, **MLP_SETTINGS
    )
    trained = run.generator
    assert trained.unseen == (1, 3)
    seeds = range(40)
    each = {k: trained.sample(seeds=seeds, label=k) for k in range(5)}
    taken = [[k for k in each if (drawn == each[k][n]).all()] for n, drawn in enumerate(trained.sample(seeds=seeds))]
    assert {k for (k,) in taken} == {0, 2, 4}, "random classes are those with images"
    shown = np.asarray(Image.open(sorted((tmp_path / "run/samples").glob("*.png"))[-1]))
    assert shown.shape[1] < shown.shape[0] / 2, "3 columns of 8 rows"
    assert main(["sample", "run", "--grid-of-classes", "--seeds", "1,2", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["classes"] == [0, 2, 4]
    assert captured.err == "minigan: classes without images in training are left out: 1, 3\n"
    assert main(["sample", "run", "--class", "3"]) == 0
    assert capsys.readouterr().err == "minigan: class 3 had no images in training: its pictures mean nothing\n"
    assert main(["sample", "run", "--grid-of-classes", "--classes", "3", "4", "--count", "1"]) == 0
    assert capsys.readouterr().err.count("had no images") == 1
    assert trained.project(trained.sample(seeds=[1], label=2)[0], steps=2, starts=1).label in (0, 2, 4)
    assert len(run.resume(steps=3).log) >= 2, "the description of a model is no obstacle"
    pixels = np.zeros((10, 8, 8), np.uint8)
    np.savez(tmp_path / "grown.npz", images=pixels, labels=np.arange(10) % 5)
    run.resume(steps=4, data=tmp_path / "grown.npz")
    assert minigan.load_generator("run").unseen == ()


@pytest.mark.filterwarnings("ignore:uneven.npz has no images")
def test_samples_to_be_compared_have_the_classes_as_often_as_the_data(tmp_path):
    with contextlib.closing(minigan.open_dataset(uneven(tmp_path))) as dataset:
        recipe = MLP(**MLP_SETTINGS).fit(dataset)
        labels = recipe.labels_like(dataset, 4000, seed=1)
        np.testing.assert_allclose(np.bincount(labels, minlength=5) / 4000, [0.75, 0, 0.15, 0, 0.1], atol=0.02)
        assert labels == recipe.labels_like(dataset, 4000, seed=1) != recipe.labels_like(dataset, 4000, seed=2)
        assert MLP(condition="none").labels_like(dataset, 10, seed=0) is None
        assert MLP(condition="concatenation", classes=3).labels_like(dataset, 10, seed=0) is None, "other classes"
        measure = FixedNoiseMeasure(recipe, dataset, rng=np.random.default_rng(0), seed=1)
        np.testing.assert_array_equal(measure.condition.argmax(axis=1), recipe.labels_like(dataset, 2000, seed=1))
    with contextlib.closing(minigan.open_dataset("digits", count=100)) as even:
        assert MLP(condition="concatenation").labels_like(even, 10, seed=0) is None


@pytest.mark.filterwarnings("ignore:uneven.npz has no images")
def test_evaluate_draws_the_classes_of_the_data_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data, drawn = uneven(tmp_path, (150, 0, 30, 0, 20)), []
    minigan.train("mlp", data=data, steps=1, out="run", backend="reference", quiet=True, **MLP_SETTINGS)
    sample = TrainedGenerator.sample

    def noted(self, *given, label=None, **more):
        drawn.append(label)
        return sample(self, *given, label=label, **more)

    monkeypatch.setattr(TrainedGenerator, "sample", noted)
    assert main(["evaluate", "run", "--features", "pixels", "--count", "400", "--seed", "3"]) == 0
    assert "classes of the samples are drawn as often as the data have them, not evenly" in capsys.readouterr().err
    assert np.bincount(drawn[-1], minlength=5)[0] == pytest.approx(300, abs=30)
    assert not {1, 3} & {*drawn[-1]}


@pytest.mark.parametrize("recipe", ["denoise", "cyclegan", "pix2pix"])
def test_standing_statistics_need_noise(tmp_path, capsys, recipe):
    words = ["train", recipe, "--steps", "1", "--backend", "reference", "--out", str(tmp_path / "run"), "--set"]
    assert main([*words, "ema=0.9", "ema_statistics=standing", "width=2", "d_width=2", "size=32"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{recipe} draws from images. Use --set ema_statistics=running or --set ema_statistics=batch." in line
    assert not (tmp_path / "run").exists()
