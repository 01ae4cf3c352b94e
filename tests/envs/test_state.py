"""The state of an observation: which vectors it is, how they are read, and what is refused."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from brought_worlds import Robot
from gymnasium import spaces

from spl.envs.adapter import AudioVisualEnv
from spl.envs.check.config import CheckEnvConfig
from spl.envs.check.examine import examine
from spl.envs.chosen_streams import describe_streams
from spl.envs.config import EnvConfig
from spl.envs.given import Cutter
from spl.envs.resumable import digest_of
from spl.envs.vector import VectorisedEnv
from spl.records import Observation


def adapted(**options: Any) -> AudioVisualEnv:
    return AudioVisualEnv(Robot(), EnvConfig(video_size=(8, 8), **options))


def test_every_vector_that_is_no_stream_is_the_state_of_the_newest_frame() -> None:
    env = adapted(frame_skip=2)
    assert env.spec_of_streams.state == 11
    assert env.describe()["state"] == {
        "keys": ["body.joints", "body.speed", "goal"],
        "sizes": [7, 2, 2],
        "to": [11],
    }
    told = "video 'camera' 12 x 12 x 3 -> 1 x 8 x 8, state 'body.joints' (7) + 'body.speed' (2) + 'goal' (2)"
    assert describe_streams(env.spec_of_streams, env.describe()) == told
    assert {one.key for one in env.streams.left_out} == {"body.mode", "matrix"}
    observation, _ = env.reset(seed=0)
    assert observation.state.tolist() == [0, 1, 2, 3, 4, 5, 6, 0.5, 0.5, 1, 0]
    assert observation.state.dtype == np.float32
    assert observation.without(0, 1).state is observation.state
    observation, *_ = env.step(0)
    assert observation.state[:7].tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert env.observation_space.contains(tuple(observation))


def test_keys_choose_and_order_the_vectors_and_none_leaves_them_out() -> None:
    chosen = adapted(state_keys=("goal", "body.speed"))
    assert chosen.reset()[0].state.tolist() == [1, 0, 0.5, 0.5]
    assert "body.joints" in {one.key for one in chosen.streams.left_out}
    nothing = adapted(state_keys="none")
    assert nothing.reset()[0].state.shape == (0,)
    assert "state" not in nothing.describe()


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            ("joints",),
            "state_keys=joints is not in the observation; its vectors: body.joints, body.speed, goal",
        ),
        (("matrix",), r"state_keys=matrix is Box \(3, 3\) float32, and a state is a Box of one axis"),
        (("body.mode",), r"state_keys=body.mode is Discrete .*, and a state is"),
        (("camera",), r"state_keys=camera is Box \(12, 12, 3\) uint8, and a state is"),
    ],
)
def test_a_key_that_is_unknown_or_no_vector_is_refused(keys: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        adapted(state_keys=keys)


def test_a_stream_is_no_state_and_a_list_must_name_something_once() -> None:
    env = gymnasium.Env()
    sound = spaces.Box(-1, 1, (400,))
    env.observation_space, env.action_space = spaces.Dict(audio=sound), spaces.Discrete(2)
    with pytest.raises(ValueError, match="state_keys=audio is the audio already"):
        AudioVisualEnv(env, EnvConfig(state_keys=("audio",), sample_rate_hz=8000))
    for keys in ((), ("a", "a")):
        with pytest.raises(ValueError, match="state_keys must name vectors, each once, or be none"):
            EnvConfig(state_keys=keys)
    with pytest.raises(ValueError, match=r"the observation is not a Dict .* no key 'x'"):
        AudioVisualEnv(gymnasium.make("CartPole-v1"), EnvConfig(state_keys=("x",)))


def test_a_bare_vector_is_a_state_alone() -> None:
    env = AudioVisualEnv(gymnasium.make("CartPole-v1"), EnvConfig(id="CartPole-v1"))
    observation, _ = env.reset(seed=0)
    assert observation.state.shape == (4,)
    assert not observation.present.any()
    assert describe_streams(env.spec_of_streams, env.describe()) == "state observation (4)"


def test_a_state_that_is_not_finite_is_a_fault_that_names_environment_and_key() -> None:
    env = AudioVisualEnv(Robot(breaks_at=1), EnvConfig(id="a:Robot"))
    env.reset()
    with pytest.raises(ValueError, match=r"the state 'body\.joints' must be finite in float32, got nan"):
        env.step(0)
    config = EnvConfig(id="brought_worlds:Robot", kwargs={"breaks_at": 1})
    envs = VectorisedEnv(config, num_envs=1, seed=0, is_apart=False, timeout_s=None)
    envs.start()
    (fault,) = envs.step([0]).faults
    assert "environment 0, 0 steps after" in str(fault)
    assert "the state 'body.joints' must be finite" in str(fault)


@pytest.mark.parametrize("broken", [1e300, -np.inf], ids=str)
def test_beyond_float32_is_not_finite(broken: float) -> None:
    cutter = Cutter(adapted())
    raw = Robot().seen()
    raw["body"]["joints"][0] = broken
    with pytest.raises(ValueError, match=r"must be finite in float32, got .* at place 0"):
        cutter.first((raw, {}))
    del raw["body"]["joints"]
    with pytest.raises(ValueError, match=r"the state .* is missing in an observation"):
        cutter.first((raw, {}))
    raw["body"]["joints"] = np.zeros(6)
    with pytest.raises(ValueError, match=r"must be numbers of shape \(7,\), got float64 of shape \(6,\)"):
        cutter.first((raw, {}))


@pytest.mark.parametrize("is_apart", [False, True])
def test_environments_together_keep_their_own_states(is_apart: bool) -> None:
    envs = VectorisedEnv(EnvConfig(id="CartPole-v1"), num_envs=2, seed=0, is_apart=is_apart, timeout_s=None)
    try:
        begun = envs.start().begun
        assert not np.array_equal(begun[0].state, begun[1].state)
        ended = None
        while ended is None:
            arrival = envs.step([1, 1])
            ended = next((env for env in range(2) if arrival.terminated[env]), None)
        reached = arrival.reached[ended]
        assert reached is not None
        assert abs(reached.state[2]) > 0.2  # radians: where it fell, not where the next episode begins
        assert abs(envs.newest[ended].state[2]) < 0.06
    finally:
        envs.close()


def test_the_digest_of_a_place_knows_the_state() -> None:
    blank = np.zeros((0, 0, 0)), np.zeros((0, 0, 0)), np.zeros(2, np.bool_)
    one, two = (Observation(*blank, np.full(2, value, np.float32)) for value in (1, 2))  # type: ignore[arg-type]
    assert digest_of(one) != digest_of(two)


def test_the_checker_tells_the_state_and_what_is_wrong_with_it() -> None:
    def found(**kwargs: Any) -> list[tuple[str, str, str]]:
        env = EnvConfig(id="brought_worlds:Robot", kwargs=kwargs)
        return [(one.name, one.verdict, one.what) for one in examine(CheckEnvConfig(env=env, num_steps=20))]

    assert ("state", "ok", "'body.joints' (7) + 'body.speed' (2) + 'goal' (2)") in found()
    faults = [what for name, verdict, what in found(breaks_at=3) if (name, verdict) == ("state", "fault")]
    nan = "the state 'body.joints' must be finite in float32, got nan at place 2"
    assert faults == [f"{nan}, at step 3 (seed 0), 2 times in all"]  # in two episodes


def test_an_environment_that_shows_nothing_is_refused_with_what_makes_a_vector() -> None:
    with pytest.raises(ValueError, match="no picture, sound or vector in the observation; found Discrete"):
        AudioVisualEnv(gymnasium.make("FrozenLake-v1"), EnvConfig())
