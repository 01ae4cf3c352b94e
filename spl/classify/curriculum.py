"""The curriculum of a classifier: the images of an update, their weights, and their recorded losses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.classify.config import TrainClassifierConfig
from spl.config.errors import UsageError
from spl.curriculum import Curriculum, read_difficulty
from spl.curriculum.rounds import keep_round, row_of
from spl.data.images.datasets import ImageSets
from spl.data.labels import given_labels, true_labels
from spl.data.loading import Order


class Pacing:
    """A curriculum over the images to learn from, in groups of the given classes.

    Losses are gathered where they are computed and handed over before a round begins or a state is taken.

    Raises:
        UsageError: if there are too few images, or a file of difficulties does not serve.
    """

    def __init__(self, config: TrainClassifierConfig, sets: ImageSets) -> None:
        num_samples, chosen = len(sets.train.indices), config.curriculum
        self.is_flipped: NDArray[np.bool_] | None = None
        if sets.train.labels is not None:
            self.is_flipped = sets.train.labels != true_labels(sets.train)
        self._seen: list[tuple[NDArray[np.int64], Tensor]] = []  # since losses were handed over
        try:
            self.curriculum = Curriculum(
                chosen,
                num_samples,
                num_rounds=config.recipe.epochs,
                seed=config.seed,
                groups=None if chosen.name == "uniform" else given_labels(sets.train),
                difficulty=read_difficulty(chosen.difficulty, num_samples),
            )
            self.order = Order(self.curriculum, batch_size=config.recipe.batch_size)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def __str__(self) -> str:
        told = str(self.curriculum)
        if self.is_flipped is not None:
            told += f"; {self.is_flipped.mean():.0%} of the labels to learn from are wrong, on purpose"
        return told

    def stretch(self, first: int) -> Iterator[list[tuple[int, int]]]:
        """Return the keys of as many updates from ``first`` on as may be loaded before they are learned from.

        Those of a round at most, if losses decide who is in the next one; so workers change nothing.
        """
        last = self.order.num_updates
        if not self.curriculum.is_uniform:
            last = (first // self.order.updates_per_epoch + 1) * self.order.updates_per_epoch
        self.hand_over()
        return self.order.between(first, last)

    def weights(self, update: int) -> Tensor | None:
        """Return the weights of an update's images, ``(B,)``; None: all alike."""
        if self.curriculum.is_uniform:
            return None
        one = self.curriculum.begin(update // self.order.updates_per_epoch)
        return torch.from_numpy(one.weights[self.order.places(update)])

    def see(self, update: int, losses: Tensor) -> None:
        """Take the losses ``(B,)`` of an update's images; they stay on their device for now."""
        if not self.curriculum.is_uniform:
            self._seen.append((self.order.places(update), losses))

    def hand_over(self) -> None:
        """Tell the curriculum the losses since the last time."""
        if self._seen:
            places, losses = zip(*self._seen, strict=True)
            self.curriculum.see(np.concatenate(places), torch.cat(losses).cpu().numpy())
            self._seen = []

    def row(self, epoch: int) -> dict[str, float]:
        """Return what to tell of an epoch, from 0."""
        shares = {}
        if self.is_flipped is not None:
            shares["flipped_share"] = float(self.is_flipped[self.order.places_of_epoch(epoch)].mean())
        return row_of(self.curriculum, epoch, **shares)

    def keep(self, folder: Path, epoch: int) -> None:
        """Keep what an epoch, from 0, was drawn from and what was lost, in the run's folder."""
        self.hand_over()
        keep_round(folder, self.curriculum, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what the curriculum knows, all losses recorded."""
        self.hand_over()
        return self.curriculum.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; `ValueError` if it is of other images or difficulties."""
        self.curriculum.load_state_dict(state)
