"""A toy data set with a hidden factor that both senses tell, and one more in each that the other does not."""

import torch
from torch import Tensor

from spl.moments import Moments
from spl.records import StreamSpec
from spl.streams import in_units

SPEC = StreamSpec(video=(1, 12, 12), audio=(1, 8, 4))


def bump(middle: Tensor, size: int, width: float) -> Tensor:
    """``(B, size)`` with a maximum of 1 at ``middle (B,)``."""
    return torch.exp(-(((torch.arange(size) - middle[:, None]) / width) ** 2))


def draw(B: int, seed: int) -> tuple[Tensor, Tensor]:
    """Video ``(B, 1, 1, 12, 12)`` uint8 of a spot, audio ``(B, 1, 1, 8, 4)`` float16 of a tone.

    The spot's column is the tone's pitch; its row is only seen, the loudness only heard.
    """
    generator = torch.Generator().manual_seed(seed)
    place, row, loudness = torch.rand(3, B, generator=generator)
    spot = bump(row * 11, 12, 2.0)[:, :, None] * bump(place * 11, 12, 1.5)[:, None]  # (B, H, W)
    tone = bump(place * 7, 8, 1.2) * (0.5 + 0.5 * loudness)[:, None]  # (B, M)
    video = (255 * spot).round().to(torch.uint8)
    return video[:, None, None], tone[:, None, None, :, None].expand(B, 1, 1, 8, 4).half()


def variance(x: Tensor) -> float:
    moments = Moments()
    moments.add(in_units(x))
    return moments.variance
