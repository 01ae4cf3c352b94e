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

COLORS = dict(zip(AGENTS, ("tab:blue", "tab:cyan", "tab:gray", "tab:orange", "tab:red"), strict=True))
AXES = {"steps": 0, "CPU seconds of training": 1}  # which entry of a curve's rows


def draw(out: Path, path: Path) -> None:
    """Write a picture of all cells in ``out``: a column for each task, a row for each horizontal axis."""
    cells = cells_of(out)
    tasks = list(dict.fromkeys(one["task"] for one in cells))
    size = (4.2 * len(tasks), 6.4)
    figure, axes = plt.subplots(
        len(AXES), len(tasks), figsize=size, sharey="col", squeeze=False, layout="constrained"
    )
    for row, (words, index) in zip(axes, AXES.items(), strict=True):
        row[0].set_ylabel(f"return, last {RECENT} training episodes")
        for one, task in zip(row, tasks, strict=True):
            draw_lines(one, [cell for cell in cells if cell["task"] == task], index)
            one.set_xlabel(words)
    for one, task in zip(axes[0], tasks, strict=True):
        one.set_title(task)
    found = [pair for one in axes.flat for pair in zip(*one.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in found}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2 * len(tasks))
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
