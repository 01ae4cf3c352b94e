"""Recordings as Minari datasets (HDF5): written as they are, read back to the byte; and those of others.

Source: Minari 0.5, ``minari.dataset.minari_storage``. ``MinariStorage`` writes into a folder of our choice: a
dataset is under its name only when it is whole. ``create_dataset_from_buffers`` writes under the name.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from spl.config.errors import UsageError
from spl.data.exchange.episodes import Episode, Recording, restore
from spl.data.exchange.playing import Played, play
from spl.data.recording_format import spec_of
from spl.data.recordings import Opened
from spl.packages import require
from spl.records import StreamSpec
from spl.runs.tensors import write_tensors

OURS = "spl"  # the entry of a dataset's metadata that holds what its episodes do not
UNSTEPPED = "unstepped.safetensors"  # observations that nothing followed: no episode of Minari's
ALONE = ("video", "audio", "present", "state")  # of an observation that nothing followed
SOUND_LIMITS = {"float16": (-np.inf, np.inf), "int8": (-128, 127)}


def target(name: str) -> Path:
    """Return the folder of a dataset that is not there yet.

    Raises:
        UsageError: if Minari is missing, the name is none of Minari's, or there is such a dataset.
    """
    folder = _folder_of(name)
    if folder.exists():
        raise UsageError(f"there is a Minari dataset {name} already, in {folder}: choose another --out")
    return folder


def write(recording: Recording, name: str, folder: Path) -> None:
    """Write a recording as the Minari dataset ``name`` into ``folder``, pictures and sounds as they are.

    An observation is a Dict of ``video`` (H, W, C), ``audio`` (C, M, F), ``state`` (S,) and ``present`` (2,),
    an action a whole number for each dimension.
    """
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.dataset.minari_storage import MinariStorage
    from minari.namespace import create_namespace, list_local_namespaces

    namespace, _, _ = parse_dataset_id(name)
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
    spec = spec_of(recording.header)
    folder.mkdir(parents=True)
    storage = MinariStorage.new(
        folder / "data",
        observation_space=_space_of(spec),
        action_space=_actions_of(recording.sizes),
        data_format="hdf5",
        jpeg_encoding=False,
    )
    unstepped = [number for number, one in enumerate(recording.episodes) if one.num_steps == 0]
    told = {
        "dataset_id": name,
        "minari_version": minari.__version__,
        "algorithm_name": str(recording.header["meta"].get("actor", "unknown")),
        "description": f"{recording.header['meta'].get('id')}, recorded by spl",
        **{key: recording.sound[key] for key in ("sample_rate_hz",) if key in recording.sound},
        OURS: {**recording.kept, "unstepped": unstepped},
    }
    storage.update_metadata(told)
    for episode in recording.episodes:
        if episode.num_steps:
            storage.update_episodes([EpisodeBuffer(**_buffer_of(episode.closed(), spec))])
    if unstepped:
        alone = [recording.episodes[number] for number in unstepped]
        keys = [key for key in ALONE if getattr(alone[0], key) is not None]
        streams = {key: np.concatenate([getattr(one, key) for one in alone]) for key in keys}
        tensors = {key: torch.from_numpy(stream) for key, stream in streams.items()}
        write_tensors(folder / "data" / UNSTEPPED, tensors)


def read(name: str) -> Opened:
    """Return a Minari dataset as a recording: one of ours as it was recorded, another's as it can be played.

    Raises:
        UsageError: if there is none of that name, or it has no streams that serve.
        ValueError: if it is damaged or of another version.
    """
    folder = _folder_of(name)
    if not (folder / "data").is_dir():
        raise UsageError(f"there is no Minari dataset {name} in {_root()}; there are {_listed()}")
    from minari import MinariDataset
    from minari.dataset.minari_storage import MinariStorage

    raw = MinariStorage.read_raw_metadata(folder / "data")
    if not {"observation_space", "action_space"} <= raw.keys():  # Minari would make its environment
        raise ValueError("its metadata must hold observation_space and action_space")
    dataset = MinariDataset(folder / "data")
    address = f"minari:{name}"
    if OURS in raw:
        return restore(address, raw[OURS], _episodes_of(dataset, raw[OURS], folder / "data"))
    played = (
        Played(one.observations, one.rewards, one.terminations, one.truncations)
        for one in dataset.iterate_episodes()
    )
    count = dataset.total_steps + dataset.total_episodes
    how = 'minari.load_dataset(...).storage.update_metadata({"sample_rate_hz": ...})'
    return play(address, dataset.observation_space, played, count, raw.get("sample_rate_hz"), how)


def _folder_of(name: str) -> Path:
    """Return where a dataset lies or would lie."""
    require("minari", f"minari:{name} needs minari")
    require("h5py", f"minari:{name} needs h5py")
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(name)
    except (ValueError, TypeError):  # a name without a version is a TypeError there
        raise UsageError(
            "a Minari dataset's name must be like beacon/random-v0: letters, digits, - and _, at least two "
            f"before a slash, and a version at the end, got {name!r}"
        ) from None
    return _root() / name


def _root() -> Path:
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        return Path(get_dataset_path())  # which makes it
    except OSError as error:
        raise UsageError(f"MINARI_DATASETS_PATH must be a folder to write in, got: {error}") from error


def _listed() -> str:
    """Return the names of the datasets that are there."""
    import minari

    with warnings.catch_warnings(action="ignore"):  # of what lies there and is none
        return ", ".join(minari.list_local_datasets()) or "none"


def _space_of(spec: StreamSpec) -> spaces.Dict:
    """Return the space of what is observed, of the streams that are there."""
    colours, rows, columns = spec.video
    parts: dict[str, spaces.Space[Any]] = {"present": spaces.MultiBinary(2)}
    if spec.has_video:
        parts["video"] = spaces.Box(0, 255, (rows, columns, colours), np.uint8)
    if spec.has_audio:
        kind = np.dtype(spec.audio_dtype).type
        parts["audio"] = spaces.Box(*SOUND_LIMITS[spec.audio_dtype], spec.audio, kind)
    if spec.state:
        parts["state"] = spaces.Box(-np.inf, np.inf, (spec.state,), np.float32)
    return spaces.Dict(parts)


def _actions_of(sizes: list[int]) -> spaces.Space[Any]:
    return spaces.Discrete(sizes[0]) if len(sizes) == 1 else spaces.MultiDiscrete(sizes)


def _buffer_of(episode: Episode, spec: StreamSpec) -> dict[str, Any]:
    """Return an episode as Minari's buffers hold it."""
    observations: dict[str, NDArray[Any]] = {"present": episode.present.astype(np.int8)}
    if spec.has_video:
        observations["video"] = np.moveaxis(episode.video, 1, -1)
    if spec.has_audio:
        observations["audio"] = episode.audio
    if episode.state is not None:
        observations["state"] = episode.state
    return {
        "observations": observations,
        "actions": episode.action.astype(np.int64),
        "rewards": episode.reward,
        "terminations": episode.terminated,
        "truncations": episode.truncated,
    }


def _episodes_of(dataset: Any, kept: Any, folder: Path) -> Iterator[Episode]:
    """Yield the episodes of a dataset of ours as they were recorded, those without a step among them."""
    spec, unstepped = spec_of(kept["recording"]), list(kept["unstepped"])
    try:
        alone = load_file(folder / UNSTEPPED) if unstepped else {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{UNSTEPPED} is missing or cut: {error}") from error
    actions, stepped = np.zeros((0, *dataset.action_space.shape), np.int16), dataset.iterate_episodes()
    for number in range(dataset.total_episodes + len(unstepped)):
        if number in unstepped:
            row = [unstepped.index(number)]
            video, audio, present = (alone[key][row] for key in ALONE[:3])
            nothing = actions, np.zeros(0, np.float32), np.zeros(0, np.bool_), np.zeros(0, np.bool_)
            yield Episode(video, audio, present, *nothing, alone["state"][row] if spec.state else None)
            continue
        if (one := next(stepped, None)) is None:  # fewer than were recorded
            return
        seen, count = one.observations, len(one.rewards) + 1
        yield Episode(
            np.moveaxis(seen["video"], -1, 1) if spec.has_video else np.zeros((count, *spec.video), np.uint8),
            seen["audio"] if spec.has_audio else np.zeros((count, *spec.audio), spec.audio_dtype),
            seen["present"].astype(np.bool_),
            one.actions.astype(np.int16),
            one.rewards,
            one.terminations,
            one.truncations,
            seen["state"] if spec.state else None,
        )
