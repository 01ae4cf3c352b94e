"""Cutting one environment's pictures and sounds to shape: grey, area, rest level, channels."""

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

GREY = np.array([[0.299, 0.587, 0.114]], np.float32)  # ITU-R BT.601 luma of red, green, blue


def area_weights(size: int, new_size: int) -> NDArray[np.float32]:
    """Return ``(new_size, size)`` rows that sum to 1: how much of each old pixel a new one covers."""
    edges = np.linspace(0.0, size, new_size + 1)
    covered = np.minimum(edges[1:, None], np.arange(1, size + 1)) - np.maximum(
        edges[:-1, None], np.arange(size)
    )
    weights: NDArray[np.float32] = (np.maximum(0.0, covered) * new_size / size).astype(np.float32)
    return weights


class Eye:
    """Cuts pictures of one space to ``(C, rows, columns)`` uint8: grey by ITU-R BT.601, resized by area.

    A ``size`` of None leaves rows and columns as they are.
    """

    def __init__(self, space: spaces.Box, size: tuple[int, int] | None, *, grey: bool) -> None:
        shape = space.shape
        self.channel_axis = None if len(shape) == 2 else (2 if shape[2] in (1, 3) else 0)
        num_channels = 1 if self.channel_axis is None else shape[self.channel_axis]
        rows, columns = (side for axis, side in enumerate(shape) if axis != self.channel_axis)
        size = (rows, columns) if size is None else size
        self.scale = 255.0 if np.issubdtype(space.dtype, np.floating) else 1.0
        self.to_grey = grey and num_channels == 3
        self.shape = (1 if grey else num_channels, *size)
        self.resizes = (rows, columns) != tuple(size)
        self._rows, self._columns = area_weights(rows, size[0]), area_weights(columns, size[1]).T.copy()

    def __call__(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        """Return ``(C, rows, columns)``."""
        if self.channel_axis is None:
            picture = picture[None]
        elif self.channel_axis == 2:
            picture = np.moveaxis(picture, 2, 0)  # (C, H, W)
        if not self.resizes and not self.to_grey and picture.dtype == np.uint8:
            return np.ascontiguousarray(picture)
        pixels: NDArray[np.float32] = picture.astype(np.float32)
        if self.to_grey:
            pixels = np.tensordot(GREY, pixels, axes=1).astype(np.float32)  # (1, H, W)
        if self.resizes:
            pixels = np.asarray(self._rows @ pixels @ self._columns, np.float32)
        cut: NDArray[np.uint8] = np.rint(np.clip(pixels * self.scale, 0.0, 255.0)).astype(np.uint8)
        return cut


class Ear:
    """Brings sounds of one space to ``(C, N)`` float32, at rest at 0, full scale at 1.

    An unsigned sound spans 256 levels of 1/128 each, so one that rests at 0 reaches 1.99.
    """

    def __init__(self, space: spaces.Box, *, stereo: bool, rest_level: float | None) -> None:
        self.dtype = space.dtype
        self.time_axis = 0 if len(space.shape) == 1 or space.shape[1] <= 2 else 1
        self.num_samples = space.shape[self.time_axis]
        self.num_channels = 1 if len(space.shape) == 1 else space.shape[1 - self.time_axis]
        self.mixes = self.num_channels == 2 and not stereo
        self.shape = (1 if self.mixes else self.num_channels, self.num_samples)
        self.rest = rest_level if space.dtype == np.uint8 else 0.0  # None: found in the first sound heard
        self.kept_dtype: Literal["float16", "int8"] = "int8" if space.dtype == np.uint8 else "float16"

    def __call__(self, sound: NDArray[Any]) -> NDArray[np.float32]:
        """Return ``(C, N)``; an unsigned sound rests where its first, constant chunk lies, else at 128."""
        if self.rest is None:
            self.rest = float(sound.flat[0]) if (sound == sound.flat[0]).all() else 128.0
        wave = sound.astype(np.float32)
        if self.dtype == np.uint8:
            wave = (wave - self.rest) / 128.0
        elif self.dtype == np.int16:
            wave = wave / 32768.0
        wave = wave[None] if wave.ndim == 1 else (wave.T if self.time_axis == 0 else wave)
        return wave.mean(axis=0, keepdims=True) if self.mixes else wave

    def keep(self, wave: NDArray[np.float32]) -> NDArray[np.float16] | NDArray[np.int8]:
        """Return ``(C, 1, N)`` of ``wave (C, N)`` as it is remembered: bytes stay bytes, rest is 0.

        An unsigned sound that rests at 0 is cut at half of its range.
        """
        if self.kept_dtype == "int8":
            levels: NDArray[np.int8] = np.clip(np.rint(128.0 * wave), -128.0, 127.0).astype(np.int8)
            return levels[:, None]
        return wave.astype(np.float16)[:, None]
