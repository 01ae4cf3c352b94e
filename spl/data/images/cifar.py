"""CIFAR-10 and CIFAR-100 as torchvision reads them, the latter also by its 20 groups of classes."""

from typing import Any

CIFAR_STATS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}  # mean and standard deviation of each channel, in 0..1


# The 20 groups of CIFAR-100's classes; a group's label is its place. Source: Krizhevsky (2009), Learning
# multiple layers of features from tiny images, and the dataset's page.
GROUPS = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}


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
        group_of = {name: place for place, names in enumerate(GROUPS.values()) for name in names.split()}
        for part in parts:
            part.targets = [group_of[classes[label]] for label in part.targets]
        classes = tuple(GROUPS)
    return parts[0], parts[1], classes
