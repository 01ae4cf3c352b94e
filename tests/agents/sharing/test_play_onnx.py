"""The player of exported agents, on a graph that torch runs: what it finds in an observation, it plays on."""

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import spl
from spl.agents.config import build_agent
from spl.agents.sharing.export import described
from spl.agents.sharing.portable import Portable
from spl.agents.trained import TrainedAgent
from spl.envs.adapter import AudioVisualEnv

PLAYER = Path(__file__).parents[3] / "examples/play_onnx.py"
PICTURE, SOUND = spaces.Box(0, 255, (36, 36), np.uint8), spaces.Box(-1, 1, (400,), np.float32)
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
SPACES = {
    "plain": spaces.Dict(image=PICTURE, sound=SOUND, vector=VECTOR),
    "dots": spaces.Dict({"observation.image": PICTURE, "observation.sound": SOUND}),
    "tuple": spaces.Tuple((PICTURE, SOUND)),
    "nested": spaces.Dict(robot=spaces.Tuple((SOUND, spaces.Dict({"camera.left": PICTURE}))), body=VECTOR),
    "vectors": spaces.Dict(hand=spaces.Tuple((VECTOR, VECTOR)), image=PICTURE),
    "bare": PICTURE,
}


class Noise(gymnasium.Env):
    """Returns noise of a space, always in the same arrays, and takes the actions 5 to 7."""

    sample_rate_hz = 8_000

    def __init__(self, space, action_space=None):
        self.observation_space, self._kept = space, space.sample()
        self.action_space = spaces.Discrete(3, start=5) if action_space is None else action_space

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.step(self.action_space.sample())[0], {}

    def step(self, action):
        assert self.action_space.contains(action)
        self._kept = _written(self._kept, self.observation_space.sample())
        return self._kept, 0.0, False, False, {}


def _written(kept, fresh):
    if isinstance(kept, dict):
        return {key: _written(kept[key], fresh[key]) for key in kept}
    if isinstance(kept, tuple):
        return tuple(_written(one, other) for one, other in zip(kept, fresh, strict=True))
    np.copyto(kept, fresh)
    return kept


def made(name: str, action_space=None, **options) -> tuple[TrainedAgent, Portable, dict[str, Any], Noise]:
    """Return an agent that was not trained, its graph, what is told of it, and its environment."""
    env = Noise(SPACES[name], action_space)
    chosen = spl.TrainAgentConfig(
        env=spl.EnvConfig(id=name, video_size=(36, 36), num_mels=8, audio_frames=4, **options),
        encoder=spl.EncoderConfig(video_features=8, audio_features=8, features=8),
    )
    adapter = AudioVisualEnv(env, chosen.env)
    dqn = build_agent(chosen, adapter.spec_of_streams, adapter.action_sizes, torch.device("cpu"))
    portable = Portable(dqn, adapter, history=4).eval()
    return TrainedAgent(dqn, adapter, history=4, step=0), portable, described(adapter, portable, 0), env


def session_of(portable: Portable, told: dict[str, Any]) -> Any:
    """Return what ONNX Runtime has of a graph."""

    def run(names, inputs):
        given = (torch.from_numpy(np.array(inputs[name])) for name in portable.inputs)
        with torch.no_grad():
            return [one.numpy() for one in portable(*given)]

    kinds = {"float32": "float", "float64": "double"}
    inputs = [(name, tuple(one.shape), str(one.numpy().dtype)) for name, one in portable.inputs.items()]
    return SimpleNamespace(
        get_inputs=lambda: [
            SimpleNamespace(name=name, shape=shape, type=f"tensor({kinds.get(kind, kind)})")
            for name, shape, kind in inputs
        ],
        get_outputs=lambda: [SimpleNamespace(name=name) for name in portable.outputs],
        get_modelmeta=lambda: SimpleNamespace(custom_metadata_map={"spl": json.dumps(told)}),
        run=run,
    )


@pytest.fixture
def player_of(monkeypatch):
    def make(portable: Portable, told: dict[str, Any]) -> Any:
        runtime = ModuleType("onnxruntime")
        runtime.InferenceSession = lambda path, providers: session_of(portable, told)
        monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
        found = importlib.util.spec_from_file_location("play_onnx", PLAYER)
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module.Player("agent.onnx")

    return make


def assert_plays_alike(agent: TrainedAgent, player: Any, env: Noise, num_steps: int = 8) -> None:
    observation, _ = env.reset(seed=1)
    seen = set()
    for _ in range(num_steps):
        action = agent.act(observation)
        played = player.act(observation)
        np.testing.assert_array_equal(played, action)
        np.testing.assert_allclose(player.q_values, agent.q_values, atol=1e-4)
        seen.add(tuple(player.q_values.tolist()))
        observation, *_ = env.step(played)
    assert len(seen) > 2, "it decides on what it gets"


@pytest.mark.parametrize("name", SPACES)
def test_the_player_finds_the_streams_wherever_they_are(name, player_of):
    agent, portable, told, env = made(name, frame_skip=2 if name in ("tuple", "dots") else None)
    player = player_of(portable, told)
    assert_plays_alike(agent, player, env)
    assert player.name() == f"action {int(player.action)}"


def test_files_of_before_play(player_of):
    agent, portable, told, env = made("plain")
    old = {key: one for key, one in told.items() if key not in ("paths", "keys", "start", "env_wrappers")}
    player = player_of(portable, {**old, "actions": ["action 0", "action 1", "action 2"]})
    assert_plays_alike(agent, player, env)
    assert int(player.name()) in (5, 6, 7), "which of its names is not told"


def test_an_action_without_axes_is_an_array(player_of):
    agent, portable, told, env = made("bare", spaces.Box(-1.0, 1.0, (), np.float32), bins=5)
    assert_plays_alike(agent, player_of(portable, told), env)


def test_what_is_likely_a_slip_is_refused_and_what_is_missing_is_absent(player_of):
    agent, portable, told, env = made("dots")
    player = player_of(portable, told)
    observation = dict(env.reset(seed=0)[0])
    image = observation.pop("observation.image")
    assert player.act(observation) == agent.act(observation)
    np.testing.assert_allclose(player.q_values, agent.q_values, atol=1e-4)
    with pytest.raises(ValueError, match=r"lacks 'observation.image' and has 'image', which the environment"):
        player.act({**observation, "image": image})
    with pytest.raises(ValueError, match=r"hold 'observation.image' or 'observation.sound', got the keys \["):
        player.act({"observation": {"image": image}})
    with pytest.raises(ValueError, match=r"hold 'observation.image' or 'observation.sound', got NoneType"):
        player.act(None)
    _, portable, told, env = made("nested")
    player, observation = player_of(portable, told), env.reset(seed=0)[0]
    with pytest.raises(
        ValueError, match=r"'robot.1.camera.left' must lie .*, got no 'camera.left' in a list"
    ):
        player.act({**observation, "robot": (observation["robot"][0], [image])})
    with pytest.raises(ValueError, match=r"must hold the state 'body', got none of it"):
        player.act({"robot": observation["robot"]})


def test_an_environment_in_wrappers_is_not_played_without_them(monkeypatch):
    _, portable, told, _ = made("bare", wrappers=[{"gymnasium.wrappers:TimeLimit": {"max_episode_steps": 3}}])
    assert told["env_wrappers"] == ["gymnasium.wrappers:TimeLimit(max_episode_steps=3)"]
    assert told["env_render"] is False
    runtime = ModuleType("onnxruntime")
    runtime.InferenceSession = lambda path, providers: session_of(portable, {**told, "env_render": True})
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr(sys, "argv", ["play_onnx", "agent.onnx"])
    with pytest.raises(
        SystemExit, match=r"through gymnasium.wrappers:TimeLimit\(.*\), its render\(\), which"
    ):
        runpy.run_path(str(PLAYER), run_name="__main__")
