"""Figures of samples: tiles of video and audio in rows, and figures saved atomically."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

EDGE = 2  # pixels between pictures
WAVE_SIZE = (48, 96)  # pixels that a waveform is drawn with
MOST_PIXELS = 60_000  # a side of a figure; Matplotlib draws fewer than 2 ** 16


def save(figure: Any, path: Path, *, dpi: float = 120) -> None:
    """Write a picture, a PNG or PDF by its suffix (PNG without one).

    Whoever looks meanwhile sees the last one whole. A figure too large for Matplotlib gets fewer pixels per
    inch.

    Raises:
        OSError: if it cannot be written; the last one stays.
    """
    path = path if path.suffix else path.with_suffix(".png")
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")  # of this process alone
    dpi = min(dpi, MOST_PIXELS / max(figure.get_size_inches()))
    try:
        figure.savefig(beside, dpi=dpi, format=path.suffix[1:], facecolor="white")
        os.replace(beside, path)
    except OSError as error:
        why = error.strerror or str(error)
        told = OSError(f"cannot write the picture {path}: {why}")
        told.strerror = why
        raise told from error
    finally:
        beside.unlink(missing_ok=True)


def as_picture(video: Tensor) -> NDArray[Any]:
    """Return the newest step of ``video (T, C, H, W)`` in 0..1 as ``(H, W, 3)``."""
    newest = video[-1].permute(1, 2, 0).numpy()  # (H, W, C)
    return np.broadcast_to(newest if newest.shape[2] == 3 else newest[:, :, :1], (*newest.shape[:2], 3))


def as_spectrogram(audio: Tensor) -> NDArray[Any]:
    """Return all steps of ``audio (T, C, M, F)`` as colours ``(M, T F, 3)``, the first channel.

    A waveform is drawn as the range that it goes through.
    """
    from matplotlib import colormaps

    laid = audio[:, 0].permute(1, 0, 2).flatten(1).numpy()  # (M, T F)
    if len(laid) > 1:
        return np.asarray(colormaps["magma"](laid[::-1].clip(0, 1)))[..., :3]
    rows, columns = WAVE_SIZE
    parts = np.array_split(laid[0], min(columns, laid.shape[1]))
    levels = np.linspace(1, -1, rows)[:, None]
    low, high = (np.array([end(part) for part in parts]) for end in (np.min, np.max))
    apart = 2 / (rows - 1)  # no range, however small, falls between two rows
    is_inside = (levels >= low - apart / 1.9) & (levels <= high + apart / 1.9)  # (rows, columns)
    return np.repeat(is_inside[:, :, None], 3, axis=2).astype(np.float32)


def as_tile(video: Tensor, audio: Tensor) -> NDArray[Any]:
    """Return a sample ``(H', W', 3)``: its newest picture above its sound, or the one that there is.

    Args:
        video: ``(T, C, H, W)`` in 0..1, or empty.
        audio: ``(T, C, M, F)``, or empty.
    """
    if not video.numel():
        return as_spectrogram(audio)
    picture = as_picture(video)
    if not audio.numel():
        return picture
    sound, columns = as_spectrogram(audio), picture.shape[1]
    rows = max(1, picture.shape[0] // 2)
    at_rows, at_columns = (
        np.arange(n) * size // n for n, size in ((rows, sound.shape[0]), (columns, sound.shape[1]))
    )
    return np.concatenate([picture, np.ones((1, columns, 3)), sound[at_rows][:, at_columns]])


def mosaic(rows: list[list[NDArray[Any]]]) -> NDArray[Any]:
    """Return pictures of one size, row by row, with white between them."""
    framed = [
        [np.pad(one, ((0, EDGE), (0, EDGE), (0, 0)), constant_values=1.0) for one in row] for row in rows
    ]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed], axis=0)[:-EDGE, :-EDGE]
