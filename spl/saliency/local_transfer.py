"""Losses of mutual transfer: how far the maps, or the predictions, of two models on the same images differ.

Training with them is not here.

A model's *global map* is the sum of its layers' maps; it is compared patch by patch, by Pearson's
correlation.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from spl.receptive_fields.placement import Placement, laid, placement_of
from spl.saliency.layers import EVEN, Tap, find_layer


def placed(model: nn.Module, layers: Sequence[str], images: Tensor) -> list[Placement]:
    """Return where the features of each layer lie on ``images (B, C, H, W)``.

    Raises:
        ValueError: if there is no such layer, or one gives no rows and columns of the whole picture.
    """
    found = [find_layer(model, layer) for layer in layers]
    return [placement_of(model, module, [images], name=name) for name, module in found]


@contextmanager
def tapped(
    model: nn.Module, layers: Sequence[str], placements: Sequence[Placement]
) -> Iterator[list[Tensor]]:
    """Give a list that holds, after a pass within, what each layer gave: ``(B, C, h, w)``, with its graph.

    Args:
        model: called within.
        layers: of it.
        placements: of the layers, as `placed` finds them.

    Raises:
        ValueError: if there is no such layer; within, if one gives no rows and columns or runs twice.
    """
    features: list[Tensor] = []
    with ExitStack() as hooked:
        taps = []
        for layer, placement in zip(layers, placements, strict=True):
            name, module = find_layer(model, layer)
            taps.append(tap := Tap(model, name, placement))
            hooked.callback(module.register_forward_hook(tap).remove)
        yield features
        features += [tap.features for tap in taps]


def layer_map(features: Tensor, *, power: float = 1.0) -> Tensor:
    """Return how much each place says, ``mean_c |F_c|^p``: ``(B, h, w)`` of ``F (B, C, h, w)``, float32.

    Source: Zagoruyko, Komodakis (2017), Paying more attention to attention, section 3.1; P4 does not say how
    the channels of a layer become one map.
    """
    magnitude = features.float().abs()
    return (magnitude if power == 1.0 else magnitude**power).mean(dim=1)


def global_map(
    features: Sequence[Tensor],
    placements: Sequence[Placement],
    *,
    power: float = 1.0,
    on: Placement | None = None,
) -> Tensor:
    """Return the layers' maps upon each other, ``sum_l minmax(laid(m_l))``: ``(B, H, W)``.

    Args:
        features: ``(B, C, h, w)`` of each layer, at least one.
        placements: of the layers: a map of one is looked up where the features of another lie.
        power: ``p`` of `layer_map`.
        on: of the layer whose ``H x W`` features the maps are laid on; None for the largest one.

    A map that is even becomes zeros, without a gradient.

    Raises:
        ValueError: if there is no layer.

    Source: Cheng et al. (2022), Interpretability optimization method based on mutual transfer of local
    attention map, abstract: feature maps are "superimposed between the layers". Which layers, and that
    each is scaled to 0..1 so that none drowns the others, is our reading.
    """
    if not features:
        raise ValueError("a global map needs at least one layer, got none")
    on = largest(placements) if on is None else on
    parts = []
    for one, placement in zip(features, placements, strict=True):
        maps = laid(layer_map(one, power=power), placement, on)  # (B, H, W)
        least, most = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        is_even = most - least <= EVEN * most  # (B, 1, 1); maps are not negative
        parts.append(torch.where(is_even, 0.0, (maps - least) / torch.where(is_even, 1.0, most - least)))
    return torch.stack(parts).sum(dim=0)


def largest(placements: Sequence[Placement]) -> Placement:
    """Return that of the layer with most rows and columns."""
    return max(placements, key=lambda one: math.prod(one.size))


def patches(maps: Tensor, grid: int, *, overlap: float = 0.0) -> Tensor:
    """Return the ``G x G`` patches of maps ``(B, H, W)``, row by row: ``(B, G G, N)``.

    All have one size. Where ``H`` or ``W`` cannot be divided by ``G`` they overlap by as little as covers the
    map, so that no value has to be invented at its rim.

    Args:
        grid: ``G``.
        overlap: share of a patch that the next one has, too, at least; in ``[0, 1)``.

    Raises:
        ValueError: if ``grid`` is below 1, the overlap does not fit, or a patch would have fewer than two
            rows and columns, so that nothing could correlate.
    """
    if grid < 1 or not 0.0 <= overlap < 1.0:
        raise ValueError(f"grid must be at least 1 and overlap in [0, 1), got {grid} and {overlap}")
    parts = maps
    for dim in (1, 2):
        parts = torch.stack([parts.narrow(dim, *one) for one in _windows(maps.shape[dim], grid, overlap)], -1)
    B, rows, columns, _, _ = parts.shape
    return parts.permute(0, 3, 4, 1, 2).reshape(B, grid * grid, rows * columns)


def _windows(side: int, grid: int, overlap: float) -> list[tuple[int, int]]:
    """Return start and length of ``grid`` windows of one length that cover ``0..side``."""
    length = math.ceil(side / (grid - (grid - 1) * overlap) - 1e-9)
    if length < 2:
        raise ValueError(
            f"a patch must have at least 2 rows and columns, got a map of {side} in a grid of {grid}; "
            "choose a smaller grid"
        )
    return [(round(number * (side - length) / max(1, grid - 1)), length) for number in range(grid)]


def normalised(parts: Tensor) -> Tensor:
    """Return each patch ``(..., N)`` with mean 0 and length 1; one whose values are alike as zeros.

    Nothing flows back through such an even patch. Of two patches ``u, v`` so normalised,
    ``|u - v|^2 = 2 (1 - r)`` with ``r = u . v`` Pearson's correlation: to carry over normalised patches
    and to lessen ``1 - r`` is one and the same.
    """
    centred = parts - parts.mean(dim=-1, keepdim=True)
    squares = centred.square().sum(dim=-1, keepdim=True)  # (..., 1)
    is_even = squares <= EVEN**2 * parts.square().sum(dim=-1, keepdim=True)
    return torch.where(is_even, 0.0, centred / torch.where(is_even, 1.0, squares).sqrt())


def correlations(own: Tensor, peer: Tensor, grid: int, *, overlap: float = 0.0) -> Tensor:
    """Return Pearson's correlation of each patch of two maps ``(B, H, W)``: ``(B, G G)``, 0 for even ones.

    Raises:
        ValueError: if the shapes differ, or as `patches`.
    """
    if own.shape != peer.shape or own.ndim != 3:
        raise ValueError(f"both maps must be (B, H, W), got {tuple(own.shape)} and {tuple(peer.shape)}")
    mine, theirs = (normalised(patches(maps, grid, overlap=overlap)) for maps in (own, peer))
    return (mine * theirs).sum(dim=-1)


def map_distance(
    own: Tensor,
    peer: Tensor,
    *,
    grid: int,
    overlap: float = 0.0,
    below: float | None = None,
    is_joint: bool = False,
) -> Tensor:
    """Return how far two global maps differ, patch by patch: ``1 / G^2 sum_g w_g (1 - r_g)``, ``(B,)``.

    0 for maps that are alike up to scale and offset in each patch, 2 for opposite ones; a patch in which one
    of them is even counts 1 and pulls nowhere.

    Args:
        own: ``(B, H, W)``, of the model that learns.
        peer: ``(B, H, W)``, of the other one on the same images.
        grid: ``G``; 1 compares the whole maps.
        overlap: of the patches, as `patches` tells.
        below: ``w_g = 1`` where ``r_g`` is below it, else 0: only patches that differ are carried over;
            None: all.
        is_joint: let the gradient reach the peer, too; False: it is a given.

    Source: Cheng et al. (2022), abstract; their full text and code are not public. Differs: the published
    sentence leaves open whether the correlation is the loss or chooses the patches; `below` is the latter.
    """
    r = correlations(own, peer if is_joint else peer.detach(), grid, overlap=overlap)  # (B, G G)
    distances = 1 - r
    if below is not None:
        distances = distances * (r.detach() < below)
    return distances.mean(dim=1)


def prediction_distance(
    own: Tensor, peer: Tensor, *, temperature: float = 1.0, is_joint: bool = False
) -> Tensor:
    """Return ``T^2 KL(softmax(peer / T) || softmax(own / T))`` in nats, ``(B,)``, of logits ``(B, K)``.

    Args:
        own: of the model that learns.
        peer: of the other one on the same images.
        temperature: ``T``, positive; the higher, the more the unlikely classes count. With its square the
            gradient keeps its size.
        is_joint: let the gradient reach the peer, too; False: it is a given.

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: Zhang et al. (2018), Deep mutual learning, equations 3 and 5, at 1; Hinton et al. (2015),
    Distilling the knowledge in a neural network, section 2, above it and of a peer that does not learn.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    given = ((peer if is_joint else peer.detach()).float() / temperature).log_softmax(dim=1)
    told = (own.float() / temperature).log_softmax(dim=1)
    return temperature**2 * (given.exp() * (given - told)).sum(dim=1)
