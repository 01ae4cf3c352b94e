"""One decision of an agent: its values, saliency over video and audio, and each modality's contribution."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.choice import Streams, changes, evidence_for, streams_of
from spl.agents.history import Stack
from spl.agents.q_network.decoupled import q_value
from spl.explain.two_streams import AsPictures, as_pictures
from spl.explain.words import Evidence, shares_of
from spl.records import Action
from spl.saliency import grad_cam


class Reason(NamedTuple):
    """One decision; the map of a modality that the agent lacks, or has no convolutions for, is None."""

    action: Action
    values: NDArray[np.float32]  # (A,), of several dimensions those of one after those of another
    shares: tuple[float, ...] | None  # of video, audio, a state, 0 where none counts; None: it has one alone
    seen: NDArray[np.float32] | None = None  # (H, W) in 0..1
    heard: NDArray[np.float32] | None = None  # (M, T F) in 0..1, all steps of the stack laid end to end
    evidence: Evidence | None = None  # of which its sentence is made; None: none was asked for
    reached: Tensor | None = None  # (1, R), the recurrent state after the step; None: nothing is remembered


def reason_of(
    agent: MultimodalDqn, stack: Stack, moments: Streams, *, with_maps: bool, with_words: bool = False
) -> Reason:
    """Return what the agent does without exploring, and why; neither its weights nor its modes change.

    Maps are Grad-CAM of the chosen action's Q-value; one that is even, as silence may have it, is 0. Shares
    are of the choice (`spl.explain.words.shares_of`).

    Args:
        agent: whose network answers.
        stack: of one environment.
        moments: that the decision is compared with.
        with_maps: whether maps are made.
        with_words: whether the evidence for its sentence is gathered.
    """
    (action,), reached = agent.decide(stack, 0.0)
    chosen = torch.tensor([action])
    stack = stack.to(agent.device)
    with torch.no_grad():
        values = agent.network(*stack).float().cpu()  # (1, A)
    seen = heard = shares = None
    model = AsPictures(agent.network, stack.video.shape[1])
    if with_maps and model.layers != (None, None):
        seen, heard = grad_cam(model, model.layers, as_pictures(*stack), q_value(chosen, agent.network.sizes))
    if sum(map(bool, (*agent.network.encoder.stream_features, stack.state.shape[1]))) > 1:
        shares = shares_of(*changes(agent, streams_of(agent, stack), moments)[0].tolist())
    evidence = None
    if with_words:
        (evidence,) = evidence_for(agent, stack, chosen, moments)
    return Reason(
        action,
        values[0].numpy(),
        shares,
        None if seen is None else seen[0].cpu().numpy(),
        None if heard is None else heard[0].cpu().numpy(),
        evidence,
        reached,
    )
