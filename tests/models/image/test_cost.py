"""Counts worked out by hand on networks of a few layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spl.attention.cbam import CBAM
from spl.attention.csm import PositionAttention
from spl.attention.eca import ECA
from spl.attention.ham import HAM
from spl.models.image.cost import forward_cost, macs, num_parameters, peak_activation_bytes


def tiny(*, is_inplace: bool = False) -> nn.Sequential:
    """Return a net that makes (2, 4, 4), the same again, and 5 numbers of a picture (1, 4, 4)."""
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(is_inplace), nn.Flatten(), nn.Linear(32, 5)
    return nn.Sequential(*layers)


class Attending(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(x, x, x)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.register_buffer("mean", torch.zeros(7))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(x))
        return out


class Residual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Keep the first product until the end: three tensors are alive at the sum."""
        y = x * 2.0
        z = y * 3.0
        return y + z


def test_parameters_are_counted_once_and_buffers_are_none() -> None:
    assert num_parameters(tiny()) == (2 * 9 + 2) + (32 * 5 + 5)
    assert num_parameters(Tied()) == 9 + 3 + 3
    assert num_parameters(tiny().requires_grad_(False)) == 185


def test_macs_of_convolutions_and_linear_layers() -> None:
    assert macs(tiny(), (1, 1, 4, 4)) == 16 * 2 * 9 + 32 * 5
    assert macs(tiny(), (3, 1, 4, 4)) == 3 * (16 * 2 * 9 + 32 * 5)
    grouped = nn.Conv2d(4, 8, 3, stride=2, groups=2, bias=False)
    assert macs(grouped, (1, 4, 7, 7)) == 9 * 8 * (4 // 2) * 9
    assert macs(Tied(), (2, 3)) == 2 * 2 * 9


def test_macs_of_dot_product_attention_are_those_of_its_two_products() -> None:
    assert macs(Attending(), (2, 3, 6, 4)) == 2 * 3 * 6 * 6 * (4 + 4)


def test_macs_of_attention_are_its_convolutions_and_layers_however_they_are_computed() -> None:
    size = (2, 16, 8, 8)
    assert macs(ECA(16), size) == 2 * 3 * 16
    assert macs(CBAM(16), size) == 2 * (2 * 2 * 16 + 64 * 2 * 49)  # two pooled vectors, one kernel
    ham = HAM(16)
    assert macs(ham, size) == 2 * (3 * 16 + 2 * 64 * 2 * 49)  # one kernel, for two groups
    assert macs(nn.Sequential(ham, ham), size) == 2 * macs(ham, size)
    assert not any(module._forward_hooks for module in ham.modules())


@pytest.mark.parametrize("query_reduction", [1, 4])
def test_macs_of_position_attention_do_not_count_the_zeros_that_widen_its_keys(query_reduction: int) -> None:
    """Per image three projections and two products: N C (2 d + C) + N^2 (d + C)."""
    places, channels = 64, 16
    narrow = channels // query_reduction
    found = macs(PositionAttention(channels, query_reduction=query_reduction), (2, channels, 8, 8))
    assert found == 2 * (places * channels * (2 * narrow + channels) + places**2 * (narrow + channels))


def test_peak_is_the_largest_sum_of_activations_alive_at_once() -> None:
    assert peak_activation_bytes(tiny(), (1, 1, 4, 4)) == 4 * (32 + 32)
    assert peak_activation_bytes(tiny(is_inplace=True), (1, 1, 4, 4)) == 4 * (32 + 5)
    assert peak_activation_bytes(Residual(), (1, 10)) == 4 * 30
    assert peak_activation_bytes(nn.Identity(), (1, 10)) == 0
    assert peak_activation_bytes(nn.Flatten(), (1, 10)) == 0  # a view of the input


def test_exact_attention_over_positions_never_holds_its_map() -> None:
    positions = 1_000
    assert peak_activation_bytes(Attending(), (1, 1, positions, 4)) < 4 * positions**2 / 10


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_may_lie_anywhere_and_have_any_precision(device: str, dtype: torch.dtype) -> None:
    model = tiny().to(device, dtype)
    with torch.device("meta"):  # no matter what is made where by default
        assert forward_cost(model, (1, 1, 4, 4)) == (448, 256)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert {parameter.device.type for parameter in model.parameters()} == {device}


def test_a_count_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    forward_cost(model, (4, 1, 5, 5))
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(RuntimeError):
        forward_cost(model, (4, 3, 5, 5))
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.ones(1), torch.ones(1) * 1.0)  # no mode is left on
