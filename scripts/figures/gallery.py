"""Makes the pictures of docs/gallery.md out of real runs: ``python scripts/figures/gallery.py FOLDER``.

Every picture is what a command of spl wrote, made smaller. ``--agent RUN`` and ``--classifier RUN`` take what
is trained already; without them ``spl train`` trains an agent in Greeting and a ResNet-20 on digits.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image, ImageStat

WIDTH = 800  # pixels, at the most
COLOURS = 128  # of a picture's palette


def spl(*words: object) -> None:
    """Run a command of spl."""
    print("spl", *words, file=sys.stderr)
    subprocess.run([sys.executable, "-m", "spl.cli.main", *map(str, words)], check=True, stdout=sys.stderr)


def keep(picture: Path, out: Path) -> None:
    """Write a picture no wider than ``WIDTH``, with a palette, so that the repository stays small."""
    with Image.open(picture) as image:
        small = image.convert("RGB")
        small.thumbnail((WIDTH, 4 * WIDTH))
        small.quantize(COLOURS).save(out, optimize=True)


def only(folder: Path) -> Path:
    """Return the one run in a folder of runs."""
    (run,) = (path for path in folder.iterdir() if path.is_dir())
    return run


def agent(run: Path, place: Path, out: Path) -> None:
    """Draw what the commands that read an agent write."""
    spl("evaluate", "agent", run, "--num_episodes", 10, "--num_seeds", 1)
    keep(run / "robustness.png", out / "evaluate-agent.png")
    spl("explain", "agent", run, "--num_drawn", 6, "--out", place / "explain")
    keep(place / "explain" / "episode-1.png", out / "explain-agent.png")
    spl("film", run, "--duration_s", 4, "--out", place / "film.mp4")
    shutil.copy(place / "film.mp4", out / "film.mp4")
    with av.open(place / "film.mp4") as film:
        frames = [frame.to_image() for frame in film.decode(video=0)]
    max(frames, key=lambda frame: ImageStat.Stat(frame).var[0]).save(place / "film.png")  # most is to be seen
    keep(place / "film.png", out / "film.png")


def classifier(run: Path, out: Path) -> None:
    """Draw digits, and where a network that was trained on them looks."""
    spl("show", "data", "digits", "--num_drawn", 8, "--out", out / "show-data.png")
    keep(out / "show-data.png", out / "show-data.png")
    spl("explain", "classifier", run, "--method", "grad-cam,integrated-gradients", "--num_measured", 0)
    keep(run / "explanation" / "overlays.png", out / "explain-classifier.png")


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--agent", type=Path, help="run directory of a trained agent")
    parser.add_argument("--classifier", type=Path, help="run directory of a classifier trained on digits")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if args.agent is None:
            spl("train", "agent", "--config", "greeting", "--runs", place)
        agent(args.agent or only(place / "agent"), place, args.out)
        if args.classifier is None:
            spl("train", "classifier", "--runs", place)
        classifier(args.classifier or only(place / "classifier"), args.out)


if __name__ == "__main__":
    main()
