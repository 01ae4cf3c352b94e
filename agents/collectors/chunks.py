"""What a collector hands over: the steps of a stretch as arrays, each observation once.

Who collects them is `actor`, who takes them in `intake`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spl.records import NO_STATE, Observation, StreamSpec, Transition


class Chunk(NamedTuple):
    """``N`` observations of a collector's environments over a number of steps, in the order they came in."""

    at: NDArray[np.int32]  # (N,) step of the chunk with which it came
    env: NDArray[np.int32]  # (N,) environment of the collector
    is_first: NDArray[np.bool_]  # (N,) whether it begins an episode; else an action led to it
    video: NDArray[np.uint8]  # (N, C, H, W)
    audio: NDArray[Any]  # (N, C, M, F)
    present: NDArray[np.bool_]  # (N, 2)
    state: NDArray[np.float32]  # (N, S)
    recurrent: NDArray[np.float32]  # (N, R) an agent's state before the step that comes next
    action: NDArray[np.int16]  # (N, J) that led to it
    reward: NDArray[np.float64]  # (N,) as the memory keeps it
    ends: NDArray[np.bool_]  # (N, 2) terminated, truncated
    episodes: NDArray[np.float64]  # (K, 3) that ended: step of the chunk, true return, length
    faults: Sequence[Sequence[Any]]  # step of the chunk, and the fields of a `Fault`
    news: Sequence[str]  # of streams beyond their range
    num_steps: int  # of the chunk, each of all environments
    place: dict[str, Any] | None  # where the collector stands after it; None: not asked for

    @property
    def num_transitions(self) -> int:
        """Actions that were taken."""
        return int((~self.is_first).sum())

    def owned(self) -> Self:
        """Return a copy whose arrays are its own, and may be written."""
        arrays: dict[str, Any] = {
            name: field.copy() for name, field in self._asdict().items() if isinstance(field, np.ndarray)
        }
        return self._replace(**arrays)

    def rest(self, step: int) -> Self:
        """Return what came from a step of it on; steps keep their numbers."""
        arrays: dict[str, Any] = {name: getattr(self, name)[self.at >= step] for name in self._fields[:11]}
        return self._replace(
            episodes=self.episodes[self.episodes[:, 0] >= step],
            faults=[fault for fault in self.faults if fault[0] >= step],
            **arrays,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, as a checkpoint holds it."""
        return {**self._asdict(), "faults": [list(one) for one in self.faults], "news": list(self.news)}


class Recorder:
    """Stands where a collector has a memory, and keeps what comes in until it is handed over.

    Args:
        spec: shapes of one observation.
        history: observations in a stack.
        num_dimensions: ``J``, numbers that make an action.
    """

    def __init__(self, spec: StreamSpec, *, history: int, num_dimensions: int) -> None:
        self.spec, self.history, self.num_dimensions = spec, history, num_dimensions
        self.step = 0  # of the chunk
        self._rows: list[tuple[Any, ...]] = []

    def is_open(self, env: int = 0) -> bool:
        """Return True: the memory itself looks at that."""
        return True

    def begin(
        self, observation: Observation, env: int = 0, recurrent: NDArray[np.float32] = NO_STATE
    ) -> None:
        """Keep an episode's first observation."""
        nothing = [0] * self.num_dimensions, 0.0, (False, False)
        self._rows.append((self.step, env, True, *observation, recurrent.copy(), *nothing))

    def add(self, transition: Transition, env: int = 0, recurrent: NDArray[np.float32] = NO_STATE) -> None:
        """Keep what was done and earned at the newest observation, and the next one."""
        _, action, reward, terminated, truncated, observation = transition
        numbers = [action] if isinstance(action, int | np.integer) else action
        ended = numbers, reward, (terminated, truncated)
        self._rows.append((self.step, env, False, *observation, recurrent.copy(), *ended))

    def hand_over(self, **others: Any) -> Chunk:
        """Return what was kept, and begin anew; ``others`` are the chunk's other fields."""
        kinds: list[Any] = [
            ("at", np.int32),
            ("env", np.int32),
            ("is_first", np.bool_),
            ("video", np.uint8, self.spec.video),
            ("audio", self.spec.audio_dtype, self.spec.audio),
            ("present", np.bool_, (2,)),
            ("state", np.float32, (self.spec.state,)),
            ("recurrent", np.float32, (self.spec.recurrent,)),
            ("action", np.int16, (self.num_dimensions,)),
            ("reward", np.float64),
            ("ends", np.bool_, (2,)),
        ]
        rows = np.array(self._rows, kinds)
        self._rows, self.step = [], 0
        arrays: dict[str, Any] = {name: rows[name].copy() for name, *_ in kinds}
        return Chunk(**arrays, **others)
