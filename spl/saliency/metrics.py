"""Measures of a map: the model's confidence in an image of which only the map's parts are shown.

A *confidence* is a softmax probability of what was chosen on the full image: over classes for a classifier,
over actions for Q-values. Nothing is drawn or trained here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spl.eval_mode import borrowed, lent
from spl.saliency.layers import Inputs, Maps, seen_places, several, times
from spl.saliency.targets import chosen


def confidence(model: nn.Module, inputs: Inputs, index: Tensor) -> Tensor:
    """Return ``(B,)``: the softmax over the outputs ``(B, K)`` at ``index (B,)``, in evaluation mode."""
    with borrowed(model), torch.no_grad():
        outputs: Tensor = model(*map(lent, several(inputs)))
        return chosen(index)(outputs.float().softmax(dim=1))


def explained(inputs: Inputs, maps: Maps) -> Inputs:
    """Return the inputs, each times its map; one whose map is None stays.

    Args:
        inputs: as the model takes them, normalised: 0 is then the mean colour.
        maps: ``(B, H, W)`` in 0..1, as the methods of `spl.saliency` give them.
    """
    if isinstance(inputs, Tensor):
        assert isinstance(maps, Tensor)
        return times(lent(inputs), maps)
    masked = [lent(x) for x in inputs]
    for place, one in zip(seen_places(inputs), several(maps), strict=True):  # type: ignore[arg-type]
        masked[place] = masked[place] if one is None else times(masked[place], one)
    return tuple(masked)


def drops(full: Tensor, masked: Tensor) -> Tensor:
    """Return the drop of each image, in percent: ``100 max(0, Y - O) / Y``.

    Args:
        full: ``Y (N,)``, confidence on the images, above 0.
        masked: ``O (N,)``, confidence on the images times their maps.

    Raises:
        ValueError: if the shapes differ, there is no image, or a confidence does not fit.
    """
    if full.shape != masked.shape or full.ndim != 1 or not len(full):
        raise ValueError(
            f"confidences must have one shape (N,) of at least one image, got {tuple(full.shape)} and "
            f"{tuple(masked.shape)}"
        )
    if not (full > 0).all() or not (masked >= 0).all():
        raise ValueError(
            "confidences must be positive on the images and not negative with maps, got "
            f"{float(full.min())} and {float(masked.min())}"
        )
    return 100 * (full - masked).clamp(min=0) / full


def average_drop(full: Tensor, masked: Tensor) -> float:
    """Return ``100 / N sum_i max(0, Y_i - O_i) / Y_i``, in percent; lower is better.

    Arguments and raises: as `drops`.

    Source: Chattopadhay et al. (2018), Grad-CAM++, section 4.1.1. The printed formula omits ``1 / N``, and
    the text says averaged.
    """
    return float(drops(full, masked).cpu().double().mean())


def average_increase(full: Tensor, masked: Tensor) -> float:
    """Return ``100 / N #{Y_i < O_i}``, in percent; higher is better, and a tie is no increase.

    Arguments, raises and source: as `average_drop`.
    """
    drops(full, masked)  # checks them
    return float(100 * (full < masked).cpu().double().mean())


def win_rate(full: Tensor, masked: Tensor, other: Tensor) -> float:
    """Return the share of images, in percent, whose drop is smaller than with the ``other`` maps ``(N,)``.

    Others, raises and source: as `average_drop`. Drops that are alike are won by neither.
    """
    return float(100 * (drops(full, masked) < drops(full, other)).cpu().double().mean())


class Curve(NamedTuple):
    """Confidence as more and more of an image is shown, or taken away."""

    shares: Tensor  # (S + 1,) of the pixels, from 0 to 1
    confidences: Tensor  # (B, S + 1)

    @property
    def areas(self) -> Tensor:
        """The areas ``(B,)`` below the curves, by trapezoids, in 0..1."""
        return torch.trapezoid(self.confidences, self.shares, dim=1)


def insertion(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    index: Tensor,
    *,
    num_steps: int = 16,
    baseline: float = 0.0,
) -> Curve:
    """Return the confidence as pixels are shown, those first that the map rates highest; high is better.

    Args:
        model: of one input.
        images: ``(B, ..., H, W)``, as the model takes them.
        maps: ``(B, H, W)``; of pixels that it rates alike the first in reading order comes first.
        index: ``(B,)``, what was chosen on the full image.
        num_steps: ``S``, a pass each.
        baseline: what stands where nothing is shown; 0 of normalised pictures is their mean colour.

    Source: Petsiuk et al. (2018), RISE, algorithm 1. Differs: they begin with a blurred image.
    """
    return _curve(model, torch.full_like(images, baseline), images, maps, index, num_steps)


def deletion(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    index: Tensor,
    *,
    num_steps: int = 16,
    baseline: float = 0.0,
) -> Curve:
    """Return the confidence as pixels are taken away, those first that the map rates highest; low is better.

    Arguments and source: as `insertion`.
    """
    return _curve(model, images, torch.full_like(images, baseline), maps, index, num_steps)


def _curve(
    model: nn.Module, first: Tensor, last: Tensor, maps: Tensor, index: Tensor, num_steps: int
) -> Curve:
    """Return the confidence on the way from ``first`` to ``last``, pixel by pixel."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    ranks = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # (B, H W), 0 first
    ranks = ranks.reshape(len(maps), *[1] * (first.ndim - 3), *maps.shape[1:])
    num_pixels = maps[0].numel()
    counts = [round(step / num_steps * num_pixels) for step in range(num_steps + 1)]
    values = [confidence(model, torch.where(ranks < count, last, first), index) for count in counts]
    shares = torch.tensor(counts, dtype=torch.float32, device=maps.device) / num_pixels
    return Curve(shares, torch.stack(values, dim=1))


def pointing_accuracy(maps: Tensor, masks: Tensor) -> float:
    """Return the share of images whose map is highest within the mask, in 0..1; a map of zeros misses.

    Args:
        maps: ``(B, H, W)``.
        masks: ``(B, H, W)`` bool: where the thing is.

    Raises:
        ValueError: if the shapes differ.

    Source: Zhang et al. (2016), Top-down neural attention by excitation backprop, the pointing game. Differs:
    there is no margin around the mask.
    """
    if maps.shape != masks.shape or maps.ndim != 3 or not len(maps):
        raise ValueError(
            f"maps and masks must have one shape (B, H, W), got {tuple(maps.shape)} and {tuple(masks.shape)}"
        )
    highest, places = maps.flatten(1).max(dim=1, keepdim=True)
    is_hit = masks.flatten(1).gather(1, places) & (highest > 0)
    return float(is_hit.cpu().double().mean())


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share ``(B,)`` of each map's sum that lies within the mask; 0 for a map of zeros.

    Args:
        maps: ``(B, H, W)``, not negative.
        masks: ``(B, H, W)`` bool: where the thing is.

    Source: Wang et al. (2020), Score-CAM, section 4.3, the energy-based pointing game. Differs: a mask, of
    any form, stands for their bounding box.
    """
    inside, all_of = (maps * masks).sum(dim=(1, 2)), maps.sum(dim=(1, 2))
    return torch.where(all_of > 0, inside / all_of, 0.0)


class Measured(NamedTuple):
    """How maps of ``N`` images fare, image by image; `summary` tells it in a few numbers."""

    full: Tensor  # (N,) confidence on the image
    masked: Tensor  # (N,) confidence on the image times its map
    insertion: Tensor  # (N, S + 1) confidences
    deletion: Tensor  # (N, S + 1) confidences
    is_even: Tensor  # (N,) bool: the same everywhere, so it explains nothing
    shares: Tensor  # (S + 1,) of the pixels

    def summary(self) -> dict[str, float]:
        """Return average drop and increase in percent, and the mean areas of both curves in 0..1."""
        return {
            "average_drop": average_drop(self.full, self.masked),
            "average_increase": average_increase(self.full, self.masked),
            "insertion": float(Curve(self.shares, self.insertion).areas.cpu().double().mean()),
            "deletion": float(Curve(self.shares, self.deletion).areas.cpu().double().mean()),
        }


def measure(
    model: nn.Module, images: Tensor, maps: Tensor, index: Tensor, *, num_steps: int = 16
) -> Measured:
    """Return how the maps ``(B, H, W)`` of ``images (B, ..., H, W)`` fare; arguments as `insertion`."""
    shown = insertion(model, images, maps, index, num_steps=num_steps)
    taken = deletion(model, images, maps, index, num_steps=num_steps)
    full, masked = (confidence(model, x, index) for x in (images, explained(images, maps)))
    flat = maps.flatten(1)
    is_even = flat.amax(dim=1) == flat.amin(dim=1)
    return Measured(full, masked, shown.confidences, taken.confidences, is_even, shown.shares)


def together(parts: Sequence[Measured]) -> Measured:
    """Return the measures of all images of several batches."""
    full, masked, shown, taken, is_even = (torch.cat([part[place] for part in parts]) for place in range(5))
    return Measured(full, masked, shown, taken, is_even, parts[0].shares)
