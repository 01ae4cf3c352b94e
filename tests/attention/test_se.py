"""Squeeze-and-excitation: closed forms, counts of papers, and a peer's numbers."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import SEModule
from torch import Tensor

from spl.attention import attention_maps
from spl.attention.se import SE

CASES = json.loads((Path(__file__).parents[1] / "data" / "cam_se.json").read_text())["cases"]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_equals_the_closed_form(case: dict[str, Any]) -> None:
    layer = SE(4, reduction=2, bias="b1" in case).double()
    with torch.no_grad():
        layer.reduce.weight.copy_(double(case["W1"]))
        layer.expand.weight.copy_(double(case["W2"]))
        if "b1" in case:
            layer.reduce.bias.copy_(double(case["b1"]))
            layer.expand.bias.copy_(double(case["b2"]))
    with attention_maps(layer) as maps:
        out = layer(double(case["x"])[None])
    torch.testing.assert_close(maps[""], double(case["M_c"])[None, :, None, None], atol=1e-9, rtol=0)
    torch.testing.assert_close(out, double(case["out"])[None], atol=1e-9, rtol=0)


def test_by_hand() -> None:
    layer = SE(2, reduction=2)
    with torch.no_grad():
        layer.reduce.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.expand.weight.copy_(torch.tensor([[math.log(2.0)], [0.0]]))
    x = torch.tensor([[[[1.0, 3.0]], [[-1.0, 0.0]]]])  # means 2 and -1/2, hidden relu(2 - 1) = 1
    expected = torch.tensor([[[[2.0, 6.0]], [[-1.5, 0.0]]]]) / 3  # gates 2/3 and 1/2
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(2, 64, 7, 5), (3, 32, 1, 1)])
def test_equals_timm(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    ours = SE(shape[1], bias=bias)
    theirs = SEModule(shape[1], rd_ratio=1 / 16, rd_divisor=1, bias=bias)
    names = {"fc1.weight": "reduce.weight", "fc2.weight": "expand.weight"}
    names |= {"fc1.bias": "reduce.bias", "fc2.bias": "expand.bias"}
    state = theirs.state_dict()
    ours.load_state_dict(
        {names[name]: value.flatten(1) if value.ndim > 1 else value for name, value in state.items()}
    )
    x = torch.randn(shape, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    torch.testing.assert_close(ours(x), theirs(y), atol=1e-6, rtol=0)
    ours(x).square().sum().backward()
    theirs(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=1e-5)


def test_counts_of_the_papers() -> None:
    def count(*args: int, **options: Any) -> int:
        return sum(parameter.numel() for parameter in SE(*args, **options).parameters())

    for channels in (64, 128, 256, 512, 2048):
        assert count(channels) == 2 * channels**2 // 16
        assert count(channels, bias=True) == 2 * channels**2 // 16 + channels + channels // 16
    assert count(64, reduction=8) == 1_024
    assert sum(2 * count(channels) for channels in (64, 128, 256, 512)) == 87_040  # ResNet-18, 8 blocks


def test_the_default_fits_every_width_and_a_given_reduction_must() -> None:
    assert SE(4).reduce.out_features == SE(16).reduce.out_features == SE(24).reduce.out_features == 1
    assert SE(40).reduce.out_features == 2
    for channels, reduction in ((24, 16), (8, 16), (8, 0), (8, -2)):
        with pytest.raises(
            ValueError, match=rf"reduction must divide channels \({channels}\), got {reduction}"
        ):
            SE(channels, reduction=reduction)
