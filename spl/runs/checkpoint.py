"""Checkpoints: a nested state, tensors included, written beside the previous one and renamed into place.

A folder belongs to one run, and one process saves into it. Which state a run has is not decided here.
"""

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spl import __version__
from spl.processes.ranks import rank
from spl.runs.checksums import UNSEALED, checksum_of, seal, unseal
from spl.runs.files import check_regular, not_saved, sync
from spl.runs.state import decode, encode
from spl.runs.tensors import write_tensors

FORMAT, VERSION = "spl-checkpoint", 2
_TENSORS, _STATE, _LAST = "tensors.safetensors", "state.json", "last"
_LINKLESS = {errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # Windows tells of EINVAL
_NAME = re.compile(r"step-(\d{9,})(-replaced)?", re.ASCII)


class CheckpointError(ValueError):
    """A checkpoint that cannot be read."""


class DamagedError(CheckpointError):
    """A checkpoint that is not what was saved: cut, changed, or made of the files of two."""


def save(
    folder: Path, state: Mapping[str, Any], *, step: int, meta: Mapping[str, Any] | None = None, keep: int = 2
) -> Path:
    """Write ``folder/step-000001000``, let ``folder/last`` point to it, delete older ones; return its path.

    However the write ends, ``load(folder)`` gives either the previous state or this one, whole.

    Args:
        folder: made if missing.
        state: dicts, lists and tuples of tensors, arrays, numbers, texts and None.
        step: agent decisions so far; a checkpoint of the same step is replaced.
        meta: more of what ``state`` may hold, for the reader of ``state.json``.
        keep: checkpoints that stay, this one and those of the highest steps.

    Raises:
        TypeError: if ``state`` or ``meta`` holds something else; nothing is written.
        ValueError: if ``step`` is negative or ``keep`` below 1.
        OSError: if the disk refuses; the previous checkpoint stays.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step must be at least 0 and keep at least 1, got step {step} and keep {keep}")
    if rank():  # the first process saves, for all
        return folder / f"step-{step:09d}"
    tensors: dict[str, Tensor] = {}
    meta = {"spl": __version__, "torch": str(torch.__version__), **(meta or {})}
    document = {"format": FORMAT, "version": VERSION, "step": step}
    document |= {"meta": encode(meta, "meta", tensors), "state": encode(state, "state", tensors)}
    target = folder / f"step-{step:09d}"
    temporary = folder / f".{target.name}.tmp-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_temporaries(folder)
        _write(temporary, document, tensors)
        _publish(temporary, target)
    except OSError as error:
        raise not_saved(f"step {step}", folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _prune(folder, target, keep)
    return target


def drop_later(folder: Path, step: int) -> None:
    """Remove the checkpoints of steps beyond ``step``, which a run that goes on from there never took."""
    later = [path for path in _by_step(folder) if _step_of(path) > step]
    if not later:
        return
    last = folder / _LAST
    if last.is_dir() and not last.is_symlink():
        later.append(last)  # a copy of the latest, from a disk without links
    else:
        last.unlink(missing_ok=True)
    for path in later:
        shutil.rmtree(path)


def latest(folder: Path) -> Path | None:
    """Return the checkpoint that ``folder/last`` points to, else that of the highest step, else None.

    Whether it holds is not looked at: a run whose checkpoints are all damaged was saved all the same.
    """
    return next(iter(_newest_first(folder)), None)


def load(path: Path, *, tell: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Return the state that a checkpoint holds, its tensors on the CPU and in memory of their own.

    Args:
        path: a checkpoint, or a folder of checkpoints, of which `latest` is read; where that one is damaged,
            the next one that holds.
        tell: gets a sentence when another one than the latest is read, and why; None writes it to stderr.

    Raises:
        CheckpointError: if there is no checkpoint, it is of another format or version, or none there holds.
    """
    say = _say if tell is None else tell
    if any((path / name).exists() for name in (_STATE, _TENSORS)):
        return _read(path, say)
    damages: list[str] = []
    for folder in _newest_first(path):
        try:
            state = _read(folder, say)
        except DamagedError as error:
            damages.append(str(error))
            continue
        if damages:
            say(f"{'; '.join(damages)}: {folder.name} is used instead")
        return state
    if damages:
        rest = "no other one is intact" if damages[1:] else "there is no other one"
        raise DamagedError(f"{damages[0]}; {rest}: copy the run again, or train again")
    raise CheckpointError(
        f"{path} is not a checkpoint: expected a folder with {_STATE}, or one of step-... folders"
    )


def _say(sentence: str) -> None:
    print(f"spl: {sentence}", file=sys.stderr)


def _read(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the state in the folder of one checkpoint, and say what else lies there."""
    document = _read_document(folder / _STATE)
    path = folder / _TENSORS
    try:
        check_regular(path)
        if document["version"] > UNSEALED and (found := checksum_of(path)) != document["tensors_crc32"]:
            raise ValueError(
                f"its checksum is {found}, that of the file saved with {_STATE} {document['tensors_crc32']}"
            )
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise DamagedError(f"{path} is missing, cut or corrupt: {error}") from error
    try:
        state = decode(document["state"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{folder / _STATE} does not fit {_TENSORS}: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{folder / _STATE} must hold a state with keys, got {type(state).__name__}")
    names = {found.name for found in folder.iterdir() if not found.name.startswith(".")}
    if strange := sorted(names - {_STATE, _TENSORS}):
        say(f"{folder} holds {', '.join(strange)} which no checkpoint has: it is not read")
    return state


def _read_document(path: Path) -> dict[str, Any]:
    """Return what ``state.json`` holds once its format and version are known to be ours."""
    try:
        check_regular(path)
        document = unseal(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} is missing, cut or corrupt: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path} must have the format {FORMAT!r}, got {found!r}; it is not a checkpoint of spl"
        )
    if document.get("version") not in (UNSEALED, VERSION):
        raise CheckpointError(
            f"{path} must have version {UNSEALED} or {VERSION}, got {document.get('version')!r}; update spl"
        )
    return dict(document)


def _write(folder: Path, document: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write both files, their checksums in the second, and wait until the disk has them."""
    folder.mkdir()
    write_tensors(folder / _TENSORS, _separate(tensors))
    text = seal({"tensors_crc32": checksum_of(folder / _TENSORS), **document})
    (folder / _STATE).write_text(text, encoding="utf-8")
    for path in (folder / _TENSORS, folder / _STATE, folder):
        sync(path)


def _publish(temporary: Path, target: Path) -> None:
    """Rename the written folder into place and let ``last`` point to it."""
    replaced = target.with_name(f"{target.name}-replaced")
    if target.exists():  # no rename replaces a folder that is not empty
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
    try:
        os.replace(temporary, target)
    except BaseException:
        if replaced.exists():
            replaced.rename(target)
        raise
    link, last = target.with_name(f".{_LAST}.tmp-{os.getpid()}"), target.with_name(_LAST)
    try:
        _point(link, target.name)
        if last.is_dir() and not last.is_symlink():  # a copy of the run that followed the link
            shutil.rmtree(last)
        os.replace(link, last)
    finally:
        link.unlink(missing_ok=True)
    sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _point(link: Path, name: str) -> None:
    """Make a link, or where there are none (Windows, some disks) a file that holds the name."""
    try:
        link.symlink_to(name)
    except OSError as error:
        if error.errno not in _LINKLESS:
            raise
        link.write_text(name, encoding="utf-8")


def _remove_temporaries(folder: Path) -> None:
    """Remove what a killed save left."""
    for path in folder.glob(".step-*.tmp-*"):
        shutil.rmtree(path)
    for path in folder.glob(f".{_LAST}.tmp-*"):
        path.unlink()


def _prune(folder: Path, newest: Path, keep: int) -> None:
    """Delete all checkpoints but the newest and the ``keep - 1`` others nearest to it in steps below."""
    others = [path for path in _by_step(folder) if path != newest]
    others.sort(key=lambda path: path.name < newest.name)  # a later step was gone back from: it goes first
    for path in others[: len(others) - keep + 1]:
        shutil.rmtree(path, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder: that which ``last`` points to, then the others by falling step."""
    last, others = folder / _LAST, _by_step(folder)[::-1]
    if last.is_symlink():
        first = folder / os.readlink(last)
    elif last.is_file() and _NAME.fullmatch(name := last.read_text(encoding="utf-8", errors="replace")):
        first = folder / name
    elif last.is_dir():
        first = last
    else:
        return others
    return [first, *(other for other in others if other != first)]


def _by_step(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder by rising step, a replaced one before that which replaces it."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (_step_of(path), not path.name.endswith("-replaced")))


def _step_of(path: Path) -> int:
    return int(path.name.split("-")[1])


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, contiguous, none sharing memory with another."""
    separate: dict[str, Tensor] = {}
    taken: set[int] = set()
    for key, tensor in tensors.items():
        tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        separate[key] = tensor
    return separate
