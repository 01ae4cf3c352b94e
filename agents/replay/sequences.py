"""What a recurrent agent learns from: sequences of steps. `stacking` cuts them out of a memory."""

from typing import NamedTuple

import torch
from torch import Tensor


class Unroll(NamedTuple):
    """How long sequences are."""

    burn_in: int  # steps before the learned ones, over which the recurrent state is brought up to date
    learned: int  # L


class Steps(NamedTuple):
    """What ``N`` steps brought, each as in a `Batch`."""

    present: Tensor  # (N, 2) bool
    action: Tensor  # (N,) int64, or (N, J)
    reward: Tensor  # (N,) float32
    discount: Tensor  # (N,) float32

    @property
    def present_throughout(self) -> Tensor:
        """``present``: a joint code has a value of whatever follows."""
        return self.present


class Sequences(NamedTuple):
    """``B`` sequences of ``W = burn_in + L + n_step`` steps, each of one episode; its ``L`` may be learned.

    A step beyond the episode, or that the memory has not, is not there: what stands in its place is
    arbitrary. Those that are there follow each other.
    """

    video: Tensor  # (B, W, T, C, H, W) uint8, stacked as in a `Batch`
    audio: Tensor  # (B, W, T, C, M, F) float16 or int8, likewise
    present: Tensor  # (B, W, 2) bool
    state: Tensor  # (B, W, S) float32
    recurrent: Tensor  # (B, R) float32, before the first step that is there, as it was when that was played
    is_there: Tensor  # (B, W) bool
    action: Tensor  # (B, L) int64, or (B, L, J)
    reward: Tensor  # (B, L) float32, over m <= n_step steps
    discount: Tensor  # (B, L) float32: gamma^m, or 0 where the task terminated
    reward_soon: Tensor  # (B, L) float32, of one step
    discount_soon: Tensor  # (B, L) float32: gamma, or 0 likewise
    ahead: Tensor  # (B, L) int64: m, the distance to the step that the target is made of
    is_learned: Tensor  # (B, L) bool; one of them at least

    def steps(self, burn_in: int) -> Steps:
        """Return what the ``B L`` steps after the burn-in brought, those that may not be learned too."""
        present = self.present[:, burn_in : burn_in + self.action.shape[1]]
        return Steps(*(one.flatten(0, 1) for one in (present, self.action, self.reward, self.discount)))

    def means(self, losses: Tensor) -> Tensor:
        """Return the mean ``(B,)`` of ``losses (B L,)`` over the steps that may be learned."""
        learned = losses.view(self.is_learned.shape) * self.is_learned
        return learned.sum(dim=1) / self.is_learned.sum(dim=1)

    def to(self, device: torch.device) -> "Sequences":
        """Return the sequences on ``device``."""
        return Sequences(*(field.to(device) for field in self))
