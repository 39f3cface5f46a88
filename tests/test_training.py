"""Runs: the folder they leave, interruption, resumption bit for bit, divergence."""

import io
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from minigan import runs
from minigan.errors import CheckpointError, ConfigError, DivergenceError
from minigan.report.progress import PlainProgress
from minigan.training import Interruption, Rhythm

RHYTHM = Rhythm(log_every=2, sample_every=5, checkpoint_every=4)


def config(backend="numpy", *, recipe="dcgan", data="digits", steps=10, **settings):
    settings = {"batch_size": 8, "steps": steps, **({"width": 4} if recipe == "dcgan" else {}), **settings}
    from minigan.recipes import get_recipe

    full = get_recipe(recipe).from_settings(settings).settings()
    return runs.RunConfig(recipe=recipe, settings=full, data=data, seed=3, backend=backend, rhythm=RHYTHM)


def train(run, *, stop_at=None):
    """Trains to the end, or as if Ctrl-C came during step `stop_at`."""

    class Progress(PlainProgress):
        def advance(self, step, *, images_per_second):
            super().advance(step, images_per_second=images_per_second)
            interruption.requested = step == stop_at

    interruption = Interruption()
    with run.trainer.loader:
        run.trainer.run(Progress(start=run.trainer.step, total=run.trainer.steps, stream=io.StringIO()), interruption)


def whole_run(folder, cfg):
    run = runs.open_run(cfg, folder)
    runs.start(run)
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
    assert saved.engine.startswith("numpy")
    assert replace(saved, engine="") == config()


@pytest.mark.parametrize("recipe", ["dcgan", "mlp"])
@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_an_interrupted_run_continues_with_the_same_bits(tmp_path, backend, recipe, stop_at):
    cfg = config(backend.name, recipe=recipe)
    whole = whole_run(tmp_path / "whole", cfg)
    first = runs.open_run(cfg, tmp_path / "parts")
    runs.start(first)
    train(first, stop_at=stop_at)
    assert first.trainer.step == stop_at
    second = runs.open_run(runs.read_config(tmp_path / "parts"), tmp_path / "parts")
    assert runs.resume(second) == ()
    assert second.trainer.step == stop_at
    train(second)
    expected, got = whole.trainer.alternating.to_dict(), second.trainer.alternating.to_dict()
    assert expected.keys() == got.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    name = "samples/step-000010.png"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    losses = [[(r["step"], r["d_loss"], r["g_loss"]) for r in records(tmp_path / part)] for part in ("whole", "parts")]
    assert set(losses[0]) <= set(losses[1])


def test_what_was_logged_after_the_last_checkpoint_is_forgotten(tmp_path):
    whole_run(tmp_path / "run", config())
    log = tmp_path / "run" / "log.jsonl"
    (tmp_path / "run" / "checkpoints" / "step-00000010.safetensors").unlink()
    log.write_text(log.read_text() + '{"step": 12, "torn')
    run = runs.open_run(config(), tmp_path / "run")
    runs.resume(run)
    assert run.trainer.step == 8
    assert [r["step"] for r in records(tmp_path / "run")] == [1, 2, 4, 6, 8]


def test_more_steps_equal_a_longer_run(tmp_path):
    longer = whole_run(tmp_path / "longer", config(steps=14))
    whole_run(tmp_path / "run", config(steps=10))
    run = runs.open_run(runs.read_config(tmp_path / "run", steps=14), tmp_path / "run")
    runs.resume(run)
    train(run)
    np.testing.assert_array_equal(run.trainer.alternating.G.arena.flat, longer.trainer.alternating.G.arena.flat)
    assert runs.read_config(tmp_path / "run").settings["steps"] == 14


def test_another_engine_is_told_of(tmp_path):
    whole_run(tmp_path / "run", config(steps=1))
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text().replace('engine = "numpy', 'engine = "cupy'))
    (warning,) = runs.resume(runs.open_run(config(steps=1), tmp_path / "run"))
    assert warning.startswith("this run was made with cupy")
    assert runs.read_config(tmp_path / "run").engine.startswith("numpy")


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    whole_run(tmp_path / "run", config(steps=1))
    with pytest.raises(ConfigError, match=r"already holds a run\. Continue it with --resume"):
        runs.start(runs.open_run(config(), tmp_path / "run"))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    whole_run(tmp_path / "run", config(steps=1))
    with pytest.raises(CheckpointError, match=r"was made with width=4, the run's config\.toml says width=5\. Restore"):
        runs.resume(runs.open_run(config(width=5), tmp_path / "run"))


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run folder"):
        runs.read_config(tmp_path)
    (tmp_path / "config.toml").write_text("recipe = ")
    with pytest.raises(CheckpointError, match=r"config\.toml is not the configuration of a run"):
        runs.read_config(tmp_path)


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    run = runs.open_run(config(), tmp_path / "run")
    runs.start(run)
    train(run, stop_at=4)
    before = (tmp_path / "run" / "checkpoints" / "step-00000004.safetensors").read_bytes()
    run = runs.open_run(config(), tmp_path / "run")
    runs.resume(run)
    D = run.trainer.alternating.D
    D.layers[2].w.value[0, 0, 0, 0] = np.nan
    with pytest.raises(
        DivergenceError, match=r"diverged at step 5: D\.2\.Conv2D's weight w is not finite.*step-00000004"
    ):
        train(run)
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004.safetensors"]
    assert (tmp_path / "run" / "checkpoints" / "step-00000004.safetensors").read_bytes() == before


def test_a_generator_draws_the_same_wherever_it_is_loaded(tmp_path, backend):
    run = whole_run(tmp_path / "run", config(backend.name))
    trained = runs.load_generator(tmp_path / "run", backend=backend)
    again = runs.load_generator(tmp_path / "run" / "model.safetensors", backend="numpy")
    samples = trained.samples(np.random.default_rng(0), 5)
    assert samples.shape == (5, *run.dataset.shape)
    assert np.abs(samples).max() <= 1
    np.testing.assert_allclose(again.samples(np.random.default_rng(0), 5), samples, atol=1e-5)


@pytest.mark.parametrize("data", ["ring", "grid"])
def test_points_are_trained_on_as_they_are(tmp_path, data):
    run = whole_run(tmp_path / "run", config(recipe="mlp", data=data, steps=3))
    assert run.dataset.shape == (2,)
    assert (tmp_path / "run" / "samples" / "step-000003.png").exists()
    assert runs.load_generator(tmp_path / "run").samples(np.random.default_rng(0)).shape == (2500, 2)


def test_dcgan_refuses_points(tmp_path):
    with pytest.raises(ConfigError, match="dcgan draws images, not points"):
        runs.open_run(config(data="ring"), tmp_path)


def test_signals_ask_once_and_insist_the_second_time():
    handler = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_default_folders_are_numbered(tmp_path):
    assert runs.new_folder("dcgan", "digits", root=tmp_path) == tmp_path / "dcgan-digits-1"
    (tmp_path / "dcgan-digits-1").mkdir()
    assert runs.new_folder("dcgan", "digits", root=tmp_path) == tmp_path / "dcgan-digits-2"
    assert runs.new_folder("mlp", "/data/my.images.zip", root=tmp_path) == tmp_path / "mlp-my-1"
