"""Classes of the user's own, named ``module:Class`` with arguments, and imported when they are used."""

import importlib
import sys
from types import ModuleType
from typing import Any

from spl.config.errors import UsageError

Named = str | dict[str, Any]  # module:Class, or in YAML module:Class: {argument: value}
HERE = ""  # the current folder, among those that hold modules


def parts_of_named(entry: Named, option: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the keyword arguments of what an option names.

    Raises:
        ValueError: if it is neither ``module:Class`` nor a mapping of one to its arguments.
    """
    (name, kwargs), *others = [(entry, {})] if isinstance(entry, str) else [*entry.items()] or [("", None)]
    kwargs = {} if kwargs is None else kwargs
    parts = name.split(":")
    if others or not isinstance(kwargs, dict) or len(parts) != 2 or not all(parts):
        raise ValueError(
            f"{option} must be module:Class, or in YAML module:Class: {{argument: value}}, got {entry!r}"
        )
    return name, kwargs


def imported(module_name: str, asked: str) -> ModuleType:
    """Return a module of the user's own, which may lie in the current folder.

    Nothing is looked for there before a module is named, and what is installed comes first: a folder that
    came from a stranger may hold files named like the packages that spl imports.

    Args:
        module_name: of it.
        asked: what names it, for the sentence: ``--env my_game:Maze``.

    Raises:
        UsageError: if there is none, or it fails as it is imported.
    """
    if HERE not in sys.path:
        sys.path.append(HERE)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {module_name!r} for {asked}: run from the folder that holds "
                f"{module_name.replace('.', '/')}.py, or install it"
            ) from error
        raise UsageError(f"{module_name} of {asked} could not be imported: {error}") from error
    except Exception as error:  # the user's module may fail in any way; the sentence names it
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"{module_name} of {asked} could not be imported: {why}") from error


def class_of(name: str, base: type, option: str) -> type[Any]:
    """Return the class that ``module:Class`` names.

    Args:
        name: of it.
        base: which it must derive from.
        option: that names it, for the sentence.

    Raises:
        UsageError: if its module cannot be imported, or has no such class.
    """
    module_name, _, class_name = name.partition(":")
    found = getattr(imported(module_name, f"{option}={name}"), class_name, None)
    if found is None:
        raise UsageError(f"{module_name} has no {class_name}; see {option}={name}")
    if not (isinstance(found, type) and issubclass(found, base)):
        kind = f"a {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
        wanted = f"{base.__module__.partition('.')[0]}.{base.__name__}"
        raise UsageError(f"{name} is not a {wanted} but {kind}: {option} takes classes that derive from it")
    return found
