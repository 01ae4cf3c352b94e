"""The configuration of a curriculum for replay, and what it allows at a step. Who is drawn is not here."""

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

from spl.config.fields import check_fields
from spl.config.ranges import NotNegative, Share, ShareAbove0, ShareInside
from spl.curriculum.config import Power
from spl.curriculum.pace import share_at
from spl.curriculum.weights import SCHEMES, SchemeName
from spl.records import AUDIO, VIDEO, StreamSpec

Name = Literal["uniform", "self-paced", "prioritized", "spl-to-per"]
MODALITIES = {"video": VIDEO, "audio": AUDIO}
_PACE = ("start", "end", "over", "warmup", "schedule", "groups", "rescored", "modality", "scheme")
_OF_SCHEMES = {option: scheme for scheme, form in SCHEMES.items() for option in form.options}
_PRIORITY = ("alpha", "beta")
_USED: dict[str, tuple[str, ...]] = {
    "uniform": (),
    "self-paced": _PACE,
    "prioritized": _PRIORITY,
    "spl-to-per": (*_PACE, *_PRIORITY),
}


@dataclass(frozen=True, kw_only=True)
class ReplayCurriculumConfig:
    """Which transitions of the memory are learned, and how much each counts."""

    name: Name = "uniform"  # which transitions are learned first
    views: Literal["all", "progress"] = "all"  # weigh the views of thirds equally, or by how their loss falls
    start: ShareAbove0 = 0.5  # easiest share of the sampled transitions learned at first
    end: ShareAbove0 = 1.0  # easiest share learned at the end
    over: ShareAbove0 = 0.5  # share of the steps over which it grows
    warmup: Share = 0.08  # share of the steps at the start that learn from all samples
    schedule: Literal["linear", "root", "geometric"] = "linear"  # how the share grows
    groups: Literal["reward", "action", "episode", "none"] = "reward"  # in which the share is taken
    scheme: SchemeName = "hard"  # weight of a learned transition: 1 (hard), or less the harder it is
    inner: ShareInside = 0.5  # of scheme=mixture: weight 1 below this share of the threshold
    power: Power = 3.0  # of scheme=polynomial: 2 is linear, larger is closer to hard
    gamma: NotNegative = 1.0  # of scheme=spld: mean losses subtracted from the easiest of each group
    rescored: Share = 0.125  # mean share of sampled transitions whose loss is recomputed
    modality: Literal["video", "audio"] | None = None  # score by the loss with it alone; null: with both
    alpha: Share = 0.6  # exponent of priorities: 0 is uniform, 1 proportional to the error
    beta: Share = 0.4  # initial exponent of importance weights; it grows to 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.start > self.end:
            raise ValueError(f"start must be at most end ({self.end}), got {self.start}: the share grows")
        for field in fields(self):
            is_used = field.name in ("name", "views") or field.name in self._used(self.name)
            if not is_used and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{field.name} {getattr(self, field.name)} means nothing to the {self.name} curriculum"
                    + (f" with scheme={self.scheme}" if self.has_pace else "")
                    + ": leave it out, or choose another --curriculum"
                )
        if self.has_pace and self.warmup + self.over > 1.0:
            raise ValueError(
                f"warmup and over must not exceed 1 together, got {self.warmup:g} and {self.over:g}: "
                "end would never be reached"
            )
        if self.scheme == "spld" and self.groups == "none":
            raise ValueError("groups must not be none with scheme=spld, which is about them")

    def _used(self, name: Name) -> tuple[str, ...]:
        """Return the options that mean something to the curriculum ``name`` with this scheme."""
        has_pace = "start" in _USED[name]
        return (
            *_USED[name],
            *(option for option, its in _OF_SCHEMES.items() if has_pace and its == self.scheme),
        )

    def named(self, name: Name) -> "ReplayCurriculumConfig":
        """Return the curriculum of another name, with those of these options that mean something to it."""
        return ReplayCurriculumConfig(
            name=name, views=self.views, **{option: getattr(self, option) for option in self._used(name)}
        )

    def check_views(self, no_thirds: str | None) -> None:
        """Raise ``ValueError`` if views are to be chosen and, for the reason given, there is only one."""
        if self.views == "progress" and no_thirds is not None:
            raise ValueError(
                f"curriculum.views=progress chooses among the thirds' views, of which there are none "
                f"({no_thirds}): leave it out"
            )

    def check_sequences(self, recurrent: str) -> None:
        """Raise ``ValueError`` if transitions are to be chosen among, and the agent learns sequences."""
        if recurrent != "none" and self.name != "uniform":
            raise ValueError(
                f"agent.recurrent={recurrent} learns sequences, of which no curriculum knows the difficulty: "
                f"set --curriculum uniform, got {self.name}"
            )

    def check_modalities(self, spec: StreamSpec) -> None:
        """Raise ``ValueError`` if an environment of this ``spec`` lacks the pace's modality."""
        there = {"video": spec.has_video, "audio": spec.has_audio, None: True}
        if not there[self.modality]:
            raise ValueError(f"curriculum.modality must be a stream of the environment, got {self.modality}")

    @property
    def has_pace(self) -> bool:
        """Whether easy transitions come first."""
        return "start" in _USED[self.name]

    @property
    def has_priorities(self) -> bool:
        """Whether hard transitions are drawn more often."""
        return "alpha" in _USED[self.name]


class Pace(NamedTuple):
    """What holds at a step."""

    share: float  # of the transitions drawn, that is learned
    hardness: float  # chance that one is drawn by its priority instead of uniformly
    beta: float  # of the importance weights

    @classmethod
    def at(cls, config: ReplayCurriculumConfig, done: float) -> "Pace":
        """Return the pace after a share ``done`` of the run: share and hardness grow together."""
        beta = config.beta + (1.0 - config.beta) * min(1.0, done)
        if not config.has_pace:
            return cls(1.0, float(config.has_priorities), beta)
        if done < config.warmup:
            return cls(1.0, 0.0, beta)
        grown = min(1.0, (done - config.warmup) / config.over)
        share = share_at(grown, start=config.start, end=config.end, schedule=config.schedule)
        return cls(share, grown if config.has_priorities else 0.0, beta)
