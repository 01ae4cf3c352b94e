"""Labels of images without reading the images; and label noise, with the true labels kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset

from spl.data.images.datasets import ImageSets, Split

_FLIPS = 0xF11B  # beside the seed, so that nothing else is drawn from the same numbers


def true_labels(split: Split) -> NDArray[np.int64]:
    """Return the classes that the images of ``split`` came with, ``(n,)``."""
    is_joined = isinstance(split.images, ConcatDataset)
    parts: list[Any] = split.images.datasets if is_joined else [split.images]
    named = [part.targets if hasattr(part, "targets") else part.labels for part in parts]
    labels = np.concatenate([np.asarray(one, np.int64) for one in named])
    return np.asarray(labels[np.asarray(split.indices)])


def given_labels(split: Split) -> NDArray[np.int64]:
    """Return the classes that a learner is given, ``(n,)``."""
    return true_labels(split) if split.labels is None else split.labels


def flip_labels(sets: ImageSets, share: float, seed: int) -> ImageSets:
    """Return the sets with another class given to ``round(share n)`` of the ``n`` images to learn from.

    Which ones, and which of the other classes, each as likely, is drawn from the seed. Held-out images keep
    their classes.
    """
    if share == 0.0:
        return sets
    labels, generator = true_labels(sets.train).copy(), np.random.default_rng([seed, _FLIPS])
    flipped = generator.permutation(len(labels))[: round(share * len(labels))]
    num_classes = len(sets.classes)
    labels[flipped] = (labels[flipped] + generator.integers(1, num_classes, len(flipped))) % num_classes
    return sets._replace(train=sets.train._replace(labels=labels))
