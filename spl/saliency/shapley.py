"""Contributions of two modalities to a decision: exact Shapley values from four forward passes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.records import AUDIO, VIDEO
from spl.saliency.layers import Score, scores_of

COALITIONS = {"both": (True, True), "video": (True, False), "audio": (False, True), "none": (False, False)}


class Shapley(NamedTuple):
    """What each modality adds to a score: ``video + audio = both - none``."""

    video: Tensor  # (B,)
    audio: Tensor  # (B,)
    both: Tensor  # (B,) the score with both modalities
    none: Tensor  # (B,) and with neither

    @property
    def shares(self) -> tuple[Tensor, Tensor]:
        """Each modality's share ``(B,)``: ``|video| / (|video| + |audio|)``; 0 where neither moves it."""
        moved = self.video.abs() + self.audio.abs()
        moved = torch.where(moved > 0, moved, 1.0)
        return self.video.abs() / moved, self.audio.abs() / moved

    def whole_shares(self) -> tuple[float, float]:
        """Return the shares over all samples, such as an episode's steps: those that move more count more."""
        video, audio = float(self.video.abs().double().sum()), float(self.audio.abs().double().sum())
        total = video + audio
        return (video / total, audio / total) if total > 0 else (0.0, 0.0)


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


def shapley_values(model: nn.Module, inputs: tuple[Tensor, ...], score: Score) -> Shapley:
    """Return what sight and hearing add to a score, from four passes of the model.

    A modality that is left out is zeros, as `Observation.without` has it, and flagged absent where the model
    takes flags. One that a sample lacks anyway adds nothing. What was never absent in training is answered
    for too, though the model has not learned to do without it.

    Args:
        model: called as ``model(video, audio)`` or ``model(video, audio, present)``, in evaluation mode.
        inputs: two modalities ``(B, ...)``, and flags ``(B, 2)`` bool if the model takes them.
        score: from what the model gives to ``(B,)``, such as `chosen` or `advantage`; for an agent of the
            action that it takes with both modalities.

    Raises:
        ValueError: if there are other inputs.
    """
    if len(inputs) not in (2, 3) or (len(inputs) == 3 and inputs[2].shape[1:] != (2,)):
        raise ValueError(
            "inputs must be two modalities (B, ...), and flags (B, 2) if the model takes them, "
            f"got {[tuple(x.shape) for x in inputs]}"
        )
    scores: dict[str, Any] = {}
    with borrowed(model), torch.no_grad():
        for name, kept in COALITIONS.items():
            scores[name] = scores_of(model, _only([lent(x) for x in inputs], kept), score).float()
    return shapley_of(**scores)


def _only(inputs: list[Tensor], kept: tuple[bool, bool]) -> list[Tensor]:
    """Return the inputs of a coalition."""
    modalities = [x if is_kept else torch.zeros_like(x) for x, is_kept in zip(inputs[:2], kept, strict=True)]
    if len(inputs) == 2:
        return modalities
    present = inputs[2].clone()
    present[:, [modality for modality in (VIDEO, AUDIO) if not kept[modality]]] = 0
    return [*modalities, present]
