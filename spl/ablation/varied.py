"""What a grid varies beside its seeds: options by their dotted names, values to try, and all combinations.

Which options make sense for a training is not known here.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, get_origin

from spl.config.errors import UsageError
from spl.config.options import dotted, options_of
from spl.config.parse import from_dict, to_dict
from spl.config.values import meaning

T = TypeVar("T")
Values = dict[str, list[Any]]  # of each option


def values_of(vary: Mapping[str, Any]) -> Values:
    """Return the values to try by dotted option, as a command line or a file names them.

    ``{"recipe.epochs": "8,16"}`` and ``{"recipe": {"epochs": [8, 16]}}`` are the same. An option without
    values is left out.

    Raises:
        ValueError: if an option names a value twice.
    """
    found: Values = {}
    for name, given in dotted(vary):
        values = given.split(",") if isinstance(given, str) else given
        values = list(values) if isinstance(values, list | tuple) else [values]
        values = [_meant(value) for value in values]
        if twice := [value for value in values if values.count(value) > 1]:
            raise ValueError(f"--vary.{name} must name each value once, got {twice[0]} twice")
        if values:
            found[name] = values
    return found


def arms_of(arm: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options that each named arm of a comparison changes.

    ``{"soft": {"agent": {"munchausen": 0.9}}}`` and ``{"soft.agent.munchausen": "0.9"}`` are the same.

    Raises:
        ValueError: if an arm names no option.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in dotted(arm):
        arm_name, _, option = name.partition(".")
        if not option:
            raise ValueError(
                f"--arm.{name}: name the option that this arm changes: --arm.{name}.OPTION VALUE"
            )
        parts = [_meant(part) for part in value.split(",")] if isinstance(value, str) else [value]
        found.setdefault(arm_name, {})[option] = parts[0] if len(parts) == 1 else parts
    return found


def _meant(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return None if (word := value.strip()) == "null" else meaning(word)


def combinations(values: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of one value of each option, the last option's values first."""
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def check_known(config_class: Any, names: Collection[str], before: str = "vary") -> None:
    """Refuse options that a training does not have, of ``--BEFORE.OPTION``.

    Raises:
        ValueError: with the nearest name.
    """
    known = dict(options_of(config_class))
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"--{before}.{name}: there is no option {name} to vary{hint}")


def check_distinct(names: Sequence[str]) -> None:
    """Refuse rows of a grid that would lie in one folder, as names of folders have no ``/`` or ``:``.

    Raises:
        UsageError: naming the folder.
    """
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(
            f"each row of a grid needs a folder of its own, and {names.count(twice[0])} would lie in "
            f"cells/{twice[0]}: choose values that differ in letters or digits"
        )


def changed(config: T, changes: Mapping[str, Any]) -> T:
    """Return ``config`` with other values of some options, by their dotted names.

    Raises:
        UsageError: if a value does not fit its option, or others.
    """
    mapping, known = to_dict(config), dict(options_of(type(config)))
    for name, value in changes.items():
        *sections, last = name.split(".")
        place = mapping
        for section in sections:
            place = place[section]
        is_list = get_origin(known[name].kind) is tuple and not isinstance(value, list)
        place[last] = [value] if is_list else value
    return from_dict(type(config), mapping)


def told(value: Any) -> str:
    """Return a value as names and labels tell it."""
    if isinstance(value, list):
        return "+".join(map(told, value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
