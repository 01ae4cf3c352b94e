"""A toy dataset with one hidden factor in both modalities, and one more in each that the other lacks."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spl.agents.replay.memory import ReplayMemory
from spl.data.statistics import Moments
from spl.models.streams import in_units
from spl.records import Observation, StreamSpec, Transition

SPEC = StreamSpec(video=(1, 12, 12), audio=(1, 8, 4))


def bump(middle: Tensor, size: int, width: float) -> Tensor:
    """``(B, size)`` with a maximum of 1 at ``middle (B,)``."""
    return torch.exp(-(((torch.arange(size) - middle[:, None]) / width) ** 2))


def draw(B: int, seed: int, places: tuple[float, float] = (0.0, 1.0)) -> tuple[Tensor, Tensor]:
    """Video ``(B, 1, 1, 12, 12)`` uint8 of a spot, audio ``(B, 1, 1, 8, 4)`` float16 of a tone.

    The spot's column is the tone's pitch, from ``places`` of 0..1; its row is only seen, the loudness only
    heard.
    """
    generator = torch.Generator().manual_seed(seed)
    place, row, loudness = torch.rand(3, B, generator=generator)
    place = places[0] + (places[1] - places[0]) * place
    spot = bump(row * 11, 12, 2.0)[:, :, None] * bump(place * 11, 12, 1.5)[:, None]  # (B, H, W)
    tone = bump(place * 7, 8, 1.2) * (0.5 + 0.5 * loudness)[:, None]  # (B, M)
    video = (255 * spot).round().to(torch.uint8)
    return video[:, None, None], tone[:, None, None, :, None].expand(B, 1, 1, 8, 4).half()


def variance(x: Tensor) -> float:
    moments = Moments()
    moments.add(in_units(x))
    return moments.variance


def record(
    folder: Path,
    num_steps: int,
    seed: int,
    places: tuple[float, float] = (0.0, 1.0),
    *,
    is_silent: bool = False,
    has_audio: bool = True,
) -> Path:
    """Save a recording of one episode of such draws in ``folder``, which is returned.

    ``is_silent`` makes every sound 0; without ``has_audio`` it is absent, too.
    """
    memory = ReplayMemory(SPEC, num_steps, history=1)
    memory.meta = {"audio": {"sample_rate_hz": 8000, "samples_per_step": 400, "window_samples": 512}}
    video, audio = (x[:, 0].numpy() for x in draw(num_steps, seed, places))
    audio = audio * (not is_silent and has_audio)
    present = np.array([True, has_audio])
    steps = [Observation(*streams, present) for streams in zip(video, audio, strict=True)]
    memory.begin(steps[0])
    for number, (before, after) in enumerate(pairwise(steps)):
        memory.add(Transition(before, 0, 0.0, number == num_steps - 2, False, after))
    memory.save(folder)
    return folder
