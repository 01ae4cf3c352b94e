"""The closed forms against the first sample that is left out, whatever the unit of the losses is."""

import numpy as np
import torch
from numpy.typing import NDArray

from spl.curriculum.weights import SCHEMES, SchemeName


def below(
    scheme: SchemeName,
    losses: NDArray[np.float32],
    limits: NDArray[np.float32],
    groups: NDArray[np.int64],
    options: dict[str, float],
) -> NDArray[np.float32]:
    """Return how much each of the included samples counts, by how far it lies below its limit.

    The limit is the pace: the loss of the first sample of its group that is left out; where none is, the
    weight is 1. The logarithmic form, whose pace must be below 1, measures losses in units of twice the
    limit. A group whose included samples are all as hard as its limit counts fully: the form tells nothing.

    Args:
        scheme: of `SCHEMES`, not ``spld``.
        losses: ``(n,)``; NaN, which nobody knows, counts fully.
        limits: ``(n,)``, infinite where nothing is left out.
        groups: ``(n,)``, from 0.
        options: of the form.

    Returns:
        ``(n,)`` in [0, 1]; all 1 for ``hard``.
    """
    whole = np.ones(len(losses), np.float32)
    if scheme == "hard" or not len(losses):
        return whole
    is_weighed = np.isfinite(losses) & np.isfinite(limits)
    paces = torch.from_numpy(
        np.where(is_weighed, np.maximum(limits, np.finfo(np.float32).tiny), 1.0).astype(np.float32)
    )
    known = torch.from_numpy(np.where(is_weighed, losses, 0.0).astype(np.float32))
    form = SCHEMES[scheme].weights
    is_logarithmic = scheme == "logarithmic"
    weights = form(known / (2 * paces), 0.5) if is_logarithmic else form(known, paces, **options)
    found: NDArray[np.float32] = np.where(is_weighed, weights.numpy(), whole).astype(np.float32)
    is_tied = np.bincount(groups, found) == 0
    return np.where(is_tied[groups], whole, found)
