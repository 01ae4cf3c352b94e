"""ViZDoom as it comes, and what is fixed: no abort, no false last observation, no double end flag."""

import ctypes.util
from pathlib import Path

import numpy as np
import pytest

from spl.config.errors import UsageError
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


@pytest.mark.parametrize("frame_skip", [None, 2])
def test_a_scenario_of_ours_is_heard_as_long_as_its_step(frame_skip):
    env = make_env(EnvConfig(id="spl/DoomDefendCenter-v0", frame_skip=frame_skip))
    assert env.waveform.shape == (1, 1260 * (frame_skip or 4))
    assert env.action_sizes == (4,)  # one button at a time
    env.reset(seed=0)
    for _ in range(5):
        env.step(1)
    assert env.waveform.any() == HAS_OPENAL
    env.close()


def test_any_scenario_is_played_from_its_file(tmp_path):
    import vizdoom

    file = tmp_path / "mine.cfg"
    text = Path(vizdoom.scenarios_path, "basic.cfg").read_text()
    wad = Path(vizdoom.scenarios_path, "basic.wad")
    file.write_text(text.replace("doom_scenario_path = basic.wad", f"doom_scenario_path = {wad}"))
    for config in (str(file), "basic", "basic.cfg"):
        env = make_env(EnvConfig(id="spl/Doom-v0", kwargs={"config": config}))
        assert env.describe()["audio"]["from"] == [[5040, 2], "int16"]
        env.close()


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({}, "it needs a scenario: give --env.kwargs.config FILE.cfg"),
        ({"config": "nowhere.cfg"}, "there is no file nowhere.cfg, nor a scenario of ViZDoom's of that name"),
        (
            {"config": "basic.cfg", "max_buttons_pressed": -1},
            "ViZDoom cannot use basic.cfg: max_buttons_pressed=-1",
        ),
    ],
)
def test_a_scenario_that_is_none_is_refused_in_a_sentence(kwargs, sentence):
    with pytest.raises(UsageError, match=sentence):
        make_env(EnvConfig(id="spl/Doom-v0", kwargs=kwargs))
