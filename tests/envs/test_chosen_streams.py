"""What is said of the streams that were chosen, and of what was left out."""

from typing import Any

import pytest

from spl.envs.chosen_streams import describe_left_out, describe_streams
from spl.records import StreamSpec

SPEC = StreamSpec((1, 84, 84), (1, 64, 8))
PICTURE = {"key": "screen", "from": [[210, 160, 3], "uint8"], "taken": "", "range": [0.0, 255.0]}
SOUND = {"key": None, "from": [[1600], "int16"], "taken": "", "sample_rate_hz": 16_000}


def test_a_usual_range_is_not_worth_a_word() -> None:
    chosen = {"video": PICTURE, "audio": {**SOUND, "range": [-32_768.0, 32_767.0]}}
    assert describe_streams(SPEC, chosen) == (
        "video 'screen' 210 x 160 x 3 -> 1 x 84 x 84, audio 1600 at 16,000 Hz -> 1 x 64 x 8"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"range": [0.0, 1.0]}, ""),
        ({"range": [-1.0, 1.0]}, ""),
        ({"range": [0.0, 65_535.0]}, " (0 to 65,535)"),
        ({"range": [-1.0, 255.0]}, " (-1 to 255)"),
        ({"taken": "the newest of 4 frames"}, " (the newest of 4 frames)"),
        ({"taken": "depth left out", "range": [-2.0, 2.0]}, " (depth left out, -2 to 2)"),
    ],
)
def test_what_is_unusual_is_said(change: dict[str, Any], told: str) -> None:
    spec = SPEC._replace(audio=(0, 0, 0))
    found = describe_streams(spec, {"video": {**PICTURE, **change}})
    assert found == f"video 'screen' 210 x 160 x 3{told} -> 1 x 84 x 84"


def test_a_warning_on_the_sound_is_said() -> None:
    chosen = {"audio": {**SOUND, "range": [-1.0, 1.0], "warning": "half of it is skipped"}}
    found = describe_streams(SPEC._replace(video=(0, 0, 0)), chosen)
    assert found == "audio 1600 at 16,000 Hz -> 1 x 64 x 8 (half of it is skipped)"


def test_what_is_left_out_is_said_with_its_fault() -> None:
    entry = {"key": "pose", "what": "Box (4,)", "why": "no picture", "is_fault": False}
    assert describe_left_out({}) == []
    assert describe_left_out({"left_out": [entry, {**entry, "key": "mic", "is_fault": True}]}) == [
        "'pose', Box (4,): no picture",
        "'mic', Box (4,): no picture, which 'spl check env' calls a fault",
    ]
