"""The trained classifiers that are explained side by side, and their images."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from spl.classify.config import TrainClassifierConfig
from spl.classify.load import read_classifier
from spl.classify.model import Classifier
from spl.config.errors import UsageError
from spl.data.images.datasets import ImageSets, described
from spl.data.images.files import UnreadableError, open_image
from spl.data.loading import Images, Pictures, batches, plain
from spl.eval_mode import evaluating
from spl.models.image.network_table import NETWORKS
from spl.printable import printable
from spl.saliency import METHODS, chosen
from spl.saliency.methods import LAYERLESS


class Asked(NamedTuple):
    """Images that are drawn, as one of the classifiers sees them."""

    images: Tensor  # (B, 3, H, W) uint8
    names: list[str]
    truths: list[str | None]  # classes, where they are known


class Cost(NamedTuple):
    """What a classifier has, and takes."""

    num_parameters: int
    milliseconds: float  # for an image: the best of 5 batches of 8


@dataclass(frozen=True)
class Subject:
    """A classifier, and where class activation maps are taken in it."""

    folder: Path
    name: str  # of the run
    label: str  # and of the layer, where several are looked at
    classifier: Classifier
    sets: ImageSets
    config: TrainClassifierConfig
    cost: Cost
    layer: str
    is_chosen: bool  # the layer, by the user; else attention is looked for in the whole model
    is_further: bool  # one more layer of a run that another subject is of, too

    @property
    def model(self) -> nn.Module:
        """The model that is judged."""
        return self.classifier.judged

    def maps(self, method: str, inputs: Tensor, classes: Tensor) -> Tensor:
        """Return where it looks for ``classes (B,)`` in ``inputs (B, 3, H, W)``: ``(B, H, W)`` in 0..1."""
        layer = "" if method == "attention" and not self.is_chosen else self.layer
        maps: Tensor = METHODS[method](self.model, layer, inputs, chosen(classes))
        return maps

    def held_out(self, places: Sequence[int], batch_size: int) -> Iterator[Images]:
        """Yield the held-out images of these places in batches."""
        pictures = Pictures(self.sets.test, plain(self.config.data, self.sets.size), self.config.seed)
        keys = [
            [(0, place) for place in places[first : first + batch_size]]
            for first in range(0, len(places), batch_size)
        ]
        return batches(pictures, keys, num_workers=0, is_pinned=False)


def read_subjects(
    folders: Sequence[Path],
    which: Literal["last", "best"],
    *,
    layers: Sequence[str],
    root: str | None,
    device: str,
) -> list[Subject]:
    """Return the classifiers of runs, once for each layer that is looked at.

    Those of one network are told apart by where their folders differ.

    Args:
        folders: of the runs.
        which: the weights after the last epoch, or after the best one.
        layers: at which class activation maps are taken; none for the last stage, ``stages`` for each.
        root: where the images lie now; None for where they lay in training.
        device: where to compute.

    Raises:
        UsageError: if a folder is given twice, is not such a run, or has no such weights.
    """
    names = _distinct_names(folders)
    read = [(folder, *read_classifier(folder, which, root=root, device=device)[:3]) for folder in folders]
    labels = [_label(config) for _, _, _, config in read]
    subjects = []
    for name, place, (folder, classifier, sets, config) in zip(labels, names, read, strict=True):
        if labels.count(name) > 1:
            name += f" ({place})"
        stages, costs = NETWORKS[config.model.name].stages, cost(classifier, sets.size)
        looked_at = [one for layer in layers for one in (stages if layer == "stages" else [layer])]
        looked_at = list(dict.fromkeys(looked_at)) or [stages[-1]]
        for layer in looked_at:
            subjects.append(
                Subject(
                    folder=folder,
                    name=name,
                    label=f"{name}, {layer}" if len(looked_at) > 1 else name,
                    classifier=classifier,
                    sets=sets,
                    config=config,
                    cost=costs,
                    layer=layer,
                    is_chosen=bool(layers),
                    is_further=layer != looked_at[0],
                )
            )
    return subjects


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """Return the ends of the folders' paths, no longer than it takes for them to differ."""
    places = [folder.resolve().parts for folder in folders]
    if len(set(places)) < len(places):
        raise UsageError("give each run once")
    length = next(
        count for count in itertools.count(1) if len({one[-count:] for one in places}) == len(places)
    )
    return ["/".join(one[-length:]) for one in places]


def cost(classifier: Classifier, image_size: int) -> Cost:
    """Return what a classifier has and takes; on a machine that is busy the time says little."""
    empty = torch.zeros(8, 3, image_size, image_size, dtype=torch.uint8)
    model, inputs = classifier.judged, classifier.inputs(empty)
    spent = []
    with evaluating(model), torch.inference_mode():
        for _ in range(5):
            started = time.perf_counter()
            model(inputs).sum().item()  # waits for the device
            spent.append(time.perf_counter() - started)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), 1e3 * min(spent) / len(empty))


def _label(config: TrainClassifierConfig) -> str:
    model = config.model
    named = model.name if model.attention == "none" else f"{model.name} {model.placed_attention}"
    transfer = config.transfer
    if transfer.peer is None or transfer.weight == 0:
        return named
    return f"{named}, {transfer.kind} of {transfer.peer}"


def usable_methods(subject: Subject, methods: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the methods that there are for a subject, and a sentence for each that there is not.

    Raises:
        UsageError: if it has no such layer, or the layer gives no rows and columns.
    """
    size = subject.sets.size
    inputs = subject.classifier.inputs(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    usable, left_out = [], []
    for method in methods:
        if subject.is_further and method in LAYERLESS:
            continue
        try:
            asked = "grad-cam" if method == "score-cam" else method  # of the same layers, in one pass
            if asked not in LAYERLESS:  # many passes, no surprise
                subject.maps(asked, inputs, torch.zeros(1, dtype=torch.int64))
            usable.append(method)
        except ValueError as error:
            if method != "attention":
                raise UsageError(f"{subject.folder}: {error}") from error
            left_out.append(f"{subject.label} has no column for attention: {error}")
    return usable, left_out


def spread(total: int, wanted: int | None) -> list[int]:
    """Return ``wanted`` places, or all for None, spread evenly over ``0..total - 1``."""
    count = total if wanted is None else min(wanted, total)
    return [int(place) for place in np.linspace(0, total - 1, count).round()]


def ask_held_out(subjects: Sequence[Subject], num_images: int) -> list[Asked]:
    """Return the same held-out images for each subject.

    Raises:
        UsageError: if the subjects do not hold out the same images, or one cannot be read.
    """
    first = described(subjects[0].sets)
    asked = []
    for subject in subjects:
        if described(subject.sets) != first:
            raise UsageError(
                f"{subjects[0].folder} and {subject.folder} do not hold out the same images; "
                "say which to explain with --images"
            )
        places = spread(len(subject.sets.test.indices), num_images)
        (batch,) = subject.held_out(places, num_images)
        truths: list[str | None] = [subject.sets.classes[label] for label in batch.labels]
        asked.append(Asked(batch.images, [f"held out {index}" for index in batch.indices.tolist()], truths))
    return asked


def check_files(files: Sequence[str]) -> None:
    """Refuse images that are not there, before anything is read for them; `UsageError`."""
    if missing := [file for file in files if not Path(file).exists()]:
        raise UsageError(
            f"{printable(missing[0])} cannot be read as an image: No such file; give another with --images"
        )


def ask_files(subjects: Sequence[Subject], files: Sequence[str]) -> list[Asked]:
    """Return the images of files, cut as each subject has them.

    Raises:
        UsageError: if one cannot be read.
    """
    names, truths = [printable(Path(file).name) for file in files], [None] * len(files)
    asked = []
    for subject in subjects:
        data = subject.config.data
        cut = plain(data, subject.sets.size)
        opened = [_open(Path(file), data.background) for file in files]
        asked.append(Asked(torch.stack([cut(image) for image in opened]), names, [*truths]))
    return asked


def _open(path: Path, background: str) -> Image.Image:
    try:
        return open_image(path, background)
    except UnreadableError as error:
        raise UsageError(
            f"{printable(str(path))} cannot be read as an image: {error}; give another with --images"
        ) from error
