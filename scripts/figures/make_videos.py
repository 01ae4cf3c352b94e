"""A folder of videos with sound, made on this machine: ALE games and our own worlds, one sub-folder each.

    python scripts/figures/make_videos.py videos --videos 4 --seconds 8

Four games, played at random (every frame and all of the sound that the emulator makes, at 60 frames a
second), the two worlds of ``spl.envs.worlds``, acted in by their oracles with some mistakes (10 frames a
second), and, where espeak-ng is installed, a face that counts aloud (30 frames a second). Within each
sub-folder the videos take turns at four kinds of file, so that no kind gives a label away. The same command
shows and sounds the same every time. Extra: atari.
"""

import argparse
import io
import shutil
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from itertools import count, islice, tee
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from spl.envs.atari import REST_LEVEL, SAMPLE_RATE_HZ, make_atari
from spl.envs.worlds.base import AudioVisualWorld
from spl.envs.worlds.beacon import BeaconEnv
from spl.envs.worlds.greeting import GreetingEnv
from spl.media.video_writer import write_video
from spl.runs.logger import print_table

GAMES = {"beam_rider": "BeamRider", "enduro": "Enduro", "ms_pacman": "MsPacman", "seaquest": "Seaquest"}
WORLDS: dict[str, type[AudioVisualWorld]] = {"beacon": BeaconEnv, "greeting": GreetingEnv}
KINDS: tuple[tuple[str, dict[str, str]], ...] = (  # suffix, and codecs where they are not the usual ones
    (".mp4", {}),  # H.264, AAC
    (".webm", {}),  # VP9, Opus
    (".mkv", {"video_codec": "mpeg4", "audio_codec": "libmp3lame"}),
    (".avi", {}),  # MPEG-4, PCM
)
HELD_FRAMES = 12  # for which a random action of a game is held
MISTAKES = 0.3  # share of the worlds' actions that are drawn at random
LATER_S = 3.0  # a video of a game begins that much later in it than the one before: else all look alike
ENLARGED = 4  # times, rows and columns of a world's picture, so that a person sees it

SPEECH_HZ = 22_050  # of espeak-ng
VOICES = ("en+m1", "en+f2", "en+m4", "en+f4")
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
FACE = (96, 96)  # rows, columns

Moment = tuple[NDArray[np.uint8], NDArray[np.float32]]  # a frame (H, W, 3 or 1), and its sound (n,) in -1..1


class Scene(NamedTuple):
    """What is filmed."""

    moments: Callable[[int], Iterator[Moment]]  # of a seed, without end
    fps: int
    sample_rate_hz: int


def play_game(name: str, seed: int) -> Iterator[Moment]:
    """Yield every frame of a game that is played at random, and begun again when it is over."""
    env = make_atari(f"ALE/{name}-v5", obs_type="rgb")
    generator = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    for frame in count():
        yield observation["image"], (observation["sound"].astype(np.float32) - REST_LEVEL) / 128.0
        if frame % HELD_FRAMES == 0:
            action = int(generator.integers(env.action_space.n))  # type: ignore[attr-defined]
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()


def visit_world(world: type[AudioVisualWorld], seed: int) -> Iterator[Moment]:
    """Yield every step of a world's episodes, one after the other."""
    env: gymnasium.Env[Any, Any] = world()
    generator = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    while True:
        picture = observation["video"].repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
        yield picture[:, :, None], observation["audio"].astype(np.float32) / 32_768.0
        action = int(generator.integers(4))
        if generator.random() >= MISTAKES:
            action = env.unwrapped.oracle_action()  # type: ignore[attr-defined]
        observation, _, terminated, _, _ = env.step(action)
        if terminated:
            observation, _ = env.reset()


def speak(seed: int) -> Iterator[Moment]:
    """Yield a face that counts in an order of its own; its mouth is as wide open as it is loud."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: FACE[0], : FACE[1]]
    face = 40 + 140 * (np.hypot(rows - 48, columns - 48) < 42) - 120 * (np.hypot(rows - 36, columns - 32) < 5)
    face -= 120 * (np.hypot(rows - 36, columns - 64) < 5)
    samples = SPEECH_HZ // 30
    while True:
        text = ", ".join(generator.permutation(NUMBERS))
        command = ["espeak-ng", "--stdout", "-v", VOICES[seed % len(VOICES)], text]
        told = subprocess.run(command, check=True, capture_output=True).stdout
        with wave.open(io.BytesIO(told)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32_768.0
        for first in range(0, len(sound) - samples, samples):
            heard = sound[first : first + samples]
            is_mouth = (
                np.hypot((rows - 66) / (2 + 60 * np.sqrt(np.square(heard).mean())), (columns - 48) / 18) < 1
            )
            yield np.where(is_mouth, 10, face).astype(np.uint8)[:, :, None], heard


def scenes() -> dict[str, Scene]:
    """Return what is filmed by the name of its sub-folder."""
    found = {
        label: Scene(lambda seed, name=name: play_game(name, seed), 60, SAMPLE_RATE_HZ)  # type: ignore[misc]
        for label, name in GAMES.items()
    }
    for label, world in WORLDS.items():
        rates = world.metadata["render_fps"], world.sample_rate_hz
        found[label] = Scene(lambda seed, world=world: visit_world(world, seed), *rates)  # type: ignore[misc]
    if shutil.which("espeak-ng"):
        found["speech"] = Scene(speak, 30, SPEECH_HZ)
    return found


def shoot(scene: Scene, path: Path, seed: int, seconds: float, codecs: dict[str, str]) -> None:
    """Write one film; frames and sound are made while it is written."""
    first = round(seed * LATER_S * scene.fps)
    moments = islice(scene.moments(seed), first, first + round(seconds * scene.fps))
    seen, heard = tee(moments)  # holds the few moments that one of the two is ahead
    frames, sounds = (frame for frame, _ in seen), (sound for _, sound in heard)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=scene.fps, audio=sounds, sample_rate_hz=scene.sample_rate_hz, **codecs)


def main() -> None:
    """Make the videos and print what was made."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=4, help="in each sub-folder")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each film")
    parser.add_argument("--first", type=int, default=0, help="number of the first, which is its seed")
    args = parser.parse_args()
    rows, started = [], time.perf_counter()
    for label, scene in scenes().items():
        paths = []
        for number in range(args.first, args.first + args.videos):
            suffix, codecs = KINDS[number % len(KINDS)]
            paths.append(args.folder / label / f"{label}_{number:02}{suffix}")
            shoot(scene, paths[-1], number, args.seconds, codecs)
        size_mb = sum(path.stat().st_size for path in paths) / 1e6
        rows.append([label, str(len(paths)), str(scene.fps), f"{scene.sample_rate_hz:,}", f"{size_mb:.1f}"])
    title = f"{args.folder}: videos of {args.seconds:g} s, made in {time.perf_counter() - started:.0f} s"
    if not shutil.which("espeak-ng"):
        title += "; no speech, as espeak-ng is not installed"
    print_table(title, ["label", "videos", "frames/s", "sound Hz", "MB"], rows)


if __name__ == "__main__":
    main()
