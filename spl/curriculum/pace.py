"""The pace of a curriculum: the share or the loss threshold, and which samples are below it.

All are pure functions. A share is met exactly, by rank: of equal losses those that come first are easier.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Schedule = Literal["linear", "root", "geometric"]


def share_at(progress: float, *, start: float, end: float, schedule: Schedule, root: float = 2.0) -> float:
    """Return the share of the samples that is included, from ``start`` at 0 to ``end`` at 1 and beyond.

    ``linear``: ``s + (e - s) u``; ``root``: ``(s^p + (e^p - s^p) u)^(1 / p)``, fast at first;
    ``geometric``: ``s (e / s)^u``, slow at first.

    Args:
        progress: ``u``; below 0 it is 0, above 1 it is 1.
        start, end: ``s`` and ``e``, in (0, 1].
        schedule: as above.
        root: ``p`` of ``root``.

    Raises:
        ValueError: if there is no such schedule.

    Source: Platanios et al. (2019), Competence-based curriculum learning, equations 6 to 8.
    """
    done = min(1.0, max(0.0, progress))
    if schedule == "linear":
        return start + (end - start) * done
    if schedule == "root":
        return float((start**root + (end**root - start**root) * done) ** (1.0 / root))
    if schedule == "geometric":
        return float(start * (end / start) ** done)
    raise ValueError(f"schedule must be linear, root or geometric, got {schedule!r}")


def absolute_pace(num_rounds: int, *, first: float, growth: float) -> float:
    """Return the loss allowed after ``num_rounds`` rounds: ``first growth^n``.

    Source: Kumar et al. (2010), where ``lambda = 1 / K`` and ``K`` is divided by ``growth`` each time.
    """
    return float(first * growth**num_rounds)


def easiest(losses: Tensor, share: float) -> Tensor:
    """Return the places of the easiest ``round(share B)`` of ``losses (B,)``, from easy to hard: ``(k,)``.

    It is at least one; losses that are NaN or infinite are left out, so that there may be fewer, or none.
    """
    count = _count(losses, share)
    order = torch.argsort(torch.where(losses.isfinite(), losses, math.inf), stable=True)[:count]
    return order[losses[order].isfinite()]


def threshold(losses: Tensor, share: float) -> float:
    """Return the pace that a share of ``losses (B,)`` lies under: the first left out, infinity if none is.

    With equal losses on both sides of it fewer lie under it; `easiest` then tells them apart.
    """
    count = _count(losses, share)
    if count == len(losses):
        return math.inf
    return float(torch.where(losses.isfinite(), losses, math.inf).kthvalue(count + 1).values)


def _count(losses: Tensor, share: float) -> int:
    if not 0.0 < share <= 1.0:
        raise ValueError(f"the share must be in (0, 1], got {share}")
    return min(len(losses), max(1, round(share * len(losses))))


class Selection(NamedTuple):
    """Who is included."""

    is_included: NDArray[np.bool_]  # (N,)
    thresholds: NDArray[np.float32]  # (G,), of each group the first loss left out; infinity if none is


def easiest_of_groups(
    losses: NDArray[np.float32], groups: NDArray[np.int64], counts: NDArray[np.int64]
) -> Selection:
    """Include the ``counts (G,)`` easiest of each group.

    One partition of all samples at once: a sample's key is its group and then its loss.

    Args:
        losses: ``(N,)``, not NaN.
        groups: ``(N,)`` in ``0..G-1``.
        counts: at most as many as each group has.
    """
    keys = _rising(losses) | groups.astype(np.uint64) << np.uint64(32)
    sizes = np.bincount(groups, minlength=len(counts))
    cuts, is_cut = np.cumsum(sizes) - sizes + counts, counts < sizes
    limits = np.full(len(counts), np.iinfo(np.uint64).max)
    if is_cut.any():
        limits[is_cut] = np.partition(keys, cuts[is_cut])[cuts[is_cut]]
    limit = limits[groups]
    is_included = keys < limit
    missing = counts - np.bincount(groups[is_included], minlength=len(counts))
    if missing.any():  # equal losses on both sides of a cut: the first of them
        tied = np.flatnonzero(keys == limit)
        tied = tied[np.argsort(groups[tied], kind="stable")]
        sizes = np.bincount(groups[tied], minlength=len(counts))
        rank = np.arange(len(tied)) - (np.cumsum(sizes) - sizes)[groups[tied]]
        is_included[tied[rank < missing[groups[tied]]]] = True
    return Selection(is_included, np.where(is_cut, _undo_rising(limits), np.float32(np.inf)))


def _rising(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return whole numbers below 2^32 that are ordered as the values are."""
    bits = (values + np.float32(0.0)).view(np.uint32)  # -0.0 becomes 0.0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def _undo_rising(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    bits = keys.astype(np.uint32)  # without the group
    return np.where(bits >> 31, bits & np.uint32((1 << 31) - 1), ~bits).astype(np.uint32).view(np.float32)
