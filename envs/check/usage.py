"""How much of its range a stream uses, and which entries of an observation are unused."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.check.findings import Finding, first_of
from spl.envs.spaces import LeftOut
from spl.envs.value_ranges import Beyond, Range

FAINT = {"picture": 1 / 64, "sound": 1 / 4096}  # of the range: four levels of 255, -72 dB


class Usage:
    """How much of its range one stream uses: beyond it, next to nothing of it, always the same picture."""

    def __init__(self, name: str, box: spaces.Box, found: Range) -> None:
        self.name, self.range = name, found
        self.modality = "video" if name == "picture" else "audio"
        self.beyond = Beyond(box, found)
        self.low, self.high, self.num_seen = np.inf, -np.inf, 0
        self.first: NDArray[Any] | None = None
        self.is_stuck = True
        self.slips: list[str] = []

    def look(self, array: NDArray[Any], where: str) -> None:
        """Take in one array of finite numbers."""
        low, high = float(array.min()), float(array.max())
        self.low, self.high, self.num_seen = min(self.low, low), max(self.high, high), self.num_seen + 1
        if self.beyond.reaches(low, high):
            self.slips.append(f"{self.name} goes from {Range(low, high)}, beyond {self.range}, at {where}")
        if self.first is None:
            self.first = array.copy()
        elif self.is_stuck:
            self.is_stuck = np.array_equal(self.first, array)

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong, if anything is."""
        option = f"--env.{self.modality}_range LOW,HIGH"
        used, whole = self.high - self.low, self.range.high - self.range.low
        if self.slips:
            fix = f"correct the bounds of its space, or give {option}: values outside are clipped"
            yield Finding("range", "fault", first_of(self.slips), fix)
        elif 0.0 < used < FAINT[self.name] * whole:
            what = f"{self.name} goes from {Range(self.low, self.high)} only, of {self.range}"
            fix = f"declare the bounds that its values have, or give {option}: so it is next to nothing"
            yield Finding("range", "warning", what, fix)
        if self.name == "picture" and self.is_stuck and self.num_seen > 1:
            what = f"constant: all {self.num_seen:,} pictures are the same"
            yield Finding(
                "picture", "warning", what, "return what the step shows, or choose another video_key"
            )


def of_left_out(entries: Sequence[LeftOut]) -> Iterator[Finding]:
    """Yield what is not given to the agent: a fault where something seen or heard may be lost so."""
    for one in entries:
        what = f"{one.key!r}, {one.what}: {one.why}"
        fix = "return it in a form that is known (docs/environments.md), or leave it out of the observation"
        yield Finding("left out", "fault", what, fix) if one.is_fault else Finding("left out", "note", what)
