"""A warning before a mistake: what is measured of a classifier's answers, as JSON, words and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spl.classify.evaluation.probabilities import Bin, calibration_error, reliability, temperature_of
from spl.classify.evaluation.risk import Threshold, fewest_images, risk_coverage, threshold_for
from spl.plotting.fonts import drawable, drawn
from spl.plotting.tiles import save

CONFIDENCE = 0.95  # with which the error is promised
INK, BEFORE, AFTER = "#24292f", "#8c959f", "#2f6db3"
COLUMNS, MOST_SHOWN = 8, 40  # of images that are not answered


class Answers(NamedTuple):
    """What a classifier says of some images."""

    predicted: Tensor  # (N,) int64
    raw: Tensor  # (N,) probability before scaling
    scaled: Tensor  # (N,) probability after it
    is_right: Tensor  # (N,) bool


class Warnings(NamedTuple):
    """What is known of a classifier's answers; all but ``answers`` of the second half of the images."""

    temperature: float  # of the first half
    answers: Answers  # of all images
    judged: Answers
    threshold: Threshold | None
    max_error: float

    @property
    def withheld(self) -> list[int]:
        """Places of images not answered, the least probable first: all without a threshold."""
        limit = 2.0 if self.threshold is None else self.threshold.probability
        order = self.answers.scaled.argsort(stable=True).tolist()
        return [place for place in order if float(self.answers.scaled[place]) < limit]

    @property
    def bins(self) -> tuple[list[Bin], list[Bin]]:
        """The bins of the probabilities before and after scaling."""
        return (
            reliability(self.judged.raw, self.judged.is_right),
            reliability(self.judged.scaled, self.judged.is_right),
        )

    def as_json(self) -> dict[str, Any]:
        """Return what JSON holds of it; places are those of the held-out images."""
        before, after = map(calibration_error, self.bins)
        curve = risk_coverage(self.judged.scaled, self.judged.is_right)
        told: dict[str, Any] = {
            "temperature": self.temperature,
            "images": [len(self.answers.scaled) - len(self.judged.scaled), len(self.judged.scaled)],
            "calibration_error": {"before": before, "after": after},
            "error_at_coverage": {
                f"{share:g}": float(curve[max(1, round(share * len(curve))) - 1])
                for share in (0.5, 0.8, 0.9, 0.95, 1.0)
            },
            "area_under_risk": float(curve.mean()),
            "max_error": self.max_error,
            "confidence": CONFIDENCE,
            "fewest_images": fewest_images(self.max_error, CONFIDENCE),
            "threshold": None if self.threshold is None else self.threshold._asdict(),
            "withheld": self.withheld,
        }
        return told | {"sentences": sentences(told)}


def answers_of(logits: Tensor, labels: Tensor, temperature: float) -> Answers:
    """Return the answers of ``logits (N, K)``, of which ``labels (N,)`` are the truth."""
    raw, predicted = logits.double().softmax(dim=1).max(dim=1)
    scaled = (logits.double() / temperature).softmax(dim=1).amax(dim=1)
    return Answers(predicted, raw, scaled, predicted == labels)


def warnings_of(logits: Tensor, labels: Tensor, max_error: float, generator: np.random.Generator) -> Warnings:
    """Return what is known of a classifier's answers to held-out images.

    One half of them, drawn at random, gives the temperature and the thresholds to try; the other half judges
    them, so that no number is of the images that it was chosen on.

    Args:
        logits: ``(N, K)``, at least two images.
        labels: ``(N,)``.
        max_error: that is promised.
        generator: draws the halves.

    Raises:
        ValueError: if there are fewer than two images.
    """
    if len(logits) < 2:
        raise ValueError(f"a warning needs at least 2 held-out images, got {len(logits)}")
    order = torch.from_numpy(generator.permutation(len(logits)))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    temperature = temperature_of(logits[first], labels[first])
    answers = answers_of(logits, labels, temperature)
    judged = Answers(*(field[second] for field in answers))
    threshold = threshold_for(
        answers.scaled[first],
        (judged.scaled, judged.is_right),
        max_error=max_error,
        confidence=CONFIDENCE,
    )
    return Warnings(temperature, answers, judged, threshold, max_error)


def sentences(told: dict[str, Any]) -> list[str]:
    """Return in words what `Warnings.as_json` holds."""
    before, after = told["calibration_error"]["before"], told["calibration_error"]["after"]
    num_chosen, num_judged = told["images"]
    lines = [
        f"expected calibration error {before:.2%}, {after:.2%} with the temperature "
        f"{told['temperature']:.2f} (fitted on {num_chosen:,} held-out images, judged on {num_judged:,})"
    ]
    promise = f"an error of at most {told['max_error']:.2%} with {told['confidence']:.0%} confidence"
    if (found := told["threshold"]) is None:
        lines.append(
            f"no threshold promises {promise}: that takes at least {told['fewest_images']:,} answers "
            f"without a mistake among the {num_judged:,}; raise --max_error"
        )
        return lines
    lines.append(
        f"from a probability of {found['probability']:.3f} on its answers promise {promise}: of "
        f"{num_judged:,} images it answers {found['answered']:,} ({found['answered'] / num_judged:.1%}), "
        f"{found['wrong']:,} wrong"
    )
    return lines


def draw_warning(warnings: Warnings, title: str, path: Path) -> None:
    """Write a PNG: error against the share of images answered, and accuracy against probability."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    figure.suptitle(drawable(title), fontsize=10, color=INK, **drawn([title]))
    risk, trust = figure.subplots(1, 2)
    curve = 100 * risk_coverage(warnings.judged.scaled, warnings.judged.is_right)
    shares = 100 * torch.arange(1, len(curve) + 1) / len(curve)
    risk.plot(shares, curve, color=AFTER)
    risk.axhline(100 * warnings.max_error, color=INK, linewidth=0.8, linestyle=":")
    if warnings.threshold is not None:
        risk.axvline(100 * warnings.threshold.answered / len(curve), color=INK, linewidth=0.8)
    risk.set(
        xlabel="images answered, the most probable first, %", ylabel="wrong among them, %", xlim=(0, 100)
    )
    risk.set_ylim(0, max(1.0, 100 * warnings.max_error, float(curve.max())) * 1.1)
    risk.set_title("error against coverage; dotted: promised", fontsize=9)
    trust.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    for bins, colour, name in zip(
        warnings.bins, (BEFORE, AFTER), ("as it is", "with temperature"), strict=True
    ):
        there = [one for one in bins if one.images]
        error = calibration_error(bins)
        label = f"{name}, off by {error:.1%}"
        trust.plot(
            [one.probability for one in there],
            [one.accuracy for one in there],
            "o-",
            color=colour,
            label=label,
        )
    trust.set(xlabel="probability", ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    trust.set_title("are its probabilities right?", fontsize=9)
    trust.legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, path)


def draw_withheld(
    images: Sequence[Tensor], told: Sequence[tuple[str, float, str]], title: str, path: Path
) -> None:
    """Write a PNG of images that would not be answered, each with its answer, probability and truth.

    Args:
        images: ``(3, H, W)`` uint8 each; none gives a page that says so.
        told: of each the answer, its probability, and the truth.
        title: above.
        path: of the file.
    """
    from matplotlib.figure import Figure

    rows = max(1, -(-len(images) // COLUMNS))
    figure = Figure(figsize=(1.25 * COLUMNS, 1.7 * rows + 0.5), layout="constrained")
    figure.suptitle(drawable(title), fontsize=10, color=INK, **drawn([title]))
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, (answer, probability, truth) in zip(grid.flat, images, told, strict=False):
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        words = f"{drawable(answer)[:14]} {probability:.2f}\n({drawable(truth)[:14]})"
        colour = AFTER if answer == truth else "#b3261e"
        axes.set_title(words, fontsize=7.5, color=colour, **drawn([answer, truth]))
    save(figure, path)
