"""What is said of the streams that were chosen, and of what was left out."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from spl.envs.check.config import CheckEnvConfig
from spl.envs.check.examine import examine
from spl.envs.chosen_streams import describe_left_out, describe_streams, sample_rate_of
from spl.envs.config import EnvConfig
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


class Declares(gymnasium.Env[Any, Any]):
    """Declares the rate of its noise."""

    observation_space = spaces.Box(-1.0, 1.0, (400,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, rate: Any = 8_000) -> None:
        self.sample_rate_hz, self.age = rate, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self.age = 0
        return self.noise(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        return self.noise(), 0.0, self.age == 9, False, {}

    def noise(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, 400).astype(np.float32)


@pytest.mark.parametrize("rate", [1_000, 768_000, 16_000.0, np.int64(44_100), np.float32(8_000)])
def test_a_whole_rate_in_range_is_taken(rate: Any) -> None:
    found = sample_rate_of(Declares(rate), EnvConfig(id="noise"))
    assert (found, type(found)) == (int(rate), int)


@pytest.mark.parametrize(
    "rate", [0, -5, 999, 768_001, 16_000.7, np.nan, np.inf, True, "16000", [16_000], np.zeros(2)]
)
def test_another_rate_is_refused_in_a_sentence(rate: Any) -> None:
    with pytest.raises(
        ValueError, match=r"noise declares a sample rate of .*; it must be .* in 1000..768000"
    ):
        sample_rate_of(Declares(rate), EnvConfig(id="noise"))
    assert sample_rate_of(Declares(rate), EnvConfig(id="noise", sample_rate_hz=8_000)) == 8_000


def test_the_checker_tells_a_rate_that_cannot_be() -> None:
    config = EnvConfig(id=f"{__name__}:Declares", kwargs={"rate": 0})
    found = {one.name: one for one in examine(CheckEnvConfig(env=config, num_steps=20))}
    assert found["rate"][1:3] == ("fault", f"{__name__}:Declares declares a sample rate of 0")
    assert found["rate"].fix.startswith("it must be a whole number in 1000..768000: set the attribute")
    assert [one.name for one in found.values() if one.verdict == "fault"] == ["rate"]
