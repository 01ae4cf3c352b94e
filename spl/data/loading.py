"""Images augmented, ordered and batched.

A sample is a pure function of the seed, the epoch and its index, and a batch of the seed and the update:
whoever knows the update can go on, whatever the number of workers.
"""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from spl.config.errors import RunError, UsageError
from spl.curriculum import Curriculum
from spl.data.images.datasets import DataConfig, Split
from spl.data.images.files import as_rgb
from spl.printable import printable
from spl.processes.signals import serve_above

if TYPE_CHECKING:  # it takes longer to import than torch, and is not needed to tell options
    from torchvision.transforms import v2


class Images(NamedTuple):
    """A batch."""

    images: Tensor  # (B, 3, H, W) uint8
    labels: Tensor  # (B,) int64
    indices: Tensor  # (B,) int64, which images of the loader they are


class Broken(NamedTuple):
    """An image that cannot be read, and why."""

    reason: str


def augmentation(config: DataConfig, size: int) -> "v2.Transform":
    """Return what varies a training image: to ``(3, size, size)`` uint8, drawn from torch's generator."""
    from torchvision.transforms import InterpolationMode, v2

    steps: list[v2.Transform] = []
    if config.augmentation == "resized-crop-flip":
        steps.append(v2.RandomResizedCrop(size, antialias=True))
    else:
        steps.append(_fitted(config, size))
        if config.augmentation == "affine":
            steps.append(
                v2.RandomAffine(10, (0.1, 0.1), (0.9, 1.1), interpolation=InterpolationMode.BILINEAR)
            )
        elif config.augmentation != "none":
            steps.append(v2.RandomCrop(size, padding=config.padding))
    if config.augmentation.endswith("flip"):
        steps.append(v2.RandomHorizontalFlip())
    return _as_bytes(steps)


def plain(config: DataConfig, size: int) -> "v2.Transform":
    """Return what cuts an image to be judged: to ``(3, size, size)`` uint8, always in the same way."""
    return _as_bytes([_fitted(config, size)])


def _fitted(config: DataConfig, size: int) -> "v2.Transform":
    """Return the cut to ``size``: a photograph's middle 7/8 (ImageNet's custom), any other picture whole."""
    from torchvision.transforms import InterpolationMode, v2

    if config.name in ("imagenet", "folder"):
        return v2.Compose([v2.Resize(size * 8 // 7, antialias=True), v2.CenterCrop(size)])
    return v2.Resize((size, size), interpolation=InterpolationMode.BILINEAR, antialias=True)


def _as_bytes(steps: "list[v2.Transform]") -> "v2.Transform":
    from torchvision.transforms import v2

    return v2.Compose([v2.ToImage(), *steps, v2.ToDtype(torch.uint8, scale=True), v2.ToPureTensor()])


class Pictures(Dataset[Any]):
    """A split whose samples are asked for by ``(epoch, place)`` and varied accordingly.

    Args:
        split: the images.
        transform: to ``(3, H, W)`` uint8.
        seed: of the variation.
    """

    def __init__(self, split: Split, transform: "v2.Transform", seed: int) -> None:
        self.split, self.transform, self.seed = split, transform, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int] | Broken:
        epoch, place = key
        index = self.split.indices[place]
        try:
            image, label = self.split.images[index]
            if self.split.labels is not None:
                label = int(self.split.labels[place])
            if isinstance(image, Image.Image):
                image = as_rgb(image)
        except (OSError, SyntaxError, ValueError) as error:
            return Broken(_told(self.split.images, index, error))
        with torch.random.fork_rng(devices=[]):
            drawn = np.random.SeedSequence([self.seed, epoch, index]).generate_state(2, np.uint32)
            torch.default_generator.manual_seed(int(drawn[0]) << 32 | int(drawn[1]))
            return self.transform(image), label, index


def _told(images: Any, index: int, error: Exception) -> str:
    paths = getattr(images, "samples", None)
    name = printable(str(paths[index][0])) if paths is not None else f"image {index}"
    return f"{name} cannot be read as an image: {str(error).splitlines()[0]}"


class Order(Sampler[list[tuple[int, int]]]):
    """The keys of each update's batch: an epoch is a round of the curriculum.

    The last batch of an epoch may be smaller; a rest of a single sample is left out, as batch norm needs two.
    A sample that comes again in the same epoch is varied in another way.

    Args:
        curriculum: which samples an epoch has, in which order.
        batch_size: of all batches but the last of an epoch.

    Raises:
        ValueError: if there are fewer than two samples.
    """

    def __init__(self, curriculum: Curriculum, *, batch_size: int) -> None:
        if curriculum.num_samples < 2:
            raise ValueError(f"there must be at least 2 images to learn from, got {curriculum.num_samples}")
        self.curriculum, self.batch_size = curriculum, batch_size
        whole, rest = divmod(curriculum.num_samples, batch_size)
        self.updates_per_epoch = whole + (rest > 1)
        self.smallest = rest if rest > 1 else batch_size  # of the batches
        self.num_updates = curriculum.num_rounds * self.updates_per_epoch

    def __len__(self) -> int:
        return self.num_updates

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.between(0, self.num_updates)

    def between(self, first: int, last: int) -> Iterator[list[tuple[int, int]]]:
        """Yield the keys of the updates from ``first`` to before ``last``."""
        for update in range(first, last):
            epoch, batch = divmod(update, self.updates_per_epoch)
            num_included, before = self.curriculum.begin(epoch).num_included, batch * self.batch_size
            yield [
                (epoch + number // num_included * self.curriculum.num_rounds, place)
                for number, place in enumerate(self.places(update).tolist(), start=before)
            ]

    def places(self, update: int) -> NDArray[np.int64]:
        """Return the samples of an update, ``(B,)``."""
        epoch, batch = divmod(update, self.updates_per_epoch)
        return self.curriculum.begin(epoch).order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def places_of_epoch(self, epoch: int) -> NDArray[np.int64]:
        """Return the samples of all updates of an epoch."""
        return self.curriculum.begin(epoch).order[: self.updates_per_epoch * self.batch_size]


def collate(samples: list[Any]) -> Images | Broken:
    """Return a batch of samples, or the first that could not be read."""
    if (broken := next((sample for sample in samples if isinstance(sample, Broken)), None)) is not None:
        return broken
    images, labels, indices = zip(*samples, strict=True)
    return Images(torch.stack(images), torch.tensor(labels), torch.tensor(indices))


def batches(
    pictures: Pictures, order: Iterable[list[tuple[int, int]]], *, num_workers: int, is_pinned: bool
) -> Iterator[Images]:
    """Yield the batches of ``order``; loading goes on in ``num_workers`` processes meanwhile.

    Raises:
        UsageError: if an image cannot be read.
        RunError: if one of these processes was killed.
    """
    loader = DataLoader(
        pictures,
        batch_sampler=order,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=is_pinned,
        generator=torch.Generator(),  # else it would draw from the global one
        worker_init_fn=_begin,
    )
    try:
        for batch in _started(loader):
            if isinstance(batch, Broken):
                raise UsageError(
                    f"{batch.reason}; restore an intact copy, or start a new run without it "
                    "(--data.skip_broken true)"
                )
            yield cast(Images, batch)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise RunError(
            f"a process that loads images was killed, maybe for lack of memory: choose fewer than "
            f"--data.num_workers {num_workers} ({str(error).splitlines()[0]})"
        ) from error


def _begin(number: int) -> None:
    """Let this process, one that loads, leave signals to the one above it."""
    serve_above()


def _started(loader: "DataLoader[Any]") -> Iterator[Any]:
    """Return the iterator of a loader, its processes started.

    Torch lets the death of one interrupt whatever this process does, an update or a save too. Without that,
    it is told where its batch is waited for.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGCHLD, before)


def in_order(num_samples: int, batch_size: int) -> list[list[tuple[int, int]]]:
    """Return the keys of every sample once, in order, in batches."""
    return [
        [(0, place) for place in range(first, min(first + batch_size, num_samples))]
        for first in range(0, num_samples, batch_size)
    ]
