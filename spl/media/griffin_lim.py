"""Log-mel levels back to a waveform and an audio file; nothing here is learned."""

import wave
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.media.log_mel import FLOOR_DB, mel_filterbank

NUM_ITERATIONS = 64  # of Griffin and Lim's


def waveform_of(levels: Tensor, *, sample_rate_hz: int, window_samples: int, step_samples: int) -> Tensor:
    """Return a waveform ``(C, ~S N)`` in ``[-1, 1]`` whose log-mel levels are about ``levels (C, M, S, F)``.

    Power in mel bands becomes power in bins by least squares, cut at 0; phases are found by iteration, and
    begin at 0, so that the same levels give the same sound. Frames are taken to be equally far apart.

    Args:
        levels: ``(C, M, S, F)`` as `LogMel` has them, of ``S`` steps of ``F`` frames.
        sample_rate_hz: of the sound.
        window_samples: of the Fourier transform.
        step_samples: ``N``, of a step.

    Source: Griffin and Lim (1984), Signal estimation from modified short-time Fourier transform; Perraudin et
    al. (2013), A fast Griffin-Lim algorithm.
    """
    from torchaudio.transforms import GriffinLim

    _, M, _, F = levels.shape
    laid = levels.float().cpu().flatten(2)  # (C, M, S F)
    power = torch.where(laid > 0, 10.0 ** ((1.0 - laid) * FLOOR_DB / 10), 0.0)
    filters = torch.from_numpy(mel_filterbank(M, window_samples, sample_rate_hz)).double()  # (bins, M)
    bins = (torch.linalg.pinv(filters.T) @ power.double()).clamp(min=0.0)  # (C, bins, S F)
    window = torch.hann_window(window_samples)
    magnitude = bins.sqrt().float() * window.sum() / 2  # a full-scale sine has power 1 there
    invert = GriffinLim(
        n_fft=window_samples,
        n_iter=NUM_ITERATIONS,
        hop_length=max(1, round(step_samples / F)),
        window_fn=torch.hann_window,
        power=1.0,
        rand_init=False,
    )
    found: Tensor = invert(magnitude)
    return found.clamp(-1.0, 1.0)


def write_wave(path: Path, waveform: Tensor | NDArray[np.float32], sample_rate_hz: int) -> None:
    """Write ``waveform (C, L)`` in ``[-1, 1]`` as 16-bit samples."""
    samples = np.round(np.asarray(waveform) * 32767).astype("<i2")  # (C, L)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.T.tobytes())
