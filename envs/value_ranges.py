"""Values of a stream that are black, white or full scale: from the bounds of its space, else observed.

Bounds that say nothing (infinite, equal, wider than any picture or sound) are replaced by what was measured.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

WIDEST = {"video": 2.0**24, "audio": 2.0**33}  # bounds further apart are those of a type, not of a stream
UNMEASURED = {"video": (0.0, 1.0), "audio": (-1.0, 1.0)}  # of floats whose bounds say nothing
PICTURES = ((0.0, 1.0), (-0.5, 0.5), (-1.0, 1.0), (0.0, 255.0))  # ranges in use, tried in this order
SOUNDS = (1.0, 2.0**15, 2.0**31)  # full scales in use
DRIVEN = 16.0  # times full scale: what is louder has the next one
SLACK = 1e-3  # of the range: values this little beyond it are rounding


class Range(NamedTuple):
    """The values that are black and white, or the two ends of a sound."""

    low: float
    high: float

    def __str__(self) -> str:
        """Say both ends."""
        return f"{self.low:,.5g} to {self.high:,.5g}"


def bounds_of(box: spaces.Box, modality: str) -> Range | None:
    """Return the range that the bounds of a space declare, one for all elements; None: they say nothing.

    Signed integers that span all of their type say nothing of a picture: that is what infinite bounds become.
    """
    low, high = float(box.low.min()), float(box.high.max())
    is_all = box.dtype.kind == "i" and (low, high) == _span(box.dtype)
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high or high - low > WIDEST[modality]:
        return None
    return None if modality == "video" and is_all else Range(low, high)


def range_of(box: spaces.Box, modality: str, chosen: tuple[float, float] | None = None) -> Range:
    """Return a stream's range: the one chosen, else that of its bounds, else the usual one of its type."""
    if chosen is not None:
        return Range(*chosen)
    if (declared := bounds_of(box, modality)) is not None:
        return declared
    if box.dtype.kind in "fb":
        return Range(*UNMEASURED[modality])
    return Range(0.0, 255.0) if modality == "video" else Range(-32_768.0, 32_767.0)


def assumed(box: spaces.Box, modality: str, lowest: float, highest: float) -> Range:
    """Return the range that a stream most likely has whose values went from ``lowest`` to ``highest``.

    It is a usual one of pictures and sounds, where one fits, else that of the values; an end that the space
    declares stays.
    """
    if modality == "audio":
        loudest = max(abs(lowest), abs(highest))
        scale = next((one for one in SOUNDS if loudest <= DRIVEN * one), loudest)
        scale = max(scale, loudest)
        found = Range(-scale, scale)
    else:
        fitting = (Range(*one) for one in PICTURES if one[0] <= lowest and highest <= one[1])
        found = next(fitting, Range(lowest, highest))
        if found == PICTURES[-1] and highest <= DRIVEN:  # too dark for levels of 0 to 255
            found = Range(lowest, highest)
    low, high = float(box.low.min()), float(box.high.max())
    widest = WIDEST[modality] / 2
    declared = Range(low if abs(low) < widest else found.low, high if abs(high) < widest else found.high)
    if declared.low < declared.high and bounds_of(box, modality) is None and not _is_all(box):
        found = declared
    return found if found.low < found.high else Range(found.low, found.low + 1.0)


def _span(dtype: Any) -> tuple[float, float]:
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def _is_all(box: spaces.Box) -> bool:
    """Whether the bounds are those of the type of integers."""
    return box.dtype.kind in "iu" and (box.low.min(), box.high.max()) == _span(box.dtype)


@dataclass(frozen=True)
class Swing:
    """How a sound's values become a waveform: at rest at 0, full scale at 1.

    Without a sign (a range that begins at 0 or above) it swings about its rest level.
    """

    low: float
    full_scale: float
    is_unsigned: bool
    middle: float  # where an unsigned sound rests unless it says otherwise, else 0
    top: float  # one above the greatest whole number, else the greatest number

    def loudest(self, rest: float) -> float:
        """Return the waveform's greatest possible level with this rest level, at least 1."""
        return max(rest - self.low, self.top - rest) / self.full_scale if self.is_unsigned else 1.0


def swing_of(box: spaces.Box, found: Range) -> Swing:
    """Return how the values of a sound in this range swing."""
    low, high = found
    top = high + 1.0 if box.dtype.kind in "iu" else high  # 0..255 are 256 levels
    if low >= 0.0:
        half = (top - low) / 2
        return Swing(low, half, True, low + half, top)
    return Swing(low, max(-low, high), False, 0.0, top)


class Beyond:
    """Cuts the values of a stream at the ends of its range, and remembers how far they went."""

    def __init__(self, box: spaces.Box, found: Range) -> None:
        self.found = found
        self.lowest, self.highest = found
        kind = box.dtype.kind
        self.is_idle = kind == "b" or (kind in "iu" and _fits_type(found, _span(box.dtype)))
        slack = SLACK * (found.high - found.low) if kind == "f" else 0.0
        self._within = found.low - slack, found.high + slack

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values, cut where they lie beyond the range."""
        if self.is_idle or not values.size:
            return values
        lowest, highest = float(values.min()), float(values.max())
        if self.found.low <= lowest and highest <= self.found.high:
            return values
        if self.reaches(lowest, highest):
            self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        cut: NDArray[Any] = np.clip(values, *self.found)
        return cut

    def reaches(self, lowest: float, highest: float) -> bool:
        """Whether values from ``lowest`` to ``highest`` go beyond the range by more than rounding."""
        return lowest < self._within[0] or highest > self._within[1]

    def told(self, modality: str) -> str:
        """Return a sentence on values beyond the range, empty where there were none."""
        if (self.lowest, self.highest) == self.found:
            return ""
        went = Range(self.lowest, self.highest)
        return (
            f"the {modality} goes from {went}, beyond its range of {self.found}: values outside are clipped; "
            f"correct the bounds of its space, or give --env.{modality}_range LOW,HIGH"
        )


def _fits_type(found: Range, span: tuple[float, float]) -> bool:
    """Whether every number of a type lies in the range."""
    return found.low <= span[0] and span[1] <= found.high
