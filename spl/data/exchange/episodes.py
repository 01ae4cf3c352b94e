"""Recordings as episodes, as other projects keep them, and back to the arrays of a recording.

Which files hold an episode is each format's own.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from spl.data.recording_files import create_arrays, open_recording
from spl.data.recording_format import Layout, check_header, dimensions_in, layout_of, spec_of
from spl.data.recording_places import flatten, sum_up
from spl.data.recordings import Opened

STEPPED = ("action", "reward", "terminated", "truncated")  # of each step; the rest is of each observation


class Episode(NamedTuple):
    """One episode: ``N + 1`` observations, and what was done and earned in the ``N`` steps between them."""

    video: NDArray[np.uint8]  # (N + 1, C, H, W)
    audio: NDArray[Any]  # (N + 1, C, M, F) float16 or int8
    present: NDArray[np.bool_]  # (N + 1, 2)
    action: NDArray[np.int16]  # (N,), or (N, J) of J > 1 dimensions
    reward: NDArray[np.float32]  # (N,)
    terminated: NDArray[np.bool_]  # (N,)
    truncated: NDArray[np.bool_]  # (N,)
    state: NDArray[np.float32] | None = None  # (N + 1, S); None: there is none

    @property
    def num_steps(self) -> int:
        """``N``, from 0 on."""
        return len(self.reward)

    def closed(self) -> "Episode":
        """Return the episode as others expect it: one that nothing ended is truncated at its last step."""
        if self.num_steps == 0 or self.terminated[-1]:
            return self
        truncated = self.truncated.copy()
        truncated[-1] = True
        return self._replace(truncated=truncated)

    def reopened(self) -> "Episode":
        """Return the episode as it was before `closed`."""
        truncated = self.truncated.copy()
        truncated[-1:] = False
        return self._replace(truncated=truncated)


class Recording(NamedTuple):
    """A recording of one environment from its first observation on."""

    header: dict[str, Any]
    episodes: list[Episode]  # views of its arrays
    kept: dict[
        str, Any
    ]  # what is kept beside the episodes, as JSON holds it, so that nothing of ours is lost

    @property
    def sizes(self) -> list[int]:
        """How many actions each dimension has."""
        actions = self.header["meta"]["actions"]
        return [actions] if isinstance(actions, int) else list(actions["sizes"])

    @property
    def sound(self) -> dict[str, Any]:
        """What the recording says of its sound, such as ``sample_rate_hz``; empty where it has none."""
        return dict(self.header["meta"].get("audio", {}))


def read_recording(folder: Path) -> Recording:
    """Return the recording that ``spl record`` left in ``folder``.

    Raises:
        ValueError: if it is damaged.
    """
    header, arrays = open_recording(folder, mmap=True, writable=False)
    flat = flatten(arrays)
    starts = [*np.flatnonzero(flat.age == 0).tolist(), len(flat.age)]
    episodes = []
    for start, stop in itertools.pairwise(starts):
        parts = {name: getattr(flat, name)[start : stop - (name in STEPPED)] for name in Episode._fields}
        one = Episode(**parts)
        episodes.append(one if flat.state.shape[1] else one._replace(state=None))
    is_open = [
        number
        for number, one in enumerate(episodes)
        if one.num_steps and not (one.terminated[-1] or one.truncated[-1])
    ]
    kept = {"recording": header, "open_episodes": is_open, "sums_crc32": _crc32(flat.sums)}
    return Recording(header, episodes, kept)


def restore(name: str, kept: Any, episodes: Iterable[Episode]) -> Opened:
    """Return the recording that was written as ``episodes`` with ``kept`` beside them, equal to the byte.

    Args:
        name: its address.
        kept: of `Recording`.
        episodes: `Episode.closed` or not.

    Raises:
        ValueError: if it is of another version, or not what was recorded.
    """
    kept = kept if isinstance(kept, dict) else {}
    header = check_header(kept.get("recording"), name)
    if header["written"] != [header["slots"]]:
        raise ValueError(f"{name} must be one whole recording, got {header['written']} of {header['slots']}")
    are_open = set(kept.get("open_episodes", ()))
    whole = (one.reopened() if number in are_open else one for number, one in enumerate(episodes))
    opened = fill(name, header, whole)
    if _crc32(opened.arrays["sums"]) != kept.get("sums_crc32"):
        raise ValueError(f"{name} must hold what was recorded, got other checksums; copy or record it again")
    return opened


def fill(name: str, header: dict[str, Any], episodes: Iterable[Episode]) -> Opened:
    """Return episodes as the recording that ``header`` describes.

    Its arrays are files without a name in the system's folder for temporary files (``TMPDIR``), and gone
    with the process.

    Raises:
        ValueError: if the header speaks of other shapes, or of more or fewer observations.
        OSError: if the disk has no room for them.
    """
    slots = header["slots"]
    layout = layout_of(spec_of(header), slots, 1, dimensions_in(header))
    with TemporaryDirectory(prefix="spl-", ignore_cleanup_errors=True) as folder:
        arrays = create_arrays(Path(folder), layout)
    flat, start = flatten(arrays), 0
    flat.action[:] = -1
    for episode in episodes:
        stop = start + episode.num_steps + 1
        if stop > slots:
            raise ValueError(f"{name} must hold {slots:,} observations, got more; copy or record it again")
        _check(name, episode, layout)
        for field, array in _arrays_of(episode).items():
            getattr(flat, field)[start : stop - (field in STEPPED)] = array
        flat.age[start:stop] = np.arange(stop - start)
        start = stop
    if start != slots:
        raise ValueError(f"{name} must hold {slots:,} observations, got {start:,}; copy or record it again")
    flat.sums[:] = sum_up(flat, np.arange(slots))
    return Opened(name, header, arrays)


def _arrays_of(episode: Episode) -> dict[str, NDArray[Any]]:
    """Return the arrays that an episode has."""
    return {field: array for field, array in episode._asdict().items() if array is not None}


def _check(name: str, episode: Episode, layout: Layout) -> None:
    if (episode.state is None) is ("state" in layout):
        raise ValueError(f"{name} must hold a state {'in' if episode.state is None else 'in no'} episode")
    for field, array in _arrays_of(episode).items():
        shape, dtype = layout[field]
        expected = (episode.num_steps + (field not in STEPPED), *shape[2:])
        if array.shape != expected or array.dtype != dtype:
            raise ValueError(
                f"{name} must hold {field} as {dtype} of shape {expected} in an episode, "
                f"got {array.dtype} of shape {array.shape}"
            )


def _crc32(sums: NDArray[np.uint32]) -> str:
    return f"{crc32(sums.tobytes()):08x}"
