"""Log-mel: against torchaudio, by hand, streaming against whole, and what it must not hear."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from spl.media.log_mel import LogMel, mel_filterbank


def noise(num_channels: int, num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (num_channels, num_samples)).astype(np.float32)


def sine(hz: float, num_samples: int, sample_rate_hz: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(num_samples) / sample_rate_hz)[None].astype(np.float32)


def make(**changes: int) -> LogMel:
    return LogMel(
        **{"sample_rate_hz": 16_000, "num_samples": 1_600, "num_mels": 40, "num_frames": 8} | changes
    )


def play(log_mel: LogMel, waveform: np.ndarray) -> np.ndarray:
    """Return the frames of all steps laid end to end."""
    steps = np.split(waveform, waveform.shape[1] // log_mel.num_samples, axis=1)
    return np.concatenate([log_mel.step(step) for step in steps], axis=2)


@pytest.mark.parametrize(
    ("sample_rate_hz", "num_samples", "num_frames", "num_mels", "window_size"),
    [
        (16_000, 1_600, 8, 40, 512),  # 0.032 s is 512 samples already
        (30_720, 2_048, 8, 32, 1_024),  # 0.032 s is 983 samples
        (16_000, 2_100, 2, 64, 2_048),  # the hop of 1050 is the longer
        (44_100, 1_260, 1, 24, 2_048),
    ],
)
def test_a_whole_hop_equals_torchaudio(sample_rate_hz, num_samples, num_frames, num_mels, window_size):
    log_mel = make(
        sample_rate_hz=sample_rate_hz,
        num_samples=num_samples,
        num_frames=num_frames,
        num_mels=num_mels,
        num_channels=2,
    )
    assert log_mel.window_size == window_size
    hop = num_samples // num_frames
    waveform = noise(2, 5 * num_samples)
    waveform[:, 2 * num_samples :] *= 1e-3  # loud, then hardly to be heard

    def scaled_hann(size: int) -> torch.Tensor:
        window = torch.hann_window(size)
        return 2 * window / window.sum()

    theirs = MelSpectrogram(
        sample_rate=sample_rate_hz,
        n_fft=window_size,
        hop_length=hop,
        f_min=0.0,
        n_mels=num_mels,
        window_fn=scaled_hann,
        power=2.0,
        center=False,
        norm=None,
        mel_scale="htk",
    )
    power = theirs(torch.from_numpy(np.pad(waveform, ((0, 0), (window_size - hop, 0)))))  # (C, M, 5 F)
    expected = 1.0 + power.clamp(min=1e-10).log10().numpy() / 10
    levels = log_mel.whole(waveform)
    assert levels.shape == (2, num_mels, 5 * num_frames)
    assert levels.dtype == np.float16
    assert levels.min() < 0.5 < levels.max()
    np.testing.assert_allclose(levels, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize(("num_samples", "num_frames"), [(1_600, 8), (367, 8), (367, 1), (10, 10), (7, 3)])
def test_streaming_equals_the_whole(num_samples, num_frames, num_channels):
    log_mel = make(num_samples=num_samples, num_frames=num_frames, num_channels=num_channels)
    assert log_mel.shape == (num_channels, 40, num_frames)
    waveform = noise(num_channels, 9 * num_samples)
    whole = log_mel.whole(waveform)  # (C, M, 9 F)
    streamed = play(log_mel, waveform)
    assert streamed.shape == whole.shape
    assert streamed.dtype == whole.dtype == np.float16
    np.testing.assert_array_equal(streamed, whole)
    if num_channels == 2:
        assert (streamed[0] != streamed[1]).any()


def test_a_frame_ends_after_its_share_of_the_samples():
    # N = 7, F = 3: frames end after 7 // 3 = 2, 14 // 3 = 4 and 7 samples of a step. At 100 Hz, 0.032 s are 3
    # samples and the longest hop is 3 as well, so the window is 4 long: 0, 0.5, 1, 0.5; three are heard.
    log_mel = make(sample_rate_hz=100, num_samples=7, num_mels=1, num_frames=3)
    assert log_mel.window_size == 4
    ends = np.array([2, 4, 7, 9, 11, 14, 16, 18, 21])
    for sample in range(21):
        impulse = np.zeros((1, 21), np.float32)
        impulse[0, sample] = 1.0
        heard = log_mel.whole(impulse)[0, 0] > 0  # (9,)
        np.testing.assert_array_equal(heard, (ends - 3 <= sample) & (sample < ends))


def test_no_frame_hears_the_future():
    log_mel = make(num_samples=367)
    before = noise(1, 4 * 367)
    for sample in (0, 500, 1_000, 1_467):
        after = before.copy()
        after[:, sample:] = noise(1, 4 * 367, seed=1)[:, sample:]
        ends = np.array([step * 367 + (k + 1) * 367 // 8 for step in range(4) for k in range(8)])
        changed = (log_mel.whole(before) != log_mel.whole(after)).any(axis=(0, 1))  # (32,)
        assert not changed[ends <= sample].any()
        assert changed[ends > sample + 45].all()  # one frame later at most


# Hand work: 1000 Hz is 2595 log10(1 + 1000 / 700) = 1000.0 mel and 8000 Hz is 2840.0 mel. With M bands the
# centres are 2840.0 / (M + 1) mel apart, and the first band's is one such distance above 0:
# M = 16: 1000 / 167.06 = 5.99, the sixth; M = 40: 1000 / 69.27 = 14.44, the fourteenth.
@pytest.mark.parametrize(("num_mels", "band"), [(16, 5), (40, 13)])
@pytest.mark.parametrize(("amplitude", "level"), [(1.0, 1.0), (0.1, 0.8), (0.001, 0.4)])
def test_a_sine_reaches_its_level_in_its_band(num_mels, band, amplitude, level):
    levels = play(make(num_mels=num_mels), amplitude * sine(1_000, 8_000, 16_000))
    settled = levels[0, :, 4:].astype(np.float64)  # the window of 512 samples is full after three frames
    assert (settled.argmax(axis=0) == band).all()
    assert settled[band] == pytest.approx(level, abs=0.03)
    far = np.abs(np.arange(num_mels) - band) > 5
    assert settled[far].max() < level - 0.3


def test_silence_is_exactly_zero_and_nothing_is_negative():
    log_mel = make(num_channels=2)
    assert (log_mel.step(np.zeros((2, 1_600), np.float32)) == 0).all()
    assert (log_mel.step(1e-6 * noise(2, 1_600)) == 0).all()  # below -100 dB: cut, not negative
    assert (log_mel.step(noise(2, 1_600)) > 0).any()


def test_a_reset_forgets_and_a_whole_does_not_disturb():
    log_mel = make()
    first = log_mel.step(noise(1, 1_600))
    again = log_mel.step(noise(1, 1_600))
    assert (again[:, :, 0] != first[:, :, 0]).any()  # the left context is heard
    log_mel.reset()
    np.testing.assert_array_equal(log_mel.step(noise(1, 1_600)), first)
    log_mel.whole(noise(1, 3_200, seed=1))
    np.testing.assert_array_equal(log_mel.step(noise(1, 1_600)), again)


def test_the_filters_agree_with_hand_work():
    # Two bands up to 700 Hz: 2595 log10(2) = 781.2 mel, so the corners lie at 700 (2^(k/3) - 1) Hz:
    # 0, 181.95, 411.18 and 700. Bins every 350 Hz: 0, 350, 700.
    filters = mel_filterbank(2, 4, 1_400)
    falling = (411.18 - 350) / (411.18 - 181.95)
    rising = (350 - 181.95) / (411.18 - 181.95)
    np.testing.assert_allclose(filters, [[0, 0], [falling, rising], [0, 0]], atol=1e-4)
    filters = mel_filterbank(40, 2_048, 16_000)
    assert filters.shape == (1_025, 40)
    assert filters.min() == 0
    assert (np.diff(filters.argmax(axis=0)) > 0).all()
    assert filters.max() <= 1


@pytest.mark.parametrize("num_frames", [0, -1, 1_601])
def test_a_frame_needs_a_sample_of_its_own(num_frames):
    with pytest.raises(ValueError, match=rf"audio_frames must be in 1\.\.1600 .* got {num_frames}"):
        make(num_frames=num_frames)


def test_a_whole_waveform_holds_whole_steps():
    with pytest.raises(ValueError, match="whole steps of 1600 samples, got 1601"):
        make().whole(noise(1, 1_601))


def test_a_longer_step_is_refused():
    with pytest.raises(ValueError, match="at most 1600 samples, got 1601"):
        make().step(noise(1, 1_601))


def test_shorter_steps_stream_without_a_gap():
    log_mel, waveform = make(num_samples=1_067, num_frames=3), noise(1, 3_000)
    bounds = np.array([0, 1_067, 1_667, 1_667, 1_933, 3_000])  # one of them without any sample
    streamed = [log_mel.step(waveform[:, start:end]) for start, end in pairwise(bounds)]
    heard = np.pad(waveform, ((0, 0), (log_mel.window_size, 0)))
    np.testing.assert_array_equal(np.concatenate(streamed, axis=2), log_mel.of_steps(heard, bounds))


def test_steps_of_unequal_lengths_end_where_they_end():
    log_mel = make(num_samples=1_067, num_frames=3)
    waveform = noise(1, 3_200)
    heard = np.pad(waveform, ((0, 0), (log_mel.window_size, 0)))
    levels = log_mel.of_steps(heard, np.array([0, 1_066, 2_133, 3_200]))
    assert levels.shape == (1, log_mel.shape[1], 9)
    for frame, end in enumerate((355, 710, 1_066, 1_421, 1_777, 2_133, 2_488, 2_844, 3_200)):
        alone = np.pad(waveform[:, :end], ((0, 0), (log_mel.window_size, 0)))[:, -log_mel.window_size :]
        expected = log_mel.of_steps(alone, np.array([0, 0]))[:, :, :1]
        np.testing.assert_array_equal(levels[:, :, frame : frame + 1], expected)
    equal = log_mel.of_steps(heard[:, : log_mel.window_size + 2_134], np.array([0, 1_067, 2_134]))
    np.testing.assert_array_equal(equal, log_mel.whole(waveform[:, :2_134]))
