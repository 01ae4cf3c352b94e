"""The formats of recordings beside our own: where each lies, how it is written, and how it is read.

An address such as ``minari:beacon/random-v0`` names a recording in one of them.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from spl.config.errors import RunError, UsageError
from spl.data.exchange import lerobot_recordings, minari_recordings
from spl.data.exchange.episodes import Recording, read_recording
from spl.data.recording_format import HEADER
from spl.data.recordings import Opened
from spl.runs.files import sync

FormatName = Literal["spl", "minari", "lerobot"]


class Format(NamedTuple):
    """One format: three functions."""

    target: Callable[[str], Path]  # of --out: the folder that will be there; UsageError: it is taken
    write: Callable[[Recording, str, Path], None]  # of --out, into a folder that is not there yet
    read: Callable[[str], Opened]  # what an address has behind the colon; ValueError: it cannot be read


FORMATS = {
    "minari": Format(minari_recordings.target, minari_recordings.write, minari_recordings.read),
    "lerobot": Format(lerobot_recordings.target, lerobot_recordings.write, lerobot_recordings.read),
}
UNREADABLE = (  # what files that are damaged or of another layout raise, here and in others' packages
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    RecursionError,
)


def is_address(text: str) -> bool:
    """Whether a path of data is the address of a recording in one of the formats."""
    return text.partition(":")[0] in FORMATS and ":" in text


def opened(place: Path | str) -> Path | Opened:
    """Return the recording at an address; a folder as it is.

    Raises:
        UsageError: if it is not there, cannot be read, or has no streams that serve.
    """
    if isinstance(place, Path):
        return place
    kind, _, name = place.partition(":")
    try:
        return FORMATS[kind].read(name)
    except UNREADABLE as error:
        is_named = str(error).startswith(place)
        raise UsageError(str(error) if is_named else f"{place} cannot be read: {error}") from error


@contextlib.contextmanager
def recorded_as(kind: FormatName, out: str) -> Iterator[Path]:
    """Yield the folder to record into; what is in it at the end, whatever the end, is written as ``kind``.

    Until it is whole, all of it lies in a hidden folder beside its place.

    Args:
        kind: the format.
        out: the folder, or in Minari the name.

    Raises:
        UsageError: if the place is taken or the name does not serve.
        RunError: if it cannot be written; what was recorded is kept in our own format.
    """
    if kind == "spl":
        yield Path(out)
        return
    target = FORMATS[kind].target(out)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield beside / "recording"
    finally:
        if (beside / "recording" / HEADER).is_file():
            try:
                FORMATS[kind].write(read_recording(beside / "recording"), out, beside / kind)
                for file in (beside / kind).rglob("*.*"):
                    sync(file)
                os.rename(beside / kind, target)
            except (*UNREADABLE, KeyboardInterrupt) as error:
                shutil.rmtree(beside / kind, ignore_errors=True)
                raise RunError(
                    f"{kind}:{out} was not written ({str(error) or 'interrupted'}); what was recorded is "
                    f"kept in {beside / 'recording'}, in spl's own format"
                ) from error
        shutil.rmtree(beside, ignore_errors=True)
