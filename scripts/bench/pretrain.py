"""The cost of loading in pretraining: views a second against the same step on a preloaded batch.

Streams, recording and videos are those of `spl/Beacon-v0` at 84 x 84 (the videos: written to H.264 and
AAC, decoded once into the cache of clips). Every repetition takes some updates as the command does, from disk
with reading ahead, and as many on one batch in memory, in random order; medians of the ratio. Then the
peak of anonymous memory (what is not pages of a file) of a process that trains on recordings of two lengths.
"""

import argparse
import contextlib
import io
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from spl.cli.main import main as spl
from spl.data.audiovisual import Pairs, PairSource, read_ahead
from spl.data.recordings import Recordings
from spl.data.video_folders import load_clips
from spl.data.videos import ClipConfig
from spl.folder_files import gather
from spl.media.video_writer import write_video
from spl.models.encoder import EncoderConfig
from spl.pretrain.config import PretrainConfig, PretrainRecipe, measure
from spl.pretrain.data import PairsConfig, ViewOrder, load_pairs
from spl.pretrain.learner import build_learner
from spl.runs.logger import print_table
from timing import memory_bytes, ratios, run_only, take_turns

ENCODERS = {
    "convolutions": EncoderConfig(attention="none"),
    "dense": EncoderConfig(video_stream="dense", audio_stream="dense", attention="none"),
}
STEPS = 3_000
CHILD_UPDATES = 60


def record(folder: Path, num_steps: int) -> Path:
    """Record so many random steps of Beacon."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        words = ["--env", "spl/Beacon-v0", "--num_steps", str(num_steps), "--out", str(folder)]
        assert spl(["record", *words]) == 0
    return folder


def video(folder: Path, recording: Path) -> Path:
    """Write the recording's pictures as videos, with a noise whose loudness drifts."""
    source, generator = Recordings([recording], history=1), np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(4):
        pairs = source.pairs(np.arange(number * 600, number * 600 + 600))
        pictures = (np.repeat(frame.numpy()[0, 0, :, :, None], 3, axis=2) for frame in pairs.video)
        sound = (generator.normal(0.0, 0.02 + 0.1 * (k % 50) / 50, 16_000) for k in range(40))
        write_video(folder / f"{number}.mp4", pictures, fps=15, audio=sound, sample_rate_hz=16_000)
    return folder


def pairs_forever(source: PairSource, batch_size: int) -> Iterator[tuple[Pairs, np.ndarray]]:
    """Yield what every update learns from, as the command reads it."""
    order = ViewOrder(
        len(source), batch_size=batch_size, views="thirds", is_aligned=False, seed=0, num_epochs=1_000
    )
    return read_ahead(source, iter(order))


def compare(source: PairSource, encoder: EncoderConfig, repetitions: int, updates: int) -> list[float]:
    """Return views a second from disk, on a ready batch, and the median of their ratio."""
    config = PretrainConfig(encoder=encoder, recipe=PretrainRecipe(), device="cpu")
    learner = build_learner(config, source, measure(source, 0), 1_000_000)
    stream = pairs_forever(source, config.recipe.batch_size)
    ready = next(stream)

    def rate(batches: Iterator[tuple[Pairs, np.ndarray]]) -> float:
        started = time.perf_counter()
        for pairs, conditions in itertools.islice(batches, updates):
            learner.update(pairs, torch.from_numpy(conditions))
        return updates * config.recipe.batch_size / (time.perf_counter() - started)

    rate(stream), rate(itertools.repeat(ready))
    measures = {"disk": lambda: rate(stream), "ready": lambda: rate(itertools.repeat(ready))}
    found = take_turns(measures, repetitions)
    compared = found["disk"], found["ready"], ratios(found["disk"], found["ready"])
    return [statistics.median(values) for values in compared]


def train_and_print(recording: Path) -> None:
    """Train on a recording and print the largest anonymous memory as JSON."""
    source = load_pairs(PairsConfig(paths=(str(recording),)))
    config = PretrainConfig(encoder=ENCODERS["convolutions"], device="cpu")
    learner = build_learner(config, source, measure(source, 0), 1_000_000)
    peak = 0.0
    for pairs, conditions in itertools.islice(pairs_forever(source, 96), CHILD_UPDATES):
        learner.update(pairs, torch.from_numpy(conditions))
        peak = max(peak, memory_bytes("RssAnon") / 2**20)
    print(json.dumps({"samples": len(source), "peak": peak}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--updates", type=int, default=12, help="a repetition and side")
    parser.add_argument(
        "--lengths", type=int, nargs=2, default=(10_000, 100_000), help="of recordings, steps"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        train_and_print(args.child)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recording = record(folder / "recording", STEPS)
        videos = gather([video(folder / "videos", recording)])
        sources = {
            "recording": load_pairs(PairsConfig(paths=(str(recording),))),
            "clip cache": load_clips(videos, ClipConfig()),
        }
        rows = []
        for (kind, source), (name, encoder) in itertools.product(sources.items(), ENCODERS.items()):
            disk, ready, ratio = compare(source, encoder, args.repetitions, args.updates)
            rows.append([f"{kind}, {name}", f"{disk:,.0f}", f"{ready:,.0f}", f"{ratio:.2f}"])
        title = f"Views a second of training, batches of 96, {torch.get_num_threads()} threads"
        print_table(title, ["", "from disk", "ready batch", "ratio"], rows)
        rows = []
        for length in args.lengths:
            place = record(folder / f"recording-{length}", length)
            found = run_only([__file__, "--child", str(place)])
            on_disk = sum(path.stat().st_size for path in place.iterdir() if path.is_file()) / 2**20
            rows.append([f"{found['samples']:,} samples", f"{on_disk:,.0f}", f"{found['peak']:,.0f}"])
        print_table("Memory in training, MiB", ["recording", "on disk", "peak, without pages of files"], rows)


if __name__ == "__main__":
    main()
