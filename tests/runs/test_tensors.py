"""Tensors in one file: as readable as any other new file, and a full disk is an `OSError`."""

import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spl.runs import tensors
from spl.runs.tensors import write_tensors


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such modes")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_file_has_the_mode_of_any_new_file_and_one_that_is_there_keeps_its_own(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        write_tensors(tmp_path / "x", {"x": torch.arange(3)}, {"format": "pt"})
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~mask
    (tmp_path / "x").chmod(0o640)
    write_tensors(tmp_path / "x", {"x": torch.arange(4)})
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    assert load_file(tmp_path / "x")["x"].tolist() == [0, 1, 2, 3]


def test_what_safetensors_says_of_a_full_disk_is_an_os_error(tmp_path: Path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_tensors(tmp_path / "x", {})
