"""Munchausen targets by hand: the policy's term at both ends and between, and what follows."""

from itertools import product
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spl.agents.dqn_config import DqnConfig
from spl.agents.q_network.munchausen import log_policy, munchausen_reward, soft_value
from tests.agents.test_dqn import Table, agent_of, batch_of
from tests.agents.test_loop import Bench

LN3, LN4 = log(3.0), log(4.0)
ENTROPY = -(0.25 * log(0.25) + 0.75 * log(0.75))  # of the policy 1/4, 3/4


def reward_of(values: list[float], action: int, temperature: float) -> float:
    found = munchausen_reward(
        torch.tensor([values]),
        torch.tensor([action]),
        share=0.9,
        temperature=temperature,
        sizes=(len(values),),
    )
    return found.item()


def test_the_policy_s_term_at_both_ends_and_between() -> None:
    assert reward_of([0.0, LN3], 1, 1.0) == pytest.approx(0.9 * log(0.75))  # between
    assert reward_of([0.0, LN3], 0, 1.0) == pytest.approx(-0.9)  # log(1/4) < -1: cut
    assert reward_of([0.0, 30.0], 1, 0.03) == pytest.approx(0.0, abs=1e-6)  # as good as certain
    assert reward_of([0.0, 30.0], 0, 0.03) == pytest.approx(-0.9)
    assert reward_of([0.0, 0.6], 0, 0.5) == pytest.approx(-0.9 * 0.5 * log(1 + exp(1.2)))


def test_the_soft_value_by_hand() -> None:
    options: dict[str, Any] = {"temperature": 1.0, "sizes": (2,)}
    values = torch.tensor([[0.0, LN3]])
    assert soft_value(values, values, **options).tolist() == [pytest.approx(LN4)]
    quantiles = torch.tensor([[[-1.0, 1.0], [LN3 - 2.0, LN3 + 2.0]]])
    found = soft_value(quantiles, quantiles.mean(dim=2), **options)[0].tolist()
    assert found == pytest.approx(
        [-0.25 + 0.75 * (LN3 - 2.0) + ENTROPY, 0.25 + 0.75 * (LN3 + 2.0) + ENTROPY], abs=1e-6
    )
    far = torch.tensor([[0.0, 25.0]])
    assert soft_value(far, far, temperature=0.03, sizes=(2,)).tolist() == [pytest.approx(25.0)]


def test_of_several_dimensions_it_is_the_softmax_over_all_actions() -> None:
    sizes, values = (2, 3), torch.tensor([[0.3, -0.2, 1.0, 0.1, 0.4]])
    every = [*product(range(2), range(3))]
    whole = torch.stack([(values[0, a] + values[0, 2 + b]) / 2 for a, b in every])  # Q(s, a) of each action
    logs = (whole / 0.5).log_softmax(dim=0)
    for action, expected in zip(every, logs, strict=True):
        given = munchausen_reward(values, torch.tensor([action]), share=1.0, temperature=0.5, sizes=sizes)
        assert given.item() == pytest.approx(max(0.5 * expected.item(), -1.0), abs=1e-6)
    soft = 0.5 * (whole / 0.5).logsumexp(dim=0)
    assert soft_value(values, values, temperature=0.5, sizes=sizes).item() == pytest.approx(soft.item())
    assert log_policy(values, 0.5, sizes).shape == (1, 5)


def target_of(agent_values: Any, **options: Any) -> Tensor:
    """Return what the loss of Q = 0 says that the target is, of the actions 1 and 0 in state 0."""
    zero = torch.zeros_like(torch.tensor(agent_values)).tolist()
    agent = agent_of(Table(zero), Table(agent_values), munchausen=0.9, munchausen_temperature=1.0, **options)
    return agent.losses(batch_of([0, 0], [1, 1], action=[1, 0], reward=[3.0, 3.0], discount=[0.5, 0.0]))


def test_the_loss_compares_with_the_munchausen_target() -> None:
    losses = target_of([[0.0, LN3], [LN3, 0.0]])
    targets = [3.0 + 0.9 * log(0.75) + 0.5 * LN4, 3.0 - 0.9]
    assert (2 * losses).sqrt().tolist() == pytest.approx(targets)


def test_each_quantile_has_a_munchausen_target() -> None:
    state = [[0.0, 0.0], [LN3 - 1.0, LN3 + 1.0]]
    losses = target_of([state, state], quantiles=2, huber=True)
    following = [0.75 * (LN3 - 1.0) + ENTROPY, 0.75 * (LN3 + 1.0) + ENTROPY]
    mean = 3.0 + 0.9 * log(0.75) + 0.5 * sum(following) / 2
    # squared errors would differ; |delta|, all positive, weighs 1/4 and 3/4: 2 sqrt(2) times half the mean
    assert losses[0].item() == pytest.approx(2**0.5 * (mean - 0.5))  # Huber: |delta| - 1/2


@pytest.mark.parametrize("has_soon", [False, True])
def test_only_the_whole_view_is_munchausen_s(has_soon: bool) -> None:
    found = []
    for options in ({}, {"munchausen": 0.9}):
        bench = Bench(thirds="auto", double=False, **options)
        bench.collect(30)
        places = bench.memory.draw(8, np.random.default_rng(0))
        soon = bench.memory.at(places).following if has_soon else None
        found.append(bench.agent.losses(bench.memory.at(places), soon).reshape(3, 8))
    assert not torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1:], found[1][1:], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"munchausen": 0.9}, r"munchausen=0\.9 learns a soft policy's value.* set --agent\.double false"),
        ({"munchausen_temperature": 0.1}, r"munchausen_temperature=0\.1 is of munchausen alone"),
        ({"gamma": 1.0, "gamma_start": 0.9}, "gamma=1 is never neared from gamma_start"),
        ({"anneal_updates": 5}, r"anneal_updates=5 anneals nothing: set --agent\.n_step_start or"),
    ],
)
def test_options_that_do_not_go_together(options, told) -> None:
    with pytest.raises(ValueError, match=told):
        DqnConfig(**options)
