"""Q-heads: the contract of every row of the table, and the formulas by hand."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.history import Stack
from spl.agents.q_network.heads import HEADS, Fusion, QHead, fuse_normalised
from spl.agents.q_network.network import MultimodalQNetwork
from spl.models.encoder import TwoStreamEncoder
from spl.records import Batch, StreamSpec

CASES = json.loads((Path(__file__).parents[2] / "data" / "mdqn.json").read_text())
SPEC = StreamSpec(video=(1, 36, 36), audio=(1, 8, 4))
ROWS = [
    (fusion, dueling)
    for fusion, heads in HEADS.items()
    for dueling in ((False, True) if heads.no_dueling is None else (False,))
]


def network_of(fusion: Fusion, dueling: bool, spec: StreamSpec = SPEC) -> MultimodalQNetwork:
    torch.manual_seed(0)
    sizes = {"video_features": 6, "audio_stream": "conv", "audio_features": 5, "features": 7}
    encoder = TwoStreamEncoder(spec, history=2, video_stream="small", attention="none", **sizes)
    return MultimodalQNetwork(encoder, (4,), dueling=dueling, fusion=fusion)


def batch_of(spec: StreamSpec = SPEC) -> Batch:
    generator = torch.Generator().manual_seed(3)
    video = torch.randint(256, (3, 2, *spec.video), dtype=torch.uint8, generator=generator)
    audio = torch.rand(3, 2, *spec.audio, generator=generator).half()
    present = torch.tensor([[spec.has_video, spec.has_audio]] * 3)
    numbers = torch.tensor([0, 1, 2]), torch.ones(3), torch.full((3,), 0.5)
    no_state = torch.zeros(3, 0)
    following = video.flip(0), audio.flip(0), present
    return Batch(video, audio, present, *numbers, *following, no_state, no_state)


def agent_of(fusion: Fusion, dueling: bool, spec: StreamSpec = SPEC) -> MultimodalDqn:
    network, target = network_of(fusion, dueling, spec), network_of(fusion, dueling, spec)
    config = DqnConfig(fusion=fusion, dueling=dueling)
    return MultimodalDqn(network, target, config, np.random.default_rng(0), torch.device("cpu"))


def test_every_name_of_the_option_has_its_row() -> None:
    assert set(get_args(Fusion)) == set(HEADS)


@pytest.mark.parametrize(("fusion", "dueling"), ROWS)
@pytest.mark.parametrize("lacking", [None, "video", "audio"])
def test_gives_q_values_of_whatever_streams_there_are(fusion: Fusion, dueling: bool, lacking: str) -> None:
    spec = SPEC if lacking is None else SPEC._replace(**{lacking: (0, 0, 0)})
    network, batch = network_of(fusion, dueling, spec), batch_of(spec)
    given = batch.video, batch.audio, batch.present
    values = network.values(*given)
    assert len(values) == len(network.heads)
    assert all(one.shape == (3, 4) and one.dtype == torch.float32 for one in values)
    assert network.counting(batch.present).shape == (3, len(values))
    acted = network(*given)
    assert acted.shape == (3, 4)
    assert torch.equal(acted, network.heads.fused(values, batch.present))
    assert {name.split(".")[2] for name in network.state_dict() if name.startswith("heads.0.")} == (
        {"advantage", "value"} if dueling else {"advantage"}
    )


@pytest.mark.parametrize(("fusion", "dueling"), ROWS)
def test_learns_by_one_loss_per_transition_and_acts(fusion: Fusion, dueling: bool) -> None:
    agent, batch = agent_of(fusion, dueling), batch_of()
    losses = agent.losses(batch)
    assert losses.shape == (3,)
    assert (losses > 0).all()
    torch.testing.assert_close(agent.score(batch), losses.detach())  # convolved in another layout
    losses.sum().backward()
    for name, parameter in agent.network.named_parameters():
        assert parameter.grad is not None, f"{name} would never learn"
        assert parameter.grad.abs().max() > 0, name
    heads = agent.network.parameters_of_heads()
    inside = {id(one) for one in heads} | {id(one) for one in agent.network.encoder.parameters()}
    assert inside == {id(one) for one in agent.network.parameters()}, "the optimizer learns these"
    actions = agent.act(Stack(batch.video, batch.audio, batch.present, batch.state), 0.0)
    assert all(0 <= action < 4 for action in actions)


@pytest.mark.parametrize(("fusion", "dueling"), ROWS)
@pytest.mark.parametrize("absent", [0, 1])
def test_what_is_absent_changes_nothing(fusion: Fusion, dueling: bool, absent: int) -> None:
    network, batch = network_of(fusion, dueling), batch_of()
    present = batch.present.clone()
    present[:, absent] = False
    other = (batch.video.flip(0), batch.audio) if absent == 0 else (batch.video, batch.audio.flip(0))
    assert torch.equal(network(batch.video, batch.audio, present), network(*other, present))
    assert not torch.equal(network(batch.video, batch.audio, present), network(*batch[:3]))


@pytest.mark.parametrize("fusion", [name for name, heads in HEADS.items() if heads.no_dueling is not None])
def test_dueling_is_refused_where_it_means_nothing(fusion: Fusion) -> None:
    with pytest.raises(ValueError, match=f"fusion={fusion} .*: set --agent.dueling false"):
        DqnConfig(fusion=fusion, dueling=True)


def test_dueling_centres_the_advantages() -> None:
    head = QHead(2, (3,), dueling=True)
    with torch.no_grad():
        head.advantage.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]]))
        head.advantage.bias.zero_()
        head.value.weight.copy_(torch.tensor([[10.0, 0.0]]))
        head.value.bias.fill_(1.0)
        # V = 11, A = 1, 4, 5 with mean 10/3
        values = head(torch.tensor([[1.0, 2.0]]))
        assert values.tolist()[0] == pytest.approx([11 + 1 - 10 / 3, 11 + 4 - 10 / 3, 11 + 5 - 10 / 3])
        head.advantage.bias.fill_(100.0)  # the same for all actions: centred away
        torch.testing.assert_close(head(torch.tensor([[1.0, 2.0]])), values)


def test_fusion_by_hand() -> None:
    case = CASES["fusion_sum"]
    values = [torch.tensor([case["q_y"]]), torch.tensor([case["q_depth"]])]
    fused = fuse_normalised(values, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(fused, torch.tensor([case["fused"]]))
    assert fused.argmax().item() == case["action"]


HAZARDS = [
    CASES["fusion_hazard"]["q"],
    [-4.0, -3.0, -2.0, -1.0],
    [1.0, -1.0, 2.0, -2.0],
    [0.0, 0.0, 0.0, 0.0],
    [-5.0, -5.0, -5.0, -5.0],
]


@pytest.mark.parametrize("values", HAZARDS, ids=str)
def test_fusion_keeps_the_order_where_the_sum_is_not_positive(values: list[float]) -> None:
    q = torch.tensor([values])
    fused = fuse_normalised([q], torch.ones(1, 1, dtype=torch.bool))
    assert torch.isfinite(fused).all()
    assert fused.sum().item() == pytest.approx(1.0)
    signs = (q[0, :, None] - q[0]).sign()
    assert torch.equal((fused[0, :, None] - fused[0]).sign(), signs)


@pytest.mark.parametrize("epsilon", [0.1, 1e-3, 1e-6, 0.0, -1e-3])
def test_a_sum_near_zero_gives_a_stream_no_more_than_its_vote(epsilon: float) -> None:
    values = [torch.tensor([[0.1, 0.1 * (epsilon - 1.0)]]), torch.tensor([[0.05, 2.0]])]
    fused = fuse_normalised(values, torch.ones(1, 2, dtype=torch.bool))
    assert fused.tolist()[0] == pytest.approx([(1 + 0.05 / 2.05) / 2, (0 + 2 / 2.05) / 2], abs=1e-6)


@pytest.mark.parametrize("present", [[True, False], [False, True], [True, True], [False, False]])
def test_an_absent_stream_has_no_vote(present: list[bool]) -> None:
    shares = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    fused = fuse_normalised([shares[:1] * 5, shares[1:] * 3], torch.tensor([present]))
    votes = shares[torch.tensor(present)] if any(present) else shares  # none present: all are asked
    torch.testing.assert_close(fused[0], votes.mean(dim=0))
