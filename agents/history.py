"""The last ``T`` observations of each environment, stacked for acting."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.records import Observation, StreamSpec


class Stack(NamedTuple):
    """History of ``E`` environments, oldest first; equal to what the memory puts together for learning."""

    video: Tensor  # (E, T, C, H, W) uint8, zeros before the episode began
    audio: Tensor  # (E, T, C, M, F) float16 or int8, likewise
    present: Tensor  # (E, 2) bool, of the newest step
    state: Tensor  # (E, S) float32, of the newest step

    def to(self, device: torch.device) -> "Stack":
        """Return the stack on ``device``."""
        return Stack(*(field.to(device) for field in self))


class History:
    """Rolls the newest observation of each environment into its stack."""

    def __init__(self, spec: StreamSpec, *, history: int, num_envs: int = 1) -> None:
        self._video: NDArray[np.uint8] = np.zeros((num_envs, history, *spec.video), np.uint8)
        self._audio: NDArray[Any] = np.zeros((num_envs, history, *spec.audio), spec.audio_dtype)
        self._present: NDArray[np.bool_] = np.zeros((num_envs, 2), np.bool_)
        self._state: NDArray[np.float32] = np.zeros((num_envs, spec.state), np.float32)

    def push(self, observation: Observation, env: int = 0, *, is_first: bool) -> None:
        """Make ``observation`` the newest of ``env``; the first of an episode follows nothing."""
        for stack, newest in ((self._video, observation.video), (self._audio, observation.audio)):
            if is_first:
                stack[env] = 0
            else:
                stack[env, :-1] = stack[env, 1:]
            stack[env, -1] = newest
        self._present[env], self._state[env] = observation.present, observation.state

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
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._video[:], self._audio[:], self._present[:] = state["video"], state["audio"], state["present"]
        self._state[:] = state.get("state", 0.0)
