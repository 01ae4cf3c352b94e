"""What one who only hears the greeting world's last steps can earn of a visit: an agent's short history."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from spl.envs.worlds.greeting_rules import (
    CHANGES,
    GREETING_PROBABILITY,
    LAST_STANDING_CLOCK,
    REFUSED_REWARD,
    STANDING,
    TAKEN_REWARD,
    Act,
)

STANDING_STEPS = LAST_STANDING_CLOCK - 2  # twelve
NUDGES = (Act.WAIT, Act.LOOK, Act.WAVE)  # what a standing person stays for
MAX_EXHAUSTIVE_HISTORY = 2  # steps: 4^6 policies; a third would make 4^14
MAX_HISTORY = 4  # of the bound: its policies double with each step
NUM_CLIMBS = 16

Chances = NDArray[np.float64]


@cache
def best_heard_by_window(history: int) -> float:
    """Return the best expected return of a visit by the sound of the last ``history`` steps alone.

    Over deterministic policies: exact for 1 and 2 steps, all of which are tried; for 3 and 4 a lower bound,
    the best that climbing from 16 random policies finds (of 4^14 and 4^30). `greeting_optimum` has the upper
    one, with all steps and the own acts remembered.

    Raises:
        ValueError: if ``history`` is not in 1..4.
    """
    if not 1 <= history <= MAX_HISTORY:
        raise ValueError(f"history must be in 1..{MAX_HISTORY} steps, got {history}")
    if history > MAX_EXHAUSTIVE_HISTORY:
        return _climbed_value(history)
    num_windows = 2 ** (history + 1) - 2
    policies = np.stack(np.unravel_index(np.arange(4**num_windows), (4,) * num_windows), axis=1)
    return float(window_values(policies, history).max())


def pose_changes() -> Chances:
    """Return ``(4, 3, 3)``: how likely each act leads from a pose of a standing person to another."""
    changes = np.zeros((len(Act), len(STANDING), len(STANDING)))
    for act, (row, pose) in ((act, found) for act in NUDGES for found in enumerate(STANDING)):
        follower, probabilities = CHANGES[pose]
        changes[act, row, row] = 1 - probabilities[act]
        changes[act, row, STANDING.index(follower)] += probabilities[act]
    return changes


def window_values(policies: NDArray[np.int64], history: int) -> Chances:
    """Return the expected reward of a visit under policies that are given the last steps heard.

    While a person stands, each step is a greeting (1) or talk (0); a window that still holds the footsteps
    tells how long the person has stood. Before and after, all policies wait: nothing could be won.

    Args:
        policies: ``(N, 2^(history + 1) - 2)`` acts. Those for windows of ``m`` standing steps begin at
            ``2^m - 2``, in the order of the bits, the newest lowest.
        history: steps in a window, the newest included.

    Returns:
        ``(N,)``, exact.
    """
    changes, values = pose_changes(), np.zeros(len(policies))
    voices = np.array([1 - GREETING_PROBABILITY, GREETING_PROBABILITY])
    chances = np.zeros((len(policies), 2, 3))  # of window and pose, where no hand was shaken yet
    chances[:, :, 0] = voices
    for step in range(1, STANDING_STEPS + 1):
        length = min(step, history)
        acts = policies[:, 2**length - 2 : 2 ** (length + 1) - 2]  # (N, 2^m)
        is_taken = (np.arange(2**length) % 2 == 1)[:, None] & np.array([False, False, True])  # (2^m, 3)
        shaken = chances * (acts == Act.HANDSHAKE)[:, :, None]
        values += (shaken * np.where(is_taken, TAKEN_REWARD, REFUSED_REWARD)).sum(axis=(1, 2))
        chances = np.einsum("nwp,nwpq->nwq", chances - shaken, changes[acts])
        if length == history:  # the oldest step is forgotten
            chances = chances.reshape(len(policies), 2, -1, 3).sum(axis=1)
        chances = (chances[:, :, None, :] * voices[:, None]).reshape(len(policies), -1, 3)
    return values


def _climbed_value(history: int) -> float:
    """Return the value of the best policy that changing one window's act at a time leads to."""
    num_windows, rng = 2 ** (history + 1) - 2, np.random.default_rng(0)
    best = 0.0
    for _ in range(NUM_CLIMBS):
        policy, value = rng.integers(len(Act), size=num_windows), -np.inf
        while True:
            changed = np.repeat(policy[None], num_windows * len(Act), axis=0)
            rows = np.arange(len(changed))
            changed[rows, rows // len(Act)] = rows % len(Act)
            values = window_values(changed, history)
            if values.max() <= value + 1e-12:
                break
            policy, value = changed[values.argmax()], float(values.max())
        best = max(best, value)
    return best
