"""Figures of an evaluation: the interquartile mean, its interval, and what each condition does."""

import numpy as np
import pytest

from spl.agents.evaluate import (
    EvaluateAgentConfig,
    bootstrap_interval,
    conditions,
    interquartile_mean,
    missing,
    noisy,
    untouched,
)
from spl.records import AUDIO, VIDEO, Observation, StreamSpec

BOTH = StreamSpec((1, 8, 8), (1, 4, 2))


@pytest.fixture
def observation():
    return Observation(
        np.full(BOTH.video, 128, np.uint8), np.full(BOTH.audio, 0.5, np.float16), np.array([True, True])
    )


def test_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([[9.0, 1.0, 2.0, 100.0]])) == 5.5  # 1 and 100 are cut
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0  # a quarter of three is none
    assert interquartile_mean(np.array([4.0])) == 4.0


def test_bootstrap_interval_holds_the_mean_and_shrinks_with_more_episodes():
    generator = np.random.default_rng(0)
    few, many = generator.normal(5.0, 1.0, (2, 10)), generator.normal(5.0, 1.0, (2, 400))
    low, high = bootstrap_interval(few, np.random.default_rng(1))
    assert low < interquartile_mean(few) < high
    narrow = np.diff(bootstrap_interval(many, np.random.default_rng(1)))[0]
    assert narrow < (high - low) / 3
    # For a normal the interquartile mean spreads about 1.1 sigma / sqrt(n): 4.3 / sqrt(800) = 0.15 wide
    assert narrow == pytest.approx(0.153, rel=0.25)
    assert bootstrap_interval(np.full((2, 3), 7.0), np.random.default_rng(1)) == (7.0, 7.0)


def test_missing_blanks_one_sense_from_its_step_on(observation):
    generator = np.random.default_rng(0)
    late = missing(AUDIO, 5)
    assert late(observation, 4, generator) is observation
    deaf = late(observation, 5, generator)
    assert not deaf.audio.any()
    assert deaf.present.tolist() == [True, False]
    assert (deaf.video == 128).all()
    assert observation.audio.all(), "the original is left alone"


def test_noise_spoils_one_sense_and_leaves_it_present(observation):
    generator = np.random.default_rng(0)
    for sense, name, other in ((VIDEO, "video", "audio"), (AUDIO, "audio", "video")):
        spoilt = noisy(sense)(observation, 0, generator)
        assert spoilt.present.all()
        assert np.array_equal(getattr(spoilt, other), getattr(observation, other))
        assert getattr(spoilt, name).dtype == getattr(observation, name).dtype
        assert (getattr(spoilt, name) != getattr(observation, name)).mean() > 0.9
    assert untouched(observation, 0, generator) is observation


def test_conditions_follow_the_senses_there_are():
    assert list(conditions(BOTH, 3))[:2] == ["video only", "audio only"]
    assert list(conditions(StreamSpec((1, 8, 8), (0, 0, 0)), 3)) == [
        "blind",
        "noise on video",
        "video fails midway",
    ]
    assert "deaf" in conditions(StreamSpec((0, 0, 0), (1, 4, 2)), 3)


def test_ranges():
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        EvaluateAgentConfig(episodes=0)
    with pytest.raises(ValueError, match="epsilon must be in"):
        EvaluateAgentConfig(epsilon=1.5)
