"""One run of a classifier in its folder: the loop, and what happens beside it when it is due."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from spl import checkpoint
from spl.anomaly import name_non_finite
from spl.batches import Images, Pictures, augmentation, batches
from spl.classify.classifier import Update
from spl.classify.mutual import Mutual
from spl.classify.pacing import Pacing
from spl.classify.pupil import Pupil
from spl.classify.run import TrainClassifierConfig, peer_of
from spl.classify.scores import Scores
from spl.config import RunError, UsageError
from spl.datasets import ImageSets, check_same
from spl.descent import NonFiniteError
from spl.report import Report
from spl.signals import StopSignals
from spl.state import check_fits
from spl.threads import Threads


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
        self.threads = Threads(config.num_threads)
        self.pictures = Pictures(sets.train, augmentation(config.data, sets.size), config.seed)
        self.pacing = Pacing(config, sets)
        self.order = self.pacing.order
        self.pupil = Pupil(config, folder, sets, self.order.updates_per_epoch)
        self.classifier, self.progress = self.pupil.classifier, self.pupil.progress
        self.pupils, self.mutual = [self.pupil], None  # one, or two that learn together
        if config.transfer.peer is not None:
            try:
                peer = Pupil(peer_of(config), folder / "peer", sets, self.order.updates_per_epoch)
            except UsageError as error:
                raise UsageError(f"the peer's {error}") from error
            self.pupils.append(peer)
            self.mutual = Mutual(self.classifier, peer.classifier, config.transfer, sets.size)
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
            if "curriculum" not in state:
                raise ValueError(f"it is the peer of another; resume that one, in {self.folder.parent}")
            check_fits(state, self.state_dict(), "checkpoint")
            check_same(state["images"], self.pupil.images)
            self.pupil.load_state_dict(state)
            self.pacing.load_state_dict(state["curriculum"])
            if self.mutual is not None:
                self.pupils[1].load_state_dict(state["peer"])
                self.mutual.load_state_dict(state["mutual"])
        except (ValueError, KeyError, RuntimeError) as error:
            raise UsageError(f"the run in {self.folder} cannot be resumed: {error}") from error

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint holds; batches and variations follow from the update."""
        return {**self.pupil.state_dict(), "images": self.pupil.images, **self._beside()}

    def _beside(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside the run's own classifier."""
        state: dict[str, Any] = {"curriculum": self.pacing.state_dict()}
        if self.mutual is not None:
            state |= {"peer": self.pupils[1].state_dict(), "mutual": self.mutual.state_dict()}
        return state

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
            self._write_result([pupil.score() for pupil in self.pupils])
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
            with ExitStack() as watch:
                for pupil in self.pupils if is_watched else ():
                    watch.enter_context(name_non_finite(pupil.classifier.model))
                updates = self._update(batch, self.pacing.weights(update))
        except NonFiniteError as error:
            self._is_whole = True
            path = self.folder / f"batch-{update}.safetensors"
            save_file({name: part.contiguous() for name, part in batch._asdict().items()}, path)
            advice = "" if is_watched else "--debug_anomaly true names the module, and "
            raise RunError(
                f"update {update + 1} was not taken: {error}; its batch lies in {path}; "
                f"{advice}a smaller --recipe.learning_rate may help"
            ) from error
        for pupil, done in zip(self.pupils, updates, strict=True):
            pupil.progress.add(done)
        self.pacing.see(update, updates[0].losses)

    def _update(self, batch: Images, weights: Tensor | None) -> Sequence[Update]:
        if self.mutual is None:
            return [self.classifier.update(batch, weights)]
        return self.mutual.update(batch, weights)

    def _end_epoch(self) -> None:
        """Judge the model and its peer, tell it, and save it; the best ones apart."""
        update = self.classifier.num_updates
        epoch = update // self.order.updates_per_epoch
        scores = [pupil.score() for pupil in self.pupils]
        row = self.pupil.end_epoch(epoch, scores[0], self.pacing.row(epoch - 1))
        if self.mutual is not None:
            told = self.pupils[1].end_epoch(epoch, scores[1])
            row = {**row, **self.mutual.row(), **{f"peer/{name}": value for name, value in told.items()}}
        self.pacing.keep(self.folder, epoch - 1)
        self.report.row(update, {**row, "time/images_per_second": self._rate()})
        self._save()
        if self.is_finished:
            self._write_result(scores)

    def _write_result(self, scores: Sequence[Scores]) -> None:
        """Write the peer's result and then the run's own, which says that both are whole."""
        told = {}
        if self.mutual is not None:
            result = self.pupils[1].write_result(scores[1])
            told = {"peer": {name: result[name] for name in ("model", "attention", "last", "best")}}
        self.pupil.write_result(scores[0], told)

    def _save(self) -> None:
        with self.stop.patience():
            self.pupil.save(self._beside())
            for peer in self.pupils[1:]:  # once more, as a run of its own that can be judged and explained
                peer.save()
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
        say(f"run        {self.folder}")
        say(
            f"data       {config.data.name}: {len(sets.train.indices):,} images to learn from, "
            f"{len(sets.test.indices):,} held out, {len(sets.classes)} classes, {sets.size} x {sets.size}"
        )
        for sentence in [] if sets.counted is None else sets.counted.sentences():
            say(f"           {sentence}")
        say(f"curriculum {self.pacing}")
        say(f"model      {self.pupil}")
        for peer in self.pupils[1:]:
            transfer = config.transfer
            say(f"peer       {peer}; {transfer.kind} carried over with weight {transfer.weight:g}")
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
