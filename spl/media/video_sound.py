"""The sound of a video as samples: without gaps, step by step. What decodes it is not here."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

GAP_S = 0.01  # sound whose timestamp lies farther from where the last ended begins again
CHANNELS = {"mono": 1, "stereo": 2}  # by the name of a layout

Sound = NDArray[np.float32]


def in_steps(chunks: Iterator[Sound], rate_hz: int, layout: str, step_s: float) -> Iterator[Sound]:
    """Yield the samples ``(C, N)`` of each step, without end."""
    num_channels = CHANNELS[layout]
    rest = np.zeros((num_channels, 0), np.float32)
    for step in count():
        needed = round((step + 1) * rate_hz * step_s) - round(step * rate_hz * step_s)
        parts, length = [rest], rest.shape[1]
        while length < needed:
            chunk = next(chunks, None)
            parts.append(np.zeros((num_channels, needed - length), np.float32) if chunk is None else chunk)
            length += parts[-1].shape[1]
        heard = np.concatenate(parts, axis=1)
        rest = heard[:, needed:]
        yield heard[:, :needed]


def without_gaps(parts: Iterator[tuple[int, Sound]], rate_hz: int, layout: str) -> Iterator[Sound]:
    """Yield the sound from zero on, gaps filled with silence and overlaps cut.

    Args:
        parts: samples ``(C, n)`` with the place of the first of them; a single channel is repeated.
        rate_hz: of the samples.
        layout: the name of the channels that are wanted.
    """
    position = 0
    num_channels = CHANNELS[layout]
    for begin, sound in parts:
        chunk = np.broadcast_to(sound, (num_channels, sound.shape[1]))  # one channel fills both
        while begin > position:
            silence = np.zeros((num_channels, min(rate_hz, begin - position)), np.float32)
            position += silence.shape[1]
            yield silence
        if (kept := chunk[:, position - begin :]).shape[1]:
            position += kept.shape[1]
            yield kept


def flushed(resampler: Any) -> Iterator[Sound]:
    """Yield what a resampler, or None, still holds."""
    if resampler is not None:
        for part in resampler.resample(None):
            if part is not None:  # of a resampler that had nothing to do
                yield samples_of(part)


def samples_of(frame: Any) -> Sound:
    """Return the samples ``(C, n)`` of a frame of 32 bits, in -1..1."""
    levels: Sound = frame.to_ndarray() * np.float32(2.0**-31)  # (C, n)
    return levels
