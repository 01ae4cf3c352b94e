"""The machine, versions and commit of a run, as saved in ``system.jsonl``."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import spl
from spl.runs.commit import read_commit

PACKAGES = ("torch", "torchvision", "torchaudio", "numpy", "gymnasium", "ale-py", "vizdoom", "av")
CPUINFO = Path("/proc/cpuinfo")  # of Linux


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


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name; its architecture where the system tells no name."""
    if CPUINFO.is_file():
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
