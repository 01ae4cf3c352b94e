"""What layers such as dropout draw while a network learns: it follows from a seed and the update alone.

So a run that goes on draws what one that never stopped would have drawn, and no generator is saved.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from spl.processes.ranks import rank

_DRAWS = 0xD407  # beside the seed, so that nothing else is drawn from the same numbers


@contextmanager
def drawing(device: torch.device, seed: int, update: int) -> Iterator[None]:
    """Let layers on ``device`` draw what belongs to an update; torch's generators are then as they were."""
    is_cuda = device.type == "cuda"
    others = [rank()] if rank() else []  # a process that shares the update draws for rows of its own
    high, low = np.random.SeedSequence([seed, _DRAWS, update, *others]).generate_state(2, np.uint32)
    number = int(high) << 32 | int(low)
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        torch.default_generator.manual_seed(number)
        if is_cuda:
            torch.cuda.manual_seed(number)
        yield
