"""Which files of a folder are data: regular files, each once; files left out are reported with a reason.

Whether a file can be read as a picture or a video is not known here: whoever knows says so with `sift`.
"""

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spl.config.errors import UsageError
from spl.printable import printable

NUM_NAMED = 5  # files that one sentence names
HIDDEN = "hidden, or left by a program"
UNFINISHED = "not written to its end"
EMPTY = "empty"
REPEATED = "a link to what is read already"
GIVEN_TWICE = "given twice"
OTHER_KIND = "neither a file nor a folder"
_LEAVINGS = {  # of operating systems, disk stations, archivers and interpreters, in lower case
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
    *("__macosx", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__pycache__"),
    *("$recycle.bin", "recycler", "system volume information", "lost+found", "network trash folder"),
}
_UNFINISHED = re.compile(
    r".*\.(part(-frag\d+)?|partial|filepart|crdownload|opdownload|download|aria2|ytdl|!ut|!qb|bc!|tmp|temp)",
    re.IGNORECASE,
)


class LeftOut(NamedTuple):
    """A file that is not used, or a folder (its name ends in ``/``) that is not entered."""

    name: str  # its path within the folder of data
    reason: str  # a few words that stand alone, such as "empty"


class FolderFiles(NamedTuple):
    """The files of a folder, all of its sub-folders included."""

    root: Path
    used: list[str]  # their paths within ``root``, with ``/``, sorted by folder and name
    left_out: list[LeftOut]  # likewise sorted


def find_files(root: Path, within: Collection[str] | None = None) -> FolderFiles:
    """Return the files below ``root``; none of them is opened.

    Left out are what is hidden or left behind by a program, downloads that are not finished, empty files, all
    that is neither a regular file nor a folder (it may block whoever opens it), folders that cannot be read,
    and links to nothing, to a folder above them, or to what is read already. Links to other files and folders
    are followed; the reader gets the link's own name.

    Args:
        root: the folder.
        within: names of the files and folders in it that are looked at; None for all of them.

    Raises:
        UsageError: if ``root`` is no folder, or may not be read.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is no folder" if root.exists() else f"there is no folder {root}")
    walk = _Walk(root, within)
    walk.enter(os.path.realpath(root), "")
    if walk.left_out and not walk.left_out[0].name:
        raise UsageError(f"the folder {root} {walk.left_out[0].reason}")
    walk.follow_links()
    return FolderFiles(root, sorted(walk.used, key=_place), sorted(walk.left_out, key=_place_of))


def gather(paths: Sequence[Path]) -> FolderFiles:
    """Return the files of several folders, and files, as if all lay in the folder that holds them all.

    A single folder is read as `find_files` does; a single file is as one of its folder. A file that is named
    may be hidden.

    Raises:
        UsageError: if a path leads to nothing, or a folder may not be read.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return find_files(paths[0])
    wholes = [Path(os.path.abspath(path)) for path in paths]
    root = Path(os.path.commonpath([path.parent for path in wholes]))
    names: dict[str, str] = {}  # by real path
    left_out: list[LeftOut] = []
    for whole in wholes:
        if whole.is_dir():
            below = whole.relative_to(root).as_posix() + "/"
            found = find_files(whole)
        else:
            below, found = whole.parent.relative_to(root).as_posix() + "/", _alone(whole)
        below = "" if below == "./" else below
        left_out += [LeftOut(below + name, reason) for name, reason in found.left_out]
        for name in found.used:
            real = os.path.realpath(found.root / name)
            if real in names:
                left_out.append(LeftOut(below + name, GIVEN_TWICE))
            else:
                names[real] = below + name
    return FolderFiles(root, sorted(names.values(), key=_place), sorted(left_out, key=_place_of))


def unfinished(path: Path) -> Path:
    """Return where this process writes what becomes ``path`` once it is whole: hidden, beside it."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def sift(files: FolderFiles, reason_of: Callable[[str], str | None]) -> FolderFiles:
    """Return ``files`` without those for which ``reason_of`` their name gives a reason to leave them out."""
    reasons = {name: reason_of(name) for name in files.used}
    used = [name for name in files.used if reasons[name] is None]
    more = [LeftOut(name, reason) for name, reason in reasons.items() if reason is not None]
    return FolderFiles(files.root, used, sorted([*files.left_out, *more], key=_place_of))


def told(left_out: Iterable[LeftOut]) -> list[str]:
    """Return one sentence for each reason: how many were left out for it, and the names of the first."""
    return sentences(as_json(left_out))


def sentences(reasons: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what `as_json` returned in sentences."""
    return [
        f"left out {each['count']:,} ({each['reason']}): {named(each['names'], each['count'])}"
        for each in reasons
    ]


def as_json(left_out: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """Return ``reason``, ``count`` and the first ``names`` for each reason, the most frequent first."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out:
        names.setdefault(reason, []).append(name)
    return [
        {"reason": reason, "count": len(those), "names": [printable(name) for name in those[:NUM_NAMED]]}
        for reason, those in sorted(names.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def named(names: Iterable[str], count: int) -> str:
    """Return the names with commas, and how many of ``count`` follow where they are not all."""
    those = list(names)[:NUM_NAMED]
    return ", ".join(those) + (f" and {count - len(those):,} more" if count > len(those) else "")


def _alone(path: Path) -> FolderFiles:
    """Return one file as if nothing else lay in its folder."""
    try:
        state = path.stat()
    except OSError as error:
        raise UsageError(f"there is no {path}: {error.strerror}") from error
    reason = OTHER_KIND if not stat.S_ISREG(state.st_mode) else EMPTY if state.st_size == 0 else None
    if reason is None:
        return FolderFiles(path.parent, [path.name], [])
    return FolderFiles(path.parent, [], [LeftOut(path.name, reason)])


def _place(name: str) -> list[str]:
    return name.split("/")


def _place_of(left_out: LeftOut) -> list[str]:
    return _place(left_out.name)


class _Walk:
    """A walk through a folder: real files first, so that a link never takes the place of what it leads to."""

    def __init__(self, root: Path, within: Collection[str] | None) -> None:
        self.root, self.within = os.path.realpath(root), within
        self.used: set[str] = set()
        self.left_out: list[LeftOut] = []
        self._links: list[tuple[str, str]] = []  # their paths, their names
        self._entered: dict[str, str] = {}  # real path of a folder -> what its files' names begin with
        self._linked: set[str] = set()  # real paths of the files that were used through a link

    def enter(self, folder: str, prefix: str) -> None:
        """Take in the folder at the real path ``folder`` and all below it, links aside."""
        waiting = [(folder, prefix)]
        while waiting:
            folder, prefix = waiting.pop()
            if folder in self._entered:
                self._leave(prefix, REPEATED)
                continue
            self._entered[folder] = prefix
            try:
                with os.scandir(folder) as entries:
                    found = list(entries)
            except OSError as error:
                self._leave(prefix, f"cannot be read: {error.strerror}")
                continue
            for entry in found:
                if not prefix and self.within is not None and entry.name not in self.within:
                    continue
                name = prefix + entry.name
                if (reason := left_behind(entry.name)) is not None:
                    self._leave(name + "/" if entry.is_dir(follow_symlinks=False) else name, reason)
                elif entry.is_symlink():
                    self._links.append((entry.path, name))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, name + "/"))
                else:
                    self._take(entry.path, name)

    def follow_links(self) -> None:
        """Take in what the links lead to, and the links that are met there."""
        while self._links:
            links, self._links = sorted(self._links, key=lambda link: _place(link[1])), []
            for path, name in links:
                try:
                    target = os.path.realpath(path, strict=True)
                except OSError as error:
                    is_lost = isinstance(error, FileNotFoundError)
                    self._leave(name, "a link to nothing" if is_lost else f"a link: {error.strerror}")
                    continue
                if os.path.isdir(target):
                    above = (self.root, os.path.dirname(path))
                    if any(_holds(target, os.path.realpath(folder)) for folder in above):
                        self._leave(name + "/", "a link to a folder above it")
                    else:
                        self.enter(target, name + "/")
                elif self._is_used(target):
                    self._leave(name, REPEATED)
                elif self._take(target, name):
                    self._linked.add(target)

    def _take(self, path: str, name: str) -> bool:
        """Use the file at ``path``, or leave it out; return which."""
        try:
            state = os.lstat(path)
        except OSError as error:
            self._leave(name, f"cannot be read: {error.strerror}")
            return False
        if not stat.S_ISREG(state.st_mode):
            self._leave(name, OTHER_KIND)
        elif state.st_size == 0:
            self._leave(name, EMPTY)
        elif path in self._linked:
            self._leave(name, REPEATED)
        else:
            self.used.add(name)
            return True
        return False

    def _is_used(self, target: str) -> bool:
        """Whether the file at a real path is used already."""
        folder, name = os.path.split(target)
        return target in self._linked or self._entered.get(folder, "/") + name in self.used

    def _leave(self, name: str, reason: str) -> None:
        self.left_out.append(LeftOut(name, reason))


def left_behind(name: str) -> str | None:
    """Return why a file or folder is left out for its name alone, or None."""
    if name.startswith((".", "~$")) or name.endswith("~") or name.lower() in _LEAVINGS:
        return HIDDEN
    return UNFINISHED if _UNFINISHED.fullmatch(name) else None


def _holds(folder: str, inner: str) -> bool:
    """Whether the real path ``inner`` is that of ``folder`` or lies below it."""
    return os.path.commonpath([folder, inner]) == folder
