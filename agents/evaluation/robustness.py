"""The robustness profile, as a figure for print: what share of its return an agent retains."""

from pathlib import Path
from typing import Any

from spl.agents.conditions import MODALITIES
from spl.plotting.tiles import save

COLORS = {"video": "#0b6bcb", "audio": "#1a7f4b"}  # dark enough for print, apart also to the colour-blind
WIDTH, ROW, REST = 6.3, 0.42, 1.1  # inches: a page of text, a row of the figure, what stands around the rows
APART = 0.16  # of a row, between neighbouring dots


def draw_robustness(result: dict[str, Any], folder: Path, name: str = "robustness") -> list[Path]:
    """Write ``<name>.png`` and ``.pdf``: a dot and its 95 % interval for each condition and modality.

    Args:
        result: of :func:`spl.agents.evaluation.evaluate.evaluate_agent`.
        folder, name: where they are written.

    Returns:
        The files; none where nothing is retained, or was measured.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    shown = [one for one in result["conditions"].values() if "retained" in one and "happening" in one]
    if not shown:
        return []
    rows = list(dict.fromkeys(_row(one) for one in shown))
    kinds = sorted({(one["is_monitored"], MODALITIES.index(one["modality"])) for one in shown})
    style: Any = {"font.size": 9, "pdf.fonttype": 42, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        figure = Figure(figsize=(WIDTH, REST + ROW * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.axvline(1, color="0.6", linewidth=0.8)
        for number, (is_monitored, modality) in enumerate(kinds):
            failing = MODALITIES[modality]
            kind = (is_monitored, failing)
            chosen = [one for one in shown if (one["is_monitored"], one["modality"]) == kind]
            places = [rows.index(_row(one)) + (number - (len(kinds) - 1) / 2) * APART for one in chosen]
            values = [one["retained"] for one in chosen]
            lows, highs = zip(*(one["retained_95"] for one in chosen), strict=True)
            color = COLORS[failing]
            axes.hlines(places, lows, highs, color=color, linewidth=1.4)
            face = "white" if is_monitored else color
            label = f"{failing} fails{', monitored' if is_monitored else ''}"
            axes.plot(values, places, "o", color=color, markerfacecolor=face, markersize=4.5, label=label)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("retained of the return: 0 % random actions, 100 % all modalities")
        axes.grid(axis="x", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper center", ncols=min(len(kinds), 2), frameon=False)
        files = [folder / f"{name}.png", folder / f"{name}.pdf"]
        for file in files:
            save(figure, file, dpi=300)
    return files


def _row(one: dict[str, Any]) -> str:
    """Return what a row of the figure is called."""
    happening = str(one["happening"])
    if not one["from_step"]:
        return {"absent": "absent, flagged", "noise": "noise on it"}[happening]
    return {"absent": "absent midway, flagged", "mute": "black or mute"}.get(happening, happening)
