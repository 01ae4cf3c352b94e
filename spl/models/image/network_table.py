"""The networks by name: what tells one from another. How they are built is in ``resnet`` and in ``light``."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeVar

from spl.config.errors import UsageError

T = TypeVar("T")
Family = Literal["cifar", "stl", "imagenet", "small"]
IMAGE_SIZES: dict[Family, int] = {"cifar": 32, "stl": 96, "imagenet": 224, "small": 32}  # usual height, width


@dataclass(frozen=True, kw_only=True)
class ResNetSpec:
    """What tells one residual network from another."""

    family: Family
    depths: tuple[int, ...]  # blocks of each stage
    width: int  # channels that the first stage gives; each further stage doubles them
    stem: int = 64  # channels
    inner: int | None = None  # channels of the first stage's 3 x 3 in a bottleneck; None: basic blocks
    groups: int = 1  # of the 3 x 3 in a bottleneck

    @property
    def image_size(self) -> int:
        """Height and width of the pictures that the network was made for; it takes any."""
        return IMAGE_SIZES[self.family]

    @property
    def least_size(self) -> int:
        """Height and width of the smallest picture that it takes."""
        return 1

    @property
    def is_projected(self) -> bool:
        """Whether shortcuts are projections and bottlenecks stride in their 3 x 3, as in torchvision's."""
        return self.family in ("imagenet", "small")

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of its stages, in their order."""
        return tuple(f"layer{1 + stage}" for stage in range(len(self.depths)))

    @property
    def head(self) -> str:
        """The name of the layer that gives the logits."""
        return "fc"


@dataclass(frozen=True, kw_only=True)
class LightSpec:
    """A light network of torchvision's, for 224 x 224 pictures."""

    stages: tuple[
        str, ...
    ]  # the last layer of each resolution: there maps are taken, and attention may stand
    head: str  # the layer that gives the logits
    least_size: int = 1  # height and width of the smallest picture that it takes
    family: Family = "imagenet"

    @property
    def image_size(self) -> int:
        """Height and width of the pictures that the network was made for."""
        return IMAGE_SIZES[self.family]


def _imagenet_like(family: Family) -> dict[str, ResNetSpec]:
    return {
        "resnet18": ResNetSpec(family=family, depths=(2, 2, 2, 2), width=64),
        "resnet34": ResNetSpec(family=family, depths=(3, 4, 6, 3), width=64),
        "resnet50": ResNetSpec(family=family, depths=(3, 4, 6, 3), width=256, inner=64),
    }


def _with_wide(family: Family) -> dict[str, ResNetSpec]:
    """Return the networks of the CSM papers; the wide one's stem is not widened."""
    wide = ResNetSpec(family=family, depths=(2, 2, 2, 2), width=96)
    return {**_imagenet_like(family), "wrn18-1.5": wide}


RESNETS: dict[str, ResNetSpec] = {
    "resnet20": ResNetSpec(family="cifar", depths=(3, 3, 3), width=16, stem=16),
    "resnet32": ResNetSpec(family="cifar", depths=(5, 5, 5), width=16, stem=16),
    "resnet56": ResNetSpec(family="cifar", depths=(9, 9, 9), width=16, stem=16),
    "resnet110": ResNetSpec(family="cifar", depths=(18, 18, 18), width=16, stem=16),
    "wrn16-8": ResNetSpec(family="cifar", depths=(2, 2, 2), width=128, stem=16),
    "resnext29-8x64d": ResNetSpec(family="cifar", depths=(3, 3, 3), width=256, inner=512, groups=8),
    **{f"{name}-stl": spec for name, spec in _imagenet_like("stl").items()},
    "resnet101-stl": ResNetSpec(family="stl", depths=(3, 4, 23, 3), width=256, inner=64),
    "wrn18-2-stl": ResNetSpec(family="stl", depths=(2, 2, 2, 2), width=128, stem=128),
    "resnext50-32x4d-stl": ResNetSpec(family="stl", depths=(3, 4, 6, 3), width=256, inner=128, groups=32),
    **_with_wide("imagenet"),
    **{f"{name}-small": spec for name, spec in _with_wide("small").items()},
}

# By torchvision's own names.
LIGHT: dict[str, LightSpec] = {
    "mobilenet_v3_small": LightSpec(
        stages=("features.1", "features.3", "features.8", "features.12"), head="classifier.3"
    ),
    "mobilenet_v3_large": LightSpec(
        stages=("features.1", "features.3", "features.6", "features.12", "features.16"), head="classifier.3"
    ),
    "shufflenet_v2_x1_0": LightSpec(stages=("stage2", "stage3", "conv5"), head="fc"),
    "squeezenet1_1": LightSpec(
        stages=("features.4", "features.7", "features.12"), head="classifier.1", least_size=17
    ),
    "efficientnet_b0": LightSpec(
        stages=("features.1", "features.2", "features.3", "features.5", "features.8"), head="classifier.1"
    ),
}
NETWORKS: Mapping[str, ResNetSpec | LightSpec] = {**RESNETS, **LIGHT}


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Return the entry of a table; `ValueError` with the nearest name, if any, where there is none."""
    if name not in table:
        near = get_close_matches(name, table, 1)
        hint = f"did you mean {near[0]!r}? There" if near else "there"
        raise ValueError(f"there is no {what} {name!r}; {hint} are {', '.join(table)}")
    return table[name]


def check_size(name: str, size: int, option: str) -> None:
    """Refuse pictures that are too small for a network.

    Raises:
        UsageError: naming the ``option`` that says how large they are.
    """
    if size < (least := NETWORKS[name].least_size):
        raise UsageError(f"{name} needs pictures of at least {least} x {least}, got {option} {size}")


def check_stages(spec: ResNetSpec | LightSpec, stages: tuple[int, ...], name: str, attention: str) -> None:
    """Refuse ``stages``, counted from 1, that a network does not have, or that an attention cannot stand in.

    Raises:
        ValueError: if there is no such stage, one is named twice, or ``attention`` stands in none.
    """
    count = len(spec.stages)
    for stage in stages:
        if not 1 <= stage <= count:
            raise ValueError(f"attention_stages must be in 1..{count}, the stages of {name}, got {stage}")
    if len(set(stages)) < len(stages):
        raise ValueError(f"attention_stages must name each stage once, got {','.join(map(str, stages))}")
    if attention in ("none", "rcca") and stages:
        raise ValueError(f"attention {attention!r} stands in no stage; leave attention_stages out")
