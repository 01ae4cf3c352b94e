"""The training of an autoencoder in its run directory: its batches, the end of an epoch, what it logs."""

import shlex
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from spl.config.errors import UsageError
from spl.data.audiovisual import NAMES, Pairs, PairSource, read_ahead
from spl.data.statistics import Moments
from spl.models.autoencoder import CONDITIONS
from spl.pretrain.config import PretrainConfig, measure
from spl.pretrain.curriculum import Pacing
from spl.pretrain.evaluation.gallery import Gallery
from spl.pretrain.layerwise import Layerwise
from spl.pretrain.learner import Learner, build_learner
from spl.pretrain.objective import Parts
from spl.processes.signals import StopSignals
from spl.processes.threads import Threads
from spl.runs import checkpoint
from spl.runs.logger import Report
from spl.runs.state import check_fits
from spl.training.loop import NotTaken, Part, resuming
from spl.training.shared import check_shares
from spl.training.step import NonFiniteError


class Progress:
    """Errors of an epoch so far, by condition and modality."""

    def __init__(self) -> None:
        self.sums = torch.zeros(len(CONDITIONS), len(NAMES), dtype=torch.float64)
        self.counts = torch.zeros(len(CONDITIONS), len(NAMES), dtype=torch.int64)
        self.activation, self.loss, self.num_updates = 0.0, 0.0, 0

    def add(self, parts: Parts, present: Tensor) -> None:
        """Count the views of an update whose samples have the modalities ``present (B, 2)``."""
        conditions, errors, kept = parts.conditions.cpu(), parts.errors.cpu().double(), present.cpu()
        self.sums.index_add_(0, conditions, errors.masked_fill(~kept, 0.0))
        self.counts.index_add_(0, conditions, kept.long())
        self.activation += float(parts.activation)
        self.loss += float(parts.losses.mean())
        self.num_updates += 1

    def row(self) -> dict[str, float]:
        """Return the mean error of each modality in each condition, where predicting the mean costs 1."""
        row = {
            "train/loss": self.loss / self.num_updates,
            "train/activation": self.activation / self.num_updates,
        }
        for place, condition in enumerate(CONDITIONS):
            for modality, name in enumerate(NAMES):
                if count := int(self.counts[place, modality]):
                    row[f"train/{name}_from_{condition}"] = float(self.sums[place, modality]) / count
        return row

    def state_dict(self) -> dict[str, Any]:
        """Return everything."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        vars(self).update(state)


class Training:
    """A pretraining in its folder, as `spl.training.loop` drives it: fresh, or as it was last saved there.

    Raises:
        UsageError: if data, model or device do not serve, or what was saved does not fit.
    """

    counted, shows_end = "update", False

    def __init__(
        self, config: PretrainConfig, folder: Path, source: PairSource, console: Console | None
    ) -> None:
        self.config, self.folder, self.source = config, folder, source
        self.threads = Threads(config.num_threads)
        self.moments: tuple[Moments, Moments] = measure(source, config.seed)
        self.pacing = Pacing(config, source, self.moments)
        self.order = self.pacing.order
        check_shares(self.order.smallest)
        self.learner = build_learner(config, source, self.moments, self.order.num_updates)
        self.layers = _layers_of(config, self.learner, source)
        self.progress = Progress()
        self.gallery: Gallery | None = None
        if config.num_drawn:
            self.gallery = Gallery(source, folder / "reconstructions", config.num_drawn)
        if checkpoint.latest(folder / "checkpoints") is not None:
            with resuming(folder):
                self.load_state_dict(checkpoint.load(folder / "checkpoints"))
        title = f"spl pretrain autoencoder · {config.objective.views} · seed {config.seed}"
        total = self.layers.total_updates + self.order.num_updates
        self.report = Report(
            folder, title, total, first_step=self.num_updates, console=console, config=config
        )
        self.stop = StopSignals()
        self.is_save_due = False  # at the end of an epoch
        self._num_views, self._learning_s = 0, 0.0  # of this stretch

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint holds; batches follow from the update."""
        return {
            "learner": self.learner.state_dict(),
            "layers": self.layers.state_dict(),
            "pacing": self.pacing.state_dict(),
            "progress": self.progress.state_dict(),
            "signature": self.source.signature,
            "mean": {name: one.mean for name, one in zip(NAMES, self.moments, strict=True)},
            "variance": {name: one.variance for name, one in zip(NAMES, self.moments, strict=True)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from :meth:`state_dict`; `ValueError` if it is of other data or another model."""
        check_fits(state, self.state_dict(), "checkpoint")
        if state["signature"] != self.source.signature:
            raise ValueError("its data are other ones than when it was saved")
        self.learner.load_state_dict(state["learner"])
        self.layers.load_state_dict(state["layers"])
        self.pacing.load_state_dict(state["pacing"])
        self.progress.load_state_dict(state["progress"])

    def save(self) -> None:
        """Save everything."""
        checkpoint.save(self.folder / "checkpoints", self.state_dict(), step=self.num_updates)
        self.is_save_due = False

    @property
    def num_updates(self) -> int:
        """Updates taken, of single layers and of the whole."""
        return self.layers.num_updates + self.learner.num_updates

    done = num_updates

    @property
    def is_finished(self) -> bool:
        """Whether all updates were taken."""
        return self.learner.num_updates == self.order.num_updates

    def units(self) -> Iterator[tuple[Part, ...]]:
        """Yield every update that is left, of single layers first; the last of an epoch with its pictures.

        Before them come the pictures of an epoch after which the run was killed.
        """
        epoch, begun = divmod(self.learner.num_updates, self.order.updates_per_epoch)
        if self.gallery is not None and epoch and not begun and not self.gallery.has(epoch):
            yield (Part(self._draw, keeps_state=True),)
        for pairs, _ in read_ahead(self.source, self.layers.after(self.layers.num_updates)):
            yield (Part(partial(self._step, pairs, None)),)
        while not self.is_finished:
            for pairs, conditions in read_ahead(self.source, self.order.stretch(self.learner.num_updates)):
                learn = Part(partial(self._step, pairs, torch.from_numpy(conditions)))
                is_last = (self.learner.num_updates + 1) % self.order.updates_per_epoch == 0
                draws = [Part(self._draw, keeps_state=True)] if is_last and self.gallery is not None else []
                yield (learn, *draws)

    def _step(self, pairs: Pairs, conditions: Tensor | None) -> None:
        """Take one update, of a layer alone where there are no ``conditions``, and end the epoch with it."""
        self._learn(pairs, conditions)
        if conditions is None:
            self._end_epoch_of_layer()
        elif self.learner.num_updates % self.order.updates_per_epoch == 0:
            self._end_epoch()

    def _learn(self, pairs: Pairs, conditions: Tensor | None) -> None:
        started = time.monotonic()
        try:
            if conditions is None:
                self.layers.update(pairs)
            else:
                weights = self.pacing.weights(self.learner.num_updates, pairs.indices)
                parts = self.learner.update(pairs, conditions, weights)
                self.pacing.see(pairs, parts)
                self.progress.add(parts, pairs.present)
        except NonFiniteError as error:
            batch = pairs._asdict() if conditions is None else {**pairs._asdict(), "conditions": conditions}
            remedy = "a smaller --recipe.learning_rate may help"
            raise NotTaken(self.num_updates, batch, error, remedy) from error
        self._num_views += len(pairs.present)
        self._learning_s += time.monotonic() - started

    def _end_epoch_of_layer(self) -> None:
        if (row := self.layers.end_epoch()) is not None:
            self.report.row(self.num_updates, row)
            self.is_save_due = True

    def _end_epoch(self) -> None:
        update = self.learner.num_updates
        epoch = update // self.order.updates_per_epoch
        row = {"epoch": epoch, **self.progress.row(), **self.pacing.row(epoch - 1)}
        row["train/learning_rate"] = self.learner.learning_rate_at(update - 1)
        self.progress = Progress()
        self.pacing.keep(self.folder, epoch - 1)
        self.report.row(self.num_updates, {**row, "time/views_per_second": self._rate()})
        self.is_save_due = True

    def _draw(self) -> None:
        assert self.gallery is not None
        self.gallery.show(self.learner.model, self.learner.num_updates // self.order.updates_per_epoch)

    def _rate(self) -> float:
        return self._num_views / max(1e-9, self._learning_s)

    def status(self) -> dict[str, Any]:
        """Return what the terminal shows."""
        done, last = divmod(self.learner.num_updates, self.order.updates_per_epoch)
        told: dict[str, Any] = {"epoch": f"{done + (last > 0)} of {self.config.recipe.epochs}"}
        if self.layers.num_updates < self.layers.total_updates:
            told = self.layers.status()
        told["views/s"] = self._rate()
        if self.progress.num_updates:
            row = self.progress.row()
            told["loss"] = row["train/loss"]
            for name in NAMES:
                shares = [row.get(f"train/{name}_from_{condition}") for condition in CONDITIONS]
                told[f"{name} error"] = ", ".join(
                    f"{share:.3f} from {condition}"
                    for condition, share in zip(CONDITIONS, shares, strict=True)
                    if share is not None
                )
        return told

    def summary(self) -> Iterator[str]:
        """Yield what was chosen."""
        for line in self.source.summary().splitlines():
            yield f"data       {line}"
        yield f"streams    video {self.source.spec.video}, audio {self.source.spec.audio}"
        num_parameters = sum(parameter.numel() for parameter in self.learner.parameters)
        yield f"model      {num_parameters:,} parameters on {self.learner.device}"
        encoder = self.config.encoder
        if encoder.video_stream == "dense" and encoder.attention in ("csm", "sam"):
            yield (
                f"attention  {encoder.attention} before a dense stream compares every pixel with every "
                "other, seconds an update at 84 x 84; --encoder.attention none leaves it out"
            )
        yield f"curriculum {self.pacing.curriculum}"
        yield f"threads    {self.threads}"

    def farewell(self) -> str:
        """Return what to do with a run that came to its end."""
        return f"finished; evaluate with: spl evaluate autoencoder {shlex.quote(str(self.folder))}"


def _layers_of(config: PretrainConfig, learner: Learner, source: PairSource) -> Layerwise:
    try:
        return Layerwise(learner.model, config.recipe, source, seed=config.seed, device=learner.device)
    except ValueError as error:
        raise UsageError(f"recipe.layer_epochs ({config.recipe.layer_epochs}): {error}") from error
