"""What the words of a command line mean before they are options, and what its exit codes mean."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from spl.config import UsageError, parse

T = TypeVar("T")
OK, FAILURE, MISTAKE, INTERRUPTED = 0, 1, 2, 130  # exit codes


def parse_run(
    config_class: type[T],
    argv: list[str],
    prog: str,
    aliases: Mapping[str, str],
    may_change: Collection[str],
    parent: Path,
) -> tuple[T, Path | None]:
    """Return the config that ``argv`` describes, and the folder of the run that it goes on with, if any.

    Raises:
        UsageError: if an option is wrong, or one changes what the run to resume depends on.
    """
    rest, run = take_option(argv, "--resume")
    if run is None:
        return parse(config_class, rest, prog=prog, aliases=aliases), None
    from spl.runs import check_resumable, read_run

    before = read_run(config_class, Path(run), parent)
    words = ["--config", str(Path(run) / "config.yaml"), *rest]
    config = parse(config_class, words, prog=f"{prog} --resume", aliases=aliases)
    check_resumable(before, config, may_change)
    return config, Path(run)


def take_run(argv: list[str], example: str) -> tuple[Path, list[str]]:
    """Return the run's folder that ``argv`` begins with, and the rest; no folder before ``--help``."""
    if not argv or (argv[0].startswith("-") and argv[0] != "--help"):
        raise UsageError(f"give the folder of the run: {example}")
    return (Path(), argv) if argv[0] == "--help" else (Path(argv[0]), argv[1:])


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
    if name in argv and not values:
        raise UsageError(f"{name} needs a value")
    return rest, tuple(values)
