"""The picture of ``board.py``: returns while training, against steps and against CPU seconds."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from board_tables import AGENTS, RECENT, recent

COLORS = dict(zip(AGENTS, ("tab:blue", "tab:cyan", "tab:gray", "tab:orange", "tab:red"), strict=True))
AXES = {"steps": 0, "CPU seconds of training": 1}  # which entry of a curve's rows


def draw(out: Path, path: Path) -> None:
    """Write a picture of all cells in ``out``: a column for each task, a row for each horizontal axis.

    A line is a seed: the mean return of the last `RECENT` training episodes, from the episode on that makes
    them so many.
    """
    cells = [json.loads(one.read_text()) for one in sorted(out.glob("*/*/seed-*.json"))]
    tasks = list(dict.fromkeys(one["task"] for one in cells))
    figure, axes = plt.subplots(
        len(AXES),
        len(tasks),
        figsize=(4.2 * len(tasks), 6.4),
        sharey="col",
        squeeze=False,
        layout="constrained",
    )
    for column, task in enumerate(tasks):
        for row, (words, index) in enumerate(AXES.items()):
            for name, label in AGENTS.items():
                for cell in (one for one in cells if (one["task"], one["agent"]) == (task, name)):
                    shown = list(zip(cell["curve"], recent(cell["curve"]), strict=True))[RECENT - 1 :]
                    line = [one[index] for one, _ in shown], [mean for _, mean in shown]
                    axes[row, column].plot(*line, color=COLORS[name], label=label)
            axes[row, column].set_xlabel(words)
            axes[row, column].grid(alpha=0.3)
            axes[row, column].xaxis.set_major_locator(MaxNLocator(5))
            axes[row, column].xaxis.set_major_formatter("{x:,.0f}")
        axes[0, column].set_title(task)
    for row in axes:
        row[0].set_ylabel(f"return, last {RECENT} training episodes")
    handles = {
        label: handle
        for one in axes.flat
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2 * len(tasks))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
