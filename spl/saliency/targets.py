"""The scores that are explained: one number per sample of a model's output."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.models.autoencoder import Reconstruction
from spl.saliency.layers import Inputs, Score, several


def chosen(index: Tensor | Sequence[int] | int) -> Score:
    """Return the score that picks one output of each sample: a class's logit, an action's Q-value.

    Args:
        index: ``(B,)`` whole numbers, or one for all samples.
    """
    return lambda outputs: _picked(outputs, index)


def advantage(action: Tensor | Sequence[int] | int) -> Score:
    """Return the score ``A(s, a) = Q(s, a) - mean_a' Q(s, a')``, for outputs ``(B, A)``.

    Of a dueling network it is exactly its centred advantage: the value is the mean over the actions.

    Args:
        action: ``(B,)`` whole numbers, or one for all samples.
    """
    return lambda outputs: _picked(outputs, action) - outputs.mean(dim=1)


def reconstruction_error(target: Tensor, modality: Literal["video", "audio"]) -> Score:
    """Return the score of an autoencoder's `Reconstruction`: the mean squared error ``(B,)`` of one modality.

    Args:
        target: ``(B, T, C, H, W)`` or ``(B, T, C, M, F)`` in the unit of the reconstruction.
        modality: that is compared.
    """

    def error(outputs: Reconstruction) -> Tensor:
        made: Tensor = getattr(outputs, modality)
        return (made - target).square().flatten(1).mean(dim=1)

    return error


def predicted(model: nn.Module, inputs: Inputs) -> Tensor:
    """Return the highest output's index ``(B,)``: the class or the action that the model would take."""
    with borrowed(model), torch.no_grad():
        outputs: Tensor = model(*map(lent, several(inputs)))
        return outputs.argmax(dim=1)


def _picked(outputs: Tensor, index: Tensor | Sequence[int] | int) -> Tensor:
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        gave = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"the model must give (B, K) to choose one of K, got {gave}; pass a score of its own: "
            "a function from what it gives to (B,)"
        )
    places = torch.as_tensor(index, device=outputs.device)
    places = places.expand(len(outputs)) if places.ndim == 0 else places
    is_whole = not places.is_floating_point() and places.dtype != torch.bool
    K = outputs.shape[1]
    if not is_whole or places.shape != outputs.shape[:1] or not ((places >= -K) & (places < K)).all():
        raise ValueError(
            f"what is chosen must be whole numbers (B,) or one, below the model's {K} outputs, for a B of "
            f"{len(outputs)}, got {index}"
        )
    return outputs.gather(1, (places.long() % K)[:, None])[:, 0]
