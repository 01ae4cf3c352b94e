"""Squeeze-and-excitation (SE): a gate per channel from the means of all channels.

Source: Hu, Shen, Sun (2018), Squeeze-and-excitation networks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spl.attention.maps import AttentionMap
from spl.attention.pooling import mean

REDUCTION = 16


def hidden_channels(channels: int, reduction: int | None) -> int:
    """Return the width between the two layers of a channel gate: ``channels / reduction``.

    None is 16, rounded down to at least one hidden channel, so that every width of a net has a gate.

    Raises:
        ValueError: if a ``reduction`` that was given does not divide ``channels``.
    """
    if reduction is None:
        return max(1, channels // REDUCTION)
    if reduction < 1 or channels % reduction:
        raise ValueError(
            f"reduction must divide channels ({channels}), got {reduction}; "
            f"leave it out for channels / {REDUCTION}, rounded down"
        )
    return channels // reduction


class SE(nn.Module):
    """Weigh each channel by a gate in (0, 1) computed from the means of all channels.

    ``s = sigmoid(W2 relu(W1 z))`` and ``out = s * x``, with ``z`` the mean over positions (equations 2 to 4).
    Biases are off, as in the counts of papers (``2 C^2 / r``); with ``bias`` both layers have one.
    The map is the gates ``(B, C, 1, 1)``.

    Raises:
        ValueError: if ``reduction`` does not divide ``channels``; None is 16 as far as that goes.
    """

    def __init__(self, channels: int, *, reduction: int | None = None, bias: bool = False) -> None:
        super().__init__()
        hidden = hidden_channels(channels, reduction)
        self.reduce = nn.Linear(channels, hidden, bias=bias)  # W1
        self.expand = nn.Linear(hidden, channels, bias=bias)  # W2
        self.map = AttentionMap()

    def scores(self, squeezed: Tensor) -> Tensor:
        """Return the two layers' output ``(..., C)`` for ``squeezed (..., C)``, before the sigmoid."""
        out: Tensor = self.expand(functional.relu(self.reduce(squeezed)))
        return out

    def gate(self, x: Tensor) -> Tensor:
        """Return the gates ``(B, C, 1, 1)`` of ``x (B, C, H, W)``."""
        gate = torch.sigmoid(self.scores(mean(x.flatten(2), dim=2)))  # (B, C)
        out: Tensor = self.map(gate[:, :, None, None])  # (B, C, 1, 1)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` with every channel scaled by its gate."""
        return x * self.gate(x)  # (B, C, H, W)
