"""Decoding videos to steps, against a plain loop of PyAV: frames a second of the same file.

The plain loop decodes the pictures with FFmpeg's own threads and brings each to 84 x 84 grey; it neither
hears nor keeps a time axis. Ours does the same and the sound to 16 kHz (`steps`), and all that a cache of
clips holds, log-mel included (`clips`); at a step a frame, and at 15 steps a second, where pictures that no
step shows are not resized. Then several videos: the plain loop through one after the other, against the two
processes that fill a cache. Each in turn, in an order drawn again; medians. Last a batch of 64 samples of the
cache, in milliseconds.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from spl.data.video_folders import load_clips
from spl.data.videos import ClipConfig
from spl.folder_files import gather
from spl.media.video_cache import decode, job_of
from spl.media.video_reader import Video
from spl.media.video_writer import write_video
from spl.runs.logger import print_table
from timing import seconds, take_turns

SIZE, FPS, RATE_HZ, SECONDS = (84, 84), 30, 44_100, 20
NUM_FRAMES, NUM_FILMS = FPS * SECONDS, 6


def moving() -> Iterator[NDArray[np.uint8]]:
    """Yield 360 x 640 pictures of coloured squares that drift."""
    squares = np.random.default_rng(0).integers(256, size=(64, 96, 3), dtype=np.uint8)
    scene = squares.repeat(8, axis=0).repeat(8, axis=1)
    for number in range(NUM_FRAMES):
        top, left = number % 64, (number // 2) % 64
        yield np.ascontiguousarray(scene[top : top + 360, left : left + 640])


def plain(path: Path) -> None:
    """Decode the pictures and resize each, as a loop written by hand does."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            frame.to_ndarray(width=SIZE[1], height=SIZE[0], format="gray")


def plain_all(folder: Path) -> None:
    """Do so with every video of a folder."""
    for path in folder.iterdir():
        plain(path)


def steps(path: Path, step_s: float) -> None:
    """Read a video step by step, with its sound."""
    cut = {"video_size": SIZE, "grey": True, "sample_rate_hz": 16_000, "stereo": False}
    for _ in Video(path).steps(step_s=step_s, **cut):  # type: ignore[arg-type]
        pass


def clips(path: Path, step_s: float) -> None:
    """Decode a video as a cache holds it."""
    cut = ClipConfig(video_size=SIZE, step_s=step_s).cut
    with tempfile.TemporaryDirectory() as cache:
        decode(job_of(path, path.name, Path(cache), cut), cut, num_threads=0)


def fill_cache(folder: Path, step_s: float) -> None:
    """Decode a folder of videos into a new cache, in two processes, as a run begins."""
    with tempfile.TemporaryDirectory() as cache:
        load_clips(gather([folder]), ClipConfig(cache=cache, video_size=SIZE, step_s=step_s, num_workers=2))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    noise = (generator.normal(0.0, 0.1, RATE_HZ) for _ in range(SECONDS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "films" / "film.mp4"
        path.parent.mkdir()
        write_video(path, moving(), fps=FPS, audio=noise, sample_rate_hz=RATE_HZ)
        many = Path(folder) / "many"
        many.mkdir()
        for number in range(NUM_FILMS):
            shutil.copy(path, many / f"{number}.mp4")
        contenders: dict[str, Callable[[], None]] = {
            "plain loop, pictures alone": lambda: plain(path),
            "steps, one a frame": lambda: steps(path, 1 / FPS),
            "steps, 15 a second": lambda: steps(path, 1 / 15),
            "clips, one step a frame": lambda: clips(path, 1 / FPS),
            "clips, 15 steps a second": lambda: clips(path, 1 / 15),
            "films, plain loop, pictures alone": lambda: plain_all(many),
            "films, cache, one step a frame": lambda: fill_cache(many, 1 / FPS),
            "films, cache, 15 steps a second": lambda: fill_cache(many, 1 / 15),
        }
        times = take_turns(
            {name: partial(seconds, call) for name, call in contenders.items()}, args.repetitions
        )
        loaded = load_clips(gather([path.parent]), ClipConfig(num_workers=0))
        batches = [
            1e3 * seconds(lambda: loaded.pairs(generator.integers(len(loaded), size=64))) for _ in range(100)
        ]
    rows = []
    for name, values in times.items():
        num_frames = NUM_FRAMES * (NUM_FILMS if name.startswith("films") else 1)
        rows.append([name, f"{num_frames / statistics.median(values):,.0f}"])
    print_table("360 x 640 H.264 and AAC to 84 x 84 grey", ["", "frames/s"], rows)
    print(f"a batch of 64 samples of the cache: {statistics.median(batches):.2f} ms")


if __name__ == "__main__":
    main()
