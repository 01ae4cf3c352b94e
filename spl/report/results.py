"""Results of runs: tables and charts of each kind. Runs side by side are in `spl.report.comparison`."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from spl.config.errors import UsageError
from spl.pretrain.evaluation.tables import notes, sheets
from spl.report.blocks import Block, Chart, Folded, Legend, Table, Words
from spl.report.charts import MOST_SMALL, Mark, draw_confusion, draw_marks
from spl.report.read_run import Run

MOST_CLASSES = 20  # in the table; the others are folded away
COSTS = ("parameters", "macs")  # of a network, before the measures of its runs
NOT_YET = Words(["No comparison yet: no cell of the grid is finished."])
T = TypeVar("T")


def read_with(reader: Callable[[Run], T], run: Run) -> T:
    """Return what ``reader`` makes of a run's files.

    Raises:
        UsageError: if they do not hold what such files do.
    """
    try:
        return reader(run)
    except UsageError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise UsageError(
            f"the results in {run.folder} are not as this version writes them ({error!r}): evaluate it again"
        ) from error


def evaluation_blocks(run: Run) -> list[Block]:
    """Return the tables and charts of how a run was judged.

    Raises:
        UsageError: if a file of it cannot be read.
    """
    found = {
        "agent": _agent,
        "seeds": _seeds,
        "classifier": _classifier,
        "autoencoder": _autoencoder,
        "grid": _grid,
        "curricula": _grid,
    }
    return read_with(found[run.kind.name], run)


def _restarts(run: Run) -> list[Block]:
    """Return which of a run's restarts is kept, and what speaks for it; nothing of a run that has none."""
    if not (told := run.document("restarts")):
        return []
    num_finished = len(run.parts) - len(told["failed"])
    best = f"{told['kept']} is kept, the best of {num_finished} by the {told['chosen_on']}"
    return [Words([f"{best}. All: {told['mean']:.4g} ± {told['sd']:.2g}."])]


def _agent(run: Run) -> list[Block]:
    result = run.document("evaluation")
    if not result:
        return [
            *_restarts(run),
            Words(
                ["Not evaluated yet: spl evaluate agent RUN reports its return with all modalities, or one."]
            ),
        ]
    found: dict[str, Any] = result["conditions"]
    has_retained = any("retained" in one for one in found.values())
    rows, marks = [], []
    for number, (name, one) in enumerate(found.items()):
        low, high = one["interval_95"]
        row = [name, f"{one['interquartile_mean']:.2f}", f"{low:.2f} … {high:.2f}"]
        row += [f"{one['mean']:.2f} ± {one['standard_deviation']:.2f}", f"{one['mean_length']:.0f}"]
        if has_retained:
            row += _retained_cells(one)
        rows.append(row)
        marks.append(Mark(0, number, one["interquartile_mean"], low, high))
    columns = ["condition", "IQM", "95 % interval", "mean ± sd", "steps"]
    columns += ["retained", "95 % interval"] if has_retained else []
    num_episodes = result["episodes"] * len(result["seeds"])
    note = (
        f"{num_episodes} episodes a condition, at step {result['step']:,}; exploration {result['epsilon']:g}."
        " IQM: mean of the middle half of the episodes; interval by bootstrap."
    )
    if has_retained:
        note += " Retained: 100 % is the mean return with all modalities, 0 % that of random actions."
    if "not_retained" in result:
        note += f" {result['not_retained'].capitalize()}."
    chart = draw_marks("Return by condition", list(found), marks)
    charts: list[Block] = [Chart("Return by condition", chart, "interquartile mean, 95 % interval")]
    if has_retained:
        charts.append(_profile(found))
    sure = [
        Words([f"{one[0].upper()}{one[1:]}."]) for one in [result.get("sureness", {}).get("sentence")] if one
    ]
    return [*_restarts(run), *charts, Table("", columns, rows, note), *sure, *_monitor(found)]


def _seeds(run: Run) -> list[Block]:
    """Return the return of each seed as a mark, their mean first, and as a table."""
    told = run.document("seeds")
    if not told or not told["runs"]:
        return [Words(["No result yet: no seed is trained to its end."])]
    if "mean" not in told:
        return [Words(["seeds.json is of an earlier version: spl train agent --resume writes it again."])]
    mean, (low, high) = told["mean"], told["interval_95"]
    found = {f"seed {seed}": one["return"] for seed, one in told["runs"].items()}
    marks = [Mark(0, 0, mean, low, high)]
    marks += [Mark(0, row, value, None, None) for row, value in enumerate(found.values(), 1)]
    interval = "" if low is None else f"{low:.2f} … {high:.2f}"
    rows = [["mean", f"{mean:.2f}", interval], *([name, f"{value:.2f}", ""] for name, value in found.items())]
    title, (*_, note) = "Return at the end of training", run.lines("seeds.md") or ["- "]
    return [
        Chart(title, draw_marks(title, ["mean", *found], marks), "mean with 95 % interval, seeds"),
        Table("", ["", "return", "95 % interval"], rows, note.removeprefix("- ")),
    ]


def _monitor(found: dict[str, Any]) -> list[Block]:
    """Return the table of how soon the monitor found each failure; none without a monitor."""
    rows = []
    for name, one in found.items():
        if (monitor := one.get("monitor")) is None:
            continue
        share = "-" if "found" not in monitor else f"{monitor['found']:.0%}"
        soon = [monitor.get(key) for key in ("found_median", "found_90")]
        steps = ["-" if step is None else f"{step:.0f}" for step in soon]
        rows.append([name.removesuffix(", monitored"), share, *steps, f"{monitor['false_alarms']:.2%}"])
    if not rows:
        return []
    note = (
        "Steps are counted from the failure on, 1 is at once; a false alarm is a step at which what works is"
    )
    columns = ["monitored", "found", "median step", "90 % by step", "false alarms"]
    return [Table("What the monitor found", columns, rows, f"{note} held to have failed.")]


def _retained_cells(one: dict[str, Any]) -> list[str]:
    """Return a condition's retained share and its interval, as cells of a table."""
    if "retained" not in one:
        return ["-", "-"]
    low, high = one["retained_95"]
    return [f"{one['retained']:.0%}", f"{low:.0%} … {high:.0%}"]


def _profile(found: dict[str, Any]) -> Chart:
    """Return what share of the return each condition retains, in percent."""
    kept = {name: one for name, one in found.items() if "retained" in one}
    marks = [
        Mark(0, row, 100 * one["retained"], *(100 * end for end in one["retained_95"]))
        for row, one in enumerate(kept.values())
    ]
    chart = draw_marks("Percent of the return retained, by condition", list(kept), marks)
    return Chart("Robustness profile", chart, "percent retained of the return, 95 % interval")


def _classifier(run: Run) -> list[Block]:
    result, whole = run.document("result"), run
    blocks: list[Block] = []
    if restarts := result.get("restarts"):
        kept = f"{restarts['kept']} is kept, the best of {len(restarts['top1'])} on the held-out images"
        blocks.append(Words([f"{kept}: optimistic. All: {restarts['mean']:.2%} ± {restarts['sd']:.2%}."]))
        run = next(part for part in run.parts if part.name == restarts["kept"])
    counts = run.table("confusion") or run.table("evaluation-last") or run.table("evaluation-best")
    names = {which: f"evaluation-{which}" for which in ("last", "best")}  # written where the command was told
    judged = {which: whole.document(name) or run.document(name) for which, name in names.items()}
    classes = result.get("classes") or (judged["last"] or judged["best"]).get("classes", [])
    if not counts and not classes:
        return [
            Words(["Not finished yet: each class is reported at its end, or by spl evaluate classifier RUN."])
        ]
    if counts:
        matrix = np.array([line[1:] for line in counts[1:]], dtype=np.int64)
        chart = draw_confusion(matrix, counts[0][1:])
        note = "held-out images; a row is a class"
        blocks.append(
            Chart("Confusion matrix", chart, note, "large" if len(matrix) > MOST_SMALL else "third")
        )
    rows = [
        [
            one["class"],
            f"{one['images']:,}",
            _share(one["recall"]),
            _share(one["precision"]),
            one["confused_with"] or "-",
        ]
        for one in classes
    ]
    for which, one in judged.items():
        if told := one.get("changed"):
            blocks.append(Words([f"{which.capitalize()} weights: {told}."]))
        if told := one.get("warning"):
            rows_of = [f"{line[0].upper()}{line[1:]}." for line in told["sentences"]]
            blocks.append(Words([f"{which.capitalize()} weights, a warning before a mistake:", *rows_of]))
        if told := one.get("masks"):
            blocks.append(Words([f"{which.capitalize()} weights, held against masks: {told['sentence']}."]))
    columns = ["class", "images", "recall", "precision", "confused with"]
    blocks.append(Table("Classes, the worst first", columns, rows[:MOST_CLASSES]))
    if more := rows[MOST_CLASSES:]:
        blocks.append(Folded(f"The other {len(more)} classes", [Table("", columns, more)]))
    return blocks


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _autoencoder(run: Run) -> list[Block]:
    result = run.document("evaluation")
    if not result:
        return [
            *_restarts(run),
            Words(["Not evaluated yet: spl evaluate autoencoder RUN reports its errors from each modality."]),
        ]
    tables: list[Block] = [Table(sheet.title, sheet.columns, sheet.rows) for sheet in sheets(result)]
    errors = result["reconstruction"]
    marks = [
        Mark(color, row, modalities[name], None, None)
        for row, modalities in enumerate(errors.values())
        for color, name in enumerate(("video", "audio"))
        if modalities[name] is not None
    ]
    sentences = [f"{note[0].upper()}{note[1:]}." for note in notes(result)]
    chart = draw_marks("Reconstruction error, predicting the mean costs 1", list(errors), marks)
    return [
        *_restarts(run),
        Legend(["video", "audio"]),
        Chart("Reconstruction error by what is shown", chart, "predicting the mean costs 1"),
        *tables,
        Words(sentences),
    ]


def _grid(run: Run) -> list[Block]:
    """Return what a grid wrote of itself: each run as a mark, its table, its sentences."""
    header, *lines = run.table("ablation") or [[]]
    cells = [dict(zip(header, line, strict=True)) for line in lines]
    finished = [cell for cell in cells if cell["state"] == "finished"]
    if not finished:
        return [NOT_YET]
    title, *text = run.lines("ablation.md")
    columns, _, *rows = [line.strip("| ").split(" | ") for line in text if line.startswith("| ")]
    measure = next(name for name in header[header.index("state") + 1 :] if name not in COSTS)
    variants = list(dict.fromkeys(cell["variant"] for cell in cells))
    marks = [Mark(0, variants.index(cell["variant"]), float(cell[measure]), None, None) for cell in finished]
    chart = draw_marks(f"{measure.capitalize()} of each run", [row[0] for row in rows], marks)
    made = [line.removeprefix("- ") for line in text if line.startswith("- ")]
    return [
        Chart(
            f"{measure.capitalize()} of each seed",
            chart,
            "percent" if any(name.startswith(f"{measure} %") for name in columns) else "",
        ),
        Table(title.removeprefix("# Ablation").removeprefix(", "), columns, rows),
        Words(made),
    ]
