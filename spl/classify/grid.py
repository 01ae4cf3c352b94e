"""The configuration of a grid of classifiers: a training, and the attention modules and seeds to vary."""

import inspect
import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from spl.ablation.statistics import check_seeds
from spl.attention import ATTENTION
from spl.classify import config as run
from spl.classify.config import TrainClassifierConfig
from spl.config.ranges import ShareInside
from spl.models.network_table import lookup

ALIASES = {
    "data": "data.name",
    "model": "model.name",
    "curriculum": "curriculum.name",
    "lambda": "separation",
}
MAY_CHANGE = (*run.MAY_CHANGE, "attention", "seeds", "order", "separation")  # a grid may grow
# An option of the grid -> the option of modules that it tries, and how a label tells a value of it.
TRIED = {"order": ("order", "{}"), "separation": ("share", "λ = {}")}
FLAGS = {"order": "--order", "separation": "--lambda"}


@dataclass(frozen=True, kw_only=True)
class AblateClassifierConfig(TrainClassifierConfig):
    """Everything that describes ``spl ablate classifier``: a training, and what is varied of it."""

    unlisted: ClassVar[tuple[str, ...]] = ("model.attention", "seed", "restarts")  # that a grid decides

    attention: tuple[str, ...] = ("none", "sam", "cam", "csm")  # attention modules; the first is the baseline
    seeds: str = "0-4"  # seeds for each module: 0-4, or 0,3,7
    order: tuple[Literal["cam-sam", "sam-cam"], ...] = ()  # orders to try, for modules that have one (csm)
    separation: tuple[ShareInside, ...] = ()  # separation rates to try, for modules that have one (ham)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.attention != "none":
            raise ValueError(
                "--attention names the modules of a grid: leave model.attention out, or at none, "
                f"got {self.model.attention!r}"
            )
        if self.restarts != 1:
            raise ValueError(
                "restarts keep what is best on the held-out images, which no comparison may: "
                f"leave them at 1, got {self.restarts}"
            )
        for name in self.attention:
            lookup(ATTENTION, name, "attention")
        for name, values in (
            ("attention", self.attention),
            ("order", self.order),
            ("lambda", self.separation),
        ):
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"--{name} must name each value once, got {twice[0]} twice")
        check_seeds(self)
        variants_of(self)


class Variant(NamedTuple):
    """An attention module with its options."""

    attention: str
    options: dict[str, Any]
    tried: dict[str, Any]  # of these, what it is told from other variants of the module by; by `TRIED`

    @property
    def name(self) -> str:
        """Name of its folder: ``se``, ``csm-sam-cam``, ``ham-0.6``."""
        return "-".join([self.attention, *map(str, self.tried.values())])

    def label(self, model: str) -> str:
        """Return how the papers' tables name it: ``resnet20 + ham (λ = 0.6)``."""
        told = ", ".join(TRIED[name][1].format(value) for name, value in self.tried.items())
        named = model if self.attention == "none" else f"{model} + {self.attention}"
        return f"{named} ({told})" if told else named


def takes(attention: str, option: str) -> bool:
    """Whether an attention module has an option of that name."""
    return option in inspect.signature(ATTENTION[attention]).parameters


def variants_of(config: AblateClassifierConfig) -> list[Variant]:
    """Return the modules of ``config``, and those that have an option that it tries once for each value.

    ``model.attention_options`` go to the modules that have them.

    Raises:
        ValueError: if there is no module, or none that has one of the options.
    """
    if not config.attention:
        raise ValueError("--attention must name at least one module, got none")
    given, tried = config.model.attention_options, [name for name in TRIED if getattr(config, name)]
    asked = {f"model.attention_options.{option}": option for option in given}
    asked |= {FLAGS[name]: TRIED[name][0] for name in tried}
    for flag, option in asked.items():
        if not any(takes(name, option) for name in config.attention):
            known = ", ".join(name for name in ATTENTION if takes(name, option)) or "no module"
            raise ValueError(
                f"{flag} is for modules with the option {option} ({known}): name one in --attention, "
                f"or leave it out; got --attention {','.join(config.attention)}"
            )
    for name in tried:
        if TRIED[name][0] in given:
            raise ValueError(
                f"{FLAGS[name]} and model.attention_options.{TRIED[name][0]} say the same: leave one out"
            )
    found = []
    for attention in config.attention:
        own = {option: value for option, value in given.items() if takes(attention, option)}
        names = [name for name in tried if takes(attention, TRIED[name][0])]
        for values in itertools.product(*(getattr(config, name) for name in names)):
            chosen = dict(zip(names, values, strict=True))
            options = own | {TRIED[name][0]: value for name, value in chosen.items()}
            found.append(Variant(attention, options, chosen))
    return found
