"""What the data paths given by a user are: recordings of ours, or videos."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spl.config.errors import UsageError
from spl.data.exchange.formats import is_address
from spl.data.recording_format import HEADER, Fields
from spl.folder_files import GIVEN_TWICE, FolderFiles, LeftOut, gather, named
from spl.media.video_files import look_at
from spl.printable import printable

ARRAYS = {f"{name}.npy" for name in Fields._fields}
UNFINISHED = f"arrays of a recording without its {HEADER}"


class RecordingFolders(NamedTuple):
    """Folders of recordings and addresses of those in other formats, and what lies beside them."""

    folders: list[Path | str]
    left_out: list[LeftOut]


def find_inputs(texts: Sequence[str]) -> RecordingFolders | FolderFiles:
    """Return the recordings that the paths lead to, or files, of which some are videos.

    A path is a folder with a recording, one with recordings or videos below it, a file, or a pattern such as
    ``videos/*.mp4``. A path to ``recording.json`` is its folder. Addresses (`is_address`) come first.

    Raises:
        UsageError: if a path leads to nothing, or they lead to recordings and videos both.
    """
    recordings: list[Path | str] = [text for text in texts if is_address(text)]
    others = list[Path]()
    for path in (path for text in texts if not is_address(text) for path in _expanded(text)):
        folder = path.parent if path.name == HEADER else path
        (recordings if (folder / HEADER).is_file() else others).append(folder)
    if not others:
        return _once(recordings, [])
    files = gather(others)
    inner = {name.removesuffix(HEADER) for name in files.used if f"/{name}".endswith(f"/{HEADER}")}
    if not inner and not recordings:
        _check_whole(files)
        return files
    rest = [name for name in files.used if not any(name.startswith(folder) for folder in inner)]
    if videos := [name for name in rest if look_at(files.root / name).kind != "other"]:
        those = [str(folder) for folder in recordings] + [printable(name) for name in sorted(inner)]
        raise UsageError(
            f"there are recordings ({named(those, len(those))}) and videos "
            f"({named(map(printable, videos), len(videos))}) in {files.root}: give one kind"
        )
    left_out = [LeftOut(name, UNFINISHED if _is_array(name) else "no part of a recording") for name in rest]
    found = [files.root / folder for folder in sorted(inner, key=lambda name: name.split("/"))]
    return _once([*recordings, *found], [*files.left_out, *left_out])


def _once(recordings: Sequence[Path | str], left_out: Sequence[LeftOut]) -> RecordingFolders:
    """Return each recording once, however often it was given: twice, it would be two classes."""
    kept: dict[str, Path | str] = {}
    again = []
    for one in recordings:
        place = one if isinstance(one, str) else os.path.realpath(one)
        if place in kept:
            again.append(LeftOut(str(one), GIVEN_TWICE))
        else:
            kept[place] = one
    return RecordingFolders([*kept.values()], sorted([*left_out, *again]))


def _expanded(text: str) -> list[Path]:
    """Return the path, or those that a pattern matches, in the order of their names."""
    if not text.strip():
        raise UsageError("a path of data is empty: give a folder or a file, . for the current folder")
    if os.path.lexists(text):
        return [Path(text)]
    if not (found := sorted(glob.glob(text, recursive=True))):
        what = f"nothing matches {text}" if glob.has_magic(text) else f"there is no folder or file {text}"
        raise UsageError(f"{what}: give recordings (spl record makes them) or videos")
    return [Path(path) for path in found]


def _check_whole(files: FolderFiles) -> None:
    """Refuse arrays of a recording that has no header: it was stopped, or copied in part."""
    if arrays := [name for name in files.used if _is_array(name)]:
        raise UsageError(
            f"{(files.root / arrays[0]).parent} is not a complete recording: it has {Path(arrays[0]).name} "
            f"and no {HEADER}; record or copy it again"
        )


def _is_array(name: str) -> bool:
    return Path(name).name in ARRAYS
