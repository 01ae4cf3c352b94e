"""Any network by its name: of the residual ones or of the light ones."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from spl.models.image.light import build_light
from spl.models.image.network_table import LIGHT, NETWORKS, lookup
from spl.models.image.resnet import build_resnet


def build_network(
    name: str,
    *,
    num_classes: int,
    attention: str = "none",
    attention_options: Mapping[str, Any] = {},
    attention_per: Literal["block", "stage"] = "block",
    attention_stages: tuple[int, ...] = (),
) -> nn.Module:
    """Return a network of `NETWORKS` with fresh weights: see `build_resnet` and `build_light`.

    Raises:
        ValueError: if there is no such network, or an option does not serve.
    """
    lookup(NETWORKS, name, "network")
    build = build_light if name in LIGHT else build_resnet
    network: nn.Module = build(
        name,
        num_classes=num_classes,
        attention=attention,
        attention_options=attention_options,
        attention_per=attention_per,
        attention_stages=attention_stages,
    )
    return network
