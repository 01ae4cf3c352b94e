"""Quantiles of the return by hand: their loss, what is acted on, and a distribution that is learned."""

import pytest
import torch

from spl.agents.config import TrainAgentConfig, build_agent
from spl.agents.q_network.heads import QHead
from spl.agents.q_network.quantiles import acted_on, middles, quantile_regression, weights_of_risk
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.records import StreamSpec
from spl.training.losses import temporal_difference

SPEC = StreamSpec((1, 36, 36), (1, 8, 4))


def test_middles_of_equal_shares():
    like = torch.zeros((), dtype=torch.float64)
    assert middles(1, like).tolist() == [0.5]
    assert middles(4, like).tolist() == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize(("huber", "expected"), [(False, 4.0), (True, 3.25)])
def test_the_loss_by_hand(huber, expected):
    # theta = 0, 2 at tau = 1/4, 3/4; y = 1, -3. delta: 1, -3; -1, -5
    # times |tau - 1[delta < 0]|, which is 1/4, 3/4; 1/4, 1/4:
    # magnitudes 0.25 + 2.25 + 0.25 + 1.25 = 4, Huber 0.125 + 1.875 + 0.125 + 1.125 = 3.25,
    # of which a fourth counts 2 sqrt(2) times
    loss = quantile_regression(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, -3.0]]), huber=huber)
    assert loss.tolist() == [pytest.approx(expected * 2**0.5 / 2)]


def test_it_is_0_where_one_target_is_every_quantile():
    values = torch.full((3, 5), 2.0)
    for huber in (False, True):
        assert quantile_regression(values, torch.full((3, 7), 2.0), huber=huber).tolist() == [0.0] * 3


def test_of_one_quantile_it_is_the_temporal_difference():
    generator = torch.Generator().manual_seed(0)
    values, targets = 3 * torch.randn(2, 50, 1, generator=generator, dtype=torch.float64)
    loss = quantile_regression(values, targets, huber=True)
    torch.testing.assert_close(loss, temporal_difference(values[:, 0], targets[:, 0]), rtol=0, atol=1e-12)


def test_descent_ends_at_the_targets_quantiles():
    targets = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 10.0, 10.0]])  # 10 with chance 0.3
    values = torch.full((1, 4), 5.0, requires_grad=True)
    optimizer = torch.optim.SGD([values], lr=2.0)
    for _ in range(400):
        optimizer.zero_grad()
        quantile_regression(values, targets, huber=True).sum().backward()
        optimizer.step()
    # at 1/8, 3/8 and 5/8 it is 0, at 7/8 it is 10, each as near as the quadratic part lets it come
    torch.testing.assert_close(values.detach(), torch.tensor([[0.0, 0.0, 0.0, 10.0]]), rtol=0, atol=0.8)


@pytest.mark.parametrize(
    ("risk", "weights", "value"),
    [
        (1.0, [0.25] * 4, 2.5),
        (0.5, [0.5, 0.5, 0.0, 0.0], 1.0),
        (0.375, [2 / 3, 1 / 3, 0.0, 0.0], 2 / 3),
        (0.001, [1.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_the_worst_share_by_hand(risk, weights, value):
    quantiles = torch.tensor([[[2.0, 0.0, 6.0, 2.0]]], dtype=torch.float64)  # crossed: 0, 2, 2, 6
    torch.testing.assert_close(
        weights_of_risk(4, risk, quantiles), torch.tensor(weights, dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert acted_on(quantiles, risk).tolist() == [[pytest.approx(value)]]


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"risk must be in \(0, 1\], got 0"):
        weights_of_risk(4, 0.0, torch.zeros(1))
    with pytest.raises(ValueError, match=r"must be \(B, N\) and \(B, M\), got \(3,\), \(3, 1\)"):
        quantile_regression(torch.zeros(3), torch.zeros(3, 1), huber=True)


def agent_of(*words: str):
    options = ["--config", "smoke/agent", "--device", "cpu", *words]
    config = parse(TrainAgentConfig, options, prog="spl")
    return build_agent(config, SPEC, (3, 2), torch.device("cpu"))


def test_an_agent_acts_by_the_mean_of_its_quantiles_in_every_view():
    stack = (torch.randint(256, (5, 4, *SPEC.video), dtype=torch.uint8), torch.rand(5, 4, *SPEC.audio))
    present = torch.ones(5, 2, dtype=torch.bool)
    for risk in ("1", "0.5"):
        network = agent_of("--agent.quantiles", "4", "--agent.risk", risk).network
        given = (*stack, present, torch.zeros(5, 0))
        (quantiles,) = network.values(*given)
        assert quantiles.shape == (5, 5, 4)
        torch.testing.assert_close(network(*given), acted_on(quantiles, float(risk)), rtol=0, atol=0)
        views = network.views(*given)
        assert views.whole.shape == (5, 5, 4)
        assert {one.shape for one in (*views.alone, *views.full)} == {(5, 5)}


def test_dueling_quantiles_are_centred_each_for_itself():
    head = QHead(6, (3, 2), dueling=True, quantiles=4)
    assert head.value is not None
    code = torch.randn(7, 6)
    centred = head(code) - head.value(code)[:, None]
    for part in centred.split([3, 2], dim=1):
        torch.testing.assert_close(part.mean(dim=1), torch.zeros(7, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--agent.risk", "0.5"], r"risk=0\.5 needs quantiles to choose among: set --agent\.quantiles 32"),
        (["--agent.quantiles", "8", "--agent.head", "a:B"], "quantiles=8 are those of our own head"),
        (["--agent.quantiles", "1"], r"quantiles must be in 2\.\.1024, got 1"),
        (["--agent.risk", "0"], "risk must be positive, got 0|risk must be"),
    ],
)
def test_options_that_do_not_go_together(words, told):
    with pytest.raises(UsageError, match=told):
        agent_of(*words)
