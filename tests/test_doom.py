"""ViZDoom as it comes, and what is cured: no abort, no false last observation, no double end flag."""

import ctypes.util

import numpy as np
import pytest

from spl.envs.adapter import EnvConfig
from spl.envs.catalog import make_env
from spl.envs.doom import NO_SOUND, make_doom

pytest.importorskip("vizdoom")
HAS_OPENAL = ctypes.util.find_library("openal") is not None


def test_a_time_out_is_truncated_alone_and_the_last_picture_is_true():
    env = make_doom("VizdoomBasicAudio-v1")
    observation, _ = env.reset(seed=0)
    steps, is_over = 0, False
    while not is_over:
        before = observation
        observation, _, terminated, truncated, _ = env.step(0)
        steps, is_over = steps + 1, terminated or truncated
    assert (terminated, truncated) == (False, True)
    assert steps == 75  # 300 tics, four a step
    assert np.array_equal(observation["screen"], before["screen"])
    assert observation["screen"].any()
    assert not observation["audio"].any()
    env.close()


def test_the_sound_of_every_tic_arrives_with_both_channels_kept_on_demand():
    for frame_skip, stereo in ((4, True), (2, False)):
        env = make_env(EnvConfig(id="VizdoomBasicAudio-v1", frame_skip=frame_skip, stereo=stereo))
        env.reset(seed=0)
        env.step(0)
        assert env.waveform.shape == (2 if stereo else 1, 1260 * frame_skip)
        assert env.sample_rate_hz == 44_100
        assert env.waveform.any() == HAS_OPENAL
        assert env.describe()["audio"].get("warning") == (None if HAS_OPENAL else NO_SOUND)
        env.close()


def test_without_openal_the_silence_is_reported(monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    env = make_env(EnvConfig(id="VizdoomBasicAudio-v1"))
    assert "libopenal1" in env.describe()["audio"]["warning"]
    env.close()
