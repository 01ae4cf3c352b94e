"""One frame of the film: the agent's observation, Q-values, saliency and action."""

import textwrap
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.agents.film.text import (
    HEAT,
    LOUDNESS,
    Picture,
    enlarged,
    fill,
    heated,
    painted,
    palette,
    write,
)
from spl.explain.words import NAMES

BACKGROUND, GROOVE = (13, 17, 23), (33, 38, 45)
INK, FAINT, CHOSEN = (230, 237, 243), (139, 148, 158), (240, 180, 41)
VIDEO_COLOUR, AUDIO_COLOUR = (88, 166, 255), (63, 185, 120)  # the colours of the modalities
STATE_COLOUR = (188, 140, 255)
MARGIN, PANEL_WIDTH, LEAST_HEIGHT = 16, 288, 400
STRIP_HEIGHT, TRACK_HEIGHT = 128, 48  # of the spectrogram and of the map below it
QUIETEST, LOUDEST = 0.2, 0.9  # levels that are painted black and white: -80 and -10 dB
SMALL, MEDIUM, LARGE, LINE = 12, 15, 26, 1.2  # of letters, and a line's height in letters
HEADS, FOOT = 176, 58  # of the panel: above and below its bars
MAX_ROWS, LEAST_ROW, HIGHEST_ROW, BAR = 18, 13, 30, 14  # of values: their heights, and a bar's at most
LABEL_WIDTH, NUMBER_WIDTH = 108, 62
NAME_WIDTH = 24  # letters of an action's name in a line

say = partial(write, paper=BACKGROUND)


class View(NamedTuple):
    """What is shown at one moment; None is not there."""

    picture: Picture | None  # (H, W, 3)
    seen: NDArray[np.float32] | None  # (h, w) in 0..1: where in the picture the reason lies
    levels: NDArray[np.float32] | None  # (M, L) in 0..1, the newest last
    heard: NDArray[np.float32] | None  # (M, L) in 0..1: saliency over the audio
    values: NDArray[np.float32] | None  # (A,)
    value_range: tuple[float, float]  # between which the bars stretch
    chosen: tuple[int, ...]  # places among the values; none where nothing is chosen
    action: str  # its name
    shares: tuple[float, ...] | None  # of video, audio and, where there is one, the state; in sum 1 or 0
    present: tuple[bool, bool]  # whether the agent was given video and audio
    total: float  # return so far
    line: str  # below the title


class Screen:
    """Draws a :class:`View` beside, and above, what belongs to it.

    Args:
        title: of the panel.
        actions: names of the values, as many as ``A``.
        picture_size: rows and columns of the environment's picture; None: there is none.
        scale: pixels a side that each of its pixels takes; None: so that it is about 400 high.
        strip_s: seconds of sound in the strip; None: there is no sound.
    """

    def __init__(
        self,
        title: str,
        actions: Sequence[str],
        *,
        picture_size: tuple[int, int] | None,
        scale: int | None,
        strip_s: float | None,
    ) -> None:
        self.title, self.actions = title, list(actions)
        rows, columns = (0, 0) if picture_size is None else picture_size
        self.scale = max(1, round(LEAST_HEIGHT / max(1, rows))) if scale is None else scale
        num_rows = min(len(self.actions), MAX_ROWS)
        self.height = max(rows * self.scale, HEADS + num_rows * LEAST_ROW + FOOT, LEAST_HEIGHT)
        self.picture_width = columns * self.scale
        self.panel_left = MARGIN + (self.picture_width + MARGIN if columns else 0)
        self.strip_s = strip_s
        width = self.panel_left + PANEL_WIDTH + MARGIN
        below = 0 if strip_s is None else 2 * SMALL + STRIP_HEIGHT + TRACK_HEIGHT + 2 * MARGIN
        height = self.height + 2 * MARGIN + below
        self._blank: Picture = np.full((height + height % 2, width + width % 2, 3), BACKGROUND, np.uint8)

    def draw(self, view: View) -> Picture:
        """Return the picture ``(H, W, 3)``; all of one screen are alike in size."""
        page = self._blank.copy()
        if view.picture is not None and self.picture_width:
            picture = view.picture if view.seen is None else heated(view.picture, view.seen)
            large = enlarged(picture, self.scale)
            top = MARGIN + (self.height - len(large)) // 2
            page[top : top + large.shape[0], MARGIN : MARGIN + large.shape[1]] = large
        self._write_heads(page, view)
        if view.values is not None:
            self._draw_values(page, view)
        if view.shares is not None:
            self._draw_shares(page, view.shares, view.present)
        if view.levels is not None and self.strip_s is not None:
            self._draw_strip(page, view.levels, view.heard)
        return page

    def _write_heads(self, page: Picture, view: View) -> None:
        left, right = self.panel_left, self.panel_left + PANEL_WIDTH
        say(page, self.title, MARGIN - 4, left, size=MEDIUM, colour=INK, is_bold=True)
        say(page, view.line, MARGIN + 18, left, size=SMALL, colour=FAINT)
        say(page, "return", MARGIN + 48, left, size=SMALL, colour=FAINT)
        say(
            page,
            f"{view.total:.4g}",
            MARGIN + 62,
            left,
            size=LARGE,
            colour=INK,
            is_bold=True,
        )
        say(page, "action", MARGIN + 48, left + LABEL_WIDTH, size=SMALL, colour=FAINT)
        if view.action:
            lines = textwrap.wrap(view.action, NAME_WIDTH, max_lines=2, placeholder=" ...")
            size = LARGE if len(view.action) <= 10 else MEDIUM if len(lines) == 1 else SMALL
            top = MARGIN + 62 + (LARGE - size) // 2 if len(lines) == 1 else MARGIN + 61
            for number, line in enumerate(lines):
                at = top + number * round(LINE * size)
                say(page, line, at, left + LABEL_WIDTH, size=size, colour=CHOSEN, is_bold=True)
        if view.values is not None:
            low, high = view.value_range
            say(page, "Q-values", MARGIN + 122, left, size=SMALL, colour=FAINT)
            told = f"bars from {low:.3g} to {high:.3g}"
            say(page, told, MARGIN + 122, right, size=SMALL, colour=FAINT, is_right=True)

    def _draw_values(self, page: Picture, view: View) -> None:
        """Draw a bar for each action; of more than `MAX_ROWS` for the best."""
        assert view.values is not None
        rows = np.arange(len(view.values))
        if len(rows) > MAX_ROWS:
            order = -view.values
            order[list(view.chosen)] = -np.inf  # the best of its dimension, of several
            rows = np.sort(np.argsort(order, kind="stable")[:MAX_ROWS])
        height = min(HIGHEST_ROW, (self.height - HEADS - FOOT) // len(rows))
        low, high = view.value_range
        left, right = self.panel_left, self.panel_left + PANEL_WIDTH
        longest = PANEL_WIDTH - LABEL_WIDTH - NUMBER_WIDTH
        for position, row in enumerate(rows.tolist()):
            top, value = MARGIN + HEADS - 28 + position * height, float(view.values[row])
            colour = CHOSEN if row in view.chosen else FAINT
            size = min(SMALL, height - 2)
            letters = top + (height - round(LINE * size)) // 2
            say(page, self.actions[row][:14], letters, left, size=size, colour=colour)
            say(page, f"{value:.3f}", letters, right, size=size, colour=colour, is_right=True)
            thick = min(BAR, height - 4)
            bar = top + (height - thick) // 2, left + LABEL_WIDTH, thick
            share = min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0
            fill(page, *bar, longest, GROOVE)
            fill(page, *bar, round(longest * share), colour)

    def _draw_shares(self, page: Picture, shares: tuple[float, ...], present: tuple[bool, bool]) -> None:
        top, left = MARGIN + self.height - 34, self.panel_left
        names, colours = NAMES[: len(shares)], (VIDEO_COLOUR, AUDIO_COLOUR, STATE_COLOUR)[: len(shares)]
        fill(page, top + 18, left, BAR, PANEL_WIDTH, GROOVE)
        edges = [round(PANEL_WIDTH * total) for total in accumulate(shares, initial=0.0)]
        for (start, stop), colour in zip(pairwise(edges), colours, strict=True):
            fill(page, top + 18, left + start, BAR, stop - start, colour)
        there = (*present, True)[: len(shares)]
        for name, share, is_there, colour in zip(names, shares, there, colours, strict=True):
            is_right = name == names[-1]
            between = (PANEL_WIDTH - LABEL_WIDTH) // 2 + MARGIN if name == "audio" else 0
            end = left + (PANEL_WIDTH if is_right else between)
            say(
                page,
                f"{name} {100 * share:.0f} %" if is_there else f"{name} absent",
                top - 2,
                end,
                size=SMALL,
                colour=colour,
                is_right=is_right,
            )

    def _draw_strip(
        self, page: Picture, levels: NDArray[np.float32], heard: NDArray[np.float32] | None
    ) -> None:
        top, width = 2 * MARGIN + self.height, page.shape[1] - 2 * MARGIN
        say(
            page,
            f"sound, the last {self.strip_s:g} s",
            top - 8,
            MARGIN,
            size=SMALL,
            colour=FAINT,
        )
        top += 2 * SMALL - 14
        loud = (levels - QUIETEST) / (LOUDEST - QUIETEST)
        page[top : top + STRIP_HEIGHT, MARGIN : MARGIN + width] = painted(
            loud, palette(*LOUDNESS), STRIP_HEIGHT, width
        )
        top += STRIP_HEIGHT + 2
        if heard is not None:
            page[top : top + TRACK_HEIGHT, MARGIN : MARGIN + width] = painted(
                heard, palette(*HEAT), TRACK_HEIGHT, width
            )
        told = "saliency over the audio" if heard is not None else "no map of the sound"
        say(page, told, top + TRACK_HEIGHT + 4, MARGIN, size=SMALL, colour=FAINT)
