"""Waveform to log-mel, one agent step at a time, with the window's left context carried over.

Pure numpy, so that environments need no torch; equal to torchaudio's ``MelSpectrogram`` for a whole hop.
"""

import numpy as np
from numpy.typing import NDArray

FLOOR_DB = -100.0  # what counts as silence; maps to 0


def mel_filterbank(num_mels: int, window_size: int, sample_rate_hz: int) -> NDArray[np.float32]:
    """Return triangular filters ``(window_size // 2 + 1, M)`` spaced evenly on the HTK mel scale.

    ``mel = 2595 log10(1 + f / 700)``, from 0 Hz to half the rate, peak 1, not normalised by width.

    Source: Young et al. (2006), The HTK Book, equation 5.13; torchaudio's ``melscale_fbanks`` defaults.
    """
    highest = 2595.0 * np.log10(1.0 + sample_rate_hz / 2 / 700.0)
    corners = 700.0 * (10.0 ** (np.linspace(0.0, highest, num_mels + 2) / 2595.0) - 1.0)  # (M + 2,) Hz
    bins = np.linspace(0.0, sample_rate_hz // 2, window_size // 2 + 1)[:, None]  # (bins, 1) Hz
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


class LogMel:
    """Turns each step's samples into ``F`` frames of ``M`` log-mel levels, streaming.

    Frame ``k`` of a step is the window that *ends* after ``(k + 1) N // F`` of the step's ``N`` samples, so
    nothing is heard before it sounded, and the frames of all steps laid end to end are those of the whole
    waveform. A step may have fewer samples: its frames lie closer, and none is lost. A level is
    ``1 + 10 log10(power) / 100``, cut at 0: 0 is silence (-100 dB), 1 a full-scale sine.

    Args:
        sample_rate_hz: of the waveform.
        num_samples: ``N``, samples per step and channel, at the most.
        num_mels: ``M``.
        num_frames: ``F``, at most ``N``.
        num_channels: ``C``, 1 or 2.
    """

    def __init__(
        self, *, sample_rate_hz: int, num_samples: int, num_mels: int, num_frames: int, num_channels: int = 1
    ) -> None:
        if not 1 <= num_frames <= num_samples:
            raise ValueError(
                f"audio_frames must be in 1..{num_samples} (the samples of one step), got {num_frames}"
            )
        self.num_samples = num_samples
        self.shape = (num_channels, num_mels, num_frames)
        longest_hop = -(-num_samples // num_frames)
        span = max(longest_hop, round(0.032 * sample_rate_hz))
        self.window_size = 1 << (span - 1).bit_length()  # at least 32 ms, and no gap between windows
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window_size) / self.window_size)  # Hann
        self._window = (window * 2 / window.sum()).astype(np.float32)  # a full-scale sine peaks at power 1
        self._filters = mel_filterbank(num_mels, self.window_size, sample_rate_hz)  # (bins, M)
        self._index = self._windows_of(num_samples)  # of a whole step
        self._context = np.zeros((num_channels, self.window_size), np.float32)

    def _windows_of(self, num_samples: int) -> NDArray[np.int64]:
        """Return where in context and step the windows lie of one of so many samples, ``(F, window)``."""
        ends = np.arange(1, self.shape[2] + 1) * num_samples // self.shape[2]
        return ends[:, None] + np.arange(self.window_size)

    @property
    def parts(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """The window ``(W,)``, where those of a whole step lie ``(F, W)``, and the filters ``(bins, M)``."""
        return self._window, self._index, self._filters

    def reset(self) -> None:
        """Forget the left context: an episode begins after silence."""
        self._context[:] = 0.0

    def step(self, waveform: NDArray[np.float32]) -> NDArray[np.float16]:
        """Return the levels ``(C, M, F)`` of the newest ``(C, at most N)`` samples in ``[-1, 1]``."""
        num_samples = waveform.shape[1]
        if num_samples > self.num_samples:
            raise ValueError(f"a step has at most {self.num_samples} samples, got {num_samples}")
        index = self._index if num_samples == self.num_samples else self._windows_of(num_samples)
        heard = np.concatenate([self._context, waveform], axis=1)
        self._context = heard[:, num_samples:]
        return self._levels(heard[:, index])  # windows (C, F, window)

    def whole(self, waveform: NDArray[np.float32]) -> NDArray[np.float16]:
        """Return the levels ``(C, M, S F)`` of a whole episode ``(C, S N)``, without touching the stream."""
        num_steps, rest = divmod(waveform.shape[1], self.num_samples)
        if rest:
            raise ValueError(
                f"waveform must hold whole steps of {self.num_samples} samples, got {waveform.shape[1]}"
            )
        padded = np.pad(waveform, ((0, 0), (self.window_size, 0)))
        return self.of_steps(padded, np.arange(num_steps + 1) * self.num_samples)

    def of_steps(self, heard: NDArray[np.float32], bounds: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return the levels ``(C, M, S F)`` of steps of unequal lengths, without touching the stream.

        Args:
            heard: ``(C, W + L)``, the window's left context of ``W`` samples and then the steps.
            bounds: ``(S + 1,)`` rising positions in ``0..L``: step ``s`` is ``bounds[s] .. bounds[s + 1]``.
        """
        lengths = np.diff(bounds)[:, None]  # (S, 1)
        num_frames = self.shape[2]
        ends = bounds[:-1, None] + np.arange(1, num_frames + 1) * lengths // num_frames  # (S, F)
        index = ends.reshape(-1, 1) + np.arange(self.window_size)  # (S F, window)
        return self._levels(heard[:, index])

    def _levels(self, windows: NDArray[np.float32]) -> NDArray[np.float16]:
        spectrum = np.fft.rfft(windows * self._window)  # (C, F, bins)
        power = (spectrum.real**2 + spectrum.imag**2) @ self._filters  # (C, F, M)
        level = 1.0 - 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10))) / FLOOR_DB
        level = np.maximum(0.0, level)  # the floor's own level is rounded, silence must be 0
        levels: NDArray[np.float16] = level.swapaxes(1, 2).astype(np.float16)  # (C, M, F)
        return levels
