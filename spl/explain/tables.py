"""Tables of map measures: on the terminal, as Markdown, and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from spl.explain.subjects import Subject
from spl.runs.logger import print_table
from spl.saliency.metrics import Measured

COLUMNS = ["run", "method", "average drop %", "average increase %", "win %", "insertion", "deletion"]


@dataclass(frozen=True)
class Row:
    """One method on one run."""

    label: str
    method: str
    measured: Measured
    win_rate: float | None  # over the run's first method, in percent; None for that one

    def cells(self) -> list[str]:
        """Return what `COLUMNS` names."""
        told = self.measured.summary()
        numbers = [f"{told['average_drop']:.1f}", f"{told['average_increase']:.1f}"]
        numbers += ["-" if self.win_rate is None else f"{self.win_rate:.1f}"]
        return [self.label, self.method, *numbers, f"{told['insertion']:.3f}", f"{told['deletion']:.3f}"]

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, and the mean curves."""
        measured = self.measured
        return {
            "run": self.label,
            "method": self.method,
            "images": len(measured.full),
            "even_maps": int(measured.is_even.sum()),
            **measured.summary(),
            "win_rate": self.win_rate,
            "shares": measured.shares.tolist(),
            "insertion_curve": measured.insertion.mean(dim=0).tolist(),
            "deletion_curve": measured.deletion.mean(dim=0).tolist(),
        }


def notes_on(subjects: Sequence[Subject], rows: Sequence[Row]) -> list[str]:
    """Return the sentences that say how the measures were made and what the columns mean."""
    layers = sorted({subject.layer for subject in subjects})
    images = sorted({len(row.measured.full) for row in rows})
    costs = {
        one.name: f"{one.cost.num_parameters:,} parameters, {one.cost.milliseconds:.2f} ms"
        for one in subjects
    }
    return [
        *notes_on_even(rows),
        f"Measured on {' or '.join(f'{count:,}' for count in images)} held-out images of each run, evenly "
        f"spread. Class activation maps of {', '.join(layers)}, scaled to 0..1 for each image.",
        "Confidence: the softmax probability of the class that the run predicts on the whole image.",
        "Average drop: mean of max(0, Y - O) / Y, where Y is the confidence on the image and O on the "
        "normalised image times its map; lower is better. Average increase: share of images with O > Y; "
        "higher is better.",
        "Win: share of images whose drop is smaller than with the run's first method.",
        "Insertion, deletion: area below the mean confidence as pixels are shown, or taken away (set to "
        "the mean colour), the highest of the map first; insertion higher, deletion lower is better.",
        "Cost, time for an image in batches of 8: "
        + "; ".join(f"{name}: {told}" for name, told in costs.items())
        + ".",
    ]


def notes_on_even(rows: Sequence[Row]) -> list[str]:
    """Return the sentence that names the maps which explain nothing; none without any."""
    even = [
        f"{int(row.measured.is_even.sum())} of {len(row.measured.full)} ({row.label}, {row.method})"
        for row in rows
        if row.measured.is_even.any()
    ]
    if not even:
        return []
    return [
        "Maps that are the same everywhere explain nothing, and are measured all the same: "
        f"{'; '.join(even)}. A layer of a single position makes no others: --layers takes an earlier one."
    ]


class Explanation(NamedTuple):
    """What was measured, how, and where it is written."""

    rows: list[Row]
    notes: list[str]
    out: Path


def print_measures(explanation: Explanation) -> None:
    """Print the table, its notes, and where everything is written."""
    if explanation.rows:
        print_table("Maps of held-out images", COLUMNS, [row.cells() for row in explanation.rows])
    for sentence in explanation.notes:
        print(fill(sentence, width=110))
    print(f"written to   {explanation.out}")


def as_markdown(rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Return the table, its notes and its pictures."""
    rules = [":--", ":--", *["--:"] * (len(COLUMNS) - 2)]
    table = ["| " + " | ".join(cells) + " |" for cells in (COLUMNS, rules, *(row.cells() for row in rows))]
    lines = ["# What the classifiers look at", "", *table, "", *(f"- {sentence}" for sentence in notes)]
    lines += ["", "![Maps over images](overlays.png)", "", "![Measures of the maps](measures.png)"]
    return "\n".join(lines) + "\n"
