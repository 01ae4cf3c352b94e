"""What runs came to: the tables and charts of each kind. Runs side by side are in `spl.report.comparison`."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from spl.config.errors import UsageError
from spl.pretrain.evaluation.tables import notes, sheets
from spl.report.blocks import Block, Chart, Folded, Legend, Table, Words
from spl.report.charts import MOST_SMALL, Mark, draw_confusion, draw_marks
from spl.report.read_run import Run
from spl.runs.logger import brief

MOST_CLASSES = 20  # in the table; the others are folded away

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
        "classifier": _classifier,
        "autoencoder": _autoencoder,
        "grid": _grid,
        "curricula": _curricula,
    }
    return read_with(found[run.kind.name], run)


def _agent(run: Run) -> list[Block]:
    result = run.document("evaluation")
    if not result:
        return [
            Words(["Not evaluated yet: spl evaluate agent RUN tells its return with all modalities, or one."])
        ]
    found: dict[str, Any] = result["conditions"]
    oracle = found["oracle"]["mean"] if "oracle" in found else None
    rows, marks = [], []
    for number, (name, one) in enumerate(found.items()):
        low, high = one["interval_95"]
        row = [name, f"{one['interquartile_mean']:.2f}", f"{low:.2f} … {high:.2f}"]
        row += [f"{one['mean']:.2f} ± {one['standard_deviation']:.2f}", f"{one['mean_length']:.0f}"]
        rows.append([*row, f"{one['mean'] / oracle:.0%}"] if oracle else row)
        marks.append(Mark(0, number, one["interquartile_mean"], low, high))
    columns = ["condition", "IQM", "95 % interval", "mean ± sd", "steps", *(["of oracle"] if oracle else [])]
    num_episodes = result["episodes"] * len(result["seeds"])
    note = (
        f"{num_episodes} episodes a condition, at step {result['step']:,}; exploration {result['epsilon']:g}."
        " IQM: mean of the middle half of the episodes; interval by bootstrap."
    )
    chart = draw_marks("Return by condition", list(found), marks)
    return [
        Chart("Return by condition", chart, "interquartile mean, 95 % interval"),
        Table("", columns, rows, note),
    ]


def _classifier(run: Run) -> list[Block]:
    result = run.document("result")
    blocks: list[Block] = []
    if restarts := result.get("restarts"):
        kept = f"{restarts['kept']} is kept, the best of {len(restarts['top1'])} on the held-out images"
        blocks.append(Words([f"{kept}: optimistic. All: {restarts['mean']:.2%} ± {restarts['sd']:.2%}."]))
        run = next(part for part in run.parts if part.name == restarts["kept"])
    counts = run.table("confusion") or run.table("evaluation-last") or run.table("evaluation-best")
    classes = result.get("classes") or run.document("evaluation-last").get("classes", [])
    if not counts and not classes:
        return [Words(["Not finished yet: its end, or spl evaluate classifier RUN, tells each class."])]
    if counts:
        matrix = np.array([line[1:] for line in counts[1:]], dtype=np.int64)
        chart = draw_confusion(matrix, counts[0][1:])
        note = "held-out images; a row is a class"
        blocks.append(
            Chart("Who is taken for whom", chart, note, "large" if len(matrix) > MOST_SMALL else "third")
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
            Words(["Not evaluated yet: spl evaluate autoencoder RUN tells its errors from each modality."])
        ]
    tables: list[Block] = [Table(sheet.title, sheet.columns, sheet.rows) for sheet in sheets(result)]
    errors = result["reconstruction"]
    marks = [
        Mark(color, row, senses[name], None, None)
        for row, senses in enumerate(errors.values())
        for color, name in enumerate(("video", "audio"))
        if senses[name] is not None
    ]
    sentences = [f"{note[0].upper()}{note[1:]}." for note in notes(result)]
    chart = draw_marks("Reconstruction error, predicting the mean costs 1", list(errors), marks)
    return [
        Legend(["video", "audio"]),
        Chart("Reconstruction error by what is shown", chart, "predicting the mean costs 1"),
        *tables,
        Words(sentences),
    ]


def _grid(run: Run) -> list[Block]:
    summary = _dicts(run.table("summary"))
    if not summary:
        return [NOT_YET]
    rows, marks, cells = [], [], _dicts(run.table("ablation"))
    for number, one in enumerate(summary):
        spread = f" ± {float(one['sd']):.2f}" if one["sd"] else ""
        error = f"{float(one['error']):.2f}{spread}" if one["error"] else "-"
        costs = [f"{int(one['parameters']) / 1e6:.3f} M", f"{int(one['macs']) / 1e6:.1f} M"]
        best = f"{float(one['best']):.2f}" if one["best"] else "-"
        difference = "baseline" if number == 0 else _difference(one, ".2f")
        rows.append([one["architecture"], *costs, error, best, difference, one["seeds"]])
        marks += [
            Mark(0, number, float(cell["error"]), None, None)
            for cell in cells
            if cell["variant"] == one["variant"] and cell["error"]
        ]
    columns = ["architecture", "parameters", "MACs", "error %", "best", "difference [95 %]", "seeds"]
    chart = draw_marks("Error in percent of each run", [one["architecture"] for one in summary], marks)
    return [
        Chart("Error of each seed", chart, "percent of the held-out images"),
        Table(_partial(run), columns, rows),
        _made(run),
    ]


def _curricula(run: Run) -> list[Block]:
    told = _dicts(run.table("summary"))
    summary = [one for one in told if one["mean"]]
    if not summary:
        return [NOT_YET]
    baseline = told[0]["variant"]
    names = list(dict.fromkeys(one["measure"] for one in summary))
    variants = list(dict.fromkeys(one["variant"] for one in summary))
    found = {(one["variant"], one["measure"]): one for one in summary}
    rows = [
        [
            variant,
            *(_mean(found[variant, name]) for name in names),
            "baseline" if variant == baseline else _difference(found[variant, names[0]], ".4g"),
            found[variant, names[0]]["seeds"],
        ]
        for variant in variants
    ]
    marks = [
        Mark(0, variants.index(cell["variant"]), float(cell[names[0]]), None, None)
        for cell in _dicts(run.table("ablation"))
        if cell[names[0]]
    ]
    chart = draw_marks(f"{names[0].capitalize()} of each run", variants, marks)
    return [
        Chart(f"{names[0].capitalize()} of each seed", chart),
        Table(_partial(run), ["curriculum", *names, "difference [95 %]", "seeds"], rows),
        _made(run),
    ]


def _dicts(lines: list[list[str]]) -> list[dict[str, str]]:
    """Return the rows of a table by the names of its columns."""
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def _partial(run: Run) -> str:
    """Return how much of a comparison is there; nothing where all of it is."""
    (title, *_) = run.lines("ablation.md") or [""]
    return title.removeprefix("# Ablation").removeprefix(", ")


def _made(run: Run) -> Words:
    """Return the sentences that say how a comparison was made."""
    return Words([line.removeprefix("- ") for line in run.lines("ablation.md") if line.startswith("- ")])


def _mean(one: dict[str, str]) -> str:
    return brief(float(one["mean"])) + (f" ± {brief(float(one['sd']))}" if one["sd"] else "")


def _difference(one: dict[str, str], form: str) -> str:
    """Return the difference to the baseline with its interval; a dash where no seed has both."""
    if not one["difference"]:
        return "-"
    told = f"{float(one['difference']):+{form}}"
    if one["difference_low"]:
        told += f" [{float(one['difference_low']):+{form}}, {float(one['difference_high']):+{form}}]"
    return told
