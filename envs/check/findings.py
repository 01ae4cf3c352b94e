"""Findings from what an environment returned: changed shapes, NaN, zeros at the end, both end flags.

Judged from what resets and steps returned. Sound is judged in ``hearing``; ``checkup`` plays.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.space_entries import Stream

MAX_REWARD = float(np.finfo(np.float32).max)
NOT_SEEN = "not checked: no observation came"
Verdict = Literal["ok", "note", "warning", "fault"]


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    what: str  # was found
    fix: str = ""  # one sentence that says what to do; empty where there is nothing to fix


class Moment(NamedTuple):
    """What came of one reset or step."""

    where: str  # "step 3 (seed 0)"
    step: int  # of the episode; 0 is its reset
    parts: dict[str, NDArray[Any] | None]  # picture, sound, state as they came, None where they are missing
    reward: float
    terminated: bool
    truncated: bool
    odd: tuple[str, str] | None = None  # of its form, and the fix; see ``answers.odd_form``
    wrong_state: str | None = None  # why the state cannot be read

    @property
    def is_last(self) -> bool:
        """Whether the episode ended here."""
        return self.terminated or self.truncated


class Health:
    """Whether streams keep to their spaces and hold numbers only; the first slip of each kind is kept.

    Args:
        streams: by their names.
    """

    def __init__(self, streams: dict[str, Stream]) -> None:
        self.streams = streams
        self.num_moments = 0
        self.drifts: list[str] = []
        self.not_finite: list[str] = []
        self.num_whole = 0  # arrays of which the numbers could be looked at
        self.too_large: list[str] = []
        self.odd: list[str] = []
        self.odd_fix = ""
        self.wrong_states: list[str] = []

    def look(self, moment: Moment) -> set[str]:
        """Take in one moment; return the names of the streams that are sound."""
        self.num_moments += 1
        sound = set()
        for name, stream in self.streams.items():
            array = moment.parts[name]
            if array is None or not stream.fits(array) or array.dtype != stream.box.dtype:
                came = "missing" if array is None else f"{told(array)} instead of {told(stream.box)}"
                self.drifts.append(f"{name} is {came} at {moment.where}")
            elif not np.isfinite(array).all():
                self.not_finite.append(f"{name} holds NaN or infinity at {moment.where}")
            else:
                sound.add(name)
                self.num_whole += 1
        if not math.isfinite(moment.reward):
            self.not_finite.append(f"reward is {moment.reward} at {moment.where}")
        elif abs(moment.reward) > MAX_REWARD:
            self.too_large.append(f"reward is {moment.reward:g} at {moment.where}")
        if moment.wrong_state is not None:
            self.wrong_states.append(f"{moment.wrong_state}, at {moment.where}")
        if moment.odd is not None:
            self.odd.append(f"{moment.odd[0]} at {moment.where}")
            self.odd_fix = self.odd_fix or moment.odd[1]
        return sound

    def findings(self) -> Iterator[Finding]:
        """Yield what was seen of shapes and of numbers."""
        if not self.num_moments:
            yield Finding("shapes", "note", NOT_SEEN)
            yield Finding("numbers", "note", NOT_SEEN)
            return
        if self.drifts:
            fix = "return the shape and dtype that observation_space promises at every step"
            yield Finding("shapes", "fault", first_of(self.drifts), fix)
        else:
            yield Finding("shapes", "ok", f"shape and dtype hold for {self.num_moments:,} observations")
        if self.not_finite:
            fix = "find what divides by zero or reads nothing: a network that learns from one NaN is lost"
            if self.not_finite[0].startswith("reward"):
                fix = "return a finite reward: find what divides by zero, or choose a large number instead"
            yield Finding("numbers", "fault", first_of(self.not_finite), fix)
        elif self.too_large:
            fix = f"divide all rewards by a constant: a float32 holds {MAX_REWARD:.3g} at the most"
            yield Finding("numbers", "fault", first_of(self.too_large), fix)
        else:
            what = "every value and reward is finite"
            if not self.num_whole and self.streams:
                what = "every reward is finite; no picture or sound came in a form that can be looked at"
            yield Finding("numbers", "ok" if self.num_whole or not self.streams else "note", what)
        if self.wrong_states:
            fix = "return finite numbers of the shape that observation_space promises at every step"
            yield Finding("state", "fault", first_of(self.wrong_states), fix)
        if self.odd:
            yield Finding("interface", "warning", first_of(self.odd), self.odd_fix)


class Endings:
    """How episodes end: by which flag, and with which last observation.

    Args:
        max_steps: length at which Gymnasium's own time limit truncates an episode, None where none does.
    """

    def __init__(self, max_steps: int | None) -> None:
        self.max_steps = max_steps
        self.num_terminated = self.num_truncated = 0
        self.had_zeros = False
        self.zeros: list[str] = []
        self.both: list[str] = []

    def look(self, moment: Moment) -> None:
        """Take in one moment, a reset or a step."""
        shown = (part for name, part in moment.parts.items() if name != "state" and part is not None)
        seen = next(shown, None)  # the picture, if any
        is_zero = seen is not None and not seen.any()
        if not moment.is_last:
            self.had_zeros = self.had_zeros or is_zero
            return
        if is_zero:
            self.zeros.append(f"all zeros at {moment.where}")
        if moment.terminated and moment.truncated and moment.step != self.max_steps:
            self.both.append(f"terminated and truncated are both true at {moment.where}")
        self.num_terminated += moment.terminated
        self.num_truncated += moment.truncated and not moment.terminated

    def findings(self) -> Iterator[Finding]:
        """Yield what was seen of end flags and of last observations."""
        if not self.num_terminated + self.num_truncated:
            what = "no episode ended; more --num_steps may reach an end"
            yield Finding("endings", "note", what)
            return
        if self.both:
            fix = "set only truncated at a time limit and only terminated where the task ends"
            yield Finding("endings", "fault", first_of(self.both), fix)
        else:
            what = f"{self.num_terminated:,} terminated, {self.num_truncated:,} truncated"
            yield Finding("endings", "ok", what)
        if self.zeros and not self.had_zeros:
            fix = "return the true last observation, or repeat the one before: the agent learns from it"
            yield Finding("last observation", "fault", first_of(self.zeros), fix)
        else:
            yield Finding("last observation", "ok", "the last observation of an episode is not blank")


def difference(moments: list[Moment], again: list[Moment]) -> str:
    """Return where two playings of the same differ first and in what, empty where they do not."""
    for one, other in zip(moments, again, strict=False):
        for name, part in one.parts.items():
            if apart := _apart(part, other.parts[name]):
                return f"{name} at {one.where}{apart}"
        if _apart(np.asarray(one.reward), np.asarray(other.reward)):
            return f"reward at {one.where}, {one.reward} and {other.reward}"
        if (one.terminated, one.truncated) != (other.terminated, other.truncated):
            return f"end flags at {one.where}"
    return "" if len(moments) == len(again) else f"length, {len(moments)} and {len(again)}"


def judge_repeats(same: str, fresh: str, num_moments: int) -> Finding:
    """Return whether a seed repeats, given the ``difference`` in the same and in a fresh environment."""
    fix = (
        "call super().reset(seed=seed) first in reset and draw everything from self.np_random; keep nothing "
        "in the class or the module"
    )
    if fresh and same:
        return Finding("seed", "fault", f"the seed does not repeat: {fresh}", fix)
    if fresh:
        what = f"the seed repeats in the same environment, not in a fresh one: {fresh}"
        return Finding("seed", "fault", what, fix)
    if same:
        what = f"the seed repeats in a fresh environment only; in the same one differs {same}"
        fix = (
            "let reset clear what the last episode left; what a library keeps, only a new environment clears"
        )
        return Finding("seed", "warning", what, fix)
    what = f"{num_moments:,} observations repeat to the bit, in the same and in a fresh environment"
    return Finding("seed", "ok", what)


def _apart(one: NDArray[Any] | None, other: NDArray[Any] | None) -> str:
    """Return by how much two arrays differ, empty where they are equal to the bit (NaN is equal to NaN)."""
    if one is None or other is None:
        return "" if one is other else ", missing once"
    if one.shape != other.shape or one.dtype != other.dtype:
        return f", {told(one)} and {told(other)}"
    if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return ""
    return f", by {np.abs(one.astype(np.float64) - other.astype(np.float64)).max():.4g} at most"


def told(thing: NDArray[Any] | spaces.Box) -> str:
    """Return ``64 x 64 uint8`` for an array or a space."""
    return f"{' x '.join(map(str, thing.shape)) or 'a number'} {thing.dtype}"


def first_of(slips: list[str]) -> str:
    return slips[0] if len(slips) == 1 else f"{slips[0]}, {len(slips):,} times in all"
