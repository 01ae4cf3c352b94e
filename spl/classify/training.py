"""The training of a classifier in its run directory: its batches, when it is evaluated, what it logs."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from spl.classify.config import TrainClassifierConfig, peer_of
from spl.classify.curriculum import Pacing
from spl.classify.learner import ClassifierLearner
from spl.classify.metrics import Scores
from spl.classify.model import Update
from spl.classify.mutual_transfer import Mutual
from spl.config.errors import UsageError
from spl.data.images.datasets import ImageSets, check_same
from spl.data.loading import Images, Pictures, augmentation, batches
from spl.models.image.network_table import NETWORKS
from spl.processes.signals import StopSignals
from spl.processes.threads import Threads
from spl.runs import checkpoint
from spl.runs.logger import Report
from spl.runs.state import check_fits
from spl.training.anomaly import name_non_finite
from spl.training.loop import NotTaken, Part, resuming
from spl.training.shared import check_shares, mine
from spl.training.step import NonFiniteError


class Training:
    """A classification in its folder, as `spl.training.loop` drives it: fresh, or as it was last saved there.

    Raises:
        UsageError: if data, model or device do not serve, or what was saved does not fit.
    """

    counted, shows_end = "update", False

    def __init__(
        self, config: TrainClassifierConfig, folder: Path, sets: ImageSets, console: Console | None
    ) -> None:
        self.config, self.folder, self.sets = config, folder, sets
        self.threads = Threads(config.num_threads)
        self.pictures = Pictures(sets.train, augmentation(config.data, sets.size), config.seed)
        self.pacing = Pacing(config, sets)
        self.order = self.pacing.order
        check_shares(self.order.smallest)
        self.learner = ClassifierLearner(config, folder, sets, self.order.updates_per_epoch)
        self.classifier, self.progress = self.learner.classifier, self.learner.progress
        self.learners, self.mutual = [self.learner], None  # one, or two that learn together
        if config.transfer.peer is not None:
            try:
                peer = ClassifierLearner(peer_of(config), folder / "peer", sets, self.order.updates_per_epoch)
            except UsageError as error:
                raise UsageError(f"the peer's {error}") from error
            self.learners.append(peer)
            stages = (
                NETWORKS[config.model.name].stages,
                NETWORKS[config.transfer.peer].stages,
            )
            self.mutual = Mutual(self.classifier, peer.classifier, config.transfer, sets.size, stages)
        if checkpoint.latest(folder / "checkpoints") is not None:
            with resuming(folder):
                self.load_state_dict(checkpoint.load(folder / "checkpoints"))
        else:
            self.learner.start()
            for peer in self.learners[1:]:
                try:
                    peer.start(needs_head=True)
                except UsageError as error:
                    raise UsageError(f"transfer.weights: the peer's {error}") from error
        title = f"spl train classifier · {config.data.name} · {config.model.name}"
        title += f" · {config.model.attention} · seed {config.seed}"
        kept = self.done - self.is_unjudged  # an epoch that is judged again gets its row again
        self.report = Report(
            folder, title, self.order.num_updates, first_step=kept, console=console, config=config
        )
        self.stop = StopSignals()
        self.is_save_due = False  # before an epoch's end is judged, and after that
        self._num_images, self._learning_s = 0, 0.0  # of this stretch
        self._scores: list[Scores] = []  # on the held-out images, as of its last epoch

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint holds; batches and variations follow from the update."""
        return {**self.learner.state_dict(), "images": self.learner.images, **self._beside()}

    def _beside(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside the run's own classifier."""
        state: dict[str, Any] = {"curriculum": self.pacing.state_dict()}
        if self.mutual is not None:
            state |= {"peer": self.learners[1].state_dict(), "mutual": self.mutual.state_dict()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from :meth:`state_dict`; `ValueError` if it is of other images or another model."""
        if "curriculum" not in state:
            raise ValueError(f"it is the peer of another; resume that one, in {self.folder.parent}")
        check_fits(state, self.state_dict(), "checkpoint")
        check_same(state["images"], self.learner.images)
        self.learner.load_state_dict(state)
        self.pacing.load_state_dict(state["curriculum"])
        if self.mutual is not None:
            self.learners[1].load_state_dict(state["peer"])
            self.mutual.load_state_dict(state["mutual"])

    def save(self) -> None:
        """Save everything; the peer once more, as a run of its own that can be judged and explained."""
        self.learner.save(self._beside())
        for peer in self.learners[1:]:
            peer.save()
        self.is_save_due = False

    @property
    def done(self) -> int:
        """Updates taken."""
        return self.classifier.num_updates

    @property
    def is_finished(self) -> bool:
        """Whether all updates were taken, and what came of them is judged."""
        return self.done == self.order.num_updates and not self.is_unjudged

    @property
    def is_unjudged(self) -> bool:
        """Whether an epoch's updates are all taken, and its scores are not."""
        done, rest = divmod(self.done, self.order.updates_per_epoch)
        return rest == 0 and len(self.progress.rows) < done

    def units(self) -> Iterator[tuple[Part, ...]]:
        """Yield every update that is left; the last of an epoch with its judgement."""
        if self.is_unjudged:  # broken off while it was judged
            yield self._judgement(self.done)
        elif self.is_finished:  # killed between its last save and its result
            yield (Part(self._write_result, keeps_state=True),)
        for batch in self._batches():
            learn, number = Part(partial(self._step, batch)), self.done + 1
            yield (learn,) if number % self.order.updates_per_epoch else (learn, *self._judgement(number))

    def _judgement(self, update: int) -> tuple[Part, ...]:
        """Return what comes after an epoch's last ``update``."""
        judge, result = Part(self._end_epoch), Part(self._write_result, keeps_state=True)
        return (judge, result) if update == self.order.num_updates else (judge,)

    def _batches(self) -> Iterator[Images]:
        num_workers, is_pinned = self.config.data.num_workers, self.classifier.device.type == "cuda"
        while (first := self.classifier.num_updates) < self.order.num_updates:
            keys = map(mine, self.pacing.stretch(first))
            yield from batches(self.pictures, keys, num_workers=num_workers, is_pinned=is_pinned)

    def _step(self, batch: Images) -> None:
        started = time.monotonic()
        self._learn(batch)
        self._learning_s += time.monotonic() - started
        self.is_save_due = self.is_unjudged  # judging takes long, and may fail

    def _learn(self, batch: Images) -> None:
        is_watched, update = self.config.debug_anomaly, self.done
        try:
            with ExitStack() as watch:
                for learner in self.learners if is_watched else ():
                    watch.enter_context(name_non_finite(learner.classifier.model))
                updates = self._update(batch, self.pacing.weights(update))
        except NonFiniteError as error:
            advice = "" if is_watched else "--debug_anomaly true names the module, and "
            remedy = f"{advice}a smaller --recipe.learning_rate may help"
            raise NotTaken(update, batch._asdict(), error, remedy) from error
        for learner, done in zip(self.learners, updates, strict=True):
            learner.progress.add(done)
        self.pacing.see(update, updates[0].losses)
        self._num_images += len(updates[0].losses)

    def _update(self, batch: Images, weights: Tensor | None) -> Sequence[Update]:
        if self.mutual is None:
            return [self.classifier.update(batch, weights)]
        return self.mutual.update(batch, weights)

    def _end_epoch(self) -> None:
        """Judge the model and its peer, and tell it; the best ones are saved apart."""
        epoch = self.done // self.order.updates_per_epoch
        self._scores = [learner.score() for learner in self.learners]
        row = self.learner.end_epoch(epoch, self._scores[0], self.pacing.row(epoch - 1))
        if self.mutual is not None:
            told = self.learners[1].end_epoch(epoch, self._scores[1])
            row = {**row, **self.mutual.row(), **{f"peer/{name}": value for name, value in told.items()}}
        self.pacing.keep(self.folder, epoch - 1)
        self.report.row(self.done, {**row, "time/images_per_second": self._rate()})
        self.is_save_due = True

    def _write_result(self) -> None:
        """Write the peer's result and then the run's own, which says that both are whole."""
        told, scores = {}, self._scores or [learner.score() for learner in self.learners]
        if self.mutual is not None:
            result = self.learners[1].write_result(scores[1])
            told = {"peer": {name: result[name] for name in ("model", "attention", "last", "best")}}
        self.learner.write_result(scores[0], told)

    def _rate(self) -> float:
        return self._num_images / max(1e-9, self._learning_s)

    def status(self) -> dict[str, Any]:
        """Return what the terminal shows."""
        done, last = divmod(self.done, self.order.updates_per_epoch)
        told: dict[str, Any] = {"epoch": f"{done + (last > 0)} of {self.config.recipe.epochs}"}
        told |= {"images/s": self._rate()}
        if self.progress.num_seen:
            told["loss"] = float(self.progress.loss_sum) / self.progress.num_seen
        if self.progress.rows:
            row = self.progress.rows[-1]
            told["held out"] = f"top-1 {row['test/top1']:.2%}, top-5 {row['test/top5']:.2%}"
            told["best"] = f"{self.progress.best_top1:.2%} in epoch {self.progress.best_epoch}"
        return told

    def summary(self) -> Iterator[str]:
        """Yield what was chosen."""
        sets, config = self.sets, self.config
        yield (
            f"data       {config.data.name}: {len(sets.train.indices):,} images to learn from, "
            f"{len(sets.test.indices):,} held out, {len(sets.classes)} classes, {sets.size} x {sets.size}"
        )
        for sentence in [] if sets.counted is None else sets.counted.sentences():
            yield f"           {sentence}"
        yield f"curriculum {self.pacing}"
        yield f"model      {self.learner}"
        for peer in self.learners[1:]:
            transfer = config.transfer
            does = "teaches, " if transfer.weights is not None else ""
            yield f"peer       {peer}; {does}{transfer.kind} transferred with weight {transfer.weight:g}"
        yield f"device     {self.classifier.device}, {config.precision}"
        yield f"threads    {self.threads}"

    def farewell(self) -> str:
        """Return what is there of a run that came to its end."""
        return f"finished; the last and the best model are in {shlex.quote(str(self.folder))}"
