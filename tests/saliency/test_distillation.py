"""Attention transfer and flows of solution procedure: by hand, at their ends, and where gradients go."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spl.saliency.distillation import attention_distance, flow_distance, flows
from spl.saliency.local_transfer import prediction_distance


def drawn(seed: int, *sizes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(size, generator=generator, dtype=torch.float64) for size in sizes]


def test_maps_by_hand() -> None:
    own = [torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]]]), torch.tensor([[[2.0]], [[0.0]]])]  # two layers
    peer = [torch.tensor([[[8.0, 6.0]], [[0.0, 9.0]]]), torch.tensor([[[5.0]], [[7.0]]])]
    # layer 1: (.6 .8) - (.8 .6), (1 0) - (0 1); layer 2: 1 - 1, 0 - 1
    torch.testing.assert_close(attention_distance(own, peer), torch.tensor([0.08 + 0.0, 2.0 + 1.0]))
    assert attention_distance(own[:1], [3 * own[0]]).abs().max() < 1e-12, "up to scale"


def test_equal_and_empty_maps_have_a_gradient_that_is_finite() -> None:
    own = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]], requires_grad=True)
    attention_distance([own], [own.detach().clone()]).sum().backward()
    assert torch.equal(own.grad, torch.zeros(2, 1, 2))


def test_flows_by_hand() -> None:
    first = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # (1, 1, 2, 2)
    second = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[2.0, 2.0], [0.0, 0.0]]]])  # (1, 2, 2, 2)
    small = torch.tensor([[[[10.0]]]])  # of second the maxima are 1 and 2
    one, two = flows([first, second, small])
    assert one.tolist() == [[[(1 + 4) / 4, (2 + 4) / 4]]]
    assert two.tolist() == [[[10.0], [20.0]]]
    distance = flow_distance([one, two], [one + 0.5, two - 2.0])
    torch.testing.assert_close(distance, torch.tensor([0.25 + 4.0]))
    assert flow_distance([one, two], [one, two]).item() == 0.0


def test_distillation_by_hand() -> None:
    own, peer = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 2 * math.log(3.0)]])  # 1/4 3/4 at T = 2
    expected = 4 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert prediction_distance(own, peer, temperature=2.0).item() == pytest.approx(expected)
    centred = torch.tensor([[1.0, -1.0, 0.0]])
    high = prediction_distance(torch.zeros(1, 3), centred, temperature=100.0)  # towards half the mean square
    assert high.item() == pytest.approx(2 / 3 / 2, rel=2e-2)
    plain = functional.kl_div(own.log_softmax(1), peer.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(prediction_distance(own, peer), plain)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        prediction_distance(own, peer, temperature=0.0)


@pytest.mark.parametrize("distance", [attention_distance, flow_distance])
def test_no_gradient_reaches_the_peer_unless_joint(distance) -> None:
    own, peer = ([one.requires_grad_() for one in drawn(seed, (2, 3, 4), (2, 2, 2))] for seed in (0, 1))
    distance(own, peer).sum().backward()
    assert all(one.grad is not None for one in own)
    assert all(one.grad is None for one in peer)
    distance(own, peer, is_joint=True).sum().backward()
    assert all(one.grad is not None for one in peer)


def test_the_gradient_of_flows_is_that_of_finite_differences() -> None:
    own, peer = (drawn(seed, (1, 2, 4, 4), (1, 3, 2, 2)) for seed in (2, 3))
    near = [one.requires_grad_() for one in own]

    def loss(*features: Tensor) -> Tensor:
        return flow_distance(flows(features), [one.detach() for one in flows(peer)])

    loss(*near).sum().backward()
    step = 1e-2  # flows are float32, and of the second degree in one feature
    for place in ((0, 0, 1, 1), (0, 1, 3, 0)):
        values = []
        for sign in (1, -1):
            moved = own[0].detach().clone()
            moved[place] += sign * step
            values.append(loss(moved, own[1].detach()).sum())
        slope = (values[0] - values[1]) / (2 * step)
        assert near[0].grad[place].item() == pytest.approx(slope.item(), abs=2e-3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: flows(drawn(0, (1, 2, 4, 4))), "give at least 2 layers, got 1"),
        (lambda: attention_distance([], []), "both must have layers of the same shapes"),
        (
            lambda: flow_distance(drawn(0, (1, 2, 3)), drawn(0, (1, 2, 4))),
            r"got \[\(2, 3\)\] and \[\(2, 4\)\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call()
