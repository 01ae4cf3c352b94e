"""One weight per sample from one loss per sample; uniform is the curriculum that makes no choice."""

from collections.abc import Callable

import torch
from torch import Tensor


def uniform(losses: Tensor) -> Tensor:
    """Weigh every sample alike: ``(B,)`` ones for ``losses (B,)``."""
    return torch.ones_like(losses)


CURRICULA: dict[str, Callable[[Tensor], Tensor]] = {"uniform": uniform}
