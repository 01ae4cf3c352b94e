"""Centres of receptive fields, carried along beside every tensor of a forward pass.

Each value has a place on the input, a row and a column. What moves values moves their places by the same
operation; what looks at a window, a convolution or a pool, has the middle of its window; what mixes
channels keeps the place; and where ways of different lengths meet, as in a residual block, the one that
tells positions apart decides.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

Pair = tuple[Tensor, Tensor]  # rows and columns of a tensor's values, each of its shape
ALIKE = 0.9  # ways whose places are spread by this share of the widest are all listened to

MOVES = {
    "view",
    "_unsafe_view",
    "reshape",
    "_reshape_alias",
    "permute",
    "transpose",
    "t",
    "slice",
    "select",
    "expand",
    "unsqueeze",
    "squeeze",
    "roll",
    "flip",
    "rot90",
    "split",
    "split_with_sizes",
    "chunk",
    "unbind",
    "index",
    "index_select",
    "gather",
    "repeat",
    "unfold",
    "alias",
    "detach",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "narrow",
    "movedim",
    "flatten",
    "unflatten",
}
PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1, "_addmm_activation": 1}  # place of the left factor
PADS = {"constant_pad_nd", "pad"} | {
    f"{kind}_pad{count}d" for kind in ("reflection", "replication") for count in (1, 2, 3)
}
MEANS = {
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "norm",
    "linalg_vector_norm",
    "logsumexp",
    "prod",
    "median",
}
MADE = ("empty", "new_", "zeros", "ones", "full", "rand", "arange")  # tensors that begin here


class Followed(NamedTuple):
    """What a layer gave for one sample, and where its values lie, if that is known."""

    shape: tuple[int, ...]
    rows: Tensor | None
    columns: Tensor | None

    @property
    def centres(self) -> tuple[Tensor | None, Tensor | None]:
        """Of rows and columns."""
        return self.rows, self.columns


class Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, every operation carries places along.

    Args:
        x: ``(1, ..., H, W)``, whose pixels are the places.
    """

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        rows, columns = (torch.arange(side, dtype=torch.float32, device=x.device) for side in x.shape[-2:])
        self._places: Any = WeakIdKeyDictionary()
        self._places[x] = (rows[:, None].expand(x.shape), columns.expand(x.shape))

    def told(self, output: Any) -> Followed:
        """Return what is known of what a layer gave."""
        if not isinstance(output, Tensor):
            return Followed((), None, None)
        return Followed(tuple(output.shape), *(self._places.get(output) or (None, None)))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and note where its results lie."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        outputs = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        for output, places in zip(outputs, self._moved(func, args, kwargs, outputs), strict=True):
            if places is not None:
                self._places[output] = places
            elif output in self._places:
                del self._places[output]
        return result

    def _moved(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Tensor]
    ) -> Sequence[Pair | None]:
        """Return the places of each result; None for those that are lost."""
        name = func.overloadpacket.__name__
        if name.startswith(MADE):  # what is written into it may come from the input
            return [_made(one) for one in outputs]
        known = [
            one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor) and one in self._places
        ]
        if not known or not outputs:
            return [None] * len(outputs)
        first = outputs[0]
        others: list[Pair | None] = [None] * (len(outputs) - 1)  # such as the indices of a pool
        if name in MOVES and args[0] in self._places:
            return self._same(name, func, args, kwargs, len(outputs))
        if name in ("cat", "stack"):
            return [self._joined(name, func, args, kwargs)]
        if name == "copy_" and args[1] in self._places:
            return [self._written(*args[:2])]
        if name == "convolution" and args[0] in self._places:
            return [_each(self._places[args[0]], lambda one: _convolved(one, first, *args[1:8]))]
        if "adaptive" in name:
            return [_each(self._places[known[0]], lambda one: _adapted(one, first)), *others]
        if "_pool" in name:
            pool = _pool_of(args, kwargs, first.ndim)
            return [_each(self._places[known[0]], lambda one: _pooled(one, first, *pool)), *others]
        if "upsample" in name:
            is_to_corners = any(one is True for one in args)
            return [_each(self._places[known[0]], lambda one: _resized(one, first, is_to_corners))]
        if name in PADS:
            return [_each(self._places[known[0]], lambda one: _padded(one, args[1]))]
        if name in PRODUCTS:
            left, right = args[PRODUCTS[name] : PRODUCTS[name] + 2]
            ways = [(self._places.get(left), -1), (self._places.get(right), -2)]
            return [_widest([_mixed(way, first, dim) for way, dim in ways if way], is_first=True)]
        if name in MEANS and first.numel() < known[0].numel():
            dims = kwargs.get("dim", next(iter(args[2 if "norm" in name else 1 :]), None))
            return [_each(self._places[known[0]], lambda one: _averaged(one, dims, first)), *others]
        if name.startswith("_fft"):
            return [None] * len(outputs)
        return [self._kept(known, one) for one in outputs]

    def _same(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], count: int
    ) -> Sequence[Pair | None]:
        """Return places moved by the operation itself."""
        parts = []
        for one in self._places[args[0]]:
            if name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
                parts.append([one.reshape(args[1])] if isinstance(args[1], list | tuple) else [one])
            else:
                moved = func(one, *args[1:], **kwargs)
                parts.append([moved] if isinstance(moved, Tensor) else list(moved))
        return [(parts[0][number], parts[1][number]) for number in range(count)]

    def _joined(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pair:
        """Return places of tensors that are joined; one without any has the mean of the others."""
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        some = next(one for one in args[0] if one in self._places)
        parts = []
        for which in range(2):
            mean = self._places[some][which]
            mean = mean if name == "stack" else mean.mean(dim, keepdim=True)
            joined = [
                self._places[one][which] if one in self._places else mean.expand(one.shape)
                for one in args[0]
                if one.ndim == some.ndim
            ]
            parts.append(func(joined, dim))
        return parts[0], parts[1]

    def _written(self, target: Tensor, source: Tensor) -> Pair:
        """Write the places of what is copied into those of the target, of which it may be a part."""
        given = self._places[source]
        if target not in self._places:
            return given[0].expand(target.shape), given[1].expand(target.shape)
        own: Pair = self._places[target]
        for one, other in zip(own, given, strict=True):
            if one._base is None and 0 in one.stride():  # many values in one: nothing can be written there
                return given[0].expand(target.shape), given[1].expand(target.shape)
            one.copy_(other)
        return own

    def _kept(self, known: list[Tensor], output: Tensor) -> Pair | None:
        """Return the places of what works value by value; None if the shapes do not fit."""
        ways = []
        for one in known:
            is_fitting = one.ndim <= output.ndim and all(
                side in (1, whole) for side, whole in zip(one.shape[::-1], output.shape[::-1], strict=False)
            )
            if is_fitting:
                ways.append(_each(self._places[one], lambda each: each.expand(output.shape)))
        return _widest(ways)


def _each(pair: Pair, change: Callable[[Tensor], Tensor]) -> Pair:
    return change(pair[0]), change(pair[1])


def _made(output: Tensor) -> Pair:
    return (
        torch.zeros(output.shape, device=output.device),
        torch.zeros(output.shape, device=output.device),
    )


def _widest(ways: list[Pair], *, is_first: bool = False) -> Pair | None:
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


def _convolved(
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


def _pool_of(args: tuple[Any, ...], kwargs: dict[str, Any], ndim: int) -> list[list[int]]:
    """Return kernel, stride, padding and dilation of a pool along each of its axes."""
    numbers = [one for one in args[1:5] if not isinstance(one, bool)]
    is_dilated = len(args) > 4 and not isinstance(args[4], bool)
    kernel = numbers[0]
    stride = numbers[1] if len(numbers) > 1 and numbers[1] != [] else kernel
    padding = numbers[2] if len(numbers) > 2 else 0
    dilation = args[4] if is_dilated else kwargs.get("dilation", 1)
    count = len(kernel) if isinstance(kernel, list | tuple) else ndim - 2
    return [_numbers(one, count) for one in (kernel, stride, padding, dilation)]


def _pooled(
    x: Tensor, output: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    for place, (k, s, p, d) in enumerate(zip(kernel, stride, padding, dilation, strict=True)):
        dim = output.ndim - len(kernel) + place
        x = _windowed(x, dim, output.shape[dim], kernel=k, stride=s, padding=p, dilation=d)
    return x


def _adapted(x: Tensor, output: Tensor) -> Tensor:
    """Return the middles of an adaptive pool's windows, ``floor(i n / m)`` to ``ceil((i + 1) n / m)``."""
    for dim in range(2, output.ndim):
        length, size = x.shape[dim], output.shape[dim]
        numbers = torch.arange(size, device=x.device)
        first, end = numbers * length // size, -((-(numbers + 1) * length) // size)
        x = _at(x, dim, (first + end - 1) / 2)
    return x


def _resized(x: Tensor, output: Tensor, is_to_corners: bool) -> Tensor:
    for dim in range(2, output.ndim):
        length, size = x.shape[dim], output.shape[dim]
        numbers = torch.arange(size, device=x.device).float()
        if is_to_corners:
            numbers = numbers * (length - 1) / max(1, size - 1)
        else:
            numbers = (numbers + 0.5) * length / size - 0.5
        x = _at(x, dim, numbers)
    return x


def _padded(x: Tensor, pads: Sequence[int]) -> Tensor:
    for number in range(len(pads) // 2):
        before, after = pads[2 * number : 2 * number + 2]
        if before or after:
            x = _extended(x, x.ndim - 1 - number, before, after)
    return x


def _mixed(pair: Pair, output: Tensor, dim: int) -> Pair:
    """Return places of a matrix product of which the pair is one factor, whose ``dim`` is summed over."""
    return _each(pair, lambda one: one.mean(dim=dim, keepdim=True).expand(output.shape))


def _averaged(x: Tensor, dims: Any, output: Tensor) -> Tensor:
    dims = list(range(x.ndim)) if dims is None or dims == [] else dims
    return x.mean(dim=dims, keepdim=output.ndim == x.ndim)
