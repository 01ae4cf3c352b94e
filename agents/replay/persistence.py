"""Saving the memory: the files in its folder, and writing what changed: the arrays, then the header.

How a folder is laid out is the recording's.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.data.recording_files import create_files, open_array
from spl.data.recording_format import HEADER, Fields, Layout
from spl.data.recording_places import live_places, sum_up
from spl.runs.files import not_saved, replace_text


class _Save(NamedTuple):
    header: str  # the text the memory left in the folder
    num_clean: list[int]  # per env: slots ever written that the folder holds as the memory does


class Saves:
    """The recordings that one memory has left, and how much of each it need not write again."""

    def __init__(self) -> None:
        self._by_place: dict[Path, _Save] = {}
        self._num_summed: list[int] | None = None  # per env: observations whose checksums were taken

    def add(self, folder: Path, written: list[int]) -> None:
        """Take the recording in ``folder`` as this memory's own, holding ``written`` observations of it."""
        self._by_place[folder.resolve()] = _Save((folder / HEADER).read_text(), list(written))
        self._num_summed = list(written)

    def go_back(self, written: list[int]) -> None:
        """Count as clean only what lies before ``written``, per environment."""
        if self._num_summed is not None:
            self._num_summed = [min(pair) for pair in zip(self._num_summed, written, strict=True)]
        for place, (header, num_clean) in self._by_place.items():
            lower = [min(pair) for pair in zip(num_clean, written, strict=True)]
            self._by_place[place] = _Save(header, lower)

    def sum_up(self, flat: Fields, written: list[int]) -> None:
        """Take the checksums of what changed since they were last taken.

        The newest observation of that time is included: its action and reward came later.

        Args:
            flat: the memory's arrays, axis 0: ``slot * num_envs + env``.
            written: observations ever written, per environment.
        """
        num_envs = len(written)
        slots = len(flat.age) // num_envs
        for env, (summed, count) in enumerate(zip(self._num_summed or [0] * num_envs, written, strict=True)):
            num_new = min(slots, count - max(0, summed - 1))
            places = live_places(count, env, usable=num_new, slots=slots, num_envs=num_envs)
            flat.sums[places] = sum_up(flat, places)
        self._num_summed = list(written)

    def write(
        self, folder: Path, header: str, fields: Fields, written: list[int], layout: Layout, home: Path | None
    ) -> None:
        """Bring the recording in ``folder`` up to date: the changed slots of the arrays, then the header.

        Args:
            folder: made if missing.
            header: what `recording_format.describe` says of the memory.
            fields: the memory's arrays.
            written: observations ever written, per environment.
            layout: of ``fields``.
            home: where the arrays lie on disk, None for RAM; these files need no writing.

        Raises:
            ValueError: if ``folder`` holds a recording that this memory did not leave there.
            OSError: if the disk refuses; the recording stays readable as the last save left it.
        """
        place, found = folder.resolve(), folder / HEADER
        save = self._by_place.get(place)
        if not found.exists():
            save = None
        elif save is None or found.read_text() != save.header:
            raise ValueError(f"folder {folder} holds a recording of another memory; save to a new folder")
        try:
            if home is None or place != home.resolve():
                _write_changes(folder, fields, written, layout, None if save is None else save.num_clean)
            for array in fields:
                if isinstance(array, np.memmap) and array.flags.writeable:
                    array.flush()
            replace_text(found, header)
        except OSError as error:
            raise not_saved("the memory", folder, error) from error
        self._by_place[place] = _Save(header, list(written))


def _write_changes(
    folder: Path, fields: Fields, written: list[int], layout: Layout, num_clean: list[int] | None
) -> None:
    """Write the rows that changed in any ring, by ordinary writes: a full disk is an error, not a SIGBUS.

    A row holds one slot of every ring. The slot of a ring that did not change is written with the bytes that
    the file has, or lies outside what the header counts.
    """
    slots = len(fields.age)
    is_new = {name: num_clean is None or not (folder / f"{name}.npy").exists() for name in layout}
    create_files(folder, {name: kind for name, kind in layout.items() if is_new[name]})
    everything = _changed_rows([0] * len(written), written, slots)
    changed = everything if num_clean is None else _changed_rows(num_clean, written, slots)
    for name, kind in layout.items():
        source: NDArray[Any] = getattr(fields, name)
        start = open_array(folder, name, *kind).offset
        with open(folder / f"{name}.npy", "r+b") as file:
            for first, stop in everything if is_new[name] else changed:
                file.seek(start + first * source[:1].nbytes)
                file.write(source[first:stop].data)
            file.flush()
            os.fsync(file.fileno())


def _changed_rows(num_clean: list[int], written: list[int], slots: int) -> list[tuple[int, int]]:
    """Return first and stop of the rows in which a ring changed since its clean observations.

    The newest of these is included: its action and reward came later.
    """
    is_changed = np.zeros(slots, np.int8)
    for clean, count in zip(num_clean, written, strict=True):
        start = max(0, clean - 1, count - slots)
        first, stop = start % slots, start % slots + count - start
        is_changed[first:stop] = is_changed[: max(0, stop - slots)] = 1
    edges = np.flatnonzero(np.diff(is_changed, prepend=0, append=0))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]
