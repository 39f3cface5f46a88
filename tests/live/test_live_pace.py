"""The rhythm of frames and steps, by a clock that the tests move."""

import pytest

from minigan.live.pace import FRAMES_PER_SECOND, LONGEST, SHARE, FramePace, StepPace


def watched(cost, step=0.0005, seconds=20.0, *, free=False):
    """Frames a second and their share of the time, of a training whose frames cost so much."""
    pace, now, frames, spent = FramePace(), 0.0, 0, 0.0
    while now < seconds:
        now += step
        if pace.is_due(now):
            pace.made(now, now + cost, free=free)
            now, frames, spent = now + cost, frames + 1, spent + cost
    return frames / now, spent / now


def test_cheap_frames_come_twenty_times_a_second():
    frames, share = watched(0.0015)
    assert FRAMES_PER_SECOND - 1 < frames <= FRAMES_PER_SECOND + 0.1 and share < SHARE


@pytest.mark.parametrize("cost", [0.002, 0.005, 0.02, 0.09])
def test_dear_frames_come_more_rarely_and_take_no_more_of_the_time(cost):
    frames, share = watched(cost)
    assert 0 < frames < FRAMES_PER_SECOND and share < 1.1 * SHARE


def test_frames_of_a_training_that_waits_anyway_are_free():
    assert watched(0.02, free=True)[0] > FRAMES_PER_SECOND - 1


def test_one_frame_that_was_held_up_does_not_stop_the_others():
    pace = FramePace()
    for began, cost in ((0.0, 0.001), (1.0, 0.001), (2.0, 5.0)):
        pace.made(began, began + cost, free=False)
    assert pace.is_due(2.0 + 1 / FRAMES_PER_SECOND)
    first = FramePace()
    first.made(0.0, 5.0, free=False)
    assert first.is_due(LONGEST)


def test_a_command_is_seen_at_once():
    pace = FramePace()
    pace.made(0.0, 0.05, free=False)
    assert not pace.is_due(0.1)
    pace.soon()
    assert pace.is_due(0.1)


@pytest.mark.parametrize("per_second", [1, 5, 60])
def test_steps_are_held_back(per_second):
    pace, now, steps = StepPace(), 0.0, 0
    assert pace.wait(0.0) == 0
    pace.per_second = per_second
    while now < 10:
        now += pace.wait(now) + 0.001
        pace.stepped(now)
        steps += 1
    assert steps == pytest.approx(10 * per_second, abs=2 + 0.1 * per_second)
