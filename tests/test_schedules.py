"""Learning rates over time."""

import numpy as np
import pytest

from minigan.layers import Dense
from minigan.optim import SGD, Adam
from minigan.schedules import Constant, ExponentialDecay, as_schedule


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


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_step_uses_the_rate_of_the_steps_done_before_it(optimizer: type):
    seen = []

    def schedule(step: int) -> float:
        seen.append(step)
        return 0.0 if step == 1 else 0.1

    layer = Dense(2).build((3,), backend="numpy", dtype="float64", rng=np.random.default_rng(0))
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
