"""Films of an agent: frames a second, and the memory for a long film against a short one.

An untrained agent of the default size at 84 x 84 plays; everything is drawn. Greeting decides at every frame,
Pong at every fourth. Wall and CPU time from the first frame to the last; loading is not counted. "others" is
the share of the machine that other processes took meanwhile: figures count where it is small. With --hours,
the resident size is printed after each tenth of such a film. Extra: atari.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spl.agents.film import command as filming
from spl.cli import main as cli
from spl.runs.logger import print_table
from timing import machine_cpu_s, memory_bytes, share_of_others

SHORT = ["--memory.min_size", "40", "--num_steps", "60", "--checkpoint_every_steps", "60"]


class Watch:
    """Looks at the clocks when the first frame is ready, and at the memory ten times."""

    def __init__(self, num_frames: int) -> None:
        self.every, self.sizes = max(1, num_frames // 10), list[float]()
        self.begun = (0.0, 0.0, 0.0)

    def frames(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Pass the frames on."""
        for number, frame in enumerate(frames):
            if number == 0:
                self.begun = time.perf_counter(), time.process_time(), machine_cpu_s()
            if number % self.every == 0:
                self.sizes.append(memory_bytes("VmRSS") / 2**20)
            yield frame


def shoot(run: Path, folder: Path, seconds: float, frame_rate_hz: int) -> tuple[list[str], list[float]]:
    """Return a row of the table, and the resident sizes in MiB."""
    watch = Watch(round(seconds * frame_rate_hz))
    plain = filming.Reel.frames
    filming.Reel.frames = lambda reel, shots: watch.frames(plain(reel, shots))  # type: ignore[method-assign]
    try:
        config = filming.FilmConfig(
            out=str(folder / "a.mp4"), duration_s=seconds, num_episodes=10_000, device="cpu"
        )
        done = filming.film(run, config)
    finally:
        filming.Reel.frames = plain  # type: ignore[method-assign]
    wall, ours, machine = (
        now - before
        for now, before in zip(
            (time.perf_counter(), time.process_time(), machine_cpu_s()), watch.begun, strict=True
        )
    )
    others = share_of_others(wall, ours, machine)
    frames = done["frames"]
    size = (folder / "a.mp4").stat().st_size / 2**20 / seconds * 60
    row = [
        f"{frames:,}",
        f"{frames / wall:.0f}",
        f"{1e3 * ours / frames:.1f}",
        f"{size:.1f}",
        f"{others:.0%}",
    ]
    return row, watch.sizes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of film")
    parser.add_argument(
        "--hours", type=float, default=0.0, help="of a film of Greeting whose memory is printed"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for env, rate_hz in (("spl/Greeting-v0", 10), ("ALE/Pong-v5", 60)):
            words = ["--env", env, "--runs", str(folder / env), "--num_threads", "1", "--device", "cpu"]
            cli.main(["train", "agent", *SHORT, *words])
            (run,) = (folder / env / "agent").iterdir()
            rows.append([env, *shoot(run, folder, args.seconds * 60 / rate_hz, rate_hz)[0]])
            if args.hours and rate_hz == 10:
                row, sizes = shoot(run, folder, 3600 * args.hours, rate_hz)
                rows.append([f"{env}, {args.hours:g} h", *row])
                print("MiB at each tenth:", ", ".join(f"{size:.0f}" for size in sizes))
    columns = ["", "frames", "frames/s", "CPU ms a frame", "MiB a minute", "others"]
    print_table("An agent at 84 x 84 filmed with maps, shares and sound", columns, rows)


if __name__ == "__main__":
    main()
