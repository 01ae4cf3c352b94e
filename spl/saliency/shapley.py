"""Contributions of two modalities, and of a state beside them, to a decision: exact Shapley values."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.records import AUDIO, VIDEO
from spl.saliency.layers import Score, scores_of


class Shapley(NamedTuple):
    """What each modality adds to a score: ``video + audio = both - none``; with a state, that too."""

    video: Tensor  # (B,)
    audio: Tensor  # (B,)
    both: Tensor  # (B,) the score with both modalities, and the state
    none: Tensor  # (B,) and with neither, and no state
    state: Tensor | None = None  # (B,); None: there is none

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What each adds: video, audio, and the state where there is one."""
        return (self.video, self.audio) if self.state is None else (self.video, self.audio, self.state)

    @property
    def shares(self) -> tuple[Tensor, ...]:
        """The share ``(B,)`` of each of `parts`: ``|part| / sum |part|``; 0 where none moves the score."""
        sizes = [part.abs() for part in self.parts]
        moved = torch.stack(sizes).sum(dim=0)
        moved = torch.where(moved > 0, moved, 1.0)
        return tuple(size / moved for size in sizes)

    def each(self, change: Callable[[Tensor], Tensor]) -> "Shapley":
        """Return what ``change`` makes of every field."""
        state = None if self.state is None else change(self.state)
        return Shapley(change(self.video), change(self.audio), change(self.both), change(self.none), state)

    def whole_shares(self) -> tuple[float, ...]:
        """Return the shares over all samples, such as an episode's steps: those that move more count more."""
        sizes = [float(part.abs().cpu().double().sum()) for part in self.parts]
        total = sum(sizes)
        return tuple(size / total if total > 0 else 0.0 for size in sizes)


def shapley_of(both: Tensor, video: Tensor, audio: Tensor, none: Tensor) -> Shapley:
    """Return the exact Shapley values of two modalities from the scores ``(B,)`` of their four coalitions.

    ``video: 1/2 ((S(both) - S(audio)) + (S(video) - S(none)))``, and audio likewise.

    Source: Shapley (1953), A value for n-person games; of two players.
    """
    return Shapley(
        video=((both - audio) + (video - none)) / 2,
        audio=((both - video) + (audio - none)) / 2,
        both=both,
        none=none,
    )


def shapley_of_three(scores: Mapping[tuple[bool, ...], Tensor]) -> Shapley:
    """Return the exact Shapley values of video, audio and state from the scores ``(B,)`` of eight coalitions.

    A player's value is the mean over the orders in which three can join of what its joining adds: with
    weights 1/3 to none, 1/6 to either one alone, and 1/3 to both others.

    Args:
        scores: of each coalition, the keys telling whether video, audio and state are in it.

    Source: Shapley (1953), A value for n-person games; of three players.
    """
    found = []
    for player in range(3):
        total = torch.zeros_like(scores[True, True, True])
        for others in product((False, True), repeat=2):
            without, joined = ((*others[:player], has, *others[player:]) for has in (False, True))
            total = total + (scores[joined] - scores[without]) / (6 if sum(others) == 1 else 3)
        found.append(total)
    video, audio, state = found
    return Shapley(video, audio, scores[True, True, True], scores[False, False, False], state)


def shapley_values(
    model: nn.Module, inputs: tuple[Tensor, ...], score: Score, *, no_state: Tensor | None = None
) -> Shapley:
    """Return what sight and hearing, and a state beside them, add to a score: 4 passes of the model, or 8.

    A modality that is left out is zeros, as `Observation.without` has it, and flagged absent where the model
    takes flags. One that a sample lacks anyway adds nothing. What was never absent in training is answered
    for too, though the model has not learned to do without it. A state that is left out is ``no_state``.

    Args:
        model: called as ``model(video, audio)``, ``model(video, audio, present)`` or, of an agent with a
            state, ``model(video, audio, present, state)``, in evaluation mode; with a recurrent state behind.
        inputs: two modalities ``(B, ...)``, flags ``(B, 2)`` bool if the model takes them, and then a state
            ``(B, S)`` if it takes one; one of no numbers is none. A recurrent state ``(B, R)`` behind it is
            part of every coalition: what was remembered stays so.
        score: from what the model gives to ``(B,)``, such as `chosen` or `advantage`; for an agent of the
            action that it takes with all of them.
        no_state: ``(S,)``, such as the mean state.

    Raises:
        ValueError: if there are other inputs, or a state without ``no_state``.
    """
    if not 2 <= len(inputs) <= 5 or (len(inputs) > 2 and inputs[2].shape[1:] != (2,)):
        raise ValueError(
            "inputs must be two modalities (B, ...), flags (B, 2) if the model takes them, and then a state "
            f"(B, S) if it takes one, got {[tuple(x.shape) for x in inputs]}"
        )
    has_state = len(inputs) > 3 and inputs[3].shape[1] > 0
    if has_state and no_state is None:
        raise ValueError("no_state must be given with a state: what it is where it is left out, got none")
    given = [lent(x) for x in inputs]
    if no_state is not None:
        no_state = no_state.to(given[3]).expand_as(given[3])
    scores: dict[tuple[bool, ...], Tensor] = {}
    with borrowed(model), torch.no_grad():
        for kept in product((True, False), repeat=3 if has_state else 2):
            part = _only(given[:3], kept[:2])
            if len(given) > 3:
                part.append(given[3] if no_state is None or kept[2] else no_state)
            part += given[4:]
            scores[kept] = scores_of(model, part, score).float()
    if has_state:
        return shapley_of_three(scores)
    return shapley_of(scores[True, True], scores[True, False], scores[False, True], scores[False, False])


def _only(inputs: list[Tensor], kept: tuple[bool, ...]) -> list[Tensor]:
    """Return the inputs of a coalition."""
    modalities = [x if is_kept else torch.zeros_like(x) for x, is_kept in zip(inputs[:2], kept, strict=True)]
    if len(inputs) == 2:
        return modalities
    present = inputs[2].clone()
    present[:, [modality for modality in (VIDEO, AUDIO) if not kept[modality]]] = 0
    return [*modalities, present]
