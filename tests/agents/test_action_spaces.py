"""An environment of several dimensions of actions, from training to the film: whole, resumed and told."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from spl.agents.config import TrainAgentConfig, read_run
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.evaluation.explain import ExplainAgentConfig, explain_agent
from spl.agents.film.command import FilmConfig, film
from spl.agents.load import load_agent
from spl.agents.names import ActionNames
from spl.agents.record import RecordConfig, record
from spl.agents.replay.memory import ReplayMemory
from spl.agents.train import train_agent
from spl.config import parse
from spl.config.errors import UsageError
from spl.runs import checkpoint

ROOT = Path(__file__).parents[2]
SIZES = (2, 2, 2)
LABELS = ["grip 0", "grip 1", "joints[0] -1", "joints[0] +1", "joints[1] +0", "joints[1] +2"]


def quiet() -> Console:
    return Console(file=io.StringIO())


def arm(runs: Path, *argv: str) -> TrainAgentConfig:
    """Return a tiny run in which all that goes by the action is switched on."""
    given = (
        f"--config {ROOT / 'configs' / 'smoke' / 'agent.yaml'} --runs {runs} --num_threads 1 --device cpu "
        "--env brought_worlds:Arm --env_workers false --num_envs 2 --bins 2 --num_steps 80 --agent.n_step 2"
    )
    aliases = {"env": "env.id", "bins": "env.bins"}
    return parse.parse(TrainAgentConfig, [*given.split(), *argv], prog="spl", aliases=aliases)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tests")
        yield train_agent(arm(tmp_path_factory.mktemp("arm")), console=quiet()).folder


def test_the_run_tells_its_actions_at_its_start(tmp_path: Path) -> None:
    console = quiet()
    train_agent(arm(tmp_path, "--num_steps", "2"), console=console)
    told = " ".join(console.file.getvalue().split())
    assert (
        "actions Dict('grip': Discrete(2), 'joints': Box([-1. 0.], [1. 2.], (2,), float32)) as 2 x 2 x 2"
        in told
    )


@pytest.mark.slow
def test_joints_and_a_grip_are_learned_together(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tests")
        options = (
            "--bins 3 --num_envs 1 --num_steps 2000 --memory.capacity 2500 --agent.n_step 1 --agent.gamma 0 "
        )
        options += "--agent.thirds none --loop.batch_size 32 --loop.mini_buffer 32"
        one = train_agent(arm(tmp_path, *options.split()), console=quiet()).folder
        result = evaluate_agent(one, EvaluateAgentConfig(num_episodes=10, num_seeds=2), console=quiet())
    returns = {name: result["conditions"][name]["mean"] for name in ("all modalities", "random actions")}
    assert returns["random actions"] < 0  # -8: half the grip less the mean of the second joint, 16 times
    assert returns["all modalities"] > 22  # the best is 26.7: the grip, and the first joint 2 times in 3


def test_the_memory_has_what_was_done_in_every_dimension(folder: Path) -> None:
    memory = ReplayMemory.load(folder / "memory")
    batch = memory.gather(*memory.indices())
    assert batch.action.shape == (len(memory), 3)
    assert set(map(tuple, batch.action.tolist())) == set(np.ndindex(SIZES))
    assert json.loads((folder / "env.json").read_text())["actions"]["sizes"] == list(SIZES)


def test_a_resumed_run_is_one_that_was_never_stopped(folder: Path, tmp_path: Path) -> None:
    half = train_agent(arm(tmp_path, "--num_steps", "50"), console=quiet()).folder
    train_agent(replace(read_run(half), num_steps=80), resume=half, console=quiet())
    whole, resumed = (checkpoint.load(one / "checkpoints") for one in (folder, half))
    weights, again = whole["agent"]["network"], resumed["agent"]["network"]
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert resumed["progress"]["step"] == 80
    with pytest.raises(UsageError, match=r"actions.sizes is \[2, 3, 3\]"):
        train_agent(
            replace(read_run(half), env=replace(read_run(half).env, bins=3)), resume=half, console=quiet()
        )


def test_evaluation_explanation_film_and_recording_take_whole_actions(folder: Path, tmp_path: Path) -> None:
    one = EvaluateAgentConfig(num_episodes=2, num_seeds=1, device="cpu")
    result = evaluate_agent(folder, one, console=quiet())
    assert "oracle" not in result["conditions"]
    assert result["sureness"]["decisions"] == 32

    _, make, _, _ = load_agent(folder, "cpu")
    names = ActionNames(make())
    assert names.labels == LABELS
    assert names.of((1, 0, 1)) == "grip 1, joints[0] -1, joints[1] +2"
    assert names.places((1, 0, 1)) == (1, 2, 5)

    config = ExplainAgentConfig(num_drawn=2, device="cpu", out=str(tmp_path / "explained"))
    (episode,) = explain_agent(folder, config, console=quiet())["episodes"]
    values = torch.tensor(episode["q_values"])
    assert values.shape == (16, 6)
    assert episode["actions"] == [
        [int(row[0] < row[1]), int(row[2] < row[3]), int(row[4] < row[5])] for row in values
    ]
    expected = [
        np.prod(
            [float((part / 3).softmax(0)[number]) for part, number in zip(row.split(2), action, strict=True)]
        )
        for row, action in zip(values, episode["actions"], strict=True)
    ]
    assert episode["probabilities"] == pytest.approx(expected, rel=1e-3)
    assert all(line.startswith("grip ") for line in episode["sentences"])

    filmed = film(
        folder, FilmConfig(out=str(tmp_path / "arm.mp4"), duration_s=0.5, device="cpu"), console=quiet()
    )
    assert filmed["frames"] > 2

    recorded = record(
        RecordConfig(agent=str(folder), epsilon=1.0, num_steps=30, out=str(tmp_path / "rec")), console=quiet()
    )
    assert recorded["is_finished"]
    assert np.load(tmp_path / "rec" / "action.npy").shape[1:] == (1, 3)
