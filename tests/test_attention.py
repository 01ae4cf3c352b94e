"""The contract of every attention module in the table: it can stand anywhere in a stream."""

import pytest
import torch

from spl.attention import ATTENTION


@pytest.mark.parametrize("name", ATTENTION)
def test_keeps_the_shape_and_passes_the_gradient(name: str) -> None:
    torch.manual_seed(0)
    module = ATTENTION[name](64)
    x = torch.randn(2, 64, 7, 7, requires_grad=True)
    out = module(x)
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    out.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("name", ATTENTION)
def test_evaluates_each_sample_alone_and_always_alike(name: str) -> None:
    torch.manual_seed(0)
    module = ATTENTION[name](64).eval()
    x = torch.randn(2, 64, 7, 7)
    with torch.inference_mode():
        both, again, first = module(x), module(x), module(x[:1])
    assert both.shape == x.shape
    assert torch.equal(both, again)
    torch.testing.assert_close(both[:1], first)


def test_names_differ_in_what_they_build() -> None:
    counts = {name: sum(p.numel() for p in make(64).parameters()) for name, make in ATTENTION.items()}
    assert counts["none"] == 0
    assert counts["csm"] == 512 + 3 * (64**2 + 64) + 1
