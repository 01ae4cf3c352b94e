"""``spl report``: one self-contained HTML page of a run, or of several side by side."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from spl.config import parse as configuration
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName, dotted
from spl.config.ranges import NotNegative
from spl.config.words import check_once
from spl.report.blocks import Block, Chapter, Code, Facts, Page, Section, Table, Words
from spl.report.comparison import comparison, measures, told
from spl.report.curves import Group, curve_blocks, group_runs
from spl.report.explanations import explained_blocks
from spl.report.media import Shelf, media_sections
from spl.report.read_run import BEFORE, Kind, Run, check_run, read_folder
from spl.report.results import evaluation_blocks
from spl.runs.files import replace_text
from spl.runs.logger import brief, duration
from spl.runs.machine import describe_system

CURVES, RAN_ON = "Learning curves", "What it ran on"
MIB = 2**20
LONG = 60  # letters of a command, that fit a line on a phone or nearly
MOST_FIGURES = 3  # beside steps and time, at the top


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """How a page is written."""

    out: PathName | None = None  # output file; null: report.html in the run directory
    max_mib: NotNegative = 64.0  # limit for embedded images, audio and films together; the rest is only named

    def __post_init__(self) -> None:
        check_fields(self)


class Written(NamedTuple):
    """A page that was written."""

    path: Path
    num_bytes: int
    notes: list[str]  # what is damaged or left out, which the page says too


def write_report(folders: Sequence[Path], config: ReportConfig, kinds: Sequence[Kind]) -> Written:
    """Write the page of the runs in ``folders``.

    Raises:
        UsageError: if one of them is no run, has no rows or cannot be read, or the page cannot be written.
    """
    check_once(folders)
    for folder in folders:
        check_run(folder)
    if config.out is None and len(folders) > 1:
        raise UsageError("say where the page of several runs goes: --out FILE.html")
    path = folders[0] / "report.html" if config.out is None else Path(config.out)
    if path.is_dir() or (config.out or "").endswith("/"):
        path = path / "report.html"
    shelf = Shelf(int(config.max_mib * MIB))
    page = page_of([read_folder(folder, kinds) for folder in folders], shelf, kinds)
    text = render(page)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"{path} cannot be written: {why}; choose another with --out") from error
    return Written(path, len(text.encode()), page.notes)


def render(page: Page) -> str:
    """Return the page as HTML; all that is not a chart of ours is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["folding"] = _folding
    return environment.get_template("page.html").render(page=page).lstrip()


def _folding(name: str) -> Markup:
    """Return a name of an option or a run that may be folded after its dots, bars and hyphens."""
    return Markup(re.sub(r"([._-])", r"\1<wbr>", str(escape(name))))


def page_of(runs: Sequence[Run], shelf: Shelf, kinds: Sequence[Kind]) -> Page:
    """Return what is on the page of these runs."""
    made = describe_system()
    notes = [note if len(runs) == 1 else f"{run.name}: {note}" for run in runs for note in run.notes]
    sections = _single(runs[0], shelf, kinds) if len(runs) == 1 else _shared(runs)
    chapters = [] if len(runs) == 1 else [_chapter(run, shelf, kinds) for run in runs]
    notes += shelf.left_out
    return Page(
        title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs",
        subtitle=_subtitle(runs[0])
        if len(runs) == 1
        else ", ".join(dict.fromkeys(run.kind.command for run in runs)),
        figures=_figures(runs[0]) if len(runs) == 1 else [],
        notes=notes,
        sections=sections,
        chapters=chapters,
        made_with=f"Page made by spl {made['spl']}, {made['time']}.",
    )


def _subtitle(run: Run) -> str:
    if hasattr(run.config, "seeds"):  # a grid: restarts inside its cells have seeds of their own
        return f"{run.kind.command} · seeds {run.config.seeds}"
    seeds = sorted({one.config.seed for one in run.learners})
    seed_text = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    return f"{run.kind.command} · {seed_text}"


def _figures(run: Run) -> list[tuple[str, str]]:
    """Return the few figures that matter most, and how long it took."""
    found = [(name, told(name, value)) for name, value in list(measures(run).items())[:MOST_FIGURES]]
    if run.parts:
        found.append(("runs", f"{len(run.parts)}"))
    else:
        found.append(("steps" if run.clock == "step" else "updates", brief(int(run.rows[-1]["step"]))))
    return [*found, ("time", duration(run.seconds))]


def _single(run: Run, shelf: Shelf, kinds: Sequence[Kind]) -> list[Section]:
    """Return all that there is to say of one run."""
    sections = _curves([run])
    sections.append(Section("Evaluation", evaluation_blocks(run)))
    sections.append(Section("Explanations in numbers", explained_blocks(run)))
    sections += media_sections(run.folder, shelf)
    if (run.folder / BEFORE / "config.yaml").is_file() and (run.folder / BEFORE / "metrics.jsonl").is_file():
        before = read_folder(run.folder / BEFORE, kinds)
        sections += [Section(f"Before: {part.title.lower()}", part.blocks) for part in _curves([before])]
        sections += media_sections(before.folder, shelf)
    return [*sections, *_making(run)]


def _shared(runs: Sequence[Run]) -> list[Section]:
    """Return what several runs have side by side."""
    sections = _sections_by_kind("Results", comparison, runs)
    sections += [*_curves(runs), Section("Options that differ", _differences(runs))]
    return [*sections, Section(RAN_ON, _systems(runs))]


def _by_kind(runs: Sequence[Run]) -> list[tuple[Kind, list[Run]]]:
    """Return the runs by what their learners are: a grid's cells are classifiers."""
    found: dict[str, tuple[Kind, list[Run]]] = {}
    for run in runs:
        kind = run.learners[0].kind
        found.setdefault(kind.name, (kind, []))[1].append(run)
    return list(found.values())


def _curves(runs: Sequence[Run]) -> list[Section]:
    return _sections_by_kind(CURVES, curve_blocks, runs)


def _sections_by_kind(
    title: str, blocks: Callable[[Kind, Sequence[Group]], list[Block]], runs: Sequence[Run]
) -> list[Section]:
    """Return a section for each kind of run, which its title names where there are several."""
    kinds = _by_kind(runs)
    return [
        Section(
            title if len(kinds) == 1 else f"{title}, {kind.name}",
            blocks(kind, group_runs([one for run in members for one in run.learners])),
        )
        for kind, members in kinds
    ]


def _differences(runs: Sequence[Run]) -> list[Block]:
    """Return the options in which runs that have them differ, seeds and places among them.

    Where kinds merely have other defaults, nobody chose anything.
    """
    options = [dict(dotted(configuration.to_dict(run.config))) for run in runs]
    names = [
        name
        for name in {name: None for one in options for name in one}
        if len({_value(one[name]) for one in options if name in one}) > 1
        and any(name in run.changed for run in runs)
    ]
    rows = [
        [run.name, *(_value(one[name]) if name in one else "-" for name in names)]
        for run, one in zip(runs, options, strict=True)
    ]
    return [Table("", ["run", *names], rows, is_prose=True)] if names else []


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return "null" if value is None else str(value)


def _chapter(run: Run, shelf: Shelf, kinds: Sequence[Kind]) -> Chapter:
    shared = (CURVES, RAN_ON)
    sections = [part for part in _single(run, shelf, kinds) if not part.title.startswith(shared)]
    return Chapter(run.name, _subtitle(run), sections, is_open=False)


def _making(run: Run) -> list[Section]:
    """Return how a run came about and how it is made again."""
    blocks: list[Block] = []
    if run.commands:
        blocks.append(Code("As it was started", "\n".join(_as_typed(line) for line in run.commands)))
    again = _typed([*run.kind.command.split(), "--config", str(run.folder / "config.yaml")])
    blocks.append(Code("The same options in a new folder", again))
    rows = [[name, _value(value), _value(default)] for name, (default, value) in run.changed.items()]
    if rows:
        blocks.append(Table("Changed options", ["option", "value", "default"], rows, is_prose=True))
    blocks.append(Code("All options: config.yaml", run.text, is_folded=True))
    return [Section("How to reproduce it", blocks), Section(RAN_ON, _systems([run]))]


def _as_typed(line: str) -> str:
    """Return a command as a person types it: the installed ``spl`` for whatever file Python ran."""
    try:
        words = shlex.split(line)
    except ValueError:  # cut, as by a full disk: an open quotation
        return line
    if words and words[0].endswith(("/spl", "/__main__.py")):
        words[0] = "spl"
    return _typed(words)


def _typed(words: list[str]) -> str:
    """Return a command for the shell, each option on a line of its own where it is long."""
    parts = [shlex.quote(word) for word in words]
    line = " ".join(parts)
    if len(line) <= LONG:
        return line
    return "".join(f" \\\n  {part}" if part.startswith("--") else f" {part}" for part in parts).lstrip()


def _systems(runs: Sequence[Run]) -> list[Block]:
    """Return what runs and their resumed parts ran on: the first whole, of the others what changed."""
    found: list[Block] = []
    before: dict[str, str] = {}
    for run in runs:
        for number, one in enumerate(run.systems):
            facts = {
                name: _fact(value) for name, value in one.items() if value is not None and name != "time"
            }
            names = {**facts, **before}
            changed = [(name, facts.get(name, "-")) for name in names if facts.get(name) != before.get(name)]
            if changed:
                title = ", ".join([run.name] * (len(runs) > 1) + ["resumed"] * (number > 0))
                found.append(Facts(title, [("started", str(one.get("time", "?"))), *changed]))
            before = facts
    return found or [Words(["The run did not write down what it ran on."])]


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)
