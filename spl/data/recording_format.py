"""The format of a recording: one ``.npy`` file per field of a memory, and a JSON header written last.

What the fields mean for sampling is the memory's; the files of the arrays are in `spl.data.recording_files`.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.records import NO_STATE, Observation, StreamSpec
from spl.runs.checksums import UNSEALED, seal, unseal
from spl.runs.files import check_regular

FORMAT, VERSION, HEADER = "spl-recording", 2, "recording.json"
STREAMS, _AUDIO_KINDS = ("video", "audio"), {"float16": "<f2", "int8": "|i1"}
VECTORS = ("state", "recurrent")  # of which a recording has a file only where they have numbers
SOUND_NUMBERS = ("sample_rate_hz", "samples_per_step")  # what meta says of a sound
_HEADER_KINDS = {"slots": int, "num_envs": int, "capacity": int, "meta": dict, "is_trimming": bool}

Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


class Fields(NamedTuple):
    """The arrays of a memory, ``(slots, num_envs, ...)``; each is one ``.npy`` file of a recording."""

    video: NDArray[np.uint8]  # (slots, num_envs, C, H, W)
    audio: NDArray[np.float16] | NDArray[np.int8]  # (slots, num_envs, C, M, F)
    present: NDArray[np.bool_]  # (slots, num_envs, 2)
    action: NDArray[np.int16]  # (..., J) of J > 1 dimensions; after the observation of its slot; -1: none yet
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    age: NDArray[np.int32]  # steps since the episode's first observation
    state: NDArray[np.float32]  # (slots, num_envs, S); a file only where S > 0
    recurrent: NDArray[np.float32]  # (slots, num_envs, R), before the step; a file only where R > 0
    sums: NDArray[np.uint32]  # (slots, num_envs, 2), as of the last save: what was observed, what was done


def describe(
    layout: Layout, *, spec: StreamSpec, written: list[int], capacity: int, meta: dict[str, Any]
) -> str:
    """Return the header's text.

    Raises:
        TypeError: if JSON cannot hold ``meta``.
    """
    slots, num_envs = layout["age"][0]
    kind = {"format": FORMAT, "version": VERSION, "is_trimming": False}
    counts = {"written": written, "slots": slots, "num_envs": num_envs}
    told = {name: value for name, value in spec._asdict().items() if name not in VECTORS or value}
    shapes = {"capacity": capacity, "spec": told, "arrays": describe_arrays(layout)}
    (num_dimensions,) = layout["action"][0][2:] or (1,)
    dimensions = {} if num_dimensions == 1 else {"action_dimensions": num_dimensions}
    return seal({**kind, **counts, **dimensions, **shapes, "meta": meta})


def layout_of(spec: StreamSpec, slots: int, num_envs: int, num_dimensions: int = 1) -> Layout:
    """Return shape and dtype of each array that is kept by name; bytes are little-endian everywhere."""
    action = () if num_dimensions == 1 else (num_dimensions,)
    shapes = {"video": spec.video, "audio": spec.audio, "present": (2,), "action": action, "sums": (2,)}
    shapes |= {"state": (spec.state,), "recurrent": (spec.recurrent,)}
    kinds = (
        "|u1",
        _AUDIO_KINDS[spec.audio_dtype],
        "|b1",
        "<i2",
        "<f4",
        "|b1",
        "|b1",
        "<i4",
        "<f4",
        "<f4",
        "<u4",
    )
    return {
        name: ((slots, num_envs, *shapes.get(name, ())), np.dtype(kind))
        for name, kind in zip(Fields._fields, kinds, strict=True)
        if name not in VECTORS or getattr(spec, name)
    }


def fields_of(arrays: dict[str, NDArray[Any]]) -> Fields:
    """Return the arrays of a recording as fields; a vector that it lacks is an array of no numbers."""
    nothing = np.zeros((*arrays["age"].shape, 0), np.float32)
    return Fields(**{**dict.fromkeys(VECTORS, nothing), **arrays})


def layout_in(header: dict[str, Any], slots: int) -> Layout:
    """Return the layout of what a recording has on disk; an old one has no checksums."""
    layout = layout_of(spec_of(header), slots, header["num_envs"], dimensions_in(header))
    return {name: kind for name, kind in layout.items() if header["version"] > UNSEALED or name != "sums"}


def check_fits(observation: Observation, layout: Layout) -> None:
    """Raise ``ValueError`` if an observation is not finite or does not have the shapes of ``layout``.

    Args:
        layout: of one observation, without the axes of slots and environments.
    """
    for name, array in zip(Observation._fields, observation, strict=True):
        shape, dtype = layout.get(name, (NO_STATE.shape, NO_STATE.dtype))
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            came = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
            raise ValueError(f"{name} must be a {dtype} array of shape {shape}, got {came}")
    if observation.audio.dtype.kind == "f" and not np.isfinite(observation.audio).all():
        raise ValueError("audio must be finite, got NaN or infinity; mend the environment's sound")
    if not np.isfinite(observation.state).all():
        raise ValueError("state must be finite, got NaN or infinity; mend the environment's vectors")


def describe_arrays(layout: Layout) -> dict[str, Any]:
    return {name: {"shape": list(shape), "dtype": dtype.str} for name, (shape, dtype) in layout.items()}


def are_counts(value: Any, length: int) -> bool:
    """Return whether ``value`` is a list of ``length`` integers from 0 on that numpy can count to."""
    is_list = isinstance(value, list) and len(value) == length
    return is_list and all(type(v) is int and 0 <= v < 2**63 for v in value)


def spec_of(header: dict[str, Any]) -> StreamSpec:
    spec = header["spec"]  # one without audio_dtype is older than int8, one without a vector has none
    vectors = {name: spec.get(name, 0) for name in VECTORS}
    return StreamSpec(
        tuple(spec["video"]), tuple(spec["audio"]), spec.get("audio_dtype", "float16"), **vectors
    )


def dimensions_in(header: dict[str, Any]) -> int:
    """Return of how many dimensions an action is, as a recording's header says."""
    found: int = header.get("action_dimensions", 1)
    return found


def read_header(folder: Path) -> dict[str, Any]:
    """Return the header of a recording, every entry of it checked."""
    path = folder / HEADER
    try:
        check_regular(path)
        header = unseal(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be the JSON header of a recording, got: {error}") from error
    return check_header(header, path)


def check_header(header: Any, place: Path | str) -> dict[str, Any]:
    """Return the header of a recording, every entry of it checked; ``place`` is where it lies."""
    came = (header.get("format"), header.get("version")) if isinstance(header, dict) else (None, None)
    if came not in [(FORMAT, UNSEALED), (FORMAT, VERSION)]:
        raise ValueError(
            f"{place} must say format {FORMAT!r} and version {VERSION} or {UNSEALED}, got {came}; "
            "convert it first"
        )
    for key, kind in _HEADER_KINDS.items():
        if type(header.get(key)) is not kind:
            raise ValueError(f"{place} must hold {key} as {kind.__name__}, got {header.get(key)!r}")
    heard = header["meta"].get("audio", {})
    numbers = [heard.get(key) for key in SOUND_NUMBERS] if isinstance(heard, dict) else [0]
    if not all(one is None or (type(one) is int and one > 0) for one in numbers):
        raise ValueError(
            f"{place} must hold meta.audio with {' and '.join(SOUND_NUMBERS)} from 1 on, got {heard!r}"
        )
    slots, num_envs, spec = header["slots"], header["num_envs"], header.get("spec")
    if min(slots, num_envs) < 1 or not are_counts(header.get("written"), num_envs):
        raise ValueError(f"{place} must hold {num_envs} counts as written, got {header.get('written')!r}")
    if not isinstance(spec, dict) or not all(are_counts(spec.get(name), 3) for name in STREAMS):
        raise ValueError(f"{place} must hold spec as the shapes of video and audio, got {spec!r}")
    if spec.get("audio_dtype", "float16") not in [*_AUDIO_KINDS]:
        raise ValueError(
            f"{place} must hold audio_dtype as {' or '.join(_AUDIO_KINDS)}, got {spec['audio_dtype']!r}"
        )
    for name in VECTORS:
        if not are_counts([spec.get(name, 0)], 1):
            raise ValueError(f"{place} must hold {name} as a count, got {spec[name]!r}")
    if not are_counts([dimensions_in(header)], 1) or dimensions_in(header) < 1:
        raise ValueError(f"{place} must hold action_dimensions from 1 on, got {dimensions_in(header)!r}")
    if header.get("arrays") != describe_arrays(layout_in(header, slots)):
        raise ValueError(
            f"{place} must list arrays that follow from spec, slots and num_envs; record it again"
        )
    return dict(header)
