"""A classifier's metrics: accuracies, per class, and the confusion matrix, as table and figure."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spl.plotting.fonts import drawable, drawn
from spl.plotting.tiles import save
from spl.training.shared import summed

LONGEST = 20  # letters of a name that fit there
MOST_NAMED = 40  # classes whose names fit beside the picture


class Scores(NamedTuple):
    """How a classifier did on a set of images."""

    loss: float  # mean cross-entropy, nats
    top1: float  # share of images whose class has the highest score
    top5: float  # share whose class is among the five highest (or all, if there are fewer)
    confusion: Tensor  # (K, K) int64: images of the class of the row, taken for that of the column


class Tally:
    """Adds batches up to `Scores`, on the device of the logits.

    Args:
        num_classes: ``K``.
        device: of the logits.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.num_classes = num_classes
        self._confusion = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)
        precise = torch.float32 if device.type == "mps" else torch.float64  # which MPS has not
        self._loss = torch.zeros((), dtype=precise, device=device)
        self._in_top5 = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Count the logits ``(B, K)`` of images with ``labels (B,)`` and ``losses (B,)``."""
        highest = logits.topk(min(5, self.num_classes), dim=1).indices  # (B, 5)
        self._in_top5 += (highest == labels[:, None]).sum()
        cells = labels * self.num_classes + highest[:, 0]
        self._confusion.index_add_(0, cells, torch.ones_like(cells))  # bincount would wait for the device
        self._loss += losses.sum()

    def scores(self) -> Scores:
        """Return the scores of all that was added, by all processes that share it.

        Raises:
            ValueError: if nothing was.
        """
        confusion = summed(self._confusion).reshape(self.num_classes, self.num_classes).cpu()
        if (total := int(confusion.sum())) == 0:
            raise ValueError("there must be at least one image to score, got none")
        return Scores(
            loss=float(summed(self._loss)) / total,
            top1=int(confusion.trace()) / total,
            top5=int(summed(self._in_top5)) / total,
            confusion=confusion,
        )


def class_rows(confusion: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return what became of each class, the worst first.

    Recall is the share of its images that were named right, precision the share of the images given its name
    that are of it; None where there are no such images. ``confused_with`` is the class its wrong ones went to
    most often.

    Args:
        confusion: ``(K, K)``, rows the truth.
        classes: names.
    """
    rows = []
    for index, name in enumerate(classes):
        images, named = int(confusion[index].sum()), int(confusion[:, index].sum())
        right = int(confusion[index, index])
        wrong = confusion[index].clone()
        wrong[index] = 0
        rows.append(
            {
                "class": name,
                "images": images,
                "recall": right / images if images else None,
                "precision": right / named if named else None,
                "confused_with": classes[int(wrong.argmax())] if images > right else None,
            }
        )
    return sorted(rows, key=lambda row: (row["recall"] is None, row["recall"]))


def draw_confusion(confusion: Tensor, classes: Sequence[str], title: str, path: Path) -> None:
    """Write a picture of the confusion matrix: each row's shares as shades, and its counts where they fit.

    Args:
        confusion: ``(K, K)``, rows the truth.
        classes: names.
        title: above it.
        path: of the PNG file.
    """
    from matplotlib.figure import Figure

    counts = confusion.numpy()
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    side = min(14.0, 2.5 + 0.45 * len(classes))
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
    axes.set(xlabel="taken for", ylabel="class")
    axes.set_title(drawable(title), **drawn([title]))  # a class may be called $5
    if len(classes) <= MOST_NAMED:
        turned = 90 if max(len(drawable(name)) for name in classes) > 3 else 0
        named = [
            name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in map(drawable, classes)
        ]
        axes.set_xticks(range(len(classes)), named, rotation=turned, **drawn(classes))
        axes.set_yticks(range(len(classes)), named, **drawn(classes))
    if len(classes) <= MOST_NAMED and counts.max() < 1_000:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, size=8)
    save(figure, path)


def write_confusion(confusion: Tensor, classes: Sequence[str], path: Path) -> None:
    """Write the confusion matrix as CSV: a row for each class, a column for what it was taken for."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", *classes])
        writer.writerows([name, *row] for name, row in zip(classes, confusion.tolist(), strict=True))
