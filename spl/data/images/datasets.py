"""Image datasets by name: where they are and how they are split. Augmentation is not here."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Pixels0, Range, Share, ShareInside, Workers
from spl.data.images.broken import Looking
from spl.data.images.cifar import CIFAR_STATS, cifar
from spl.data.images.files import colour_of, open_image
from spl.data.images.folders import Counted, find_images

FETCHED = ("cifar10", "cifar100", "stl10")  # that torchvision can download
SPLIT = ("digits", "folder")  # that are split here by ``test_share``
DESCRIBED = "data.json"  # in a run's folder: what became of the files of a folder of pictures
SPLIT_SEED = 0  # of the sets that have no split of their own: every run holds out the same images
Augmentation = Literal["none", "affine", "crop", "crop-flip", "resized-crop-flip"]
IMAGENET_STATS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


ImageSide = Annotated[int, Range(8, 65_536)]  # pixels that no network is too deep for


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, from where, and how they are varied."""

    name: Literal["digits", "cifar10", "cifar100", "stl10", "imagenet", "folder"] = "digits"  # dataset
    root: PathName = "data"  # folder of the dataset; digits needs none
    labels: Literal["fine", "coarse"] = "fine"  # labels of cifar100: its 100 classes or its 20 groups
    download: bool = False  # download cifar10, cifar100 or stl10 if it is missing
    augmentation: Augmentation = "affine"  # of training images; affine: small rotations, shifts and scalings
    padding: Pixels0 = 4  # pixels on each side before a crop
    image_size: ImageSide | None = None  # rows and columns; null: the set's own, 224 for imagenet and folder
    test_share: ShareInside = 0.2  # held-out share of each class, if a folder has no test/ or val/
    background: str = "white"  # colour behind transparent pixels, in imagenet or a folder
    skip_broken: bool = False  # permanently leave out broken images of a folder, instead of refusing it
    label_noise: Share = 0.0  # share of training images that get a wrong label, drawn from the seed
    num_workers: Workers = 0  # loader processes; 0 loads in the main process

    def __post_init__(self) -> None:
        check_fields(self)
        if self.download and self.name not in FETCHED:
            raise ValueError(f"download is for {', '.join(FETCHED)}, got it for {self.name}")
        if self.labels == "coarse" and self.name != "cifar100":
            raise ValueError(
                f"labels=coarse is for cifar100, which has groups of classes, got it for {self.name}"
            )
        if self.name == "digits" and self.root != DataConfig.root:
            raise ValueError(
                f"root has no effect with digits, got {self.root}; choose name=folder for images of your "
                "own, or leave it out"
            )
        colour_of(self.background)
        is_cropped, is_folder = self.augmentation in ("crop", "crop-flip"), self.name == "folder"
        for name, is_used in (
            ("test_share", self.name in SPLIT),
            ("padding", is_cropped),
            ("background", is_folder or self.name == "imagenet"),
            ("skip_broken", is_folder),
        ):
            if not is_used and getattr(self, name) != getattr(DataConfig, name):
                raise ValueError(
                    f"{name} has no effect with {self.name} and augmentation={self.augmentation}, "
                    f"got {getattr(self, name)}; leave it out"
                )


class Split(NamedTuple):
    """Images as their loader gives them, and which of them are meant."""

    images: Any  # images[i] -> (PIL image or (3, H, W) uint8, label)
    indices: Sequence[int]
    labels: NDArray[np.int64] | None = None  # (n,) given to them; None: their own


class ImageSets(NamedTuple):
    """A set of images, split."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    size: int  # rows and columns that a model sees
    mean: tuple[float, ...]  # of each channel, in 0..1
    std: tuple[float, ...]
    counted: Counted | None = None  # what became of the files of a folder


class Digits:
    """scikit-learn's bundled handwritten digits: 1,797 pictures of 8 x 8 in grey, brought to 32 x 32.

    Source: E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI.
    """

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        pictures, self.labels = load_digits(return_X_y=True)
        grey = torch.from_numpy(pictures).float().reshape(-1, 1, 8, 8) * (255.0 / 16.0)  # 0..16 to bytes
        grey = torch.nn.functional.interpolate(grey, size=(32, 32), mode="bilinear")
        self.pictures = grey.round().to(torch.uint8).expand(-1, 3, -1, -1)  # (N, 3, 32, 32)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pictures[index], int(self.labels[index])


def load_images(config: DataConfig, *, run: Path | None = None, is_looked_at: bool = True) -> ImageSets:
    """Return the set that ``config`` names, split into images to learn from and images held out.

    CIFAR and ImageNet keep their own split. STL-10's 13,000 labelled images are split 7:3 within each class
    (Li et al. 2022, HAM, section 4.3); digits and folders by ``test_share``, always in the same way.

    Args:
        config: which set.
        run: folder of the run that goes on, or is judged: of a folder's pictures it leaves the same ones out.
        is_looked_at: whether each picture of a folder is looked at before any is used.

    Raises:
        UsageError: if the set is not there, or cannot be fetched, or a folder does not serve.
    """
    try:
        if config.name == "folder":
            skipped = None if run is None else _skipped_by(run, config)
            return _folder(config, Looking(is_looked_at, config.skip_broken, skipped))
        return _SETS[config.name](config)
    except (RuntimeError, OSError) as error:
        told = str(error).splitlines()[0]
        if config.download:
            raise UsageError(
                f"{config.name} could not be downloaded into {config.root}: {told}; "
                "download it by hand, or choose another --data.name"
            ) from error
        how = "pass --data.download true to download it, or " if config.name in FETCHED else ""
        raise UsageError(
            f"{config.name} is not in {config.root} ({told}); {how}name its folder with --data.root"
        ) from error


def _skipped_by(run: Path, config: DataConfig) -> tuple[str, ...] | None:
    """Return the broken pictures that a run, or a grid's first, left out as it began; None: it did not."""
    paths = (run / DESCRIBED, *sorted(run.glob(f"**/{DESCRIBED}")))
    path = next((path for path in paths if path.exists()), None)
    if path is None:  # it was stopped before it began, or made by a version that left none out
        return None if config.skip_broken else ()
    try:
        return tuple(json.loads(path.read_bytes())["skipped"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path} is empty, cut or damaged: {error!r}; copy it again") from error


def _digits(config: DataConfig) -> ImageSets:
    images = Digits()
    classes = tuple(str(digit) for digit in range(10))
    train, test = _stratified(images.labels, config.test_share, classes)
    values = images.pictures[train, 0].double() / 255.0
    mean, std = (float(value) for value in (values.mean(), values.std()))
    return ImageSets(
        Split(images, train), Split(images, test), classes, config.image_size or 32, (mean,) * 3, (std,) * 3
    )


def _cifar(config: DataConfig) -> ImageSets:
    train, test, classes = cifar(config.name, config.root, config.labels, is_downloaded=config.download)
    return ImageSets(_whole(train), _whole(test), classes, config.image_size or 32, *CIFAR_STATS[config.name])


def _stl10(config: DataConfig) -> ImageSets:
    from torchvision.datasets import STL10

    parts = [STL10(config.root, split=split, download=config.download) for split in ("train", "test")]
    labels = np.concatenate([part.labels for part in parts])
    images: Any = torch.utils.data.ConcatDataset(parts)
    train, test = _stratified(labels, 0.3, parts[0].classes)
    stats = ((0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713))
    size = config.image_size or 96
    return ImageSets(Split(images, train), Split(images, test), tuple(parts[0].classes), size, *stats)


def _imagenet(config: DataConfig) -> ImageSets:
    from torchvision.datasets import ImageNet

    opened = partial(open_image, background=config.background)
    train, test = (ImageNet(config.root, split=split, loader=opened) for split in ("train", "val"))
    classes = tuple(", ".join(names[:2]) for names in train.classes)  # two are called crane
    return ImageSets(_whole(train), _whole(test), classes, config.image_size or 224, *IMAGENET_STATS)


def _folder(config: DataConfig, looking: Looking) -> ImageSets:
    found = find_images(Path(config.root), config.background, looking)
    train, size = found.train, config.image_size or 224
    if found.held_out is not None:
        splits = (_whole(train), _whole(found.held_out))
    else:
        labels = np.asarray(train.targets)
        parts = _stratified(labels, config.test_share, found.classes, train.names)
        splits = (Split(train, parts[0]), Split(train, parts[1]))
    return ImageSets(*splits, found.classes, size, *IMAGENET_STATS, found.counted)


_SETS: dict[str, Callable[[DataConfig], ImageSets]] = {
    "digits": _digits,
    "cifar10": _cifar,
    "cifar100": _cifar,
    "stl10": _stl10,
    "imagenet": _imagenet,
}


def _whole(images: Any) -> Split:
    return Split(images, range(len(images)))


def _stratified(
    labels: Any, test_share: float, classes: Sequence[str], names: Sequence[str] | None = None
) -> tuple[list[int], list[int]]:
    """Return the indices to learn from and those held out: ``round(test_share n)`` of each class's ``n``.

    With ``names`` of the images, which are held out follows from the names alone, so that one more or less
    moves hardly any other.

    Raises:
        UsageError: if a class has too few for both.
    """
    generator = np.random.default_rng(SPLIT_SEED)
    train: list[int] = []
    test: list[int] = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if names is not None:
            members = np.array(sorted(members, key=lambda member: _digest(names[member])))
        num_test = round(test_share * len(members))
        if not 0 < num_test < len(members):
            raise UsageError(
                f"class {classes[label]!r} has {len(members)} image{'s' * (len(members) > 1)}, "
                f"too few to hold out {test_share:.0%} of them"
            )
        test += members[:num_test].tolist()
        train += members[num_test:].tolist()
    return sorted(train), sorted(test)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def described(sets: ImageSets) -> dict[str, Any]:
    """Return which images these are, as JSON holds it: classes, numbers, and a digest of names and labels."""
    told: dict[str, Any] = {"classes": list(sets.classes)}
    for name, split in (("train", sets.train), ("test", sets.test)):
        samples = getattr(split.images, "samples", None)
        root = getattr(split.images, "root", "")
        lines = (
            str(index)
            if samples is None
            else f"{Path(samples[index][0]).relative_to(root)} {samples[index][1]}"
            for index in split.indices
        )
        told[name] = {"images": len(split.indices), "digest": _digest("\n".join(lines))}
    return told


def check_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse images that are not those that `described` reported of before.

    Raises:
        ValueError: saying what differs.
    """
    if before["classes"] != now["classes"]:
        raise ValueError(
            f"its classes were {', '.join(before['classes'])}, and are {', '.join(now['classes'])} now"
        )
    for name, what in (("train", "to learn from"), ("test", "held out")):
        if before[name] != now[name]:
            raise ValueError(
                f"its images {what} have changed ({before[name]['images']:,} then, "
                f"{now[name]['images']:,} now); restore them, or start a new run"
            )
