"""`minigan.train` and what it returns, as at a Python prompt."""

import base64
import json
import os
import re
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.backends.reference import ReferenceBackend
from minigan.checkpoints.format import load_arrays
from minigan.cli.command_line import main
from minigan.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergenceError,
    ListenerError,
    NotBuiltError,
    OutOfMemoryError,
)
from minigan.recipes import DCGAN, MLP, RECIPES, NoiseRecipe, Recipe
from minigan.training import Listener

TINY = {"hidden": 4, "latent": 2, "batch_size": 8}
RING = {"data": "ring", "backend": "reference", "quiet": True, **TINY}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ring(steps=4, **arguments):
    return minigan.train("mlp", steps=steps, **{**RING, **arguments})


# ------------------------------------------------------------------------------------------ a run


def test_a_prompt_s_first_line_trains_and_shows_progress(capsys):
    run = minigan.train("dcgan", data="digits", steps=2, width=2, batch_size=4, backend="reference")
    out = capsys.readouterr().out
    assert "dcgan on digits" in out
    assert "step 2/2  D " in out
    assert "`run.generator.sample(16)`" in out
    assert run.folder == Path("runs/dcgan-digits-1").absolute()
    assert (run.step, run.steps) == (2, 2)
    assert run.log == [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    images = run.generator.sample(16, seed=7)
    assert images.shape == (16, 28, 28, 1)
    np.testing.assert_array_equal(images, run.generator.sample(16, seed=7))
    assert (images != run.generator.sample(16, seed=8)).any()


def test_it_leaves_what_the_command_line_leaves(capsys):
    ring(
        seed=3, log_every=2, sample_every=3, checkpoint_every=2, evaluate_every=4, log_gradients=2, out="prompt", keep=1
    )
    options = ("--log-every", "2", "--sample-every", "3", "--checkpoint-every", "2", "--evaluate-every", "4")
    more = ("--log-gradients", "2", "--keep", "1", "--set", "hidden=4", "latent=2", "batch_size=8")
    quick = ("--steps", "4", "--seed", "3", "--backend", "reference", "--quiet", "--out", "shell")
    assert main(["train", "mlp", "--data", "ring", *quick, *options, *more]) == 0
    assert capsys.readouterr() == ("", "")
    names = [sorted(str(p.relative_to(top)) for p in top.rglob("*")) for top in (Path("prompt"), Path("shell"))]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith((".png", ".toml", ".safetensors")):
            assert Path("prompt", name).read_bytes() == Path("shell", name).read_bytes(), name


def test_quiet_says_nothing(capsys):
    ring().resume(steps=5)
    assert capsys.readouterr() == ("", "")


def test_a_recipe_is_a_name_a_class_or_an_object():
    settings = [
        minigan.train(recipe, **{**RING, **given}, steps=1).config.settings
        for recipe, given in (("mlp", {"lr": 0.5}), (MLP, {"lr": 0.5}), (MLP(lr=0.5, hidden=9), {}))
    ]
    assert settings[0] == settings[1] == settings[2]
    assert minigan.train(MLP(lr=0.5), **RING, steps=1).config.settings["lr"] == 0.5


def test_settings_are_python_s_values():
    run = ring(steps=1, lr=1, hidden=np.int64(5), loss="hinge", mse_weight=0)
    assert (run.config.settings["lr"], run.config.settings["hidden"]) == (1.0, 5)
    assert type(run.config.settings["hidden"]) is int


def test_data_may_be_a_path():
    np.save("points.npy", np.random.default_rng(0).normal(size=(40, 2)))
    assert ring(steps=1, data=Path("points.npy")).config.data == str(Path("points.npy").resolve())


# ------------------------------------------------------------------------------------------ resumed


def test_a_run_is_resumed_with_the_same_bits():
    whole = ring(6, out="whole")
    run = ring(4, out="parts")
    before = run.generator
    assert run.resume(steps=6) is run
    assert (run.step, run.steps) == (6, 6)
    assert (run.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()
    assert (before.step, run.generator.step) == (4, 6)
    assert run.generator is run.generator


def test_all_steps_done_is_said_in_python_s_words(capsys):
    run = ring()
    assert run.resume(quiet=False) is run
    assert "all 4 steps are done; `steps=N` with a larger N trains on." in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"has done 4 steps, .* Give a larger number of `steps`"):
        run.resume(steps=3)


def test_ctrl_c_returns_the_run_and_says_how_to_resume(capsys):
    handler = signal.getsignal(signal.SIGINT)

    class Press(Listener):
        def on_step(self, step):
            if step.number == 3:
                os.kill(os.getpid(), signal.SIGINT)

    run = ring(100, listeners=[Press()], quiet=False)
    assert (run.step, run.steps) == (3, 100)
    assert "stopped at step 3 of 100. `run.resume()` trains on." in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler
    assert run.resume(steps=6, listeners=[]).step == 6


def test_listeners_stay_with_a_run_until_others_come():
    first, second = [], []
    run = ring(2, listeners=[first.append])
    run.resume(steps=3)
    run.resume(steps=4, listeners=[second.append])
    assert [record["step"] for record in first] == [1, 2, 3]
    assert [record["step"] for record in second] == [4]


def test_listeners_from_a_generator_stay_as_well():
    steps = []
    run = ring(2, listeners=(listener for listener in [lambda record: steps.append(record["step"])]))
    run.resume(steps=3, listeners=iter(run._listeners)).resume(steps=4)
    assert steps == [1, 2, 3, 4]


def test_listeners_that_are_refused_are_not_kept():
    run = ring(2)
    for wrong in (print, [3]):
        with pytest.raises(ConfigError, match="listeners"):
            run.resume(steps=3, listeners=wrong)
    assert run.resume(steps=3).step == 3


def test_sigterm_saves_and_is_delivered_again():
    """A program that trains must not miss that it is asked to end."""
    delivered = []
    before = signal.signal(signal.SIGTERM, lambda number, _: delivered.append(number))

    class Press(Listener):
        def on_step(self, step):
            if step.number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
                assert delivered == []

    try:
        run = ring(100, listeners=[Press()])
        assert delivered == [signal.SIGTERM]
        run.resume(steps=4, listeners=[])
        assert delivered == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert run.step == 4


def test_a_run_stays_itself_in_another_folder(tmp_path, monkeypatch):
    class Wander(Listener):
        def on_step(self, step):
            os.chdir("elsewhere" if step.number == 2 else tmp_path)

    Path("elsewhere").mkdir()
    run = ring(3, out="run", sample_every=2, checkpoint_every=2, listeners=[Wander()])
    monkeypatch.chdir("elsewhere")
    minigan.train(MLP(hidden=9), **{**RING, "hidden": 9}, steps=5, out="run")
    assert (run.config.settings["hidden"], run.step, repr(run).startswith(f"<Run {tmp_path / 'run'}: ")) == (4, 3, True)
    run.resume(steps=4, listeners=[])
    assert (run.step, minigan.open_run("run").step) == (4, 5)
    early = minigan.open_run(Path("..", "run", "checkpoints", "step-00000002.safetensors"))
    os.chdir(tmp_path)
    assert early.resume(steps=3, quiet=True).step == 3


def test_the_run_of_a_training_that_failed_can_be_opened():
    def fail(record):
        assert record["step"] < 3, "enough"

    with pytest.raises(ListenerError, match="Step 3 is saved") as caught:
        ring(4, log_every=1, listeners=[fail])
    run = eval(str(caught.value).split("`")[1])
    assert (run.step, run.steps) == (4, 4)


def test_a_warning_of_a_resumption_is_python_s():
    run = ring()
    path = run.folder / "config.toml"
    path.write_text(path.read_text().replace('engine = "reference', 'engine = "abacus'))
    with pytest.warns(UserWarning, match="this run was made with abacus") as caught:
        run.resume(steps=5)
    assert caught[0].filename == __file__


def test_divergence_speaks_python():
    with warnings.catch_warnings(), pytest.raises(DivergenceError, match=r"Try a lower learning rate \(`lr=\.\.\.`\)"):
        warnings.simplefilter("ignore")
        ring(50, lr=1e30)


# ------------------------------------------------------------------------------------------ opened


def test_a_run_is_opened_from_its_folder_or_a_checkpoint():
    ring(6, checkpoint_every=2, out="run")
    run = minigan.open_run("run")
    assert (run.step, run.generator.step, len(run.log)) == (6, 6, 2)
    early = minigan.open_run("run/checkpoints/step-00000002.safetensors")
    assert (early.folder.name, early.generator.step) == ("run", 2)
    early.resume(quiet=True)
    assert (early.step, early.generator.step) == (6, 6)


def test_a_run_at_a_checkpoint_is_as_it_was_then(capsys):
    run = ring(6, log_every=1, sample_every=1, checkpoint_every=2)
    path = run.folder / "checkpoints" / "step-00000002.safetensors"
    early = minigan.open_run(path)
    assert (early.step, early.generator.step, early.log, early.picture.name) == (2, 2, run.log[:2], "step-000002.png")
    assert repr(early).startswith(f"<Run {path.relative_to(Path.cwd())}: mlp on ring, step 2 of 6, ")
    early.resume(steps=5, quiet=False)
    assert "resumed from step 2: steps 3 to 6 are done anew." in capsys.readouterr().out
    assert (early.step, early.picture.name, early.log[-1]["step"]) == (5, "step-000005.png", 5)
    assert not (run.folder / "samples" / "step-000006.png").exists()
    early.resume(steps=6, quiet=False)
    assert "anew" not in capsys.readouterr().out


def test_the_best_checkpoint_has_a_step():
    run = ring(4, evaluate_every=2)
    best = minigan.open_run(run.folder / "checkpoints" / "best.safetensors")
    assert best.step == best.generator.step


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nowhere",
            r"nowhere is not a run folder: cannot read .*\. Name the folder that a training has written, such as",
        ),
        ("first.png", r"such as runs/dcgan-digits-1\."),
        ("run/checkpoints", r"run/checkpoints is not a run folder: .* It is a part of the run run: name that folder\."),
        ("run/samples/step-000001.png", r"It is a part of the run run: name that folder\."),
        ("", r"path must be a path, got ''\. Write open_run\('runs/dcgan-digits-1'\)\."),
        (3, r"path must be a path, got 3\."),
        (None, r"path must be a path, got None\."),
        (b"run", r"path must be a path, got a bytes\."),
        (["run"], r"path must be a path, got \['run'\]\."),
    ],
)
def test_what_is_no_run_is_named_with_a_remedy(path, message):
    ring(1, out="run")
    Path("first.png").touch()
    with pytest.raises((CheckpointError, ConfigError), match=message):
        minigan.open_run(path)


def test_a_run_whose_folder_is_gone_can_be_shown():
    run = ring(1, out="run")
    (run.folder / "config.toml").write_text("recipe = ")
    assert "<Run run: " in repr(run)
    assert "is not the configuration of a run" in repr(run)
    assert "&lt;Run run: " in run._repr_html_()
    shutil.rmtree(run.folder)
    assert "<Run run: " in repr(run)
    assert "cannot read" in run._repr_html_()
    for name in ("step", "steps", "log", "config", "picture", "generator"):
        with pytest.raises(CheckpointError, match="run"):
            getattr(run, name)


def test_a_run_whose_picture_cannot_be_read_is_shown_as_text(monkeypatch):
    run = ring(1)

    right = Path.read_bytes

    def refuse(path):
        if path.suffix == ".png":
            raise PermissionError(13, "Permission denied", str(path))
        return right(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert run._repr_html_().startswith("<pre>&lt;Run runs/mlp-ring-1: mlp on ring, step 1 of 1")


def test_a_leading_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    np.save(tmp_path / "home" / "points.npy", np.random.default_rng(0).normal(size=(40, 2)))
    run = ring(1, data="~/points.npy", out="~/run")
    assert run.folder == tmp_path / "home" / "run"
    assert minigan.open_run("~/run").config.data == str(tmp_path / "home" / "points.npy")


def test_data_that_moved_are_named_when_a_run_is_resumed():
    np.save("points.npy", np.random.default_rng(0).normal(size=(40, 2)))
    run = ring(data="points.npy")
    Path("points.npy").rename("moved.npy")
    with pytest.raises(DataError, match="if it has moved, add `data=SOURCE`"):
        run.resume(steps=5)
    assert run.resume(steps=5, data="moved.npy").step == 5


def test_half_a_line_of_the_log_is_left_out():
    run = ring()
    with open(run.folder / "log.jsonl", "a") as file:
        file.write('{"step": 9, "d_lo')
    assert [record["step"] for record in run.log] == [1, 4]
    (run.folder / "log.jsonl").unlink()
    assert run.log == []


def test_a_run_shows_itself():
    run = ring(4, evaluate_every=4)
    losses = next(record for record in reversed(run.log) if "d_loss" in record)
    facts = f"mlp on ring, step 4 of 4, d_loss {losses['d_loss']:.4g}, g_loss {losses['g_loss']:.4g}"
    assert repr(run) == f"<Run {run.folder.relative_to(Path.cwd())}: {facts}>"
    html = run._repr_html_()
    assert base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", html)[1]) == run.picture.read_bytes()
    assert run.picture.name == "step-000004.png"
    assert "<td>mlp on ring</td>" in html
    assert "<td>4 of 4</td>" in html
    run.picture.unlink()
    assert "<img" not in run._repr_html_()


def test_a_folder_s_name_is_no_markup():
    run = ring(1, out="a<b>")
    assert "a&lt;b&gt;" in run._repr_html_()
    assert "<b>" not in run._repr_html_()


# ------------------------------------------------------------------------------------------ one line for a mistake


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hiden": 3}, r"^mlp has no setting 'hiden'\. Did you mean hidden\?$"),
        ({"step": 3}, r"mlp has no setting 'step'\. Did you mean steps\?"),
        ({"listener": print}, r"mlp has no setting 'listener'\. Did you mean listeners\?"),
        ({"qwrtz": 3}, r"^mlp has no setting 'qwrtz'\. Expected one of .*latent"),
        ({"hidden": "16"}, r"mlp: hidden must be an integer, got '16'\."),
        ({"hidden": 2.5}, r"mlp: hidden must be an integer, got 2\.5\."),
        ({"loss": 3}, r"mlp: loss must be a string, got 3\."),
        ({"loss": "hing"}, "mlp: loss must be one of minimax"),
        ({"steps": "5"}, "steps must be an integer, got '5'"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"seed": -1}, r"seed must be an integer from 0 up, got -1\."),
        ({"log_every": 0}, "log_every must be a positive integer, got 0"),
        ({"log_gradients": True}, "log_gradients must be an integer from 0 up, got True"),
        ({"keep": 1.0}, "keep must be a positive integer, got 1.0"),
        ({"best": "modes"}, r"`best='modes'` needs figures to go by\. Add `evaluate_every=N`\."),
        ({"best": "fid", "evaluate_every": 2}, "`best` must be one of modes, high_quality with ring, got fid"),
        ({"best": 3}, r"best must be the name of a figure, got 3\. Write best='fid'\."),
        ({"backend": "CPU"}, r"got 'CPU'\. Did you mean cpu\?"),
        ({"backend": ReferenceBackend}, "got the class ReferenceBackend"),
        ({"seed": np.random.default_rng(0)}, "seed must be an integer from 0 up, got a Generator"),
        ({"backend": "numpy"}, "backend must be one of auto, reference, cpu, gpu, got 'numpy'"),
        ({"data": np.zeros((9, 2))}, r"data must be the name of a source or a path, got an array \(9, 2\) of float64"),
        ({"data": ""}, r"data must be the name of a source or a path, got ''\. Write data='digits'\."),
        ({"quiet": 3}, r"quiet must be True or False, got 3\. Write quiet=True or quiet=False\."),
        ({"listeners": print}, r"listeners must be a list, got the function print\. Write listeners=\[print\]\."),
        ({"listeners": Listener()}, r"got a Listener\. Write listeners=\[Listener\(\)\]\."),
        ({"listeners": 3}, r"listeners must be a list, got 3\. Write listeners=\[print\]\."),
        ({"listeners": None}, r"listeners must be a list, got None\. Write listeners=\[print\]\."),
        ({"listeners": [{}]}, r"expected a Listener, or a function that takes a record of the log, got a dict\."),
        ({"out": 3}, r"out must be a path, got 3\. Write out='FOLDER'\."),
        ({"out": "a\0b"}, r"out must be a path, got 'a\\x00b'\."),
        ({"data": "a\0b"}, r"data must be the name of a source or a path, got 'a\\x00b'\. Write data='digits'"),
        ({"listeners": "print"}, r"listeners must be a list, got 'print'\. Write listeners=\[print\]\."),
        ({"out": ""}, r"out must be a path, got ''\."),
        ({"listeners": [3]}, "expected a Listener, or a function that takes a record of the log, got 3"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        ring(**{"steps": 3, **arguments})
    assert "--" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_numpys_integers_are_integers():
    run = ring(steps=np.int64(1), seed=np.int64(3), log_every=np.int32(1))
    assert (run.config.seed, run.config.rhythm.log_every) == (3, 1)
    assert run.resume(steps=np.int64(2)).step == 2


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("digits", r"unknown recipe 'digits': .* Did you mean `data='digits'`\?"),
        (3, r"recipe must be a name or a recipe, got 3\. Write 'dcgan'\."),
        (DCGAN.assemble, "recipe must be a name or a recipe, got the function assemble"),
        ("DCGAN", r"Did you mean dcgan\?"),
        (Recipe, r"Recipe is a base of recipes\. Use one of dcgan, mlp"),
        (NoiseRecipe, r"NoiseRecipe is a base of recipes\. Use one of dcgan, mlp"),
        (type("My", (DCGAN,), {}), r"Write name = 'my' in the class, and minigan\.recipes\.RECIPES\['my'\] = My\."),
        (type("My", (DCGAN,), {"name": "vae"}), r"Write name = 'my' in the class"),
    ],
)
def test_what_is_no_recipe_gets_one_line(recipe, message):
    with pytest.raises(ConfigError, match=message):
        minigan.train(recipe, steps=1)


def test_a_recipe_of_one_s_own_must_be_found_again_by_its_name(monkeypatch):
    class Mine(MLP):
        name = "mine"

    with pytest.raises(ConfigError, match=r"and minigan\.recipes\.RECIPES\['mine'\] = Mine"):
        minigan.train(Mine(), **RING, steps=1)
    monkeypatch.setitem(RECIPES, "mine", Mine)
    assert minigan.train(Mine(), **RING, steps=1).resume(steps=2).step == 2


def test_a_folder_with_a_run_says_how_to_resume_it():
    ring(1, out="run")
    with pytest.raises(ConfigError, match=r"already holds a run\. Resume it with: `minigan\.open_run\('run'\)\.resume"):
        ring(1, out="run")


# ------------------------------------------------------------------------------------------ its generator


def test_a_generator_draws_by_count_seed_and_class():
    run = minigan.train(
        "mlp",
        data="digits",
        steps=1,
        batch_size=4,
        hidden=2,
        condition="concatenation",
        backend="reference",
        quiet=True,
    )
    generator = run.generator
    assert generator.sample().shape == (64, 28, 28, 1)
    drawn = generator.pixels(3, seed=1, label="7")
    assert (drawn.shape, drawn.dtype) == ((3, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(drawn, generator.pixels(3, seed=1, label=7))
    np.testing.assert_array_equal(drawn, minigan.to_pixels(generator.sample(3, seed=1, label=7)))
    assert (generator.sample(2, seed=None) != generator.sample(2, seed=None)).any()
    rng = np.random.default_rng(0)
    assert (generator.sample(2, seed=rng) != generator.sample(2, seed=rng)).any()
    mixed = generator.sample(seed=1, label=[7, "7", np.int64(3)])
    assert mixed.shape == (3, 28, 28, 1)
    np.testing.assert_array_equal(mixed[:2], generator.sample(3, seed=1, label=7)[:2])
    assert (mixed[2] != generator.sample(3, seed=1, label=7)[2]).any()
    np.testing.assert_array_equal(generator.sample(label=np.arange(3)), generator.sample(3, label=range(3)))
    for seed in ("x", 3.5, -1, True):
        with pytest.raises(ConfigError, match="seed must be an integer from 0 up, got"):
            generator.sample(2, seed=seed)
    for wrong in (4.0, True, np.eye(2), {3}, [3.0, 1]):
        with pytest.raises(ConfigError, match="label must be the number or the name of a class, or a list, got"):
            generator.pixels(2, label=wrong)
    with pytest.raises(ConfigError, match=r"label must have a class for each of 2 samples, got 3\. Leave count out\."):
        generator.sample(2, label=[1, 2, 3])
    with pytest.raises(ConfigError, match=r"mlp: expected a class from 0 to 9, got 10\."):
        generator.sample(label=[1, 10])
    assert (generator.label(3), generator.label("3")) == (3, 3)
    with pytest.raises(ConfigError, match="expected a class as"):
        generator.label("7" * 5000)
    with pytest.raises(OutOfMemoryError, match=r"1,000,000,000,000 samples would take .* Use a smaller `count`\."):
        generator.sample(10**12)
    for count in (0, -1, 2.0, "4", True):
        with pytest.raises(ConfigError, match="count must be a positive integer, got"):
            generator.sample(count)
    with pytest.raises(ConfigError, match="expected a class as one of"):
        generator.sample(1, label="cat")


@pytest.mark.parametrize("path", [3, None, b"run", "", Path])
def test_what_is_no_path_of_a_generator_is_named(path):
    with pytest.raises(
        ConfigError, match=r"path must be a path, got .* Write load_generator\('runs/dcgan-digits-1'\)\."
    ):
        minigan.load_generator(path)


def test_arguments_of_a_generator_do_not_blame_its_file():
    run = ring(1, ema=0.9)
    with pytest.raises(ConfigError, match=r"^backend must be one of .*got 'numpy'"):
        minigan.load_generator(run.folder, backend="numpy")
    with pytest.raises(ConfigError, match="average must be True or False, got 'yes'"):
        minigan.load_generator(run.folder, average="yes")
    assert minigan.load_generator(run.folder, average=np.False_).averaged is False


def test_saving_what_is_no_generator_gets_one_line(tmp_path):
    rng = np.random.default_rng(0)
    recipe, unbuilt = MLP(hidden=4, latent=2), MLP(hidden=4, latent=2).whole_generator((2,))
    G = recipe.built_generator((2,), backend="reference", rng=rng)
    minigan.save_generator("right.safetensors", G, recipe, step=np.int64(3), classes=("a",))
    trained = minigan.load_generator("right.safetensors")
    assert trained.step == 3
    for arguments, error, says in (
        (("x", G, "mlp"), ConfigError, r"recipe must be a recipe, got 'mlp'\. Write recipe=MLP\(\)\."),
        (("x", G, MLP), ConfigError, r"recipe must be a recipe, got the class MLP\. Write recipe=MLP\(\)\."),
        ((G, "x", recipe), ConfigError, "path must be a path, got a Sequential"),
        (("x", trained, recipe), ConfigError, r"G must be a network, got a TrainedGenerator\. Write trained\.G"),
        (("x", "G", recipe), ConfigError, "G must be a network, got 'G'"),
        (("x", unbuilt, recipe), NotBuiltError, "G: not built"),
    ):
        with pytest.raises(error, match=says):
            minigan.save_generator(*arguments)
    for wrong in ({"step": "x"}, {"step": -1}, {"extent": 0}, {"extent": "x"}, {"classes": "ab"}, {"classes": [3]}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be"):
            minigan.save_generator("x", G, recipe, **wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["right.safetensors"]


def test_what_a_run_hands_out_is_shown_briefly():
    shown = []

    class Look(Listener):
        def on_start(self, training):
            shown.append(repr(training))

    run = ring(2, listeners=[Look()])
    assert shown == [f"<Training: <TrainingState: AlternatingOptimizer, step 0 of 2, {run.folder}>>"]
    assert repr(run.config) == (
        "<RunConfig: MLP(steps=2, batch_size=8, latent=2, hidden=4) on ring, seed 0, reference, float32, fp32>"
    )
    text = repr(run.generator)
    assert text == ("<TrainedGenerator: MLP(batch_size=8, latent=2, hidden=4) at step 2, (2,) -> (2,), reference>")
    html = run.generator._repr_html_()
    assert base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", html)[1]).startswith(b"\x89PNG")
    assert "-&gt; (2,), reference&gt;</pre>" in html


def test_a_generator_from_image_to_image_is_shown_as_text():
    run = minigan.train(
        *("denoise",),
        data="shapes",
        size=16,
        width=2,
        depth=2,
        adversarial=0,
        batch_size=2,
        steps=1,
        backend="reference",
        quiet=True,
    )
    assert run.generator._repr_html_().startswith("<pre>&lt;TrainedGenerator: Denoise(")
    with pytest.raises(ConfigError, match=r"Translate images: `minigan\.generate\(run\.generator\.G, images\)`\."):
        run.generator.sample(2)
    G = run.generator.G
    assert minigan.generate(G, np.zeros((2, *G.input_shape))).shape == (2, *G.output_shape)


def test_a_generator_is_drawn_with_where_its_backend_is_not_there(monkeypatch):
    run = ring()
    right = load_arrays(run.folder / "model.safetensors", format="minigan-model/1")[1]["step"]

    def config(folder):
        return original(folder).__class__(**{**vars(original(folder)), "backend": "gpu"})

    original = minigan.runs.run.read_config
    monkeypatch.setattr(minigan.runs.run, "read_config", config)
    assert run.generator.step == right


def test_a_log_that_somebody_wrote_into_is_shown_all_the_same():
    run = ring()
    lines = ["5", "[" * 100_000, '{"d_loss": ' + "9" * 4000 + "}", '{"d_loss": "x"}', '{"x_loss": NaN}', "9" * 5000]
    (run.folder / "log.jsonl").write_text("\n".join(lines))
    (run.folder / "samples" / "step-999999.png").mkdir()
    assert repr(run).endswith("step 4 of 4, x_loss nan>")
    assert "step-000004.png" in run._repr_html_()
    assert len(run.log) == 3
