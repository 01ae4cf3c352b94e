"""The range of a number, stated with its type where it is declared: ``num_steps: Count = 8_000``.

A dataclass checks its own with `spl.config.fields.check_fields`; ``--help`` shows them.
"""

import functools
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

MOST, LARGEST = 10**12, 1e9  # far beyond what a run can use: past these a number is a slip


class Range(NamedTuple):
    """The numbers from ``low`` to ``high``; NaN is never one of them."""

    low: float
    high: float
    ends: str = "[]"  # with ( or ) the end itself is left out

    def holds(self, value: float) -> bool:
        """Return whether ``value`` is one of the numbers."""
        is_above = self.low < value or (self.ends[0] == "[" and self.low == value)
        return is_above and (value < self.high or (self.ends[1] == "]" and self.high == value))

    def broken_by(self, value: float) -> str:
        """Return what a value that is none of the numbers must be: at an end that is far, only that end."""
        if self.high not in (MOST, LARGEST):
            return str(self)
        if value > self.high:
            return f"at most {self.high:,}" if isinstance(self.high, int) else f"at most {self.high:g}"
        if self.ends[0] == "(":
            return "positive" if self.low == 0 else f"above {self.low:g}"
        return f"at least {self.low:g}"

    def shown(self) -> str:
        """Return the range behind the noun of its numbers, an end that is far left out, or both."""
        if self.low == -self.high:
            return ""
        if self.high not in (MOST, LARGEST):
            return str(self)
        return f"above {self.low:g}" if self.ends[0] == "(" else f"of at least {self.low:g}"

    def __str__(self) -> str:
        if isinstance(self.low, int):
            return f"in {self.low}..{self.high}"
        return f"in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


Count = Annotated[int, Range(1, MOST)]
Count0 = Annotated[int, Range(0, MOST)]  # 0: none
Workers = Annotated[int, Range(0, 1024)]  # processes; 0: none of their own
Threads = Annotated[int, Range(1, 1024)]  # more than the cores only wait for each other; many more crash
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what torch, numpy, gymnasium and games all take
Share = Annotated[float, Range(0.0, 1.0)]
ShareBelow1 = Annotated[float, Range(0.0, 1.0, "[)")]
ShareAbove0 = Annotated[float, Range(0.0, 1.0, "(]")]
ShareInside = Annotated[float, Range(0.0, 1.0, "()")]
AtLeast1 = Annotated[float, Range(1.0, LARGEST)]
Positive = Annotated[float, Range(0.0, LARGEST, "(]")]
Finite = Annotated[float, Range(-1e12, 1e12)]
NotNegative = Annotated[float, Range(0.0, LARGEST)]
Timeout = Annotated[float, Range(0.0, 86_400.0, "(]")]  # seconds: the system waits no longer than days
SampleRate = Annotated[int, Range(1_000, 768_000)]
Side = Annotated[int, Range(1, 4_096)]  # pixels
Pixels0 = Annotated[int, Range(0, 1024)]
Quantiles = Annotated[int, Range(2, 1024)]
Scale = Annotated[int, Range(1, 32)]


def check_ranges(config: Any) -> None:
    """Raise ``ValueError``, naming all, if numbers of a dataclass, or of a tuple in it, are out of range."""
    config_class: Any = type(config)
    problems = []
    for name, allowed in ranges_of(config_class).items():
        value = getattr(config, name)
        every = value if isinstance(value, tuple) else (value,)
        broken = next((one for one in every if one is not None and not allowed.holds(one)), None)
        if broken is not None:
            what = "all be" if isinstance(value, tuple) else "be"
            problems.append(f"{name} must {what} {allowed.broken_by(broken)}, got {told(broken)}")
    if problems:
        raise ValueError("; ".join(problems))


def told(number: float) -> str:
    """Return a number in a sentence, an int of many digits shortened."""
    is_long = isinstance(number, int) and abs(number) >= 10**40
    return f"an int of {len(str(abs(number)))} digits" if is_long else str(number)


@functools.cache
def ranges_of(config_class: Any) -> dict[str, Range]:
    """Return the range of each field of a dataclass that states one."""
    kinds = get_type_hints(config_class, include_extras=True)
    return {name: found for name, kind in kinds.items() if (found := range_in(kind)) is not None}


def range_in(kind: Any) -> Range | None:
    """Return the range that a type states for its numbers, if it does."""
    return next(_ranges_in(kind), None)


def _ranges_in(kind: Any) -> Iterator[Range]:
    if get_origin(kind) is Annotated:
        yield from (one for one in kind.__metadata__ if isinstance(one, Range))
    else:
        for arg in get_args(kind):
            yield from _ranges_in(arg)
