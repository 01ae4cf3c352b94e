"""Why an agent acts as it does: its values, where in picture and sound the reason lies, each sense's part."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spl.agents.history import Stack
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.records import AUDIO, VIDEO
from spl.saliency import chosen, grad_cam
from spl.saliency.layers import Layer
from spl.streams import AudioStream, VideoStream

# Which senses are present: all subsets, the full one first
COALITIONS = torch.tensor([[True, True], [True, False], [False, True], [False, False]])


class Reason(NamedTuple):
    """One decision; the map of a sense that the agent lacks, or has no convolutions for, is None."""

    action: int
    values: NDArray[np.float32]  # (A,)
    shares: tuple[float, float] | None  # of sight and hearing, in sum 1; None: there is one sense
    seen: NDArray[np.float32] | None = None  # (H, W) in 0..1
    heard: NDArray[np.float32] | None = None  # (M, T F) in 0..1, all steps of the stack laid end to end


def mapped_layers(agent: MultimodalDqn) -> list[Layer]:
    """Return the last convolutions of the streams of picture and sound; None where there are none.

    They lie below the stream's attention, which mixes positions: above it a place is no place any more.
    """
    encoder = agent.network.encoder
    return [
        encoder.video.convs if isinstance(encoder.video, VideoStream) else None,
        encoder.audio.convs if isinstance(encoder.audio, AudioStream) else None,
    ]


def shapley_shares(values: Tensor) -> tuple[float, float]:
    """Return how much of a decision is each sense's: ``|phi_s| / sum |phi|``, half each where nothing is.

    ``phi_s`` is the sense's mean difference over both orders in which the two may join.

    Args:
        values: ``(4,)`` of the decision, in the order of `COALITIONS`.

    Source: Shapley (1953), A value for n-person games; with two players it takes these four values.
    """
    both, seen, heard, neither = (float(value) for value in values)
    sight = abs((seen - neither) + (both - heard))
    hearing = abs((heard - neither) + (both - seen))
    total = sight + hearing
    return (sight / total, hearing / total) if total > 0.0 else (0.5, 0.5)


def reason_of(agent: MultimodalDqn, stack: Stack, *, with_maps: bool) -> Reason:
    """Return what the agent does without exploring, and why; neither its weights nor its modes change.

    Maps are Grad-CAM of the chosen action's Q-value; one that is even, as silence may have it, is 0.

    Args:
        agent: whose network answers.
        stack: of one environment.
        with_maps: whether they are made.
    """
    (action,) = agent.act(stack, 0.0)
    stack = stack.to(agent.device)
    with torch.inference_mode():
        four = [field.expand(4, *field.shape[1:]) for field in stack]
        present = four[2] & COALITIONS.to(agent.device)
        values = agent.network(four[0], four[1], present).float().cpu()  # (4, A)
    sizes = agent.network.encoder.stream_features
    shares = shapley_shares(values[:, action]) if sizes[VIDEO] and sizes[AUDIO] else None
    reason = Reason(action, values[0].numpy(), shares)
    layers = mapped_layers(agent)
    if not with_maps or layers == [None, None]:
        return reason
    seen, heard = grad_cam(agent.network, layers, tuple(stack), chosen(action))
    if heard is not None:
        T, F = stack.audio.shape[1], stack.audio.shape[4]
        heard = functional.interpolate(heard[:, None], (heard.shape[1], T * F), mode="bilinear")[:, 0]
    return reason._replace(
        seen=None if seen is None else seen[0].cpu().numpy(),
        heard=None if heard is None else heard[0].cpu().numpy(),
    )
