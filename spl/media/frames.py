"""A decoded frame as an image: upright, opaque, resized. Where frames come from is not here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.media.video_files import pyav

WHITE = 255  # on which what is transparent lies

Picture = NDArray[np.uint8]


class Cutter:
    """Cuts frames to ``(C, rows, columns)``, the same frame only once."""

    def __init__(self, size: tuple[int, int], grey: bool) -> None:
        self.size, self.format = size, "gray" if grey else "rgb24"
        self._reformatter = pyav().video.reformatter.VideoReformatter()  # one, as it keeps its tables
        self._frame: Any = None
        self._picture: Picture = np.zeros((0, 0, 0), np.uint8)

    def __call__(self, frame: Any) -> Picture:
        if frame is not self._frame:
            matrix = _shown_by(frame.side_data.get("DISPLAYMATRIX"))
            is_lying = matrix[0] == 0
            rows, columns = self.size[::-1] if is_lying else self.size
            solid = self._on_white(frame) if may_be_clear(frame.format) else frame
            small = self._reformatter.reformat(solid, columns, rows, self.format, interpolation="AREA")
            pixels = _upright(small.to_ndarray(), matrix)
            pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
            self._frame, self._picture = frame, np.ascontiguousarray(pixels)
        return self._picture

    def _on_white(self, frame: Any) -> Any:
        """Return a frame with what is transparent laid on white; itself if nothing is."""
        pixels = self._reformatter.reformat(frame, format="rgba").to_ndarray()  # (H, W, 4)
        if (pixels[:, :, 3] == 255).all():
            return frame
        share = pixels[:, :, 3:].astype(np.float32) / 255.0
        mixed = pixels[:, :, :3] * share + WHITE * (1.0 - share)
        return pyav().VideoFrame.from_ndarray(mixed.round().astype(np.uint8), "rgb24")


def _shown_by(display_matrix: Any) -> tuple[int, int, int, int]:
    """Return where a pixel's column and row go, each -1, 0 or 1: ``x' = a x + c y``, ``y' = b x + d y``.

    Args:
        display_matrix: 9 numbers of 32 bits, ``(a b u, c d v, x y w)`` in 65,536ths; None: as it is.
    """
    if display_matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (number / 65_536 for number in np.frombuffer(display_matrix, np.int32)[:5].tolist())
    if abs(a) >= abs(c):
        return -1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1
    return 0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0


def is_askew(display_matrix: Any) -> bool:
    """Whether a display matrix turns by something else than quarters."""
    a, b, _, c, d = (abs(number) for number in np.frombuffer(display_matrix, np.int32)[:5].tolist())
    return bool(max(min(a, c), min(b, d)) > 0.01 * max(a, b, c, d))


def _upright(pixels: Picture, matrix: tuple[int, int, int, int]) -> Picture:
    """Return pixels ``(H, W, ...)`` as a display matrix of `_shown_by` shows them."""
    a, b, c, d = matrix
    if a == 0:
        return pixels.swapaxes(0, 1)[::b, ::c]
    return pixels[::d, ::a]


def may_be_clear(kind: Any) -> bool:
    """Whether pixels of a format may be transparent."""
    return bool(kind.has_palette) or any(component.is_alpha for component in kind.components)
