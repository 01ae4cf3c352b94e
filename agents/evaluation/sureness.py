"""Whether an agent's choices are sure: how often the lead of the chosen action is within the error of Q."""

import math
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.playing import greedy_steps
from spl.agents.history import Stack
from spl.agents.q_network.decoupled import Sizes, best, taken
from spl.envs.actions import numbers_of
from spl.envs.adapter import AudioVisualEnv
from spl.records import Action

MOST_DECISIONS = 5_000  # that are looked at


class Choices(NamedTuple):
    """What is known of ``N`` greedy decisions."""

    values: list[float]  # Q of the chosen action
    leads: list[float]  # and how far it lies above the next one
    targets: list[float]  # reward, and the discounted highest Q-value of what followed: 0 after the end


def played_choices(
    agent: MultimodalDqn, env: AudioVisualEnv, *, history: int, seed: int, num_episodes: int
) -> Choices:
    """Play at most `MOST_DECISIONS` steps without exploring; rewards are as the memory keeps them.

    Nothing follows a lost life for an agent that learned so (``agent.terminal_on_life_loss``).

    Raises:
        RunError: if the environment fails.
    """
    found, sizes, gamma = Choices([], [], []), agent.network.sizes, agent.config.gamma
    steps = greedy_steps(agent, env, history=history, seed=seed, num_episodes=num_episodes)
    known, after = None, torch.empty(0)  # a stack, and the values there
    for one in islice(steps, MOST_DECISIONS):
        values = after if one.stack is known else _values(agent, one.stack)
        known, after = one.follows, _values(agent, one.follows)
        found.values.append(float(taken(values, torch.tensor([one.action]), sizes)))
        found.leads.append(lead_of(values[0], one.action, sizes))
        follows = 0.0 if one.is_terminal else float(taken(after, best(after, sizes), sizes))
        found.targets.append(agent.config.kept_reward(one.reward) + gamma * follows)
    return found


def _values(agent: MultimodalDqn, stack: Stack) -> Tensor:
    with torch.inference_mode():
        values: Tensor = agent.network(*stack.to(agent.device)).float().cpu()  # (1, A)
    return values


def lead_of(values: Tensor, action: Action, sizes: Sizes) -> float:
    """Return how far a best ``action`` by ``values (A,)`` lies above the next one; infinite for an only one.

    The next one differs in one dimension, in which it is the second best: ``min_j (Q_j - second Q_j) / J``.
    """
    leads = []
    for part, number in zip(torch.split(values, list(sizes)), numbers_of(action), strict=True):
        others = torch.cat([part[:number], part[number + 1 :]])
        if len(others):
            leads.append(float(part[number] - others.max()) / len(sizes))
    return min(leads, default=math.inf)


def sureness(choices: Choices) -> dict[str, Any]:
    """Return how often the lead of the chosen action is within its own error, as JSON holds it.

    Let ``T Q(s, a) = E[r + gamma max Q(s', .)]``, which the best values satisfy: ``T Q* = Q*``. Then
    ``Q - Q* = (Q - T Q) + (T Q - T Q*)``: an error made at this decision, and one inherited from those that
    follow. A lead is a difference of two values of one state, in which what both inherit alike cancels; the
    rest is the error of this decision, of which its step shows ``d = r + gamma max Q(s', .) - Q(s, a)``.
    Its noise ``n`` has mean 0, so ``E[d^2] = E[(T Q - Q)^2] + E[n^2]``: ``|d|`` is the error where the world
    leaves nothing to chance, and more than it, in the root of the mean square, elsewhere. Of the next action
    nothing is observed; with an error as large and independent, the lead's is ``sqrt(2) |d|``.

    The returns that followed would not serve: they also hold the errors of the state's value, such as of an
    episode's end that nobody sees coming, which has no part in the choice.

    Returns:
        ``decisions``; ``mean_error``, of ``sqrt(2) |d|``; ``mean_lead``; and ``unsure``, the share of
        decisions whose lead is at most their own error.
    """
    pairs = zip(choices.values, choices.targets, strict=True)
    errors = [math.sqrt(2) * abs(target - value) for value, target in pairs]
    count = len(errors)
    is_unsure = [lead <= error for lead, error in zip(choices.leads, errors, strict=True)]
    return {
        "decisions": count,
        "mean_error": sum(errors) / count,
        "mean_lead": sum(choices.leads) / count,
        "unsure": sum(is_unsure) / count,
    }


def played_sureness(
    agent: MultimodalDqn, env: AudioVisualEnv, *, history: int, seed: int, num_episodes: int
) -> dict[str, Any]:
    """Return the `sureness` of decisions that are played for it, with its ``sentence``.

    Of streams that are fused by their shares only a sentence that says why there is none: what is acted on
    there are no values, and rewards cannot be added to it.
    """
    if agent.network.heads.fuses_shares:
        return {
            "sentence": f"how sure the choices are is not told: fusion={agent.config.fusion} acts on shares "
            "of the streams' Q-values, which have no error in units of reward"
        }
    chosen = played_choices(agent, env, history=history, seed=seed, num_episodes=num_episodes)
    told = sureness(chosen)
    return told | {"sentence": sentence_of(told)}


def sentence_of(told: dict[str, Any]) -> str:
    """Return what `sureness` found, in words."""
    return (
        f"unsure in {told['unsure']:.1%} of {told['decisions']:,} decisions: the chosen action's lead over "
        f"the next best (mean {told['mean_lead']:.3g}) is within the error of the Q-values at that step "
        f"(mean {told['mean_error']:.3g})"
    )
