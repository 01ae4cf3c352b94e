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


@pytest.mark.parametrize("dtype", [np.int8, np.float16])
def test_noise_on_a_waveform_swings_about_silence_and_keeps_its_kind(dtype):
    full_scale = 128 if dtype == np.int8 else 1
    silence = np.zeros((1, 1, 40_000), dtype)
    observation = Observation(np.zeros(BOTH.video, np.uint8), silence, np.array([True, True]))
    spoil = conditions(BOTH, 3, is_waveform=True)["noise on audio"]
    levels = spoil(observation, 0, np.random.default_rng(0)).audio
    assert levels.dtype == dtype
    scaled = levels.astype(np.float64) / full_scale
    assert scaled.mean() == pytest.approx(0.0, abs=0.01)
    assert scaled.std() == pytest.approx(0.25, rel=0.02)
    loud = observation._replace(audio=np.full_like(silence, 0.99 * full_scale))
    cut = spoil(loud, 0, np.random.default_rng(0)).audio
    assert cut.max() == (127 if dtype == np.int8 else 1)
    assert cut.min() > -0.5 * full_scale, "what is too loud is cut, and does not wrap"


def test_conditions_follow_the_senses_there_are():
    assert list(conditions(BOTH, 3))[:2] == ["video only", "audio only"]
    assert list(conditions(StreamSpec((1, 8, 8), (0, 0, 0)), 3)) == [
        "without video",
        "noise on video",
        "video fails midway",
    ]
    assert "without audio" in conditions(StreamSpec((0, 0, 0), (1, 4, 2)), 3)


def test_ranges():
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        EvaluateAgentConfig(num_episodes=0)
    with pytest.raises(ValueError, match=r"seed must be in 0\.\.4294967295, got -1"):
        EvaluateAgentConfig(seed=-1)
    with pytest.raises(ValueError, match="epsilon must be in"):
        EvaluateAgentConfig(epsilon=1.5)
