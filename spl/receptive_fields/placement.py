"""The position of a layer's features on its input: receptive fields traced through any network.

A map is as large as its layer, and is laid on the input here, by the features' centres. What maps say is
elsewhere; how each operation moves a centre is in `spl.receptive_fields.tracing`.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.receptive_fields.tracing import Followed, Following

Axes = tuple[int, int, int]
FIRST: Axes = (1, 2, 3)  # of channels, rows and columns in (B, C, H, W)
LAST: Axes = (3, 1, 2)  # in (B, H, W, C)
LEAST_MOVE = 1e-3  # pixels: centres that lie closer are one


class Placement(NamedTuple):
    """Where a layer's features lie.

    Of convolutions and pools ``l`` with kernel ``k``, stride ``s``, padding ``p`` and dilation ``d``, feature
    ``i`` has its centre at pixel ``start + jump * i`` of the input (pixel 0 has its middle at 0), with

    ``start_l = start_{l-1} + ((k - 1) / 2 * d - p) * jump_{l-1}``, ``jump_l = jump_{l-1} * s``,

    from ``start = 0``, ``jump = 1``. 8/4, 4/2, 3/1 without padding on 84 pixels: 17.5, 25.5, ..., 65.5, where
    an even spread would have 5.5, 17.5, ..., 77.5. Odd kernels padded by ``(k - 1) / 2`` have ``start = 0``:
    ``(jump - 1) / 2`` pixels before an even spread. Patches (``k = s``) are evenly spread.

    Source: Araujo, Norris, Sim (2019), Computing receptive fields of convolutional neural networks, Distill.
    """

    rows: tuple[float, ...]  # centre of each row of features, in rows of the input
    columns: tuple[float, ...]
    axes: Axes = FIRST  # of channels, rows and columns in what the layer gives

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of features."""
        return len(self.rows), len(self.columns)

    def picture(self, output: Tensor) -> Tensor:
        """Return what the layer gave as ``(B, C, h, w)``, a view."""
        return output.permute(0, *self.axes)

    def as_given(self, picture: Tensor) -> Tensor:
        """Return ``picture (B, C, h, w)`` with the axes as the layer has them, a view."""
        order = (0, *self.axes)
        return picture.permute([order.index(axis) for axis in range(4)])


def even(size: Sequence[int], over: Sequence[int]) -> Placement:
    """Return ``size`` rows and columns spread evenly over that: centres ``(i + 1/2) over / size - 1/2``."""
    rows, columns = (
        tuple((number + 0.5) * side / count - 0.5 for number in range(count))
        for count, side in zip(size, over, strict=True)
    )
    return Placement(rows, columns)


def laid(maps: Tensor, placement: Placement, on: Placement | Sequence[int]) -> Tensor:
    """Return maps ``(B, h, w)`` of a layer where its features lie: ``(B, H, W)``, float32.

    Bilinear between centres. Beyond an outermost one its value goes on for half a jump, where an even spread
    has its border, and fades to zero over another half. (Going on to the border for ever, as resizing
    does, would draw all that is near it outwards.)

    Args:
        maps: one value for each feature.
        placement: of the layer.
        on: rows and columns of the input, or another layer, whose centres are then looked up.
    """
    if not isinstance(on, Placement):
        rows, columns = (tuple(map(float, range(side))) for side in on)
        on = Placement(rows, columns)
    over = _between(placement.rows, on.rows, maps.device)  # (H, h)
    along = _between(placement.columns, on.columns, maps.device)  # (W, w)
    with torch.autocast(maps.device.type, enabled=False):
        return over @ maps.float() @ along.mT


@lru_cache(maxsize=64)
def _between(centres: tuple[float, ...], points: tuple[float, ...], device: torch.device) -> Tensor:
    """Return the share ``(P, N)`` that each of ``N`` centres has in each of ``P`` points."""
    order = np.argsort(centres, kind="stable")
    known = np.asarray(centres)[order]
    if len(known) > 1:
        first, last = known[1] - known[0], known[-1] - known[-2]
        known = np.concatenate(
            [[known[0] - first, known[0] - first / 2], known, [known[-1] + last / 2, known[-1] + last]]
        )
    shares = []
    for one in np.eye(len(centres)):
        values = one[order]
        if len(values) > 1:
            values = np.concatenate([[0.0, values[0]], values, [values[-1], 0.0]])
        shares.append(np.interp(points, known, values))
    with torch.inference_mode(False):
        return torch.from_numpy(np.stack(shares, axis=1).astype(np.float32)).to(device)


_KNOWN: WeakKeyDictionary[nn.Module, dict[Any, Placement]] = WeakKeyDictionary()


def placement_of(
    model: nn.Module,
    layer: nn.Module,
    inputs: Sequence[Tensor],
    place: int = 0,
    name: str = "",
    *,
    is_before: bool = False,
) -> Placement:
    """Return where the features of a layer lie on an input: found once for each layer and size.

    Centres are followed through one pass of the model, whatever it is made of; where that loses them, as in
    operations of others, they are found by gradients. Where the input has no part in what the layer gives, or
    a part without a place, such as behind dense layers, the features are spread evenly.

    Args:
        model: called as ``model(*inputs)``.
        layer: a module of it that gives four axes, in any order: channels last are recognised.
        inputs: of which the one at ``place`` is ``(B, ..., H, W)``.
        place: of the input that is looked at.
        name: of the layer, for errors.
        is_before: take the features that the layer is given, not those it gives.

    Raises:
        ValueError: if the layer gives no rows and columns of the whole input.
    """
    key = (type(model), place, is_before, tuple(x.shape[1:] for x in inputs))
    known = _KNOWN.setdefault(layer, {})
    if key not in known:
        known[key] = _found(model, layer, inputs, place, name, is_before)
    return known[key]


def _found(
    model: nn.Module, layer: nn.Module, inputs: Sequence[Tensor], place: int, name: str, is_before: bool
) -> Placement:
    size = inputs[place].shape[-2:]
    followed = follow(model, [layer], inputs, place, is_before=is_before)[0]
    if followed is None:
        return even(size, size)  # the pass did not come here: whoever wants the layer's features will say so
    shape = followed.shape
    if len(shape) != 4:
        return even(size, size)  # likewise
    if shape[0] != 1:
        raise ValueError(
            f"layer {name!r} must give (B, C, H, W) of the whole picture, got {shape} for a batch of one; "
            "choose another"
        )
    axes = axes_of(layer, followed)
    if followed.rows is None or followed.columns is None:
        centres = _by_gradients(model, layer, inputs, place, axes, is_before)
    else:
        centres = [_along(followed.rows, axes[1]), _along(followed.columns, axes[2])]
    spread = even([shape[axis] for axis in axes[1:]], size)
    rows, columns = (
        one if len(one) == len(other) and is_spread(one) else other
        for one, other in zip(centres, spread[:2], strict=True)
    )
    return Placement(rows, columns, axes)


def is_spread(centres: tuple[float, ...]) -> bool:
    """Return whether centres lie apart: what has seen the whole input evenly has no place on it."""
    return len(centres) > 1 and min(abs(np.diff(centres))) > LEAST_MOVE


def follow(
    model: nn.Module,
    layers: Sequence[nn.Module],
    inputs: Sequence[Tensor],
    place: int,
    *,
    is_before: bool = False,
) -> list[Followed | None]:
    """Return, for each layer, the shape of what it gives for one sample and where its values lie.

    None for one that does not run; the last of several runs counts. With `is_before` it is
    what the layer is given first.
    """
    found: dict[nn.Module, Followed] = {}
    with ExitStack() as stack:
        stack.enter_context(borrowed(model))
        stack.enter_context(torch.no_grad())
        one = [lent(x)[:1] for x in inputs]
        following = Following(one[place])

        def keep(module: nn.Module, given: Any, output: Any) -> None:
            found[module] = following.told(next(iter(given), None) if is_before else output)

        for layer in dict.fromkeys(layers):
            stack.callback(layer.register_forward_hook(keep).remove)
        with following:
            model(*one)
    return [found.get(layer) for layer in layers]


def axes_of(layer: nn.Module, followed: Followed) -> Axes:
    """Return the axes of channels, rows and columns of what a layer gives, four axes.

    They are those along which the input's rows and columns run; where there is but one position, or what
    comes from the input is lost, what the layer is decides.
    """
    moves = [None if one is None else axis_of(one) for one in followed.centres]
    rows, columns = moves
    if rows is not None and columns is not None and rows != columns:
        return 6 - rows - columns, rows, columns
    if rows == 1 or columns == 2:
        return LAST
    if rows == 2 or columns == 3:
        return FIRST
    return LAST if isinstance(layer, nn.Linear | nn.LayerNorm) and not _is_over_all(layer) else FIRST


def _is_over_all(layer: nn.Module) -> bool:
    """Whether a norm is over more than the last axis, and so tells nothing of it."""
    return isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) > 1


def axis_of(centres: Tensor) -> int | None:
    """Return the axis of ``(1, ., ., .)`` along which centres move most, None if along none."""
    moves = [float((centres.amax(axis) - centres.amin(axis)).mean()) for axis in (1, 2, 3)]
    return 1 + int(np.argmax(moves)) if max(moves) > LEAST_MOVE else None


def _along(centres: Tensor, axis: int) -> tuple[float, ...]:
    means = centres.cpu().double().mean(dim=[one for one in range(centres.ndim) if one != axis])
    return tuple(round(value, 4) for value in means.tolist())


def _by_gradients(
    model: nn.Module, layer: nn.Module, inputs: Sequence[Tensor], place: int, axes: Axes, is_before: bool
) -> list[tuple[float, ...]]:
    """Return centres of rows and of columns: where the gradient of each has its middle.

    A straight line through those of the middle half, which the border cuts off less than the outer ones.
    Of inputs that are not floats, or do not reach the layer by gradients, nothing.
    """
    if not inputs[place].is_floating_point():
        return [(), ()]
    kept: list[Tensor] = []
    one = [lent(x)[:1] for x in inputs]
    noise = torch.rand(one[place].shape, generator=torch.Generator().manual_seed(0))
    one[place] = noise.to(one[place]).requires_grad_()

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        kept.append(given[0] if is_before else output)

    with borrowed(model), ExitStack() as stack:
        stack.callback(layer.register_forward_hook(keep).remove)
        model(*one)
        output = kept[-1]
        if not output.requires_grad:
            return [(), ()]
        return [
            _line([_middle(output, axis, number, one[place], -2 + which) for number in range(length)])
            for which, axis in enumerate(axes[1:])
            for length in [output.shape[axis]]
        ]


def _middle(output: Tensor, axis: int, number: int, x: Tensor, along: int) -> float:
    """Return where the gradient of one row of features has its middle along an axis of the input."""
    (gradient,) = torch.autograd.grad(
        output.select(axis, number).sum(), x, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    weights = gradient.abs().movedim(along, 0).flatten(1).sum(dim=1).cpu().double()  # (H,)
    places = torch.arange(len(weights), device=weights.device)
    return float((weights * places).sum() / weights.sum().clamp(min=1e-30))


def _line(centres: list[float]) -> tuple[float, ...]:
    count = len(centres)
    if count < 2:
        return tuple(centres)
    outer = count // 4
    inner = slice(outer, count - outer) if count - 2 * outer > 1 else slice(None)
    jump, start = np.polyfit(np.arange(count)[inner], np.asarray(centres)[inner], 1)
    return tuple(float(start + jump * number) for number in range(count))
