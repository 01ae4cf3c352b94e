"""Attention modules by name: one paper a file, each ``(B, C, H, W) -> (B, C, H, W)``."""

from spl.attention.insert import Insertion, insert_attention
from spl.attention.maps import AttentionMap, attention_maps
from spl.attention.table import ATTENTION

__all__ = ["ATTENTION", "AttentionMap", "Insertion", "attention_maps", "insert_attention"]
