"""How a network reads a state vector: normalised by what was collected so far, then a dense layer."""

from typing import Any

import torch
from torch import Tensor, nn

CLIP = 10.0  # standard deviations
SMALLEST = 1e-8  # added to a variance


class RunningNorm(nn.Module):
    """Takes mean and deviation off each number of a state, those of all states seen so far.

    The ``n``-th state ``x``, with ``d = x - mean``: ``mean += d / n``, then ``squares += d (x - mean)``;
    the variance is ``squares / n``. A state becomes ``clip((x - mean) / sqrt(variance + 1e-8), -10, 10)``, so
    a number that never changed is 0. Kept in float64, saved with the weights. Every copy of a network shares
    them: they are one agent's.

    Source: Welford (1962), Note on a method for calculating corrected sums of squares and products; that
    observations are so normalised: Henderson et al. (2018), Deep reinforcement learning that matters.

    Args:
        size: ``S``.
    """

    mean: Tensor  # (S,) float64
    squares: Tensor  # (S,) float64
    count: Tensor  # () float64

    def __init__(self, size: int) -> None:
        super().__init__()
        for name, shape in (("mean", (size,)), ("squares", (size,)), ("count", ())):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def __deepcopy__(self, memo: dict[int, Any]) -> "RunningNorm":
        return self

    @torch.no_grad()
    def update(self, state: Tensor) -> None:
        """Take in one ``state (S,)``."""
        state = state.to(self.mean)
        self.count += 1
        delta = state - self.mean
        self.mean += delta / self.count
        self.squares += delta * (state - self.mean)

    def forward(self, state: Tensor) -> Tensor:
        """Return ``state (B, S)`` normalised, float32."""
        variance = self.squares / self.count.clamp(min=1.0)  # (S,)
        scaled = (state - self.mean) / (variance + SMALLEST).sqrt()
        return scaled.clamp(-CLIP, CLIP).float()


class StateStream(nn.Module):
    """What a state adds to the joint code: ``U relu(V norm(s) + b)``.

    Added before the code's activation it is what a concatenation before the fusing layer would be; so an
    encoder keeps its shapes and its weights, pretrained or not, and stays in its own precision.

    Args:
        size: ``S``.
        width: of the hidden layer.
        features: ``D`` of the joint code.
    """

    def __init__(self, size: int, width: int, features: int) -> None:
        super().__init__()
        self.norm = RunningNorm(size)
        self.hidden = nn.Linear(size, width)
        self.join = nn.Linear(width, features, bias=False)

    def forward(self, state: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``state (B, S)``."""
        hidden = torch.relu(self.hidden(self.norm(state)))  # (B, width)
        joined: Tensor = self.join(hidden)  # (B, D)
        return joined
