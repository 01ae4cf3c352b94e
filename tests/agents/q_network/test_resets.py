"""Resets and annealing by hand: what begins anew and what stays, horizons, and that such a run resumes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from spl.agents.dqn_config import DqnConfig
from spl.agents.replay.memory import ReplayMemory
from spl.agents.train import train_agent
from spl.records import Observation, StreamSpec, Transition
from spl.runs import checkpoint
from tests.agents.test_loop import Bench
from tests.agents.test_train import quiet, state_of


def test_a_reset_by_hand() -> None:
    agent = Bench(reset_every_updates=3).agent
    assert agent.redraw is not None
    for update in (3, 6):
        before = copy.deepcopy(agent.network)
        for _ in range(2):
            assert list(agent.sync()) == []
        assert all(map(torch.equal, before.parameters(), agent.network.parameters()))
        anew, drawn = agent.sync(), agent.redraw(update)
        for old, new, now in zip(
            before.encoder.parameters(),
            drawn.encoder.parameters(),
            agent.network.encoder.parameters(),
            strict=True,
        ):
            torch.testing.assert_close(now, (old + new) / 2)
        heads = agent.network.parameters_of_heads()
        assert all(one is other for one, other in zip(anew, heads, strict=True))
        assert all(map(torch.equal, heads, drawn.parameters_of_heads()))
        assert agent.averaged is not None
        for other in (agent.target, agent.averaged.network):
            assert all(map(torch.equal, other.parameters(), agent.network.parameters()))
    three, again, six = (agent.redraw(update).heads[0].advantage.weight for update in (3, 3, 6))
    assert torch.equal(three, again)
    assert not torch.equal(three, six)


def test_the_optimizer_forgets_what_was_drawn_anew() -> None:
    bench = Bench(reset_every_updates=2)
    bench.optimizer = torch.optim.Adam(bench.agent.network.parameters())
    bench.collect(30)
    bench.learn()  # two updates
    heads = {id(weight) for weight in bench.agent.network.parameters_of_heads()}
    assert heads
    assert not heads & {id(weight) for weight in bench.optimizer.state}
    assert len(bench.optimizer.state) == len([*bench.agent.network.encoder.parameters()])
    bench.learn()
    assert bench.agent.num_updates == 4


def test_a_frozen_encoder_stays() -> None:
    agent = Bench(reset_every_updates=1).agent
    agent.network.encoder.requires_grad_(False)
    before = copy.deepcopy(agent.network)
    agent.sync()
    assert all(map(torch.equal, before.encoder.parameters(), agent.network.encoder.parameters()))
    assert not torch.equal(before.heads[0].advantage.weight, agent.network.heads[0].advantage.weight)


def test_horizons_at_both_ends_and_between() -> None:
    config = DqnConfig(n_step=3, n_step_start=10, gamma=0.997, gamma_start=0.97, anneal_updates=100)
    assert config.longest_n_step == 10
    found = [config.horizon_at(update) for update in (0, 50, 100, 10**6)]
    assert [n_step for n_step, _ in found] == [10, 5, 3, 3]  # 3 sqrt(10 / 3) = 5.5
    assert [gamma for _, gamma in found] == pytest.approx([0.97, 1 - (0.03 * 0.003) ** 0.5, 0.997, 0.997])
    assert DqnConfig(n_step_start=4).horizon_at(0) == (4, 0.95)
    assert not DqnConfig().is_annealed


def test_an_agent_s_horizon_begins_again_with_a_reset() -> None:
    agent = Bench(n_step_start=8, anneal_updates=3, reset_every_updates=4).agent
    found = []
    for _ in range(6):
        assert agent.horizon is not None
        found.append(agent.horizon[0])
        agent.sync()
    assert found == [8, 4, 2, 1, 8, 4]
    assert Bench().agent.horizon is None


def test_a_memory_looks_as_far_ahead_as_it_is_told() -> None:
    spec = StreamSpec((1, 1, 1), (1, 1, 1))
    memory = ReplayMemory(spec, 20, history=1, n_step=2, gamma=0.9)
    ears = np.zeros(spec.audio, np.float16), np.ones(2, np.bool_)
    seen = [Observation(np.full(spec.video, number, np.uint8), *ears) for number in range(4)]
    memory.begin(seen[0])
    for number, reward in ((1, 1.0), (2, 2.0), (3, 4.0)):
        memory.add(Transition(seen[number - 1], 0, reward, number == 3, False, seen[number]))
    found = {}
    for n_step, gamma in ((1, 0.5), (2, 0.5), (2, 0.1)):
        memory.look_ahead(n_step, gamma)
        batch = memory.gather(*memory.indices())
        found[n_step, gamma] = (
            batch.reward.tolist(),
            batch.discount.tolist(),
            batch.next_video.flatten().tolist(),
        )
        assert (memory.one_ahead(np.array([0])) is None) is (n_step == 1)
    assert found[1, 0.5] == ([1.0, 2.0, 4.0], [0.5, 0.5, 0.0], [1, 2, 3])
    assert found[2, 0.5] == ([2.0, 4.0, 4.0], [0.25, 0.0, 0.0], [2, 3, 3])
    assert found[2, 0.1][0] == pytest.approx([1.2, 2.4, 4.0])
    with pytest.raises(ValueError, match=r"n_step must be in 1\.\.2, as this memory was made, got 3"):
        memory.look_ahead(3, 0.5)


def test_a_run_with_all_of_it_resumes_to_the_bit(smoke) -> None:
    words = ["n_step_start", "4", "gamma_start", "0.5", "anneal_updates", "9", "reset_every_updates", "7"]
    words += ["munchausen", "0.9", "double", "false", "thirds", "asymmetric"]
    named = [f"--agent.{word}" if number % 2 == 0 else word for number, word in enumerate(words)]
    config = smoke(*named, "--num_steps", "110")
    whole = train_agent(config, console=quiet()).folder
    assert checkpoint.load(whole / "checkpoints")["agent"]["num_updates"] > 8
    folder = train_agent(replace(config, num_steps=97), console=quiet()).folder
    assert state_of(train_agent(config, resume=folder, console=quiet()).folder) == state_of(whole)
