"""Figures of an evaluation: the interquartile mean, its interval, and what is retained."""

import numpy as np
import pytest

from spl.agents.evaluation.returns import (
    Outcome,
    bootstrap_interval,
    interquartile_mean,
    outcomes_as_json,
    retained,
    told,
)


def generator():
    return np.random.default_rng(1)


def test_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([[9.0, 1.0, 2.0, 100.0]])) == 5.5  # 1 and 100 are cut
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0  # a quarter of three is none
    assert interquartile_mean(np.array([4.0])) == 4.0


def test_bootstrap_interval_holds_the_mean_and_shrinks_with_more_episodes():
    draw = np.random.default_rng(0)
    few, many = draw.normal(5.0, 1.0, (2, 10)), draw.normal(5.0, 1.0, (2, 400))
    low, high = bootstrap_interval(few, generator())
    assert low < interquartile_mean(few) < high
    narrow = np.diff(bootstrap_interval(many, generator()))[0]
    assert narrow < (high - low) / 3
    # For a normal the interquartile mean spreads about 1.1 sigma / sqrt(n): 4.3 / sqrt(800) = 0.15 wide
    assert narrow == pytest.approx(0.153, rel=0.25)
    assert bootstrap_interval(np.full((2, 3), 7.0), generator()) == (7.0, 7.0)


def test_retained_by_hand():
    found, everything = np.array([[4.0, 6.0], [4.0, 6.0]]), np.array([[8.0, 10.0], [8.0, 10.0]])
    chance = np.ones((2, 2))
    share = retained(found, everything, chance, generator())
    assert share is not None
    assert share.value == pytest.approx((5 - 1) / (9 - 1))  # of means
    # once in 16 all four draws are of the first kind, (4 - 1) / (8 - 1), or the second, (6 - 1) / (10 - 1)
    assert (share.low, share.high) == pytest.approx((3 / 7, 5 / 9))


def test_retained_at_its_ends_and_beyond():
    everything, chance = np.array([[8.0, 10.0, 9.0]]), np.array([[1.0, 0.0, 1.0]])
    # the same episodes are drawn for all: what they share leaves no spread
    assert retained(everything, everything, chance, generator()) == (1.0, 1.0, 1.0)
    assert retained(chance, everything, chance, generator()) == (0.0, 0.0, 0.0)
    worse = retained(chance - 5.0, everything, chance, generator())
    assert worse is not None
    assert worse.high < 0, "worse than chance is told as such"


def test_interval_of_retained_is_that_of_the_delta_method():
    draw = np.random.default_rng(0)
    everything, chance = draw.normal(10.0, 1.0, (5, 400)), draw.normal(0.0, 1.0, (5, 400))
    found = draw.normal(5.0, 1.0, (5, 400))
    share = retained(found, everything, chance, generator())
    assert share is not None
    # Var(N / D) = (Var(found) + s^2 Var(all) + (1 - s)^2 Var(chance)) / (n D^2) with s = 0.5
    half = 1.96 * np.sqrt(1.5 / 2_000) / 10.0
    assert share.high - share.low == pytest.approx(2 * half, rel=0.15)
    assert share.low < share.value < share.high


@pytest.mark.parametrize("everything", [[[1.0, 1.0]], [[0.0, 0.5]], [[0.0, 3.0]]])
def test_an_agent_no_better_than_chance_retains_nothing_that_has_a_number(everything):
    chance = np.array([[1.0, 1.0]])
    assert retained(np.array([[1.0, 2.0]]), np.array(everything), chance, generator()) is None


@pytest.mark.parametrize("shape", [(20, 1), (10, 2), (1, 20), (2, 1)])
def test_chance_passes_for_a_gain_as_seldom_as_promised_however_the_episodes_are_split(shape):
    draw, gains = np.random.default_rng(0), 0
    for _ in range(200):
        everything, chance = draw.normal(0.0, 1.0, shape), draw.normal(0.0, 1.0, shape)
        gains += retained(everything, everything, chance, generator()) is not None
    assert gains <= 11  # 2.5 % of 200 are 5; more than 11 come once in 200 times


def test_one_episode_tells_nothing():
    assert retained(np.array([[5.0]]), np.array([[9.0]]), np.array([[1.0]]), generator()) is None


def test_the_interval_is_the_same_however_the_episodes_are_split():
    returns = np.random.default_rng(3).normal(5.0, 2.0, 400)
    split = [told(Outcome(returns.reshape(shape), np.ones(shape, int)), 0) for shape in ((400, 1), (1, 400))]
    assert split[0]["interval_95"] == split[1]["interval_95"]
    low, high = split[0]["interval_95"]
    assert high - low == pytest.approx(2 * 1.96 * 1.1 * returns.std() / np.sqrt(400), rel=0.25)


def outcome(*returns):
    return Outcome(np.array([returns]), np.ones((1, len(returns)), np.int64))


def test_what_is_told_of_all_conditions():
    outcomes = {
        "all modalities": outcome(8.0, 8.0),
        "video only": outcome(5.0, 5.0),
        "random actions": outcome(2.0, 2.0),
        "oracle": outcome(9.0, 9.0),
    }
    result = outcomes_as_json(outcomes, 0)
    figures = result["conditions"]
    assert figures["video only"]["retained"] == 0.5
    assert figures["video only"]["retained_95"] == [0.5, 0.5]
    assert figures["video only"]["mean"] == 5.0
    assert not any("retained" in figures[name] for name in ("all modalities", "random actions", "oracle"))
    assert "not_retained" not in result
    poor = outcomes_as_json({**outcomes, "all modalities": outcome(2.0, 2.0)}, 0)
    assert "with all modalities the return is 2, with random actions 2" in poor["not_retained"]
    assert "retained" not in poor["conditions"]["video only"]
