"""Tensors in one file."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write ``tensors`` as safetensors, in a file as readable as any other, not by its owner alone.

    Args:
        path: The file; one that is there already keeps its mode.
        tensors: By name, on any device; contiguous, and none a part of another.
        metadata: Words that the file's head holds.

    Raises:
        OSError: if the disk refuses.
    """
    path.touch()
    mode = path.stat().st_mode & 0o777
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(mode)
