"""Channel and spatial attention (CSM): squeeze-excitation over channels, then attention over positions.

Source: Yang, Zhang, Yang, "CSM" and Wu, Fan, Mao, section 3.1-3.2; equation numbers are theirs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spl.attention.cbam import PooledSpatialAttention
from spl.attention.maps import AttentionMap
from spl.attention.se import SE

ChannelAttention = SE  # equations 1, 3 and 4; r and biases are not stated
FEW = 128  # positions


class PositionAttention(nn.Module):
    """Let every position gather the values of all positions, by the likeness of their features.

    ``M_s[i, j] = exp(B_i . C_j) / sum_i exp(B_i . C_j)`` (equation 5; the columns sum to 1, no scale) and
    ``F_out[:, j] = sum_i M_s[i, j] D[:, i]``, with ``B, C, D`` 1 x 1 convolutions of the input. The text's
    "element-wise" product of an ``N x N`` map and a ``C x H x W`` feature has no shape, so the weighted sum
    is taken. The map ``(B, i, j)`` is made where it is looked at, and where at most `FEW` positions learn in
    bfloat16 on a CPU: back through it is 5 times as fast. Else memory grows with ``H W``, not its square.

    Args:
        channels: ``C``.
        residual: return ``gamma F_out + x`` with ``gamma`` starting at 0 (identity), as DANet does.
        query_reduction: ``B`` and ``C`` have ``channels / query_reduction`` channels: 1 in the paper, 8
            in DANet.
        value: ``conv`` gathers ``D``; ``input`` gathers the input itself, and there is no ``D``.

    Raises:
        ValueError: if ``query_reduction`` does not divide ``channels``, or ``value`` is neither.
    """

    def __init__(
        self, channels: int, *, residual: bool = False, query_reduction: int = 1, value: str = "conv"
    ) -> None:
        super().__init__()
        if query_reduction < 1 or channels % query_reduction:
            raise ValueError(f"query_reduction must divide channels ({channels}), got {query_reduction}")
        if value not in ("conv", "input"):
            raise ValueError(f"value must be 'conv' or 'input', got {value!r}")
        self.key = nn.Conv2d(channels, channels // query_reduction, 1)  # B
        self.query = nn.Conv2d(channels, channels // query_reduction, 1)  # C
        self.value = nn.Conv2d(channels, channels, 1) if value == "conv" else None  # D
        self.gamma = nn.Parameter(torch.zeros(())) if residual else None
        self.map = AttentionMap()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        rows = x.flatten(2).transpose(1, 2).contiguous()  # (B, H W, C)
        key, query = _project(self.key, rows), _project(self.query, rows)  # (B, H W, C or fewer)
        value = rows if self.value is None else _project(self.value, rows)  # (B, H W, C)
        is_quick = x.is_cpu and x.dtype == torch.bfloat16 and torch.is_grad_enabled() and rows.shape[1] <= FEW
        if is_quick or self.map.is_watched:
            weights = torch.softmax(query @ key.transpose(1, 2), dim=2)  # (B, j, i)
            gathered = self.map(weights.transpose(1, 2)).transpose(1, 2) @ value  # (B, H W, C)
        else:
            gathered = _gather(key, query, value)  # (B, H W, C)
        out: Tensor = gathered.transpose(1, 2).reshape(x.shape)  # (B, C, H, W)
        if self.gamma is not None:
            out = x + self.gamma * out  # x first: its layout in memory stays
        return out

    def macs_correction(self, x: Tensor) -> int:
        """Return the multiply-accumulates, negative, of the zeros that make keys as wide as values."""
        B, C, H, W = x.shape
        return -B * (H * W) ** 2 * (C - self.key.out_channels)


def _project(conv: nn.Conv2d, rows: Tensor) -> Tensor:
    """Return the 1 x 1 convolution of ``rows (B, H W, C)``, which need not be transposed for it."""
    return functional.linear(rows, conv.weight.flatten(1), conv.bias)


def _gather(key: Tensor, query: Tensor, value: Tensor) -> Tensor:
    """Return each query's weighted mean of ``value (B, H W, C)``, without the map of the weights.

    The kernel that needs no memory for the map wants four contiguous axes, and values as wide as keys and
    queries, to whose products zeros add nothing. Anything else falls back to the map silently.
    """
    if key.shape[2] < value.shape[2]:
        missing = value.shape[2] - key.shape[2]
        key, query = functional.pad(key, (0, missing)), functional.pad(query, (0, missing))
    out = functional.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)
    return out[:, 0]


class CSM(nn.Module):
    """Channel attention and spatial attention, one after the other (equations 1 and 2).

    Args:
        channels: ``C``.
        spatial: ``position`` (equation 5) or ``pooled`` (equation 2 read literally).
        order: ``cam-sam`` (the paper's: channels first) or ``sam-cam``.
        reduction: of the channel gates; None is 16 as far as ``channels`` go.
        bias: of the channel gates' layers.
        residual, query_reduction, value: of `PositionAttention`.

    Raises:
        ValueError: if a name is unknown, or an option of the position attention is given to ``pooled``.
    """

    def __init__(
        self,
        channels: int,
        *,
        spatial: str = "position",
        order: str = "cam-sam",
        reduction: int | None = None,
        bias: bool = False,
        residual: bool = False,
        query_reduction: int = 1,
        value: str = "conv",
    ) -> None:
        super().__init__()
        if spatial not in ("position", "pooled"):
            raise ValueError(f"spatial must be 'position' or 'pooled', got {spatial!r}")
        if order not in ("cam-sam", "sam-cam"):
            raise ValueError(f"order must be 'cam-sam' or 'sam-cam', got {order!r}")
        if spatial == "pooled" and (residual, query_reduction, value) != (False, 1, "conv"):
            raise ValueError(
                "residual, query_reduction and value need spatial='position': "
                f"the pooled gate has none of them, got {residual}, {query_reduction} and {value!r}"
            )
        self.order = order
        self.channel = ChannelAttention(channels, reduction=reduction, bias=bias)
        self.spatial = (
            PositionAttention(channels, residual=residual, query_reduction=query_reduction, value=value)
            if spatial == "position"
            else PooledSpatialAttention()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        if self.order == "sam-cam":
            out: Tensor = self.channel(self.spatial(x))
        else:
            out = self.spatial(self.channel(x))
        return out
