"""The learning rate as a pure function of the update."""

import math
from collections.abc import Sequence


def learning_rate_at(
    update: int,
    *,
    peak: float,
    num_updates: int,
    schedule: str,
    milestones: Sequence[int] = (),
    factor: float = 1.0,
    warmup: int = 0,
) -> float:
    """Return the learning rate of an update.

    Over the first ``warmup`` updates it grows linearly, ``peak (update + 1) / warmup``. Then ``constant``
    stays, ``step`` multiplies by ``factor`` at each milestone, and ``cosine`` falls from ``peak`` to 0:
    ``peak (1 + cos(pi u / n)) / 2`` with ``u`` of ``n`` updates after the warm-up.

    Args:
        update: from 0.
        peak: highest learning rate, positive.
        num_updates: of the whole run.
        schedule: ``constant``, ``step`` or ``cosine``.
        milestones: updates from which each factor holds.
        factor: of ``step``.
        warmup: updates; 0 for none.

    Raises:
        ValueError: if there is no such schedule.

    Source: cosine: Loshchilov and Hutter (2017), SGDR, equation 5 without restarts.
    """
    if schedule not in ("constant", "step", "cosine"):
        raise ValueError(f"schedule must be constant, step or cosine, got {schedule!r}")
    if update < warmup:
        return peak * (update + 1) / warmup
    if schedule == "cosine":
        done = (update - warmup) / max(1, num_updates - warmup)
        return peak * (1.0 + math.cos(math.pi * min(1.0, done))) / 2.0
    if schedule == "step":
        return peak * float(factor ** sum(update >= milestone for milestone in milestones))
    return peak
