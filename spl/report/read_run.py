"""Reading a run directory without loading a model. Rendering is not here."""

import csv
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from spl.config import parse as configuration
from spl.config.errors import UsageError
from spl.config.synonyms import RENAMED
from spl.config.yaml_files import UnreadableYaml, read_yaml
from spl.runs.logger import seconds_of

# Runs inside the run directory of several seeds, of a grid, of one with restarts, and of a grid of those
PARTS = ("seed-*", "cells/*/*", "restart-*", "cells/*/*/restart-*")
BEFORE = "pretraining"  # in an agent's run: the run of the autoencoder that came first


class Kind(NamedTuple):
    """A sort of run."""

    name: str  # agent, seeds, classifier, autoencoder, grid, curricula
    command: str  # that makes such a run
    config_class: Any
    may_change: Collection[str]  # options that do not bear on what is learned


class Series(NamedTuple):
    """How one figure of a run went."""

    xs: list[float]
    ys: list[float]


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it."""

    folder: Path
    kind: Kind
    config: Any
    text: str  # of config.yaml
    rows: list[dict[str, Any]]  # of metrics.jsonl
    commands: list[str]  # a line for each stretch
    systems: list[dict[str, Any]]  # what each stretch ran on; empty for a run that did not write it
    notes: list[str]  # sentences on what is damaged or missing
    parts: list["Run"]  # cells of a grid, or restarts

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.resolve().name

    @property
    def learners(self) -> list["Run"]:
        """The runs that have rows: itself, or its parts."""
        return self.parts or [self]

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Options that differ from their defaults, with default and value."""
        return configuration.difference(self.kind.config_class(), self.config)

    def document(self, name: str) -> dict[str, Any]:
        """Return what ``<name>.json`` holds, nothing where there is none.

        Raises:
            UsageError: if it cannot be read.
        """
        path = self.folder / f"{name}.json"
        try:
            return dict(json.loads(path.read_bytes())) if path.exists() else {}
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{path} is empty, cut or corrupt: {error}; make it again") from error

    def table(self, name: str) -> list[list[str]]:
        """Return the lines of ``<name>.csv``, none where there is none.

        Raises:
            UsageError: if it cannot be read.
        """
        path = self.folder / f"{name}.csv"
        try:
            if not path.exists():
                return []
            return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        except (OSError, ValueError, csv.Error) as error:
            raise UsageError(f"{path} is empty, cut or corrupt: {error}; make it again") from error

    def lines(self, name: str) -> list[str]:
        """Return the lines of a text file of the run, none where there is none."""
        return _lines_of(self.folder / name)

    def series(self) -> dict[str, Series]:
        """Return each figure of the rows by its tag, over epochs where rows tell them, else over steps."""
        clock = self.clock
        found: dict[str, Series] = {}
        for row in self.rows:
            for tag, value in row.items():
                if tag not in ("step", "seconds", "epoch") and is_number(value) and is_number(row.get(clock)):
                    xs, ys = found.setdefault(tag, Series([], []))
                    xs.append(float(row[clock]))
                    ys.append(float(value))
        return found

    @property
    def clock(self) -> str:
        """What its rows are counted by: epochs or steps."""
        return "epoch" if any("epoch" in row for row in self.rows) else "step"

    @property
    def seconds(self) -> float:
        """How long it learned so far."""
        return sum(seconds_of(one.rows[-1]) for one in self.learners)


def is_number(value: Any) -> bool:
    """Whether a value of a row can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_run(folder: Path) -> Path:
    """Return the file that describes the run in ``folder``.

    Raises:
        UsageError: if it is not the folder of a run.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise UsageError(f"{folder} is not a run directory: it has no config.yaml")
    return path


def read_folder(folder: Path, kinds: Sequence[Kind]) -> Run:
    """Return the run in ``folder``.

    Raises:
        UsageError: if it is not the folder of a run of one of these kinds, has no rows, or cannot be read.
    """
    path = check_run(folder)
    notes: list[str] = []
    text = _text_of(path)
    run = Run(
        folder=folder,
        text=text,
        rows=_rows_of(folder / "metrics.jsonl", notes),
        commands=_lines_of(folder / "command.txt"),
        systems=list(_documents_of(folder / "system.jsonl", notes)),
        notes=notes,
        parts=[read_folder(place, kinds) for place in _parts_of(folder)],
        **_described(text, path, kinds),
    )
    if faults := [row["fault"] for row in run.rows if "fault" in row]:
        notes.append(f"The environment failed {len(faults)} times, at last: {faults[-1]}.")
    if not run.rows and not run.parts:
        raise UsageError(f"{folder} has no rows in metrics.jsonl yet: there is nothing to report")
    return run


def _parts_of(folder: Path) -> list[Path]:
    """Return the runs inside a run that have begun."""
    places = sorted(place for pattern in PARTS for place in folder.glob(pattern))
    return [place for place in places if (place / "config.yaml").is_file() and _size(place / "metrics.jsonl")]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _knows(options: set[str], mapping: dict[str, Any]) -> bool:
    """Whether all keys of a file are among ``options``, by their names of then or of now."""
    return all(key in options or RENAMED.get(key, key).partition(".")[0] in options for key in mapping)


def _described(text: str, path: Path, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return kind and configuration: of the kinds that know every option, the one with the fewest."""
    try:
        mapping = read_yaml(text)
    except UnreadableYaml as error:
        raise UsageError(f"{path} is no YAML of options, got: {error}; copy it again") from error
    if not isinstance(mapping, dict) or not text.endswith("\n"):
        raise UsageError(f"{path} is empty or cut: its last line has no end; copy it again")
    known = [kind for kind in kinds if _knows(set(configuration.to_dict(kind.config_class())), mapping)]
    if not known:
        names = ", ".join(kind.command for kind in kinds)
        raise UsageError(
            f"{path} is of no run that can be reported ({names}): it has options of none of them"
        )
    kind = min(known, key=lambda one: len(configuration.to_dict(one.config_class())))
    return {
        "kind": kind,
        "config": configuration.parse(kind.config_class, ["--config", str(path)], prog="spl report"),
    }


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except ValueError as error:
        raise UsageError(f"{path} is no text: {error}; copy it again") from error


def _lines_of(path: Path) -> list[str]:
    return _text_of(path).splitlines() if path.is_file() else []


def _rows_of(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    rows = list(_documents_of(path, notes))
    for number, row in enumerate(rows, 1):
        if not is_number(row.get("step")):
            raise UsageError(
                f"{path}, line {number}: expected a step, got {row.get('step')!r}; copy it again"
            )
    return rows


def _documents_of(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the document of each line; a last one that a kill cut is described in ``notes`` and left out.

    Raises:
        UsageError: if another line is damaged.
    """
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            if not isinstance(document, dict):
                raise ValueError(f"expected an object, got {type(document).__name__}")
        except ValueError as error:
            if number == len(lines) and not line.endswith(b"\n"):
                notes.append(f"The last line of {path.name} is cut, as by a kill, and left out.")
                return
            raise UsageError(f"{path}, line {number} is damaged: {error}; copy it again") from error
        yield document
