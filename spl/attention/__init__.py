"""Attention modules by name: one paper a file, each ``(B, C, H, W) -> (B, C, H, W)``."""

from spl.attention.maps import AttentionMap, attention_maps
from spl.attention.table import ATTENTION

__all__ = ["ATTENTION", "AttentionMap", "attention_maps"]
