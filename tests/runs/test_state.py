"""Whether a state fits a program: keys, kinds and shapes, each named."""

from typing import Any

import numpy as np
import pytest
import torch

from spl.runs.state import check_fits

EXPECTED = {
    "network": {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)},
    "optimizer": {"state": {}, "param_groups": [1]},
    "count": 3,
    "name": "PCG64",
    "key": np.zeros(4),
    "nothing": None,
}
NETWORK = EXPECTED["network"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": {"state": {0: {"step": 1}}, "param_groups": []}},
        {"count": 9, "name": "x", "nothing": 5, "later": 1},
    ],
)
def test_what_differs_from_run_to_run_fits(changes: dict[str, Any]) -> None:
    check_fits({**EXPECTED, **changes}, EXPECTED)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": {**NETWORK, "weight": torch.zeros(9)}}, r"network/weight must .* \(2, 3\), got \(9,\)"),
        ({"network": {"weight": NETWORK["weight"]}}, "network/bias is missing"),
        ({"network": {**NETWORK, "value": torch.zeros(1)}}, "network/value is not expected"),
        ({"network": {**NETWORK, "bias": [0, 0]}}, "network/bias must be of type Tensor, got list"),
        ({"network": [1]}, "network must be of type dict, got list"),
        ({"optimizer": {"state": {}}}, "optimizer/param_groups is missing"),
        ({"count": "3"}, "count must be of type int, got str"),
        ({"name": 3}, "name must be of type str, got int"),
        ({"key": 3}, "key must be of type ndarray, got int"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_both_sides(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^state/{sentence}: it is of another network, environment or"):
        check_fits({**EXPECTED, **changes}, EXPECTED)


def test_a_buffer_that_earlier_versions_did_not_save_may_be_missing() -> None:
    network = {"norm.blank": torch.ones(()), "norm.mean": torch.ones(2)}
    check_fits({"norm.mean": torch.zeros(2)}, network)
    with pytest.raises(ValueError, match=r"^state/norm.mean is missing"):
        check_fits({"norm.blank": torch.zeros(())}, network)
    with pytest.raises(ValueError, match=r"^state/norm.blank must have shape \(\), got \(1,\)"):
        check_fits({**network, "norm.blank": torch.zeros(1)}, network)
