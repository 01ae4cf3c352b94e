"""The multimodal deep Q-learning agent: how it acts, and the losses it learns from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spl.agents.companions import Companions
from spl.agents.dqn_config import DqnConfig
from spl.agents.exploration import best_actions
from spl.agents.history import Stack
from spl.agents.own_layers import OwnLayers
from spl.agents.q_network.averaged import AveragedNetwork, follow
from spl.agents.q_network.low_precision import LowPrecision
from spl.agents.q_network.network import MultimodalQNetwork
from spl.agents.q_network.resets import reset
from spl.agents.q_network.thirds import asymmetric
from spl.agents.recurrence import Along
from spl.agents.replay.sequences import Sequences, Steps
from spl.agents.sparsity import Sparsity, by_gradient
from spl.agents.targets import Answers, losses_of
from spl.envs.actions import as_action
from spl.processes.threads import one_thread
from spl.records import VIDEO, Action, Batch, Following, Observation
from spl.training.compile import compiled


class MultimodalDqn:
    """Epsilon-greedy Q-learning with a target network; one loss per transition.

    Args:
        network: trained; its copy is the target network.
        config: the options named in :class:`DqnConfig`.
        generator: owns exploration.
        device: where the network lies.
        companions: what ``config`` asks for.
    """

    def __init__(
        self,
        network: MultimodalQNetwork,
        target: MultimodalQNetwork,
        config: DqnConfig,
        generator: np.random.Generator,
        device: torch.device,
        companions: Companions = Companions(),  # noqa: B008  a tuple, which nobody changes
    ) -> None:
        self.network = network.to(device).eval()  # what learns in another mode are `OwnLayers`
        self.target = target.to(device).requires_grad_(False).eval()
        if self.network.state is not None and self.target.state is not None:
            self.target.state.norm = self.network.state.norm
        self.target.load_state_dict(network.state_dict())
        self.decoders = None if companions.decoders is None else companions.decoders.to(device)
        self.averaged = None if config.ema_decay is None else AveragedNetwork(self.network, config.ema_decay)
        self.augmentation, self.redraw, self.fractions = companions[1:4]
        self.config, self.unroll, self.sizes = config, config.unroll, network.sizes
        self.generator, self.device, self.has_thirds = generator, device, network.privileged is not None
        is_low = config.precision == "bfloat16"
        self._low = (LowPrecision(self.network), LowPrecision(self.target)) if is_low else None
        trained, seed = self.network if self._low is None else self._low[0], companions.own_seed
        self._own = None if seed is None else OwnLayers(self.network, trained, seed)
        self._trained: Any = self._own or trained
        self._pictures = network.picture_norm
        self.num_updates, self._is_stale = 0, False  # whether the network has moved since its copy was made
        losses = self._losses_of if network.privileged is None else self._losses_in_views
        self._losses: Callable[..., Tensor] = compiled(losses, device) if config.compile else losses
        if network.recurrent is not None:
            self._losses = self._losses_in_sequences
        if config.sparsity != "none":
            self._losses = partial(Sparsity(network.encoder, config).drawing, self._losses)

    def act(self, stack: Stack, epsilon: float) -> list[Action]:
        """Return the actions of :meth:`decide`, all that an agent without memory needs."""
        return self.decide(stack, epsilon)[0]

    def decide(self, stack: Stack, epsilon: float) -> tuple[list[Action], Tensor | None]:
        """Return one action per environment: uniform with chance ``epsilon``, else a best one.

        Each dimension of an action is drawn, or is its best, for itself (Seyde et al., 2023). Beside them
        comes the recurrent state ``(E, R)`` after the step; None of an agent without.
        """
        shape = len(stack.present), len(self.sizes)
        explores = self.generator.random(shape) < epsilon
        actions = self.generator.integers(self.sizes, size=shape)
        reached = None
        if self.network.recurrent is not None or not explores.all():
            self._refresh()
            acting = self.network if self._low is None else self._low[0].copied
            alone = one_thread() if len(stack.present) == 1 else nullcontext()
            with torch.inference_mode(), alone:
                values, reached = acting.step(*stack.to(self.device))  # (E, A), (E, R)
            best = best_actions(values.cpu().numpy(), self.sizes, self.generator)
            actions = np.where(explores, actions, best)
        return [as_action(action) for action in actions], reached

    def see(self, observation: Observation) -> None:
        """Take what was collected into the statistics that normalise it: a picture until learning begins."""
        if self._pictures is not None and not self.num_updates and observation.present[VIDEO]:
            self._pictures.update(torch.from_numpy(observation.video))
        if self.network.state is not None:
            self.network.state.norm.update(torch.from_numpy(observation.state))

    def losses(self, batch: Batch | Sequences, soon: Following | None = None) -> Tensor:
        """Return the temporal-difference loss of each transition, ``(B,)`` in float32 (`targets.losses_of`).

        With thirds ``(3 B,)``: those of the whole transitions, then of the same as video alone and as audio
        alone (`thirds.asymmetric`), 0 where not both were present. ``soon`` is what came one step ahead; None
        where the batch tells it. With it the target network chooses for the modalities alone, too, which
        saves a pass of the streams: another head than the choosing one rates.

        Decoders' errors in both modalities are added ``reconstruction`` times, and sparsity draws hidden
        units to its target, both `by_gradient`. Augmentation changes the batch at random. Layers of the
        user's own are in training mode here alone. Of `Sequences` each is the mean over the steps learned.
        """
        if self._pictures is not None and not self.num_updates:
            self._pictures.fix()
            self._begin_others()
        self._refresh()
        fractions = None
        if isinstance(batch, Batch):
            if self.augmentation is not None:
                batch, soon = self.augmentation(batch, soon)
            if self.decoders is not None and not self.decoders.is_begun:
                self.decoders.begin(batch)
            fractions = None if self.fractions is None else self.fractions.draw(batch.size, self.device)
        given = (batch, fractions, soon) if self.has_thirds else (batch, fractions)
        with nullcontext() if self._own is None else self._own.drawing(self.device, self.num_updates):
            return self._losses(*given)

    def score(self, batch: Batch) -> Tensor:
        """Return the losses ``(B,)`` of the whole transitions, without a graph, of a batch of any size."""
        self._refresh()
        fractions = None if self.fractions is None else self.fractions.fixed(batch.size, self.device)
        with torch.no_grad():
            return self._losses_of(batch, fractions)

    def _losses_of(self, batch: Batch, fractions: tuple[Tensor, Tensor] | None) -> Tensor:
        trained, choosing, rating = self._networks()
        at, at_next = ((), ()) if fractions is None else ((fractions[0],), (fractions[1],))
        is_apart = self.config.double or fractions is not None  # what chooses, from what is rated
        now, following = batch.inputs, batch.next_inputs
        with torch.no_grad():
            rated = rating.values(*following, *at_next)
            chosen = choosing.values(*following) if is_apart else rated
            before = rating.values(*now) if self.config.munchausen else None
        return self._whole(Answers(trained.values(*now, *at), rated, chosen, before, *at), batch)

    def _whole(self, answers: Answers, batch: Batch | Steps) -> Tensor:
        counting = self.network.counting(batch.present_throughout)  # (B, n)
        return losses_of(answers, batch, counting, config=self.config, sizes=self.sizes)

    def _losses_in_sequences(self, batch: Sequences, *_: None) -> Tensor:
        trained, _, rating = self._networks()
        along, steps = Along.of(batch, trained, rating, self.config), batch.steps(self.config.burn_in)
        whole = batch.means(self._whole(along.answers(), steps))
        has_both = steps.present.all(dim=1)  # (B L,)
        return torch.cat([whole, *(batch.means(has_both * losses) for losses in along.alone(self.sizes))])

    def _losses_in_views(
        self, batch: Batch, fractions: tuple[Tensor, Tensor] | None, soon: Following | None
    ) -> Tensor:
        trained, choosing, rating = self._networks()
        at, at_next = ((), ()) if fractions is None else ((fractions[0],), (fractions[1],))
        is_apart = self.config.double or fractions is not None  # what chooses, from what is rated
        now, following = batch.inputs, batch.next_inputs
        values, size = trained.views(*now, *at), len(batch.action)
        with torch.no_grad():
            if soon is None:
                rated = rating.views(*following, *at_next, has_alone=not is_apart)
                chosen = choosing.views(*following) if is_apart else rated
                far = rated.whole, chosen.whole
            else:
                both = [torch.cat(pair) for pair in zip(following, soon[2:], strict=True)]
                views = rating.views(*both, *(one.repeat(2, 1) for one in at_next))  # in one pass
                rated = chosen = views.part(size, 2 * size)
                rate = views.whole[:size]
                far = rate, choosing.values(*following)[0] if is_apart else rate
            before = rating.values(*now) if self.config.munchausen else None
        whole = self._whole(Answers([values.whole], [far[0]], [far[1]], before, *at), batch)
        reward, discount, *_ = batch.following if soon is None else soon
        numbers = batch.action, reward, discount
        alone = asymmetric(values, rated, chosen, *numbers, sizes=self.sizes, huber=self.config.huber)
        if self.decoders is not None:
            wrong = self.decoders.losses(values.codes, batch)
            whole, *alone = (
                loss + by_gradient(self.config.reconstruction * part)
                for loss, part in zip([whole, *alone], wrong, strict=True)
            )
        has_both = batch.present.all(dim=1)  # (B,)
        return torch.cat([whole, *(has_both * losses for losses in alone)])  # (3 B,)

    def _networks(self) -> tuple[Any, Any, Any]:
        """Return the networks that are trained, that choose, and that rate."""
        if self._low is None:
            return self._trained, self.network if self.config.double else self.target, self.target
        rating = self._low[1].copied
        return self._trained, self._low[0].copied if self.config.double else rating, rating

    def _refresh(self) -> None:
        """Bring the copy that acts up to date, at most once per update."""
        if self._low is not None and self._is_stale:
            self._low[0].refresh()
        self._is_stale = False

    @property
    def horizon(self) -> tuple[int, float] | None:
        """How many rewards are summed now, and the discount, where they are annealed; else None."""
        return self.config.horizon_at(self._num_since_reset) if self.config.is_annealed else None

    @property
    def _num_since_reset(self) -> int:
        """Updates since the last reset, or the start."""
        every = self.config.reset_every_updates
        return self.num_updates if every is None else self.num_updates % every

    def sync(self) -> Sequence[nn.Parameter]:
        """Count an update, move the target network when it is due, and reset when that is.

        Return the weights that were drawn anew: what an optimizer knows of them holds no longer.
        """
        self.num_updates += 1
        self._is_stale = True
        if self.redraw is not None and not self._num_since_reset:
            anew = reset(self.network, self.redraw(self.num_updates))
            self._begin_others()
            return anew
        if self.averaged is not None:
            self.averaged.update(self._num_since_reset)
        if self.num_updates % self.config.target_every_updates:
            return ()
        follow(self.target, self.network, self.config.target_tau)
        if self._low is not None:
            self._low[1].refresh()
        return ()

    def begin_from(self, encoder: Mapping[str, Tensor]) -> None:
        """Let both networks begin with the weights of an encoder of the same shapes."""
        self.network.encoder.load_state_dict(encoder)
        self._begin_others()

    def _begin_others(self) -> None:
        """Let the target network and the average begin with the network's weights."""
        self.target.load_state_dict(self.network.state_dict())
        if self.averaged is not None:
            self.averaged.begin_from(self.network)
        if self._low is not None:
            self._low[1].refresh()
        self._is_stale = True

    def act_by(self, weights: Mapping[str, Tensor]) -> None:
        """Let the network have these weights."""
        self.network.load_state_dict(weights)
        self._is_stale = True

    def act_by_average(self) -> None:
        """Take the averaged weights for good, if there are any: what learns no more acts by them."""
        if self.averaged is not None:
            self.act_by(self.averaged.state_dict())

    @contextmanager
    def by_average(self) -> Iterator[None]:
        """Act by the averaged weights, where there are any, and by the newest again at the end."""
        newest = {name: weight.clone() for name, weight in self.network.state_dict().items()}
        self.act_by_average()
        try:
            yield
        finally:
            self.act_by(newest)

    @property
    def _others(self) -> dict[str, Any]:
        """What else has a state, by its name there."""
        names = ("decoders", "averaged", "augmentation", "fractions")
        return {name: one for name in names if (one := getattr(self, name)) is not None}

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
        self.act_by(state["network"])
        self.target.load_state_dict(state["target"])
        for name, one in self._others.items():
            one.load_state_dict(state[name])
        if self._low is not None:
            self._low[1].refresh()
        self.num_updates = int(state["num_updates"])
        self.generator.bit_generator.state = state["generator"]
