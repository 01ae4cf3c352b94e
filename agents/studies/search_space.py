"""What ``spl search`` varies: a YAML file of options, each with a range or a list to choose from.

How trials are drawn from it, and what a trial is, belongs to `spl.agents.studies.search`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from spl.agents.config import ALIASES, TrainAgentConfig
from spl.agents.studies.ablation import SAME
from spl.config.errors import UsageError
from spl.config.options import Option, options_of
from spl.config.ranges import range_in
from spl.config.synonyms import either, nearest_options
from spl.config.values import coerce
from spl.config.yaml_files import UnreadableYaml, read_yaml_file

ENDS = ("low", "high", "log")
DECIDED = ("seed", "restarts", "runs", "track", "device", "num_threads")  # the search's own, or no matter
EXAMPLE = "agent.n_step: [1, 3, 5]"


class Between(NamedTuple):
    """A range of numbers, its ends among them."""

    low: float
    high: float
    is_log: bool  # each factor is as likely, instead of each difference
    is_int: bool

    def distribution(self) -> Any:
        """Return it as Optuna draws from it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_int:
            return IntDistribution(int(self.low), int(self.high), log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log)

    def value(self, drawn: Any) -> Any:
        """Return the option's value of what Optuna drew."""
        return drawn


class OneOf(NamedTuple):
    """Values to choose from."""

    values: Sequence[Any]

    def distribution(self) -> Any:
        """Return it as Optuna draws from it: names of the values, which may be lists."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([json.dumps(value) for value in self.values])

    def value(self, drawn: Any) -> Any:
        """Return the option's value of what Optuna drew."""
        return json.loads(drawn)


Space = dict[str, Between | OneOf]  # by the option's dotted name


def read_space(path: Path) -> Space:
    """Return the space that a YAML file describes.

    Raises:
        UsageError: in a sentence for each option that is wrong.
    """
    try:
        found = read_yaml_file(path)
    except UnreadableYaml as error:
        line = "" if error.line is None else f" line {error.line}"
        raise UsageError(
            f"--space {path}{line}: expected a YAML file such as '{EXAMPLE}', got: {error}"
        ) from error
    if not isinstance(found, Mapping) or not found:
        raise UsageError(f"--space {path} must name at least one option, such as '{EXAMPLE}', got {found!r}")
    known = dict(options_of(TrainAgentConfig))
    space: Space = {}
    problems: list[str] = []
    for key, given in _flat(found):
        name = ALIASES.get(key, key)
        try:
            if name in space:
                raise ValueError(f"{name} is there twice: leave one out")
            space[name] = _read(name, given, known)
        except ValueError as error:
            problems.append(f"--space {path}: {error}")
    if problems:
        raise UsageError("\n".join(problems))
    return space


def _flat(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each option by its dotted name; ``agent: {n_step: [1, 3]}`` is ``agent.n_step: [1, 3]``."""
    for key, given in found.items():
        if isinstance(given, Mapping) and given and not set(map(str, given)) & set(ENDS):
            yield from _flat(given, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", given


def _read(name: str, given: Any, known: Mapping[str, Option]) -> Between | OneOf:
    """Return what an option may be; ``ValueError`` in one sentence."""
    if name in DECIDED:
        raise ValueError(f"{name} is the same in all trials: leave it out")
    if name in SAME:
        raise ValueError(
            f"{name}: all trials play one environment, so that their returns can be compared: leave it out"
        )
    if name not in known:
        near = nearest_options(name, list(known), ALIASES)
        raise ValueError(
            f"unknown option {name} ({f'did you mean {either(near)}?' if near else 'see --help'})"
        )
    option = known[name]
    if isinstance(given, Mapping):
        return _between(name, given, option)
    if not isinstance(given, list):
        raise ValueError(f"{name} must be a list of values or a range {{low: ..., high: ...}}, got {given!r}")
    if not given:
        raise ValueError(f"{name} must have at least one value to choose from, got an empty list")
    values = [_value(name, one, option) for one in given]
    if twice := [one for one in values if values.count(one) > 1]:
        raise ValueError(f"{name} must name each value once, got {twice[0]} twice")
    return OneOf(values)


def _between(name: str, given: Mapping[str, Any], option: Option) -> Between:
    kinds = set(_plain_kinds(option.kind))
    if not kinds & {int, float}:
        raise ValueError(f"{name} is no number ({option.noun}): list the values to choose from")
    if wrong := [str(key) for key in given if key not in ENDS]:
        raise ValueError(f"{name}: a range has low, high and log, got {wrong[0]}")
    if missing := [end for end in ENDS[:2] if end not in given]:
        raise ValueError(f"{name}: a range needs low and high, {missing[0]} is missing")
    kind = float if float in kinds else int
    low, high = (_number(name, end, given[end], option, kind) for end in ENDS[:2])
    try:
        is_log = bool(coerce(given.get("log", False), bool))
    except ValueError as error:
        raise ValueError(f"{name}: log must be true or false, got {given['log']!r}") from error
    if low > high:
        raise ValueError(f"{name}: low must be at most high ({high:g}), got {low:g}")
    if is_log and low <= 0:
        raise ValueError(f"{name}: log needs a low above 0, got {low:g}")
    return Between(low, high, is_log, kind is int)


def _number(name: str, end: str, given: Any, option: Option, kind: type) -> float:
    try:
        number: float = coerce(given, kind)
    except (ValueError, OverflowError) as error:
        noun = "a number" if kind is float else "an int"
        raise ValueError(f"{name}: {end} must be {noun}, got {given!r}") from error
    allowed = range_in(option.kind)
    if number != number or (allowed is not None and not allowed.holds(number)):
        told = "a number" if allowed is None else allowed.broken_by(number)
        raise ValueError(f"{name}: {end} must be {told}, got {given}")
    return number


def _value(name: str, given: Any, option: Option) -> Any:
    """Return one of the values to choose from as JSON holds it."""
    try:
        value = coerce(given, option.kind)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: each value must be {option.noun}, got {given!r}") from error
    allowed = range_in(option.kind)
    for number in value if isinstance(value, tuple) else [value]:
        if allowed is not None and number is not None and not allowed.holds(number):
            raise ValueError(f"{name}: each value must be {allowed.broken_by(number)}, got {number}")
    return json.loads(json.dumps(value))


def _plain_kinds(kind: Any) -> Iterator[Any]:
    """Yield the plain types that an option's may be."""
    if get_origin(kind) is Annotated:
        yield from _plain_kinds(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _plain_kinds(one)
    else:
        yield kind


def as_json(space: Space) -> dict[str, Any]:
    """Return the space as JSON holds it and `from_json` reads it."""
    return {
        name: list(one.values) if isinstance(one, OneOf) else one._asdict() for name, one in space.items()
    }


def from_json(found: Mapping[str, Any]) -> Space:
    """Return the space of `as_json`."""
    return {name: OneOf(one) if isinstance(one, list) else Between(**one) for name, one in found.items()}
