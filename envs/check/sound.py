"""Whether audio varies, matches its rest level and is complete: checked on chunks and sample rates."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.check.findings import Finding
from spl.envs.value_ranges import Range, range_of, swing_of

NEAR = 0.1  # of full scale: what lies further apart is heard as a step
WHOLE = 0.99  # share of a step's sound that counts as all of it


class SoundCheck:
    """What the sound was like over all observations; figures only, no waveform is kept but the first.

    Args:
        space: of one chunk.
        found: its range; None: that of its bounds.
        rest_level: as an option or the environment tells it, in the unit of the space; None: not declared.
        num_samples: of a whole chunk, where shorter ones may come.
    """

    def __init__(
        self,
        space: spaces.Box,
        rest_level: float | None,
        found: Range | None = None,
        *,
        num_samples: int | None = None,
    ) -> None:
        self.swing = swing_of(space, range_of(space, "audio") if found is None else found)
        self.is_unsigned, self.scale = self.swing.is_unsigned, self.swing.full_scale
        self.rest_level = rest_level if self.is_unsigned else 0.0
        self.first: NDArray[Any] | None = None
        self.begins_at: float | None = None  # level of a constant first chunk
        self.low, self.high, self.is_stuck = np.inf, -np.inf, True
        self.num_samples, self.lengths = num_samples, set[int]()
        self.num_channels = 1 if num_samples is None else int(np.prod(space.shape)) // num_samples
        self.chunks: list[tuple[float, float, float]] = []  # lowest, mean and highest level of each
        self.constants: Counter[float] = Counter()  # levels of later chunks that are constant

    def add(self, chunk: NDArray[Any]) -> None:
        """Take in one chunk of finite samples."""
        self.lengths.add(chunk.size // self.num_channels)
        if not chunk.size:
            return
        low, high = float(chunk.min()), float(chunk.max())
        if self.first is None:
            self.first = chunk.copy()
            self.begins_at = low if low == high else None
        else:
            self.is_stuck = self.is_stuck and np.array_equal(self.first, chunk)
            self.constants.update([low] if low == high else [])
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.chunks.append((low, float(chunk.mean()), high))

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the sound, or that it is to be heard."""
        if self.num_samples is not None and len(self.lengths) > 1:
            least, most = min(self.lengths), max(self.lengths)
            what = f"{least:,} to {most:,} samples a step, its space says at most {self.num_samples:,}"
            yield Finding("chunks", "ok", f"{what}: none is lost")
        num_chunks = len(self.chunks)
        if not self.chunks:
            yield Finding("signal", "note", "not checked: no chunk came in the form that the space declares")
        elif num_chunks == 1:
            yield Finding("signal", "note", "not checked: only one chunk came, and changes need two")
        elif self.low == self.high:
            yield self._of_one_level(num_chunks)
        elif self.is_stuck:
            yield Finding(
                "signal",
                "fault",
                f"constant: all {num_chunks:,} chunks are the same",
                "return the samples of the step that was just made: the buffer is never written to",
            )
        else:
            yield self._of_rest() or Finding(
                "signal", "ok", f"varies: from {self.low:,.5g} to {self.high:,.5g} in {num_chunks:,} chunks"
            )

    def _of_one_level(self, num_chunks: int) -> Finding:
        silences = (0.0, self.swing.low, self.swing.middle, self.rest_level) if self.is_unsigned else (0.0,)
        if self.low in silences:
            return Finding(
                "signal",
                "fault",
                f"silent: every sample of {num_chunks:,} chunks is {self.low:.4g}",
                "return the samples that the step made: switch the sound on, install its library (ViZDoom: "
                "OpenAL, Debian: libopenal1); if its sounds are only rare, give more --num_steps",
            )
        return Finding(
            "signal",
            "fault",
            f"constant: every sample of {num_chunks:,} chunks is {self.low:.4g}",
            "return the waveform of the step: a level that never changes is no sound",
        )

    def _of_rest(self) -> Finding | None:
        """Return a finding where the sound starts elsewhere than it rests, or lies beside its rest level."""
        level, number = self.constants.most_common(1)[0] if self.constants else (0.0, 0)
        rests_at = self.rest_level
        if rests_at is None:
            rests_at = level if number > len(self.chunks) // 4 else self.begins_at
        rests_at = self.swing.middle if rests_at is None else rests_at
        if self.begins_at is not None and abs(self.begins_at - rests_at) > NEAR * self.scale:
            step = abs(self.begins_at - rests_at) / self.scale
            return Finding(
                "signal",
                "fault",
                f"begins at {self.begins_at:.4g}, rest level {rests_at:.4g}: a step of {step:.2f} "
                "(1 is full)",
                f"let reset return a chunk at {rests_at:.4g}; if it rests at {self.begins_at:.4g}, declare "
                f"it: --env.rest_level {self.begins_at:.4g}, or the attribute sound_rest_level",
            )
        # pulses from the rest level to one side, as game consoles make them, are no offset
        beside = [0.0 if rests_at in (low, high) else mean - rests_at for low, mean, high in self.chunks]
        offset = float(np.median(beside)) / self.scale
        if abs(offset) > NEAR:
            return Finding(
                "signal",
                "warning",
                f"offset: {offset:+.2f} of full scale from its rest level {rests_at:.4g}",
                self._fix_of_offset(rests_at + offset * self.scale),
            )
        return None

    def _fix_of_offset(self, level: float) -> str:
        if not self.is_unsigned:
            return "subtract its mean in the environment: a sound swings about 0"
        told = f"--env.rest_level {level:.0f}, or the attribute sound_rest_level"
        return f"declare its rest level: {told}; or centre it at {self.rest_level or 128:.4g}"


class Skipping(NamedTuple):
    """What is known of a step's length and of the sound that comes with it."""

    num_samples: int  # of one observation
    num_unskipped: int | None  # of one observation when each step is one frame; None: could not be made so
    rate_hz: int | None  # of the sound
    frame_rate_hz: float | None  # frames a second
    skip: int | None  # frames a step; None: the environment does not tell
    name: str = "frame_skip"  # of its argument


def judge_skipping(details: Skipping) -> Finding:
    """Return whether each step brings the sound of all its frames, or that it cannot be told."""
    num_samples, num_unskipped, rate_hz, frame_rate_hz, skip, name = details
    num_frames = 1 if skip is None else skip
    fix = (
        f"skip outside of it, with --env.kwargs.{name} 1 --env.frame_skip {num_frames}, or return the sound "
        "of every skipped frame, joined"
    )
    if num_frames > 1 and num_unskipped is not None:
        share = num_samples / (num_unskipped * num_frames)
        if share < WHOLE:
            what = (
                f"{1 - share:.0%} is lost: {num_samples:,} samples a step, whether {num_frames} frames or 1"
            )
            return Finding("frame skip", "fault", what, fix)
        return Finding("frame skip", "ok", f"the sound of all {num_frames} frames of a step arrives")
    if skip == 1 and (rate_hz is None or frame_rate_hz is None):
        return Finding("frame skip", "ok", "a step is one frame")
    if rate_hz is None or frame_rate_hz is None:
        what = "unknown whether sound is lost: "
        what += "no sample rate" if rate_hz is None else "no metadata['render_fps']"
        return Finding("frame skip", "note", what)
    heard_frames = num_samples / rate_hz * frame_rate_hz
    lasts = f"{1_000 * num_samples / rate_hz:.4g} ms of sound"
    if heard_frames >= WHOLE * num_frames:
        return Finding(
            "frame skip", "ok", f"{lasts} cover the step of {1_000 * num_frames / frame_rate_hz:.4g} ms"
        )
    what = f"{lasts} in a step of {1_000 * num_frames / frame_rate_hz:.4g} ms"
    if skip is None or heard_frames >= WHOLE:  # render_fps may be a rate of steps, or made up
        what += f" (if render_fps {frame_rate_hz:g} is right)"
        fix = "return the sound of the whole step, or correct metadata['render_fps'], frames per second"
        return Finding("frame skip", "warning", f"may be lost: {what}", fix)
    return Finding("frame skip", "fault", f"{1 - heard_frames / num_frames:.0%} is lost: {what}", fix)
