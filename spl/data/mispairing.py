"""Mismatched pairs, on purpose: what a curriculum should find by itself."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.data.audiovisual import Pairs, PairSource
from spl.records import StreamSpec


class Mismatched:
    """A source a share of whose samples are heard with the sound of another class.

    Args:
        source: of at least two classes.
        share: of the samples, in ``[0, 1]``; which ones, and whose sound, follows from the seed.
        seed: of that.

    Raises:
        UsageError: if there are fewer than two classes to take sounds from.
    """

    def __init__(self, source: PairSource, share: float, seed: int) -> None:
        labels = source.labels()
        if len(np.unique(labels)) < 2:
            raise UsageError(
                "data.mismatch takes sounds from samples of another class, and the data have one class only; "
                "give two recordings or sub-folders, or leave it out"
            )
        self.source = source
        generator = np.random.default_rng([seed, 0x0DD])
        chosen = generator.permutation(len(labels))[: round(share * len(labels))]
        self.is_mismatched = np.zeros(len(labels), np.bool_)
        self.is_mismatched[chosen] = True
        self._heard = np.arange(len(labels))  # whose sound each sample has
        for label in np.unique(labels):
            own = chosen[labels[chosen] == label]
            self._heard[own] = generator.choice(np.flatnonzero(labels != label), size=len(own))

    @property
    def spec(self) -> StreamSpec:
        """Shapes of one step."""
        return self.source.spec

    @property
    def history(self) -> int:
        """Steps in a sample."""
        return self.source.history

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, which are those of the pictures."""
        return self.source.classes

    @property
    def signature(self) -> dict[str, Any]:
        """What an encoder depends on: the same."""
        return self.source.signature

    def __len__(self) -> int:
        return len(self.source)

    def summary(self) -> str:
        """Return what there is, and how many samples are mismatched."""
        return (
            f"{self.source.summary()}\n{self.is_mismatched.sum():,} samples have another's sound, on purpose"
        )

    def described(self) -> dict[str, Any]:
        """Return what these data are, as JSON holds it."""
        return {**self.source.described(), "mismatched": int(self.is_mismatched.sum())}

    def labels(self) -> NDArray[np.int64]:
        """Return the label of every sample's picture, ``(N,)``."""
        return self.source.labels()

    def pairs(self, indices: NDArray[np.int64]) -> Pairs:
        """Return the samples ``indices (B,)``."""
        pairs, rows = self.source.pairs(indices), np.flatnonzero(self.is_mismatched[indices])
        if not rows.size:
            return pairs
        heard = self.source.pairs(self._heard[indices[rows]])
        audio, present = pairs.audio.clone(), pairs.present.clone()
        audio[rows], present[rows, 1] = heard.audio, heard.present[:, 1]
        return pairs._replace(audio=audio, present=present)
