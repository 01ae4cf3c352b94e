"""Light networks with optional attention: MobileNet, ShuffleNet, SqueezeNet and EfficientNet of torchvision.

They keep torchvision's weights, keys and dropout. Attention stands behind modules, called by a hook.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spl.attention import ATTENTION
from spl.attention.insertion.insert import put_attention
from spl.attention.table import check_options
from spl.eval_mode import evaluating
from spl.models.image.network_table import LIGHT, LightSpec, check_stages, lookup
from spl.models.image.resnet import OWN_PLACES

PROBE = 64  # height and width of the picture by which channels are counted


def takes(name: str, attention: str) -> bool:
    """Whether a network of any kind takes an attention module: some are for residual networks alone."""
    return name not in LIGHT or attention not in OWN_PLACES


def build_light(
    name: str,
    *,
    num_classes: int,
    attention: str = "none",
    attention_options: Mapping[str, Any] = {},
    attention_per: Literal["block", "stage"] = "block",
    attention_stages: tuple[int, ...] = (),
) -> nn.Module:
    """Return a network of `LIGHT` with fresh weights, drawn from torch's global generator.

    Args:
        name: of `LIGHT`.
        num_classes: ``K``, at least 1.
        attention: of `ATTENTION`.
        attention_options: given to every attention module by keyword.
        attention_per: one module per ``block``: behind the last norm of an inverted residual (in its branch,
            before the sum), a whole unit of ShuffleNet, or a fire module of SqueezeNet; or one behind each
            ``stage``. Squeeze-excitations that a network has of its own stay.
        attention_stages: the stages that have attention, counted from 1; none for all.

    Raises:
        ValueError: if a name, an option or its value is unknown, or the attention is for residual networks.
    """
    from torchvision.models import get_model  # where it is used: it takes longer to import than torch

    spec, module = lookup(LIGHT, name, "network"), lookup(ATTENTION, attention, "attention")
    if not takes(name, attention):
        needs = (
            "one gate for the residual blocks of a stage" if attention == "shared" else "a head of its own"
        )
        raise ValueError(
            f"attention {attention!r} is {needs}, which {name} has not: choose another, or a residual network"
        )
    check_options(attention, module, attention_options)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    check_stages(spec, attention_stages, name, attention)
    model: nn.Module = get_model(name, weights=None, num_classes=num_classes)
    if attention != "none":
        places = _stages(model, spec) if attention_per == "stage" else _blocks(model, spec)
        wanted = {
            one: stage for one, stage in places.items() if not attention_stages or stage in attention_stages
        }
        put_attention(model, _channels(model, wanted), partial(module, **attention_options))
    return model


def _stages(model: nn.Module, spec: LightSpec) -> dict[str, int]:
    """Return the module that makes the output of each stage, with the stage's number."""
    found = {}
    for number, name in enumerate(spec.stages, 1):
        while isinstance(
            module := model.get_submodule(name), nn.Sequential
        ):  # it would run a new child itself
            name = f"{name}.{list(dict(module.named_children()))[-1]}"
        found[name] = number
    return found


def _blocks(model: nn.Module, spec: LightSpec) -> dict[str, int]:
    """Return what attention stands behind in each block, with the number of the stage that it belongs to."""
    found = {}
    for name, module in model.named_modules():
        if hasattr(module, "block"):  # inverted residuals: an expansion, a depthwise part, a projection
            place = f"{name}.block.{len(module.block) - 1}.1"
        elif hasattr(module, "branch2") or hasattr(module, "expand3x3"):  # units of ShuffleNet, fire modules
            place = name
        else:
            continue
        found[place] = 1 + sum(_position(stage) < _position(name) for stage in spec.stages)
    return found


def _position(name: str) -> int:
    """Return where a layer stands among those of its network: 4 of ``features.4.1`` and of ``stage4.0``."""
    found = re.search(r"\d+", name)
    assert found is not None
    return int(found[0])


def _channels(model: nn.Module, names: Mapping[str, int]) -> dict[str, int]:
    """Return the channels of what these modules give."""
    found: dict[str, int] = {}

    def count(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        found[name] = output.shape[1]

    hooks = [model.get_submodule(name).register_forward_hook(partial(count, name)) for name in names]
    with evaluating(model), torch.no_grad():
        like = next(model.parameters())
        model(torch.zeros(1, 3, PROBE, PROBE, device=like.device))
    for hook in hooks:
        hook.remove()
    return {name: found[name] for name in names}
