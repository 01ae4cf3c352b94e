"""Decoupled Q-values by hand: the mean over dimensions, the best of each, and learning and acting on them."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spl.agents.curriculum import ReplayCurriculum
from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.evaluation.sureness import lead_of
from spl.agents.history import Stack
from spl.agents.q_network import decoupled
from spl.agents.q_network.heads import QHead, StreamHeads
from spl.agents.q_network.thirds import Views, asymmetric
from spl.agents.record import RandomAgent
from spl.agents.replay.memory import ReplayMemory
from spl.models.encoder import TwoStreamEncoder
from spl.records import Batch, Observation, StreamSpec, Transition

SIZES = (2, 3)  # utilities of dimension 0, then those of dimension 1
VALUES = torch.tensor([[1.0, 4.0, 0.0, 6.0, 3.0], [5.0, 2.0, 9.0, 1.0, 2.0]])
ALL = list(itertools.product(range(2), range(3)))
SPEC = StreamSpec(video=(1, 1, 1), audio=(0, 0, 0))
BLANK = Observation(np.zeros((1, 1, 1), np.uint8), np.zeros((0, 0, 0), np.float16), np.array([True, False]))


def of_all(values: Tensor) -> Tensor:
    """Return the value of every action of one state, by the definition."""
    return torch.stack([(values[a] + values[2 + b]) / 2 for a, b in ALL])


def test_the_value_of_an_action_is_the_mean_of_its_utilities() -> None:
    action = torch.tensor([[1, 2], [0, 1]])
    assert decoupled.taken(VALUES, action, SIZES).tolist() == [(4 + 3) / 2, (5 + 1) / 2]
    assert decoupled.best(VALUES, SIZES).tolist() == [[1, 1], [0, 0]]
    for values, chosen in zip(VALUES, decoupled.best(VALUES, SIZES).tolist(), strict=True):
        assert ALL[int(of_all(values).argmax())] == tuple(chosen)
    one = torch.tensor([[1.0, 4.0, 0.0]])
    assert decoupled.best(one, (3,)).tolist() == [1]
    assert decoupled.taken(one, torch.tensor([2]), (3,)).tolist() == [0.0]


def test_the_advantage_is_over_the_mean_of_all_actions() -> None:
    action = torch.tensor([[1, 0], [0, 2]])
    expected = [
        float(of_all(values)[ALL.index(tuple(chosen))] - of_all(values).mean())
        for values, chosen in zip(VALUES, action.tolist(), strict=True)
    ]
    assert decoupled.advantage(action, SIZES)(VALUES).tolist() == pytest.approx(expected)
    assert decoupled.q_value(action, SIZES)(VALUES).tolist() == [2.0, 3.5]


def test_the_probability_is_that_of_a_softmax_over_all_actions() -> None:
    action = torch.tensor([[1, 0], [0, 2]])
    expected = [
        float(of_all(values).softmax(0)[ALL.index(tuple(chosen))])
        for values, chosen in zip(VALUES, action.tolist(), strict=True)
    ]
    assert decoupled.probability(VALUES, action, SIZES).tolist() == pytest.approx(expected)
    one = torch.tensor([[1.0, 4.0, 0.0]])
    assert decoupled.probability(one, torch.tensor([0]), (3,)).item() == pytest.approx(
        math.exp(1) / (math.exp(1) + math.exp(4) + 1)
    )


def test_the_lead_is_that_over_the_next_of_all_actions() -> None:
    for values in VALUES:
        every = of_all(values).sort(descending=True).values
        (best,) = decoupled.best(values[None], SIZES).tolist()
        assert lead_of(values, tuple(best), SIZES) == pytest.approx(float(every[0] - every[1]))
    assert lead_of(torch.tensor([3.0, 8.0]), (0, 0), (1, 1)) == math.inf


def test_dueling_has_one_value_and_centres_each_dimension() -> None:
    head = QHead(1, SIZES, dueling=True)
    with torch.no_grad():
        head.advantage.weight.zero_()
        head.advantage.bias.copy_(VALUES[0])
        head.value.weight.zero_()
        head.value.bias.fill_(10.0)
        values = head(torch.ones(1, 1))[0]
    assert values.tolist() == pytest.approx([8.5, 11.5, 7.0, 13.0, 10.0])  # means 2.5 and 3
    assert of_all(values).mean().item() == pytest.approx(10.0)


class Table(nn.Module):
    """Utilities looked up by the state's number, which the pixel tells."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(table))
        self.sizes, self.privileged, self.state = SIZES, None, None
        self.recurrent, self.picture_norm = None, None

    def values(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor) -> list[Tensor]:
        return [self.table[video[:, -1, 0, 0, 0].long()]]

    def counting(self, present: Tensor) -> Tensor:
        return torch.ones_like(present[:, :1])

    def forward(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor) -> Tensor:
        return self.values(video, audio, present, state)[0]

    def step(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor, _: None) -> Any:
        return self(video, audio, present, state), None


def agent_of(online: list[list[float]], target: list[list[float]], **options: Any) -> MultimodalDqn:
    network, rated = Table(online), Table(target)
    config = DqnConfig(**{"dueling": False, "huber": False, **options})
    agent = MultimodalDqn(network, rated, config, np.random.default_rng(0), torch.device("cpu"))  # type: ignore[arg-type]
    rated.load_state_dict({"table": torch.tensor(target)})
    return agent


def seen(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.uint8).reshape(-1, 1, 1, 1, 1)


def batch_of(action: list[list[int]], reward: float, discount: float) -> Batch:
    present, silent = torch.tensor([[True, False]]), torch.zeros(1, 1, 0, 0, 0)
    numbers = torch.tensor(action), torch.tensor([reward]), torch.tensor([discount])
    no_state = torch.zeros(1, 0)
    return Batch(seen(0), silent, present, *numbers, seen(1), silent, present, no_state, no_state)


@pytest.mark.parametrize(("double", "following"), [(True, (1 + 3) / 2), (False, (7 + 8) / 2)])
def test_the_target_takes_the_best_of_each_dimension(double: bool, following: float) -> None:
    target = [[0.0] * 5, [1.0, 7.0, 3.0, 8.0, 0.0]]
    online = [VALUES[0].tolist(), [5.0, 2.0, 9.0, 1.0, 2.0]]  # chooses (0, 0) at the next state
    agent = agent_of(online, target, double=double)
    losses = agent.losses(batch_of([[1, 2]], reward=0.5, discount=0.9))
    assert losses.item() == pytest.approx((0.5 + 0.9 * following - 3.5) ** 2 / 2)
    losses.sum().backward()
    gradient = agent.network.table.grad[0]  # half the error's at each of the two that were taken
    assert gradient.tolist() == pytest.approx(
        [0, -(0.5 + 0.9 * following - 3.5) / 2, 0, 0, gradient[1].item()]
    )


def test_thirds_project_the_mean_over_dimensions() -> None:
    zeros, full = torch.zeros(1, 5), torch.tensor([[1.0, 2.0, 3.0, 0.0, 0.0]])
    values = Views(zeros, (zeros, zeros), (full, zeros))
    rated = Views(zeros, (zeros, zeros), (VALUES[:1], zeros))
    numbers = torch.tensor([[1, 0]]), torch.tensor([1.0]), torch.tensor([0.5])
    chosen = Views(zeros, (torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0]]), zeros), (zeros, zeros))
    video, _ = asymmetric(values, rated, chosen, *numbers, sizes=SIZES, huber=False)
    privileged = (1 + 0.5 * (4 + 3) / 2 - (2 + 3) / 2) ** 2 / 2
    assert video.item() == pytest.approx(privileged + (1 + 4 + 9) / (2 * 2))


def test_each_dimension_explores_for_itself() -> None:
    agent = agent_of([[0.0, 1.0, 0.0, 0.0, 1.0]], [[0.0] * 5])
    silent, present = torch.zeros(4000, 1, 0, 0, 0), torch.tensor([[True, False]] * 4000)
    stack = Stack(seen(*[0] * 4000), silent, present, torch.zeros(4000, 0))
    assert set(agent.act(stack, 0.0)) == {(1, 2)}
    drawn = np.array(agent.act(stack, 0.4))
    is_best = drawn == [1, 2]
    assert is_best.mean(axis=0) == pytest.approx([0.6 + 0.4 / 2, 0.6 + 0.4 / 3], abs=0.03)
    assert is_best.all(axis=1).mean() == pytest.approx(0.8 * (0.6 + 0.4 / 3), abs=0.03)
    assert {len(set(column)) for column in np.array(agent.act(stack, 1.0)).T} == {2, 3}
    assert {len(one) for one in RandomAgent(SIZES, np.random.default_rng(0)).decide(stack, 1.0)[0]} == {2}


def test_two_heads_are_fused_in_each_dimension() -> None:
    sizes = {"video_features": 2, "audio_stream": "conv", "audio_features": 2, "features": 2}
    spec = StreamSpec(video=(1, 36, 36), audio=(1, 8, 4))
    encoder = TwoStreamEncoder(spec, history=1, video_stream="small", attention="none", **sizes)
    heads = StreamHeads(encoder, SIZES, partial(QHead, dueling=False))
    fused = heads.fused([VALUES, VALUES], torch.tensor([[True, True]] * 2))
    assert fused[0].tolist() == pytest.approx([1 / 5, 4 / 5, 0 / 9, 6 / 9, 3 / 9])


def filled(actions: list[tuple[int, int]]) -> ReplayMemory:
    memory = ReplayMemory(SPEC, 20, num_dimensions=2, history=1)
    memory.begin(BLANK)
    for action in actions:
        memory.add(Transition(BLANK, action, 1.0, False, False, BLANK))
    return memory


def test_the_memory_keeps_the_whole_action_and_its_files_do(tmp_path: Any) -> None:
    actions = [(0, 2), (1, 1), (1, 2), (0, 2)]
    memory = filled(actions)
    places = np.arange(4)
    assert memory.at(places).action.tolist() == [list(one) for one in actions]
    memory.save(tmp_path / "memory")
    again = ReplayMemory.load(tmp_path / "memory", history=1)
    again.load_state_dict(memory.state_dict())
    assert len(again) == 4
    assert again.at(places).action.dtype == torch.int64
    assert again.actions_at(places).tolist() == [list(one) for one in actions]
    for wrong, error in ((3, ValueError), ((1,), ValueError), ((1, -1), ValueError), ((1, 0.5), TypeError)):
        with pytest.raises(error):
            memory.add(Transition(BLANK, wrong, 0.0, False, False, BLANK))


def test_a_curriculum_groups_by_the_whole_action() -> None:
    memory = filled([(0, 2), (1, 1), (1, 2), (0, 2)])
    agent = agent_of([[0.0] * 5] * 2, [[0.0] * 5] * 2)
    config = ReplayCurriculumConfig(name="self-paced", groups="action")
    curriculum = ReplayCurriculum(config, agent, memory, np.random.default_rng(0), num_steps=10, huber=True)
    first, second, third, fourth = curriculum._groups(np.arange(4)).tolist()
    assert first == fourth
    assert len({first, second, third}) == 3
