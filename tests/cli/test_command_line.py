"""The command line: what it prints, writes and returns, for good and for bad input."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from minigan.cli.command_line import main

QUICK = ("--backend", "reference", "--set", "width=4", "batch_size=8", "condition=none")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fails(capsys, *arguments, code=2):
    """The one line on standard error of a command that must fail without a traceback."""
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("minigan: ")
    assert error.count("\n") == 1
    return error


def test_train_then_sample(capsys):
    assert main(["train", "--steps", "3", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "dcgan on digits: 20,000 grayscale images 28x28" in out
    assert "step 3/3" in out
    assert "minigan sample runs/dcgan-digits-1" in out
    assert Path("runs/dcgan-digits-1/samples/step-000003.png").read_bytes().startswith(b"\x89PNG")
    assert main(["sample", "runs/dcgan-digits-1", "--count", "5", "--out", "five.png", "--backend", "reference"]) == 0
    first = Path("five.png").read_bytes()
    assert main(["sample", "runs/dcgan-digits-1", "--count", "5", "--out", "five.png", "--backend", "reference"]) == 0
    assert Path("five.png").read_bytes() == first
    assert "5 samples of dcgan at step 3, moving average: five.png" in capsys.readouterr().out


def test_flags_and_settings_end_up_in_the_configuration():
    arguments = ["train", "mlp", "--data", "grid", "--steps", "2", "--batch-size", "16", "--seed", "5"]
    arguments += ["--out", "here", "--backend", "reference", "--set", "lr=1e-3", "--set", "beta1=0", "--log-every", "1"]
    assert main(arguments) == 0
    config = tomllib.loads(Path("here/config.toml").read_text())
    assert (config["recipe"], config["data"], config["seed"]) == ("mlp", "grid", 5)
    settings = config["settings"]
    assert (settings["steps"], settings["batch_size"], settings["lr"], settings["beta1"]) == (2, 16, 1e-3, 0.0)
    assert len(Path("here/log.jsonl").read_text().splitlines()) == 2


def test_resume_goes_further_and_says_when_all_is_done(capsys):
    assert main(["train", "--steps", "2", "--out", "here", *QUICK]) == 0
    assert main(["train", "--resume", "here"]) == 0
    assert "all 2 steps are done; --steps N with a larger N trains on." in capsys.readouterr().out
    assert main(["train", "--resume", "here", "--steps", "4"]) == 0
    assert [json.loads(line)["step"] for line in Path("here/log.jsonl").read_text().splitlines()] == [1, 2, 4]


def test_ctrl_c_saves_and_tells_how_to_go_on():
    command = [sys.executable, "-m", "minigan", "train", "--steps", "100000", "--out", "here", *QUICK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("step"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    step = int(out.split("stopped at step ")[1].split(".")[0])
    assert "saving after this step; Ctrl-C again stops at once" in out
    assert f"Resume with: minigan train --resume {Path('here')}" in out
    assert [p.name for p in Path("here/checkpoints").iterdir()] == [f"step-{step:08}.safetensors"]
    assert main(["train", "--resume", "here", "--steps", str(step + 1)]) == 0


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(capsys):
    assert main(["train", "--steps", "1", "--set", "penalty=wgan-gp", "--out", "here", *QUICK]) == 0
    err = capsys.readouterr().err
    assert err.startswith("minigan: D.3.BatchNorm makes each logit depend on the whole batch, but WGAN-GP bounds ")
    assert err.count("\n") == 1
    assert json.loads(Path("here/log.jsonl").read_text())["d_penalty"] > 0


def test_samples_are_the_moving_averages_where_there_is_one(capsys):
    small = ["--steps", "2", "--batch-size", "4", "--backend", "reference", "--out", "run"]
    assert main(["train", "mlp", *small, "--set", "ema=0.9"]) == 0
    assert main(["sample", "run", "--count", "4", "--out", "average.png", "--backend", "reference"]) == 0
    assert "4 samples of mlp at step 2, moving average: average.png" in capsys.readouterr().out
    assert main(["sample", "run", "--count", "4", "--out", "last.png", "--backend", "reference", "--last-weights"]) == 0
    assert "4 samples of mlp at step 2: last.png" in capsys.readouterr().out
    assert Path("average.png").read_bytes() != Path("last.png").read_bytes()


def test_recipes_info_and_gradcheck_speak(capsys):
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out
    assert "dcgan" in out
    assert "mlp" in out
    assert main(["recipes", "dcgan"]) == 0
    out = capsys.readouterr().out
    assert "Radford" in out
    assert re.search(r"^  width = 0 +number of channels of the largest hidden image; each halving", out, re.MULTILINE)
    assert re.search(r"^  beta1 = 0.5 +decay of the first moment, for adam and adamw\.$", out, re.MULTILINE)
    assert "G: (100,) -> (64, 64, 3)" in out
    assert main(["recipes", "dcgan", "--set", "size=32", "channels=1", "width=4", "--backend", "reference"]) == 0
    assert "\nD: (32, 32, 1) -> (1,), products in fp32\n" in capsys.readouterr().out
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "reference: reference backend" in out
    assert "conv2d_weight_grad" in out
    assert main(["gradcheck", "dcgan", "--set", "width=2"]) == 0
    out = capsys.readouterr().out
    assert "G.8.ConvTranspose2D" in out
    assert "all gradients and double gradients agree" in out


def test_bench_measures_and_warmup_compiles(capsys):
    quick = ("--backend", "reference", "--rounds", "1", "--seconds", "0.01")
    assert main(["bench", "mlp", "--batch-size", "8", *quick]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[2:]] == [["mlp", "train", "8"], ["mlp", "sample", "8"]]
    assert main(["bench", "mlp", "--json", *quick]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["backend"].startswith("reference")
    assert all(row["milliseconds"] > 0 and row["images_per_second"] > 0 for row in result["measurements"])
    assert main(["warmup", "--backend", "reference"]) == 0
    assert "all kernels ready" in capsys.readouterr().out


def test_gradcheck_names_the_layer_with_a_wrong_gradient(capsys, monkeypatch):
    from minigan.backends.reference import ReferenceBackend

    right = ReferenceBackend.batchnorm_grad

    def wrong(self, dy, x, gamma, mean, var, *, eps, add_to, need_dx=True):
        dx = right(self, dy, x, gamma, mean, var, eps=eps, add_to=add_to, need_dx=need_dx)
        return None if dx is None else dx * 1.001

    monkeypatch.setattr(ReferenceBackend, "batchnorm_grad", wrong)
    assert main(["gradcheck", "dcgan", "--set", "width=2"]) == 2
    failures = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert "G.2.BatchNorm" in failures[0]
    assert not any("Conv" in line for line in failures)


def test_gradcheck_works_for_points(capsys):
    assert main(["gradcheck", "mlp", "--data", "ring"]) == 0
    assert "all gradients" in capsys.readouterr().out


def test_the_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("minigan 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nope"], "unknown recipe 'nope': expected one of dcgan, mlp"),
        (["train", "--set", "foo=1"], "dcgan has no setting 'foo'. Expected one of accumulate, augment"),
        (["train", "--set", "widht=1"], "dcgan has no setting 'widht'. Did you mean width?"),
        (["train", "--set", "loss=Hinge"], "got 'Hinge'. Did you mean hinge?"),
        (["train", "DCGAN"], "Did you mean dcgan?"),
        (["train", "--set", "lr=fast"], "lr must be a number, got 'fast'"),
        (["train", "--set", "width=2.5"], "width must be an integer, got '2.5'"),
        (["train", "--set", "lr"], "--set expects KEY=VALUE, got 'lr'"),
        (["train", "--set", "width=4", "mlp"], "got 'mlp'. Put the recipe before --set."),
        (
            ["train", "digits"],
            ". Did you mean --data digits?",
        ),
        (["train", "--steps", "1", "--set", "steps=9"], "--steps 1 and --set steps=9 disagree. Give only one of them."),
        (["train", "--out", "n" * 5000, *QUICK], "File name too long"),
        (["train", "--data", "n" * 5000], "File name too long"),
        (["train", "--resume", "n" * 5000], "File name too long"),
        (["sample", "n" * 5000], "File name too long"),
        (["train", "--data", "caf\udce9"], r"caf\udce9: no such file, folder or embedded dataset."),
        (["train", "--set", "lr=-1"], "lr must be positive, got -1"),
        (["train", "--set", "lr=inf"], "lr must be positive, got inf"),
        (["train", "--set", "width=100000000"], "out of memory: a network's weights would take 1,192,097,576.7 GiB"),
        (
            ["train", "--set", f"width={10**20}"],
            "out of memory: a network's weights would take more than any machine has",
        ),
        (["train", "--set", "loss=sad"], "loss must be one of minimax"),
        (["train", "--set", "size=50"], "expected images whose sides are 4 to 7 pixels times a power of two"),
        (["train", "--data", "nowhere"], "nowhere: no such file"),
        (["train", "--data", "digit"], "Did you mean 'digits'?"),
        (["train", "--data", ""], "expected a path, or one of digits, shapes, tinted, ring, grid; got an empty name."),
        (["train", "--data", "ring"], "dcgan draws images, got points of the plane. Use the recipe mlp"),
        (["train", "--batch-size", "99999"], "batch_size is 99,999, but digits holds 20,000"),
        (["train", "--resume", "nowhere"], "nowhere is not a run folder"),
        (["train", "mlp", "--resume", "x", "--seed", "1"], "got --seed, RECIPE in addition"),
        (["sample", "nowhere"], "no trained generator at nowhere"),
        (["gradcheck", "nope"], "unknown recipe 'nope'"),
        (["bench", "nope"], "unknown model 'nope': expected some of mlp, dcgan28"),
        (["recipes", "nope"], "unknown recipe 'nope'"),
    ],
)
def test_bad_arguments_get_one_clear_line(capsys, arguments, message):
    assert message in fails(capsys, *arguments)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--steps", "0", "must be positive, got 0"),
        ("--steps", "abc", "must be a whole number, got 'abc'"),
        ("--steps", "9" * 5000, "must be a whole number"),
        ("--steps", "9" * 20, "must be at most 1,000,000,000"),
        ("--seed", "-1", "must not be negative, got -1"),
        ("--out", "", "must name a folder, got ''"),
    ],
)
def test_numbers_out_of_range_are_usage_errors(capsys, flag, value, message):
    with pytest.raises(SystemExit) as stop:
        main(["train", flag, value])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "soon"])
def test_seconds_are_a_positive_number(capsys, value):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--seconds", value])
    assert stop.value.code == 2
    assert f"must be a positive number of seconds, got '{value}'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["dcgan", "digits"], ["mlp", "digits", "--steps", "1"]])
def test_data_where_none_are_expected_get_a_hint(capsys, words):
    with pytest.raises(SystemExit) as stop:
        main(["train", *words])
    assert stop.value.code == 2
    assert "unrecognized arguments: digits. Did you mean --data digits?" in capsys.readouterr().err


def test_a_picture_needs_a_file_name(capsys):
    assert main(["train", "--steps", "1", "--out", "run", *QUICK]) == 0
    for place in (".", "", "/", "..", "run"):
        line = fails(capsys, "sample", "run", "--count", "1", "--backend", "reference", "--out", place)
        assert "It is a folder: name a file in it." in line
    Path("text.txt").write_text("hello, this is text")
    line = fails(capsys, "sample", "text.txt")
    assert "cannot read text.txt" in line
    assert "not written by minigan" in line


def test_the_ending_of_a_picture_decides_its_format(capsys):
    pytest.importorskip("PIL")
    assert main(["train", "mlp", "--steps", "1", "--out", "run", "--backend", "reference", "--set", "hidden=2"]) == 0
    capsys.readouterr()
    sample = ("sample", "run", "--count", "1", "--backend", "reference", "--out")
    assert main([*sample, "one.JPG"]) == 0
    assert Path("one.JPG").read_bytes().startswith(b"\xff\xd8\xff")
    assert capsys.readouterr().err == "minigan: one.JPG: a JPEG of quality 95 is not exact; one.png would be.\n"
    assert main([*sample, "one.webp"]) == 0
    assert (capsys.readouterr().err, Path("one.webp").read_bytes()[8:12]) == ("", b"WEBP")
    for place in ("one.png.txt", "one", "one.gif"):
        assert "Name it one.png." in fails(capsys, *sample, place)
    assert "Name it one.png." in fails(capsys, "sample", "nowhere", "--out", "one.doc")  # before any work
    for command in (["evaluate", "run"], ["translate", "run", "photos"]):
        with pytest.raises(SystemExit):
            main([*command, "--out", "figures.png"])
        assert "must name a folder, got the name of a picture, 'figures.png'" in capsys.readouterr().err
    assert not {"one", "one.gif", "one.doc", "one.png.txt", "figures.png"} & {path.name for path in Path().iterdir()}


def test_the_user_s_files_are_not_overwritten(capsys):
    Path("config.toml").write_text("mine = true\n")
    assert ". is not empty and holds no run that can be read. Choose another --out" in fails(
        capsys, "train", "--out", ".", *QUICK
    )
    assert Path("config.toml").read_text() == "mine = true\n"
    assert len(list(Path().iterdir())) == 1


def test_gradcheck_with_too_few_items_says_so(capsys):
    np.save("one.npy", np.zeros((1, 8, 8), np.uint8))
    assert "batch_size is 4, but one.npy holds 1 items" in fails(capsys, "gradcheck", "mlp", "--data", "one.npy")


def test_resume_with_data_that_moved_and_too_few_steps(capsys):
    np.save("points.npy", np.random.default_rng(0).normal(size=(64, 2)))
    quick = ("--backend", "reference", "--batch-size", "8", "--steps", "3", "--out", "run")
    assert main(["train", "mlp", "--data", "points.npy", *quick]) == 0
    assert tomllib.loads(Path("run/config.toml").read_text())["data"] == str(Path("points.npy").resolve())
    assert "run has done 3 steps" in fails(capsys, "train", "--resume", "run", "--steps", "2")
    np.save("fewer.npy", np.random.default_rng(1).normal(size=(40, 2)))
    Path("points.npy").unlink()
    assert "if it has moved, add --data SOURCE" in fails(capsys, "train", "--resume", "run", "--steps", "4")
    assert main(["train", "--resume", "run", "--steps", "4", "--data", "fewer.npy"]) == 0
    assert capsys.readouterr().err == (
        "minigan: the data had 64 items and now have 40; from here on their order is new.\n"
    )
    config = Path("run/config.toml")
    config.write_text(config.read_text().replace("\nsteps = 4", '\nsteps = "many"'))
    assert "steps must be an integer, got 'many'" in fails(capsys, "train", "--resume", "run")


def test_ctrl_c_in_the_last_step_is_done(capsys, monkeypatch):
    from minigan.training.trainer import Trainer

    right = Trainer._step

    def last(self, *arguments):
        if self.state.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return right(self, *arguments)

    monkeypatch.setattr(Trainer, "_step", last)
    assert main(["train", "--steps", "2", *QUICK]) == 0
    assert "done: " in capsys.readouterr().out


def test_bad_data_gets_one_clear_line_and_leaves_nothing(capsys, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "empty").mkdir()
    header = bytes([0, 0, 8, 3]) + (100).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2
    (tmp_path / "short.idx").write_bytes(header + bytes(5000))
    (tmp_path / "short.gz").write_bytes(gzip.compress(header + bytes(5000))[:-20])
    (tmp_path / "folder").mkdir()
    for n in range(12):
        image.fromarray(np.full((32, 32, 3), 20 * n, np.uint8)).save(tmp_path / "folder" / f"{n}.png")
    before = sorted(tmp_path.iterdir())
    assert "empty: expected" in fails(capsys, "train", "--data", "empty", *QUICK)
    assert "short.idx" in fails(capsys, "train", "--data", "short.idx", *QUICK)
    assert "short.gz" in fails(capsys, "train", "--data", "short.gz", *QUICK)
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "folder" / "7.png").write_bytes((tmp_path / "folder" / "7.png").read_bytes()[:60])
    assert "7.png" in fails(capsys, "train", "--data", "folder", "--steps", "9", *QUICK)


def test_bad_data_in_the_midst_of_training_cost_nothing(capsys, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "folder").mkdir()
    for n in range(40):
        image.fromarray(np.full((32, 32, 3), 6 * n, np.uint8)).save(tmp_path / "folder" / f"{n:02}.png")
    bad = tmp_path / "folder" / "01.png"  # none of the few that are looked at when the folder is opened
    bad.write_bytes(bad.read_bytes()[:60])
    line = fails(capsys, "train", "--data", "folder", "--steps", "9", "--out", "run", *QUICK)
    assert "01.png" in line
    assert "resume with: minigan train --resume run" in line
    bad.unlink()
    assert main(["train", "--resume", "run"]) == 0
    out, err = capsys.readouterr()
    assert "step 9/9" in out
    assert "the data had 40 items and now have 39" in err


def test_mixed_image_files_are_scaled_to_one_size(capsys, tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    for n, (mode, shape) in enumerate([("RGB", (70, 90, 3)), ("L", (64, 64)), ("RGBA", (200, 80, 4))] * 4):
        picture = image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode=None)
        picture.save(tmp_path / "folder" / ("deep" if n % 2 else ".") / f"{mode}{n}.png")
    assert main(["train", "--data", "folder", "--steps", "1", *QUICK]) == 0
    assert "color images 64x64" in capsys.readouterr().out


def test_a_read_only_place_gets_one_clear_line(capsys):
    Path("file").write_bytes(b"")
    assert "cannot write file/run" in fails(capsys, "train", "--steps", "1", "--out", "file/run", *QUICK)


def test_divergence_has_its_own_exit_code(capsys):
    arguments = ["train", "--steps", "20", "--out", "here", *QUICK, "lr=1e30", "--checkpoint-every", "1"]
    line = fails(capsys, *arguments, code=3)
    assert "training diverged at step" in line
    assert "Try a lower learning rate" in line


def test_a_missing_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    line = fails(capsys, "train", "--backend", "cpu")
    assert "the cpu backend needs numba, which is not installed. Run: pip install 'minigan[numba]'" in line


def test_output_into_a_closed_pipe_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-m", "minigan", "info"], stdout=write, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_gets_one_clear_line(unbuffered):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "minigan", "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert ended.returncode == 2
    assert ended.stderr == (
        "minigan: cannot write to standard output: No space left on device. Redirect it elsewhere.\n"
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_training_goes_on_when_nobody_reads_its_output(unbuffered):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "minigan", "train", "--steps", "3", "--out", "run", *QUICK]
    ended = subprocess.run(
        command,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Path("run/checkpoints/step-00000003.safetensors").exists()


def test_training_without_a_standard_output():
    command = f"exec '{sys.executable}' -m minigan train --steps 2 --out run {' '.join(QUICK)} >&-"
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Path("run/model.safetensors").exists()


def test_letters_that_the_terminal_lacks_are_spelled_out():
    ended = subprocess.run(
        [sys.executable, "-m", "minigan", "recipes", "dcgan"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\u03b21" in ended.stdout
