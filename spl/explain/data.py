"""``spl show data``: a sheet of what a dataset looks like, some samples of each class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count
from spl.data.audiovisual import PairSource
from spl.data.images.datasets import DataConfig, load_images
from spl.data.labels import given_labels
from spl.data.loading import Broken, Pictures, plain
from spl.explain.subjects import spread
from spl.folder_files import FolderFiles
from spl.media.video_files import look_at
from spl.models.streams import in_units
from spl.plotting.fonts import drawable, drawn
from spl.plotting.tiles import as_tile, save
from spl.pretrain.data import PairsConfig, load_found
from spl.pretrain.inputs import find_inputs

Tile = NDArray[Any]  # (H, W, 3) in 0..1
IMAGE_SETS = ("digits", "cifar10", "cifar100", "stl10", "imagenet")
IDLE = ("augmentation", "padding", "label_noise", "num_workers")  # of images: nothing drawn has them
MOST_LOOKED_AT = 200  # files of a folder, of which one is a video or none is
FEW_PIXELS = 128  # a side, below which pixels are drawn as squares
INCH, NAME = 1.1, 18  # of a tile's side; letters of a class that fit beside it


@dataclass(frozen=True, kw_only=True)
class ShowDataConfig:
    """What is shown of a dataset, and how it is read."""

    num_drawn: Count = 8  # samples to draw per class, evenly spread
    most_classes: Count = 20  # classes to draw, from the first on
    out: PathName = "data.png"  # the sheet, .png or .pdf
    images: DataConfig = field(default_factory=DataConfig)  # how images are read; the name is the word given
    pairs: PairsConfig = field(default_factory=PairsConfig)  # how recordings and videos are read

    def __post_init__(self) -> None:
        check_fields(self)
        for name in IDLE:
            if (given := getattr(self.images, name)) != getattr(DataConfig, name):
                raise ValueError(f"images.{name} changes nothing that is drawn: leave it out, got {given}")
        if Path(self.out).suffix not in (".png", ".pdf"):
            raise ValueError(f"out must end in .png or .pdf, got {self.out}")


class Samples(NamedTuple):
    """A dataset as a sheet needs it."""

    classes: tuple[str, ...]  # one that stands for all where there are none
    labels: NDArray[np.int64]  # (N,)
    tiles: Callable[[Sequence[int]], list[Tile]]  # of samples 0..N - 1
    told: list[str]  # what there is, in sentences


def show_data(words: Sequence[str], config: ShowDataConfig) -> list[str]:
    """Write a sheet of samples, a row a class, pictures above the spectrograms of their sound.

    Args:
        words: the name of a set of images, or folders and files: recordings, videos, or a folder of images.
        config: how many, and how they are read.

    Returns:
        What there is, and where the sheet lies, in sentences.

    Raises:
        UsageError: if there is nothing to show, or the sheet cannot be written.
    """
    samples = find_samples(words, config)
    out = Path(config.out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_sheet(samples, config, ", ".join(words), out)
    except OSError as error:
        raise UsageError(
            f"the sheet {out} cannot be written: {error.strerror}; choose another --out"
        ) from error
    return [*samples.told, f"written to {out}"]


def find_samples(words: Sequence[str], config: ShowDataConfig) -> Samples:
    """Return the samples that the words name.

    Raises:
        UsageError: if they name none.
    """
    if not words:
        raise UsageError(
            f"name a dataset ({', '.join(IMAGE_SETS)}), or give recordings, videos or a folder of images: "
            "spl show data FOLDER"
        )
    if len(words) == 1 and words[0] in IMAGE_SETS:
        _check_idle(config.pairs, "pairs", "images")
        return of_images(_named(config.images, words[0]))
    inputs = find_inputs(words)
    if isinstance(inputs, FolderFiles) and not _has_videos(inputs):
        if len(words) > 1:
            raise UsageError(f"images are shown of one folder at a time, got {len(words)}: give one")
        _check_idle(config.pairs, "pairs", "images")
        if config.images.root != DataConfig.root:
            raise UsageError(f"the folder shown is {words[0]}: leave --images.root {config.images.root} out")
        return of_images(replace(_named(config.images, "folder"), root=words[0]))
    _check_idle(config.images, "images", "recordings or videos")
    return of_pairs(load_found(inputs, config.pairs))


def _named(images: DataConfig, name: Any) -> DataConfig:
    """Return how images of the set ``name`` are read; refuse options of another set."""
    if images.name not in (DataConfig.name, name):
        raise UsageError(f"{name} is shown: leave --images.name {images.name} out")
    return replace(images, name=name)


def _check_idle(options: Any, name: str, shown: str) -> None:
    """Refuse options that nothing reads, but for the set that a command line is read for."""
    if {**vars(options), "name": None} != {**vars(type(options)()), "name": None}:
        raise UsageError(f"{shown} are shown, which read no --{name}: leave these options out")


def _has_videos(files: FolderFiles) -> bool:
    return any(look_at(files.root / name).kind != "other" for name in files.used[:MOST_LOOKED_AT])


def of_images(config: DataConfig) -> Samples:
    """Return the images to learn from of a set, as a model sees them but for augmentation."""
    sets = load_images(config)
    pictures = Pictures(sets.train, plain(config, sets.size), 0)

    def tiles(places: Sequence[int]) -> list[Tile]:
        found = [pictures[(0, place)] for place in places]
        for one in found:
            if isinstance(one, Broken):
                raise UsageError(one.reason)
        return [one[0].permute(1, 2, 0).numpy() / 255 for one in found if not isinstance(one, Broken)]

    counts = f"{len(sets.train.indices):,} images to learn from, {len(sets.test.indices):,} held out"
    told = f"{config.name}: {counts}, {len(sets.classes):,} classes, {sets.size} x {sets.size}"
    left_out = [] if sets.counted is None else sets.counted.sentences()
    return Samples(sets.classes, given_labels(sets.train), tiles, [told, *left_out])


def of_pairs(source: PairSource) -> Samples:
    """Return the samples of recordings or videos: the newest picture, and the sound of all steps."""

    def tiles(places: Sequence[int]) -> list[Tile]:
        pairs = source.pairs(np.asarray(places, dtype=np.int64))
        both = zip(in_units(pairs.video), in_units(pairs.audio), strict=True)
        return [as_tile(seen, heard) for seen, heard in both]

    labels = source.labels() if source.classes else np.zeros(len(source), dtype=np.int64)
    return Samples(source.classes or ("samples",), labels, tiles, source.summary().splitlines())


def draw_sheet(samples: Samples, config: ShowDataConfig, title: str, path: Path) -> None:
    """Write the sheet: a row for each class, its name and the number of its samples on the left."""
    from matplotlib.figure import Figure

    drawn_classes = samples.classes[: config.most_classes]
    places = [np.flatnonzero(samples.labels == label) for label in range(len(drawn_classes))]
    rows = [
        samples.tiles([int(all_of[one]) for one in spread(len(all_of), config.num_drawn)])
        for all_of in places
    ]
    columns = max(1, max(map(len, rows)))
    height, width = next((row[0].shape[:2] for row in rows if row), (1, 1))
    size = (INCH * columns + 1.8, INCH * height / width * len(rows) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(drawable(title), fontsize=10, **drawn([title]))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, name, all_of, row in zip(grid, drawn_classes, places, rows, strict=True):
        for axes in line:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, tile in zip(line, row, strict=False):
            axes.imshow(tile, interpolation="nearest" if max(tile.shape) < FEW_PIXELS else None)
        label = f"{drawable(name)[:NAME]}\n{len(all_of):,}"
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, **drawn([name]))
    save(figure, path)
