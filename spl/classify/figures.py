"""The picture of a comparison: every run's error as a dot, and the test errors over epochs."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from spl.ablation.cells import interval
from spl.classify.comparison import Comparison, Entry

WIDTH, ROW, LEAST = 12.0, 0.42, 4.2  # inches: of the picture, of one network, of the picture's height
FIRST_SHARE = 0.2  # of the epochs are left out of the curves' scale, as all networks begin with chance


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Write a PNG of at least one run: left the errors of each network, right their course over epochs."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    height = max(LEAST, 1.6 + ROW * len(comparison.entries))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    errors, curves = figure.subplots(1, 2)
    palette = colormaps["tab10" if len(comparison.entries) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    for position, entry in enumerate(comparison.entries):
        color = "black" if position == 0 else palette[(position - 1) % len(palette)]
        if entry.outcomes:
            _draw_errors(errors, entry, position, color)
            _draw_curve(curves, entry, color, is_dashed=position == 0)
    done, total = comparison.num_finished, comparison.num_cells
    if done < total:
        figure.suptitle(f"partial: {done} of {total} cells")
    _finish_errors(errors, comparison)
    _finish_curves(curves, comparison)
    beside = path.with_name(f".{path.name}")  # whoever looks while it is drawn sees the last one whole
    figure.savefig(beside, dpi=120, format="png")
    os.replace(beside, path)


def _draw_errors(axes: Any, entry: Entry, position: int, color: Any) -> None:
    values = [outcome.error for _, outcome in sorted(entry.outcomes.items())]
    places = position + np.linspace(-0.25, 0.25, len(values) + 2)[1:-1]
    axes.scatter(values, places, s=22, color=color, alpha=0.6, linewidths=0)
    mean, low, high = interval(values)
    if low is not None and high is not None:
        axes.plot([low, high], [position, position], color=color, linewidth=1.6, solid_capstyle="butt")
    axes.plot([mean, mean], [position - 0.3, position + 0.3], color=color, linewidth=2.4)


def _finish_errors(axes: Any, comparison: Comparison) -> None:
    """Scale the axis to the dots: the interval of two or three seeds may be far wider."""
    entries = comparison.entries
    values = [outcome.error for entry in entries for outcome in entry.outcomes.values()]
    margin = max(0.25, 0.4 * (max(values) - min(values)))
    axes.set_xlim(max(-0.1 * margin, min(values) - margin), max(values) + margin)
    baseline = comparison.summary(entries[0])
    if baseline is not None:
        axes.axvline(baseline.error.mean, color="black", linewidth=0.8, linestyle=":", zorder=0)
    axes.set_yticks(range(len(entries)), [entry.label for entry in entries])
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.set(
        xlabel="error on held-out images after the last epoch, %",
        title="each seed; mean and its 95 % interval",
    )
    axes.grid(axis="x", alpha=0.3)


def _draw_curve(axes: Any, entry: Entry, color: Any, *, is_dashed: bool) -> None:
    curves = np.array([outcome.curve for outcome in entry.outcomes.values()])  # seeds x epochs
    epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
    style = "--" if is_dashed else "-"
    mark = "o" if len(epochs) == 1 else None
    axes.plot(epochs, mean, color=color, linewidth=1.4, linestyle=style, marker=mark, label=entry.label)
    if len(curves) > 1:
        sd = curves.std(axis=0, ddof=1)
        axes.fill_between(epochs, mean - sd, mean + sd, color=color, alpha=0.12, linewidth=0)


def _finish_curves(axes: Any, comparison: Comparison) -> None:
    """Scale the axis, logarithmic where that is possible, to the curves without their beginning."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    means = [
        np.mean([outcome.curve for outcome in entry.outcomes.values()], axis=0)
        for entry in comparison.entries
        if entry.outcomes
    ]
    values = np.concatenate([mean[int(FIRST_SHARE * len(mean)) :] for mean in means])
    if values.min() > 0.0:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(values.min() / 1.15, values.max() * 1.15)
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(
        xlabel="epoch",
        ylabel="error on held-out images, %",
        title="mean ± standard deviation over seeds",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize="small", loc="upper right")
