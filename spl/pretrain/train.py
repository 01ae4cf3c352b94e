"""``spl pretrain autoencoder``: a run in a new folder, or on from one."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from spl.config import UsageError
from spl.files import hold
from spl.pretrain.data import load_pairs
from spl.pretrain.run import PretrainConfig
from spl.pretrain.training import Training
from spl.runs import describe_run, new_run


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    is_finished: bool  # False: it was told to stop, and can be resumed


def pretrain_autoencoder(
    config: PretrainConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Result:
    """Train as ``config`` says, in a new run folder or on from the one to ``resume``.

    Raises:
        UsageError: if data, model, device or folder do not serve; nothing was started then.
        RunError: if a loss is not finite; the run is saved.
    """
    command = sys.argv if command is None else command
    source = load_pairs(config.data)
    folder = resume
    if folder is None:
        folder = new_run(Path(config.runs) / "autoencoder", f"{config.objective.views}-s{config.seed}")
    try:
        with hold(folder):
            training = Training(config, folder, source, console)
            describe_run(folder, config, command, {"signature": source.signature})
            training.go()
            return Result(folder, training.is_finished)
    except UsageError:
        if resume is None and not (folder / "metrics.jsonl").exists():  # nothing was started
            shutil.rmtree(folder)
        raise
