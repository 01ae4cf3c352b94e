"""Collecting attention maps while a model computes them: no second forward, nothing kept in the model."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spl.receptive_fields.placement import Placement, even, placement_of


class AttentionMap(nn.Identity):
    """Where a module's attention map passes by: the identity, at which `attention_maps` looks."""

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks: a module that need not make its map for its output makes it only then."""
        return bool(self._forward_hooks)


@contextmanager
def attention_maps(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that each forward pass of ``model`` in the ``with`` block fills with its attention maps.

    ``with attention_maps(net) as maps: net(images)`` leaves ``maps["layer1.0.attention"]``: the map of the
    newest pass by the name of the module that made it, detached. Gates of channels are ``(B, C, 1, 1)``, of
    positions ``(B, 1, H, W)``; each module says what its own map is. A module that `torch.compile` made runs
    as it was before meanwhile. What was borrowed is given back on every path.

    All passes within the block write into the same dict, those of other threads and of replicas too, and the
    last one wins: look at one thread's passes at a time. Parallel wrappers are refused for that reason.

    Raises:
        ValueError: if no module of ``model`` makes a map, or if it has a parallel wrapper in it.
    """
    for module in model.modules():
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise ValueError(
                f"{type(module).__name__} splits each batch, and a map would be of one part only: "
                "look at its .module, called by itself"
            )
    taps = {name: module for name, module in model.named_modules() if isinstance(module, AttentionMap)}
    if not taps:
        raise ValueError(f"{type(model).__name__} has no attention module, so there is no map to look at")
    maps: dict[str, Tensor] = {}

    def keep(name: str, tap: nn.Module, inputs: Any, output: Tensor) -> None:
        maps[name] = output.detach()

    with ExitStack() as borrowed:
        borrowed.enter_context(torch.compiler.set_stance("force_eager"))
        for name, tap in taps.items():
            owner = name.removeprefix("_orig_mod.").rpartition(".")[0]
            borrowed.callback(tap.register_forward_hook(partial(keep, owner)).remove)
        yield maps


def places_of(one: Tensor, aspect: float) -> Tensor | None:
    """Return where a map ``one`` of `attention_maps` looks, ``(B, H, W)``; None if it has no positions.

    Gates of positions ``(B, 1, H, W)`` are that already. Position attention ``(B, N, N)`` and criss-cross
    attention ``(B, H, W, H + W)`` give how much each position is attended, in multiples of an equal share.

    Args:
        one: the map.
        aspect: height / width of what is looked at, which ``N`` does not tell.
    """
    if one.ndim == 4 and one.shape[1] == 1:
        return one[:, 0]
    if one.ndim == 3 and one.shape[1] == one.shape[2]:
        return one.sum(dim=2).reshape(-1, *_size(one.shape[1], aspect))
    if one.ndim == 4 and one.shape[3] == one.shape[1] + one.shape[2]:
        along_column, along_row = one[..., : one.shape[1]], one[..., one.shape[1] :]
        return along_column.sum(dim=1).mT + along_row.sum(dim=2)
    return None


def placed(
    model: nn.Module, owner: str, one: Tensor, inputs: Sequence[Tensor], place: int = 0
) -> tuple[Tensor, Placement] | None:
    """Return where a map looks ``(B, h, w)``, and where on an input its positions lie; None without any.

    Positions are those of the features that the map's module is given; where they are not rows and columns,
    they are spread evenly.

    Args:
        model: that made the map, called as ``model(*inputs)``.
        owner: name of the module in it that made the map, as `attention_maps` tells it.
        one: the map.
        inputs: of which the one at ``place`` is ``(B, ..., H, W)``.
        place: of the input that is looked at.
    """
    rows, columns = inputs[place].shape[-2:]
    looked = places_of(one, rows / columns)
    if looked is None:
        return None
    modules = {name.removeprefix("_orig_mod."): module for name, module in model.named_modules()}
    if (module := modules.get(owner)) is None:
        raise ValueError(
            f"model has no module {owner!r}, which made a map: pass the model that the maps are of"
        )
    placement = placement_of(model, module, inputs, place, owner, is_before=True)
    h, w = placement.size
    told = places_of(one, h / w)
    if told is not None and tuple(told.shape[1:]) == (h, w):
        return told, placement
    return looked, even(looked.shape[1:], (rows, columns))


def _size(num_positions: int, aspect: float) -> tuple[int, int]:
    """Return the ``H, W`` with ``H W = num_positions`` whose form is nearest to ``aspect``."""
    heights = [height for height in range(1, num_positions + 1) if num_positions % height == 0]
    best = min(heights, key=lambda height: abs(math.log(height * height / num_positions / aspect)))
    return best, num_positions // best
