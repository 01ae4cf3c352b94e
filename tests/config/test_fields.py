"""Options built in Python: taken for what they say, or refused in one sentence."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import spl
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.parse import dump, from_dict
from spl.config.ranges import Count, Share


@dataclass(frozen=True, kw_only=True)
class Inner:
    kind: Literal["fast", "slow"] = "fast"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: Count = 1
    share: Share = 0.5
    is_on: bool = True
    sizes: tuple[int, int] | None = None
    rates: tuple[float, ...] = ()
    place: PathName = "runs"
    name: str = ""
    free: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("count", np.int64(3), 3),
        ("count", 3.0, 3),
        ("share", torch.tensor(0.25), 0.25),
        ("share", 1, 1.0),
        ("is_on", np.bool_(False), False),
        ("is_on", "false", False),
        ("sizes", [36, np.int32(48)], (36, 48)),
        ("rates", [1, 2.5], (1.0, 2.5)),
        ("place", Path("some/where"), str(Path("some/where"))),
        ("name", torch.device("cuda:1"), "cuda:1"),
        ("free", {"a": [1, "off"]}, {"a": [1, "off"]}),
    ],
)
def test_what_says_the_same_is_taken(name: str, value: Any, taken: Any) -> None:
    config = Outer(**{name: value})
    found = getattr(config, name)
    assert found == taken
    assert type(found) is type(taken)
    assert from_dict(Outer, {name: value if name == "free" else taken}) == config
    assert dump(config)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": True}, "count must be an int of at least 1, got True"),
        ({"count": 2.5}, "count must be an int of at least 1, got 2.5"),
        ({"is_on": 2}, "is_on must be true or false, got 2"),
        ({"sizes": (8, 8, 3)}, "sizes must be a list of 2, each an int or null, got (8, 8, 3)"),
        ({"place": " "}, "place must be a path, got ' '; write . for the current folder"),
        ({"free": 3}, "free must be a mapping, got 3"),
        ({"inner": {"kind": "slow"}}, "inner must be a Inner, got {'kind': 'slow'}"),
        ({"inner": "slow"}, "inner must be a Inner, got 'slow'"),
        ({"count": "many", "share": None}, "count must be an int of at least 1, got 'many'; share must be"),
        ({"share": 2.0}, "share must be in [0, 1], got 2.0"),
    ],
)
def test_what_says_something_else_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the sentence is compared
        Outer(**values)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: spl.DqnConfig(thirds=True), "thirds must be one of 'auto', 'none', 'asymmetric', got True"),
        (lambda: spl.DqnConfig(double="no way"), "double must be true or false, got 'no way'"),
        (lambda: spl.EncoderConfig(attention="cms"), "attention must be one of"),
        (lambda: spl.CurriculumConfig(name="Anti"), "name must be one of"),
        (lambda: spl.EvaluateAgentConfig(conditions="every"), "conditions must be one of"),
        (lambda: spl.TrainAgentConfig(env="spl/Beacon-v0"), "env must be a EnvConfig, got 'spl/Beacon-v0'"),
        (lambda: spl.TrainAgentConfig(agent={"n_step": 3}), "agent must be a DqnConfig, got {'n_step': 3}"),
    ],
)
def test_public_configurations_check_themselves(make: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        make()
    assert sentence in str(caught.value)
