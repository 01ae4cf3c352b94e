"""``spl evaluate classifier``: the scores of a trained classifier on held-out images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spl.classify.evaluation.masks import find_masks, measure_masks
from spl.classify.evaluation.warning import MOST_SHOWN, Warnings, draw_warning, draw_withheld, warnings_of
from spl.classify.load import MovedConfig, read_classifier
from spl.classify.metrics import class_rows, draw_confusion, write_confusion
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import ShareInside
from spl.data.images.datasets import described
from spl.data.loading import Pictures, batches, in_order, plain
from spl.models.image.network_table import NETWORKS
from spl.runs.directory import generator_of
from spl.runs.files import OWN, not_saved, replace_text, writable
from spl.saliency import METHODS


@dataclass(frozen=True, kw_only=True)
class EvaluateClassifierConfig:
    """How a trained classifier is judged."""

    checkpoint: Literal["last", "best"] = "last"  # weights after the last epoch, or after the best one
    data: MovedConfig = field(default_factory=MovedConfig)
    masks: PathName | None = None  # folder with masks of a folder's images, white on the object
    method: str = "grad-cam"  # saliency method to compare with the masks
    max_error: ShareInside = 0.02  # guaranteed on the answered images, with 95 % confidence
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available

    def __post_init__(self) -> None:
        check_fields(self)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.masks is None and self.method != EvaluateClassifierConfig.method:
            raise ValueError(f"method is held against masks, got {self.method} without --masks FOLDER")

    @property
    def file(self) -> str:
        """Name of what is written, without ending."""
        return f"evaluation-{self.checkpoint}"


def evaluate_classifier(folder: str | Path, config: EvaluateClassifierConfig) -> dict[str, Any]:
    """Return the scores of the run in ``folder`` and write them there as JSON and as pictures.

    ``changed`` says in a sentence if the images are not those that training held out, else it is None.
    Beside the confusion matrix: how far its probabilities can be trusted, and which images it would not
    answer to keep ``max_error`` (`Warnings`).

    Raises:
        UsageError: as `read_classifier`, or if the images are of other classes.
        OSError: if what it writes does not fit on the disk.
    """
    folder = Path(folder)
    classifier, sets, run, before = read_classifier(
        folder, config.checkpoint, root=config.data.root, device=config.device
    )
    writable(folder, OWN)
    pictures = Pictures(sets.test, plain(run.data, sets.size), run.seed)
    keys = in_order(len(sets.test.indices), run.recipe.batch_size)
    loader = batches(pictures, keys, num_workers=run.data.num_workers, is_pinned=False)
    masks = None if config.masks is None else find_masks(sets, run.data, Path(config.masks))
    answers: list[tuple[Tensor, Tensor]] = []
    scores = classifier.score(loader, len(sets.classes), answers)
    logits, labels = (torch.cat(parts) for parts in zip(*answers, strict=True))
    warnings = None
    if len(labels) > 1:
        warnings = warnings_of(logits, labels, config.max_error, generator_of(run.seed, "halves"))
    result = {
        "checkpoint": config.checkpoint,
        "run_is_finished": (folder / "result.json").exists(),
        "data": run.data.name,
        "images": len(sets.test.indices),
        "changed": changed(before, described(sets)),
        "files": None if sets.counted is None else sets.counted.as_json(),
        "top1": scores.top1,
        "top5": scores.top5,
        "loss": scores.loss,
        "classes": class_rows(scores.confusion, sets.classes),
        "warning": None if warnings is None else warnings.as_json(),
    }
    if masks is not None:
        layer = NETWORKS[run.model.name].stages[-1]
        result["masks"] = measure_masks(classifier, pictures, masks, config.method, layer)
    title = f"{run.data.name}, {run.model.name}, {config.checkpoint} weights: {scores.top1:.2%}"
    try:
        write_confusion(scores.confusion, sets.classes, folder / f"{config.file}.csv")
        draw_confusion(scores.confusion, sets.classes, title, folder / f"{config.file}.png")
        if warnings is not None:
            draw_warning(warnings, title, folder / f"answers-{config.checkpoint}.png")
            _draw_withheld(
                warnings, pictures, labels, sets.classes, folder / f"unanswered-{config.checkpoint}.png"
            )
        replace_text(folder / f"{config.file}.json", json.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise not_saved("the evaluation", folder, error) from error
    return result


def changed(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return a sentence on held-out images, as `described`, that are not those of before; None: they are."""
    if before["test"] == now["test"]:
        return None
    counts = f"{before['test']['images']:,} then, {now['test']['images']:,} now"
    return (
        f"the held-out images are not those of the training ({counts}): it may have learned from some of "
        "them, and the scores be too good"
    )


def _draw_withheld(
    warnings: Warnings, pictures: Pictures, labels: Tensor, classes: Sequence[str], path: Path
) -> None:
    """Draw the least probable of the images that would not be answered."""
    places = warnings.withheld
    shown, told, answers = places[:MOST_SHOWN], [], warnings.answers
    images: list[Tensor] = []
    if shown:
        (batch,) = batches(pictures, [[(0, place) for place in shown]], num_workers=0, is_pinned=False)
        images = list(batch.images)
    for place in shown:
        answer, truth = (classes[int(one[place])] for one in (answers.predicted, labels))
        told.append((answer, float(answers.scaled[place]), truth))
    title = f"{len(places):,} of {len(labels):,} held-out images that it would not answer"
    if len(shown) < len(places):
        title += f", the {len(shown)} least probable"
    draw_withheld(images, told, f"{title}: its answer, probability (truth)", path)
