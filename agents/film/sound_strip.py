"""The last seconds of sound as a spectrogram strip, with the saliency of decisions over it."""

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.float32]


class Strip:
    """A window on levels that run by, with a track of weights below; it holds no more than the window.

    A column's weight is the mean over the decisions that were made on it so far.

    Args:
        num_bands: ``M``, rows.
        num_columns: ``L``, of the window.
        num_newest: the most columns that come at once.
    """

    def __init__(self, num_bands: int, num_columns: int, num_newest: int) -> None:
        self.num_columns = num_columns
        self._levels = np.zeros((num_bands, num_columns + num_newest), np.float32)
        self._sums = np.zeros_like(self._levels)  # of the weights
        self._counts: NDArray[np.float32] = np.zeros(self._levels.shape[1], np.float32)  # of the decisions
        self._num_pushed = self._num_episode = 0  # columns: at last, since the episode began

    def begin(self) -> None:
        """Let an episode begin: no later decision is made on what came before."""
        self._num_episode = 0

    def push(self, levels: Levels) -> None:
        """Let ``levels (M, n)`` follow; what is past the window is forgotten."""
        num = self._num_pushed = levels.shape[1]
        self._num_episode += num
        for array, newest in ((self._levels, levels), (self._sums, 0.0), (self._counts, 0.0)):
            array[..., : array.shape[-1] - num] = array[..., num:]
            array[..., array.shape[-1] - num :] = newest

    def weigh(self, weights: Levels) -> None:
        """Take in a decision's ``weights (M, n)`` of the newest columns; those before the episode are cut."""
        first = self._counts.size - min(weights.shape[1], self._num_episode, self._counts.size)
        self._sums[:, first:] += weights[:, weights.shape[1] - (self._counts.size - first) :]
        self._counts[first:] += 1.0

    def window(self, share: float) -> tuple[Levels, Levels]:
        """Return levels and weights ``(M, L)`` when ``share`` in 0..1 of what was pushed last has sounded."""
        end = self._counts.size - self._num_pushed + round(share * self._num_pushed)
        part = slice(end - self.num_columns, end)
        counts: Levels = np.maximum(self._counts[part], 1.0).astype(np.float32)
        return self._levels[:, part], self._sums[:, part] / counts
