"""The options of the deep Q-learning agent, and what an environment leaves of them. The agent is in `dqn`."""

from dataclasses import dataclass
from typing import Literal

from spl.agents.exploration import ModalityDropout, linear_epsilon
from spl.agents.q_network.heads import HEADS, Fusion
from spl.agents.replay.sequences import Unroll
from spl.config.fields import check_fields
from spl.config.named_class import Named, parts_of_named
from spl.config.ranges import (
    AtLeast1,
    Count,
    Count0,
    NotNegative,
    Pixels0,
    Positive,
    Quantiles,
    Share,
    ShareAbove0,
    ShareBelow1,
)
from spl.records import StreamSpec

AUGMENTED = ("video_shift", "audio_shift", "audio_mask", "audio_gain_db")
HEADS_OF_OURS = ("mean", "quantile", "implicit")
DEFAULT_QUANTILES = 32


@dataclass(frozen=True, kw_only=True)
class DqnConfig:
    """How the Q-network learns and explores."""

    learning_rate: Positive = 5e-4  # learning rate of Adam
    adam_epsilon: Positive = 1.5e-4  # added to Adam's denominator
    max_grad_norm: Positive | None = 10.0  # clip the gradient's norm; null: off
    gamma: Share = 0.95  # discount per step
    n_step: Count = 1  # rewards summed before the bootstrap
    n_step_start: Count | None = None  # n_step at the start and after a reset; null: n_step throughout
    gamma_start: ShareBelow1 | None = None  # gamma at the start and after a reset, likewise; null: gamma
    anneal_updates: Count = 10_000  # updates over which n_step and gamma are annealed from their starts
    reset_every_updates: Count | None = None  # updates between resets (heads, half the encoder); null: never
    munchausen: Share = 0.0  # weight of the policy's log-probability in the reward, such as 0.9; 0: off
    munchausen_temperature: Positive = 0.03  # temperature of that policy, in units of return
    double: bool = True  # double Q-learning: the target network evaluates the network's choice
    dueling: bool = True  # separate value and advantages
    reward_scale: Positive = 1.0  # factor of the rewards before they are stored
    reward_clip: Positive | None = None  # clip scaled rewards to [-c, c]; null: off
    terminal_on_life_loss: bool = False  # learn that nothing follows a lost life; the game itself goes on
    huber: bool = True  # clip each sample's gradient at 1
    state_features: Count = 64  # width of the layer that reads a state vector, if there is one
    head: Named | None = None  # mean, quantile, implicit, module:Class; null: mean, quantile with quantiles
    quantiles: Quantiles | None = None  # number of quantiles of the return to learn; null: 32, if any
    risk: ShareAbove0 = 1.0  # act on the mean of the worst share of the quantiles; 1: of all
    fusion: Fusion = "joint"  # one joint code, or the mean of each stream's Q-values
    recurrent: Literal["none", "gru"] = "none"  # recurrent unit after the joint code
    burn_in: Count0 = 8  # steps of a sequence that only bring the recurrent state up to date
    sequence: Count = 16  # steps of a sequence that are learned from, after burn_in
    thirds: Literal["auto", "none", "asymmetric"] = "auto"  # also learn from each modality alone
    reconstruction: NotNegative = 0.0  # weight of the error of reconstructing both modalities; 0: no decoders
    sparsity: Literal["none", "squared", "l1"] = "none"  # penalty on each hidden unit's expected activation
    sparsity_target: Share = 0.05  # target of the expected activation; l1 has none
    sparsity_weight: NotNegative = 1e-3  # weight of the sparsity penalty
    video_shift: Pixels0 = 0  # augmentation: shift pictures by at most so many pixels; 0: off
    audio_shift: Count0 = 0  # augmentation: shift log-mel by at most so many audio frames; 0: off
    audio_mask: Count0 = 0  # augmentation: silence at most so many neighbouring mel bands; 0: off
    audio_gain_db: NotNegative = 0.0  # augmentation: louder or quieter by at most so many dB; 0: off
    precision: Literal["float32", "bfloat16"] = "float32"  # of the encoder; weights stay float32
    compile: bool = False  # compile the losses with torch.compile: half a minute at the start
    target_every_updates: Count = 250  # updates between copies to the target network
    target_tau: ShareAbove0 = 1.0  # share copied to the target network each time; 1 copies all
    ema_decay: ShareBelow1 | None = 0.999  # decay of the weight average that a trained agent uses; null: off
    epsilon_start: Share = 1.0  # probability of a random action at the start
    epsilon_end: Share = 0.05  # probability of a random action at the end
    epsilon_warmup_steps: Count0 = 500  # steps at epsilon_start
    epsilon_decay_steps: Count0 = 4_500  # steps from epsilon_start to epsilon_end
    epsilon_ladder: bool = False  # give each collector its own constant epsilon, 0.4 to 0.0007
    modality_dropout: ShareBelow1 = 0.0  # share of collected steps at which one modality is hidden
    modality_dropout_steps: AtLeast1 = 8.0  # mean number of steps for which it stays hidden

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_head()
        if self.risk != 1.0 and self.num_quantiles is None:
            raise ValueError(f"risk={self.risk:g} needs quantiles to choose among: set --agent.quantiles 32")
        self._check_updates()
        ModalityDropout.check(self.modality_dropout, self.modality_dropout_steps)
        reason = HEADS[self.fusion].no_dueling
        if self.dueling and reason is not None:
            raise ValueError(f"fusion={self.fusion} {reason}: set --agent.dueling false")
        self._check_recurrent()
        if self.sparsity != "none" and self.compile:
            raise ValueError(
                f"sparsity={self.sparsity} looks at hidden units, which compiled losses do not show: "
                "set --agent.compile false"
            )
        if self.thirds == "asymmetric" and (reason := HEADS[self.fusion].no_thirds) is not None:
            raise ValueError(
                f"thirds=asymmetric needs a head that reads both streams, and fusion={self.fusion} {reason}: "
                "set --agent.fusion joint or --agent.thirds none"
            )

    @property
    def own_head(self) -> Named | None:
        """The class of the user's own that makes Q-values; None: one of ours does."""
        return None if self.head in (None, *HEADS_OF_OURS) else self.head

    @property
    def kind_of_head(self) -> str:
        """What the head learns: ``mean``, ``quantile``, ``implicit``, or ``own``."""
        if self.head is None:
            return "mean" if self.quantiles is None else "quantile"
        return str(self.head) if self.own_head is None else "own"

    @property
    def num_quantiles(self) -> int | None:
        """How many quantiles of the return are learned; None: its mean."""
        if self.kind_of_head not in ("quantile", "implicit"):
            return None
        return DEFAULT_QUANTILES if self.quantiles is None else self.quantiles

    @property
    def risk_among_quantiles(self) -> float:
        """The worst share of a head's quantiles that is acted on; an implicit head gives no others."""
        return 1.0 if self.kind_of_head == "implicit" else self.risk

    def _check_head(self) -> None:
        if self.own_head is not None:
            if isinstance(self.own_head, str) and ":" not in self.own_head:
                known = ", ".join(HEADS_OF_OURS)
                raise ValueError(f"head must be {known}, or module:Class of your own, got {self.head!r}")
            parts_of_named(self.own_head, "head")
        if self.quantiles is not None and self.num_quantiles is None:
            whose = "our own head" if self.kind_of_head == "own" else "another head"
            raise ValueError(
                f"quantiles={self.quantiles} are those of {whose}: set --agent.head quantile or implicit, or "
                "leave agent.head or quantiles out"
            )

    def _check_updates(self) -> None:
        if self.munchausen and self.double:
            raise ValueError(
                f"munchausen={self.munchausen:g} learns a soft policy's value, which has no best action for "
                "double to choose: set --agent.double false"
            )
        if self.munchausen_temperature != DqnConfig.munchausen_temperature and not self.munchausen:
            raise ValueError(
                f"munchausen_temperature={self.munchausen_temperature:g} is of munchausen alone: "
                "set --agent.munchausen 0.9"
            )
        if self.gamma_start is not None and self.gamma == 1.0:
            raise ValueError("gamma=1 is never neared from gamma_start: set --agent.gamma below 1")
        if self.anneal_updates != DqnConfig.anneal_updates and not self.is_annealed:
            raise ValueError(
                f"anneal_updates={self.anneal_updates} anneals nothing: set --agent.n_step_start or "
                "--agent.gamma_start"
            )

    @property
    def is_annealed(self) -> bool:
        """Whether ``n_step`` or ``gamma`` are others at the start."""
        return self.n_step_start is not None or self.gamma_start is not None

    @property
    def longest_n_step(self) -> int:
        """The most rewards that are ever summed."""
        return max(self.n_step, self.n_step_start or 1)

    def horizon_at(self, update: int) -> tuple[int, float]:
        """Return ``n_step`` and ``gamma`` at an update, counted from the start or the last reset.

        ``n = round(n_1 (n_0 / n_1)^u)`` and ``1 - gamma = (1 - gamma_1) ((1 - gamma_0) / (1 - gamma_1))^u``
        with ``u = max(0, 1 - update / anneal_updates)``, from the starts with 0 to the ends with 1.

        Source: Schwarzer et al. (2023), Bigger, better, faster.
        """
        left = max(0.0, 1.0 - update / self.anneal_updates)
        n_step, gamma = self.n_step, self.gamma
        if self.n_step_start is not None:
            n_step = round(n_step * (self.n_step_start / n_step) ** left)
        if self.gamma_start is not None:
            gamma = 1.0 - (1.0 - gamma) * ((1.0 - self.gamma_start) / (1.0 - gamma)) ** left
        return n_step, gamma

    @property
    def has_augmentation(self) -> bool:
        """Whether what is learned is changed at random."""
        return any(getattr(self, name) for name in AUGMENTED)

    def _check_recurrent(self) -> None:
        idle = (self.burn_in, self.sequence) != (DqnConfig.burn_in, DqnConfig.sequence)
        if self.recurrent == "none":
            if idle:
                raise ValueError(
                    f"burn_in={self.burn_in} and sequence={self.sequence} are those of a recurrent agent: "
                    "set --agent.recurrent gru, or leave them out"
                )
            return
        head = self.head if self.kind_of_head == "implicit" else "quantile"
        for name, value, needed in (
            ("head", head, "quantile"),
            ("fusion", self.fusion, "joint"),  # the only one with a code to remember
            ("reconstruction", self.reconstruction, 0),
            ("compile", self.compile, False),
            *((name, getattr(self, name), 0) for name in AUGMENTED),
        ):
            if value != needed:
                raise ValueError(
                    f"recurrent={self.recurrent} learns sequences step by step, which {name}={value} does "
                    f"not fit: set --agent.{name} {str(needed).lower()}"
                )

    @property
    def is_recurrent(self) -> bool:
        """Whether the agent remembers, and learns sequences."""
        return self.recurrent != "none"

    @property
    def unroll(self) -> Unroll | None:
        """The sequences that a recurrent agent learns; None: transitions are learned."""
        return Unroll(self.burn_in, self.sequence) if self.is_recurrent else None

    @property
    def steps_of_sample(self) -> int:
        """Steps whose observations a sample of the memory needs."""
        return self.burn_in + self.sequence + self.longest_n_step if self.is_recurrent else 2

    def has_decoders(self, spec: StreamSpec) -> bool:
        """Return whether an agent in an environment of this ``spec`` reconstructs both modalities.

        Raises:
            ValueError: if it is asked to, and does not learn in thirds.
        """
        reason = self.no_thirds(spec)
        if self.reconstruction and reason is not None:
            raise ValueError(
                f"reconstruction={self.reconstruction:g} rebuilds both modalities from the thirds' views, "
                f"of which there are none ({reason}): set --agent.reconstruction 0"
            )
        return self.reconstruction > 0

    def check_dropout(self, spec: StreamSpec) -> None:
        """Raise ``ValueError`` if a modality is to be hidden now and then, and there is no other one."""
        if self.modality_dropout and not (spec.has_video and spec.has_audio):
            there = "no audio" if spec.has_video else "no video" if spec.has_audio else "neither"
            raise ValueError(
                f"modality_dropout={self.modality_dropout:g} hides video or audio for a while, and the "
                f"environment has {there}: set --agent.modality_dropout 0"
            )

    def no_thirds(self, spec: StreamSpec) -> str | None:
        """Return why an agent in an environment of this ``spec`` does not learn in thirds; None: it does.

        Raises:
            ValueError: if it is asked to, and the environment lacks a stream.
        """
        if self.thirds == "none":
            return "agent.thirds=none"
        lacking = [name for name, has in (("video", spec.has_video), ("audio", spec.has_audio)) if not has]
        if lacking and self.thirds == "asymmetric":
            raise ValueError(
                f"thirds=asymmetric needs video and audio, and the environment has no {lacking[0]}: "
                "set --agent.thirds none"
            )
        if lacking:
            return f"the environment has no {lacking[0]}"
        reason = HEADS[self.fusion].no_thirds
        return None if reason is None else f"fusion={self.fusion} {reason}"

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
