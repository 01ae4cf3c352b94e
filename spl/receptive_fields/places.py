"""Positions on the input of an operation's outputs, from the positions of its inputs.

Each function has the places along one axis of the input, of the shape of the tensor whose values have them,
and returns those of the operation's output. Which operation has which is in spl.receptive_fields.tracing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]  # rows and columns of a tensor's values, each of its shape
ALIKE = 0.9  # ways whose places are spread by this share of the widest are all listened to


def each(pair: Pair, change: Callable[[Tensor], Tensor]) -> Pair:
    return change(pair[0]), change(pair[1])


def made(output: Tensor) -> Pair:
    return (
        torch.zeros(output.shape, device=output.device),
        torch.zeros(output.shape, device=output.device),
    )


def widest(ways: list[Pair], *, is_first: bool = False) -> Pair | None:
    """Return the places that tell positions apart most: the mean, or the first, of those that do so alike."""
    if len(ways) < 2:
        return ways[0] if ways else None
    spreads = [sum(float(one.std(correction=0)) for one in way) for way in ways]
    wide = [way for way, spread in zip(ways, spreads, strict=True) if spread >= ALIKE * max(spreads)]
    if len(wide) == 1 or is_first or all(torch.equal(one, two) for one, two in zip(*wide[:2], strict=True)):
        return wide[0]
    rows, columns = (torch.stack([way[which] for way in wide]).mean(dim=0) for which in range(2))
    return rows, columns


def _numbers(value: Any, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values


def _extended(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Return places beyond both ends as if the input went on; negative numbers cut off."""
    x = x.narrow(dim, max(0, -before), x.shape[dim] - max(0, -before) - max(0, -after))
    length = x.shape[dim]
    numbers = torch.arange(-max(0, before), length + max(0, after), device=x.device)
    return _at(x, dim, numbers.float())


def _at(x: Tensor, dim: int, numbers: Tensor) -> Tensor:
    """Return places at fractional numbers ``(N,)`` along an axis: straight lines, beyond the ends too."""
    length = x.shape[dim]
    if length == 1:
        return x.expand([len(numbers) if one == dim % x.ndim else -1 for one in range(x.ndim)])
    low = numbers.floor().clamp(0, length - 2).long()
    share = (numbers - low).reshape([-1 if one == dim % x.ndim else 1 for one in range(x.ndim)])
    first = x.index_select(dim, low)
    return first + share * (x.index_select(dim, low + 1) - first)


def _windowed(
    x: Tensor, dim: int, size: int, *, kernel: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Return the middles of ``size`` windows."""
    length = dilation * (kernel - 1) + 1
    x = _extended(x, dim, padding, (size - 1) * stride + length - x.shape[dim] - padding)
    return x.unfold(dim, length, stride)[..., ::dilation].mean(dim=-1)


def convolved(
    x: Tensor,
    output: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    is_transposed: bool = False,
    output_padding: Any = None,
) -> Tensor:
    x = x.mean(dim=1, keepdim=True)
    count = output.ndim - 2
    for place in range(count):
        dim, kernel = 2 + place, weight.shape[2 + place]
        s, p, d = (_numbers(one, count)[place] for one in (stride, padding, dilation))
        if is_transposed:
            numbers = torch.arange(output.shape[dim], device=x.device)
            x = _at(x, dim, (numbers + p - (kernel - 1) / 2 * d) / s)
        else:
            x = _windowed(x, dim, output.shape[dim], kernel=kernel, stride=s, padding=p, dilation=d)
    return x.expand(output.shape)


def pool_of(args: tuple[Any, ...], kwargs: dict[str, Any], ndim: int) -> list[list[int]]:
    """Return kernel, stride, padding and dilation of a pool along each of its axes."""
    numbers = [one for one in args[1:5] if not isinstance(one, bool)]
    is_dilated = len(args) > 4 and not isinstance(args[4], bool)
    kernel = numbers[0]
    stride = numbers[1] if len(numbers) > 1 and numbers[1] != [] else kernel
    padding = numbers[2] if len(numbers) > 2 else 0
    dilation = args[4] if is_dilated else kwargs.get("dilation", 1)
    count = len(kernel) if isinstance(kernel, list | tuple) else ndim - 2
    return [_numbers(one, count) for one in (kernel, stride, padding, dilation)]


def pooled(
    x: Tensor, output: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    for place, (k, s, p, d) in enumerate(zip(kernel, stride, padding, dilation, strict=True)):
        dim = output.ndim - len(kernel) + place
        x = _windowed(x, dim, output.shape[dim], kernel=k, stride=s, padding=p, dilation=d)
    return x


def adapted(x: Tensor, output: Tensor) -> Tensor:
    """Return the middles of an adaptive pool's windows, ``floor(i n / m)`` to ``ceil((i + 1) n / m)``."""
    for dim in range(2, output.ndim):
        length, size = x.shape[dim], output.shape[dim]
        numbers = torch.arange(size, device=x.device)
        first, end = numbers * length // size, -((-(numbers + 1) * length) // size)
        x = _at(x, dim, (first + end - 1) / 2)
    return x


def resized(x: Tensor, output: Tensor, is_to_corners: bool) -> Tensor:
    for dim in range(2, output.ndim):
        length, size = x.shape[dim], output.shape[dim]
        numbers = torch.arange(size, device=x.device).float()
        if is_to_corners:
            numbers = numbers * (length - 1) / max(1, size - 1)
        else:
            numbers = (numbers + 0.5) * length / size - 0.5
        x = _at(x, dim, numbers)
    return x


def padded(x: Tensor, pads: Sequence[int]) -> Tensor:
    for number in range(len(pads) // 2):
        before, after = pads[2 * number : 2 * number + 2]
        if before or after:
            x = _extended(x, x.ndim - 1 - number, before, after)
    return x


def mixed(pair: Pair, output: Tensor, dim: int) -> Pair:
    """Return places of a matrix product of which the pair is one factor, whose ``dim`` is summed over."""
    return each(pair, lambda one: one.mean(dim=dim, keepdim=True).expand(output.shape))


def averaged(x: Tensor, dims: Any, output: Tensor) -> Tensor:
    dims = list(range(x.ndim)) if dims is None or dims == [] else dims
    return x.mean(dim=dims, keepdim=output.ndim == x.ndim)
