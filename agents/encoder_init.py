"""The pretrained encoder of a network: its run, its options, and whether it fits the environment.

How an autoencoder is trained on the way to an agent is described in ``spl.agents.pretraining``.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from spl.agents.config import TrainAgentConfig
from spl.config.errors import UsageError
from spl.config.parse import difference
from spl.models.encoder import EncoderConfig
from spl.pretrain.config import RUNS, PretrainConfig
from spl.runs import checkpoint
from spl.runs.directory import read_run

C = TypeVar("C", bound=TrainAgentConfig)
PRETRAINING = "pretraining"  # folder in an agent's run: the run of the autoencoder that came first


def read_pretraining(folder: Path) -> PretrainConfig:
    """Return the configuration of the autoencoder's run in ``folder``.

    Raises:
        UsageError: if it is no such run.
    """
    if (folder / "config.yaml").is_file() and not (folder / "signature.json").is_file():
        inside = folder / PRETRAINING
        hint = f"; did you mean {inside}?" if (inside / "signature.json").is_file() else ""
        raise UsageError(
            f"{folder} is not a run of an autoencoder, but of another kind: give --pretrained a run of "
            f"spl pretrain autoencoder{hint}"
        )
    return read_run(PretrainConfig, folder, RUNS)


def adopt_encoder(config: C, given: Collection[str] | None = None) -> C:
    """Return ``config`` with the encoder options of the run whose encoder it begins with, if any.

    Args:
        config: of a run that begins.
        given: dotted keys that the user set; None: those whose value is not the default.

    Raises:
        UsageError: if there is no such run, or the user set an option that it has otherwise.
    """
    if config.pretrained.run is None:
        return config
    folder = Path(config.pretrained.run)
    its = read_pretraining(folder).encoder
    if given is None:
        given = [f"encoder.{name}" for name in difference(EncoderConfig(), config.encoder)]
    differing = [
        f"--encoder.{name} {mine} (the run has {other})"
        for name, (other, mine) in difference(its, config.encoder).items()
        if f"encoder.{name}" in given
    ]
    if differing:
        raise UsageError(
            f"the encoder is that of {folder}, got {', '.join(differing)}: leave it out, or pretrain one so"
        )
    return replace(config, encoder=its)


def load_encoder(folder: Path, here: dict[str, Any], place: str) -> dict[str, Tensor]:
    """Return the weights of the encoder that the autoencoder's run in ``folder`` last saved.

    Args:
        folder: of the run.
        here: signature of what the encoder is to read.
        place: where that comes from, for the sentence.

    Raises:
        UsageError: if nothing was saved, it cannot be read, or does not fit.
    """
    read_pretraining(folder)
    if checkpoint.latest(folder / "checkpoints") is None:
        raise UsageError(
            f"the run in {folder} has no checkpoint yet: resume it with "
            f"spl pretrain autoencoder --resume {folder}"
        )
    try:
        state = checkpoint.load(folder / "checkpoints")
        there, weights = state["signature"], dict(state["learner"]["encoder"])
    except (checkpoint.CheckpointError, KeyError, TypeError) as error:
        raise UsageError(f"the encoder of {folder} cannot be read: {error}") from error
    if differing := list(_differences(there, here)):
        raise UsageError(f"the encoder of {folder} does not fit {place}: {'; '.join(differing)}")
    return weights


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """Yield what differs between two signatures and its fix; what the first does not know fits."""
    for name, expected in there.items():
        got = here.get(name)
        is_close = isinstance(expected, float) and isinstance(got, float) and math.isclose(expected, got)
        if expected is None or expected == got or is_close:
            continue
        yield f"its {name} is {expected}, the environment's {got} ({_fix(name, expected)})"


def _fix(name: str, expected: Any) -> str:
    if name == "history":
        return f"set --memory.history {expected}"
    if name == "video":
        channels, height, width = expected
        return f"set --env.video_size {height},{width} --env.grey {'true' if channels == 1 else 'false'}"
    if name == "audio" and expected[1] > 1:
        channels, num_mels, num_frames = expected
        stereo = "true" if channels == 2 else "false"
        return f"set --env.num_mels {num_mels} --env.audio_frames {num_frames} --env.stereo {stereo}"
    return "pretrain on this environment: --pretrain_steps, or a recording by spl record"
