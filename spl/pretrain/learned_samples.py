"""``spl report curriculum`` of an autoencoder: the pairs that it learned from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.curriculum.figures import Marks, Tile
from spl.curriculum.report import Samples
from spl.data.mispairing import Mismatched
from spl.models.streams import in_units
from spl.plotting.tiles import as_tile
from spl.pretrain.config import PretrainConfig
from spl.pretrain.data import load_pairs
from spl.pretrain.evaluation.gallery import write_steps
from spl.runs.directory import seed_of_data

SILENCE_S = 0.3  # between two samples


def learned_pairs(config: PretrainConfig, folder: Path) -> Samples:
    """Return the samples of the run in ``folder``, some with another's sound where the run asked for that.

    Raises:
        UsageError: if they are not there any more.
    """
    source = load_pairs(config.data, seed_of_data(config, folder), run=folder)
    labels, signature = source.labels(), source.signature
    marks = Marks("another's sound", source.is_mismatched) if isinstance(source, Mismatched) else None

    def caption(index: int) -> str:
        name = source.classes[labels[index]] if source.classes else f"{index}"
        is_marked = marks is not None and bool(marks.is_marked[index])
        return f"{name[:14]}\nnot its sound" if is_marked else name[:14]

    def tiles(indices: NDArray[np.int64]) -> list[Tile]:
        pairs = source.pairs(indices)
        return pair_tiles(pairs.video, pairs.audio, [caption(int(index)) for index in indices])

    def write_sounds(indices: NDArray[np.int64], path: Path) -> None:
        audio = in_units(source.pairs(indices).audio)  # (B, T, C, M, F)
        rest = torch.zeros(max(1, round(SILENCE_S / signature["step_s"])), *audio.shape[2:])
        write_steps(path, torch.cat([part for one in audio for part in (one, rest)]), signature)

    has_rate = signature["sample_rate_hz"] is not None and bool(signature["step_s"])
    return Samples(len(source), marks, tiles, write_sounds if has_rate else None)


def pair_tiles(video: Tensor, audio: Tensor, captions: Sequence[str]) -> list[Tile]:
    """Return the newest picture of each sample above the spectrogram of all of its steps.

    Args:
        video: ``(B, T, C, H, W)``, as it is kept.
        audio: ``(B, T, C, M, F)``, likewise.
        captions: ``B`` of them.
    """
    seen_heard_told = zip(in_units(video), in_units(audio), captions, strict=True)
    return [Tile(as_tile(seen, heard), told) for seen, heard, told in seen_heard_told]
