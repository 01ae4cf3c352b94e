"""The files of a recording: created, reserved, opened and checked, and truncated to what is used.

What a header and its arrays must hold is in `spl.data.recording_format`.
"""

import io
import json
import os
from math import prod
from pathlib import Path
from tokenize import TokenError  # numpy reads the head of an array as Python
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.data.recording_format import (
    HEADER,
    STREAMS,
    Layout,
    describe_arrays,
    layout_in,
    layout_of,
    read_header,
    spec_of,
)
from spl.data.recording_places import flatten, live_places, sum_up
from spl.runs.checksums import UNSEALED, seal
from spl.runs.files import check_regular, free_bytes, replace_text


def trim(folder: Path) -> None:
    """Cut a recording that never wrapped to the slots in use; no memory may have it open.

    The header says first that cutting is under way, so a kill leaves the recording readable, and ``trim``
    called again finishes the work.

    Raises:
        ValueError: if the recording has wrapped, holds no transition or is damaged.
    """
    header = read_header(folder)
    used, num_envs = max(header["written"]), header["num_envs"]
    if not 2 <= used <= header["slots"]:
        raise ValueError(f"{folder} must hold 2..{header['slots']} observations to be trimmed, got {used}")
    layout = layout_in(header, used)
    for name, kind in layout.items():
        open_array(folder, name, *kind, may_be_longer=True)
    header |= {"slots": used, "capacity": used * num_envs, "arrays": describe_arrays(layout)}
    replace_text(folder / HEADER, _rewritten(header, is_trimming=True))
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
    replace_text(folder / HEADER, _rewritten(header, is_trimming=False))


def _rewritten(header: dict[str, Any], *, is_trimming: bool) -> str:
    """Return the header's text with another mark, sealed if it was."""
    told = {key: value for key, value in header.items() if key != "crc32"} | {"is_trimming": is_trimming}
    return json.dumps(told, indent=1) if header["version"] == UNSEALED else seal(told)


def create_files(folder: Path, layout: Layout) -> None:
    """Create the arrays as sparse files, which take disk space as they are written.

    On a full disk, writing to a map of one kills the process (SIGBUS): write to the file, or reserve it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in layout.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)


def check_vacant(folder: Path) -> None:
    """Refuse a place to record into, where there is something already.

    Raises:
        UsageError: if it is anything but an empty folder.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"the folder {folder} is not empty: choose another with --out")


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
    header = read_header(folder)
    slots, used = header["slots"], min(max(header["written"]), header["slots"])
    layout = layout_in(header, slots)
    if writable and (not mmap or header["is_trimming"]):
        raise ValueError("writable must come with mmap=True and a recording that is not half trimmed")
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind in layout.items():
        mode: Literal["r", "r+"] = "r+" if writable else "r"
        mapped = open_array(folder, name, *kind, mode=mode, may_be_longer=header["is_trimming"])
        arrays[name] = mapped[:slots]
        if not mmap or (not writable and name not in STREAMS):
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
        raise ValueError(f"{path} must be an intact .npy file without pickles, got: {error}") from error
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
