"""Channel and spatial attention: closed forms in float64, the softmax's axis, and the memory it needs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from spl.attention.csm import CSM, ChannelAttention, PooledSpatialAttention, PositionAttention

DATA = Path(__file__).parent / "data"
CHANNEL_CASES = json.loads((DATA / "cam_se.json").read_text())["cases"]
POOLED_CASES = json.loads((DATA / "sam_pooled.json").read_text())["cases"]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(one: Tensor, two: Tensor) -> bool:
    return bool((one - two).abs().max() < 1e-9)


def random_picture(channels: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, channels, 5, 3, dtype=dtype, generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def channel_attention(case: dict[str, Any]) -> ChannelAttention:
    layer = ChannelAttention(4, reduction=2, bias="b1" in case).double()
    with torch.no_grad():
        layer.reduce.weight.copy_(double(case["W1"]))
        layer.expand.weight.copy_(double(case["W2"]))
        if "b1" in case:
            layer.reduce.bias.copy_(double(case["b1"]))
            layer.expand.bias.copy_(double(case["b2"]))
    return layer


@pytest.mark.parametrize("case", CHANNEL_CASES, ids=[case["name"] for case in CHANNEL_CASES])
def test_channel_attention_by_hand(case: dict[str, Any]) -> None:
    x = double(case["x"])[None]
    layer = channel_attention(case)
    assert close(layer.attention(x), double(case["M_c"])[None, :, None, None])
    assert close(layer(x), double(case["out"])[None])


@pytest.mark.parametrize("case", POOLED_CASES, ids=[case["name"] for case in POOLED_CASES])
def test_pooled_spatial_attention_by_hand(case: dict[str, Any]) -> None:
    x, weight = double(case["x"])[None], double(case["w"])[None]
    layer = PooledSpatialAttention(kernel_size=weight.shape[-1]).double()
    with torch.no_grad():
        layer.conv.weight.copy_(weight)
    assert close(layer(x), double(case["out"])[None])
    if "M_s" in case:
        assert close(layer.attention(x), double(case["M_s"])[None, None])
    if "M_s_if_max_first" in case:  # the mean is the first of the two pooled channels
        with torch.no_grad():
            layer.conv.weight.copy_(weight.flip(1))
        assert close(layer.attention(x), double(case["M_s_if_max_first"])[None, None])


def test_position_attention_equals_the_softmax_over_the_first_index() -> None:
    torch.manual_seed(0)
    x = random_picture()
    layer = PositionAttention(16).double()
    keys, queries, values = (conv(x).flatten(2) for conv in (layer.key, layer.query, layer.value))
    scores = torch.einsum("bci,bcj->bij", keys, queries)

    def gathered(attention: Tensor) -> Tensor:
        return torch.einsum("bij,bci->bcj", attention, values).reshape(x.shape)

    exponentials = scores.exp()
    naive = exponentials / exponentials.sum(dim=1, keepdim=True)
    assert close(layer.attention(x), naive)
    assert close(layer.attention(x).sum(dim=1), torch.ones(2, 15, dtype=torch.float64))
    assert close(layer(x), gathered(naive))
    assert not torch.allclose(layer(x), gathered(torch.softmax(scores, dim=2)), atol=1e-2)


def test_position_attention_by_hand() -> None:
    layer = PositionAttention(1).double()
    with torch.no_grad():
        for conv, weight in ((layer.key, 1.0), (layer.query, 1.0), (layer.value, 10.0)):
            conv.weight.fill_(weight)
            conv.bias.zero_()
    x = torch.tensor([0.0, 2.0], dtype=torch.float64).log1p().reshape(1, 1, 1, 2)  # 0 and log 3
    log3 = x[0, 0, 0, 1].item()
    # j = 0: scores 0, 0 -> half of each value; j = 1: scores 0, log(3)^2
    share = 3.0**log3 / (1.0 + 3.0**log3)
    assert close(layer(x).flatten(), double([5.0 * log3, 10.0 * log3 * share]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_position_attention_never_falls_back_to_quadratic_memory(
    dtype: torch.dtype, needs_gradient: bool, layout: torch.memory_format
) -> None:
    x = random_picture(dtype=dtype).contiguous(memory_format=layout)
    layer = PositionAttention(16).to(dtype)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]), torch.set_grad_enabled(needs_gradient):
        assert layer(x).shape == x.shape  # raises where the kernel cannot take it


def test_residual_starts_as_channel_attention_alone() -> None:
    x = random_picture(64)
    csm = CSM(64, residual=True).double()
    assert torch.equal(csm(x), csm.channel(x))
    with torch.no_grad():
        csm.spatial.gamma.fill_(0.5)
        csm.spatial.value.weight.zero_()
        csm.spatial.value.bias.fill_(2.0)  # every gathered value is 2
    assert close(csm(x), csm.channel(x) + 1.0)


@pytest.mark.parametrize(
    "options", [{}, {"residual": True}, {"spatial": "pooled"}], ids=["position", "residual", "pooled"]
)
def test_channels_come_before_positions_and_the_shape_stays(options: dict[str, Any]) -> None:
    torch.manual_seed(2)
    x = random_picture(64)
    csm = CSM(64, **options).double()
    if csm.spatial.__class__ is PositionAttention and csm.spatial.gamma is not None:
        nn.init.ones_(csm.spatial.gamma)
    assert csm(x).shape == x.shape
    assert torch.equal(csm(x), csm.spatial(csm.channel(x)))
    assert not torch.allclose(csm(x), csm.channel(csm.spatial(x)))


@pytest.mark.parametrize("spatial", ["position", "pooled"])
def test_gradient_reaches_every_parameter(spatial: str) -> None:
    torch.manual_seed(0)
    csm = CSM(64, spatial=spatial).double()
    csm(random_picture(64)).square().sum().backward()
    for name, parameter in csm.named_parameters():
        assert parameter.grad is not None, name
        if name != "spatial.key.bias":  # adds the same to a whole column, which the softmax takes away
            assert parameter.grad.abs().max() > 1e-9, name


def test_gradient_reaches_the_inner_convolutions_once_gamma_has_left_zero() -> None:
    torch.manual_seed(0)
    csm = CSM(64, residual=True).double()
    for gamma, reaches in ((0.0, False), (0.1, True)):
        nn.init.constant_(csm.spatial.gamma, gamma)
        csm.zero_grad()
        csm(random_picture(64)).square().sum().backward()
        assert csm.spatial.gamma.grad.abs() > 1e-9
        assert csm.channel.reduce.weight.grad.abs().max() > 1e-9
        for conv in (csm.spatial.key, csm.spatial.query, csm.spatial.value):
            assert bool(conv.weight.grad.abs().max() > 1e-9) is reaches


def test_parameter_counts_of_the_paper() -> None:
    assert count(ChannelAttention(64)) == 2 * 64**2 // 16 == 512
    assert count(ChannelAttention(64, reduction=8)) == 1_024
    assert count(ChannelAttention(64, bias=True)) == 512 + 64 + 4
    assert count(PositionAttention(64)) == 3 * (64**2 + 64) == 12_480
    assert count(PositionAttention(64, residual=True)) == 12_481
    assert count(PooledSpatialAttention()) == 98
    assert count(PooledSpatialAttention(kernel_size=3)) == 18
    assert count(CSM(64, residual=True)) == 512 + 12_481
    assert count(CSM(64, spatial="pooled", reduction=8)) == 1_024 + 98


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reduction must be in 1\.\.channels \(8\), got 16"):
        ChannelAttention(8)
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        PooledSpatialAttention(kernel_size=4)
    with pytest.raises(ValueError, match="spatial must be 'position' or 'pooled', got 'both'"):
        CSM(64, spatial="both")
    with pytest.raises(ValueError, match="residual=True needs spatial='position'"):
        CSM(64, spatial="pooled", residual=True)
    assert count(CSM(8, spatial="pooled").channel) == 16  # fewer channels than the reduction: one is left
