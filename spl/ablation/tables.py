"""Tables of a comparison: on the terminal, as Markdown, and as files of numbers."""

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from spl.ablation.comparison import Column, Comparison, Entry, Layout, Measure, Rows
from spl.ablation.figures import draw_comparison
from spl.ablation.statistics import Interval
from spl.runs.files import replace_text
from spl.runs.logger import print_table


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write ``ablation.md``, ``.csv`` (a row a run), ``.png`` (once there is a run), and ``summary.csv``."""
    replace_text(folder / "ablation.csv", _as_csv(_cell_rows(comparison)))
    replace_text(folder / "summary.csv", _as_csv(comparison.layout.summary(comparison)))
    if comparison.num_finished:
        draw_comparison(comparison, folder / "ablation.png")
    replace_text(folder / "ablation.md", _as_markdown(comparison))


def print_comparison(comparison: Comparison, folder: Path) -> None:
    """Print the table, its notes, what failed, and where it is written."""
    print_table(comparison.headline, *table_of(comparison))
    for sentence in comparison.sentences:
        print(fill(sentence, width=110))
    print(f"written to   {shlex.quote(str(folder / 'ablation.md'))}, .csv and .png, and summary.csv")


def table_of(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the table."""
    heading, columns, _ = comparison.layout
    rows = [
        [entry.label, *(column.cell(comparison, entry) for column in columns), _seeds(comparison, entry)]
        for entry in comparison.entries
    ]
    return [heading, *(column.title for column in columns), "seeds"], rows


def _seeds(comparison: Comparison, entry: Entry) -> str:
    done, total = len(entry.outcomes), len(comparison.seeds)
    return str(done) if done == total else f"{done} of {total}"


def by_measure(heading: str, measures: Sequence[Measure]) -> Layout:
    """Return the layout of a column for each measure, the first with its difference, and long summaries."""
    first, *others = measures
    return Layout(heading, [spread(first), difference(first), *map(spread, others)], _summary_rows)


def spread(measure: Measure) -> Column:
    """Return a column of a measure's mean ± standard deviation over seeds."""

    def cell(comparison: Comparison, entry: Entry) -> str:
        if (summary := comparison.summary(entry, measure)) is None:
            return "-"
        told = "" if summary.sd is None else f" ± {summary.sd:.{measure.digits}f}"
        return f"{summary.mean.mean:.{measure.digits}f}{told}"

    return Column(measure.title, cell)


def with_interval(measure: Measure) -> Column:
    """Return a column of a measure's mean over seeds, and its 95 % interval."""

    def cell(comparison: Comparison, entry: Entry) -> str:
        if (summary := comparison.summary(entry, measure)) is None:
            return "-"
        mean, low, high = (None if one is None else f"{one:.{measure.digits}f}" for one in summary.mean)
        return str(mean) if low is None else f"{mean} [{low}, {high}]"

    return Column(f"{measure.title} [95 %]", cell)


def significance(measure: Measure) -> Column:
    """Return a column of the p of a measure's difference, corrected for the number of comparisons."""

    def cell(comparison: Comparison, entry: Entry) -> str:
        found = comparison.p_values(measure).get(entry.name)
        return "" if found is None else "< 0.001" if found[1] < 0.001 else f"{found[1]:.3f}"

    return Column("p (Holm)", cell)


def difference(measure: Measure) -> Column:
    """Return a column of a measure's paired difference to the baseline."""

    def cell(comparison: Comparison, entry: Entry) -> str:
        summary = comparison.summary(entry, measure)
        if entry is comparison.baseline_of(entry):
            return "baseline"
        return signed(None if summary is None else summary.difference, measure.digits)

    return Column("difference [95 %]", cell)


def signed(difference: Interval | None, digits: int) -> str:
    """Return a difference with its interval, both with their signs."""
    if difference is None:
        return "-"
    mean, low, high = difference
    told = f"{mean:+z.{digits}f}"
    return told if low is None or high is None else f"{told} [{low:+z.{digits}f}, {high:+z.{digits}f}]"


def as_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, numbers to the right."""
    rules = [":--", *["--:"] * (len(columns) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (columns, rules, *rows)]


def _as_csv(rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _as_markdown(comparison: Comparison) -> str:
    lines = [f"# {comparison.headline}", "", *as_table(*table_of(comparison)), ""]
    lines += [f"- {sentence}" for sentence in comparison.sentences]
    if comparison.num_finished:
        lines += ["", "![Measures of each run, and their curves](ablation.png)"]
    return "\n".join(lines) + "\n"


def _cell_rows(comparison: Comparison) -> Rows:
    """Return a row for each run that there is to be; what is not there yet is empty."""
    names = [measure.name for measure in comparison.measures]
    has_labels = any(entry.label != entry.name for entry in comparison.entries)
    labels = [comparison.layout.heading] if has_labels else []
    rows: Rows = [["variant", *labels, "seed", "state", *comparison.entries[0].facts, *names, "seconds"]]
    for entry in comparison.entries:
        for seed in comparison.seeds:
            outcome = entry.outcomes.get(seed)
            state = "failed" if seed in entry.failures else "missing" if outcome is None else "finished"
            numbers: list[object] = [""] * (len(names) + 1)
            if outcome is not None:
                numbers = [decimal(value) for value in (*map(outcome.values.get, names), outcome.seconds)]
            labels = [entry.label] if has_labels else []
            rows.append([entry.name, *labels, seed, state, *entry.facts.values(), *numbers])
    return rows


def _summary_rows(comparison: Comparison) -> Rows:
    """Return a row for each variant and measure."""
    columns = "variant,measure,seeds,mean,low,high,sd,difference,difference_low,difference_high"
    rows: Rows = [[*columns.split(",")]]
    for entry in comparison.entries:
        for measure in comparison.measures:
            summary = comparison.summary(entry, measure)
            numbers: list[float | None] = [None] * 7
            if summary is not None:
                numbers = [*summary.mean, summary.sd, *(summary.difference or (None, None, None))]
            rows.append([entry.name, measure.name, len(entry.outcomes), *map(decimal, numbers)])
    return rows


def decimal(value: float | None) -> object:
    """Return a number with as many digits as any measure may need; empty for None."""
    return "" if value is None else round(value, 6)
