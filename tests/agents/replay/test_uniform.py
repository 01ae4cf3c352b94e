"""The set of places that can be sampled, and what it tells of its changes."""

import numpy as np
import pytest

from spl.agents.replay.uniform import Sampleable


def test_places_come_in_and_go_and_are_counted() -> None:
    sampleable = Sampleable(10)
    for place in (7, 2, 5):
        sampleable.admit(place)
    sampleable.retire(2)
    sampleable.retire(3)  # was not in
    assert sampleable.places().tolist() == [5, 7]
    assert sampleable.count == 2
    assert sampleable.mask.tolist() == [False] * 5 + [True, False, True, False, False]


def test_changes_are_told_once_and_all_places_at_first_and_after_a_renewal() -> None:
    sampleable = Sampleable(6)
    sampleable.admit(1)
    assert sampleable.take_changes().tolist() == [0, 1, 2, 3, 4, 5]
    assert sampleable.take_changes().tolist() == []
    sampleable.admit(4)
    sampleable.retire(1)
    sampleable.admit(1)  # written again: it must be told although it was in before, too
    assert sampleable.take_changes().tolist() == [1, 4]
    sampleable.renew(np.array([True] * 2 + [False] * 4))
    assert (sampleable.count, sampleable.places().tolist()) == (2, [0, 1])
    assert sampleable.take_changes().size == 6


def test_nothing_is_noted_for_nobody() -> None:
    sampleable = Sampleable(2)
    for _ in range(100):
        sampleable.admit(0)
        sampleable.retire(0)
    assert sampleable._changed is None


@pytest.mark.parametrize("num_in", [1, 90])
def test_a_draw_is_uniform_over_what_is_in(num_in: int) -> None:
    sampleable = Sampleable(100)
    for place in range(num_in):
        sampleable.admit(place)
    drawn = sampleable.draw(20_000, 95, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=100)
    assert counts[num_in:].tolist() == [0] * (100 - num_in)
    assert counts[:num_in] == pytest.approx(20_000 / num_in, rel=0.3)


@pytest.mark.parametrize(("num_in", "is_listed"), [(9, True), (10, False), (80, False)])
def test_few_places_are_listed_and_others_hit_by_chance(num_in: int, is_listed: bool) -> None:
    """The same seed draws the same places, so the bound is part of what a run repeats."""
    sampleable = Sampleable(100)
    for place in range(num_in):
        sampleable.admit(place)
    drawn = sampleable.draw(50, 80, np.random.default_rng(1))
    listed = np.random.default_rng(1).integers(num_in, size=50)
    chance = np.random.default_rng(1).integers(80, size=50)
    hit = chance < num_in
    assert np.array_equal(drawn, listed) == (is_listed or num_in == 80)  # all are in: the same
    assert np.array_equal(drawn[hit], chance[hit]) == (not is_listed)


def test_what_cannot_be_drawn_is_refused() -> None:
    sampleable = Sampleable(3)
    with pytest.raises(ValueError, match="must hold a complete transition"):
        sampleable.draw(1, 3, np.random.default_rng(0))
    sampleable.admit(0)
    with pytest.raises(ValueError, match="batch_size must be positive, got 0"):
        sampleable.draw(0, 3, np.random.default_rng(0))
