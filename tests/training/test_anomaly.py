"""The module in which a number stops being one is named, and nothing stays behind."""

import pytest
import torch
from torch import nn

from spl.training.anomaly import name_non_finite
from spl.training.step import NonFiniteError


class Logarithm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.log()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(Logarithm(), nn.ReLU()))


def test_the_first_module_is_named():
    model = net()
    nn.init.constant_(model[0].weight, -1.0)
    sentence = r"1.0 \(Logarithm\) gives 8 NaN and 0 infinite of 8 numbers, although its input has none"
    with name_non_finite(model), pytest.raises(NonFiniteError, match=sentence):
        model(torch.ones(4, 2))


def test_an_input_is_named():
    model = net()
    sentence = "the input of the model has 1 NaN and 1 infinite of 2 numbers"
    with name_non_finite(model), pytest.raises(NonFiniteError, match=sentence):
        model(torch.tensor([[float("nan"), float("inf")]]))


def test_a_broken_parameter_is_named():
    model = net()
    with torch.no_grad():
        model[0].bias[0] = float("nan")
    sentence = r"0 \(Linear\) gives 4 NaN .*, as its parameter bias is not finite"
    with name_non_finite(model), pytest.raises(NonFiniteError, match=sentence):
        model(torch.ones(4, 2))


def root_at_zero() -> None:
    x = torch.zeros(1, requires_grad=True)
    with name_non_finite(net()):
        (x.sqrt() * 0.0).sum().backward()


def test_a_backward_pass_names_the_operation():
    sentence = r"in the backward pass, .*SqrtBackward0.* nan"
    with (
        pytest.warns(UserWarning, match="SqrtBackward0"),  # torch's own, with the traceback of the forward
        pytest.raises(NonFiniteError, match=sentence),
    ):
        root_at_zero()


def test_another_error_goes_through():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), name_non_finite(model := net()):
        model(torch.ones(4, 3))
    assert not torch.is_anomaly_enabled()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    model(torch.full((1, 2), float("nan")))
