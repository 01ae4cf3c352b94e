"""``spl models``: the cost of our networks, beside the figures that the HAM paper prints.

The networks are those of ``spl.models.image.network_table``, counted as ``spl.models.image.cost`` says.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from textwrap import fill
from typing import NamedTuple, TextIO

import torch

from spl.attention import ATTENTION
from spl.config.fields import check_fields
from spl.config.ranges import Count, Side
from spl.models.image.cost import Cost, forward_cost, num_parameters
from spl.models.image.light import takes
from spl.models.image.network_table import NETWORKS, check_size, lookup
from spl.models.image.networks import build_network
from spl.runs.logger import print_table

NUM_CLASSES = {"cifar": 10, "stl": 10, "imagenet": 1000, "small": 10}  # by family
TOLERANCE = 13_500  # parameters

# Millions of parameters and GFLOPs as printed, by the attention of `COLUMNS`. Source: Li et al. (2022), "HAM:
# Hybrid attention module in deep convolutional neural networks for image classification", tables 4, 5 and 6.
COLUMNS = ("none", "se", "eca", "cbam", "rcca", "ham")
PRINTED: dict[str, tuple[tuple[float, float], ...]] = {
    "resnet20": ((0.26, 0.08), (0.27, 0.08), (0.26, 0.08), (0.27, 0.08), (0.28, 0.09), (0.26, 0.08)),
    "resnet32": ((0.46, 0.14), (0.47, 0.14), (0.46, 0.14), (0.47, 0.14), (0.48, 0.14), (0.46, 0.14)),
    "resnet56": ((0.85, 0.25), (0.86, 0.25), (0.85, 0.25), (0.86, 0.26), (0.87, 0.26), (0.85, 0.26)),
    "resnet110": ((1.72, 0.51), (1.74, 0.51), (1.72, 0.51), (1.74, 0.52), (1.74, 0.51), (1.73, 0.53)),
    "wrn16-8": ((10.79, 3.08), (10.87, 3.08), (10.79, 3.10), (10.87, 3.08), (12.31, 3.28), (10.79, 3.10)),
    "resnext29-8x64d": (
        *((33.81, 9.88), (34.32, 9.88), (33.81, 9.96)),
        *((34.32, 9.89), (39.86, 10.66), (33.81, 9.97)),
    ),
    "resnet18-stl": (
        *((11.00, 2.53), (11.09, 2.53), (11.01, 2.55)),
        *((11.09, 2.53), (12.52, 2.64), (11.01, 2.55)),
    ),
    "resnet34-stl": (
        *((21.11, 5.27), (21.27, 5.27), (21.13, 5.30)),
        *((21.27, 5.28), (22.63, 5.38), (21.13, 5.31)),
    ),
    "resnet50-stl": (
        *((20.73, 5.06), (23.25, 5.08), (20.82, 5.57)),
        *((23.25, 5.09), (44.99, 6.85), (20.82, 5.60)),
    ),
    "resnet101-stl": (
        *((39.72, 10.56), (44.47, 10.59), (39.90, 11.43)),
        *((44.47, 10.62), (63.98, 12.35), (39.90, 11.48)),
    ),
    "wrn18-2-stl": (
        *((43.98, 10.03), (44.32, 10.03), (44.00, 10.09)),
        *((44.33, 10.04), (50.03, 10.48), (44.00, 10.10)),
    ),
    "resnext50-32x4d-stl": (
        *((21.14, 4.93), (23.65, 4.94), (21.22, 5.44)),
        *((23.66, 4.96), (45.40, 6.72), (21.23, 5.46)),
    ),
}
WHY_NOT = (
    "Not reproducible: the paper counts moving statistics and the classifier here, and only here.",
    "Not reproducible: 0.936 M of the paper's weights do no arithmetic; no network of this name has them.",
    "Not reproducible: the paper counts k weights per channel where a convolution over channels has k.",
    "Not reproducible: the paper's two criss-cross passes do not share their weights.",
)


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """Which networks are counted, and for what."""

    model: tuple[str, ...] = tuple(NETWORKS)  # networks to list
    attention: tuple[str, ...] = ("none",)  # attention modules, each inserted into each network
    num_classes: Count | None = None  # of the classifier; null: 10, and 1000 for ImageNet's networks
    image_size: Side | None = None  # rows and columns; null: 32, 96 or 224, as the network expects

    def __post_init__(self) -> None:
        check_fields(self)
        for name in self.model:
            lookup(NETWORKS, name, "network")
        for name in self.attention:
            lookup(ATTENTION, name, "attention")
        if not any(takes(*pair) for pair in product(self.model, self.attention)):
            raise ValueError(
                f"attention {', '.join(self.attention)} is for residual networks alone, got none"
            )


class Counted(NamedTuple):
    """One row of the table."""

    model: str
    attention: str
    num_parameters: int
    num_classifier: int  # of these, parameters of the last layer
    image_size: int
    cost: Cost  # of one picture


def count_models(config: ModelsConfig) -> Iterator[Counted]:
    """Count each network with each attention module that it takes; the weights are never made.

    Raises:
        UsageError: if a network does not take pictures of that size.
    """
    for name in config.model:
        spec = NETWORKS[name]
        num_classes = NUM_CLASSES[spec.family] if config.num_classes is None else config.num_classes
        image_size = spec.image_size if config.image_size is None else config.image_size
        check_size(name, image_size, "image_size")
        for attention in config.attention:
            if not takes(name, attention):
                continue
            with torch.device("meta"):
                model = build_network(name, num_classes=num_classes, attention=attention)
            cost = forward_cost(model, (1, 3, image_size, image_size))
            head = num_parameters(model.get_submodule(spec.head))
            yield Counted(name, attention, num_parameters(model), head, image_size, cost)


def printed(model: str, attention: str) -> tuple[float, float] | None:
    """Return the HAM paper's millions of parameters and GFLOPs, None where it has none."""
    if model not in PRINTED or attention not in COLUMNS:
        return None
    return PRINTED[model][COLUMNS.index(attention)]


def verdict(model: str, attention: str, bare: int) -> str:
    """Return how a count without the classifier stands to the paper's: met, near, or no with a reason.

    Met is what equals the printed figure by rounding or by truncation; the paper does both. Near is what lies
    within `TOLERANCE` of it. Nothing is said where the paper has no figure.
    """
    figures = printed(model, attention)
    if figures is None:
        return ""
    hundredths = round(figures[0] * 100)
    if hundredths in (bare // 10_000, (bare + 5_000) // 10_000):
        return "met"
    if abs(bare - hundredths * 10_000) <= TOLERANCE:
        return "near"
    reason = why_not(model, attention)
    return "no" if reason is None else f"no ({reason})"


def why_not(model: str, attention: str) -> int | None:
    """Return which of `WHY_NOT`, from 1, keeps a row from the paper's count."""
    if model.startswith("resnext"):
        return 1 if model.startswith("resnext29") else 2
    return {"eca": 3, "ham": 3, "rcca": 4}.get(attention)


def cells(one: Counted) -> list[str]:
    """Return a row as the table shows it."""
    bare = one.num_parameters - one.num_classifier
    figures = printed(one.model, one.attention)
    is_same_size = one.image_size == NETWORKS[one.model].image_size
    return [
        one.model,
        one.attention,
        f"{one.num_parameters:,}",
        f"{one.cost.macs / 1e9:#.4g}",
        f"{one.cost.peak_activation_bytes / 2**20:.2f}",
        f"{bare / 1e6:.3f}",
        "" if figures is None else f"{figures[0]:.2f}",
        verdict(one.model, one.attention, bare),
        "" if figures is None or not is_same_size else f"{figures[1]:.2f}",
    ]


def print_models(config: ModelsConfig, file: TextIO | None = None) -> None:
    """Print the table and what its columns mean to standard output, or to ``file``."""
    file = sys.stdout if file is None else file
    rows = [cells(one) for one in count_models(config)]
    columns = ["network", "attention", "parameters", "GMACs", "MiB", "bare M", "HAM M", "equal", "HAM GFLOPs"]
    print_table("Networks", columns, rows, file)
    sentences = explained({row[-2] for row in rows})
    if len(rows) < len(config.model) * len(config.attention):
        sentences.append(
            "Left out: light networks with rcca and shared, which are for residual networks alone."
        )
    for sentence in sentences:
        print(fill(sentence, width=110), file=file)


def explained(verdicts: set[str]) -> list[str]:
    """Return what the columns mean, and the reasons that the verdicts refer to."""
    sentences = [
        "GMACs: 10^9 multiply-accumulates of one picture; FLOPs are twice as many. Pooling and scaling "
        "count nothing, in whatever way a module computes them. MiB: the most memory of "
        "activations alive at once, one picture, float32, no gradients.",
    ]
    if verdicts - {""}:
        sentences.append(
            "HAM: as Li et al. (2022) print it, who count no classifier, as the bare millions do. Met: equal "
            "by rounding or truncation; near: within 0.0135 M. Their GFLOPs are about 2 GMACs plus 1 %; with "
            "eca and ham up to 12 % more, as if their convolution joined every channel with every other."
        )
    reasons = enumerate(WHY_NOT, 1)
    return sentences + [f"({n}) {reason}" for n, reason in reasons if f"no ({n})" in verdicts]
