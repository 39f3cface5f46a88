"""Pictures and films of single latent vectors on the command line: seeds, walks, grids of classes, projection."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from tiny_generators import tiny_generator

import minigan
from minigan.cli import project as project_command
from minigan.cli import sample as sample_command
from minigan.cli import walk as walk_command
from minigan.cli.command_line import _parse, _seeds, main
from minigan.data.pictures import image_grid
from minigan.data.png import encode_png
from minigan.evaluation.classifier import Classifier, network
from minigan.recipes import Denoise

pillow = pytest.importorskip("PIL.Image")
BACKEND = ("--backend", "reference")


@pytest.fixture(autouse=True)
def in_a_folder_of_models(tmp_path, monkeypatch):
    """model.safetensors files: with and without classes, of points, from image to image."""
    monkeypatch.chdir(tmp_path)
    for name, settings in (
        ("plain", {}),
        ("classes", {"condition": "concatenation", "classes": [f"c{n}" for n in range(10)]}),
        ("points", {"shape": (2,)}),
    ):
        trained = tiny_generator(**settings)
        minigan.save_generator(name, trained.G, trained.recipe, step=5, extent=100, classes=trained.classes)
    recipe = Denoise(width=2)
    G = recipe.built_generator((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
    minigan.save_generator("restores", G, recipe)


def run(*words: str) -> int:
    return main([*words, *BACKEND])


def opened(name: str):
    return minigan.load_generator(name, backend="reference")


def pixels(name: str) -> np.ndarray:
    image = np.asarray(pillow.open(BytesIO(Path(name).read_bytes())))
    return image[..., None] if image.ndim == 2 else image


def frames(name: str) -> list[np.ndarray]:
    image = pillow.open(BytesIO(Path(name).read_bytes()))
    found = []
    for number in range(getattr(image, "default_image", False), image.n_frames):
        image.seek(number)
        found.append(np.asarray(image.convert("L"))[..., None])
    return found


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        ("1-4", [1, 2, 3, 4]),
        ("1,5,9-12", [1, 5, 9, 10, 11, 12]),
        ("3, 1 - 2,3", [3, 1, 2, 3]),
        ("0-0", [0]),
    ],
)
def test_lists_of_seeds(text: str, seeds: list[int]):
    assert _seeds(text) == seeds


def test_seeds_and_truncation(capsys):
    assert run("sample", "plain", "--seeds", "3,5-6", "--truncation", ".5", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["seeds"], told["truncation"]) == (3, [3, 5, 6], 0.5)
    samples = opened("plain").sample(seeds=[3, 5, 6], truncation=0.5)
    np.testing.assert_array_equal(pixels("samples.png"), image_grid(samples))
    assert run("sample", "plain", "--count", "4", "--seed", "2", "--truncation", "0", "--out", "none.png") == 0
    np.testing.assert_array_equal(pixels("none.png"), image_grid(opened("plain").sample(4, seed=2, truncation=0)))
    assert run("sample", "points", "--seeds", "0-20", "--out", "points.png") == 0
    assert pixels("points.png").shape == (400, 400, 1)


@pytest.mark.parametrize(("name", "loop"), [("walk.png", True), ("walk.gif", False)])
def test_a_walk_is_a_film(name: str, loop: bool, capsys):
    words = [] if loop else ["--no-loop"]
    assert run("sample", "plain", "--walk", "2", "--seeds", "3,5,9", "--out", name, *words) == 0
    back, count = (" and back", 9) if loop else ("", 7)
    assert capsys.readouterr().out == f"{count} pictures through seeds 3, 5, 9{back}, mlp at step 5: {name}\n"
    trained = opened("plain")
    drawn = trained.walk(2, seeds=[3, 5, 9], loop=loop)
    for frame, image in zip(frames(name), drawn, strict=True):
        np.testing.assert_array_equal(frame, image_grid(image[None]))
    for frame, station in zip(frames(name)[::3], trained.sample(seeds=[3, 5, 9]), strict=True):
        np.testing.assert_array_equal(frame, image_grid(station[None]))
    image = pillow.open(BytesIO(Path(name).read_bytes()))
    lasting = []
    for number in range(getattr(image, "default_image", False), image.n_frames):
        image.seek(number)
        lasting.append(image.info["duration"])
    assert lasting == [500] * (count - 1) + [500 if loop else 2000]


@pytest.mark.parametrize(
    ("words", "walk"),
    [
        (("plain",), {"seeds": range(6)}),
        (("plain", "--seed", "4", "--count", "3"), {"seeds": [4, 5, 6]}),
        (("classes", "--class", "c7", "--seeds", "1-2", "--truncation", ".5"), {"label": 7, "truncation": 0.5}),
        (("classes", "--classes", "c7", "2", "--seed", "1"), {"seeds": [1], "label": [7, 2]}),
        (("classes", "--classes", "7", "2", "--seeds", "1,2"), {"label": [7, 2]}),
    ],
)
def test_ways_to_walk(words, walk):
    assert run("sample", *words, "--walk", "1", "--quiet") == 0
    drawn = opened(words[0]).walk(1, **({"seeds": [1, 2]} | walk))
    for frame, image in zip(frames("walk.png"), drawn, strict=True):
        np.testing.assert_array_equal(frame, image_grid(image[None]))


def test_a_walk_of_points_shows_each():
    assert run("sample", "points", "--walk", "1", "--seeds", "1-3") == 0
    assert [frame.shape for frame in frames("walk.png")] == [(400, 400, 1)] * 6


def test_a_grid_has_a_class_a_column_and_a_seed_a_row(capsys):
    assert run("sample", "classes", "--grid-of-classes", "--seeds", "3,8", "--truncation", ".6") == 0
    told = "10 classes (c0, c1, c2, c3, c4, c5, c6, c7, c8, c9), 2 seeds, mlp at step 5: samples.png\n"
    assert capsys.readouterr().out == told
    trained = opened("classes")
    cells = [trained.sample(seeds=[seed], label=label, truncation=0.6)[0] for seed in (3, 8) for label in range(10)]
    np.testing.assert_array_equal(pixels("samples.png"), image_grid(np.stack(cells), columns=10))
    assert run("sample", "classes", "--grid-of-classes", "--classes", "7", "c2", "--count", "3", "--seed", "1") == 0
    cells = [trained.sample(seeds=[seed], label=label)[0] for seed in (1, 2, 3) for label in (7, 2)]
    np.testing.assert_array_equal(pixels("samples.png"), image_grid(np.stack(cells), columns=2))
    assert run("sample", "classes", "--grid-of-classes", "--quiet") == 0
    assert pixels("samples.png").shape[0] == 8 * (64 + 2) + 2


def target_of(name: str, *, label=None) -> np.ndarray:
    image = opened(name).sample(seeds=[50], label=label)[0]
    Path("target.png").write_bytes(encode_png(minigan.to_pixels(image)))
    return image


def test_a_picture_is_projected(capsys):
    target_of("classes", label=6)
    assert run("project", "classes", "target.png", "--json") == 0
    out = capsys.readouterr()
    told, found = json.loads(out.out), np.load("projection.npz")
    assert "pixels alone are compared: classes lies in no run folder that names its data." in out.err
    assert told["label"] == found["label"] == 6
    assert told["l1"] < 0.01 < 0.1 < told["start_l1"]  # the file's 256 levels are off by .002
    assert (told["features"], told["out"], told["z"]) == (None, "projection.png", "projection.npz")
    trained = opened("classes")
    np.testing.assert_array_equal(trained.draw(found["z"], label=6)[0], found["image"])
    sides = np.stack([found["target"], found["image"]])
    np.testing.assert_array_equal(pixels("projection.png"), image_grid(sides, columns=2))
    np.testing.assert_array_equal(minigan.to_pixels(found["target"]), pixels("target.png"))


def test_z_alone_is_written_as_npy(capsys):
    target_of("plain")
    words = ("--features", "pixels", "--steps", "20", "--starts", "2", "--seed", "3", "--out", "a.png", "--z", "a.npy")
    assert run("project", "plain", "target.png", *words) == 0
    out = capsys.readouterr()
    assert out.err == ""
    assert out.out.splitlines()[-1] == "z: a.npy"
    assert out.out.splitlines()[-2].startswith("L1 ")
    found = opened("plain").project("target.png", steps=20, starts=2, seed=3)
    np.testing.assert_array_equal(np.load("a.npy"), found.z)


def test_the_classifier_is_that_of_the_data(monkeypatch, capsys):
    """In training it would take half a minute: one with random weights stands in for it."""
    seen = []

    def choose(dataset, kind, *, backend, say):
        seen.append((dataset.shape, dataset.labels is not None, kind, backend.name))
        say("chosen")
        net = network((8, 8, 1), 10).build((8, 8, 1), backend=backend, rng=np.random.default_rng(1))
        return Classifier(net, accuracy=0.5, count=1, name="digits")

    monkeypatch.setattr(project_command, "choose_features", choose)
    target_of("plain")
    assert run("project", "plain", "target.png", "--data", "digits", "--steps", "9", "--json") == 0
    out = capsys.readouterr()
    told = json.loads(out.out)
    assert out.err == "minigan: chosen\n"
    assert seen == [((8, 8, 1), True, None, "reference")]
    assert 0 < told["features"] < told["start_features"]


def test_a_picture_of_another_size_is_scaled_with_a_note(capsys):
    pillow.fromarray(np.linspace(0, 255, 30 * 20 * 3).reshape(30, 20, 3).astype(np.uint8)).save("photo.jpg")
    assert run("project", "plain", "photo.jpg", "--features", "pixels", "--steps", "3") == 0
    assert capsys.readouterr().err.splitlines() == [
        "minigan: the picture is scaled from 30x20 to 8x8",
        "minigan: the picture has colors and is used in grayscale",
        "minigan: the middle of each picture is used: 33% at its sides are cut off",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "sample plain --truncation 2",
            "truncation must be in [0, 1], got 2.0. --truncation 1 leaves samples as they are, w",
        ),
        ("sample plain --truncation=-1 --walk 3", "truncation must be in [0, 1], got -1.0"),
        ("sample plain --truncation nan --grid-of-classes", "truncation must be in [0, 1], got nan"),
        (
            "sample plain --seeds 1-3 --seed 2",
            "--seeds names the seed of each sample, got --seed in addition. Leave it",
        ),
        ("sample plain --seeds 1-3 --count 3", "got --count in addition. Leave it out."),
        (
            "sample plain --walk 3 --seeds 4",
            "a walk needs at least two seeds or classes, got 1. Write --seeds 1,2,3,4.",
        ),
        ("sample plain --walk 3 --seeds 4,4", "a walk needs seeds or classes that differ"),
        ("sample plain --walk 3 --class 3", "was trained without classes, got the class 3"),
        ("sample plain --walk 3 --classes 3 4", "was trained without classes, got the class 3"),
        ("sample classes --walk 3 --classes 3 11", "expected a class from 0 to 9, got 11"),
        ("sample classes --walk 3 --classes 3 hat", "expected a class as one of c0, c1,"),
        ("sample classes --walk 3 --class 11", "expected a class from 0 to 9, got 11"),
        (
            "sample classes --walk 3 --classes 1 2 3 --seeds 1,2",
            "a walk through 3 classes has one seed, or as many, got",
        ),
        ("sample plain --walk 3 --out walk.mp4", "'walk.mp4': expected a name that ends with .png or .gif"),
        ("sample plain --walk 3 --out no/walk.png", "cannot write no/walk.png: No such file or directory."),
        ("sample plain --walk 3 --grid-of-classes", "--walk makes a film, got --grid-of-classes in addition."),
        ("sample plain --walk 100000000", "a walk has at most 116,105 pictures of this size, got 600,000,006. Use a s"),
        ("sample plain --classes 3", "--classes is for --walk and --grid-of-classes, got neither. Use --class for"),
        ("sample plain --no-loop", "--no-loop is for --walk, got none. Add --walk 15."),
        (
            "sample plain --grid-of-classes",
            "mlp was trained without classes, got --grid-of-classes. Use a run on images of dcgan",
        ),
        ("sample classes --grid-of-classes --class 3", "a column a class, got --class in addition. Leave it out."),
        ("sample classes --grid-of-classes --classes 3 10", "expected a class from 0 to 9, got 10"),
        ("sample classes --walk 3 --class 1 --classes 3 4", "--classes names the classes, got --class in addition."),
        (
            "sample classes --walk 1 --count 1000000000",
            "a walk has at most 116,105 pictures of this size, got 2,000,000,000",
        ),
        ("sample classes --grid-of-classes --count 1000000000", "10,000,000,000 samples would take"),
        ("sample plain --direction AtoB", "has one generator, got --direction AtoB. Leave it out."),
        ("sample plain --walk 3 --data digits", "draws from noise, not from images, got --data in addition. Leave it"),
        ("sample restores --data-b digits", "denoise draws from images, got --data-b in addition. Leave it out."),
        ("project plain picture.png --data digits --features pixels", "needs no classifier, got --data in addition."),
        ("project plain picture.png --features pixels --starts 1000000000", "samples would take"),
        ("project plain plain/none --features pixels", "expected a picture"),
        ("sample plain --film f.png --walk 3", "--film shows the training's own pictures, got --walk"),
        ("sample plain --film f.png --seeds 1", "own pictures, got --seeds"),
        (
            "sample restores --walk 3",
            "denoise draws from images, not from noise, got --walk in addition. Leave it out.",
        ),
        ("sample restores --seeds 1-3", "got --seeds in addition. Leave it out."),
        ("sample restores --truncation .7", "got --truncation in addition. Leave it out."),
        ("sample restores --grid-of-classes", "got --grid-of-classes in addition. Leave it out."),
        ("project restores picture.png", "has no samples of its own. Translate images: minigan translate RUN FOLDER."),
        (
            "project points picture.png",
            "draws points here, onto which no picture is projected. Use a run of",
        ),
        ("project plain nothing.png", "nothing.png: expected a picture, found no file. Name a picture's file."),
        ("project plain .", "expected a picture, found a folder"),
        (
            "project plain plain",
            "plain: expected an image, found one that cannot be read (no known image format). Name an",
        ),
        ("project plain picture.png --class 3", "was trained without classes, got the class 3"),
        ("project classes picture.png --class 10", "expected a class from 0 to 9, got 10"),
        ("project plain picture.png --z z.txt", "z.txt: expected a name that ends with .npy or .npz. Name it z.npz."),
        ("project plain picture.png --out z.txt", "'z.txt': expected a name that ends with one of .png"),
        ("project plain picture.png --data nowhere", "nowhere: no such file, folder or embedded dataset"),
        (
            "project plain picture.png --features classifier",
            "plain lies in no run folder that names its data. Add --data",
        ),
    ],
)
def test_bad_input_is_one_line(words: str, message: str, capsys):
    Path("picture.png").write_bytes(encode_png(np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 4))
    assert run(*words.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not {path.name for path in Path().iterdir()} - {"plain", "classes", "points", "restores", "picture.png"}


def test_each_option_is_taken_or_refused():
    """An option that is new is to be named in the table of jobs: none is ignored in silence."""
    options = vars(_parse(["sample", "plain"]))
    known = {*sample_command.OPTIONS, *sample_command.ENGINE, "out", "film"}
    assert options.keys() - known == {"run", "command", "json", "quiet", "words"}
    assert all(job.takes <= set(sample_command.OPTIONS) for job in sample_command.JOBS.values())


@pytest.mark.parametrize("seeds", ["5-1", "1,,2", "-3", "1-2-3", "x", "0-100000", "1.5", "99999999999"])
def test_what_is_no_list_of_seeds(seeds: str, capsys):
    with pytest.raises(SystemExit) as stop:
        run("sample", "plain", f"--seeds={seeds}")
    assert stop.value.code == 2
    assert "argument --seeds: must" in capsys.readouterr().err


def test_as_many_columns_as_a_picture_takes(monkeypatch, capsys):
    monkeypatch.setattr("minigan.cli.noise_samples.MOST_COLUMNS", 9)
    assert run("sample", "classes", "--grid-of-classes") == 2
    assert "a grid has at most 9 columns, got 10 classes. Add --classes NAME." in capsys.readouterr().err


def test_a_walk_s_memory_is_that_of_a_film(monkeypatch, capsys):
    monkeypatch.setattr(walk_command, "MOST_BYTES", 68 * 68 * 10)
    assert run("sample", "plain", "--walk", "1", "--seeds", "1-5") == 0
    assert run("sample", "plain", "--walk", "1", "--seeds", "1-6") == 2
    assert "at most 10 pictures of this size, got 12. Use a smaller --walk, or fewer seeds." in capsys.readouterr().err


# ---------------------------------------------------------------------------------------- styles

STYLED = {"name": "stylegan2", "w_dim": 5, "channel_base": 64, "channel_max": 6, "scale": 1.0}


@pytest.fixture
def styled():
    """A generator with styles, and one with classes, too."""
    for name, settings in (("styled", {"condition": "none"}), ("styled classes", {"condition": "projection"})):
        trained = tiny_generator(**STYLED, **settings)
        trained.G.layers[0].w_avg.value[...] = 0.3
        minigan.save_generator(name, trained.G, trained.recipe, step=5)


@pytest.mark.usefixtures("styled")
def test_a_grid_of_mixed_styles(capsys):
    assert (
        run("sample", "styled", "--mix", "2x3", "--crossover", "1", "--seed", "4", "--truncation", ".7", "--json") == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["columns"], told["crossover"]) == ([4, 5], [6, 7, 8], 1)
    trained = opened("styled")
    rows, columns = (trained.sample(seeds=seeds, truncation=0.7) for seeds in ([4, 5], [6, 7, 8]))
    mixed = trained.mix([4, 5], [6, 7, 8], crossover=1, truncation=0.7)
    cells = [-np.ones_like(rows[0]), *columns, rows[0], *mixed[:3], rows[1], *mixed[3:]]
    np.testing.assert_array_equal(pixels("samples.png"), image_grid(np.stack(cells), columns=4))


@pytest.mark.usefixtures("styled")
def test_a_mixed_image_has_the_first_layers_of_one_style_and_the_others_of_another():
    trained = opened("styled")
    rows = trained.G.layers[0].rows
    styles = trained.styles([1, 2])
    np.testing.assert_array_equal(trained.draw_styles(styles), trained.sample(seeds=[1, 2]))
    whole = np.stack([np.concatenate([styles[:1].repeat(2, axis=0), styles[1:].repeat(rows - 2, axis=0)])])
    np.testing.assert_array_equal(trained.mix([1], [2], crossover=2), trained.draw_styles(whole))
    assert (trained.mix([1], [2]) != trained.mix([2], [1])).any()


@pytest.mark.usefixtures("styled")
def test_a_walk_between_styles_is_straight():
    trained = opened("styled")
    film = trained.walk(3, seeds=[1, 2], truncation=0.8)
    np.testing.assert_array_equal(film[::4], trained.sample(seeds=[1, 2], truncation=0.8))
    first, second = trained.styles([1, 2], truncation=0.8)
    np.testing.assert_allclose(film[2], trained.draw_styles((first + second) / 2)[0], atol=1e-6)
    classes = opened("styled classes").walk(1, seeds=[5], label=[2, 7])
    np.testing.assert_array_equal(classes[2], opened("styled classes").sample(seeds=[5], label=7)[0])


@pytest.mark.usefixtures("styled")
def test_projection_of_a_generator_with_styles_finds_a_style(capsys):
    trained = opened("styled")
    target = trained.sample(seeds=[11])[0]
    Path("target.png").write_bytes(encode_png(image_grid(target[None], columns=1)))
    assert run("project", "styled", "target.png", "--features", "pixels", "--steps", "60", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["space"] == "w"
    assert told["l1"] < told["start_l1"]
    with np.load("projection.npz") as found:
        drawn = trained.draw_styles(found["w"])
        np.testing.assert_allclose(drawn[0], found["image"], atol=1e-5)
    assert run("project", "styled classes", "target.png", "--features", "pixels", "--steps", "3", "--class", "2") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sample plain --mix", "--mix needs a generator with styles, but mlp has one network"),
        ("sample styled --mix 3", "--mix takes rows and columns, from 1 to 100, got '3'. Write --mix 4x6."),
        ("sample styled --mix 0x3", "from 1 to 100, got '0x3'"),
        ("sample styled --mix 2x2 --crossover 99", "crossover must be a layer from 1 to"),
        ("sample styled --crossover 2", "--crossover is for --mix, got none. Add --mix."),
        ("sample styled --mix 2x2 --count 3", "--mix has a row for each coarse style"),
        ("sample styled --mix 2x2 --seeds 1-3", "a grid of 2x2 takes 4 seeds, those of its rows first, got 3."),
        ("sample restores --mix", "draws from images, not from noise, got --mix in addition"),
        ("sample styled --truncation 1.5", "truncation must be"),
    ],
)
@pytest.mark.usefixtures("styled")
def test_styles_that_cannot_be_mixed(capsys, words, message):
    assert run(*words.split()) == 2
    assert message in capsys.readouterr().err
