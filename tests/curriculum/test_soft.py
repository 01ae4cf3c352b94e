"""The closed forms against the first that is left out, by hand, and where they say nothing."""

import math

import numpy as np
import pytest

from spl.curriculum.soft import below

OF_ONE = np.zeros(3, np.int64)


def weigh(scheme, losses, limits, groups=OF_ONE, **options):
    values = (np.array(values, np.float32) for values in (losses, limits))
    return below(scheme, *values, groups, options).tolist()


@pytest.mark.parametrize(
    ("scheme", "options", "expected"),
    [
        ("hard", {}, [1.0, 1.0, 1.0]),
        ("linear", {}, [1.0, 0.75, 0.25]),  # 1 - L / 4
        ("polynomial", {"power": 3.0}, [1.0, math.sqrt(0.75), 0.5]),
        ("mixture", {"inner": 0.5}, [1.0, 1.0, 1 / 3]),  # 4 / L - 1 above 2
        # in units of 8 the pace is 1/2: log(L / 8 + 1/2) / log(1/2)
        ("logarithmic", {}, [1.0, -math.log2(0.625), -math.log2(0.875)]),
    ],
)
def test_by_hand(scheme, options, expected):
    assert weigh(scheme, [0.0, 1.0, 3.0], [4.0] * 3, **options) == pytest.approx(expected, rel=1e-5)


def test_the_unit_of_the_losses_does_not_matter():
    for scheme, options in (("linear", {}), ("logarithmic", {}), ("mixture", {"inner": 0.3})):
        small = weigh(scheme, [1e-5, 2e-5, 3e-5], [4e-5] * 3, **options)
        large = weigh(scheme, [10.0, 20.0, 30.0], [40.0] * 3, **options)
        assert small == pytest.approx(large, rel=1e-4)


@pytest.mark.parametrize(
    ("scheme", "options"), [("linear", {}), ("mixture", {"inner": 0.5}), ("logarithmic", {})]
)
def test_where_nothing_is_left_out_or_known_a_sample_counts_fully(scheme, options):
    assert weigh(scheme, [1.0, math.nan, 3.0], [math.inf, 4.0, 4.0], **options)[:2] == [1.0, 1.0]
    assert (
        below(scheme, np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), options).size
        == 0
    )


def test_a_group_as_hard_as_its_limit_counts_fully_and_another_does_not():
    groups = np.array([0, 0, 1, 1])
    assert weigh("linear", [2.0, 2.0, 1.0, 2.0], [2.0] * 4, groups) == [1.0, 1.0, 0.5, 0.0]
