"""Recurrent criss-cross attention (RCCA): each position attends to its row and column, twice.

Source: Huang et al. (2019), "CCNet: Criss-cross attention for semantic segmentation", and its public code.
"""

import torch
from torch import Tensor, nn

from spl.attention.maps import AttentionMap


class CrissCrossAttention(nn.Module):
    """Let every position gather the values of its row and column, by the likeness of their features.

    ``out[p] = x[p] + gamma sum_q softmax_q(Q[p] . K[q]) V[q]``, ``q`` one of the ``H + W - 1`` positions in
    the row and column of ``p``, itself once; no scale. ``gamma`` starts at 0 (identity). Memory grows with
    ``H W (H + W)``. Its map is the weights ``(B, H, W, H + W)``: of the column's rows, then of the row's
    columns; ``p`` itself is among the latter.

    Args:
        channels: ``C``.
        reduction: queries and keys have ``C / reduction`` channels; None is 8, rounded down to at least one.

    Raises:
        ValueError: if ``reduction`` does not divide ``channels``.
    """

    def __init__(self, channels: int, *, reduction: int | None = None) -> None:
        super().__init__()
        if reduction is not None and (reduction < 1 or channels % reduction):
            raise ValueError(
                f"reduction must divide channels ({channels}), got {reduction}; "
                "leave it out for channels / 8, rounded down"
            )
        hidden = max(1, channels // 8) if reduction is None else channels // reduction
        self.query = nn.Conv2d(channels, hidden, 1)
        self.key = nn.Conv2d(channels, hidden, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))
        self.map = AttentionMap()

    def weights(self, x: Tensor) -> Tensor:
        """Return the attention ``(B, H, W, H + W)`` of ``x (B, C, H, W)``; the last axis sums to 1."""
        query, key, H = self.query(x), self.key(x), x.shape[2]
        along_column = torch.einsum("bchw,bcgw->bhwg", query, key)  # (B, H, W, H)
        along_row = torch.einsum("bchw,bchv->bhwv", query, key)  # (B, H, W, W)
        # A position lies in its column and in its row and counts once: not in the column.
        itself = torch.eye(H, dtype=torch.bool, device=x.device)[:, None]  # (H, 1, H)
        along_column = along_column.masked_fill(itself, -torch.inf)
        weights = torch.softmax(torch.cat((along_column, along_row), dim=3), dim=3)  # (B, H, W, H + W)
        out: Tensor = self.map(weights)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        value, weights, H = self.value(x), self.weights(x), x.shape[2]
        along_column, along_row = weights[..., :H], weights[..., H:]
        gathered = torch.einsum("bhwg,bcgw->bchw", along_column, value)  # (B, C, H, W)
        gathered = gathered + torch.einsum("bhwv,bchv->bchw", along_row, value)
        return x + self.gamma * gathered  # (B, C, H, W)


class RCCA(nn.Module):
    """Criss-cross attention, repeated: after two rounds each position has heard of every other.

    Args:
        channels: ``C``.
        recurrence: number of rounds.
        reduction: of the queries and keys, see `CrissCrossAttention`.
        is_shared: take the same weights in every round; else each has its own.

    Raises:
        ValueError: if ``recurrence`` is not positive, or ``reduction`` does not divide ``channels``.
    """

    def __init__(
        self, channels: int, *, recurrence: int = 2, reduction: int | None = None, is_shared: bool = True
    ) -> None:
        super().__init__()
        if recurrence < 1:
            raise ValueError(f"recurrence must be at least 1 round, got {recurrence}")
        self.recurrence = recurrence
        self.rounds = nn.ModuleList(
            CrissCrossAttention(channels, reduction=reduction) for _ in range(1 if is_shared else recurrence)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        for turn in range(self.recurrence):
            x = self.rounds[turn % len(self.rounds)](x)  # (B, C, H, W)
        return x


class RCCAHead(nn.Module):
    """What CCNet puts after the last stage, up to its classifier: ``(B, C, H, W) -> (B, C / 4, H, W)``.

    Two 3 x 3 convolutions around an `RCCA` of ``C / 4`` channels, and a third one over its output beside the
    input; each without bias, followed by a batch norm and a leaky ReLU of slope 0.01, which is what the
    authors' code has in one layer (``InPlaceABN``). Its dropout and its classifier are left to the caller.

    Args:
        channels: ``C``, a multiple of 4.
        recurrence: number of rounds.
        is_shared: take the same weights in every round.

    Raises:
        ValueError: if ``channels`` is not a multiple of 4.
    """

    def __init__(self, channels: int, *, recurrence: int = 2, is_shared: bool = True) -> None:
        super().__init__()
        if channels < 4 or channels % 4:
            raise ValueError(
                f"channels must be a multiple of 4, of which a fourth is attended, got {channels}"
            )
        inner = channels // 4
        self.before = convolution(channels, inner)
        self.attention = RCCA(inner, recurrence=recurrence, is_shared=is_shared)
        self.after = convolution(inner, inner)
        self.bottleneck = convolution(channels + inner, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C / 4, H, W)`` of ``x (B, C, H, W)``."""
        attended = self.after(self.attention(self.before(x)))  # (B, C / 4, H, W)
        out: Tensor = self.bottleneck(torch.cat((x, attended), dim=1))  # (B, C / 4, H, W)
        return out


def convolution(channels: int, outputs: int) -> nn.Sequential:
    """Return a 3 x 3 convolution with batch norm and leaky ReLU that keeps the picture's size."""
    return nn.Sequential(
        nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.01),
    )
