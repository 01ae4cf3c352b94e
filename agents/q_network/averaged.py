"""Networks that follow another: a target network, and the moving average that a trained agent acts by."""

import copy
from typing import Any

import torch
from torch import nn

WARM_UP = 10  # updates: until a few times as many, the average is of what came last alone


def follow(kept: nn.Module, newest: nn.Module, share: float) -> None:
    """Move the weights of ``kept`` a ``share`` of the way to those of ``newest``, and take its buffers."""
    with torch.no_grad():
        for weight, other in zip(kept.parameters(), newest.parameters(), strict=True):
            weight.lerp_(other, share)
        for buffer, now in zip(kept.buffers(), newest.buffers(), strict=True):
            buffer.copy_(now)


class AveragedNetwork:
    """An exponential moving average of a network's weights, one step an update.

    ``average <- d average + (1 - d) weights`` with ``d = min(decay, (1 + n) / (10 + n))`` at update ``n``,
    so that the weights of the start are soon forgotten. Learning never reads it. A greedy policy by values
    that differ little changes with every update; their average is steadier.

    Source: Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging; the warm-up is
    that of TensorFlow's ``ExponentialMovingAverage``.

    Args:
        network: whose weights are averaged; the average begins with them.
        decay: 0 <= decay < 1; about the last ``1 / (1 - decay)`` updates count.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self._pairs = (
            [weight.data for weight in self.network.parameters()],
            [weight.data for weight in network.parameters()],
        )
        self._buffers = list(zip(self.network.buffers(), network.buffers(), strict=True))

    def update(self, number: int) -> None:
        """Take in the weights after update ``number``, 1 or more."""
        decay = min(self.decay, (1 + number) / (WARM_UP + number))
        torch._foreach_lerp_(*self._pairs, 1.0 - decay)
        for kept, newest in self._buffers:
            kept.copy_(newest)

    def begin_from(self, network: nn.Module) -> None:
        """Forget what was averaged; begin with the weights of ``network``."""
        self.network.load_state_dict(network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state)
