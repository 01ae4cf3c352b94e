"""The machine, versions and commit of a run, as saved in ``system.jsonl``."""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import spl

PACKAGES = ("torch", "torchvision", "torchaudio", "numpy", "gymnasium", "ale-py", "vizdoom", "av")
GIT_S = 10.0  # after which git is not waited for


def describe_system() -> dict[str, Any]:
    """Return what the process runs on, as JSON holds it; packages that are not installed are left out."""
    described = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "spl": spl.__version__,
        "commit": read_commit(Path(spl.__file__).parent),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version_of(name)) is not None},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    if torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    return described


def read_commit(folder: Path) -> str | None:
    """Return the commit that the files in ``folder`` are of, ``+ changes`` behind it where they differ.

    None where they are not under git's control, or there is no git.
    """
    try:
        if not _git(folder, "ls-files", "__init__.py"):
            return None
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
        return _git(folder, "rev-parse", "HEAD") + (" + changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=GIT_S, check=True
    )
    return done.stdout.strip()


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name; its architecture where the system tells no name."""
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
