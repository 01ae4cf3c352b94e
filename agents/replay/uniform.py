"""Which places of a memory can be sampled, and uniform sampling of them. The contents are the memory's."""

import numpy as np
from numpy.typing import NDArray


class Sampleable:
    """A set of places in ``0..size - 1`` that tells one reader what has changed in it.

    Args:
        size: places there are.
    """

    def __init__(self, size: int) -> None:
        self.mask = np.zeros(size, np.bool_)
        self.count = 0
        self._changed: list[int] | None = None  # since they were last taken; None: all, and nobody asks

    def admit(self, place: int) -> None:
        """Take in a place that was not sampleable: a new transition lies there."""
        self.mask[place] = True
        self.count += 1
        self._note(place)

    def retire(self, place: int) -> None:
        """Take out a place, if it is in."""
        if self.mask[place]:
            self.mask[place] = False
            self.count -= 1
            self._note(place)

    def renew(self, mask: NDArray[np.bool_]) -> None:
        """Begin again with the places of ``mask`` ``(size,)``; all count as changed."""
        self.mask[:] = mask
        self.count = int(np.count_nonzero(mask))
        self._changed = None

    def _note(self, place: int) -> None:
        if self._changed is not None:
            self._changed.append(place)

    def take_changes(self) -> NDArray[np.int64]:
        """Return the places admitted or retired since the last call, each once; all places at first."""
        everything = np.arange(self.mask.size)
        changed = everything if self._changed is None else np.unique(np.array(self._changed, np.int64))
        self._changed = []
        return changed

    def places(self) -> NDArray[np.int64]:
        """Return all that are in, ``(count,)``, in order."""
        return np.flatnonzero(self.mask)

    def draw(self, num: int, stop: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw ``num`` places uniformly, with replacement; all that are in lie before ``stop``.

        Raises:
            ValueError: if ``num`` is not positive or nothing is in.
        """
        self.check(num)
        if 8 * self.count < stop:  # too few to hit by chance
            places = self.places()
            return places[generator.integers(places.size, size=num)]
        drawn = generator.integers(stop, size=num)
        while (rejected := np.flatnonzero(~self.mask[drawn])).size > 0:
            drawn[rejected] = generator.integers(stop, size=rejected.size)
        return drawn

    def check(self, num: int) -> None:
        """Raise ``ValueError`` unless ``num`` places can be drawn."""
        if num < 1:
            raise ValueError(f"batch_size must be positive, got {num}")
        if self.count == 0:
            raise ValueError("memory must hold a complete transition, got none")
