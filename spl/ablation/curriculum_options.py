"""The options of ``spl ablate curriculum`` that all learners share, and the runs that they describe."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

from spl.ablation.statistics import check_seeds, read_seeds
from spl.config.errors import UsageError
from spl.config.options import PathName, narrowed
from spl.config.ranges import Count
from spl.config.words import folder_of, take_option
from spl.config.yaml_files import read_yaml_file
from spl.curriculum import CurriculumConfig

T = TypeVar("T")
SUBJECTS = ("classifier", "autoencoder", "agent")
OF = {"--of NAME": f"training to compare: {', '.join(SUBJECTS)}; each has its own options"}
GROWS = ("variants", "seeds", "parallel", "ray")  # options in which a resumed grid may differ from before
RESTARTS = "restarts"  # the variant without a curriculum of which the best initialisation counts
APART = 1_000_000  # between the seeds of restarts: no other cell has them


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """What is varied. It stands before the configuration of a training in a class's bases, and so decides."""

    unlisted: ClassVar[tuple[str, ...]] = ("of", "seed", "curriculum.name")  # that a grid decides

    of: str  # classifier, autoencoder or agent; each has its own options
    variants: tuple[str, ...]  # curricula; the first is the baseline
    seeds: str = "0-4"  # seeds for each variant: 0-4, or 0,3,7
    parallel: Count = 1  # runs to train at a time, each in its own process
    ray: str | None = None  # address of the Ray cluster that trains them: auto, HOST:6379; null: this machine


@dataclass(frozen=True, kw_only=True)
class EpochOptions(GridOptions):
    """What is varied of a training that goes by epochs over the same samples."""

    unlisted: ClassVar[tuple[str, ...]] = (*GridOptions.unlisted, "curriculum.difficulty")

    variants: tuple[Literal["uniform", "self-paced", "anti", "random", "predefined", "restarts"], ...] = (
        "uniform",
        "self-paced",
        "anti",
        "random",
        "restarts",
    )
    curriculum: CurriculumConfig = field(
        default_factory=lambda: CurriculumConfig(name="self-paced")
    )  # the options that all variants have in common
    restarts: Count = 5  # initialisations of the variant restarts; they share the epochs of one run
    difficulty: PathName | None = None  # for predefined: .npy or .csv, a number per sample, low is easy


def shares_of(total: int, restarts: int) -> list[int]:
    """Return how many of ``total`` epochs or steps each of the restarts has, the first ones one more."""
    each, more = divmod(total, restarts)
    return [each + (number < more) for number in range(restarts)]


def runs_of(config_class: type[T], config: Any, variant: str, seed: int) -> list[T]:
    """Return what describes the runs of a cell of epochs, as if each had been started alone.

    The restarts share the epochs of one run: as many updates in all.
    """
    cell = partial(narrowed, config_class, config, restarts=1)
    if variant != RESTARTS:
        difficulty = config.difficulty if variant == "predefined" else None
        return [cell(curriculum=config.curriculum.named(variant, difficulty), seed=seed)]
    uniform = config.curriculum.named("uniform")
    return [
        cell(curriculum=uniform, recipe=replace(config.recipe, epochs=epochs), seed=seed + APART * number)
        for number, epochs in enumerate(shares_of(config.recipe.epochs, config.restarts))
    ]


def check_grid(config: Any, standard: str) -> None:
    """Refuse what a grid of curricula decides itself, and variants that cannot be trained.

    A preset of a training may name its curriculum, where that is one of the variants.

    Raises:
        ValueError: in one sentence.
    """
    if config.curriculum.name not in (standard, *config.variants):
        raise ValueError(
            "--variants names the curricula of a grid: leave curriculum.name out, "
            f"got {config.curriculum.name!r}"
        )
    check_seeds(config)
    if not config.variants:
        raise ValueError("--variants must name at least one curriculum, got none")
    if twice := [name for name in config.variants if config.variants.count(name) > 1]:
        raise ValueError(f"--variants must name each curriculum once, got {twice[0]} twice")


def check_epochs(config: Any, config_class: type) -> None:
    """Refuse restarts that have no epoch each, and a file of difficulties without its variant.

    Raises:
        ValueError: in one sentence.
    """
    check_grid(config, "self-paced")
    if RESTARTS in config.variants and not 2 <= config.restarts <= config.recipe.epochs:
        raise ValueError(
            f"restarts must be in 2..recipe.epochs ({config.recipe.epochs}), which they share, "
            f"got {config.restarts}"
        )
    if ("predefined" in config.variants) != (config.difficulty is not None):
        raise ValueError(
            "--variants predefined and --difficulty FILE need each other: give both, or neither; "
            f"got {','.join(config.variants)} and {config.difficulty}"
        )
    check_runs(config, lambda variant, seed: runs_of(config_class, config, variant, seed))


def check_runs(config: Any, runs: Callable[[str, int], object]) -> None:
    """Raise ``ValueError`` in one sentence if ``runs`` refuses a variant of a grid, with its highest seed."""
    for variant in config.variants:
        try:
            runs(variant, max(read_seeds(config.seeds)))
        except ValueError as error:
            raise ValueError(f"the variant {variant} cannot be trained: {error}") from error


def subject_of(argv: list[str]) -> tuple[str, list[str]]:
    """Return what learns, as ``--of NAME`` says or the grid to ``--resume``, and the other words.

    Raises:
        UsageError: if there is no such learner, or the folder is no grid of curricula.
    """
    rest, of = take_option(argv, "--of")
    _, run = take_option(rest, "--resume")
    if run is not None:
        path = folder_of(run, "--resume") / "config.yaml"
        try:
            there = str(read_yaml_file(path)["of"])
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{run} is not a grid of curricula: {path} does not say of what") from error
        if of not in (None, there):
            raise UsageError(f"{run} is a grid of the {there}, got --of {of}; leave --of out")
        of = there
    of = "classifier" if of is None else of
    if of not in SUBJECTS:
        raise UsageError(f"--of must be one of {', '.join(SUBJECTS)}, got {of!r}")
    return of, rest
