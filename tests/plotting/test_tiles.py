"""Figures saved whole."""

import resource
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from spl.plotting.tiles import save


def test_a_figure_that_a_full_disk_does_not_take_leaves_the_one_before_and_nothing_beside(tmp_path: Path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"the one before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write the picture .*/figure\.png: File too large$"):
            save(Figure(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("figure.png", b"the one before")]


def test_a_path_without_a_suffix_becomes_a_png(tmp_path: Path):
    save(Figure(), tmp_path / "figure")
    assert [one.name for one in tmp_path.iterdir()] == ["figure.png"]
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
