"""What the networks of a recurrent agent answer along sequences. The losses of it are in `targets`."""

from typing import Any

import torch

from spl.agents.dqn_config import DqnConfig
from spl.agents.replay.sequences import Sequences
from spl.agents.targets import Answers


def answers_along(batch: Sequences, trained: Any, rating: Any, config: DqnConfig) -> Answers:
    """Return the answers at each step that may be learned, ``(B L, A)``, or of quantiles ``(B L, A, N)``.

    Both networks start at the recurrent state that was stored when the first step was played, and bring it up
    to date over the burn-in. The step that a target is made of lies in the same sequence.

    Args:
        batch: ``B`` sequences.
        trained: network with ``unrolled``, whose values have a graph.
        rating: target network, likewise.
        config: the options.

    Source: Kapturowski et al. (2019), Recurrent experience replay in distributed reinforcement learning.
    Differs: rewards are not rescaled, replay is uniform, and both networks start at the same stored state.
    """
    steps = *batch[:6], torch.tensor(config.burn_in)
    values = trained.unrolled(*steps)  # (B, L + n, A)
    with torch.no_grad():
        rates = rating.unrolled(*steps)
    num_learned = batch.ahead.shape[1]
    ahead = torch.arange(num_learned, device=batch.ahead.device) + batch.ahead  # (B, L)
    at = torch.arange(len(ahead), device=ahead.device)[:, None], ahead
    rated = rates[at].flatten(0, 1)
    chosen = values.detach()[at].flatten(0, 1) if config.double else rated
    before = [rates[:, :num_learned].flatten(0, 1)] if config.munchausen else None
    return Answers([values[:, :num_learned].flatten(0, 1)], [rated], [chosen], before)
