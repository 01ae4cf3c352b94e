"""Environments in separate processes: creating them, checking that they are alike, and losing them.

What steps them together is in `spl.envs.vector`.
"""

import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState

from spl.config.errors import UsageError
from spl.envs.config import EnvConfig
from spl.envs.resumable import Seeded
from spl.processes.signals import serve_above

PARTING_S = 2.0  # what a worker is given to close its environment before it is killed
LOST = (multiprocessing.TimeoutError, EOFError, ConnectionError)  # an environment that answers no more
THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def make_seeded(config: EnvConfig, seed: int, index: int) -> Seeded:
    """Make an environment in a worker, which leaves signals to the process above and ends with it."""
    serve_above()
    return Seeded(config, seed, index)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that start meanwhile compute with one thread."""
    before = {name: os.environ.get(name) for name in THREADS_OF_LIBRARIES}
    os.environ.update(dict.fromkeys(THREADS_OF_LIBRARIES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Apart(AsyncVectorEnv):
    """Environments in processes, held to be alike by our own sentence."""

    def _check_spaces(self) -> None:
        first = self.single_observation_space
        try:
            check_alike(
                self.get_attr("config")[0].id,
                self.get_attr("action_sizes"),
                self.get_attr("observation_space"),
                first,
            )
        except UsageError:
            self.close(timeout=PARTING_S)
            raise
        except LOST:
            self._state = AsyncState.DEFAULT  # no answer comes any more: closing must not wait for it
            raise

    def __del__(self) -> None:
        """Kill what an interrupt left open: Gymnasium would wait and warn, its workers print tracebacks."""
        for process in getattr(self, "processes", []):
            if process.is_alive():
                process.kill()


def check_alike(name: str, sizes: Sequence[Sequence[int]], spaces: Sequence[Any], first: Any) -> None:
    """Refuse environments of one run that differ in their actions, or in what they show from ``first``.

    Raises:
        UsageError: naming one that differs, and how.
    """
    advice = "make all that it constructs alike, or choose --num_envs 1"
    for env, (actions, space) in enumerate(zip(sizes, spaces, strict=True)):
        if actions != sizes[0]:
            raise UsageError(
                f"the environments of a run must have the same actions, but of {name} environment 0 "
                f"has {_told(sizes[0])} and environment {env} has {_told(actions)}; {advice}"
            )
        if space != first:
            shapes = [" and ".join(str(part.shape) for part in one[:2]) for one in (first, space)]
            raise UsageError(
                f"the environments of a run must show the same, but of {name} the first one made shows "
                f"video and audio of {shapes[0]} and environment {env} of {shapes[1]}; {advice}"
            )


def _told(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def cause_of_death(exit_code: int | None) -> str:
    """Return what a process died of: the signal's name, or its exit code."""
    is_signal = exit_code is not None and exit_code < 0
    return signal.Signals(-exit_code).name if is_signal else f"exit code {exit_code}"  # type: ignore[operator]


@contextmanager
def gymnasium_quiet() -> Iterator[None]:
    """Keep from the terminal what Gymnasium says of a fault that is reported in our own words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
