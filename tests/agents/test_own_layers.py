"""Layers of a user's own network that do something else while they learn: dropout and batch norm."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spl.agents.build import groups_of
from spl.agents.config import build_agent
from spl.agents.history import History
from spl.agents.train import train_agent
from spl.config.errors import UsageError
from spl.envs.registry import make_env
from spl.models.encoder import EncoderConfig
from spl.records import Batch
from spl.runs import checkpoint

CPU = torch.device("cpu")


class Own(nn.Module):
    """Reads all of both modalities, with a layer in between that is named."""

    def __init__(self, spec, *, history, layer="dropout"):
        super().__init__()
        self.features = 16
        sizes = [history * int(np.prod(shape)) for shape in (spec.video, spec.audio)]
        self.read = nn.Linear(sum(sizes), 16)
        self.layer = nn.Dropout(0.5) if layer == "dropout" else nn.BatchNorm1d(16)

    def forward(self, video: Tensor, audio: Tensor, present: Tensor) -> Tensor:
        dtype = self.read.weight.dtype
        seen = video.flatten(1).to(dtype) / 255 * present[:, :1]
        heard = audio.flatten(1).to(dtype) * present[:, 1:]
        read: Tensor = torch.relu(self.layer(self.read(torch.cat([seen, heard], dim=1))))
        return read


class Head(nn.Module):
    """Values of codes of which half are dropped."""

    def __init__(self, features, sizes):
        super().__init__()
        self.drop, self.values = nn.Dropout(0.5), nn.Linear(features, sum(sizes))

    def forward(self, code: Tensor) -> Tensor:
        values: Tensor = self.values(self.drop(code))
        return values


@pytest.fixture
def own(smoke):
    def make(layer, *words):
        config = smoke("--num_steps", "150", *words)
        return replace(config, encoder=EncoderConfig(custom={f"{__name__}:Own": {"layer": layer}}))

    return make


def agent_of(config):
    env = make_env(config.env)
    agent = build_agent(config, env.spec_of_streams, env.action_sizes, CPU)
    stacks = History(env.spec_of_streams, history=config.memory.history)
    stacks.push(env.reset(seed=1)[0], is_first=True)
    env.close()
    return agent, stacks


def batch_of(agent, stacks, size=8):
    video, audio, present, state, *_ = stacks.stack()
    now = [torch.cat([part] * size) for part in (video, audio, present)]
    numbers = torch.zeros(size, dtype=torch.int64), torch.ones(size), torch.full((size,), 0.9)
    return Batch(*now, *numbers, *now, *[torch.cat([state] * size)] * 2)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("words", [(), ("--agent.precision", "bfloat16")], ids=["float32", "bfloat16"])
def test_an_agent_acts_and_rates_without_dropout_and_learns_with_it(own, words):
    agent, stacks = agent_of(own("dropout", *words))
    batch = batch_of(agent, stacks)
    with torch.no_grad():
        values = [agent.network(*stacks.stack()) for _ in range(3)]
        assert torch.equal(values[0], values[1])
        assert torch.equal(values[0], values[2])
        assert torch.equal(agent.score(batch), agent.score(batch))
        assert len(set(agent.score(batch).tolist())) == 1, "equal transitions are rated alike"
    torch.manual_seed(0)
    before = torch.get_rng_state()
    losses = [agent.losses(batch).detach() for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before), "torch's generator is as it was"
    assert torch.equal(*losses), "of one update"
    assert len(set(losses[0][:8].tolist())) > 1, "what is dropped is drawn for each"
    agent.num_updates += 1
    assert not torch.equal(agent.losses(batch), losses[0]), "and anew for the next"
    assert not agent.network.training
    assert not any(module.training for module in agent.network.modules())


def test_dropout_in_a_head_is_for_learning_alone(smoke):
    agent, stacks = agent_of(smoke("--agent.head", f"{__name__}:Head"))
    batch = batch_of(agent, stacks)
    assert len(set(agent.score(batch).tolist())) == 1
    assert len(set(agent.losses(batch)[:8].tolist())) > 1


def test_a_batch_norm_lets_one_observation_be_acted_on_and_its_statistics_reach_the_target(own):
    agent, stacks = agent_of(own("norm", "--agent.target_every_updates", "3"))
    agent.decide(stacks.stack(), 0.0)
    optimizer = torch.optim.Adam(groups_of(own("norm"), agent))
    norm, rating = (network.encoder.module.layer for network in (agent.network, agent.target))
    for _ in range(3):
        agent.losses(batch_of(agent, stacks)).mean().backward()
        optimizer.step()
        assert not torch.equal(norm.running_mean, rating.running_mean)
        agent.sync()
    assert norm.num_batches_tracked > 0
    assert same(norm.state_dict(), rating.state_dict())


def test_running_statistics_are_refused_in_bfloat16(own):
    with pytest.raises(UsageError, match=r"BatchNorm1d \(encoder.module.layer\): use GroupNorm"):
        agent_of(own("norm", "--agent.precision", "bfloat16"))


@pytest.mark.parametrize("layer", ["dropout", "norm"])
def test_a_run_goes_on_and_is_evaluated_as_if_nothing_had_been(own, layer):
    def trained(config, stop_at=None):
        steps = []
        hook = None if stop_at is None else lambda step, _: steps.append(step) or step < stop_at
        done = train_agent(config, on_row=hook)
        if stop_at is not None:
            assert done.step < config.num_steps
            done = train_agent(config, resume=done.folder)
        assert done.is_finished
        return checkpoint.load(done.folder / "checkpoints")["agent"]["network"]

    words = "--report_every_steps", "10"
    whole = trained(own(layer, *words))
    assert same(whole, trained(own(layer, *words), stop_at=70))
    assert same(whole, trained(own(layer, *words, "--evaluate_every_steps", "50")))
