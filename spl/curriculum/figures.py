"""Figures of a curriculum: when each sample was included, the losses, and the samples themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.curriculum.rounds import Rounds
from spl.plotting.fonts import drawable, drawn
from spl.plotting.tiles import save

OUT, IN, MARKED = (0.90, 0.90, 0.90), (0.12, 0.47, 0.71), (0.84, 0.15, 0.16)  # left out, in, in and marked
NUM_BINS = 40  # of losses
FLOOR = 1e-4  # losses below are drawn as this, where the scale is logarithmic
TILE = 1.0  # inches
Points = Sequence[tuple[float, float]]


class Tile(NamedTuple):
    """A sample as it is drawn."""

    picture: NDArray[Any]  # (H, W, 3) in 0..1
    caption: str


class Marks(NamedTuple):
    """What is known of the samples, and kept from the learner."""

    name: str  # such as: wrong label
    is_marked: NDArray[np.bool_]  # (S,)


def draw_rounds(rounds: Rounds, marks: Marks | None, path: Path, title: str) -> None:
    """Write a PNG: the share included, which samples when, the losses over the run and at its end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 8.0), layout="constrained")
    panels = figure.subplots(2, 2)
    _draw_share(panels[0, 0], rounds, marks)
    _draw_entries(panels[0, 1], rounds, marks)
    edges, is_log = edges_of(rounds.losses)
    _draw_losses(panels[1, 0], rounds, edges, is_log=is_log)
    _draw_ends(panels[1, 1], rounds, marks, edges, is_log=is_log)
    figure.suptitle(drawable(title), **drawn([title]))
    save(figure, path)


def edges_of(losses: NDArray[np.float32]) -> tuple[NDArray[np.float64], bool]:
    """Return edges ``(NUM_BINS + 1,)`` of bins over the finite losses, and whether they grow by a factor."""
    finite = losses[np.isfinite(losses)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low < 0:
        return np.linspace(low, max(high, low + FLOOR), NUM_BINS + 1), False
    return np.geomspace(max(low, FLOOR), max(high, 10 * FLOOR, 2 * low), NUM_BINS + 1), True


def _draw_share(axes: Any, rounds: Rounds, marks: Marks | None) -> None:
    xs, included = rounds.numbers + 1, rounds.is_included
    axes.plot(xs, included.mean(axis=1), "o-", markersize=3, color=IN, label="included")
    if marks is not None:
        of_included = (included & marks.is_marked).sum(axis=1) / included.sum(axis=1)
        axes.plot(xs, of_included, "o-", markersize=3, color=MARKED, label=f"{marks.name}, of the included")
        share = marks.is_marked.mean()
        axes.axhline(share, color=MARKED, linestyle=":", label=f"{marks.name}, of all")
    axes.set(ylim=(-0.03, 1.03), ylabel="share of samples", title="Share of samples included")
    axes.legend(frameon=False, fontsize="small", loc="center right")
    axes.grid(alpha=0.3)
    _count(axes)


def _draw_entries(axes: Any, rounds: Rounds, marks: Marks | None) -> None:
    from matplotlib.patches import Patch

    order = np.lexsort((-rounds.is_included.sum(axis=0), rounds.entries))
    included = rounds.is_included[:, order].T  # (S, R)
    colors = np.where(included[..., None], IN, OUT)
    names = {"left out": OUT, "included": IN}
    if marks is not None:
        colors[included & marks.is_marked[order, None]] = MARKED
        names[f"included, {marks.name}"] = MARKED
    last = int(rounds.numbers[-1]) + 1
    axes.imshow(colors, aspect="auto", extent=(0.5, last + 0.5, len(order), 0), interpolation="nearest")
    axes.set(ylabel="samples, first come first", title="Which samples are included when")
    axes.legend(
        handles=[Patch(facecolor=color, label=name) for name, color in names.items()],
        loc="lower left",
        fontsize="small",
    )
    _count(axes)


def _draw_losses(axes: Any, rounds: Rounds, edges: NDArray[np.float64], *, is_log: bool) -> None:
    shares = np.stack([_histogram(losses, edges) for losses in rounds.losses])  # (R, NUM_BINS)
    ends = np.append(rounds.numbers, rounds.numbers[-1] + 1) + 0.5
    mesh = axes.pcolormesh(ends, edges, shares.T, cmap="Blues", rasterized=True)
    axes.figure.colorbar(mesh, ax=axes, label="share of samples")
    is_in = rounds.is_included & np.isfinite(rounds.losses)
    hardest = np.where(is_in, rounds.losses, -np.inf).max(axis=1)
    low = np.clip(np.where(np.isfinite(hardest), hardest, np.nan), edges[0], None)
    axes.plot(rounds.numbers + 1, low, color="black", linewidth=1.2, label="hardest included")
    axes.set(yscale="log" if is_log else "linear", ylabel="last loss", title="Losses by round")
    axes.legend(frameon=True, fontsize="small", loc="lower left")
    _count(axes)


def _histogram(losses: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the known losses that lies in each bin; those outside count in the ends."""
    finite = losses[np.isfinite(losses)].clip(edges[0], edges[-1])
    return np.histogram(finite, edges)[0] / max(1, finite.size)


def _draw_ends(
    axes: Any, rounds: Rounds, marks: Marks | None, edges: NDArray[np.float64], *, is_log: bool
) -> None:
    losses, is_in = rounds.losses[-1], rounds.is_included[-1]
    parts = {"included": (is_in, IN), "left out": (~is_in, "0.6")}
    if marks is not None:
        parts = {
            "others": (~marks.is_marked, IN),
            marks.name: (marks.is_marked, MARKED),
        }
    for name, (is_meant, color) in parts.items():
        found = losses[is_meant & np.isfinite(losses)].clip(edges[0], edges[-1])
        axes.hist(found, edges, alpha=0.6, color=color, label=f"{name}: {int(is_meant.sum()):,}")
    axes.set(xscale="log" if is_log else "linear", xlabel="last loss", ylabel="samples")
    axes.set_title("Losses at the end")
    axes.legend(frameon=False, fontsize="small", loc="upper right")


def _count(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")


def draw_tiles(rows: Mapping[str, Sequence[Tile]], path: Path, title: str) -> None:
    """Write a PNG with a row of samples for each name; rows may differ in length."""
    from matplotlib.figure import Figure

    most = max(len(tiles) for tiles in rows.values())
    tile = next(tile for tiles in rows.values() for tile in tiles).picture
    height = TILE * tile.shape[0] / tile.shape[1]
    figure = Figure(figsize=(TILE * (most + 1.6), (height + 0.35) * len(rows) + 0.5), layout="constrained")
    panels = figure.subplots(len(rows), most + 1, squeeze=False, width_ratios=[1.5] + [1] * most)
    for row, (name, tiles) in zip(panels, rows.items(), strict=True):
        for axes in row:
            axes.set_axis_off()
        row[0].text(0.0, 0.5, name, transform=row[0].transAxes, va="center", fontsize=9)
        for axes, one in zip(row[1:], tiles, strict=False):
            axes.imshow(one.picture, interpolation="nearest", vmin=0, vmax=1)
            caption = one.caption.split("\n")
            axes.set_title("\n".join(map(drawable, caption)), fontsize=7, pad=2, **drawn(caption))
    figure.suptitle(drawable(title), **drawn([title]))
    save(figure, path)


def draw_replay(curves: Mapping[str, Mapping[str, Points]], path: Path, title: str) -> None:
    """Write a PNG with a panel for each group of curves over the steps of a run, none of them empty."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(6.0 * len(curves), 4.0), layout="constrained")
    for axes, (name, group) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        for label, points in group.items():
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4)
        is_log = all(value > 0 for points in group.values() for _, value in points) and name == "loss"
        axes.set(xlabel="step", title=name, yscale="log" if is_log else "linear")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.legend(frameon=False, fontsize="small", loc="upper right" if is_log else "lower right")
        axes.grid(alpha=0.3)
    figure.suptitle(drawable(title), **drawn([title]))
    save(figure, path)
