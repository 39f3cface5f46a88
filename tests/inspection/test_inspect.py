"""`minigan inspect`: the step that is done again is the step of the training, and its measures are what they say."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.checkpoints.format import load_checkpoint
from minigan.errors import CheckpointError, ConfigError, DataError
from minigan.inspection import as_page, as_text, comparison_document, inspect_run, inspection_document, replayed
from minigan.inspection.layer_health import StepObserver, layer_rows
from minigan.recipes import get_recipe
from minigan.training.batch import Batch
from minigan.training.stepper import Stepper

QUICK = {"backend": "reference", "quiet": True, "checkpoint_every": 1, "keep": 9, "log_every": 1, "log_gradients": 1}
POINTS = {"data": "ring", "hidden": 8, "batch_size": 12, "mse_weight": 0}
IMAGES = {"width": 2, "size": 28, "batch_size": 4}
PAIRS = {"data": "shapes", "width": 2, "d_width": 4, "size": 32, "batch_size": 2}
CRITIC = {"loss": "wasserstein", "penalty": "wgan-gp", "n_critic": 2}
KINDS = {
    "points": ("mlp", POINTS),
    "critic": ("mlp", POINTS | CRITIC | {"schedule": "linear"}),
    "classes": ("dcgan", IMAGES | {"condition": "projection", "d_norm": "spectral", "ema": 0.9}),
    "pool": ("dcgan", IMAGES | {"fake_pool": 6, "instance_noise": 0.1, "loss": "relativistic-average"}),
    "packs": ("pacgan", {"data": "ring", "batch_size": 8, "g_hidden": 8, "d_hidden": 8}),
    "several": ("multi-d", IMAGES | {"width": 4}),
    "residual": ("sngan", {"width": 2, "size": 32, "batch_size": 4}),
    "pairs": ("pix2pix", PAIRS),
    "supervised": ("pix2pix", PAIRS | {"adversarial": 0}),
    "codes": ("vae", {"size": 28, "batch_size": 4}),
}


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    recipe, settings = KINDS[request.param]
    folder = tmp_path_factory.mktemp("runs") / request.param
    return minigan.train(recipe, steps=3, out=folder, **QUICK, **settings)


@pytest.fixture(scope="module", autouse=True)
def few_examples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minigan.inspection.game_health, "MOST_BATCHES", 2)
        yield


@pytest.fixture(scope="module")
def found(run):
    """The inspection of the last step."""
    before = files(run.folder)
    inspection = inspect_run(run.folder, step=3)
    assert files(run.folder) == before
    return inspection


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    return minigan.train("mlp", steps=3, out=tmp_path_factory.mktemp("runs") / "ring", **QUICK, **POINTS)


def checkpoint(run, step):
    return load_checkpoint(run.folder / "checkpoints" / f"step-{step:08}.safetensors")


def files(folder):
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


# ------------------------------------------------------------------------------------------ exactness


@pytest.mark.parametrize("start", [1, 2])
def test_a_step_done_again_leaves_the_bits_that_training_left(run, start):
    """Weights, statistics, the optimizers' memories and the random numbers, observed; nothing is written."""
    before = files(run.folder)
    named = run.folder / "checkpoints" / f"step-{start:08}.safetensors"
    with replayed(named, step=2) if start == 1 else replayed(run.folder, step=3) as replay:
        observer = StepObserver(replay.learner)
        with observer.watching():
            replay.run()
        arrays, made = checkpoint(run, replay.step)
        found = replay.state.arrays()
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert np.array_equal(found[name], array), name
        assert replay.state.rng.bit_generator.state == made["rng"]
        assert replay.state.loader.state() == made["loader"]
        assert layer_rows(observer)
    assert files(run.folder) == before


def test_an_inspection_agrees_with_the_log(found):
    """Every number of the log's record, with the game played before the step."""
    assert len(found.logged) >= 2
    assert found.differs == ()
    assert found.health.rates.keys() <= found.logged.keys()
    for width in (80, 100):
        text = as_text(inspection_document(found), width=width)
        assert max(map(len, text.splitlines())) <= width
    assert "to the last bit" in text
    json.dumps(inspection_document(found).record)
    assert "<h2>Verdict" in as_page(inspection_document(found))


def test_the_steps_on_the_way_are_done_again(ring):
    """From the first checkpoint to the last step: the same bits as from the checkpoint before it."""
    with replayed(ring.folder / "checkpoints" / "step-00000001.safetensors", step=2) as replay:
        assert (replay.start, replay.step) == (1, 2)
    for path in (ring.folder / "checkpoints").glob("*2.safetensors"):
        path.rename(path.with_suffix(".away"))
    try:
        found = inspect_run(ring.folder, step=3)
        assert (found.start, found.differs) == (1, ())
    finally:
        for path in (ring.folder / "checkpoints").glob("*.away"):
            path.rename(path.with_suffix(".safetensors"))


def test_a_log_of_other_numbers_is_told(ring):
    log = ring.folder / "log.jsonl"
    text = log.read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    try:
        log.write_text("".join(json.dumps(r | {"d_loss": 7.0}) + "\n" for r in records), encoding="utf-8")
        found = inspect_run(ring.folder, step=3)
        assert found.differs == ("d_loss",)
        assert "not as the log has it: d_loss" in " ".join(as_text(inspection_document(found)).split())
    finally:
        log.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------------------------------ the layers' measures


def test_updates_and_gradients_are_those_of_the_checkpoints_and_the_log(run, found):
    """The update is that of the actual optimizer: the difference of two checkpoints."""
    before, after = checkpoint(run, 2)[0], checkpoint(run, 3)[0]
    norms = run.log[-1]["gradients"]
    told = 0
    for name, network in found.health.learner.networks.items():
        arrays = {id(p): (before[f"{name}.{key}"], after[f"{name}.{key}"]) for key, p in network.named_parameters()}
        by_path = {layer.path: layer for _, layer in network.walk()}
        for row in found.health.layers:
            if row.network != name or row.gradient is None:
                continue
            own = [p for _, inner in by_path[row.path].walk() for p in inner.own_parameters]
            assert own
            size = sum(p.size for p in own)
            norm = np.sqrt(sum(norms.get(inner.path, 0.0) ** 2 for _, inner in by_path[row.path].walk()))
            assert row.gradient * np.sqrt(size) == pytest.approx(norm, rel=1e-4, abs=1e-12)
            told += 1
            if found.recipe.settings().get("n_critic", 1) > 1 and name == "D":
                continue
            moved = sum(((arrays[id(p)][1].astype(float) - arrays[id(p)][0]) ** 2).sum() for p in own)
            weight = sum((arrays[id(p)][0].astype(float) ** 2).sum() for p in own)
            assert row.update == pytest.approx(np.sqrt(moved / weight), rel=1e-4)
    assert told >= 3


def test_lazy_regularizations_leave_the_games_gradients(tmp_path):
    """Regularizations have none at the last bias of D and the images' biases of G, which the game's updates move."""
    tiny = {"latent": 4, "w_dim": 4, "channel_base": 32, "channel_max": 4, "size": 8, "batch_size": 4}
    how = {"path_weight": 2.0, "condition": "none", "backend": "reference", "quiet": True, "steps": 16, **tiny}
    minigan.train("stylegan2", out=tmp_path / "run", **how)
    found = inspect_run(tmp_path / "run")
    rows = {row.label: row for row in found.health.layers}
    assert found.health.values["d_penalty"] > 0
    biases = [row for label, row in rows.items() if label.endswith("Bias") and "output" in label]
    assert len(biases) == 2
    assert all(row.gradient > 0 and row.update > 0 for row in biases)
    assert len(rows) == len(found.health.layers), "labels are unique"


def test_every_layer_with_weights_has_a_row(found):
    rows = {row.path for row in found.health.layers}
    for network in found.health.learner.networks.values():
        shown = {
            p for _, layer in network.walk() if layer.path in rows for _, i in layer.walk() for p in i.own_parameters
        }
        assert shown == {p for _, p in network.named_parameters()}
    assert len({(row.network, row.path) for row in found.health.layers}) == len(found.health.layers)


def test_what_does_not_apply_is_left_out(found):
    words = {check.word for check in found.checks}
    text = as_text(inspection_document(found))
    assert ("The game" in text) == ("D" in found.health.learner.networks) == ("vanishing" in words)
    assert ("BN " in text) == any("BatchNorm" in row.label for row in found.health.layers)


def test_measures_of_one_layer(ring):
    """rms, channels that are dead and the spectral norm, computed once more from the step's batch."""
    with replayed(ring.folder, step=3) as replay:
        D = replay.learner.networks["D"]
        D.layers[1].b.value[:3] = -100  # of 8 units: closed for good; LeakyReLU lets a little through
        D.layers[1].w.value[:, :2] = 0  # and two of them say nothing at all
        D.arena.updated()
        w = np.array(D.layers[1].w.value, float)
        observer = StepObserver(replay.learner)
        with observer.watching():
            replay.run()
        row = next(row for row in layer_rows(observer) if row.path == "D.1.Dense")
    assert (row.dead, row.closed, row.channels) == (2, row.closed, 8)
    assert row.closed >= 3
    assert row.sigma == pytest.approx(np.linalg.norm(w, 2), rel=1e-9)
    assert 50 < row.rms * np.sqrt(8 / 3) / 0.2 < 110  # three units of about -20


def test_saturation_and_batch_statistics(tmp_path):
    run = minigan.train("dcgan", data="digits", steps=2, out=tmp_path / "run", **QUICK, **IMAGES)
    with replayed(run.folder, step=2) as replay:
        G = replay.learner.G
        norm = next(layer for _, layer in G.walk() if type(layer).__name__ == "BatchNorm")
        observer = StepObserver(replay.learner)
        mean, var = np.array(norm.running_mean.value, float), np.array(norm.running_var.value, float)
        kept = {}
        after = observer.after

        def keep(now):
            after(now)
            if now.kind == "forward" and now.layers[0] is norm:
                kept["mean"], kept["var"] = np.array(now.cache[0].mean), np.array(now.cache[0].var)

        observer.after = keep
        with observer.watching():
            replay.run()
        row = next(row for row in layer_rows(observer) if row.path == norm.path)
        last = layer_rows(observer)
    std = np.sqrt(kept["var"] + norm.eps)
    apart = np.abs(mean - kept["mean"]) / std + np.abs(0.5 * np.log((var + norm.eps) / (kept["var"] + norm.eps)))
    assert row.apart == pytest.approx(apart.mean(), rel=1e-4)
    tanh = next(row for row in last if row.label.endswith("Tanh"))
    assert tanh.saturated == pytest.approx(float((1 - observer.fake.astype(float) ** 2 < 1e-3).mean()), abs=1e-3)
    assert 0 < tanh.passed <= 1


def measured(backend):
    rng = np.random.default_rng(0)
    recipe = get_recipe("dcgan")(**IMAGES, channels=1, condition="projection", d_norm="spectral", classes=3)
    learner = recipe.assemble((28, 28, 1), backend=backend, rng=rng)
    images = rng.uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    batch = Batch(images, condition=np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])
    stepper = Stepper(learner, iter([batch, batch]), rng)
    observer = StepObserver(learner)
    with observer.watching():
        stepper.step()
        stepper.check()
    return layer_rows(observer), observer


def test_every_backend_measures_the_same(backend):
    rows, observer = measured(backend)
    expected, reference = measured("reference")
    assert [row.label for row in rows] == [row.label for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for name in ("rms", "passed", "gradient", "largest", "update", "apart", "sigma"):
            one, two = getattr(row, name), getattr(other, name)
            assert (one is None) == (two is None)
            assert one is None or one == pytest.approx(two, rel=0.02), (row.label, name)
    assert observer.pull == pytest.approx(reference.pull, rel=1e-3)
    assert np.allclose(observer.dfake, reference.dfake, rtol=0.02, atol=1e-3 * np.abs(reference.dfake).max())


# ------------------------------------------------------------------------------------------ pictures and pages


def test_the_picture_shows_where_the_loss_pulls(found):
    if found.pull is None or found.fakes.ndim != 4:
        with pytest.raises(ConfigError, match="so there is no picture"):
            found.gradient_picture()
        return
    picture = found.gradient_picture()
    assert picture.shape == (2 * len(found.fakes), *found.fakes.shape[1:])
    assert np.array_equal(picture[::2], found.fakes)
    strongest = np.unravel_index(np.argmax(np.abs(found.pull)), found.pull.shape)
    assert picture[1::2][strongest] == -np.sign(found.pull[strongest])


def test_the_gradient_at_the_fakes_is_that_of_g_s_loss(ring):
    """Against a finite difference of the loss through D."""
    with replayed(ring.folder, step=3) as replay:
        learner = replay.learner
        observer = StepObserver(learner)
        kept = {}
        update = learner.generator_gradients

        def keep(fake, *args, **more):
            kept["D"] = np.array(learner.D.arena.flat)
            return update(fake, *args, **more)

        learner.instance_noise, learner.generator_gradients = None, keep
        with observer.watching():
            replay.run()
        learner.D.arena.flat[...] = kept["D"]
        learner.D.arena.updated()

        def loss(x):
            logits, _ = learner.D.forward(x, train=True)
            return float(learner.loss.generator(logits)[0])

        rng = np.random.default_rng(0)
        way = rng.standard_normal(observer.fake.shape).astype(np.float32)
        step = np.float32(1e-2)
        slope = (loss(observer.fake + step * way) - loss(observer.fake - step * way)) / (2 * float(step))
        assert slope == pytest.approx(float((observer.dfake * way).sum()), rel=2e-2, abs=1e-5)


def test_two_runs_side_by_side(ring, tmp_path):
    other = minigan.train("mlp", steps=2, out=tmp_path / "other", **QUICK, **(POINTS | {"lr": 0.01}))
    document = comparison_document(inspect_run(ring.folder), inspect_run(other.folder))
    text = as_text(document)
    assert max(map(len, text.splitlines())) <= 100
    assert "lr       2.0e-04" in text or "lr       0.0002" in text
    assert {"A", "B"} == document.record.keys()
    assert "G, layer by layer" in text


def test_runs_without_a_measure_in_common(ring):
    one = inspect_run(ring.folder)
    with pytest.raises(ConfigError, match="have no check in common"):
        comparison_document(one, type(one)(**{**vars(one), "checks": ()}))


# ------------------------------------------------------------------------------------------ held-out examples


def test_held_out_examples_of_ones_own(tmp_path):
    digits = minigan.open_dataset("digits", seed=3)
    for name, count in (("few", 8), ("others", 8), ("one", 1)):
        np.save(tmp_path / f"{name}.npy", minigan.to_pixels(digits.read(np.arange(count))))
    settings = {"data": tmp_path / "few.npy", "hidden": 8, "batch_size": 8, "instance_noise": 0}
    run = minigan.train("mlp", steps=1, out=tmp_path / "run", **QUICK, **settings)
    found = inspect_run(run.folder)
    assert found.health.game.held_out is None
    assert any("no held-out images are known" in note for note in found.notes)
    found = inspect_run(run.folder, held_out=tmp_path / "others.npy")
    assert len(found.health.game.held_out) == 8
    same = inspect_run(run.folder, held_out=tmp_path / "few.npy").health.game  # what it has seen, in another order
    assert np.allclose(np.sort(same.held_out), np.sort(same.real), atol=1e-5)
    for name, message in (("one", "at least a batch of 8 held-out images"), ("none", "none.npy")):
        with pytest.raises((ConfigError, DataError), match=message):
            inspect_run(run.folder, held_out=tmp_path / f"{name}.npy")


# ------------------------------------------------------------------------------------------ bad input


def test_bad_runs(ring, tmp_path):
    with pytest.raises(CheckpointError, match="no run is there"):
        inspect_run(tmp_path / "none")
    with pytest.raises(CheckpointError, match="is not a run folder"):
        inspect_run(tmp_path)
    for step, message in ((1, "lead to steps 2 to 4, got step 1"), (5, "lead to steps 2 to 4, got step 5")):
        with pytest.raises(ConfigError, match=message):
            inspect_run(ring.folder, step=step)
    for step in (0, -1, 1.5, "3"):
        with pytest.raises(ConfigError, match="step"):
            inspect_run(ring.folder, step=step)


def damaged(folder, ring, **changes):
    """A copy of the run with some files changed."""
    for path in ring.folder.rglob("*"):
        if path.is_file():
            to = folder / path.relative_to(ring.folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
    for name, change in changes.items():
        path = folder / {"config": "config.toml", "log": "log.jsonl"}[name]
        path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log": lambda text: b"\x00\xff\n" + text}, "log.jsonl is damaged: line 1 is no record"),
        ({"log": lambda text: text.replace(b'{"step": 2', b'{"step')}, "log.jsonl is damaged: line 2 is no record"),
        ({"config": lambda text: text.replace(b"format = ", b"format = 9")}, "config.toml"),
        ({"config": lambda text: text.replace(b'data = "ring"', b'data = "/none/at/all"')}, "data=SOURCE"),
        ({"config": lambda text: text.replace(b"hidden = 8", b"hidden = 9")}, "config.toml says hidden=9"),
    ],
    ids=["log", "a line of the log", "a later format", "data that moved", "other settings"],
)
def test_damaged_runs_get_one_line(ring, tmp_path, changes, message):
    with pytest.raises((CheckpointError, DataError)) as raised:
        inspect_run(damaged(tmp_path / "run", ring, **changes))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_log_that_is_being_written_is_no_damage(ring, tmp_path):
    folder = damaged(tmp_path / "run", ring, log=lambda text: text + b'{"step": 4, "d_lo')
    assert inspect_run(folder).step == 4


def test_a_run_of_another_version_is_told(ring, tmp_path):
    engine = lambda text: text.replace(b'engine = "', b'engine = "another ')  # noqa: E731
    found = inspect_run(damaged(tmp_path / "run", ring, config=engine))
    assert any("this run was made with another" in note for note in found.notes)


def test_a_run_without_checkpoints(ring, tmp_path):
    folder = damaged(tmp_path / "run", ring)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match="has no checkpoint, so no step of it can be done again"):
        inspect_run(folder)


def test_data_at_another_place(ring, tmp_path):
    folder = damaged(tmp_path / "run", ring, config=lambda text: text.replace(b'data = "ring"', b'data = "/none"'))
    assert inspect_run(folder, step=3, data="ring").differs == ()
