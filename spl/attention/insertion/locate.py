"""Where attention can be inserted in a network, and with how many channels; changes nothing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from spl.attention.insertion.channels import known_channels, measured_channels
from spl.receptive_fields.placement import FIRST, Axes


@dataclass(frozen=True)
class Place:
    """Behind which module, how many channels its output has, and which of its axes is what."""

    name: str
    module: nn.Module
    channels: int
    stage: str  # the module that holds the block; only known for places in blocks
    child: str  # the name that attention gets in the module
    axes: Axes  # of channels, rows and columns


def last_norm(block: nn.Module) -> str | None:
    """Return the child after which a residual block adds its shortcut; None if it is no such block.

    A block has a ``downsample`` or a ``shortcut``, and a norm (``bn2``, ``norm3``) as the last of its
    convolutions and norms: so in torchvision's, timm's and our ResNets. Blocks that normalise first have not.
    """
    if not any(hasattr(block, name) for name in ("downsample", "shortcut")):
        return None
    branch = [name for name, _ in block.named_children() if re.fullmatch(r"(conv|bn|norm)\d*", name)]
    return branch[-1] if len(branch) > 2 and not branch[-1].startswith("conv") else None


def find_places(
    model: nn.Module, where: str | Iterable[str], example: Tensor | tuple[Any, ...] | None
) -> list[Place]:
    """Return the places that ``where`` means, as `insert_attention` tells, in the model's order.

    Raises:
        ValueError: if there is none, if attention stands there already, or if the channels cannot be known.
    """
    named = dict(model.named_modules())
    if where in ("block", "stage"):
        found = _in_blocks(model, named, is_stage=where == "stage")
    else:
        found = dict.fromkeys(_matching(model, named, _patterns(where)), "")
    for name in found:
        if taken := _taken(named[name]):
            raise ValueError(f"{name!r} has a module {taken!r} already; one place takes one attention")
    layers = {name: named[name] for name in found}
    measured = measured_channels(model, layers, example) if example is not None else {}
    places = []
    for name, stage in found.items():
        count, axes = measured.get(name, (_known_channels(named[name]), FIRST))
        if count is None:
            raise ValueError(
                f"the channels after {name!r} ({type(named[name]).__name__}) cannot be inferred from it; "
                "pass an input of the model to measure them: example=torch.zeros(1, 3, 64, 64)"
            )
        places.append(Place(name, named[name], count, stage, _free_child(named[name]), axes))
    return places


def _free_child(module: nn.Module) -> str:
    """Return the name for attention in ``module``: our blocks call an ``attention`` themselves.

    It stands before the sum. Without attention it is a mere ``nn.Identity``, and stays one.
    """
    return "attention_behind" if type(getattr(module, "attention", None)) is nn.Identity else "attention"


def _taken(module: nn.Module) -> str | None:
    """Return the name of what keeps attention from standing behind ``module``, None if nothing does."""
    return next((name for name in (_free_child(module), "blend") if hasattr(module, name)), None)


def _in_blocks(model: nn.Module, named: dict[str, nn.Module], *, is_stage: bool) -> dict[str, str]:
    """Return the places in all blocks, or the last block of each stage, by name, with their stage."""
    blocks = {name: norm for name, module in named.items() if (norm := last_norm(module)) is not None}
    if not blocks:
        children = ", ".join(name for name, _ in model.named_children()) or "no modules"
        known = [name for name in named if name and _known_channels(named[name]) is not None]
        raise ValueError(
            f"{type(model).__name__} has no residual block (a norm after its last convolution, and a "
            f"downsample or shortcut); it has {children}: name modules to insert after"
            + (f", such as where={known[-1]!r}" if known else "")
        )
    stages = {name: name.rpartition(".")[0] for name in blocks}
    if not is_stage:
        return {f"{name}.{norm}".lstrip("."): stages[name] for name, norm in blocks.items()}
    return {name: stage for stage, name in {stages[name]: name for name in blocks}.items()}


def _patterns(where: str | Iterable[str]) -> list[str]:
    """Return the names that ``where`` lists; modules themselves, for one, are none."""
    is_one = isinstance(where, str | nn.Module) or not isinstance(where, Iterable)
    patterns: list[Any] = [where] if is_one else list(where)
    if strange := [one for one in patterns if not isinstance(one, str)]:
        got = "None" if strange[0] is None else f"a {type(strange[0]).__name__}"
        raise ValueError(
            f"where must be 'block', 'stage', or names of modules, such as 'layer4.*.bn2', got {got}; "
            "model.named_modules() lists the names"
        )
    return patterns


def _matching(model: nn.Module, named: dict[str, nn.Module], patterns: list[str]) -> list[str]:
    """Return the names that ``patterns`` match, in the model's order; a sequence means its last child."""
    chosen = set()
    for pattern in patterns:
        marks = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
        parts = re.split(r"(\*\*|\*|\?)", pattern)
        regex = re.compile("".join(marks.get(part) or re.escape(part) for part in parts))
        matched = [name for name in named if name and regex.fullmatch(name)]
        if not matched:
            near = get_close_matches(pattern, named, n=3) or [name for name, _ in model.named_children()]
            raise ValueError(
                f"no module of {type(model).__name__} matches {pattern!r} ('*' stays within one name, '**' "
                f"goes through dots); it has {', '.join(near)}"
            )
        chosen |= {_end(name, named[name]) for name in matched}
    if not chosen:
        raise ValueError("where names no module: pass 'block', 'stage', or names of modules to insert after")
    return [name for name in named if name in chosen]


def _end(name: str, module: nn.Module) -> str:
    """Return the name of the module that makes the output: a sequence would run a new child itself."""
    while isinstance(module, nn.Sequential) and len(module):
        child, module = list(module.named_children())[-1]
        name = f"{name}.{child}"
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        raise ValueError(f"{name!r} is a {type(module).__name__}, which has no output; name a module inside")
    return name


def _known_channels(module: nn.Module) -> int | None:
    """Return the channels that a convolution, a norm or a residual block gives; None for others."""
    if (norm := last_norm(module)) is not None:
        return _known_channels(module.get_submodule(norm))
    return known_channels(module)
