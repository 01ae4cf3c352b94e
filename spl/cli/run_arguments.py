"""The run named on a command line, and the exit codes of every command."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.config.words import folder_of, take_option

T = TypeVar("T")
OK, FAILURE, MISTAKE, INTERRUPTED = 0, 1, 2, 130  # exit codes


RESUME = {"--resume RUN": "resume the run in this directory, with its options"}


def parse_run(
    config_class: type[T],
    argv: list[str],
    prog: str,
    aliases: Mapping[str, str],
    may_change: Collection[str],
    parent: Path,
    beside: Mapping[str, str] = {},
) -> tuple[T, Path | None]:
    """Return the config that ``argv`` describes, and the folder of the run that it resumes, if any.

    Args:
        config_class, argv, prog, aliases, beside: as of `parse`; ``argv`` may hold ``--resume RUN``.
        may_change: dotted keys in which a resumed run may differ from before.
        parent: where such runs usually are.

    Raises:
        UsageError: if an option is wrong, or one changes what the run to resume depends on.
    """
    beside = {**beside, **RESUME}
    rest, run = take_option(argv, "--resume")
    if run is None or "--help" in rest:
        return parse(config_class, rest, prog=prog, aliases=aliases, beside=beside), None
    from spl.runs.directory import check_resumable, read_run, words_of_run

    folder = folder_of(run, "--resume")
    before = read_run(config_class, folder, parent)
    words = [*words_of_run(config_class, folder), *rest]
    config = parse(config_class, words, prog=prog, aliases=aliases, beside=beside)
    check_resumable(before, config, may_change)
    return config, folder


def take_run(argv: list[str], example: str) -> tuple[Path, list[str]]:
    """Return the run's folder that ``argv`` begins with, and the rest; no folder where help is asked for."""
    if "--help" in argv:
        return Path(), ["--help"]
    if not argv or argv[0].startswith("-"):
        raise UsageError(f"give the run directory: {example}")
    if argv[0].startswith("hub:"):
        from spl.agents.hub import local_folder

        return local_folder(argv[0]), argv[1:]
    return folder_of(argv[0], "the run"), argv[1:]
