"""HAM: closed forms of its gates, how channels are divided, both readings of the maximum, and its counts."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spl.attention.cbam import PooledSpatialAttention
from spl.attention.ham import HAM, HAMChannelAttention, HAMSpatialAttention, group_sizes
from spl.attention.maps import attention_maps

CASES = json.loads((Path(__file__).parents[1] / "data" / "ham_channel.json").read_text())["cases"]
# Four channels of two positions; refined by the gates they are 0.8 -1.6 / 0.6 -0.2 / -1 -2 / 2 4.
X = [[1.0, -2.0], [3.0, -1.0], [-2.0, -4.0], [5.0, 10.0]]
GATES = [0.8, 0.2, 0.5, 0.4]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool((one - two).abs().max() < 1e-9)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def hand_made(gates: list[float] = GATES, **options: Any) -> tuple[HAMSpatialAttention, Tensor, Tensor]:
    """A spatial half that scores ``-mean - max / 2 + its norm's bias``, four channels, and their gates."""
    layer = HAMSpatialAttention(4, kernel_size=1, **options).double().eval()
    with torch.no_grad():
        layer.conv.weight.copy_(double([-1.0, -0.5]).reshape(1, 2, 1, 1))
    for norm in layer.norms:
        norm.eps = 0.0
    return layer, double(X).reshape(1, 4, 1, 2), double(gates).reshape(1, 4, 1, 1)


def pooled(layer: HAMSpatialAttention, x: Tensor, gate: Tensor) -> Tensor:
    groups = layer.groups(gate)
    return layer.pool(x, groups * gate.flatten(1)[:, None], groups)[0, :, :, 0]  # (2 groups, mean max, W)


@pytest.mark.parametrize(
    ("case", "is_adaptive"),
    [*((case, True) for case in CASES), (CASES[2], False)],
    ids=["halves", "uneven", "zeros", "not adaptive"],
)
def test_channel_gates_by_hand(case: dict[str, Any], is_adaptive: bool) -> None:
    layer = HAMChannelAttention(8, is_adaptive=is_adaptive).double()  # 8 channels have the cases' 3 weights
    with torch.no_grad():
        layer.conv.weight.copy_(double(case["w"]).reshape(1, 1, 3))
        if layer.alpha is not None and layer.beta is not None:
            layer.alpha.fill_(case["alpha"])
            layer.beta.fill_(case["beta"])
    x = double(case["x"])[None]
    assert close(layer.gate(x), double(case["A_C"]).reshape(1, 4, 1, 1))
    if "out" in case:
        assert close(layer(x), double(case["out"])[None])


def test_alpha_and_beta_start_at_one_half_and_are_clamped_on_demand() -> None:
    x = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    free, clamped = HAMChannelAttention(8), HAMChannelAttention(8, is_clamped=True)
    clamped.load_state_dict(free.state_dict())
    assert (free.alpha.item(), free.beta.item()) == (0.5, 0.5)
    assert torch.equal(free(x), clamped(x))
    with torch.no_grad():
        for layer in (free, clamped):
            layer.alpha.fill_(-0.3)
            layer.beta.fill_(1.7)
    assert not torch.allclose(free(x), clamped(x))
    with torch.no_grad():
        free.alpha.fill_(0.0)
        free.beta.fill_(1.0)
    torch.testing.assert_close(free(x), clamped(x))


@pytest.mark.parametrize(
    ("channels", "share", "sizes"),
    [
        (3, 0.6, (2, 1)),
        (4, 0.6, (2, 2)),
        (5, 0.6, (4, 1)),  # 3 lies between 2 and 4
        (8, 0.6, (4, 4)),
        (9, 0.6, (6, 3)),
        (16, 0.6, (10, 6)),
        (64, 0.6, (38, 26)),
        (512, 0.6, (308, 204)),
        (8, 0.25, (2, 6)),
        (50, 0.58, (30, 20)),  # 29 in numbers with ten digits, 28.999... in binary
    ],
)
def test_sizes_of_the_groups(channels: int, share: float, sizes: tuple[int, int]) -> None:
    assert group_sizes(channels, share) == sizes


def test_the_largest_gates_are_important() -> None:
    layer, _, gate = hand_made()
    groups = layer.groups(torch.cat((gate, gate.flip(1))))
    assert groups[:, 0].tolist() == [[True, False, True, False], [False, True, False, True]]  # by sample
    assert torch.equal(groups[:, 1], ~groups[:, 0])


@pytest.mark.parametrize(("max_over", "largest"), [("masked", 0.0), ("own", -1.6)])
def test_both_groups_are_pooled_by_hand(max_over: str, largest: float) -> None:
    layer, x, gate = hand_made(max_over=max_over)
    expected = [[[-0.1, -1.8], [0.8, largest]], [[1.3, 1.9], [2.0, 4.0]]]
    assert close(pooled(layer, x, gate), double(expected))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_ties_are_important_and_the_divisors_stay(dtype: torch.dtype) -> None:
    layer, x, gate = hand_made([0.75, 0.5, 0.5, 0.25])  # refined: 0.75 -1.5 / 1.5 -0.5 / -1 -2 / 1.25 2.5
    assert layer.groups(gate.to(dtype))[0, 0].tolist() == [True, True, True, False]
    expected = [[[0.625, -2.0], [1.5, 0.0]], [[0.625, 1.25], [1.25, 2.5]]]
    found = pooled(layer.to(dtype), x.to(dtype), gate.to(dtype))
    assert torch.equal(found.double(), double(expected))  # each number is exact in half precision


@pytest.mark.parametrize("max_over", ["masked", "own"])
def test_where_all_tie_nothing_is_left_over_and_no_zero_competes(max_over: str) -> None:
    layer, x, gate = hand_made([0.5] * 4, max_over=max_over)
    x = -x.abs()  # refined: -0.5 -1 / -1.5 -0.5 / -1 -2 / -2.5 -5
    expected = [[[-2.75, -4.25], [-0.5, -0.5]], [[0.0, 0.0], [0.0, 0.0]]]
    assert close(pooled(layer, x, gate), double(expected))
    assert torch.isfinite(layer(x, gate)).all()


@pytest.mark.parametrize(
    ("options", "important", "rest"),
    [
        ({}, [0.7, 2.8], [7.7, 6.1]),
        ({"max_over": "own"}, [0.7, 3.6], [7.7, 6.1]),
        ({"has_shared_norm": True}, [0.7, 2.8], [0.0, 0.0]),  # -1.3 and -2.9 before the ReLU
    ],
    ids=["two norms", "own", "one norm"],
)
def test_output_by_hand(options: dict[str, Any], important: list[float], rest: list[float]) -> None:
    layer, x, gate = hand_made(**options)
    with torch.no_grad():
        for norm, bias in zip(layer.norms, (1.0, 10.0), strict=False):
            norm.bias.fill_(bias)
    first, second = torch.sigmoid(double(important)), torch.sigmoid(double(rest))
    out = (x * gate) * torch.stack((first, second, first, second)).reshape(1, 4, 1, 2)
    assert close(layer(x, gate), out)


def test_norms_follow_the_batch_in_training_and_their_average_afterwards() -> None:
    layer, x, gate = hand_made()
    shared, _, _ = hand_made(has_shared_norm=True)
    for norm in (*layer.norms, *shared.norms):
        norm.eps = 1e-5  # which training needs
    layer.train()(x, gate)
    for norm, mean in zip(layer.norms, (0.75, -3.1), strict=True):  # scores -0.3, 1.8 and -2.3, -3.9
        assert close(norm.running_mean, double([0.1 * mean]))
    shared.train()(x, gate)
    assert close(
        shared.norms[0].running_mean, double([0.9 * 0.075 + 0.1 * -3.1])
    )  # one group, then the other


def test_refined_feature_times_the_map_of_its_group() -> None:
    torch.manual_seed(0)
    ham = HAM(16).eval()
    x = torch.randn(2, 16, 5, 4)
    with attention_maps(ham) as maps:
        out = ham(x)
    assert set(maps) == {"channel", "spatial.important", "spatial.rest"}
    groups = ham.spatial.groups(maps["channel"])[:, :1].transpose(1, 2)[..., None]  # (B, C, 1, 1)
    expected = ham.channel(x) * torch.where(groups, maps["spatial.important"], maps["spatial.rest"])
    torch.testing.assert_close(out, expected)
    for name in ("important", "rest"):
        assert ((maps[f"spatial.{name}"] >= 0.5) & (maps[f"spatial.{name}"] < 1)).all()


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("options", [{}, {"max_over": "own"}, {"has_shared_norm": True}])
def test_gradients_agree_with_differences(options: dict[str, Any], is_training: bool) -> None:
    torch.manual_seed(0)
    ham = HAM(6, kernel_size=3, **options).double().train(is_training)
    x = torch.randn(2, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in ham.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        out: Tensor = torch.func.functional_call(copy.deepcopy(ham), named, (x,))
        return out

    assert torch.autograd.gradcheck(run, (x, *ham.parameters()))
    assert torch.autograd.gradgradcheck(ham, (x,), fast_mode=True)


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    ham = HAM(16)
    ham(torch.randn(2, 16, 5, 4)).square().sum().backward()
    for name, parameter in ham.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9, name


def test_the_variants_of_the_tables_are_the_channel_gates_with_another_spatial_part() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 4)
    alone, pooled = HAM(16, spatial="none"), HAM(16, spatial="pooled", kernel_size=3)
    pooled.channel.load_state_dict(alone.channel.state_dict())
    assert torch.equal(alone(x), alone.channel(x))
    assert isinstance(pooled.spatial, PooledSpatialAttention)
    assert torch.equal(pooled(x), pooled.spatial(alone(x)))
    for layer, names in ((alone, ["channel"]), (pooled, ["channel", "spatial"])):
        with attention_maps(layer) as maps:
            layer(x).sum().backward()
        assert list(maps) == names
        assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial": "position"}, "spatial must be 'groups', 'pooled' or 'none', got 'position'"),
        ({"spatial": "pooled", "share": 0.5}, "share, max_over and has_shared_norm are for spatial='groups'"),
        ({"spatial": "none", "kernel_size": 3}, "kernel_size is of the spatial part: leave it out, got 3"),
    ],
)
def test_options_of_a_part_that_is_not_there_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HAM(16, **options)


def test_nan_stays_in_the_picture_that_has_it() -> None:
    torch.manual_seed(0)
    ham, x = HAM(16).eval(), torch.randn(2, 16, 5, 4)
    x[0, 3, 2, 1] = torch.nan
    out = ham(x)
    assert out[0, 3, 2, 1].isnan()
    assert torch.isfinite(out[1]).all()


def test_compiled_and_exported_modules_agree() -> None:
    torch.manual_seed(0)
    ham, x = HAM(16).eval(), torch.randn(2, 16, 5, 4)
    torch.testing.assert_close(torch.compile(ham, fullgraph=True, backend="eager")(x), ham(x))
    batch = torch.export.Dim("B", min=2, max=64)
    exported = torch.export.export(ham, (x,), dynamic_shapes=({0: batch},)).module()
    more = torch.randn(5, 16, 5, 4)
    torch.testing.assert_close(exported(more), ham(more))


def test_parameter_counts_of_the_paper() -> None:
    assert count(HAM(64)) == 3 + 2 + 98 + 4
    assert count(HAM(64, has_shared_norm=True)) == 3 + 2 + 98 + 2
    assert count(HAM(64, is_adaptive=False)) == 3 + 98 + 4
    resnet20, resnet56, wide = (3, 269_072), (9, 852_368), (2, 10_790_352)  # blocks of a stage, net without

    def net(size: tuple[int, int], module: Any, first: int = 16, **options: Any) -> int:
        blocks, base = size
        return base + blocks * sum(count(module(first * width, **options)) for width in (1, 2, 4))

    assert net(resnet20, HAM) == 270_035
    assert net(resnet56, HAM) == 855_257
    assert net(wide, HAM, first=128) == 10_791_006
    assert net(resnet56, HAM, kernel_size=3) == 853_097
    assert net(resnet56, HAM, kernel_size=5) == 853_961
    assert net(resnet56, HAMChannelAttention) == 852_503
    assert net(resnet56, HAMChannelAttention, is_adaptive=False) == 852_449


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (2, {}, "share must leave both groups channels, got 0.6 of 2, which makes 2 important"),
        (1, {}, "share must leave both groups channels, got 0.6 of 1, which makes 0 important"),
        (8, {"share": 1.0}, "share must leave both groups channels, got 1.0 of 8"),
        (8, {"share": 0.1}, "share must leave both groups channels, got 0.1 of 8"),
        (8, {"max_over": "all"}, "max_over must be 'masked' or 'own', got 'all'"),
        (8, {"kernel_size": 4}, "kernel_size must be odd to keep the picture's size, got 4"),
        (8, {"is_adaptive": False, "is_clamped": True}, "is_clamped=True needs is_adaptive=True"),
    ],
)
def test_impossible_options_are_refused(channels: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HAM(channels, **options)


@pytest.mark.parametrize("channels", [8, 32])
def test_pictures_with_other_channels_are_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=f"x must have 16 channels, for which HAM was made, got {channels}"):
        HAM(16)(torch.randn(2, channels, 4, 4))
