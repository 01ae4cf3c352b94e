"""The check of a dataclass of options: each field has its type, and each number is in its range.

`check_fields` is called in ``__post_init__``, so options built in Python are checked as those of a command
line are. What two fields allow each other is checked where they are declared.
"""

import functools
import os
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from spl.config.options import PATH, noun_of
from spl.config.ranges import check_ranges
from spl.config.values import coerce

LONGEST = 200  # letters of a value in a sentence


def check_fields(config: Any) -> None:
    """Give each field of a frozen dataclass its type, then check the ranges of its numbers.

    Taken for what they say are a list for a tuple, numpy's numbers, a path and a torch device.

    Raises:
        ValueError: naming every field that is something else, or out of its range.
    """
    problems = []
    config_class: Any = type(config)
    for name, (kind, default) in _kinds(config_class).items():
        value = getattr(config, name)
        if isinstance(kind, type) and is_dataclass(kind):
            if not isinstance(value, kind):
                problems.append(f"{name} must be a {kind.__name__}, got {clipped(repr(value))}")
            continue
        if value is default:  # such as an empty path
            continue
        try:
            object.__setattr__(config, name, coerce(as_plain(value), kind))
        except (ValueError, OverflowError):
            problems.append(mistaken(name, noun_of(kind), value))
    if problems:
        raise ValueError("; ".join(problems))
    check_ranges(config)


def as_plain(value: Any) -> Any:
    """Return what a YAML file would hold for ``value``: a number of numpy's, a path, or a torch device."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [as_plain(one) for one in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    is_device = (type(value).__module__, type(value).__name__) == ("torch", "device")
    return str(value) if is_device else value


def mistaken(label: str, noun: str, value: Any) -> str:
    """Return the sentence for a value of an option that is not what its ``noun`` says."""
    is_empty = PATH in noun and not str(value).strip("[]'\", \t")
    here = "; write . for the current folder" if is_empty else ""
    return f"{label} must be {noun}, got {clipped(repr(value))}{here}"


def clipped(text: str) -> str:
    """Return a text of at most `LONGEST` letters, its middle left out."""
    return text if len(text) <= LONGEST else f"{text[:100]} ... {text[-60:]}"


@functools.cache
def _kinds(config_class: Any) -> dict[str, tuple[Any, Any]]:
    """Return the type of each field, and its default."""
    kinds = get_type_hints(config_class, include_extras=True)
    return {one.name: (kinds[one.name], one.default) for one in fields(config_class)}
