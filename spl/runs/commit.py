"""Which commit files are of; imports no torch, so that ``spl --version`` is quick."""

import subprocess
from pathlib import Path

GIT_S = 10.0  # after which git is not waited for
WRITTEN = "COMMIT"  # file beside the package in an sdist and a wheel, by setup.py


def read_commit(folder: Path) -> str | None:
    """Return the commit that the files in ``folder`` are of, ``+ changes`` behind it where they differ.

    None where the build wrote none and they are not under git's control, or there is no git.
    """
    try:
        if (folder / WRITTEN).is_file():
            return (folder / WRITTEN).read_text(encoding="utf-8").strip()
        if not _git(folder, "ls-files", "__init__.py"):
            return None
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
        return _git(folder, "rev-parse", "HEAD") + (" + changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def describe_version(version: str, folder: Path) -> str:
    """Return the version, with the beginning of its commit where that is known: ``0.1.0 (1d9dbb1)``."""
    commit, plus, changes = (read_commit(folder) or "").partition(" + ")
    return f"{version} ({commit[:7]}{plus}{changes})" if commit else version


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=GIT_S, check=True
    )
    return done.stdout.strip()
