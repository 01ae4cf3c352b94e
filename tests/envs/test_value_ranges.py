"""The bounds of a space give the scale of what is seen and heard; where they say nothing, its values do."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import doubts_of
from spl.envs.config import EnvConfig
from spl.envs.value_ranges import Beyond, Range, assumed, bounds_of, range_of
from tests.envs.test_layouts import Shown

SIDES = (8, 8)


def seen(low: Any, high: Any, dtype: Any, *values: float, **options: Any) -> list[int]:
    """Return the pixels of a picture whose first values these are."""
    box = spaces.Box(low, high, SIDES, dtype)
    return _pixels(box, *values, **options)


def _pixels(space: Any, *values: float, **options: Any) -> list[int]:
    picture = np.zeros(SIDES, space.dtype)
    picture.flat[: len(values)] = values
    env = AudioVisualEnv(Shown(space, picture), EnvConfig(video_size=SIDES, **options))
    return env.reset()[0].video.flat[: len(values)].tolist()


def heard(low: Any, high: Any, dtype: Any, *values: float, **options: Any) -> list[float]:
    """Return the first samples of a sound whose first values these are."""
    sound = np.zeros(64, dtype)
    sound[: len(values)] = values
    env = AudioVisualEnv(Shown(spaces.Box(low, high, (64,), dtype), sound), EnvConfig(**options))
    env.reset()
    return [round(float(one), 5) for one in env.waveform[0, : len(values)]]


INF, MOST = np.inf, np.finfo(np.float32).max


def test_the_bounds_of_a_picture_are_black_and_white():
    assert seen(0, 255, np.uint8, 0, 7, 255) == [0, 7, 255]
    assert seen(0, 255, np.float32, 0, 7, 255) == [0, 7, 255]
    assert seen(0, 255, np.float16, 0, 7, 255) == [0, 7, 255]
    assert seen(0, 255, np.float64, 0, 7, 255) == [0, 7, 255]
    assert seen(0, 255, np.int32, 0, 7, 255) == [0, 7, 255]
    assert seen(0, 255, np.int64, 0, 7, 255) == [0, 7, 255]
    assert seen(0, 1, np.float32, 0, 0.2, 1) == [0, 51, 255]
    assert seen(-1, 1, np.float32, -1, -0.9, 0, 1) == [0, 13, 128, 255]
    assert seen(-0.5, 0.5, np.float32, -0.5, -0.3, 0.5) == [0, 51, 255]
    assert seen(-128, 127, np.float32, -128, -121, 127) == [0, 7, 255]
    assert seen(0, 1, np.uint8, 0, 1) == [0, 255]
    assert seen(0, 3, np.uint8, 0, 1, 3) == [0, 85, 255]
    assert seen(0, 1, np.bool_, 0, 1) == [0, 255]
    assert seen(0, 1, np.int8, 0, 1) == [0, 255]
    assert seen(0, 65_535, np.uint16, 0, 257, 65_535) == [0, 1, 255]
    assert seen(500, 10_500, np.uint16, 500, 2_500, 10_500) == [0, 51, 255]  # a depth camera's millimetres
    assert seen(0.3, 8, np.float32, 0.3, 8) == [0, 255]


def test_bounds_that_differ_from_element_to_element_have_one_scale():
    low, high = np.zeros(SIDES, np.float32), np.full(SIDES, 10, np.float32)
    low[0], high[1] = -10, 30
    assert _pixels(spaces.Box(low, high), -10, -2, 10, 30) == [0, 51, 128, 255]


def test_bits_and_choices_are_pictures_too():
    assert _pixels(spaces.MultiBinary(SIDES), 0, 1) == [0, 255]
    assert _pixels(spaces.MultiDiscrete(np.full(SIDES, 6)), 0, 1, 5) == [0, 51, 255]


def test_a_range_that_is_given_overrules_the_bounds():
    assert seen(0, 255, np.float32, 0, 0.2, 1, video_range=(0.0, 1.0)) == [0, 51, 255]
    assert seen(0, 255, np.uint8, 16, 235, video_range=(16.0, 235.0)) == [0, 255]
    assert heard(-1, 1, np.float32, 0, 300, -600, audio_range=(-1_000.0, 1_000.0)) == [0, 0.3, -0.6]


def test_the_bounds_of_a_sound_are_full_scale():
    assert heard(-1, 1, np.float32, -1, 0, 0.5, 1) == [-1, 0, 0.5, 1]
    assert heard(-32_768, 32_767, np.float32, -32_768, 0, 16_384) == [-1, 0, 0.5]
    assert heard(-32_768, 32_767, np.int16, -32_768, 0, 16_384) == [-1, 0, 0.5]
    assert heard(-32_768, 32_767, np.int32, -32_768, 0, 16_384) == [-1, 0, 0.5]
    assert heard(-(2**31), 2**31 - 1, np.int32, -(2**31), 0, 2**30) == [-1, 0, 0.5]
    assert heard(-128, 127, np.int8, -128, 0, 64) == [-1, 0, 0.5]
    assert heard(-0.5, 0.5, np.float64, -0.5, 0, 0.25) == [-1, 0, 0.5]
    assert heard(0, 255, np.uint8, 0, 128, 192, 255) == [-1, 0, 0.5, round(127 / 128, 5)]
    assert heard(0, 65_535, np.uint16, 0, 32_768, 49_152) == [-1, 0, 0.5]
    assert heard(0, 255, np.int32, 0, 128, 192) == [-1, 0, 0.5]  # of bytes, in a wider type
    assert heard(0, 1, np.float32, 0, 0.5, 0.75, 1) == [-1, 0, 0.5, 1]
    assert heard(0, 2, np.float32, 1, 2, rest_level=1.0) == [0, 1]


def test_what_lies_beyond_is_cut_and_told_once():
    box = spaces.Box(0, 1, SIDES, np.float32)
    picture = np.full(SIDES, 0.5, np.float32)
    picture[0, :2] = -0.5, 3
    env = AudioVisualEnv(Shown(box, picture), EnvConfig(video_size=SIDES))
    assert env.reset()[0].video[0, 0, :3].tolist() == [0, 255, 128]
    (sentence,) = env.news()
    assert sentence.startswith(
        "the video goes from -0.5 to 3, beyond its range of 0 to 1: values outside are clipped"
    )
    assert "--env.video_range LOW,HIGH" in sentence
    env.step(0)
    assert env.news() == []
    assert heard(-1, 1, np.float32, 1.5, -7) == [1, -1]
    assert heard(-100, 100, np.int16, 50, 3_000) == [0.5, 1]


def test_rounding_is_not_beyond():
    cut = Beyond(spaces.Box(0, 1, (2,), np.float32), Range(0, 1))
    np.testing.assert_array_equal(cut(np.array([-0.0009, 1.0009], np.float32)), [0, 1])
    assert cut.told("video") == ""
    cut(np.array([0, 1.0011], np.float32))
    assert cut.told("video").startswith("the video goes from 0 to 1.0011")


@pytest.mark.parametrize(
    ("low", "high", "dtype", "modality", "expected"),
    [
        (0, 255, np.uint8, "video", (0, 255)),
        (-INF, INF, np.float32, "video", None),
        (-MOST, MOST, np.float32, "video", None),
        (0, INF, np.float32, "video", None),
        (0, 0, np.float32, "video", None),
        (-(2.0**23), 2.0**23, np.float32, "video", (-(2.0**23), 2.0**23)),
        (-(2.0**23), 2.0**23 + 1, np.float32, "video", None),
        (-32_768, 32_767, np.int16, "video", None),  # what infinite bounds become
        (-32_768, 32_767, np.int16, "audio", (-32_768, 32_767)),
        (0, 65_535, np.uint16, "video", (0, 65_535)),
        (-(2**31), 2**31 - 1, np.int32, "audio", (-(2.0**31), 2.0**31 - 1)),
        (-(2**63), 2**63 - 1, np.int64, "audio", None),
        (-(2**63), 2**63 - 1, np.int64, "video", None),
        (5, 5, np.uint8, "video", None),
    ],
)
def test_bounds_that_say_nothing(low, high, dtype, modality, expected):
    assert bounds_of(spaces.Box(low, high, (8, 8), dtype), modality) == expected


@pytest.mark.parametrize(
    ("modality", "low", "high", "went", "expected"),
    [
        ("video", -INF, INF, (0, 0.9), (0, 1)),
        ("video", -INF, INF, (0, 1), (0, 1)),
        ("video", -INF, INF, (-0.4, 0.5), (-0.5, 0.5)),
        ("video", -INF, INF, (-0.6, 0.5), (-1, 1)),
        ("video", -INF, INF, (-1, 1), (-1, 1)),
        ("video", -INF, INF, (0, 1.5), (0, 1.5)),
        ("video", -INF, INF, (3, 200), (0, 255)),
        ("video", -INF, INF, (-2.1, 3.8), (-2.1, 3.8)),  # as NormalizeObservation gives
        ("video", -INF, INF, (0, 900), (0, 900)),
        ("video", 0, INF, (2, 900), (0, 900)),  # an end that is declared stays
        ("video", -INF, 10, (-3, 4), (-3, 10)),
        ("video", 0, 0, (0, 0), (0, 1)),
        ("video", 10, INF, (2, 5), (2, 5)),  # an end that the values contradict does not
        ("video", -INF, INF, (700, 700), (700, 701)),
        ("audio", -INF, INF, (-0.3, 0.9), (-1, 1)),
        ("audio", -INF, INF, (0, 0), (-1, 1)),
        ("audio", -INF, INF, (-3, 2), (-3, 3)),
        ("audio", -INF, INF, (-17, 2), (-32_768, 32_768)),
        ("audio", -INF, INF, (-9_000, 8_000), (-32_768, 32_768)),
        ("audio", -INF, INF, (-40_000, 8_000), (-40_000, 40_000)),
        ("audio", -INF, INF, (-(2.0**29), 5), (-(2.0**31), 2.0**31)),
    ],
)
def test_what_is_assumed_of_values(modality, low, high, went, expected):
    assert assumed(spaces.Box(low, high, (64,), np.float32), modality, *went) == expected


def bounded(dtype: Any, low: Any, first_low: Any, high: Any, first_high: Any) -> spaces.Box:
    """Return a space whose first element alone has bounds of its own."""
    lows, highs = np.full(SIDES, low, dtype), np.full(SIDES, high, dtype)
    lows[0, 0], highs[0, 0] = first_low, first_high
    return spaces.Box(lows, highs, dtype=dtype)


def test_an_end_is_declared_by_all_elements_or_by_none():
    assert assumed(bounded(np.float32, 0, 0, INF, 10), "video", 2, 900) == (0, 900)
    assert assumed(bounded(np.float32, -INF, 0, 10, 10), "video", -3, 4) == (-3, 10)
    signed = bounded(np.int16, -32_768, 0, 32_767, 100)  # spans all of its type, one element excepted
    assert assumed(signed, "video", 3, 200) == (0, 255)


def test_without_a_measurement_floats_are_taken_as_before():
    box = spaces.Box(-INF, INF, SIDES, np.float32)
    assert range_of(box, "video") == (0, 1)
    assert range_of(box, "audio") == (-1, 1)
    raw = Shown(box, np.zeros(SIDES, np.float32))
    assert doubts_of(raw, EnvConfig()) == ["video_range"]
    assert doubts_of(raw, EnvConfig(video_range=(0.0, 2.0))) == []


def test_a_rest_level_beyond_the_range_is_refused():
    with pytest.raises(ValueError, match="rest level must be in its range of 0 to 255, got 300"):
        heard(0, 255, np.uint8, 1, rest_level=300.0)
