"""What describes an environment: which one, and how its streams are chosen, read and cut to shape."""

from dataclasses import dataclass, field
from typing import Any, Literal

MAX_SIDE = 4_096  # pixels of a resized picture
MAX_MELS, MAX_FRAMES, MAX_SKIP = 1_024, 4_096, 1_000
MAX_LEVEL = 1e12  # of a value that is seen or heard


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """Which environment, and how its two streams are cut to shape."""

    id: str = "spl/Beacon-v0"  # a Gymnasium id, module:Id or module:Class
    kwargs: dict[str, Any] = field(default_factory=dict)  # passed to the environment
    video_key: str | None = None  # key of the picture in a Dict; null finds it
    audio_key: str | None = None  # key of the sound in a Dict; null finds it
    video_layout: str | None = None  # a letter per axis: HWC, CHW, SHW (S: stacked frames); null finds it
    audio_layout: str | None = None  # likewise: N, NC, CN, TN (T: chunks end to end); null finds it
    video_range: tuple[float, float] | None = None  # values of black and white; null: the bounds of the space
    audio_range: tuple[float, float] | None = None  # values at full scale; null: the bounds of the space
    sample_rate_hz: int | None = None  # of the sound; null asks the environment
    video_size: tuple[int, int] = (84, 84)  # rows, columns after resizing by area
    grey: bool = True  # one channel instead of three
    audio_features: Literal["log_mel", "waveform"] = "log_mel"  # or the newest frame's samples as they are
    num_mels: int = 64  # mel bands; not of a waveform
    audio_frames: int = 8  # log-mel frames per step; not of a waveform
    rest_level: float | None = None  # of an unsigned sound; null asks the environment, else finds it
    stereo: bool = False  # keep left and right apart
    frame_skip: int | None = None  # frames an action is repeated; null: 4 for ALE, else 1
    max_pool: bool | None = None  # brightest of the last two frames; null: true for ALE, else false

    def __post_init__(self) -> None:
        if not 1 <= min(self.video_size) <= max(self.video_size) <= MAX_SIDE:
            raise ValueError(f"video_size must be two numbers in 1..{MAX_SIDE}, got {self.video_size}")
        for name, most in (("num_mels", MAX_MELS), ("audio_frames", MAX_FRAMES), ("frame_skip", MAX_SKIP)):
            if (value := getattr(self, name)) is not None and not 1 <= value <= most:
                raise ValueError(f"{name} must be in 1..{most}, got {value}")
        if self.rest_level is not None and not -MAX_LEVEL < self.rest_level < MAX_LEVEL:
            raise ValueError(f"rest_level must be a level of the sound, got {self.rest_level}")
        if self.sample_rate_hz is not None and not 1_000 <= self.sample_rate_hz <= 768_000:
            raise ValueError(f"sample_rate_hz must be in 1000..768000, got {self.sample_rate_hz}")
        for name in ("video_range", "audio_range"):
            ends = getattr(self, name)
            if ends is not None and not -MAX_LEVEL < ends[0] < ends[1] < MAX_LEVEL:
                raise ValueError(
                    f"{name} must be two numbers within +-{MAX_LEVEL:g}, the lower first, got {ends}"
                )
