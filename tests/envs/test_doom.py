"""ViZDoom as it comes, and what is fixed: no abort, no false last observation, no double end flag."""

import ctypes.util

import numpy as np
import pytest

from spl.envs.config import EnvConfig
from spl.envs.doom import ENGINE_STEPS, NO_SOUND, make_doom
from spl.envs.registry import make_env
from spl.envs.resumable import SEED_EVERY_STEPS

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


def test_an_engine_that_has_played_long_gives_the_same_to_the_bit_with_its_next_seed():
    played, fresh = make_doom("VizdoomBasicAudio-v1"), make_doom("VizdoomBasicAudio-v1")
    played.reset(seed=1)
    for _ in range(ENGINE_STEPS):
        _, _, terminated, truncated, _ = played.step(0)
        if terminated or truncated:
            played.reset()
    pair = [env.reset(seed=7)[0] for env in (played, fresh)]
    for step in range(30):
        assert np.array_equal(pair[0]["audio"], pair[1]["audio"])
        assert np.array_equal(pair[0]["screen"], pair[1]["screen"])
        taken = [env.step(step % 3) for env in (played, fresh)]
        has_ended = taken[0][2] or taken[0][3]
        pair = [env.reset()[0] for env in (played, fresh)] if has_ended else [one[0] for one in taken]
    played.close()
    fresh.close()


def test_each_seed_of_a_run_finds_a_new_engine():
    assert ENGINE_STEPS <= SEED_EVERY_STEPS
