"""The Python of the documents: each page's blocks run one after the other, as a reader would type them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import spl

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tiny_run) -> Path:
    """Return a tiny run on Beacon."""
    return tiny_run(8)


SMALLER = {  # what a page says -> what a test has time for
    "8_000": "24",
    "2_000": "12",
    "4_000": "12",
    "    checkpoint_every": "    device='cpu',\n    num_threads=1,\n    checkpoint_every",
}


@pytest.mark.parametrize("page", ["python", "from-sb3"])
def test_a_page_runs(page, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    text = (ROOT / f"docs/{page}.md").read_text().replace("runs/agent/...", str(run))
    for there, here in SMALLER.items():
        text = text.replace(there, here)
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        code = compile(block, f"docs/{page}.md", "exec")
        if "from stable_baselines3" not in block:  # it is not installed beside us
            exec(code, names)
    assert set(re.findall(r"\bspl\.([A-Za-z_]\w*)\(", text)) <= set(spl.__all__)
    if "stop_at" in names:  # a row that is no evaluation's stops nothing, whatever the threshold
        assert all(names["stop_at"](threshold)(7, {}) for threshold in (-200.0, 0.0, 100.0))


def test_importing_spl_is_quick():
    """What it takes is told in docs/python.md; a tenth of a second is promised."""
    code = "import time; start = time.process_time(); import spl; print(time.process_time() - start)"
    took = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))
    assert took < 0.1


def test_the_site_has_a_place_for_every_page():
    """``mkdocs.yml`` names each document; ``make docs`` refuses one that it does not."""
    named = set(re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text(), flags=re.M))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - named == set()
