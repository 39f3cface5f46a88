"""Listeners of the trainer: what they are told, in which order, what an error in one of them costs, gradient norms."""

import contextlib
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minigan import runs
from minigan.checkpoints.folder import CheckpointFolder
from minigan.cli.command_line import main
from minigan.errors import ConfigError, DataError, DivergenceError, ListenerError
from minigan.recipes import get_recipe
from minigan.runs.config_migrations import CONFIG_FORMAT
from minigan.runs.prepare import create_folder, load_checkpoint, prepare_from_folder, prepare_run
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress
from minigan.training import Listener, gradient_norms
from minigan.training.listeners import base
from minigan.training.rhythm import Keep, Rhythm

RHYTHM = Rhythm(log_every=2, sample_every=3, checkpoint_every=4)
SMALL = {"dcgan": {"width": 2}, "mlp": {"hidden": 4, "latent": 2}, "vae": {"width": 4, "latent": 2}}


def prepared(folder, *listeners, recipe="mlp", data="ring", steps=4, rhythm=RHYTHM, **settings):
    settings = {"batch_size": 4, "steps": steps, **SMALL.get(recipe, {}), **settings}
    full = get_recipe(recipe).from_settings(settings).settings()
    config = runs.RunConfig(recipe, full, data, seed=3, backend="reference", rhythm=rhythm, keep=Keep(last=9))
    run = prepare_run(config, folder, listeners=listeners)
    create_folder(run)
    return run


def train(run, interruption=None):
    state = run.trainer.state
    progress = PlainProgress(start=state.step, total=state.steps, stream=io.StringIO())
    with contextlib.closing(run.dataset), state.loader:
        run.trainer.run(progress, interruption or Interruption())
    return run


class Witness(Listener):
    """Writes down all that it is told."""

    def __init__(self):
        self.told = []

    def on_start(self, training):
        self.state = training.state
        self.told.append(("start", training.state.step))

    def on_step(self, step):
        self.told.append(("step", step.number))

    def on_record(self, record):
        self.told.append(("record", record["step"]))

    def on_picture(self, step, picture):
        assert picture.dtype == np.uint8
        self.told.append(("picture", step))

    def on_checkpoint(self, step, path):
        assert path.exists()
        self.told.append(("checkpoint", step))

    def on_end(self):
        self.told.append(("end", self.state.step))


# ------------------------------------------------------------------------------------------ what is told


def test_a_listener_is_told_all_in_the_order_in_which_it_happens(tmp_path):
    witness = Witness()
    train(prepared(tmp_path / "run", witness, steps=5))
    assert witness.told == [
        ("start", 0),
        *(("record", 1), ("step", 1)),
        *(("record", 2), ("step", 2)),
        *(("picture", 3), ("step", 3)),
        *(("record", 4), ("step", 4), ("checkpoint", 4)),
        *(("record", 5), ("picture", 5), ("step", 5), ("checkpoint", 5)),
        ("end", 5),
    ]


def test_figures_come_between_the_pictures_and_the_checkpoint(tmp_path):
    witness = Witness()
    train(prepared(tmp_path / "run", witness, steps=1, rhythm=Rhythm(1, 1, 1, 1)))
    told = [("record", 1), ("picture", 1), ("record", 1), ("step", 1), ("checkpoint", 1)]
    assert witness.told == [("start", 0), *told, ("end", 1)]


def test_a_resumed_training_begins_where_it_stands(tmp_path):
    train(prepared(tmp_path / "run"))
    witness = Witness()
    again = prepare_from_folder(tmp_path / "run", steps=5, listeners=[witness])
    load_checkpoint(again)
    train(again)
    assert witness.told[0] == ("start", 4)
    assert [step for what, step in witness.told if what == "step"] == [5]


def test_a_function_is_called_with_each_record(tmp_path):
    records = []
    train(prepared(tmp_path / "run", records.append, rhythm=Rhythm(2, 9, 9, 3)))
    assert records == [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [("modes" in record, record["step"]) for record in records] == [
        *((False, 1), (False, 2), (True, 3)),
        *((False, 4), (True, 4)),
    ]


def test_a_listener_may_interrupt_and_is_told_of_the_checkpoint(tmp_path):
    interruption, witness = Interruption(), Witness()

    def stop(record):
        interruption.requested = record["step"] == 2

    run = train(prepared(tmp_path / "run", stop, witness), interruption)
    assert run.trainer.state.step == 2
    assert witness.told[-2:] == [("checkpoint", 2), ("end", 2)]


def test_listeners_change_neither_the_log_nor_the_weights(tmp_path):
    class Meddler(Listener):
        def on_record(self, record):
            record.clear()

        def on_picture(self, step, picture):  # noqa: ARG002
            picture[...] = 0

    plain = train(prepared(tmp_path / "plain", recipe="dcgan", data="digits"))
    meddled = train(prepared(tmp_path / "run", Meddler(), lambda record: record.clear(), recipe="dcgan", data="digits"))
    for name in ("model.safetensors", "samples/step-000003.png"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 4]
    assert (meddled.trainer.state.step, plain.trainer.state.step) == (4, 4)


# ------------------------------------------------------------------------------------------ when they fail


METHODS = ("on_start", "is_due", "on_step", "on_record", "on_picture", "on_checkpoint")


@pytest.mark.parametrize("method", METHODS)
def test_an_error_in_a_listener_names_it_and_costs_no_step(tmp_path, method):
    class Broken(Listener):
        pass

    def fail(*_):
        raise ZeroDivisionError("division by zero")

    setattr(Broken, method, fail)
    witness = Witness()
    run = prepared(tmp_path / "run", witness, Broken())
    with pytest.raises(ListenerError, match=rf"^the listener Broken\.{method} failed at step \d: ZeroDiv") as caught:
        train(run)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    step = run.trainer.state.step
    assert (
        f"failed at step {step}: ZeroDivisionError: division by zero. Step {step} is saved: correct the listener"
        in str(caught.value)
    )
    assert str(caught.value).endswith(f"`minigan.open_run('{tmp_path / 'run'}').resume()`")
    assert witness.told[-1] == ("end", step)
    again = prepare_from_folder(tmp_path / "run")
    assert load_checkpoint(again) == ()
    assert again.trainer.state.step == step
    train(again)
    whole = train(prepared(tmp_path / "whole"))
    np.testing.assert_array_equal(again.trainer.state.learner.G.arena.flat, whole.trainer.state.learner.G.arena.flat)


def test_a_function_that_fails_is_called_by_its_name(tmp_path):
    def my_plot(record):
        return record["nothing"]

    with pytest.raises(ListenerError, match=r"the listener my_plot failed at step 1: KeyError: 'nothing'\. Step 1 is"):
        train(prepared(tmp_path / "run", my_plot))
    assert CheckpointFolder(tmp_path / "run" / "checkpoints").last_step() == 1


class Mute(Exception):
    """An exception whose text fails."""

    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "error", [StopIteration(), GeneratorExit("no"), Mute()], ids=lambda error: type(error).__name__
)
def test_errors_of_odd_kinds_end_it_as_others_do(tmp_path, error):
    def odd(record):
        if record["step"] == 2:
            raise error

    with pytest.raises((ListenerError, GeneratorExit)) as caught:
        train(prepared(tmp_path / "run", odd))
    text = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert "Step 2 is saved" in text
    if isinstance(error, Exception):
        assert text.startswith(f"the listener odd failed at step 2: {type(error).__name__}. Step 2")


def test_a_listener_that_ends_the_program_is_told_how_to_go_on(tmp_path):
    """Python shows neither a traceback nor notes of a SystemExit."""
    run, stream = prepared(tmp_path / "run", lambda _: sys.exit(5)), io.StringIO()
    with pytest.raises(SystemExit, match="5"), contextlib.closing(run.dataset), run.trainer.state.loader:
        run.trainer.run(PlainProgress(start=0, total=4, stream=stream), Interruption())
    line = f"Step 1 is saved: resume with: `minigan.open_run('{tmp_path / 'run'}').resume()`"
    assert stream.getvalue().splitlines()[-1] == line


def test_an_error_at_the_end_is_told_when_all_is_saved(tmp_path):
    class Broken(Listener):
        def on_end(self):
            raise OSError("the other disk is full")

    with pytest.raises(ListenerError, match=r"Broken\.on_end failed at step 4: OSError: the other disk is full\."):
        train(prepared(tmp_path / "run", Broken()))
    assert CheckpointFolder(tmp_path / "run" / "checkpoints").last_step() == 4


def test_the_first_error_is_the_one_that_is_told(tmp_path):
    class Broken(Listener):
        def on_end(self):
            raise OSError("closed")

    run = prepared(tmp_path / "run", Broken())
    run.trainer.state.learner.D.arena.flat[...] = np.nan
    with pytest.raises(DivergenceError, match="diverged at step 1"):
        train(run)


def test_a_listener_s_own_minigan_error_is_a_listener_s(tmp_path):
    """It is no error of the data, whose remedy is another."""

    def refuse(_):
        raise DataError("mine.")

    with pytest.raises(ListenerError, match=r"the listener refuse failed at step 1: DataError: mine\. Step 1 is saved"):
        train(prepared(tmp_path / "run", refuse))


@pytest.mark.parametrize(
    ("listener", "message"),
    [
        (Listener, r"expected an object, got the class Listener\. Write Listener\(\)\."),
        (3, "expected a Listener, or a function that takes a record of the log, got 3"),
        (dict, "expected a Listener, or a function"),
    ],
)
def test_what_is_no_listener_is_refused_before_anything_is_written(tmp_path, listener, message):
    with pytest.raises(ConfigError, match=message):
        prepared(tmp_path / "run", listener)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("on_recrod", r"Did you mean on_record\?"),
        ("onstep", r"Did you mean on_step\?"),
        ("isdue", r"Did you mean is_due\?"),
        ("on_batch", r"The events are on_start, is_due, on_step, on_record, on_picture, on_checkpoint, on_end\."),
    ],
)
def test_a_misspelled_event_is_refused(tmp_path, name, remedy):
    mine = type("Mine", (Listener,), {name: print})
    with pytest.raises(ConfigError, match=rf"listeners: Mine has {name}, which is no event\. {remedy}"):
        prepared(tmp_path / "run", mine())


def test_a_listener_may_have_methods_of_its_own(tmp_path):
    class Mine(Listener):
        on_disk = True

        def save(self):
            pass

        def _on_recrod(self):
            pass

    prepared(tmp_path / "run", Mine())


# ------------------------------------------------------------------------------------------ speed


def test_pauses_are_no_part_of_the_speed(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = base.Clock(0, images_per_step=10)
    now[0] = 2.0
    clock.lap(4)
    assert (clock.images_per_second, clock.seconds) == (20.0, 2.0)
    with clock.paused():
        now[0] = 100.0
    now[0] = 101.0
    clock.lap(5)
    assert (clock.images_per_second, clock.seconds) == (10.0, 101.0)


# ------------------------------------------------------------------------------------------ gradient norms


@pytest.mark.parametrize(("recipe", "data"), [("mlp", "ring"), ("vae", "digits"), ("denoise", "shapes")])
def test_norms_are_those_of_each_layer_s_own_gradients(tmp_path, recipe, data):
    settings = {"width": 2, "size": 16, "adversarial": 0.0} if recipe == "denoise" else {}
    run = train(prepared(tmp_path / "run", recipe=recipe, data=data, steps=1, **settings))
    learner = run.trainer.state.learner
    norms = gradient_norms(learner)
    assert all(value > 0 for value in norms.values())
    for name, network in learner.networks.items():
        flat = learner.grads[name].flat.astype(float)
        own = [value for path, value in norms.items() if path.partition(".")[0] == network.path]
        assert len(own) == sum(bool(layer.own_parameters) for _, layer in network.walk())
        np.testing.assert_allclose(np.sqrt(np.square(own).sum()), np.linalg.norm(flat), rtol=1e-6)
    layer = next(layer for _, layer in learner.G.walk() if layer.own_parameters)
    parts = [learner.grads["G"][p].ravel() for p in layer.own_parameters]
    np.testing.assert_allclose(norms[layer.path], np.linalg.norm(np.concatenate(parts)), rtol=1e-5)


def test_norms_are_logged_every_so_many_steps_and_after_a_resume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--backend", "reference", "--log-every", "4", "--log-gradients", "3", "--out", "run", "--quiet")
    settings = ("--set", "hidden=4", "latent=2", "batch_size=4")
    assert main(["train", "mlp", "--data", "ring", "--steps", "6", *options, *settings]) == 0
    assert main(["train", "--resume", "run", "--steps", "9", "--quiet"]) == 0
    records = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert [(record["step"], "gradients" in record) for record in records] == [
        *((1, False), (3, True), (4, False), (6, True)),
        *((8, False), (9, True)),
    ]
    assert records[1]["gradients"].keys() == {
        *("G.0.Dense", "G.2.Dense", "G.4.Dense"),
        *("D.1.Dense", "D.3.Dense", "D.5.Dense"),
    }
    assert runs.read_config(Path("run")).rhythm.log_gradients == 3


def test_a_run_from_before_there_were_norms_is_resumed_without(tmp_path):
    train(prepared(tmp_path / "run"))
    path = tmp_path / "run" / "config.toml"
    assert "log_gradients = 0\n" in path.read_text()
    path.write_text(path.read_text().replace("log_gradients = 0\n", "").replace(f"format = {CONFIG_FORMAT}\n", ""))
    assert runs.read_config(tmp_path / "run").rhythm.log_gradients == 0
    assert load_checkpoint(prepare_from_folder(tmp_path / "run", steps=5)) == ()


def test_norms_change_no_bit(tmp_path):
    for name, rhythm in (("plain", Rhythm()), ("watched", Rhythm(log_gradients=1))):
        train(prepared(tmp_path / name, rhythm=rhythm, clip_norm=1.0))
    plain, watched = (tmp_path / name / "model.safetensors" for name in ("plain", "watched"))
    assert watched.read_bytes() == plain.read_bytes()
