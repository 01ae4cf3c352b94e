"""The picture of a comparison: every run's error as a dot, and the test errors over epochs."""

from pathlib import Path
from typing import Any

import numpy as np

from spl.ablation.figures import LEAST, ROW, WIDTH, colors, draw_band, draw_dots, finish_dots
from spl.classify.comparison import Comparison, Entry
from spl.plotting.tiles import save

FIRST_SHARE = 0.2  # of the epochs are left out of the curves' scale, as all networks begin with chance


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Write a PNG of at least one run: left the errors of each network, right their course over epochs."""
    from matplotlib.figure import Figure

    entries = comparison.entries
    height = max(LEAST, 1.6 + ROW * len(entries))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    errors, curves = figure.subplots(1, 2)
    for position, (entry, color) in enumerate(zip(entries, colors(len(entries)), strict=True)):
        if entry.outcomes:
            draw_dots(errors, _errors_of(entry), position, color)
            _draw_curve(curves, entry, color, is_dashed=position == 0)
    done, total = comparison.num_finished, comparison.num_cells
    if done < total:
        figure.suptitle(f"partial: {done} of {total} cells")
    values = [error for entry in entries for error in _errors_of(entry)]
    finish_dots(errors, [entry.label for entry in entries], values, 0.25)
    errors.set_xlabel("error on held-out images after the last epoch, %")
    errors.set_xlim(left=max(errors.get_xlim()[0], -0.1 * abs(errors.get_xlim()[1])))
    if baseline := _errors_of(entries[0]):
        errors.axvline(np.mean(baseline), color="black", linewidth=0.8, linestyle=":", zorder=0)
    _finish_curves(curves, comparison)
    save(figure, path)


def _errors_of(entry: Entry) -> list[float]:
    return [outcome.error for _, outcome in sorted(entry.outcomes.items())]


def _draw_curve(axes: Any, entry: Entry, color: Any, *, is_dashed: bool) -> None:
    curves = np.array([outcome.curve for outcome in entry.outcomes.values()])  # seeds x epochs
    epochs = np.arange(1, curves.shape[1] + 1)
    draw_band(axes, epochs, curves, color, is_dashed=is_dashed, label=entry.label)


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
