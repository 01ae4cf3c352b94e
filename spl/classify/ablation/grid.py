"""The configuration of a grid of classifiers: a training, attention modules, seeds, and what varies."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from spl.ablation.statistics import check_seeds
from spl.ablation.varied import Values, changed, check_known, combinations, told, values_of
from spl.attention import ATTENTION
from spl.classify import config as run
from spl.classify.config import TrainClassifierConfig
from spl.config.options import narrowed
from spl.config.ranges import Count
from spl.models.image.network_table import NETWORKS, lookup


def takes(attention: str, option: str) -> bool:
    """Whether an attention module has an option of that name."""
    return option in inspect.signature(ATTENTION[attention]).parameters


OPTIONS = sorted(
    {name for module in ATTENTION.values() for name in [*inspect.signature(module).parameters][1:]}
    - {"options"}
)
ALIASES = {
    "data": "data.name",
    "model": "vary.model.name",
    "curriculum": "curriculum.name",
    **{f"attention.{name}": f"vary.attention.{name}" for name in OPTIONS},
    "attention.stages": "vary.model.attention_stages",
    "attention.per": "vary.model.attention_per",
    "order": "vary.attention.order",
    "lambda": "vary.attention.share",
}
MAY_CHANGE = (*run.MAY_CHANGE, "attention", "seeds", "vary", "yes", "parallel", "ray")  # a grid may grow
OF_MODULE, OF_PLACE = "attention.", "model.attention_"  # options that a network without attention has not
# What a grid may vary: with all of it, one seed gives the same images, in the same order.
VARIED = (
    "model.",
    "recipe.",
    "curriculum.",
    "transfer.",
    "data.augmentation",
    "data.padding",
    "data.label_noise",
)
LABELS = {"order": "{}", "share": "λ = {}", "attention_stages": "stage {}", "attention_per": "per {}"}


@dataclass(frozen=True, kw_only=True)
class AblateClassifierConfig(TrainClassifierConfig):
    """Everything that describes ``spl ablate classifier``: a training, and what is varied of it."""

    unlisted: ClassVar[tuple[str, ...]] = ("model.attention", "seed", "restarts")  # that a grid decides

    attention: tuple[str, ...] = ("none", "sam", "cam", "csm")  # attention modules; the first is the baseline
    seeds: str = "0-4"  # seeds for each cell: 0-4, or 0,3,7
    parallel: Count = 1  # runs to train at a time, each in its own process
    ray: str | None = None  # address of the Ray cluster that trains them: auto, HOST:6379; null: this machine
    vary: dict[str, Any] = field(default_factory=dict)  # values of options to try, as --vary.OPTION A,B
    yes: bool = False  # begin a grid that takes longer than 8 hours

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
        if twice := [name for name in self.attention if self.attention.count(name) > 1]:
            raise ValueError(f"--attention must name each value once, got {twice[0]} twice")
        if not self.attention:
            raise ValueError("--attention must name at least one module, got none")
        check_seeds(self)
        for name in self.values.get("model.name", []):
            lookup(NETWORKS, str(name), "network")
        _check_varied(self)
        _check_modules(self)

    @property
    def values(self) -> Values:
        """The values to try of each option that is varied."""
        return values_of(self.vary)


class Variant(NamedTuple):
    """An attention module with its options, in a training with some options changed."""

    attention: str
    options: dict[str, Any]
    changes: dict[str, Any]  # options of the training that differ from the grid's, by dotted name
    tried: dict[str, Any]  # of both, what it is told from other variants by, by dotted name
    baseline: str  # name of the variant that it is compared with

    @property
    def name(self) -> str:
        """Name of its folder: ``se``, ``csm-sam-cam``, ``ham-0.6``, ``resnet18-se``."""
        before = [told(value) for name, value in self.tried.items() if not name.startswith(OF_MODULE)]
        behind = [told(value) for name, value in self.tried.items() if name.startswith(OF_MODULE)]
        return re.sub(r"[^\w.+-]", "_", "-".join([*before, self.attention, *behind]))

    def label(self, model: str) -> str:
        """Return how the papers' tables name it: ``resnet20 + ham (λ = 0.6)``."""
        named = str(self.changes.get("model.name", model))
        named = named if self.attention == "none" else f"{named} + {self.attention}"
        beside = [_labelled(name, value) for name, value in self.tried.items() if name != "model.name"]
        return f"{named} ({', '.join(beside)})" if beside else named


def _labelled(name: str, value: Any) -> str:
    last = name.rpartition(".")[2]
    return LABELS.get(last, f"{last} = {{}}").format(told(value))


def _check_varied(config: AblateClassifierConfig) -> None:
    """Refuse options that cannot be varied.

    Raises:
        ValueError: naming it.
    """
    names = [name for name in config.values if not name.startswith(OF_MODULE)]
    for name in names:
        if name in ("model.attention", "model.attention_options", "model.weights"):
            raise ValueError(
                f"--vary.{name}: name modules in --attention, and their options as --attention.OPTION"
            )
        if name != "precision" and not name.startswith(VARIED):
            raise ValueError(
                f"--vary.{name} cannot be varied in one grid, whose cells have their images in common; "
                f"start a grid for each"
            )
    check_known(TrainClassifierConfig, names)


def _check_modules(config: AblateClassifierConfig) -> None:
    """Refuse options that no module of the grid has, and those that are said twice.

    Raises:
        ValueError: naming the option.
    """
    given = config.model.attention_options
    tried = [name.removeprefix(OF_MODULE) for name in config.values if name.startswith(OF_MODULE)]
    asked = {f"model.attention_options.{option}": option for option in given}
    asked |= {f"--attention.{option}": option for option in tried}
    for flag, option in asked.items():
        if not any(takes(name, option) for name in config.attention):
            known = ", ".join(name for name in ATTENTION if takes(name, option)) or "no module"
            raise ValueError(
                f"{flag} is for modules with the option {option} ({known}): name one in --attention, "
                f"or leave it out; got --attention {','.join(config.attention)}"
            )
    for option in tried:
        if option in given:
            raise ValueError(
                f"--attention.{option} and model.attention_options.{option} say the same: leave one out"
            )


def variants_of(config: AblateClassifierConfig) -> list[Variant]:
    """Return the modules of ``config``, each once for each combination of the values that apply to it.

    Options of modules go to those that have them, ``model.attention_options`` too; places of attention to all
    but ``none``. A variant's baseline is the first one of the same network and training; where these have one
    each, the first of all.
    """
    values, found, firsts = config.values, [], set[str]()
    outer = {name: some for name, some in values.items() if not name.startswith((OF_MODULE, OF_PLACE))}
    inner = {name: some for name, some in values.items() if name.startswith((OF_MODULE, OF_PLACE))}
    for around in combinations(outer):
        first: str | None = None
        for attention in config.attention:
            for within in combinations(
                {name: some for name, some in inner.items() if _applies(name, attention)}
            ):
                variant = _variant(config, attention, {**around, **within})
                first = variant.name if first is None else first
                found.append(variant._replace(baseline=first))
        firsts.add(str(first))
    if len(firsts) == len(found):
        found = [variant._replace(baseline=found[0].name) for variant in found]
    return found


def _applies(name: str, attention: str) -> bool:
    if name.startswith(OF_PLACE):
        return attention not in ("none", "rcca") and (attention != "shared" or not name.endswith("per"))
    return takes(attention, name.removeprefix(OF_MODULE))


def _variant(config: AblateClassifierConfig, attention: str, chosen: Mapping[str, Any]) -> Variant:
    """Return a variant, without its baseline."""
    options = {
        option: value for option, value in config.model.attention_options.items() if takes(attention, option)
    }
    options |= {n.removeprefix(OF_MODULE): value for n, value in chosen.items() if n.startswith(OF_MODULE)}
    changes = {name: value for name, value in chosen.items() if not name.startswith(OF_MODULE)}
    tried = {
        name: value
        for name, value in chosen.items()
        if name.startswith(OF_MODULE) or len(config.values[name]) > 1
    }
    return Variant(attention, options, changes, tried, "")


def cell_of(config: AblateClassifierConfig, variant: Variant, seed: int) -> TrainClassifierConfig:
    """Return what describes one run of a grid, as if it had been started alone.

    Raises:
        UsageError: if a value that is tried does not fit its option.
    """
    whole = narrowed(TrainClassifierConfig, config, seed=seed)
    chosen = {"model.attention": variant.attention, "model.attention_options": variant.options}
    return changed(whole, {**variant.changes, **chosen})
