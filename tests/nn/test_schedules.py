"""Learning rates over time."""

import numpy as np
import pytest

from minigan.errors import ConfigError
from minigan.nn.layers import Dense
from minigan.nn.optimizers import SGD, Adam
from minigan.nn.schedules import Constant, CosineDecay, CosineRamp, ExponentialDecay, LinearDecay, as_schedule


def test_a_number_is_a_constant_schedule():
    schedule = as_schedule(2e-4)
    assert isinstance(schedule, Constant)
    assert [schedule(step) for step in (0, 1, 10**9)] == [2e-4] * 3


def test_a_schedule_stays_as_it_is():
    schedule = ExponentialDecay(1.0, 0.5, every=10)
    assert as_schedule(schedule) is schedule


def test_exponential_decay_is_smooth():
    schedule = ExponentialDecay(2e-4, 0.5, every=100_000)
    assert schedule(0) == 2e-4
    assert schedule(100_000) == pytest.approx(1e-4, rel=1e-15)
    assert schedule(50_000) == pytest.approx(2e-4 * 0.5**0.5, rel=1e-15)
    assert schedule(300_000) == pytest.approx(2.5e-5, rel=1e-15)


def test_a_staircase_holds_its_rate_to_the_end_of_each_step():
    schedule = ExponentialDecay(1.0, 0.5, every=10, staircase=True)
    assert [schedule(step) for step in (0, 9, 10, 19, 20)] == [1, 1, 0.5, 0.5, 0.25]


def test_linear_decay_reaches_zero_at_the_end_and_stays_there():
    schedule = LinearDecay(2.0, start=10, end=20)
    assert [schedule(step) for step in (0, 10, 15, 20, 99)] == [2, 2, 1, 0, 0]


def test_cosine_decay_is_half_a_wave():
    schedule = CosineDecay(2.0, start=10, end=20)
    assert [schedule(step) for step in (0, 10, 15, 20, 99)] == pytest.approx([2, 2, 1, 0, 0], abs=1e-15)
    assert schedule(11) > 1.9 > LinearDecay(2.0, start=10, end=20)(11)


def test_decays_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.zeros(1))
    for ours, theirs in (
        (CosineDecay(0.1, 0, 50), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 50)),
        (LinearDecay(0.1, 0, 50), lambda o: torch.optim.lr_scheduler.LinearLR(o, 1, 0, 50)),
        (ExponentialDecay(0.1, 0.9, 1), lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
    ):
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        scheduler = theirs(optimizer)
        for step in range(50):
            assert ours(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize("decay", [LinearDecay, CosineDecay])
@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 5), (6, 5)])
def test_a_span_that_is_none_is_refused(decay: type, start: int, end: int):
    with pytest.raises(ConfigError, match=f"{decay.__name__}: expected 0 <= start < end, got start={start}, end={end}"):
        decay(0.1, start, end)


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_step_uses_the_rate_of_the_steps_done_before_it(optimizer: type):
    seen = []

    def schedule(step: int) -> float:
        seen.append(step)
        return 0.0 if step == 1 else 0.1

    layer = Dense(2).build((3,), backend="reference", dtype="float64", rng=np.random.default_rng(0))
    optimizer = optimizer(layer.arena, lr=schedule)
    grads = layer.gradients()
    grads.flat[:] = 1
    moved = []
    for _ in range(3):
        before = layer.w.value.copy()
        optimizer.step(grads)
        moved.append(bool((layer.w.value != before).any()))
    assert seen == [0, 1, 2]
    assert moved == [True, False, True]
    assert optimizer.lr == 0.1


def test_a_ramp_is_half_a_wave_between_two_numbers_and_stays():
    up, down = CosineRamp(0.9, 0.99, 100), CosineRamp(2.0, 0.2, 100)
    assert [up(step) for step in (0, 50, 100, 10**9)] == pytest.approx([0.9, 0.945, 0.99, 0.99], rel=1e-14)
    assert [down(step) for step in (0, 25, 75, 100)] == pytest.approx(
        [2, 1.1 + 0.9 * 0.5**0.5, 1.1 - 0.9 * 0.5**0.5, 0.2]
    )
    with pytest.raises(ConfigError, match="CosineRamp: steps"):
        CosineRamp(0, 1, 0)


def test_adam_with_a_schedule_of_beta2_is_pytorchs_with_betas_set_anew():
    torch = pytest.importorskip("torch")
    net = Dense(3, bias=False).build((2,), backend="reference", dtype="float64", rng=np.random.default_rng(0))
    ramp = CosineRamp(0.9, 0.99, 10)
    ours = Adam(net.arena, lr=1e-2, beta1=0.0, beta2=ramp)
    weight = torch.nn.Parameter(torch.tensor(np.array(net.w.value)))
    theirs = torch.optim.Adam([weight], lr=1e-2, betas=(0.0, 0.9))
    grads = net.gradients()
    for step in range(15):
        grads.flat[...] = np.random.default_rng(step).normal(size=grads.flat.shape)
        weight.grad = torch.tensor(np.array(grads[net.w]))
        theirs.param_groups[0]["betas"] = (0.0, ramp(step))
        ours.step(grads)
        theirs.step()
        np.testing.assert_allclose(net.w.value, weight.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert ours.beta2_at(10) == 0.99
