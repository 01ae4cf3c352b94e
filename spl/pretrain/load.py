"""A trained autoencoder loaded from its run with the statistics of its data; whether other data fit."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.config.errors import UsageError
from spl.data.audiovisual import PairSource
from spl.models.autoencoder import CONDITIONS, TwoStreamAutoencoder, mask
from spl.models.streams import in_units
from spl.pretrain.config import RESTARTS, RUNS, PretrainConfig, build_model
from spl.records import StreamSpec
from spl.runs import checkpoint
from spl.runs.directory import kept_run, pick_device

BATCH = 64  # samples that are looked at together


class Trained(NamedTuple):
    """A trained autoencoder and what it was trained on."""

    config: PretrainConfig
    model: TwoStreamAutoencoder
    signature: dict[str, Any]
    means: tuple[Tensor, Tensor]  # of its data's video and audio, (T, C, H, W) and (T, C, M, F)
    num_updates: int  # that it has taken
    folder: Path  # of its run


class Looked(NamedTuple):
    """What an autoencoder made of ``N`` samples."""

    shares: NDArray[np.float64]  # (3, 2), by condition and modality: error, where the mean costs 1; or NaN
    codes: dict[str, NDArray[np.float32]]  # (N, D), by condition
    raw: tuple[NDArray[np.float32], NDArray[np.float32]]  # (N, T C H W) and (N, T C M F), in their units
    present: NDArray[np.bool_]  # (N, 2)


def read_autoencoder(folder: Path, device: str = "auto") -> Trained:
    """Return the autoencoder of a run as it was last saved; of a run with restarts, the one that was kept.

    Raises:
        UsageError: if it is not such a run, has nothing saved yet, or there is no such device.
    """
    folder, config = kept_run(PretrainConfig, folder, RUNS, RESTARTS)
    try:
        state = checkpoint.load(folder / "checkpoints")
        signature, means = state["signature"], (state["mean"]["video"], state["mean"]["audio"])
        video, audio = tuple(signature["video"]), tuple(signature["audio"])
        spec = StreamSpec(video, audio, signature["audio_dtype"])
        model = build_model(config.encoder, spec, signature["history"], config.seed)
        encoder = {f"encoder.{name}": tensor for name, tensor in state["learner"]["encoder"].items()}
        model.load_state_dict(encoder | state["learner"]["decoders"])
        model.to(pick_device(device)).eval()
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"the run in {folder} has no autoencoder to read: {error}") from error
    return Trained(config, model, signature, means, state["learner"]["num_updates"], folder)


def check_signature(needed: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Refuse data that an encoder cannot read as it did in training; what is not known fits.

    Args:
        needed: signature of the data that it was trained on.
        found: of the others.
        what: the others are, for the sentence.

    Raises:
        UsageError: naming the first item that differs.
    """
    for key, value in needed.items():
        other = found.get(key)
        is_close = isinstance(value, float) and isinstance(other, float) and math.isclose(value, other)
        if value is not None and other is not None and value != other and not is_close:
            raise UsageError(
                f"{what} do not fit the run: their {key} is {other}, not {value}; "
                "record or cut them with the run's options"
            )


@torch.no_grad()
def look(trained: Trained, source: PairSource, indices: NDArray[np.int64]) -> Looked:
    """Show the samples ``indices (N,)`` in every condition, and return what became of them.

    An error counts where the sample has the modality that is reconstructed and all those that are shown.
    """
    device = next(trained.model.parameters()).device
    errors, baseline = np.zeros((2, len(CONDITIONS), 2))
    codes: dict[str, list[NDArray[np.float32]]] = {condition: [] for condition in CONDITIONS}
    raw: tuple[list[NDArray[np.float32]], ...] = ([], [])
    presents = []
    for first in range(0, len(indices), BATCH):
        pairs = source.pairs(indices[first : first + BATCH]).to(device)
        clean = in_units(pairs.video), in_units(pairs.audio)
        for place, (condition, shown) in enumerate(CONDITIONS.items()):
            made = trained.model(*mask(pairs.video, pairs.audio, pairs.present, condition))
            codes[condition].append(made.code.cpu().numpy())
            has_shown = (pairs.present | ~torch.tensor(shown, device=device)).all(dim=1)  # (B,)
            for modality in range(2):
                counts = has_shown & pairs.present[:, modality]
                target = clean[modality][counts]
                errors[place, modality] += float((made[modality][counts] - target).square().sum())
                baseline[place, modality] += float(
                    (trained.means[modality].to(device) - target).square().sum()
                )
        for kept, modality_values in zip(raw, clean, strict=True):
            kept.append(modality_values.flatten(1).cpu().numpy())
        presents.append(pairs.present.cpu().numpy())
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(baseline > 0, errors / baseline, np.nan)
    return Looked(
        shares,
        {condition: np.concatenate(parts) for condition, parts in codes.items()},
        (np.concatenate(raw[0]), np.concatenate(raw[1])),
        np.concatenate(presents),
    )
