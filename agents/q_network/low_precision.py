"""bfloat16 computation with float32 weights: differentiable casts for learning, one copy for acting.

The heads stay in float32: with eight bits, Q-values that differ by less than 1/256 would be equal, and the
choice among them arbitrary.
"""

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from spl.agents.q_network.thirds import Views

LOW = torch.bfloat16


class _Call(nn.Module):
    """Makes a method of ``network`` what a module is called for, as ``functional_call`` wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, method: str, *inputs: Tensor) -> Any:
        """Return what the method returns."""
        return getattr(self.network, method)(*inputs)


class LowPrecision:
    """A network whose encoder computes in bfloat16; what is trained are its float32 weights, the masters.

    Args:
        network: has an ``encoder``, ``values``, ``views`` and ``unrolled``; neither its weights nor its
            ``state_dict`` are touched.
    """

    def __init__(self, network: nn.Module) -> None:
        self._masters = network
        self._call = _Call(network)
        self.copied: Any = copy.deepcopy(network).requires_grad_(False)  # computes without a graph
        self.copied.encoder.to(LOW)

    def values(self, *inputs: Tensor) -> list[Tensor]:
        """Return the ``(B, A)`` that are trained, float32; their gradients reach the masters in float32."""
        values: list[Tensor] = self._cast("values", *inputs)
        return values

    def views(self, *inputs: Tensor) -> Views:
        """Return the Q-values in every view, likewise."""
        views: Views = self._cast("views", *inputs)
        return views

    def unrolled(self, *inputs: Tensor) -> Views:
        """Return the Q-values along sequences, likewise."""
        views: Views = self._cast("unrolled", *inputs)
        return views

    def _cast(self, method: str, *inputs: Tensor) -> Any:
        encoder: Any = self._masters.encoder
        cast = {
            f"network.encoder.{name}": weight.to(LOW)
            for name, weight in chain(encoder.named_parameters(), encoder.named_buffers())
        }
        return torch.func.functional_call(self._call, cast, (method, *inputs))

    def refresh(self) -> None:
        """Bring the copy up to date with the masters."""
        with torch.no_grad():
            for kept, newest in zip(_tensors(self.copied), _tensors(self._masters), strict=True):
                kept.copy_(newest)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters of a network, and the means that its dense streams take off."""
    return chain(network.parameters(), network.buffers())
