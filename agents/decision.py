"""One decision of an agent: its values, saliency over video and audio, and each modality's contribution."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spl.agents.dqn import MultimodalDqn
from spl.agents.history import Stack
from spl.explain.two_streams import AsPictures, as_pictures
from spl.saliency import chosen, grad_cam
from spl.saliency.shapley import COALITIONS, shapley_of


class Reason(NamedTuple):
    """One decision; the map of a modality that the agent lacks, or has no convolutions for, is None."""

    action: int
    values: NDArray[np.float32]  # (A,)
    shares: tuple[float, float] | None  # of video and audio, both 0 where neither moves; None: one modality
    seen: NDArray[np.float32] | None = None  # (H, W) in 0..1
    heard: NDArray[np.float32] | None = None  # (M, T F) in 0..1, all steps of the stack laid end to end


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
    with torch.inference_mode():  # all four at once: quicker than one by one
        kept = torch.tensor(list(COALITIONS.values()), device=agent.device)  # (4, 2)
        video, audio = (x.expand(4, *x.shape[1:]) for x in stack[:2])
        values = agent.network(video, audio, stack.present & kept).float().cpu()  # (4, A)
    shares = None
    if all(agent.network.encoder.stream_features):
        video, audio = shapley_of(*values[:, action, None]).shares
        shares = float(video), float(audio)
    reason = Reason(action, values[0].numpy(), shares)
    model = AsPictures(agent.network, stack.video.shape[1])
    if not with_maps or model.layers == (None, None):
        return reason
    seen, heard = grad_cam(model, model.layers, as_pictures(*stack), chosen(action))
    return reason._replace(
        seen=None if seen is None else seen[0].cpu().numpy(),
        heard=None if heard is None else heard[0].cpu().numpy(),
    )
