"""Recordings: what lies in the folder, and that it is what the environment showed."""

import io
import sys

import numpy as np
import pytest
from rich.console import Console

from spl.agents import record as module
from spl.agents.record import RecordConfig, record
from spl.agents.replay.memory import ReplayMemory
from spl.config.errors import RunError, UsageError
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.envs.resumable import reset_seed


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_a_recording_holds_every_step_in_plain_arrays(tmp_path):
    config = RecordConfig(env=EnvConfig(video_size=(36, 36)), num_steps=70, out=str(tmp_path / "rec"), seed=5)
    done = record(config, console=quiet())
    assert (done["steps"], done["episodes"], done["is_finished"]) == (70, 2, True)
    video = np.load(tmp_path / "rec" / "video.npy", allow_pickle=False)
    assert video.shape == (73, 1, 1, 36, 36)  # 70 steps, two final observations, and the newest
    memory = ReplayMemory.load(tmp_path / "rec", mmap=True)
    assert len(memory) == 70
    assert memory.meta["id"] == "spl/Beacon-v0"
    assert memory.meta["steps"] == 70
    env = make_env(config.env)
    actions = np.load(tmp_path / "rec" / "action.npy")[:, 0]
    observation, _ = env.reset(seed=reset_seed(5, 0))
    assert np.array_equal(video[0, 0], observation.video)
    for step in range(32):
        observation, *_ = env.step(int(actions[step]))
        assert np.array_equal(video[step + 1, 0], observation.video)
    assert not (tmp_path / "rec" / "metrics.jsonl").exists()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "note.txt").touch()
    with pytest.raises(UsageError, match="is not empty: choose another with --out"):
        record(RecordConfig(out=str(tmp_path)), console=quiet())


def test_an_environment_that_fails_again_and_again_ends_the_recording_which_is_kept(
    tmp_path, monkeypatch, request
):
    monkeypatch.syspath_prepend(request.path.parent)
    env = EnvConfig(
        id="faulty_worlds:FaultyWorld", kwargs={"kind": "raise"}, video_size=(16, 16), audio_frames=2
    )
    console = quiet()
    with pytest.raises(RunError, match=r"failed 11 times, the last time in .*the motor is stuck"):
        record(RecordConfig(env=env, num_steps=200, out=str(tmp_path / "rec")), console=console)
    assert console.file.getvalue().count("it begins a new episode") == 11
    memory = ReplayMemory.load(tmp_path / "rec")
    assert memory.meta["steps"] == len(memory) == 11 * 4


def test_an_environment_that_cannot_be_reset_leaves_no_folder_behind(tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(request.path.parent)
    env = EnvConfig(id="faulty_worlds:FaultyWorld", kwargs={"kind": "no reset"}, video_size=(16, 16))
    with pytest.raises(RunError, match="no reset today"):
        record(RecordConfig(env=env, num_steps=50, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Return the ids of the vectorised environments that are made meanwhile."""
    ids: list[str] = []

    class Counted(module.VectorisedEnv):
        def __init__(self, config, **options):
            ids.append(config.id)
            super().__init__(config, **options)

    monkeypatch.setattr(module, "VectorisedEnv", Counted)
    return ids


@pytest.mark.parametrize("world", ["Unbounded", "Plain"])
def test_environments_are_made_once_whether_or_not_their_range_is_measured(
    tmp_path, monkeypatch, request, made, world
):
    monkeypatch.syspath_prepend(request.path.parent.parent)
    console = quiet()
    config = RecordConfig(
        env=EnvConfig(id=f"brought_worlds:{world}"), num_steps=10, out=str(tmp_path / "rec")
    )
    record(config, console=console)
    assert made == [config.env.id]
    assert ("assumed    video_range -1 to 1: " in console.file.getvalue()) == (world == "Unbounded")
    assert "video" in ReplayMemory.load(tmp_path / "rec").meta


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "observation_space = gymnasium.spaces.Discrete(4)",
            "no picture, sound or vector in the",
        ),
        ("def reset(self): return 0", "unfit:Unfit: the reset of Unfit takes no seed"),
    ],
)
def test_an_environment_that_does_not_serve_is_refused_before_any_is_made(
    tmp_path, monkeypatch, made, source, message
):
    (tmp_path / "unfit.py").write_text(
        "import gymnasium\n"
        "class Unfit(gymnasium.Env):\n"
        "    action_space = gymnasium.spaces.Discrete(3)\n"
        f"    {source}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "unfit", raising=False)
    with pytest.raises(UsageError, match=message):
        record(RecordConfig(env=EnvConfig(id="unfit:Unfit"), out=str(tmp_path / "rec")), console=quiet())
    assert not made
    assert not (tmp_path / "rec").exists()


def test_ranges():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        RecordConfig(num_steps=0)
    with pytest.raises(ValueError, match="agent runs/x brings its own environment"):
        RecordConfig(agent="runs/x", env=EnvConfig(id="spl/Greeting-v0"))
    with pytest.raises(ValueError, match=r"without --agent all are random: leave epsilon out, got 0\.9"):
        RecordConfig(epsilon=0.9)
