"""Layers of a user's own network that do something else while they learn, such as dropout and batch norm."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from spl.agents.custom_network import CustomHead
from spl.agents.q_network.network import MultimodalQNetwork
from spl.agents.q_network.thirds import Views
from spl.config.errors import UsageError
from spl.models.custom import CustomEncoder
from spl.training.drawing import drawing


class OwnLayers:
    """A trained network whose own parts are in training mode while it answers with a graph, and never else.

    So an agent acts, rates and scores in evaluation mode, and greedy choices repeat. What dropout draws
    follows from the seed and the update. Parts of which nothing is trained stay in evaluation mode.

    Args:
        network: has an encoder or heads of the user's own.
        trained: it, or what computes with its weights; has ``values``, ``views`` and ``unrolled``.
        seed: of what the layers draw.
    """

    def __init__(self, network: MultimodalQNetwork, trained: Any, seed: int) -> None:
        own = (part for part in network.modules() if isinstance(part, CustomEncoder | CustomHead))
        self.parts = [part for part in own if any(weight.requires_grad for weight in part.parameters())]
        self.trained, self.seed = trained, seed

    def drawing(self, device: torch.device, update: int) -> AbstractContextManager[None]:
        """Let the layers draw what belongs to an update."""
        return drawing(device, self.seed, update)

    def values(self, *inputs: Tensor) -> list[Tensor]:
        """Return what the network's ``values`` returns."""
        values: list[Tensor] = self._answer("values", inputs)
        return values

    def views(self, *inputs: Tensor) -> Views:
        """Return what its ``views`` returns."""
        views: Views = self._answer("views", inputs)
        return views

    def unrolled(self, *inputs: Tensor) -> Views:
        """Return what its ``unrolled`` returns."""
        views: Views = self._answer("unrolled", inputs)
        return views

    def _answer(self, method: str, inputs: tuple[Tensor, ...]) -> Any:
        learning = self.parts if torch.is_grad_enabled() else []
        for part in learning:
            part.train()
        try:
            return getattr(self.trained, method)(*inputs)
        finally:
            for part in learning:
                part.eval()


def check_own_layers(network: nn.Module, precision: str) -> None:
    """Refuse running statistics with bfloat16, in which they would be lost.

    Raises:
        UsageError: naming the layer.
    """
    for name, layer in network.named_modules():
        if precision == "bfloat16" and getattr(layer, "running_mean", None) is not None:
            raise UsageError(
                f"agent.precision=bfloat16 cannot keep the running statistics of {type(layer).__name__} "
                f"({name}): use GroupNorm or LayerNorm, or set --agent.precision float32"
            )
