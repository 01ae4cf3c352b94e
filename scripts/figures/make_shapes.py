"""A set of pictures whose masks are known: a bright disc, square, triangle or cross on a dark ground.

FOLDER/pictures/train and FOLDER/pictures/test hold a sub-folder a class, FOLDER/masks/test the masks of the
held-out ones. Place, size and colours are drawn; the shape alone tells the class. (Were the thing now
brighter and now darker than the ground, a small network would not learn it in a dozen epochs.)

    spl train classifier --data folder --data.root FOLDER/pictures --data.image_size 32
    spl evaluate classifier RUN --masks FOLDER/masks
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64  # pixels
SHAPES = ("cross", "disc", "square", "triangle")


def inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a shape of radius 1 around 0 is; ``y`` grows downwards."""
    if shape == "disc":
        return x**2 + y**2 <= 1
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.85
    if shape == "triangle":
        return (y <= 0.8) & (y >= 2.2 * abs(x) - 1)
    return (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 1)


def draw(shape: str, generator: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Return a picture and its mask."""
    radius = generator.uniform(8, 14)
    left, top = generator.uniform(radius, SIDE - radius, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = inside(shape, (columns - left) / radius, (rows - top) / radius)
    ground, colour = generator.uniform(0, 90, 3), generator.uniform(165, 255, 3)
    pixels = np.where(mask[..., None], colour, ground) + generator.normal(0, 12, (SIDE, SIDE, 3))
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return picture, Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))


def write(folder: Path, num_train: int, num_test: int, seed: int) -> None:
    """Write so many pictures of each class, and the masks of those held out."""
    generator = np.random.default_rng(seed)
    for part, count in (("train", num_train), ("test", num_test)):
        for shape in SHAPES:
            for number in range(count):
                picture, mask = draw(shape, generator)
                name = Path(part) / shape / f"{number:04}.png"
                (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
                picture.save(folder / "pictures" / name)
                if part == "test":
                    (folder / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
                    mask.save(folder / "masks" / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num_train", type=int, default=200, help="pictures of each class to learn from")
    parser.add_argument("--num_test", type=int, default=50, help="and held out")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    write(words.folder, words.num_train, words.num_test, words.seed)


if __name__ == "__main__":
    main()
