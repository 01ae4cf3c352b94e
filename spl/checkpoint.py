"""Checkpoints: a nested state, tensors and all, written beside the last one and renamed into place.

A folder belongs to one run, and one process saves into it. Which state a run has is not decided here.
"""

import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spl import __version__
from spl.files import not_saved, sync

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
    document |= {"meta": _encode(meta, "meta", tensors), "state": _encode(state, "state", tensors)}
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
        CheckpointError: if there is no checkpoint, or it is cut, corrupt or of another format or version.
    """
    folder = path if any((path / name).exists() for name in (_STATE, _TENSORS)) else latest(path)
    if folder is None:
        raise CheckpointError(
            f"{path} is not a checkpoint: expected a folder with {_STATE}, or one of step-... folders"
        )
    document = _read_document(folder / _STATE)
    try:
        tensors = load_file(folder / _TENSORS)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / _TENSORS} is missing, cut or corrupt: {error}; use another one"
        ) from error
    try:
        state = _decode(document["state"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / _STATE} does not fit {_TENSORS}: {error}; use another one"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{folder / _STATE} must hold a state with keys, got {type(state).__name__}")
    return state


def _read_document(path: Path) -> dict[str, Any]:
    """Return what ``state.json`` holds once its format and version are known to be ours."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is missing, cut or corrupt: {error}; use another one") from error
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
    link = target.with_name(f".{_LAST}.tmp-{os.getpid()}")
    try:
        link.symlink_to(target.name)
        os.replace(link, target.with_name(_LAST))
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


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return ``value`` as JSON holds it; tensors go to ``tensors`` and leave their key behind.

    What JSON has no word for is a dict with one key that starts with ``$``.
    """
    if isinstance(value, Mapping):
        items = [(key, _encode(item, f"{path}/{key}", tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {"$items": [[_encode_key(key, path), item] for key, item in items]}
    if isinstance(value, list | tuple):
        encoded = [_encode(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
        return encoded if isinstance(value, list) else {"$tuple": encoded}
    if isinstance(value, Tensor):
        return {"$tensor": _put(value.detach(), path, tensors)}
    if isinstance(value, np.ndarray | np.generic):
        word = "$array" if isinstance(value, np.ndarray) else "$scalar"
        return {word: _put(np.asarray(value), path, tensors)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _unfit(path, type(value).__name__)


def _encode_key(key: Any, path: str) -> Any:
    if isinstance(key, bool | int | str):
        return key
    raise _unfit(f"a key of {path}", type(key).__name__)


def _put(value: Any, path: str, tensors: dict[str, Tensor]) -> str:
    """Put a tensor or an array under a key of its own, and return that key."""
    if isinstance(value, np.ndarray):
        if not value.flags["CARRAY"] or not value.dtype.isnative:  # read-only, reversed, foreign bytes
            value = value.astype(value.dtype.newbyteorder("="), order="C")
        try:
            value = torch.from_numpy(value)
        except TypeError as error:
            raise _unfit(path, f"an array of {value.dtype}") from error
    if value.layout is not torch.strided or value.is_quantized or value.dtype is torch.complex128:
        raise _unfit(path, f"a {value.dtype} tensor of layout {value.layout}")
    key = path
    while key in tensors:  # {"a/b": ...} beside {"a": {"b": ...}}
        key += "'"
    tensors[key] = value
    return key


def _unfit(path: str, found: str) -> TypeError:
    expected = "a number, text, bool, None, dense tensor, array, dict, list or tuple"
    return TypeError(f"{path} must be {expected}, got {found}; convert it before saving")


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


def _decode(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `_encode`; `ValueError` or `KeyError` for a tree that it never wrote."""
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    word = next(iter(tree), "")
    if not word.startswith("$"):
        return {key: _decode(item, tensors) for key, item in tree.items()}
    content = tree[word]
    if word == "$items":
        return {key: _decode(item, tensors) for key, item in content}
    if word == "$tuple":
        return tuple(_decode(item, tensors) for item in content)
    if word == "$float":
        return float(content)
    if word not in ("$tensor", "$array", "$scalar"):
        raise ValueError(f"unknown word {word!r}")
    if content not in tensors:
        raise ValueError(f"the tensor {content!r} is missing")
    tensor = tensors[content].clone()  # not the file's pages, which later saves may delete
    if word == "$tensor":
        return tensor
    return tensor.numpy() if word == "$array" else tensor.numpy()[()]
