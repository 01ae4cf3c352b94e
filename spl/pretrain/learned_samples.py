"""``spl report curriculum`` of an autoencoder: the pairs that it learned from."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spl.curriculum.figures import Marks, Tile
from spl.data.mispairing import Mismatched
from spl.models.streams import in_units
from spl.plotting.tiles import as_tile
from spl.pretrain.config import PretrainConfig
from spl.pretrain.data import load_pairs
from spl.pretrain.evaluation.gallery import write_steps
from spl.runs.directory import seed_of_data

SILENCE_S = 0.3  # between two samples


class LearnedPairs:
    """The samples of a run, some with another's sound where the run asked for that.

    Args:
        config: of the run.
        folder: of the run.

    Raises:
        UsageError: if they are not there any more.
    """

    def __init__(self, config: PretrainConfig, folder: Path) -> None:
        self.source = load_pairs(config.data, seed_of_data(config, folder), run=folder)
        self.num_samples, self.labels = len(self.source), self.source.labels()
        self.marks: Marks | None = None
        if isinstance(self.source, Mismatched):
            self.marks = Marks("another's sound", self.source.is_mismatched)

    def tiles(self, indices: NDArray[np.int64]) -> list[Tile]:
        """Return the newest picture of each sample above the spectrogram of all of its steps."""
        pairs = self.source.pairs(indices)
        seen, heard = in_units(pairs.video), in_units(pairs.audio)
        return [
            Tile(as_tile(one, other), self._caption(int(index)))
            for one, other, index in zip(seen, heard, indices, strict=True)
        ]

    def _caption(self, index: int) -> str:
        name = self.source.classes[self.labels[index]] if self.source.classes else f"{index}"
        is_marked = self.marks is not None and bool(self.marks.is_marked[index])
        return f"{name[:14]}\nnot its sound" if is_marked else name[:14]

    def write_sounds(self, indices: NDArray[np.int64], path: Path) -> bool:
        """Write the sounds of samples with silence between them, if their rate is known."""
        signature = self.source.signature
        if signature["sample_rate_hz"] is None or not signature["step_s"]:
            return False
        audio = in_units(self.source.pairs(indices).audio)  # (B, T, C, M, F)
        rest = torch.zeros(max(1, round(SILENCE_S / signature["step_s"])), *audio.shape[2:])
        write_steps(path, torch.cat([part for one in audio for part in (one, rest)]), signature)
        return True
