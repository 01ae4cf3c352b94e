"""An episode as one figure: steps with maps over video and audio, and the modalities' shares."""

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from spl.explain.overlay import overlaid
from spl.explain.words import NAMES
from spl.plotting.fonts import drawable, drawn
from spl.plotting.tiles import save
from spl.saliency.shapley import Shapley

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, VIDEO_COLOUR, AUDIO_COLOUR, STATE_COLOUR = "#24292f", "#2f6db3", "#c2571a", "#5b8c3a"
COLOURS = VIDEO_COLOUR, AUDIO_COLOUR, STATE_COLOUR  # of `NAMES`
CELL = 1.5  # inches
NAME_WIDTH, NAME_LINES = 24, 4  # letters of an action's name in a line, and lines
MOST_SHARES = 200  # that are drawn over time; of a longer episode several steps are taken together


@dataclass(frozen=True)
class Moment:
    """A step that is drawn."""

    step: int
    action: str
    probability: float
    video: Tensor | None  # (C, H, W) uint8, the newest frame; None without eyes
    audio: Tensor | None  # (M, T F) uint8, the lowest band first; None without ears
    video_map: Tensor | None  # (H, W) in 0..1
    audio_map: Tensor | None  # (M, T F) in 0..1


def draw_episode(moments: Sequence[Moment], shapley: Shapley, score: str, title: str, path: Path) -> None:
    """Write a PNG: the moments side by side, frames above spectrograms, and both modalities over time below.

    Args:
        moments: at least one.
        shapley: what each modality added to the score, step by step.
        score: its name.
        title: above.
        path: of the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, CELL * len(moments)), 3.3 * CELL + 1.4), layout="constrained")
    figure.suptitle(drawable(title), fontsize=10, color=INK, **drawn([title]))
    halves: Any = figure.subfigures(2, 1, height_ratios=(2.2, 1.5))
    upper, lower = halves
    grid = upper.subplots(2, len(moments), squeeze=False)
    for column, moment in enumerate(moments):
        frame, strip = grid[0, column], grid[1, column]
        name = "\n".join(textwrap.wrap(moment.action, NAME_WIDTH, max_lines=NAME_LINES, placeholder=" ..."))
        told = f"step {moment.step}\n{name} {moment.probability:.2f}"
        frame.set_title(told, fontsize=8, color=INK)
        _show(frame, moment.video, moment.video_map)
        _show(strip, None if moment.audio is None else moment.audio[None], moment.audio_map, is_sound=True)
    over, values = lower.subplots(1, 2)
    _draw_shares(over, values, shapley, score, [moment.step for moment in moments])
    save(figure, path)


def drop_later(folder: Path, number: int) -> None:
    """Remove what an explanation of more episodes than ``number`` left in its folder, and no other file."""
    if (folder / "explanation.json").is_file():
        for path in folder.iterdir():
            found = re.fullmatch(r"episode-(\d+)\.(png|txt)", path.name)
            if found is not None and int(found[1]) > number:
                path.unlink()


def _show(axes: "Axes", picture: Tensor | None, heat: Tensor | None, *, is_sound: bool = False) -> None:
    """Draw a picture ``(1 or 3, H, W)`` with its map; in grey without one, and nothing without a picture."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if picture is None:
        axes.text(0.5, 0.5, "no sound" if is_sound else "no picture", ha="center", va="center", fontsize=8)
        return
    form: dict[str, Any] = {"origin": "lower", "aspect": "auto"} if is_sound else {}
    if heat is None:
        grey = picture.movedim(0, -1).expand(-1, -1, 3)
        axes.imshow(grey.numpy(), interpolation="nearest", **form)
        axes.set_xlabel("no convolution, no map", fontsize=6.5)
    else:
        axes.imshow(overlaid(picture, heat), interpolation="nearest", **form)


def _draw_shares(over: "Axes", values: "Axes", shapley: Shapley, score: str, marked: Sequence[int]) -> None:
    """Draw each modality's share over time, and what it adds in the unit of the score."""
    steps = range(len(shapley.video))
    together, firsts, shares = shares_over_time(shapley)
    middles = [first + (together - 1) / 2 for first in firsts]
    num = len(shares)
    over.stackplot(middles, *shares, colors=COLOURS[:num], labels=NAMES[:num], step="mid")
    told = ", ".join(f"{name} {one:.2f}" for name, one in zip(NAMES, shapley.whole_shares(), strict=False))
    over.set_title(f"shares: {told}", fontsize=9)
    over.set(ylim=(0, 1), xlabel="step" if together == 1 else f"step, {together} together", ylabel="share")
    for values_of, colour, name in zip(shapley.parts, COLOURS, NAMES, strict=False):
        values.plot(steps, values_of, color=colour, linewidth=1.1, label=name)
    values.set_title(f"added to the {score} of the action", fontsize=9)
    values.set(xlabel="step")
    for axes in (over, values):
        axes.set_xlim(0, max(1, len(steps) - 1))
        axes.plot(marked, [axes.get_ylim()[0]] * len(marked), "^", color=INK, markersize=4, clip_on=False)
        axes.tick_params(labelsize=7)
    values.legend(frameon=False, fontsize=7, loc="upper left")


def shares_over_time(shapley: Shapley) -> tuple[int, list[int], list[list[float]]]:
    """Return how many steps are taken together, each such part's first step, and the shares of each of
    `Shapley.parts`.
    """
    num_steps = len(shapley.video)
    together = math.ceil(num_steps / MOST_SHARES)
    firsts = list(range(0, num_steps, together))
    taken = [slice(first, first + together) for first in firsts]
    shares = zip(*(shapley.each(itemgetter(one)).whole_shares() for one in taken), strict=True)
    return together, firsts, [list(one) for one in shares]
