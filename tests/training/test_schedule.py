"""The learning rate at its first update, its last, and between."""

import math

import pytest

from spl.training.schedule import learning_rate_at


def rates(num_updates: int = 10, **options: object) -> list[float]:
    return [
        learning_rate_at(update, peak=0.4, num_updates=num_updates, **options)
        for update in range(num_updates)
    ]


def test_constant_stays():
    assert rates(schedule="constant") == [0.4] * 10


def test_step_multiplies_at_each_milestone():
    expected = [0.4] * 3 + [0.08] * 3 + [0.016] * 4
    assert rates(schedule="step", milestones=(3, 6), factor=0.2) == pytest.approx(expected)


def test_cosine_falls_from_the_peak_towards_zero():
    found = rates(schedule="cosine")
    assert found[0] == 0.4
    assert found[5] == pytest.approx(0.2)
    assert found[9] == pytest.approx(0.2 * (1 + math.cos(0.9 * math.pi)))
    assert found == sorted(found, reverse=True)
    assert learning_rate_at(10, peak=0.4, num_updates=10, schedule="cosine") == pytest.approx(0.0)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_the_warm_up_grows_to_the_peak(schedule: str):
    found = rates(schedule=schedule, warmup=4, milestones=(6,), factor=0.5)
    assert found[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found[4] == pytest.approx(0.4)
    assert learning_rate_at(7, peak=0.4, num_updates=10, schedule="cosine", warmup=4) == pytest.approx(0.2)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="schedule must be constant, step or cosine, got 'linear'"):
        learning_rate_at(0, peak=0.1, num_updates=1, schedule="linear")
