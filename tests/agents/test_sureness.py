"""Sure and unsure choices: returns, the error of Q and the shares, by hand; then in a world with oracle."""

import json
import math

import pytest
from rich.console import Console

from spl.agents import sureness as module
from spl.agents.evaluate import EvaluateAgentConfig, evaluate_agent, load_agent, print_evaluation
from spl.agents.sureness import Choices, discounted, played_choices, sentence_of, sureness
from spl.agents.train import train_agent
from spl.cli.main import main


def test_returns_are_discounted_from_the_end():
    assert discounted([1.0, 0.0, 2.0], 0.0, 0.5) == [1.5, 1.0, 2.0]
    assert discounted([1.0, 0.0], 4.0, 0.5) == [2.0, 2.0]
    assert discounted([], 4.0, 0.5) == []


def test_the_error_is_of_the_returns_and_a_lead_within_it_is_unsure():
    # errors 3 and 4: e = sqrt(12.5), so the lead's is exactly 5
    told = sureness(Choices([1.0, 0.0], [5.0, 5.02], [4.0, 4.0], [True, False]))
    assert told["error"] == pytest.approx(math.sqrt(12.5))
    assert (told["decisions"], told["unsure"], told["mean_lead"]) == (2, 0.5, pytest.approx(5.01))
    assert (told["mistakes_unsure"], told["mistakes_sure"]) == (1.0, 0.0)
    assert sentence_of(told) == (
        "unsure in 50.0% of 2 decisions: their lead over the next action (mean 5.01) is within its error, 5, "
        "by the returns that followed; not the oracle's action: 100.0% of the unsure ones, "
        "0.0% of the sure ones"
    )


def test_without_an_oracle_or_without_unsure_choices_less_is_said():
    told = sureness(Choices([1.0], [0.5], [1.0], None))
    assert told["unsure"] == 0.0
    assert "oracle" not in sentence_of(told)
    told = sureness(Choices([1.0], [0.5], [1.0], [False]))
    assert (told["mistakes_unsure"], told["mistakes_sure"]) == (None, 0.0)
    assert sentence_of(told).endswith("not the oracle's action: 0.0% of the sure ones")


@pytest.fixture
def folder(smoke):
    return train_agent(smoke("--num_steps", "40"), console=Console(quiet=True)).folder


def test_choices_are_the_greedy_ones_and_returns_those_of_the_rewards(folder, monkeypatch):
    agent, make, history, _ = load_agent(folder, "cpu")
    env = make()
    found = played_choices(agent, env, history=history, seed=3, num_episodes=2)
    assert [len(one) for one in found] == [64] * 4
    assert all(lead >= 0 for lead in found.leads)
    # Beacon pays 1 for the oracle's action: the returns follow from the mistakes
    rewards = [agent.config.kept_reward(float(not one)) for one in found.mistakes]
    assert found.returns[:32] == discounted(rewards[:32], 0.0, agent.config.gamma)
    assert found.returns[32:] == discounted(rewards[32:], 0.0, agent.config.gamma)
    monkeypatch.setattr(module, "MOST_DECISIONS", 40)
    cut = played_choices(agent, env, history=history, seed=3, num_episodes=9)
    env.close()
    assert cut.values == found.values[:40]
    assert cut.returns[:32] == found.returns[:32]
    assert cut.returns[39] != found.returns[39], "cut, it goes on with the highest Q-value"


def test_the_evaluation_tells_it_and_so_does_the_page(folder, capsys):
    config = EvaluateAgentConfig(num_episodes=2, num_seeds=1, device="cpu")
    result = evaluate_agent(folder, config, console=Console(quiet=True))
    assert result["sureness"]["decisions"] == 64
    assert json.loads((folder / "evaluation.json").read_text())["sureness"] == result["sureness"]
    print_evaluation(result)
    assert sentence_of(result["sureness"]) in capsys.readouterr().out
    assert main(["report", str(folder)]) == 0
    assert "of 64 decisions" in (folder / "report.html").read_text()
