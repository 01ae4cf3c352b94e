"""Conversion of a user's value to the type of its field."""

import contextlib
from collections.abc import Mapping
from dataclasses import MISSING
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from spl.config.options import PATH
from spl.config.synonyms import SPELLED
from spl.config.yaml_files import Plain, read_yaml

_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_WORDS = {"true": True, "false": False, ".inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


def meaning(text: str) -> Any:
    """Return what a plain scalar is where any type will do: ``1e-4`` a float, ``off`` a string."""
    for read in (int, float, lambda word: _WORDS[word.lower()]):
        with contextlib.suppress(ValueError, KeyError):
            return read(text)
    return str(text)


def coerce(value: Any, kind: Any) -> Any:
    """Return the value as the type of its field; `ValueError` if it does not fit."""
    origin, args = get_origin(kind), get_args(kind)
    meant = meaning(value) if isinstance(value, str) else value
    if origin is Annotated:
        found = coerce(value, args[0])
        if PATH in args[1:] and (not found.strip() or "\0" in found):
            raise ValueError(found)
        return found
    if origin in (Union, UnionType):
        for arg in args:
            with contextlib.suppress(ValueError, OverflowError):
                return coerce(value, arg)
    elif isinstance(value, Mapping) and (origin is dict or kind is Any):
        return {str(key): coerce(item, args[1] if args else Any) for key, item in value.items()}
    elif kind is Any and not isinstance(value, Plain):
        return [coerce(item, Any) for item in value] if isinstance(value, list) else value
    elif kind is Any:  # only a command line has brackets and quotes left
        return coerce(read_yaml(value), Any) if value[0] in "[{'\"" else meant
    elif origin is tuple:
        if isinstance(value, Plain):
            value = read_yaml(f"[{value.strip('[]()')}]")
        if isinstance(value, list | tuple):
            kinds = [args[0]] * len(value) if args[-1] is ... else args
            return tuple(coerce(item, item_kind) for item, item_kind in zip(value, kinds, strict=True))
    elif origin is Literal:
        words = (str(value), SPELLED.get(str(value)))
        if (choice := next((one for one in args if str(one) in words), MISSING)) is not MISSING:
            return choice
    elif (kind is str and isinstance(value, str)) or (kind is NoneType and value is None):
        return None if value is None else str(value)
    elif kind is bool and str(value).lower() in _BOOLS:
        return _BOOLS[str(value).lower()]
    elif kind in (int, float) and type(meant) in (int, float) and (kind is float or meant % 1 == 0):
        return kind(meant + 0)  # a zero has no sign
    raise ValueError(value)
