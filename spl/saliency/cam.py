"""Class activation maps: a layer's channels, weighted by their effect on the score."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.saliency.layers import (
    Inputs,
    Layer,
    Maps,
    Score,
    as_given,
    features_and_scores,
    layers_of,
    onto,
    scores_of,
    seen_places,
    several,
    times,
)

Weigh = Callable[[Tensor, Tensor], Tensor]  # features and gradients (B, C, h, w) -> map (B, h, w)


def grad_cam(model: nn.Module, layer: Layer | Sequence[Layer], inputs: Inputs, score: Score) -> Maps:
    """Return where a layer speaks for the score: ``relu(sum_c mean_hw(dS/dF_c) F_c)``.

    Args:
        model: called as ``model(*inputs)``, in evaluation mode.
        layer: name or module that gives ``(B, C, h, w)``; for several inputs, one for each.
        inputs: ``(B, ..., H, W)``, or a tuple, as `spl.saliency.layers` tells.
        score: from what the model gives to ``(B,)``.

    Returns:
        ``(B, H, W)`` in 0..1 for each layer, as `onto` scales it.

    Raises:
        ValueError: if there is no such layer, it gives no rows and columns, or the score does not fit.

    Source: Selvaraju et al. (2017), Grad-CAM, equations 1 and 2.
    """
    return _of_gradients(
        model, layer, inputs, score, lambda F, G: (G.mean(dim=(2, 3), keepdim=True) * F).sum(dim=1)
    )


def grad_cam_plus_plus(
    model: nn.Module,
    layer: Layer | Sequence[Layer],
    inputs: Inputs,
    score: Score,
    *,
    epsilon: float = 1e-6,
) -> Maps:
    """Return `grad_cam` with weights ``sum_hw(alpha relu(G))``: several places of one thing count alike.

    ``alpha = G^2 / (2 G^2 + G^3 sum_hw(F) + epsilon)``, 0 where ``G = 0``.

    Args:
        epsilon: 0 is the paper's formula; the default is that of pytorch-grad-cam, whose maps are then equal,
            and weakens gradients below 1e-3.

    Others, returns and raises: as `grad_cam`.

    Source: Chattopadhay et al. (2018), Grad-CAM++, equation 19; ``Y = exp(S)`` cancels in the scaled map.
    """

    def weigh(features: Tensor, gradients: Tensor) -> Tensor:
        total = features.sum(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        below = 2 * gradients**2 + total * gradients**3 + epsilon
        is_used = (gradients > 0) & (below != 0)
        alpha = torch.where(is_used, gradients**2 / torch.where(is_used, below, 1.0), 0.0)
        return ((alpha * gradients).sum(dim=(2, 3), keepdim=True) * features).sum(dim=1)

    return _of_gradients(model, layer, inputs, score, weigh)


def layer_cam(model: nn.Module, layer: Layer | Sequence[Layer], inputs: Inputs, score: Score) -> Maps:
    """Return ``relu(sum_c relu(G_c) F_c)``: every place has a weight of its own, so that early layers serve.

    Arguments, returns and raises: as `grad_cam`.

    Source: Jiang et al. (2021), LayerCAM, equations 5 and 6.
    """
    return _of_gradients(model, layer, inputs, score, lambda F, G: (G.relu() * F).sum(dim=1))


def _of_gradients(
    model: nn.Module, layer: Layer | Sequence[Layer], inputs: Inputs, score: Score, weigh: Weigh
) -> Maps:
    """Return ``relu(weigh(features, gradients))`` of each layer, from one pass forward and one backward."""
    layers = layers_of(layer, inputs)
    maps: list[Tensor | None] = [None] * len(layers)
    with borrowed(model):
        features, scores = features_and_scores(model, layers, inputs, score)
        wanted = [one[0] for one in features if one is not None]
        if not wanted or not scores.requires_grad:
            raise ValueError(f"the score must depend on a layer, got layers {layer!r} on which it does not")
        gradients = iter(torch.autograd.grad(scores.sum(), wanted, allow_unused=True, materialize_grads=True))
        for number, (place, kept) in enumerate(zip(seen_places(inputs), features, strict=True)):
            if kept is not None:
                cam = weigh(kept[0].detach().float(), next(gradients).float()).relu()  # (B, h, w)
                maps[number] = onto(cam, several(inputs)[place].shape[-2:], kept[1])
    return as_given(inputs, maps)


def score_cam(model: nn.Module, layer: Layer | Sequence[Layer], inputs: Inputs, score: Score) -> Maps:
    """Return ``relu(sum_c softmax_c(S(x M_c)) F_c)``, where ``M_c`` is channel ``c`` as a map of the input.

    One pass for each channel, and no gradient. Of several inputs, one is masked and the others stay.

    Arguments, returns and raises: as `grad_cam`. The score should be a logit, not a probability.

    Source: Wang et al. (2020), Score-CAM, algorithm 1; the score of the baseline cancels in the softmax.
    """
    layers, given = layers_of(layer, inputs), [lent(x) for x in several(inputs)]
    maps: list[Tensor | None] = [None] * len(layers)
    with borrowed(model), torch.no_grad():
        features, _ = features_and_scores(model, layers, inputs, score)
        for number, (place, kept) in enumerate(zip(seen_places(inputs), features, strict=True)):
            if kept is None:
                continue
            size, scores, masked = given[place].shape[-2:], [], list(given)
            F, placement = kept[0].detach(), kept[1]  # (B, C, h, w)
            for channel in F.unbind(dim=1):  # (B, h, w)
                masked[place] = times(given[place], onto(channel, size, placement))
                scores.append(scores_of(model, masked, score))
            weights = torch.stack(scores, dim=1).float().softmax(dim=1)  # (B, C)
            cam = (weights[:, :, None, None] * F.float()).sum(dim=1).relu()  # (B, h, w)
            maps[number] = onto(cam, size, placement)
    return as_given(inputs, maps)
