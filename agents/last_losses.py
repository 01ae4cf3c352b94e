"""The loss that each place of the memory had last, and the easiest of a mini-buffer by it; no network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class LastLosses:
    """The last loss seen at each of ``size`` places, and in which turn; NaN where none was seen."""

    def __init__(self, size: int) -> None:
        self._losses = np.full(size, np.nan, np.float32)
        self._turns = np.zeros(size, np.int32)
        self._turn = 1

    def turn(self) -> None:
        """Let the next turn begin: what is seen from now on is newer."""
        self._turn += 1

    def see(self, places: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Take ``losses (n,)`` at ``places (n,)``; of a place that comes twice the last one stays."""
        self._losses[places], self._turns[places] = losses, self._turn

    def forget(self, places: NDArray[np.int64]) -> None:
        """Forget what lay at ``places (n,)``."""
        self._losses[places] = np.nan

    def at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the last losses at ``places (n,)``."""
        return self._losses[places]

    def oldest(self, places: NDArray[np.int64], num: int) -> NDArray[np.int64]:
        """Return those of ``places (n,)`` without a loss, and if these are below ``num``, the oldest ones.

        Each comes once, in the order of the places.
        """
        places = np.unique(places)
        turns = np.where(np.isnan(self._losses[places]), 0, self._turns[places])
        num = min(max(num, int(np.count_nonzero(turns == 0))), places.size)
        return np.sort(places[np.argsort(turns, kind="stable")[:num]])

    def state_dict(self) -> dict[str, Any]:
        """Return losses and turns."""
        return {"losses": self._losses.copy(), "turns": self._turns.copy(), "turn": self._turn}

    def load_state_dict(self, state: dict[str, Any], is_sampleable: NDArray[np.bool_]) -> None:
        """Go on from :meth:`state_dict` with what can still be sampled.

        Raises:
            ValueError: if the losses are of a memory of another size.
        """
        if state["losses"].shape != self._losses.shape:
            raise ValueError(f"there must be {self._losses.size} last losses, got {state['losses'].size}")
        self._losses[:] = np.where(is_sampleable, state["losses"], np.nan)
        self._turns[:], self._turn = state["turns"], int(state["turn"])


def easiest(losses: NDArray[np.float32], groups: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    """Return the positions of the ``num`` easiest, the same share of each group, from easy to hard.

    Chosen are those of the lowest ``(rank + 1/2) / size`` within their group, so each group gives its share
    to within one sample, and all together exactly ``num``. Ties go to what comes first; NaN is hardest.

    Args:
        losses: ``(n,)``.
        groups: ``(n,)``, any whole numbers.
        num: at most ``n``.

    Returns:
        ``(num,)``.
    """
    order = np.lexsort((losses, groups))  # stable, NaN last
    _, firsts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    ranks = np.arange(losses.size) - np.repeat(firsts, sizes)
    height = np.empty(losses.size)
    height[order] = (ranks + 0.5) / np.repeat(sizes, sizes)
    chosen = np.sort(np.argsort(height, kind="stable")[:num])
    return chosen[np.argsort(losses[chosen], kind="stable")]
