"""The last loss of each place, and which of a mini-buffer are the easiest."""

import numpy as np
import pytest

from spl.agents.replay.last_losses import LastLosses, easiest


def of(*losses: float) -> np.ndarray:
    return np.array(losses, np.float32)


def places(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_the_easiest_come_from_easy_to_hard() -> None:
    losses, alike = of(3, 1, 2, 5, 4), places(0, 0, 0, 0, 0)
    assert easiest(losses, alike, 3).tolist() == [1, 2, 0]
    assert easiest(losses, alike, 5).tolist() == [1, 2, 0, 4, 3]
    assert easiest(losses, alike, 1).tolist() == [1]


def test_each_group_gives_the_same_share_however_hard_it_is() -> None:
    losses = of(1, 2, 3, 4, 5, 6, 7, 8, 100, 200, 300, 400)
    groups = places(*[0] * 8, *[-1] * 4)
    assert easiest(losses, groups, 6).tolist() == [0, 1, 2, 3, 8, 9]
    assert easiest(losses, groups, 3).tolist() == [0, 1, 8]
    assert easiest(losses, places(*[0] * 12), 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_single_rare_transition_is_in_as_soon_as_half_is() -> None:
    losses, groups = of(*range(7), 100), places(*[0] * 7, 1)
    assert 7 not in easiest(losses, groups, 3)
    assert 7 in easiest(losses, groups, 5)
    assert easiest(losses, groups, 5)[-1] == 7


def test_ties_go_to_what_comes_first_and_nan_is_hardest() -> None:
    alike = places(0, 0, 0, 0)
    assert easiest(of(1, 1, 1, 1), alike, 2).tolist() == [0, 1]
    assert easiest(of(np.nan, np.inf, 2, 1), alike, 4).tolist() == [3, 2, 1, 0]
    assert easiest(of(np.nan, np.nan), places(0, 1), 1).tolist() == [0]


def test_every_group_gives_its_share_to_within_one_sample() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        groups = generator.integers(4, size=40)
        num = int(generator.integers(1, 41))
        chosen = easiest(generator.random(40).astype(np.float32), groups, num)
        assert np.unique(chosen).size == num
        sizes, counts = np.bincount(groups, minlength=4), np.bincount(groups[chosen], minlength=4)
        assert (np.abs(counts - num / 40 * sizes) < 1.0 + 1e-9).all()


def test_what_was_seen_last_is_known_until_it_is_forgotten() -> None:
    last = LastLosses(5)
    last.see(places(1, 3, 1), of(4, 5, 6))
    assert last.at(places(1, 3)).tolist() == [6, 5]
    assert np.isnan(last.at(places(0, 2, 4))).all()
    last.forget(places(3), np.array([True]))
    assert np.isnan(last.at(places(3))).all()


def known(num: int) -> LastLosses:
    """Return losses seen one after the other, place 0 the longest ago."""
    last = LastLosses(num + 10)
    for place in range(num):
        last.see(places(place), of(1))
        last.turn()
    return last


def test_a_share_is_scored_on_the_average_and_the_longest_not_seen_come_first() -> None:
    last, drawn = known(64), np.arange(64)[::-1]
    scored = [last.unsure(drawn, 0.125).tolist() for _ in range(8)]
    assert scored == [[], [], [], list(range(32))] * 2
    assert last.unsure(drawn, 1.0).tolist() == list(range(64))
    assert last.unsure(np.concatenate([drawn, drawn]), 1.0).tolist() == list(range(64))  # each once
    assert last.unsure(places(5, 3), 1.0).tolist() == [3, 5]


def test_what_has_no_loss_is_scored_first_and_at_once_if_it_is_a_quarter() -> None:
    last = known(64)
    last.forget(places(50, 51), np.array([False, False]))
    assert last.unsure(np.arange(64), 0.25).tolist() == []
    assert last.unsure(np.arange(64), 0.25).tolist() == [*range(30), 50, 51]
    assert last.unsure(places(50, 1, 2, 3, 4), 0.0).tolist() == []
    assert last.unsure(places(50, 1, 2, 3), 0.0).tolist() == [50]


def test_the_new_are_scored_although_they_were_not_drawn() -> None:
    last = known(64)
    last.forget(places(60, 61, 62, 63), np.array([True, True, True, False]))
    last.forget(places(62), np.array([False]))  # gone before it was scored
    assert last.unsure(np.arange(40), 1.0).tolist() == [*range(40), 60, 61]
    assert last.unsure(np.arange(40), 1.0).tolist() == list(range(40))
    last.forget(places(60), np.array([True]))
    last.forget_new()
    assert last.unsure(np.arange(40), 1.0).tolist() == list(range(40))


def test_last_losses_are_put_back_for_what_can_still_be_sampled() -> None:
    last, later = LastLosses(4), LastLosses(4)
    last.see(places(0, 1, 2), of(1, 2, 3))
    last.turn()
    last.see(places(1), of(9))
    later.load_state_dict(last.state_dict(), np.array([True, True, False, True]))
    assert later.at(places(0, 1)).tolist() == [1, 9]
    assert np.isnan(later.at(places(2, 3))).all()
    assert later.unsure(places(0, 1), 0.5).tolist() == []
    assert later.unsure(places(0, 1), 0.5).tolist() == last.unsure(places(0, 1), 1.0).tolist() == [0, 1]
    with pytest.raises(ValueError, match="must be 3 last losses, got 4"):
        LastLosses(3).load_state_dict(last.state_dict(), np.ones(3, np.bool_))
