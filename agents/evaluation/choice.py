"""What a choice rests on: how often it would be another, were a modality that of another, similar moment.

Sentences are not here (`spl.explain.words`), nor what an agent would do without a modality (`spl.saliency`).
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.playing import greedy_steps
from spl.agents.history import Stack
from spl.agents.q_network.decoupled import advantage, best
from spl.envs.adapter import AudioVisualEnv
from spl.explain.two_streams import AsPictures, as_pictures
from spl.explain.words import Evidence, evidence_of
from spl.records import AUDIO, VIDEO
from spl.saliency import integrated_gradients
from spl.saliency.layers import Maps

NUM_MOMENTS = 256  # that are known, evenly spread
NUM_COMPARED = 32  # of these: what a decision is compared with
NUM_NODES = 8  # of the integral of what pixels add
NUM_STEPS = 256  # that are played to have them, where there is no episode yet


class Streams(NamedTuple):
    """What an agent's streams make of ``B`` moments; None for a stream that it lacks.

    An encoder of the user's own has no streams: its fields are the video and the audio themselves.
    """

    video: Tensor | None  # (B, Dv)
    audio: Tensor | None  # (B, Da)
    present: Tensor  # (B, 2) bool
    state: Tensor  # (B, S), which every action is chosen by; S = 0 where there is none
    recurrent: Tensor | None = None  # (B, R), likewise; None: nothing is remembered

    def take(self, places: Tensor) -> "Streams":
        """Return the moments at ``places (n,)``."""
        return Streams(*(None if field is None else field[places] for field in self))  # type: ignore[arg-type]


def streams_of(agent: MultimodalDqn, stack: Stack) -> Streams:
    """Return the features of ``B`` moments, on the agent's device."""
    stack = stack.to(agent.device)
    with torch.no_grad():
        features = agent.network.encoder.ungated(stack.video, stack.audio)
        return Streams(*features, stack.present, stack.state, stack.recurrent)


def together(parts: Sequence[Streams]) -> Streams:
    """Return the moments of all parts."""
    fields = zip(*parts, strict=True)
    joined = (None if all(one is None for one in field) else torch.cat(field) for field in fields)
    return Streams(*joined)  # type: ignore[arg-type]


def spread(moments: Streams, count: int = NUM_MOMENTS) -> Streams:
    """Return at most ``count`` of the moments, evenly spread."""
    num = len(moments.present)
    return moments.take(torch.linspace(0, num - 1, min(count, num)).round().long())


def changes(agent: MultimodalDqn, streams: Streams, moments: Streams) -> Tensor:
    """Return how often the greedy action would be another with a modality of another moment.

    ``(B, 3)``, or with a state ``(B, 4)``.

    The columns are shares of `NUM_COMPARED` moments. First, the video is theirs, of the moments that sound
    most alike; second, the audio is, of those that look most alike; third, both are, of any. So each modality
    is replaced by what may well go with the other one: silence beside somebody who speaks would tell nothing
    but that the agent has never met it. Alike is near in the features of the agent's own stream. Fourth, the
    state is that of the moments that look most alike, or sound so where there is no video.

    A modality that is absent in either moment is absent then. Of an action of several dimensions, another
    one counts as the share of them that differ.

    Args:
        agent: whose network answers.
        streams: of ``B`` decisions.
        moments: to take the other modality from.
    """
    any_of_them = _ranks(len(moments.present), agent.device).expand(len(streams.present), -1)  # (B, M)
    with torch.no_grad():
        looks, sounds = (_unlikeness(streams, moments, one, any_of_them) for one in (VIDEO, AUDIO))
        actions = _actions(agent, streams, streams, streams)[:, None]  # (B, 1, J)
        found = []
        swaps = [
            (sounds, (True, False, False)),
            (looks, (False, True, False)),
            (any_of_them, (True, True, False)),
        ]
        if streams.state.shape[1]:
            swaps.append((sounds if streams.video is None else looks, (False, False, True)))
        for ranks, is_swapped in swaps:
            places = ranks.topk(min(NUM_COMPARED, ranks.shape[1]), largest=False).indices  # (B, R)
            mine = streams.take(torch.arange(len(places)).repeat_interleave(places.shape[1]))  # (B R)
            theirs = moments.take(places.flatten())  # (B R)
            theirs = theirs._replace(present=theirs.present & mine.present)
            seen, heard, felt = (theirs if one else mine for one in is_swapped)
            felt = mine._replace(state=felt.state)
            swapped = _actions(agent, seen, heard, felt).view(*places.shape, -1)  # (B, R, J)
            found.append((swapped != actions).float().mean(dim=(1, 2)))
    return torch.stack(found, dim=1).cpu()


def _ranks(count: int, device: torch.device) -> Tensor:
    """Return ranks ``(M,)`` of which the lowest are spread evenly over ``0..M - 1``: golden sections."""
    return torch.arange(count, device=device) * 0.6180339887 % 1.0


def _unlikeness(streams: Streams, moments: Streams, modality: int, other: Tensor) -> Tensor:
    """Return how far each decision's modality is from each moment's ``(B, M)``; ``other`` without it."""
    mine, theirs = streams[modality], moments[modality]
    if mine is None or theirs is None:
        return other
    is_there = streams.present[:, [modality]]
    distances = torch.cdist(mine.flatten(1).float(), theirs.flatten(1).float())
    distances = distances.masked_fill(~moments.present[:, modality], torch.inf)
    return torch.where(is_there, distances, other)


def _actions(agent: MultimodalDqn, seen: Streams, heard: Streams, felt: Streams) -> Tensor:
    """Return the greedy actions ``(B, J)`` on the video, the audio and the states of some moments each."""
    network = agent.network
    present = torch.stack([seen.present[:, 0], heard.present[:, 1]], dim=1)
    features = network.encoder.gated((seen.video, heard.audio), present)
    values = network.values_of(features, present, felt.state, recurrent=felt.recurrent)
    fused = network.heads.fused(values, present)
    return best(fused, network.sizes).reshape(len(fused), -1)


def evidence_for(agent: MultimodalDqn, stack: Stack, actions: Tensor, moments: Streams) -> list[Evidence]:
    """Return what the sentences of ``B`` greedy decisions are made of.

    Where on picture and sound: integrated gradients of the chosen action's advantage, which name the
    right side in `spl/Beacon-v0` more often than Grad-CAM does.

    Args:
        agent: whose decisions they are.
        stack: on the agent's device.
        actions: ``(B,)``, or ``(B, J)``, chosen.
        moments: that the decisions are compared with.
    """
    has = agent.network.encoder.stream_features
    changed = changes(agent, streams_of(agent, stack), moments)
    maps: Maps = (None, None)
    if any(has):  # not of a state alone
        model = AsPictures(agent.network, stack.video.shape[1])
        score = advantage(actions, agent.network.sizes)
        maps = integrated_gradients(model, None, as_pictures(*stack), score, num_steps=NUM_NODES)
    return evidence_of(changed, stack.present, (has[0] > 0, has[1] > 0), (maps[0], maps[1]))


def played_moments(
    agent: MultimodalDqn, make: Callable[[], AudioVisualEnv], history: int, seed: int
) -> Streams:
    """Return `NUM_MOMENTS` of `NUM_STEPS` that the agent plays in an environment of its own, greedily.

    Raises:
        RunError: if the environment fails.
    """
    with closing(make()) as env:
        steps = greedy_steps(agent, env, history=history, seed=seed)
        return spread(together([streams_of(agent, one.stack) for one in islice(steps, NUM_STEPS)]))
