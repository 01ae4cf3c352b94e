"""Where the channels of a module's output are, and how many: read off the module or traced in a pass.

Four axes may be ``(B, C, H, W)`` or, as in Swin and inside ConvNeXt, ``(B, H, W, C)``. Sizes do not tell:
rows, columns and channels may be equally many. The rows and columns of the input, followed through, do.
"""

from collections import defaultdict
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.receptive_fields.placement import FIRST, LAST, Axes, axes_of, axis_of
from spl.receptive_fields.tracing import Following

Example = Tensor | tuple[Any, ...]


class Output(NamedTuple):
    """What a module gave in one run, and along which axes of it the input's rows and columns run."""

    kind: str  # of what is no tensor
    shape: tuple[int, ...] = ()
    rows: int | None = None
    columns: int | None = None
    axes: Axes | None = None  # of channels, rows and columns; None if they cannot be told

    def __str__(self) -> str:
        return str(self.shape) if self.kind == "Tensor" else self.kind

    def is_followed(self, channels: int | None) -> bool:
        """Whether rows and columns run along two axes, and leave the one of ``channels`` free."""
        if self.rows is None or self.columns is None or self.rows == self.columns:
            return False
        return channels in (None, 6 - self.rows - self.columns)


def known_channels(module: nn.Module) -> int | None:
    """Return the channels of what a convolution or norm gives, ``(B, C, H, W)``; None for others."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return module.out_channels
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return module.num_features
    mean = getattr(module, "running_mean", None)  # a frozen batch norm, of whatever class
    return len(mean) if isinstance(mean, Tensor) else None


def measured_channels(
    model: nn.Module, layers: dict[str, nn.Module], example: Example
) -> dict[str, tuple[int, Axes]]:
    """Return the channels of what each of ``layers`` gives, and the axes of channels, rows and columns.

    Args:
        model: called with ``example``.
        layers: of it, by name.
        example: an input or a tuple of them; pictures are ``(B, ..., H, W)``, or ``(B, H, W, C)`` where the
            network's convolutions and dense layers show that.

    Raises:
        ValueError: for a layer that does not give four axes, or different ones in several runs, or of which
            the axes cannot be told; or if ``example`` is a shape.
    """
    if isinstance(example, list | tuple) and example and all(isinstance(one, int) for one in example):
        told = ", ".join(map(str, example))
        raise ValueError(f"example must be an input of the model, got a shape: pass torch.zeros({told})")
    passes = _passes(model, layers, example)
    return {name: _agreed(name, layer, [one[layer] for one in passes]) for name, layer in layers.items()}


def _agreed(name: str, layer: nn.Module, passes: list[list[Output]]) -> tuple[int, Axes]:
    """Return channels and axes of a layer from its runs in each of ``passes``, which follow an input each."""
    runs = passes[0]
    if not runs or any(len(run.shape) != 4 for run in runs):
        gave = " and ".join(map(str, runs)) or "nothing, as it did not run"
        raise ValueError(
            f"{name!r} must give one picture (B, C, H, W) or (B, H, W, C), got {gave}; choose another place"
        )
    own = _own_axis(layer)
    reached = next((runs for runs in passes if all(run.is_followed(own) for run in runs)), None)
    known = reached or next((runs for runs in passes if all(run.axes for run in runs)), None)
    if known is None:
        raise ValueError(
            f"the channel axis of {name!r} is ambiguous: it gives {runs[0].shape}, and "
            "rows and columns of the example do not run along two of the axes; choose another place"
        )
    found = [(run.shape[run.axes[0]], run.axes) for run in known if run.axes is not None]
    if len({count for count, _ in found}) > 1:
        gave = ", ".join(str(count) for count, _ in found)
        raise ValueError(f"{name!r} runs {len(runs)} times with {gave} channels; choose another place")
    if len({axes for _, axes in found}) > 1:
        gave = " and ".join(str(axes[0]) for axes in dict.fromkeys(axes for _, axes in found))
        raise ValueError(
            f"{name!r} runs {len(runs)} times with channels on axes {gave}; choose another place"
        )
    return found[0]


def _own_axis(layer: nn.Module) -> int | None:
    """Return the axis of channels that a layer itself tells of four, None if it is one for any."""
    if known_channels(layer) is not None:
        return 1
    is_last = isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1
    )
    return 3 if is_last else None


def _passes(
    model: nn.Module, layers: dict[str, nn.Module], example: Example
) -> list[dict[nn.Module, list[Output]]]:
    """Return what layers gave in a pass for each picture of ``example`` that is followed.

    A picture is read as ``(B, ..., H, W)``; as ``(B, H, W, C)`` if then more of what the network is made of
    agrees: whatever mixes channels, a convolution or a dense layer, loses rows and columns taken for them.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    telling = [module for module in model.modules() if _own_axis(module) is not None]
    watched = list(dict.fromkeys([*layers.values(), *telling]))
    passes = []
    for place, x in enumerate(inputs):
        if not isinstance(x, Tensor) or x.ndim < 3:
            continue
        first = _passed(model, watched, inputs, place, is_last=False)
        if x.ndim == 4 and _num_followed(first) < _num_pictures(first):
            last = _passed(model, watched, inputs, place, is_last=True)
            first = max(first, last, key=_num_followed)
        passes.append(first)
    return passes or [_passed(model, watched, inputs, None, is_last=False)]


def _num_followed(outputs: dict[nn.Module, list[Output]]) -> int:
    return sum(run.is_followed(_own_axis(layer)) for layer, runs in outputs.items() for run in runs)


def _num_pictures(outputs: dict[nn.Module, list[Output]]) -> int:
    return sum(len(_wide(run.shape)) > 1 for runs in outputs.values() for run in runs)


def _wide(shape: tuple[int, ...]) -> list[int]:
    """Return which of four axes but the first are longer than 1; none of another number of axes."""
    return [axis for axis in (1, 2, 3) if shape[axis] > 1] if len(shape) == 4 else []


def _passed(
    model: nn.Module, layers: list[nn.Module], inputs: tuple[Any, ...], place: int | None, *, is_last: bool
) -> dict[nn.Module, list[Output]]:
    """Return what each of ``layers`` gave in a pass, of which the input at ``place`` is followed, if any."""
    outputs: dict[nn.Module, list[Output]] = defaultdict(list)
    given = [lent(x) if isinstance(x, Tensor) else x for x in inputs]
    picture = torch.zeros(1, 1) if place is None else given[place]
    picture = picture.permute(0, *LAST) if is_last else picture
    following = Following(picture)

    def keep(layer: nn.Module, args: Any, output: Any) -> None:
        outputs[layer].append(_told(layer, following, output))

    with ExitStack() as stack:
        stack.enter_context(borrowed(model))
        stack.enter_context(torch.no_grad())
        for layer in layers:
            stack.callback(layer.register_forward_hook(keep).remove)
        with following:
            if is_last and place is not None:
                given[place] = picture.permute(0, 2, 3, 1)
            model(*given)
    return outputs


def _told(layer: nn.Module, following: Following, output: Any) -> Output:
    """Return what is known of what a layer gave."""
    if not isinstance(output, Tensor) or output.ndim != 4:
        return Output(type(output).__name__, tuple(output.shape) if isinstance(output, Tensor) else ())
    followed = following.told(output)
    rows, columns = (None if one is None else axis_of(one) for one in followed.centres)
    wide = _wide(followed.shape)
    is_declared = rows in (1, 2) or columns in (2, 3) or _own_axis(layer) is not None
    axes: Axes | None = None
    if rows is not None and columns is not None:
        axes = axes_of(layer, followed) if rows != columns else None
    elif rows is None and columns is None and len(wide) < 2:  # one position: what is left are channels
        axes = {1: FIRST, 3: LAST}.get(wide[0] if wide else 1)
    elif is_declared:
        axes = axes_of(layer, followed)
    return Output("Tensor", followed.shape, rows, columns, axes)
