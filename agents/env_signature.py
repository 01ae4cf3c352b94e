"""The description of an environment in a run directory, and the check that the environment still matches."""

import json
from pathlib import Path
from typing import Any

from spl.config.errors import UsageError


def read_environment(folder: Path) -> dict[str, Any]:
    """Return what ``env.json`` of the run in ``folder`` says of its environment; nothing where there is none.

    Raises:
        UsageError: if it cannot be read.
    """
    path = folder / "env.json"
    try:
        described = json.loads(path.read_bytes()) if path.exists() else {}
        return dict(described)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} is empty, cut or corrupt: {error}; copy it again, or delete it") from error


def check_environment(before: dict[str, Any], now: dict[str, Any], owner: Path) -> None:
    """Refuse an environment that is not as it was described before; an empty description fits any.

    Args:
        before: what an environment said of itself when the run began.
        now: what one says of itself before its first sound.
        owner: whose description that is, for the sentence.

    Raises:
        UsageError: naming everything that changed.
    """
    old, new = _flat(before), _flat(now)
    keys = {**old, "video.to": None, "audio.to": None, "state.to": None, "wrappers": None} if old else {}
    told = [
        f"{key} is {new.get(key)} (it was {old.get(key)})"
        for key in keys
        if new.get(key) != old.get(key) and key != "audio.warning"
    ]
    if told:
        raise UsageError(
            f"the environment {now['id']} is not the one that {owner} was made with: {', '.join(told)}; "
            "use that one again, or start a new run"
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by their dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "left_out":  # why it is, is said in other words since
            value = [(one["key"], one["what"]) for one in value]
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves
