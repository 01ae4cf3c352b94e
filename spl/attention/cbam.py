"""CBAM: a gate per channel, then one per position, both from means and maxima.

Source: Woo, Park, Lee, Kweon (2018), CBAM: convolutional block attention module.
"""

import torch
from torch import Tensor, nn

from spl.attention.maps import AttentionMap
from spl.attention.pooling import largest, mean, mixed
from spl.attention.se import SE


class PooledChannelAttention(SE):
    """Weigh each channel by a gate in (0, 1) computed from the means and the maxima of all channels.

    ``M_c = sigmoid(MLP(avg) + MLP(max))``, one perceptron for both (equation 2): that of `SE`, whose options
    these are. With ``is_adaptive`` the perceptron sees HAM's mixture of both instead, with two weights that
    start at 0.5, ``M_c = sigmoid(MLP((avg + max) / 2 + alpha avg + beta max))``: a variant in that paper's
    table 1, which gives no equation for it. The map is the gates ``(B, C, 1, 1)``.
    """

    def __init__(
        self, channels: int, *, reduction: int | None = None, bias: bool = False, is_adaptive: bool = False
    ) -> None:
        super().__init__(channels, reduction=reduction, bias=bias)
        self.alpha = nn.Parameter(torch.tensor(0.5)) if is_adaptive else None
        self.beta = nn.Parameter(torch.tensor(0.5)) if is_adaptive else None

    def gate(self, x: Tensor) -> Tensor:
        """Return the gates ``(B, C, 1, 1)`` of ``x (B, C, H, W)``."""
        positions = x.flatten(2)  # (B, C, H W)
        average, most = mean(positions, dim=2), largest(positions, dim=2)  # (B, C) each
        if self.alpha is None:
            scores = self.scores(torch.stack((average, most))).sum(0)  # (B, C)
        else:
            scores = self.scores(mixed(average, most, self.alpha, self.beta))  # (B, C)
        gate = torch.sigmoid(scores)  # (B, C)
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
        spatial: ``pooled``, or ``none`` for the channel gates alone, as in the HAM paper's table 1.
        is_adaptive: mix means and maxima by trained weights, as in that table.

    Raises:
        ValueError: if an option is not of these, or is for a spatial part that is not there.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int | None = None,
        bias: bool = False,
        kernel_size: int = 7,
        batch_norm: bool = False,
        spatial: str = "pooled",
        is_adaptive: bool = False,
    ) -> None:
        super().__init__()
        if spatial not in ("pooled", "none"):
            raise ValueError(f"spatial must be 'pooled' or 'none', got {spatial!r}")
        if spatial == "none" and (kernel_size != 7 or batch_norm):
            raise ValueError(
                "kernel_size and batch_norm are of the spatial part: leave them out with spatial='none'"
            )
        self.channel = PooledChannelAttention(
            channels, reduction=reduction, bias=bias, is_adaptive=is_adaptive
        )
        self.spatial: nn.Module = nn.Identity()
        if spatial == "pooled":
            self.spatial = PooledSpatialAttention(kernel_size=kernel_size, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        out: Tensor = self.spatial(self.channel(x))
        return out
