"""The multimodal deep Q-network: a two-stream encoder, Q-values, and the losses it learns from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from spl.agents.exploration import ModalityDropout, linear_epsilon
from spl.agents.heads import HEADS, Fusion
from spl.agents.history import Stack
from spl.agents.low_precision import LowPrecision
from spl.config.ranges import AtLeast1, Count, Count0, Positive, Share, ShareBelow1, check_ranges
from spl.models.encoder import TwoStreamEncoder
from spl.records import Batch
from spl.training.compile import compiled
from spl.training.losses import temporal_difference


@dataclass(frozen=True, kw_only=True)
class DqnConfig:
    """How the Q-network learns and explores."""

    learning_rate: Positive = 5e-4  # learning rate of Adam
    adam_epsilon: Positive = 1.5e-4  # added to Adam's denominator
    max_grad_norm: Positive | None = 10.0  # clip the gradient's norm; null: off
    gamma: Share = 0.95  # discount per step
    n_step: Count = 1  # rewards summed before the bootstrap
    double: bool = True  # double Q-learning: the target network evaluates the network's choice
    dueling: bool = True  # separate value and advantages
    reward_scale: Positive = 1.0  # factor of the rewards before they are stored
    reward_clip: Positive | None = None  # then clip them to [-c, c]; null: off
    huber: bool = True  # clip each sample's gradient at 1
    fusion: Fusion = "joint"  # one joint code, or the mean of each stream's Q-values
    precision: Literal["float32", "bfloat16"] = "float32"  # of the encoder; weights stay float32
    compile: bool = False  # compile the losses with torch.compile: half a minute at the start
    target_every_updates: Count = 250  # updates between copies to the target network
    target_tau: Share = 1.0  # share copied to the target network each time; 1 copies all
    epsilon_start: Share = 1.0  # probability of a random action at the start
    epsilon_end: Share = 0.05  # probability of a random action at the end
    epsilon_warmup_steps: Count0 = 500  # steps at epsilon_start
    epsilon_decay_steps: Count0 = 4_500  # steps from epsilon_start to epsilon_end
    modality_dropout: ShareBelow1 = 0.0  # share of steps at which one modality is hidden while collecting
    modality_dropout_steps: AtLeast1 = 8.0  # mean length of a hidden stretch

    def __post_init__(self) -> None:
        check_ranges(self)
        ModalityDropout.check(self.modality_dropout, self.modality_dropout_steps)
        reason = HEADS[self.fusion].no_dueling
        if self.dueling and reason is not None:
            raise ValueError(f"fusion={self.fusion} {reason}: set --agent.dueling false")

    def epsilon_at(self, step: int) -> float:
        """Return the chance of a random action at ``step``."""
        return linear_epsilon(
            step,
            start=self.epsilon_start,
            end=self.epsilon_end,
            warmup_steps=self.epsilon_warmup_steps,
            decay_steps=self.epsilon_decay_steps,
        )

    def kept_reward(self, reward: float) -> float:
        """Return what the memory keeps of a reward: scaled, then cut to ``[-reward_clip, reward_clip]``."""
        scaled = self.reward_scale * reward
        return scaled if self.reward_clip is None else min(max(scaled, -self.reward_clip), self.reward_clip)


class MultimodalQNetwork(nn.Module):
    """Q-values from video and audio: an encoder, and the heads of `HEADS` that ``fusion`` names."""

    def __init__(self, encoder: TwoStreamEncoder, num_actions: int, *, dueling: bool, fusion: Fusion) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = HEADS[fusion](encoder, num_actions, dueling=dueling)
        self.num_actions = num_actions

    def values(self, video: Tensor, audio: Tensor, present: Tensor) -> list[Tensor]:
        """Return the ``(B, A)`` that are trained: one per head."""
        streams = self.encoder.streams(video, audio, present)
        return self.heads.values(self.encoder, streams, present)

    def counting(self, present: Tensor) -> Tensor:
        """Return ``(B, n)``, by which the loss of each of :meth:`values` counts."""
        return self.heads.counting(present)

    def forward(self, video: Tensor, audio: Tensor, present: Tensor) -> Tensor:
        """Return the ``(B, A)`` that are acted on.

        Args:
            video: ``(B, T, C, H, W)`` uint8.
            audio: ``(B, T, C, M, F)`` log-mel levels, or a waveform.
            present: ``(B, 2)`` flags of video and audio.
        """
        return self.heads.fused(self.values(video, audio, present), present)

    def parameters_of_heads(self) -> list[nn.Parameter]:
        """Return all parameters but the encoder's."""
        return list(self.heads.parameters())


class MultimodalDqn:
    """Epsilon-greedy Q-learning with a target network; one loss per transition.

    Args:
        network: trained; its copy is the target network.
        config: the options named in :class:`DqnConfig`.
        generator: owns exploration.
        device: where the network lies.
    """

    def __init__(
        self,
        network: MultimodalQNetwork,
        target: MultimodalQNetwork,
        config: DqnConfig,
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        self.network = network.to(device)
        self.target = target.to(device).requires_grad_(False)
        self.target.load_state_dict(network.state_dict())
        self.config = config
        self.generator = generator
        self.device = device
        self.num_actions = network.num_actions
        self.num_updates = 0
        self._low: tuple[LowPrecision, LowPrecision] | None = None  # of network and target
        if config.precision == "bfloat16":
            self._low = LowPrecision(self.network), LowPrecision(self.target)
        self._is_stale = False  # whether the network has moved since its copy was made
        self._losses = compiled(self._losses_of, device) if config.compile else self._losses_of

    def act(self, stack: Stack, epsilon: float) -> list[int]:
        """Return one action per environment: uniform with chance ``epsilon``, else the best."""
        num_envs = len(stack.present)
        explores = self.generator.random(num_envs) < epsilon
        actions = self.generator.integers(self.num_actions, size=num_envs)
        if not explores.all():
            self._refresh()
            acting = self.network if self._low is None else self._low[0].copied
            with torch.inference_mode():
                greedy = acting(*stack.to(self.device)).argmax(dim=1).cpu().numpy()
            actions = np.where(explores, actions, greedy)
        return [int(action) for action in actions]

    def losses(self, batch: Batch) -> Tensor:
        """Return ``(B,)``: the temporal-difference loss of each transition, in float32.

        ``delta = R + discount * Q_target(s', a*) - Q(s, a)``, where ``discount`` is ``gamma^m`` or 0 after
        the task's end, and ``a*`` maximises ``Q_target(s', .)``, or with ``double`` ``Q(s', .)``. Where
        there are several heads, their losses are added, each as much as `Heads.counting` says.

        Source: Mnih et al. (2015), Methods; van Hasselt et al. (2016), Deep RL with double Q-learning, eq. 4.
        """
        self._refresh()
        return self._losses(batch)

    def score(self, batch: Batch) -> Tensor:
        """Return :meth:`losses` ``(B,)`` without a graph, of a batch of any size, never compiled."""
        self._refresh()
        with torch.no_grad():
            return self._losses_of(batch)

    def _losses_of(self, batch: Batch) -> Tensor:
        trained, choosing, rating = self.network.values, self.network, self.target
        if self._low is not None:
            trained, choosing, rating = self._low[0].values, self._low[0].copied, self._low[1].copied
        following = (batch.next_video, batch.next_audio, batch.next_present)
        with torch.no_grad():
            rated = rating.values(*following)
            chosen = choosing.values(*following) if self.config.double else rated
        values = trained(batch.video, batch.audio, batch.present)
        counting = self.network.counting(batch.present)  # (B, n)
        total = torch.zeros_like(batch.reward)
        for head, (value, rate, choice) in enumerate(zip(values, rated, chosen, strict=True)):
            best = rate.gather(1, choice.argmax(dim=1, keepdim=True)).squeeze(1)  # (B,)
            target = batch.reward + batch.discount * best
            taken = value.gather(1, batch.action[:, None]).squeeze(1)  # (B,)
            loss = temporal_difference(taken, target, huber=self.config.huber)
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
        if self._low is not None:
            self._low[1].refresh()
        self._is_stale = True

    def state_dict(self) -> dict[str, Any]:
        """Return networks, counter and generator."""
        return {
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "num_updates": self.num_updates,
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        if self._low is not None:
            self._low[1].refresh()
        self._is_stale = True
        self.num_updates = int(state["num_updates"])
        self.generator.bit_generator.state = state["generator"]
