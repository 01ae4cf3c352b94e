"""The folder of a recording: one ``.npy`` file per field of a memory, and a JSON header that speaks last.

What the fields mean for sampling is the memory's; here they are laid out, written, checked and opened.
"""

import io
import json
import os
from math import prod
from pathlib import Path
from tokenize import TokenError  # numpy reads the head of an array as Python
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.records import Observation, StreamSpec
from spl.runs.checksums import UNSEALED, seal, sums_of, unseal
from spl.runs.files import check_regular, free_bytes, replace_text

FORMAT, VERSION, HEADER = "spl-recording", 2, "recording.json"
_STREAMS, _AUDIO_KINDS = ("video", "audio"), {"float16": "<f2", "int8": "|i1"}
_HEADER_KINDS = {"slots": int, "num_envs": int, "capacity": int, "meta": dict, "is_trimming": bool}

Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


class Fields(NamedTuple):
    """The arrays of a memory, ``(slots, num_envs, ...)``; each is one ``.npy`` file of a recording."""

    video: NDArray[np.uint8]  # (slots, num_envs, C, H, W)
    audio: NDArray[np.float16] | NDArray[np.int8]  # (slots, num_envs, C, M, F)
    present: NDArray[np.bool_]  # (slots, num_envs, 2)
    action: NDArray[np.int16]  # taken after the observation of the same slot; -1: none (yet)
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    age: NDArray[np.int32]  # steps since the episode's first observation
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
    shapes = {"capacity": capacity, "spec": spec._asdict(), "arrays": _describe_arrays(layout)}
    return seal({**kind, **counts, **shapes, "meta": meta})


def trim(folder: Path) -> None:
    """Cut a recording that never wrapped to the slots in use; no memory may have it open.

    The header says first that cutting is under way, so a kill leaves the recording readable, and ``trim``
    called again finishes the work.

    Raises:
        ValueError: if the recording has wrapped, holds no transition or is damaged.
    """
    header = _read_header(folder)
    used, num_envs = max(header["written"]), header["num_envs"]
    if not 2 <= used <= header["slots"]:
        raise ValueError(f"{folder} must hold 2..{header['slots']} observations to be trimmed, got {used}")
    layout = _layout_in(header, used)
    for name, kind in layout.items():
        open_array(folder, name, *kind, may_be_longer=True)
    header |= {"slots": used, "capacity": used * num_envs, "arrays": _describe_arrays(layout)}
    replace_text(folder / HEADER, _retold(header, is_trimming=True))
    for name, (shape, dtype) in layout.items():
        text = io.BytesIO()
        described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(text, described)
        with open(folder / f"{name}.npy", "r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            if file.tell() != text.tell():  # numpy leaves room for the first axis to change
                raise ValueError(f"{name}.npy must have a header of {text.tell()} bytes, got {file.tell()}")
            length = text.tell() + dtype.itemsize * int(np.prod(shape))
            file.seek(0)
            file.write(text.getvalue())
            file.truncate(length)
    replace_text(folder / HEADER, _retold(header, is_trimming=False))


def _retold(header: dict[str, Any], *, is_trimming: bool) -> str:
    """Return the header's text with another mark, sealed if it was."""
    told = {key: value for key, value in header.items() if key != "crc32"} | {"is_trimming": is_trimming}
    return json.dumps(told, indent=1) if header["version"] == UNSEALED else seal(told)


def layout_of(spec: StreamSpec, slots: int, num_envs: int) -> Layout:
    """Return shape and dtype of each array by name; bytes are little-endian everywhere."""
    shapes = {"video": spec.video, "audio": spec.audio, "present": (2,), "sums": (2,)}
    kinds = ("|u1", _AUDIO_KINDS[spec.audio_dtype], "|b1", "<i2", "<f4", "|b1", "|b1", "<i4", "<u4")
    return {
        name: ((slots, num_envs, *shapes.get(name, ())), np.dtype(kind))
        for name, kind in zip(Fields._fields, kinds, strict=True)
    }


def _layout_in(header: dict[str, Any], slots: int) -> Layout:
    """Return the layout of what a recording has on disk; an old one has no checksums."""
    layout = layout_of(spec_of(header), slots, header["num_envs"])
    return {name: kind for name, kind in layout.items() if header["version"] > UNSEALED or name != "sums"}


def sum_up(flat: Fields, places: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the checksums ``(N, 2)`` of what was observed and of what was done at ``places`` ``(N,)``.

    Args:
        flat: the arrays, axis 0: ``slot * num_envs + env``.
    """
    observed = flat.video, flat.audio, flat.present, flat.age
    done = flat.action, flat.reward, flat.terminated, flat.truncated
    return np.stack([sums_of(observed, places), sums_of(done, places)], axis=1)


def live_places(count: int, env: int, *, usable: int, slots: int, num_envs: int) -> NDArray[np.int64]:
    """Return the places of the newest ``usable`` of ``count`` observations of ``env``, oldest first."""
    return np.arange(max(0, count - usable), count) % slots * num_envs + env


def check_sums(flat: Fields, written: list[int], *, usable: int, slots: int, folder: Path) -> None:
    """Raise ``ValueError`` if what lies in the live slots is not what was saved there.

    What is done at the newest observation is not known yet, and not looked at.

    Args:
        flat: the arrays, axis 0: ``slot * num_envs + env``.
        written: observations ever written, per environment.
        usable: live slots of each environment, of ``slots``.
        folder: where the arrays come from, for the sentence.
    """
    for env, count in enumerate(written):
        places = live_places(count, env, usable=usable, slots=slots, num_envs=len(written))
        differs = sum_up(flat, places) != flat.sums[places]
        differs[-1:, 1] = False
        if (num_wrong := int(differs.any(axis=1).sum())) > 0:
            first = int(places[differs.any(axis=1).argmax()]) // len(written)
            raise ValueError(
                f"the arrays in {folder} must hold what was saved there, got {num_wrong:,} of "
                f"{len(places):,} observations whose checksum does not hold, the first in slot {first} of "
                f"environment {env}: files are damaged or of another save; copy or record it again"
            )


def check_fits(observation: Observation, layout: Layout) -> None:
    """Raise ``ValueError`` if an observation is not finite or does not have the shapes of ``layout``.

    Args:
        layout: of one observation, without the axes of slots and environments.
    """
    for name, array in zip(Observation._fields, observation, strict=True):
        shape, dtype = layout[name]
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            came = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
            raise ValueError(f"{name} must be a {dtype} array of shape {shape}, got {came}")
    if observation.audio.dtype.kind == "f" and not np.isfinite(observation.audio).all():
        raise ValueError("audio must be finite, got NaN or infinity; mend the environment's sound")


def _describe_arrays(layout: Layout) -> dict[str, Any]:
    return {name: {"shape": list(shape), "dtype": dtype.str} for name, (shape, dtype) in layout.items()}


def create_files(folder: Path, layout: Layout) -> None:
    """Create the arrays as sparse files, which take disk space as they are written.

    On a full disk, writing to a map of one kills the process (SIGBUS): write to the file, or reserve it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in layout.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)


def create_arrays(folder: Path, layout: Layout) -> dict[str, NDArray[Any]]:
    """Create the arrays as files whose disk space is reserved, and return them mapped.

    Raises:
        OSError: if the disk has no room for them; no file is left behind.
    """
    try:
        create_files(folder, layout)
        _reserve(folder, layout)
    except OSError as error:
        for name in layout:
            (folder / f"{name}.npy").unlink(missing_ok=True)
        raise _no_room(folder, layout, error) from error
    return {name: open_array(folder, name, *kind, mode="r+") for name, kind in layout.items()}


def _reserve(folder: Path, layout: Layout) -> None:
    """Take the disk space of the arrays, where the system can; what they hold stays."""
    for name in layout if hasattr(os, "posix_fallocate") else ():
        with open(folder / f"{name}.npy", "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _no_room(folder: Path, layout: Layout, error: OSError) -> OSError:
    needed = sum(dtype.itemsize * prod(shape) for shape, dtype in layout.values())
    return OSError(
        f"the memory needs {needed:,} bytes in {folder}, where {free_bytes(folder):,} are free: "
        f"{error.strerror}; make room there, choose another folder, or ask for fewer observations"
    )


def open_recording(
    folder: Path, *, mmap: bool, writable: bool
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header of a recording and its arrays: memory maps, or copies of the rows in use.

    The small ones are copied in a read-only memory too: what came after the last save is undone in them.

    Raises:
        ValueError: if a file is missing, cut, longer or of another shape, dtype or format than expected.
        OSError: if ``writable`` and the disk has no room for all slots.
    """
    header = _read_header(folder)
    slots, used = header["slots"], min(max(header["written"]), header["slots"])
    layout = _layout_in(header, slots)
    if writable and (not mmap or header["is_trimming"]):
        raise ValueError("writable must come with mmap=True and a recording that is not half trimmed")
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind in layout.items():
        mode: Literal["r", "r+"] = "r+" if writable else "r"
        mapped = open_array(folder, name, *kind, mode=mode, may_be_longer=header["is_trimming"])
        arrays[name] = mapped[:slots]
        if not mmap or (not writable and name not in _STREAMS):
            arrays[name] = np.zeros(*kind)
            arrays[name][:used] = mapped[:used]
    if "sums" not in arrays:
        arrays["sums"] = _first_sums(folder, header, arrays, writable=writable)
    if writable:
        try:
            _reserve(folder, layout)  # it may be sparse: written by a memory in RAM
        except OSError as error:
            raise _no_room(folder, layout, error) from error
    return header, arrays


def _first_sums(
    folder: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]], *, writable: bool
) -> NDArray[np.uint32]:
    """Return the checksums of what lies in an old recording, which has none; if ``writable``, as a file."""
    slots, num_envs = header["slots"], header["num_envs"]
    shape, dtype = layout_of(spec_of(header), slots, num_envs)["sums"]
    sums: NDArray[np.uint32] = np.zeros(shape, dtype)
    if writable:
        create_files(folder, {"sums": (shape, dtype)})
        sums = open_array(folder, "sums", shape, dtype, mode="r+")
    flat = flatten({**arrays, "sums": sums})
    for env, count in enumerate(header["written"]):
        places = live_places(count, env, usable=slots, slots=slots, num_envs=num_envs)
        flat.sums[places] = sum_up(flat, places)
    return sums


def flatten(arrays: dict[str, NDArray[Any]]) -> Fields:
    """Return views of arrays ``(slots, num_envs, ...)`` whose axis 0 is ``slot * num_envs + env``."""
    return Fields(
        **{
            name: np.asarray(array).reshape(array.shape[0] * array.shape[1], *array.shape[2:])
            for name, array in arrays.items()
        }
    )


def open_array(
    folder: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    mode: Literal["r", "r+"] = "r",
    may_be_longer: bool = False,
) -> "np.memmap[Any, Any]":
    """Return one array as a memory map, after checking that the file is exactly what the header says."""
    path = folder / f"{name}.npy"
    try:
        check_regular(path)
        array = np.lib.format.open_memmap(path, mode="r")  # r+ would lengthen a cut file
    except (ValueError, OSError, SyntaxError, TokenError) as error:
        raise ValueError(f"{path} must be a whole .npy file without pickles, got: {error}") from error
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{path} must hold dtype {dtype.str} in C order, got {array.dtype.str}; record it again"
        )
    is_longer = may_be_longer and array.shape[:1] > shape[:1] and array.shape[1:] == shape[1:]
    if array.shape != shape and not is_longer:
        raise ValueError(
            f"{path} must have shape {shape} as {HEADER} says, got {array.shape}; record it again"
        )
    expected, size = array.offset + array.nbytes, path.stat().st_size
    if size != expected and not (may_be_longer and size > expected):
        raise ValueError(f"{path} must have {expected} bytes, got {size}; copy or record it again")
    return array if mode == "r" else np.lib.format.open_memmap(path, mode=mode)


def stacked(
    flat: Fields, newest: NDArray[np.int64], age: NDArray[np.int32], steps: NDArray[np.int64], num_envs: int
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return video and audio ``(B, T, ...)`` around places of the rings, zeros before an episode began.

    Args:
        flat: the arrays, axis 0: ``slot * num_envs + env``.
        newest: ``(B,)`` places.
        age: ``(B,)``, steps since the episode's first observation at ``newest``.
        steps: ``(T,)``, how far from ``newest`` to look: -1 is the step before.
        num_envs: rings.
    """
    slots = newest[:, None] + steps * num_envs  # (B, T), wrapped by take
    is_before = age[:, None] + steps < 0
    video = flat.video.take(slots, axis=0, mode="wrap")  # (B, T, C, H, W)
    audio = flat.audio.take(slots, axis=0, mode="wrap")  # (B, T, C, M, F)
    if is_before.any():
        video[is_before] = 0
        audio[is_before] = 0
    return video, audio


def are_counts(value: Any, length: int) -> bool:
    """Return whether ``value`` is a list of ``length`` integers from 0 on."""
    return isinstance(value, list) and len(value) == length and all(type(v) is int and v >= 0 for v in value)


def spec_of(header: dict[str, Any]) -> StreamSpec:
    spec = header["spec"]  # one without audio_dtype is older than int8
    return StreamSpec(tuple(spec["video"]), tuple(spec["audio"]), spec.get("audio_dtype", "float16"))


def _read_header(folder: Path) -> dict[str, Any]:
    """Return the header of a recording, every entry of it checked."""
    path = folder / HEADER
    try:
        check_regular(path)
        header: dict[str, Any] = unseal(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be the JSON header of a recording, got: {error}") from error
    came = (header.get("format"), header.get("version")) if isinstance(header, dict) else (None, None)
    if came not in [(FORMAT, UNSEALED), (FORMAT, VERSION)]:
        raise ValueError(
            f"{path} must say format {FORMAT!r} and version {VERSION} or {UNSEALED}, got {came}; "
            "convert it first"
        )
    for key, kind in _HEADER_KINDS.items():
        if type(header.get(key)) is not kind:
            raise ValueError(f"{path} must hold {key} as {kind.__name__}, got {header.get(key)!r}")
    slots, num_envs, spec = header["slots"], header["num_envs"], header.get("spec")
    if min(slots, num_envs) < 1 or not are_counts(header.get("written"), num_envs):
        raise ValueError(f"{path} must hold {num_envs} counts as written, got {header.get('written')!r}")
    if not isinstance(spec, dict) or not all(are_counts(spec.get(name), 3) for name in _STREAMS):
        raise ValueError(f"{path} must hold spec as the shapes of video and audio, got {spec!r}")
    if spec.get("audio_dtype", "float16") not in [*_AUDIO_KINDS]:
        raise ValueError(
            f"{path} must hold audio_dtype as {' or '.join(_AUDIO_KINDS)}, got {spec['audio_dtype']!r}"
        )
    if header.get("arrays") != _describe_arrays(_layout_in(header, slots)):
        raise ValueError(
            f"{path} must list arrays that follow from spec, slots and num_envs; record it again"
        )
    return header
