"""A run from its first step to its last: folder, rows, checkpoints, seeds, resuming, learning."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from spl import checkpoint
from spl.agents.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.memory import ReplayMemory
from spl.agents.run import check_resumable, read_run, slack_of
from spl.agents.train import train_agent
from spl.config import UsageError
from spl.envs.adapter import EnvConfig


def quiet() -> Console:
    return Console(file=io.StringIO())


def rows_of(folder, key="time/fps"):
    """Return the rows that tell ``key``: those of the report by default, or one per episode."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if key in row]


def weights_of(folder):
    return checkpoint.load(folder / "checkpoints")["agent"]["network"]


def test_a_run_leaves_its_folder(smoke):
    config = smoke()
    result = train_agent(config, command=["spl", "train", "agent"], console=quiet())
    assert result.is_finished
    assert result.step == 200
    assert (result.folder / "command.txt").read_text() == "spl train agent\n"
    assert read_run(result.folder) == config
    described = json.loads((result.folder / "env.json").read_text())
    assert described["audio"]["sample_rate_hz"] == 16_000
    rows, episodes = rows_of(result.folder), rows_of(result.folder, "rollout/episode_return")
    assert [row["step"] for row in rows] == [50, 100, 150, 200]
    assert [row["step"] for row in episodes] == [32, 64, 96, 128, 160, 192]
    assert rows[-1]["rollout/ep_rew_mean"] == np.mean([row["rollout/episode_return"] for row in episodes])
    tags = {"rollout/ep_rew_mean", "rollout/exploration_rate", "time/fps", "train/loss", "train/n_updates"}
    assert tags <= set(rows[-1])
    assert rows[-1]["train/n_updates"] == 80  # from the 42nd step on, one update every two
    assert (result.folder / "checkpoints" / "last").is_symlink()


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(smoke):
    first, second, other = (
        train_agent(smoke("--seed", seed), console=quiet()).folder for seed in ("3", "3", "4")
    )
    same, again, different = weights_of(first), weights_of(second), weights_of(other)
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not all(torch.equal(same[name], different[name]) for name in same)

    def told(folder):
        return [
            {k: v for k, v in row.items() if "time" not in k and k != "seconds"} for row in rows_of(folder)
        ]

    assert told(first) == told(second)


def test_a_resumed_run_goes_on_from_what_was_saved(smoke):
    config = smoke("--num_steps", "100")
    folder = train_agent(config, console=quiet()).folder
    before = checkpoint.load(folder / "checkpoints")
    done = train_agent(replace(config, num_steps=160), resume=folder, console=quiet())
    assert done.folder == folder
    assert done.step == 160
    assert read_run(folder).num_steps == 160
    assert (folder / "command.txt").read_text().count("\n") == 2
    after = checkpoint.load(folder / "checkpoints")
    assert after["agent"]["num_updates"] == before["agent"]["num_updates"] + 30
    assert after["progress"]["episode"] > before["progress"]["episode"]
    assert [row["step"] for row in rows_of(folder)] == [50, 100, 150]
    memory = ReplayMemory.load(folder / "memory")
    assert len(memory) == 160  # an episode without an end loses none of its transitions


def test_resuming_without_the_memory_collects_anew_before_learning(smoke):
    config = smoke("--num_steps", "100", "--save_memory", "false")
    folder = train_agent(config, console=quiet()).folder
    assert not (folder / "memory").exists()
    updates = checkpoint.load(folder / "checkpoints")["agent"]["num_updates"]
    train_agent(replace(config, num_steps=140), resume=folder, console=quiet())
    state = checkpoint.load(folder / "checkpoints")
    assert 0 <= state["agent"]["num_updates"] - updates <= 1  # 40 transitions are the memory's min_size


def test_a_memory_on_disk_learns_the_same_as_one_in_ram(smoke):
    in_ram = train_agent(smoke(), console=quiet()).folder
    on_disk = train_agent(smoke("--memory.on_disk", "true"), console=quiet()).folder
    ram, disk = weights_of(in_ram), weights_of(on_disk)
    assert all(torch.equal(ram[name], disk[name]) for name in ram)


def test_a_changed_configuration_is_refused_by_name(smoke):
    with pytest.raises(UsageError, match=r"--agent.gamma 0.5 \(the run has 0.95\)"):
        check_resumable(smoke(), smoke("--agent.gamma", "0.5"))
    check_resumable(smoke(), smoke("--num_steps", "900", "--checkpoint_every_steps", "7"))


def test_a_memory_once_saved_cannot_be_left_out_later(smoke):
    with pytest.raises(UsageError, match=r"--save_memory False \(the run has True\)"):
        check_resumable(smoke(), smoke("--save_memory", "false"))


def test_a_memory_on_disk_has_slack_even_if_it_is_not_saved_beside(smoke):
    assert slack_of(smoke("--save_memory", "false")) == 0
    assert slack_of(smoke("--save_memory", "false", "--memory.on_disk", "true")) == 64


def test_a_refused_dropout_leaves_no_folder_behind(smoke, tmp_path):
    config = smoke("--agent.modality_dropout", "0.6", "--agent.modality_dropout_steps", "1")
    with pytest.raises(UsageError, match="set a larger modality_dropout_steps"):
        train_agent(config, console=quiet())
    assert not list(tmp_path.glob("runs/agent/*"))


def test_a_waveform_that_nothing_can_read_leaves_no_folder_behind(smoke, tmp_path):
    with pytest.raises(UsageError, match=r"got one, as a waveform has it: set --encoder\.audio_stream mlp"):
        train_agent(smoke("--env.audio_features", "waveform"), console=quiet())
    assert not (tmp_path / "runs").exists()


def test_a_game_is_learned_resumed_and_evaluated_from_its_bytes(smoke):
    pytest.importorskip("ale_py")
    options = ("--env.audio_features", "waveform", "--encoder.audio_stream", "mlp")
    config = smoke(*options, "--env.kwargs.max_num_frames_per_episode", "200", name="atari")
    folder = train_agent(config, console=quiet()).folder
    assert json.loads((folder / "env.json").read_text())["audio"]["features"] == "waveform"
    train_agent(replace(config, num_steps=130), resume=folder, console=quiet())
    memory = ReplayMemory.load(folder / "memory")
    assert memory.spec == ((1, 84, 84), (1, 1, 512), "int8")
    assert len(memory) == 130
    result = evaluate_agent(folder, EvaluateAgentConfig(episodes=1, seeds=1), console=quiet())
    assert np.isfinite(result["conditions"]["noise on audio"]["mean"])


def test_a_run_that_cannot_be_saved_does_not_say_that_it_was(smoke, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left on the device")

    monkeypatch.setattr(checkpoint, "save", full)
    console = quiet()
    with pytest.raises(OSError, match="no space left"):
        train_agent(smoke("--num_steps", "60"), console=console)
    told = console.file.getvalue()
    assert "which could not be saved (the last save is of step 0)" in told
    assert "finished" not in told


def test_a_checkpoint_of_another_network_is_refused(smoke):
    config = smoke("--num_steps", "60")
    folder = train_agent(config, console=quiet()).folder
    with pytest.raises(UsageError, match="cannot be resumed"):
        train_agent(smoke("--encoder.features", "8"), resume=folder, console=quiet())


def test_the_two_long_phases_of_the_published_agent(smoke):
    result = train_agent(smoke(name="mdqn"), console=quiet())
    # 3 collections of 100 steps, each followed by 2 replays of 50 transitions in batches of 25
    assert checkpoint.load(result.folder / "checkpoints")["agent"]["num_updates"] == 3 * 2 * 2


class Failing(Exception):
    """What a user's environment may raise."""


def test_an_error_of_the_environment_saves_the_run_first(smoke, monkeypatch, tmp_path):
    (tmp_path / "broken_world.py").write_text(
        "from spl.envs.worlds import BeaconEnv\n"
        "class Broken(BeaconEnv):\n"
        "    steps = 0\n"
        "    def step(self, action):\n"
        "        Broken.steps += 1\n"
        "        if Broken.steps > 77:\n"
        "            raise RuntimeError('the motor is stuck')\n"
        "        return super().step(action)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="the motor is stuck"):
        train_agent(smoke("--env", "broken_world:Broken"), console=quiet())
    (folder,) = (tmp_path / "runs" / "agent").iterdir()
    assert checkpoint.load(folder / "checkpoints")["progress"]["step"] == 77


def test_the_terminal_is_told_what_was_chosen(smoke):
    console = quiet()
    train_agent(smoke("--num_steps", "50"), console=console)
    told = console.file.getvalue()
    assert "video 'video' 64 x 64 -> 1 x 36 x 36, audio 'audio' 1600 at 16,000 Hz -> 1 x 64 x 8" in told
    assert "finished; evaluate with: spl evaluate agent" in told


LEARNS = (
    *("--num_steps", "2500", "--memory.capacity", "3000", "--checkpoint_every_steps", "2500"),
    *("--encoder.video_features", "64", "--encoder.audio_features", "64", "--encoder.features", "64"),
    *("--agent.learning_rate", "1e-3", "--agent.gamma", "0", "--agent.epsilon_decay_steps", "1500"),
    *("--agent.target_every_updates", "50", "--loop.mini_buffer", "32", "--loop.batch_size", "32"),
)


@pytest.mark.parametrize("sense", ["eye", "ear", "both"])
def test_an_agent_solves_the_beacon_and_needs_the_sense_it_is_for(smoke, sense):
    config = smoke("--env.kwargs.sense", sense, *LEARNS)
    folder = train_agent(config, console=quiet()).folder
    found = evaluate_agent(folder, EvaluateAgentConfig(episodes=10, seeds=1), console=quiet())["conditions"]
    mean = {name: one["mean"] for name, one in found.items()}
    assert mean["all senses"] >= 0.95 * mean["oracle"]
    chance, half = 8.0, 16.0
    expected = {"eye": (None, chance), "ear": (chance, None), "both": (half, half)}[sense]
    for name, value in zip(("video only", "audio only"), expected, strict=True):
        if value is None:
            assert mean[name] >= 0.9 * mean["oracle"]
        else:
            assert abs(mean[name] - value) < 4.0  # ten episodes of 32 rounds: three standard errors


def test_an_environment_of_one_sense_trains(smoke, monkeypatch, tmp_path):
    (tmp_path / "pictures.py").write_text(
        "import gymnasium, numpy as np\n"
        "class Pictures(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 255, (40, 40, 3), np.uint8)\n"
        "    action_space = gymnasium.spaces.Discrete(3)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        self.left = 10\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        self.left -= 1\n"
        "        return self.observation_space.high, float(action), False, self.left == 0, {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = train_agent(smoke("--env", "pictures:Pictures"), console=quiet()).folder
    found = evaluate_agent(folder, EvaluateAgentConfig(episodes=2, seeds=1), console=quiet())
    assert set(found["conditions"]) == {
        "all senses",
        "blind",
        "noise on video",
        "video fails midway",
        "random actions",
    }


def test_env_config_defaults_to_the_world_of_the_demo():
    assert EnvConfig().id == "spl/Beacon-v0"
    assert np.prod(EnvConfig().video_size) == 84 * 84
