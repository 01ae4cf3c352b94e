"""``spl evaluate autoencoder``: reconstructions of a trained autoencoder, and the quality of its code."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from spl.ablation.statistics import interval
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import MOST, Count, Range, Seed
from spl.data.audiovisual import NAMES, PairSource
from spl.data.videos import ClipConfig
from spl.folder_files import FolderFiles
from spl.models.autoencoder import CONDITIONS
from spl.pretrain.config import PATHS
from spl.pretrain.data import PairsConfig, load_found, load_pairs
from spl.pretrain.evaluation.probes import (
    NUM_BLOCKS,
    canonical,
    directions,
    principal,
    probe,
    recalls,
    splits_in_time,
)
from spl.pretrain.evaluation.tables import as_markdown
from spl.pretrain.inputs import find_inputs
from spl.pretrain.load import Looked, Trained, check_signature, look, read_autoencoder
from spl.runs.files import OWN, replace_text, writable

ALIASES = {**PATHS, "data.films": "data.paths"}
AT = (1, 5, 10)  # recalls


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig:
    """Samples to judge by; none given: those that the run learned from."""

    paths: tuple[PathName, ...] = ()  # folders or files, of recordings or of videos
    skip_broken: bool = False  # leave out unreadable files, instead of refusing the data

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class EvaluateAutoencoderConfig:
    """How a trained autoencoder is judged."""

    data: HeldOutConfig = field(default_factory=HeldOutConfig)
    against: PathName | None = None  # another run directory, for comparison
    num_measured: Annotated[int, Range(2, MOST)] = 1_024  # samples at most, evenly spread over the data
    num_retrieved: Annotated[int, Range(2, MOST)] = 256  # number of these samples used for retrieval
    num_splits: Count = 5  # training and test splits for the probes
    seed: Seed = 0  # of the splits
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available

    def __post_init__(self) -> None:
        check_fields(self)


def evaluate_autoencoder(folder: str | Path, config: EvaluateAutoencoderConfig) -> dict[str, Any]:
    """Return what the autoencoder of the run in ``folder`` is worth; write it there as JSON and Markdown.

    Reconstruction errors are shares of what predicting the training data's mean costs on the same samples.
    The probes are tried on stretches of time that they did not learn from.

    Raises:
        UsageError: if the run, or the one it is compared with, is not an autoencoder's, or data do not fit.
    """
    folder = Path(folder)
    trained = read_autoencoder(folder, config.device)
    writable(folder, OWN)
    other = None if config.against is None else read_autoencoder(Path(config.against), config.device)
    source, told = source_of(trained, config.data)
    indices = _evenly(len(source), config.num_measured)
    looked = look(trained, source, indices)
    result: dict[str, Any] = {"run": str(folder), "update": trained.num_updates}
    result |= {"data": told, "files": describe_files(source), "samples": len(indices)}
    result["reconstruction"] = _shares(looked)
    codes = {"code": looked.codes}
    if other is not None:
        check_signature(other.signature, source.signature, f"the data of {config.against}")
        result["against"] = config.against
        looked_against = look(other, source, indices)
        result["reconstruction_against"] = _shares(looked_against)
        codes["code_against"] = looked_against.codes
    complete = np.flatnonzero(looked.present.all(axis=1))
    result["retrieval"] = _retrieval(looked, complete, config.num_retrieved)
    result["probe"] = _probes(codes, looked.raw, complete, source, indices, config)
    replace_text(folder / "evaluation.json", json.dumps(result, indent=2) + "\n")
    replace_text(folder / "evaluation.md", as_markdown(result))
    return result


def reconstruction(
    trained: Trained, data: HeldOutConfig, num_samples: int
) -> dict[str, dict[str, float | None]]:
    """Return the error of each modality in each condition on samples evenly over ``data``, as shares of what
    predicting the training data's mean costs; None where no sample tells.

    Raises:
        UsageError: if the data do not fit the run.
    """
    source, _ = source_of(trained, data)
    return _shares(look(trained, source, _evenly(len(source), num_samples)))


def source_of(trained: Trained, data: HeldOutConfig) -> tuple[PairSource, str]:
    """Return the samples to judge an autoencoder by, and what they are in words."""
    return judged(trained.signature, trained.config.data, data, trained.folder)


def judged(
    signature: dict[str, Any], learned: PairsConfig, data: HeldOutConfig, run: Path | None = None
) -> tuple[PairSource, str]:
    """Return the samples to judge by, and what they are in words.

    Args:
        signature: of the data that are learned from.
        learned: what they are.
        data: the others.
        run: folder of the run that learned from them.

    Raises:
        UsageError: if they do not serve, or do not fit.
    """
    if data.paths:
        inputs, told = find_inputs(data.paths), ", ".join(data.paths)
        config = PairsConfig(paths=data.paths, skip_broken=data.skip_broken, history=signature["history"])
        if isinstance(inputs, FolderFiles):
            config = replace(config, videos=_cut_as(signature, learned))
            told = f"videos in {told}"
        else:
            told = f"recordings {told}"
        source = load_found(inputs, config)
    else:
        source = load_pairs(replace(learned, mismatch=0.0), run=run)
        told = "the data that the run learned from: nothing is held out"
    check_signature(signature, source.signature, "the data")
    return source, told


def _cut_as(signature: dict[str, Any], learned: PairsConfig) -> ClipConfig:
    """Return how videos are cut to what the autoencoder reads."""
    (colours, rows, columns), (ears, bands, frames) = signature["video"], signature["audio"]
    if bands == 1 or signature["sample_rate_hz"] is None or signature["step_s"] is None:
        raise UsageError(
            "videos cannot be cut for this run: it learned from a waveform, or from data without sample rate "
            "and step length; give --data a recording"
        )
    try:
        return ClipConfig(
            cache=learned.videos.cache,
            video_size=(rows, columns),
            grey=colours == 1,
            sample_rate_hz=signature["sample_rate_hz"],
            stereo=ears == 2,
            step_s=signature["step_s"],
            num_mels=bands,
            audio_frames=frames,
            history=signature["history"],
            stride=learned.videos.stride,
        )
    except ValueError as error:
        raise UsageError(f"videos cannot be cut for this run: {error}") from error


def describe_files(source: PairSource) -> dict[str, Any]:
    """Return how many recordings or videos were used, and what was left out and why."""
    return {name: value for name, value in source.described().items() if name != "files"}


def _evenly(total: int, count: int) -> NDArray[np.int64]:
    """Return at most ``count`` rising indices evenly over ``0..total - 1``."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def _shares(looked: Looked) -> dict[str, dict[str, float | None]]:
    return {
        condition: {
            name: None if math.isnan(share) else float(share)
            for name, share in zip(NAMES, looked.shares[place], strict=True)
        }
        for place, condition in enumerate(CONDITIONS)
    }


def _retrieval(looked: Looked, complete: NDArray[np.int64], count: int) -> dict[str, Any]:
    """Return the recalls of the sound that belongs to a video, and back, among samples evenly chosen."""
    if len(complete) < 2:
        return {"left_out": "retrieval is left out: it needs at least 2 samples with both modalities"}
    chosen = complete[_evenly(len(complete), count)]
    seen, heard = looked.codes["video"][chosen], looked.codes["audio"][chosen]
    return {
        "samples": len(chosen),
        "video to audio": {str(k): share for k, share in recalls(seen, heard, AT).items()},
        "audio to video": {str(k): share for k, share in recalls(heard, seen, AT).items()},
        "chance": {str(k): min(1.0, k / len(chosen)) for k in AT},
    }


def _probes(
    codes: dict[str, dict[str, NDArray[np.float32]]],
    raw_values: tuple[NDArray[np.float32], NDArray[np.float32]],
    complete: NDArray[np.int64],
    source: PairSource,
    indices: NDArray[np.int64],
    config: EvaluateAutoencoderConfig,
) -> dict[str, Any]:
    """Return how well classes are told from codes and from the baselines' features."""
    labels, places = source.labels()[indices[complete]], indices[complete]
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        what = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}"
        return {"left_out": f"the probe is left out: it needs 2 classes with both modalities, got {what}"}
    if sizes.min() < NUM_BLOCKS:
        return {
            "left_out": f"the probe is left out: it needs {NUM_BLOCKS} samples of each class, "
            f"got {sizes.min()}; raise --num_measured"
        }
    learned = {kind: {name: code[complete] for name, code in views.items()} for kind, views in codes.items()}
    learned["direction"] = {
        name: directions(code).astype(np.float32) for name, code in learned["code"].items()
    }
    video, audio = (principal(values[complete], config.seed) for values in raw_values)
    raw = {"both": np.concatenate([video, audio], axis=1), "video": video, "audio": audio}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in (*learned, "raw", "canonical")}
    for split in splits_in_time(
        labels, places, gap=source.history, count=config.num_splits, seed=config.seed
    ):
        for kind, features in learned.items():
            found[kind].append(probe(features, labels, split))
        alone = [probe({name: x}, labels, split) for name, x in raw.items() if x.shape[1]]
        found["raw"].append({pair: share for one in alone for pair, share in one.items()})
        if video.shape[1] and audio.shape[1]:
            found["canonical"].append(probe(canonical(video, audio, split), labels, split))
    return {
        "classes": [source.classes[label] for label in classes],
        "samples": len(labels),
        "splits": config.num_splits,
        "chance": float(sizes.max() / sizes.sum()),
        "accuracy": {
            name: {pair: interval([one[pair] for one in many])._asdict() for pair in (many or [{}])[0]}
            for name, many in found.items()
        },
    }
