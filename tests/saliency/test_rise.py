"""RISE against a score whose map is known: masks by hand, the place of a pixel that counts, and one seed."""

import pytest
import torch
from torch import nn

from spl.saliency import rise
from spl.saliency.rise import random_mask


class Pixel(nn.Module):
    """Scores a picture by one pixel, positively and negatively."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x[:, 0, self.row, self.column].float()
        return torch.stack([value, -value], dim=1)


def test_masks_show_the_share_that_is_kept_and_are_smooth():
    generator = torch.Generator().manual_seed(0)
    masks = torch.stack([random_mask(28, 21, 0.25, generator) for _ in range(2_000)])
    assert masks.shape == (2_000, 28, 21)
    assert 0 <= masks.min() < masks.max() <= 1
    assert abs(float(masks.mean()) - 0.25) < 0.01
    assert masks.diff(dim=1).abs().max() <= 0.26, "a cell of 4 pixels rises by a quarter a pixel"


@pytest.mark.parametrize(("row", "column"), [(4, 20), (14, 14), (25, 3)])
def test_the_pixel_that_counts_is_the_highest(row, column):
    x = torch.ones(2, 1, 28, 28)
    maps = rise(Pixel(row, column), None, x, lambda outputs: outputs[:, 0])
    assert maps.shape == (2, 28, 28)
    place = int(maps[0].argmax())
    assert abs(place // 28 - row) <= 2
    assert abs(place % 28 - column) <= 2
    assert maps[0].mean() < 0.3
    against = rise(Pixel(row, column), None, x, lambda outputs: outputs[:, 1])
    assert against[0, row, column] == 0, "what lowers the score is no reason for it"


def test_masks_come_from_the_seed_and_torchs_generator_is_left_alone():
    x, state = torch.rand(1, 1, 16, 16), torch.get_rng_state()
    one, other, third = (
        rise(Pixel(3, 3), None, x, lambda y: y[:, 0], num_masks=32, seed=s) for s in (0, 0, 1)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes_and_shares_that_do_not_serve():
    x = torch.rand(1, 1, 8, 8)
    for options in ({"num_masks": 1}, {"kept": 0.0}, {"kept": 1.0}):
        with pytest.raises(ValueError, match="num_masks must be at least 2 and kept inside"):
            rise(Pixel(0, 0), None, x, lambda y: y[:, 0], **options)
    assert rise(Pixel(1, 1), None, torch.rand(1, 1, 3, 2), lambda y: y[:, 0]).shape == (1, 3, 2)
