"""Sparsity while an agent learns: the gradient by hand, what sees it, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spl.agents.dqn_config import DqnConfig
from spl.agents.pretrained_config import PretrainedConfig
from spl.models.hidden_units import encoder_units
from spl.records import Batch, Following
from tests.agents.test_loop import Bench

MDQN = {"fusion": "mdqn", "dueling": False}
KINDS: list[dict[str, Any]] = [{}, {"thirds": "auto"}, {"precision": "bfloat16"}, MDQN]


def drawn(bench: Bench, size: int = 8) -> tuple[Batch, Following | None]:
    places = bench.curriculum().draw(size, 0).places
    return bench.memory.at(places), bench.memory.one_ahead(places)


def gradients(bench: Bench) -> dict[str, Tensor]:
    network = bench.agent.network
    found = {name: one.grad for name, one in network.named_parameters() if one.grad is not None}
    network.zero_grad(set_to_none=True)
    return found


def bench_of(**agent: Any) -> Bench:
    made = Bench(**agent)
    made.collect(30)
    return made


@pytest.mark.parametrize("kind", KINDS, ids=["whole", "thirds", "bfloat16", "mdqn"])
def test_the_gradient_gains_that_of_the_penalty_and_the_losses_stay(kind: dict[str, Any]) -> None:
    plain, sparse = (
        bench_of(**kind),
        bench_of(**kind, sparsity="squared", sparsity_target=0.3, sparsity_weight=2.0),
    )
    losses, found = (one.agent.losses(*drawn(one)) for one in (plain, sparse))
    assert torch.equal(found, losses), "the curriculum and the rows are told the same"
    for value in (losses, found):
        value.mean().backward()
    without, gained = gradients(plain), gradients(sparse)
    with encoder_units(plain.agent.network.encoder) as units:
        plain.agent.losses(*drawn(plain))
    num_views = 3 if "thirds" in kind else 1
    sizes = {"video.0": 8, "audio.0": 8} | ({} if kind is MDQN else {"code": 8 * num_views})
    assert {name: len(made) for name, made in units.items()} == sizes, "of what learns, and once"
    (2.0 * sum((0.3 - made.float().mean(dim=0)).square().sum() for made in units.values())).backward()
    added = gradients(plain)
    loose = {"rtol": 0.02, "atol": 1e-3} if "precision" in kind else {"rtol": 1e-3, "atol": 1e-6}
    for name, gradient in gained.items():
        expected = without[name] + added.get(name, torch.zeros_like(gradient))
        torch.testing.assert_close(gradient, expected, **loose)
    assert max(one.abs().max() for one in added.values()) > 0.01


@pytest.mark.parametrize("kind", ["squared", "l1"])
def test_units_come_to_their_target_while_the_agent_learns(kind: str) -> None:
    target = 0.2 if kind == "squared" else 0.0
    far = []
    for options in ({}, {"sparsity": kind, "sparsity_target": 0.2, "sparsity_weight": 1.0}):
        bench = bench_of(thirds="auto", **options)
        for _ in range(30):
            list(bench.learning())
        with encoder_units(bench.agent.network.encoder) as units:
            bench.agent.losses(*drawn(bench))
        far.append(sum(float((target - made.detach().mean(dim=0)).abs().sum()) for made in units.values()))
    assert far[1] < 0.8 * far[0]


def test_scores_and_acting_see_nothing_of_it() -> None:
    sparse = bench_of(thirds="auto", sparsity="squared")
    batch, _ = drawn(sparse)
    assert torch.equal(sparse.agent.score(batch), bench_of(thirds="auto").agent.score(batch))
    assert not any(module._forward_hooks for module in sparse.agent.network.modules())


def test_what_cannot_be_drawn_is_refused(smoke: Any) -> None:
    with pytest.raises(ValueError, match=r"compiled losses do not show: set --agent\.compile false"):
        DqnConfig(sparsity="l1", compile=True)
    frozen = PretrainedConfig(run="x", mode="frozen")
    with pytest.raises(ValueError, match=r"agent\.sparsity squared would teach a frozen encoder nothing"):
        replace(smoke("--agent.sparsity", "squared"), pretrained=frozen)
