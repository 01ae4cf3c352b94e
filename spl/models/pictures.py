"""How a video stream reads the bytes of pictures: as 0..1, or standardised by the first pictures seen."""

import math

import torch
from torch import Tensor, nn

SMALLEST = 1.0 / 255  # of a standard deviation: one grey level


class ByteConv2d(nn.Conv2d):
    """A convolution of bytes 0..255 read as 0..1: its weight is scaled, which costs less than the picture."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C', H', W')`` for ``x (B, C, H, W)`` uint8."""
        out: Tensor = self._conv_forward(as_floats(x, self.weight.dtype), self.weight / 255, self.bias)
        return out


class PictureNorm(nn.Module):
    """Subtracts the mean picture and divides by the standard deviation of the pixels.

    The ``n``-th picture ``x (C, H, W)`` in 0..1 updates the mean picture and one variance for all ``P``
    pixels (Welford): ``d = x - mean``, ``mean += d / n``, ``v += (sum d (x - mean) / P - v) / n``. A picture
    then becomes ``(x - mean) / max(sqrt(v), 1 / 255)``; before any was seen, ``x`` itself. Once learning has
    begun, the statistics are fixed: layers learn from the same numbers throughout.

    A still background is 0 afterwards. Without this, its brightness is most of what a first layer receives,
    and in Pong half of its filters soon respond to no picture (docs/results.md).

    A black picture stands for none (a stack's steps before the episode began), and becomes 0.

    Source: Welford (1962), Note on a method for calculating corrected sums of squares and products; that
    inputs are standardised: LeCun et al. (1998), Efficient backprop, section 4.3.

    Args:
        shape: ``(C, H, W)``.
    """

    mean: Tensor  # (C, H, W), of pixels in 0..1
    variance: Tensor  # ()
    count: Tensor  # (), pictures seen; infinite: fixed

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.zeros(()))
        self.register_buffer("count", torch.zeros(()))

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

    def forward(self, video: Tensor) -> Tensor:
        """Return ``(B, T C, H, W)`` for ``video (B, T, C, H, W)`` uint8."""
        pictures = as_floats(video.flatten(1, 2), self.mean.dtype)  # (B, T C, H, W), 0..255
        is_last = pictures.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format
        mean = (255 * self.mean).repeat(video.shape[1], 1, 1)[None].contiguous(memory_format=layout)
        centred = pictures - mean
        is_there = video.flatten(2).amax(dim=2) > 0  # (B, T)
        is_eager = video.device.type == "cpu" and not torch.compiler.is_compiling()
        if not is_eager or not is_there.all():  # a factor per picture costs as much as all else here
            centred.mul_(is_there.repeat_interleave(video.shape[2], dim=1)[..., None, None])
        deviation = self.variance.float().sqrt().clamp(min=SMALLEST)
        scale = torch.where(self.count > 0, 1 / deviation, torch.ones_like(deviation)) / 255
        return centred.mul_(scale.to(centred.dtype))


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
