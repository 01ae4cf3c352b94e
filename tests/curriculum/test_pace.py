"""How the pace grows, and who is under it."""

import math

import numpy as np
import pytest
import torch

from spl.curriculum.pace import absolute_pace, easiest, easiest_of_groups, share_at, threshold


@pytest.mark.parametrize(
    ("schedule", "half"),
    # s + (e - s) / 2; sqrt((s^2 + e^2) / 2) = sqrt(0.34); sqrt(s e) = sqrt(0.16)
    [("linear", 0.5), ("root", math.sqrt(0.34)), ("geometric", 0.4)],
)
def test_a_schedule_at_its_ends_and_between(schedule: str, half: float):
    shares = [share_at(u, start=0.2, end=0.8, schedule=schedule) for u in (-1.0, 0.0, 0.5, 1.0, 2.0)]
    assert shares == pytest.approx([0.2, 0.2, half, 0.8, 0.8])


def test_the_root_is_the_one_asked_for():
    """Defect seen elsewhere: always a square root."""
    third = share_at(0.5, start=0.2, end=1.0, schedule="root", root=3.0)
    assert third == pytest.approx((0.504) ** (1 / 3))  # (0.008 + 1) / 2
    assert third > share_at(0.5, start=0.2, end=1.0, schedule="root", root=2.0) + 0.05
    assert share_at(0.5, start=0.2, end=1.0, schedule="root", root=1.0) == pytest.approx(0.6)


@pytest.mark.parametrize("schedule", ["linear", "root", "geometric"])
def test_the_start_is_where_it_starts(schedule: str):
    """Defect seen elsewhere: a start that is not used."""
    assert share_at(0.0, start=0.1, end=0.9, schedule=schedule) == pytest.approx(0.1)
    assert share_at(0.0, start=0.4, end=0.9, schedule=schedule) == pytest.approx(0.4)
    assert share_at(0.3, start=0.1, end=0.9, schedule=schedule) < share_at(
        0.3, start=0.4, end=0.9, schedule=schedule
    )


def test_no_such_schedule():
    with pytest.raises(ValueError, match="schedule must be linear, root or geometric, got 'cubic'"):
        share_at(0.5, start=0.1, end=0.9, schedule="cubic")  # type: ignore[arg-type]


def test_the_absolute_pace_is_multiplied_each_round():
    assert [absolute_pace(n, first=0.5, growth=1.3) for n in (0, 1, 3)] == pytest.approx([0.5, 0.65, 1.0985])


def test_the_easiest_share_of_a_mini_buffer():
    losses = torch.tensor([0.9, 0.1, math.nan, 0.5, math.inf, 0.3])
    assert easiest(losses, 0.5).tolist() == [1, 5, 3]
    assert easiest(losses, 1.0).tolist() == [1, 5, 3, 0]
    assert easiest(losses, 1e-9).tolist() == [1]
    assert threshold(losses, 0.5) == pytest.approx(0.9)  # the first left out
    assert threshold(losses, 1.0) == math.inf
    assert easiest(torch.full((3,), math.nan), 1.0).tolist() == []
    with pytest.raises(ValueError, match=r"the share must be in \(0, 1\], got 0.0"):
        easiest(losses, 0.0)


def test_of_equal_losses_the_first_are_easier_and_the_share_is_exact():
    assert easiest(torch.full((10,), 0.7), 0.3).tolist() == [0, 1, 2]
    selection = easiest_of_groups(
        np.full(10, 0.7, np.float32), np.array([0, 1] * 5), np.array([2, 3], np.int64)
    )
    assert np.flatnonzero(selection.is_included).tolist() == [0, 1, 2, 3, 5]


def test_the_easiest_of_each_group_are_those_that_sorting_finds():
    generator = np.random.default_rng(0)
    for _ in range(50):
        num_groups = int(generator.integers(1, 6))
        groups = np.concatenate([np.arange(num_groups), generator.integers(0, num_groups, 40)])
        losses = generator.normal(size=len(groups)).round(int(generator.integers(0, 3))).astype(np.float32)
        losses[generator.integers(0, len(groups), 3)] = np.inf
        sizes = np.bincount(groups)
        counts = generator.integers(0, sizes + 1)
        selection = easiest_of_groups(losses, groups, counts)
        for group in range(num_groups):
            members = np.flatnonzero(groups == group)
            ranked = members[np.argsort(losses[members], kind="stable")]
            found = np.flatnonzero(selection.is_included & (groups == group))
            assert sorted(ranked[: counts[group]]) == found.tolist()
            left_out = losses[ranked[counts[group]]] if counts[group] < sizes[group] else np.inf
            assert selection.thresholds[group] == left_out
