"""What all maps share: the layer, the input, the layer's output, and its position on the input.

A model has one input, a tensor, and then one layer and one map; or several, a tuple. Of a tuple each input
with rows and columns ``(B, ..., H, W)`` has a layer and a map, None where none is wanted; what has fewer
axes, such as flags, is passed along.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from spl.eval_mode import lent
from spl.receptive_fields.placement import Placement, even, laid, placement_of

Layer = str | nn.Module | None
Inputs = Tensor | tuple[Tensor, ...]
Maps = Tensor | tuple[Tensor | None, ...]
Score = Callable[[Any], Tensor]  # from what the model gives to (B,), always of the whole batch in its order
EVEN = 1e-6  # a map whose values differ by less than this share of the largest is even
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def several(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the inputs as a tuple."""
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def seen_places(inputs: Inputs) -> list[int]:
    """Return which of the inputs have rows and columns."""
    return [place for place, x in enumerate(several(inputs)) if x.ndim > 2]


def layers_of(layer: Layer | Sequence[Layer], inputs: Inputs) -> list[Layer]:
    """Return the layer of each input with rows and columns.

    Raises:
        ValueError: if there are more or fewer.
    """
    is_one = layer is None or isinstance(layer, str | nn.Module)
    layers: list[Layer] = [layer] if is_one else list(layer)  # type: ignore[arg-type, list-item]
    expected = len(seen_places(inputs))
    if len(layers) != expected or (isinstance(inputs, Tensor) and not (is_one and layer is not None)):
        raise ValueError(
            f"there must be a layer for each of the {expected} inputs with rows and columns (in a tuple, "
            f"None for no map), or one layer for one input that is no tuple, got {layer!r}"
        )
    return layers


def as_given(inputs: Inputs, maps: list[Tensor | None]) -> Maps:
    """Return one map for a tensor, a tuple of them for a tuple; refuse a tensor without values."""
    if isinstance(inputs, Tensor):
        if maps[0] is None:
            raise ValueError(f"the input must have values, got shape {tuple(inputs.shape)}")
        return maps[0]
    return tuple(maps)


def find_layer(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Module]:
    """Return name and module of a layer; ``""`` is the model itself.

    Raises:
        ValueError: if there is none, with the nearest name; or if no layer can have rows and columns.
    """
    named = {name.removeprefix("_orig_mod."): module for name, module in model.named_modules()}
    if isinstance(layer, nn.Module):
        name = next((name for name, module in named.items() if module is layer), None)
        if name is None:
            raise ValueError(
                f"layer must be a module of {type(model).__name__}, got a foreign {type(layer).__name__}"
            )
        return name, layer
    if layer in named:
        return layer, named[layer]
    _check_convolutions(model)
    near = get_close_matches(layer, named, 1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}? " if near else ""
    children = ", ".join(name for name, _ in model.named_children())
    raise ValueError(f"{type(model).__name__} has no layer {layer!r}; {hint}It has {children}")


def _check_convolutions(model: nn.Module) -> None:
    if not any(isinstance(module, CONVOLUTIONS) for module in model.modules()):
        raise ValueError(
            f"{type(model).__name__} has no convolution, so no layer gives rows and columns; "
            "integrated_gradients and occlusion need none"
        )


class Tap:
    """Keeps what a layer gives, ``(B, C, H, W)``, as something of which a gradient can be taken.

    Args:
        model: in which the layer is.
        name: of the layer.
        placement: of the layer, whose axes may stand in another order.
    """

    def __init__(self, model: nn.Module, name: str, placement: Placement) -> None:
        self.model, self.name, self.placement = model, name, placement
        self.kept: list[Tensor] = []

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        """Keep the output and hand on a copy, into which a layer behind may write."""
        if not isinstance(output, Tensor) or output.ndim != 4:
            _check_convolutions(self.model)
            gave = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"layer {self.name!r} must give (B, C, H, W), got {gave}; choose a convolution's"
            )
        picture = self.placement.picture(output)  # (B, C, H, W)
        # A leaf, unless a layer before is looked at too: so no graph is built below the first of them.
        kept = picture if output.requires_grad else picture.detach().requires_grad_()
        self.kept.append(kept)
        return self.placement.as_given(kept).clone()

    @property
    def features(self) -> Tensor:
        """What the layer gave in its one pass.

        Raises:
            ValueError: if it ran more than once, or not at all.
        """
        if len(self.kept) != 1:
            raise ValueError(
                f"layer {self.name!r} must run once in a pass, got {len(self.kept)} times; choose another"
            )
        return self.kept[0]


def scores_of(model: nn.Module, inputs: Sequence[Tensor], score: Score) -> Tensor:
    """Return the scores ``(B,)`` of a pass.

    Raises:
        ValueError: if the score is no function, or gives something else.
    """
    if not callable(score):
        raise ValueError(
            f"score must be a function from what the model gives to (B,), got {score!r}; "
            "spl.chosen(3) is that of the output 3"
        )
    scores = score(model(*inputs))
    if not isinstance(scores, Tensor) or scores.shape != inputs[0].shape[:1]:
        gave = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"score must give one number per sample, ({len(inputs[0])},), got {gave}")
    return scores


def features_and_scores(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs, score: Score
) -> tuple[list[tuple[Tensor, Placement] | None], Tensor]:
    """Return what each layer gives ``(B, C, h, w)`` and where it lies, None for None, and a pass's scores.

    To be called with a borrowed model; gradients of the scores ``(B,)`` reach the features.
    """
    given = [lent(x) for x in several(inputs)]
    taps: list[tuple[nn.Module, Tap] | None] = []  # all are placed before any is hooked: that takes a pass
    for place, layer in zip(seen_places(inputs), layers, strict=True):
        if layer is None:
            taps.append(None)
            continue
        name, module = find_layer(model, layer)
        taps.append((module, Tap(model, name, placement_of(model, module, given, place, name))))
    with ExitStack() as hooked:
        for module, tap in filter(None, taps):
            hooked.callback(module.register_forward_hook(tap).remove)
        scores = scores_of(model, given, score)
    return [None if one is None else (one[1].features, one[1].placement) for one in taps], scores


def onto(maps: Tensor, size: torch.Size | Sequence[int], placement: Placement | None = None) -> Tensor:
    """Return maps ``(B, h, w)`` as ``(B, H, W)`` in 0..1: `laid`, then each from its least to its most.

    An even map, such as one of zeros, becomes zeros: nothing in it stands out.

    Args:
        maps: of a layer, or of the input itself.
        size: rows and columns of the input.
        placement: of the layer; None for an even spread.

    Raises:
        ValueError: if a map has values that are not finite.
    """
    maps = laid(maps, even(maps.shape[-2:], size) if placement is None else placement, size)  # (B, H, W)
    if not maps.isfinite().all():
        raise ValueError(
            "a map has values that are NaN or infinite: so has the model, its inputs or its score"
        )
    least, most = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    spread = most - least
    is_even = spread <= EVEN * torch.maximum(most.abs(), least.abs())
    return torch.where(is_even, 0.0, (maps - least) / torch.where(is_even, 1.0, spread))


def times(x: Tensor, maps: Tensor) -> Tensor:
    """Return an input ``(B, ..., H, W)`` times its map ``(B, H, W)``; bytes are rounded and stay bytes."""
    maps = maps.reshape(len(maps), *[1] * (x.ndim - 3), *maps.shape[1:])
    return x * maps.to(x.dtype) if x.is_floating_point() else (x * maps).round().to(x.dtype)
