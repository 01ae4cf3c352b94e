"""Learning in thirds: the losses by hand, what is gated, what is remembered, and when it is on."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spl.agents.config import build_network, read_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.history import Stack
from spl.agents.loop import NonFiniteBatch
from spl.agents.q_network.network import MultimodalQNetwork
from spl.agents.q_network.thirds import Views, asymmetric, only
from spl.agents.replay.memory import ReplayMemory
from spl.agents.train import train_agent
from spl.records import AUDIO, VIDEO, Batch, Observation, StreamSpec, Transition
from tests.agents.test_loop import Bench
from tests.agents.test_train import quiet, rows_of

SPEC = StreamSpec(video=(1, 36, 36), audio=(1, 8, 4))
BOTH = torch.ones(2, 2, dtype=torch.bool)


class TinyEncoder(nn.Module):
    """A code that is the newest pixel and the newest level themselves, gated as streams are."""

    features, stream_features, picture_norm = 2, (1, 1), None

    def ungated(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        return video[:, -1, 0, 0].float(), audio[:, -1, 0, 0].float()

    def gated(self, features: tuple[Tensor, Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        return features[0] * present[:, :1], features[1] * present[:, 1:]

    def streams(self, video: Tensor, audio: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return self.gated(self.ungated(video, audio), present)

    def code(self, streams: tuple[Tensor, Tensor], present: Tensor, beside: None) -> Tensor:
        return torch.cat(streams, dim=1)


def tiny(whole: list[list[float]], full: tuple[list[list[float]], list[list[float]]]) -> MultimodalQNetwork:
    """Return a network of two actions that is linear in (pixel, level), with these weights (A, 2)."""
    network = MultimodalQNetwork(TinyEncoder(), (2,), dueling=False, fusion="joint", has_thirds=True)  # type: ignore[arg-type]
    with torch.no_grad():
        for head, weight in zip((network.heads[0], *network.privileged), (whole, *full), strict=True):
            head.advantage.weight.copy_(torch.tensor(weight))
            head.advantage.bias.zero_()
    return network


def agent_of(network: MultimodalQNetwork, target: MultimodalQNetwork, **options: Any) -> MultimodalDqn:
    kept = {name: value.clone() for name, value in target.state_dict().items()}
    config = DqnConfig(dueling=False, **options)
    agent = MultimodalDqn(network, target, config, np.random.default_rng(0), torch.device("cpu"))
    target.load_state_dict(kept)
    return agent


def seen(values: list[float]) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1, 1)


def batch_of(discount: list[float], present: Tensor = BOTH) -> Batch:
    """Return two transitions alike, by action 1 from (pixel 1, level 2) to (3, 1), with reward 0.5."""
    numbers = torch.tensor([1, 1]), torch.tensor([0.5, 0.5]), torch.tensor(discount)
    now, following = (seen([1, 1]), seen([2, 2])), (seen([3, 3]), seen([1, 1]))
    return Batch(*now, present, *numbers, *following, BOTH, *[torch.zeros(2, 0)] * 2)


WHOLE = [[1.0, 0.0], [0.0, 2.0]]  # Q(s) = [pixel, 2 level]: whole [1, 4] now, [3, 2] then
FULL = ([[0.5, 0.0], [1.0, 1.0]], [[0.0, 0.25], [1.0, 0.0]])  # now [0.5, 3] of video, [0.5, 1] of audio
RATED = ([[1.0, 1.0], [2.0, 0.0]], [[0.0, 3.0], [1.0, -1.0]])  # then [4, 6] of video, [3, 2] of audio


def test_the_losses_of_a_linear_network_by_hand() -> None:
    agent = agent_of(tiny(WHOLE, FULL), tiny([[2.0, 0.0], [0.0, 1.0]], RATED), huber=False)
    losses = agent.losses(batch_of([0.5, 0.0])).reshape(3, 2)  # the second transition ends the task
    # whole: action 0 is chosen and rated 6, so 0.5 + 0.5 * 6 = 3.5 beside Q = 4; at the end 0.5
    assert losses[0].tolist() == [0.5**2 / 2, 3.5**2 / 2]
    # video alone: Q(m) is [1, 0] now and [3, 0] then, so action 0 follows, rated 4: 0.5 + 2 = 2.5 beside 3;
    # the projection [1, 0] -> [0.5, 3] costs (0.25 + 9) / 2 either way
    assert losses[1].tolist() == [0.5**2 / 2 + 4.625, 2.5**2 / 2 + 4.625]
    # audio alone: Q(m) is [0, 4] now and [0, 2] then, so action 1 follows, rated 2: 0.5 + 1 = 1.5 beside 1;
    # the projection [0, 4] -> [0.5, 1] costs (0.25 + 9) / 2
    assert losses[2].tolist() == [0.5**2 / 2 + 4.625, 0.5**2 / 2 + 4.625]
    assert agent.score(batch_of([0.5, 0.0])).tolist() == losses[0].tolist()


def test_without_double_the_target_network_chooses_too() -> None:
    target = tiny([[0.0, 0.0], [1.0, 0.0]], RATED)  # of video alone it chooses action 1, rated 6
    losses = agent_of(tiny(WHOLE, FULL), target, huber=False, double=False).losses(batch_of([0.5, 0.0]))
    assert losses[2].item() == (0.5 + 3 - 3) ** 2 / 2 + 4.625


def test_the_projection_is_least_squares_and_moves_the_masked_network_alone() -> None:
    network, target = tiny(WHOLE, FULL), tiny(WHOLE, RATED)
    agent = agent_of(network, target)
    agent.losses(batch_of([0.0, 0.0]))[2].backward()  # video alone, of the one that ends
    # by Q(m) = [1, 0] beside [0.5, 3]: not cut at 1 although huber is on; level 2 is gated away
    assert network.heads[0].advantage.weight.grad.tolist() == [[0.5, 0.0], [-3.0, 0.0]]
    # by Q_full = 3 beside 0.5 of the action taken, cut at 1 by huber: nothing comes from the projection
    assert network.privileged[0].advantage.weight.grad.tolist() == [[0.0, 0.0], [1.0, 2.0]]
    assert not network.privileged[1].advantage.weight.grad.any()
    assert all(weight.grad is None for weight in target.parameters())


def test_a_transition_that_lacked_a_modality_is_learned_as_it_was() -> None:
    present = torch.tensor([[True, False], [True, True]])
    agent = agent_of(tiny(WHOLE, FULL), tiny(WHOLE, RATED))
    losses = agent.losses(batch_of([0.5, 0.5], present)).reshape(3, 2)
    assert losses[1:, 0].tolist() == [0.0, 0.0]
    assert (losses[:, 1] > 0).all()


def test_what_comes_one_step_ahead_is_not_what_lies_n_ahead() -> None:
    agent = agent_of(tiny(WHOLE, FULL), tiny([[2.0, 0.0], [0.0, 1.0]], RATED), huber=False)
    near = batch_of([0.5, 0.0])
    far = near._replace(reward=torch.tensor([9.0, 9.0]), next_video=seen([7, 7]))
    expected, found = agent.losses(near).reshape(3, 2), agent.losses(far, near.following).reshape(3, 2)
    assert torch.equal(found[1:], expected[1:])
    assert found[0].tolist() == [(9 + 0.5 * 14 - 4) ** 2 / 2, (9 - 4) ** 2 / 2]


def test_one_step_ahead_of_n_the_target_network_chooses_for_a_modality_alone() -> None:
    target = tiny([[0.0, 0.0], [1.0, 0.0]], RATED)  # of video alone it chooses action 1, rated 6, not 4
    agent, near = agent_of(tiny(WHOLE, FULL), target, huber=False), batch_of([0.5, 0.0])
    alone = agent.losses(near).reshape(3, 2)[1], agent.losses(near, near.following).reshape(3, 2)[1]
    assert [losses[0].item() for losses in alone] == [0.5**2 / 2 + 4.625, (3.5 - 3) ** 2 / 2 + 4.625]
    assert [losses[1].item() for losses in alone] == [2.5**2 / 2 + 4.625] * 2, "the task ends"
    assert torch.equal(agent.losses(near, near.following)[:2], agent.losses(near)[:2]), "whole it is as ever"


def test_the_formula_takes_the_masked_network_s_choice_at_the_next_state() -> None:
    zeros = torch.zeros(1, 2)
    values = Views(zeros, (zeros, zeros), (zeros, zeros))
    rated = Views(zeros, (zeros, zeros), (torch.tensor([[5.0, 7.0]]), torch.tensor([[1.0, 2.0]])))
    chosen = Views(zeros, (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])), (rated.full[0], zeros))
    numbers = torch.tensor([0]), torch.tensor([1.0]), torch.tensor([0.5])
    video, audio = asymmetric(values, rated, chosen, *numbers, sizes=(2,), huber=True)
    assert (video.item(), audio.item()) == (3.5 - 0.5, 2.0 - 0.5)  # 1 + 5 / 2 and 1 + 2 / 2, by Huber


@pytest.mark.parametrize("options", [(), ("--encoder.video_stream", "dense", "--encoder.attention", "none")])
@pytest.mark.parametrize("stream", [VIDEO, AUDIO])
def test_a_view_is_what_the_network_gives_when_the_flag_is_down_to_the_bit(smoke, options, stream) -> None:
    torch.manual_seed(0)
    network = build_network(smoke(*options), SPEC, (4,))
    video = torch.randint(256, (5, 4, *SPEC.video), dtype=torch.uint8)
    audio, present = torch.rand(5, 4, *SPEC.audio).half(), torch.ones(5, 2, dtype=torch.bool)
    views, hidden = network.views(video, audio, present), only(present, stream)
    assert hidden.tolist() == [[stream == VIDEO, stream == AUDIO]] * 5
    assert torch.equal(views.whole, network(video, audio, present))
    blank = (video, audio * 0) if stream == VIDEO else (video * 0, audio)
    assert torch.equal(views.alone[stream], network(video, audio, hidden))
    assert torch.equal(views.alone[stream], network(*blank, hidden))
    assert not torch.equal(views.alone[stream], views.whole)


@pytest.mark.parametrize("has_mirror", [False, True])
def test_a_memory_of_n_steps_tells_what_came_one_ahead_too(has_mirror) -> None:
    spec, generator = StreamSpec((1, 2, 2), (1, 2, 1)), np.random.default_rng(0)
    near, far = (ReplayMemory(spec, 40, num_envs=2, history=3, n_step=n, gamma=0.5) for n in (1, 3))
    if has_mirror:
        far.mirror_on(torch.device("cpu"))
    for step in range(90):  # around the rings, with ends of both kinds
        for env, length in ((0, 4), (1, 7)):
            video = generator.integers(1, 256, spec.video, dtype=np.uint8)
            audio, present = generator.random(spec.audio).astype(np.float16), generator.random(2) < 0.7
            reached, ends = Observation(video, audio, present), step % length == 0
            for memory in (near, far):
                if step:
                    one = Transition(reached, 1, float(step), ends and step % 2 == 0, ends, reached)
                    memory.add(one, env)
                if ends:
                    memory.begin(reached, env)
    places = far.draw(60, generator)
    assert near.one_ahead(places) is None
    expected, found = near.at(places).following, far.one_ahead(places)
    for name, field in expected._asdict().items():
        assert torch.equal(getattr(found, name), field), name
    assert (found.discount == 0).any()
    assert not torch.equal(found.video, far.at(places).next_video)


class Watching:
    """Acts at random and keeps what it was shown."""

    def __init__(self) -> None:
        self.stacks: list[Stack] = []

    def decide(self, stack: Stack, epsilon: float) -> tuple[list[int], None]:
        self.stacks.append(stack)
        return [0] * len(stack.present), None


@pytest.mark.parametrize("remembers", [True, False])
def test_the_memory_keeps_what_was_hidden_from_what_acts(remembers: bool) -> None:
    bench = Bench(dropout=0.5, num_envs=2)
    bench.agent = Watching()  # type: ignore[assignment]
    bench.collect(60, remembers_hidden=remembers)
    shown = torch.cat([stack.present for stack in bench.agent.stacks])
    for stream in (VIDEO, AUDIO):
        assert 0.1 < 1 - shown[:, stream].float().mean() < 0.5
    assert shown.any(dim=1).all()
    batch = bench.memory.gather(*bench.memory.indices())
    assert batch.present.all().item() is remembers
    assert batch.next_present.all().item() is remembers
    is_blank = (batch.video[:, -1] == 0).flatten(1).all(dim=1)
    assert is_blank.any().item() is not remembers


def test_a_transition_s_weight_is_that_of_its_views_and_its_priority_that_of_the_whole() -> None:
    bench = Bench(thirds="auto")
    bench.collect(40)
    curriculum = bench.curriculum(name="prioritized")
    told: list[tuple[Any, Tensor]] = []
    curriculum.see = lambda places, losses: told.append((places, losses))  # type: ignore[method-assign]
    found = next(bench.learning(curriculum=curriculum))
    places, losses = told[0]
    assert found.shape == (4,)
    assert losses.shape == (len(places),)
    assert found[1] == losses.mean()
    nn.init.constant_(bench.agent.network.privileged[0].advantage.bias, torch.nan)
    with pytest.raises(NonFiniteBatch) as caught:
        bench.learn()
    assert caught.value.losses.shape == (3 * caught.value.batch.size,)
    assert caught.value.losses[: caught.value.batch.size].isfinite().all()


def test_rows_tell_the_loss_of_each_view(smoke) -> None:
    rows = rows_of(train_agent(smoke("--num_steps", "100"), console=quiet()).folder)
    (row,) = [row for row in rows if row["step"] == 100 and "train/loss" in row]
    assert row["train/loss"] > 0
    assert len({row[f"train/loss_{view}"] for view in ("all", "video", "audio")}) == 3
    rows = rows_of(train_agent(smoke("--num_steps", "100", "--agent.thirds", "none"), console=quiet()).folder)
    assert not any("train/loss_all" in row for row in rows)


@pytest.mark.parametrize(
    ("options", "lacking", "reason"),
    [
        ({}, None, None),
        ({"thirds": "asymmetric"}, None, None),
        ({"thirds": "none"}, None, "agent.thirds=none"),
        ({}, "audio", "the environment has no audio"),
        ({}, "video", "the environment has no video"),
        ({"fusion": "mdqn", "dueling": False}, None, "fusion=mdqn has one head per stream"),
    ],
)
def test_thirds_are_learned_where_one_head_reads_both_streams(smoke, options, lacking, reason) -> None:
    spec = SPEC if lacking is None else SPEC._replace(**{lacking: (0, 0, 0)})
    config = replace(smoke(), agent=DqnConfig(**options))
    assert config.agent.no_thirds(spec) == reason
    network = build_network(config, spec, (4,))
    assert (network.privileged is None) is (reason is not None)
    assert any(name.startswith("privileged.1.") for name in network.state_dict()) is (reason is None)


def test_asked_for_where_it_cannot_be_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fusion=mdqn has one head per stream: set"):
        DqnConfig(thirds="asymmetric", fusion="mdqn", dueling=False)
    with pytest.raises(ValueError, match="needs video and audio, and the environment has no audio: set"):
        DqnConfig(thirds="asymmetric").no_thirds(SPEC._replace(audio=(0, 0, 0)))


def test_a_run_that_does_not_name_the_option_was_made_without(smoke) -> None:
    folder = train_agent(smoke("--num_steps", "10", "--agent.thirds", "none"), console=quiet()).folder
    file = folder / "config.yaml"
    assert read_run(folder).agent.thirds == "none"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "thirds" not in line))
    assert read_run(folder).agent.thirds == "none"
    file.write_text(file.read_text().replace("agent:\n", "agent:\n  thirds: auto\n"))
    assert read_run(folder).agent.thirds == "auto"
