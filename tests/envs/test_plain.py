"""A plain Gymnasium environment of what the adapter sees and hears, as other libraries train on it."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import spl
from spl.config.errors import UsageError
from spl.envs.registry import make_env as make_adapted


class Arm(gymnasium.Env):
    """A silent camera over an arm that is moved by any real number."""

    observation_space = spaces.Box(0, 255, (20, 30, 3), np.uint8)
    action_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    moved: list = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full((20, 30, 3), 7, np.uint8), {}

    def step(self, action):
        self.moved.append(np.array(action))
        return np.full((20, 30, 3), 9, np.uint8), 0.5, False, False, {}


@pytest.mark.parametrize("options", [{}, {"audio_features": "waveform", "frame_skip": 2, "grey": False}])
def test_gymnasium_finds_nothing_wrong_and_it_is_what_the_agent_gets(options):
    env = spl.make_env("spl/Greeting-v0", video_size=(40, 40), **options)
    check_env(env, skip_render_check=True)
    adapted = make_adapted(spl.EnvConfig(id="spl/Greeting-v0", video_size=(40, 40), **options))
    (plain, _), (seen, _) = env.reset(seed=5), adapted.reset(seed=5)
    for action in (1, 0, 1):
        np.testing.assert_array_equal(plain["image"], seen.video)
        np.testing.assert_array_equal(plain["sound"], seen.audio.astype(np.float32))
        plain, reward, *_ = env.step(action)
        seen, known, *_ = adapted.step(action)
        assert reward == known
    assert env.observation_space["sound"].dtype == np.float32
    assert env.describe()["frame_skip"] == options.get("frame_skip", 1)
    env.close()


def test_an_environment_keeps_its_own_actions_and_lacks_what_it_lacks():
    env = spl.make_env(Arm(), video_size=(10, 10), frame_skip=3)
    assert list(env.observation_space) == ["image"]
    assert env.action_space == Arm.action_space
    observation, _ = env.reset(seed=0)
    assert observation["image"].tolist() == np.full((1, 10, 10), 7).tolist()
    Arm.moved.clear()
    observation, reward, *_ = env.step(np.array([1e9, -0.25]))
    assert [one.tolist() for one in Arm.moved] == [[1e9, -0.25]] * 3
    assert reward == 1.5


def test_what_cannot_be_made_is_refused():
    with pytest.raises(UsageError, match="there is no environment spl/Bacon-v0"):
        spl.make_env("spl/Bacon-v0")
    with pytest.raises(TypeError, match="vidoe_size"):
        spl.make_env("spl/Beacon-v0", vidoe_size=(8, 8))
    with pytest.raises(UsageError, match="FrozenLake-v1: no picture, sound or vector"):
        spl.make_env("FrozenLake-v1")


class Unbounded(gymnasium.Env):
    """A picture of 0 to 255 in a space without bounds."""

    observation_space = spaces.Dict(img=spaces.Box(-np.inf, np.inf, (16, 16), np.float32))
    action_space = spaces.Discrete(2)
    closed = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"img": self.np_random.uniform(0, 255, (16, 16)).astype(np.float32)}, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}

    def close(self):
        Unbounded.closed += 1


def test_a_range_that_nobody_tells_is_measured_or_asked_for():
    measured = spl.make_env(f"{__name__}:Unbounded", video_size=(16, 16))
    assert len(np.unique(measured.reset(seed=0)[0]["image"])) > 100, "and not black and white"
    measured.close()
    with pytest.raises(UsageError, match=r"Unbounded: its space has no bounds: give video_range=\(lowest"):
        spl.make_env(Unbounded())
    told = spl.make_env(Unbounded(), video_size=(16, 16), video_range=[0, 255])
    assert len(np.unique(told.reset(seed=0)[0]["image"])) > 100


def test_what_is_no_environment_and_what_is_of_its_making_are_refused():
    with pytest.raises(UsageError, match=r"wants an id, an EnvConfig or a gymnasium.Env, got <class"):
        spl.make_env(Unbounded)
    with pytest.raises(UsageError, match="kwargs is of an environment that is yet to be made"):
        spl.make_env(Unbounded(), kwargs={"x": 1}, video_range=(0, 255))


def test_an_environment_that_does_not_serve_is_closed_if_it_was_made_here(monkeypatch):
    monkeypatch.setattr(Unbounded, "observation_space", spaces.Discrete(3))
    monkeypatch.setattr(Unbounded, "closed", 0)
    with pytest.raises(UsageError, match="no picture"):
        spl.make_env(f"{__name__}:Unbounded")
    assert Unbounded.closed > 0
    monkeypatch.setattr(Unbounded, "closed", 0)
    with pytest.raises(UsageError, match="no picture"):
        spl.make_env(Unbounded())
    assert Unbounded.closed == 0, "it is the user's"
