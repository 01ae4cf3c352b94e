"""Prioritized replay: a sum tree over the memory's places, and the priorities it holds.

Which places can be sampled at all is the memory's to say; no batch and no network is seen here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6  # added to an error, so that one of 0 can still be drawn


class SumTree:
    """Non-negative values at ``size`` places, drawn in proportion; every node is the sum of its two below.

    A node is always added up again from those below, never corrected by a difference: the tree is a function
    of its values alone, whatever the order they were set in.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._first = 1 << max(0, size - 1).bit_length()  # node of place 0; the root is node 1
        self._nodes = np.zeros(2 * self._first, np.float64)

    @property
    def values(self) -> NDArray[np.float64]:
        """The value at each place, ``(size,)``; to be read only."""
        return self._nodes[self._first : self._first + self.size]

    @property
    def total(self) -> float:
        """The sum of all values."""
        return float(self._nodes[1])

    def set(self, places: NDArray[np.int64], values: NDArray[np.float64] | float) -> None:
        """Set the values at ``places`` ``(n,)``; of a place that comes twice the last one stays."""
        nodes = places + self._first
        self._nodes[nodes] = values
        while nodes.size and nodes[0] > 1:  # all lie on the same level
            nodes = nodes >> 1
            if nodes.size > 64:  # few are left near the root
                nodes = np.unique(nodes)
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, sums: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the place at which the running sum passes each of ``sums`` ``(n,)`` in ``[0, total)``.

        A place of value 0 is never returned, however the sums are rounded.
        """
        nodes, left_over = np.ones(sums.size, np.int64), sums.copy()
        for _ in range(self._first.bit_length() - 1):
            nodes = 2 * nodes
            left = self._nodes[nodes]
            goes_right = (left_over >= left) & (self._nodes[nodes + 1] > 0.0)
            left_over -= np.where(goes_right, left, 0.0)
            nodes += goes_right
        return nodes - self._first

    def draw(self, num: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw ``num`` places in proportion to their values, one from each of ``num`` equal parts of the sum.

        They come in random order. The expected number of a place's draws is ``num value / total``.

        Raises:
            ValueError: if all values are 0.
        """
        if not self.total > 0.0:
            raise ValueError(f"the values must have a positive sum to be drawn from, got {self.total}")
        shares = (np.arange(num) + generator.random(num)) / num
        return generator.permutation(self.find(shares * self.total))


class Priorities:
    """How likely each place is drawn: ``P(i) = p_i / sum_k p_k`` with ``p = (|delta| + e)^alpha``.

    A new transition enters at the highest priority so far, 1 before any. A place that cannot be sampled has
    priority 0.

    Args:
        size: places.
        alpha: 0 draws uniformly, 1 in proportion to the error.

    Source: Schaul et al. (2016), Prioritized experience replay, equation 1, proportional variant.
    """

    def __init__(self, size: int, alpha: float) -> None:
        self.alpha = alpha
        self.tree = SumTree(size)
        self.highest = 1.0

    def see(self, places: NDArray[np.int64], errors: NDArray[np.float64]) -> None:
        """Take the absolute temporal-difference errors ``(n,)`` at ``places`` ``(n,)`` as the last ones."""
        priorities = (errors + EPSILON) ** self.alpha
        self.tree.set(places, priorities)
        self.highest = max(self.highest, float(priorities.max()))

    def follow(self, places: NDArray[np.int64], is_sampleable: NDArray[np.bool_]) -> None:
        """Forget what lay at ``places`` ``(n,)``: what can be sampled there now is new."""
        self.tree.set(places, np.where(is_sampleable, self.highest, 0.0))

    def probabilities(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return ``P(i)`` at ``places`` ``(n,)``."""
        return self.tree.values[places] / self.tree.total

    def state_dict(self) -> dict[str, Any]:
        """Return priorities and the highest so far."""
        return {"values": self.tree.values.copy(), "highest": self.highest}

    def load_state_dict(self, state: dict[str, Any], is_sampleable: NDArray[np.bool_]) -> None:
        """Go on from :meth:`state_dict` with what can still be sampled; what has no priority is new.

        Raises:
            ValueError: if the priorities are of a memory of another size.
        """
        values = state["values"]
        if values.shape != self.tree.values.shape:
            raise ValueError(f"there must be {self.tree.size} priorities, got {values.size}")
        self.highest = float(state["highest"])
        kept = np.where(is_sampleable, np.where(values > 0.0, values, self.highest), 0.0)
        self.tree.set(np.arange(self.tree.size), kept)


def importance_weights(chances: NDArray[np.float64], num: int, beta: float) -> NDArray[np.float32]:
    """Return ``w_i = (N P(i))^-beta / max_k w_k``: what makes up for being drawn more often than others.

    Args:
        chances: ``P(i)`` of what was drawn, ``(n,)``, positive.
        num: ``N``, the transitions that can be drawn.
        beta: 0 leaves the bias, 1 takes it away.

    Returns:
        ``(n,)`` in ``(0, 1]``.

    Source: Schaul et al. (2016), section 3.4. As in their algorithm 1 the maximum is over what was drawn.
    """
    weights = (num * chances) ** -beta
    normalised: NDArray[np.float32] = (weights / weights.max()).astype(np.float32)
    return normalised


def absolute_errors(
    losses: NDArray[np.float32], *, huber: bool, quantiles: int | None = None
) -> NDArray[np.float64]:
    """Return ``|delta|`` of temporal-difference losses ``(n,)``: what ``temporal_difference`` made them from.

    ``sqrt(2 l)`` where the loss is ``delta^2 / 2``; ``l + 1/2`` where Huber's is ``|delta| - 1/2``. Of a sum
    over streams it is the error that one stream alone would have. Of ``N`` quantiles, whose loss
    ``quantile_regression`` made, it is the error by which all of them would be off: ``l / sqrt(N)`` is
    Huber's loss of it, or without ``huber`` the error itself.
    """
    wide = losses.astype(np.float64)
    if quantiles is not None:
        wide /= np.sqrt(quantiles)
        if not huber:
            return wide
    roots = np.sqrt(2.0 * wide)
    return np.where(wide > 0.5, wide + 0.5, roots) if huber else roots
