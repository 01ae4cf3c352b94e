"""A comparison by measures as a user reads it: on the terminal, as Markdown, and as files of numbers."""

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from spl.ablation.measures import Entry, Measure, Measures
from spl.ablation.statistics import Cells, Interval, failed, headline
from spl.runs.files import replace_text
from spl.runs.logger import print_table


def write_measures(comparison: Measures, folder: Path) -> None:
    """Write ``ablation.md``, ``ablation.csv`` (a row a run) and ``summary.csv`` (a row a variant)."""
    replace_text(folder / "ablation.csv", as_csv(_cell_rows(comparison)))
    replace_text(folder / "summary.csv", as_csv(_summary_rows(comparison)))
    replace_text(folder / "ablation.md", _as_markdown(comparison))


def print_measures(comparison: Measures, folder: Path) -> None:
    """Print the table, its notes, and where it is written."""
    print_cells(comparison, *table_of(comparison), comparison.notes, folder)


def print_cells(
    cells: Cells, columns: list[str], rows: list[list[str]], notes: Sequence[str], folder: Path
) -> None:
    """Print a table of cells, its notes, what failed, and where it is written."""
    print_table(headline(cells), columns, rows)
    for sentence in (*notes, *failed(cells)):
        print(fill(sentence, width=110))
    print(f"written to   {shlex.quote(str(folder / 'ablation.md'))}, .csv and .png, and summary.csv")


def table_of(comparison: Measures) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows: each variant with its measures, the first with its difference."""
    first, *others = comparison.measures
    columns = ["curriculum", first.title, "difference [95 %]", *(one.title for one in others), "seeds"]
    return columns, [_table_row(comparison, entry) for entry in comparison.entries]


def _table_row(comparison: Measures, entry: Entry) -> list[str]:
    first, *others = comparison.measures
    row = [entry.label, _spread(comparison, entry, first)]
    if entry is comparison.entries[0]:
        row += ["baseline"]
    else:
        summary = comparison.summary(entry, first)
        row += [signed(None if summary is None else summary.difference, first.digits)]
    row += [_spread(comparison, entry, one) for one in others]
    done, total = len(entry.outcomes), len(comparison.seeds)
    return [*row, str(done) if done == total else f"{done} of {total}"]


def _spread(comparison: Measures, entry: Entry, measure: Measure) -> str:
    summary = comparison.summary(entry, measure)
    if summary is None:
        return "-"
    spread = "" if summary.sd is None else f" ± {summary.sd:.{measure.digits}f}"
    return f"{summary.mean.mean:.{measure.digits}f}{spread}"


def signed(difference: Interval | None, digits: int) -> str:
    """Return a difference with its interval, both with their signs."""
    if difference is None:
        return "-"
    mean, low, high = difference
    told = f"{mean:+.{digits}f}"
    return told if low is None or high is None else f"{told} [{low:+.{digits}f}, {high:+.{digits}f}]"


def as_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, numbers to the right."""
    rules = [":--", *["--:"] * (len(columns) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (columns, rules, *rows)]


def as_csv(rows: Sequence[Sequence[object]]) -> str:
    """Return rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _as_markdown(comparison: Measures) -> str:
    lines = [f"# {headline(comparison)}", "", *as_table(*table_of(comparison)), ""]
    lines += [f"- {sentence}" for sentence in (*comparison.notes, *failed(comparison))]
    if comparison.num_finished:
        lines += ["", "![Measures of each run, and how they went](ablation.png)"]
    return "\n".join(lines) + "\n"


def _cell_rows(comparison: Measures) -> list[list[object]]:
    """Return a row for each run that there is to be; what is not there yet is empty."""
    names = [measure.name for measure in comparison.measures]
    rows: list[list[object]] = [["variant", "seed", "state", *names, "seconds"]]
    for entry in comparison.entries:
        for seed in comparison.seeds:
            outcome = entry.outcomes.get(seed)
            state = "failed" if seed in entry.failures else "missing" if outcome is None else "finished"
            numbers: list[object] = [""] * (len(names) + 1)
            if outcome is not None:
                numbers = [*(_decimal(outcome.values[name]) for name in names), _decimal(outcome.seconds)]
            rows.append([entry.name, seed, state, *numbers])
    return rows


def _summary_rows(comparison: Measures) -> list[list[object]]:
    """Return a row for each variant and measure."""
    columns = "variant,measure,seeds,mean,low,high,sd,difference,difference_low,difference_high"
    rows: list[list[object]] = [[*columns.split(",")]]
    for entry in comparison.entries:
        for measure in comparison.measures:
            summary = comparison.summary(entry, measure)
            numbers: list[float | None] = [None] * 7
            if summary is not None:
                numbers = [*summary.mean, summary.sd, *(summary.difference or (None, None, None))]
            rows.append([entry.name, measure.name, len(entry.outcomes), *map(_decimal, numbers)])
    return rows


def _decimal(value: float | None) -> object:
    """Return a number with as many digits as any measure may need; empty for None."""
    return "" if value is None else round(value, 6)
