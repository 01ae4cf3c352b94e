"""The gates of channel attention at each stage: one per block, or one for the whole stage.

Such attention has no map over the image; its gates are drawn as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spl.attention.maps import AttentionMap, attention_maps
from spl.eval_mode import evaluating
from spl.explain.subjects import Subject
from spl.plotting.fonts import drawable, drawn
from spl.plotting.tiles import save

WIDTH, HEIGHT = 2.6, 1.25  # inches of a cell


@dataclass(frozen=True)
class Gates:
    """The gates of channels within a layer of a run."""

    subject: Subject
    values: Tensor  # (modules, B, C)
    num_others: int = 0  # modules of the layer whose gates are of another number of channels

    @property
    def likeness(self) -> float | None:
        """How alike they are: Pearson's correlation over channels, mean over images and pairs of modules.

        None for a single module. Where it is 1, one module for all blocks would have done.
        """
        count = len(self.values)
        if count < 2:
            return None
        centred = self.values - self.values.mean(dim=2, keepdim=True)
        unit = torch.nn.functional.normalize(centred, dim=2)  # (modules, B, C)
        r = torch.einsum("mbc,nbc->mn", unit, unit) / unit.shape[1]
        return float((r.sum() - r.trace()) / (count * (count - 1)))


def gates_of(subject: Subject, images: Tensor, batch_size: int) -> Gates | None:
    """Return the gates of channels within a subject's layer on images; None without any.

    Of gates of several widths, as in layers whose blocks widen, those as wide as the last one.

    Args:
        subject: whose layer.
        images: ``(B, 3, H, W)`` uint8.
        batch_size: images at a time.
    """
    if not any(isinstance(module, AttentionMap) for module in subject.model.modules()):
        return None
    parts: list[Tensor] = []
    num_others = 0
    for some in torch.split(images, batch_size):
        inputs = subject.classifier.inputs(some)
        with evaluating(subject.model), torch.no_grad(), attention_maps(subject.model) as maps:
            subject.model(inputs)
        layer = f"{subject.layer}."  # which may be the module of the gates itself
        within = [one for name, one in maps.items() if f"{name}.".startswith(layer) and _is_gate(one)]
        if not within:
            return None
        alike = [one for one in within if one.shape == within[-1].shape]
        num_others = len(within) - len(alike)
        parts.append(torch.stack(alike).flatten(2).float().cpu())
    return Gates(subject, torch.cat(parts, dim=1), num_others)


def _is_gate(one: Tensor) -> bool:
    """Whether it is of channels: a map over a single position has one channel, a gate several."""
    return one.ndim == 4 and one.shape[2:] == (1, 1) and one.shape[1] > 1


def draw_gates(gates: Sequence[Gates], path: Path) -> None:
    """Write a PNG: a row for each run and a column for each layer; in a cell a line for each module.

    A column of a cell is a channel, its colour the mean gate over the images.
    """
    names, layers = (
        list(dict.fromkeys(getattr(one.subject, what) for one in gates)) for what in ("name", "layer")
    )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH * len(layers) + 1, HEIGHT * len(names) + 0.5), layout="constrained")
    grid = figure.subplots(len(names), len(layers), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    means = [one.values.mean(dim=1) for one in gates]  # (modules, C) each
    values = torch.cat([mean.flatten() for mean in means])
    shown: Any = None
    for one, mean in zip(gates, means, strict=True):
        axes = grid[names.index(one.subject.name), layers.index(one.subject.layer)]
        axes.set_axis_on()
        shown = axes.imshow(
            mean.numpy(),
            vmin=float(values.min()),
            vmax=float(values.max()),
            aspect="auto",
            interpolation="nearest",
        )
        count, channels = mean.shape
        axes.set(xticks=[0, channels - 1], yticks=range(count) if count > 1 else [])
        axes.set_xticklabels(["1", str(channels)])
        axes.set_yticklabels([f"block {1 + number}" for number in range(count)] if count > 1 else [])
        axes.tick_params(labelsize=7, length=2)
        told = (
            "one gate" if one.likeness is None else f"{count} gates, r = {round(one.likeness, 2) + 0.0:.2f}"
        )
        others = f", {one.num_others} of other widths left out" if one.num_others else ""
        name = f"{one.subject.name}, {one.subject.layer}: {told}{others}"
        axes.set_title(drawable(name), fontsize=8, **drawn([name]))
    bar = figure.colorbar(shown, ax=grid, shrink=0.8, aspect=30)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("mean gate of a channel", fontsize=8)
    save(figure, path)
