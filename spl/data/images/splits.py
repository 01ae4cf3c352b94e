"""Which sub-folders of an image folder are parts of a split: ``train/`` beside ``test/``, or similar.

Only names are looked at here, and whether a folder has sub-folders.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from spl.config.errors import UsageError
from spl.folder_files import LeftOut, left_behind
from spl.printable import printable

NO_PART = "not part of the split"
HELD_OUT = ("test", "val")  # roles of what is held out; the first that is there is used
_ROLES = {
    "train": ("train", "training", "trn", "trainval"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "heldout", "holdout"),
    "val": ("val", "valid", "validation", "validate", "validating", "dev", "development"),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}
_AROUND = r"set|sets|data|dataset|image|images|img|imgs|picture|pictures|photo|photos|split|samples|20\d\d"


class Parts(NamedTuple):
    """What is learned from and what is held out."""

    train: str  # name of the folder
    held_out: str
    others: tuple[str, ...] = ()  # folders beside them that are not used


def folded(name: str) -> str:
    """Return a name such that names are equal that differ only in case, spaces around, or Unicode form."""
    return unicodedata.normalize("NFC", name.strip().casefold())


def role_of(name: str) -> str | None:
    """Return which part of a split a folder's name means, ``train``, ``test`` or ``val``, or None.

    ``Train``, ``training_set``, ``train2017``, ``images-train`` mean the same.
    """
    words = [word for word in re.split(r"[\W_]+", folded(name)) if not re.fullmatch(_AROUND, word)]
    return _ROLE_OF.get(re.sub(f"(?<=.)(?:{_AROUND})$", "", "".join(words)))


def sub_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, links to folders too, without what programs leave.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if left_behind(entry.name) is None and entry.is_dir()]
    except OSError as error:
        raise UsageError(f"the folder {printable(str(folder))} cannot be read: {error.strerror}") from error
    return sorted(found)


def parts_in_root(root: Path, folders: Iterable[str]) -> Parts | None:
    """Return the split that ``root`` has by the names of its ``folders``; None if they are classes.

    A part has a sub-folder for each class; a class may be called ``train`` and have none.

    Raises:
        UsageError: if there is half a split, or one that may be meant in two ways.
    """
    folders = list(folders)
    holding = [name for name in folders if role_of(name) is not None and sub_folders(root / name)]
    empty = [name for name in folders if role_of(name) is not None and name not in holding]
    where = printable(str(root))
    if (parts := _parts(where, holding, folders)) is not None:
        return parts
    if (train := next((name for name in holding if role_of(name) == "train"), None)) is not None:
        flat = f"; {printable(empty[0])}/ has no class folders" if empty else ""
        raise UsageError(
            f"{where} has a {printable(train)}/ and must have one of test, val, valid, validation beside it, "
            f"with the same class folders{flat}; or give {where}/{printable(train)} with --data.root, "
            "and a share of it is held out"
        )
    if folders and all(role_of(name) is not None for name in folders):
        listed = ", ".join(f"{printable(name)}/" for name in folders)
        lack = "no train/ beside them" if holding else "no sub-folder for each class in them"
        raise UsageError(f"{where} has {listed} and {lack}: bring it into the form train/CLASS/, test/CLASS/")
    return None


def parts_in_classes(root: Path, inside: dict[str, set[str]]) -> Parts | None:
    """Return the split that every class folder has of its own, ``cat/train/`` beside ``cat/val/``, or None.

    Args:
        root: the folder.
        inside: class -> names of the folders in its own.

    Raises:
        UsageError: if only some classes have one.
    """
    where = printable(str(root))
    split = {
        name: parts
        for name, folders in inside.items()
        if (parts := _parts(f"{where}/{printable(name)}", sorted(folders), sorted(folders))) is not None
    }
    if not split:
        return None
    first, parts = next(iter(split.items()))
    for name in inside:
        if name not in split or split[name][:2] != parts[:2]:
            raise UsageError(
                f"{printable(first)}/ in {where} has {printable(parts.train)}/ and "
                f"{printable(parts.held_out)}/, and {printable(name)}/ has not: split all alike, or none"
            )
    others = {other for each in split.values() for other in each.others}
    return parts._replace(others=tuple(sorted(others)))


def notes_on(parts: Parts, *, is_in_classes: bool) -> list[str]:
    """Return how a split was understood."""
    where = "in each class folder, " if is_in_classes else ""
    return [f"{where}{printable(parts.train)}/ to learn from, {printable(parts.held_out)}/ held out"]


def not_entered(parts: Parts) -> list[LeftOut]:
    """Return the folders beside the parts of a split."""
    return [LeftOut(f"{name}/", NO_PART) for name in parts.others]


def _parts(where: str, holding: list[str], folders: list[str]) -> Parts | None:
    """Return the parts among the folders with sub-folders; None where one is missing."""
    by_role: dict[str, list[str]] = {}
    for name in holding:
        by_role.setdefault(str(role_of(name)), []).append(name)
    held_out = next((role for role in HELD_OUT if role in by_role), None)
    if "train" not in by_role or held_out is None:
        return None
    for role in ("train", held_out):
        if len(by_role[role]) > 1:
            told = " and ".join(f"{printable(name)}/" for name in by_role[role][:2])
            raise UsageError(f"{where} has {told}, which mean the same part of a split: keep one of them")
    train, test = by_role["train"][0], by_role[held_out][0]
    return Parts(train, test, tuple(name for name in folders if name not in (train, test)))
