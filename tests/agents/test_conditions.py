"""What may happen to a modality: each row of the table does what it says, to one stream, from its step on."""

import numpy as np
import pytest

from spl.agents.conditions import (
    DELAY_STEPS,
    HAPPENINGS,
    HISS_LEVEL,
    UNTOUCHED,
    Condition,
    Spoiler,
    conditions,
)
from spl.records import AUDIO, VIDEO, Observation, StreamSpec

BOTH = StreamSpec((1, 8, 8), (1, 4, 2))
FIELDS = ("video", "audio")


def observation(step, *, audio=(1, 4, 2), dtype=np.float16):
    """An observation whose values tell its step: video 100 + step, audio (1 + step) / 100."""
    level = 1 + step if dtype == np.int8 else (1 + step) / 100
    return Observation(
        np.full(BOTH.video, 100 + step, np.uint8), np.full(audio, level, dtype), np.array([True, True])
    )


def spoiled(condition, num_steps, *, is_waveform=False, **shown):
    spoil = Spoiler(condition, is_waveform=is_waveform, generator=np.random.default_rng(0))
    return [spoil(observation(step, **shown), step) for step in range(num_steps)]


def shown_steps(given, modality):
    """Which step's values each observation shows."""
    if modality == VIDEO:
        return [int(one.video.flat[0]) - 100 for one in given]
    return [round(float(one.audio.flat[0]) * 100) - 1 for one in given]


@pytest.mark.parametrize("modality", [VIDEO, AUDIO])
@pytest.mark.parametrize("happening", HAPPENINGS)
def test_each_row_of_the_table_acts_on_one_stream_from_its_step_on(happening, modality):
    given = spoiled(Condition(modality, happening, 3), 12)
    for step, one in enumerate(given):
        true = observation(step)
        other = FIELDS[1 - modality]
        assert np.array_equal(getattr(one, other), getattr(true, other))
        mine, expected = getattr(one, FIELDS[modality]), getattr(true, FIELDS[modality])
        assert mine.dtype == expected.dtype
        assert mine.shape == expected.shape
        assert np.array_equal(mine, expected) == (step < 3)
        is_flagged = happening == "absent" and step >= 3
        assert one.present.tolist() == [not (is_flagged and modality == each) for each in (VIDEO, AUDIO)]
        assert np.isfinite(mine).all()


@pytest.mark.parametrize("modality", [VIDEO, AUDIO])
def test_a_frozen_stream_shows_its_last_frame_and_a_delayed_one_lags(modality):
    assert DELAY_STEPS == 5
    frozen = spoiled(Condition(modality, "frozen", 3), 7)
    assert shown_steps(frozen, modality) == [0, 1, 2, 2, 2, 2, 2]
    delayed = spoiled(Condition(modality, "delayed", 7), 10)
    assert shown_steps(delayed, modality) == [0, 1, 2, 3, 4, 5, 6, 2, 3, 4]
    from_first = spoiled(Condition(modality, "delayed", 0), 8)
    assert shown_steps(from_first, modality) == [0, 0, 0, 0, 0, 0, 1, 2]
    assert shown_steps(spoiled(Condition(modality, "frozen", 0), 3), modality) == [0, 0, 0]


@pytest.mark.parametrize("happening", ["frozen", "delayed"])
def test_an_episode_remembers_nothing_of_the_one_before(happening):
    spoil = Spoiler(Condition(VIDEO, happening, 2), is_waveform=False, generator=np.random.default_rng(0))
    for _ in range(2):
        given = [spoil(observation(step), step) for step in range(4)]
        assert shown_steps(given, VIDEO) == {"frozen": [0, 1, 1, 1], "delayed": [0, 1, 0, 0]}[happening]
        for step in range(4, 20):
            spoil(observation(step + 40), step)


def test_mute_is_silence_that_counts_as_present():
    given = spoiled(Condition(AUDIO, "mute", 1), 3)
    assert [bool(one.audio.any()) for one in given] == [True, False, False]
    assert all(one.present.all() for one in given)


def test_hiss_keeps_nothing_of_the_stream():
    silent, loud = (
        Spoiler(Condition(AUDIO, "hissing"), is_waveform=False, generator=np.random.default_rng(0))
        for _ in range(2)
    )
    shape = (1, 40, 400)
    quiet = observation(0, audio=shape)._replace(audio=np.zeros(shape, np.float16))
    heard = silent(quiet, 0).audio
    assert np.array_equal(heard, loud(observation(0, audio=shape), 0).audio)
    assert heard.astype(np.float64).mean() == pytest.approx(HISS_LEVEL, abs=0.01)
    picture = spoiled(Condition(VIDEO, "hissing"), 1)[0].video
    assert 96 < picture.mean() < 160
    assert picture.std() > 40


@pytest.mark.parametrize("happening", ["noise", "hissing"])
@pytest.mark.parametrize("dtype", [np.int8, np.float16])
def test_noise_on_a_waveform_swings_about_silence_and_keeps_its_kind(dtype, happening):
    full_scale, shape = (128 if dtype == np.int8 else 1), (1, 1, 40_000)
    spoil = Spoiler(Condition(AUDIO, happening), is_waveform=True, generator=np.random.default_rng(0))
    silence = observation(0)._replace(audio=np.zeros(shape, dtype))
    levels = spoil(silence, 0).audio
    assert levels.dtype == dtype
    scaled = levels.astype(np.float64) / full_scale
    assert scaled.mean() == pytest.approx(0.0, abs=0.01)
    assert scaled.std() == pytest.approx(0.25, rel=0.02)
    if happening == "noise":
        cut = spoil(silence._replace(audio=np.full(shape, 0.99 * full_scale, dtype)), 0).audio
        assert cut.max() == (127 if dtype == np.int8 else 1)
        assert cut.min() > -0.5 * full_scale, "what is too loud is cut, and does not wrap"


def test_nothing_happens_where_nothing_shall():
    spoil = Spoiler(UNTOUCHED, is_waveform=False, generator=np.random.default_rng(0))
    one = observation(0)
    assert spoil(one, 0) is one


def test_conditions_follow_the_modalities_there_are():
    flagged = conditions(BOTH, 3)
    assert list(flagged) == [
        "video only",
        "audio only",
        "noise on video",
        "noise on audio",
        "video fails midway",
        "audio fails midway",
    ]
    assert flagged["video only"] == Condition(AUDIO, "absent", 0)
    assert flagged["audio fails midway"] == Condition(AUDIO, "absent", 3)
    more = conditions(BOTH, 3, with_unflagged=True)
    assert list(more)[6:] == [
        "video frozen",
        "audio frozen",
        "video hissing",
        "audio hissing",
        "video delayed",
        "audio delayed",
        "video black",
        "audio mute",
    ]
    assert {one.from_step for name, one in more.items() if name not in flagged} == {3}
    assert not any(one.is_declared for name, one in more.items() if name not in flagged)
    single = conditions(StreamSpec((1, 8, 8), (0, 0, 0)), 3, with_unflagged=True)
    assert list(single)[:3] == ["without video", "noise on video", "video fails midway"]
    assert list(single)[3:] == ["video frozen", "video hissing", "video delayed", "video black"]
    assert "without audio" in conditions(StreamSpec((0, 0, 0), (1, 4, 2)), 3)
