"""Mutual transfer: the distances of maps and of predictions, by hand and at their ends."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from spl.receptive_fields.placement import Placement, even
from spl.saliency.local_transfer import (
    correlations,
    global_map,
    layer_map,
    map_distance,
    normalised,
    patches,
    placed,
    prediction_distance,
    tapped,
)


def maps(seed=0, size=(3, 8, 8)):
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_the_ends_of_the_distance(grid):
    one = maps()
    assert map_distance(one, one, grid=grid).abs().max() < 1e-12
    assert map_distance(one, 3 * one + 5, grid=grid).abs().max() < 1e-12
    torch.testing.assert_close(map_distance(one, -one, grid=grid), torch.full((3,), 2.0).double())


def test_a_grid_of_one_is_the_correlation_of_the_whole_maps():
    one, two = maps(), maps(1)
    expected = [
        1 - torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]
        for a, b in zip(one, two, strict=True)
    ]
    torch.testing.assert_close(map_distance(one, two, grid=1), torch.stack(expected))


def test_each_patch_by_hand():
    one = torch.tensor(
        [[[0.0, 1.0, 5.0, 5.0], [2.0, 3.0, 5.0, 5.0]] * 2]
    )  # (1, 4, 4): left alike, right even
    two = torch.tensor([[[0.0, 1.0, 1.0, 2.0], [2.0, 3.0, 3.0, 4.0], [3.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0, 0]]])
    torch.testing.assert_close(correlations(one, two, 2), torch.tensor([[1.0, 0.0, -1.0, 0.0]]))
    torch.testing.assert_close(map_distance(one, two, grid=2), torch.tensor([1.0]))  # (0 + 1 + 2 + 1) / 4
    torch.testing.assert_close(map_distance(one, two, grid=2, below=0.5), torch.tensor([1.0]))
    torch.testing.assert_close(map_distance(one, two, grid=2, below=0.0), torch.tensor([0.5]))
    torch.testing.assert_close(map_distance(one, two, grid=2, below=-1.0), torch.tensor([0.0]))


def test_an_even_patch_gives_no_nan_and_no_gradient():
    own, peer = torch.full((1, 4, 4), 0.1, requires_grad=True), maps(2, (1, 4, 4)).float()
    distance = map_distance(own, peer, grid=2)
    assert distance.item() == 1.0
    distance.sum().backward()
    assert torch.equal(own.grad, torch.zeros(1, 4, 4))
    even = torch.full((1, 4, 4), 0.1)
    mine = peer.clone().requires_grad_()
    map_distance(mine, even, grid=2).sum().backward()
    assert torch.equal(mine.grad, torch.zeros(1, 4, 4))
    features = torch.ones(1, 3, 4, 4, requires_grad=True)
    global_map([features], [Placement((0.5, 2.5, 4.5, 6.5), (0.5, 2.5, 4.5, 6.5))]).sum().backward()
    assert torch.equal(features.grad, torch.zeros(1, 3, 4, 4))


def test_the_gradient_is_that_of_finite_differences():
    own, peer = maps(3, (2, 5, 6)).requires_grad_(), maps(4, (2, 5, 6)).requires_grad_()
    for options in ({"grid": 2}, {"grid": 2, "overlap": 0.4}, {"grid": 1, "below": 0.9}):
        assert torch.autograd.gradcheck(
            lambda a, b, o=options: map_distance(a, b, is_joint=True, **o), (own, peer)
        )


def test_no_gradient_reaches_the_peer_unless_joint():
    for distance in (lambda a, b, j: map_distance(a, b, grid=2, is_joint=j), joint_predictions):
        own, peer = maps(6).requires_grad_(), maps(7).requires_grad_()
        distance(own, peer, False).sum().backward()
        assert own.grad.abs().max() > 0
        assert peer.grad is None
        distance(own, peer, True).sum().backward()
        assert peer.grad.abs().max() > 0


def joint_predictions(own, peer, is_joint):
    return prediction_distance(own.flatten(1), peer.flatten(1), is_joint=is_joint)


def test_normalised_patches_differ_by_twice_the_distance():
    one, two = (patches(maps(seed), 2) for seed in (8, 9))
    apart = (normalised(one) - normalised(two)).square().sum(dim=-1)
    torch.testing.assert_close(apart, 2 * (1 - correlations(maps(8), maps(9), 2)))
    lengths = normalised(one).square().sum(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_patches_tile_the_map_row_by_row():
    whole = torch.arange(16.0).reshape(1, 4, 4)
    expected = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert patches(whole, 2)[0].tolist() == expected
    assert torch.equal(patches(whole, 1)[0, 0], whole.flatten())


@pytest.mark.parametrize(("side", "grid", "overlap"), [(10, 4, 0.0), (7, 3, 0.0), (8, 4, 0.5), (32, 5, 0.3)])
def test_patches_cover_a_map_that_does_not_divide(side, grid, overlap):
    whole = torch.arange(float(side * side)).reshape(1, side, side)
    parts = patches(whole, grid, overlap=overlap)
    assert set(parts.flatten().tolist()) == set(whole.flatten().tolist())
    length = math.isqrt(parts.shape[-1])
    assert length**2 == parts.shape[-1]
    assert grid * length - (grid - 1) * length * overlap >= side - 1e-6
    assert length - 1 < side / (grid - (grid - 1) * overlap)  # no larger than need be


def test_layer_maps_and_their_sum_by_hand():
    features = torch.tensor([[[[1.0, -2.0]], [[3.0, 0.0]]]])  # (1, 2, 1, 2)
    assert layer_map(features).tolist() == [[[2.0, 1.0]]]
    assert layer_map(features, power=2.0).tolist() == [[[5.0, 2.0]]]
    small = torch.tensor([[[[0.0, 4.0]]]])  # (1, 1, 1, 2)
    wide = even((1, 2), (8, 8))
    assert global_map([features, small], [wide, wide]).tolist() == [[[1.0, 1.0]]]  # 1 0 and 0 1
    large = torch.rand(2, 3, 6, 6)
    placements = [even((6, 6), (12, 12)), even((3, 3), (12, 12))]
    total = global_map([large, large[:, :, :3, :3]], placements)
    assert total.shape == (2, 6, 6)
    up = functional.interpolate(layer_map(large[:, :, :3, :3])[:, None], (6, 6), mode="bilinear")[:, 0]
    parts = [layer_map(large), up]
    least = [part.amin(dim=(1, 2), keepdim=True) for part in parts]
    spread = [part.amax(dim=(1, 2), keepdim=True) - low for part, low in zip(parts, least, strict=True)]
    expected = sum((part - low) / far for part, low, far in zip(parts, least, spread, strict=True))
    torch.testing.assert_close(total, expected)
    assert global_map([large], placements[:1], on=even((9, 4), (12, 12))).shape == (2, 9, 4)


def test_a_layer_is_looked_up_where_the_other_one_has_its_features():
    fine, coarse = Placement((0.0, 1.0, 2.0, 3.0, 4.0), (0.0,)), Placement((0.0, 2.0, 4.0), (0.0,))
    features = torch.tensor([0.0, 4.0, 2.0])[None, None, :, None]
    (column,) = global_map([features], [coarse], on=fine)[..., 0]
    assert column.tolist() == [0.0, 0.5, 1.0, 0.75, 0.5]
    same = global_map([features, torch.zeros(1, 1, 5, 1)], [coarse, fine])  # the larger one decides
    assert torch.equal(same[0, :, 0], column)


def test_predictions_by_hand():
    own, peer = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3.0)]])  # 1/2 1/2 and 1/4 3/4
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert prediction_distance(own, peer).item() == pytest.approx(expected)
    assert prediction_distance(peer, peer).item() == pytest.approx(0.0, abs=1e-7)


def test_what_layers_give_is_kept_with_its_graph():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3))
    images = torch.rand(2, 3, 8, 8)
    placements = placed(model, ["0", "2"], images)
    assert [one.rows[0] for one in placements] == [1.0, 2.0]
    with tapped(model, ["0", "2"], placements) as features:
        out = model(images)
    assert [tuple(one.shape) for one in features] == [(2, 4, 6, 6), (2, 5, 4, 4)]
    assert torch.equal(features[1], out)
    features[0].sum().backward()
    assert model[0].weight.grad is not None
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="has no layer '3'"), tapped(model, ["3"], placements[:1]):
        pass


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: patches(maps(), 0), "grid must be at least 1"),
        (lambda: patches(maps(), 2, overlap=1.0), r"overlap in \[0, 1\)"),
        (lambda: patches(maps(), 8), "at least 2 rows and columns, got a map of 8 in a grid of 8"),
        (lambda: correlations(maps(), maps()[:, :4], 2), r"both maps must be \(B, H, W\)"),
        (lambda: global_map([], []), "at least one layer"),
    ],
)
def test_what_does_not_fit_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
