"""Efficient channel attention: its kernel's size, closed forms, and a peer's numbers."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import EcaModule
from torch import Tensor

from spl.attention import attention_maps
from spl.attention.eca import ECA, eca_kernel

CASE = json.loads((Path(__file__).parents[1] / "data" / "eca.json").read_text())


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_kernel_of_every_width() -> None:
    expected = {int(channels): k for channels, k in CASE["k_of_C"].items()}
    assert {channels: eca_kernel(channels) for channels in expected} == expected
    assert [eca_kernel(channels) for channels in (1, 7, 8, 127, 128, 2047, 2048)] == [1, 1, 3, 3, 5, 5, 7]


@pytest.mark.parametrize("name", ["forward", "delta_kernel"])
def test_equals_the_closed_form(name: str) -> None:
    case = CASE[name]
    layer = ECA(6, kernel_size=3).double()
    with torch.no_grad():
        layer.conv.weight.copy_(double(case["w"]))
    x = double(case["x"])[None]
    with attention_maps(layer) as maps:
        out = layer(x)
    torch.testing.assert_close(maps[""].flatten(), double(case["attention"]), atol=1e-9, rtol=0)
    torch.testing.assert_close(out, x * maps[""], atol=0, rtol=0)
    if "out" in case:
        torch.testing.assert_close(out, double(case["out"])[None], atol=1e-9, rtol=0)


def test_zeros_lie_beyond_the_ends() -> None:
    layer = ECA(3, kernel_size=3)
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, 0.0, 0.0]))  # each channel sees the one before it
    x = torch.tensor([math.log(3.0), -1.0, 7.0])[None, :, None, None]
    expected = torch.tensor([0.5, 0.75, 1 / (1 + math.e)])  # of 0, log 3 and -1
    torch.testing.assert_close(layer(x).flatten(), x.flatten() * expected)


@pytest.mark.parametrize("shape", [(2, 64, 7, 5), (3, 256, 1, 1), (2, 16, 4, 4)])
def test_equals_timm(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ours, theirs = ECA(shape[1]), EcaModule(shape[1])
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    torch.testing.assert_close(ours(x), theirs(y), atol=1e-6, rtol=0)
    ours(x).square().sum().backward()
    theirs(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=1e-5)


def test_counts_and_impossible_kernels() -> None:
    for channels, k in ((64, 3), (256, 5), (2048, 7)):
        assert [parameter.numel() for parameter in ECA(channels).parameters()] == [k]
    assert ECA(64, kernel_size=9).conv.weight.numel() == 9
    for k in (4, 0, -1):
        with pytest.raises(ValueError, match=f"kernel_size must be odd to give each channel a gate, got {k}"):
            ECA(64, kernel_size=k)
