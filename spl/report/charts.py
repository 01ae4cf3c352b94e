"""Charts as inline SVG whose colours are the page's CSS variables, for light and dark themes."""

import io
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
NUM_COLORS = 8  # of lines, in the style sheet
# Colours that are drawn with, and what stands for them in the page.
INK, MUTED, RULE, PAPER = "#010000", "#020000", "#030000", "#040000"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--paper)"}
VARIABLES |= {f"#0500{number:02x}": f"var(--line-{number})" for number in range(NUM_COLORS)}
WIDTH, HEIGHT = 330 / 72, 202 / 72  # inches: narrower than a phone, where letters are 11 pixels or more
BROAD = 620 / 72, 187 / 72  # inches: narrower than the text of a page on a tablet, for the same reason
LETTERS = r"font-size: calc(\1 * var(--letters, 1))"  # which the style sheet scales as a chart grows
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f]"  # letters that XML knows none of, such as a folder's name may have
MOST_SMALL = 10  # classes of a confusion matrix that is as wide as other charts
MOST_LARGE_LETTERS, MOST_COUNTS, MOST_NAMED = 20, 16, 40  # classes of one with large letters; counts; names
DASHES = ("-", (0, (4, 2)), (0, (1, 1.6)))
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spl",
    "text.parse_math": False,  # a name may be called $5
    "font.size": 11,
    "axes.edgecolor": RULE,
    "axes.formatter.useoffset": False,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
}
_numbers = itertools.count()


class Curve(NamedTuple):
    """A line: the mean of several runs, or one run."""

    color: int
    dash: int  # number of ``DASHES``
    xs: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]  # lowest of the runs at each place
    high: NDArray[np.float64]


class Mark(NamedTuple):
    """A value with the interval that it lies in."""

    color: int
    row: int
    value: float
    low: float | None
    high: float | None


def color_of(number: int) -> str:
    """Return the colour that a line of that number is drawn with."""
    return f"#0500{number % NUM_COLORS:02x}"


def draw_curves(
    title: str, clock: str, curves: Sequence[Curve], *, size: tuple[float, float] = (WIDTH, HEIGHT)
) -> Markup:
    """Return curves over steps or epochs; where low and high differ from the mean, a band lies between."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    with _figure(*size) as figure:
        axes = figure.add_subplot()
        for curve in curves:
            color, mark = color_of(curve.color), "o" if len(curve.xs) == 1 else None
            line = {"linewidth": 1.4, "linestyle": DASHES[curve.dash], "marker": mark, "markersize": 4}
            axes.plot(curve.xs, curve.mean, color=color, solid_capstyle="round", **line)
            if not np.array_equal(curve.low, curve.high, equal_nan=True):
                axes.fill_between(curve.xs, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(clock)
        return _as_svg(figure, f"{title} over {clock}s. {_told(curves)}")


def draw_marks(title: str, labels: Sequence[str], marks: Sequence[Mark]) -> Markup:
    """Return a row for each label, with its marks, one below the other where colours differ."""
    from matplotlib.ticker import MaxNLocator

    colors = sorted({mark.color for mark in marks})
    height = 0.55 + len(labels) * (0.14 + 0.12 * len(colors))
    with _figure(WIDTH, height) as figure:
        axes = figure.add_subplot()
        for mark in marks:
            place = mark.row + (colors.index(mark.color) + 0.5) / len(colors) * 0.7 - 0.35
            color = color_of(mark.color)
            if mark.low is not None and mark.high is not None:
                axes.plot([mark.low, mark.high], [place, place], color=color, linewidth=4, alpha=0.3)
            axes.plot([mark.value], [place], color=color, marker="o", markersize=5, linestyle="")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        told = "; ".join(f"{labels[mark.row]}: {mark.value:.4g}" for mark in marks)
        return _as_svg(figure, f"{title}. {told}")


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> Markup:
    """Return a confusion matrix: shades are shares of the class of the row; counts and names where they fit.

    Args:
        counts: ``(K, K)``, rows the truth.
        classes: names.
    """
    K = len(classes)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    side, size = WIDTH if K <= MOST_SMALL else 1.7 * WIDTH, 11 if K <= MOST_LARGE_LETTERS else 9
    with _figure(side, side) as figure:
        axes = figure.add_subplot(aspect="equal")
        for row, column in zip(*np.nonzero(counts), strict=True):
            _draw_cell(axes, row, column, float(shares[row, column]))
            if K <= MOST_COUNTS:
                text = str(counts[row, column])
                axes.text(column, row, text, ha="center", va="center", color=INK, size=size)
        axes.set(xlim=(-0.5, K - 0.5), ylim=(K - 0.5, -0.5), xlabel="taken for", ylabel="class")
        named = range(K) if K <= MOST_NAMED else []
        turned = 90 if max(map(len, classes)) > 2 else 0
        axes.set_xticks(named, [classes[place] for place in named], rotation=turned, fontsize=size)
        axes.set_yticks(named, [classes[place] for place in named], fontsize=size)
        right = int(counts.trace())
        told = f"{right:,} of {int(counts.sum()):,} images are on the diagonal, named right"
        return _as_svg(figure, f"Confusion matrix of {K} classes. {told}")


def _draw_cell(axes: Any, row: int, column: int, share: float) -> None:
    from matplotlib.patches import Rectangle

    place, shade = (column - 0.48, row - 0.48), 0.08 + 0.5 * share
    axes.add_patch(Rectangle(place, 0.96, 0.96, color=color_of(0), alpha=shade, linewidth=0))


def _told(curves: Sequence[Curve]) -> str:
    """Return where the curves end, in words."""
    ends = [curve.mean[np.isfinite(curve.mean)][-1:] for curve in curves]
    values = ", ".join(f"{end[0]:.4g}" for end in ends if len(end))
    return f"Last value{'s' if len(curves) > 1 else ''}: {values or 'none'}."


@contextmanager
def _figure(width: float, height: float) -> Iterator[Any]:
    """Yield a figure in the page's style; letters that the measuring font lacks are no warning."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        yield Figure(figsize=(width, height), layout="constrained")


def _as_svg(figure: Any, told: str) -> Markup:
    """Return a figure as an SVG element, as wide as its place, with ``reported`` for who cannot see it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(re.sub(CONTROL, "", file.getvalue()))
    prefix = f"chart{next(_numbers)}-"
    for name in ("width", "height"):
        del root.attrib[name]
    root.set("role", "img")
    root.set("aria-label", told)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # the latter would style the whole page
                parent.remove(child)
    for element in root.iter():
        _rename(element, prefix)
    ElementTree.register_namespace("", SVG)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _rename(element: Any, prefix: str) -> None:
    """Give an element's ids a name of this chart's own, and its colours those of the page."""
    if "id" in element.attrib:
        element.set("id", prefix + element.attrib["id"])
    if LINK in element.attrib:
        element.set("href", "#" + prefix + element.attrib.pop(LINK).removeprefix("#"))
    for name, value in element.attrib.items():
        if "url(#" in value:
            element.set(name, value.replace("url(#", f"url(#{prefix}"))
    if style := element.attrib.get("style"):
        style = re.sub(r"#0[1-5]00[0-9a-f]{2}", lambda match: VARIABLES.get(match[0], match[0]), style)
        style = re.sub(r"font(-family)?: [^;]*'[^;]*", _font, style)
        element.set("style", re.sub(r"font-size: ([\d.]+px)", LETTERS, style))


def _font(match: re.Match[str]) -> str:
    """Return a font's declaration without the family: letters are the page's."""
    size = re.search(r"[\d.]+px", match[0])
    return f"font-size: {size[0]}" if size else ""
