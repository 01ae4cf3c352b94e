"""CIFAR-10 and CIFAR-100 as torchvision reads them, the latter also by its 20 groups of classes."""

import pickle
from pathlib import Path
from typing import Any

CIFAR_STATS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}  # mean and standard deviation of each channel, in 0..1


def cifar(name: str, root: str, labels: str, *, is_downloaded: bool) -> tuple[Any, Any, tuple[str, ...]]:
    """Return the images to learn from, those held out, and the names of the classes.

    Args:
        name: ``cifar10`` or ``cifar100``.
        root: folder in which torchvision looks for it.
        labels: ``fine``, or ``coarse`` for the 20 groups of CIFAR-100's 100 classes.
        is_downloaded: whether it is fetched where it is missing.

    Raises:
        RuntimeError: if it is not there, or is not the published one.
        OSError: if it cannot be fetched or read.
    """
    from torchvision import datasets  # where it is used: it takes longer to import than torch

    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    parts = [kind(root, train=is_train, download=is_downloaded) for is_train in (True, False)]
    classes = tuple(parts[0].classes)
    if labels == "coarse":
        for part in parts:
            ((file, _),) = part.train_list if part.train else part.test_list
            part.targets = _content(part, file)["coarse_labels"]
        classes = tuple(_content(parts[0], parts[0].meta["filename"])["coarse_label_names"])
    return parts[0], parts[1], classes


def _content(images: Any, file: str) -> Any:
    """Return what a file of the set holds; torchvision has checked that it is the published one."""
    with Path(images.root, images.base_folder, file).open("rb") as opened:
        return pickle.load(opened, encoding="latin1")
