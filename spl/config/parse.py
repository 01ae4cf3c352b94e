"""Configuration: a frozen dataclass <- YAML files <- ``--a.b value``; all errors are reported at once.

The dataclasses live beside the functions they describe. Imports no torch, so that ``spl --help`` stays fast.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin, get_type_hints

import yaml

from spl.config.errors import UsageError
from spl.config.fields import clipped, mistaken
from spl.config.options import Option, meaning_of, options_of, screen_of
from spl.config.presets import find_preset, nearest_presets, presets_of
from spl.config.synonyms import JOINED, RENAMED, either, nearest_options
from spl.config.values import coerce, meaning
from spl.config.yaml_files import UnreadableYaml, plain, read_yaml_file

T = TypeVar("T")


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that would come back as something else, such as ``1e5``."""

    def represent_scalar(self, tag: str, value: Any, style: str | None = None) -> yaml.ScalarNode:
        is_misread = tag.endswith(":str") and not isinstance(meaning(value), str)
        return super().represent_scalar(tag, value, "'" if is_misread else style)


def parse(
    config_class: type[T],
    argv: Sequence[str],
    *,
    prog: str,
    aliases: Mapping[str, str] = {},
    beside: Mapping[str, str] = {},
) -> T:
    """Return the config that YAML files (``--config``, later ones win) and then ``--a.b value`` describe.

    A mapping in YAML replaces a whole dict field; ``--env.kwargs.key value`` sets one key of it, and
    ``--env.kwargs {}`` clears it.

    Args:
        config_class: dataclass of options and sections; ``--help`` shows the comment behind a field, or its
            ``metadata["help"]``. Where its ``presets_of`` names a command, ``--config`` takes that command's
            presets by name, too; a file of that name comes first. ``--help`` leaves out what its
            ``unlisted`` names: options that another one decides.
        prog: the command, with what stands before its options, as ``--help`` shows it.
        aliases: short to full key: with ``{"env": "env.id"}``, ``--env X`` means ``--env.id X``.
        beside: what the command took from ``argv`` itself, such as ``--resume RUN``, with its text for
            ``--help``.

    Raises:
        UsageError: with all mistakes, one per line.
        SystemExit: with code 0, after ``--help``.
    """
    reading = _Reading(config_class, aliases, beside)
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
    pairs = zip(options_of(type(a), a), options_of(type(b), b), strict=True)
    return {name: (x.default, y.default) for (name, x), (_, y) in pairs if x.default != y.default}


class _Reading:
    """What the user set so far, where later settings win, and what is wrong with it."""

    def __init__(self, config_class: Any, aliases: Mapping[str, str], beside: Mapping[str, str] = {}) -> None:
        self.aliases, self.beside = aliases, beside
        self.command: str | None = getattr(config_class, "presets_of", None)  # whose presets it takes
        self.options: dict[str, Option] = dict(options_of(config_class))
        unlisted = getattr(config_class, "unlisted", ())  # that may not be set, but are read from its files
        self.listed = {name: one for name, one in self.options.items() if name not in unlisted}
        self.given: dict[str, tuple[Any, str]] = {}  # option -> raw value, and the key as the user wrote it
        self.of_source: set[str] = set()  # options that the file, or the words, being read have set
        self.problems: list[str] = []

    def help(self, prog: str) -> str:
        presets = [] if self.command is None else presets_of(self.command)
        return screen_of(prog, self.listed, self.aliases, beside=self.beside, presets=presets)

    def owner(self, name: str) -> str | None:
        """Return the option that a dotted key sets: itself, or the dict field of which it is a sub-key."""
        dicts = [option for option, (kind, *_) in self.options.items() if get_origin(kind) is dict]
        owners = (option for option in dicts if name.startswith(f"{option}."))
        return name if name in self.options else next(owners, None)

    def resolve(self, key: str) -> tuple[str, str | None]:
        """Return the full name of a key, whose hyphens may stand for underscores, and the option it sets."""
        for word in (key, key.replace("-", "_")):
            name = self.aliases.get(word, word)
            if (owner := self.owner(name)) is not None:  # what is behind a dict field stays as it is written
                return owner + key[len(owner) :] if owner != name == word else name, owner
        return key, None

    def hint(self, key: str, dashes: str) -> str:
        """Return the options that an unknown key may mean, as a question, or where all of them are listed."""
        beside = [name.split()[0].removeprefix("--") for name in self.beside]
        found = nearest_options(key, [*self.listed, *beside, "config"], self.aliases)
        if dashes and "." not in key:
            short = {full: name for name, full in reversed(list(self.aliases.items()))}
            found = [short.get(name, name) for name in found]
        return f"did you mean {either([dashes + name for name in found])}?" if found else "see --help"

    def add_words(self, argv: Sequence[str]) -> None:
        """Take in a command line: first the files it names, then its overrides."""
        words = list(reversed(argv))
        overrides: list[tuple[str, Any, str]] = []
        while words:
            word = words.pop()
            name, equals, value = word.removeprefix("--").partition("=")
            if not word.startswith("--"):
                self.add_stray(word)
                if word.startswith("-") and not equals and words and not words[-1].startswith("-"):
                    words.pop()  # its value, as is likely
                continue
            if (owner := self.resolve(name)[1]) is not None and owner == name.replace("-", "_"):
                name = owner
            if not equals and words and not words[-1].startswith("--"):
                value = words.pop()
            elif not equals and owner is not None and self.options[owner].kind is bool:
                value = "true"
            elif not equals and (owner is not None or name == "config"):
                self.problems.append(f"--{name} must be followed by a value, got nothing")
                continue
            if name == "config":
                self.add_file(value)
            elif value == "{}" and owner == name and get_origin(self.options[name].kind) is dict:
                overrides.append((name, {}, f"--{name}"))
            else:  # an empty word is an empty string; in YAML an empty value is null
                overrides.append((name, plain(value) if value else "", f"--{name}"))
        self.of_source.clear()
        for override in overrides:
            self.add(*override)

    def add_stray(self, word: str) -> None:
        """Refuse a word that is neither an option nor the value of one."""
        name, equals, _ = word.lstrip("-").partition("=")
        if word.startswith("-") and name:
            self.problems.append(f"unknown option -{name} ({self.exactly(name)})")
        elif equals and name:
            told = f"write options as --name value ({self.exactly(name)})"
            self.problems.append(f"unexpected argument {word!r}; {told}")
        else:
            self.problems.append(f"unexpected argument {word!r}; write options as --name value")

    def exactly(self, name: str) -> str:
        """Return the hint for a name that may be right but for the dashes before it."""
        return self.hint(name, "--") if self.resolve(name)[1] is None else f"did you mean --{name}?"

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
            self.of_source.clear()
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
            elif is_section and self.resolve(name)[1] is None:
                if value is not None:  # all keys of a section may be commented out
                    got = clipped(repr(value))
                    self.problems.append(f"{name!r}{where} must hold options below it, got {got}")
            else:
                now = RENAMED.get(name, name)
                key = now if self.owner(name) is None and self.owner(now) is not None else name
                self.add(key, value, f"{name!r}{where}", where)

    def add(self, key: str, value: Any, label: str, where: str = "") -> None:
        """Take in what a file (``where``) or a word sets; a word may be repeated, and the last counts."""
        name, owner = self.resolve(key)
        if owner is None:
            dashes, word = ("--", "option") if label.startswith("--") else ("", "key")
            self.problems.append(f"unknown {word} {label} ({self.hint(key, dashes)})")
            return
        first = self.given[owner][1] if owner in self.of_source else label
        if owner == name and first != label:
            self.problems.append(f"{first.removesuffix(where)} and {label} are one option: leave one out")
        elif owner == name and owner in self.of_source and not label.startswith("--"):
            self.problems.append(f"{label} is there twice: leave one out")
        self.of_source.add(owner)
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
        option = self.options[name]
        kind, noun, default, _ = option
        value, label = self.given.get(name, (default, f"--{name}"))
        if value is MISSING:
            self.problems.append(f"{label} must be given: {meaning_of(name, option)}")
            return MISSING
        try:
            is_given = name in self.given and not value == default == ""  # an empty path may be the default
            return coerce(value, kind) if is_given else copy.deepcopy(value)
        except (ValueError, OverflowError):
            is_mapping = get_origin(kind) is dict and label.startswith("--")
            how = f"; write {label}.KEY VALUE for each key" if is_mapping else ""
            self.problems.append(mistaken(label, noun, value) + how)
            return MISSING
