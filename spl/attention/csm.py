"""Channel and spatial attention (CSM): squeeze-excitation over channels, then attention over positions.

Source: Yang, Zhang, Yang, "CSM" and Wu, Fan, Mao, section 3.1-3.2; equation numbers are theirs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelAttention(nn.Module):
    """Weigh each channel by a gate in (0, 1) computed from the means of all channels.

    ``M_c = sigmoid(W2 relu(W1 F_avg))`` and ``F_1 = M_c * F_in`` (equations 1, 3 and 4), with ``F_avg`` the
    mean over positions. The reduction ``r`` is not stated; biases are neither, and off as in the counts.

    Raises:
        ValueError: if ``channels`` is smaller than ``reduction``.
    """

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = False) -> None:
        super().__init__()
        if channels < reduction:
            raise ValueError(f"reduction must be in 1..channels ({channels}), got {reduction}")
        self.reduce = nn.Linear(channels, channels // reduction, bias=bias)  # W1
        self.expand = nn.Linear(channels // reduction, channels, bias=bias)  # W2

    def attention(self, x: Tensor) -> Tensor:
        """Return the gates ``(B, C, 1, 1)`` of ``x (B, C, H, W)``."""
        mean = x.mean(dim=(2, 3))  # (B, C)
        gate = torch.sigmoid(self.expand(functional.relu(self.reduce(mean))))  # (B, C)
        return gate[:, :, None, None]  # (B, C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` with every channel scaled by its gate."""
        return x * self.attention(x)  # (B, C, H, W)


class PositionAttention(nn.Module):
    """Let every position gather the values of all positions, by the likeness of their features.

    ``M_s[i, j] = exp(B_i . C_j) / sum_i exp(B_i . C_j)`` (equation 5; the columns sum to 1, no scale) and
    ``F_out[:, j] = sum_i M_s[i, j] D[:, i]``, with ``B, C, D`` 1 x 1 convolutions of the input. The text's
    "element-wise" product of an ``N x N`` map and a ``C x H x W`` feature has no shape, so the weighted sum
    is taken. ``residual`` returns ``gamma F_out + x`` with ``gamma`` starting at 0 (identity), as DANet does.
    Memory grows with ``H W``, not its square: the map is never stored.
    """

    def __init__(self, channels: int, *, residual: bool = False) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, channels, 1)  # B
        self.query = nn.Conv2d(channels, channels, 1)  # C
        self.value = nn.Conv2d(channels, channels, 1)  # D
        self.gamma = nn.Parameter(torch.zeros(())) if residual else None

    def attention(self, x: Tensor) -> Tensor:
        """Return the map ``M_s (B, H W, H W)`` of ``x (B, C, H, W)``; its memory is quadratic."""
        keys, queries = self.key(x).flatten(2), self.query(x).flatten(2)  # (B, C, H W) each
        return torch.softmax(keys.transpose(1, 2) @ queries, dim=1)  # (B, i, j)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        # Contiguous (B, 1, H W, C) of equal widths: anything else falls back to quadratic memory silently.
        query, key, value = (
            layer(x).flatten(2).transpose(1, 2).contiguous()[:, None]
            for layer in (self.query, self.key, self.value)
        )
        out = functional.scaled_dot_product_attention(query, key, value, scale=1.0)  # (B, 1, H W, C)
        out = out[:, 0].transpose(1, 2).reshape(x.shape)  # (B, C, H, W)
        return out if self.gamma is None else self.gamma * out + x


class PooledSpatialAttention(nn.Module):
    """Weigh each position by a gate in (0, 1) computed from the mean and the maximum over channels.

    ``M_s = sigmoid(conv([mean_c; max_c]))`` and ``F_out = M_s * F_1`` (equation 2 read literally, with the
    pooling of section 3.2's first paragraph; kernel 7 and the sigmoid are CBAM's, no bias).
    """

    def __init__(self, *, kernel_size: int = 7) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the picture's size, got {kernel_size}")
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def attention(self, x: Tensor) -> Tensor:
        """Return the gates ``(B, 1, H, W)`` of ``x (B, C, H, W)``."""
        pooled = torch.stack((x.mean(dim=1), x.amax(dim=1)), dim=1)  # (B, 2, H, W)
        return torch.sigmoid(self.conv(pooled))  # (B, 1, H, W)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` with every position scaled by its gate."""
        return x * self.attention(x)  # (B, C, H, W)


class CSM(nn.Module):
    """Channel attention, then spatial attention (equations 1 and 2).

    Args:
        channels: ``C``.
        spatial: ``position`` (equation 5) or ``pooled`` (equation 2 read literally).
        reduction: of the channel gates.
        residual: start the position attention as the identity; only with ``spatial="position"``.
    """

    def __init__(
        self, channels: int, *, spatial: str = "position", reduction: int = 16, residual: bool = False
    ) -> None:
        super().__init__()
        if spatial not in ("position", "pooled"):
            raise ValueError(f"spatial must be 'position' or 'pooled', got {spatial!r}")
        if residual and spatial != "position":
            raise ValueError("residual=True needs spatial='position': the pooled gate has no residual")
        self.channel = ChannelAttention(channels, reduction=min(reduction, channels))
        self.spatial = (
            PositionAttention(channels, residual=residual)
            if spatial == "position"
            else PooledSpatialAttention()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        out: Tensor = self.spatial(self.channel(x))
        return out
