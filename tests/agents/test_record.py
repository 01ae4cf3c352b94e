"""Recordings: what lies in the folder, and that it is what the environment showed."""

import io
import signal
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from spl.agents import record as module
from spl.agents.record import RecordConfig, record
from spl.agents.replay.memory import ReplayMemory
from spl.config.errors import RunError, UsageError
from spl.data.recordings import Recordings
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


@pytest.mark.parametrize(("kind", "num_faults"), [("none", 0), ("raise", 10)])
def test_episodes_of_one_step_find_room_whatever_faults_there_are(
    kind, num_faults, tmp_path, monkeypatch, request
):
    monkeypatch.syspath_prepend(request.path.parent)
    out = tmp_path / "rec"
    env = EnvConfig(
        id="faulty_worlds:ShortWorld",
        kwargs={"kind": kind, "num_faults": num_faults},
        video_size=(16, 16),
        audio_frames=2,
    )
    done = record(RecordConfig(env=env, num_steps=6, out=str(out)), console=quiet())
    assert (done["steps"], done["episodes"]) == (6, 6)
    memory = ReplayMemory.load(out)
    assert len(memory) == memory.meta["steps"] == 6
    assert np.load(out / "age.npy")[-13:, 0].tolist() == [0, 1] * 6 + [0]
    assert len(np.load(out / "age.npy")) == 13 + num_faults


DIES = """
import os, signal
from spl.agents import record as module
from spl.envs.config import EnvConfig

step = module.Collector.step

def die(self):
    if self.progress.step == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self)

module.SAVE_EVERY_STEPS, module.Collector.step = 20, die
config = module.RecordConfig(env=EnvConfig(video_size=(16, 16)), num_steps=90, out={out!r})
module.record(config)
"""


def test_a_recording_that_is_killed_is_there_as_far_as_it_was_saved(tmp_path):
    out = tmp_path / "rec"
    ended = subprocess.run(
        [sys.executable, "-c", DIES.format(out=str(out))], stderr=subprocess.PIPE, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    memory = ReplayMemory.load(out)
    assert len(memory) == memory.meta["steps"] == 40
    source = Recordings([out], history=2)
    assert len(source) == 42  # 40 steps, the first episode's final observation, and the newest
    assert f"{out} ended early, after 40 of 90 steps" in source.summary()


def test_a_recording_of_which_nothing_can_be_saved_says_that_the_disk_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("cannot save the memory")

    monkeypatch.setattr(ReplayMemory, "save", refuse)
    config = RecordConfig(env=EnvConfig(video_size=(36, 36)), num_steps=3, out=str(tmp_path / "rec"))
    with pytest.raises(OSError, match="cannot save the memory"):
        record(config, console=quiet())


def test_an_environment_that_raises_while_it_is_closed_is_recorded_all_the_same(
    tmp_path, monkeypatch, request
):
    monkeypatch.syspath_prepend(request.path.parent)
    env = EnvConfig(id="faulty_worlds:FaultyWorld", kwargs={"kind": "no close"}, video_size=(16, 16))
    done = record(RecordConfig(env=env, num_steps=6, out=str(tmp_path / "rec")), console=quiet())
    assert done["is_finished"]


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
