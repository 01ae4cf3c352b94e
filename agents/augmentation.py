"""Random changes of what is learned: pictures shifted; sound shifted in time, masked in bands, made louder.

Each is drawn once per sample and holds for its whole stack; a transition's two observations have draws of
their own. What is acted on or scored is not changed.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.dqn_config import DqnConfig
from spl.agents.q_network.draws import Draws
from spl.records import Batch, Following, StreamSpec

DB_OF_LEVELS = 100.0  # from level 0, silence, to level 1, full scale


class Augmentation(Draws):
    """Changes batches on the device where they lie.

    Args:
        config: how far at most: its ``video_shift``, ``audio_shift``, ``audio_mask``, ``audio_gain_db``.
        spec: of the streams.
        generator: owns the draws.

    Raises:
        ValueError: if a change does not fit the streams.

    Source: Kostrikov, Yarats, Fergus (2021), Image augmentation is all you need (DrQ), with one draw for each
    observation as in Yarats et al. (2022), DrQ-v2; Park et al. (2019), SpecAugment, for bands. Differs: sound
    is shifted in time, not warped, and a masked band is silent, not at the mean level.
    """

    def __init__(self, config: DqnConfig, spec: StreamSpec, generator: np.random.Generator) -> None:
        super().__init__(generator)
        self.config = config
        (_, *sides), (_, num_bands, _) = spec.video, spec.audio  # of a waveform one band
        checks = (
            ("video_shift", spec.has_video, "needs pictures, and the environment has none"),
            ("video_shift", config.video_shift < min(sides), f"leaves nothing of {min(sides)} pixels"),
            ("audio_gain_db", spec.has_audio, "needs sound, and the environment has none"),
            ("audio_shift", num_bands > 1, "needs sound as log-mel, not a waveform or none"),
            ("audio_mask", num_bands > 1, "needs sound as log-mel, not a waveform or none"),
            ("audio_mask", config.audio_mask < num_bands, f"leaves nothing of {num_bands} mel bands"),
        )
        for name, fits, reason in checks:
            if (value := getattr(config, name)) and not fits:
                raise ValueError(f"{name}={value:g} {reason}: set --agent.{name} 0")

    def __call__(self, batch: Batch, soon: Following | None = None) -> tuple[Batch, Following | None]:
        """Return the batch changed, and what came one step ahead of it, where that is given."""
        video, audio = self._streams(batch.video, batch.audio)
        next_video, next_audio = self._streams(batch.next_video, batch.next_audio)
        batch = batch._replace(video=video, audio=audio, next_video=next_video, next_audio=next_audio)
        if soon is not None:
            video, audio = self._streams(soon.video, soon.audio)
            soon = soon._replace(video=video, audio=audio)
        return batch, soon

    def _streams(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``video (B, T, C, H, W)`` and ``audio (B, T, C, M, F)`` changed, of the same types."""
        config, size = self.config, len(video)
        if config.video_shift:
            video = shifted(video, *self._up_to(config.video_shift, video, (2, size)))
        if config.audio_shift:
            audio = shifted_in_time(audio, self._up_to(config.audio_shift, audio, (size,)))
        if config.audio_mask:
            widths = self.generator.integers(config.audio_mask, size=size, endpoint=True)
            firsts = self.generator.integers(audio.shape[3] - widths, endpoint=True)
            audio = masked(audio, on(firsts, audio), on(widths, audio))
        if config.audio_gain_db:
            gains = self.generator.uniform(-config.audio_gain_db, config.audio_gain_db, size)
            audio = amplified(audio, on(gains.astype(np.float32), audio))
        return video, audio

    def _up_to(self, most: int, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Draw whole numbers from ``-most`` to ``most``."""
        return on(self.generator.integers(-most, most, size=shape, endpoint=True), like)


def on(numbers: NDArray[Any], like: Tensor) -> Tensor:
    """Return drawn numbers on the device of ``like``."""
    return torch.from_numpy(numbers).to(like.device)


def shifted(video: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return ``video (B, T, C, H, W)`` shifted by whole pixels, its border repeated where nothing was seen.

    As padded by repetition and cropped, but each byte is moved once. Shifts are ``(B,)`` int64.
    """
    *_, height, width = video.shape
    rows, columns = _sources(height, down), _sources(width, right)
    places = (rows[:, :, None] * width + columns[:, None]).flatten(1)  # (B, H W)
    return _taken(video.flatten(3), places).view(video.shape)


def shifted_in_time(audio: Tensor, later: Tensor) -> Tensor:
    """Return log-mel ``audio (B, T, C, M, F)`` later by whole audio frames, its ends repeated.

    The ``T`` steps of a stack are one stretch of ``T F`` audio frames. Shifts are ``(B,)`` int64.
    """
    _, num_steps, _, _, num_frames = audio.shape
    stretch = audio.permute(0, 2, 3, 1, 4).flatten(3)  # (B, C, M, T F)
    moved = _taken(stretch, _sources(num_steps * num_frames, later))
    return moved.reshape(*moved.shape[:3], num_steps, num_frames).permute(0, 3, 1, 2, 4).contiguous()


def masked(audio: Tensor, firsts: Tensor, widths: Tensor) -> Tensor:
    """Return log-mel ``audio (B, T, C, M, F)``, silent in ``widths (B,)`` bands from ``firsts (B,)`` on."""
    above = torch.arange(audio.shape[3], device=audio.device) - firsts[:, None]  # (B, M)
    is_masked = (above >= 0) & (above < widths[:, None])
    return audio.masked_fill(is_masked[:, None, None, :, None], 0)


def amplified(audio: Tensor, gains_db: Tensor) -> Tensor:
    """Return sound ``(B, T, C, M, F)`` with gains ``(B,)`` in dB; silence stays silence.

    Levels move by ``gain / 100`` within 0..1. A waveform (``M = 1``) is multiplied by ``10^(gain / 20)``;
    bytes stay within theirs.
    """
    gains = gains_db[:, None, None, None, None]
    if audio.shape[3] > 1:
        louder = (audio + gains / DB_OF_LEVELS).clamp(0.0, 1.0)
        return torch.where(audio > 0, louder, 0.0).to(audio.dtype)
    louder = audio * 10.0 ** (gains / 20.0)
    return (louder.round().clamp(-128, 127) if audio.dtype == torch.int8 else louder).to(audio.dtype)


def _sources(size: int, shifts: Tensor) -> Tensor:
    """Return where each of ``size`` places comes from, ``(B, size)``, for ``shifts (B,)``."""
    return (torch.arange(size, device=shifts.device) - shifts[:, None]).clamp(0, size - 1)


def _taken(values: Tensor, places: Tensor) -> Tensor:
    """Return ``values (B, T, C, P)`` at ``places (B, Q)`` of the last axis, ``(B, T, C, Q)``.

    One gather with an expanded index: it moves only the values, and a device waits for nothing.
    """
    return values.gather(3, places[:, None, None].expand(*values.shape[:3], -1))
