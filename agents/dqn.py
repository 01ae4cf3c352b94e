"""The multimodal deep Q-learning agent: how it acts, and the losses it learns from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.augmentation import Augmentation
from spl.agents.averaged import AveragedNetwork
from spl.agents.decoupled import best, taken
from spl.agents.dqn_config import DqnConfig
from spl.agents.history import Stack
from spl.agents.low_precision import LowPrecision
from spl.agents.network import MultimodalQNetwork
from spl.agents.quantiles import acted_on, quantile_regression
from spl.agents.reconstruction import Decoders
from spl.agents.sparsity import Sparsity
from spl.agents.thirds import asymmetric
from spl.envs.actions import as_action
from spl.records import Action, Batch, Following, Observation
from spl.runs.threads import one_thread
from spl.training.compile import compiled
from spl.training.losses import temporal_difference


class MultimodalDqn:
    """Epsilon-greedy Q-learning with a target network; one loss per transition.

    Args:
        network: trained; its copy is the target network.
        config: the options named in :class:`DqnConfig`.
        generator: owns exploration.
        device: where the network lies.
        decoders: learn with the network, where ``config`` reconstructs.
        augmentation: changes what is learned, where ``config`` augments.
    """

    def __init__(
        self,
        network: MultimodalQNetwork,
        target: MultimodalQNetwork,
        config: DqnConfig,
        generator: np.random.Generator,
        device: torch.device,
        decoders: Decoders | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.network = network.to(device)
        self.target = target.to(device).requires_grad_(False)
        if self.network.state is not None and self.target.state is not None:
            self.target.state.norm = self.network.state.norm
        self.target.load_state_dict(network.state_dict())
        self.decoders = None if decoders is None else decoders.to(device)
        self.averaged = None if config.ema_decay is None else AveragedNetwork(self.network, config.ema_decay)
        self.augmentation = augmentation
        self.config = config
        self.generator = generator
        self.device = device
        self.sizes = network.sizes  # of the action's dimensions
        self.num_updates = 0
        self._low: tuple[LowPrecision, LowPrecision] | None = None  # of network and target
        if config.precision == "bfloat16":
            self._low = LowPrecision(self.network), LowPrecision(self.target)
        self._is_stale = False  # whether the network has moved since its copy was made
        self._sparsity = None if config.sparsity == "none" else Sparsity(network.encoder, config)
        losses = self._losses_of if network.privileged is None else self._losses_in_views
        self._losses: Callable[..., Tensor] = compiled(losses, device) if config.compile else losses

    def act(self, stack: Stack, epsilon: float) -> list[Action]:
        """Return one action per environment: uniform with chance ``epsilon``, else a best one.

        Each dimension of an action is drawn, or is its best, for itself: as Seyde et al. (2023) explore.
        """
        shape = len(stack.present), len(self.sizes)
        explores = self.generator.random(shape) < epsilon
        actions = self.generator.integers(self.sizes, size=shape)
        if not explores.all():
            self._refresh()
            acting = self.network if self._low is None else self._low[0].copied
            alone = one_thread() if len(stack.present) == 1 else nullcontext()
            with torch.inference_mode(), alone:
                values = acting(*stack.to(self.device)).cpu().numpy()  # (E, A)
            actions = np.where(explores, actions, self._best_actions(values))
        return [as_action(action) for action in actions]

    def see(self, observation: Observation) -> None:
        """Take the state of an observation that was collected into the statistics that normalise it."""
        if self.network.state is not None:
            self.network.state.norm.update(torch.from_numpy(observation.state))

    def _best_actions(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the best of each dimension ``(E, J)`` by the values ``(E, A)``."""
        ends = np.cumsum(self.sizes)[:-1]
        return np.stack([self._best_of(part) for part in np.split(values, ends, axis=1)], axis=1)

    def _best_of(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the place of the largest in each row of ``(E, n)``, of equal ones any alike."""
        best: NDArray[np.int64] = values.argmax(axis=1)
        is_best = values == values.max(axis=1, keepdims=True)
        for env in np.flatnonzero(is_best.sum(axis=1) > 1):  # the generator is asked for nothing else
            best[env] = self.generator.choice(np.flatnonzero(is_best[env]))
        return best

    @property
    def has_thirds(self) -> bool:
        """Whether each transition is learned in three views."""
        return self.network.privileged is not None

    def losses(self, batch: Batch, soon: Following | None = None) -> Tensor:
        """Return the temporal-difference loss of each transition, ``(B,)`` in float32.

        ``delta = R + discount * Q_target(s', a*) - Q(s, a)``, where ``discount`` is ``gamma^m`` or 0 after
        the task's end, and ``a*`` maximises ``Q_target(s', .)``, or with ``double`` ``Q(s', .)``. Where
        there are several heads, their losses are added, each as much as `Heads.counting` says. With
        ``quantiles`` each quantile of the return has such a target, and the loss is `quantile_regression`.

        With thirds ``(3 B,)``: those of the whole transitions, then of the same as video alone and as audio
        alone (`thirds.asymmetric`), 0 where not both were present. ``soon`` is what came one step ahead; None
        where the batch tells it. With it the target network chooses for the modalities alone, too: the
        network's choice would take one more pass of its streams, and it is another head than the choosing one
        that rates, so that even so no maximum is taken of what is rated.

        With decoders what is wrong in both modalities, rebuilt from the view's code, is added
        ``reconstruction`` times.

        With augmentation all of this is of a batch that was changed at random.

        With sparsity hidden units are drawn to their target by the gradient alone (`Sparsity.drawing`).

        Source: Mnih et al. (2015), Methods; van Hasselt et al. (2016), Deep RL with double Q-learning, eq. 4.
        """
        self._refresh()
        if self.augmentation is not None:
            batch, soon = self.augmentation(batch, soon)
        if self.decoders is not None and not self.decoders.is_begun:
            self.decoders.begin(batch)
        given = (batch, soon) if self.has_thirds else (batch,)
        return self._losses(*given) if self._sparsity is None else self._sparsity.drawing(self._losses, given)

    def score(self, batch: Batch) -> Tensor:
        """Return the losses ``(B,)`` of the whole transitions, without a graph, of a batch of any size."""
        self._refresh()
        with torch.no_grad():
            return self._losses_of(batch)

    def _losses_of(self, batch: Batch) -> Tensor:
        trained, choosing, rating = self._networks()
        now = (batch.video, batch.audio, batch.present, batch.state)
        following = (batch.next_video, batch.next_audio, batch.next_present, batch.next_state)
        with torch.no_grad():
            rated = rating.values(*following)
            chosen = choosing.values(*following) if self.config.double else rated
        return self._whole(trained.values(*now), rated, chosen, batch)

    def _losses_in_views(self, batch: Batch, soon: Following | None) -> Tensor:
        trained, choosing, rating = self._networks()
        now = (batch.video, batch.audio, batch.present, batch.state)
        following = (batch.next_video, batch.next_audio, batch.next_present, batch.next_state)
        values, size, double = trained.views(*now), len(batch.action), self.config.double
        with torch.no_grad():
            if soon is None:
                rated = rating.views(*following, has_alone=not double)
                chosen = choosing.views(*following) if double else rated
                far = rated.whole, chosen.whole
            else:
                both = [torch.cat(pair) for pair in zip(following, soon[2:], strict=True)]
                views = rating.views(*both)  # in one pass
                rated = chosen = views.part(size, 2 * size)
                rate = views.whole[:size]
                far = rate, choosing.values(*following)[0] if double else rate
        whole = self._whole([values.whole], [far[0]], [far[1]], batch)
        reward, discount, *_ = batch.following if soon is None else soon
        numbers = batch.action, reward, discount
        alone = asymmetric(values, rated, chosen, *numbers, sizes=self.sizes, huber=self.config.huber)
        if self.decoders is not None:
            wrong = self.decoders.losses(values.codes, batch)
            whole, *alone = (
                loss + self.config.reconstruction * part
                for loss, part in zip([whole, *alone], wrong, strict=True)
            )
        has_both = batch.present.all(dim=1)  # (B,)
        return torch.cat([whole, *(has_both * losses for losses in alone)])  # (3 B,)

    def _networks(self) -> tuple[Any, Any, Any]:
        """Return the networks that are trained, that choose, and that rate."""
        if self._low is None:
            return self.network, self.network, self.target
        return self._low[0], self._low[0].copied, self._low[1].copied

    def _whole(
        self, values: Sequence[Tensor], rated: Sequence[Tensor], chosen: Sequence[Tensor], batch: Batch
    ) -> Tensor:
        """Return the loss ``(B,)`` of each head's ``(B, A)``, or quantiles ``(B, A, N)``, added up."""
        counting = self.network.counting(batch.present)  # (B, n)
        total = torch.zeros_like(batch.reward)
        for head, (value, rate, choice) in enumerate(zip(values, rated, chosen, strict=True)):
            chosen_next = best(acted_on(choice, self.config.risk), self.sizes)
            following = taken(rate, chosen_next, self.sizes)  # (B,), or (B, N) of quantiles
            value_taken = taken(value, batch.action, self.sizes)
            if value.dim() == 2:
                target = batch.reward + batch.discount * following
                loss = temporal_difference(value_taken, target, huber=self.config.huber)
            else:
                target = batch.reward[:, None] + batch.discount[:, None] * following
                loss = quantile_regression(value_taken, target, huber=self.config.huber)
            total = total + loss * counting[:, head]
        return total

    def _refresh(self) -> None:
        """Bring the copy that acts up to date, at most once per update."""
        if self._low is not None and self._is_stale:
            self._low[0].refresh()
        self._is_stale = False

    def sync(self) -> None:
        """Count an update, and move the target network when it is due."""
        self.num_updates += 1
        self._is_stale = True
        if self.averaged is not None:
            self.averaged.update(self.num_updates)
        if self.num_updates % self.config.target_every_updates:
            return
        with torch.no_grad():
            for kept, newest in zip(self.target.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(newest, self.config.target_tau)
        if self._low is not None:
            self._low[1].refresh()

    def begin_from(self, encoder: Mapping[str, Tensor]) -> None:
        """Let both networks begin with the weights of an encoder of the same shapes."""
        self.network.encoder.load_state_dict(encoder)
        self.target.load_state_dict(self.network.state_dict())
        if self.averaged is not None:
            self.averaged.begin_from(self.network)
        if self._low is not None:
            self._low[1].refresh()
        self._is_stale = True

    def act_by_average(self) -> None:
        """Take the averaged weights for good, if there are any: what learns no more acts by them."""
        if self.averaged is not None:
            self.network.load_state_dict(self.averaged.state_dict())
            self._is_stale = True

    @contextmanager
    def by_average(self) -> Iterator[None]:
        """Act by the averaged weights, where there are any, and by the newest again at the end."""
        if self.averaged is None:
            yield
            return
        newest = {name: weight.clone() for name, weight in self.network.state_dict().items()}
        self.act_by_average()
        try:
            yield
        finally:
            self.network.load_state_dict(newest)
            self._is_stale = True

    @property
    def _others(self) -> dict[str, Any]:
        """What else has a state, by its name there."""
        others = {"decoders": self.decoders, "averaged": self.averaged, "augmentation": self.augmentation}
        return {name: one for name, one in others.items() if one is not None}

    def state_dict(self) -> dict[str, Any]:
        """Return networks, counters and generators."""
        return {
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "num_updates": self.num_updates,
            "generator": self.generator.bit_generator.state,
            **{name: one.state_dict() for name, one in self._others.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        for name, one in self._others.items():
            one.load_state_dict(state[name])
        if self._low is not None:
            self._low[1].refresh()
        self._is_stale = True
        self.num_updates = int(state["num_updates"])
        self.generator.bit_generator.state = state["generator"]
