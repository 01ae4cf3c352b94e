"""Recordings as LeRobot datasets (Parquet, v3.0): written as they are, read to the byte; those of others.

Source: lerobot 0.4, ``lerobot/datasets``: what its ``LeRobotDataset`` reads. The package itself asks for
another torch than ours, so that its files are written with pyarrow alone.
"""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.data.exchange.episodes import Episode, Recording, restore
from spl.data.exchange.lerobot_columns import (
    CHUNK,
    MOST_MB,
    DataFiles,
    Feature,
    Statistics,
    as_column,
    batches_of,
    from_column,
    write_meta,
)
from spl.data.exchange.playing import Played, play
from spl.data.recording_files import check_vacant
from spl.data.recording_format import dimensions_in, spec_of
from spl.data.recordings import Opened
from spl.packages import require
from spl.records import StreamSpec

OURS, INFO, VERSION = "spl", "meta/info.json", "v3.0"
SEEN, HEARD, PRESENT = "observation.image", "observation.audio", "observation.present"
STATE = "observation.state"
SCALARS = {"next.reward": "float32", "next.done": "bool", "next.terminated": "bool", "next.truncated": "bool"}
COUNTED = dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")


def target(out: str) -> Path:
    """Return the folder of a dataset that is not there yet.

    Raises:
        UsageError: if pyarrow is missing, or the folder is taken.
    """
    require("pyarrow", f"lerobot:{out} needs pyarrow")
    check_vacant(Path(out))
    return Path(out)


def write(recording: Recording, out: str, folder: Path) -> None:
    """Write a recording as a LeRobot dataset into ``folder``: a frame for each observation, pictures as PNG.

    The frame of an episode's last observation has the action -1: none was taken.
    """
    import pyarrow as pa

    spec, task = spec_of(recording.header), str(recording.header["meta"]["id"])
    features = _features_of(spec, dimensions_in(recording.header))
    statistics, fps = Statistics(features), _fps_of(recording.sound)
    rows: list[dict[str, Any]] = []
    first = 0
    with DataFiles(folder) as files:
        for number, episode in enumerate(recording.episodes):
            frames = _frames_of(episode.closed(), features, number, first, fps)
            statistics.add(frames)
            files.write(pa.table({key: as_column(frames[key], one) for key, one in features.items()}))
            length = episode.num_steps + 1
            row = {"episode_index": number, "tasks": [task], "length": length}
            row |= dict(zip(("data/chunk_index", "data/file_index"), files.place, strict=True))
            row |= {"dataset_from_index": first, "dataset_to_index": first + length}
            rows.append(row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
            first += length
    sound = {key: recording.sound[key] for key in ("sample_rate_hz",) if key in recording.sound}
    info = _info_of(features, len(rows), first, fps) | sound | {OURS: recording.kept}
    write_meta(folder, info, rows, task, statistics)


def read(name: str) -> Opened:
    """Return a LeRobot dataset as a recording: one of ours as it was recorded, another's as it is played.

    Args:
        name: its folder, or its name below ``HF_LEROBOT_HOME``.

    Raises:
        UsageError: if there is none, or it has no streams that serve.
        ValueError: if it is damaged or of another version.
    """
    require("pyarrow", f"lerobot:{name} needs pyarrow")
    address, folder = f"lerobot:{name}", _folder_of(name)
    info = json.loads((folder / INFO).read_bytes())
    if not str(info["codebase_version"]).startswith("v3."):
        raise UsageError(
            f"{address} must be of LeRobot's format {VERSION}, got {info['codebase_version']}: convert it "
            "with python -m lerobot.datasets.v30.convert_dataset_v21_to_v30"
        )
    features = info["features"]
    if OURS in info:
        spec = spec_of(info[OURS]["recording"])
        return restore(address, info[OURS], (_episode_of(one, spec) for one in _frames(folder, features)))
    space = _space_of(features)
    if not space.spaces and any(one["dtype"] == "video" for one in features.values()):
        raise UsageError(
            f"{address} has its pictures as MP4 alone: --data {folder / 'videos'} reads these as videos"
        )
    played = (_played(one, [*space.spaces]) for one in _frames(folder, features))
    how = f'write "sample_rate_hz": ... into {folder / INFO}'
    return play(address, space, played, info["total_frames"], info.get("sample_rate_hz"), how)


def _folder_of(name: str) -> Path:
    cache = os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")
    root = Path(os.environ.get("HF_LEROBOT_HOME", Path(cache) / "lerobot"))
    for folder in (Path(name), root / name):
        if name and (folder / INFO).is_file():
            return folder
    found = sorted(path.parents[1].relative_to(root).as_posix() for path in root.glob(f"**/{INFO}"))
    raise UsageError(
        f"there is no LeRobot dataset at {name!r}, nor of that name in {root}; there are "
        + (", ".join(found) or "none")
    )


def _fps_of(sound: dict[str, Any]) -> float | int:
    """Return the steps of a second: of the sound, or 1 where nothing tells them."""
    if "sample_rate_hz" not in sound:
        return 1
    fps = float(sound["sample_rate_hz"] / sound["samples_per_step"])
    return int(fps) if fps.is_integer() else fps


def _info_of(
    features: dict[str, Feature], num_episodes: int, num_frames: int, fps: float | int
) -> dict[str, Any]:
    """Return what ``meta/info.json`` has to say."""
    return {
        "codebase_version": VERSION,
        "robot_type": None,
        "total_episodes": num_episodes,
        "total_frames": num_frames,
        "total_tasks": 1,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": MOST_MB,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{num_episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }


def _features_of(spec: StreamSpec, num_dimensions: int) -> dict[str, Feature]:
    """Return the features of a recording's frames."""
    colours, rows, columns = spec.video
    features: dict[str, Feature] = {}
    if spec.has_video:
        names = ["height", "width", "channels"]
        features[SEEN] = {"dtype": "image", "shape": [rows, columns, colours], "names": names}
    if spec.has_audio:
        dtype = "int8" if spec.audio_dtype == "int8" else "float32"
        features[HEARD] = {
            "dtype": dtype,
            "shape": list(spec.audio),
            "names": ["channels", "bands", "frames"],
        }
    if spec.state:
        features[STATE] = {"dtype": "float32", "shape": [spec.state], "names": None}
    features[PRESENT] = {"dtype": "bool", "shape": [2], "names": ["video", "audio"]}
    dimensions = [f"dimension_{number}" for number in range(num_dimensions)]
    features["action"] = {"dtype": "int64", "shape": [num_dimensions], "names": dimensions}
    scalars = SCALARS | {"timestamp": "float32"} | COUNTED
    return features | {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in scalars.items()}


def _frames_of(
    episode: Episode, features: dict[str, Feature], number: int, first: int, fps: float
) -> dict[str, NDArray[Any]]:
    """Return an episode's frames: ``(N + 1, *shape)`` of each feature."""
    count = episode.num_steps + 1
    steps = np.arange(count)
    frames: dict[str, Any] = {
        SEEN: np.moveaxis(episode.video, 1, -1),
        HEARD: episode.audio,
        STATE: episode.state,
        PRESENT: episode.present,
        "action": _with_last(episode.action, -1),
        "next.reward": _with_last(episode.reward, 0),
        "next.done": _with_last(episode.terminated | episode.truncated, True),
        "next.terminated": _with_last(episode.terminated, False),
        "next.truncated": _with_last(episode.truncated, False),
        "timestamp": steps / fps,
        "frame_index": steps,
        "episode_index": np.full(count, number),
        "index": first + steps,
        "task_index": np.zeros(count),
    }
    dtypes = {key: "uint8" if one["dtype"] == "image" else one["dtype"] for key, one in features.items()}
    return {
        key: frames[key].astype(dtypes[key]).reshape(count, *one["shape"]) for key, one in features.items()
    }


def _with_last(values: NDArray[Any], last: float) -> NDArray[Any]:
    """Return the values of an episode's steps and, after them, that of its last observation."""
    return np.concatenate([values, np.full((1, *values.shape[1:]), last, values.dtype)])


def _frames(folder: Path, features: dict[str, Feature]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the frames of each episode: ``(N + 1, *shape)`` of each feature that lies in the data files."""
    kept = {key: one for key, one in features.items() if one["dtype"] not in ("video", "string")}
    parts: list[dict[str, NDArray[Any]]] = []
    for batch in batches_of(folder):
        frames = {key: from_column(batch.column(key), feature) for key, feature in kept.items()}
        numbers = frames["episode_index"].ravel()
        edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, stop in itertools.pairwise(edges):
            if parts and parts[-1]["episode_index"][-1] != numbers[start]:
                yield _joined(parts)
                parts = []
            parts.append({key: values[start:stop] for key, values in frames.items()})
    if parts:
        yield _joined(parts)


def _joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _episode_of(frames: dict[str, NDArray[Any]], spec: StreamSpec) -> Episode:
    """Return an episode of ours as it was recorded."""
    count, action = len(frames["index"]), frames["action"].astype(np.int16)
    return Episode(
        np.moveaxis(frames[SEEN], -1, 1) if spec.has_video else np.zeros((count, *spec.video), np.uint8),
        frames[HEARD].astype(spec.audio_dtype)
        if spec.has_audio
        else np.zeros((count, *spec.audio), spec.audio_dtype),
        frames[PRESENT],
        action[:-1, 0] if action.shape[1] == 1 else action[:-1],
        frames["next.reward"][:-1, 0],
        frames["next.terminated"][:-1, 0],
        frames["next.truncated"][:-1, 0],
        frames[STATE] if spec.state else None,
    )


def _space_of(features: dict[str, Feature]) -> spaces.Dict:
    """Return the space of another's observations that lie in the data files."""
    parts: dict[str, spaces.Space[Any]] = {}
    for key, feature in features.items():
        if not key.startswith("observation") or feature["dtype"] in ("video", "string"):
            continue
        shape = tuple(feature["shape"])
        if feature["dtype"] == "image":
            rows, columns, colours = shape if shape[-1] in (1, 3) else (*shape[1:], shape[0])
            parts[key] = spaces.Box(0, 255, (rows, columns, colours), np.uint8)
        elif np.dtype(feature["dtype"]).kind in "iu":
            ends = np.iinfo(feature["dtype"])
            parts[key] = spaces.Box(ends.min, ends.max, shape, np.dtype(feature["dtype"]).type)
        elif np.dtype(feature["dtype"]).kind == "f":
            parts[key] = spaces.Box(-1, 1, shape, np.float32)
    return spaces.Dict(parts)


def _played(frames: dict[str, NDArray[Any]], keys: list[str]) -> Played:
    """Return another's episode; its last frame is what its last action led to."""
    count = len(frames["index"]) - 1
    rewards = frames["next.reward"][:count].ravel() if "next.reward" in frames else np.zeros(count)
    ends = np.arange(count) == count - 1
    return Played({key: frames[key] for key in keys}, rewards, np.zeros(count, np.bool_), ends)
