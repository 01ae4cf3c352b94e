"""CBAM: closed forms of both gates, counts of papers, and a peer's numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from spl.attention import attention_maps
from spl.attention.cbam import CBAM, PooledSpatialAttention

DATA = Path(__file__).parents[1] / "data"
CASE = json.loads((DATA / "cbam.json").read_text())
POOLED_CASES = json.loads((DATA / "sam_pooled.json").read_text())["cases"]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(one: Tensor, two: Tensor) -> bool:
    return bool((one - two).abs().max() < 1e-9)


@pytest.mark.parametrize("name", ["no_bias", "bias"])
def test_equals_the_closed_form(name: str) -> None:
    case = CASE[name]
    layer = CBAM(4, reduction=2, bias=name == "bias").double()
    with torch.no_grad():
        layer.channel.reduce.weight.copy_(double(CASE["W1"]))
        layer.channel.expand.weight.copy_(double(CASE["W2"]))
        layer.spatial.conv.weight.copy_(double(CASE["w"])[None])
        if name == "bias":  # counted twice: once with the means, once with the maxima
            layer.channel.reduce.bias.copy_(double(case["b1"]))
            layer.channel.expand.bias.copy_(double(case["b2"]))
    x = double(CASE["x"])[None]
    with attention_maps(layer) as maps:
        out = layer(x)
    assert close(maps["channel"], double(case["M_c"])[None, :, None, None])
    assert close(maps["spatial"], double(case["M_s"])[None, None])
    assert close(out, double(case["out"])[None])


@pytest.mark.parametrize("case", POOLED_CASES, ids=[case["name"] for case in POOLED_CASES])
def test_spatial_gate_equals_the_closed_form(case: dict[str, Any]) -> None:
    x, weight = double(case["x"])[None], double(case["w"])[None]
    layer = PooledSpatialAttention(kernel_size=weight.shape[-1]).double()

    def gates_of(weight: Tensor) -> Tensor:
        with torch.no_grad():
            layer.conv.weight.copy_(weight)
        with attention_maps(layer) as maps:
            layer(x)
        return maps[""]

    if "M_s_if_max_first" in case:  # the mean is the first of the two pooled channels
        assert close(gates_of(weight.flip(1)), double(case["M_s_if_max_first"])[None, None])
    gates = gates_of(weight)
    if "M_s" in case:
        assert close(gates, double(case["M_s"])[None, None])
    assert close(layer(x), double(case["out"])[None])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_timm(training: bool, bias: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = CBAM(64, bias=bias, batch_norm=True), CbamModule(64, mlp_bias=bias)
    nn.init.normal_(theirs.spatial.conv.bn.weight)
    nn.init.normal_(theirs.spatial.conv.bn.running_mean)
    state = {}
    for name, value in theirs.state_dict().items():
        for their_name, our_name in (
            ("fc1", "reduce"),
            ("fc2", "expand"),
            ("conv.bn", "norm"),
            ("conv.conv", "conv"),
        ):
            name = name.replace(their_name, our_name)
        state[name] = value.flatten(1) if name.startswith("channel") and value.ndim > 1 else value
    ours.load_state_dict(state)
    ours.train(training)
    theirs.train(training)
    x = torch.randn(3, 64, 9, 8, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    one, two = ours(x), theirs(y)
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)
    one.square().sum().backward()
    two.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-4, rtol=1e-4)


def test_without_a_gradient_the_values_are_the_same() -> None:
    x, layer = torch.randn(2, 64, 7, 5), CBAM(64)
    with torch.no_grad():
        expected = layer(x)
    assert torch.equal(layer(x.requires_grad_()), expected)


def test_the_gradient_of_equal_maxima_goes_to_one_of_them() -> None:
    x = torch.zeros(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    layer = PooledSpatialAttention(kernel_size=1).double()
    nn.init.ones_(layer.conv.weight)
    layer.map.register_forward_hook(lambda module, inputs, out: out.sum().backward())
    layer(x)
    # a quarter, the sigmoid's slope, of what reaches a channel by the mean (1/4) and by the maximum (1)
    assert close(x.grad[0, :, 0, 0].sort().values, double([1 / 16, 1 / 16, 1 / 16, 5 / 16]))


def test_counts_of_the_papers() -> None:
    def count(*args: int, **options: Any) -> int:
        return sum(parameter.numel() for parameter in CBAM(*args, **options).parameters())

    for channels in (16, 64, 512, 2048):
        weights = 2 * channels**2 // 16
        assert count(channels) == weights + 98
        assert count(channels, batch_norm=True) == weights + 98 + 2
        assert count(channels, bias=True) == weights + 98 + channels + channels // 16
    assert count(64, reduction=8, kernel_size=3) == 1_024 + 18
    assert sum(2 * count(channels) for channels in (64, 128, 256, 512)) == 87_040 + 784  # ResNet-18


def test_the_channel_gates_alone_leave_positions_alone() -> None:
    torch.manual_seed(0)
    whole, part, x = CBAM(16), CBAM(16, spatial="none"), torch.randn(2, 16, 5, 4)
    part.channel.load_state_dict(whole.channel.state_dict())
    assert torch.equal(part(x), whole.channel(x))
    with attention_maps(part) as maps:
        part(x)
    assert list(maps) == ["channel"]


def test_adaptive_gates_by_hand() -> None:
    # Two channels, two positions: means 2 and -1, maxima 3 and 1. Mixed by alpha 0.5 and beta 1:
    # 2 + 1.5 * 3 = 6.5, and -1 + 1.5 = 0.5. The perceptron: relu(6.5 - 2 * 0.5) = 5.5, times 0.2 and -0.4.
    layer = CBAM(2, reduction=2, spatial="none", is_adaptive=True).double()
    assert (layer.channel.alpha.item(), layer.channel.beta.item()) == (0.5, 0.5)
    with torch.no_grad():
        layer.channel.reduce.weight.copy_(double([[1.0, -2.0]]))
        layer.channel.expand.weight.copy_(double([[0.2], [-0.4]]))
        layer.channel.beta.fill_(1.0)
    x = double([[3.0, 1.0], [-3.0, 1.0]]).reshape(1, 2, 1, 2)
    with attention_maps(layer) as maps:
        layer(x).sum().backward()
    assert close(maps["channel"].flatten(), torch.sigmoid(double([1.1, -2.2])))
    assert layer.channel.alpha.grad.abs() > 0
    assert layer.channel.beta.grad.abs() > 0


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="spatial must be 'pooled' or 'none', got 'groups'"):
        CBAM(64, spatial="groups")
    for options in ({"kernel_size": 3}, {"batch_norm": True}):
        with pytest.raises(ValueError, match="kernel_size and batch_norm are of the spatial part"):
            CBAM(64, spatial="none", **options)
    for k in (4, 0, -1):
        with pytest.raises(ValueError, match=f"kernel_size must be odd to keep the picture's size, got {k}"):
            CBAM(64, kernel_size=k)
    with pytest.raises(ValueError, match=r"reduction must divide channels \(24\), got 16"):
        CBAM(24, reduction=16)
