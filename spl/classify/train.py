"""``spl train classifier``: one run, or several random initialisations of which the best is kept."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from spl.classify.config import TrainClassifierConfig
from spl.classify.training import Training
from spl.data.images.datasets import DESCRIBED, ImageSets, load_images
from spl.data.labels import flip_labels
from spl.runs.directory import RunContext, describe_run, held_run, seed_of_data
from spl.runs.files import hold, read_json, replace_text
from spl.runs.trackers import check_tracker
from spl.training.loop import run
from spl.training.restarts import forget_losers, initialisations, judge, train_each


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    is_finished: bool  # False: it was told to stop, and can be resumed
    scores: dict[str, Any]  # what result.json holds; empty while the run is not finished


def train_classifier(
    config: TrainClassifierConfig,
    *,
    resume: str | Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Result:
    """Train as ``config`` says, in a new run folder or on from the one to ``resume``.

    Raises:
        UsageError: if data, model, device or folder do not serve; nothing was started then.
        RunError: if a loss is not finite; the run is saved.
    """
    check_tracker(config.track)
    resume = None if resume is None else Path(resume)
    seed = config.seed if resume is None else seed_of_data(config, resume)
    sets = flip_labels(load_images(config.data, run=resume), config.data.label_noise, seed)
    name = f"{config.data.name}-{config.model.name}-{config.model.attention}-s{config.seed}"
    train = train_once if config.restarts == 1 else train_restarts
    with held_run(resume, Path(config.runs) / "classifier", name, command, console) as context:
        return train(context, config, sets)


def train_once(context: RunContext, config: TrainClassifierConfig, sets: ImageSets) -> Result:
    """Train one initialisation, on from where it was saved in its folder; at once if it is whole.

    Raises:
        UsageError: if model, device or folder do not serve, or what was saved does not fit.
        RunError: if a loss is not finite; the run is saved.
    """
    folder, command = context.folder, context.command
    if not (folder / "result.json").exists():
        training = Training(config, folder, sets, context.console)
        describe_run(folder, config, command, documents_of(sets))
        for peer in training.learners[1:]:
            peer.folder.mkdir(exist_ok=True)
            describe_run(peer.folder, peer.config, command, documents_of(sets))
        again = context.command_to_resume("spl train classifier")
        if not run(training, save_every_minutes=config.checkpoint_every_minutes, resume_with=again):
            return Result(folder, False, {})
    return Result(folder, True, read_result(folder))


def train_restarts(context: RunContext, config: TrainClassifierConfig, sets: ImageSets) -> Result:
    """Train ``restarts`` initialisations in sub-folders, of the seeds from ``seed`` on; keep the best model.

    The best is the one with the highest accuracy on the held-out images after its last epoch. The
    others keep their rows and results; their weights are deleted. One whose loss is not finite is reported.

    Raises:
        UsageError: as `train_once`.
        RunError: if none of them came to its end.
    """
    folder, again = context.folder, context.command_to_resume("spl train classifier")
    describe_run(folder, config, context.command, documents_of(sets))

    def train(place: Path, one: TrainClassifierConfig) -> bool:
        with hold(place):
            return train_once(context._replace(folder=place, resume_with=again), one, sets).is_finished

    restarts = train_each(folder, initialisations(config), train)
    if restarts is None:
        return Result(folder, False, {})
    top1 = [read_result(place)["last"]["top1"] for place in restarts.finished]
    told = judge(restarts, "top1", top1, max, "held-out images, after the last epoch")
    scores = {**read_result(folder / told["kept"]), "restarts": told}
    replace_text(folder / "result.json", json.dumps(scores, indent=2) + "\n")
    forget_losers(folder, told, ("checkpoints", "best", "peer/checkpoints", "peer/best"))
    return Result(folder, True, scores)


def train_cell(context: RunContext, config: TrainClassifierConfig, sets: ImageSets, seed: int) -> bool:
    """Train a run, on from where it stopped; return whether it is finished; wrong labels are the seed's."""
    sets = flip_labels(sets, config.data.label_noise, seed)
    with hold(context.folder):
        return train_once(context, config, sets).is_finished


def documents_of(sets: ImageSets) -> dict[str, Any]:
    """Return what is kept of a folder of pictures, so that a run goes on with the same ones."""
    return {} if sets.counted is None else {Path(DESCRIBED).stem: sets.counted.as_json()}


def read_result(folder: Path) -> dict[str, Any]:
    """Return what the finished run in ``folder`` scored.

    Raises:
        UsageError: if it cannot be read.
    """
    return read_json(folder / "result.json")
