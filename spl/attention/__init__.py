"""Attention modules by name: one paper a file, each ``(B, C, H, W) -> (B, C, H, W)``."""

from collections.abc import Callable
from functools import partial

from torch import nn

from spl.attention.csm import CSM
from spl.attention.ham import HAM
from spl.attention.maps import AttentionMap, attention_maps
from spl.attention.rcca import RCCA
from spl.attention.shared import SharedSE

__all__ = ["ATTENTION", "AttentionMap", "attention_maps"]

# Each is called with the number of channels, and with options of its own by keyword.
ATTENTION: dict[str, Callable[..., nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "csm": partial(CSM, residual=True),
    "rcca": RCCA,
    "ham": HAM,
    "shared": SharedSE,
}
