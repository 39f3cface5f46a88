"""The command `minigan data`: its lines, its exit codes, its files, and the plan of a training."""

import json
from pathlib import Path

import numpy as np
import pytest

from minigan.cli import data as command
from minigan.cli.command_line import main
from minigan.data import open_dataset, survey
from minigan.data.png import encode_png
from minigan.recipes import get_recipe
from minigan.runs.plan import suited_recipe, training_plan

pytest.importorskip("PIL")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(name: str, *shape: int, content: bytes | None = None) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 256, shape or (8, 8, 3), dtype=np.uint8)
    Path(name).write_bytes(encode_png(pixels) if content is None else content)


def test_what_was_found_is_shown_with_a_plan(capsys):
    for n in range(3):
        put(f"p/cat/{n}.png", 64, 64, 3)
        put(f"p/dog/{n}.png", 64, 64, 3)
    assert main(["data", "p"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) < 80
    text = " ".join(captured.out.split())
    assert text.startswith("p kind folder of pictures pictures 6 size 64x64 (height x width) color color (RGB)")
    assert "dcgan draws color pictures 64x64 they are taken as they are" in text
    few = "the classes are not used: 2 classes have 3 images each on average, which are few; --set"
    assert f"{few} condition=concatenation gives them to G and D" in text


def test_damaged_files_are_listed_one_a_line_and_the_rest_is_done(capsys):
    for n in range(4):
        put(f"p/{n}.png")
    for n in (4, 5, 6):
        put(f"p/{n}.png", content=b"nonsense")
    assert main(["data", "p", "--check", "--out", "preview.png"]) == 2
    captured = capsys.readouterr()
    damaged = [line for line in captured.out.splitlines() if line.startswith("damaged: ")]
    assert [Path(line.split(": ")[1]).name for line in damaged] == ["4.png", "5.png", "6.png"]
    assert "all 7 were read: 4 fine, 3 damaged" in captured.out
    assert captured.err == "minigan: p: 3 of 7 pictures cannot be read. Remove or replace them.\n"
    assert Path("preview.png").read_bytes().startswith(b"\x89PNG")
    assert main(["data", "p"]) == 2  # the few that are looked at are listed, too
    assert capsys.readouterr().out.count("\ndamaged: ") == 3
    assert main(["data", "p", "--check", "--quiet"]) == 2
    assert capsys.readouterr().out == ""
    for n in (4, 5, 6):
        Path(f"p/{n}.png").unlink()
    assert main(["data", "p", "--check"]) == 0
    assert "all 4 were read: 4 fine, 0 damaged" in capsys.readouterr().out


def test_json_is_one_object(capsys):
    put("p/0.png", 30, 40, 3)
    put("p/1.png", content=b"nonsense")
    assert main(["data", "p", "--check", "--json", "--set", "size=32"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert (record["count"], record["sizes"]) == (2, [{"height": 30, "width": 40, "count": 1}])
    assert len(record["damaged"]) == 1
    assert record["plan"][0] == "dcgan draws color pictures 32x32"
    assert record["out"] is None


def test_ctrl_c_ends_a_check_with_what_was_found(capsys, monkeypatch):
    for n in range(4):
        put(f"p/{n}.png", content=None if n else b"nonsense")

    def interrupted(*_, watch, **__):
        watch(1, "p/0.png: nonsense")
        watch(2, None)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "survey_of", interrupted)
    assert main(["data", "p", "--check"]) == 130
    captured = capsys.readouterr()
    assert captured.out.endswith("damaged: p/0.png: nonsense\nstopped after 2 of 4: 1 damaged so far\n")
    assert captured.err == "minigan: interrupted.\n"


def test_what_cannot_be_done_is_said_in_a_line(capsys):
    for arguments, says in (
        (["nowhere"], "nowhere: no such file, folder or embedded dataset"),
        (["digits", "--out", "x.doc"], "Name it x.png."),
        (["digits", "--recipe", "gan"], "unknown recipe 'gan'"),
        (["digits", "--set", "color=red"], "color"),
        (["digits", "--pairs"], "digits: expected pairs, found none"),
        (["digits", "--no-pairs", "--split", "val"], "--split and --targets are of pairs. Leave them out"),
    ):
        assert main(["data", *arguments]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert list(Path().iterdir()) == []


# ------------------------------------------------------------------------------------------ the plan


def plan(recipe: str = "", **settings) -> str:
    found = survey("p")
    kind = get_recipe(recipe) if recipe else suited_recipe(found.items)
    return "\n".join(training_plan(found, kind(**settings)))


def test_a_plan_tells_how_much_is_cut_off():
    put("p/0.png", 60, 80, 3)
    assert "draws color pictures 64x64\nthey are scaled to cover 64x64; 25% is cut off, left and right alike" in plan(
        size=64
    )
    assert "1 of 1 are smaller than that and are enlarged" in plan(size=64)
    assert "draws color pictures 32x32" in plan(size=32)
    put("p/1.png", 128, 64, 1)
    text = plan(size=64, channels=1)
    assert "draws grayscale pictures 64x64" in text
    assert "38% of a picture is cut off on average" in text
    assert "most is lost of those of 128x64: 50% is cut off, above and below alike" in text
    assert "1 pictures lose their colors" in text


def test_the_share_that_a_plan_names_is_cut_off():
    """The very pixels: of a picture with a border as wide as said, none of the border is left."""
    pixels = np.full((60, 80, 3), 255, np.uint8)
    pixels[:, 10:70] = 0  # 25 % of its width, half on each side
    put("p/0.png", content=encode_png(pixels))
    assert "25% is cut off" in plan(size=64)
    kept = open_dataset("p", size=64).read([0])[0]
    assert (kept[:, 2:-2] < -0.9).all()


def test_a_plan_where_nothing_is_cut_off():
    put("p/0.png", 200, 200, 3)
    assert "they are scaled to 64x64, and nothing is cut off" in plan(size=64)


def test_a_plan_for_pairs_points_and_classes():
    put("p/0.png", 16, 32, 3)
    assert plan().startswith("pix2pix draws color pictures 16x16\n")
    assert plan("dcgan") == "dcgan learns from single pictures or points; these are pairs: use pix2pix"
    ring = survey("ring")
    assert training_plan(ring, suited_recipe(ring.items)())[0] == "mlp draws points of the plane"
    assert training_plan(ring, get_recipe("dcgan")()) == (
        "dcgan draws images, got points of the plane. Use the recipe mlp, or image data.",
    )
    digits = survey("digits")
    lines = training_plan(digits, get_recipe("dcgan")(condition="projection", steps=100, batch_size=20))
    assert "G and D are given the 10 classes" in lines
    assert lines[-1] == "100 steps of 20 see each of them 0.1 times"


def test_both_sides_of_unpaired_data_are_surveyed(capsys):
    for n in range(12):
        put(f"photos/{n}.png", 40, 40, 3)
    for n in range(3):
        put(f"paintings/{n}.png", 30 + n, 40, 1)
    words = ["data", "photos", "--data-b", "paintings"]
    assert main([*words, "--check", "--out", "preview.png", "--set", "batch_size=2", "steps=100", "held_back=1"]) == 0
    captured = capsys.readouterr()
    assert max(map(len, captured.out.splitlines())) < 80
    text = " ".join(captured.out.split())
    assert "A: photos kind folder of pictures pictures 11 size 40x40" in text
    assert "B: paintings kind folder of pictures pictures 3 size 30x40 (1), 31x40 (1), 32x40 (1)" in text
    assert "1 of 12 images are held out of training" in text
    assert "check all 11 were read: 11 fine, 0 damaged" in text and "check all 3 were read: 3 fine" in text
    assert "cyclegan translates between color pictures 40x40, from A to B and from B to A" in text
    assert "A: they are taken as they are" in text and "B: they are scaled to cover 40x40" in text
    assert "B: 3 grayscale pictures are taken in color" in text
    assert "100 steps of 2 of each side see each of A 18 times, and each of B 67 times" in text
    assert Path("preview.png").read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--json", "--recipe", "cyclegan"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["A"]["count"], record["B"]["count"], record["B"]["grayscale"]) == (11, 3, 3)
    assert record["plan"][0].startswith("cyclegan translates")


def test_two_sides_in_one_folder(capsys):
    for side, count in (("trainA", 4), ("trainB", 2), ("testA", 1)):
        for n in range(count):
            put(f"both/{side}/{n}.png", 16, 16, 3)
    assert main(["data", "both", "--recipe", "cyclegan"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "A: both/A kind folder of pictures pictures 4" in text and "1 are held out by their folder" in text
    assert "B: both/B kind folder of pictures pictures 2" in text
    assert main(["data", "both"]) == 0
    assert "two kinds to translate between, use cyclegan" in " ".join(capsys.readouterr().out.split())


def test_a_damaged_picture_of_either_side_is_an_error(capsys):
    for n in range(3):
        put(f"a/{n}.png")
        put(f"b/{n}.png", content=b"nonsense" if n == 1 else None)
    assert main(["data", "a", "--data-b", "b", "--check"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "minigan: B: b: 1 of 3 pictures cannot be read. Remove or replace them.\n"
    assert captured.out.count("\ndamaged: ") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--data-b", "b", "--recipe", "dcgan"], "dcgan learns from one source, got --data-b b. Leave it out."),
        (["--data-b", "b", "--pairs"], "unpaired images have two sides and no pairs, got --pairs in addition."),
        (["--recipe", "cyclegan", "--split", "val"], "unpaired images have two sides and no pairs, got --split"),
        (["--recipe", "cyclegan"], "a: expected pictures in folders trainA and trainB, found pictures in no folder"),
        (["--data-b", "none"], "none: no such file, folder or embedded dataset."),
        (["--data-b", "a"], "A and B are the same source, a. Give another --data-b"),
    ],
)
def test_odd_options_of_two_sides_are_one_line(capsys, words, line):
    put("a/0.png")
    put("b/0.png")
    assert main(["data", "a", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"minigan: {line}") and error.count("\n") == 1
