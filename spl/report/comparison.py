"""Runs side by side: the main figures of each kind, in a table and a chart."""

import statistics
from collections.abc import Sequence

from spl.report.blocks import Block, Chart, Table
from spl.report.charts import Mark, draw_marks
from spl.report.curves import Group, legend
from spl.report.read_run import Kind, Run
from spl.report.results import read_with
from spl.runs.logger import brief

DRAWN = {"agent": "return", "classifier": "accuracy", "autoencoder": "error"}  # figures of one unit


def measures(run: Run) -> dict[str, float]:
    """Return the figures by which runs of this kind are compared, those that matter most first.

    Raises:
        UsageError: if a file of it cannot be read.
    """
    found = {"agent": _of_agent, "classifier": _of_classifier, "autoencoder": _of_autoencoder}
    return read_with(found[run.kind.name], run) if run.kind.name in found else {}


def _of_agent(run: Run) -> dict[str, float]:
    conditions = run.document("evaluation").get("conditions", {})
    if conditions:
        return {f"return, {name}": one["interquartile_mean"] for name, one in conditions.items()}
    return _last(run, {"rollout/ep_rew_mean": "return in training", "train/loss": "loss"})


def _of_classifier(run: Run) -> dict[str, float]:
    result = run.document("result")
    if not result:
        return _last(run, {"test/top1": "accuracy so far", "test/loss": "loss so far"})
    last = {"accuracy": result["last"]["top1"], "top-5 accuracy": result["last"]["top5"]}
    return last | {"loss": result["last"]["loss"], "accuracy, best epoch": result["best"]["top1"]}


def _of_autoencoder(run: Run) -> dict[str, float]:
    errors = run.document("evaluation").get("reconstruction", {})
    found = {
        f"error, {modality} from {condition}": error
        for condition, found in errors.items()
        for modality, error in found.items()
        if error is not None
    }
    return found or _last(run, {"train/loss": "loss"})


def _last(run: Run, names: dict[str, str]) -> dict[str, float]:
    """Return the last figure of each tag by its name in words."""
    series = run.series()
    return {name: series[tag].ys[-1] for tag, name in names.items() if tag in series}


def comparison(kind: Kind, groups: Sequence[Group]) -> list[Block]:
    """Return all groups side by side: the mean of each figure and its range over the seeds."""
    found = [[measures(run) for run in group.runs] for group in groups]
    names = {name: None for group in found for one in group for name in one}
    if not names:
        return []
    rows = [
        [name, *(_spread(name, [one[name] for one in group if name in one], len(group)) for group in found)]
        for name in names
    ]
    is_spread = any(len(group.runs) > 1 for group in groups)
    note = "Mean over the seeds, and from the lowest to the highest." if is_spread else ""
    if any(" of " in cell for _, *cells in rows for cell in cells):
        note += " 1 of 2: only one of two runs has that figure."
    table = Table("", ["", *(group.label for group in groups)], rows, note)
    return [*legend(groups), *_compared(DRAWN[kind.name], list(names), found), table]


def _compared(word: str, names: list[str], found: list[list[dict[str, float]]]) -> list[Block]:
    """Return a chart of the figures whose names begin with the word."""
    drawn = [name for name in names if name.startswith(word)]
    marks = []
    for color, group in enumerate(found):
        for row, name in enumerate(drawn):
            if values := [one[name] for one in group if name in one]:
                marks.append(Mark(color, row, statistics.fmean(values), min(values), max(values)))
    labels = [name.removeprefix(f"{word}, ") for name in drawn]
    title = word.capitalize()
    is_spread = any(len(group) > 1 for group in found)
    note = "mean over the seeds, and their range" if is_spread else ""
    return [Chart(title, draw_marks(title, labels, marks), note)] if marks else []


def _spread(name: str, values: list[float], num_runs: int) -> str:
    """Return mean and range of a figure over the runs that have it, and how many those are if not all."""
    if not values:
        return "-"
    mean, low, high = (told(name, one) for one in (statistics.fmean(values), min(values), max(values)))
    spread = f"{mean} ({low} … {high})" if len(values) > 1 else mean
    return spread if len(values) == num_runs else f"{spread}, {len(values)} of {num_runs}"


def told(name: str, value: float) -> str:
    """Return a figure of `measures` as it is read: accuracies in percent, returns as in the tables."""
    if "accuracy" in name:
        return f"{value:.2%}"
    return f"{value:,.2f}" if name.startswith("return") else brief(value)
