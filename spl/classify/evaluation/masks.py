"""Maps of a classifier held against masks that say where in a picture the thing is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spl.classify.model import Classifier
from spl.config.errors import UsageError
from spl.data.images.datasets import DataConfig, ImageSets
from spl.data.images.files import UnreadableError, open_image
from spl.data.loading import Pictures, batches, plain
from spl.folder_files import named
from spl.printable import printable
from spl.saliency import METHODS, predicted
from spl.saliency.metrics import energy_inside, pointing_accuracy
from spl.saliency.targets import chosen

BATCH_SIZE = 32
INSIDE = 128  # grey level of a mask from which a pixel belongs to the thing


def find_masks(sets: ImageSets, config: DataConfig, folder: Path) -> dict[int, Tensor]:
    """Return the masks ``(H, W)`` bool of held-out images, by their place among them.

    A mask is an image of its picture's name and size in the same sub-folders, whatever its ending: white is
    inside. It is cut as the picture is. Those of pictures that are learned from are not used.

    Raises:
        UsageError: if the images are of no folder, there are no masks, one has no picture or another size,
            cannot be read or is empty, or no held-out picture has one.
    """
    if config.name != "folder":
        raise UsageError(f"masks are of a folder's images, got --masks for {config.name}: leave it out")
    files = sorted(path for path in folder.glob("**/*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise UsageError(f"{printable(str(folder))} has no masks: give a folder of them with --masks")
    masks = {_name(path, folder): path for path in files}
    root = Path(config.root)
    names = {_name(path, root): index for index, (path, _) in enumerate(sets.test.images.samples)}
    learned = {_name(path, root) for path, _ in sets.train.images.samples}
    if lone := sorted(masks.keys() - names.keys() - learned):
        raise UsageError(
            f"each mask must have a picture of the same name in {printable(config.root)}, got {len(lone):,} "
            f"of {len(masks):,} without: {named(map(printable, lone), len(lone))}"
        )
    cut = plain(config, sets.size)
    places = {index: place for place, index in enumerate(sets.test.indices)}
    held_out = {names[name]: path for name, path in masks.items() if names.get(name) in places}
    if not held_out:
        raise UsageError(f"no held-out picture has a mask in {printable(str(folder))}: add theirs")
    return {
        places[index]: _opened(path, Path(sets.test.images.samples[index][0]), cut)
        for index, path in held_out.items()
    }


def _name(path: Path | str, root: Path) -> str:
    """Return a file's name below a folder, without its ending."""
    return str(Path(path).relative_to(root).with_suffix(""))


def _opened(path: Path, picture: Path, cut: Any) -> Tensor:
    """Return a mask as its picture is cut."""
    try:
        mask, of_picture = open_image(path, "black"), open_image(picture, "black")
    except UnreadableError as error:
        raise UsageError(f"the mask {printable(str(path))} cannot be read: {error}") from error
    if mask.size != of_picture.size:
        raise UsageError(
            f"the mask {printable(str(path))} must be as large as its picture, {of_picture.size[0]} x "
            f"{of_picture.size[1]}, got {mask.size[0]} x {mask.size[1]}"
        )
    inside: Tensor = cut(mask).float().mean(dim=0) >= INSIDE
    if not inside.any():
        raise UsageError(f"the mask {printable(str(path))} is empty where its picture is looked at")
    return inside


def measure_masks(
    classifier: Classifier, pictures: Pictures, masks: Mapping[int, Tensor], method: str, layer: str
) -> dict[str, Any]:
    """Return how often the map of the predicted class points into the mask, and how much of it lies there.

    Args:
        classifier: whose judged network is explained.
        pictures: held out.
        masks: by place.
        method: of `METHODS`.
        layer: at which class activation maps are taken.

    Returns:
        ``images``, ``pointing_accuracy``, ``energy_inside`` and ``chance``, the mean share of a picture that
        its mask takes, which an even map has inside; all in 0..1. ``sentence`` says it.

    Raises:
        UsageError: if the network gives no such map.
    """
    maps, model = [], classifier.judged
    places = list(masks)
    keys = [
        [(0, place) for place in places[at : at + BATCH_SIZE]] for at in range(0, len(places), BATCH_SIZE)
    ]
    for batch in batches(pictures, keys, num_workers=0, is_pinned=False):
        inputs = classifier.inputs(batch.images)
        try:
            found = METHODS[method](model, layer, inputs, chosen(predicted(model, inputs)))
        except ValueError as error:
            raise UsageError(f"{method} gives no map here: {error}; choose another --method") from error
        maps.append(found.cpu())
    heat, inside = torch.cat(maps), torch.stack([masks[place] for place in places])
    told = {
        "method": method,
        "images": len(places),
        "pointing_accuracy": pointing_accuracy(heat, inside),
        "energy_inside": float(energy_inside(heat, inside).cpu().double().mean()),
        "chance": float(inside.cpu().double().mean()),
    }
    told["sentence"] = (
        f"{method} of {len(places):,} held-out images points into the mask in "
        f"{told['pointing_accuracy']:.1%}, {told['energy_inside']:.1%} of its energy lies inside "
        f"(an even map: {told['chance']:.1%})"
    )
    return told
