"""What every run has: a directory that records how it was made, a device, and a generator per purpose."""

import contextlib
import itertools
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from rich.console import Console

from spl.config import parse as configuration
from spl.config.errors import UsageError
from spl.config.options import options_of
from spl.config.synonyms import BEFORE, RENAMED
from spl.config.yaml_files import UnreadableYaml, read_yaml_file
from spl.processes.ranks import rank
from spl.runs.files import hold, read_json, replace_text
from spl.runs.machine import describe_system

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one, else the CPU.

    MPS (Apple's GPU) serves where it is named. ``auto`` does not choose it: it has no double precision, which
    the normalisation of states needs, and nothing was measured on it.

    Raises:
        UsageError: if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UsageError(
            f"device must be cpu, cuda, cuda:N, mps or auto, got {name!r}, which is not here"
        ) from error
    return device


def generator_of(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator that belongs to one purpose of a run, independent of all others."""
    return np.random.default_rng([seed, *purpose.encode()])


def new_run(parent: Path, name: str) -> Path:
    """Make and return ``parent/<name>-<time>``, with ``-1``, ``-2``, ... behind it where that is taken.

    Raises:
        UsageError: if it cannot be written.
    """
    short = "".join(letter if letter.isalnum() or letter == "." else "-" for letter in name)
    stamped = f"{short}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in itertools.count():
            folder = parent / (f"{stamped}-{attempt}" if attempt else stamped)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
    except OSError as error:
        raise UsageError(
            f"the run folder {parent} cannot be written: {error.strerror}; choose --runs"
        ) from error
    return folder


class RunContext(NamedTuple):
    """Where a run is trained, by which command, and where it tells of itself."""

    folder: Path
    command: list[str]
    console: Console
    resume_with: str | None = None  # the command of a grid or of all restarts, which goes on with this one

    def command_to_resume(self, training: str) -> str:
        """Return the command that a stopped run names: ``resume_with``, or ``training`` on this folder."""
        return self.resume_with or f"{training} --resume {shlex.quote(str(self.folder))}"


@contextlib.contextmanager
def held_run(
    resume: Path | None,
    parent: Path,
    name: str,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Iterator[RunContext]:
    """Yield a run, its folder held: the one to ``resume``, or a new one, which goes if nothing was learned.

    To a process that shares it with the first one, a folder that goes at the end.

    Args:
        resume: folder of the run to go on with; None begins one.
        parent, name: of a new one, as of `new_run`.
        command: None for that of this process.
        console: where it tells of itself; None for standard error.

    Raises:
        UsageError: as `new_run`, or if another process holds it.
    """
    if rank():
        with _beside(resume) as folder:
            yield RunContext(folder, [], Console(quiet=True))
        return
    folder = new_run(parent, name) if resume is None else resume
    try:
        with hold(folder):
            shown = Console(stderr=True) if console is None else console
            yield RunContext(folder, sys.argv if command is None else command, shown)
    except Exception:
        if resume is None and not has_learned(folder):
            shutil.rmtree(folder)
        raise


def has_learned(folder: Path) -> bool:
    """Whether a run, or one inside it, has saved anything to go on from; a new folder without it goes."""
    return any(folder.rglob("*.safetensors"))


@contextlib.contextmanager
def _beside(resume: Path | None) -> Iterator[Path]:
    """Yield a folder for a process that is not the first: it has what was saved, and what it writes goes."""
    with tempfile.TemporaryDirectory(prefix="spl-rank-") as name:
        for kept in [] if resume is None else [resume / "checkpoints", resume / "result.json"]:
            if kept.exists():
                (Path(name) / kept.name).symlink_to(kept.resolve())
        yield Path(name)


def describe_run(folder: Path, config: Any, command: list[str], documents: Mapping[str, Any] = {}) -> None:
    """Write ``config.yaml`` and each document as ``<name>.json``, and add a line to two files.

    ``command.txt`` gets the command and ``system.jsonl`` what it runs on. No line is added for an empty
    command: what goes on by the same one as before.

    Raises:
        UsageError: if the folder cannot be written.
    """
    try:
        replace_text(folder / "config.yaml", configuration.dump(config))
        for name, document in documents.items():
            replace_text(folder / f"{name}.json", json.dumps(document, indent=2) + "\n")
        if command:
            with (folder / "command.txt").open("a", encoding="utf-8") as file:
                file.write(shlex.join(command) + "\n")
            with (folder / "system.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(describe_system()) + "\n")
    except OSError as error:
        raise UsageError(f"the run folder {folder} cannot be written: {error.strerror}") from error


def described_run(
    parent: Path, name: str, config: Any, command: list[str], documents: Mapping[str, Any] = {}
) -> Path:
    """Return a `new_run` that `describe_run` has described.

    Raises:
        UsageError: if it cannot be written; none is left behind then.
    """
    folder = new_run(parent, name)
    try:
        describe_run(folder, config, command, documents)
    except UsageError:
        shutil.rmtree(folder)
        raise
    return folder


def read_run(config_class: type[T], folder: Path, parent: Path) -> T:
    """Return the configuration of the run in ``folder``.

    Args:
        config_class: what describes such a run.
        folder: of the run.
        parent: where such runs usually lie, to name the newest one in the sentence.

    Raises:
        UsageError: if it is not the folder of such a run.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        known = sorted(parent.glob("*/config.yaml"), key=lambda found: found.stat().st_mtime)
        newest = f"; the newest run here is {known[-1].parent}" if known else ""
        raise UsageError(f"{folder} is not a run directory: it has no config.yaml{newest}")
    if not path.read_bytes().endswith(b"\n"):
        raise UsageError(f"{path} is empty or cut: its last line has no end; copy it again")
    _check_kind(config_class, folder, parent)
    return configuration.parse(config_class, words_of_run(config_class, folder), prog="spl")


def words_of_run(config_class: type[Any], folder: Path, file: str = "config.yaml") -> list[str]:
    """Return the command line of the run's options, those included that there were not when it was made."""
    words = ["--config", str(folder / file)]
    given = configuration.given_options(config_class, words)
    known = {name for name, _ in options_of(config_class)}
    lacking = BEFORE.keys() & known - {option for name in given for option in (name, name.rpartition(".")[0])}
    return words + [word for name in sorted(lacking) for word in BEFORE[name]]


def kept_run(config_class: type[T], folder: Path, parent: Path, document: str) -> tuple[Path, T]:
    """Return a run and its configuration; of a run with restarts, the one that was kept.

    Args:
        config_class, folder, parent: as of `read_run`.
        document: name of the JSON that tells, in a run whose restarts are all trained, which is kept.

    Raises:
        UsageError: if it is not such a run, or its restarts are not all trained.
    """
    config: Any = read_run(config_class, folder, parent)
    if config.restarts == 1:
        return folder, config
    if not (folder / document).exists():
        raise UsageError(f"{folder} has {config.restarts} restarts that are not all trained: resume it first")
    found = read_json(folder / document)
    return kept_run(config_class, folder / found.get("restarts", found)["kept"], parent, document)


def _check_kind(config_class: type[Any], folder: Path, parent: Path) -> None:
    """Refuse a run with several options that such runs do not have: it is of another kind."""
    try:
        found = read_yaml_file(folder / "config.yaml")
    except UnreadableYaml:
        return  # the parser tells what is wrong with it
    options = {one.name for one in fields(config_class)}
    known = options | RENAMED.keys()
    if "seeds" not in options and (inside := sorted(folder.glob("seed-*/config.yaml"))):
        raise UsageError(
            f"{folder} has the runs of several seeds: give one of them, such as {inside[0].parent}"
        )
    if isinstance(found, dict) and len(strange := [str(key) for key in found if key not in known]) > 1:
        raise UsageError(
            f"{folder} is a run of another kind than those in {parent}: it has the options "
            f"{', '.join(strange[:3])}; give one of those, or choose the command for this one"
        )


def seed_of_data(config: Any, folder: Path) -> int:
    """Return the seed that decides what is wrong in the data of the run in ``folder``, on purpose.

    Its own; of one of several restarts, which have the same data, that of them all.

    Raises:
        UsageError: if what describes the restarts cannot be read.
    """
    parent = folder.resolve().parent
    if not folder.resolve().name.startswith("restart-") or not (parent / "config.yaml").is_file():
        return int(config.seed)
    return int(read_run(type(config), parent, parent.parent).seed)


def check_resumable(before: Any, now: Any, may_change: Collection[str]) -> None:
    """Refuse to go on with a run whose configuration was changed in what it depends on.

    Raises:
        UsageError: naming every key that may not change.
    """
    changed = configuration.difference(before, now)
    if fixed := {key: values for key, values in changed.items() if key not in may_change}:
        told = ", ".join(f"--{key} {new} (the run has {old})" for key, (old, new) in fixed.items())
        raise UsageError(
            f"a resumed run keeps its configuration, got {told}; start a new run, or leave it out"
        )
