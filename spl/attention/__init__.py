"""Attention modules by name: one paper a file, each ``(B, C, H, W) -> (B, C, H, W)``."""

from collections.abc import Callable
from functools import partial

from torch import nn

from spl.attention.cbam import CBAM
from spl.attention.csm import CSM, ChannelAttention, PositionAttention
from spl.attention.eca import ECA
from spl.attention.ham import HAM
from spl.attention.maps import AttentionMap, attention_maps
from spl.attention.rcca import RCCA
from spl.attention.se import SE
from spl.attention.shared import SharedSE

__all__ = ["ATTENTION", "AttentionMap", "attention_maps"]

# Each is called with the number of channels, and with options of its own by keyword.
ATTENTION: dict[str, Callable[..., nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "se": SE,
    "eca": ECA,
    "cbam": CBAM,
    "rcca": RCCA,
    "ham": HAM,
    "csm": partial(CSM, residual=True),
    "cam": ChannelAttention,
    "sam": partial(PositionAttention, residual=True),
    "shared": SharedSE,
}
