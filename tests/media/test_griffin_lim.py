"""Log-mel levels back to sound: pitch and loudness come back, silence stays silent."""

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from spl.media.griffin_lim import waveform_of, write_wave
from spl.media.log_mel import LogMel

RATE, N, F = 16_000, 1_066, 8


def log_mel() -> LogMel:
    return LogMel(sample_rate_hz=RATE, num_samples=N, num_mels=64, num_frames=F)


def back(sound: np.ndarray) -> np.ndarray:
    """The sound ``(1, S N)`` through log-mel and back."""
    levels = torch.from_numpy(log_mel().whole(sound.astype(np.float32)))  # (1, M, S F)
    found = waveform_of(
        levels.unflatten(2, (-1, F)),
        sample_rate_hz=RATE,
        window_samples=log_mel().window_size,
        step_samples=N,
    )
    return found.numpy()


@pytest.mark.parametrize("pitch", [440.0, 1500.0])
def test_a_tone_comes_back_with_its_pitch_and_loudness(pitch: float):
    time = np.arange(30 * N) / RATE
    found = back(0.3 * np.sin(2 * np.pi * pitch * time)[None])
    assert abs(found.shape[1] - 30 * N) < 0.02 * 30 * N
    middle = found[0, 4 * N : -4 * N]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.fft.rfftfreq(len(middle), 1 / RATE)[spectrum.argmax()] == pytest.approx(pitch, rel=0.05)
    assert np.sqrt(2) * middle.std() == pytest.approx(0.3, rel=0.4)


def test_the_levels_of_what_came_back_are_those_that_were_asked_for():
    generator = np.random.default_rng(0)
    loud = np.repeat(generator.uniform(0.01, 0.3, 30), N)
    sound = (loud * np.sin(np.cumsum(0.05 + 0.2 * loud)))[None]
    found = back(sound)[:, : 29 * N]
    wanted = log_mel().whole(sound[:, : 29 * N].astype(np.float32)).astype(np.float32)
    got = log_mel().whole(found.astype(np.float32)).astype(np.float32)
    is_loud = wanted > 0.5
    assert np.abs(wanted - got)[is_loud].mean() < 0.05  # 5 dB
    assert np.corrcoef(wanted.ravel(), got.ravel())[0, 1] > 0.8


def test_silence_stays_silent_and_the_same_gives_the_same():
    assert not back(np.zeros((1, 9 * N))).any()
    noise = np.random.default_rng(0).normal(size=(1, 9 * N)) * 0.1
    assert np.array_equal(back(noise), back(noise))


def test_a_file_holds_what_was_written(tmp_path: Path):
    write_wave(tmp_path / "a.wav", np.array([[0.0, 1.0, -1.0], [0.5, 0.0, 0.0]], np.float32), 8_000)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8_000, 3)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [0, 16384, 32767, 0, -32767, 0]
