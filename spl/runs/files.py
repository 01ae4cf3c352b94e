"""Files that survive a kill or a full disk intact, and directories locked by one process.

What the files mean is described where they are written.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spl.config.errors import UsageError
from spl.folder_files import unfinished

try:
    import fcntl
except ImportError:  # Windows
    locks: Any = None
else:
    locks = fcntl

HAS_OPEN_FOLDERS = os.name == "posix"  # Windows opens no folder, and saves a file only by who may write it
LOCK = ".lock"


def sync(path: Path) -> None:
    """Wait until the disk has the file or folder at ``path``."""
    if not HAS_OPEN_FOLDERS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if HAS_OPEN_FOLDERS else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_regular(path: Path) -> None:
    """Refuse what is there and no regular file: a FIFO would be waited for without end.

    Raises:
        OSError: if it is one of those.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")


def replace_text(path: Path, text: str) -> None:
    """Write ``path`` again as UTF-8, as `replace_bytes` does."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, content: bytes) -> None:
    """Write ``path`` again: beside, synced, renamed; a kill leaves the old file or the new one.

    Raises:
        OSError: if the disk refuses, the old file stays; or if ``path`` is a device, a pipe or a folder.
    """
    check_regular(path)
    beside = unfinished(path)
    try:
        beside.write_bytes(content)
        sync(beside)
        os.replace(beside, path)
    except OSError as error:
        raise not_saved(path.name, path.parent, error) from error
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} is missing, empty or cut: {error}; copy it again") from error


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the finished run in ``folder``, at least one.

    Raises:
        UsageError: if they cannot be read.
    """
    path = folder / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not rows:
            raise ValueError("no rows")
        return rows
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is missing, empty or cut: {error!r}; copy it again") from error


OWN = "make it writable, or copy the run to a folder of yours"


def writable(folder: Path, cure: str = "choose another with --out") -> Path:
    """Return ``folder``, made if missing; the error names the ``cure``.

    Raises:
        UsageError: if it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be written: {error.strerror}; {cure}") from error
    return folder


def not_saved(what: str, folder: Path, error: Exception) -> OSError:
    """Return the error that says what could not be saved in ``folder``, why, and that earlier saves stay.

    Its ``strerror`` is the reason alone, for who tells the rest in other words.
    """
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    free = f"{free_bytes(folder):,} bytes are free there"
    told = OSError(f"cannot save {what} in {folder}: {why}; {free}, and what was saved before stays")
    told.strerror = str(why)
    return told


def free_bytes(folder: Path) -> int:
    """Return the bytes that may still be written to the disk of ``folder``, which need not be there yet."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(there).free


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder: a lock on ``.lock`` in it, which holds our process id.

    However the process ends, the kernel releases the lock; the file stays. A process that was forked in
    between shares the lock and holds it until it ends too. Where there are no such locks (Windows, some
    network disks), nothing is kept out.

    Raises:
        UsageError: if another process holds the folder, or it cannot be written.
    """
    if locks is None:
        yield
        return
    try:
        file = (folder / LOCK).open("a+")  # what another process wrote there stays until the lock is ours
    except OSError as error:
        raise UsageError(f"the run folder {folder} cannot be written: {error.strerror}") from error
    with file:
        try:
            locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
        except BlockingIOError as error:
            holder = (folder / LOCK).read_text().strip()
            raise UsageError(
                f"the run in {folder} is being trained by process {holder}: "
                f"wait for it, or stop it with kill {holder}"
            ) from error
        except OSError:  # this disk knows no locks
            pass
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
