"""ALE games: no picture and no sound of the plain environment is lost, and a game begins in silence."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from spl.envs.adapter import AudioVisualEnv
from spl.envs.atari import PressFire, make_atari
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.records import StreamSpec

ale_py = pytest.importorskip("ale_py")

PONG = "ALE/Pong-v5"
SIZE = (210, 160)  # the picture as ALE draws it
NUM_STEPS = 60  # of four frames


def actions(num_actions: int, seed: int = 1) -> list[int]:
    return np.random.default_rng(seed).integers(num_actions, size=NUM_STEPS).tolist()


def plain_frames(env_id: str, seed: int, **kwargs) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Return pictures, sounds and rewards of 240 frames of the game as ALE plays it, four to an action."""
    gymnasium.register_envs(ale_py)
    env = gymnasium.make(env_id, frameskip=1, sound_obs=True, obs_type="grayscale", **kwargs)
    env.reset(seed=seed)
    frames = [env.step(action)[:2] for action in actions(env.action_space.n) for _ in range(4)]
    env.close()
    images, sounds = ([frame[key] for frame, _ in frames] for key in ("image", "sound"))
    return images, sounds, [float(reward) for _, reward in frames]


def play(env: AudioVisualEnv, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Return pictures, waveforms and rewards of the same number of frames, four to a step."""
    env.reset(seed=seed)
    pictures, waveforms, rewards = [], [], []
    for action in actions(env.action_sizes[0]):
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (terminated, truncated) == (False, False)
        pictures.append(observation.video[0])
        waveforms.append(env.waveform)
        rewards.append(reward)
    return pictures, waveforms, rewards


@pytest.mark.parametrize(("env_id", "seed"), [(PONG, 3), ("ALE/SpaceInvaders-v5", 4)])
@pytest.mark.parametrize("max_pool", [True, False])
def test_every_frame_and_sample_of_the_plain_game_is_kept(env_id, seed, max_pool):
    images, sounds, rewards = plain_frames(env_id, seed)
    env = make_env(EnvConfig(id=env_id, video_size=SIZE, max_pool=max_pool))
    pictures, waveforms, summed = play(env, seed)
    waveform = np.concatenate(waveforms, axis=1)
    assert waveform.shape == (1, 122_880)  # 240 frames of 512 samples
    emitted = np.concatenate(sounds)
    assert len(np.unique(emitted)) > 1  # something is to be heard
    np.testing.assert_array_equal(waveform[0] * 128, emitted.astype(np.float32) - 128)
    for step, picture in enumerate(pictures):
        last_two = images[4 * step + 2 : 4 * step + 4]
        np.testing.assert_array_equal(picture, np.max(last_two, axis=0) if max_pool else last_two[1])
    assert summed == np.reshape(rewards, (NUM_STEPS, 4)).sum(axis=1).tolist()
    env.close()


def test_actions_stick_as_the_game_says():
    """The frames above agree because the stickiness and its draws do, not because there is none."""
    sticky, _, _ = plain_frames(PONG, 3)
    free, _, _ = plain_frames(PONG, 3, repeat_action_probability=0.0)
    assert any((a != b).any() for a, b in zip(sticky, free, strict=True))
    env = make_env(
        EnvConfig(id=PONG, video_size=SIZE, max_pool=False, kwargs={"repeat_action_probability": 0.0})
    )
    pictures, _, _ = play(env, 3)
    assert all((a == b).all() for a, b in zip(pictures, free[3::4], strict=True))
    env.close()


def test_a_game_begins_in_silence_however_the_last_one_ended():
    env = make_env(EnvConfig(id=PONG, frame_skip=1))
    for seed in (0, None, 5):
        observation, _ = env.reset(seed=seed)
        assert (observation.audio == 0).all()
        assert (env.waveform == 0).all()
        for _ in range(2_000):  # until the game is cut short in the middle of a sound
            observation, *_ = env.step(0)
            if (env.waveform != 0).any():
                break
        assert (env.waveform != 0).any()
        assert (observation.audio > 0).any()
    env.close()


def test_a_waveform_is_the_games_own_last_chunk():
    _, sounds, _ = plain_frames("ALE/SpaceInvaders-v5", 4)
    env = make_env(EnvConfig(id="ALE/SpaceInvaders-v5", audio_features="waveform"))
    assert env.spec_of_streams == StreamSpec((1, 84, 84), (1, 1, 512), "int8")
    observation, _ = env.reset(seed=4)
    assert (observation.audio == 0).all()
    heard = [env.step(action)[0] for action in actions(env.action_sizes[0])]
    assert any(observation.audio.any() for observation in heard)
    for observation, chunk in zip(heard, sounds[3::4], strict=True):
        assert observation.audio.dtype == np.int8
        np.testing.assert_array_equal(observation.audio[0, 0], chunk.astype(np.int16) - 128)
    env.close()


def test_the_raw_game_rests_at_128():
    env = make_atari(PONG)
    for _ in range(2):
        observation, _ = env.reset(seed=0)
        assert observation["sound"].dtype == np.uint8
        assert observation["sound"].shape == (512,)
        assert (observation["sound"] == 128).all()
    assert env.get_wrapper_attr("sound_rest_level") == 128
    assert env.get_wrapper_attr("sample_rate_hz") == 30_720
    assert (env.step(0)[0]["sound"] == 128).all()  # Pong says nothing at first
    env.close()


def test_the_adapted_game_has_the_usual_skip_and_shapes():
    env = make_env(EnvConfig(id=PONG))
    assert env.frame_skip == 4
    assert env.config.max_pool is True
    assert env.spec_of_streams == StreamSpec(video=(1, 84, 84), audio=(1, 64, 8))
    assert env.sample_rate_hz == 30_720
    assert env.describe()["audio"]["rest_level"] == 128
    assert env.describe()["audio"]["samples_per_step"] == 2_048
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    env.close()
    env = make_env(EnvConfig(id=PONG, frame_skip=2, max_pool=False))
    assert env.frame_skip == 2
    assert env.config.max_pool is False
    env.close()


def test_a_frame_skip_of_ales_own_is_refused():
    with pytest.raises(ValueError, match=r"frameskip loses three quarters .* --env\.frame_skip"):
        make_atari(PONG, frameskip=4)


class Counted(gymnasium.Env):
    """A game whose lives are as given, frame by frame; it keeps what was pressed."""

    def __init__(self, lives):
        self.lives, self.pressed = lives, []

    def get_action_meanings(self):
        return ["NOOP", "LEFT", "FIRE"]

    def _told(self):
        return {"lives": self.lives[min(len(self.pressed), len(self.lives) - 1)]}

    def reset(self, *, seed=None, options=None):
        self.pressed = []
        return 0, self._told()

    def step(self, action):
        self.pressed.append(action)
        return 0, 0.0, False, False, self._told()


def test_fire_is_pressed_for_four_frames_of_each_life_by_hand():
    game = Counted([2] * 8 + [1] * 9)  # the eighth frame costs a life
    env = PressFire(game)
    for _ in range(2):
        env.reset()
        for _ in range(14):
            env.step(1)
        assert game.pressed == [2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("presses", [False, True])
def test_a_game_that_waits_for_fire_is_played_and_heard_whole(presses):
    env = make_env(EnvConfig(id="ALE/Breakout-v5", kwargs={"press_fire": presses}))
    lives, waveforms = [env.reset(seed=3)[1]["lives"]], []
    for _ in range(100):
        lives.append(env.step(0)[-1]["lives"])
        waveforms.append(env.waveform)
    env.close()
    assert lives[0] == 5
    assert (lives[-1] < 5) == presses, "a ball that nobody meets is lost, one that nobody serves is not"
    assert np.concatenate(waveforms, axis=1).shape == (1, 400 * 512)


def test_a_game_without_fire_and_words_are_refused():
    with pytest.raises(
        ValueError, match=r"press_fire needs an action FIRE, got NOOP, UP, DOWN: leave it out"
    ):
        make_atari("ALE/Freeway-v5", press_fire=True)
    with pytest.raises(ValueError, match=r"press_fire must be true or false, got 'maybe'"):
        make_atari(PONG, press_fire="maybe")


def test_colour_and_deafness_are_handed_on():
    env = make_env(EnvConfig(id=PONG, kwargs={"obs_type": "rgb"}, grey=False))
    assert env.spec_of_streams.video == (3, 84, 84)
    assert env.describe()["video"]["from"] == [[210, 160, 3], "uint8"]
    env.close()
    env = make_env(EnvConfig(id=PONG, kwargs={"sound_obs": False}))
    assert env.spec_of_streams == StreamSpec(video=(1, 84, 84), audio=(0, 0, 0))
    assert env.reset(seed=0)[0].present.tolist() == [True, False]
    env.close()


def test_the_banner_is_shown_once_and_not_by_each_worker():
    code = (
        "from spl.envs.config import EnvConfig\n"
        "from spl.envs.vector import VectorisedEnv\n"
        "if __name__ == '__main__':\n"
        f"    config = EnvConfig(id='{PONG}')\n"
        "    envs = VectorisedEnv(config, num_envs=2, seed=0, is_apart=True, timeout_s=None)\n"
        "    envs.start()\n"
        "    envs.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout + done.stderr).count("Arcade Learning Environment") == 1
