"""Configuration: a frozen dataclass <- YAML files <- ``--a.b value``, with all mistakes told at once.

The dataclasses live beside the functions they describe. Imports no torch, so that ``spl --help`` stays fast.
"""

import contextlib
import copy
import difflib
import functools
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml

from spl.presets import find_preset, nearest_presets, presets_of
from spl.ranges import Range
from spl.vocabulary import JOINED, RENAMED, SPELLED
from spl.yaml_files import Plain, UnreadableYaml, plain, read_yaml, read_yaml_file

T = TypeVar("T")
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_WORDS = {"true": True, "false": False, ".inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_NOUNS = {int: "an int", float: "a number", bool: "true or false", str: "a string", Any: "any value"}


class UsageError(Exception):
    """A mistake of the user, told in one sentence per line."""


class RunError(Exception):
    """What keeps a run from going on although nobody made a mistake, told in one sentence per line."""


class _Option(NamedTuple):
    kind: Any
    noun: str  # the kind in plain words
    default: Any  # ``MISSING`` when it must be given
    owner: Any  # the dataclass whose field it is


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that would come back as something else, such as ``1e5``."""

    def represent_scalar(self, tag: str, value: Any, style: str | None = None) -> yaml.ScalarNode:
        is_misread = tag.endswith(":str") and not isinstance(_meaning(value), str)
        return super().represent_scalar(tag, value, "'" if is_misread else style)


def parse(config_class: type[T], argv: Sequence[str], *, prog: str, aliases: Mapping[str, str] = {}) -> T:
    """Return the config that YAML files (``--config``, later ones win) and then ``--a.b value`` describe.

    A mapping in YAML replaces a whole dict field; ``--env.kwargs.key value`` sets one key of it.

    Args:
        config_class: dataclass of options and sections; ``--help`` shows the comment behind a field, or its
            ``metadata["help"]``. Where its ``presets_of`` names a command, ``--config`` takes that command's
            presets by name, too; a file of that name comes first.
        aliases: short to full key: with ``{"env": "env.id"}``, ``--env X`` means ``--env.id X``.

    Raises:
        UsageError: with all mistakes, one per line.
        SystemExit: with code 0, after ``--help``.
    """
    reading = _Reading(config_class, aliases)
    if "--help" in argv or "-h" in argv:
        print(reading.help(prog))
        raise SystemExit(0)
    reading.add_words(argv)
    return cast(T, reading.section(config_class))


def given_options(config_class: Any, argv: Sequence[str], *, aliases: Mapping[str, str] = {}) -> set[str]:
    """Return the dotted keys that a command line and its files set, whatever their values."""
    reading = _Reading(config_class, aliases)
    reading.add_words(argv)
    return set(reading.given)


def from_dict(config_class: type[T], mapping: Mapping[str, Any]) -> T:
    """Return the config that a nested mapping describes; undoes `to_dict`; `UsageError` as in `parse`."""
    reading = _Reading(config_class, {})
    reading.add_mapping(mapping, "")
    return cast(T, reading.section(config_class))


def to_dict(config: Any) -> Any:
    """Return the config as nested dicts and lists, as YAML and JSON hold them."""
    if is_dataclass(config):
        return {field.name: to_dict(getattr(config, field.name)) for field in fields(config)}
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    return [to_dict(value) for value in config] if isinstance(config, list | tuple) else config


def dump(config: Any) -> str:
    """Return the config as YAML; `parse` of that file gives an equal config."""
    return str(yaml.dump(to_dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def difference(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """Return the dotted keys in which two configs of one class differ, with both values."""
    pairs = zip(_options(type(a), a), _options(type(b), b), strict=True)
    return {name: (x.default, y.default) for (name, x), (_, y) in pairs if x.default != y.default}


def _options(config_class: Any, section: Any = MISSING, prefix: str = "") -> Iterator[tuple[str, _Option]]:
    """Yield each dotted key and its option; ``section`` gives the defaults if it is there."""
    kinds = get_type_hints(config_class, include_extras=True)
    for field in fields(config_class):
        factory: Any = field.default_factory
        default = field.default if factory is MISSING else factory()
        default = default if section is MISSING else getattr(section, field.name)
        kind, name = kinds[field.name], prefix + field.name
        if is_dataclass(kind):
            yield from _options(kind, default, f"{name}.")
        else:
            yield name, _Option(kind, _noun(kind), default, config_class)


@functools.cache
def _comments(config_class: Any) -> dict[str, str]:
    """Return the comment behind each field in the source of the class, or of those it inherits from."""
    comments: dict[str, str] = {}
    for owner in reversed(config_class.__mro__):
        with contextlib.suppress(OSError, TypeError):  # it has no source
            source = inspect.getsource(owner)
            comments |= re.findall(r"^    (\w+):.*?  # (.+)$", source, flags=re.MULTILINE)
    return comments


def _help_of(config_class: Any, name: str) -> str:
    """Return the help text in a field's metadata, else the comment behind it."""
    metadata = {field.name: field.metadata for field in fields(config_class)}[name]
    return str(metadata.get("help", _comments(config_class).get(name, "")))


def _noun(kind: Any) -> str:
    """Return a type in plain words; `TypeError` for a type that no option can have."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join([_noun(args[0]), *(one.shown() for one in args[1:] if isinstance(one, Range))])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin in (Union, UnionType):
        return " or ".join("null" if arg is NoneType else _noun(arg) for arg in args)
    if origin is tuple:
        return f"a list{'' if args[-1] is ... else f' of {len(args)}'}, each {_noun(args[0])}"
    if (noun := "a mapping" if origin is dict else _NOUNS.get(kind)) is None:
        raise TypeError(f"an option must be a number, bool, str, Literal, tuple, dict or null, got {kind}")
    return noun


def _shown(default: Any) -> str:
    """Return a default as a user would write it on the command line."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return json.dumps(default) if default is None or isinstance(default, bool) else str(default)


class _Reading:
    """What the user set so far, where later settings win, and what is wrong with it."""

    def __init__(self, config_class: Any, aliases: Mapping[str, str]) -> None:
        self.aliases = aliases
        self.command: str | None = getattr(config_class, "presets_of", None)  # whose presets it takes
        self.options = dict(_options(config_class))
        self.given: dict[str, tuple[Any, str]] = {}  # option -> raw value, and the key as the user wrote it
        self.problems: list[str] = []

    def help(self, prog: str) -> str:
        lines = [f"usage: {prog} [--config FILE.yaml] [--key value ...]", "", "options:"]
        lines += [
            "  --config FILE.yaml",
            "      read options from a YAML file; may be repeated, later files win",
        ]
        if self.command is not None:
            lines.append(f"      or from a preset (spl presets): {', '.join(presets_of(self.command))}")
        for name, (_, noun, default, owner) in self.options.items():
            text = _help_of(owner, name.rpartition(".")[2])
            shorts = "".join(f", --{short}" for short, full in self.aliases.items() if full == name)
            shown = "(required)" if default is MISSING else _shown(default)
            lines += [f"  --{name}{shorts} {shown}", f"      {text}{' -- ' if text else ''}{noun}"]
        return "\n".join(lines)

    def owner(self, name: str) -> str | None:
        """Return the option that a dotted key sets: itself, or the dict field of which it is a sub-key."""
        dicts = [option for option, (kind, *_) in self.options.items() if get_origin(kind) is dict]
        owners = (option for option in dicts if name.startswith(f"{option}."))
        return name if name in self.options else next(owners, None)

    def add_words(self, argv: Sequence[str]) -> None:
        """Take in a command line: first the files it names, then its overrides."""
        words, overrides = list(reversed(argv)), []
        while words:
            word = words.pop()
            if not word.startswith("--"):
                self.problems.append(f"unexpected argument {word!r}; write options as --name value")
                continue
            name, equals, value = word[2:].partition("=")
            owner = self.owner(self.aliases.get(name, name))
            if owner is None and (owner := self.owner(name.replace("-", "_"))) is not None:
                name = name.replace("-", "_")
            if not equals and words and not words[-1].startswith("--"):
                value = words.pop()
            elif not equals and owner is not None and self.options[owner].kind is bool:
                value = "true"
            elif not equals and (owner is not None or name == "config"):
                self.problems.append(f"--{name} must be followed by a value, got nothing")
                continue
            if name == "config":
                self.add_file(value)
            else:  # an empty word is an empty string; in YAML an empty value is null
                overrides.append((name, plain(value) if value else "", f"--{name}"))
        for override in overrides:
            self.add(*override)

    def add_file(self, file: str) -> None:
        path = Path(file)
        if self.command is not None and not path.is_file():
            path = find_preset(file, self.command) or path
        try:
            content = read_yaml_file(path)
        except UnreadableYaml as error:
            line = "" if error.line is None else f" line {error.line}"
            presets = ""
            if self.command is not None and not path.exists():
                presets = f" or a preset of {self.command} ({', '.join(nearest_presets(file, self.command))})"
            self.problems.append(f"{file}{line}: expected a YAML file of options{presets}, got: {error}")
            return
        if isinstance(content, Mapping):
            self.add_mapping(content, f" in {file}")
        elif content is not None:
            got = "a list" if isinstance(content, list) else repr(content)
            self.problems.append(f"{file} must hold a YAML mapping such as 'seed: 1', got {got}")

    def add_mapping(self, mapping: Mapping[str, Any], where: str, prefix: str = "") -> None:
        for key, value in mapping.items():
            name = f"{prefix}{key}"
            section = RENAMED.get(name, name) if isinstance(value, Mapping) else name
            is_section = any(option.startswith(f"{section}.") for option in self.options)
            if is_section and isinstance(value, Mapping):
                self.add_mapping(value, where, f"{section}.")
            elif name in JOINED and not value and self.owner(name) is None:
                continue
            elif not (is_section and value is None):  # all keys of a section may be commented out
                self.add(self.now(name, mapping, prefix), value, f"{name!r}{where}")

    def now(self, key: str, mapping: Mapping[str, Any], prefix: str) -> str:
        """Return what the option is called now that a file names ``key``, beside the other keys there."""
        name = RENAMED.get(key, key)
        if self.owner(key) is not None or self.owner(name) is None:
            return key
        beside: Any = mapping
        for part in name.removeprefix(prefix).split("."):
            beside = beside.get(part, MISSING) if isinstance(beside, Mapping) else MISSING
        if beside is not MISSING:
            self.problems.append(f"{key!r} and {name!r} are one option: leave one out")
        return name

    def add(self, key: str, value: Any, label: str) -> None:
        name = self.aliases.get(key, key)
        owner = self.owner(name)
        if owner is None:
            dashes, word = ("--", "option") if label.startswith("--") else ("", "key")
            inside = [option for option in self.options if option.startswith(f"{name}.")]
            names = {option.rpartition(".")[0] for option in self.options} | self.options.keys()
            nearest = inside or difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {dashes}{nearest[0]}?" if nearest else "see --help"
            self.problems.append(f"unknown {word} {label} ({hint})")
            return
        before = self.given[owner][1] if owner in self.given else label
        if owner == name and before != label and before.startswith("--") and label.startswith("--"):
            self.problems.append(f"{before} and {label} are one option: leave one out")
        if owner != name:  # one key of a dict field
            known, _ = self.given.get(owner, (self.options[owner].default, ""))
            value = {**(known if isinstance(known, Mapping) else {}), name.removeprefix(f"{owner}."): value}
        self.given[owner] = (value, label)

    def section(self, section_class: Any, prefix: str = "") -> Any:
        """Return a section, ``MISSING`` after a problem, or the whole config, which raises the problems."""
        kinds, values = get_type_hints(section_class), {}
        for field in fields(section_class):
            kind, name = kinds[field.name], prefix + field.name
            values[field.name] = self.section(kind, f"{name}.") if is_dataclass(kind) else self.value(name)
        config: Any = MISSING
        if all(value is not MISSING for value in values.values()):
            try:
                config = section_class(**values)
            except ValueError as error:
                self.problems.append(f"{prefix.removesuffix('.')}: {error}" if prefix else str(error))
        if self.problems and not prefix:
            raise UsageError("\n".join(self.problems))
        return config

    def value(self, name: str) -> Any:
        """Return the value of an option, or ``MISSING`` after a problem."""
        kind, noun, default, _ = self.options[name]
        value, label = self.given.get(name, (default, f"--{name}"))
        if value is MISSING:
            self.problems.append(f"{label} must be given: {noun}")
            return MISSING
        try:
            return _coerce(value, kind) if name in self.given else copy.deepcopy(value)
        except (ValueError, OverflowError):
            self.problems.append(f"{label} must be {noun}, got {_clipped(repr(value))}")
            return MISSING


def _clipped(text: str) -> str:
    """Return a text of at most 200 letters, its middle left out."""
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-60:]}"


def _meaning(text: str) -> Any:
    """Return what a plain scalar is where any type will do: ``1e-4`` a float, ``off`` a string."""
    for read in (int, float, lambda word: _WORDS[word.lower()]):
        with contextlib.suppress(ValueError, KeyError):
            return read(text)
    return str(text)


def _coerce(value: Any, kind: Any) -> Any:
    """Return the value as the type of its field; `ValueError` if it does not fit."""
    origin, args = get_origin(kind), get_args(kind)
    meaning = _meaning(value) if isinstance(value, str) else value
    if origin is Annotated:
        return _coerce(value, args[0])
    if origin in (Union, UnionType):
        for arg in args:
            with contextlib.suppress(ValueError, OverflowError):
                return _coerce(value, arg)
    elif isinstance(value, Mapping) and (origin is dict or kind is Any):
        return {str(key): _coerce(item, args[1] if args else Any) for key, item in value.items()}
    elif kind is Any and not isinstance(value, Plain):
        return [_coerce(item, Any) for item in value] if isinstance(value, list) else value
    elif kind is Any:  # only a command line has brackets and quotes left
        return _coerce(read_yaml(value), Any) if value[0] in "[{'\"" else meaning
    elif origin is tuple:
        if isinstance(value, Plain):
            value = read_yaml(f"[{value.strip('[]()')}]")
        if isinstance(value, list | tuple):
            kinds = [args[0]] * len(value) if args[-1] is ... else args
            return tuple(_coerce(item, item_kind) for item, item_kind in zip(value, kinds, strict=True))
    elif origin is Literal:
        words = (str(value), SPELLED.get(str(value)))
        if (choice := next((one for one in args if str(one) in words), MISSING)) is not MISSING:
            return choice
    elif (kind is str and isinstance(value, str)) or (kind is NoneType and value is None):
        return None if value is None else str(value)
    elif kind is bool and str(value).lower() in _BOOLS:
        return _BOOLS[str(value).lower()]
    elif kind in (int, float) and type(meaning) in (int, float) and (kind is float or meaning % 1 == 0):
        return kind(meaning)
    raise ValueError(value)
