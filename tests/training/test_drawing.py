"""What layers draw in an update: it follows from the seed and the update, and nothing else does."""

import torch
from torch import nn

from spl.training.drawing import drawing

CPU = torch.device("cpu")


def dropped(seed: int, update: int) -> list[bool]:
    with drawing(CPU, seed, update):
        return nn.Dropout(0.5)(torch.ones(64)).eq(0).tolist()


def test_an_update_draws_what_belongs_to_it_whatever_was_drawn_before():
    first = dropped(3, 7)
    torch.rand(5)
    assert dropped(3, 7) == first
    assert dropped(3, 8) != first
    assert dropped(4, 7) != first


def test_the_generator_is_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    dropped(1, 1)
    assert torch.equal(torch.rand(3), expected)
