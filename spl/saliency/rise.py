"""Randomised input sampling (RISE): a map of a black box, from its scores on randomly hidden inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.saliency.layers import Inputs, Layer, Maps, Score, as_given, onto, scores_of, seen_places, several

CELLS = 7  # of a mask's side, before it is enlarged


def rise(
    model: nn.Module,
    layer: Layer | Sequence[Layer],
    inputs: Inputs,
    score: Score,
    *,
    num_masks: int = 512,
    kept: float = 0.5,
    baseline: float = 0.0,
    seed: int = 0,
) -> Maps:
    """Return where the input raises the score: the covariance of being shown with the score, where positive.

    ``relu(1 / N sum_i (S(x * m_i) - mean S) m_i)``; a mask ``m`` is a grid of `CELLS` a side, each shown with
    probability ``kept``, enlarged bilinearly and shifted by less than a cell. Each is a pass. Of several
    inputs, one is masked and the others stay.

    Args:
        layer: not used; it stands here so that all methods are called alike.
        num_masks: ``N``; the noise of the map falls with its root.
        kept: expected share that is shown, inside 0..1.
        baseline: what stands where nothing is shown; 0 of normalised pictures is their mean colour.
        seed: of the masks, which are the same for all samples.

    Others: as `spl.saliency.integrated_gradients`; bytes serve too, and are rounded.

    Returns:
        ``(B, H, W)`` in 0..1 for each input with rows and columns; None for one without values.

    Raises:
        ValueError: if ``num_masks`` is below 2 or ``kept`` is not inside 0..1.

    Source: Petsiuk et al. (2018), RISE, equations 5 and 6. Differs: the mean score is taken off, which
    changes the map by a constant in expectation and lessens its noise; what lowers the score is 0.
    """
    if num_masks < 2 or not 0.0 < kept < 1.0:
        raise ValueError(f"num_masks must be at least 2 and kept inside 0..1, got {num_masks} and {kept}")
    given = [lent(x) for x in several(inputs)]
    maps: list[Tensor | None] = []
    with borrowed(model), torch.no_grad():
        for place in seen_places(inputs):
            x = given[place]
            if not x.numel():
                maps.append(None)
                continue
            generator = torch.Generator().manual_seed(seed)
            H, W = x.shape[-2:]
            scores = torch.empty(num_masks, len(x), device=x.device)
            masks = torch.empty(num_masks, H, W, device=x.device)
            for number in range(num_masks):
                masks[number] = mask = random_mask(H, W, kept, generator).to(x.device)
                shown = x * mask + baseline * (1 - mask)
                shown = shown.to(x.dtype) if x.is_floating_point() else shown.round().to(x.dtype)
                scores[number] = scores_of(model, [*given[:place], shown, *given[place + 1 :]], score)
            weights = (scores - scores.mean(dim=0)) / num_masks  # (N, B)
            maps.append(onto(torch.einsum("nb,nhw->bhw", weights, masks).relu(), (H, W)))
    return as_given(inputs, maps)


def random_mask(rows: int, columns: int, kept: float, generator: torch.Generator) -> Tensor:
    """Return a mask ``(H, W)`` in 0..1; where it is 1 the input is shown.

    A side of fewer pixels than `CELLS` has a cell for each.
    """
    sides = [(side, min(CELLS, side)) for side in (rows, columns)]
    grid = (torch.rand([cells for _, cells in sides], generator=generator) < kept).float()
    lengths = [-(-side // cells) for side, cells in sides]  # of a cell, in pixels
    size = [(cells + 1) * length for (_, cells), length in zip(sides, lengths, strict=True)]
    large = torch.nn.functional.interpolate(grid[None, None], size, mode="bilinear", align_corners=False)[
        0, 0
    ]
    top, left = (int(torch.randint(length, (), generator=generator)) for length in lengths)
    return large[top : top + rows, left : left + columns]
