"""Channel and spatial attention: closed forms in float64, the softmax's axis, and the memory it needs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from spl.attention import attention_maps, csm
from spl.attention.csm import CSM, ChannelAttention, PooledSpatialAttention, PositionAttention


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(one: Tensor, two: Tensor) -> bool:
    return bool((one - two).abs().max() < 1e-9)


def random_picture(channels: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, channels, 5, 3, dtype=dtype, generator=torch.Generator().manual_seed(1))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"query_reduction": 4},
    {"value": "input"},
    {"query_reduction": 8, "value": "input", "residual": True},
]


def map_of(layer: nn.Module, x: Tensor) -> Tensor:
    with attention_maps(layer) as maps:
        layer(x)
    return maps[""]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


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
    assert close(map_of(layer, x), naive)
    assert close(map_of(layer, x).sum(dim=1), torch.ones(2, 15, dtype=torch.float64))
    assert close(layer(x), gathered(naive))
    with attention_maps(layer):  # what is looked at is what is used
        assert close(layer(x), gathered(naive))
    assert not torch.allclose(layer(x), gathered(torch.softmax(scores, dim=2)), atol=1e-2)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_is_the_formula(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    x = random_picture().requires_grad_()
    layer = PositionAttention(16, **options).double()
    if layer.gamma is not None:
        nn.init.constant_(layer.gamma, 0.5)
    keys, queries = layer.key(x).flatten(2), layer.query(x).flatten(2)
    assert keys.shape[1] == queries.shape[1] == 16 // options.get("query_reduction", 1)
    values = x if options.get("value") == "input" else layer.value(x)
    attention = torch.softmax(torch.einsum("bci,bcj->bij", keys, queries), dim=1)
    expected = torch.einsum("bij,bci->bcj", attention, values.flatten(2)).reshape(x.shape)
    if options.get("residual"):
        expected = layer.gamma * expected + x
    assert close(layer(x), expected)
    inputs = (x, *layer.parameters())
    ours = torch.autograd.grad(layer(x).square().sum(), inputs)
    naive = torch.autograd.grad(expected.square().sum(), inputs)
    assert all(close(one, two) for one, two in zip(ours, naive, strict=True))


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


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_few_positions_learn_in_bfloat16_as_in_float32(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = PositionAttention(16, **options)
    if layer.gamma is not None:
        nn.init.constant_(layer.gamma, 0.5)
    low = PositionAttention(16, **options).bfloat16()
    low.load_state_dict(layer.state_dict())
    pictures = [random_picture(dtype=dtype).requires_grad_() for dtype in (torch.float32, torch.bfloat16)]
    both = [(one(x), x, one) for one, x in zip((layer, low), pictures, strict=True)]
    found = [[out, *torch.autograd.grad(out.sum(), (x, *one.parameters()))] for out, x, one in both]
    for exact, rounded in zip(*found, strict=True):
        assert (rounded - exact).norm() < 0.04 * exact.norm() + 0.1  # a key's bias has no gradient
    monkeypatch.setattr(csm, "_gather", None)  # which is not asked, but where nothing is learned
    low(pictures[1])
    with torch.no_grad(), pytest.raises(TypeError, match="not callable"):
        low(pictures[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_position_attention_never_falls_back_to_quadratic_memory(
    options: dict[str, Any],
    dtype: torch.dtype,
    needs_gradient: bool,
    layout: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(csm, "FEW", 14)  # of the picture's 15 positions
    x = random_picture(dtype=dtype).contiguous(memory_format=layout)
    layer = PositionAttention(16, **options).to(dtype)
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


@pytest.mark.parametrize("order", [None, "cam-sam", "sam-cam"])
@pytest.mark.parametrize(
    "options", [{}, {"residual": True}, {"spatial": "pooled"}], ids=["position", "residual", "pooled"]
)
def test_channels_come_before_positions_unless_told(options: dict[str, Any], order: str | None) -> None:
    torch.manual_seed(2)
    x = random_picture(64)
    csm = CSM(64, **options, **({} if order is None else {"order": order})).double()
    if options.get("residual"):
        nn.init.ones_(csm.spatial.gamma)
    orders = [csm.spatial(csm.channel(x)), csm.channel(csm.spatial(x))]
    assert csm(x).shape == x.shape
    assert torch.equal(csm(x), orders[order == "sam-cam"])
    assert not torch.allclose(*orders)


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
    for channels in (64, 128, 256, 512):
        position = 3 * (channels**2 + channels)
        reduced = channels**2 + channels + 2 * (channels**2 // 8 + channels // 8)
        gates = 2 * channels**2 // 16
        assert count(ChannelAttention(channels)) == gates
        assert count(ChannelAttention(channels, bias=True)) == gates + channels + channels // 16
        assert count(PositionAttention(channels)) == position
        assert count(PositionAttention(channels, residual=True)) == position + 1
        assert count(PositionAttention(channels, query_reduction=8)) == reduced
        assert count(PositionAttention(channels, value="input")) == 2 * (channels**2 + channels)
        assert count(CSM(channels, residual=True)) == gates + position + 1
        assert (
            count(CSM(channels, query_reduction=8, bias=True)) == gates + channels + channels // 16 + reduced
        )
        assert count(CSM(channels, value="input")) == gates + 2 * (channels**2 + channels)
        assert count(CSM(channels, spatial="pooled", reduction=8)) == 2 * gates + 98
    assert count(PooledSpatialAttention()) == 98
    assert count(PooledSpatialAttention(kernel_size=3)) == 18
    # ResNet-18, two blocks in each of four stages
    blocks = [channels for channels in (64, 128, 256, 512) for _ in range(2)]
    assert sum(count(PositionAttention(channels)) for channels in blocks) == 2_094_720
    assert sum(count(PositionAttention(channels, query_reduction=8)) for channels in blocks) == 872_800
    assert sum(count(ChannelAttention(channels)) for channels in blocks) == 87_040


def test_checkpoints_know_these_names() -> None:
    spatial = [f"spatial.{name}.{kind}" for name in ("key", "query", "value") for kind in ("weight", "bias")]
    names = {"channel.reduce.weight", "channel.expand.weight", "spatial.gamma", *spatial}
    assert set(CSM(64, residual=True).state_dict()) == names


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reduction must divide channels \(8\), got 16"):
        CSM(8, reduction=16)
    with pytest.raises(ValueError, match=r"query_reduction must divide channels \(64\), got 3"):
        CSM(64, query_reduction=3)
    with pytest.raises(ValueError, match="value must be 'conv' or 'input', got 'key'"):
        CSM(64, value="key")
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        PooledSpatialAttention(kernel_size=4)
    with pytest.raises(ValueError, match="spatial must be 'position' or 'pooled', got 'both'"):
        CSM(64, spatial="both")
    with pytest.raises(ValueError, match="order must be 'cam-sam' or 'sam-cam', got 'sam'"):
        CSM(64, order="sam")
    for options in ({"residual": True}, {"query_reduction": 8}, {"value": "input"}):
        with pytest.raises(ValueError, match="need spatial='position'"):
            CSM(64, spatial="pooled", **options)
    assert count(CSM(8, spatial="pooled").channel) == 16  # narrower than the usual reduction: one is left
