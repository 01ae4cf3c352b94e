"""Exploration: schedules of random actions, the best of equal ones, and modality dropout; no network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.records import AUDIO, VIDEO, Observation


def linear_epsilon(step: int, *, start: float, end: float, warmup_steps: int, decay_steps: int) -> float:
    """Return the chance of a random action at ``step``, in ``[end, start]``.

    ``start`` for the first ``warmup_steps``, then a straight line that meets ``end`` after ``decay_steps``.

    Source: Mnih et al. (2015), Methods.
    """
    if decay_steps <= 0:
        return start if step < warmup_steps else end
    share = min(max((step - warmup_steps) / decay_steps, 0.0), 1.0)
    return start + share * (end - start)


def best_actions(
    values: NDArray[np.float32], sizes: tuple[int, ...], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return the best of each dimension ``(E, J)``, of ``sizes``, by the values ``(E, A)``."""
    parts = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    return np.stack([best_of(part, generator) for part in parts], axis=1)


def best_of(values: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the place of the largest in each row of ``(E, n)``, of equal ones any alike."""
    best: NDArray[np.int64] = values.argmax(axis=1)
    is_best = values == values.max(axis=1, keepdims=True)
    for env in np.flatnonzero(is_best.sum(axis=1) > 1):  # the generator is asked for nothing else
        best[env] = generator.choice(np.flatnonzero(is_best[env]))
    return best


class ModalityDropout:
    """Takes one modality away for a stretch of steps, so that the agent learns to do without it.

    A stretch begins at a step with chance ``p / (mean_steps (1 - p))`` while both modalities are there, takes
    video or audio with equal chance, and ends at each step with chance ``1 / mean_steps``: in the long run a
    share ``p`` of the steps lacks one modality. An episode begins a new draw.

    Args:
        probability: ``p`` in ``[0, mean_steps / (mean_steps + 1)]``, as a step with both lies between
            two stretches; 0 draws nothing.
        mean_steps: mean length of a stretch, in steps; at least 1.
        generator: owns the draws.
        num_envs: environments, each with stretches of its own.

    Raises:
        ValueError: if one of them is out of range.
    """

    def __init__(
        self, probability: float, mean_steps: float, generator: np.random.Generator, *, num_envs: int = 1
    ) -> None:
        self.check(probability, mean_steps)
        self.probability = probability
        self.ends = 1.0 / mean_steps
        self.begins = probability * self.ends / (1.0 - probability)
        self.generator = generator
        self.missing: list[int | None] = [None] * num_envs

    @staticmethod
    def check(probability: float, mean_steps: float) -> None:
        """Raise ``ValueError`` if a number is out of range."""
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"modality_dropout must be in [0, 1), got {probability}")
        if mean_steps < 1.0:
            raise ValueError(f"modality_dropout_steps must be at least 1, got {mean_steps}")
        if probability > (most := mean_steps / (mean_steps + 1.0)):
            raise ValueError(
                f"modality_dropout must be at most {most:.3g} with stretches of {mean_steps:g} steps, "
                f"got {probability}; set a larger modality_dropout_steps"
            )

    def __call__(self, observation: Observation, env: int = 0, *, is_first: bool) -> Observation:
        """Return the observation, or a copy with one modality absent."""
        if self.probability == 0.0:
            return observation
        if is_first:
            begins_missing = self.generator.random() < self.probability
            self.missing[env] = self._draw() if begins_missing else None
        elif self.missing[env] is None:
            self.missing[env] = self._draw() if self.generator.random() < self.begins else None
        elif self.generator.random() < self.ends:
            self.missing[env] = None
        modality = self.missing[env]
        return observation if modality is None else observation.without(modality)

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which of video and audio each environment's agent gets now, ``(E, 2)``."""
        shown = np.ones((len(self.missing), 2), np.bool_)
        for env, sense in enumerate(self.missing):
            if sense is not None:
                shown[env, sense] = False
        return shown

    def _draw(self) -> int:
        return VIDEO if self.generator.random() < 0.5 else AUDIO

    def state_dict(self) -> dict[str, Any]:
        """Return the stretches under way and the generator."""
        return {"missing": list(self.missing), "generator": self.generator.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.missing = list(state["missing"])
        self.generator.bit_generator.state = state["generator"]
