"""Which entries of an observation space are a picture and a sound: found by shape and type, then by name."""

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

MIN_SAMPLES = 64  # a shorter vector is a list of numbers, not a sound
MIN_SIDE = 8  # pixels; a smaller array is not a picture
VIDEO_NAMES = ("video", "image", "screen", "rgb", "pixels", "frame", "camera")
AUDIO_NAMES = ("audio", "sound", "waveform", "wave", "mic", "microphone")
SERVES = (
    "a picture is a Box (H, W), (H, W, 1), (H, W, 3) or (1|3, H, W) of uint8 or of floats in [0, 1]; "
    "a sound is a Box (N,), (N, 1|2) or (1|2, N) of uint8, int16 or float"
)


class Streams(NamedTuple):
    """The streams chosen in an observation space; a key of None with a space means the space itself."""

    video: spaces.Box | None
    video_key: str | None
    audio: spaces.Box | None
    audio_key: str | None


def is_video(space: spaces.Space[Any]) -> bool:
    """Whether a space has the shape and type of a picture."""
    if not isinstance(space, spaces.Box) or not (
        space.dtype == np.uint8 or np.issubdtype(space.dtype, np.floating)
    ):
        return False
    shape = space.shape
    if len(shape) == 3 and (shape[2] in (1, 3) or shape[0] in (1, 3)):
        sides: tuple[int, ...] = shape[:2] if shape[2] in (1, 3) else shape[1:]
    else:
        sides = shape if len(shape) == 2 else ()
    return len(sides) == 2 and min(sides) >= MIN_SIDE


def is_audio(space: spaces.Space[Any]) -> bool:
    """Whether a space has the shape and type of a sound."""
    if not isinstance(space, spaces.Box) or not (
        space.dtype in (np.uint8, np.int16) or np.issubdtype(space.dtype, np.floating)
    ):
        return False
    shape = space.shape
    if len(shape) == 2 and 0 < min(shape) <= 2:
        return max(shape) >= MIN_SAMPLES
    return len(shape) == 1 and shape[0] >= MIN_SAMPLES


def _choose(found: dict[str, spaces.Space[Any]], wanted: str | None, sense: str) -> str | None:
    """Return the key of the stream for ``sense``, or None where there is none."""
    test, names = (is_video, VIDEO_NAMES) if sense == "video" else (is_audio, AUDIO_NAMES)
    option = f"env.{sense}_key"
    if wanted is not None:
        if wanted not in found:
            raise ValueError(f"{option}={wanted} is not in the observation; its keys: {_listed(found)}")
        if not test(found[wanted]):
            raise ValueError(f"{option}={wanted} is {_told(found[wanted])}, which does not serve: {SERVES}")
        return wanted
    fitting = [key for key, space in found.items() if test(space)]
    named = [key for key in fitting if any(name in key.lower() for name in names)]
    if len(fitting) > 1 and len(named) != 1:
        raise ValueError(
            f"several entries could be the {sense}: {', '.join(fitting)}; choose one with --{option} KEY"
        )
    return (named if len(fitting) > 1 else fitting or [None])[0]  # type: ignore[list-item]


def _told(space: spaces.Space[Any]) -> str:
    return f"{type(space).__name__} {space.shape} {space.dtype}"


def _listed(found: dict[str, spaces.Space[Any]]) -> str:
    return ", ".join(f"{key} ({_told(space)})" for key, space in found.items()) or "none"


def find_streams(space: spaces.Space[Any], *, video_key: str | None, audio_key: str | None) -> Streams:
    """Return the streams that an observation space offers.

    Raises:
        ValueError: if nothing serves, a key does not exist or does not serve, or several could be meant.
    """
    if isinstance(space, spaces.Dict):
        found = dict(space.spaces)
        video, audio = _choose(found, video_key, "video"), _choose(found, audio_key, "audio")
        if video is None and audio is None:
            raise ValueError(f"no picture and no sound in the observation; found {_listed(found)}; {SERVES}")
        return Streams(
            None if video is None else found[video],  # type: ignore[arg-type]
            video,
            None if audio is None else found[audio],  # type: ignore[arg-type]
            audio,
        )
    for key in (video_key, audio_key):
        if key is not None:
            raise ValueError(f"the observation is not a Dict ({_told(space)}): it has no key {key!r}")
    if is_video(space):
        return Streams(space, None, None, None)  # type: ignore[arg-type]
    if is_audio(space):
        return Streams(None, None, space, None)  # type: ignore[arg-type]
    raise ValueError(f"no picture and no sound in the observation; found {_told(space)}; {SERVES}")
