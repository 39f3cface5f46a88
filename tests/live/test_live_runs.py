"""Runs that are stopped, stepped, changed and taken back: always the same bits."""

import json
from dataclasses import replace

import numpy as np
import pytest
from live_sessions import bits, live_run, silent, tiny_config, watched

import minigan
from minigan.checkpoints.folder import CheckpointFolder
from minigan.errors import ConfigError, DivergenceError
from minigan.live import Command, LiveRun, Session, read_notes
from minigan.live.changes import CHANGES, is_game, with_changes
from minigan.live.frames import frames_of
from minigan.live.history import ValueHistory, Values
from minigan.live.hub import Hub
from minigan.live.slow_motion import SlowMotion
from minigan.live.snapshots import MOST, Snapshots
from minigan.live.view import Unit, View
from minigan.nn.network import Observer
from minigan.recipes import RECIPES
from minigan.runs.session import start_run
from minigan.support.interruption import Interruption


def play(run, script):
    """Does a script: None or a side is a step, settings are a change. Returns the bits after each step."""
    seen = {run.state.step: bits(run)}
    for move in script:
        if isinstance(move, dict):
            run.change(move)
        else:
            run.advance(move)
            seen[run.state.step] = bits(run)
    return seen


SCRIPT = [
    *[None] * 20,
    {"loss": "hinge", "penalty": "r1", "penalty_weight": 0.1},
    *[None] * 5,
    "D",
    "D",
    "G",
    {"g_lr": 1e-4, "n_critic": 2},
    *[None] * 4,
    {"loss": "wasserstein", "penalty": "wgan-gp", "instance_noise": 0.1},
    *[None] * 4,
]


def test_every_earlier_step_comes_back_bit_for_bit(tmp_path):
    with live_run(tmp_path / "run") as run:
        seen = play(run, SCRIPT)
        for step in (*range(36, 24, -1), 20, 19, 3, 0):
            run.return_to(step)
            assert bits(run) == seen[step], step
        assert run.recipe.loss == "non-saturating" and run.game.penalty is None
        assert play(run, SCRIPT) == seen


def test_a_recorded_step_back_is_the_same_on_the_fast_backend(tmp_path):
    pytest.importorskip("numba")
    config = replace(tiny_config(), backend="cpu")
    with LiveRun(start_run(config, tmp_path / "run"), silent()) as run:
        seen = play(run, [None] * 30)
        run.return_to(11)
        assert bits(run) == seen[11]
        assert play(run, [None] * 19)[30] == seen[30]


def test_a_change_holds_after_a_step_back_to_where_it_was_made(tmp_path):
    with live_run(tmp_path / "run") as run:
        play(run, [None, None, {"loss": "hinge"}, None, None])
        run.return_to(2)
        assert run.recipe.loss == "hinge"
        run.return_to(1)
        assert run.recipe.loss == "non-saturating"


def test_the_log_tells_all_that_is_needed_to_do_it_again(tmp_path):
    with live_run(tmp_path / "one") as run:
        play(run, SCRIPT)
        run.return_to(34)
        run.change({"d_lr": 5e-4})
        run.advance()
        done, steps = bits(run), run.state.step
    notes = read_notes(tmp_path / "one")
    assert notes[0].kind == "begin" and notes[0].value["loss"] == "non-saturating"
    with live_run(tmp_path / "two") as again:
        while again.state.step < steps:
            for note in notes:
                if note.kind == "set" and note.step == again.state.step:
                    again.change(note.value)
            sides = [note.value for note in notes if note.kind == "only" and note.step == again.state.step + 1]
            again.advance(*sides)
        assert bits(again) == done


def test_records_of_steps_that_were_taken_back_are_gone(tmp_path):
    with live_run(tmp_path / "run") as run:
        play(run, [None] * 11)
        run.return_to(7)
        steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
        assert steps == [0, 1, 5]


def test_a_resumed_run_has_the_settings_in_force(tmp_path):
    script = [*[None] * 4, {"loss": "hinge", "penalty": "r1"}, *[None] * 3]
    with live_run(tmp_path / "run", steps=20) as run:
        play(run, script)
        run.save()
        play(run, [None] * 3)
        expected = run.state.arrays()
    run = minigan.open_run(tmp_path / "run" / "checkpoints" / "step-00000007.safetensors")
    assert run.config.settings["loss"] == "hinge"
    run.resume(steps=10, quiet=True)
    _, arrays, description = CheckpointFolder(tmp_path / "run" / "checkpoints").load()
    assert description["step"] == 10
    assert all(np.array_equal(arrays[name], array) for name, array in expected.items())


def test_two_runs_from_one_seed(tmp_path):
    with live_run(tmp_path / "one") as run:
        play(run, [None] * 6)
        with run.fork() as twin:
            assert bits(twin) == bits(run) and twin.folder != run.folder
            play(run, [None] * 5)
            play(twin, [None] * 5)
            assert bits(twin) == bits(run)
            twin.change({"loss": "hinge"})
            assert play(run, [None])[12] != play(twin, [None])[12]
            twin.return_to(11)
            run.return_to(11)
            assert bits(twin) == bits(run)
        assert [note.kind for note in read_notes(twin.folder)] == ["begin", "forked", "set"]


# ------------------------------------------------------------------------------------------ slow motion


def slowly(run, stop):
    with run.game.observed(Observer()):
        run.advance(watched=SlowMotion(stop))


@pytest.mark.parametrize("penalty", ["none", "wgan-gp"])
def test_slow_motion_is_the_same_step(tmp_path, penalty):
    moments = []

    def stop(moment):
        moments.append(json.loads(json.dumps(moment)))
        return True

    with live_run(tmp_path / "one", penalty=penalty) as run, live_run(tmp_path / "two", penalty=penalty) as other:
        for _ in range(4):
            run.advance()
            other.advance()
        slowly(run, stop)
        other.advance()
        assert bits(run) == bits(other)
    titles = {moment["here"]["title"] for moment in moments}
    for title in ("AlternatingOptimizer.step", "NonSaturating.generator", "Adam._update"):
        assert title in titles
    passes = {title.rpartition(": ")[2] for title in titles if ": " in title}
    second_order = {"backward_recorded", "double_backward"} if penalty != "none" else set()
    assert {"forward", "backward"} | second_order == passes
    for moment in moments:
        numbers = dict(moment["here"]["lines"])
        assert moment["here"]["lit"] in numbers
    lit = [moment["from"]["lines"] for moment in moments if "from" in moment and "D." in moment["here"]["title"]]
    assert any("D.forward(" in text or "D.backward(" in text for lines in lit for _, text in lines)


def test_slow_motion_can_be_cut_short(tmp_path):
    count = []
    with live_run(tmp_path / "run") as run:
        slowly(run, lambda moment: count.append(moment) or len(count) < 3)
        assert run.state.step == 1 and len(count) == 3


# ------------------------------------------------------------------------------------------ every game


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name, kind in RECIPES.items() if is_game(kind)])
def test_every_game_can_be_watched(tmp_path, name):
    """Frames with each layer's units, slow motion, one side alone, a change, and the way back."""
    narrow = {key: 4 for key in ("width", "channel_max", "w_dim") if key in RECIPES[name].kinds()}
    small = {"batch_size": 16} | narrow
    with live_run(tmp_path / "run", data="digits", recipe=name, **small) as run:
        seen = play(run, [None] * 3)
        frames = frames_of(run.prepared)
        for network, layers in frames.about(run.game)["networks"].items():
            for index in range(len(layers)):
                frame = frames.frame(run.game, View(("pull",), Unit(network, index, 2)))
                assert json.loads(json.dumps(frame, allow_nan=False))["units"]
        count = []
        slowly(run, lambda moment: not count.append(json.dumps(moment)))
        assert len(count) > 100
        seen[4] = bits(run)
        run.return_to(3)
        assert bits(run) == seen[3] and play(run, [None])[4] == seen[4]
        play(run, ["D", "G", {"loss": "hinge"}, None])
        run.return_to(1)
        assert bits(run) == seen[1]


# ------------------------------------------------------------------------------------------ what goes wrong


def test_a_step_that_diverges_is_undone(tmp_path):
    with live_run(tmp_path / "run") as run:
        seen = play(run, [None] * 6)
        run.game.D.arena.flat[...] = np.nan
        with pytest.raises(DivergenceError, match="at step 7"):
            run.advance()
        assert run.state.step == 6 and bits(run) == seen[6]


def test_a_step_that_fails_half_way_is_undone_and_all_before_it_is_saved(tmp_path, monkeypatch):
    def fail(*_, **__):
        monkeypatch.undo()  # once
        raise MemoryError("too little")

    with live_run(tmp_path / "run") as run:
        seen = play(run, [None] * 5)
        session = Session([run], Hub(), say=print)
        monkeypatch.setattr(run.game, "generator_step", fail)  # D's update is done by then
        session.submit(Command("step", {"side": None}))
        with pytest.raises(MemoryError) as raised:
            session.run(Interruption())
        assert "Step 5 is saved" in raised.value.__notes__[0]
        assert bits(run) == seen[5]
    assert minigan.open_run(tmp_path / "run").step == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden": 3}, "cannot change"),
        ({"g_lr": "fast"}, "number"),
        ({"g_lr": -1}, "number"),
        ({"d_lr": float("nan")}, "number"),
        ({"n_critic": True}, "number"),
        ({"n_critic": 1.5}, "n_critic"),
        ({"loss": "love"}, "loss"),
        ({"loss": 3}, "loss"),
    ],
)
def test_changes_that_make_no_sense_change_nothing(tmp_path, changes, words):
    with live_run(tmp_path / "run") as run:
        before = run.recipe
        with pytest.raises(ConfigError, match=words):
            run.change(changes)
        assert run.recipe == before and len(run.journal.notes) == 1


def test_every_choice_can_be_made(tmp_path):
    with live_run(tmp_path / "run") as run:
        for name, values in CHANGES.items():
            for value in values:
                run.change({name: value})
                run.advance()
        assert run.state.step == sum(map(len, CHANGES.values()))


def test_one_side_needs_single_batches(tmp_path):
    with live_run(tmp_path / "run", accumulate=2) as run:
        run.advance()
        with pytest.raises(ConfigError, match="accumulate"):
            run.advance("D")


@pytest.mark.parametrize("recipe", ["vae", "denoise"])
def test_what_is_no_game_from_noise_is_refused(tmp_path, recipe):
    with pytest.raises(ConfigError, match="draw"):
        live_run(tmp_path / "run", data="digits", recipe=recipe)


# ------------------------------------------------------------------------------------------ memory


def test_snapshots_stay_few_and_the_beginning_stays(tmp_path):
    with live_run(tmp_path / "run") as run:
        snapshots = Snapshots()
        for step in range(500):
            run.state.step = step
            snapshots.add(run.state, run.recipe)
        steps = [one.step for one in snapshots._taken]
        assert len(steps) <= MOST and steps[0] == 0 and steps[-1] == 499
        gaps = np.diff(steps)
        assert gaps[-1] <= gaps[1]  # denser toward the present
        assert snapshots.before(250).step <= 250


def test_the_history_is_thinned_out():
    history = ValueHistory()
    for step in range(5000):
        history.add(Values(step, *[0.0] * 5))
    steps = [values.step for values in history]
    assert len(steps) <= 601 and steps[0] == 0 and steps[-1] == 4999 and steps == sorted(steps)
    history.cut(100)
    assert max(values.step for values in history) <= 100


def test_with_changes_is_pure(tmp_path):
    recipe = live_run(tmp_path / "run").recipe
    assert with_changes(recipe, {"loss": "hinge"}).loss == "hinge" and recipe.loss == "non-saturating"


# ------------------------------------------------------------------------------------------ a session


def test_nobody_watches_and_no_frame_is_made(tmp_path, monkeypatch):
    with watched(live_run(tmp_path / "run")) as seen:
        monkeypatch.setattr(seen.session, "frame", lambda: pytest.fail("a frame that nobody sees"))
        assert seen.do("play") == 204
        seen.until(lambda: seen.session.step > 50)
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert minigan.open_run(tmp_path / "run").step == seen.session.step


def test_a_session_pauses_where_a_run_diverges(tmp_path):
    with watched(live_run(tmp_path / "run")) as seen, seen.events() as events:
        next(events)
        seen.do("step", side=None)
        seen.until(lambda: seen.session.step == 1)
        seen.session.runs[0].game.D.arena.flat[...] = np.inf
        seen.do("play")
        said = next(data["text"] for kind, data in events if kind == "say")
        assert "diverged at step 2" in said and "lower a rate" in said
        assert seen.session.step == 1 and seen.said == [said]


def test_two_runs_go_back_together(tmp_path):
    with watched(live_run(tmp_path / "one"), live_run(tmp_path / "two", pack=2)) as seen:
        for name, more in (("step", {"side": None}), ("step", {"side": "D"}), ("step", {"side": None})):
            assert seen.do(name, **more) == 204
        seen.until(lambda: seen.session.step == 3)
        assert seen.do("back", to=1) == 204
        seen.until(lambda: seen.session.step == 1)
        seen.settle()
        assert [run.state.step for run in seen.session.runs] == [1, 1]
        assert seen.do("single") == 204
        seen.until(lambda: len(seen.session.runs) == 1)
