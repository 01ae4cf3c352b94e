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

    name: Name = "uniform"  # easy samples first, hard ones (anti), drawn ones (random), or by a file's order
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
        for name, is_used in self._used().items():
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

    def _used(self) -> dict[str, bool]:
        is_paced, is_share = self.name != "uniform", self.pace == "quantile"
        used = dict.fromkeys(("scheme", "pace", "warmup", "groups", "order"), is_paced)
        used |= dict.fromkeys(("start", "end", "over", "schedule"), is_paced and is_share)
        used |= dict.fromkeys(("threshold", "growth"), is_paced and not is_share)
        used |= {"root": used["schedule"] and self.schedule == "root"}
        used |= {"unseen": self.name in ("self-paced", "anti"), "difficulty": self.name == "predefined"}
        return used | {
            option: is_paced and scheme == self.scheme
            for scheme, form in SCHEMES.items()
            for option in form.options
        }
