"""Checkpoints: a nested state, tensors and all, written beside the last one and renamed into place.

A folder belongs to one run, and one process saves into it. Which state a run has is not decided here.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spl import __version__
from spl.files import not_saved, sync
from spl.state import decode, encode

FORMAT, VERSION = "spl-checkpoint", 1
_TENSORS, _STATE, _LAST = "tensors.safetensors", "state.json", "last"
_NAME = re.compile(r"step-(\d{9,})(-replaced)?", re.ASCII)


class CheckpointError(ValueError):
    """A checkpoint that cannot be read."""


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
    except (OSError, SafetensorError) as error:
        raise not_saved(f"step {step}", folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _prune(folder, target, keep)
    return target


def latest(folder: Path) -> Path | None:
    """Return the checkpoint that ``folder/last`` points to, else the one of the highest step, else None."""
    last = folder / _LAST
    if _is_complete(last):
        return folder / os.readlink(last) if last.is_symlink() else last
    complete = _complete(folder)
    return complete[-1] if complete else None


def load(path: Path) -> dict[str, Any]:
    """Return the state that a checkpoint holds, its tensors on the CPU and in memory of their own.

    Args:
        path: a checkpoint, or a folder of checkpoints, of which `latest` is read.

    Raises:
        CheckpointError: if there is no checkpoint, or it is cut, corrupt or of another format or version; it
            names another one of the same folder that is whole.
    """
    folder = path if any((path / name).exists() for name in (_STATE, _TENSORS)) else latest(path)
    if folder is None:
        raise CheckpointError(
            f"{path} is not a checkpoint: expected a folder with {_STATE}, or one of step-... folders"
        )
    try:
        return _read(folder)
    except CheckpointError as error:
        others = [other for other in _complete(folder.parent) if not other.samefile(folder)]
        whole = next((other.name for other in reversed(others) if _is_whole(other)), None)
        advice = f"{whole} beside it is whole: move {folder.name} away to go on from there"
        raise CheckpointError(f"{error}; {'use another one' if whole is None else advice}") from error


def _is_whole(folder: Path) -> bool:
    try:
        _read(folder)
    except CheckpointError:
        return False
    return True


def _read(folder: Path) -> dict[str, Any]:
    """Return the state in the folder of one checkpoint."""
    document = _read_document(folder / _STATE)
    try:
        tensors = load_file(folder / _TENSORS)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder / _TENSORS} is missing, cut or corrupt: {error}") from error
    try:
        state = decode(document["state"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / _STATE} does not fit {_TENSORS}: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{folder / _STATE} must hold a state with keys, got {type(state).__name__}")
    return state


def _read_document(path: Path) -> dict[str, Any]:
    """Return what ``state.json`` holds once its format and version are known to be ours."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is missing, cut or corrupt: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path} must have the format {FORMAT!r}, got {found!r}; it is not a checkpoint of spl"
        )
    if document.get("version") != VERSION:
        raise CheckpointError(
            f"{path} must have version {VERSION}, got {document.get('version')!r}; update spl"
        )
    return dict(document)


def _write(folder: Path, document: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write both files and wait until the disk has them."""
    folder.mkdir()
    save_file(_separate(tensors), folder / _TENSORS)
    (folder / _STATE).write_text(json.dumps(document, allow_nan=False, indent=1), encoding="utf-8")
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
        link.symlink_to(target.name)
        if last.is_dir() and not last.is_symlink():  # a copy of the run that followed the link
            shutil.rmtree(last)
        os.replace(link, last)
    finally:
        link.unlink(missing_ok=True)
    sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _remove_temporaries(folder: Path) -> None:
    """Remove what a killed save left."""
    for path in folder.glob(".step-*.tmp-*"):
        shutil.rmtree(path)
    for path in folder.glob(f".{_LAST}.tmp-*"):
        path.unlink()


def _prune(folder: Path, newest: Path, keep: int) -> None:
    """Delete all checkpoints but the newest and the ``keep - 1`` others of the highest steps."""
    others = [path for path in _complete(folder) if path != newest]
    for path in others[: len(others) - keep + 1]:
        shutil.rmtree(path, ignore_errors=True)


def _is_complete(path: Path) -> bool:
    return (path / _STATE).is_file() and (path / _TENSORS).is_file()


def _complete(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder by rising step, a replaced one before that which replaces it."""
    found = [(match, path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    found.sort(key=lambda pair: (int(pair[0][1]), pair[0][2] is None))
    return [path for _, path in found if _is_complete(path)]


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
