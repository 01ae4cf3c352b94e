"""Chunks of sound whose length changes: not a sample is lost, doubled or put elsewhere."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from spl.envs.adapter import AudioVisualEnv
from spl.envs.check.config import CheckEnvConfig
from spl.envs.check.examine import examine
from spl.envs.config import EnvConfig
from spl.envs.filmed import Camera
from spl.envs.range_probe import measure
from spl.media.log_mel import LogMel

MOST, RATE_HZ = 80, 8_000
LENGTHS = (70, 80, 79, 0, 80, 1, 33)  # of the reset's chunk and of six steps
SMALL = {"sample_rate_hz": RATE_HZ, "num_mels": 8, "audio_frames": 4}


class Ragged(gymnasium.Env):
    """Makes chunks of these lengths, as shorter arrays or, padded with noise, with their number in the info.

    A third way to have them is wrong: ``num_told`` samples, whatever there are.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, is_padded: bool = False, num_channels: int = 1, num_told: object = None) -> None:
        self.is_padded, self.num_told = is_padded, num_told
        self.channels = () if num_channels == 1 else (num_channels,)
        sound = spaces.Box(-32_768, 32_767, (MOST, *self.channels), np.int16)
        self.observation_space = spaces.Dict(audio=sound)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.made, self.frame = [], -1
        return self._observe()

    def step(self, action):
        observation, info = self._observe()
        return observation, 1.0, self.frame == len(LENGTHS) - 1, False, info

    def _observe(self):
        self.frame += 1
        noise = self.np_random.integers(-9_000, 9_000, (MOST, *self.channels), np.int16)
        self.made.append(noise[: LENGTHS[self.frame]].reshape(-1, *(self.channels or (1,))))
        if self.is_padded or self.num_told is not None:
            number = LENGTHS[self.frame] if self.num_told is None else self.num_told
            return {"audio": noise}, {"audio_samples": number}
        return {"audio": noise[: LENGTHS[self.frame]]}, {}

    def all(self) -> np.ndarray:
        """All samples of the episode as a waveform (C, N)."""
        return np.concatenate(self.made).T / np.float32(32_768)


def play(env: AudioVisualEnv) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return what is observed of the sound and the waveform, of each step of an episode."""
    observed, waveforms, is_over = [env.reset(seed=0)[0].audio], [env.waveform], False
    while not is_over:
        observation, _, is_over, _, _ = env.step(0)
        observed.append(observation.audio)
        waveforms.append(env.waveform)
    return observed, waveforms


@pytest.mark.parametrize("frame_skip", [1, 2, 4])
@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("is_padded", [False, True])
def test_the_samples_of_an_episode_are_those_that_were_made(is_padded, num_channels, frame_skip):
    raw = Ragged(is_padded, num_channels)
    env = AudioVisualEnv(raw, EnvConfig(frame_skip=frame_skip, stereo=num_channels == 2, **SMALL))
    observed, waveforms = play(env)
    silence = frame_skip * MOST - LENGTHS[0]  # before the reset's chunk
    heard = np.concatenate(waveforms, axis=1)
    assert not heard[:, :silence].any()
    np.testing.assert_array_equal(heard[:, silence:], raw.all())
    assert {one.shape for one in observed} == {(num_channels, 8, 4)}
    log_mel = LogMel(
        sample_rate_hz=RATE_HZ,
        num_samples=frame_skip * MOST,
        num_mels=8,
        num_frames=4,
        num_channels=num_channels,
    )
    bounds = np.cumsum([0, *(one.shape[1] for one in waveforms)])
    whole = log_mel.of_steps(np.pad(heard, ((0, 0), (log_mel.window_size, 0))), bounds)
    np.testing.assert_array_equal(np.concatenate(observed, axis=2), whole)


@pytest.mark.parametrize("frame_skip", [1, 2])
def test_an_observed_waveform_is_the_newest_samples(frame_skip):
    raw = Ragged()
    env = AudioVisualEnv(raw, EnvConfig(frame_skip=frame_skip, audio_features="waveform", **SMALL))
    observed, _ = play(env)
    padded = np.pad(raw.all(), ((0, 0), (MOST, 0)))
    ends = np.cumsum(LENGTHS)[::frame_skip]
    for one, end in zip(observed, ends, strict=True):
        np.testing.assert_array_equal(one[:, 0], padded[:, end : end + MOST].astype(np.float16))


def test_a_camera_keeps_every_sample():
    raw = Ragged(num_channels=2)
    camera = Camera(raw, EnvConfig(**SMALL))
    camera.reset(seed=0)
    for _ in LENGTHS[1:]:
        camera.step(0)
    moments = camera.take()
    assert [len(one.sound) for one in moments] == list(LENGTHS)
    np.testing.assert_array_equal(np.concatenate([one.sound for one in moments]).T, raw.all())


@pytest.mark.parametrize("number", [MOST + 1, -1, 3.5, "all"])
def test_a_number_of_samples_that_cannot_be_is_refused(number):
    env = AudioVisualEnv(Ragged(num_told=number), EnvConfig(**SMALL))
    with pytest.raises(ValueError, match=rf"info\['audio_samples'\] must be .* in 0\.\.80, got {number!r}"):
        env.reset()


def test_a_chunk_longer_than_the_space_says_is_refused():
    raw = Ragged()
    env = AudioVisualEnv(raw, EnvConfig(**SMALL))
    raw._observe = lambda: ({"audio": np.zeros(MOST + 1, np.int16)}, {})
    raw.made, raw.frame = [], 0
    with pytest.raises(
        ValueError, match=r"the audio must be int16 of shape \(80,\) .*, got int16 of shape \(81,\)"
    ):
        env.reset()


@pytest.mark.parametrize("is_padded", [False, True])
def test_the_checker_tells_the_lengths_and_finds_no_fault(is_padded):
    options = EnvConfig(id=f"{__name__}:Ragged", kwargs={"is_padded": is_padded}, **SMALL)
    found = {one.name: one for one in examine(CheckEnvConfig(env=options, num_steps=20))}
    assert found["chunks"].what == "0 to 80 samples a step, its space says at most 80: none is lost"
    assert not [one for one in found.values() if one.verdict == "fault"]


def test_ranges_are_measured_on_shorter_chunks_too():
    raw = Ragged()
    raw.observation_space = spaces.Dict(audio=spaces.Box(-np.inf, np.inf, (MOST,), np.float32))
    raw_observe = raw._observe
    raw._observe = lambda: ({"audio": raw_observe()[0]["audio"].astype(np.float32)}, {})
    found, _ = measure(raw, EnvConfig(**SMALL))
    assert found == {"audio_range": (-32_768.0, 32_768.0)}
