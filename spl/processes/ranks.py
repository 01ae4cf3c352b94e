"""Processes that torchrun starts for one training: which of them this is, and how they join and end.

What they share of an update is in `spl.training.shared`. Needs torch only once they join.
"""

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from spl.config.errors import RunError, UsageError

LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")  # that torchrun sets
GRACE_S = 2.0  # in which torchrun ends the others once one has failed


def num_launched(name: str = "WORLD_SIZE") -> int:
    """Return how many processes torchrun started, with ``LOCAL_WORLD_SIZE`` on this machine; 1 without it."""
    return int(os.environ[name]) if os.environ.keys() >= {*LAUNCHED} else 1


def num_ranks() -> int:
    """Return how many processes share the training; 1 where none have joined."""
    from torch import distributed

    return distributed.get_world_size() if _is_joined() else 1


def rank() -> int:
    """Return which of them this is; 0, the first, alone writes and prints."""
    from torch import distributed

    return distributed.get_rank() if _is_joined() else 0


def _is_joined() -> bool:
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Let the processes that torchrun started share what is trained meanwhile; does nothing without it.

    NCCL joins GPUs, one a process, and Gloo CPUs.

    Args:
        device: as ``--device`` names it.

    Raises:
        UsageError: if there are fewer GPUs than processes, or one is named.
        RunError: if another of the processes has ended.
    """
    if num_launched() == 1:
        yield
        return
    import torch
    from torch import distributed

    is_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if is_cuda:
        torch.cuda.set_device(_gpu_of_rank(device, torch.cuda.device_count()))
    distributed.init_process_group("nccl" if is_cuda else "gloo")
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error).lower():
            raise RunError(
                "another process of this run has ended; what was saved before stays: start all again, with "
                f"--resume ({str(error).splitlines()[0]})"
            ) from error
        raise
    finally:
        distributed.destroy_process_group()


def _gpu_of_rank(device: str, count: int) -> int:
    place, here = int(os.environ["LOCAL_RANK"]), num_launched("LOCAL_WORLD_SIZE")
    if ":" in device:
        raise UsageError(f"each of {here} processes has a GPU of its own: choose --device cuda, got {device}")
    if here > count:
        raise UsageError(
            f"each process needs a GPU of its own: torchrun started {here} here, and there are {count}; "
            "start fewer, or choose --device cpu"
        )
    return place


def followed(work: Callable[[], int]) -> int:
    """Return the exit code of ``work`` in a process that is not the first, which tells what all have to tell.

    What this one prints is kept back. If it fails alone, and torchrun ends no process within ``GRACE_S``, it
    is printed after all.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
        code = work()
    if code in (0, 130):
        return code
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    until = time.monotonic() + GRACE_S
    while not ended and time.monotonic() < until:
        time.sleep(0.05)
    if not ended:
        print(f"process {os.environ['RANK']}: {told.getvalue()}", end="", file=sys.stderr)
    return code
