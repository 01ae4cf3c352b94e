"""Attention modules by name: one paper a file, each ``(B, C, H, W) -> (B, C, H, W)``."""

from collections.abc import Callable

from torch import nn

from spl.attention.csm import CSM

ATTENTION: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "csm": lambda channels: CSM(channels, residual=True),
}
