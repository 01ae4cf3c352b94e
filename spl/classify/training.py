"""One run of a classifier in its folder: the loop, and what happens beside it when it is due."""

import contextlib
import json
import math
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from spl import checkpoint
from spl.anomaly import name_non_finite
from spl.batches import Images, Pictures, augmentation, batches, in_order, plain
from spl.classify.pacing import Pacing
from spl.classify.run import TrainClassifierConfig, build_classifier
from spl.classify.scores import Scores, class_rows, draw_confusion, write_confusion
from spl.config import RunError, UsageError
from spl.datasets import ImageSets, check_same, described
from spl.descent import NonFiniteError
from spl.files import replace_text
from spl.report import Report
from spl.signals import StopSignals
from spl.state import check_fits
from spl.threads import Threads


class Progress:
    """Where a run stands between two epochs' ends, and the best of them."""

    def __init__(self, device: torch.device) -> None:
        self.begin_epoch(device)
        self.best_top1, self.best_epoch = -1.0, 0
        self.rows: list[dict[str, float]] = []  # of the epochs so far

    def begin_epoch(self, device: torch.device) -> None:
        """Begin to count anew."""
        self.loss_sum = torch.zeros((), device=device)  # over the images of this epoch
        self.num_right = torch.zeros((), dtype=torch.int64, device=device)  # of them, named right
        self.num_seen = 0

    def add(self, loss: Tensor, num_right: Tensor, num_images: int) -> None:
        """Count an update with its mean loss, on the device."""
        self.loss_sum += loss * num_images
        self.num_right += num_right
        self.num_seen += num_images

    def state_dict(self) -> dict[str, Any]:
        """Return everything."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, value in state.items():
            is_tensor = isinstance(value, Tensor)
            setattr(self, name, value.to(self.loss_sum.device) if is_tensor else value)


class Training:
    """One run in its folder: the loop, and what happens beside it when it is due."""

    def __init__(
        self,
        config: TrainClassifierConfig,
        folder: Path,
        sets: ImageSets,
        console: Console | None,
        go_on_with: str,
    ) -> None:
        self.config, self.folder, self.sets, self.go_on_with = config, folder, sets, go_on_with
        self.images = described(sets)
        self.threads = Threads(config.num_threads)
        self.pictures = Pictures(sets.train, augmentation(config.data, sets.size), config.seed)
        self.held_out = Pictures(sets.test, plain(config.data, sets.size), config.seed)
        self.pacing = Pacing(config, sets)
        self.order = self.pacing.order
        self.classifier = build_classifier(config, sets, self.order.updates_per_epoch)
        self.progress = Progress(self.classifier.device)
        if checkpoint.latest(folder / "checkpoints") is not None:
            self._restore()
        title = f"spl train classifier · {config.data.name} · {config.model.name}"
        title += f" · {config.model.attention} · seed {config.seed}"
        first = self.classifier.num_updates
        kept = first - self.is_unjudged  # an epoch that is judged again gets its row again
        self.report = Report(folder, title, self.order.num_updates, first_step=kept, console=console)
        self.stop = StopSignals()
        self._saved_at = time.monotonic()
        self._saved_update = first if checkpoint.latest(folder / "checkpoints") is not None else -1
        self._is_whole = True  # False while an update is under way
        self._num_images, self._learning_s = 0, 0.0  # of this stretch

    def _restore(self) -> None:
        try:
            state = checkpoint.load(self.folder / "checkpoints")
            check_fits(state, self.state_dict(), "checkpoint")
            check_same(state["images"], self.images)
            self.classifier.load_state_dict(state["classifier"])
            self.progress.load_state_dict(state["progress"])
            self.pacing.load_state_dict(state["curriculum"])
        except (ValueError, KeyError, RuntimeError) as error:
            raise UsageError(f"the run in {self.folder} cannot be resumed: {error}") from error

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint holds; batches and variations follow from the update."""
        return {
            "classifier": self.classifier.state_dict(),
            "progress": self.progress.state_dict(),
            "curriculum": self.pacing.state_dict(),
            "images": self.images,
        }

    @property
    def is_finished(self) -> bool:
        """Whether all updates were taken, and what came of them is judged."""
        return self.classifier.num_updates == self.order.num_updates and not self.is_unjudged

    @property
    def is_unjudged(self) -> bool:
        """Whether an epoch's updates are all taken, and its scores are not."""
        done, rest = divmod(self.classifier.num_updates, self.order.updates_per_epoch)
        return rest == 0 and len(self.progress.rows) < done

    def go(self) -> None:
        """Train to the end, or until told to stop; whatever ends it between two updates, it is saved first.

        Raises:
            RunError: if a loss is not finite, or an image cannot be read.
        """
        try:
            with self.report, self.stop:
                self._say_hello()
                try:
                    self._train()
                finally:
                    if self._saved_update != self.classifier.num_updates and self._is_whole:
                        self._save()
        finally:
            self.report.say(self._closing_words())

    def _train(self) -> None:
        if self.is_unjudged:  # stopped while it was judged
            self._end_epoch()
        elif self.is_finished:  # killed between its last save and its result
            write_result(self, self.score())
        for batch in self._batches():
            self._is_whole = False  # what is interrupted in here would not go on as if it had not been
            started = time.monotonic()
            self._learn(batch)
            self._num_images += len(batch.labels)
            self._learning_s += time.monotonic() - started
            self._is_whole = True
            if self.is_unjudged:
                self._save()
                with self.stop.patience():
                    self._end_epoch()
            elif time.monotonic() - self._saved_at >= 60.0 * self.config.checkpoint_every_minutes:
                self._save()
            if (change := self.threads.look()) is not None:
                self.report.say(f"threads    {change}")
            if self.report.is_due():
                self.report.show(self.classifier.num_updates, self._status())
            if self.stop.has_come():
                return

    def _batches(self) -> Iterator[Images]:
        num_workers, is_pinned = self.config.data.num_workers, self.classifier.device.type == "cuda"
        while (first := self.classifier.num_updates) < self.order.num_updates:
            keys = self.pacing.stretch(first)
            yield from batches(self.pictures, keys, num_workers=num_workers, is_pinned=is_pinned)

    def _learn(self, batch: Images) -> None:
        """Take one step with ``batch``.

        Raises:
            RunError: if the loss is not finite; the batch is set aside.
        """
        is_watched, update = self.config.debug_anomaly, self.classifier.num_updates
        try:
            with name_non_finite(self.classifier.model) if is_watched else contextlib.nullcontext():
                done = self.classifier.update(batch, self.pacing.weights(update))
        except NonFiniteError as error:
            self._is_whole = True
            path = self.folder / f"batch-{update}.safetensors"
            save_file({name: part.contiguous() for name, part in batch._asdict().items()}, path)
            advice = "" if is_watched else "--debug_anomaly true names the module, and "
            raise RunError(
                f"update {update + 1} was not taken: {error}; its batch lies in {path}; "
                f"{advice}a smaller --recipe.learning_rate may help"
            ) from error
        self.progress.add(done.loss, done.num_right, len(batch.labels))
        self.pacing.see(update, done.losses)

    def _end_epoch(self) -> None:
        """Judge the model, tell it, and save it; the best one apart."""
        progress, update = self.progress, self.classifier.num_updates
        epoch = update // self.order.updates_per_epoch
        scores = self.score()
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
            **self.pacing.row(epoch - 1),
        }
        progress.rows.append(row)
        progress.begin_epoch(self.classifier.device)
        if scores.top1 > progress.best_top1:
            progress.best_top1, progress.best_epoch = scores.top1, epoch
            state = {"model": self.classifier.judged.state_dict(), "epoch": epoch, "images": self.images}
            checkpoint.save(self.folder / "best", state, step=update, keep=1)
        self.pacing.keep(self.folder, epoch - 1)
        self.report.row(update, {**row, "time/images_per_second": self._rate()})
        self._save()
        if self.is_finished:
            write_result(self, scores)

    def score(self) -> Scores:
        """Return the scores on the held-out images."""
        keys = in_order(len(self.sets.test.indices), self.config.recipe.batch_size)
        is_pinned = self.classifier.device.type == "cuda"
        loader = batches(self.held_out, keys, num_workers=self.config.data.num_workers, is_pinned=is_pinned)
        return self.classifier.score(loader, len(self.sets.classes))

    def _save(self) -> None:
        with self.stop.patience():
            checkpoint.save(self.folder / "checkpoints", self.state_dict(), step=self.classifier.num_updates)
        self._saved_at, self._saved_update = time.monotonic(), self.classifier.num_updates

    def _rate(self) -> float:
        return self._num_images / max(1e-9, self._learning_s)

    def _status(self) -> dict[str, Any]:
        done, last = divmod(self.classifier.num_updates, self.order.updates_per_epoch)
        told: dict[str, Any] = {"epoch": f"{done + (last > 0)} of {self.config.recipe.epochs}"}
        told |= {"images/s": self._rate()}
        if self.progress.num_seen:
            told["loss"] = float(self.progress.loss_sum) / self.progress.num_seen
        if self.progress.rows:
            row = self.progress.rows[-1]
            told["held out"] = f"top-1 {row['test/top1']:.2%}, top-5 {row['test/top5']:.2%}"
            told["best"] = f"{self.progress.best_top1:.2%} in epoch {self.progress.best_epoch}"
        return told

    def _say_hello(self) -> None:
        say, sets, config = self.report.say, self.sets, self.config
        num_parameters = sum(parameter.numel() for parameter in self.classifier.parameters)
        say(f"run        {self.folder}")
        say(
            f"data       {config.data.name}: {len(sets.train.indices):,} images to learn from, "
            f"{len(sets.test.indices):,} held out, {len(sets.classes)} classes, {sets.size} x {sets.size}"
        )
        say(f"curriculum {self.pacing}")
        named = f"{config.model.name}, attention {config.model.attention}"
        say(f"model      {named}: {num_parameters:,} parameters")
        say(f"device     {self.classifier.device}, {config.precision}")
        say(f"threads    {self.threads}")

    def _closing_words(self) -> str:
        if self.is_finished:
            return f"finished; the last and the best model are in {shlex.quote(str(self.folder))}"
        again = f"go on with: {self.go_on_with}"
        if self._saved_update < 0:
            return "stopped; nothing was saved"
        if self._saved_update != self.classifier.num_updates:
            return f"stopped; the last save is of update {self._saved_update:,}; {again}"
        return f"stopped and saved at update {self._saved_update:,}; {again}"


def write_result(run: Training, scores: Scores) -> None:
    """Write the confusion matrix and then ``result.json``, which says that the run is whole."""
    config, progress = run.config, run.progress
    title = f"{config.data.name}, {config.model.name}, attention {config.model.attention}: {scores.top1:.2%}"
    write_confusion(scores.confusion, run.sets.classes, run.folder / "confusion.csv")
    draw_confusion(scores.confusion, run.sets.classes, title, run.folder / "confusion.png")
    result = {
        "data": config.data.name,
        "model": config.model.name,
        "attention": config.model.attention,
        "seed": config.seed,
        "parameters": sum(parameter.numel() for parameter in run.classifier.parameters),
        "epochs": config.recipe.epochs,
        "last": {"top1": scores.top1, "top5": scores.top5, "loss": scores.loss},
        "best": {"top1": progress.best_top1, "epoch": progress.best_epoch, "chosen_on": "held-out images"},
        "classes": class_rows(scores.confusion, run.sets.classes),
        "images": run.images,
    }
    replace_text(run.folder / "result.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
