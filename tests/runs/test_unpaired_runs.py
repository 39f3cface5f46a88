"""Runs on unpaired data: trained, resumed bit for bit, and both directions sampled, translated, measured, exported."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import minigan
from minigan.checkpoints.format import CHECKPOINT_FORMAT, MODEL_FORMAT, load_arrays
from minigan.cli import main
from minigan.data import open_unpaired
from minigan.errors import CheckpointError, ConfigError
from minigan.recipes import CycleGAN
from minigan.recipes.bases.unpaired import some

SETTINGS = {"width": 3, "d_width": 2, "blocks": 1, "pool": 4, "ema": 0.9, "size": 12, "batch_size": 2}
NETWORKS = ("G_AB", "G_BA", "D_A", "D_B")
GIVEN = ["--batch-size", "2", "--set", "width=3", "d_width=2", "blocks=1", "pool=4", "ema=0.9", "size=12"]


def trained(folder: Path, *, steps: int = 4, **more):
    return minigan.train(
        "cyclegan",
        **{**SETTINGS, "steps": steps, "backend": "reference", "out": folder, "quiet": True, "sample_every": 2} | more,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("unpaired") / "run")


def checkpoint_of(folder: Path, step: int):
    return load_arrays(folder / "checkpoints" / f"step-{step:08}.safetensors", format=CHECKPOINT_FORMAT)


def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(tmp_path):
    whole = trained(tmp_path / "whole", steps=6, decay_from=2, checkpoint_every=3)
    part = trained(tmp_path / "part", steps=3, decay_from=2, decay_until=6, checkpoint_every=3)
    part.resume(steps=6, quiet=True)
    (expected, one), (actual, other) = (checkpoint_of(run.folder, 6) for run in (whole, part))
    assert {name: array.tobytes() for name, array in expected.items()} == {
        name: array.tobytes() for name, array in actual.items()
    }
    assert one["loader"] == other["loader"] and one["rng"] == other["rng"]
    assert {"d_a_pool.fakes", "d_b_pool.count", "average_G_AB_updates", "average_G_BA_updates"} < expected.keys()
    model = [load_arrays(r.folder / "model.safetensors", format=MODEL_FORMAT)[0] for r in (whole, part)]
    assert all(np.array_equal(model[0][name], model[1][name]) for name in model[0])


def test_a_model_has_both_generators_and_both_averages(run):
    arrays, description = load_arrays(run.folder / "model.safetensors", format=MODEL_FORMAT)
    heads = {name.partition(".")[0] for name in arrays}
    assert heads == {"G_AB", "G_BA", "average_G_AB", "average_G_BA"}
    assert description["shape"] == [12, 12, 3]
    assert "data_b" not in description["settings"]
    assert list(run.generators) == ["G_AB", "G_BA"]
    for name, found in run.generators.items():
        last = minigan.load_generator(run.folder, name=name, average=False, backend="reference")
        assert found.averaged and not last.averaged
        assert found.name == last.name == name
        np.testing.assert_array_equal(last.G.arena.to_dict()["1.w"], arrays[f"{name}.1.w"])
        np.testing.assert_array_equal(found.G.arena.to_dict()["1.w"], arrays[f"average_{name}.1.w"])
    assert run.generator.name == "G_AB"
    assert "G_BA of CycleGAN(" in repr(run.generators["G_BA"])


def test_a_generator_that_is_not_there_is_told(run):
    with pytest.raises(ConfigError, match="cyclegan has no generator G: expected G_AB or G_BA"):
        minigan.load_generator(run.folder, name="G")
    with pytest.raises(ConfigError, match="cyclegan draws from images, not from noise"):
        run.generator.sample(2)


def test_generators_of_a_loop_of_ones_own_are_written_by_name(run, tmp_path):
    networks = {name: found.G for name, found in run.generators.items()}
    recipe = run.generator.recipe
    minigan.save_generator(tmp_path / "model.safetensors", networks, recipe, step=7)
    back = minigan.load_generator(tmp_path, name="G_BA", backend="reference")
    assert back.step == 7 and not back.averaged
    np.testing.assert_array_equal(back.G.arena.flat, networks["G_BA"].arena.flat)
    with pytest.raises(
        ConfigError, match=r'has the generators G_AB, G_BA, got G_AB. Write {"G_AB": G_AB, "G_BA": G_BA}'
    ):
        minigan.save_generator(tmp_path / "x", networks["G_AB"], recipe)
    swapped = {"G_AB": networks["G_AB"], "G_BA": minigan.nn.Sequential([minigan.nn.Tanh()], name="G_BA")}
    swapped["G_BA"].build((12, 12, 3), backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(CheckpointError, match="G_BA, to be written to"):
        minigan.save_generator(tmp_path / "x", swapped, recipe)


def test_pictures_show_both_directions_there_and_back(run, tmp_path):
    picture = np.asarray(Image.open(run.picture))
    assert picture.shape[0] > 8 * 12 and picture.shape[1] > 6 * 12
    # with the averages, as the pictures are: a run without shows others
    other = trained(tmp_path / "other", ema=0.0)
    assert not np.array_equal(picture, np.asarray(Image.open(other.picture)))


# ---------------------------------------------------------------------------------------------- commands


def test_sample_shows_one_direction_or_both(run, tmp_path, capsys):
    sizes = {}
    for name, words in (("both", []), ("ab", ["--direction", "AtoB"]), ("ba", ["--network", "G_BA"])):
        assert (
            main(
                [
                    "sample",
                    str(run.folder),
                    "--backend",
                    "reference",
                    "--out",
                    str(tmp_path / f"{name}.png"),
                    "--count",
                    "3",
                    *words,
                ]
            )
            == 0
        )
        sizes[name] = np.asarray(Image.open(tmp_path / f"{name}.png"))
    assert sizes["both"].shape[1] > 1.8 * sizes["ab"].shape[1]
    assert sizes["ab"].shape == sizes["ba"].shape and not np.array_equal(sizes["ab"], sizes["ba"])
    assert "A: image | translated | and back, B: image" in capsys.readouterr().out


def test_translate_takes_the_direction(run, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.arange(432, dtype=np.uint8).reshape(12, 12, 3)).save(tmp_path / "in" / "x.png")
    found = {}
    for direction in ("AtoB", "BtoA"):
        out = tmp_path / direction
        assert (
            main(
                [
                    "translate",
                    str(run.folder),
                    "--backend",
                    "reference",
                    str(tmp_path / "in"),
                    "--direction",
                    direction,
                    "--out",
                    str(out),
                ]
            )
            == 0
        )
        found[direction] = np.asarray(Image.open(out / "x.png"))
    assert not np.array_equal(found["AtoB"], found["BtoA"])
    x = np.asarray(Image.open(tmp_path / "in" / "x.png"))[None] / np.float32(127.5) - 1
    expected = minigan.to_pixels(minigan.generate(run.generators["G_BA"].G, x))[0]
    assert np.abs(found["BtoA"].astype(int) - expected).max() <= 1


def test_evaluate_measures_both_directions_by_the_truth(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("minigan.runs.unpaired.REFERENCE", 200)
    words = [
        "evaluate",
        str(run.folder),
        "--backend",
        "reference",
        "--count",
        "60",
        "--features",
        "pixels",
        "--out",
        str(tmp_path),
    ]
    assert main(words) == 0
    figures = json.loads((tmp_path / "evaluation.json").read_text())["figures"]
    names = ("psnr", "ssim", "fid", "precision", "recall")
    assert {f"{name}_{way}" for name in names for way in ("AtoB", "BtoA")} | {"cycle_A", "cycle_B"} == figures.keys()
    # By hand: fresh digits through G_BA's partner, as against their tinted selves.
    with contextlib.closing(open_unpaired("digits", size=12, a_channels=3, part="held-out")) as dataset:
        rows = some(len(dataset.a), 60)
        assert {int(label) for label in dataset.a.labels[rows]} == {*range(10)}, "of all classes"
        a, truth = dataset.a.read(rows), dataset.a_truth.read(rows)
    there, back = (run.generators[name].G for name in ("G_AB", "G_BA"))
    translated = minigan.generate(there, a)
    error = ((np.clip(translated, -1, 1) - truth) ** 2).mean(axis=(1, 2, 3))
    assert figures["psnr_AtoB"]["value"] == pytest.approx((10 * np.log10(4 / error)).mean(), rel=1e-3)
    cycle = np.abs(minigan.generate(back, translated) - a).mean()
    assert figures["cycle_A"]["value"] == pytest.approx(cycle, rel=1e-3)
    baseline = (10 * np.log10(4 / ((a - truth) ** 2).mean(axis=(1, 2, 3)))).mean()
    assert figures["psnr_AtoB"]["data"] == pytest.approx(baseline, rel=1e-3)
    assert (tmp_path / "evaluation.png").exists()
    assert "untranslated" in capsys.readouterr().out


@pytest.mark.parametrize(("direction", "name"), [("AtoB", "G_AB"), ("BtoA", "G_BA")])
def test_each_direction_is_exported_to_each_format(run, tmp_path, direction, name):
    for to, out in (("numpy", "n"), ("onnx", "g.onnx"), ("torch", "g.safetensors")):
        words = ["export", str(run.folder), "--to", to, "--direction", direction, "--out", str(tmp_path / out)]
        assert main(words) == 0
    weights = safetensors.numpy.load_file(tmp_path / "g.safetensors")
    expected = run.generators[name].G.arena.to_dict()["1.w"].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(weights["1.weight"], expected)
    assert main(["export", str(run.folder), "--to", "torch", "--network", "D_B", "--out", str(tmp_path / "d")]) == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["sample", "RUN", "--class", "3"], "cyclegan draws from images, not from noise, got --class in addition"),
        (["sample", "RUN", "--seed", "3"], "cyclegan shows unpaired images, there and back, got --seed in addition"),
        (["sample", "RUN", "--network", "G_AB", "--direction", "BtoA"], "--direction BtoA is that of G_BA"),
        (["sample", "RUN", "--network", "H"], "cyclegan has no generator H"),
        (["evaluate", "RUN", "--split", "val"], "evaluated in both directions, got --split val"),
        (["train", "--resume", "RUN", "--targets", "x"], "cyclegan learns from no pairs"),
        (["export", "RUN", "--to", "onnx", "--network", "D_A", "--out", "x"], "--to onnx writes generators"),
        (
            ["train", "cyclegan", "--evaluate-every", "2", "--best", "kid", *GIVEN],
            "--best must be one of psnr_AtoB, psnr_BtoA, cycle_A, cycle_B with digits and tinted, got kid.",
        ),
        (["train", "dcgan", "--data-b", "digits"], "dcgan learns from no unpaired images, got --data-b. Use cyclegan."),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:4:2]),
)
def test_what_is_of_no_use_gets_a_line(run, tmp_path, monkeypatch, capsys, words, problem):
    monkeypatch.chdir(tmp_path)
    assert main([word.replace("RUN", str(run.folder)) for word in words]) == 2
    complaint = capsys.readouterr().err
    assert problem in complaint and complaint.count("\n") == 1


def exported(run, folder: Path, *names: str) -> dict[str, Path]:
    files = {name: folder / f"{name}.safetensors" for name in names}
    for name, file in files.items():
        words = ["export", str(run.folder), "--to", "torch", "--network", name, "--out", str(file), "--last-weights"]
        assert main(words) == 0
    return files


def test_all_four_networks_come_back_from_pytorch(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, *others = (f"{name}={file}" for name, file in exported(run, tmp_path, *NETWORKS).items())
    words = ["import", first.partition("=")[2], "--recipe", "cyclegan", "--backend", "reference", "--set", "size=12"]
    assert main([*words, "ema=0.9", "--out", "back", "--networks", *others]) == 0
    assert "new weights" not in capsys.readouterr().out
    config = Path("back/config.toml").read_text()
    assert all(f"\n{line}\n" in config for line in ("width = 3", "blocks = 1", "d_width = 2", "halvings = 1"))
    was, now = checkpoint_of(run.folder, 4)[0], checkpoint_of(Path("back"), 0)[0]
    networks = [name for name in was if name.partition(".")[0] in NETWORKS]
    assert networks
    for name in networks:
        np.testing.assert_array_equal(was[name], now[name], err_msg=name)
    assert main(["train", "--resume", "back", "--steps", "1"]) == 0
    assert main([*words, "--out", "part", "--data-b", "tinted"]) == 0
    assert "G_BA and D_A and D_B with new weights: give --networks G_BA=FILE D_A=FILE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--networks", "D_A"], "--networks expects NAME=FILE, got 'D_A'."),
        (["--networks", "D=G_AB.safetensors"], "cyclegan has no D: expected one of G_AB, G_BA, D_A, D_B."),
        (["--networks", "G_AB=G_AB.safetensors"], "both hold G_AB. Give each network once."),
        (["--networks", "D_A=G_AB.safetensors"], "G_AB.safetensors: expected"),
        (["--networks", "D_A=none"], "cannot read none"),
        (["--discriminator", "G_AB.safetensors"], "cyclegan has no network D, got --discriminator."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_networks_that_do_not_belong_are_one_line(run, tmp_path, monkeypatch, capsys, words, problem):
    monkeypatch.chdir(tmp_path)
    exported(run, tmp_path, "G_AB")
    capsys.readouterr()
    given = ["import", "G_AB.safetensors", "--recipe", "cyclegan", "--backend", "reference", "--out", "run", "--set"]
    assert main([*given, "size=12", *words]) == 2
    error = capsys.readouterr().err
    assert problem in error and error.count("\n") == 1
    assert not Path("run").exists()


# ---------------------------------------------------------------------------------------------- figures in training


def figures_of(run, key: str = "cycle_A") -> list[dict[str, float]]:
    return [record for record in run.log if key in record]


def test_figures_of_both_directions_are_logged_on_held_out_images(tmp_path):
    """They are what the saved averages give for the same images, with the averages of both generators."""
    run = trained(tmp_path / "run", steps=3, evaluate_every=2)
    found = figures_of(run)
    assert [record["step"] for record in found] == [2, 3]
    assert list(found[0]) == ["step", "psnr_AtoB", "psnr_BtoA", "cycle_A", "cycle_B"]
    with contextlib.closing(run.generator.recipe.open_part("digits", (12, 12, 3), seed=0)) as held:
        rows = some(len(held.a), 200)
        image, truth = held.a.read(rows), held.a_truth.read(rows)
    there, back = (run.generators[name].G for name in ("G_AB", "G_BA"))
    translated = minigan.generate(there, image)
    psnr = 10 * np.log10(4 / ((translated - truth) ** 2).mean(axis=(1, 2, 3)))
    assert found[-1]["psnr_AtoB"] == pytest.approx(psnr.mean(), rel=1e-4)
    cycle = np.abs(minigan.generate(back, translated) - image).mean()
    assert found[-1]["cycle_A"] == pytest.approx(cycle, rel=1e-4)
    best = load_arrays(run.folder / "checkpoints" / "best.safetensors", format=CHECKPOINT_FORMAT)[1]
    assert best["figures"]["psnr_AtoB"] == max(record["psnr_AtoB"] for record in found)


def test_where_the_truth_is_unknown_the_look_is_measured(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.integers(0, 256, (600, 12, 12), dtype=np.uint8))
    more = {"data": tmp_path / "a.npy", "data_b": tmp_path / "b.npy", "steps": 2, "evaluate_every": 1}
    run = trained(tmp_path / "run", held_back=60, best="cycle_B", **more)
    found = figures_of(run)
    assert list(found[0]) == ["step", "fid_AtoB", "fid_BtoA", "cycle_A", "cycle_B"]
    assert [record["step"] for record in found] == [1, 2]
    best = load_arrays(run.folder / "checkpoints" / "best.safetensors", format=CHECKPOINT_FORMAT)[1]
    assert best["figures"]["cycle_B"] == min(record["cycle_B"] for record in found)
    few = trained(tmp_path / "few", held_back=10, **more)
    assert list(figures_of(few)[0]) == ["step", "cycle_A", "cycle_B"], "a distance of ten images says nothing"


def test_a_run_with_figures_goes_on_with_the_same(tmp_path):
    whole = trained(tmp_path / "whole", steps=3, evaluate_every=1, decay_from=9, decay_until=10)
    part = trained(tmp_path / "part", steps=2, evaluate_every=1, decay_from=9, decay_until=10)
    part.resume(steps=3, quiet=True)
    assert figures_of(whole) == figures_of(part)
    plain = trained(tmp_path / "plain", steps=3, decay_from=9, decay_until=10)
    assert plain.generator.G.arena.flat.tobytes() == whole.generator.G.arena.flat.tobytes(), "they change nothing"


# ---------------------------------------------------------------------------------------------- files


def pictures(folder: Path, count: int, *, size=(12, 12), gray: bool = False) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for k in range(count):
        pixels = rng.integers(0, 256, size if gray else (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")


def test_images_of_b_that_have_moved_are_found_by_every_command_that_reads_them(tmp_path, capsys):
    for name in ("a", "b"):
        pictures(tmp_path / name, 6)
    run = trained(tmp_path / "run", data=tmp_path / "a", data_b=tmp_path / "b", steps=2, checkpoint_every=1)
    (tmp_path / "b").rename(tmp_path / "moved")
    for command in (["inspect", str(run.folder)], ["explain", str(run.folder), "--step"], ["report", str(run.folder)]):
        main(command)
        assert "if it has moved, add --data SOURCE or --data-b SOURCE." in capsys.readouterr().err
        main([*command, "--data-b", str(tmp_path / "nowhere")])
        assert f"{tmp_path / 'nowhere'}: no such file, folder" in capsys.readouterr().err
    assert main(["inspect", str(run.folder), "--data-b", str(tmp_path / "moved")]) == 0


def test_folders_of_other_sizes_and_colors_are_brought_together_and_it_is_told(tmp_path):
    pictures(tmp_path / "a", 12, size=(21, 14))
    pictures(tmp_path / "b", 10, gray=True)
    dataset = CycleGAN(data_b=str(tmp_path / "b")).open_data(str(tmp_path / "a"), seed=0)
    assert dataset.a_shape == dataset.b_shape == (20, 12, 3) or dataset.a_shape == dataset.b_shape
    assert "B is grayscale and is taken in color, like the other side" in dataset.notes
    assert any(line.startswith("A: scaled from 21x14 to") for line in dataset.notes)
    assert any(line.startswith("B: scaled from 12x12 to") for line in dataset.notes)
    dataset.close()
    apart = CycleGAN(data_b=str(tmp_path / "b"), a_channels=3, b_channels=1, size=8)
    with pytest.raises(ConfigError, match=r"A are .* and those of B .*. Set identity=0"):
        apart.assemble((8, 8, 1), backend="reference", rng=np.random.default_rng(0))


def test_a_run_on_two_folders_keeps_their_paths_and_takes_new_ones(tmp_path, monkeypatch):
    for name in ("a", "b"):
        pictures(tmp_path / name, 3)
    monkeypatch.chdir(tmp_path)
    run = trained(tmp_path / "run", steps=2, data="a", data_b="b", size=0, batch_size=1, schedule="constant")
    assert run.config.settings["data_b"] == str(tmp_path / "b")
    (tmp_path / "b").rename(tmp_path / "c")
    run.resume(steps=3, data_b=tmp_path / "c", quiet=True)
    assert run.step == 3 and run.config.settings["data_b"] == str(tmp_path / "c")
    assert (
        main(["sample", str(run.folder), "--backend", "reference", "--data-b", "digits", "--out", "s.png", "-q"]) == 0
    )


def test_one_picture_a_side_trains(tmp_path):
    pictures(tmp_path / "both" / "trainA", 1), pictures(tmp_path / "both" / "trainB", 1)
    run = trained(tmp_path / "run", steps=1, data=tmp_path / "both", batch_size=1)
    assert run.step == 1 and run.picture is not None


def test_a_batch_larger_than_a_side_is_one_line(tmp_path, capsys):
    pictures(tmp_path / "both" / "trainA", 5), pictures(tmp_path / "both" / "trainB", 2)
    words = ["train", "cyclegan", "--data", str(tmp_path / "both"), *GIVEN, "--batch-size", "4", "--steps", "1"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        "minigan: --batch-size is 4, but B, both/B, holds 2 images to train on. Lower it, or use more data.\n"
    )
