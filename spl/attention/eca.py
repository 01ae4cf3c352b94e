"""Efficient channel attention (ECA): a gate per channel from its neighbours' means, with ``k`` weights.

Source: Wang, Wu, Zhu, Li, Zuo, Hu (2020), ECA-Net: efficient channel attention for deep CNNs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spl.attention.maps import AttentionMap
from spl.attention.pooling import mean


def eca_kernel(channels: int) -> int:
    """Return the odd number nearest to ``log2(channels) / 2 + 1 / 2``, the larger of two (equation 12)."""
    return 2 * (channels.bit_length() // 4) + 1  # the same in whole numbers


class ECA(nn.Module):
    """Weigh each channel by a gate in (0, 1) computed from the means of its ``k`` nearest channels.

    One kernel of ``k`` weights without bias slides over the means, zeros beyond both ends (equation 9).
    The map is the gates ``(B, C, 1, 1)``.

    Args:
        channels: ``C``.
        kernel_size: ``k``, odd; None is `eca_kernel` of the channels.

    Raises:
        ValueError: if ``kernel_size`` is even or below 1.
    """

    def __init__(self, channels: int, *, kernel_size: int | None = None) -> None:
        super().__init__()
        k = eca_kernel(channels) if kernel_size is None else kernel_size
        if k < 1 or k % 2 == 0:
            raise ValueError(f"kernel_size must be odd to give each channel a gate, got {k}")
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)  # as other codes name the weight
        self.map = AttentionMap()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` with every channel scaled by its gate."""
        # Calling the convolution takes 5 to 10 % longer on the CPU, where it is set up again each time.
        weight = self.conv.weight[0, 0]  # (k,)
        beyond = len(weight) // 2
        squeezed = functional.pad(mean(x.flatten(2), dim=2), (beyond, beyond))  # (B, C + k - 1)
        neighbours = squeezed.unfold(1, x.shape[1], 1)  # (B, k, C)
        gate = torch.sigmoid((weight[:, None] * neighbours).sum(1))  # (B, C)
        out: Tensor = x * self.map(gate[:, :, None, None])  # (B, C, H, W)
        return out

    def macs_correction(self, x: Tensor) -> int:
        """Return the multiply-accumulates of the convolution over the channels of ``x (B, C, H, W)``."""
        return x.shape[0] * x.shape[1] * self.conv.weight.numel()
