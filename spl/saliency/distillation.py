"""Losses of distillation, with which mutual transfer of local maps is compared, per sample.

Training with them is not here; distillation of predictions is `prediction_distance`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional


def attention_distance(own: Sequence[Tensor], peer: Sequence[Tensor], *, is_joint: bool = False) -> Tensor:
    """Return how far the maps of each layer differ, ``sum_l |q_l / |q_l| - p_l / |p_l||^2``, ``(B,)``.

    Each term is in 0..2, as maps are not negative; a map that is 0 everywhere stays so and pulls nowhere.

    Args:
        own: ``q_l (B, H, W)`` of each layer of the model that learns, as `layer_map` makes them.
        peer: ``p_l (B, H, W)`` of the other one on the same images.
        is_joint: let the gradient reach the peer, too; False: it is a given.

    Raises:
        ValueError: if there is no layer, or the shapes differ.

    Source: Zagoruyko, Komodakis (2017), Paying more attention to attention, equation 2. Differs: the norm is
    squared, as in their code; where the maps agree the norm itself has no gradient.
    """
    distances = []
    for mine, theirs in _pairs(own, peer, is_joint):
        one, two = (functional.normalize(maps.float().flatten(1), dim=1) for maps in (mine, theirs))
        distances.append((one - two).square().sum(dim=1))
    return torch.stack(distances).sum(dim=0)


def flows(features: Sequence[Tensor]) -> list[Tensor]:
    """Return how the channels of each layer go with those of the next, ``1 / (h w) sum_st F_sti G_stj``.

    Args:
        features: ``(B, C, h, w)`` of each layer, in order; of two neighbours the larger one is brought to the
            size of the other by taking maxima.

    Returns:
        ``(B, C, C')`` of each two neighbours, float32.

    Raises:
        ValueError: if there are fewer than two layers.

    Source: Yim et al. (2017), A gift from knowledge distillation, equation 1, and section 3.2 for the maxima.
    """
    if len(features) < 2:
        raise ValueError(
            f"a flow goes from one layer to the next: give at least 2 layers, got {len(features)}"
        )
    found = []
    for one, two in pairwise(features):
        size = min(one.shape[2], two.shape[2]), min(one.shape[3], two.shape[3])
        first, second = (functional.adaptive_max_pool2d(each.float(), size).flatten(2) for each in (one, two))
        found.append(first @ second.mT / first.shape[2])
    return found


def flow_distance(own: Sequence[Tensor], peer: Sequence[Tensor], *, is_joint: bool = False) -> Tensor:
    """Return how far the flows of two models differ, ``sum_l mean_ij (G_lij - P_lij)^2``, ``(B,)``.

    Args:
        own: ``G_l (B, C, C')`` of the model that learns, from `flows`.
        peer: ``P_l (B, C, C')`` of the other one on the same images.
        is_joint: let the gradient reach the peer, too; False: it is a given.

    Returns:
        ``(B,)``, not negative, in the features' unit to the fourth power.

    Raises:
        ValueError: if there is no layer, or the shapes differ: the layers must have as many channels.

    Source: Yim et al. (2017), equation 2, all pairs of layers weighing 1. Differs: the mean of the entries,
    not their sum, which grows with the widths (3,254 for two fresh ResNet-20); and they train with it first
    and by the labels afterwards, where here both are descended together.
    """
    distances = [(one - two).square().flatten(1).mean(dim=1) for one, two in _pairs(own, peer, is_joint)]
    return torch.stack(distances).sum(dim=0)


def _pairs(own: Sequence[Tensor], peer: Sequence[Tensor], is_joint: bool) -> list[tuple[Tensor, Tensor]]:
    """Return what belongs together; the peer's without its graph unless joint."""
    shapes = [tuple(one.shape[1:]) for one in own], [tuple(one.shape[1:]) for one in peer]
    if not own or shapes[0] != shapes[1]:
        raise ValueError(f"both must have layers of the same shapes, got {shapes[0]} and {shapes[1]}")
    return [(one, two if is_joint else two.detach()) for one, two in zip(own, peer, strict=True)]
