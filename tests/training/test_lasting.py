"""Trainings that something ends: each leaves a checkpoint of its last whole step, and a line that says how to go on.

Whatever fails, wherever: the run resumes with the bits of one that was left alone.
"""

import contextlib
import io
import itertools
import json
import signal

import numpy as np
import pytest

from minigan import runs
from minigan.backends.reference import ReferenceBackend
from minigan.checkpoints.folder import CheckpointFolder
from minigan.data.points import Points
from minigan.errors import DataError, DivergenceError, MiniganError, OutOfMemoryError, OutputError
from minigan.nn.optimizers import Adam
from minigan.nn.schedules import Constant
from minigan.recipes import get_recipe
from minigan.runs.measure import FixedNoiseMeasure
from minigan.runs.prepare import create_folder, load_checkpoint, prepare_from_folder, prepare_run
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress
from minigan.training import undo
from minigan.training.fake_pool import FakePool
from minigan.training.listeners import Checkpoints, Listener, Log, Pictures
from minigan.training.moving_average import MovingAverage
from minigan.training.rhythm import Keep, Rhythm
from minigan.training.stepper import Stepper

RHYTHM = Rhythm(log_every=1, sample_every=2, checkpoint_every=4, evaluate_every=4)
SETTINGS = {"steps": 8, "batch_size": 4, "hidden": 4, "latent": 2, "n_critic": 2, "ema": 0.9, "fake_pool": 6}
TIMINGS = ("seconds", "images_per_second")


def prepared(folder, *listeners, **settings):
    full = get_recipe("mlp").from_settings({**SETTINGS, **settings}).settings()
    config = runs.RunConfig("mlp", full, "ring", seed=3, backend="reference", rhythm=RHYTHM, keep=Keep(last=9))
    run = prepare_run(config, folder, listeners=listeners)
    create_folder(run)
    return run


def train(run, interruption=None):
    state = run.trainer.state
    progress = PlainProgress(start=state.step, total=state.steps, stream=io.StringIO())
    with contextlib.closing(run.dataset), state.loader, state.owner or contextlib.nullcontext():
        run.trainer.run(progress, interruption or Interruption())
    return run


def arrays(run):
    state = run.trainer.state
    found = state.learner.to_dict()
    for average in state.averages.values():
        found |= average.to_dict()
    return found


def losses(folder):
    records = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{name: value for name, value in record.items() if name not in TIMINGS} for record in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was left alone."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return arrays(train(prepared(folder))), folder


def goes_on_as(whole, folder, *, step):
    """Resumes a run, and compares its weights, pictures and log with those of one that was left alone."""
    again = prepare_from_folder(folder)
    assert load_checkpoint(again) == ()
    assert again.trainer.state.step == step
    got = arrays(train(again))
    for name, array in whole[0].items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    for picture in sorted((whole[1] / "samples").iterdir()):
        assert (folder / "samples" / picture.name).read_bytes() == picture.read_bytes()
    return losses(folder)


def said(error):
    """An error's text with its notes."""
    return " ".join([str(error), *getattr(error, "__notes__", ())])


def fails(monkeypatch, kind, name, error, *, call):
    """Has a method raise an error at that call of it, once; before it does anything, or (a negative number) after."""
    right, calls = getattr(kind, name), []

    def wrong(self, *arguments, **options):
        calls.append(None)
        if len(calls) == call:
            raise error
        result = right(self, *arguments, **options)
        if len(calls) == -call:
            raise error
        return result

    monkeypatch.setattr(kind, name, wrong)


# ------------------------------------------------------------------------------------------ in a step

# The sixth step begins after 10 updates of D and 5 of G: 15 of an optimizer, 5 of the average; 20 batches were mixed.
PLACES = {
    "at a step's second batch": (Points, "read", 14, 6),
    "in a matrix product": (ReferenceBackend, "matmul", 200, 2),
    "before D's first update": (Adam, "step", 16, 5),
    "after D's first update": (Adam, "step", -16, 5),
    "before D's second update": (Adam, "step", 17, 5),
    "before G's update": (Adam, "step", 18, 5),
    "after G's update": (Adam, "step", -18, 5),
    "before an update of the weights": (Adam, "_update", 18, 5),
    "after an update of the weights": (Adam, "_update", -17, 5),
    "before the average": (MovingAverage, "update", 6, 5),
    "after the average": (MovingAverage, "update", -6, 5),
    "after a step": (Stepper, "step", -6, 5),
    "after a fake was put into the pool": (FakePool, "mix", -12, 5),
}
ERRORS = (RuntimeError, MemoryError, KeyboardInterrupt, SystemExit, OSError)


@pytest.mark.parametrize(
    ("place", "error"),
    [*zip(PLACES, itertools.cycle(ERRORS)), *(("before G's update", error) for error in ERRORS)],
)
def test_a_step_that_fails_is_undone(tmp_path, monkeypatch, whole, place, error):
    kind, name, call, step = PLACES[place]
    run = prepared(tmp_path / "run")
    with monkeypatch.context() as patch:
        fails(patch, kind, name, error("odd"), call=call)
        with pytest.raises(error) as caught:
            train(run)
    done = run.trainer.state.step
    assert done == step
    assert f"Step {done} is saved: resume with: `minigan.open_run('{tmp_path / 'run'}').resume()`" in said(caught.value)
    assert CheckpointFolder(tmp_path / "run" / "checkpoints").last_step() == done
    assert goes_on_as(whole, tmp_path / "run", step=done) == losses(whole[1])


@pytest.fixture
def one_copy(monkeypatch):
    """A copy before the first step, and no other."""
    monkeypatch.setattr(undo, "SHARE", 0)


@pytest.mark.parametrize(("place", "error"), [*zip(PLACES, itertools.cycle(ERRORS))])
@pytest.mark.usefixtures("one_copy")
def test_steps_since_the_last_copy_are_done_again(tmp_path, monkeypatch, whole, place, error):
    test_a_step_that_fails_is_undone(tmp_path, monkeypatch, whole, place, error)


LEARNERS = {
    "pack and dropout": ("pacgan", "ring", {"batch_size": 4, "pack": 2}),
    "penalty at every second step": ("mlp", "ring", {"loss": "wasserstein", "penalty": "r1", "penalty_interval": 2}),
    "spectral norm, augmentation": ("sngan", "digits", {"width": 4, "augment": "color,translation,cutout", "ema": 0.9}),
    "styles, regularized in updates of their own": (
        "stylegan2",
        "digits",
        {
            "size": 8,
            "latent": 4,
            "w_dim": 4,
            "channel_base": 32,
            "channel_max": 4,
            "augment": "adaptive",
            "mixing": 0.9,
            "path_weight": 2.0,
            "path_interval": 3,
            "penalty_interval": 3,
        },
    ),
    "several discriminators": ("multi-d", "digits", {"width": 4, "discriminators": 2, "weights": "softmax"}),
    "classes, noise on images": ("dcgan", "digits", {"width": 4, "condition": "projection", "instance_noise": 0.1}),
    "autoencoder": ("vae", "digits", {}),
    "two generators, two pools, two averages": (
        "cyclegan",
        "digits",
        {"size": 8, "width": 2, "d_width": 2, "blocks": 1, "pool": 3, "batch_size": 1, "ema": 0.9},
    ),
    "image to image": ("denoise", "shapes", {"size": 16, "width": 4, "d_width": 4, "depth": 2}),
}


@pytest.mark.parametrize(("name", "data", "settings"), LEARNERS.values(), ids=LEARNERS)
@pytest.mark.usefixtures("one_copy")
def test_every_kind_of_step_can_be_done_again(tmp_path, name, data, settings):
    recipe = get_recipe(name).from_settings({"batch_size": 2, "steps": 9, **settings})
    run = prepare_run(runs.RunConfig(name, recipe.settings(), data, backend="reference"), tmp_path / "run")
    state = run.trainer.state
    with contextlib.closing(run.dataset), state.loader:
        batches = (run.recipe.batch(item, state.rng) for item in state.loader)
        stepper = Stepper(state.learner, batches, state.rng, averages=state.averages.values())
        for _ in range(3):
            stepper.step()
        before, draws = arrays(run), state.rng.bit_generator.state
        stepper.step()
        assert stepper.back(RuntimeError()) == 0
    for key, array in arrays(run).items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)
    assert state.rng.bit_generator.state == draws


def always_fails(monkeypatch, kind, name, *, call):
    """Has a method raise an error from that call on."""
    right, calls = getattr(kind, name), itertools.count(1)

    def wrong(self, *arguments, **options):
        if next(calls) >= call:
            raise RuntimeError("for good")
        return right(self, *arguments, **options)

    monkeypatch.setattr(kind, name, wrong)


def test_what_cannot_be_done_again_leaves_the_step_that_was_copied(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(undo, "SHARE", 0)
    monkeypatch.setattr(undo, "MOST", 5)  # copies before the first and the sixth step
    with monkeypatch.context() as patch:
        always_fails(patch, Adam, "step", call=24)  # G's of the eighth step
        with pytest.raises(RuntimeError, match="for good") as caught:
            train(prepared(tmp_path / "run"))
    assert "Step 5 is saved: resume with" in said(caught.value)
    assert goes_on_as(whole, tmp_path / "run", step=5) == losses(whole[1])


@pytest.mark.usefixtures("one_copy")
def test_a_checkpoint_since_the_last_copy_is_kept(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        always_fails(patch, Adam, "step", call=18)  # G's of the sixth step
        with pytest.raises(RuntimeError, match="for good") as caught:
            train(prepared(tmp_path / "run"))
    assert "Step 5 is not saved: step 6 was half done. Resume from step 4 with" in said(caught.value)
    assert goes_on_as(whole, tmp_path / "run", step=4) == losses(whole[1])


class Plateau(Listener):
    """Lowers the rates between the steps."""

    def on_start(self, training):
        self.learner = training.state.learner

    def on_step(self, step):
        for optimizer in self.learner.optimizers.values():
            optimizer.schedule = Constant(0.01 / step.number)


@pytest.mark.usefixtures("one_copy")
def test_what_a_listener_changes_between_the_steps_is_not_undone(tmp_path, monkeypatch):
    run = prepared(tmp_path / "five", Plateau(), steps=5)
    expected = arrays(train(run))
    run = prepared(tmp_path / "run", Plateau())
    fails(monkeypatch, Adam, "step", RuntimeError("odd"), call=18)
    with pytest.raises(RuntimeError, match="odd"):
        train(run)
    for key, array in arrays(run).items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)


def test_what_is_too_large_to_be_copied_is_kept_if_it_was_not_begun(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(undo, "LARGE", 0)
    with monkeypatch.context() as patch:
        fails(patch, Adam, "step", RuntimeError("odd"), call=18)
        with pytest.raises(RuntimeError, match="odd"):
            train(prepared(tmp_path / "run"))
    assert goes_on_as(whole, tmp_path / "run", step=5) == losses(whole[1])


@pytest.mark.parametrize(("name", "call"), [("_update", 18), ("_update", -18), ("step", -18)])
def test_what_was_begun_and_not_copied_costs_the_steps_since_the_last_checkpoint(
    tmp_path, monkeypatch, whole, name, call
):
    monkeypatch.setattr(undo, "LARGE", 0)
    with monkeypatch.context() as patch:
        fails(patch, Adam, name, RuntimeError("odd"), call=call)
        with pytest.raises(RuntimeError, match="odd") as caught:
            train(prepared(tmp_path / "run"))
    assert "Step 5 is not saved: step 6 was half done. Resume from step 4 with: `minigan.open_run(" in said(
        caught.value
    )
    assert goes_on_as(whole, tmp_path / "run", step=4) == losses(whole[1])


def test_a_first_step_that_fails_leaves_the_folder_free(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fails(patch, Adam, "step", MemoryError("no"), call=2)
        with pytest.raises(OutOfMemoryError) as caught:
            train(prepared(tmp_path / "run"))
    assert "saved" not in said(caught.value)
    train(prepared(tmp_path / "run", steps=1))


def test_a_step_that_diverges_leaves_the_one_before(tmp_path, monkeypatch):
    run = prepared(tmp_path / "run")
    fails(monkeypatch, Adam, "step", DivergenceError("a number is not finite."), call=18)
    with pytest.raises(DivergenceError) as caught:
        train(run)
    path = tmp_path / "run" / "checkpoints" / "step-00000005.safetensors"
    assert str(caught.value) == (
        f"training diverged at step 6: a number is not finite. The last good checkpoint is {path}. "
        "Try a lower learning rate (`lr=...`)."
    )


# ------------------------------------------------------------------------------------------ between the steps


class Broken(Listener):
    """A user's listener that another test has fail."""


BETWEEN = (
    (Log, "on_record", -6, 5),
    (Pictures, "on_step", 4, 4),
    (Pictures, "_draw", 2, 4),
    (FixedNoiseMeasure, "__call__", 1, 4),
    (FixedNoiseMeasure, "__call__", -1, 4),
    (Checkpoints, "on_step", 6, 6),
    (Checkpoints, "save", 1, 4),
    (Checkpoints, "save", -1, 4),
    (Broken, "on_step", 3, 3),
)


@pytest.mark.parametrize(
    ("kind", "name", "call", "step", "error"),
    [(*place, error) for place, error in zip(BETWEEN, itertools.cycle(ERRORS))],
)
def test_what_fails_between_steps_costs_none(tmp_path, monkeypatch, whole, kind, name, call, step, error):
    run = prepared(tmp_path / "run", Broken())
    with monkeypatch.context() as patch:
        fails(patch, kind, name, error("odd"), call=call)
        with pytest.raises((error, MiniganError)) as caught:
            train(run)
    assert f"Step {step} is saved" in said(caught.value)
    assert goes_on_as(whole, tmp_path / "run", step=step) == losses(whole[1])


def test_an_evaluation_that_fails_says_where_the_steps_are_and_is_done_again(tmp_path, monkeypatch, whole):
    """As with a library that finds no home folder."""
    with monkeypatch.context() as patch:
        fails(patch, FixedNoiseMeasure, "__call__", RuntimeError("Could not determine home directory."), call=1)
        with pytest.raises(RuntimeError) as caught:
            train(prepared(tmp_path / "run"))
    assert caught.value.args == ("Could not determine home directory.",)
    line = f"Step 4 is saved: resume with: `minigan.open_run('{tmp_path / 'run'}').resume()`"
    assert caught.value.__notes__ == [line]
    assert goes_on_as(whole, tmp_path / "run", step=4) == losses(whole[1])


@pytest.mark.parametrize("second", [OSError(28, "No space left on device"), MemoryError(), KeyboardInterrupt()])
def test_the_first_error_is_told_if_saving_fails_as_well(tmp_path, monkeypatch, whole, second):
    right = Checkpoints.save

    def save(self):
        if self.state.step == 6:
            raise second
        return right(self)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save)
        fails(patch, Checkpoints, "on_step", ValueError("the first"), call=6)
        with pytest.raises(ValueError, match=r"^the first\n") as caught:
            train(prepared(tmp_path / "run"))
    reason = str(second) or type(second).__name__
    assert f"Step 6 is not saved: {reason}. Resume from step 4 with: `minigan.open_run(" in said(caught.value)
    assert goes_on_as(whole, tmp_path / "run", step=4) == losses(whole[1])


def test_without_any_checkpoint_this_is_said(tmp_path, monkeypatch):
    fails(monkeypatch, Log, "on_record", OutputError("the disk is full."), call=2)
    monkeypatch.setattr(Checkpoints, "save", lambda _: (_ for _ in ()).throw(OutputError("the disk is full.")))
    with pytest.raises(OutputError, match=r"^the disk is full\. No checkpoint was written yet\.$"):
        train(prepared(tmp_path / "run"))


def test_memory_is_released_before_saving(tmp_path, monkeypatch):
    """The frames of the error's traceback hold a step's arrays."""
    held = []

    class Canary:
        def __del__(self):
            held.append("released")

    def fail(*_, **__):
        canary = Canary()  # noqa: F841 (held by this frame)
        raise MemoryError

    right = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self: (held.append("saved"), right(self))[1])
    with monkeypatch.context() as patch:
        patch.setattr(FixedNoiseMeasure, "__call__", fail)
        with pytest.raises(MemoryError):
            train(prepared(tmp_path / "run"))
    assert held == ["released", "saved"]


# ------------------------------------------------------------------------------------------ signals


class Raise(Listener):
    """Sends signals in the course of a step or of a listener."""

    def __init__(self, *signals, step):
        self.signals, self.number = signals, step

    def on_step(self, step):
        if step.number == self.number:
            for number in self.signals:
                signal.raise_signal(number)


@pytest.fixture
def no_nohup():
    """SIGHUP as at a terminal, also where all tests run under nohup."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("no_nohup")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK"])
def test_a_request_to_end_lets_the_step_end(tmp_path, whole, name):
    if not hasattr(signal, name):
        pytest.skip(f"no {name} on this system")
    number = getattr(signal, name)
    with Interruption() as interruption:
        train(prepared(tmp_path / "run", Raise(number, step=3)), interruption)
    assert goes_on_as(whole, tmp_path / "run", step=3) == losses(whole[1])


@pytest.mark.usefixtures("no_nohup")
def test_of_a_second_request_only_ctrl_c_interrupts(tmp_path):
    requests = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGTERM") if hasattr(signal, name)]
    with Interruption() as interruption:
        assert train(prepared(tmp_path / "calm", Raise(*requests, step=3)), interruption).trainer.state.step == 3
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt) as caught:
        train(prepared(tmp_path / "run", Raise(signal.SIGINT, signal.SIGINT, step=3)), interruption)
    assert "Step 3 is saved" in said(caught.value)


@pytest.mark.parametrize("kind", [Adam, Stepper])
def test_a_second_ctrl_c_in_the_middle_of_a_step_undoes_it(tmp_path, monkeypatch, whole, kind):
    right, calls = kind.step, []

    def step(self, *arguments):
        result = right(self, *arguments)
        calls.append(None)
        if len(calls) == 8:  # of the third or of the eighth step
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return result

    with monkeypatch.context() as patch, Interruption() as interruption:
        patch.setattr(kind, "step", step)
        with pytest.raises(KeyboardInterrupt) as caught:
            train(prepared(tmp_path / "run"), interruption)
    done = 2 if kind is Adam else 7
    assert f"Step {done} is saved" in said(caught.value)
    assert goes_on_as(whole, tmp_path / "run", step=done) == losses(whole[1])


def test_a_checkpoint_is_finished_whatever_ctrl_c_does(tmp_path, monkeypatch, whole):
    right = Checkpoints.save

    def save(self):
        signal.raise_signal(signal.SIGINT)
        path = right(self)
        signal.raise_signal(signal.SIGINT)
        return path

    with monkeypatch.context() as patch, Interruption() as interruption:
        patch.setattr(Checkpoints, "save", save)
        train(prepared(tmp_path / "run", Raise(signal.SIGINT, step=3)), interruption)
    assert goes_on_as(whole, tmp_path / "run", step=3) == losses(whole[1])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_what_nohup_has_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
        assert not interruption.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_it_is_passed_on_to_the_program_around(name):
    number, passed = getattr(signal, name, signal.SIGTERM), []
    before = signal.signal(number, lambda number, _: passed.append(number))
    try:
        with Interruption(pass_on=True):
            signal.raise_signal(number)
            assert passed == []
        assert passed == [number]
    finally:
        signal.signal(number, before)


# ------------------------------------------------------------------------------------------ data


def test_a_batch_of_several_that_cannot_be_read_undoes_the_others(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        fails(patch, Points, "read", DataError("points: item 3 is damaged."), call=14)
        with pytest.raises(DataError, match=r"^points: item 3 is damaged\. Step (\d) is saved: replace") as caught:
            train(prepared(tmp_path / "run"))
    step = int(str(caught.value).split("Step ")[1][0])
    assert goes_on_as(whole, tmp_path / "run", step=step) == losses(whole[1])
