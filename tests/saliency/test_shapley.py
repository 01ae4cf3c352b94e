"""Which modality it was: known games, and a network whose flags are heeded."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from spl.agents.q_network.network import MultimodalQNetwork
from spl.models.encoder import EncoderConfig, build_encoder
from spl.records import StreamSpec
from spl.saliency import advantage, chosen, predicted
from spl.saliency.shapley import shapley_of, shapley_of_three, shapley_values


def numbers(*values: float) -> Tensor:
    return torch.tensor(values)


def test_by_hand():
    # a sum, an "and", a sum with a rest, and nothing at all
    found = shapley_of(
        both=numbers(5.0, 4.0, 3.0, 1.0),
        video=numbers(3.0, 0.0, 4.0, 1.0),
        audio=numbers(2.0, 0.0, 1.0, 1.0),
        none=numbers(0.0, 0.0, 1.0, 1.0),
    )
    assert found.video.tolist() == [3.0, 2.0, 2.5, 0.0]
    assert found.audio.tolist() == [2.0, 2.0, -0.5, 0.0]
    torch.testing.assert_close(found.video + found.audio, found.both - found.none)
    video, audio = found.shares
    torch.testing.assert_close(video, numbers(0.6, 0.5, 2.5 / 3.0, 0.0))
    torch.testing.assert_close(audio, numbers(0.4, 0.5, 0.5 / 3.0, 0.0))
    assert found.whole_shares() == pytest.approx((7.5 / 12.0, 4.5 / 12.0))
    nothing = shapley_of(*[numbers(1.0)] * 4)
    assert nothing.whole_shares() == (0.0, 0.0)


def test_three_by_hand():
    # the glove game: one left glove (video), two right ones (audio, state); a pair is worth 1: 2/3, 1/6, 1/6
    def worth(video: bool, audio: bool, state: bool) -> float:
        return 12.0 * (video and (audio or state)) + 6.0 * state

    parties = product((True, False), repeat=3)
    found = shapley_of_three({party: numbers(worth(*party), 1.0) for party in parties})
    assert found.state is not None
    assert found.video.tolist() == pytest.approx([8.0, 0.0])
    assert found.audio.tolist() == pytest.approx([2.0, 0.0])
    assert found.state.tolist() == pytest.approx([2.0 + 6.0, 0.0])
    torch.testing.assert_close(sum(found.parts), found.both - found.none)
    assert found.whole_shares() == pytest.approx((8 / 18, 2 / 18, 8 / 18))
    assert [share.tolist() for share in found.each(lambda part: part[:1]).shares] == [
        pytest.approx([8 / 18]),
        pytest.approx([2 / 18]),
        pytest.approx([8 / 18]),
    ]


class Felt(nn.Module):
    """An agent's network whose score is the sum of what is seen, heard and felt."""

    def forward(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor) -> Tensor:
        streams = torch.stack([video.flatten(1).mean(dim=1), audio.flatten(1).mean(dim=1)], dim=1)
        return (streams * present).sum(dim=1, keepdim=True) + state.sum(dim=1, keepdim=True)


def test_a_state_is_a_third_and_left_out_it_is_what_stands_for_none():
    streams = torch.full((1, 2, 1, 3, 3), 4.0), torch.full((1, 2, 1, 3, 3), 3.0)
    inputs = (*streams, torch.tensor([[True, False]]), torch.tensor([[5.0, 6.0]]))
    found = shapley_values(Felt(), inputs, chosen(0), no_state=torch.tensor([1.0, 2.0]))
    assert found.state is not None
    values = found.video.item(), found.audio.item(), found.state.item()
    assert values == pytest.approx((4.0, 0.0, 11.0 - 3.0))
    with pytest.raises(ValueError, match="no_state must be given with a state"):
        shapley_values(Felt(), inputs, chosen(0))
    none = shapley_values(Felt(), (*inputs[:3], torch.zeros(1, 0)), chosen(0))
    assert none.state is None


class Product(nn.Module):
    """A classifier of two inputs without flags: ``(3 v + a + 2 v a, 0)``, of the means."""

    def forward(self, video: Tensor, audio: Tensor) -> Tensor:
        v, a = video.flatten(1).mean(dim=1), audio.flatten(1).mean(dim=1)
        out = 3 * v + a + 2 * v * a
        return torch.stack([out, torch.zeros_like(out)], dim=1)


def test_a_classifier_of_two_inputs():
    video, audio = torch.full((2, 3, 4, 4), 2.0), torch.full((2, 1, 5, 6), 3.0)
    video[1] = 0
    found = shapley_values(Product(), (video, audio), chosen(0))
    assert found.video.tolist() == [6.0 + 6.0, 0.0]
    assert found.audio.tolist() == [3.0 + 6.0, 3.0]
    assert found.whole_shares() == (0.5, 0.5)


@pytest.fixture
def network():
    torch.manual_seed(0)
    spec = StreamSpec((1, 36, 36), (1, 16, 8))
    encoder = build_encoder(EncoderConfig(), spec, history=2)
    return MultimodalQNetwork(encoder, (4,), dueling=True, fusion="joint")


def modalities() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (3, 2, 1, 36, 36), dtype=torch.uint8, generator=generator)
    audio = torch.rand(3, 2, 1, 16, 8, generator=generator).half()
    return video, audio, torch.tensor([[True, True], [True, False], [False, False]])


def test_an_agent(network):
    video, audio, present = given = modalities()
    actions = predicted(network, given)
    found = shapley_values(network, given, chosen(actions))
    with torch.no_grad():
        values = network(video, audio, present)
        deaf = network(video, torch.zeros_like(audio), present & torch.tensor([True, False]))
        blind = network(torch.zeros_like(video), audio, present & torch.tensor([False, True]))
        neither = network(torch.zeros_like(video), torch.zeros_like(audio), torch.zeros_like(present))
    one = [q.gather(1, actions[:, None])[:, 0] for q in (values, deaf, blind, neither)]
    torch.testing.assert_close(found.video, ((one[0] - one[2]) + (one[1] - one[3])) / 2)
    torch.testing.assert_close(found.both, one[0])
    assert found.audio[0] != 0
    assert found.audio[1:].abs().max() < 1e-6, "an absent modality adds nothing"
    assert found.video[2].abs() < 1e-6
    assert (present == modalities()[2]).all(), "the flags given are left alone"
    assert not torch.equal(shapley_values(network, given, advantage(actions)).video, found.video)


def test_other_inputs_are_refused(network):
    with pytest.raises(ValueError, match=r"two modalities \(B, ...\), flags \(B, 2\)"):
        shapley_values(network, modalities()[:1], chosen(0))
    with pytest.raises(
        ValueError, match=r"got \[\(3, 2, 1, 36, 36\), \(3, 2, 1, 16, 8\), \(3, 2, 1, 16, 8\)\]"
    ):
        shapley_values(network, (*modalities()[:2], modalities()[1]), chosen(0))
