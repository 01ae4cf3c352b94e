"""Targets, losses, fusion and acting of the multimodal deep Q-network, by hand on tables of Q-values."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.exploration import best_of
from spl.agents.history import Stack
from spl.agents.q_network.heads import fuse_normalised
from spl.agents.q_network.network import MultimodalQNetwork
from spl.agents.replay.memory import ReplayMemory
from spl.models.encoder import TwoStreamEncoder
from spl.records import Batch, Observation, StreamSpec, Transition

CASES = json.loads((Path(__file__).parents[1] / "data" / "mdqn.json").read_text())
SPEC = StreamSpec(video=(1, 36, 36), audio=(1, 8, 4))
CPU = torch.device("cpu")
PLAIN: dict[str, Any] = {"double": False, "dueling": False, "huber": False}


class Table(nn.Module):
    """Q-values looked up by the state's number, which the newest video pixel tells; one table a stream."""

    def __init__(self, *tables: Any) -> None:
        super().__init__()
        self.tables = nn.ParameterList(torch.tensor(table) for table in tables)
        self.sizes, self.privileged, self.state = (len(tables[0][0]),), None, None
        self.recurrent, self.picture_norm = None, None
        self.num_calls = 0

    def values(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor) -> list[Tensor]:
        self.num_calls += 1
        return [table[video[:, -1, 0, 0, 0].long()] for table in self.tables]

    def counting(self, present: Tensor) -> Tensor:
        return present if len(self.tables) == 2 else torch.ones_like(present[:, :1])

    def forward(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor) -> Tensor:
        values = self.values(video, audio, present, state)
        return values[0] if len(values) == 1 else fuse_normalised(values, present)

    def step(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor, _: None) -> Any:
        return self(video, audio, present, state), None


def agent_of(network: nn.Module, target: nn.Module, seed: int = 0, **options: Any) -> MultimodalDqn:
    """Return an agent whose target network keeps its own values."""
    kept = {name: value.clone() for name, value in target.state_dict().items()}
    config = DqnConfig(**{**PLAIN, **options})
    agent = MultimodalDqn(network, target, config, np.random.default_rng(seed), CPU)  # type: ignore[arg-type]
    target.load_state_dict(kept)
    return agent


def states(numbers: list[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.uint8).reshape(-1, 1, 1, 1, 1)


def batch_of(
    state: list[int],
    following: list[int],
    *,
    action: list[int],
    reward: list[float],
    discount: list[float],
    present: list[list[bool]] | None = None,
) -> Batch:
    audio, flags = torch.zeros(len(state), 1, 1, 1, 1), torch.ones(len(state), 2, dtype=torch.bool)
    seen = flags if present is None else torch.tensor(present)
    numbers = torch.tensor(action), torch.tensor(reward), torch.tensor(discount)
    no_state = torch.zeros(len(state), 0)
    return Batch(states(state), audio, seen, *numbers, states(following), audio, flags, no_state, no_state)


def stack_of(numbers: list[int]) -> Stack:
    flags = torch.ones(len(numbers), 2, dtype=torch.bool)
    return Stack(states(numbers), torch.zeros(len(numbers), 1, 1, 1, 1), flags, torch.zeros(len(numbers), 0))


def network_of(
    *, dueling: bool = False, fusion: str = "joint", spec: StreamSpec = SPEC
) -> MultimodalQNetwork:
    torch.manual_seed(0)
    sizes = {"video_features": 6, "audio_stream": "conv", "audio_features": 5, "features": 7}
    encoder = TwoStreamEncoder(spec, history=2, video_stream="small", attention="none", **sizes)
    return MultimodalQNetwork(encoder, (4,), dueling=dueling, fusion=fusion)


def observations(num: int = 3, spec: StreamSpec = SPEC) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    video = torch.randint(256, (num, 2, *spec.video), dtype=torch.uint8, generator=generator)
    audio = torch.rand(num, 2, *spec.audio, generator=generator).half()
    return video, audio, torch.ones(num, 2, dtype=torch.bool)


def test_targets_by_hand_with_and_without_an_end() -> None:
    case = CASES["target"]
    online, target = Table([[0.0] * 4] * 4), Table(case["q_next"])
    discount = [case["gamma"] * (1 - terminal) for terminal in case["terminal"]]
    batch = batch_of([0] * 4, [0, 1, 2, 3], action=[0] * 4, reward=case["r"], discount=discount)
    losses = agent_of(online, target).losses(batch)
    torch.testing.assert_close((2 * losses).sqrt(), torch.tensor(case["y"]))


def test_the_loss_compares_the_action_taken() -> None:
    online, target = Table([[1.0, 2.0, 4.0]]), Table([[0.0, 0.0, 0.0]])
    batch = batch_of([0] * 3, [0] * 3, action=[0, 1, 2], reward=[4.0] * 3, discount=[1.0] * 3)
    losses = agent_of(online, target).losses(batch)
    assert losses.tolist() == [4.5, 2.0, 0.0]
    losses.sum().backward()
    assert online.tables[0].grad.tolist() == [[-3.0, -2.0, 0.0]]
    assert target.tables[0].grad is None


@pytest.mark.parametrize(("double", "rated"), [(False, 5.0), (True, 2.0)])
def test_double_lets_the_network_choose_what_the_target_rates(double: bool, rated: float) -> None:
    online, target = Table([[0.0, 0.0], [0.0, 1.0]]), Table([[9.0, 9.0], [5.0, 2.0]])
    batch = batch_of([0], [1], action=[0], reward=[1.0], discount=[0.5])
    losses = agent_of(online, target, double=double).losses(batch)
    assert losses.item() == pytest.approx((1.0 + 0.5 * rated) ** 2 / 2)
    losses.sum().backward()
    assert online.tables[0].grad[1].abs().max() == 0.0  # nothing flows through what was chosen


@pytest.mark.parametrize(("huber", "expected"), [(True, [0.125, 2.5]), (False, [0.125, 4.5])])
def test_huber_or_squared(huber: bool, expected: list[float]) -> None:
    batch = batch_of([0, 0], [0, 0], action=[0, 0], reward=[0.5, 3.0], discount=[0.0, 0.0])
    table = Table([[0.0, 0.0]])
    assert agent_of(table, Table([[0.0, 0.0]]), huber=huber).losses(batch).tolist() == expected


def test_discount_and_reward_are_the_batch_s() -> None:
    batch = batch_of([0] * 3, [0] * 3, action=[0] * 3, reward=[2.0] * 3, discount=[0.25, 0.5, 0.0])
    agent = agent_of(Table([[0.0, 0.0]]), Table([[1.0, 4.0]]), gamma=0.9)
    assert (2 * agent.losses(batch)).sqrt().tolist() == pytest.approx([3.0, 4.0, 2.0])


@pytest.mark.parametrize(("n_step", "expected"), [(1, [6.0, 7.0, 4.0]), (2, [4.5, 4.0, 4.0])])
def test_gamma_and_n_step_reach_the_target_through_the_memory(n_step: int, expected: list[float]) -> None:
    spec = StreamSpec((1, 1, 1), (1, 1, 1))
    memory = ReplayMemory(spec, 20, history=1, n_step=n_step, gamma=0.5)
    ears = np.zeros(spec.audio, np.float16), np.ones(2, np.bool_)
    seen = [Observation(np.full(spec.video, number, np.uint8), *ears) for number in range(4)]
    memory.begin(seen[0])
    for number, reward in ((1, 1.0), (2, 2.0), (3, 4.0)):
        memory.add(Transition(seen[number - 1], 0, reward, number == 3, False, seen[number]))
    batch = memory.gather(*memory.indices())
    agent = agent_of(Table([[0.0, 0.0]] * 4), Table([[0.0, 10.0]] * 4))
    # one step: 1 + 10/2, 2 + 10/2, 4; two: 1 + 2/2 + 10/4, 2 + 4/2, 4, the last two cut by the end
    assert (2 * agent.losses(batch)).sqrt().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("dueling", [False, True])
def test_a_head_has_a_value_only_with_dueling(dueling: bool) -> None:
    network = network_of(dueling=dueling)
    assert sum(parameter.numel() for parameter in network.heads.parameters()) == 4 * 8 + 8 * dueling
    assert network(*observations()).shape == (3, 4)
    network(*observations()).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.parametrize(("num_envs", "num_threads"), [(1, 1), (2, 2)])
def test_a_decision_of_one_environment_is_made_on_one_thread(num_envs: int, num_threads: int) -> None:
    counted = []

    class Counting(Table):
        def forward(self, *given: Any) -> Tensor:
            counted.append(torch.get_num_threads())
            return super().forward(*given)

    agent = agent_of(Counting([[1.0, 2.0]]), Table([[1.0, 2.0]]))
    torch.set_num_threads(2)
    assert agent.act(stack_of([0] * num_envs), 0.0) == [1] * num_envs
    assert counted == [num_threads]
    assert torch.get_num_threads() == 2


def test_mdqn_trains_each_stream_on_its_own_and_acts_on_both() -> None:
    network = network_of(fusion="mdqn")
    seen, heard = network.values(*observations())
    fused = fuse_normalised([seen, heard], torch.ones(3, 2, dtype=torch.bool))
    assert torch.equal(network(*observations()), fused)
    for loss, own in ((seen, 0), (heard, 1)):
        network.zero_grad()
        loss.square().sum().backward(retain_graph=True)
        for stream, part in enumerate((network.encoder.video, network.encoder.audio)):
            parameters = [*part.parameters(), *network.heads[stream].parameters()]
            reached = [p.grad is not None and bool(p.grad.abs().max() > 0) for p in parameters]
            assert set(reached) == {stream == own}


@pytest.mark.parametrize(
    ("double", "risk", "loss"),
    [
        (True, 1.0, 1.0),  # 5 > 4: action 0, whose quantiles are 1, 3; targets 1.5, 2.5
        (True, 0.5, 3.5),  # the worse halves, 0 < 4: action 1; targets 4.5, 4.5
        (False, 1.0, 3.5),  # 2 < 7 in the target network: action 1
    ],
)
def test_each_quantile_has_its_target_and_their_mean_or_the_worst_chooses(double, risk, loss):
    network = Table([[[0.0, 2.0], [1.0, 1.0]], [[0.0, 10.0], [4.0, 4.0]]])
    target = Table([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 3.0], [7.0, 7.0]]])
    agent = agent_of(network, target, quantiles=2, risk=risk, double=double)
    batch = batch_of([0], [1], action=[1], reward=[1.0], discount=[0.5])
    # both quantiles of action 1 in state 0 are 1: 2 sqrt(2) times the mean of 1/4 and 3/4 of what they lack
    assert agent.losses(batch).tolist() == [pytest.approx(loss * 2**0.5)]


def test_mdqn_adds_the_losses_of_the_streams_that_are_present() -> None:
    online = Table([[0.0, 0.0]], [[0.0, 0.0]])
    target = Table([[1.0, 3.0]], [[5.0, 2.0]])
    agent = agent_of(online, target, fusion="mdqn")
    flags = [[True, True], [True, False], [False, True], [False, False]]
    batch = batch_of([0] * 4, [0] * 4, action=[1] * 4, reward=[1.0] * 4, discount=[1.0] * 4, present=flags)
    # each stream on its own maximum: (1 + 3)^2 / 2 = 8 and (1 + 5)^2 / 2 = 18
    assert agent.losses(batch).tolist() == [26.0, 8.0, 18.0, 0.0]
    agent.losses(batch)[1].backward()
    assert online.tables[0].grad.tolist() == [[0.0, -4.0]]
    assert online.tables[1].grad is None or online.tables[1].grad.abs().max() == 0.0


def test_mdqn_learns_no_stream_from_a_target_without_it() -> None:
    """A head that never learned a value of an absent stream is not asked for one; an end needs none."""
    agent = agent_of(Table([[0.0, 0.0]], [[0.0, 0.0]]), Table([[1.0, 3.0]], [[5.0, 2.0]]), fusion="mdqn")
    batch = batch_of([0] * 3, [0] * 3, action=[1] * 3, reward=[1.0] * 3, discount=[1.0, 1.0, 0.0])
    lost = batch._replace(next_present=torch.tensor([[True, False], [False, True], [False, False]]))
    assert agent.losses(lost).tolist() == [8.0, 18.0, 1.0]  # as above; at the end 1/2 of either stream
    assert lost.present_throughout.tolist() == [[True, False], [False, True], [True, True]]


@pytest.mark.parametrize("lacking", ["video", "audio"])
@pytest.mark.parametrize("fusion", ["joint", "mdqn"])
def test_one_modality_is_enough(fusion: str, lacking: str) -> None:
    spec = SPEC._replace(**{lacking: (0, 0, 0)})
    agent = agent_of(
        network_of(fusion=fusion, spec=spec), network_of(fusion=fusion, spec=spec), fusion=fusion
    )
    video, audio, present = observations(spec=spec)
    present[:, ["video", "audio"].index(lacking)] = False
    assert len(agent.network.heads) == 1
    no_state = torch.zeros(3, 0)
    assert len(agent.act(Stack(video, audio, present, no_state), 0.0)) == 3
    numbers = torch.zeros(3, dtype=torch.int64), torch.ones(3), torch.zeros(3)
    following = video, audio, present
    losses = agent.losses(Batch(video, audio, present, *numbers, *following, no_state, no_state))
    assert losses.shape == (3,)
    assert (losses > 0).all()


def test_the_target_moves_only_when_it_is_due() -> None:
    online, target = Table([[1.0, 2.0]]), Table([[0.0, 0.0]])
    agent = agent_of(online, target, target_every_updates=3)
    found = []
    for _ in range(7):
        agent.sync()
        found.append(target.tables[0].tolist()[0] == [1.0, 2.0])
        if found[-1]:
            target.tables[0].zero_()
    assert found == [False, False, True, False, False, True, False]
    assert agent.num_updates == 7


def test_a_soft_update_by_hand() -> None:
    online, target = Table([[4.0, -8.0]]), Table([[0.0, 0.0]])
    agent = agent_of(online, target, target_every_updates=1, target_tau=0.25)
    agent.sync()
    assert target.tables[0].tolist() == [[1.0, -2.0]]
    agent.sync()
    assert target.tables[0].tolist() == [[1.75, -3.5]]
    assert online.tables[0].tolist() == [[4.0, -8.0]]


def test_the_target_starts_as_a_copy_that_is_not_trained() -> None:
    online, target = Table([[4.0, -8.0]]), Table([[0.0, 0.0]])
    agent = MultimodalDqn(online, target, DqnConfig(), np.random.default_rng(0), CPU)  # type: ignore[arg-type]
    assert target.tables[0].tolist() == [[4.0, -8.0]]
    assert not any(parameter.requires_grad for parameter in agent.target.parameters())
    assert all(parameter.requires_grad for parameter in agent.network.parameters())


def test_without_exploration_each_environment_gets_its_best_action() -> None:
    table = Table([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0], [-3.0, -2.0, -1.0]])
    agent = agent_of(table, Table([[0.0] * 3] * 3))
    actions = agent.act(stack_of([0, 1, 2, 1]), 0.0)
    assert actions == [1, 0, 2, 0]
    assert all(type(action) is int for action in actions)


@pytest.mark.parametrize("epsilon", [1.0, 0.4])
def test_exploration_is_uniform_and_as_frequent_as_epsilon(epsilon: float) -> None:
    table = Table([[0.0, 0.0, 9.0, 0.0]])
    agent = agent_of(table, Table([[0.0] * 4]))
    actions = [action for _ in range(800) for action in agent.act(stack_of([0] * 5), epsilon)]
    shares = np.bincount(actions, minlength=4) / len(actions)
    expected = np.full(4, epsilon / 4) + (1 - epsilon) * np.array([0, 0, 1, 0])
    assert shares == pytest.approx(expected, abs=0.03)
    assert (table.num_calls == 0) is (epsilon == 1.0)  # the network is asked only where its word counts


def test_going_on_from_a_state_equals_not_having_stopped() -> None:
    one = agent_of(network_of(), network_of(), target_every_updates=2)
    nn.init.normal_(one.network.heads[0].advantage.weight)
    one.act(Stack(*observations(), torch.zeros(3, 0)), 0.5)
    for _ in range(3):
        one.sync()
    nn.init.normal_(one.network.heads[0].advantage.weight)
    two = agent_of(network_of(), network_of(), seed=5, target_every_updates=2)
    two.load_state_dict(one.state_dict())
    assert two.num_updates == 3
    for name in ("network", "target"):
        states = [getattr(agent, name).state_dict() for agent in (one, two)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(two.network.heads[0].advantage.weight, two.target.heads[0].advantage.weight)
    stack = Stack(*observations(8), torch.zeros(8, 0))
    assert [one.act(stack, 0.5) for _ in range(9)] == [two.act(stack, 0.5) for _ in range(9)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        ({"target_tau": -0.1}, r"target_tau must be in \(0, 1\]"),
        ({"epsilon_start": 1.1}, r"epsilon_start must be in \[0, 1\]"),
        ({"epsilon_end": -1.0}, r"epsilon_end must be in \[0, 1\]"),
        ({"n_step": 0}, "n_step must be at least 1, got 0"),
        ({"target_every_updates": 0}, "target_every_updates must be at least 1"),
        ({"reward_clip": 0.0}, "reward_clip must be positive"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be positive, got -1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"modality_dropout": 1.0}, r"modality_dropout must be in \[0, 1\)"),
        ({"fusion": "mdqn", "dueling": True}, "fusion=mdqn has one head per stream"),
    ],
)
def test_what_cannot_be_honoured_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DqnConfig(**options)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    DqnConfig(gamma=1.0, target_tau=1.0, epsilon_end=0.0, reward_clip=None, max_grad_norm=None)
    DqnConfig(gamma=0.0, fusion="mdqn", dueling=False, n_step=1, target_every_updates=1)


def test_rewards_are_scaled_and_then_cut():
    config = DqnConfig(reward_scale=0.01, reward_clip=0.5)
    assert [config.kept_reward(reward) for reward in (-100.0, -4.0, 0.0, 30.0, 100.0)] == [
        -0.5,
        -0.04,
        0.0,
        0.3,
        0.5,
    ]
    assert DqnConfig().kept_reward(-123.0) == -123.0
    with pytest.raises(ValueError, match="reward_scale must be positive, got 0"):
        DqnConfig(reward_scale=0.0)


def test_of_equal_values_any_is_chosen_and_else_nothing_is_drawn() -> None:
    network = network_of()
    agent = agent_of(network, network_of())
    values = np.array([[1.0, 3.0, 3.0, 0.0], [2.0, 1.0, 0.0, 0.0]], np.float32)
    chosen = np.stack([best_of(values, agent.generator) for _ in range(400)])
    assert set(chosen[:, 0]) == {1, 2}
    assert 150 < (chosen[:, 0] == 1).sum() < 250
    assert set(chosen[:, 1]) == {0}
    before = agent.generator.bit_generator.state
    assert best_of(values[1:], agent.generator).tolist() == [0]
    assert agent.generator.bit_generator.state == before
    assert best_of(np.full((1, 3), np.nan, np.float32), agent.generator).tolist() == [0]
