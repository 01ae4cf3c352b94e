"""Resets: weights that begin anew while the memory goes on, so that an agent can learn on from what it has.

When one is due, and what else begins anew, is the agent's.

Source: Nikishin et al. (2022), The primacy bias in deep reinforcement learning; D'Oro et al. (2023),
Sample-efficient reinforcement learning by breaking the replay ratio barrier; Schwarzer et al. (2023), Bigger,
better, faster, for the encoder's half way.
"""

from collections.abc import Callable

import torch
from torch import nn

from spl.agents.q_network.network import MultimodalQNetwork

Redraw = Callable[[int], MultimodalQNetwork]  # of the update of a reset: a network with drawn weights
PERTURBED = 0.5  # how far an encoder moves to drawn weights: it is shrunk by as much


def reset(network: MultimodalQNetwork, drawn: MultimodalQNetwork) -> list[nn.Parameter]:
    """Move the encoder half way to that of ``drawn``, and take all other weights from there; return these.

    An encoder that is frozen stays. The statistics that normalise a state stay, too.
    """
    anew = network.parameters_of_heads()
    with torch.no_grad():
        for weight, other in zip(network.encoder.parameters(), drawn.encoder.parameters(), strict=True):
            if weight.requires_grad:
                weight.lerp_(other.to(weight.device), PERTURBED)
        for weight, other in zip(anew, drawn.parameters_of_heads(), strict=True):
            weight.copy_(other)
    return anew
