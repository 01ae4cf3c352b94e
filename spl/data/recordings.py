"""Recordings as a source of pairs, read from disk on demand.

The layout of their folder is in ``spl.data.recording_format``; drawing transitions from it is the memory's.
"""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.data.audiovisual import Pairs, describe_samples, signature_of
from spl.data.recording_files import open_recording
from spl.data.recording_format import HEADER, Fields, spec_of
from spl.data.recording_places import check_sums, flatten, live_places, stacked
from spl.folder_files import LeftOut, as_json, told
from spl.records import StreamSpec


class Opened(NamedTuple):
    """A recording that was read from another format than ours: what its folder would hold."""

    name: str  # the address that it was read from, such as minari:beacon/random-v0
    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class _Recording(NamedTuple):
    flat: Fields  # axis 0: slot * num_envs + env
    num_envs: int
    newest: NDArray[np.int64]  # (N,) places whose whole history is there, in order of time
    meta: dict[str, Any]  # of its header
    checksum: int  # of all that was observed


class Recordings:
    """Every step of one or more recordings with its history, as a source of pairs; the folder is the label.

    Nothing is loaded: pictures and sounds are mapped, and a draw touches the pages that it needs.

    Args:
        places: folders that each hold a recording, of `spl record`, or the ``memory`` of a training run; or
            recordings of other formats.
        history: ``T``, steps in a sample.
        stride: steps from one sample to the next.
        left_out: what lies beside them and is not used.

    Raises:
        UsageError: if a place holds no recording, one that is damaged or too short, or recordings differ in
            what an encoder depends on.
    """

    def __init__(
        self,
        places: Sequence[Path | Opened],
        *,
        history: int,
        stride: int = 1,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        if not places or history < 1 or stride < 1:
            raise UsageError(
                "there must be a recording, and history and stride of at least 1, "
                f"got {len(places)}, {history} and {stride}"
            )
        folders = tuple(one.name if isinstance(one, Opened) else one for one in places)
        self.folders, self.history, self.left_out = folders, history, tuple(left_out)
        self._steps = np.arange(1 - history, 1)
        opened = [_open(place, history, stride) for place in places]
        self._recordings = [recording for recording, _ in opened]
        self.signature: dict[str, Any] = opened[0][1]
        for folder, (_, signature) in zip(folders[1:], opened[1:], strict=True):
            if differing := [key for key, value in signature.items() if value != self.signature[key]]:
                key = differing[0]
                raise UsageError(
                    f"{folder} does not fit {folders[0]}: its {key} is {signature[key]}, not "
                    f"{self.signature[key]}; record all with the same options"
                )
        self.spec = StreamSpec(
            tuple(self.signature["video"]), tuple(self.signature["audio"]), self.signature["audio_dtype"]
        )
        self.classes = names_of(folders) if len(folders) > 1 else ()
        self._starts = np.cumsum([0, *(one.newest.size for one in self._recordings)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def described(self) -> dict[str, Any]:
        """Return what these data are, as JSON holds it; ``files``: each folder's samples and checksum."""
        counts = np.diff(self._starts).tolist()
        return {
            "kind": "recordings",
            "used": len(self.folders),
            "samples": len(self),
            "left_out": as_json(self.left_out),
            "files": {
                str(folder): [count, one.checksum]
                for folder, count, one in zip(self.folders, counts, self._recordings, strict=True)
            },
        }

    def summary(self) -> str:
        """Return how many samples there are, what ended early, and what was left out and why, a line each."""
        beside = f", {len(self.left_out):,} files left out" if self.left_out else ""
        count = f"{len(self.folders):,} recording{'s' * (len(self.folders) != 1)}"
        cut = []
        for folder, one in zip(self.folders, self._recordings, strict=True):
            steps, asked = one.meta.get("steps"), one.meta.get("steps_asked")
            if type(steps) is int and type(asked) is int and steps < asked:
                cut.append(f"{folder} ended early, after {steps:,} of {asked:,} steps")
        return "\n".join([f"{count}: {describe_samples(self)}{beside}", *cut, *told(self.left_out)])

    def labels(self) -> NDArray[np.int64]:
        """Return the label of every sample, ``(N,)``: which recording it is of."""
        return np.repeat(np.arange(len(self.folders)), np.diff(self._starts))

    def pairs(self, indices: NDArray[np.int64]) -> Pairs:
        """Return the samples ``indices (B,)``.

        Raises:
            ValueError: if an index is not one of ours.
            UsageError: if a sound holds NaN or infinity.
        """
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise ValueError(f"indices must be in 0..{len(self) - 1}, got {indices.min()} to {indices.max()}")
        B, T, spec = len(indices), self.history, self.spec
        video = np.zeros((B, T, *spec.video), np.uint8)
        audio = np.zeros((B, T, *spec.audio), spec.audio_dtype)
        present = np.zeros((B, 2), np.bool_)
        labels = np.searchsorted(self._starts, indices, side="right") - 1
        for label in np.unique(labels):
            one, rows = self._recordings[label], np.flatnonzero(labels == label)
            newest = one.newest[indices[rows] - self._starts[label]]
            video[rows], audio[rows] = stacked(
                one.flat, newest, one.flat.age[newest], self._steps, one.num_envs
            )
            present[rows] = one.flat.present[newest]
        if audio.dtype.kind == "f" and not np.isfinite(audio).all():
            broken = int(labels[~np.isfinite(audio).reshape(B, -1).all(axis=1)][0])
            raise UsageError(f"{self.folders[broken]} holds NaN or infinity in its sound; record it again")
        return Pairs(
            torch.from_numpy(video),
            torch.from_numpy(audio),
            torch.from_numpy(present),
            torch.from_numpy(labels.astype(np.int64)),
            torch.from_numpy(np.asarray(indices, np.int64)),
        )


def names_of(folders: Sequence[Path | str]) -> tuple[str, ...]:
    """Return a short name for each folder: its own, or its path where names are equal; or its address."""
    names = [folder if isinstance(folder, str) else folder.resolve().name for folder in folders]
    return tuple(names if len(set(names)) == len(names) else map(str, folders))


def _open(place: Path | Opened, history: int, stride: int) -> tuple[_Recording, dict[str, Any]]:
    """Return the recording at ``place`` and what an encoder of it depends on."""
    name, header, arrays = place if isinstance(place, Opened) else _read(place)
    flat, num_envs, written = flatten(arrays), header["num_envs"], header["written"]
    slots, usable = header["slots"], ceil(header["capacity"] / num_envs)
    if isinstance(place, Path):
        try:
            check_sums(flat, written, usable=usable, slots=slots, folder=place)
        except ValueError as error:
            raise UsageError(str(error)) from error
    newest = _whole(flat.age, written, slots, usable, history, stride)
    if newest.size < 2:
        raise UsageError(f"{name} must hold at least 2 steps with their history, got {newest.size}")
    rings = enumerate(written)
    live = [live_places(n, env, usable=usable, slots=slots, num_envs=num_envs) for env, n in rings]
    checksum = crc32(flat.sums[np.concatenate(live), 0].tobytes())
    signature = describe_signature(spec_of(header), header["meta"], history=history)
    return _Recording(flat, num_envs, newest, header["meta"], checksum), signature


def _read(folder: Path) -> Opened:
    """Return the recording in ``folder``, mapped."""
    if not (folder / HEADER).is_file():
        inside = folder / "memory"
        hint = f"; did you mean {inside}?" if (inside / HEADER).is_file() else ""
        raise UsageError(f"{folder} is not a recording: it has no {HEADER}{hint}")
    try:
        return Opened(str(folder), *open_recording(folder, mmap=True, writable=False))
    except ValueError as error:
        raise UsageError(str(error)) from error


def describe_signature(spec: StreamSpec, meta: dict[str, Any], *, history: int) -> dict[str, Any]:
    """Return the signature of steps whose environment says ``meta`` of itself (see `signature_of`)."""
    heard = meta.get("audio", {})
    rate, num_samples = heard.get("sample_rate_hz"), heard.get("samples_per_step")
    return signature_of(
        spec,
        history=history,
        sample_rate_hz=rate,
        step_s=num_samples / rate if rate and num_samples else None,
        window_samples=heard.get("window_samples"),
    )


def _whole(
    age: NDArray[np.int32], written: list[int], slots: int, usable: int, history: int, stride: int
) -> NDArray[np.int64]:
    """Return every ``stride``-th place whose history is there: not the first of an overwritten ring."""
    num_envs = len(written)
    found = []
    for env, count in enumerate(written):
        live = np.arange(max(0, count - usable), count) % slots * num_envs + env
        has_history = np.arange(live.size) >= np.minimum(age[live], history - 1)
        found.append(live[has_history][::stride])
    return np.concatenate(found)
