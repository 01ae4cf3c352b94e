"""Attention within an encoder's stream: which modules it may have, and how they start there."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spl.attention.csm import PositionAttention
from spl.attention.rcca import CrissCrossAttention
from spl.attention.se import REDUCTION, SE
from spl.attention.table import ATTENTION, check_options

# All of `ATTENTION` but shared, which shares its gate among the blocks of a stage: a stream has one place.
StreamAttention = Literal["csm", "none", "se", "eca", "cbam", "rcca", "ham", "cam", "sam"]
Start = Literal["neutral", "module"]
# Gates that each feature passes, sigmoids of about 0 at the start.
GATES: dict[str, int] = {"csm": 1, "se": 1, "eca": 1, "cbam": 2, "ham": 2, "cam": 1}
MIN_HIDDEN = 8  # hidden units of a channel gate, as far as the channels allow
RESIDUAL = 0.1  # weight of what a position attention adds, at the start


def check_stream_options(name: str, options: Mapping[str, Any]) -> None:
    """Check what is given to the attention ``name`` of a stream.

    Raises:
        ValueError: for an option that it has not, a value of the wrong kind, or a batch norm, whose
            statistics would count blanked pictures, and differ between acting and learning.
    """
    check_options(name, ATTENTION[name], _known(name, options))
    if options.get("batch_norm") or options.get("norm") == "batch":
        raise ValueError(
            f"{name} with a batch norm acts on other statistics than it learns from: leave it out in a stream"
        )


def stream_attention(name: str, channels: int, options: Mapping[str, Any]) -> nn.Module:
    """Return the attention ``name`` for features ``(B, channels, H, W)``, every weight with a gradient.

    What differs from the same module in a residual net, where a batch norm stands before it:

    - A channel gate has at least `MIN_HIDDEN` hidden units, and their weights start in pairs ``w, -w``. The
      means behind a ReLU are positive and much alike for every input, so the sign of ``w`` decides whether a
      unit is 0 for all of them (45 % are, with or without biases, before or behind the ReLU). Of two hidden
      units both are in one seed of six, and then no gate ever moves; of a pair exactly one is.
    - What a position attention adds starts at `RESIDUAL` and not at 0, where its weights have no gradient.
    - HAM normalizes each sample by its own statistics.

    Args:
        name: of `StreamAttention`.
        channels: ``C``.
        options: of the module. ``reduction`` null is the residual nets' ``C / 16``, for runs made before.

    Raises:
        ValueError: if the module cannot be made so.
    """
    check_stream_options(name, options)
    chosen = _known(name, options)
    if _has(name, "reduction") and name != "rcca":  # whose queries and keys are no gate
        chosen.setdefault("reduction", _reduction(channels))
    if _has(name, "norm"):
        chosen.setdefault("norm", "sample")
    module = ATTENTION[name](channels, **chosen)
    for part in module.modules():
        if isinstance(part, SE):
            _mirror(part.reduce.weight)
        if isinstance(part, PositionAttention | CrissCrossAttention) and part.gamma is not None:
            nn.init.constant_(part.gamma, RESIDUAL)
    return module


def gain_of(name: str, options: Mapping[str, Any], start: Start) -> float:
    """Return the factor behind an attention that gives back what its gates take at the start.

    A gate starts at about 1/2: behind ``n`` of them features, and gradients through them, have ``2^-n`` of
    the scale that they have without attention, and the stream is learned later. The factor is ``2^n``, and
    constant. The layer behind could learn it, so what the network can compute stays as it was.

    Args:
        name: of `StreamAttention`.
        options: of the module.
        start: ``neutral``, or ``module`` for a factor of 1, as in runs made before.
    """
    if start == "module":
        return 1.0
    is_pooled = options.get("spatial") == "pooled"  # csm's other spatial attention is no gate
    return 2.0 ** (GATES.get(name, 0) + is_pooled)


def _known(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` without a null reduction where there is nothing to reduce."""
    is_void = not _has(name, "reduction")
    return {key: one for key, one in options.items() if not (is_void and (key, one) == ("reduction", None))}


def _has(name: str, option: str) -> bool:
    """Whether the attention ``name`` has an option of that name."""
    return option in inspect.signature(ATTENTION[name]).parameters


def _reduction(channels: int) -> int:
    """Return by what a gate's ``channels`` are divided: the most that leaves `MIN_HIDDEN`, at most 16."""
    most = min(REDUCTION, max(1, channels // MIN_HIDDEN))
    return next(factor for factor in range(most, 0, -1) if channels % factor == 0)


@torch.no_grad()
def _mirror(weight: Tensor) -> None:
    """Make every second row of ``weight (hidden, C)`` the negative of the one above it."""
    if not weight.is_meta:
        pairs = len(weight) // 2
        weight[1 : 2 * pairs : 2] = -weight[0 : 2 * pairs : 2]
