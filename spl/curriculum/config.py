"""The configuration of a curriculum over a fixed set of samples."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import (
    LARGEST,
    NotNegative,
    Positive,
    Range,
    ShareAbove0,
    ShareBelow1,
    ShareInside,
)
from spl.curriculum.pace import Schedule
from spl.curriculum.weights import SCHEMES, SchemeName

Name = Literal["uniform", "self-paced", "anti", "random", "predefined"]


Power = Annotated[float, Range(1.0, LARGEST, "(]")]


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """Which samples are learned from, and when."""

    name: Name = "uniform"  # all samples; or first the easy, the hard (anti), random, or by a file
    scheme: SchemeName = "hard"  # weight of an included sample: 1 (hard), or less the harder it is
    pace: Literal["quantile", "absolute"] = "quantile"  # a share that grows, or a loss threshold
    start: ShareAbove0 = 0.3  # share included after the warm-up
    end: ShareAbove0 = 0.55  # share included at the end; above the clean share, noise is learned too
    over: ShareAbove0 = 0.5  # share of the updates after which end is reached
    schedule: Schedule = "linear"  # how the share grows
    root: Positive = 2.0  # of schedule=root: 1 is linear, larger is faster at first
    threshold: Positive = 1.0  # of pace=absolute: highest loss included after the warm-up
    growth: Positive = 1.3  # of pace=absolute: the threshold's factor per round
    warmup: ShareBelow1 = 0.08  # share of the updates, at the start, that use every sample
    groups: bool = True  # choose within each label, so that every label keeps its share
    order: Literal["shuffled", "easy-first"] = "shuffled"  # order of the samples in a round
    unseen: Literal["include", "exclude"] = "include"  # what to do with samples that have no loss yet
    inner: ShareInside = 0.5  # of scheme=mixture: weight 1 below this share of the threshold
    power: Power = 3.0  # of scheme=polynomial: 2 is linear, larger is closer to hard
    gamma: NotNegative = 1.0  # of scheme=spld: loss subtracted from the easiest sample of each group
    difficulty: PathName | None = None  # for predefined: .npy or .csv, a number per sample, low is easy

    def __post_init__(self) -> None:
        check_fields(self)
        if self.start > self.end:
            raise ValueError(f"end must be between start ({self.start}) and 1, got {self.end}")
        if self.warmup >= self.over:
            raise ValueError(f"over must be between warmup ({self.warmup}) and 1, got {self.over}")
        for name, is_used in _used(self.name, self.scheme, self.pace, self.schedule).items():
            default = next(field.default for field in fields(self) if field.name == name)
            if not is_used and getattr(self, name) != default:
                raise ValueError(
                    f"{name} has no effect with name={self.name}, pace={self.pace}, scheme={self.scheme} and "
                    f"schedule={self.schedule}, got {getattr(self, name)}; leave it out"
                )
        if self.name == "predefined" and self.difficulty is None:
            raise ValueError("difficulty must name a .npy or .csv file with name=predefined, got null")
        if self.name in ("anti", "random") and (self.scheme, self.pace) != ("hard", "quantile"):
            raise ValueError(
                f"{self.name} needs scheme=hard and pace=quantile, got {self.scheme} and {self.pace}"
            )
        if self.scheme == "spld" and not self.groups:
            raise ValueError("groups must be true with scheme=spld, which is about them, got false")

    def named(self, name: Name, difficulty: str | None = None) -> "CurriculumConfig":
        """Return the curriculum of another name, with those of these options that mean something to it.

        ``anti`` and ``random``, which have no other form than the hard one, get that.

        Raises:
            ValueError: if there is no curriculum of that name at this pace.
        """
        if name == "uniform":
            return CurriculumConfig()
        scheme: SchemeName = "hard" if name in ("anti", "random") else self.scheme
        used = _used(name, scheme, self.pace, self.schedule)
        kept = {option: getattr(self, option) for option, is_used in used.items() if is_used}
        return CurriculumConfig(**{**kept, "name": name, "scheme": scheme, "difficulty": difficulty})


def _used(name: Name, scheme: SchemeName, pace: str, schedule: Schedule) -> dict[str, bool]:
    """Return which options mean something to the others."""
    is_paced, is_share = name != "uniform", pace == "quantile"
    used = dict.fromkeys(("scheme", "pace", "warmup", "groups", "order"), is_paced)
    used |= dict.fromkeys(("start", "end", "over", "schedule"), is_paced and is_share)
    used |= dict.fromkeys(("threshold", "growth"), is_paced and not is_share)
    used |= {"root": used["schedule"] and schedule == "root"}
    used |= {"unseen": name in ("self-paced", "anti"), "difficulty": name == "predefined"}
    return used | {
        option: is_paced and form_name == scheme
        for form_name, form in SCHEMES.items()
        for option in form.options
    }
