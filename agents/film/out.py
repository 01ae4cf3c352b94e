"""Where a film is written."""

import errno
from pathlib import Path

from spl.config.errors import UsageError
from spl.folder_files import unfinished


def open_out(path: Path) -> None:
    """Make the folder of a film that shall be written, and see whether it can be.

    Raises:
        UsageError: if it cannot.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = unfinished(path)
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise UsageError(
            f"the film {path} cannot be written: {error.strerror}; choose another --out"
        ) from error
