"""Where features lie on an input: centres worked out by hand."""

import pytest
import torch
from torch import nn

from spl.receptive_fields.placement import FIRST, LAST, even, laid, placement_of


def stack(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


def rows_of(net: nn.Sequential, size: int) -> tuple[float, ...]:
    return placement_of(net, net[-1], [torch.zeros(1, 1, size, size)]).rows


@pytest.mark.parametrize(
    ("net", "size", "start", "jump", "count"),
    [
        # starts by hand: 3.5; 3.5 + 1.5 * 4 = 9.5; 9.5 + 1 * 8 = 17.5
        ([nn.Conv2d(1, 2, 8, 4), nn.Conv2d(2, 2, 4, 2), nn.Conv2d(2, 2, 3, 1)], 84, 17.5, 8.0, 7),
        ([nn.Conv2d(1, 2, 3, 2, padding=1)], 8, 0.0, 2.0, 4),
        ([nn.Conv2d(1, 2, 4, 4)], 16, 1.5, 4.0, 4),  # patches lie evenly: 4 (i + 1/2) - 1/2
        ([nn.Conv2d(1, 2, 3, dilation=2)], 12, 2.0, 1.0, 8),
        ([nn.Conv2d(1, 2, 1), nn.MaxPool2d(2)], 8, 0.5, 2.0, 4),
        ([nn.Conv2d(1, 2, 1)], 5, 0.0, 1.0, 5),
    ],
)
def test_centres_are_those_of_the_recursion(net, size, start, jump, count):
    assert rows_of(stack(*net), size) == pytest.approx([start + jump * number for number in range(count)])


def test_maps_are_laid_between_centres_and_fade_beyond_them():
    placement = even((2, 1), (4, 4))
    assert placement.rows == (0.5, 2.5)
    assert placement.axes == FIRST
    wide = placement._replace(rows=(4.0, 6.0))
    (column,) = laid(torch.tensor([[[1.0], [3.0]]]), wide, (10, 1))[..., 0]
    # from 2 (a jump before the first centre) to 3 (half a jump) the first value rises from 0 to 1
    assert column.tolist() == pytest.approx([0, 0, 0, 1, 1, 2, 3, 3, 0, 0])


class Residual(nn.Module):
    """Two ways of equal stride, as in a residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, 1, 1))
        self.short = nn.Conv2d(1, 2, 1, 2)

    def forward(self, x):
        return self.long(x) + self.short(x)


def test_both_ways_of_a_residual_block_are_followed():
    found = placement_of(net := Residual().eval(), net, [torch.zeros(1, 1, 8, 8)])
    assert found.rows == pytest.approx([0.0, 2.0, 4.0, 6.0], abs=1.0)
    assert found.axes == FIRST


class ChannelsLast(nn.Module):
    """Patches as (B, H, W, C), with a norm over the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(1, 6, 4, 4), nn.LayerNorm(6)

    def forward(self, x):
        return self.norm(self.patches(x).permute(0, 2, 3, 1))


@pytest.mark.parametrize("size", [24, 32])  # at 24 pixels there are as many rows as channels
def test_channels_last_are_recognised(size):
    net = ChannelsLast().eval()
    found = placement_of(net, net.norm, [torch.zeros(1, 1, size, size)])
    assert found.axes == LAST
    assert found.rows == pytest.approx([4 * number + 1.5 for number in range(size // 4)])
    output = net(torch.rand(2, 1, size, size))
    assert found.picture(output).shape == (2, 6, size // 4, size // 4)
    assert torch.equal(found.as_given(found.picture(output)), output)
