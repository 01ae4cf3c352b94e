"""The records passed between environment, memory and model: three named tuples and the spec of a stream.

No computation lives here beyond blanking a modality.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # environments speak in these tuples and need no torch
    import torch
    from torch import Tensor

VIDEO, AUDIO = 0, 1  # positions in ``present``
NO_STATE: NDArray[np.float32] = np.zeros(0, np.float32)  # of an environment without a state vector
NO_STATE.setflags(write=False)

Action = int | tuple[int, ...]  # a number from 0 for each dimension; of one dimension a plain integer


class StreamSpec(NamedTuple):
    """Shapes of one step's observation; a stream that an environment lacks has a zero in its shape.

    Bytes of a waveform are kept as int8, read as 1/128 each; log-mel and every other waveform as float16.
    """

    video: tuple[int, int, int]  # (C, H, W): C = 1 grey, 3 colour
    audio: tuple[int, int, int]  # (C, M, F): C = 1 mono, 2 stereo; M mel bands, F audio frames a step
    audio_dtype: Literal["float16", "int8"] = "float16"  # of a waveform M = 1, and F are samples
    state: int = 0  # S: numbers of the state vector beside them
    recurrent: int = 0  # R: numbers of an agent's recurrent state, in its memory; an environment has none

    @property
    def has_video(self) -> bool:
        """Whether the environment can be seen."""
        return 0 not in self.video

    @property
    def has_audio(self) -> bool:
        """Whether the environment can be heard."""
        return 0 not in self.audio

    @property
    def nbytes(self) -> int:
        """Bytes of one step's picture, sound and states."""
        heard = math.prod(self.audio) * np.dtype(self.audio_dtype).itemsize
        return math.prod(self.video) + heard + (self.state + self.recurrent) * NO_STATE.itemsize


class Observation(NamedTuple):
    """What one step shows and sounds like: the newest frame and the newest step's sound, no history.

    A stream may carry a leading axis of environments; ``present`` and ``state`` then carry it too. The state
    is no modality: it has no flag, and nothing takes it away.
    """

    video: NDArray[np.uint8]  # (C, H, W), 0..255
    # (C, M, F), log-mel level: 0 is silence (-100 dB), 1 is full scale; or (C, 1, N), the newest chunk of the
    # waveform: 0 is silence, full scale is 1, of int8 128
    audio: NDArray[np.float16] | NDArray[np.int8]
    present: NDArray[np.bool_]  # (2,): video, audio
    state: NDArray[np.float32] = NO_STATE  # (S,): joint angles and the like, in the environment's units

    def without(self, *modalities: int) -> Observation:
        """Return a copy in which the given modalities (``VIDEO``, ``AUDIO``) are zero and flagged absent."""
        video = np.zeros_like(self.video) if VIDEO in modalities else self.video
        audio = np.zeros_like(self.audio) if AUDIO in modalities else self.audio
        present = self.present.copy()
        present[..., list(modalities)] = False
        return Observation(video, audio, present, self.state)


class Transition(NamedTuple):
    """One agent decision and what came of it."""

    observation: Observation
    action: Action
    reward: float  # in the environment's unit
    terminated: bool  # the task ended: nothing follows
    truncated: bool  # the episode was cut: more would have followed
    next_observation: Observation  # at an episode's end the true final one, never the next episode's first


class Following(NamedTuple):
    """What came of ``B`` transitions one decision ahead, wherever a batch's ``next_*`` lie."""

    reward: Tensor  # (B,) float32
    discount: Tensor  # (B,) float32: gamma, or 0 where the task terminated
    video: Tensor  # (B, T, C, H, W) uint8, oldest first, zeros before the episode began
    audio: Tensor  # (B, T, C, M, F) float16 or int8, likewise
    present: Tensor  # (B, 2) bool, of the newest step
    state: Tensor  # (B, S) float32, of the newest step

    def to(self, device: torch.device) -> Following:
        """Return all of it on ``device`` (itself what is there already)."""
        return Following(*(field.to(device) for field in self))


class Batch(NamedTuple):
    """``B`` transitions with history, as a model takes them. ``T`` is the history length.

    ``next_*`` lie ``m <= n_step`` decisions ahead, where ``m`` is cut at the episode's end.
    """

    video: Tensor  # (B, T, C, H, W) uint8, oldest first, zeros before the episode began
    audio: Tensor  # (B, T, C, M, F) float16 or int8, likewise
    present: Tensor  # (B, 2) bool, of the newest step
    action: Tensor  # (B,) int64, or (B, J) of J > 1 dimensions
    reward: Tensor  # (B,) float32: sum of gamma^k r_{t+k} for k < m
    discount: Tensor  # (B,) float32: gamma^m, or 0 where the task terminated within the window
    next_video: Tensor  # (B, T, C, H, W) uint8
    next_audio: Tensor  # (B, T, C, M, F) float16 or int8
    next_present: Tensor  # (B, 2) bool
    state: Tensor  # (B, S) float32, of the newest step
    next_state: Tensor  # (B, S) float32

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a network reads: video, audio, presence flags and state."""
        return self.video, self.audio, self.present, self.state

    @property
    def next_inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What it reads of the next observation."""
        return self.next_video, self.next_audio, self.next_present, self.next_state

    @property
    def following(self) -> Following:
        """What lies ahead, which of one-step transitions is one decision ahead."""
        return Following(self.reward, self.discount, *self.next_inputs)

    @property
    def present_throughout(self) -> Tensor:
        """``(B, 2)`` bool: what is present now, and next unless nothing follows."""
        return self.present & (self.next_present | (self.discount == 0)[:, None])

    @property
    def size(self) -> int:
        """``B``, the number of transitions."""
        return int(self.action.shape[0])

    def part(self, start: int, stop: int) -> Batch:
        """Return the transitions ``start..stop`` as views."""
        return Batch(*(field[start:stop] for field in self))

    def without(self, *modalities: int) -> Batch:
        """Return a copy in which the given modalities (``VIDEO``, ``AUDIO``) are zero and flagged absent."""
        present, next_present = self.present.clone(), self.next_present.clone()
        blanks: dict[str, Tensor] = {}
        for modality in modalities:
            present[:, modality] = next_present[:, modality] = False
            for name in (("video", "next_video"), ("audio", "next_audio"))[modality]:
                blanks[name] = getattr(self, name).new_zeros(getattr(self, name).shape)
        return self._replace(present=present, next_present=next_present, **blanks)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device`` (itself when it is there already)."""
        return Batch(*(field.to(device) for field in self))
