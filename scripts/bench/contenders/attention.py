"""The baselines of ``attention.py``: timm's modules, and one written out. Extra: dev, for timm."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spl.attention import ATTENTION


class WrittenOut(nn.Module):
    """Position attention with the map: ``gamma D softmax(B^T C) + x``, a softmax over each column."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        key, query, value = (layer(x).flatten(2) for layer in (self.key, self.query, self.value))
        attention = torch.softmax(key.transpose(1, 2) @ query, dim=1)  # (B, H W, H W)
        out: Tensor = self.gamma * (value @ attention).reshape(x.shape) + x
        return out


def _timm(name: str, channels: int) -> nn.Module:
    from timm import layers
    from timm.layers.cbam import CbamModule

    if name == "se":
        return layers.SEModule(channels, rd_divisor=1, bias=False)
    return layers.EcaModule(channels) if name == "eca" else CbamModule(channels)


ALIKE: dict[str, dict[str, Any]] = {"cbam": {"batch_norm": True}}  # options of ours that the baseline has too
BASELINES: dict[str, tuple[str, Callable[[int], nn.Module]]] = {
    **{name: ("timm", partial(_timm, name)) for name in ("se", "eca", "cbam")},
    "sam": ("map written out", WrittenOut),
    "ham": ("our cbam", partial(ATTENTION["cbam"], **ALIKE["cbam"])),
}
