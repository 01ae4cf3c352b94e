"""The record of a run's rounds: which samples were included, and the loss of each.

Three arrays in ``RUN/curriculum``, a row each round, so that a round that is run again is written again.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.curriculum.curriculum import Curriculum

MOST_SAMPLES, MOST_ROUNDS = 20_000, 200  # kept at most, evenly chosen: 9 MB
FOLDER = "curriculum"  # in the folder of a run
LARGEST = float(np.finfo(np.float16).max)


class Rounds(NamedTuple):
    """Rounds that were kept, in order."""

    numbers: NDArray[np.int64]  # (R,), from 0
    samples: NDArray[np.int64]  # (S,) which samples
    losses: NDArray[np.float32]  # (R, S) the last ones at the end of the round; NaN: not seen yet
    is_included: NDArray[np.bool_]  # (R, S)
    num_samples: int  # that the run has
    num_rounds: int  # that it is to have

    @property
    def entries(self) -> NDArray[np.int64]:
        """The round in which each sample was first chosen, ``(S,)``; ``num_rounds`` where it never was.

        Rounds at the start in which everybody is in are the warm-up, and no choice.
        """
        is_choice = np.logical_or.accumulate(~self.is_included.all(axis=1))
        chosen_in = self.is_included & is_choice[:, None]
        first = self.numbers[chosen_in.argmax(axis=0)]
        return np.where(chosen_in.any(axis=0), first, self.num_rounds)

    @property
    def thinning(self) -> str | None:
        """A sentence on what is not kept; None where all is."""
        shown, every = len(self.samples), chosen(self.num_rounds, MOST_ROUNDS)
        if shown == self.num_samples and len(every) == self.num_rounds:
            return None
        return (
            f"Kept are {shown:,} of {self.num_samples:,} samples and at most {len(every):,} of "
            f"{self.num_rounds:,} rounds, evenly chosen."
        )


def chosen(total: int, most: int) -> NDArray[np.int64]:
    """Return at most ``most`` of ``total`` numbers, the first and the last among them, evenly."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))


def row_of(curriculum: Curriculum, number: int, **shares: float) -> dict[str, float]:
    """Return a row's numbers on a round, from 0: how it chose, if it does, and ``shares`` of its samples."""
    told = {} if curriculum.is_uniform else curriculum.begin(number).report
    return {f"curriculum/{name}": value for name, value in {**told, **shares}.items()}


def keep_round(folder: Path, curriculum: Curriculum, number: int) -> None:
    """Write a round at its end to ``folder``, a run's; nothing of a curriculum that makes no choice."""
    kept = chosen(curriculum.num_rounds, MOST_ROUNDS)
    row = int(np.searchsorted(kept, number))
    if curriculum.is_uniform or row == len(kept) or kept[row] != number:
        return
    place, samples = folder / FOLDER, chosen(curriculum.num_samples, MOST_SAMPLES)
    shape, width = (len(kept), len(samples)), -(-len(samples) // 8)
    if not (place / "included.npy").exists():
        place.mkdir(exist_ok=True)
        np.save(place / "size.npy", np.array([curriculum.num_samples, curriculum.num_rounds]))
        np.save(place / "losses.npy", np.full(shape, np.nan, np.float16))
        np.save(place / "begun.npy", np.zeros((shape[0], width), np.uint8))
        (place / "begun.npy").replace(place / "included.npy")  # whole, and after the others
    losses = np.lib.format.open_memmap(place / "losses.npy", mode="r+")  # never unpickles
    included = np.lib.format.open_memmap(place / "included.npy", mode="r+")
    losses[row] = np.clip(curriculum.losses[samples], -LARGEST, LARGEST)
    included[row] = np.packbits(curriculum.begin(number).weights[samples] > 0)
    losses.flush()
    included.flush()


def read_rounds(folder: Path) -> Rounds:
    """Return the rounds that the run in ``folder`` kept; a round that was never ended includes nobody.

    Raises:
        UsageError: if it kept none, or they cannot be read.
    """
    place = folder / FOLDER
    if not (place / "included.npy").exists():
        raise UsageError(
            f"{folder} kept no rounds: only runs with a curriculum do, from the end of their first epoch on"
        )
    try:
        found: dict[str, Any] = {
            name: np.array(np.lib.format.open_memmap(place / f"{name}.npy", mode="r"))
            for name in ("size", "losses", "included")
        }
        num_samples, num_rounds = (int(value) for value in found["size"])
        numbers, samples = chosen(num_rounds, MOST_ROUNDS), chosen(num_samples, MOST_SAMPLES)
        is_included = np.unpackbits(found["included"], axis=1, count=len(samples)).astype(np.bool_)
        if (
            found["losses"].shape != (len(numbers), len(samples))
            or is_included.shape != found["losses"].shape
        ):
            raise ValueError(f"the arrays have shape {found['losses'].shape} and {is_included.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"the rounds in {place} cannot be read: {error}; copy them again") from error
    is_there = is_included.any(axis=1)
    if not is_there.any():
        raise UsageError(
            f"{folder} kept no rounds yet: it was stopped before the first was written; resume it"
        )
    losses = found["losses"].astype(np.float32)
    return Rounds(
        numbers[is_there], samples, losses[is_there], is_included[is_there], num_samples, num_rounds
    )
