"""Optional packages, imported where they are used, and the advice when one is missing."""

import importlib
import importlib.util
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from spl import DISTRIBUTION
from spl.config.errors import UsageError


def require(package: str, purpose: str) -> Any:
    """Import and return a package that no module imports at its head.

    Args:
        package: as it is imported; its distribution has the same name, but for ``_`` and ``-``.
        purpose: the sentence's beginning, such as ``ALE/Pong-v5 needs ale-py``.

    Raises:
        UsageError: if the package is not installed, or is but cannot be imported; says how to install it.
    """
    distribution = package.replace("_", "-")
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise UsageError(f"{purpose}: {install_advice(distribution)}") from error
        raise UsageError(
            f"{purpose}, which is installed but cannot be imported ({error}): "
            f"{install_advice(distribution, '--force-reinstall')}"
        ) from error


def is_installed(package: str) -> bool:
    """Whether a package can be found, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def install_advice(distribution: str, *options: str) -> str:
    """Return the command that installs a package, in the range that we ask for.

    ``install_advice("ale-py")`` is ``pip install 'ale-py>=0.11,<0.13'``.
    """
    return " ".join(["pip install", *options, f"'{distribution}{version_range(distribution)}'"])


def version_range(distribution: str) -> str:
    """Return the range of versions that we ask for of a package, lower bound first; empty if it has none."""
    for requirement in requirements():
        found = re.match(r"([\w.-]+)(?:\[.*?\])?\s*\(?([^;)]*)", requirement)
        if found and _canonical(found[1]) == _canonical(distribution):
            bounds = [bound.replace(" ", "") for bound in found[2].split(",")]
            return ",".join(sorted(bounds, reverse=True))  # ">" comes after "<"
    return ""


def requirements() -> list[str]:
    """Return what we require, extras too, as the installed distribution tells it, else ``pyproject.toml``.

    A tree that is neither installed nor a checkout gives none, and the advice is the package's bare name.
    """
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return []
    extras = project.get("optional-dependencies", {})
    return [*project.get("dependencies", []), *(named for extra in extras.values() for named in extra)]


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
