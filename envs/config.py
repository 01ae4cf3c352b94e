"""What describes an environment: which one, and how its streams are chosen, read and cut to shape."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from spl.config.ranges import Finite, Range, SampleRate, Side, check_ranges

Mels = Annotated[int, Range(1, 1_024)]
Frames = Annotated[int, Range(1, 4_096)]
Skip = Annotated[int, Range(1, 1_000)]


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """Which environment, and how its two streams are cut to shape."""

    id: str = "spl/Beacon-v0"  # a Gymnasium id, module:Id or module:Class
    kwargs: dict[str, Any] = field(default_factory=dict)  # passed to the environment
    video_key: str | None = None  # key of the picture in a Dict; null finds it
    audio_key: str | None = None  # key of the sound in a Dict; null finds it
    video_layout: str | None = None  # a letter per axis: HWC, CHW, SHW (S: stacked frames); null finds it
    audio_layout: str | None = None  # likewise: N, NC, CN, TN (T: chunks end to end); null finds it
    video_range: tuple[Finite, Finite] | None = None  # values of black and white; null: the space's bounds
    audio_range: tuple[Finite, Finite] | None = None  # values at full scale; null: the bounds of the space
    sample_rate_hz: SampleRate | None = None  # of the sound; null asks the environment
    video_size: tuple[Side, Side] = (84, 84)  # rows, columns after resizing by area
    grey: bool = True  # one channel instead of three
    audio_features: Literal["log_mel", "waveform"] = "log_mel"  # or the newest frame's samples as they are
    num_mels: Mels = 64  # mel bands; not of a waveform
    audio_frames: Frames = 8  # log-mel frames per step; not of a waveform
    rest_level: Finite | None = None  # of an unsigned sound; null asks the environment, else finds it
    stereo: bool = False  # keep left and right apart
    frame_skip: Skip | None = None  # frames an action is repeated; null: 4 for ALE, else 1
    max_pool: bool | None = None  # brightest of the last two frames; null: true for ALE, else false

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("video_range", "audio_range"):
            ends = getattr(self, name)
            if ends is not None and not ends[0] < ends[1]:
                raise ValueError(f"{name} must be two numbers, the lower first, got {ends}")
