"""Frames of recordings as a folder of images: a class per recording, train/ and test/ separate.

    python scripts/figures/make_frames.py frames --train a/pong a/enduro --test b/pong b/enduro
spl train classifier --data folder --data.root frames
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spl.data.recordings import Recordings, names_of


def write_frames(folders: Sequence[Path], out: Path, count: int) -> int:
    """Write ``count`` pictures of each recording, evenly spread, and return how many there are."""
    names, written = names_of(folders), 0
    for folder, name in zip(folders, names, strict=True):
        source, place = Recordings([folder], history=1), out / name
        place.mkdir(parents=True, exist_ok=True)
        chosen = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(np.int64)
        for index, video in zip(chosen, source.pairs(chosen).video, strict=True):
            picture = video[-1].permute(1, 2, 0).numpy()  # (H, W, C)
            Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(
                place / f"{index:06d}.png"
            )
            written += 1
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="recordings to learn from")
    parser.add_argument(
        "--test", type=Path, nargs="+", required=True, help="recordings to judge by, in the same order"
    )
    parser.add_argument(
        "--count", type=int, default=300, help="pictures of each to learn from; a third to judge by"
    )
    args = parser.parse_args()
    for part, folders, count in (("train", args.train, args.count), ("test", args.test, args.count // 3)):
        print(f"{args.out / part}: {write_frames(folders, args.out / part, count):,} pictures")


if __name__ == "__main__":
    main()
