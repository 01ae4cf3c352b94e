"""Frames and sound written as a video file that plays in a browser; `spl.media.video_reader` reads it."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.media.video_files import pyav

CODECS = {  # of picture and sound in each kind of file
    ".mp4": ("libx264", "aac"),
    ".mov": ("libx264", "aac"),
    ".mkv": ("libx264", "aac"),
    ".webm": ("libvpx-vp9", "libopus"),
    ".avi": ("mpeg4", "pcm_s16le"),  # has no place to tell that a codec such as MP3 begins with a delay
}
OPTIONS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "30", "b": "0", "cpu-used": "5", "deadline": "realtime"},
    "libvpx": {"crf": "10", "cpu-used": "8", "deadline": "realtime"},
    "mpeg4": {"qscale": "4"},
}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
HIGHEST_RATE_HZ = 48_000  # that every browser plays
MOST_AHEAD = 4  # frames that are made and wait for the encoder
CHUNK_S = 0.1  # of sound that is encoded at once


def write_video(
    path: Path | str,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float | Fraction,
    audio: NDArray[Any] | Iterable[NDArray[Any]] | None = None,
    sample_rate_hz: int | None = None,
    video_codec: str | None = None,
    audio_codec: str | None = None,
    video_options: Mapping[str, str] | None = None,
) -> None:
    """Write a video: beside, then renamed, so that a kill leaves no half of one.

    Frames and sound may be iterators: neither is held whole, and a frame's sound is asked for after it, in a
    thread that encodes while the next ones are made. Sample ``n`` sounds at ``n / sample_rate_hz``
    and frame ``k`` is shown from ``k / fps`` on. A rate that the sound's codec does not know (AAC: 30,720 Hz)
    is brought to the next higher that it does. An odd side is made even by doubling its last line.

    Args:
        path: its suffix is one of ``CODECS``.
        frames: ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)`` uint8, all alike, at least one.
        fps: frames a second.
        audio: ``(n,)`` or ``(n, channels)`` in -1..1, or an iterable of such; 1, 2 or 6 channels.
        sample_rate_hz: of ``audio``.
        video_codec: FFmpeg's name of an encoder; None: that of ``CODECS``.
        audio_codec: likewise.
        video_options: of FFmpeg's encoder of pictures; None: those of ``OPTIONS``.

    Raises:
        ValueError: if the suffix or a codec is unknown, or frames or sound do not serve.
        OSError: if the file cannot be written.
        UsageError: if PyAV is not installed.
    """
    path = Path(path)
    if (suffix := path.suffix.lower()) not in CODECS:
        raise ValueError(f"a film's name must end in one of {', '.join(CODECS)}, got {path.name}")
    if (audio is None) != (sample_rate_hz is None):
        raise ValueError(
            f"audio and sample_rate_hz must be given together, got {'no ' if audio is None else ''}audio "
            f"and sample_rate_hz {sample_rate_hz}"
        )
    codecs = video_codec or CODECS[suffix][0], audio_codec or CODECS[suffix][1]
    beside = path.with_name(f".{path.stem}.{os.getpid()}.new{path.suffix}")
    options = {"movflags": "+faststart"} if suffix in (".mp4", ".mov") else {}  # plays while it loads
    try:
        with pyav().open(str(beside), "w", options=options) as container:
            rate = Fraction(fps).limit_denominator(100_000)
            pictures = _Pictures(container, codecs[0], rate, frames, video_options)
            sound = None
            if audio is not None and sample_rate_hz is not None:
                sound = _Sound(container, codecs[1], sample_rate_hz, audio)
            _write_beside(pictures, sound)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _write_beside(pictures: "_Pictures", sound: "_Sound | None") -> None:
    """Write both tracks: a thread encodes frames while the next ones are made, and asks for their sound."""

    def write(pixels: NDArray[np.uint8]) -> None:
        end_s = pictures.write(pixels)
        if sound is not None:
            sound.write_until(end_s)

    with ThreadPoolExecutor(1) as encoder:
        waiting = deque[Future[None]]()
        for pixels in pictures.checked():
            waiting.append(encoder.submit(write, pixels))
            if len(waiting) > MOST_AHEAD:
                waiting.popleft().result()
        for one in waiting:
            one.result()
    pictures.finish()
    if sound is not None:
        sound.finish()


class _Pictures:
    """The picture track of a file that is written."""

    def __init__(
        self,
        container: Any,
        codec: str,
        fps: Fraction,
        frames: Iterable[NDArray[np.uint8]],
        options: Mapping[str, str] | None,
    ) -> None:
        self._frames = iter(frames)
        self._first = next(self._frames, None)
        if self._first is None:
            raise ValueError("a video must have at least one frame, got none")
        self._shape = self._first.shape
        if len(self._shape) not in (2, 3) or self._shape[2:] not in ((), (1,), (3,)) or 0 in self._shape:
            raise ValueError(f"a frame must have shape (H, W[, 1 or 3]), got {self._shape}")
        self._container, self._fps, self._num_written = container, fps, 0
        self._stream = _stream(container, codec, fps)
        rows, columns = self._shape[:2]
        self._odd = ((0, rows % 2), (0, columns % 2))
        self._stream.height, self._stream.width = rows + rows % 2, columns + columns % 2
        self._stream.pix_fmt = "yuv420p" if codec != "mjpeg" else "yuvj420p"
        self._stream.options = OPTIONS.get(codec, {}) if options is None else dict(options)

    def checked(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames as they are encoded, ``(H, W, 3)`` or ``(H, W)`` with even sides."""
        assert self._first is not None
        for number, picture in enumerate(chain([self._first], self._frames)):
            if picture.shape != self._shape or picture.dtype != np.uint8:
                raise ValueError(
                    f"frame {number} must be uint8 of shape {self._shape} as the first, "
                    f"got {picture.dtype} of shape {picture.shape}"
                )
            pixels = picture[:, :, 0] if picture.shape[2:] == (1,) else picture
            if any(more for _, more in self._odd):
                pixels = np.pad(pixels, (*self._odd, (0, 0))[: pixels.ndim], mode="edge")
            yield pixels.copy()  # whoever makes frames may draw the next one into the same array

    def write(self, pixels: NDArray[np.uint8]) -> float:
        """Write the next frame, and return where it ends, in seconds."""
        frame = pyav().VideoFrame.from_ndarray(pixels, "gray" if pixels.ndim == 2 else "rgb24")
        frame.pts, frame.time_base = self._num_written, 1 / self._fps
        self._container.mux(self._stream.encode(frame))
        self._num_written += 1
        return float(self._num_written / self._fps)

    def finish(self) -> None:
        """Write what the encoder holds back."""
        self._container.mux(self._stream.encode(None))


class _Sound:
    """The sound track of a file that is written."""

    def __init__(
        self, container: Any, codec: str, rate_hz: int, audio: NDArray[Any] | Iterable[NDArray[Any]]
    ) -> None:
        self._chunks = _chunks(audio, max(1, round(rate_hz * CHUNK_S)))
        self._first = next(self._chunks, None)  # tells the number of channels
        num_channels = 1 if self._first is None else self._first.shape[0]
        if num_channels not in LAYOUTS:
            raise ValueError(f"a sound must have 1, 2 or 6 channels, got {num_channels}")
        self._container, self._rate_hz, self._layout = container, rate_hz, LAYOUTS[num_channels]
        known = pyav().codec.Codec(codec, "w").audio_rates or [rate_hz]
        played = [rate for rate in known if rate <= HIGHEST_RATE_HZ] or known
        coded_hz = min((rate for rate in played if rate >= rate_hz), default=max(played))
        self._stream = _stream(container, codec, coded_hz)
        self._stream.layout = self._layout
        self._position = 0

    def write_until(self, end_s: float) -> None:
        """Write what sounds before ``end_s``, a little more; no later sound is asked for."""
        while self._position < end_s * self._rate_hz - 0.5:
            samples = next(self._chunks, None) if self._first is None else self._first
            self._first = None
            if samples is None:
                break
            frame = pyav().AudioFrame.from_ndarray(samples, "fltp", self._layout)
            frame.sample_rate, frame.time_base = self._rate_hz, Fraction(1, self._rate_hz)
            frame.pts = self._position
            self._container.mux(self._stream.encode(frame))
            self._position += frame.samples

    def finish(self) -> None:
        """Write what is left."""
        self.write_until(float("inf"))
        self._container.mux(self._stream.encode(None))


def _stream(container: Any, codec: str, rate: Any) -> Any:
    av = pyav()
    try:
        return container.add_stream(codec, rate=rate)
    except (av.codec.codec.UnknownCodecError, av.FFmpegError) as error:
        raise ValueError(f"this FFmpeg writes no {codec}: choose another codec") from error


def _chunks(audio: NDArray[Any] | Iterable[NDArray[Any]], length: int) -> Iterator[NDArray[np.float32]]:
    """Yield ``(C, n)`` with ``n`` at most ``length``."""
    for part in [audio] if isinstance(audio, np.ndarray) else audio:
        if part.ndim not in (1, 2) or part.dtype.kind != "f":
            raise ValueError(
                f"audio must be floats of shape (n,) or (n, channels), got {part.dtype} of shape {part.shape}"
            )
        channels = part[:, None] if part.ndim == 1 else part  # (n, C)
        for start in range(0, len(channels), length):
            yield np.ascontiguousarray(channels[start : start + length].T, np.float32)
