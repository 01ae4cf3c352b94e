"""A model that was lent comes back as it was, whatever happened to it meanwhile."""

import pytest
import torch
from torch import nn

from spl.eval_mode import borrowed, evaluating, lent


def net() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    model[1].eval()
    model[0].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize("lender", [evaluating, borrowed])
@pytest.mark.parametrize("fails", [False, True])
def test_each_module_gets_its_own_mode_back(lender, fails):
    model = net()
    with pytest.raises(RuntimeError) if fails else torch.enable_grad(), lender(model):
        assert not any(module.training for module in model.modules())
        if fails:
            raise RuntimeError
    assert [module.training for module in model.modules()] == [True, True, False, True]


@pytest.mark.parametrize("fails", [False, True])
def test_weights_and_generators_come_back(fails):
    model, before = net(), torch.get_rng_state()
    with pytest.raises(RuntimeError) if fails else torch.enable_grad(), borrowed(model):
        assert not any(weight.requires_grad for weight in model.parameters())
        torch.rand(3)
        if fails:
            raise RuntimeError
    wants = {name: weight.requires_grad for name, weight in model.named_parameters()}
    assert wants == {"0.weight": True, "0.bias": False, "2.weight": True, "2.bias": True}
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_pass_whatever_the_caller_is_in():
    model = net()
    with torch.inference_mode():
        x = torch.ones(2, 2)
        with borrowed(model):
            y = lent(x).requires_grad_()
            assert torch.autograd.grad(model(y).sum(), y)[0].shape == (2, 2)
        assert torch.is_inference_mode_enabled()
    assert lent(torch.ones(1, requires_grad=True)).requires_grad is False
