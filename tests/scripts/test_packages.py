"""``scripts/figures/packages.py``: which package stands on which floor, and the picture of this checkout."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "figures" / "packages.py"))


def test_a_package_stands_above_all_that_it_imports():
    arrows = {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}
    assert SCRIPT["floors_of"](arrows) == [["c", "d"], ["b"], ["a"]]
    with pytest.raises(ValueError, match=r"circle, got one among \['a', 'b'\]"):
        SCRIPT["floors_of"]({"a": {"b"}, "b": {"a"}, "c": set()})


def test_imports_are_read_from_the_files(tmp_path):
    for name, text in {
        "spl/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from spl.one import f\n",
        "spl/one/__init__.py": "",
        "spl/one/f.py": "from spl.two.g import x\nimport os\n",
        "spl/two/__init__.py": "",
        "spl/two/g.py": "x = 1\n",
        "envs/__init__.py": "def late():\n    from spl import two\n",
        "agents/__init__.py": "from spl.one import f\nimport spl.envs\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    lines, arrows = SCRIPT["graph_of"](tmp_path)
    assert lines == {"spl.one": 2, "spl.two": 1, "spl.envs": 2, "spl.agents": 2}
    assert arrows == {
        "spl.one": {"spl.two"},
        "spl.two": set(),
        "spl.envs": {"spl.two"},
        "spl.agents": {"spl.one", "spl.envs"},
    }


def test_the_picture_of_this_checkout_is_drawn(tmp_path):
    SCRIPT["draw"](ROOT, tmp_path / "packages.png")
    assert (tmp_path / "packages.png").read_bytes().startswith(b"\x89PNG")
