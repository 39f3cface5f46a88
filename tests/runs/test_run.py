"""Runs: the folder they leave, interruption, resumption bit for bit, divergence."""

import io
import json
import os
import signal
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from minigan import runs
from minigan.checkpoints.format import CHECKPOINT_FORMAT, MODEL_FORMAT, load_arrays, save_arrays
from minigan.errors import CheckpointError, ConfigError, DataError, DivergenceError, OutputError
from minigan.recipes import get_recipe
from minigan.recipes.bases import recipe as recipe_file
from minigan.runs import prepare
from minigan.runs.folders import new_folder
from minigan.runs.prepare import create_folder, load_checkpoint, prepare_from_folder, prepare_run
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress
from minigan.training.moving_average import STATISTICS
from minigan.training.rhythm import Rhythm
from minigan.training.sampling import standing_statistics

PLAIN = {"preset": "paper", "width": 4}
RHYTHM = Rhythm(log_every=2, sample_every=5, checkpoint_every=4)


def config(backend="reference", *, recipe="dcgan", data="digits", steps=10, **settings):
    settings = {"batch_size": 8, "steps": steps, **(PLAIN if recipe == "dcgan" else {"hidden": 32}), **settings}
    full = get_recipe(recipe).from_settings(settings).settings()
    return runs.RunConfig(recipe=recipe, settings=full, data=data, seed=3, backend=backend, rhythm=RHYTHM)


def train(run, *, stop_at=None):
    """Trains to the end, or as if Ctrl-C came during step `stop_at`."""

    class Progress(PlainProgress):
        def advance(self, step, *, images_per_second):
            super().advance(step, images_per_second=images_per_second)
            interruption.requested = step == stop_at

    interruption = Interruption()
    state = run.trainer.state
    with state.loader:
        run.trainer.run(Progress(start=state.step, total=state.steps, stream=io.StringIO()), interruption)


def whole_run(folder, cfg):
    run = prepare_run(cfg, folder)
    with create_folder(run):
        train(run)
    return run


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_folder_holds_what_it_should(tmp_path):
    folder = tmp_path / "run"
    whole_run(folder, config())
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoints",
        "config.toml",
        "log.jsonl",
        "model.safetensors",
        "samples",
    ]
    assert [p.name for p in sorted((folder / "samples").iterdir())] == ["step-000005.png", "step-000010.png"]
    assert [r["step"] for r in records(folder)] == [1, 2, 4, 6, 8, 10]
    assert all(np.isfinite(r["d_loss"]) and r["images_per_second"] > 0 for r in records(folder))
    saved = runs.read_config(folder)
    assert saved.engine.startswith("reference")
    assert saved.precision == "fp32"
    assert replace(saved, engine="", precision="auto") == config()


TUNED = {
    "adamw": {"optimizer": "adamw", "schedule": "cosine", "clip_norm": 1.0, "d_lr": 1e-3},
    "pool": {"fake_pool": 20},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "schedule": "linear", "decay_from": 2, "clip_value": 0.1},
    "rmsprop": {"optimizer": "rmsprop", "schedule": "exponential", "decay_every": 3, "clip_weights": 0.01},
}


@pytest.mark.parametrize("recipe", ["dcgan", "mlp"])
@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_an_interrupted_run_continues_with_the_same_bits(tmp_path, fast_backend, recipe, stop_at):
    continues_with_the_same_bits(tmp_path, config(fast_backend.name, recipe=recipe), stop_at)


@pytest.mark.parametrize("name", TUNED)
def test_so_it_does_with_every_optimizer_and_schedule_and_a_pool(tmp_path, fast_backend, name):
    continues_with_the_same_bits(tmp_path, config(fast_backend.name, recipe="mlp", n_critic=2, **TUNED[name]), 5)


def test_a_learning_rate_that_jumps_with_the_number_of_steps_is_told(tmp_path):
    """A schedule that ends with the run makes the rates leap when the run becomes longer."""
    for name, more, expected in (
        (
            "linear",
            {},
            "of G and D jumps from 0 to 0.0001 at step 5: the linear schedule ends with the run, at step 8 and",
        ),
        (
            "cosine",
            {},
            "of G and D jumps from 0 to 0.0001 at step 5: the cosine schedule ends with the run, at step 8 and",
        ),
        ("linear", {"n_critic": 2, "d_lr": 4e-4}, "of D jumps from 0 to 0.0002 at step 5"),
        ("linear", {"decay_until": 6}, ""),
        ("exponential", {}, ""),
        ("constant", {}, ""),
    ):
        folder = tmp_path / f"{name}{len(more)}{'decay_until' in more}"
        whole_run(folder, config(recipe="mlp", hidden=2, steps=4, schedule=name, **more))
        assert load_checkpoint(prepare_from_folder(folder)) == ()
        for _ in range(2):  # the second time config.toml has the new number of steps already
            warnings = load_checkpoint(prepare_from_folder(folder, steps=8))
            assert any(expected in warning for warning in warnings) if expected else warnings == ()


@pytest.mark.parametrize("statistics", STATISTICS)
def test_so_does_the_average_of_the_weights(tmp_path, monkeypatch, fast_backend, statistics):
    few = partial(standing_statistics, batches=5)
    monkeypatch.setattr("minigan.training.moving_average.standing_statistics", few)
    continues_with_the_same_bits(tmp_path, config(fast_backend.name, width=2, ema=0.9, ema_statistics=statistics), 5)


def continues_with_the_same_bits(tmp_path, cfg, stop_at):
    whole = whole_run(tmp_path / "whole", cfg)
    first = prepare_run(cfg, tmp_path / "parts")
    create_folder(first)
    train(first, stop_at=stop_at)
    assert first.trainer.state.step == stop_at
    second = prepare_run(runs.read_config(tmp_path / "parts"), tmp_path / "parts")
    assert load_checkpoint(second) == ()
    assert second.trainer.state.step == stop_at
    train(second)
    expected, got = state(whole), state(second)
    assert expected.keys() == got.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    name = "samples/step-000010.png"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    keys = ("step", "d_loss", "g_loss", "g_lr", "d_lr")
    losses = [[tuple(r[key] for key in keys) for r in records(tmp_path / part)] for part in ("whole", "parts")]
    assert set(losses[0]) <= set(losses[1])


def state(run):
    """Everything that training has changed."""
    average = run.trainer.state.average
    return run.trainer.state.learner.to_dict() | (average.to_dict() if average is not None else {})


def test_what_was_logged_after_the_last_checkpoint_is_forgotten(tmp_path):
    whole_run(tmp_path / "run", config())
    log = tmp_path / "run" / "log.jsonl"
    (tmp_path / "run" / "checkpoints" / "step-00000010.safetensors").unlink()
    log.write_text(log.read_text() + '{"step": 12, "torn')
    run = prepare_run(config(), tmp_path / "run")
    load_checkpoint(run)
    assert run.trainer.state.step == 8
    assert [r["step"] for r in records(tmp_path / "run")] == [1, 2, 4, 6, 8]


def test_more_steps_equal_a_longer_run(tmp_path):
    longer = whole_run(tmp_path / "longer", config(steps=14))
    whole_run(tmp_path / "run", config(steps=10))
    run = prepare_run(runs.read_config(tmp_path / "run", steps=14), tmp_path / "run")
    load_checkpoint(run)
    train(run)
    np.testing.assert_array_equal(run.trainer.state.learner.G.arena.flat, longer.trainer.state.learner.G.arena.flat)
    assert runs.read_config(tmp_path / "run").settings["steps"] == 14


def test_another_engine_is_told_of(tmp_path):
    whole_run(tmp_path / "run", config(steps=1))
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text().replace('engine = "reference', 'engine = "gpu'))
    (warning,) = load_checkpoint(prepare_run(config(steps=1), tmp_path / "run"))
    assert warning.startswith("this run was made with gpu")
    assert runs.read_config(tmp_path / "run").engine.startswith("reference")


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    whole_run(tmp_path / "run", config(steps=1))
    with pytest.raises(ConfigError, match=r"already holds a run\. Resume it with: `minigan\.open_run\("):
        create_folder(prepare_run(config(), tmp_path / "run"))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    whole_run(tmp_path / "run", config(steps=1))
    with pytest.raises(CheckpointError, match=r"was made with width=4, the run's config\.toml says width=5\. Restore"):
        load_checkpoint(prepare_run(config(width=5), tmp_path / "run"))


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run folder"):
        runs.read_config(tmp_path)
    (tmp_path / "config.toml").write_text("recipe = ")
    with pytest.raises(CheckpointError, match=r"config\.toml is not the configuration of a run"):
        runs.read_config(tmp_path)


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    run = prepare_run(config(), tmp_path / "run")
    create_folder(run)
    train(run, stop_at=4)
    before = (tmp_path / "run" / "checkpoints" / "step-00000004.safetensors").read_bytes()
    run = prepare_run(config(), tmp_path / "run")
    load_checkpoint(run)
    D = run.trainer.state.learner.D
    D.layers[2].w.value[0, 0, 0, 0] = np.nan
    with pytest.raises(
        DivergenceError, match=r"diverged at step 5: D\.2\.Conv2D's weight w is not finite.*step-00000004"
    ):
        train(run)
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004.safetensors"]
    assert (tmp_path / "run" / "checkpoints" / "step-00000004.safetensors").read_bytes() == before


def test_a_generator_draws_the_same_wherever_it_is_loaded(tmp_path, fast_backend):
    run = whole_run(tmp_path / "run", config(fast_backend.name))
    trained = runs.load_generator(tmp_path / "run", backend=fast_backend)
    again = runs.load_generator(tmp_path / "run" / "model.safetensors", backend="reference")
    samples = trained.sample(5, seed=0)
    assert samples.shape == (5, *run.dataset.shape)
    assert np.abs(samples).max() <= 1
    np.testing.assert_allclose(again.sample(5, seed=0), samples, atol=1e-5)


def test_the_average_draws_and_the_last_weights_train(tmp_path, fast_backend):
    run = whole_run(tmp_path / "run", config(fast_backend.name, ema=0.9))
    plain = whole_run(tmp_path / "plain", config(fast_backend.name))
    for name, array in plain.trainer.state.learner.to_dict().items():
        np.testing.assert_array_equal(run.trainer.state.learner.to_dict()[name], array, err_msg=name)
    samples = {}
    for folder in ("run", "plain"):
        for average in (True, False):
            engine = run.trainer.state.learner.G.kernels  # on a GPU of another precision than the fixture's
            trained = runs.load_generator(tmp_path / folder, backend=engine, average=average)
            assert trained.averaged == (average and folder == "run")
            samples[folder, average] = trained.sample(4, seed=0)
    np.testing.assert_array_equal(samples["run", False], samples["plain", True])
    np.testing.assert_array_equal(samples["plain", False], samples["plain", True])
    z = run.recipe.noise(np.random.default_rng(0), 4)
    np.testing.assert_array_equal(samples["run", True], run.recipe.to_images(run.trainer.state.average.draw(z)))
    assert (samples["run", True] != samples["run", False]).any()
    picture = "samples/step-000010.png"
    assert (tmp_path / "run" / picture).read_bytes() != (tmp_path / "plain" / picture).read_bytes()


def test_a_checkpoint_without_the_average_changes_nothing(tmp_path):
    whole_run(tmp_path / "run", config(steps=2, ema=0.9))
    (path,) = (tmp_path / "run" / "checkpoints").iterdir()
    arrays, description = load_arrays(path, format=CHECKPOINT_FORMAT)
    save_arrays(path, {k: v for k, v in arrays.items() if "average" not in k}, description=description)
    unchanged(tmp_path / "run", "holds no average of G's weights")


@pytest.mark.parametrize("data", ["ring", "grid"])
def test_points_are_trained_on_as_they_are(tmp_path, data):
    run = whole_run(tmp_path / "run", config(recipe="mlp", data=data, steps=3))
    assert run.dataset.shape == (2,)
    assert (tmp_path / "run" / "samples" / "step-000003.png").exists()
    assert runs.load_generator(tmp_path / "run").sample(seed=0).shape == (2500, 2)


def test_dcgan_refuses_points(tmp_path):
    with pytest.raises(ConfigError, match="dcgan draws images, got points"):
        prepare_run(config(data="ring"), tmp_path)


def test_signals_ask_once_and_insist_the_second_time():
    handler = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_default_folders_are_numbered(tmp_path):
    assert new_folder("dcgan", "digits", root=tmp_path) == tmp_path / "dcgan-digits-1"
    (tmp_path / "dcgan-digits-1").mkdir()
    assert new_folder("dcgan", "digits", root=tmp_path) == tmp_path / "dcgan-digits-2"
    assert new_folder("mlp", "/data/my.images.zip", root=tmp_path) == tmp_path / "mlp-my-1"


# ------------------------------------------------------------------------------------------ folders


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "log.jsonl").write_text("mine")
    (tmp_path / "proj" / "config.toml").write_text("[tool]\nname = 'mine'\n")
    with pytest.raises(
        ConfigError, match=r"proj is not empty and holds no run that can be read\. Choose another `out`, or empty it\."
    ):
        create_folder(prepare_run(config(), tmp_path / "proj"))
    assert (tmp_path / "proj" / "log.jsonl").read_text() == "mine"
    assert len(list((tmp_path / "proj").iterdir())) == 2


def test_an_empty_folder_and_a_run_without_a_checkpoint_are_started_in(tmp_path):
    (tmp_path / "run").mkdir()
    for _ in range(2):
        create_folder(prepare_run(config(), tmp_path / "run"))
    assert runs.read_config(tmp_path / "run").recipe == "dcgan"


def test_two_runs_that_start_at_once_get_a_folder_each(tmp_path):
    folder = new_folder("dcgan", "digits", root=tmp_path)
    both = [prepare_run(config(), folder) for _ in range(2)]
    for run in both:
        create_folder(run, numbered=True)
    assert [run.trainer.state.folder.name for run in both] == ["dcgan-digits-1", "dcgan-digits-2"]
    assert all(runs.read_config(run.trainer.state.folder).seed == 3 for run in both)


@pytest.mark.parametrize("numbered", [False, True])
def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch, numbered):
    def full_disk(path, _content):
        raise OutputError(f"cannot write {path}")

    monkeypatch.setattr(prepare, "atomic_write", full_disk)
    with pytest.raises(OutputError):
        create_folder(prepare_run(config(), tmp_path / "runs" / "a-1"), numbered=numbered)
    assert list(tmp_path.iterdir()) == []


def test_the_data_s_place_is_kept_as_an_absolute_path(tmp_path, monkeypatch):
    points = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    np.save(tmp_path / "points.npy", points)
    monkeypatch.chdir(tmp_path)
    whole_run(tmp_path / "run", config(recipe="mlp", data="points.npy", steps=1))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_checkpoint(prepare_from_folder(tmp_path / "run")) == ()
    (tmp_path / "points.npy").rename("moved.npy")
    with pytest.raises(DataError, match=r"points\.npy: no such.*is from .*config\.toml; .*add `data=SOURCE`"):
        prepare_from_folder(tmp_path / "run")
    assert load_checkpoint(prepare_from_folder(tmp_path / "run", data="moved.npy")) == ()
    assert runs.read_config(tmp_path / "run").data == str(tmp_path / "elsewhere" / "moved.npy")
    with pytest.raises(CheckpointError, match=r"made with condition=auto, shape=\[2\], the run's config\.toml says"):
        load_checkpoint(prepare_from_folder(tmp_path / "run", data="digits"))


def test_data_that_grew_are_told_of_and_begin_a_new_epoch(tmp_path):
    data = tmp_path / "points.npy"
    points = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    np.save(data, points)
    whole_run(tmp_path / "run", config(recipe="mlp", data=str(data), steps=3))
    np.save(data, 9 * points[:37])
    run = prepare_from_folder(tmp_path / "run", steps=6)
    (warning,) = load_checkpoint(run)
    assert warning == "the data had 40 items and now have 37; from here on their order is new."
    assert (run.trainer.state.loader.state()["epoch"], run.trainer.state.loader.state()["offset"]) == (1, 0)
    train(run)
    assert run.trainer.state.step == 6
    with pytest.raises(CheckpointError, match=r"batch_size=8, the run's config\.toml says batch_size=4"):
        cfg = runs.read_config(tmp_path / "run")
        load_checkpoint(prepare_run(replace(cfg, settings={**cfg.settings, "batch_size": 4}), tmp_path / "run"))


# ------------------------------------------------------------------------------------------ stops


def test_fewer_steps_than_were_done_are_refused_and_change_nothing(tmp_path):
    whole_run(tmp_path / "run", config())
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"run has done 10 steps, expected at least as many in all, got 7"):
        load_checkpoint(prepare_from_folder(tmp_path / "run", steps=7))
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_an_interruption_before_the_first_step_leaves_a_checkpoint(tmp_path):
    run = prepare_run(config(), tmp_path / "run")
    create_folder(run)
    interruption = Interruption()
    interruption.requested = True
    with run.trainer.state.loader:
        run.trainer.run(PlainProgress(start=0, total=10, stream=io.StringIO()), interruption)
    again = prepare_from_folder(tmp_path / "run")
    assert load_checkpoint(again) == ()
    assert again.trainer.state.step == 0


def test_an_item_that_cannot_be_read_costs_no_step(tmp_path, monkeypatch):
    cfg = config(steps=12)
    whole = whole_run(tmp_path / "whole", cfg)
    run = prepare_run(cfg, tmp_path / "run")
    create_folder(run)
    read, calls = run.dataset.read, []

    def damaged(indices):
        calls.append(indices)
        if len(calls) == 7:
            raise DataError("7.png: damaged.")
        return read(indices)

    monkeypatch.setattr(run.trainer.state.loader.dataset, "read", damaged)
    with pytest.raises(
        DataError, match=r"7\.png: damaged\. Step 6 is saved: replace or remove.*open_run\('.*run'\)\.resume\(\)`$"
    ):
        train(run)
    run = prepare_from_folder(tmp_path / "run")
    assert load_checkpoint(run) == ()
    assert run.trainer.state.step == 6
    train(run)
    np.testing.assert_array_equal(run.trainer.state.learner.G.arena.flat, whole.trainer.state.learner.G.arena.flat)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGINT, "saving after this step; Ctrl-C again stops at once"),
        (signal.SIGTERM, "saving after this step"),
    ],
)
def test_the_first_signal_tells_what_it_does(number, text):
    told = threading.Event()
    texts = []

    def announce(text):
        texts.append(text)
        told.set()

    with Interruption(announce):
        os.kill(os.getpid(), number)
        assert told.wait(10)
    assert texts == [text]


# ------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 3\n", "", r"config\.toml lacks 'seed'"),
        ("seed = 3", "seed = -3", "'seed' must be a whole number from 0 up, got -3"),
        ("seed = 3", "seed = true", "'seed' must be a whole number from 0 up, got True"),
        ("seed = 3", "seed = 3\nfoo = 1", "has an unknown key 'foo'"),
        ('recipe = "dcgan"', 'recipe = ["dcgan"]', r"'recipe' must be a string, got \['dcgan'\]"),
        ('recipe = "dcgan"', 'recipe = "gan"', r"config\.toml: unknown recipe 'gan'"),
        ('data = "digits"', "data = 5", "'data' must be a string that is not empty, got 5"),
        ('dtype = "float32"', 'dtype = "foo"', "'dtype' must be one of float32, float64, got 'foo'"),
        ('backend = "reference"', 'backend = "abacus"', "'backend' must be one of auto, reference"),
        ("log_every = 2", "log_every = 0", r"'rhythm\.log_every' must be a whole number from 1 up, got 0"),
        ("log_every = 2", "log_every = -3", "from 1 up, got -3"),
        ("log_every = 2", 'log_every = "a"', "from 1 up, got 'a'"),
        ("log_every = 2\n", "", r"lacks 'rhythm\.log_every'"),
        ("[rhythm]", "[rhythm2]", "lacks 'rhythm'"),
        ("width = 4", 'width = "wide"', "width must be an integer, got 'wide'"),
        ("seed = 3", f"seed = {'9' * 5000}", r"config\.toml is not the configuration of a run: Exceeds the limit"),
        ("\nlr = 0.0002", f"\nlr = {10**400}", "lr must be a number, got 1000"),
        ("width = 4", "width = 4\nwidht = 5", "dcgan has no setting 'widht'"),
    ],
)
def test_a_damaged_configuration_is_told_by_its_key(tmp_path, old, new, message):
    create_folder(prepare_run(config(), tmp_path / "run"))
    path = tmp_path / "run" / "config.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(CheckpointError, match=message):
        prepare_from_folder(tmp_path / "run")


def test_a_configuration_that_may_not_be_read_is_one_of_a_run_all_the_same(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(
        CheckpointError, match=r"^cannot read .*config\.toml: Permission denied\. Check its permissions\.$"
    ):
        runs.read_config(tmp_path)


def test_a_setting_that_the_configuration_lost_is_found_in_the_checkpoint(tmp_path):
    whole_run(tmp_path / "run", config(steps=1))
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text().replace("width = 4\n", ""))
    with pytest.raises(CheckpointError, match=r"made with width=4, the run's config\.toml says width=16\. Restore"):
        load_checkpoint(prepare_from_folder(tmp_path / "run"))


def as_if_older(folder, *newer):
    """Makes a run folder one of a version that had none of these settings, and saved nothing for them."""
    path = folder / "config.toml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.partition(" ")[0] not in newer))
    for file in (folder / "model.safetensors", *(folder / "checkpoints").iterdir()):
        arrays, description = load_arrays(file, format=MODEL_FORMAT if file.stem == "model" else CHECKPOINT_FORMAT)
        model = description if file.stem == "model" else description["model"]
        model["settings"] = {key: value for key, value in model["settings"].items() if key not in newer}
        save_arrays(file, arrays, description=description)


def test_a_run_from_before_a_setting_was_there_goes_on(tmp_path):
    longer = whole_run(tmp_path / "longer", config(steps=14))
    whole_run(tmp_path / "run", config(steps=10))
    as_if_older(tmp_path / "run", "optimizer", "schedule", "d_lr", "clip_norm", "ema", "augment")
    assert "optimizer" not in (tmp_path / "run" / "config.toml").read_text()
    assert runs.load_generator(tmp_path / "run").step == 10
    run = prepare_from_folder(tmp_path / "run", steps=14)
    assert load_checkpoint(run) == ()
    train(run)
    expected, got = longer.trainer.state.learner.to_dict(), run.trainer.state.learner.to_dict()
    assert expected.keys() == got.keys()
    assert all((got[name] == expected[name]).all() for name in expected)


def test_odd_lines_of_the_log_are_dropped(tmp_path):
    whole_run(tmp_path / "run", config(steps=2))
    log = tmp_path / "run" / "log.jsonl"
    whole = log.read_bytes()
    odd = b'5\n[]\n{"step": "a"}\n{"step": null}\n\xff\xfe\n{"step": NaN}\n' + b"[" * 100_000 + b"\n"
    log.write_bytes(odd + whole + b'{"step": 9}')
    assert load_checkpoint(prepare_from_folder(tmp_path / "run")) == ()
    assert log.read_bytes() == whole
    log.unlink()
    log.mkdir()
    with pytest.raises(CheckpointError, match=r"cannot read .*log\.jsonl: Is a directory\. Move it out of the way"):
        load_checkpoint(prepare_from_folder(tmp_path / "run"))


def without(key):
    return lambda d: {name: value for name, value in d.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("rng"), "lacks 'rng'"),
        (lambda d: {**d, "rng": {"bit_generator": "MT19937"}}, "'rng' is not a state of random numbers"),
        (lambda d: {**d, "rng": {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}}}, "'rng' is not a state"),
        (lambda d: {**d, "loader": {}}, "the loader's state lacks epoch"),
        (lambda d: {**d, "loader": {**d["loader"], "epoch": "a"}}, "expected a whole number, got epoch='a'"),
        (lambda d: {**d, "loader": {**d["loader"], "seed": 4}}, "seed=4, but this loader has seed=3"),
        (lambda d: {**d, "loader": {**d["loader"], "batch_size": 4}}, "batch_size=4, but this loader has"),
        (lambda d: {**d, "model": {**d["model"], "settings": 5}}, "'settings' must be an object, got 5"),
    ],
)
def test_a_damaged_checkpoint_changes_nothing(tmp_path, change, message):
    whole_run(tmp_path / "run", config(steps=2))
    (path,) = (tmp_path / "run" / "checkpoints").iterdir()
    arrays, description = load_arrays(path, format=CHECKPOINT_FORMAT)
    save_arrays(path, arrays, description=change(description))
    unchanged(tmp_path / "run", message)


def test_a_checkpoint_with_other_arrays_changes_nothing(tmp_path):
    whole_run(tmp_path / "run", config(steps=2))
    (path,) = (tmp_path / "run" / "checkpoints").iterdir()
    arrays, description = load_arrays(path, format=CHECKPOINT_FORMAT)
    save_arrays(path, {k: v for k, v in arrays.items() if k != "d_optimizer.steps"}, description=description)
    unchanged(tmp_path / "run", "expected the state of Adam")


def unchanged(folder, message):
    """Checks that a resume is refused, and that the prepared run stays at step 0."""
    (folder / "log.jsonl").write_text("odd\n")
    run = prepare_from_folder(folder)
    weights, rng, loader = state(run), run.trainer.state.rng.bit_generator.state, run.trainer.state.loader
    position = loader.state()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(run)
    for name, array in state(run).items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    assert run.trainer.state.rng.bit_generator.state == rng
    assert loader.state() == position
    assert (folder / "log.jsonl").read_text() == "odd\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("shape"), "lacks 'shape'"),
        (lambda d: {**d, "shape": [2]}, "dcgan draws images, got points"),
        (lambda d: {**d, "shape": [50, 50, 1]}, "expected images whose sides"),
        (lambda d: {**d, "recipe": "gan"}, "unknown recipe 'gan'"),
        (lambda d: {**d, "settings": {"width": "x"}}, "width must be an int"),
        (lambda d: {**d, "settings": {**d["settings"], "width": 10**30}}, "model.safetensors: .* has shape"),
        (lambda d: {**d, "settings": {**d["settings"], "width": 5}}, "model.safetensors: .* has shape"),
    ],
)
def test_a_damaged_generator_is_refused(tmp_path, change, message):
    whole_run(tmp_path / "run", config(steps=1))
    path = tmp_path / "run" / "model.safetensors"
    arrays, description = load_arrays(path, format="minigan-model/1")
    save_arrays(path, arrays, description=change(description))
    with pytest.raises(CheckpointError, match=message):
        runs.load_generator(tmp_path / "run", backend="reference")


def test_the_picture_of_points_far_out_or_all_at_the_origin_has_an_extent(tmp_path):
    for scale, extent in ((3e38, 1.25 * float(np.float32(3e38))), (0, 1.0)):
        np.save(tmp_path / "x.npy", np.full((9, 2), scale, "float32"))
        run = prepare_run(config(recipe="mlp", data=str(tmp_path / "x.npy")), tmp_path / "run")
        assert run.trainer.state.model["extent"] == extent


def test_a_source_is_opened_once_where_its_size_fits(monkeypatch, tmp_path):
    image = pytest.importorskip("PIL.Image")
    opened = []
    right = recipe_file.open_dataset
    monkeypatch.setattr(recipe_file, "open_dataset", lambda *a, **k: opened.append(right(*a, **k)) or opened[-1])
    recipe = get_recipe("dcgan")()
    assert recipe.open_data("digits", seed=0) is opened[-1]
    assert len(opened) == 1
    np.save(tmp_path / "odd.npy", np.zeros((3, 30, 30), np.uint8))
    assert recipe.open_data(str(tmp_path / "odd.npy"), seed=0).shape == (28, 28, 1)
    assert len(opened) == 3
    (tmp_path / "folder").mkdir()
    for n in range(40):
        image.new("L", (32, 32 + (n == 1))).save(tmp_path / "folder" / f"{n:02}.png")
    data = recipe.open_data(str(tmp_path / "folder"), seed=0)
    assert data.read([0, 1]).shape == (2, 32, 32, 1)  # the second one is scaled to the size of the others
