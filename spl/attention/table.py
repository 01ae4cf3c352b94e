"""The attention modules by name; their code is in their own files."""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, get_args

from torch import nn

from spl.attention.cbam import CBAM
from spl.attention.csm import CSM, ChannelAttention, PositionAttention
from spl.attention.eca import ECA
from spl.attention.ham import HAM
from spl.attention.rcca import RCCA
from spl.attention.se import SE
from spl.attention.shared import SharedSE


@wraps(CSM, updated=())
def csm(channels: int, **options: Any) -> CSM:
    """Return a CSM whose position attention starts as the identity; a pooled gate has no such residual."""
    return CSM(channels, **{"residual": options.get("spatial") != "pooled", **options})


# Each is called with the number of channels, and with options of its own by keyword.
ATTENTION: dict[str, Callable[..., nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "se": SE,
    "eca": ECA,
    "cbam": CBAM,
    "rcca": RCCA,
    "ham": HAM,
    "csm": csm,
    "cam": ChannelAttention,
    "sam": partial(PositionAttention, residual=True),
    "shared": SharedSE,
}

KINDS = {
    int: "an integer",
    float: "a number",
    bool: "True or False",
    str: "a text",
    type(None): "None",
}  # what options can be


def check_options(name: str, module: Callable[..., nn.Module], options: Mapping[str, Any]) -> None:
    """Check ``options`` against the signature of ``module``, which stands for the attention ``name``.

    Which values of the right kind make sense, the module says itself.

    Raises:
        ValueError: for an option that the module has not, or a value of another kind than its annotation.
    """
    _, *known = inspect.signature(module).parameters.values()  # the first is the number of channels
    kinds = {parameter.name: get_args(parameter.annotation) or (parameter.annotation,) for parameter in known}
    for option, value in options.items():
        if option not in kinds:
            raise ValueError(f"{name!r} has no option {option!r}; it has {', '.join(kinds) or 'none'}")
        if not any(_is(value, kind) for kind in kinds[option]):
            expected = " or ".join(KINDS[kind] for kind in kinds[option])
            raise ValueError(f"{option} of {name} must be {expected}, got {value!r}")


def _is(value: object, kind: type) -> bool:
    """Whether ``value`` is of ``kind``: True is no number, an integer is a number, infinity is none."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
