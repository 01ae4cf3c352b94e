"""Maps from changes of the input: integrated gradients, and occlusion."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.saliency.layers import Inputs, Layer, Maps, Score, as_given, onto, scores_of, seen_places, several


def attributions(
    model: nn.Module, inputs: Inputs, score: Score, *, num_steps: int = 50, baseline: float = 0.0
) -> list[Tensor]:
    """Return what each value of each input with rows and columns adds to the score: ``(B, ..., H, W)``.

    ``(x - b) int_0^1 dS(b + t (x - b))/dx dt`` by Gauss-Legendre; all of one sample add up to
    ``S(x) - S(b)``. All inputs with rows and columns move together.

    Args:
        model: called as ``model(*inputs)``, in evaluation mode.
        inputs: floats, or a tuple, as `spl.saliency.layers` tells.
        score: from what the model gives to ``(B,)``.
        num_steps: points of the integral, a pass forward and backward each.
        baseline: ``b``, every value of it; 0 of normalised pictures is their mean colour.

    Raises:
        ValueError: if an input with rows and columns is not of floats, or there is no point.

    Source: Sundararajan et al. (2017), Axiomatic attribution for deep networks, equation 1.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    given, places = [lent(x) for x in several(inputs)], seen_places(inputs)
    read = [x.dtype for x in given]  # by the model
    for place in places:
        if not given[place].is_floating_point():
            raise ValueError(
                f"integrated gradients need floats, got {given[place].dtype}: let the model read floats, "
                "as there are no values between two bytes"
            )
        given[place] = given[place].to(torch.promote_types(read[place], torch.float32))
    nodes, weights = np.polynomial.legendre.leggauss(num_steps)  # on -1..1
    with borrowed(model):
        starts = [torch.full_like(given[place], baseline) for place in places]
        ways = [given[place] - start for place, start in zip(places, starts, strict=True)]
        totals = [torch.zeros_like(way) for way in ways]
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            points, moved = list(given), []
            for place, start, way in zip(places, starts, ways, strict=True):
                moved.append((start + (node + 1) / 2 * way).requires_grad_())
                points[place] = moved[-1].to(read[place])
            scores = scores_of(model, points, score)
            if not scores.requires_grad:
                raise ValueError(
                    "the score must depend on the inputs by way of a gradient, got one that does not"
                )
            gradients = torch.autograd.grad(scores.sum(), moved, allow_unused=True, materialize_grads=True)
            for total, gradient in zip(totals, gradients, strict=True):
                total += weight / 2 * gradient
    return [total * way for total, way in zip(totals, ways, strict=True)]


def integrated_gradients(
    model: nn.Module,
    layer: Layer | Sequence[Layer],
    inputs: Inputs,
    score: Score,
    *,
    num_steps: int = 50,
    baseline: float = 0.0,
) -> Maps:
    """Return where the input speaks for the score: `attributions`, summed over channels, where positive.

    Args:
        layer: not used; it stands here so that all methods are called alike.

    Others and raises: as `attributions`.

    Returns:
        ``(B, H, W)`` in 0..1 for each input with rows and columns; None for one without values.
    """
    parts = attributions(model, inputs, score, num_steps=num_steps, baseline=baseline)
    maps = [
        onto(part.flatten(1, -3).sum(dim=1).relu(), part.shape[-2:]) if part.numel() else None
        for part in parts
    ]
    return as_given(inputs, maps)


def occlusion(
    model: nn.Module,
    layer: Layer | Sequence[Layer],
    inputs: Inputs,
    score: Score,
    *,
    share: float = 0.2,
    baseline: float = 0.0,
) -> Maps:
    """Return where the score falls if a window of the input is hidden: the mean over a place's windows.

    Windows overlap by half; each is a pass. Of several inputs, one is hidden and the others stay.

    Args:
        layer: not used; it stands here so that all methods are called alike.
        share: of rows and of columns that a window takes.
        baseline: what stands in the window; 0 of normalised pictures is their mean colour.

    Others: as `attributions`; bytes serve too.

    Returns:
        ``(B, H, W)`` in 0..1 for each input with rows and columns; None for one without values.

    Raises:
        ValueError: if ``share`` is not above 0 and at most 1.

    Source: Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, section 4.2.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    given = [lent(x) for x in several(inputs)]
    maps: list[Tensor | None] = []
    with borrowed(model), torch.no_grad():
        whole = scores_of(model, given, score).float()  # (B,)
        for place in seen_places(inputs):
            x = given[place]
            if not x.numel():
                maps.append(None)
                continue
            falls = torch.zeros(len(x), *x.shape[-2:], device=x.device)
            counts = torch.zeros(x.shape[-2:], device=x.device)
            for rows in _windows(x.shape[-2], share):
                for columns in _windows(x.shape[-1], share):
                    hidden = x.clone()
                    hidden[..., rows, columns] = baseline
                    fall = whole - scores_of(model, [*given[:place], hidden, *given[place + 1 :]], score)
                    falls[:, rows, columns] += fall[:, None, None]
                    counts[rows, columns] += 1
            maps.append(onto((falls / counts).relu(), x.shape[-2:]))
    return as_given(inputs, maps)


def _windows(side: int, share: float) -> list[slice]:
    """Return windows that cover ``0..side``, each half beyond the last one."""
    length = max(1, round(share * side))
    starts = [*range(0, side - length, max(1, length // 2)), side - length]
    return [slice(start, start + length) for start in starts]
