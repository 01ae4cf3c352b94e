"""The last ``T`` observations of each environment, stacked for acting."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.records import Action, Observation, StreamSpec

if TYPE_CHECKING:
    from spl.agents.protocol import Actor


class Stack(NamedTuple):
    """History of ``E`` environments, oldest first; equal to what the memory puts together for learning."""

    video: Tensor  # (E, T, C, H, W) uint8, zeros before the episode began
    audio: Tensor  # (E, T, C, M, F) float16 or int8, likewise
    present: Tensor  # (E, 2) bool, of the newest step
    state: Tensor  # (E, S) float32, of the newest step
    recurrent: Tensor | None = None  # (E, R) float32, before the newest step; None: nothing is remembered

    def to(self, device: torch.device) -> "Stack":
        """Return the stack on ``device``."""
        return Stack(*(None if field is None else field.to(device) for field in self))  # type: ignore[arg-type]

    @classmethod
    def of(cls, stacks: "Sequence[Stack]") -> "Stack":
        """Return several stacks as one."""
        fields = zip(*stacks, strict=True)
        joined = (None if all(one is None for one in field) else torch.cat(field) for field in fields)
        return cls(*joined)  # type: ignore[arg-type]


class History:
    """Rolls the newest observation of each environment into its stack, and carries what is remembered.

    A recurrent state belongs to a step: `act` finds the one after it, which is the next step's own.
    """

    def __init__(self, spec: StreamSpec, *, history: int, num_envs: int = 1) -> None:
        self._video: NDArray[np.uint8] = np.zeros((num_envs, history, *spec.video), np.uint8)
        self._audio: NDArray[Any] = np.zeros((num_envs, history, *spec.audio), spec.audio_dtype)
        self._present: NDArray[np.bool_] = np.zeros((num_envs, 2), np.bool_)
        self._state: NDArray[np.float32] = np.zeros((num_envs, spec.state), np.float32)
        self._begin_memory(spec.recurrent)

    def _begin_memory(self, size: int) -> None:
        """Remember nothing, in ``R = size`` numbers."""
        self.recurrent: NDArray[np.float32] = np.zeros((len(self._present), size), np.float32)
        self._reached = self.recurrent.copy()  # after the newest step

    def push(self, observation: Observation, env: int = 0, *, is_first: bool) -> None:
        """Make ``observation`` the newest of ``env``; the first of an episode follows nothing."""
        for stack, newest in ((self._video, observation.video), (self._audio, observation.audio)):
            if is_first:
                stack[env] = 0
            else:
                stack[env, :-1] = stack[env, 1:]
            stack[env, -1] = newest
        self._present[env], self._state[env] = observation.present, observation.state
        self.recurrent[env] = self._reached[env] = 0.0 if is_first else self._reached[env]

    def act(self, agent: "Actor", epsilon: float, envs: "slice | list[int]" = slice(None)) -> list[Action]:
        """Return what ``agent`` does at the newest step of all environments, or of those given.

        At one step it may act several times; what it then remembered last stays.
        """
        actions, reached = agent.decide(self.stack(envs), epsilon)
        self.remember(reached, envs)
        return actions

    def remember(self, reached: Tensor | None, envs: "slice | list[int]" = slice(None)) -> None:
        """Take in the recurrent state ``(E, R)`` after the newest step; None where nothing is remembered."""
        if reached is None:
            return
        if self.recurrent.shape[1] != reached.shape[1]:  # the first that is remembered at all
            self._begin_memory(reached.shape[1])
        self._reached[envs] = reached.cpu().numpy()

    def amend(self, observation: Observation, env: int = 0) -> None:
        """Put ``observation`` in the place of the newest of ``env``."""
        self._video[env, -1], self._audio[env, -1] = observation.video, observation.audio
        self._present[env], self._state[env] = observation.present, observation.state

    def stack(self, envs: "slice | list[int]" = slice(None)) -> Stack:
        """Return copies for all environments, or for those given."""
        return Stack(
            torch.from_numpy(self._video[envs].copy()),
            torch.from_numpy(self._audio[envs].copy()),
            torch.from_numpy(self._present[envs].copy()),
            torch.from_numpy(self._state[envs].copy()),
            torch.from_numpy(self.recurrent[envs].copy()) if self.recurrent.size else None,
        )

    def newest(self, env: int) -> Observation:
        """Return a copy of the newest observation of ``env``."""
        arrays = self._video[env, -1], self._audio[env, -1], self._present[env], self._state[env]
        return Observation(*(array.copy() for array in arrays))

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the stacks."""
        return {
            "video": self._video.copy(),
            "audio": self._audio.copy(),
            "present": self._present.copy(),
            **({"state": self._state.copy()} if self._state.size else {}),
            **({name: array.copy() for name, array in self._memory().items() if array.size}),
        }

    def _memory(self) -> dict[str, NDArray[np.float32]]:
        return {"recurrent": self.recurrent, "reached": self._reached}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._video[:], self._audio[:], self._present[:] = state["video"], state["audio"], state["present"]
        self._state[:] = state.get("state", 0.0)
        for name, array in self._memory().items():
            array[:] = state.get(name, 0.0)
