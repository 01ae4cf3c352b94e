"""The moving average of the weights: by hand, as part of an agent, and of runs made before there was one."""

import copy

import pytest
import torch
from torch import nn

from spl.agents.checkpoint import as_saved_now
from spl.agents.config import build_agent
from spl.agents.q_network.averaged import AveragedNetwork
from spl.records import StreamSpec

SPEC = StreamSpec((1, 36, 36), (1, 64, 8))


def set_to(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(value)


def test_the_average_by_hand():
    network = nn.Linear(1, 1, bias=False).double()
    network.register_buffer("count", torch.tensor(0))
    set_to(network, 1.0)
    average = AveragedNetwork(network, 0.25)
    weight = average.network.weight
    assert weight.item() == 1.0
    assert not weight.requires_grad
    set_to(network, 2.0)
    network.count += 3
    average.update(1)  # decay 2/11
    assert weight.item() == pytest.approx(2 / 11 + 2 * 9 / 11)
    assert average.network.count == 3
    before = weight.item()
    average.update(2)  # 3/12, which is the decay
    assert weight.item() == pytest.approx(0.25 * before + 0.75 * 2.0)
    before = weight.item()
    set_to(network, 0.0)
    average.update(10**6)  # the decay, however many updates there were
    assert weight.item() == pytest.approx(0.25 * before)
    average.begin_from(network)
    assert weight.item() == 0.0
    assert AveragedNetwork(network, 0.0).update(5) is None


def agent_of(smoke, *options):
    return build_agent(smoke(*options), SPEC, (4,), torch.device("cpu"))


def test_an_agent_averages_with_each_update_and_acts_by_it_when_asked(smoke):
    agent = agent_of(smoke, "--agent.ema_decay", "0.5")
    first = copy.deepcopy(agent.network.state_dict())
    for value in (1.0, 3.0):
        set_to(agent.network, value)
        agent.sync()
    once = {name: 2 / 11 * weight + 9 / 11 * 1.0 for name, weight in first.items()}
    expected = {name: 3 / 12 * weight + 9 / 12 * 3.0 for name, weight in once.items()}
    restored = agent_of(smoke, "--agent.ema_decay", "0.5")
    restored.load_state_dict(agent.state_dict())
    for one in (agent, restored):
        assert all(weight.eq(3.0).all() for weight in one.network.parameters())
        one.act_by_average()
        torch.testing.assert_close(one.network.state_dict(), expected)


def test_an_agent_acts_by_the_average_for_a_while(smoke):
    agent = agent_of(smoke, "--agent.ema_decay", "0.5")
    set_to(agent.network, 2.0)
    agent.sync()
    before = copy.deepcopy(agent.state_dict())
    with agent.by_average():
        torch.testing.assert_close(agent.network.state_dict(), before["averaged"], rtol=0, atol=0)
    torch.testing.assert_close(agent.state_dict()["network"], before["network"], rtol=0, atol=0)


def test_without_an_average_nothing_is_kept_and_the_newest_weights_act(smoke):
    agent = agent_of(smoke, "--agent.ema_decay", "null")
    set_to(agent.network, 2.0)
    agent.sync()
    agent.act_by_average()
    assert "averaged" not in agent.state_dict()
    assert all(weight.eq(2.0).all() for weight in agent.network.parameters())


def test_a_checkpoint_from_before_acts_by_its_newest_weights(smoke):
    agent = agent_of(smoke)
    set_to(agent.network, 2.0)
    state = agent.state_dict()
    del state["averaged"]
    agent.load_state_dict(as_saved_now({"agent": state}, agent)["agent"])
    agent.act_by_average()
    assert all(weight.eq(2.0).all() for weight in agent.network.parameters())


def test_an_encoder_to_begin_from_begins_the_average_too(smoke):
    agent = agent_of(smoke)
    encoder = {
        name: torch.full_like(weight, 0.5) for name, weight in agent.network.encoder.state_dict().items()
    }
    agent.begin_from(encoder)
    agent.act_by_average()
    assert all(weight.eq(0.5).all() for weight in agent.network.encoder.parameters())
