"""What may happen to a modality while an agent is evaluated: one table, and what each row does to a stream.

A failure acts on what the agent is given: the newest frame, and the newest step's log-mel or waveform.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.records import AUDIO, VIDEO, Observation, StreamSpec

MODALITIES = ("video", "audio")  # at their positions in ``Observation.present``
MOST_STEPS = 27_000  # of an evaluated episode, which is cut there: 30 minutes of an ALE game
VIDEO_NOISE = 64.0  # standard deviation, of 255
AUDIO_NOISE = 0.25  # standard deviation, in levels of 100 dB; of a waveform, in full scales
HISS_LEVEL, HISS_SPREAD = 0.7, 0.05  # of white noise in every band: -30 dB, and 5 dB about it
DELAY_STEPS = 5  # by which a delayed stream lags
Levels = NDArray[Any]


class Stream(NamedTuple):
    """What a failure makes its values of: one stream of one environment."""

    newest: Levels  # what the environment shows
    last: Levels  # what came last before the failure; failing from the first step on, what came first
    earlier: Levels  # what came ``DELAY_STEPS`` ago, or first
    is_waveform: bool
    generator: np.random.Generator


def add_noise(stream: Stream) -> Levels:
    """Return the newest values under Gaussian noise, cut to their range and kept in their kind.

    A log-mel level is cut at 0, which is silence; a waveform swings about it and is cut at full scale.
    """
    newest = stream.newest
    if newest.dtype == np.uint8:
        noise = stream.generator.normal(0.0, VIDEO_NOISE, newest.shape)
        return np.clip(newest + noise, 0, 255).astype(np.uint8)
    noise = stream.generator.normal(0.0, AUDIO_NOISE, newest.shape)
    if newest.dtype == np.int8:
        return np.clip(np.rint(newest + 128.0 * noise), -128, 127).astype(np.int8)
    spoilt = np.clip(newest + noise, -1.0, 1.0) if stream.is_waveform else np.maximum(newest + noise, 0)
    return spoilt.astype(np.float16)


def hiss(stream: Stream) -> Levels:
    """Return noise alone: about grey in a picture, ``HISS_LEVEL`` in a log-mel, 0 in a waveform."""
    newest = stream.newest
    if newest.dtype != np.uint8 and not stream.is_waveform:
        return stream.generator.normal(HISS_LEVEL, HISS_SPREAD, newest.shape).astype(np.float16)
    rest = np.full_like(newest, 128 if newest.dtype == np.uint8 else 0)
    return add_noise(stream._replace(newest=rest))


# What happens -> the values given instead. Only of "absent" does the presence flag tell.
HAPPENINGS: dict[str, Callable[[Stream], Levels]] = {
    "absent": lambda stream: np.zeros_like(stream.newest),
    "noise": add_noise,
    "frozen": lambda stream: stream.last,
    "hissing": hiss,
    "delayed": lambda stream: stream.earlier,
    "mute": lambda stream: np.zeros_like(stream.newest),
}


class Condition(NamedTuple):
    """What happens to one modality, and from which step of each episode on."""

    modality: int | None = None  # VIDEO or AUDIO; None: nothing happens
    happening: str = "absent"
    from_step: int = 0

    @property
    def is_declared(self) -> bool:
        """Whether the presence flag tells the agent."""
        return self.modality is not None and self.happening == "absent"

    def as_json(self, *, is_monitored: bool = False) -> dict[str, Any]:
        """Return the condition as JSON holds it; nothing where nothing happens."""
        if self.modality is None:
            return {}
        told = {"modality": MODALITIES[self.modality], "happening": self.happening}
        return {**told, "from_step": self.from_step, "is_monitored": is_monitored}


UNTOUCHED = Condition()


def conditions(spec: StreamSpec, half_length: int, *, with_unflagged: bool = False) -> dict[str, Condition]:
    """Return the conditions of the modalities that ``spec`` has, by name.

    Args:
        spec: of the agent's streams.
        half_length: step at which what fails midway does.
        with_unflagged: also the failures from the middle on of which the presence flag does not tell.
    """
    there = [one for one, is_there in ((VIDEO, spec.has_video), (AUDIO, spec.has_audio)) if is_there]
    is_single = len(there) == 1
    found = {}
    for one in there if is_single else reversed(there):
        name = f"without {MODALITIES[one]}" if is_single else f"{MODALITIES[1 - one]} only"
        found[name] = Condition(one, "absent")
    found |= {f"noise on {MODALITIES[one]}": Condition(one, "noise") for one in there}
    found |= {f"{MODALITIES[one]} fails midway": Condition(one, "absent", half_length) for one in there}
    if with_unflagged:
        for happening in ("frozen", "hissing", "delayed", "mute"):
            for one in there:
                word = "black" if (one, happening) == (VIDEO, "mute") else happening
                found[f"{MODALITIES[one]} {word}"] = Condition(one, happening, half_length)
    return found


class Spoiler:
    """Does to the observations of one environment what a condition says; step 0 begins an episode.

    Args:
        condition: what happens.
        is_waveform: whether the sound comes as a waveform.
        generator: draws the noise.
    """

    def __init__(self, condition: Condition, *, is_waveform: bool, generator: np.random.Generator) -> None:
        self.condition, self.is_waveform, self.generator = condition, is_waveform, generator
        self._recent: deque[Levels] = deque(maxlen=DELAY_STEPS + 1)
        self._last: Levels = np.zeros(0)

    def __call__(self, observation: Observation, step: int) -> Observation:
        """Return what the agent is given of an observation, which is left alone."""
        modality, happening, from_step = self.condition
        if modality is None:
            return observation
        newest = observation.video if modality == VIDEO else observation.audio
        if step == 0:
            self._recent.clear()
        self._recent.append(newest)
        if step < max(from_step, 1):
            self._last = newest
        if step < from_step:
            return observation
        if self.condition.is_declared:
            return observation.without(modality)
        is_waveform = self.is_waveform and modality == AUDIO
        stream = Stream(newest, self._last, self._recent[0], is_waveform, self.generator)
        return observation._replace(**{MODALITIES[modality]: HAPPENINGS[happening](stream)})
