"""Exported agents: equal to the agent in its own loop, whatever is seen, heard and done."""

import importlib.util
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import spl
from spl.agents.config import build_agent
from spl.agents.dqn_config import DqnConfig
from spl.agents.sharing.export import export_agent
from spl.agents.sharing.portable import Portable
from spl.agents.trained import TrainedAgent
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv

ROOT = Path(__file__).parents[3]


class Noise(gymnasium.Env):
    """Shows and sounds noise of the given spaces, and takes the given actions."""

    sample_rate_hz, sound_rest_level = 8_000, None

    def __init__(self, image, sound, action_space=spaces.Discrete(3), rest=None):  # noqa: B008
        self.observation_space = spaces.Dict(image=image, sound=sound)
        self.action_space = action_space
        if rest is not None:
            self.sound_rest_level = rest

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._noise(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return self._noise(), 0.0, False, False, {}

    def _noise(self):
        found = {}
        for key, box in self.observation_space.items():
            low, high = float(box.low.min()), float(box.high.max())
            noise = self.np_random.uniform(low, high, box.shape)
            found[key] = noise.astype(box.dtype)
        return found


def byte(*shape):
    return spaces.Box(0, 255, shape, np.uint8)


def swing(*shape, dtype=np.float32):
    return spaces.Box(-1, 1, shape, dtype)


WORLDS = {  # what is shown, what sounds, what is taken, options of the environment
    "colours": (byte(50, 70, 3), swing(400), {}, {"grey": False}),
    "floats": (
        spaces.Box(-0.5, 0.5, (3, 40, 40), np.float64),
        spaces.Box(-32768, 32767, (2, 300), np.int16),
        {},
        {},
    ),
    "alpha": (byte(40, 40, 4), byte(400), {"rest": 128}, {"audio_features": "waveform"}),
    "pooled": (byte(45, 45, 3), swing(2, 200), {}, {"frame_skip": 3, "max_pool": True, "stereo": True}),
    "steered": (byte(36, 36), swing(400), {"action_space": spaces.Box(-2, 2, (3,))}, {"bins": 5}),
    "buttons": (byte(36, 36), swing(400), {"action_space": spaces.MultiBinary(4)}, {}),
}


def agent_of(name):
    """Return an agent that was not trained, in a world of noise: weights are weights."""
    image, sound, world, options = WORLDS[name]
    env = Noise(image, sound, **world)
    stream = "mlp" if "audio_features" in options else "conv"
    chosen = spl.TrainAgentConfig(
        env=spl.EnvConfig(id=name, video_size=(36, 36), **options),
        agent=DqnConfig(head="implicit", risk=0.5) if name == "buttons" else DqnConfig(),
        encoder=spl.EncoderConfig(
            audio_stream=stream,
            video_features=16,
            audio_features=16,
            features=16,
            standardise_video=name in ("colours", "pooled"),
        ),
    )
    adapter = AudioVisualEnv(env, chosen.env)
    dqn = build_agent(chosen, adapter.spec_of_streams, adapter.action_sizes, torch.device("cpu"))
    if chosen.encoder.standardise_video:
        for _ in range(5):
            dqn.see(adapter.reset()[0])
    return TrainedAgent(dqn, adapter, history=4, step=0), adapter, env


def frames_for(portable, frames, is_first):
    """Return the inputs that an observation gives, as examples/play_onnx.py makes them."""
    skip, given = portable.frame_skip, {}
    for name in ("image", "sound"):
        parts = [frame[name] for frame in frames]
        rest = getattr(portable.sound, "rest", 0)
        if is_first:
            parts = [parts[0] if name == "image" else np.full_like(parts[0], rest)] * (skip - 1) + parts
        given[name] = torch.from_numpy(np.array(parts if skip > 1 else parts[0]))
    return given


@pytest.mark.parametrize("name", WORLDS)
def test_a_graph_decides_as_the_agent_does(name):
    agent, adapter, env = agent_of(name)
    portable = Portable(agent.dqn, adapter, history=4).eval()
    observation, _ = env.reset(seed=1)
    states = {key: value for key, value in portable.inputs.items() if f"next_{key}" in portable.outputs}
    frames, worst, seen = [], 0.0, set()
    for step in range(4 * portable.frame_skip + 1):
        action, is_first = agent.act(observation), step == 0
        frames.append(observation)
        if is_first or len(frames) == portable.frame_skip:
            given = {**portable.inputs, **states, **frames_for(portable, frames, is_first)}
            with torch.no_grad():
                told = dict(zip(portable.outputs, portable(*given.values()), strict=True))
            worst = max(worst, float((told["q_values"] - torch.from_numpy(agent.q_values)).abs().max()))
            seen.add(tuple(told["q_values"].tolist()))
            np.testing.assert_array_equal(told["action"].numpy(), action)
            assert adapter.env.action_space.contains(told["action"].numpy()[()])
            states, frames = {key: told[f"next_{key}"] for key in states}, []
        observation, *_ = env.step(action)
    print(f"{name}: {worst:.2g}")
    assert worst < 1e-4
    assert len(seen) > 1


@pytest.mark.parametrize("name", ["floats", "pooled", "buttons"])
def test_what_an_absent_stream_holds_is_ignored(name):
    agent, adapter, env = agent_of(name)
    portable, found = Portable(agent.dqn, adapter, history=4).eval(), []
    generator = np.random.default_rng(0)
    for value in (np.nan, 0.0):
        given = {key: one.clone() for key, one in portable.inputs.items()}
        given["present"] = torch.tensor([True, False])
        noise = env.reset(seed=1)[0]["image"]
        given["image"][:] = torch.from_numpy(noise)
        if given["sound"].is_floating_point():
            given["sound"][:] = value
        else:
            given["sound"][:] = torch.from_numpy(generator.integers(-99, 99, tuple(given["sound"].shape)))
        with torch.no_grad():
            found.append(portable(*given.values()))
    for one, other in zip(*found, strict=True):
        assert one.isfinite().all()
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.fixture(scope="module")
def run(tiny_run) -> Path:
    """Return a tiny run on Beacon, whose pictures are standardised within the graph."""
    return tiny_run(10, options=("--encoder.standardise_video", "true"))


def player_of(path, **options):
    found = importlib.util.spec_from_file_location("play_onnx", ROOT / "examples/play_onnx.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Player(str(path), **options)


def test_an_onnx_file_plays_an_episode_as_the_agent_does(run, capsys):
    pytest.importorskip("onnxruntime")
    assert cli.main(["export", "agent", str(run), "--to", "onnx"]) == 0
    path = run / "agent.onnx"
    assert str(path) in capsys.readouterr().out
    agent, player = spl.load(run, device="cpu"), player_of(path, sample_rate_hz=16_000)
    env = gymnasium.make("spl/Beacon-v0", num_rounds=10)
    (image, sound), worst = (player.told["image"], player.told["sound"]), 0.0
    for hidden in (None, image, sound):
        agent.reset()
        player.reset()
        observation, _ = env.reset(seed=2)
        is_over = False
        while not is_over:
            observation = {**observation, **({} if hidden is None else {hidden: None})}
            action = agent.act(observation)
            assert player.act(observation) == action
            worst = max(worst, float(np.abs(player.q_values - agent.q_values).max()))
            observation, _, terminated, truncated, _ = env.step(action)
            is_over = terminated or truncated
    print(f"onnx: {worst:.2g}")
    assert worst < 1e-4
    assert player.told["actions"] == ["UP", "RIGHT", "DOWN", "LEFT"]
    with pytest.raises(ValueError, match=r"the agent hears 16000 Hz, got 44100: resample the sound"):
        player_of(path, sample_rate_hz=44_100)
    with pytest.raises(ValueError, match=r"the sound must have shape \(\d+,\), got \(5,\)"):
        player.act({**observation, sound: np.zeros(5, np.float32)})


def test_a_pt2_file_plays_without_spl(run):
    path = export_agent(run, to="pt2")
    extra = {"spl.json": ""}
    program = torch.export.load(path, extra_files=extra)
    told = json.loads(extra["spl.json"])
    assert (told["format"], told["sample_rate_hz"], told["frame_skip"]) == ("spl-player", 16_000, 1)
    agent = spl.load(run, device="cpu")
    observation, _ = gymnasium.make("spl/Beacon-v0").reset(seed=0)
    env = spl.load(run).cutter.adapter
    portable = Portable(agent.dqn, env, history=agent.history)
    raw = {"image": observation[told["image"]], "sound": observation[told["sound"]]}
    given = {**portable.inputs, **{key: torch.from_numpy(np.array(one)) for key, one in raw.items()}}
    action, values, *_ = program.module()(*given.values())
    assert int(action) == agent.act(observation)
    np.testing.assert_allclose(values.detach().numpy(), agent.q_values, atol=1e-4)


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(run, monkeypatch, tmp_path):
    def full(path, content):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    (path := tmp_path / "agent.pt2").write_text("earlier")
    with pytest.raises(UsageError, match=r"agent\.pt2 cannot be written: No space left on device"):
        export_agent(run, to="pt2", out=str(path))
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("agent.pt2", b"earlier")]


def test_what_cannot_be_exported_is_refused_in_a_sentence(run, monkeypatch, tmp_path, capsys):
    assert cli.main(["export", "agent", str(run), "--to", "tflite"]) == 2
    assert "onnx" in capsys.readouterr().err
    with pytest.raises(UsageError, match="has no best checkpoint"):
        export_agent(run, to="pt2", checkpoint="best")
    with pytest.raises(UsageError, match="is not a run directory"):
        export_agent(tmp_path, to="pt2")
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"--to onnx needs onnxscript: pip install|cannot be imported"):
        export_agent(run, to="onnx")
    unheard = Noise(byte(36, 36), byte(400))
    adapter = AudioVisualEnv(unheard, spl.EnvConfig(id="unheard"))
    adapter.processors[1].rest = None
    with pytest.raises(ValueError, match=r"rest level is found in its first chunk.*--env.rest_level"):
        Portable(agent_of("colours")[0].dqn, adapter, history=4)
