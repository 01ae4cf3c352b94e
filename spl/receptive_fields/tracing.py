"""Centres of receptive fields, traced along with every tensor of a forward pass.

Each value has a place on the input, a row and a column. What moves values moves their places by the same
operation; what looks at a window, a convolution or a pool, has the middle of its window; what mixes
channels keeps the place; and where ways of different lengths meet, as in a residual block, the one that
tells positions apart decides.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from spl.receptive_fields.places import (
    Pair,
    adapted,
    averaged,
    convolved,
    each,
    made,
    mixed,
    padded,
    pool_of,
    pooled,
    resized,
    widest,
)

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
            return [made(one) for one in outputs]
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
            return [each(self._places[args[0]], lambda one: convolved(one, first, *args[1:8]))]
        if "adaptive" in name:
            return [each(self._places[known[0]], lambda one: adapted(one, first)), *others]
        if "_pool" in name:
            pool = pool_of(args, kwargs, first.ndim)
            return [each(self._places[known[0]], lambda one: pooled(one, first, *pool)), *others]
        if "upsample" in name:
            is_to_corners = any(one is True for one in args)
            return [each(self._places[known[0]], lambda one: resized(one, first, is_to_corners))]
        if name in PADS:
            return [each(self._places[known[0]], lambda one: padded(one, args[1]))]
        if name in PRODUCTS:
            left, right = args[PRODUCTS[name] : PRODUCTS[name] + 2]
            ways = [(self._places.get(left), -1), (self._places.get(right), -2)]
            return [widest([mixed(way, first, dim) for way, dim in ways if way], is_first=True)]
        if name in MEANS and first.numel() < known[0].numel():
            dims = kwargs.get("dim", next(iter(args[2 if "norm" in name else 1 :]), None))
            return [each(self._places[known[0]], lambda one: averaged(one, dims, first)), *others]
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
                ways.append(each(self._places[one], lambda way: way.expand(output.shape)))
        return widest(ways)
