"""Preprocessing of video and audio of one environment: grey, resizing, rest level, channels."""

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.layouts import PictureForm, SoundForm
from spl.envs.value_ranges import Beyond, Range, swing_of

GREY = np.array([[0.299, 0.587, 0.114]], np.float32)  # ITU-R BT.601 luma of red, green, blue


def area_weights(size: int, new_size: int) -> NDArray[np.float32]:
    """Return ``(new_size, size)`` rows that sum to 1: how much of each old pixel a new one covers."""
    edges = np.linspace(0.0, size, new_size + 1)
    covered = np.minimum(edges[1:, None], np.arange(1, size + 1)) - np.maximum(
        edges[:-1, None], np.arange(size)
    )
    weights: NDArray[np.float32] = (np.maximum(0.0, covered) * new_size / size).astype(np.float32)
    return weights


class VideoProcessor:
    """Cuts pictures of one space to ``(C, rows, columns)`` uint8: grey by ITU-R BT.601, resized by area.

    The low end of the range becomes 0, the high end 255. Alpha is laid on black. A ``size`` of None leaves
    rows and columns as they are.
    """

    def __init__(
        self, form: PictureForm, box: spaces.Box, found: Range, size: tuple[int, int] | None, *, grey: bool
    ) -> None:
        self.form = form
        rows, columns = form.rows, form.columns
        size = (rows, columns) if size is None else size
        self.range, self.beyond = found, Beyond(box, found)
        self.scale = 255.0 / (found.high - found.low)
        self.to_grey = grey and form.num_channels == 3
        self.shape = (1 if grey else form.num_channels, *size)
        self.resizes = (rows, columns) != tuple(size)
        self.is_as_is = box.dtype == np.uint8 and found == (0.0, 255.0) and not form.has_alpha
        self._rows, self._columns = area_weights(rows, size[0]), area_weights(columns, size[1]).T.copy()

    @property
    def weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """By which a picture is multiplied from the left and from the right to resize it."""
        return self._rows, self._columns

    def __call__(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        """Return ``(C, rows, columns)``."""
        picture = self.form.arrange(picture)  # (C, H, W)
        if self.is_as_is and not self.resizes and not self.to_grey:
            return np.ascontiguousarray(picture)
        pixels = self._floats(self.beyond(picture))
        if self.to_grey:
            pixels = np.tensordot(GREY, pixels, axes=1).astype(np.float32)  # (1, H, W)
        if self.resizes:
            pixels = np.asarray(self._rows @ pixels @ self._columns, np.float32)
        cut: NDArray[np.uint8] = np.rint(np.clip(pixels * self.scale, 0.0, 255.0)).astype(np.uint8)
        return cut

    def _floats(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """Return the colours above the low end of the range, alpha multiplied in."""
        low = self.range.low
        pixels = picture.astype(np.float32) if low == 0.0 else (picture.astype(np.float64) - low)
        if self.form.has_alpha:
            pixels = pixels[:-1] * (pixels[-1:] * (self.scale / 255.0))
        return pixels.astype(np.float32, copy=False)


class AudioProcessor:
    """Brings sounds of one space to ``(C, N)`` float32, at rest at 0, full scale at 1.

    An unsigned sound of bytes spans 256 levels of 1/128 each, so one that rests at 0 reaches 1.99. Of more
    than two channels, mono is their mean and stereo the first two.

    Raises:
        ValueError: if the rest level lies beyond the range.
    """

    def __init__(
        self, form: SoundForm, box: spaces.Box, found: Range, *, stereo: bool, rest_level: float | None
    ) -> None:
        self.form = form
        self.range, self.beyond = found, Beyond(box, found)
        self.swing = swing_of(box, found)
        self.num_samples, self.num_channels = form.num_samples, form.num_channels
        self.mixes = self.num_channels >= 2 and not stereo
        self.shape = (1 if self.mixes else min(2, self.num_channels), self.num_samples)
        self.rest = rest_level if self.swing.is_unsigned else 0.0  # None: found in the first sound heard
        if self.rest is not None and not found.low <= self.rest <= self.swing.top:
            raise ValueError(f"the audio's rest level must be in its range of {found}, got {self.rest:g}")
        is_bytes = box.dtype == np.uint8 and found == (0.0, 255.0)
        self.kept_dtype: Literal["float16", "int8"] = "int8" if is_bytes else "float16"

    @property
    def loudest(self) -> float:
        """The greatest level that the waveform can have."""
        return self.swing.loudest(self.swing.middle if self.rest is None else self.rest)

    def __call__(self, sound: NDArray[Any]) -> NDArray[np.float32]:
        """Return ``(C, n)``; an unsigned sound rests where its first, constant chunk lies, else midway."""
        if self.rest is None and not sound.size:
            return np.zeros((self.shape[0], 0), np.float32)
        if self.rest is None:
            self.rest = float(sound.flat[0]) if (sound == sound.flat[0]).all() else self.swing.middle
        wave = self.form.arrange(self.beyond(sound)).astype(np.float32)  # (C, N)
        if self.swing.is_unsigned:
            wave = wave - np.float32(self.rest)
        wave = wave / np.float32(self.swing.full_scale)
        return wave.mean(axis=0, keepdims=True) if self.mixes else wave[:2]

    def keep(self, wave: NDArray[np.float32]) -> NDArray[np.float16] | NDArray[np.int8]:
        """Return ``(C, 1, N)`` of ``wave (C, N)`` as it is remembered: bytes stay bytes, rest is 0.

        An unsigned sound that rests at 0 is cut at half of its range.
        """
        if self.kept_dtype == "int8":
            levels: NDArray[np.int8] = np.clip(np.rint(128.0 * wave), -128.0, 127.0).astype(np.int8)
            return levels[:, None]
        return wave.astype(np.float16)[:, None]
