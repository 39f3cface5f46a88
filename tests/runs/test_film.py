"""The film of a training: its frames are the training's pictures, bit for bit."""

import itertools
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.cli.command_line import main
from minigan.data.film_files import encode_film
from minigan.data.png import encode_png
from minigan.errors import ConfigError
from minigan.runs import film as film_module

pillow = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pictures(shape=(6, 5, 1), *, count=5):
    return list(np.random.default_rng(3).integers(0, 256, size=(count, *shape), dtype=np.uint8))


def run_with(frames, folder="run"):
    """A run of one step, whose pictures are `frames`, of steps 10, 20, ..."""
    quick = {"hidden": 4, "latent": 2, "batch_size": 8, "backend": "reference", "quiet": True}
    minigan.train("mlp", data="ring", steps=1, out=folder, **quick)
    (Path(folder) / "samples" / "step-000001.png").unlink()
    for number, frame in enumerate(frames, 1):
        (Path(folder) / "samples" / f"step-{10 * number:06}.png").write_bytes(encode_png(frame))


def read(film):
    """The frames of a film, and the time that each lasts, in ms."""
    image = pillow.open(BytesIO(film if isinstance(film, bytes) else Path(film).read_bytes()))
    frames, lasting = [], []
    for number in range(getattr(image, "default_image", False), image.n_frames):
        image.seek(number)
        image.load()
        frames.append(np.asarray(image.convert("RGB")))
        lasting.append(image.info["duration"])
    return frames, lasting, image


def in_color(frame):
    return np.broadcast_to(frame, (*frame.shape[:2], 3))


@pytest.mark.parametrize(("name", "channels"), [("film.png", 1), ("film.png", 3), ("film.gif", 1), ("FILM.GIF", 1)])
def test_a_film_shows_the_training_s_pictures_pixel_by_pixel(name, channels, capsys):
    drawn = pictures((6, 5, channels))
    run_with(drawn)
    assert main(["sample", "run", "--film", name]) == 0
    assert capsys.readouterr().out == f"5 pictures of steps 10 to 50: {name}\n"
    frames, lasting, image = read(name)
    assert image.format == ("PNG" if name == "film.png" else "GIF")
    assert image.info["loop"] == 0
    assert lasting == [500, 500, 500, 500, 2000]
    for frame, picture in zip(frames, drawn, strict=True):
        np.testing.assert_array_equal(frame, in_color(picture))
    assert not Path("samples.png").exists()


def test_a_gif_of_colors_says_what_it_loses(capsys):
    run_with(pictures((40, 40, 3)))
    assert main(["sample", "run", "--film", "film.gif", "--json"]) == 0
    out = capsys.readouterr()
    assert out.err == "minigan: film.gif: a GIF has 256 colors a picture; film.png would be exact.\n"
    assert '"steps": [10, 20, 30, 40, 50]' in out.out
    assert read("film.gif")[2].n_frames == 5


def test_a_training_s_own_pictures_make_a_film():
    quick = {"width": 2, "batch_size": 4, "backend": "reference", "quiet": True}
    run = minigan.train("dcgan", steps=3, sample_every=1, checkpoint_every=2, out="run", **quick)
    assert main(["sample", "run", "--film", "film.png", "--quiet"]) == 0
    drawn = [pillow.open(BytesIO(path.read_bytes())) for path in sorted((run.folder / "samples").iterdir())]
    for frame, picture in zip(read("film.png")[0], drawn, strict=True):
        np.testing.assert_array_equal(frame, np.asarray(picture.convert("RGB")))
    checkpoint = next(path for path in (run.folder / "checkpoints").iterdir() if "2" in path.name)
    assert main(["sample", str(checkpoint), "--film", "film.png", "--quiet"]) == 0
    assert len(read("film.png")[0]) == 2


def test_long_films_keep_the_first_and_the_last_picture(monkeypatch, capsys):
    monkeypatch.setattr(film_module, "MOST", 4)
    run_with(drawn := pictures(count=11))
    assert main(["sample", "run", "--film", "film.png"]) == 0
    out = capsys.readouterr()
    assert out.err == "minigan: 11 pictures are too many for a film: 4 of them, evenly spread.\n"
    assert out.out == "4 pictures of steps 10 to 110: film.png\n"
    for frame, number in zip(read("film.png")[0], (0, 3, 7, 10), strict=True):
        np.testing.assert_array_equal(frame, in_color(drawn[number]))


@pytest.mark.parametrize("rest", [True, False])
def test_a_viewer_without_animation_shows_the_last_picture_of_a_film_that_rests_on_it(rest):
    drawn = pictures()
    still = np.asarray(pillow.open(BytesIO(encode_film(drawn, "film.png", rest=rest))))
    np.testing.assert_array_equal(still, drawn[-1 if rest else 0][..., 0])


@pytest.mark.parametrize(("count", "lasts"), [(2, 500), (40, 250), (400, 50)])
def test_a_film_lasts_about_ten_seconds(count, lasts):
    assert read(encode_film(pictures(count=count), "film.gif"))[1] == [*itertools.repeat(lasts, count - 1), 2000]


def test_a_gif_has_a_largest_size():
    long = [np.full((1, 65_536, 1), level, np.uint8) for level in (0, 9)]
    with pytest.raises(ConfigError, match=r"film\.gif: a GIF has at most 65,535 pixels a side\. Name it film\.png"):
        encode_film(long, "film.gif")
    assert read(encode_film(long, "film.png"))[0][0].shape == (1, 65_536, 3)


def too_few():
    for path in list(Path("run/samples").iterdir())[1:]:
        path.unlink()


def damaged():
    path = Path("run/samples/step-000030.png")
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ("spoil", "words", "message"),
    [
        (
            too_few,
            (),
            "run/samples: expected at least two pictures for a film, found 1 picture. Train further, or",
        ),
        (damaged, (), "run/samples/step-000030.png: expected an image, found one that cannot be read"),
        (
            lambda: Path("run/samples/step-000020.png").write_bytes(encode_png(pictures((9, 5, 1))[0])),
            (),
            "run/samples/step-000020.png: expected 6x5 pixels as in step-000010.png, found 9x5. Remove it.",
        ),
        (lambda: Path("film.png").mkdir(), (), "cannot write film.png: "),
        (lambda: Path("run/config.toml").unlink(), (), "run is not a run folder"),
        (None, ("--film", "film.mp4"), "'film.mp4': expected a name that ends with .png or .gif"),
        (None, ("--film", "no/film.png"), "cannot write no/film.png: No such file or directory."),
        (None, ("--seed", "0", "--out", "a.png"), "--film shows the training's own pictures, got --seed, --out in"),
        (None, ("--class", "7"), "got --class in addition. Leave it out."),
        (None, ("--last-weights",), "got --last-weights in addition"),
        (None, ("--backend", "reference"), "got --backend in addition"),
    ],
)
def test_bad_input_is_one_line(spoil, words, message, capsys):
    run_with(pictures())
    if spoil is not None:
        spoil()
    assert main(["sample", "run", "--film", "film.png", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("film.png").is_file()


def test_a_run_that_does_not_exist_is_named(capsys):
    assert main(["sample", "runs/nowhere", "--film", "film.png"]) == 2
    assert "runs/nowhere is not a run folder" in capsys.readouterr().err


def test_pillow_is_asked_for_in_one_line(monkeypatch, capsys):
    run_with(pictures())
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert main(["sample", "run", "--film", "film.png"]) == 2
    assert capsys.readouterr().err == (
        "minigan: writing films needs Pillow, which is not installed. Run: pip install 'minigan[images]'\n"
    )
