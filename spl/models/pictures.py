"""How a video stream reads the bytes of pictures: as 0..1, or standardised by the first pictures seen."""

import math
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST = 1.0 / 255  # of a standard deviation: one grey level
BLANK = 1.0  # what a black picture becomes, in standard deviations


class ByteConv2d(nn.Conv2d):
    """A convolution of bytes 0..255 read as 0..1: its weight is scaled, which costs less than the picture."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C', H', W')`` for ``x (B, C, H, W)`` uint8."""
        out: Tensor = self._conv_forward(as_floats(x, self.weight.dtype), self.weight / 255, self.bias)
        return out


class PictureNorm(nn.Module):
    """The mean picture and the standard deviation of the pixels, by which pictures are standardised.

    The ``n``-th picture ``x (C, H, W)`` in 0..1 updates the mean picture and one variance for all ``P``
    pixels (Welford): ``d = x - mean``, ``mean += d / n``, ``v += (sum d (x - mean) / P - v) / n``. A picture
    then becomes ``(x - mean) / max(sqrt(v), 1 / 255)``; before any was seen, ``x`` itself. Once learning has
    begun, the statistics are fixed: layers learn from the same numbers throughout.

    A still background is 0 afterwards. Without this, its brightness is most of what a first layer receives,
    and in Pong half of its filters soon respond to no picture (docs/results.md).

    A black picture stands for none (a stack's steps before the episode began), and becomes `BLANK`
    everywhere: as 0 it would look like the background, and an agent that has to serve a ball where its stack
    is empty would not see that it is (docs/results.md). Networks saved without ``blank`` keep the 0.

    Source: Welford (1962), Note on a method for calculating corrected sums of squares and products; that
    inputs are standardised: LeCun et al. (1998), Efficient backprop, section 4.3.

    Args:
        shape: ``(C, H, W)``.
    """

    mean: Tensor  # (C, H, W), of pixels in 0..1
    variance: Tensor  # ()
    count: Tensor  # (), pictures seen; infinite: fixed
    blank: Tensor  # (), `BLANK`, or 0

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.zeros(()))
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("blank", torch.tensor(BLANK))
        self.register_load_state_dict_pre_hook(_read_earlier)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self, picture: Tensor) -> None:
        """Take in one ``picture (C, H, W)`` uint8, unless it is black or the statistics are fixed."""
        if not picture.any() or self.count.isinf():
            return
        x = picture.to(self.mean) / 255
        self.count += 1
        delta = x - self.mean
        self.mean += delta / self.count
        self.variance += ((delta * (x - self.mean)).mean() - self.variance) / self.count

    @torch.no_grad()
    def fix(self, mean: Tensor | None = None, variance: float = 0.0) -> None:
        """Let the statistics be what they are, or ``mean (C, H, W)`` and ``variance``, from now on."""
        if mean is not None:
            self.mean.copy_(mean)
            self.variance.fill_(variance)
        elif not self.count:  # nothing was seen: pictures stay as they are
            self.variance.fill_(1.0)
        self.count.fill_(math.inf)

    @property
    def scale(self) -> Tensor:
        """Return ``()``, by which a difference in 0..1 is multiplied: 1 before any picture was seen."""
        deviation = self.variance.float().sqrt().clamp(min=SMALLEST)
        return torch.where(self.count > 0, 1 / deviation, torch.ones_like(deviation)).to(self.mean.dtype)

    @property
    def excess(self) -> Tensor:
        """Return ``(2, C, H, W)`` in 0..255, to subtract from a black picture and from any other."""
        mean = 255 * self.mean
        blank = torch.where(self.count > 0, -255 * self.blank / self.scale, torch.zeros_like(self.scale))
        return torch.stack([blank.expand_as(mean), mean])


def _read_earlier(norm: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let a network that learned with 0 for a black picture keep it."""
    state.setdefault(f"{prefix}blank", torch.zeros(()))


class StandardisedConv2d(ByteConv2d):
    """A convolution of bytes 0..255 read as standardised pictures (`PictureNorm`), ``T`` of ``C`` channels.

    A convolution is linear, so its response to the mean picture is subtracted from its response to the bytes,
    instead of the mean from each picture, and likewise for black ones: one pass over two pictures replaces
    two over all of them.

    Args:
        norm: the statistics.
        args, kwargs: of `nn.Conv2d`.
    """

    def __init__(self, *args: Any, norm: PictureNorm, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C', H', W')`` for ``x (B, T C, H, W)`` uint8."""
        B, (C, H, W), filters = len(x), self.norm.mean.shape, len(self.weight)
        weight = self.weight * (self.norm.scale / 255)  # (C', T C, k, k)
        out = self._conv_forward(as_floats(x, weight.dtype), weight, self.bias)
        each = weight.reshape(filters, -1, C, *self.kernel_size).transpose(0, 1).flatten(0, 1)
        excess = self._conv_forward(self.norm.excess, each, None)  # (2, T C', H', W')
        rows = excess.view(-1, filters, *out.shape[2:]).permute(0, 2, 3, 1).flatten(1)  # (2 T, H' W' C')
        is_there = x.reshape(B, -1, C * H * W).amax(dim=2) > 0  # (B, T)
        which = torch.cat([~is_there, is_there], dim=1).to(rows.dtype)  # (B, 2 T)
        in_excess = (which @ rows).view(B, *out.shape[2:], filters)
        found: Tensor = out - in_excess.permute(0, 3, 1, 2)
        return found


def as_floats(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return bytes ``(B, C, H, W)`` as floats 0..255 with the channels last in memory, where that pays.

    On the CPU one channel after the other: half the time of the library's own permuting copy (0.6 ms at
    32 x 4 x 84 x 84), which has its inner loop over the four channels. Convolutions in float32 gain from it
    only where they go back.
    """
    if x.device.type != "cpu" or torch.compiler.is_exporting():
        return x.to(dtype, memory_format=torch.channels_last)
    if dtype == torch.float32 and not torch.is_grad_enabled():
        return x.to(dtype)
    floats = torch.empty(x.shape, dtype=dtype, memory_format=torch.channels_last)
    for channel in range(x.shape[1]):
        floats[:, channel].copy_(x[:, channel])
    return floats
