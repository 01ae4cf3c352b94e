"""Whether an agent's choices are sure: how often the lead of the chosen action is within the error of Q."""

import math
from typing import Any, NamedTuple

import torch

from spl.agents.dqn import MultimodalDqn
from spl.agents.history import History
from spl.envs.adapter import AudioVisualEnv
from spl.envs.resumable import reset_seed

MOST_DECISIONS = 5_000  # that are looked at


class Choices(NamedTuple):
    """What is known of ``N`` greedy decisions."""

    values: list[float]  # Q of the chosen action
    leads: list[float]  # and how far it lies above the next one
    returns: list[float]  # discounted, that followed, in the unit of Q
    mistakes: list[bool] | None  # whether the environment knew a better action; None: it knows none


def played_choices(
    agent: MultimodalDqn, env: AudioVisualEnv, *, history: int, seed: int, num_episodes: int
) -> Choices:
    """Play episodes without exploring; at most `MOST_DECISIONS` steps.

    Returns are those of the rewards as the memory keeps them, discounted as in learning. An episode that was
    truncated, or cut by the limit, goes on with the highest Q-value of its last observation.
    """
    found = Choices([], [], [], [] if env.has_wrapper_attr("oracle_action") else None)
    stacks = History(env.spec_of_streams, history=history)
    for episode in range(num_episodes):
        observation, _ = env.reset(seed=reset_seed(seed, episode))
        stacks.push(observation, is_first=True)
        rewards, is_over, follows = list[float](), False, 0.0
        while not is_over and len(found.values) < MOST_DECISIONS:
            values = _values(agent, stacks)
            (action,) = agent.act(stacks.stack(), 0.0)
            others = torch.cat([values[:action], values[action + 1 :]])
            found.values.append(float(values[action]))
            found.leads.append(float(values[action] - others.max()) if len(others) else math.inf)
            if found.mistakes is not None:
                found.mistakes.append(action != int(env.get_wrapper_attr("oracle_action")()))
            observation, reward, terminated, truncated, _ = env.step(action)
            rewards.append(agent.config.kept_reward(float(reward)))
            stacks.push(observation, is_first=False)
            is_over, follows = terminated or truncated, 0.0
            if not terminated and (truncated or len(found.values) == MOST_DECISIONS):
                follows = float(_values(agent, stacks).max())
        found.returns.extend(discounted(rewards, follows, agent.config.gamma))
        if len(found.values) == MOST_DECISIONS:
            break
    return found


def _values(agent: MultimodalDqn, stacks: History) -> torch.Tensor:
    with torch.inference_mode():
        values: torch.Tensor = agent.network(*stacks.stack().to(agent.device))[0].float().cpu()
    return values


def discounted(rewards: list[float], follows: float, gamma: float) -> list[float]:
    """Return ``G_t = r_t + gamma G_(t+1)`` of each step; ``follows`` is what comes after the last."""
    returns = []
    for reward in reversed(rewards):
        follows = reward + gamma * follows
        returns.append(follows)
    return returns[::-1]


def sureness(choices: Choices) -> dict[str, Any]:
    """Return how often the lead of the chosen action is within its own error, as JSON holds it.

    ``Q(s, a)`` shall be the expected return ``q(s, a) = E[G | s, a]`` of acting greedily. An observed return
    is ``G = q + n`` with ``E[n | s, a] = 0``, and so ``E[(Q - G)^2] = E[(Q - q)^2] + E[n^2]``: the root of
    the mean squared difference to the returns, ``e``, is the error of ``Q`` where world and rewards leave
    nothing to chance, and more than it elsewhere. A lead is a difference of two values. Of the next action no
    return is observed; with an error as large as ``e``, independent of the first, the lead's is
    ``sqrt(2) e``. Errors that both values share, such as one of the state, cancel in truth: this warns too
    often rather than too seldom.

    Returns:
        ``decisions``; ``error`` ``e``; ``mean_lead``; ``unsure``, the share of decisions whose lead is at
        most ``sqrt(2) e``; where the environment knows the best action, also the share of decisions that were
        another among the unsure ones and among the others, None where there are none.
    """
    count = len(choices.values)
    squares = ((value - seen) ** 2 for value, seen in zip(choices.values, choices.returns, strict=True))
    error = math.sqrt(sum(squares) / count)
    is_unsure = [lead <= math.sqrt(2) * error for lead in choices.leads]
    told: dict[str, Any] = {
        "decisions": count,
        "error": error,
        "mean_lead": sum(choices.leads) / count,
        "unsure": sum(is_unsure) / count,
    }
    if choices.mistakes is not None:
        for name, wanted in (("mistakes_unsure", True), ("mistakes_sure", False)):
            among = [one for one, unsure in zip(choices.mistakes, is_unsure, strict=True) if unsure is wanted]
            told[name] = sum(among) / len(among) if among else None
    return told


def sentence_of(told: dict[str, Any]) -> str:
    """Return what `sureness` found, in words."""
    words = (
        f"unsure in {told['unsure']:.1%} of {told['decisions']:,} decisions: their lead over the next action "
        f"(mean {told['mean_lead']:.3g}) is within its error, {math.sqrt(2) * told['error']:.3g}, by the "
        "returns that followed"
    )
    kinds = {"unsure": told.get("mistakes_unsure"), "sure": told.get("mistakes_sure")}
    shares = [f"{share:.1%} of the {name} ones" for name, share in kinds.items() if share is not None]
    return words + (f"; not the oracle's action: {', '.join(shares)}" if shares else "")
