"""The attention modules by name; what they compute is in their own files."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from torch import nn

from spl.attention.cbam import CBAM
from spl.attention.csm import CSM, ChannelAttention, PositionAttention
from spl.attention.eca import ECA
from spl.attention.ham import HAM
from spl.attention.rcca import RCCA
from spl.attention.se import SE
from spl.attention.shared import SharedSE


@wraps(CSM, updated=())
def csm(channels: int, **options: Any) -> CSM:
    """Return a CSM whose position attention starts as the identity; a pooled gate has no such residual."""
    return CSM(channels, **{"residual": options.get("spatial") != "pooled", **options})


# Each is called with the number of channels, and with options of its own by keyword.
ATTENTION: dict[str, Callable[..., nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "se": SE,
    "eca": ECA,
    "cbam": CBAM,
    "rcca": RCCA,
    "ham": HAM,
    "csm": csm,
    "cam": ChannelAttention,
    "sam": partial(PositionAttention, residual=True),
    "shared": SharedSE,
}
