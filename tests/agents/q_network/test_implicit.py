"""Implicit quantiles by hand: the head, its loss, what is acted on and learned, and that a run resumes."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spl.agents.companions import Companions
from spl.agents.config import read_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.q_network.implicit import Fractions, ImplicitHead
from spl.agents.q_network.quantiles import middles, quantile_regression
from spl.agents.train import train_agent
from spl.config.errors import UsageError
from tests.agents.test_dqn import CPU, Table, batch_of
from tests.agents.test_loop import Bench
from tests.agents.test_train import quiet, state_of


def test_the_embedding_multiplies_the_code_by_hand() -> None:
    head = ImplicitHead(1, (2,), dueling=False, risk=1.0)
    with torch.no_grad():
        head.embedding.weight.zero_()
        head.embedding.weight[0, 1], head.embedding.bias[0] = 2.0, 0.5  # relu(2 cos(pi tau) + 1/2)
        head.values.advantage.weight[:, 0] = torch.tensor([1.0, -1.0])
        head.values.advantage.bias.zero_()
    found = head(torch.tensor([[3.0], [1.0]]), torch.tensor([[0.0, 1 / 3], [0.5, 1.0]]))  # (B, A, N)
    torch.testing.assert_close(found[0], torch.tensor([[7.5, 4.5], [-7.5, -4.5]]))
    torch.testing.assert_close(found[1], torch.tensor([[0.5, 0.0], [-0.5, 0.0]]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("risk", [1.0, 0.25])
def test_it_acts_at_the_middles_of_equal_shares_within_the_risk(risk: float) -> None:
    head, code = ImplicitHead(5, (2, 3), dueling=True, risk=risk), torch.randn(4, 5)
    taus = torch.tensor([risk * (2 * k + 1) / 64 for k in range(32)])
    found = head(code)
    assert found.shape == (4, 5, 32)
    torch.testing.assert_close(found, head(code, taus.expand(4, -1)))
    assert torch.equal(found, head(code))
    head(code, torch.rand(4, 3)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in head.parameters())


def test_the_loss_at_drawn_shares_by_hand() -> None:
    # theta = 0, 2 at tau = 0.1, 0.9; y = 1, -3. delta: 1, -3; -1, -5, which count 0.1, 0.9; 0.1, 0.1
    given = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, -3.0]])
    found = quantile_regression(*given, huber=False, fractions=torch.tensor([[0.1, 0.9]]))
    assert found.item() == pytest.approx(2 * 2**0.5 * (0.1 + 2.7 + 0.1 + 0.5) / 4)
    even = quantile_regression(*given, huber=True, fractions=middles(2, given[0])[None])
    assert torch.equal(even, quantile_regression(*given, huber=True))


def test_it_learns_the_quantiles_of_a_distribution() -> None:
    torch.manual_seed(0)
    head, generator = ImplicitHead(8, (1,), dueling=False, risk=1.0), torch.Generator().manual_seed(0)
    code, optimizer = torch.ones(64, 8), torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(250):
        returns = 4.0 * torch.rand(64, 1, generator=generator)  # quantile 4 tau
        taus = torch.rand(64, 8, generator=generator)
        optimizer.zero_grad()
        quantile_regression(head(code, taus)[:, 0], returns, huber=False, fractions=taus).mean().backward()
        optimizer.step()
    asked = torch.tensor([[0.1, 0.5, 0.9]])
    torch.testing.assert_close(head(code[:1], asked)[0, 0].detach(), 4.0 * asked[0], rtol=0, atol=0.5)


class Spread(Table):
    """Quantiles ``q + 4 tau`` of the table's values, at the shares asked for, else at 1/4 and 3/4."""

    def values(self, *given: Any) -> list[Tensor]:
        (values,) = super().values(*given[:4])
        taus = given[4] if len(given) > 4 else torch.tensor([[0.25, 0.75]])
        return [values[:, :, None] + 4.0 * taus[:, None]]


def test_what_is_rated_and_what_chooses() -> None:
    for double, following in ((True, 1.0), (False, 7.0)):
        network, target = Spread([[0.0, 0.0], [9.0, 8.0]]), Spread([[0.0, 0.0], [1.0, 7.0]])
        kept = {name: value.clone() for name, value in target.state_dict().items()}
        config = DqnConfig(head="implicit", quantiles=2, double=double)
        companions = Companions(fractions=Fractions(2, np.random.default_rng(3)))
        agent = MultimodalDqn(network, target, config, np.random.default_rng(0), CPU, companions)  # type: ignore[arg-type]
        target.load_state_dict(kept)
        batch = batch_of([0], [1], action=[0], reward=[1.0], discount=[0.5])
        taus = torch.tensor([[0.25, 0.75]])
        expected = quantile_regression(
            4.0 * taus, 1.0 + 0.5 * (following + 4.0 * taus), huber=True, fractions=taus
        )
        assert agent.score(batch).tolist() == [pytest.approx(expected.item())]
        now, ahead = Fractions(2, np.random.default_rng(3)).draw(1, CPU)
        drawn = quantile_regression(
            4.0 * now, 1.0 + 0.5 * (following + 4.0 * ahead), huber=True, fractions=now
        )
        assert agent.losses(batch).tolist() == [pytest.approx(drawn.item())]
        assert not math.isclose(agent.losses(batch).item(), drawn.item())  # drawn anew


def test_shares_are_drawn_over_all_of_the_probability() -> None:
    now, ahead = Fractions(8, np.random.default_rng(0)).draw(200, CPU)
    assert now.shape == ahead.shape == (200, 8)
    assert not torch.equal(now, ahead)
    for taus in (now, ahead):
        assert 0.0 <= taus.min() < 0.01 < 0.99 < taus.max() < 1.0


def test_in_thirds_the_whole_view_alone_has_implicit_quantiles() -> None:
    bench = Bench(thirds="auto", head="implicit", quantiles=4, risk=0.5)
    bench.collect(30)
    batch = bench.memory.at(bench.memory.draw(6, np.random.default_rng(0)))
    views = bench.agent.network.views(batch.video, batch.audio, batch.present, batch.state)
    assert views.whole.shape == (6, 4, 32)
    assert {one.shape for one in (*views.alone, *views.full)} == {(6, 4)}
    acted = bench.agent.network(batch.video, batch.audio, batch.present, batch.state)
    torch.testing.assert_close(acted, views.whole.mean(dim=2))
    for soon in (None, batch.following):
        losses = bench.agent.losses(batch, soon)
        assert losses.shape == (18,)
        losses.sum().backward()
    assert bench.agent.network.heads[0].embedding.weight.grad.any()


def test_a_run_resumes_to_the_bit_and_is_evaluated_alike(smoke) -> None:
    words = ["head", "implicit", "quantiles", "4", "risk", "0.5", "thirds", "asymmetric", "n_step", "2"]
    words += ["precision", "bfloat16"]
    named = [f"--agent.{word}" if number % 2 == 0 else word for number, word in enumerate(words)]
    config = smoke(*named, "--num_steps", "110")
    whole = train_agent(config, console=quiet()).folder
    folder = train_agent(replace(config, num_steps=97), console=quiet()).folder
    assert state_of(train_agent(config, resume=folder, console=quiet()).folder) == state_of(whole)
    assert read_run(whole).agent.kind_of_head == "implicit"
    options = EvaluateAgentConfig(num_seeds=1, num_episodes=1, device="cpu")
    one, two = (
        evaluate_agent(run, options)["conditions"]["all modalities"]["mean"] for run in (whole, folder)
    )
    assert one == two


@pytest.mark.parametrize(
    ("options", "kind", "num"),
    [
        ({}, "mean", None),
        ({"head": "mean"}, "mean", None),
        ({"quantiles": 8}, "quantile", 8),  # as runs say it that were made before heads had names
        ({"head": "quantile"}, "quantile", 32),
        ({"head": "implicit", "quantiles": 16}, "implicit", 16),
        ({"head": "a:B"}, "own", None),
        ({"head": {"a:B": {"width": 3}}}, "own", None),
    ],
)
def test_one_option_names_the_head(options, kind, num) -> None:
    config = DqnConfig(**options)
    assert (config.kind_of_head, config.num_quantiles) == (kind, num)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--agent.head", "quantil"],
            r"head must be mean, quantile, implicit, or module:Class of your own, got 'q",
        ),
        (
            ["--agent.head", "mean", "--agent.quantiles", "8"],
            "quantiles=8 are those of another head: set --agent",
        ),
        (["--agent.head", "mean", "--agent.risk", "0.5"], r"risk=0\.5 needs quantiles to choose among"),
    ],
)
def test_options_that_do_not_go_together(words, told, smoke) -> None:
    with pytest.raises(UsageError, match=told):
        smoke(*words)
