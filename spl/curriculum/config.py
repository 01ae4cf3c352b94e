"""What describes a curriculum over a fixed set of samples: the options of a command line."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from spl.curriculum.pace import Schedule
from spl.curriculum.weights import SCHEMES

Name = Literal["uniform", "self-paced", "anti", "random", "predefined"]
SchemeName = Literal["hard", "linear", "logarithmic", "mixture", "polynomial", "logistic", "spld"]


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """Which samples are learned from, and when."""

    name: Name = (
        "uniform"  # all, or first the easy ones, the hard ones (anti), drawn ones, or a file's easy ones
    )
    scheme: SchemeName = "hard"  # how much an included sample counts: fully, or less the harder it is
    pace: Literal["quantile", "absolute"] = "quantile"  # the share of samples grows, or the loss allowed
    start: float = 0.3  # share included after the warm-up
    end: float = 0.55  # share included at last; above the share of clean samples the noise is learned too
    over: float = 0.5  # share of the updates after which that is so
    schedule: Schedule = "linear"  # how the share grows between
    root: float = 2.0  # of schedule=root: 1 is linear, more is faster at first
    threshold: float = 1.0  # of pace=absolute: the loss allowed after the warm-up
    growth: float = 1.3  # of pace=absolute: its factor each round
    warmup: float = 0.08  # share of the updates over everything, before the first choice
    groups: bool = True  # choose within each label, so that none is lost
    order: Literal["shuffled", "easy-first"] = "shuffled"  # of the samples in a round
    unseen: Literal["include", "exclude"] = "include"  # samples that have no loss yet
    inner: float = 0.5  # of scheme=mixture: below this share of the pace a sample counts fully
    power: float = 3.0  # of scheme=polynomial: 2 is linear, more is nearer to hard
    gamma: float = 1.0  # of scheme=spld: what the easiest of a group gains, in the unit of the loss
    difficulty: str | None = None  # of predefined: .npy or .csv, one number a sample, easy is low

    def __post_init__(self) -> None:
        for name, is_right, expected in self._ranges():
            if not is_right:
                raise ValueError(f"{name} must {expected}, got {getattr(self, name)}")
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

    def _ranges(self) -> list[tuple[str, bool, str]]:
        return [
            ("start", 0.0 < self.start <= 1.0, "lie in (0, 1]"),
            ("end", self.start <= self.end <= 1.0, f"lie between start ({self.start}) and 1"),
            ("warmup", 0.0 <= self.warmup < 1.0, "lie in [0, 1)"),
            ("over", self.warmup < self.over <= 1.0, f"lie between warmup ({self.warmup}) and 1"),
            ("root", 0.0 < self.root < math.inf, "be positive and finite"),
            ("threshold", 0.0 < self.threshold < math.inf, "be positive and finite"),
            ("growth", 0.0 < self.growth < math.inf, "be positive and finite"),
            ("inner", 0.0 < self.inner < 1.0, "lie between 0 and 1"),
            ("power", 1.0 < self.power < math.inf, "be above 1 and finite"),
            ("gamma", 0.0 <= self.gamma < math.inf, "be finite and not negative"),
        ]

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
