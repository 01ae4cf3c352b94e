"""Figures of comparisons: every run as a dot with the mean of its variant, and curves over the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spl.ablation.comparison import Comparison, Entry, Panel
from spl.ablation.statistics import interval
from spl.plotting.tiles import save

WIDTH, ROW, LEAST = 6.0, 0.42, 4.2  # inches: of a panel, of one variant, of a picture's height
MOST_ABREAST = 2  # panels, that letters are read at the width of a page
FIRST_SHARE = 0.2  # of a run is left out of a logarithmic scale, as all variants begin with chance


def _colors(count: int) -> list[Any]:
    """Return a colour for each variant, the baseline's black."""
    from matplotlib import colormaps

    palette = colormaps["tab10" if count <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    return ["black", *(palette[number % len(palette)] for number in range(count - 1))]


def _draw_dots(axes: Any, values: Sequence[float], position: int, color: Any) -> None:
    """Draw the runs of a variant in its row, with their mean and its interval."""
    places = position + np.linspace(-0.25, 0.25, len(values) + 2)[1:-1]
    axes.scatter(values, places, s=22, color=color, alpha=0.6, linewidths=0)
    mean, low, high = interval(values)
    if low is not None and high is not None:
        axes.plot([low, high], [position, position], color=color, linewidth=1.6, solid_capstyle="butt")
    axes.plot([mean, mean], [position - 0.3, position + 0.3], color=color, linewidth=2.4)


def _finish_dots(axes: Any, labels: Sequence[str], values: Sequence[float], least: float) -> None:
    """Scale the axis to the dots, with a margin of at least ``least``: the interval of two or three seeds
    may be far wider. Where no value is negative, little below 0 is shown.
    """
    margin = max(least, 0.4 * (max(values) - min(values)))
    left, right = min(values) - margin, max(values) + margin
    axes.set_xlim(left if min(values) < 0 else max(left, -0.1 * right), right)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_title("each seed; mean and its 95 % interval")
    axes.grid(axis="x", alpha=0.3)


def _draw_band(axes: Any, xs: Any, ys: Any, color: Any, *, is_dashed: bool, label: str) -> None:
    """Draw the mean and the standard deviation of ``ys``, runs x places."""
    mean = ys.mean(axis=0)
    mark = "o" if len(xs) == 1 else None
    style = "--" if is_dashed else "-"
    axes.plot(xs, mean, color=color, linewidth=1.4, linestyle=style, marker=mark, label=label)
    if len(ys) > 1:
        sd = ys.std(axis=0, ddof=1)
        axes.fill_between(xs, mean - sd, mean + sd, color=color, alpha=0.12, linewidth=0)


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Write a PNG of at least one run: left the first measure of each run, then the panels."""
    from matplotlib.figure import Figure

    entries, measure, num_panels = comparison.entries, comparison.measures[0], 1 + len(comparison.panels)
    height, columns = max(LEAST, 1.6 + ROW * len(entries)), min(num_panels, MOST_ABREAST)
    rows = -(-num_panels // columns)
    figure = Figure(figsize=(WIDTH * columns, height * rows), layout="constrained")
    dots, *others = figure.subplots(rows, columns, squeeze=False).flat
    for axes in others[num_panels - 1 :]:
        axes.set_axis_off()
    palette = _colors(len(entries))
    values = [list(entry.values(measure).values()) for entry in entries]
    for position, (found, color) in enumerate(zip(values, palette, strict=True)):
        if found:
            _draw_dots(dots, found, position, color)
    if values[0]:
        dots.axvline(float(np.mean(values[0])), color="black", linewidth=0.8, linestyle=":", zorder=0)
    whole = [value for found in values for value in found]
    _finish_dots(dots, [entry.label for entry in entries], whole, 10.0**-measure.digits)
    dots.set_xlabel(measure.axis)
    for axes, panel in zip(others, comparison.panels, strict=False):
        _draw_panel(axes, panel, entries, palette)
    done, total = comparison.num_finished, comparison.num_cells
    if done < total:
        figure.suptitle(f"partial: {done} of {total} cells")
    save(figure, path)


def _draw_panel(axes: Any, panel: Panel, entries: Sequence[Entry], palette: Sequence[Any]) -> None:
    """Draw a figure of each variant over the run, where all of its seeds have it."""
    from matplotlib.ticker import MaxNLocator

    means = []
    for number, (entry, color) in enumerate(zip(entries, palette, strict=True)):
        curves = [dict(one.curves[panel.tag]) for one in entry.outcomes.values()]
        xs = sorted(set.intersection(*map(set, curves))) if curves else []
        if xs:
            ys = np.array([[curve[x] for x in xs] for curve in curves])
            _draw_band(axes, xs, ys, color, is_dashed=number == 0, label=entry.label)
            means.append(ys.mean(axis=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=panel.clock, ylabel=panel.axis, title="mean ± standard deviation over seeds")
    if means and panel.is_log:
        _scale_by_factors(axes, np.concatenate([mean[int(FIRST_SHARE * len(mean)) :] for mean in means]))
    axes.grid(alpha=0.3, which="both")
    if axes.lines:
        axes.legend(frameon=False, fontsize="small", loc="upper right" if panel.is_log else "lower right")


def _scale_by_factors(axes: Any, values: Any) -> None:
    """Scale the axis to the values, logarithmic where all of them are positive."""
    from matplotlib.ticker import ScalarFormatter

    if values.min() > 0.0:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(values.min() / 1.15, values.max() * 1.15)
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(ScalarFormatter())
