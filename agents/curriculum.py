"""Curricula for replay: which transitions are learned: all alike, easy ones first, hard ones more often.

One rule for all four names. Of ``num / share`` candidates, drawn uniformly or by priority, the ``num``
easiest are learned, easy to hard. So the number of updates never depends on the pace.
"""

from functools import partial
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.curriculum_config import MODALITIES, Pace, ReplayCurriculumConfig
from spl.agents.protocol import Agent
from spl.agents.replay.last_losses import LastLosses, easiest
from spl.agents.replay.memory import ReplayMemory
from spl.agents.replay.prioritized import Priorities, absolute_errors, importance_weights
from spl.agents.replay.sequences import Sequences
from spl.agents.view_pace import ViewPace
from spl.curriculum.soft import below
from spl.curriculum.weights import SCHEMES, diversity
from spl.records import Batch

_NUM_SCORED_AT_ONCE = 256  # transitions, which bounds the RAM of a large mini-buffer's pass


class Draw(NamedTuple):
    """What is to be learned next, in this order."""

    places: NDArray[np.int64]  # (n,), in the memory
    weights: NDArray[np.float32] | None  # (n,), in [0, 1]; None: all count alike


class ReplayCurriculum:
    """Draws transitions from a memory, and keeps of each the loss that it had last.

    Args:
        config: the options named in :class:`ReplayCurriculumConfig`.
        agent: scores transitions whose loss is not known, or was seen long ago.
        memory: drawn from; nobody else may take its changes.
        generator: owns the draws.
        num_steps: of the run; ``over`` and ``warmup`` are shares of them.
        huber: whether the agent's losses are Huber's.
        quantiles: how many of the return it learns; None: the mean.
    """

    def __init__(
        self,
        config: ReplayCurriculumConfig,
        agent: Agent,
        memory: ReplayMemory,
        generator: np.random.Generator,
        *,
        num_steps: int,
        huber: bool,
        quantiles: int | None = None,
    ) -> None:
        self.config, self.agent, self.memory, self.generator = config, agent, memory, generator
        self.num_steps = num_steps
        self.errors_of = partial(absolute_errors, huber=huber, quantiles=quantiles)
        size = memory.sampleable.mask.size
        self.losses = LastLosses(size) if config.has_pace else None
        self.priorities = Priorities(size, config.alpha) if config.has_priorities else None
        self.views = ViewPace() if config.views == "progress" else None
        self.told: dict[str, float] = {}  # of the last draw, for the report
        self._unread: list[tuple[NDArray[np.int64], Tensor]] = []  # losses that lie on the device still
        self._is_plain = self.losses is None and self.priorities is None
        if not self._is_plain:
            self._settle()
        if self.losses is not None:
            self.losses.forget_new()

    def draw(self, num: int, step: int) -> Draw:
        """Return ``num`` transitions to learn from at a step of the run.

        Raises:
            ValueError: if ``num`` is not positive or nothing is sampleable yet.
        """
        if self._is_plain:
            return Draw(self.memory.draw(num, self.generator), None)
        self._settle()
        pace = Pace.at(self.config, step / self.num_steps)
        places = self._candidates(ceil(num / pace.share - 1e-9), pace.hardness)
        self.told = {"curriculum/share": num / places.size}
        weights = None
        if pace.share < 1.0:
            places, weights = self._keep(places, num)
        elif self.losses is not None:
            self.losses.forget_new()
        if self.priorities is None:
            return Draw(places, weights)
        self.told |= {
            "curriculum/hardness": pace.hardness,
            "curriculum/beta": pace.beta,
            "curriculum/mean_priority": self.priorities.tree.total / len(self.memory),
        }
        uniform = (1.0 - pace.hardness) / len(self.memory)
        chances = uniform + pace.hardness * self.priorities.probabilities(places)
        important = importance_weights(chances, len(self.memory), pace.beta)
        return Draw(places, important if weights is None else important * weights)

    def batch(self, places: NDArray[np.int64]) -> Batch | Sequences:
        """Return what is learned at places that were drawn: their transitions, or sequences around them."""
        if (unroll := self.agent.unroll) is None:
            return self.memory.at(places)
        return self.memory.sequences_at(places, self.generator, unroll)

    def weights_of_views(self, losses: Tensor) -> Tensor:
        """Return how much each view counts ``(V,)``, of the detached losses ``(V, B)`` of an update."""
        return losses.new_ones(len(losses)) if self.views is None else self.views.weights(losses.mean(dim=1))

    def see(self, places: NDArray[np.int64], losses: Tensor) -> None:
        """Take the detached ``losses (n,)`` that an update had at ``places (n,)``; they are read later."""
        if not self._is_plain:
            self._unread.append((places, losses))

    def _settle(self) -> None:
        """Take in what was learned since the last draw, and then what the memory took in and gave up."""
        if self._unread:
            places = np.concatenate([places for places, _ in self._unread])
            losses = torch.cat([losses for _, losses in self._unread]).cpu().numpy()
            self._unread = []
            if self.losses is not None and self.config.modality is None:
                self.losses.see(places, losses)
            if self.priorities is not None:
                self.priorities.see(places, self.errors_of(losses))
        changed = self.memory.sampleable.take_changes()
        if self.losses is not None:
            self.losses.forget(changed, self.memory.sampleable.mask[changed])
        if self.priorities is not None:
            self.priorities.follow(changed, self.memory.sampleable.mask[changed])

    def _candidates(self, num: int, hardness: float) -> NDArray[np.int64]:
        """Draw each of ``num`` places by its priority with chance ``hardness``, else uniformly."""
        if self.priorities is None or hardness == 0.0:
            return self.memory.draw(num, self.generator)
        self.memory.sampleable.check(num)
        num_hard = int(self.generator.binomial(num, hardness))
        hard = self.priorities.tree.draw(num_hard, self.generator)
        if num_hard == num:
            return hard
        return self.generator.permutation(
            np.concatenate([hard, self.memory.draw(num - num_hard, self.generator)])
        )

    def _keep(
        self, places: NDArray[np.int64], num: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        """Return the ``num`` easiest of ``places``, easy to hard, and how much each counts; None: fully.

        The same share of each group; with SPLD the easiest of all, each group's easiest lowered.
        """
        assert self.losses is not None
        unsure = self.losses.unsure(places, self.config.rescored)
        if unsure.size:
            self.losses.see(unsure, self._score(unsure))
        losses = self.losses.at(places)
        groups = np.unique(self._groups(places), return_inverse=True)[1]
        scores, within = losses, groups
        if self.config.scheme == "spld":
            scores, within = self._lowered(losses, groups), np.zeros_like(groups)
        kept = easiest(scores, within, num)
        self.losses.turn()
        is_known = np.isfinite(losses)
        self.told |= {
            "curriculum/rescored": unsure.size / places.size,
            "curriculum/without_loss": 1.0 - np.count_nonzero(is_known) / places.size,
        }
        if is_known[kept].any():
            learned = losses[kept][is_known[kept]]
            self.told |= {
                "curriculum/threshold": float(learned[-1]),
                "curriculum/mean_loss": float(learned.mean()),
                "curriculum/mean_loss_of_drawn": float(losses[is_known].mean()),
            }
        if self.config.scheme in ("hard", "spld"):
            return places[kept], None
        weights = self._weights(losses, groups, kept)
        self.told["curriculum/weight"] = float(weights.mean())
        return places[kept], weights

    def _lowered(self, losses: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return ``losses (n,)`` less SPLD's bonus for the easiest of each group, in their mean's unit."""
        is_known = np.isfinite(losses)
        if not is_known.any():
            return losses
        bonus = diversity(torch.from_numpy(losses), torch.from_numpy(groups), self.config.gamma).numpy()
        return np.where(is_known, losses - bonus * losses[is_known].mean(), losses)

    def _weights(
        self, losses: NDArray[np.float32], groups: NDArray[np.int64], kept: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return by how far each of ``kept`` lies below the easiest of its group that is left out."""
        left_out = np.where(np.isfinite(losses), losses, np.float32(np.inf))
        left_out[kept] = np.inf
        limits = np.full(groups.max() + 1, np.inf, np.float32)
        np.minimum.at(limits, groups, left_out)
        options = {name: getattr(self.config, name) for name in SCHEMES[self.config.scheme].options}
        return below(self.config.scheme, losses[kept], limits[groups[kept]], groups[kept], options)

    def _score(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the losses at ``places (n,)``, by one pass without a graph, of one modality if so set."""
        device = next(self.agent.network.parameters()).device
        found = []
        for first in range(0, places.size, _NUM_SCORED_AT_ONCE):
            batch = self.memory.at(places[first : first + _NUM_SCORED_AT_ONCE]).to(device)
            if self.config.modality is not None:
                batch = batch.without(
                    *(modality for name, modality in MODALITIES.items() if name != self.config.modality)
                )
            found.append(self.agent.score(batch))
        scored: NDArray[np.float32] = torch.cat(found).cpu().numpy()
        return scored

    def _groups(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group of each of ``places (n,)``, any whole numbers."""
        if self.config.groups == "action":
            actions = self.memory.actions_at(places)
            if actions.ndim == 1:
                return actions
            return np.unique(actions, axis=0, return_inverse=True)[1].ravel()
        if self.config.groups == "reward":
            return np.sign(self.memory.rewards_at(places)).astype(np.int64)
        if self.config.groups == "episode":
            return self.memory.episodes_at(places)
        return np.zeros(places.size, np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Return last losses, priorities, and what was reported of the last draw."""
        views = {} if self.views is None else {"views": self.views.state_dict()}
        if self._is_plain:
            return views
        self._settle()
        state: dict[str, Any] = {"told": dict(self.told), **views}
        if self.losses is not None:
            state["losses"] = self.losses.state_dict()
        if self.priorities is not None:
            state["priorities"] = self.priorities.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, with the memory already as it was then, or empty.

        Raises:
            ValueError: if the state is of a memory of another size.
        """
        if self.views is not None:
            self.views.load_state_dict(state["views"])
        if self._is_plain:
            return
        sampleable = self.memory.sampleable
        sampleable.take_changes()  # all of them: what is put back here holds for them
        self.told = dict(state["told"])
        if self.losses is not None:
            self.losses.load_state_dict(state["losses"], sampleable.mask)
        if self.priorities is not None:
            self.priorities.load_state_dict(state["priorities"], sampleable.mask)
