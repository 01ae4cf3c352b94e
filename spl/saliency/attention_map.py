"""An attention module's own map, called like the other methods."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spl.attention.maps import attention_maps, placed
from spl.eval_mode import borrowed, lent
from spl.saliency.layers import (
    Inputs,
    Layer,
    Maps,
    Score,
    as_given,
    find_layer,
    layers_of,
    onto,
    seen_places,
    several,
)


def attention_map(model: nn.Module, layer: Layer | Sequence[Layer], inputs: Inputs, score: Score) -> Maps:
    """Return where a model's own attention looks: the last map of positions that is made within a layer.

    Args:
        model: called as ``model(*inputs)``, in evaluation mode.
        layer: an attention module, or what holds one; ``""`` is the whole model.
        inputs: ``(B, ..., H, W)``, or a tuple, as `spl.saliency.layers` tells.
        score: not used, as attention is the same for every class; it stands here so that all methods are
            called alike.

    Returns:
        ``(B, H, W)`` in 0..1 for each layer.

    Raises:
        ValueError: if there is no such layer, or no attention to positions within it.
    """
    layers, given = layers_of(layer, inputs), several(inputs)
    found: list[Tensor | None] = []
    with borrowed(model), torch.no_grad():
        names = [None if one is None else find_layer(model, one)[0] for one in layers]
        with attention_maps(model) as made:
            model(*map(lent, given))
        for place, name in zip(seen_places(inputs), names, strict=True):
            if name is None:
                found.append(None)
                continue
            within = {
                owner: one
                for owner, one in made.items()
                if f"{owner}.".startswith(f"{name}." if name else "")
            }
            looked = [
                one
                for owner, each in within.items()
                if each.shape[2:] != (1, 1) and (one := placed(model, owner, each, given, place)) is not None
            ]
            if not looked:
                what = "weighs channels, not positions" if within else "has no attention in it"
                raise ValueError(f"layer {name!r} {what}, so there is no map; Grad-CAM shows what it does")
            maps, placement = looked[-1]
            found.append(onto(maps, given[place].shape[-2:], placement))
    return as_given(inputs, found)
