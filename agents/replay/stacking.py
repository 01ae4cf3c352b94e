"""Neighbours of a slot in the memory: the history before it, rewards and next observation after it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.replay.device_copy import Mirror
from spl.agents.replay.sequences import Sequences
from spl.data.recording_format import Fields
from spl.data.recording_places import stacked
from spl.records import Batch, Following


class Windows:
    """Puts transitions together from a memory's arrays; which of them may be asked for is the memory's.

    Args:
        flat: the arrays, axis 0: ``slot * num_envs + env``.
        num_envs: rings.
        history: ``T``, observations in a stack.
        n_step: longest distance to the next observation, in steps.
        gamma: discount of one step.
    """

    def __init__(self, flat: Fields, num_envs: int, history: int, n_step: int, gamma: float) -> None:
        self.flat = flat
        self.num_envs = num_envs
        self.mirror: Mirror | None = None  # where stacks are made, if not here
        self._around = np.arange(1 - history, 2)  # steps from the oldest of a stack to the next observation
        self.look_ahead(n_step, gamma)

    def look_ahead(self, n_step: int, gamma: float) -> None:
        """Put transitions together over other steps, or discount them otherwise, from now on."""
        self.n_step, self.gamma = n_step, gamma
        self._steps_ahead = np.arange(n_step)
        self._powers = gamma ** np.arange(n_step + 1, dtype=np.float64)

    def batch(self, newest: NDArray[np.int64]) -> Batch:
        """Return the transitions at places ``newest`` ``(B,)``; tensors may share memory."""
        flat, age = self.flat, self.flat.age.take(newest)
        num_ahead, reward, discount = self._look_ahead(newest)
        following = newest + num_ahead * self.num_envs
        if self.n_step == 1:  # both stacks overlap in all but one observation
            video, audio = self._stack(newest, age, self._around)
            stacks = video[:, :-1], audio[:, :-1], video[:, 1:], audio[:, 1:]
        else:
            stacks = (
                *self.stacks(newest, age),
                *self.stacks(following, age + num_ahead),
            )
        return Batch(
            video=stacks[0],
            audio=stacks[1],
            present=torch.from_numpy(flat.present.take(newest, axis=0)),
            action=torch.from_numpy(flat.action.take(newest, axis=0).astype(np.int64)),
            reward=torch.from_numpy(reward),
            discount=torch.from_numpy(discount),
            next_video=stacks[2],
            next_audio=stacks[3],
            next_present=torch.from_numpy(flat.present.take(following, axis=0, mode="wrap")),
            state=torch.from_numpy(flat.state.take(newest, axis=0)),
            next_state=torch.from_numpy(flat.state.take(following, axis=0, mode="wrap")),
        )

    def sequences(
        self,
        places: NDArray[np.int64],
        is_there: NDArray[np.bool_],
        is_learned: NDArray[np.bool_],
        learned: slice,
    ) -> Sequences:
        """Return the sequences of steps at ``places (B, W)``.

        Args:
            places: each following the one before, or arbitrary where not ``is_there (B, W)``.
            is_there: likewise.
            is_learned: ``(B, L)``, of the steps at ``learned``.
            learned: of the ``W`` steps.
        """
        flat, newest, shape = self.flat, places.ravel(), places.shape
        video, audio = self.stacks(newest, flat.age.take(newest))
        acted = places[:, learned]
        num_ahead, reward, discount = self._look_ahead(acted.ravel())
        first = places[np.arange(len(places)), is_there.argmax(axis=1)]
        ahead = np.broadcast_to(num_ahead, acted.size).astype(np.int64)
        return Sequences(
            video=video.view(*shape, *video.shape[1:]),
            audio=audio.view(*shape, *audio.shape[1:]),
            present=torch.from_numpy(flat.present[places]),
            state=torch.from_numpy(flat.state[places]),
            recurrent=torch.from_numpy(flat.recurrent[first]),
            is_there=torch.from_numpy(is_there),
            action=torch.from_numpy(np.maximum(flat.action[acted], 0).astype(np.int64)),  # none yet: any
            reward=torch.from_numpy(reward.reshape(acted.shape)),
            discount=torch.from_numpy(discount.reshape(acted.shape)),
            reward_soon=torch.from_numpy(flat.reward[acted]),
            discount_soon=torch.from_numpy(self._discount(acted)),
            ahead=torch.from_numpy(ahead.reshape(acted.shape)),
            is_learned=torch.from_numpy(is_learned),
        )

    def one_ahead(self, newest: NDArray[np.int64]) -> Following:
        """Return what came one step ahead of places ``newest`` ``(B,)``; tensors may share memory."""
        video, audio = self._stack(newest, self.flat.age.take(newest), self._around[1:])
        following = newest + self.num_envs
        present = self.flat.present.take(following, axis=0, mode="wrap")
        return Following(
            reward=torch.from_numpy(self.flat.reward.take(newest)),
            discount=torch.from_numpy(self._discount(newest)),
            video=video,
            audio=audio,
            present=torch.from_numpy(present),
            state=torch.from_numpy(self.flat.state.take(following, axis=0, mode="wrap")),
        )

    def _discount(self, newest: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the discount ``(B,)`` of one step."""
        return np.where(self.flat.terminated.take(newest), np.float32(0.0), np.float32(self.gamma))

    def rewards(self, newest: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the summed rewards ``(B,)`` of the transitions at places ``newest`` ``(B,)``."""
        return self._look_ahead(newest)[1]

    def _look_ahead(
        self, newest: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64] | int, NDArray[np.float32], NDArray[np.float32]]:
        """Return ``m`` in 1..n_step, the summed reward and the discount of each transition, ``(B,)``."""
        flat = self.flat
        if self.n_step == 1:
            return 1, flat.reward.take(newest), self._discount(newest)
        window = newest[:, None] + self._steps_ahead * self.num_envs  # (B, n_step), wrapped by take
        terminated = flat.terminated.take(window, mode="wrap")
        has_ended = terminated | flat.truncated.take(window, mode="wrap")
        has_ended[:, -1] = True
        num_ahead = has_ended.argmax(axis=1) + 1  # (B,)
        rewards = flat.reward.take(window, mode="wrap") * self._powers[:-1]
        rewards[self._steps_ahead >= num_ahead[:, None]] = 0.0
        is_cut = terminated[np.arange(newest.size), num_ahead - 1]
        discount = np.where(is_cut, 0.0, self._powers[num_ahead]).astype(np.float32)
        return num_ahead, rewards.sum(axis=1).astype(np.float32), discount

    def stacks(self, newest: NDArray[np.int64], age: NDArray[np.int32]) -> tuple[Tensor, Tensor]:
        """Return video and audio ``(B, T, ...)`` that end at ``newest (B,)`` of ``age (B,)``."""
        return self._stack(newest, age, self._around[:-1])

    def _stack(
        self, newest: NDArray[np.int64], age: NDArray[np.int32], steps: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Return video and audio ``steps`` (T,) away from ``newest`` (B,), zeros before the episode began."""
        if self.mirror is not None:
            slots = newest[:, None] + steps * self.num_envs  # (B, T), of the wrapped ring
            return self.mirror.stack(slots, age[:, None] + steps < 0)
        video, audio = stacked(self.flat, newest, age, steps, self.num_envs)
        return torch.from_numpy(video), torch.from_numpy(audio)


def find_sampleable(
    action: NDArray[np.int16], age: NDArray[np.int32], ended: NDArray[np.bool_], history: int, n_step: int
) -> NDArray[np.bool_]:
    """Return which of one environment's live slots, oldest first, can be sampled; all are ``(L,)``.

    An action of several dimensions is ``(L, J)``.
    """
    has_window = np.zeros(age.size, np.bool_)
    for ahead in range(min(n_step + 1, age.size)):
        first = age.size - ahead
        is_same_episode = age[ahead:] == age[:first] + ahead
        has_window[:first] |= is_same_episode & (ended[ahead:] if ahead < n_step else True)
    has_history = np.arange(age.size) >= np.minimum(age, history - 1)
    return has_window & has_history & (action.reshape(age.size, -1)[:, 0] >= 0)
