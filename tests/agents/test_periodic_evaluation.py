"""Evaluation while an agent is trained: it changes nothing, keeps the best, and hooks hear of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import spl
from spl.agents import training
from spl.agents.conditions import UNTOUCHED, Condition
from spl.agents.evaluation.playing import play, policy_of
from spl.agents.load import load_agent
from spl.agents.periodic_evaluation import SEEDS_APART, Evaluations
from spl.agents.train import train_agent
from spl.config import parse as config
from spl.config.errors import RunError
from spl.envs.vector import VectorisedEnv
from spl.records import AUDIO, VIDEO
from spl.runs import checkpoint

SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "agent.yaml"
WORDS = ("--num_steps", "66", "--env.kwargs.num_rounds", "5", "--report_every_steps", "40")
JUDGED = ("--evaluate_every_steps", "20", "--evaluate_episodes", "2", "--evaluate_each_modality", "true")


def quiet() -> Console:
    return Console(quiet=True)


def frozen(value):
    """Return a nested state such that equal ones are equal to the bit."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items() if key != "meter"}
    if isinstance(value, list | tuple):
        return [frozen(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    return value.tobytes() if isinstance(value, np.ndarray) else value


def state_of(folder):
    return frozen(checkpoint.load(folder / "checkpoints"))


def rows_of(folder, tag="eval/mean_reward"):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows if tag in row]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Return a run that was evaluated at steps 20, 40 and 60, and what its hooks heard."""
    heard = []
    runs = ("--runs", str(tmp_path_factory.mktemp("runs")), "--num_threads", "1", "--device", "cpu")
    chosen = config.parse(spl.TrainAgentConfig, ["--config", str(SMOKE), *runs, *WORDS, *JUDGED], prog="spl")
    result = train_agent(
        chosen,
        console=quiet(),
        on_row=lambda step, row: heard.append((step, sorted(row))),
        on_episode=lambda step, episode: heard.append((step, episode)),
    )
    assert result.is_finished
    return result.folder, heard


def test_a_run_learns_the_same_with_and_without(judged, smoke):
    folder, heard = judged
    without = train_agent(smoke(*WORDS), console=quiet()).folder
    assert state_of(folder) == state_of(without)
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert not rows_of(without)
    assert rows_of(folder, "rollout/episode_return") == rows_of(without, "rollout/episode_return")
    # what is played is what spl evaluate agent plays of the same seed, with each stream alone
    best = max(rows, key=lambda row: row["eval/mean_reward"])
    agent, make, history, step = load_agent(folder, "cpu", "best")
    assert step == best["step"]
    for tag, condition in {
        "": UNTOUCHED,
        "_video": Condition(AUDIO, "absent"),
        "_audio": Condition(VIDEO, "absent"),
    }.items():
        envs = [make() for _ in range(2)]
        returns, lengths = play(policy_of(agent, 0.0), envs, condition, history=history, seed=SEEDS_APART)
        assert sum(returns) / 2 == best[f"eval/mean_reward{tag}"]
        assert sum(lengths) / 2 == best["eval/mean_ep_length"] == 5
    # hooks
    assert [step for step, told in heard if "eval/mean_reward" in told] == [20, 40, 60]
    episodes = [(step, told.total) for step, told in heard if hasattr(told, "total")]
    told = [(row["step"], row["rollout/episode_return"]) for row in rows_of(folder, "rollout/episode_return")]
    assert episodes == told
    assert len(told) == 13


def test_resuming_equals_never_having_stopped(judged, smoke, monkeypatch):
    folder, _ = judged
    evaluate, chosen, count = Evaluations.evaluate, smoke(*WORDS, *JUDGED), [0]

    def stopped_in_it(self, parts):
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        return evaluate(self, parts)

    monkeypatch.setattr(Evaluations, "evaluate", stopped_in_it)
    with pytest.raises(KeyboardInterrupt):
        train_agent(chosen, console=quiet())
    monkeypatch.undo()
    (other,) = (Path(chosen.runs) / "agent").iterdir()
    assert [row["step"] for row in rows_of(other)] == [20], "the second was interrupted"
    ended = train_agent(
        chosen, resume=other, console=quiet(), on_row=lambda step, row: "eval/mean_reward" not in row
    )
    assert (ended.step, ended.is_finished) == (40, False), "the hook returned False at the evaluation"
    assert train_agent(chosen, resume=other, console=quiet()).is_finished
    assert rows_of(other) == rows_of(folder)
    assert state_of(other) == state_of(folder)
    best = [frozen(checkpoint.load(one / "checkpoints/best")) for one in (folder, other)]
    assert best[0] == best[1]


def test_the_best_is_the_first_of_the_highest_and_a_fault_costs_one_row(smoke, monkeypatch):
    returns = iter([1.0, RunError("the world fell"), 3.0, 3.0, 2.0])

    def told(self, agent):
        found = next(returns)
        if isinstance(found, RunError):
            raise found
        return {"eval/mean_reward": found}

    monkeypatch.setattr(Evaluations, "_row", told)
    saved, save = [], training.save
    monkeypatch.setattr(
        training,
        "save",
        lambda parts, *place, **how: saved.append(parts.progress.step) or save(parts, *place, **how),
    )
    console = Console(record=True, width=200, quiet=True)
    chosen = smoke("--num_steps", "25", "--evaluate_every_steps", "5")
    folder = train_agent(chosen, console=console).folder
    assert saved == [5, 15, 25], "with each new best agent: a run that is killed goes on with it"
    assert [row["step"] for row in rows_of(folder)] == [5, 15, 20, 25]
    assert rows_of(folder, "fault") == [{"step": 10, "fault": "the world fell"}]
    assert load_agent(folder, "cpu", "best")[3] == 15
    assert spl.load(folder, checkpoint="best", device="cpu").step == 15
    best = folder / "checkpoints/best"
    checkpoint.save(
        best, checkpoint.load(best), step=27
    )  # of a stretch that was lost when the run was killed
    again = Evaluations(chosen, folder, 25)
    assert checkpoint.latest(best).name == "step-000000015"
    assert (again.best.step, again.is_due(29), again.is_due(30)) == (15, False, True)
    assert again.told() == {"evaluated": "2 at step 25, best 3 at 15"}


def test_an_environment_of_its_own_is_closed_and_options_without_it_are_refused(smoke, monkeypatch):
    closed, close = [], VectorisedEnv.close
    monkeypatch.setattr(VectorisedEnv, "close", lambda self: (closed.append(self.seed), close(self)))
    train_agent(smoke("--num_steps", "20", "--evaluate_every_steps", "20"), console=quiet())
    assert sorted(closed) == [0, SEEDS_APART]
    with pytest.raises(ValueError, match="evaluate options need evaluate_every_steps"):
        spl.TrainAgentConfig(evaluate_episodes=3)
