"""The one step of a build that pyproject.toml cannot say: the commit is written into sdist and wheel.

`spl --version` and the runs read it there, where there is no git to ask.
"""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

sys.path.insert(0, str(Path(__file__).resolve().parent))
from spl.runs.commit import WRITTEN, read_commit  # imports neither torch nor any other package

ROOT = Path(__file__).resolve().parent


def write_commit(root: str) -> None:
    """Write which commit this tree is of beside the package below ``root``; nothing where nobody knows."""
    if commit := read_commit(ROOT / "spl"):
        (Path(root) / "spl" / WRITTEN).write_text(f"{commit}\n", encoding="utf-8")


class BuildWithCommit(build_py):
    """Builds the package; an editable one stays a checkout, and asks git."""

    def run(self) -> None:
        """Copy the modules, then write the commit beside them."""
        super().run()
        if not self.editable_mode:
            write_commit(self.build_lib)


class SdistWithCommit(sdist):
    """Packs the sources."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the files, then write the commit among them."""
        super().make_release_tree(base_dir, files)
        write_commit(base_dir)


setup(cmdclass={"build_py": BuildWithCommit, "sdist": SdistWithCommit})
