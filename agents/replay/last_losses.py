"""The most recent loss of each place in the memory, and the easiest of a mini-buffer by it; no network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_LEAST = 32  # transitions in a pass that scores


class LastLosses:
    """The last loss seen at each of ``size`` places, and in which turn; NaN where none was seen."""

    def __init__(self, size: int) -> None:
        self._losses = np.full(size, np.nan, np.float32)
        self._turns = np.zeros(size, np.int32)
        self._turn = 1
        self._new = np.zeros(0, np.int64)  # places that nobody has scored since they were written
        self._due = 0.0  # to be scored

    def turn(self) -> None:
        """Let the next turn begin: what is seen from now on is newer."""
        self._turn += 1

    def see(self, places: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Take ``losses (n,)`` at ``places (n,)``; of a place that comes twice the last one stays."""
        self._losses[places], self._turns[places] = losses, self._turn

    def forget(self, places: NDArray[np.int64], is_sampleable: NDArray[np.bool_]) -> None:
        """Forget what lay at ``places (n,)``: what can be sampled there now is new."""
        self._losses[places] = np.nan
        self._new = np.union1d(np.setdiff1d(self._new, places), places[is_sampleable])

    def forget_new(self) -> None:
        """Let nothing count as new any more."""
        self._new = self._new[:0]

    def at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the last losses at ``places (n,)``."""
        return self._losses[places]

    def unsure(self, places: NDArray[np.int64], share: float) -> NDArray[np.int64]:
        """Return which places to score so that a ``share`` of ``places (n,)`` is scored on the average.

        Those without a loss come first, new ones that were not drawn too, then the longest not seen. A pass
        over few costs nearly as much as one over many: none are returned until ``AT_LEAST`` are due, or a
        quarter of the places has no loss. Each comes once, in order.
        """
        self._due += share * places.size
        is_early = self._due + 1e-6 < min(AT_LEAST, places.size)
        if is_early and 4 * np.count_nonzero(np.isnan(self._losses[places])) < places.size:
            return places[:0]
        pool = np.union1d(places, self._new)
        turns = np.where(np.isnan(self._losses[pool]), 0, self._turns[pool])
        num_not_drawn = pool.size - np.unique(places).size
        num = max(int(self._due + 1e-6) + num_not_drawn, int(np.count_nonzero(turns == 0)))
        self._due = 0.0
        self.forget_new()
        return np.sort(pool[np.argsort(turns, kind="stable")[:num]])

    def state_dict(self) -> dict[str, Any]:
        """Return losses, turns and what is due."""
        return {
            "losses": self._losses.copy(),
            "turns": self._turns.copy(),
            "turn": self._turn,
            "new": self._new,
            "due": self._due,
        }

    def load_state_dict(self, state: dict[str, Any], is_sampleable: NDArray[np.bool_]) -> None:
        """Go on from :meth:`state_dict` with what can still be sampled.

        Raises:
            ValueError: if the losses are of a memory of another size.
        """
        if state["losses"].shape != self._losses.shape:
            raise ValueError(f"there must be {self._losses.size} last losses, got {state['losses'].size}")
        self._losses[:] = np.where(is_sampleable, state["losses"], np.nan)
        self._turns[:], self._turn = state["turns"], int(state["turn"])
        self._new, self._due = state["new"][is_sampleable[state["new"]]], float(state["due"])


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
