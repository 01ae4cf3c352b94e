"""CBAM: a gate per channel, then one per position, both from means and maxima.

Source: Woo, Park, Lee, Kweon (2018), CBAM: convolutional block attention module.
"""

import torch
from torch import Tensor, nn

from spl.attention.maps import AttentionMap
from spl.attention.pooling import largest, mean
from spl.attention.se import SE


class PooledChannelAttention(SE):
    """Weigh each channel by a gate in (0, 1) computed from the means and the maxima of all channels.

    ``M_c = sigmoid(MLP(avg) + MLP(max))``, one perceptron for both (equation 2): that of `SE`, whose options
    these are. The map is the gates ``(B, C, 1, 1)``.
    """

    def gate(self, x: Tensor) -> Tensor:
        """Return the gates ``(B, C, 1, 1)`` of ``x (B, C, H, W)``."""
        positions = x.flatten(2)  # (B, C, H W)
        pooled = torch.stack((mean(positions, dim=2), largest(positions, dim=2)))  # (2, B, C)
        gate = torch.sigmoid(self.scores(pooled).sum(0))  # (B, C)
        out: Tensor = self.map(gate[:, :, None, None])  # (B, C, 1, 1)
        return out


class PooledSpatialAttention(nn.Module):
    """Weigh each position by a gate in (0, 1) computed from the mean and the maximum over channels.

    ``M_s = sigmoid(conv([avg; max]))``, without bias (equation 3); ``batch_norm`` puts a batch normalization
    before the sigmoid, as the authors' code has it (which also takes the maximum first). CSM's pooled reading
    (its equation 2 read literally) is this. The map is the gates ``(B, 1, H, W)``.

    Raises:
        ValueError: if ``kernel_size`` is even or below 1.
    """

    def __init__(self, *, kernel_size: int = 7, batch_norm: bool = False) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the picture's size, got {kernel_size}")
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1) if batch_norm else None
        self.map = AttentionMap()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` with every position scaled by its gate."""
        score = self.conv(torch.stack((mean(x, dim=1), largest(x, dim=1)), dim=1))  # (B, 1, H, W)
        if self.norm is not None:
            score = self.norm(score)  # (B, 1, H, W)
        out: Tensor = x * self.map(torch.sigmoid(score))  # (B, C, H, W)
        return out


class CBAM(nn.Module):
    """Channel attention, then spatial attention, both from means and maxima (equation 1).

    Args:
        channels: ``C``.
        reduction: of the channel gates; None is 16 as far as ``channels`` go.
        bias: of the channel gates' layers: off in the counts of papers, on in the authors' code.
        kernel_size: of the spatial convolution, odd.
        batch_norm: normalize before the spatial sigmoid, as the authors' code does.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int | None = None,
        bias: bool = False,
        kernel_size: int = 7,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.channel = PooledChannelAttention(channels, reduction=reduction, bias=bias)
        self.spatial = PooledSpatialAttention(kernel_size=kernel_size, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        out: Tensor = self.spatial(self.channel(x))
        return out
