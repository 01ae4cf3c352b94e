"""What draws at random while an agent learns, from a generator that is saved with the run."""

from typing import Any

import numpy as np


class Draws:
    """Draws from a generator of its own, whose state is all that it has to save.

    Args:
        generator: owns the draws.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state."""
        return dict(self.generator.bit_generator.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.generator.bit_generator.state = state
