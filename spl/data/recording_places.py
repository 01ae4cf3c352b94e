"""The places of a recording's rings: their order, their checksums, and the stacks around them.

A place is ``slot * num_envs + env``. How the arrays are kept as files is in `spl.data.recording_files`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.data.recording_format import Fields, fields_of
from spl.runs.checksums import sums_of


def sum_up(flat: Fields, places: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the checksums ``(N, 2)`` of what was observed and of what was done at ``places`` ``(N,)``.

    Args:
        flat: the arrays, axis 0: ``slot * num_envs + env``.
    """
    vectors = (one for one in (flat.state, flat.recurrent) if one.shape[1])
    observed = flat.video, flat.audio, flat.present, flat.age, *vectors
    done = flat.action, flat.reward, flat.terminated, flat.truncated
    return np.stack([sums_of(observed, places), sums_of(done, places)], axis=1)


def live_places(count: int, env: int, *, usable: int, slots: int, num_envs: int) -> NDArray[np.int64]:
    """Return the places of the newest ``usable`` of ``count`` observations of ``env``, oldest first."""
    return np.arange(max(0, count - usable), count) % slots * num_envs + env


def check_sums(flat: Fields, written: list[int], *, usable: int, slots: int, folder: Path) -> None:
    """Raise ``ValueError`` if what lies in the live slots is not what was saved there.

    What is done at the newest observation is not known yet, and not looked at.

    Args:
        flat: the arrays, axis 0: ``slot * num_envs + env``.
        written: observations ever written, per environment.
        usable: live slots of each environment, of ``slots``.
        folder: where the arrays come from, for the sentence.
    """
    for env, count in enumerate(written):
        places = live_places(count, env, usable=usable, slots=slots, num_envs=len(written))
        differs = sum_up(flat, places) != flat.sums[places]
        differs[-1:, 1] = False
        if (num_wrong := int(differs.any(axis=1).sum())) > 0:
            first = int(places[differs.any(axis=1).argmax()]) // len(written)
            raise ValueError(
                f"the arrays in {folder} must hold what was saved there, got {num_wrong:,} of "
                f"{len(places):,} observations whose checksum does not hold, the first in slot {first} of "
                f"environment {env}: files are damaged or of another save; copy or record it again"
            )


def flatten(arrays: dict[str, NDArray[Any]]) -> Fields:
    """Return views of arrays ``(slots, num_envs, ...)`` whose axis 0 is ``slot * num_envs + env``."""
    return fields_of(
        {
            name: np.asarray(array).reshape(array.shape[0] * array.shape[1], *array.shape[2:])
            for name, array in arrays.items()
        }
    )


def stacked(
    flat: Fields, newest: NDArray[np.int64], age: NDArray[np.int32], steps: NDArray[np.int64], num_envs: int
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return video and audio ``(B, T, ...)`` around places of the rings, zeros before an episode began.

    Args:
        flat: the arrays, axis 0: ``slot * num_envs + env``.
        newest: ``(B,)`` places.
        age: ``(B,)``, steps since the episode's first observation at ``newest``.
        steps: ``(T,)``, how far from ``newest`` to look: -1 is the step before.
        num_envs: rings.
    """
    slots = newest[:, None] + steps * num_envs  # (B, T), wrapped by take
    is_before = age[:, None] + steps < 0
    video = flat.video.take(slots, axis=0, mode="wrap")  # (B, T, C, H, W)
    audio = flat.audio.take(slots, axis=0, mode="wrap")  # (B, T, C, M, F)
    if is_before.any():
        video[is_before] = 0
        audio[is_before] = 0
    return video, audio
