"""The picture of ``board.py``: returns while training, against steps and against CPU seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from board_tables import AGENTS, RECENT, cells_of, recent

HUES = ("tab:blue", "tab:cyan", "tab:green", "tab:gray", "tab:orange", "tab:red")
COLORS = dict(zip(AGENTS, HUES, strict=True))
AXES = {"steps": 0, "CPU seconds of training": 1}  # which entry of a curve's rows


def draw(out: Path, path: Path) -> None:
    """Write a picture of all cells in ``out``: a row for each task, a column for each horizontal axis."""
    cells = cells_of(out)
    tasks = list(dict.fromkeys(one["task"] for one in cells))
    size = (10, 2.6 * len(tasks) + 0.6)
    figure, axes = plt.subplots(
        len(tasks), len(AXES), figsize=size, sharey="row", squeeze=False, layout="constrained"
    )
    for row, task in zip(axes, tasks, strict=True):
        for one, index in zip(row, AXES.values(), strict=True):
            draw_lines(one, [cell for cell in cells if cell["task"] == task], index)
        row[0].set_ylabel(task)
    for one, words in zip(axes[-1], AXES, strict=True):
        one.set_xlabel(words)
    found = [pair for one in axes.flat for pair in zip(*one.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in found}
    figure.suptitle(f"return, mean of the last {RECENT} training episodes", fontsize="medium")
    labels = [label for label in AGENTS.values() if label in handles]
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_lines(axes: Axes, cells: Sequence[dict[str, Any]], index: int) -> None:
    """Draw a line for each cell of one task, agent by agent, over entry ``index`` of its curve's rows.

    A line is the mean return of the last `RECENT` training episodes, from the episode on that makes them so
    many.
    """
    order = list(AGENTS)
    for cell in sorted(cells, key=lambda cell: order.index(cell["agent"])):
        places = [row[index] for row in cell["curve"]][RECENT - 1 :]
        means = recent(cell["curve"])[RECENT - 1 :]
        axes.plot(places, means, color=COLORS[cell["agent"]], label=AGENTS[cell["agent"]])
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")
