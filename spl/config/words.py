"""The words of a command line that are not yet options: values without a name, lists, folders."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from spl.config.errors import UsageError


def folder_of(word: str, name: str) -> Path:
    """Return the folder that a word names; `UsageError` if it is empty, which is not the current one."""
    if not word.strip():
        raise UsageError(f"{name} must be a folder, got {word!r}; write . for the current folder")
    return Path(word)


def check_once(folders: Sequence[Path]) -> None:
    """Refuse a run that is given twice; `UsageError`."""
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("give each run once")


def name_first(argv: list[str], option: str, full: str, *, is_list: bool = False) -> list[str]:
    """Return ``argv`` with the words that stand before all options as the value of one.

    Args:
        argv: words behind the command's name.
        option: short name of what may stand first without its name.
        full: its dotted key.
        is_list: whether it may be several words.

    Raises:
        UsageError: if there are too many words, or it is given by name as well.
    """
    words, rest = split_words(argv)
    if not words or re.fullmatch(r"[\w.-]+=.*", words[0]):  # name=value: the parser says how it is written
        return argv
    given = {word.partition("=")[0] for word in rest}
    if named := sorted(given & {f"--{option}", f"--{full}"}):
        raise UsageError(f"{words[0]!r} comes first and {named[0]} is given too: leave one out")
    if len(words) > 1 and not is_list:
        raise UsageError(f"unexpected argument {words[1]!r}; write options as --name value")
    return [f"--{option}", *words, *rest] if is_list else [f"--{option}={words[0]}", *rest]


def take_option(argv: list[str], name: str) -> tuple[list[str], str | None]:
    """Return ``argv`` without ``name VALUE`` (or ``name=VALUE``), and the value."""
    for position, word in enumerate(argv):
        if word.startswith(name + "="):
            return argv[:position] + argv[position + 1 :], word.removeprefix(name + "=")
        if word == name:
            if position + 1 == len(argv):
                raise UsageError(f"{name} needs a value")
            return argv[:position] + argv[position + 2 :], argv[position + 1]
    return argv, None


def split_words(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return the words that stand before the first option, and the rest."""
    position = next((index for index, word in enumerate(argv) if word.startswith("-")), len(argv))
    return argv[:position], argv[position:]


def join_paths(argv: list[str], aliases: Mapping[str, str], option: str) -> list[str]:
    """Return ``argv`` with the words that follow ``option``, as a shell makes them of ``*.mp4``, as one list.

    A word that names a file is that file, whatever is in its name; another may hold several, with commas.

    Args:
        argv: of the command.
        aliases: short to full key.
        option: a full key; its aliases are meant too.
    """
    names = {f"--{option}", *(f"--{short}" for short, full in aliases.items() if full == option)}
    joined: list[str] = []
    words = list(reversed(argv))
    while words:
        joined.append(words.pop())
        if joined[-1] not in names:
            continue
        paths: list[str] = []
        while words and (not words[-1].startswith("-") or os.path.lexists(words[-1])):
            word = words.pop()
            paths += [word] if os.path.lexists(word) or word[:1] in "['\"" else word.split(",")
        if len(paths) == 1 and not os.path.lexists(paths[0]):
            joined.append(paths[0])
        elif paths:
            joined.append(json.dumps(paths))
    return joined


def take_options(argv: list[str], name: str) -> tuple[list[str], tuple[str, ...]]:
    """Return ``argv`` without each ``name VALUE VALUE ...``, and all the values."""
    rest: list[str] = []
    values: list[str] = []
    is_value = False
    for word in argv:
        if word.startswith("--"):
            is_value = word == name
        if word == name:
            continue
        (values if is_value else rest).append(word)
    if name in argv and not all(value.strip() for value in values or [""]):
        raise UsageError(f"{name} needs a value" + (", got an empty one" if values else ""))
    return rest, tuple(values)
