"""Difficulties given by the user: a number per sample, read from a file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError


def read_difficulty(file: str | None, num_samples: int) -> NDArray[np.float32] | None:
    """Return the ``(N,)`` numbers in a ``.npy`` file, or in a ``.csv`` with one a line, below a title or not.

    None where no file is given.

    Raises:
        UsageError: if they cannot be read, are not ``N``, or one is not finite.
    """
    if file is None:
        return None
    path = Path(file)
    if path.suffix not in (".npy", ".csv"):
        raise UsageError(f"{file} must end with .npy or .csv")
    try:
        values = _array(path) if path.suffix == ".npy" else _lines(path)
        if values.dtype.kind not in "fiu":
            raise ValueError(f"it holds {values.dtype.str}")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        told = str(error).splitlines()[0]
        raise UsageError(f"{file} must be a .npy or .csv of numbers: {told}") from error
    if values.shape != (num_samples,):
        got = f"{len(values):,}" if values.ndim == 1 else str(values.shape)
        raise UsageError(f"{file} must hold one number for each of the {num_samples:,} samples, got {got}")
    numbers = np.asarray(values, np.float32)
    if (wrong := np.flatnonzero(~np.isfinite(numbers))).size:
        raise UsageError(f"{file} must hold finite numbers, got {numbers[wrong[0]]} for sample {wrong[0]:,}")
    return numbers


def _array(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:  # np.load would take an .npz by another name, and leaves a cut one open
        return np.lib.format.read_array(file)


def _lines(path: Path) -> NDArray[np.float64]:
    values = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        try:
            if line.strip():
                values.append(float(line))
        except ValueError as error:
            if number > 1:
                raise ValueError(f"line {number} is {line!r}") from error
    return np.array(values)
