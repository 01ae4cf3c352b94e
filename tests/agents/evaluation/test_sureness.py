"""Sure and unsure choices: the error of a lead and the share within it by hand, then in a world."""

import json
import math

import pytest
from rich.console import Console

from spl.agents.evaluation import sureness as module
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent, print_evaluation
from spl.agents.evaluation.sureness import Choices, played_choices, sentence_of, sureness
from spl.agents.load import load_agent
from spl.agents.train import train_agent
from spl.cli.main import main


def test_a_lead_within_the_error_that_its_own_step_showed_is_unsure():
    # errors sqrt(2) 3 = 4.243 and sqrt(2) 4 = 5.657
    told = sureness(Choices([1.0, 0.0], [4.2, 5.7], [4.0, 4.0]))
    assert told["mean_error"] == pytest.approx(math.sqrt(2) * 3.5)
    assert (told["decisions"], told["unsure"], told["mean_lead"]) == (2, 0.5, pytest.approx(4.95))
    assert sureness(Choices([1.0, 0.0], [4.3, 5.6], [4.0, 4.0]))["unsure"] == 0.5, "each by its own"
    assert sureness(Choices([1.0, 0.0], [4.2, 5.6], [4.0, 4.0]))["unsure"] == 1.0
    assert sentence_of(told) == (
        "unsure in 50.0% of 2 decisions: the chosen action's lead over the next best (mean 4.95) is within "
        "the error of the Q-values at that step (mean 4.95)"
    )


def test_values_that_are_right_are_sure_unless_two_actions_are_worth_the_same():
    assert sureness(Choices([1.0, 1.0], [0.1, 0.2], [1.0, 1.0]))["unsure"] == 0.0
    assert sureness(Choices([1.0, 1.0], [0.0, 0.2], [1.0, 1.0]))["unsure"] == 0.5


@pytest.fixture
def folder(smoke):
    return train_agent(smoke("--num_steps", "40"), console=Console(quiet=True)).folder


def test_targets_are_of_the_rewards_and_of_what_follows(folder, monkeypatch):
    agent, make, history, _ = load_agent(folder, "cpu")
    env = make()
    rewards = []
    monkeypatch.setattr(env, "step", lambda action, was=env.step: rewards.append(was(action)) or rewards[-1])
    found = played_choices(agent, env, history=history, seed=3, num_episodes=2)
    assert [len(one) for one in found] == [64] * 3
    assert all(lead >= 0 for lead in found.leads)
    paid = [agent.config.kept_reward(float(one[1])) for one in rewards]
    for step in range(64):  # greedy: the value of the chosen action is the highest
        follows = 0.0 if step % 32 == 31 else found.values[step + 1]
        assert found.targets[step] == pytest.approx(paid[step] + agent.config.gamma * follows)
    monkeypatch.setattr(module, "MOST_DECISIONS", 40)
    cut = played_choices(agent, env, history=history, seed=3, num_episodes=9)
    env.close()
    assert cut == Choices(*(one[:40] for one in found))
    assert math.isfinite(sureness(cut)["mean_error"])


def test_the_evaluation_tells_it_and_so_does_the_page(folder, capsys):
    config = EvaluateAgentConfig(num_episodes=2, num_seeds=1, device="cpu")
    result = evaluate_agent(folder, config, console=Console(quiet=True))
    assert result["sureness"]["decisions"] == 64
    assert json.loads((folder / "evaluation.json").read_text())["sureness"] == result["sureness"]
    print_evaluation(result)
    assert sentence_of(result["sureness"]) in capsys.readouterr().out
    assert main(["report", str(folder)]) == 0
    assert "of 64 decisions" in (folder / "report.html").read_text()


def test_shares_of_values_are_not_taken_for_values(smoke, capsys):
    words = "--agent.fusion", "mdqn", "--agent.dueling", "false", "--num_steps", "40"
    folder = train_agent(smoke(*words), console=Console(quiet=True)).folder
    config = EvaluateAgentConfig(num_episodes=2, num_seeds=1, device="cpu")
    result = evaluate_agent(folder, config, console=Console(quiet=True))
    assert list(result["sureness"]) == ["sentence"]
    print_evaluation(result)
    assert "is not told: fusion=mdqn acts on shares" in capsys.readouterr().out
