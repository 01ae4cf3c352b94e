"""A trained classifier out of its run's folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spl.classify.config import RUNS, TrainClassifierConfig
from spl.classify.model import Classifier, build_classifier
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.data.images.datasets import ImageSets, load_images
from spl.runs import checkpoint
from spl.runs.directory import kept_run


@dataclass(frozen=True, kw_only=True)
class MovedConfig:
    """Where the images of a run are now."""

    root: PathName | None = None  # folder of the dataset; null: as in training

    def __post_init__(self) -> None:
        check_fields(self)


def read_classifier(
    folder: Path, which: Literal["last", "best"], *, root: str | None = None, device: str = "auto"
) -> tuple[Classifier, ImageSets, TrainClassifierConfig, dict[str, Any]]:
    """Return a run's classifier as it was trained, its images, its configuration, and which images it had.

    The last as `described` says it: those that lie in a folder may be others by now.

    Args:
        folder: of the run; of a run with restarts, the one that was kept is meant.
        which: the weights after the last epoch, or after the best one.
        root: where the images lie now; None for where they lay in training.
        device: as in the configuration.

    Raises:
        UsageError: if it is not such a run, or has no such weights yet.
    """
    folder, config = kept_run(TrainClassifierConfig, folder, RUNS, "result.json")
    try:
        data = config.data if root is None else replace(config.data, root=root)
    except ValueError as error:
        raise UsageError(f"data: {error}") from error
    config = replace(config, data=data, device=device, compile=False)
    sets = load_images(data, run=folder, is_looked_at=False)
    classifier = build_classifier(config, sets, 1)
    try:
        state = checkpoint.load(folder / ("checkpoints" if which == "last" else "best"))
        if tuple(state["images"]["classes"]) != sets.classes:
            raise ValueError(
                f"it names {', '.join(state['images']['classes'])}, not {', '.join(sets.classes)}"
            )
        if which == "last":
            classifier.load_state_dict(state["classifier"])
        else:
            classifier.judged.load_state_dict(state["model"])
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"the {which} weights of {folder} cannot be used: {error}") from error
    return classifier, sets, config, state["images"]
