"""Makes the pictures of docs/gallery.md out of real runs: ``python scripts/figures/gallery.py FOLDER``.

Every picture is what a command of spl wrote, made smaller, or printed. ``--agent RUN``, ``--classifier RUN``
and ``--autoencoder RUN`` take what is trained already; without them an agent is trained in Greeting, a
ResNet-20 on digits and an autoencoder on a recording. Needs chromium, and the extra watch.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from sklearn.cluster import KMeans

WIDTH = 800  # pixels, at the most
COLOURS = 128  # of a picture's palette
LETTERS, INK, PAPER, LONGEST = 16, "#e7e6e3", "#15171b", 110  # of a terminal: pixels, colours, columns
FOLDER = r"(?<!\S)/\S+/(?=[\w-]+-s\d)\S+?(?=[/\s]|$)"  # of a run on this machine
FAILURE, FAILS_AT_STEP = "video fails midway", 30  # in the film
LOOP_WIDTH, LOOP_COLOURS, LOOP_FRAMES, LOOP_MS = 480, 56, 30, 200  # of the README's first picture
SPACE = """agent.learning_rate: {low: 1e-4, high: 1e-2, log: true}
agent.n_step: [1, 3]
"""
WATCHED = 60  # pictures of a window, in which the video is taken away after half of them


def spl(*words: object, cwd: Path | None = None) -> str:
    """Run a command of spl, in a folder, and return what it printed."""
    print("spl", *words, file=sys.stderr)
    command = [sys.executable, "-m", "spl.cli.main", *map(str, words)]
    env = {**os.environ, "COLUMNS": f"{LONGEST}"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env, cwd=cwd).stdout


def keep(picture: Path, out: Path) -> None:
    """Write a picture no wider than ``WIDTH``, with a palette, so that the repository stays small."""
    with Image.open(picture) as image:
        small = image.convert("RGB")
        small.thumbnail((WIDTH, 4 * WIDTH))
        small.quantize(COLOURS).save(out, optimize=True)


def terminal(out: Path, *words: object, most: int = 40) -> None:
    """Draw a command and what it prints."""
    screen(out, [f"$ spl {shlex.join(map(str, words))}", *spl(*words).rstrip().splitlines()], most)


def screen(out: Path, lines: list[str], most: int = 40) -> None:
    """Draw lines as in a terminal, at most so many, none longer than ``LONGEST``."""
    lines = [line for one in lines for line in wrapped(re.sub(FOLDER, "RUN", one))]
    lines = [one if len(one := line.rstrip()) <= LONGEST else f"{one[: LONGEST - 3]}..." for line in lines]
    if len(lines) > most:
        lines = [*lines[: most - 1], "..."]
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSansMono.ttf", LETTERS)
    size = round(max(map(font.getlength, lines))) + 24, round(1.3 * LETTERS * len(lines)) + 24
    image = Image.new("RGB", size, PAPER)
    drawing = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        drawing.text((12, 12 + 1.3 * LETTERS * number), line, INK, font)
    image.quantize(16).save(out, optimize=True)


def wrapped(line: str) -> list[str]:
    """Return a command that is typed in lines of at most ``LONGEST``, and any other line as it is."""
    return textwrap.wrap(line, LONGEST, subsequent_indent="    ") if line.startswith("$ ") else [line]


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
    seconds = LOOP_FRAMES * LOOP_MS / 1000
    spl(
        "film",
        run,
        "--failure",
        FAILURE,
        "--fails_at_step",
        FAILS_AT_STEP,
        "--duration_s",
        seconds,
        "--scale",
        5,
        "--out",
        place / "film.mp4",
    )
    shutil.copy(place / "film.mp4", out / "film.mp4")
    with av.open(place / "film.mp4") as film:
        frames = [frame.to_image() for frame in film.decode(video=0)]
    frames[FAILS_AT_STEP // 4].save(place / "film.png")
    keep(place / "film.png", out / "film.png")
    loop(frames[:: max(1, len(frames) // LOOP_FRAMES)], out / "film.gif")
    watch(run, out / "watch.png")
    page(run, out / "report.png")


def loop(frames: list[Any], out: Path) -> None:
    """Write frames as a picture that moves, small and without flicker: all in one palette.

    Its colours are the centres of clusters in which rare colours count for more than their share.
    """
    height = round(LOOP_WIDTH * frames[0].height / frames[0].width)
    small = [frame.resize((LOOP_WIDTH, height), Image.Resampling.BOX) for frame in frames]
    found = np.concatenate([np.asarray(one).reshape(-1, 3) >> 3 for one in small[::4]])
    colours, counts = np.unique(found, axis=0, return_counts=True)
    clusters = KMeans(LOOP_COLOURS, n_init=1, random_state=0).fit(
        8.0 * colours + 4, sample_weight=counts**0.4
    )
    palette = Image.new("P", (1, 1))
    palette.putpalette(clusters.cluster_centers_.round().astype(np.uint8).tobytes())
    drawn = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in small]
    drawn[0].save(out, save_all=True, append_images=drawn[1:], duration=LOOP_MS, loop=0, optimize=False)


def watch(run: Path, out: Path) -> None:
    """Draw the window of ``spl watch`` after the key V; it opens on a screen that nobody sees."""
    os.environ |= {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
    from spl.agents.film.window import Window
    from spl.cli.main import main as command

    seen: list[Any] = []

    class Watched(Window):
        def show(self, picture: Any) -> None:
            seen.append(picture.copy())
            super().show(picture)

        def key_events(self) -> Iterator[tuple[str, bool]]:
            if len(seen) in (WATCHED // 2, WATCHED):
                seen.append(seen[-1])
                yield ("v" if len(seen) <= WATCHED else "q"), True

    from spl.agents.film import watch as watching

    watching.Window = Watched  # type: ignore[attr-defined]
    command(["watch", str(run), "--num_episodes", "1"])
    Image.fromarray(seen[-1]).save(out)
    keep(out, out)


def page(run: Path, out: Path) -> None:
    """Draw the top of a run's report as Chromium shows it."""
    spl("report", run)
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    words = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1280,1500",
    ]
    subprocess.run([chromium, *words, f"--screenshot={out}", (run / "report.html").as_uri()], check=True)
    keep(out, out)


def classifier(run: Path, out: Path) -> None:
    """Draw digits, and where a network that was trained on them looks."""
    spl("show", "data", "digits", "--num_drawn", 8, "--out", out / "show-data.png")
    keep(out / "show-data.png", out / "show-data.png")
    spl("explain", "classifier", run, "--method", "grad-cam,integrated-gradients", "--num_measured", 0)
    keep(run / "explanation" / "overlays.png", out / "explain-classifier.png")
    spl("evaluate", "classifier", run)
    keep(run / "evaluation-last.png", out / "evaluate-classifier.png")


def autoencoder(run: Path, out: Path) -> None:
    """Draw what an autoencoder reconstructs, and where its errors come from."""
    keep(max((run / "reconstructions").glob("epoch-*.png")), out / "pretrain-autoencoder.png")
    spl("explain", "autoencoder", run, "--num_drawn", 3)
    keep(run / "explanation" / "reconstructions.png", out / "explain-autoencoder.png")
    terminal(out / "evaluate-autoencoder.png", "evaluate", "autoencoder", run)


def lists(out: Path) -> None:
    """Draw what commands print that need no run."""
    terminal(out / "envs.png", "envs", most=21)
    terminal(out / "check-env.png", "check", "env", "spl/Greeting-v0")
    terminal(out / "models.png", "models", "resnet20", "resnet56", "--attention", "none,se,cbam,csm")
    terminal(out / "presets.png", "presets", most=24)


def measured(run: Path, place: Path, out: Path) -> None:
    """Draw what is printed by the commands that measure, search, record and export: all in small.

    In a folder of their own, so that their paths are short. The search and the grid take some minutes.
    """
    (place / "space.yaml").write_text(SPACE)
    beacon = "--env.video_size 36,36 --num_steps 1200 --agent.epsilon_decay_steps 600 --num_threads 1"
    lines = {
        "bench": ["spl bench --duration_s 1 --num_threads 1"],
        "search-agent": [
            "cat space.yaml",
            f"spl search agent spl/Beacon-v0 --space space.yaml --num_trials 4 --num_seeds 2 {beacon}",
        ],
        "ablate-agent": [
            f"spl ablate agent spl/Beacon-v0 --vary.agent.n_step 1,3 --seeds 0-2 --num_episodes 20 {beacon}"
        ],
        "record": [
            "spl record spl/Greeting-v0 --num_steps 1000 --out recordings/greeting",
            "spl show data recordings/greeting --num_drawn 12 --out sheet.png",
        ],
        "export-agent": [
            f"spl export agent {run} --out agent.onnx",
            f"spl export agent {run} --to bundle --out bundle",
        ],
    }
    for name, commands in lines.items():
        shown: list[str] = []
        for command in commands:
            program, *words = shlex.split(command)
            told = spl(*words, cwd=place) if program == "spl" else (place / words[0]).read_text()
            shown += [f"$ {command}", *told.rstrip().splitlines()]
        screen(out / f"{name}.png", shown)
    keep(place / "sheet.png", out / "recording.png")


def trained(place: Path, given: Path | None, *words: object) -> Path:
    """Return the run that is given, else the one that a command trains."""
    if given is not None:
        return given.resolve()
    spl(*words, "--runs", place)
    return only(place / ("autoencoder" if words[0] == "pretrain" else str(words[1])))


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--agent", type=Path, help="run directory of a trained agent")
    parser.add_argument("--classifier", type=Path, help="run directory of a classifier trained on digits")
    parser.add_argument("--autoencoder", type=Path, help="run directory of an autoencoder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        lists(args.out)
        classifier(trained(place, args.classifier, "train", "classifier"), args.out)
        if args.autoencoder is None:
            spl(
                "record",
                "spl/Greeting-v0",
                "--env.video_size",
                "36,36",
                "--num_steps",
                3000,
                "--out",
                place / "rec",
            )
        small = ("--config", "dense", "--data.stride", 2, "--recipe.epochs", 8)
        autoencoder(
            trained(place, args.autoencoder, "pretrain", "autoencoder", place / "rec", *small), args.out
        )
        run = trained(place, args.agent, "train", "agent", "--config", "greeting")
        agent(run, place, args.out)
        measured(run, place, args.out)


if __name__ == "__main__":
    main()
