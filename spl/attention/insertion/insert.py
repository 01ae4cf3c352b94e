"""Inserting attention into any network: in every residual block, after every stage, or anywhere.

The network is changed in place and keeps the keys of its ``state_dict``. What the modules compute is in their
own files, which there are in ``spl.attention.table``, and where they can stand in `locate`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spl.attention.insertion.locate import Place, find_places
from spl.attention.se import hidden_channels
from spl.attention.shared import share_attention
from spl.attention.table import ATTENTION, check_options
from spl.receptive_fields.placement import FIRST, Axes


@dataclass(frozen=True)
class Inserted:
    """One module: the name of the module that it stands behind, its channels and its parameters."""

    after: str
    channels: int
    num_parameters: int

    @property
    def pattern(self) -> str:
        """The name with ``*`` for each number in it, as `insert_attention` takes it."""
        return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", self.after)


@dataclass(frozen=True)
class Insertion:
    """What `insert_attention` changed; as text, a short table."""

    model: str
    attention: str
    inserted: tuple[Inserted, ...]
    num_before: int
    num_after: int

    def __str__(self) -> str:
        share = f" (+{(self.num_after - self.num_before) / self.num_before:.2%})" if self.num_before else ""
        lines = [
            f"{self.attention} in {len(self.inserted)} place{'s'[: len(self.inserted) > 1]} of {self.model}: "
            f"{self.num_before:,} -> {self.num_after:,} parameters{share}"
        ]
        rows = []
        for (pattern, channels), group in groupby(self.inserted, lambda one: (one.pattern, one.channels)):
            first, *others = group
            added = first.num_parameters + sum(one.num_parameters for one in others)
            rows.append((pattern if others else first.after, 1 + len(others), channels, added))
        width = max(len(after) for after, *_ in rows)
        for after, count, channels, added in rows:
            lines.append(f"  after {after:<{width}}  {count:>3} x {channels:>5,} channels  {added:>+12,}")
        return "\n".join(lines)


class Blend(nn.Module):
    """Go from the input to what attention makes of it, ``x + gamma * (attended - x)``, from ``gamma = 0``."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``; at ``gamma = 0`` it is ``x``, to the bit."""
        return x + self.gamma * (attended - x)


def _attend(name: str, channels: int, axes: Axes, place: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """Let the output of a module pass through the attention that was put behind it: a forward hook.

    It finds its modules through ``place`` and holds none itself: copies and replicas use their own.

    Args:
        name: of the place, for errors.
        channels: for which the attention was made.
        axes: of channels, rows and columns in the output.
        place: the module.
        inputs: of it.
        output: of it, four axes.
    """
    if output.ndim != 4 or output.shape[axes[0]] != channels:
        raise ValueError(
            f"the attention after {name!r} was made for {channels} channels on axis {axes[0]} of four, got "
            f"{tuple(output.shape)}; pass insert_attention an input of the model as example, to measure them"
        )
    picture = output if axes == FIRST else output.permute(0, *axes)  # (B, C, H, W)
    attention = "attention_behind" if "attention_behind" in place._modules else "attention"
    attended: Tensor = place.get_submodule(attention)(picture)
    if "blend" in place._modules:
        attended = place.get_submodule("blend")(picture, attended)
    return attended if axes == FIRST else attended.permute([(0, *axes).index(axis) for axis in range(4)])


def insert_attention(
    model: nn.Module,
    name: str,
    *,
    where: str | Iterable[str] = "block",
    start: Literal["identity", "module"] = "identity",
    example: Tensor | tuple[Any, ...] | None = None,
    **options: Any,
) -> Insertion:
    """Put the attention ``name`` into ``model``, in place, and return what has changed.

    The module becomes a child ``attention`` of the one that it stands behind (``attention_behind`` where that
    has an ``nn.Identity`` of this name, as our own blocks have), and a hook calls it. So the old
    keys of the ``state_dict`` stay: old weights load with ``strict=False``, and only new keys are missing.

    Args:
        model: any network. What replaces batch norms by others (``convert_sync_batchnorm``) comes before, as
            hooks do not survive it; optimizers, `torch.compile` and parallel wrappers come afterwards.
        name: of `ATTENTION`. With ``"shared"``, the blocks of a stage share one gate.
        where: ``"block"``: in every residual block, after its last norm, before the add; ``"stage"``: behind
            the last block of every stage; else names of modules to stand behind, one or a list, such as
            ``"layer4.*.bn2"``: ``*`` stays within one name, ``**`` goes through dots.
        start: ``"identity"`` keeps what the network computes: ``x + gamma * (attention(x) - x)``, one scalar
            ``gamma`` per module that starts at 0. The first step of training moves it, the next the module;
            where that has a ``gamma`` of its own (``csm``) the next moves this one, and queries, keys and
            values move from the third on. A module that is the identity by itself (``none``, ``sam``,
            ``rcca``) gets none. ``"module"`` blends nothing.
        example: an input of ``model`` (or a tuple of inputs; a batch of one will do): the channels are then
            measured instead of read off convolutions and norms. Channels last, as in Swin, are recognised by
            where the rows and columns of ``example`` go; the module then sees the output permuted.
        options: of the module, by keyword.

    Raises:
        ValueError: for an unknown name, option, place or start, for a place that has attention already, for
            channels that cannot be known, and for a model that is compiled or no module; the model is then as
            it was. Later, if a place gives another number of channels than the module was made for.
    """
    if start not in ("identity", "module"):
        raise ValueError(f"start must be 'identity' or 'module', got {start!r}")
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {model!r}; build it first")
    if hasattr(model, "_orig_mod") or model._compiled_call_impl is not None:
        raise ValueError(
            "the model is compiled already and would not notice: insert first, then torch.compile"
        )
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise ValueError(
            "DistributedDataParallel would not share the new gradients: insert into its .module first"
        )
    _check_name(name)
    check_options(name, ATTENTION[name], options)
    places = find_places(model, where, example)
    if name == "shared":
        if where != "block":
            raise ValueError(
                f"'shared' goes into every block of a stage: where must be 'block', got {where!r}"
            )
        modules = _shared(model, places, options)
    else:
        modules = [ATTENTION[name](place.channels, **options) for place in places]
    is_blended = start == "identity" and not _is_identity(modules[0], places[0].channels)
    num_before = _num_parameters(model)
    inserted = []
    for place, attention in zip(places, modules, strict=True):
        _put(model, place, attention, is_blended=is_blended)
        num_added = _num_parameters(attention) + is_blended
        inserted.append(Inserted(after=place.name, channels=place.channels, num_parameters=num_added))
    return Insertion(type(model).__name__, name, tuple(inserted), num_before, _num_parameters(model))


def put_attention(model: nn.Module, channels: dict[str, int], attend: Callable[[int], nn.Module]) -> None:
    """Put what ``attend`` makes for a number of channels behind modules of ``model``, in place.

    Args:
        model: a new one, which keeps nothing of what it computed before.
        channels: of what these modules give, ``(B, C, H, W)``, by their names.
    """
    for name, count in channels.items():
        place = Place(name, model.get_submodule(name), count, "", "attention", FIRST)
        _put(model, place, attend(count), is_blended=False)


def _check_name(name: str) -> None:
    if name not in ATTENTION:
        near = get_close_matches(str(name), ATTENTION, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(ATTENTION)}"
        raise ValueError(f"there is no attention {name!r}; {hint}")


def _shared(model: nn.Module, places: list[Place], options: dict[str, Any]) -> list[nn.Module]:
    """Return the modules of ``places`` that share one gate in each stage."""
    stages = []
    for name, group in groupby(places, key=lambda place: place.stage):
        stage, blocks = model.get_submodule(name), list(group)
        if not isinstance(stage, nn.Sequential) or len(stage) != len(blocks):
            raise ValueError(
                f"'shared' needs stages that are sequences of residual blocks alone, but {name!r} is a "
                f"{type(stage).__name__} of {len(list(stage.children()))} modules, {len(blocks)} such blocks"
            )
        stages.append((stage, blocks[0].channels))
    for _, channels in stages:
        hidden_channels(channels, options.get("reduction"))  # raises before any stage is changed
    return [module for stage, channels in stages for module in share_attention(stage, channels, **options)]


def _is_identity(attention: nn.Module, channels: int) -> bool:
    """Whether a new module returns its input, as tried on random numbers."""
    x = torch.randn(2, channels, 5, 5, generator=torch.Generator().manual_seed(0), device="cpu")
    x = x.to(next(attention.parameters(), x).device)
    attention.eval()
    with torch.no_grad():
        return torch.equal(attention(x), x)


def _put(model: nn.Module, place: Place, attention: nn.Module, *, is_blended: bool) -> None:
    """Put ``attention`` behind ``place``: where its weights are, of their type, in the same mode."""
    module = place.module
    near = [*module.parameters(), *module.buffers(), *model.parameters()]
    like = next((one for one in near if one.is_floating_point()), torch.empty(0))
    children = {place.child: attention} | ({"blend": Blend()} if is_blended else {})
    for name, child in children.items():
        module.add_module(name, child.to(like.device, like.dtype).train(module.training))
    module.register_forward_hook(partial(_attend, place.name, place.channels, place.axes))


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
