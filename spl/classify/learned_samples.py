"""``spl report curriculum`` of a classifier: the images that it learned from."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.classify.config import TrainClassifierConfig
from spl.config.errors import UsageError
from spl.curriculum.figures import Marks, Tile
from spl.data.images.datasets import load_images
from spl.data.labels import flip_labels, told_labels, true_labels
from spl.data.loading import Broken, Pictures, plain
from spl.runs.directory import seed_of_data


class LearnedImages:
    """The training images of a run, with the classes that it was told.

    Args:
        config: of the run.
        folder: of the run.

    Raises:
        UsageError: if they are not there any more.
    """

    def __init__(self, config: TrainClassifierConfig, folder: Path) -> None:
        seed = seed_of_data(config, folder)
        sets = load_images(config.data, run=folder, is_looked_at=False)
        sets = flip_labels(sets, config.data.label_noise, seed)
        self.num_samples = len(sets.train.indices)
        self.classes, self.truths, self.told = sets.classes, true_labels(sets.train), told_labels(sets.train)
        self.pictures = Pictures(sets.train, plain(config.data, sets.size), config.seed)
        self.marks: Marks | None = None
        if config.data.label_noise:
            self.marks = Marks("wrong label", self.told != self.truths)

    def tiles(self, indices: NDArray[np.int64]) -> list[Tile]:
        """Return the images unvaried, each with the class told, and the true one where that differs."""
        return [Tile(self._picture(int(index)), self._caption(int(index))) for index in indices]

    def _picture(self, index: int) -> NDArray[Any]:
        found = self.pictures[(0, index)]
        if isinstance(found, Broken):
            raise UsageError(found.reason)
        return found[0].permute(1, 2, 0).numpy() / 255

    def _caption(self, index: int) -> str:
        told, truth = (self.classes[labels[index]] for labels in (self.told, self.truths))
        return told if told == truth else f"{told} (is {truth})"

    def write_sounds(self, indices: NDArray[np.int64], path: Path) -> bool:
        """Write nothing: images are silent."""
        return False
