"""``spl report curriculum`` of a classifier: the images that it learned from."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spl.classify.config import TrainClassifierConfig
from spl.config.errors import UsageError
from spl.curriculum.figures import Marks, Tile
from spl.curriculum.report import Samples
from spl.data.images.datasets import load_images
from spl.data.labels import flip_labels, given_labels, true_labels
from spl.data.loading import Broken, Pictures, plain
from spl.runs.directory import seed_of_data


def learned_images(config: TrainClassifierConfig, folder: Path) -> Samples:
    """Return the training images of the run in ``folder``, unvaried, with the classes that it was given.

    Raises:
        UsageError: if they are not there any more.
    """
    sets = load_images(config.data, run=folder, is_looked_at=False)
    train = flip_labels(sets, config.data.label_noise, seed_of_data(config, folder)).train
    pictures = Pictures(train, plain(config.data, sets.size), config.seed)
    truths, told = true_labels(train), given_labels(train)

    def tile(index: int) -> Tile:
        found = pictures[(0, index)]
        if isinstance(found, Broken):
            raise UsageError(found.reason)
        name, truth = (sets.classes[labels[index]] for labels in (told, truths))
        picture = found[0].permute(1, 2, 0).numpy() / 255  # (H, W, 3)
        return Tile(picture, name if name == truth else f"{name} (is {truth})")

    def tiles(indices: NDArray[np.int64]) -> list[Tile]:
        return [tile(int(index)) for index in indices]

    marks = Marks("wrong label", told != truths) if config.data.label_noise else None
    return Samples(len(train.indices), marks, tiles)
