"""Training steps captured as CUDA graphs, on the stand-in for CuPy: the same bits as step by step, and nobody waits."""

import contextlib
import gc
import io
import itertools
import json
import weakref
from typing import Any

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from fake_cuda import DEVICE
from selection import few_quick

from minigan import runs
from minigan.backends import Backend, get_backend
from minigan.backends.base import NotCaptured
from minigan.cli.measurements import measure_model
from minigan.errors import DataError, DivergenceError, ShapeError
from minigan.nn.layers import Tanh
from minigan.nn.network import Observer, Pass
from minigan.nn.optimizers import Adam
from minigan.recipes import get_recipe
from minigan.runs.prepare import PreparedRun, create_folder, load_checkpoint, prepare_from_folder, prepare_run
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch
from minigan.training.moving_average import MovingAverage
from minigan.training.rhythm import Rhythm
from minigan.training.stepper import Stepper
from minigan.training.variational import VariationalValues

STEPS = 6
CASES = {
    "dcgan": {},
    "dcgan, a penalty now and then": {
        "loss": "hinge", "penalty": "wgan-gp", "penalty_interval": 2, "d_norm": "none", "n_critic": 3,
    },
    "dcgan, augmented, a pool, RMSprop": {
        "augment": "color,translation,cutout", "fake_pool": 10, "optimizer": "rmsprop", "clip_weights": 0.5,
    },
    "dcgan, noise that ends": {"instance_noise": 0.1, "instance_noise_steps": 3, "penalty": "dragan"},
    "dcgan, decay": {"schedule": "cosine", "feature_matching": 0.1, "clip_norm": 1, "pack": 2},
    "dcgan, adaptive": {"augment": "adaptive", "augment_over": 64, "loss": "wasserstein"},
    "dcgan, several batches": {
        "accumulate": 3, "n_critic": 2, "penalty": "dragan", "penalty_interval": 2, "fake_pool": 30,
        "augment": "adaptive",
    },
    "vae, several batches": {"accumulate": 2},
    "pix2pix, several batches": {"accumulate": 2, "d_width": 2},
    "dcgan-keras": {},
    "mlp": {},
    "sngan": {"n_critic": 2},
    "r3gan": {"widths": "4,4", "group": 4, "augment": "flip,turns,translation"},
    "stylegan2, path length": {
        "w_dim": 4, "channel_base": 32, "channel_max": 4, "penalty_interval": 3, "mixing": 0.9, "path_weight": 2.0,
        "path_interval": 2,
    },
    "multi-d": {"discriminators": 9, "weights": "softmax", "penalty": "r1"},
    "vae": {},
    "cyclegan, two pools": {"d_width": 2, "blocks": 1, "pool": 6, "identity": 2.0},
    "pix2pix": {"d_width": 2},
    "denoise, alone": {"adversarial": 0},
}  # fmt: skip
SIDES = {"mlp": 28, "vae": 28, "dcgan-keras": 28, "sngan": 16, "pix2pix": 16, "cyclegan": 8, "denoise": 16}


class Training:
    """A small learner and its average, on 4 random images a batch.

    Args:
        spoilt: the number of a batch that is full of infinities.
    """

    def __init__(self, case: str, backend: Backend, *, spoilt: int | None = None) -> None:
        name = case.partition(",")[0]
        width = {} if name in ("mlp", "r3gan", "stylegan2") else {"width": 2}
        recipe = get_recipe(name).from_settings({"batch_size": 4, "steps": STEPS, **width, **CASES[case]})
        side = SIDES.get(name, 8)
        shape = (side, side, 1)
        self.rng, data = np.random.default_rng(1), np.random.default_rng(2)
        self.learner = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0))
        twin = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0)).G
        self.average = MovingAverage(twin, self.learner.G, decay=0.9)

        def batch(number: int) -> Any:
            images = data.uniform(-1, 1, (2, 4, *shape)).astype(np.float32)
            images[...] = np.inf if number == spoilt else images
            return recipe.batch((images[0], images[1]) if name in ("pix2pix", "cyclegan") else images[0], self.rng)

        self.stepper = Stepper(self.learner, map(batch, itertools.count()), self.rng, averages=[self.average])

    def steps(self, count: int) -> list[dict[str, float]]:
        """The values of so many steps."""
        with np.errstate(all="ignore"):
            steps = (self.stepper.step() for _ in range(count))
            return [{name: float(value) for name, value in values._asdict().items()} for values in steps]

    def arrays(self) -> dict[str, np.ndarray]:
        return self.learner.to_dict() | self.average.to_dict()


def assert_same(one: Training, other: Training) -> None:
    wanted = other.arrays()
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
    assert one.rng.bit_generator.state == other.rng.bit_generator.state


@pytest.mark.parametrize(
    "case",
    few_quick(CASES, [*CASES.keys() - {"cyclegan, two pools", "pix2pix, several batches", "dcgan-keras", "sngan"}]),
)
def test_replayed_steps_give_the_bits_of_steps_on_the_cpu_and_nobody_waits(device: Backend, case: str):
    ours, reference = Training(case, device), Training(case, get_backend("reference"))
    wanted, waits = reference.steps(STEPS), DEVICE.waits
    for _ in range(STEPS - 1):
        ours.stepper.step()
    assert DEVICE.waits == waits
    assert ours.steps(1) == wanted[-1:]
    ours.stepper.check()
    assert_same(ours, reference)
    assert DEVICE.launches >= 2


def test_kinds_of_steps_become_graphs_of_their_own(device: Backend):
    training = Training("dcgan, a penalty now and then", device)
    training.steps(8)
    assert DEVICE.launches == 8 - 2, "with the penalty in two of three steps of D, or in one: each eager at first"


@pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler to run CUDA's sources with")
@pytest.mark.parametrize(
    ("case", "steps", "launches"),
    [
        ("dcgan", 4, 3),
        ("denoise, alone", 4, 3),
        pytest.param("r3gan", 4, 3, marks=pytest.mark.exhaustive),
        pytest.param("stylegan2, path length", 6, 2, marks=pytest.mark.exhaustive),  # of four kinds two come twice
    ],
)
def test_the_gpus_own_kernels_are_captured(monkeypatch, case: str, steps: int, launches: int):
    with fake_cupy.installed():
        captured = Training(case, get_backend("gpu"))
        values = captured.steps(steps)
        assert DEVICE.launches == launches
        monkeypatch.setenv("MINIGAN_GRAPHS", "0")
        eager = Training(case, get_backend("gpu"))
        assert eager.steps(steps) == values
        assert_same(captured, eager)
        assert DEVICE.launches == launches


@pytest.mark.usefixtures("device")
def test_a_run_waits_only_when_it_logs_or_draws(tmp_path):
    waits = []
    for steps in (8, 16):
        run = opened(tmp_path / str(steps), steps=steps, rhythm=Rhythm(100, 100, 100))
        before = DEVICE.waits
        train(run)
        waits.append(DEVICE.waits - before)
    assert waits[0] == waits[1]
    assert DEVICE.launches == 7 + 15


def test_what_is_fed_goes_over_in_one_copy(device: Backend):
    training = Training("dcgan, augmented, a pool, RMSprop", device)
    training.steps(5)
    before = DEVICE.copies
    training.steps(3)
    assert DEVICE.copies == before + 3


def test_a_benchmark_measures_graphs_and_waits_for_them(device: Backend):
    (train, _) = measure_model("mlp", device, batch_size=2, rounds=2, seconds=0)
    assert train.milliseconds > 0
    assert DEVICE.launches >= 1
    assert DEVICE.waits >= 2 * 3


# ---------------------------------------------------------------------------------------------- what cannot be captured


class Careless(AlternatingOptimizer):
    """Forgets to feed."""

    def _feed(self, batches, rng):
        return tuple(
            None if a is None else self.D.kernels.asarray(a, dtype="float32") for a in self._draw(next(batches), rng)
        )


def test_a_step_that_cannot_be_captured_goes_on_kernel_by_kernel(device: Backend):
    """Here because a host array is not fed. The step is done again, with the same batch and the same numbers."""
    ours, reference = Training("mlp", device), Training("mlp", get_backend("reference"))
    ours.learner.__class__ = Careless
    ours.steps(1)
    with pytest.warns(UserWarning, match=r"cannot be captured \(a host array cannot be copied .*\), so its kernels"):
        ours.steps(1)
    launches = DEVICE.launches
    assert ours.steps(2) == reference.steps(4)[-2:]
    assert DEVICE.launches == launches
    assert_same(ours, reference)


@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        (lambda device: device.xp.asarray(np.ones(3)), "a host array is copied"),
        (lambda device: float(device.xp.ones(3).sum()), "a number is asked for"),
        (lambda device: device.xp.cuda.Stream().synchronize(), "a stream is waited for"),
    ],
    ids=["copy", "number", "wait"],
)
def test_the_stand_in_keeps_cudas_rules(device: Backend, act, complaint):
    graphs = device.step_graphs()
    graphs.run((), lambda: act(device))
    with pytest.raises(NotCaptured, match=complaint):
        graphs.run((), lambda: act(device))
    act(device)  # the capture is over


def test_memory_that_nobody_keeps_is_spoilt(device: Backend):
    graphs, kept = device.step_graphs(), device.xp.zeros(3)

    def step():
        y = device.feed(lambda: np.ones(3)) + 1
        kept[...] = y
        return y + 1, y.host

    for _ in range(3):
        result, lost = graphs.run((), step)
    np.testing.assert_array_equal(device.to_numpy(kept), 2)
    np.testing.assert_array_equal(device.to_numpy(result), 3)
    assert np.isnan(lost).all()


def test_arrays_of_the_device_are_not_captured(device: Backend):
    training = Training("mlp", device)
    training.stepper._batches = itertools.repeat(device.xp.zeros((4, 28, 28, 1), dtype=np.float32))
    training.steps(4)
    assert DEVICE.launches == 0


def test_a_batch_of_another_size_is_an_error(device: Backend):
    training = Training("mlp", device)
    batches = [np.zeros((n, 28, 28, 1), np.float32) for n in (4, 4, 4, 3)]
    training.stepper._batches = iter(batches)
    training.steps(3)
    before = training.arrays()
    with pytest.raises(
        ShapeError, match=r"is fed arrays of shape \(4, 28, 28, 1\), got \(3, 28, 28, 1\)\. Keep the batch"
    ):
        training.steps(1)
    for name, array in training.arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_an_error_of_the_data_leaves_all_counts_as_they_were(device: Backend):
    training = Training("dcgan, a penalty now and then", device)
    whole = training.stepper._batches

    def ending():
        yield from itertools.islice(whole, 3 * 5 + 2)
        raise DataError("no more")

    training.stepper._batches = ending()
    training.steps(5)
    before = training.arrays()
    with pytest.raises(DataError, match="no more"):
        training.steps(1)
    training.stepper.check()
    for name, array in training.arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_capturing_can_be_turned_off(device: Backend, monkeypatch):
    monkeypatch.setenv("MINIGAN_GRAPHS", "0")
    training, reference = Training("mlp", device), Training("mlp", get_backend("reference"))
    assert training.steps(3) == reference.steps(3)
    assert_same(training, reference)
    assert DEVICE.launches == 0


class Outputs(Observer):
    """Asks for a number in each pass, which no captured step could."""

    def __init__(self) -> None:
        self.largest: list[float] = []

    def after(self, now: Pass) -> None:
        if now.result is not None:
            self.largest.append(float(abs(now.result).max()))


@pytest.mark.parametrize("case", ["dcgan", "vae"])
def test_an_observed_step_is_computed_anew_and_gives_the_same_bits(device: Backend, case: str):
    """Whether others of its kind were replayed before it or not."""
    ours, reference = Training(case, device), Training(case, get_backend("reference"))
    found, wanted = Outputs(), Outputs()
    for number in range(STEPS):
        launches = DEVICE.launches
        with contextlib.ExitStack() as stack:
            if number in (0, 1, 4):
                stack.enter_context(ours.learner.observed(found))
                stack.enter_context(reference.learner.observed(wanted))
            assert ours.steps(1) == reference.steps(1)
        assert DEVICE.launches == launches + (number in (3, 5))
    assert len(found.largest) % 3 == 0
    assert found.largest == wanted.largest
    ours.stepper.check()
    assert_same(ours, reference)


# ---------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize(
    ("case", "spoilt"),
    [
        *(("dcgan, augmented, a pool, RMSprop", spoilt) for spoilt in (0, 1, 4)),
        ("dcgan", 0),
        ("sngan", 5),
        ("vae", 3),
        ("pix2pix", 1),
        ("denoise, alone", 4),
    ],
)
def test_divergence_changes_nothing_and_is_found_at_the_next_look(device: Backend, case: str, spoilt: int):
    ours, reference = (Training(case, backend, spoilt=spoilt) for backend in (device, get_backend("reference")))
    taken = spoilt // reference.learner.n_critic
    reference.steps(taken)
    counts = {name: array for name, array in reference.arrays().items() if array.dtype == np.int64}
    with pytest.raises(DivergenceError) as expected:
        reference.steps(1)
    ours.steps(STEPS)
    with pytest.raises(DivergenceError) as found:
        ours.stepper.check()
    assert str(found.value) == str(expected.value)
    assert found.value.steps_ago == STEPS - 1 - taken
    wanted = reference.arrays() | counts
    for name, array in ours.arrays().items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)


class Lottery(Tanh):
    """Overflows on a tenth of the draws: a search has to be fed what the step was."""

    def forward(self, x, *, train, rng=None):
        draw = self.kernels.feed(lambda: np.array(np.inf if rng.uniform() < 0.1 else 1.0), dtype=x.dtype)
        y, cache = super().forward(x, train=train)
        return y * draw, cache


def test_a_step_is_searched_on_what_it_was_fed(device: Backend):
    messages = []
    for backend in (device, get_backend("reference")):
        training = Training("dcgan", backend)
        gan, D = training.learner, training.learner.D
        D.layers.insert(1, Lottery())
        D.build((8, 8, 1), backend=backend, rng=np.random.default_rng(0))
        optimizers = {"g_optimizer": gan.g_optimizer, "d_optimizer": Adam(D.arena, lr=1e-3)}
        gan = AlternatingOptimizer(gan.G, D, loss=gan.loss, noise=gan.noise, **optimizers)
        stepper = Stepper(gan, training.stepper._batches, training.rng)
        with np.errstate(all="ignore"), pytest.raises(DivergenceError) as caught:
            for _ in range(40):
                stepper.step()
            stepper.check()
        messages.append(str(caught.value))
    assert messages == ["the output of D.1.Lottery is not finite."] * 2


def test_a_guard_keeps_the_statistics_of_both_networks(device: Backend):
    """Also the statistics of the first network if the gradients of the second are at fault."""
    vae, guard = Training("vae", device).learner, device.step_graphs().guard
    before = vae.to_dict()

    def gradients():
        vae.grads["G"].flat.fill(np.nan)
        for network in vae.networks.values():
            network.state.flat[...] += 1
        return VariationalValues(*[device.xp.ones(())] * 3)

    with device.running(None, guard):
        vae.update("encoder", "G", gradients=gradients, rng=np.random.default_rng(0))
    assert not device.to_numpy(guard.sound)
    for name, array in vae.to_dict().items():
        if not name.endswith("steps"):
            np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_training_can_go_on_after_divergence(device: Backend):
    training = Training("mlp", device, spoilt=3)
    training.steps(5)
    with pytest.raises(DivergenceError):
        training.stepper.check()
    training.steps(3)
    training.stepper.check()
    assert all(np.isfinite(array).all() for array in training.arrays().values())


@pytest.mark.usefixtures("device")
def test_a_run_names_the_step_and_saves_nothing_of_it(tmp_path):
    run = opened(tmp_path / "run", steps=9, rhythm=Rhythm(4, 100, 4))
    prepare = run.trainer.prepare
    numbers = itertools.count(1)

    def spoilt(item: Any, rng: np.random.Generator) -> Batch:
        batch = prepare(item, rng)
        return batch._replace(real=batch.real * (np.inf if next(numbers) == 6 else 1))

    run.trainer.prepare = spoilt
    with pytest.raises(
        DivergenceError, match=r"training diverged at step 6: the input of D is not finite\..*step-00000004"
    ):
        train(run)
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1


# ---------------------------------------------------------------------------------------------- runs


def opened(folder, *, steps: int, rhythm: Rhythm, backend: str = "gpu", **settings: Any) -> PreparedRun:
    settings = {"batch_size": 4, "steps": steps, "width": 2, "d_norm": "none", **settings}
    full = get_recipe("dcgan").from_settings(settings).settings()
    run = prepare_run(
        runs.RunConfig(recipe="dcgan", settings=full, data="digits", backend=backend, rhythm=rhythm), folder
    )
    create_folder(run)
    return run


def train(run: PreparedRun, *, stop_at: int | None = None) -> None:
    class Progress(PlainProgress):
        def advance(self, step, *, images_per_second):  # noqa: ARG002
            interruption.requested = step == stop_at

    interruption = Interruption()
    state = run.trainer.state
    with state.loader:
        run.trainer.run(Progress(start=state.step, total=state.steps, stream=io.StringIO()), interruption)


@pytest.mark.usefixtures("device")
def test_a_run_goes_on_bit_for_bit(tmp_path):
    settings = {"penalty": "r1", "penalty_interval": 3, "ema": 0.9, "augment": "translation"}
    whole = opened(tmp_path / "whole", steps=9, rhythm=Rhythm(), backend="reference", **settings)
    train(whole)
    train(opened(tmp_path / "run", steps=9, rhythm=Rhythm(), **settings), stop_at=5)
    again = prepare_from_folder(tmp_path / "run")
    load_checkpoint(again)
    train(again)
    wanted = whole.trainer.state.learner.to_dict() | whole.trainer.state.average.to_dict()
    for name, array in (again.trainer.state.learner.to_dict() | again.trainer.state.average.to_dict()).items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
    assert again.trainer.state.learner.G.kernels is again.backend
    assert DEVICE.launches > 0


@pytest.mark.usefixtures("device")
def test_gradient_norms_are_those_of_the_step_that_is_logged(tmp_path):
    norms = []
    for backend in ("reference", "gpu"):
        run = opened(tmp_path / backend, steps=7, rhythm=Rhythm(log_every=9, log_gradients=3), backend=backend)
        train(run)
        records = map(json.loads, (tmp_path / backend / "log.jsonl").read_text().splitlines())
        norms.append({record["step"]: record["gradients"] for record in records if "gradients" in record})
    assert norms[0].keys() == {3, 6}
    assert norms[0][3] != norms[0][6]
    assert norms[1] == norms[0]


def test_memory_of_graphs_stays_theirs_when_memory_runs_out(device: Backend):
    """CuPy's pool then gives back what no array uses; a graph remembers the addresses."""
    gc.freeze()  # Python then looks for cycles among the objects of this test alone
    cuda = device.xp.cuda
    taken = []
    memory = cuda.Memory
    cuda.Memory = lambda nbytes: taken.append(weakref.ref(made := memory(nbytes))) or made
    graphs = device.step_graphs()
    for _ in range(2):
        graphs.run((), lambda: device.feed(lambda: np.ones(300)) + 1)
    graphs.pool.free_all_blocks()
    gc.collect()
    assert taken
    assert all(reference() is not None for reference in taken)
    del graphs
    gc.collect()
    assert all(reference() is None for reference in taken)
