"""Every number of every command has a stated range, and what lies outside is one sentence."""

import importlib
import math
import pkgutil
import re
import sys
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin

import gymnasium
import numpy as np
import pytest
import torch

import spl
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import options_of
from spl.config.parse import from_dict, parse
from spl.config.ranges import Count, Positive, Range, Seed, Share, range_in, ranges_of

# Networks, and bases: no command has them alone
NO_OPTIONS = {"ResNetSpec", "LightSpec", "GridOptions", "EpochOptions"}


def config_classes() -> list[Any]:
    """Return every dataclass of options: those whose fields are given by name and never change."""
    names = [module.name for module in pkgutil.walk_packages(spl.__path__, "spl.")]
    modules = [importlib.import_module(name) for name in names if name != "spl.__main__"]
    found = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    options = [one for one in found if is_dataclass(one) and all(field.kw_only for field in fields(one))]
    return sorted((one for one in options if one.__name__ not in NO_OPTIONS), key=repr)


def is_numeric(kind: Any) -> bool:
    """Whether a type holds an int or a float: itself, in a tuple or beside None."""
    if get_origin(kind) in (Literal, dict):
        return False
    return kind in (int, float) or any(is_numeric(arg) for arg in get_args(kind))


def numbers_of(config_class: Any) -> dict[str, Any]:
    """Return the type of each option that is a number; those of a section are the section's own."""
    return {
        name: one.kind for name, one in options_of(config_class) if "." not in name and is_numeric(one.kind)
    }


def just_past(bound: float, towards: float) -> float:
    """Return the next number past a bound that is not subnormal: a library may have set those to be zero."""
    found = math.nextafter(bound, towards)
    return math.copysign(max(abs(found), sys.float_info.min), found)


def outside(allowed: Range) -> list[str]:
    """Return texts of numbers that lie outside: far, just, and no numbers at all."""
    if isinstance(allowed.low, int):
        just = [str(allowed.low - 1), str(int(allowed.high) + 1)]
        return [*just, "-1000", "9" * 20, "9" * 400, "nan", "inf", "-inf", "1.5"]
    low = allowed.low if allowed.ends[0] == "(" else just_past(allowed.low, -math.inf)
    high = allowed.high if allowed.ends[1] == ")" else just_past(allowed.high, math.inf)
    return [repr(low), repr(high), "nan", "inf", "-inf", ".nan", "1e400", "9" * 400]


def test_every_number_of_every_command_states_its_range_and_refuses_what_is_outside() -> None:
    num_numbers = 0
    for config_class in config_classes():
        needed = ["--space=space.yaml"] if hasattr(config_class, "num_trials") else []
        for name, kind in numbers_of(config_class).items():
            allowed = range_in(kind)
            assert allowed is not None, f"{config_class} states no range for {name}"
            num_numbers += 1
            for text in outside(allowed):
                with pytest.raises(UsageError) as raised:
                    parse(config_class, [f"--{name}={text}", *needed], prog="spl")
                (line,) = [one for one in str(raised.value).split("\n") if "must be given" not in one]
                assert re.search(rf"{name.rpartition('.')[2]}\b.* must .*, got ", line), (name, text, line)
                assert len(line) < 400
    assert num_numbers > 150


@pytest.mark.parametrize("zero", ["-0.0", "-0", "-0e9"])
def test_a_zero_has_no_sign(zero: str) -> None:
    found = parse(_Config, [f"--free={zero}", f"--shares=[{zero}, 1]"], prog="spl")
    assert repr((found.free, found.shares)) == "(0, (0.0, 1.0))"
    with pytest.raises(UsageError, match=r"rate must be positive, got 0\.0"):
        parse(_Config, [f"--rate={zero}"], prog="spl")


def test_a_number_just_past_a_bound_is_outside_where_subnormal_numbers_are_zero() -> None:
    torch.set_flush_denormal(True)
    try:
        for bound in (0.0, 1.0, -1.0, 1e9):
            assert just_past(bound, -math.inf) < bound < just_past(bound, math.inf)
    finally:
        torch.set_flush_denormal(False)


def test_a_default_lies_in_its_range() -> None:
    for config_class in config_classes():
        for name, option in options_of(config_class):
            allowed, default = range_in(option.kind), option.default
            for one in default if isinstance(default, tuple) else (default,):
                if allowed is not None and isinstance(one, int | float):
                    assert allowed.holds(one), (config_class, name, one)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "told"),
    [
        (Range(1, 32), [1, 32], [0, 33, 10**30], "in 1..32"),
        (Range(0.0, 1.0), [0.0, 1.0, 0.5], [-1e-9, 1.0000001, math.nan, math.inf, -math.inf], "in [0, 1]"),
        (Range(0.0, 1.0, "()"), [1e-300, 0.999], [0.0, 1.0, math.nan], "in (0, 1)"),
        (Range(-1.0, 1.0, "(]"), [1.0, -0.999], [-1.0, 1.1], "in (-1, 1]"),
    ],
)
def test_ranges_by_hand(allowed: Range, inside: list[float], outside: list[float], told: str) -> None:
    assert all(allowed.holds(value) for value in inside)
    assert not any(allowed.holds(value) for value in outside)
    assert str(allowed) == allowed.broken_by(outside[0]) == told


@dataclass(frozen=True, kw_only=True)
class _Config:
    count: Count = 1  # things
    rate: Positive | None = None  # of them
    shares: tuple[Share, ...] = ()  # of it
    free: int = -5

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"count": 10**12 + 1}, "count must be at most 1,000,000,000,000, got 1000000000001"),
        ({"count": 10**400}, "count must be at most 1,000,000,000,000, got an int of 401 digits"),
        ({"rate": 0.0}, "rate must be positive, got 0.0"),
        ({"rate": math.nan}, "rate must be positive, got nan"),
        ({"rate": math.inf}, "rate must be at most 1e+09, got inf"),
        ({"shares": (0.5, 2.0)}, "shares must all be in [0, 1], got 2.0"),
        ({"count": 0, "rate": 0.0}, "count must be at least 1, got 0; rate must be positive, got 0.0"),
    ],
)
def test_a_sentence_names_what_it_may_be_and_what_came(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"must") as raised:
        _Config(**values)
    assert str(raised.value) == sentence
    with pytest.raises(UsageError) as told:
        from_dict(_Config, values)
    assert str(told.value) == sentence


def test_the_range_is_shown_by_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(_Config, ["--help"], prog="spl")
    told = capsys.readouterr().out
    assert "things -- an int of at least 1" in told
    assert "of them -- a number above 0 or null" in told
    assert "of it -- a list, each a number in [0, 1]" in told
    assert list(ranges_of(_Config)) == ["count", "rate", "shares"]


def test_a_seed_is_taken_by_all_that_is_seeded() -> None:
    for seed in range_in(Seed)[:2]:
        torch.manual_seed(seed)
        torch.Generator().manual_seed(seed)
        np.random.default_rng(seed)
        np.random.RandomState(seed)
        gymnasium.make("CartPole-v1").reset(seed=seed)
