"""A classifier in training: what it counts, evaluates and writes in its run directory."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spl.classify.config import TrainClassifierConfig
from spl.classify.metrics import Scores, class_rows, draw_confusion, write_confusion
from spl.classify.model import Update, build_classifier, start
from spl.config.errors import RunError
from spl.data.images.datasets import ImageSets, described
from spl.data.loading import Pictures, batches, in_order, plain
from spl.models.image.cost import num_parameters
from spl.processes.ranks import num_ranks, rank
from spl.runs import checkpoint
from spl.runs.files import replace_text


class Progress:
    """Where a run stands between two epochs' ends, and the best of them."""

    def __init__(self, device: torch.device) -> None:
        self.begin_epoch(device)
        self.best_top1, self.best_epoch = -1.0, 0
        self.rows: list[dict[str, float]] = []  # of the epochs so far

    def begin_epoch(self, device: torch.device) -> None:
        """Begin to count again."""
        self.loss_sum = torch.zeros((), device=device)  # over the images of this epoch
        self.num_right = torch.zeros((), dtype=torch.int64, device=device)  # of them, named right
        self.num_seen = 0

    def add(self, done: Update) -> None:
        """Count an update, on the device."""
        self.loss_sum += done.loss * len(done.losses)
        self.num_right += done.num_right
        self.num_seen += len(done.losses)

    def state_dict(self) -> dict[str, Any]:
        """Return everything."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, value in state.items():
            is_tensor = isinstance(value, Tensor)
            setattr(self, name, value.to(self.loss_sum.device) if is_tensor else value)


class ClassifierLearner:
    """A classifier, its progress, and its folder.

    Raises:
        UsageError: if model or device do not serve.
    """

    def __init__(
        self, config: TrainClassifierConfig, folder: Path, sets: ImageSets, updates_per_epoch: int
    ) -> None:
        self.config, self.folder, self.sets = config, folder, sets
        self.images = described(sets)
        self.held_out = Pictures(sets.test, plain(config.data, sets.size), config.seed)
        self.classifier = build_classifier(config, sets, updates_per_epoch)
        self.progress = Progress(self.classifier.device)
        self.started = ""  # from which weights, if any

    def start(self, *, needs_head: bool = False) -> None:
        """Start from the weights that the configuration names; fresh ones stay where it names none.

        Raises:
            UsageError: if they do not serve, or ``needs_head`` and their classes are others.
        """
        told = start(self.classifier.model, self.config, self.sets, needs_head=needs_head)
        if told is not None:
            self.started = f"; starts from {self.config.model.weights}: {told}"
            if self.classifier.averaged is not None:
                self.classifier.averaged.module.load_state_dict(self.classifier.model.state_dict())

    def __str__(self) -> str:
        count, trained = num_parameters(self.classifier.model), self.classifier.parameters
        model, num_trained = self.config.model, sum(weight.numel() for weight in trained)
        told = "" if num_trained == count else f", {num_trained:,} of them trained"
        return f"{model.name}, attention {model.attention}: {count:,} parameters{told}{self.started}"

    def state_dict(self) -> dict[str, Any]:
        """Return what the next update depends on, and what is counted."""
        return {"classifier": self.classifier.state_dict(), "progress": self.progress.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.classifier.load_state_dict(state["classifier"])
        self.progress.load_state_dict(state["progress"])

    def score(self) -> Scores:
        """Return the scores on the held-out images."""
        keys = in_order(len(self.sets.test.indices), self.config.recipe.batch_size)
        keys = keys[rank() :: num_ranks()]
        is_pinned = self.classifier.device.type == "cuda"
        loader = batches(self.held_out, keys, num_workers=self.config.data.num_workers, is_pinned=is_pinned)
        return self.classifier.score(loader, len(self.sets.classes))

    def end_epoch(self, epoch: int, scores: Scores, told: Mapping[str, float] = {}) -> dict[str, float]:
        """Return the epoch's row, with what else is ``reported``; save the model if it is the best so far.

        Raises:
            RunError: if the loss on the held-out images is not finite.
        """
        progress, update = self.progress, self.classifier.num_updates
        if not math.isfinite(scores.loss):
            raise RunError(
                f"after epoch {epoch} the loss on the held-out images is {scores.loss}: the weights are no "
                "longer finite; a smaller --recipe.learning_rate may help"
            )
        row: dict[str, float] = {
            "epoch": epoch,
            "train/loss": float(progress.loss_sum) / progress.num_seen,
            "train/top1": float(progress.num_right) / progress.num_seen,
            "train/learning_rate": self.classifier.learning_rate_at(update - 1),
            "test/loss": scores.loss,
            "test/top1": scores.top1,
            "test/top5": scores.top5,
            **told,
        }
        progress.rows.append(row)
        progress.begin_epoch(self.classifier.device)
        if scores.top1 > progress.best_top1:
            progress.best_top1, progress.best_epoch = scores.top1, epoch
            state = {"model": self.classifier.judged.state_dict(), "epoch": epoch, "images": self.images}
            checkpoint.save(self.folder / "best", state, step=update, keep=1)
        return row

    def save(self, state: Mapping[str, Any] = {}) -> None:
        """Save everything, with what else is in ``state``."""
        state = {**self.state_dict(), "images": self.images, **state}
        checkpoint.save(self.folder / "checkpoints", state, step=self.classifier.num_updates)

    def write_result(self, scores: Scores, told: Mapping[str, Any] = {}) -> dict[str, Any]:
        """Write the confusion matrix, then ``result.json``, which says that the run is whole; return it."""
        config, progress = self.config, self.progress
        title = (
            f"{config.data.name}, {config.model.name}, attention {config.model.attention}: {scores.top1:.2%}"
        )
        write_confusion(scores.confusion, self.sets.classes, self.folder / "confusion.csv")
        draw_confusion(scores.confusion, self.sets.classes, title, self.folder / "confusion.png")
        result = {
            "data": config.data.name,
            "model": config.model.name,
            "attention": config.model.attention,
            "seed": config.seed,
            "parameters": num_parameters(self.classifier.model),
            "epochs": config.recipe.epochs,
            "last": {"top1": scores.top1, "top5": scores.top5, "loss": scores.loss},
            "best": {
                "top1": progress.best_top1,
                "epoch": progress.best_epoch,
                "chosen_on": "held-out images",
            },
            "classes": class_rows(scores.confusion, self.sets.classes),
            "images": self.images,
            "files": None if self.sets.counted is None else self.sets.counted.as_json(),
            **told,
        }
        replace_text(self.folder / "result.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
        return result
