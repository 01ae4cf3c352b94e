"""Folders of images, one sub-folder a class: which files are used, and which are left out and why.

Opening a picture is in `spl.data.images.files`, choosing files in `spl.folder_files`, and naming splits in
`spl.data.images.splits`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from spl.config.errors import UsageError
from spl.data.images.broken import Looking, refusal
from spl.data.images.files import fault_of, open_image, picture_endings
from spl.data.images.splits import (
    NO_PART,
    Parts,
    folded,
    not_entered,
    notes_on,
    parts_in_classes,
    parts_in_root,
    sub_folders,
)
from spl.folder_files import EMPTY, HIDDEN, LeftOut, as_json, find_files, named, told
from spl.printable import printable

NO_CLASS, BROKEN, NO_PICTURES = "in no class folder", "broken", "a folder without pictures"
TRAIN, HELD_OUT = 0, 1
Place = tuple[int, str, str, str]  # part, class, folder and name of a file: they are used in this order


class Counted(NamedTuple):
    """What became of the files of a folder of pictures."""

    used: int  # pictures, to learn from and held out
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]  # how the folder was understood, where it has a split of its own
    skipped: tuple[str, ...]  # names of the broken files that are left out for good

    def sentences(self) -> list[str]:
        """Return what is reported to a user beside the number of pictures."""
        return [*self.notes, *told(self.left_out)]

    def as_json(self) -> dict[str, Any]:
        """Return it with the first names for each reason, and all that are skipped."""
        return {
            "used": self.used,
            "left_out": len(self.left_out),
            "reasons": as_json(self.left_out),
            "notes": list(self.notes),
            "skipped": list(self.skipped),
        }


class ImageFiles:
    """Pictures in files, each with its class: ``images[i] -> (picture in RGB, label)``.

    Args:
        root: folder that the names of the files begin at.
        names: of the files, with ``/``.
        targets: their classes.
        background: colour of what is transparent.
    """

    def __init__(self, root: Path, names: Sequence[str], targets: Sequence[int], background: str) -> None:
        self.root, self.names, self.targets, self.background = str(root), names, targets, background
        self.samples = [
            (os.path.join(self.root, name), target) for name, target in zip(names, targets, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, target = self.samples[index]
        return open_image(path, self.background), target


class Found(NamedTuple):
    """A folder of pictures as it was understood."""

    train: ImageFiles
    held_out: ImageFiles | None  # None: the folder has no split of its own
    classes: tuple[str, ...]  # their names as they are shown
    counted: Counted


def find_images(root: Path, background: str, looking: Looking) -> Found:
    """Return the pictures below ``root`` by class, and by part where it has a split of its own.

    A split is ``train/`` beside ``test/`` (or ``val/``), in capitals too and by other usual names, in the
    root or in every class folder. Whatever Pillow opens is used, whatever the ending of its name.

    Raises:
        UsageError: if there are no class folders, a class has no picture, a name does not serve, or a picture
            is broken and is not to be left out.
    """
    if not root.is_dir():
        raise UsageError(
            f"{printable(str(root))} must hold one sub-folder of images for each class: it is no folder"
        )
    folder = _Folder(root)
    names = folder.pictures(set(looking.skipped or ()))
    faults = looking.faults(root, names)
    if faults and (looking.skipped is not None or not looking.is_skipping):
        raise UsageError(refusal(root, faults, len(names), is_running=looking.skipped is not None))
    folder.left_out += [LeftOut(name, BROKEN) for name in faults]
    classes = folder.classes([name for name in names if name not in faults])
    return folder.found(classes, background, [*(looking.skipped or ()), *faults])


class _Folder:
    """A folder of pictures while it is gone through."""

    def __init__(self, root: Path) -> None:
        self.root = root
        folders = sub_folders(root)
        self.parts = parts_in_root(root, folders)
        self.is_split_in_classes = False
        within = None if self.parts is None else self.parts[:2]
        files = find_files(root, within)
        endings = tuple(picture_endings())
        empty = [one for one in files.left_out if one.reason == EMPTY and one.name.lower().endswith(endings)]
        self.left_out = [one for one in files.left_out if one not in set(empty)]
        self.names = [*files.used, *(one.name for one in empty)]  # an empty picture is a broken one
        if self.parts is None:
            self.parts = parts_in_classes(root, self._folders_by_class(folders))
            self.is_split_in_classes = self.parts is not None
        if self.parts is not None and not self.is_split_in_classes:
            self.left_out += not_entered(self.parts)
        self.places: dict[str, Place] = {}

    def _folders_by_class(self, folders: list[str]) -> dict[str, set[str]]:
        inside: dict[str, set[str]] = {name: set() for name in folders if f"{name}/" not in self._reasons()}
        for name in self.names:
            top, *below = name.split("/")
            if len(below) > 1 and top in inside:
                inside[top].add(below[0])
        return inside

    def _reasons(self) -> dict[str, str]:
        return {one.name: one.reason for one in self.left_out}

    def pictures(self, skipped: set[str]) -> list[str]:
        """Return the names of the pictures that are in a class, in the order in which they are used."""
        endings = picture_endings()
        self.left_out += [LeftOut(name, BROKEN) for name in skipped]  # even if it is gone by now
        for name in self.names:
            if name in skipped:
                continue
            if isinstance(place := self._place(name), str):
                self.left_out.append(LeftOut(name, place))
            elif os.path.splitext(name)[1].lower() in endings:
                self.places[name] = place
            elif (fault := fault_of(self.root / name)) is not None:
                self.left_out.append(LeftOut(name, fault))
            else:
                self.places[name] = place
        return sorted(self.places, key=self.places.__getitem__)

    def _place(self, name: str) -> Place | str:
        """Return where a file belongs, or why it does not."""
        folder, file = os.path.split(name)
        tops = folder.split("/") if folder else []
        if self.parts is None:
            return (TRAIN, tops[0], folder, file) if tops else NO_CLASS
        if len(tops) < 2:
            return NO_PART if self.is_split_in_classes and tops else NO_CLASS
        kind, part = tops[:2] if self.is_split_in_classes else (tops[1], tops[0])
        if part not in self.parts[:2]:
            return NO_PART
        return (self.parts[:2].index(part), kind, folder, file)

    def classes(self, names: list[str]) -> list[list[str]]:
        """Return the pictures of each part; ``self.labels`` tells the class of each.

        Raises:
            UsageError: if a class has none, or its name does not serve.
        """
        sides = [[name for name in names if self.places[name][0] == part] for part in (TRAIN, HELD_OUT)]
        self._check_folders({(self.places[name][0], self.places[name][1]) for name in names})
        kinds = [sorted({self.places[name][1] for name in side}) for side in sides]
        self.kinds = kinds[TRAIN]
        self._check_names()
        labels = {kind: label for label, kind in enumerate(self.kinds)}
        if self.parts is not None and kinds[TRAIN] != kinds[HELD_OUT]:
            labels |= self._matched(self.parts, *kinds)
        self.labels = {name: labels[self.places[name][1]] for name in names}
        return sides

    def _check_folders(self, filled: set[tuple[int, str]]) -> None:
        """Tell which class folders are empty; refuse one whose files are no pictures."""
        for part, prefix in enumerate(self._prefixes()):
            reasons = self._reasons()
            if prefix and prefix in reasons:
                raise UsageError(
                    f"{printable(str(self.root / prefix))} is {reasons[prefix]}: nothing is in it"
                )
            for kind in sub_folders(self.root / prefix):
                place = f"{prefix}{kind}/"
                is_filled = any((each, kind) in filled for each in (part, part + self.is_split_in_classes))
                if is_filled or place in reasons:
                    continue
                inside = [one for one in self.left_out if one.name.startswith(place) and one.reason != HIDDEN]
                if inside:
                    raise UsageError(
                        f"class {printable(kind)!r} has no picture in {printable(str(self.root / place))}: "
                        f"{printable(inside[0].name)} is left out ({inside[0].reason})"
                        f"{f', and {len(inside) - 1:,} more' if inside[1:] else ''}; "
                        "convert them to JPEG or PNG, or move the folder elsewhere"
                    )
                self.left_out.append(LeftOut(place, NO_PICTURES))

    def _prefixes(self) -> list[str]:
        """Return what the class folders' paths begin with, for each part."""
        if self.parts is None or self.is_split_in_classes:
            return [""]
        return [f"{name}/" for name in self.parts[:2]]

    def _check_names(self) -> None:
        where = printable(str(self.root))
        for kind in self.kinds:
            try:
                kind.encode()
            except UnicodeEncodeError as error:
                raise UsageError(
                    f"the class folder {printable(kind)} in {where} has a name that is not UTF-8: rename it"
                ) from error
        shown = [printable(kind) for kind in self.kinds]
        if twice := [name for name in shown if shown.count(name) > 1]:
            raise UsageError(f"two class folders in {where} are both shown as {twice[0]}: rename one")
        if len(self.kinds) < 2:
            raise UsageError(
                f"{where} must hold at least 2 sub-folders, one a class, got {shown}{self._hint()}"
            )

    def _hint(self) -> str:
        """Return what may have been meant by a folder without two classes."""
        if self.parts is None and self.kinds and len(sub_folders(self.root / self.kinds[0])) > 1:
            return f"; are the classes in {printable(str(self.root / self.kinds[0]))}? Then give that"
        loose = sum(one.reason == NO_CLASS for one in self.left_out)
        return f"; {loose:,} files are in no sub-folder" if loose else ""

    def _matched(self, parts: Parts, train: list[str], held_out: list[str]) -> dict[str, int]:
        """Return the labels of held-out class folders that differ from those to learn from only in case."""
        by_name = {folded(kind): label for label, kind in enumerate(train)}
        others = {folded(kind): kind for kind in held_out}
        if set(by_name) != set(others) or len(by_name) < len(train) or len(others) < len(held_out):
            differing = [repr(printable(kind)) for kind in sorted(set(train) ^ set(held_out))]
            raise UsageError(
                f"{printable(parts.train)}/ and {printable(parts.held_out)}/ of {printable(str(self.root))} "
                f"must have the same classes, got {named(differing, len(differing))} in one only"
            )
        return {kind: by_name[name] for name, kind in others.items()}

    def found(self, sides: list[list[str]], background: str, skipped: list[str]) -> Found:
        """Return what was found, counted."""
        notes = [] if self.parts is None else notes_on(self.parts, is_in_classes=self.is_split_in_classes)
        left_out = tuple(sorted(self.left_out, key=lambda one: one.name.split("/")))
        counted = Counted(sum(map(len, sides)), left_out, tuple(notes), tuple(sorted(skipped)))
        images = []
        for side, prefix in zip(sides, self._prefixes() * 2, strict=False):
            names = [name.removeprefix(prefix) for name in side]
            labels = [self.labels[name] for name in side]
            images.append(ImageFiles(self.root / prefix, names, labels, background))
        held_out = None if self.parts is None else images[HELD_OUT]
        return Found(images[TRAIN], held_out, tuple(map(printable, self.kinds)), counted)
