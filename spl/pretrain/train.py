"""``spl pretrain autoencoder``: a new or resumed run, of several initialisations if asked."""

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from spl.data.audiovisual import PairSource
from spl.pretrain.config import RESTARTS, PretrainConfig
from spl.pretrain.data import DATA, load_pairs
from spl.pretrain.training import Training
from spl.runs.directory import RunContext, describe_run, held_run, seed_of_data
from spl.runs.files import hold, read_json, read_rows, replace_text
from spl.runs.logger import say
from spl.runs.trackers import check_tracker
from spl.training.loop import run
from spl.training.restarts import forget_losers, initialisations, judge, train_each


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    is_finished: bool  # False: it was told to stop, and can be resumed


def pretrain_autoencoder(
    config: PretrainConfig,
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
    source = load_pairs(config.data, seed, run=resume)
    train = train_once if config.restarts == 1 else train_restarts
    name = f"{config.objective.views}-s{config.seed}"
    with held_run(resume, Path(config.runs) / "autoencoder", name, command, console) as context:
        return train(context, config, source)


def train_once(context: RunContext, config: PretrainConfig, source: PairSource) -> Result:
    """Train one initialisation, on from where it was saved in its folder.

    Raises:
        UsageError: if model, device or folder do not serve, or what was saved does not fit.
        RunError: if a loss is not finite; the run is saved.
    """
    folder, again = context.folder, context.command_to_resume("spl pretrain autoencoder")
    training = Training(config, folder, source, context.console)
    describe_run(folder, config, context.command, documents_of(source, folder))
    is_finished = run(training, save_every_minutes=config.checkpoint_every_minutes, resume_with=again)
    return Result(folder, is_finished)


def documents_of(source: PairSource, folder: Path) -> dict[str, Any]:
    """Return what a run keeps of its data; what it began with stays as it was."""
    kept = {"signature": source.signature}
    return kept if (folder / DATA).exists() else {**kept, Path(DATA).stem: source.described()}


def train_restarts(context: RunContext, config: PretrainConfig, source: PairSource) -> Result:
    """Train ``restarts`` initialisations in sub-folders, of the seeds from ``seed`` on; keep the best model.

    The best is the one with the lowest loss over its last epoch. The others keep their rows and pictures;
    their weights are deleted once ``restarts.json`` says which is kept.

    Raises:
        UsageError: as `train_once`.
        RunError: if none of them came to its end.
    """
    folder, again = context.folder, context.command_to_resume("spl pretrain autoencoder")
    describe_run(folder, config, context.command, documents_of(source, folder))

    def train(place: Path, one: PretrainConfig) -> bool:
        with hold(place):
            return train_once(context._replace(folder=place, resume_with=again), one, source).is_finished

    if not (folder / RESTARTS).exists():
        restarts = train_each(folder, initialisations(config), train)
        if restarts is None:
            return Result(folder, False)
        losses = [float(read_rows(place)[-1]["train/loss"]) for place in restarts.finished]
        found = judge(restarts, "loss", losses, min, "loss over the last epoch of training")
        replace_text(folder / RESTARTS, json.dumps(found, indent=2) + "\n")
    found = read_json(folder / RESTARTS)
    forget_losers(folder, found, ("checkpoints",))
    for name, why in found.get("failed", {}).items():
        say(context.console, f"{name} failed: {why}")
    told = f"{found['kept']} is kept, the best of {len(found['loss'])}"
    say(context.console, f"{told}; it is what spl evaluate autoencoder {shlex.quote(str(folder))} reads")
    return Result(folder, True)
