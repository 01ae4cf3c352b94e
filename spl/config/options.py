"""The options of a dataclass: names, types in plain words, comments and defaults, and the help text.

What a user sets them to is read in ``spl.config.parse``.
"""

import contextlib
import functools
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from spl.config.ranges import Range

T = TypeVar("T")
_NOUNS = {int: "an int", float: "a number", bool: "true or false", str: "a string", Any: "any value"}
_COMMENT = r"^    (\w+):.*?(?: \(\n.*?)?  # (.+)$"  # the default may stand in brackets on a line of its own
PATH = "a path"
PathName = Annotated[str, PATH]  # of a file or folder: never empty


class Option(NamedTuple):
    """One option of a command."""

    kind: Any
    noun: str  # the kind in plain words
    default: Any  # ``MISSING`` when it must be given
    owner: Any  # the dataclass whose field it is


def narrowed(config_class: type[T], config: Any, **changes: Any) -> T:
    """Return the options that ``config`` shares with ``config_class``, such as a grid's with its training's.

    Args:
        config_class: a dataclass.
        config: has all of its fields.
        changes: fields that have another value.
    """
    values = {one.name: getattr(config, one.name) for one in fields(config_class)}  # type: ignore[arg-type]
    return config_class(**{**values, **changes})


def options_of(config_class: Any, section: Any = MISSING, prefix: str = "") -> Iterator[tuple[str, Option]]:
    """Yield each dotted key and its option; ``section`` gives the defaults if it is there."""
    kinds = get_type_hints(config_class, include_extras=True)
    for field in fields(config_class):
        factory: Any = field.default_factory
        default = field.default if factory is MISSING else factory()
        default = default if section is MISSING else getattr(section, field.name)
        kind, name = kinds[field.name], prefix + field.name
        if is_dataclass(kind):
            yield from options_of(kind, default, f"{name}.")
        else:
            yield name, Option(kind, noun_of(kind), default, config_class)


def dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings by their dotted keys; an empty one has none."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def noun_of(kind: Any) -> str:
    """Return a type in plain words; `TypeError` for a type that no option can have."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if PATH in args[1:]:
            return PATH
        ranges = (one.shown() for one in args[1:] if isinstance(one, Range))
        return " ".join([noun_of(args[0]), *filter(None, ranges)])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin in (Union, UnionType):
        return " or ".join("null" if arg is NoneType else noun_of(arg) for arg in args)
    if origin is tuple:
        return f"a list{'' if args[-1] is ... else f' of {len(args)}'}, each {noun_of(args[0])}"
    if (noun := "a mapping" if origin is dict else _NOUNS.get(kind)) is None:
        raise TypeError(f"an option must be a number, bool, str, Literal, tuple, dict or null, got {kind}")
    return noun


@functools.cache
def _comments(config_class: Any) -> dict[str, str]:
    """Return the comment behind each field in the source of the class, or of those it inherits from."""
    comments: dict[str, str] = {}
    for owner in reversed(config_class.__mro__):
        with contextlib.suppress(OSError, TypeError):  # it has no source
            source = inspect.getsource(owner)
            comments |= re.findall(_COMMENT, source, flags=re.MULTILINE)
    return comments


def help_of(config_class: Any, name: str) -> str:
    """Return the help text in a field's metadata, else the comment behind it."""
    metadata = {field.name: field.metadata for field in fields(config_class)}[name]
    return str(metadata.get("help", _comments(config_class).get(name, "")))


def meaning_of(name: str, option: Option) -> str:
    """Return what an option says and the kind of its values, as ``--help`` shows them."""
    text = help_of(option.owner, name.rpartition(".")[2])
    return f"{text}{' -- ' if text else ''}{option.noun}"


def _shown(default: Any) -> str:
    """Return a default as a user would write it on the command line."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return json.dumps(default) if default is None or isinstance(default, bool) else str(default)


def screen_of(
    prog: str,
    options: Mapping[str, Option],
    aliases: Mapping[str, str],
    *,
    beside: Mapping[str, str],
    presets: Iterable[str],
) -> str:
    """Return what ``--help`` shows.

    Args:
        prog: the command and what stands behind it, for the first line.
        options: by dotted key.
        aliases: short to full key.
        beside: what the command takes that is no option of its dataclass, such as ``--resume RUN``, with its
            text.
        presets: names that ``--config`` takes.
    """
    lines = [f"usage: {prog} [--config FILE.yaml] [--key value ...]", "", "options:"]
    for name, text in beside.items():
        lines += [f"  {name}", f"      {text}"]
    lines += ["  --config FILE.yaml", "      read options from a YAML file; may be repeated, later files win"]
    if named := ", ".join(presets):
        lines.append(f"      or from a preset (spl presets): {named}")
    for name, option in options.items():
        shorts = "".join(
            f", --{short}" for short, full in aliases.items() if full == name and "." not in short
        )
        shown = "(required)" if option.default is MISSING else _shown(option.default)
        lines += [f"  --{name}{shorts} {shown}", f"      {meaning_of(name, option)}"]
    return "\n".join(lines)
