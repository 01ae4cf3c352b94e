"""The figures of ``spl explain classifier``: maps over images, and the measures of the maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill, shorten
from typing import TYPE_CHECKING, Any

from torch import Tensor

from spl.explain.overlay import overlaid
from spl.explain.subjects import Asked
from spl.explain.tables import Row
from spl.plotting.fonts import drawable, drawn
from spl.plotting.tiles import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, RIGHT, WRONG = "#24292f", "#6e7781", "#1a7f37", "#b3261e"
CELL, TOP, CAPTION, GAP = 1.45, 0.68, 0.24, 0.08  # inches: a picture, the titles, the line below, between
STYLES = ["-", "--", ":", "-."]


@dataclass(frozen=True)
class Drawn:
    """What one run makes of the images."""

    label: str
    asked: Asked
    named: list[str]
    probabilities: list[float]
    maps: dict[str, Tensor]  # method -> (B, H, W)


def draw_overlays(drawn: Sequence[Drawn], path: Path) -> None:
    """Write a PNG: a row for each image; the image, then a column for each run and method.

    Below an overlay stand the class that the run names and its probability, green where it is right, red
    where it is wrong, grey where that is not known.
    """
    num_rows, num_columns = len(drawn[0].asked.names), 1 + sum(len(one.maps) for one in drawn)
    width = num_columns * (CELL + GAP) + GAP
    height = TOP + num_rows * (CELL + CAPTION + GAP)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))

    def axes_at(row: int, column: int) -> "Axes":
        left = GAP + column * (CELL + GAP)
        bottom = height - TOP - row * (CELL + CAPTION + GAP) - CELL
        axes = figure.add_axes((left / width, bottom / height, CELL / width, CELL / height))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    for row in range(num_rows):
        _draw_image(axes_at(row, 0), drawn[0].asked, row)
        column = 1
        for one in drawn:
            for method in one.maps:
                _draw_overlay(axes_at(row, column), one, method, row)
                column += 1
    save(figure, path, dpi=110)


def _draw_image(axes: "Axes", asked: Asked, row: int) -> None:
    axes.imshow(asked.images[row].movedim(0, -1).numpy())
    truth = asked.truths[row]
    told = asked.names[row] if truth is None else f"is {truth}"
    axes.set_xlabel(shorten(drawable(told), 24), fontsize=8, color=INK, labelpad=3, **drawn([told]))
    if row == 0:
        axes.set_title("image", fontsize=8, color=INK)


def _draw_overlay(axes: "Axes", one: Drawn, method: str, row: int) -> None:
    axes.imshow(overlaid(one.asked.images[row], one.maps[method][row]))
    truth, named = one.asked.truths[row], one.named[row]
    colour = FAINT if truth is None else RIGHT if truth == named else WRONG
    told = f"{shorten(drawable(named), 18, placeholder='…')} {one.probabilities[row]:.2f}"
    axes.set_xlabel(told, fontsize=8, color=colour, labelpad=3, **drawn([named]))
    if row == 0:
        label = fill(drawable(one.label), 26, max_lines=2, placeholder="…")
        axes.set_title(f"{label}\n{method}", fontsize=8, color=INK, **drawn([one.label]))


def draw_measures(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG: average drop and increase as bars, and the mean insertion and deletion curves.

    A colour is a run, or of one run a method; a style of line is a method.
    """
    labels, methods = (list(dict.fromkeys(getattr(row, of) for row in rows)) for of in ("label", "method"))
    coloured = "label" if len(labels) > 1 else "method"
    colours = labels if len(labels) > 1 else methods
    from matplotlib import colormaps

    palette: Any = colormaps["tab10" if len(colours) <= 10 else "tab20"]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, max(3.6, 1.8 + 0.36 * len(rows))), layout="constrained")
    bars, shown, taken = figure.subplots(1, 3)
    for position, row in enumerate(rows):
        colour = palette(colours.index(getattr(row, coloured)) % 20)
        told = row.measured.summary()
        bars.barh(position - 0.19, told["average_drop"], 0.36, color=colour)
        bars.barh(position + 0.19, told["average_increase"], 0.36, color=colour, alpha=0.4)
        style = STYLES[methods.index(row.method) % len(STYLES)]
        curves = ((shown, row.measured.insertion), (taken, row.measured.deletion))
        for axes, values in curves:
            axes.plot(
                row.measured.shares, values.mean(dim=0), style, color=colour, linewidth=1.4,
                label=f"{drawable(row.label)}, {row.method}",
            )  # fmt: skip
    row_names = [f"{drawable(row.label)}, {row.method}" for row in rows]
    bars.set_yticks(range(len(rows)), row_names, fontsize=8, **drawn(labels))
    bars.invert_yaxis()
    bars.set(xlabel="% of confidence, % of images", xlim=(0, 100))
    bars.set_title("average drop (dark, lower is better)\nand increase (light, higher is better)", fontsize=9)
    for axes, title in ((shown, "insertion: higher is better"), (taken, "deletion: lower is better")):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of the pixels", ylabel="mean confidence")
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
    taken.legend(loc="upper right", frameon=False, prop={"size": 7, "family": drawn(labels)["fontfamily"]})
    save(figure, path)
