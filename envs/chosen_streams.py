"""The streams that an `EnvConfig` chooses from an environment: their processing, and how they are shown."""

from numbers import Real
from typing import Any

import gymnasium

from spl.config.ranges import SampleRate, range_in
from spl.envs.config import EnvConfig
from spl.envs.layouts import PictureForm, SoundForm
from spl.envs.preprocessing import AudioProcessor, VideoProcessor
from spl.envs.space_entries import Stream
from spl.envs.spaces import Streams, find_streams
from spl.envs.state import told_state
from spl.envs.value_ranges import bounds_of, range_of
from spl.envs.wrapping import RENDERED
from spl.records import StreamSpec

USUAL_RANGES = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0), (-32_768.0, 32_767.0))  # not worth a word


def streams_of(env: gymnasium.Env[Any, Any], config: EnvConfig) -> Streams:
    """Return the streams that ``config`` chooses of an environment's observations.

    Raises:
        ValueError: if nothing serves, a key does not exist or does not serve, or several could be meant.
    """
    return find_streams(
        env.observation_space,
        video_key=RENDERED if config.render and config.video_key is None else config.video_key,
        audio_key=config.audio_key,
        video_layout=config.video_layout,
        audio_layout=config.audio_layout,
        state_keys=config.state_keys,
        has_rate=bool(_rates_of(env, config))
        or config.audio_range is not None
        or config.audio_layout is not None,
    )


def doubts_of(env: gymnasium.Env[Any, Any], config: EnvConfig) -> list[str]:
    """Return the options that neither ``config`` nor the spaces settle: they are best measured.

    Raises:
        ValueError: as :func:`streams_of`.
    """
    found = []
    for stream in streams_of(env, config)[:2]:
        if stream is None:
            continue
        range_name, layout_name = f"{stream.modality}_range", f"{stream.modality}_layout"
        if getattr(config, range_name) is None and bounds_of(stream.box, stream.modality) is None:
            found.append(range_name)
        if getattr(config, layout_name) is None and stream.is_ambiguous:
            found.append(layout_name)
    return found


def declared_by(env: gymnasium.Env[Any, Any], name: str) -> Any:
    """Return the attribute ``name`` of an environment or of one of its wrappers, None where none has it."""
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None


def sample_rate_of(env: gymnasium.Env[Any, Any], config: EnvConfig) -> int:
    """Return the sound's rate in Hz: the option's, else the environment's own word.

    Raises:
        ValueError: if there is none, or it is no whole number in the range of `SampleRate`.
    """
    rates, allowed = _rates_of(env, config), range_in(SampleRate)
    assert allowed is not None
    place = "attribute sample_rate_hz or metadata['audio_sample_rate_hz'] of the environment"
    if not rates:
        raise ValueError(
            f"{config.id} does not declare its audio's sample rate; give --env.sample_rate_hz, or set the "
            f"{place}"
        )
    rate = rates[0]
    is_whole = not isinstance(rate, bool) and isinstance(rate, Real) and rate % 1 == 0
    if not (is_whole and allowed.holds(rate)):
        raise ValueError(
            f"{config.id} declares a sample rate of {rate!r}; it must be a whole number {allowed}: set the "
            f"{place}, or give --env.sample_rate_hz"
        )
    return int(rate)


def _rates_of(env: gymnasium.Env[Any, Any], config: EnvConfig) -> list[Any]:
    """Return the rates that are declared for the sound, the most binding first."""
    told = (declared_by(env, "sample_rate_hz"), (env.metadata or {}).get("audio_sample_rate_hz"))
    return [rate for rate in (config.sample_rate_hz, *told) if rate is not None]


def video_processor_of(
    stream: Stream, config: EnvConfig, size: tuple[int, int] | None, *, grey: bool
) -> VideoProcessor:
    """Return what cuts the pictures of a stream to shape."""
    assert isinstance(stream.form, PictureForm)
    return VideoProcessor(
        stream.form, stream.box, range_of(stream.box, "video", config.video_range), size, grey=grey
    )


def audio_processor_of(
    stream: Stream, env: gymnasium.Env[Any, Any], config: EnvConfig, *, stereo: bool
) -> AudioProcessor:
    """Return what brings the sounds of a stream to shape; where it rests, the option says, else ``env``."""
    assert isinstance(stream.form, SoundForm)
    rest_level = declared_by(env, "sound_rest_level") if config.rest_level is None else config.rest_level
    found = range_of(stream.box, "audio", config.audio_range)
    return AudioProcessor(stream.form, stream.box, found, stereo=stereo, rest_level=rest_level)


def describe_streams(spec: StreamSpec, chosen: dict[str, Any]) -> str:
    """Return a sentence that says which streams were ``chosen`` (as an environment describes itself)."""
    words = []
    if spec.has_video:
        words.append(
            f"video {_key(chosen['video'])}{_shape(chosen['video']['from'])}{_taken(chosen['video'])} -> "
            f"{_shape(spec.video)}"
        )
    if spec.has_audio:
        audio = chosen["audio"]
        source = f"{_key(audio)}{_shape(audio['from'])} at {audio['sample_rate_hz']:,} Hz{_taken(audio)}"
        warning = f" ({audio['warning']})" if "warning" in audio else ""
        words.append(f"audio {source} -> {_shape(spec.audio)}{warning}")
    if (state := told_state(chosen)) is not None:
        words.append(f"state {state}")
    behind = ", ".join(chosen.get("wrappers", ()))
    return ", ".join(words) + (f"; in {behind}" if behind else "")


def describe_left_out(chosen: dict[str, Any]) -> list[str]:
    """Return a sentence for each entry of the observation that the agent does not get."""
    fault = ", which 'spl check env' calls a fault"
    return [
        f"{one['key']!r}, {one['what']}: {one['why']}{fault if one['is_fault'] else ''}"
        for one in chosen.get("left_out", ())
    ]


def _taken(chosen: dict[str, Any]) -> str:
    """Return what is taken of a stream that is more than one picture or chunk, and its range if unusual."""
    words = [chosen["taken"]] if chosen["taken"] else []
    low, high = chosen["range"]
    if (low, high) not in USUAL_RANGES:
        words.append(f"{low:,.5g} to {high:,.5g}")
    return f" ({', '.join(words)})" if words else ""


def _key(chosen: dict[str, Any]) -> str:
    return "" if chosen["key"] is None else f"'{chosen['key']}' "


def _shape(shape: Any) -> str:
    sides = shape[0] if isinstance(shape[0], list) else shape
    return " x ".join(str(side) for side in sides)
