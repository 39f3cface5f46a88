"""The ledger of a step: its arithmetic against loops that count, its times against a clock, its peak as measured."""

import time
import tracemalloc
from contextlib import ExitStack

import numpy as np
import pytest
from counted_oracle import counted, multiply_adds, naive, oracle_counts

from minigan.backends.base import KERNELS
from minigan.backends.reference import ReferenceBackend
from minigan.errors import BackendError
from minigan.inspection import as_trace, measure_step, step_ledger
from minigan.inspection.document import Facts
from minigan.inspection.ledger import BETWEEN, FUSED, RUN, SKIPPED
from minigan.inspection.ledger_document import ledger_document
from minigan.inspection.limits import Limits
from minigan.inspection.real_step import step_of_recipe
from minigan.inspection.step_ledger import measured_ledger
from minigan.inspection.step_marks import Structure, replaced
from minigan.nn import Conv2D, Dense
from minigan.recipes import DCGAN, MLP, R3GAN, SNGAN, VAE, CycleGAN, Pix2Pix, Recipe, StyleGAN2

BATCH = 4
ONCE = (1, 1)
SMALL = {"width": 2, "batch_size": BATCH}
PAPER = {"mapping": 0, "head": 0, **SMALL}  # the layers that are named below

RECIPES = {
    "dcgan": DCGAN(ema=0.0, **PAPER),
    "of a piecewise linear D": DCGAN(d_norm="none", loss="wasserstein", penalty="wgan-gp", ema=0.0, **PAPER),
    "of a smooth D": DCGAN(penalty="r1", ema=0.0, **PAPER),
    "several steps of D": DCGAN(n_critic=3, ema=0.9, **PAPER),
    "spectral": DCGAN(d_norm="spectral", loss="hinge", ema=0.0, **PAPER),
    "projection": DCGAN(condition="projection", ema=0.0, **PAPER),
    "compared logits": DCGAN(loss="relativistic-average", ema=0.0, **PAPER),
    "mlp": MLP(hidden=8, batch_size=BATCH, penalty="r1"),
    "vae": VAE(**SMALL),
}


def ledger_of(recipe: Recipe, **options):
    with step_of_recipe(recipe, backend="reference", data=None) as step:
        return measured_ledger(step, limits=False, rounds=ONCE, **options), step


@pytest.fixture(scope="module", params=RECIPES)
def measured(request):
    return request.param, *ledger_of(RECIPES[request.param])


# ---------------------------------------------------------------------------------------- arithmetic


def layers_of(step):
    return {layer.path: layer for net in step.state.learner.networks.values() for _, layer in net.walk()}


def oracle(layer, batch: int) -> dict[str, int]:
    if isinstance(layer, Conv2D):
        found = oracle_counts(layer, batch)
    else:
        x, dy, w = counted(batch, layer.w.shape[0]), counted(batch, layer.w.shape[1]), counted(*layer.w.shape)
        found = {
            "y": multiply_adds(naive.matmul, x, w),
            "dx": multiply_adds(naive.matmul, dy, w, transpose_b=True),
            "dw": multiply_adds(naive.matmul, x, dy, transpose_a=True),
        }
    return {**found, "dx dw": found["dx"] + found["dw"], "2nd": found["y"] + found["dw"]}


@pytest.mark.parametrize("name", ["of a piecewise linear D", "mlp"])
def test_each_row_has_the_loop_oracles_multiply_adds(name):
    ledger, step = ledger_of(RECIPES[name])
    layers, compared = layers_of(step), set()
    counts = {path: oracle(layer, BATCH) for path, layer in layers.items() if isinstance(layer, Conv2D | Dense)}
    for row in ledger.rows:
        if row.layer in counts:
            assert row.cost.flops == 2 * row.times * counts[row.layer][row.operation], row
            assert row.products == row.cost.flops
            compared.add((row.operation, row.status))
    assert {("y", RUN), ("2nd", RUN), ("dw", SKIPPED)} <= compared


def test_the_products_are_those_that_the_kernels_were_asked_for(measured):
    """The whole step, whatever kind it is, counted in the kernels."""
    name, ledger, _ = measured
    done = []

    def conv(kernel):
        def counting(x, w, *rest, **options):
            geometry = next(a for a in rest if hasattr(a, "flops"))
            done.append(len(x) * geometry.flops)
            return kernel(x, w, *rest, **options)

        return counting

    def matmul(kernel):
        def counting(a, b, **options):
            y = kernel(a, b, **options)
            if name != "spectral":  # there it is the power iteration
                done.append(2 * y.size * a.shape[0 if options.get("transpose_a") else 1])
            return y

        return counting

    with step_of_recipe(RECIPES[name], backend="reference", data=None) as step, ExitStack() as stack:
        for kernel in ("conv2d", "conv2d_input_grad", "conv2d_weight_grad"):
            stack.enter_context(replaced(step.backend, kernel, conv(getattr(step.backend, kernel))))
        stack.enter_context(replaced(step.backend, "matmul", matmul(step.backend.matmul)))
        step.run()
    assert sum(done) == ledger.totals().run_products


def test_a_default_engine_runs_more_in_gs_step_and_in_a_penalty(measured):
    _, ledger, _ = measured
    for row in ledger.rows:
        if row.status != SKIPPED:
            continue
        assert row.seconds is None
        assert row.reason
        assert row.default in (0, row.cost.flops) or row.label.startswith("D on real")
    totals = ledger.totals()
    assert totals.default >= totals.run


# ---------------------------------------------------------------------------------------- time and memory


def test_the_times_sum_to_the_steps(monkeypatch):
    """By the time of this thread, since other processes take the clock's."""
    monkeypatch.setattr(step_ledger, "clock_of", lambda _: time.thread_time_ns)
    recipe = DCGAN(width=8, batch_size=64)
    with step_of_recipe(recipe, backend="reference", data=None) as step:
        ratios = []
        for _ in range(6):  # a busy machine changes caches and frequencies under our hands
            ledger = measured_ledger(step, limits=False, rounds=(5, 15))
            ratios.append(ledger.seconds / ledger.plain)
            if abs(ratios[-1] - 1) < 0.05:
                break
    assert abs(ratios[-1] - 1) < 0.05, ratios


def test_every_stretch_of_time_belongs_to_one_row(measured):
    _, ledger, _ = measured
    assert sum(event.seconds for event in ledger.events) == pytest.approx(ledger.seconds)
    for event, then in zip(ledger.events, ledger.events[1:], strict=False):
        assert event.start + event.seconds == pytest.approx(then.start)
    timed = [row for row in ledger.rows if row.status == RUN]
    assert all(row.seconds is not None and row.live is not None for row in timed)
    assert not any(row.seconds for row in ledger.rows if row.status == FUSED)


@pytest.mark.parametrize("recipe", [DCGAN(width=8, batch_size=32, penalty="r1"), MLP(batch_size=128), VAE(width=8)])
def test_the_peak_is_the_measured_one(recipe):
    """The peak of a step without marks, by Python's own account."""
    with step_of_recipe(recipe, backend="reference", data=None) as step:
        ledger = measured_ledger(step, limits=False, rounds=ONCE)
        tracemalloc.start(1)
        before = tracemalloc.get_traced_memory()[0]
        step.run()
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
    assert ledger.peak - sum(ledger.lasting.values()) == pytest.approx(peak, rel=0.01)
    assert peak > 1_000_000
    peaks = [row.peak for row in ledger.rows if row.peak and row.operation not in (BETWEEN, "batch")]
    assert peaks != sorted(peaks)  # each row has its own


def test_what_lasts_is_all_that_the_learner_has():
    recipe = DCGAN(ema=0.9, fake_pool=8, **PAPER)
    _, step = ledger_of(recipe)
    learner, lasting = step.state.learner, step.lasting()
    assert lasting["optimizers"] == 2 * sum(o.arena.flat.nbytes for o in learner.optimizers.values())
    assert lasting["gradients"] == sum(net.arena.flat.nbytes for net in learner.networks.values())
    assert lasting["moving average"] > 0
    assert lasting["pool of fakes"] == 8 * 28 * 28 * 4


# ---------------------------------------------------------------------------------------- as if nothing had been


def test_a_measured_step_leaves_no_trace():
    recipe = DCGAN(ema=0.9, fake_pool=8, d_norm="spectral", **PAPER)
    with step_of_recipe(recipe, backend="reference", data=None) as step:
        state = step.state
        before, draws = state.arrays(), state.rng.bit_generator.state
        measured_ledger(step, limits=False, rounds=ONCE)
        after = state.arrays()
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert state.rng.bit_generator.state == draws
        assert not set(vars(step.backend)) & set(KERNELS)
        assert "update" not in vars(state.learner)
        assert not state.learner.is_observed


def test_a_step_with_marks_gives_the_same_bits(monkeypatch):
    with step_of_recipe(RECIPES["of a smooth D"], backend="reference", data=None) as step:
        monkeypatch.setattr(step, "_go_back", lambda: None)
        start = step.state.arrays()
        step.run()
        plain = step.state.arrays()
        monkeypatch.undo()
        step._go_back()
        assert all(np.array_equal(start[name], array) for name, array in step.state.arrays().items())
        monkeypatch.setattr(step, "_go_back", lambda: None)
        step.run(Structure())
        marked = step.state.arrays()
    assert all(np.array_equal(plain[name], marked[name]) for name in plain)
    assert not all(np.array_equal(start[name], marked[name]) for name in start)


def test_an_error_in_the_step_leaves_no_trace():
    with step_of_recipe(RECIPES["dcgan"], backend="reference", data=None) as step:

        def broken(*_, **__):
            raise BackendError("broken")

        before = step.state.arrays()
        with replaced(step.state.learner.optimizers["g"], "step", broken), pytest.raises(BackendError, match="broken"):
            step.run(Structure())
        assert all(np.array_equal(before[name], array) for name, array in step.state.arrays().items())
        assert not set(vars(step.backend)) & set(KERNELS)
        step.run()


# ---------------------------------------------------------------------------------------- rows


def rows_of(ledger, phase, **wanted):
    rows = [row for row in ledger.rows if row.phase == phase]
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


def test_phases_are_in_the_order_of_the_algorithm(measured):
    name, ledger, _ = measured
    phases = list(ledger.phases())
    if name == "vae":
        assert phases == ["forward and backward", "encoder's update", "G's update"]
        return
    expected = ["the batch and G's fakes", "D on real", "D on fake", "penalty", "D's update", "G", "G's update"]
    if "of a" not in name and name != "mlp":
        expected.remove("penalty")
    assert phases == expected + ["the moving average"] * (name == "several steps of D")


def test_real_and_fake_as_one_batch_are_one_phase(monkeypatch):
    """Its operations are those of both."""
    recipe = RECIPES["mlp"]
    separate, _ = ledger_of(recipe)
    monkeypatch.setattr(ReferenceBackend, "joined_bytes", 1 << 20)
    joined, _ = ledger_of(recipe)
    phases = ["the batch and G's fakes", "D on real and fake", "penalty", "D's update", "G", "G's update"]
    assert list(joined.phases()) == phases
    assert joined.totals() == separate.totals()
    rows = rows_of(joined, "D on real and fake", status=RUN)
    assert {row.shapes[0][0] for row in rows if row.operation == "y"} == {2 * BATCH}
    for row in rows:
        if row.operation != BETWEEN:
            both = [
                rows_of(separate, phase, label=row.label, operation=row.operation)
                for phase in ("D on real", "D on fake")
            ]
            assert row.cost.flops == sum(other.cost.flops for (other,) in both)


def test_gs_step_skips_the_gradients_of_ds_weights(measured):
    name, ledger, _ = measured
    if name == "vae":
        return
    skipped = rows_of(ledger, "G", status=SKIPPED, operation="dw")
    assert skipped
    assert all(row.layer.startswith("D.") and row.default == row.cost.flops for row in skipped)
    assert not rows_of(ledger, "G", status=RUN, operation="dw", layer="D.0.Conv2D")
    (whole,) = rows_of(ledger, "the batch and G's fakes", status=SKIPPED)
    assert whole.default == 0
    assert whole.cost.flops > 0


def test_of_several_steps_of_d_there_is_the_sum():
    once, _ = ledger_of(RECIPES["dcgan"])
    thrice, _ = ledger_of(RECIPES["several steps of D"])
    for phase in ("D on real", "D on fake", "D's update"):
        rows, more = rows_of(once, phase), rows_of(thrice, phase)
        assert [row.label for row in rows] == [row.label for row in more]
        for row, other in zip(rows, more, strict=True):
            if row.operation != BETWEEN:
                assert (other.times, other.cost.flops) == (3, 3 * row.cost.flops)


def test_a_smooth_d_sweeps_down_and_a_piecewise_linear_one_does_not():
    smooth, _ = ledger_of(RECIPES["of a smooth D"])
    linear, _ = ledger_of(RECIPES["of a piecewise linear D"])
    assert rows_of(smooth, "penalty", operation="dw", status=RUN)
    assert not rows_of(linear, "penalty", operation="dw", status=RUN)
    (down,) = rows_of(linear, "penalty", status=SKIPPED)
    assert "piecewise linear" in down.reason
    assert down.default == down.cost.flops > 0


def test_a_penalty_that_is_not_due_says_when():
    recipe = DCGAN(penalty="r1", penalty_interval=4, **PAPER)
    with step_of_recipe(recipe, backend="reference", data=None) as step:
        step.state.learner.d_optimizer.steps = 1
        step._counts = [(owner, name, getattr(owner, name)) for owner, name, _ in step._counts]
        ledger = measured_ledger(step, limits=False, rounds=ONCE)
    (row,) = rows_of(ledger, "penalty")
    assert (row.status, row.reason) == (SKIPPED, "the penalty is due in one of 4 steps of D")


def test_penalties_in_passes_or_updates_of_others_are_due():
    """R1 and R2 by the passes of the loss; R1 and the path length in updates of their own."""
    pairs, _ = ledger_of(R3GAN(widths="4,4", group=4, size=8, batch_size=2, condition="none"))
    assert "penalty" not in pairs.phases()
    assert any(row.operation == "2nd" and row.status == RUN for row in rows_of(pairs, "D on fake"))
    tiny = {"latent": 4, "w_dim": 4, "channel_base": 32, "channel_max": 4, "size": 8, "batch_size": 2}
    lazy, _ = ledger_of(StyleGAN2(path_weight=2.0, condition="none", **tiny))
    assert {"penalty", "path length"} <= set(lazy.phases())
    rows = [*rows_of(lazy, "penalty"), *rows_of(lazy, "path length"), *rows_of(lazy, "G")]
    assert not any("is due" in row.reason or "compares" in row.reason for row in rows)


def test_a_supervised_generator_and_pairs():
    ledger, _ = ledger_of(Pix2Pix(width=2, d_width=2, size=32, batch_size=1, adversarial=0))
    assert list(ledger.phases()) == ["forward and backward", "G's update"]
    assert ledger.totals().run == ledger.totals().default
    ledger, _ = ledger_of(Pix2Pix(width=2, d_width=2, size=32, batch_size=1))
    assert "D on real" in ledger.phases()
    assert any(row.label.startswith("G 1.3.1 Conv2D") and ".inner." in row.layer for row in ledger.rows)


def test_two_layers_that_run_as_one_have_one_time():
    ledger, _ = ledger_of(RECIPES["dcgan"])
    (norm,) = rows_of(ledger, "G", layer="G.3.BatchNorm", operation="dx dw")
    (activation,) = rows_of(ledger, "G", layer="G.4.ReLU", operation="dx")
    assert (norm.status, activation.status) == (RUN, FUSED)
    assert (norm.seconds > 0, activation.seconds, activation.algorithm) == (True, None, "with 3")
    assert "one layer after the other" in activation.reason  # on the reference


def test_a_share_of_the_roof_is_by_the_nearer_limit():
    ledger, _ = ledger_of(RECIPES["dcgan"])
    (row,) = rows_of(ledger, "G's update", operation="update")
    moved = row.cost.reads + row.cost.writes
    assert row.share_of_roof(Limits(1e9, 1.0)) == pytest.approx(1e-9 * moved / row.seconds)
    assert row.share_of_roof(Limits(1.0, 1e9)) == pytest.approx(1e-9 * row.cost.flops / row.seconds)
    assert row.share_of_roof(None) is None


def test_a_gpu_runs_eagerly_and_says_so(device, monkeypatch):
    """Over the stand-in for CuPy."""
    from minigan.runs import prepare

    monkeypatch.setattr(prepare, "get_backend", lambda *_, **__: device)
    monkeypatch.setattr("minigan.inspection.limits.COPIED", 1 << 16)
    monkeypatch.setattr("minigan.inspection.limits.ROUND", 0)
    monkeypatch.setattr(step_ledger, "ROUNDS", ONCE)
    document, ledger = measure_step(RECIPES["dcgan"], backend="gpu")
    assert document.record["eager"]
    assert any("ran eagerly" in getattr(block, "text", "") for block in document.blocks)
    assert ledger.limits is not None


# ---------------------------------------------------------------------------------------- trace


def test_the_trace_is_one_that_perfetto_reads(measured):
    """Complete events with times in microseconds, on named tracks, none of which overlap."""
    _, ledger, _ = measured
    trace = as_trace(ledger, title="a step")
    events = trace["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X", "C"}
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert sorted(tracks.values()) == ["operations", "phases"]
    for thread in tracks:
        complete = [event for event in events if event["ph"] == "X" and event["tid"] == thread]
        assert sum(event["dur"] for event in complete) == pytest.approx(1e6 * ledger.seconds)
        ends = [event["ts"] + event["dur"] for event in complete]
        assert ends[:-1] == pytest.approx([event["ts"] for event in complete[1:]])


def test_attention_and_many_layers_of_sngan():
    ledger, _ = ledger_of(SNGAN(width=4, batch_size=BATCH, n_critic=1))
    assert rows_of(ledger, "D on real", status=RUN)


def test_each_word_for_what_was_not_run_is_explained_in_one_line():
    """CycleGAN has two reasons why a gradient is not needed."""
    with step_of_recipe(CycleGAN(width=2, d_width=2, blocks=1, size=12), backend="reference", data=None) as step:
        document = ledger_document(step, measured_ledger(step, limits=False, rounds=ONCE))
    facts = [block for block in document.blocks if isinstance(block, Facts)][-1]
    words = [word for word, _ in facts.rows]
    assert len(words) == len({*words})
    line = dict(facts.rows)["skipped: not needed"]
    assert "no layer below has weights" in line and "nothing below the first layer has weights" in line
