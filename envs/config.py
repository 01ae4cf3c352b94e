"""The configuration of an environment: which one, and how its streams are chosen and processed."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from spl.config.fields import check_fields
from spl.config.named_class import Named, parts_of_named
from spl.config.ranges import Finite, Range, SampleRate, Side

Mels = Annotated[int, Range(1, 1_024)]
Frames = Annotated[int, Range(1, 4_096)]
Skip = Annotated[int, Range(1, 1_000)]
Bins = Annotated[int, Range(2, 1_024)]
StateKeys = Literal["none"] | tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """Which environment, and how its two streams and its actions are cut to shape."""

    id: str = "spl/Beacon-v0"  # a Gymnasium id, module:Id or module:Class
    kwargs: dict[str, Any] = field(default_factory=dict)  # keyword arguments for the environment
    wrappers: tuple[Named, ...] = ()  # module:Wrapper, the innermost first; in YAML with arguments
    render: bool = False  # take the picture from render(), if the observation has none
    video_key: str | None = None  # key of the video in a Dict; null: found by name
    audio_key: str | None = None  # key of the audio in a Dict; null: found by name
    video_layout: str | None = None  # a letter per axis: HWC, CHW, SHW (S: stacked frames); null: inferred
    audio_layout: str | None = None  # a letter per axis: N, NC, CN, TN (T: chunks); null: inferred
    video_range: tuple[Finite, Finite] | None = None  # black and white; null: the bounds of the space
    audio_range: tuple[Finite, Finite] | None = None  # values at full scale; null: the bounds of the space
    state_keys: StateKeys = None  # vectors of the state, in order; null: all but the streams; none: no state
    sample_rate_hz: SampleRate | None = None  # of the audio; null: as the environment declares
    video_size: tuple[Side, Side] = (84, 84)  # rows and columns after resizing
    grey: bool = True  # greyscale instead of colour
    audio_features: Literal["log_mel", "waveform"] = "log_mel"  # log-mel, or raw samples
    num_mels: Mels = 64  # mel bands of the log-mel
    audio_frames: Frames = 8  # log-mel frames per step
    rest_level: Finite | None = None  # of unsigned audio; null: as the environment declares, else inferred
    stereo: bool = False  # two audio channels instead of their mean
    bins: Bins | None = None  # values of each dimension of a Box action, evenly spaced; null: 3
    frame_skip: Skip | None = None  # frames per action; null: 4 for ALE and retro:, else 1
    max_pool: bool | None = None  # maximum of the last two frames; null: true for ALE, else false

    def __post_init__(self) -> None:
        check_fields(self)
        for entry in self.wrappers:
            parts_of_named(entry, "each of wrappers")
        if isinstance(self.state_keys, tuple) and not 0 < len(self.state_keys) == len({*self.state_keys}):
            raise ValueError(
                f"state_keys must name vectors, each once, or be none, got {list(self.state_keys)}"
            )
        for name in ("video_range", "audio_range"):
            ends = getattr(self, name)
            if ends is not None and not ends[0] < ends[1]:
                raise ValueError(f"{name} must be two numbers, the lower first, got {ends}")
