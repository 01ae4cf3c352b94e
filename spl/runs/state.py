"""Nested states: converted to JSON and tensors and back, and checked against a program. No files."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

# What reading a state may raise that this program did not write.
MISFIT = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)
# Buffers that earlier versions did not save: the module that lacks one reads it as it was then.
LATER = frozenset({"blank"})  # of `PictureNorm`


def encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return ``value`` as JSON holds it; tensors go to ``tensors`` and leave their key behind.

    What JSON has no word for is a dict with one key that starts with ``$``.
    """
    if isinstance(value, Mapping):
        items = [(key, encode(item, f"{path}/{key}", tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {"$items": [[_encode_key(key, path), item] for key, item in items]}
    if isinstance(value, list | tuple):
        encoded = [encode(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
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


def decode(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `encode`; `ValueError` or `KeyError` for a tree that it never wrote."""
    if isinstance(tree, list):
        return [decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    word = next(iter(tree), "")
    if not word.startswith("$"):
        return {key: decode(item, tensors) for key, item in tree.items()}
    content = tree[word]
    if word == "$items":
        return {key: decode(item, tensors) for key, item in content}
    if word == "$tuple":
        return tuple(decode(item, tensors) for item in content)
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


def check_fits(state: Any, expected: Any, path: str = "state") -> None:
    """Refuse a state without the keys, or with other kinds or shapes, than one of the same program has.

    Args:
        state: what a checkpoint holds, or a part of it.
        expected: a state of the program that is to go on; a dict of tensors takes no other keys, and may
            lack those of `LATER`.
        path: where in the checkpoint that is, for the sentence.

    Raises:
        ValueError: naming the first place that does not fit.
    """
    kinds: tuple[Any, ...] = (Mapping, Tensor, np.ndarray, list, str, (int, float))
    kind: Any = next((kind for kind in kinds if isinstance(expected, kind)), object)
    if not isinstance(state, kind):
        raise _foreign(f"{path} must be of type {type(expected).__name__}, got {type(state).__name__}")
    if isinstance(expected, Tensor) and state.shape != expected.shape:
        raise _foreign(f"{path} must have shape {tuple(expected.shape)}, got {tuple(state.shape)}")
    if isinstance(expected, Mapping):
        for key in (key for key in expected if key not in state):
            if str(key).rpartition(".")[2] not in LATER:
                raise _foreign(f"{path}/{key} is missing")
        is_closed = any(isinstance(item, Tensor) for item in expected.values())
        for key in (key for key in state if is_closed and key not in expected):
            raise _foreign(f"{path}/{key} is not expected")
        for key in (key for key in expected if key in state):
            check_fits(state[key], expected[key], f"{path}/{key}")


def _foreign(problem: str) -> ValueError:
    return ValueError(f"{problem}: it is of another network, environment or version of spl")
