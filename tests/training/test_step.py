"""One step down a weighted mean, by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from spl.training.step import NonFiniteError, descend, restore


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, 2.0]))


def losses_of(weight: Tensor) -> Tensor:
    return torch.stack([3.0 * weight[0], weight[1] ** 2])  # 3 and 4


def test_weighted_mean_and_step_by_hand() -> None:
    weight = parameter()
    weight.grad = torch.full((2,), 100.0)  # of an earlier step: must not count
    sgd = torch.optim.SGD([weight], lr=0.1)
    loss = descend(losses_of(weight), torch.tensor([1.0, 0.5]), sgd, [weight], max_grad_norm=None)
    assert loss.item() == 2.5  # (1 * 3 + 0.5 * 4) / 2: divided by the samples, not by 1.5
    assert not loss.requires_grad
    assert weight.grad.tolist() == [1.5, 1.0]
    torch.testing.assert_close(weight.detach(), torch.tensor([0.85, 1.9]))


def test_the_gradient_is_cut_to_the_largest_norm() -> None:
    weight = parameter()
    sgd = torch.optim.SGD([weight], lr=1.0)
    descend(losses_of(weight), torch.tensor([1.0, 0.5]), sgd, [weight], max_grad_norm=0.5)
    norm = math.hypot(1.5, 1.0)
    step = torch.tensor([1.5, 1.0]) * 0.5 / norm
    torch.testing.assert_close(weight.detach(), torch.tensor([1.0, 2.0]) - step)


def test_a_gradient_within_the_norm_is_left() -> None:
    weight = parameter()
    sgd = torch.optim.SGD([weight], lr=0.1)
    descend(losses_of(weight), torch.tensor([1.0, 0.5]), sgd, [weight], max_grad_norm=2.0)
    torch.testing.assert_close(weight.detach(), torch.tensor([0.85, 1.9]))


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_zero_weights_give_no_loss_and_leave_the_weights(kind: type[torch.optim.Optimizer]) -> None:
    weight = parameter()
    optimizer = kind([weight], lr=0.1)
    loss = descend(losses_of(weight), torch.zeros(2), optimizer, [weight], max_grad_norm=1.0)
    assert loss.item() == 0.0
    assert weight.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("shape", [(1,), (2, 1), (3,), ()])
def test_shapes_must_agree(shape: tuple[int, ...]) -> None:
    weight = parameter()
    sgd = torch.optim.SGD([weight], lr=0.1)
    with pytest.raises(ValueError, match=r"losses and weights must both be \(B,\), got \(2,\) and"):
        descend(losses_of(weight), torch.ones(shape), sgd, [weight], max_grad_norm=None)
    with pytest.raises(ValueError, match="must both be"):
        descend(losses_of(weight)[:, None], torch.ones(2, 1), sgd, [weight], max_grad_norm=None)
    assert weight.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("max_norm", [1e-3, 2.0, 1e3, math.hypot(1.5, 1.0)])
def test_clipping_is_that_of_the_library_to_the_bit(max_norm: float) -> None:
    gradients = [torch.tensor([1.5, 1.0]), torch.tensor([[3.0], [-0.1]])]
    ours, theirs = ([nn.Parameter(torch.zeros_like(one)) for one in gradients] for _ in range(2))
    losses = sum((weight * gradient).sum() for weight, gradient in zip(ours, gradients, strict=True))
    assert isinstance(losses, torch.Tensor)
    idle = nn.Parameter(torch.zeros(1))  # has no gradient
    sgd = torch.optim.SGD([*ours, idle], lr=1.0)
    descend(losses[None], torch.ones(1), sgd, [*ours, idle], max_grad_norm=max_norm)
    for weight, gradient in zip(theirs, gradients, strict=True):
        weight.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    for one, two in zip(ours, theirs, strict=True):
        assert two.grad is not None
        assert torch.equal(one.detach(), -two.grad)


@pytest.mark.parametrize("max_grad_norm", [None, 10.0])
@pytest.mark.parametrize("factor", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["loss", "gradient"])
def test_what_is_not_finite_is_refused_before_the_step(
    place: str, factor: float, max_grad_norm: float | None
) -> None:
    weight = parameter()
    sgd = torch.optim.SGD([weight], lr=0.1)
    losses = losses_of(weight)
    if place == "gradient":
        losses.register_hook(lambda gradient: gradient * factor)
    else:
        losses = losses * factor
    with pytest.raises(NonFiniteError, match=r"its gradient's norm (nan|inf)"):
        descend(losses, torch.ones(2), sgd, [weight], max_grad_norm=max_grad_norm)
    assert weight.tolist() == [1.0, 2.0]


def test_a_restored_moment_is_laid_out_in_memory_as_its_parameter_is() -> None:
    def make() -> tuple[nn.Parameter, torch.optim.Adam]:
        weight = torch.arange(48.0).reshape(2, 3, 2, 4).to(memory_format=torch.channels_last)
        parameter = nn.Parameter(weight)
        return parameter, torch.optim.Adam([parameter], lr=0.1)

    parameter, optimizer = make()
    parameter.square().sum().backward()
    optimizer.step()
    expected = optimizer.state[parameter]["exp_avg"].clone()
    state = optimizer.state_dict()
    for name in ("exp_avg", "exp_avg_sq"):
        state["state"][0][name] = state["state"][0][name].contiguous()  # as a file has it
    other, restored = make()
    restore(restored, state)
    for name in ("exp_avg", "exp_avg_sq"):
        assert restored.state[other][name].stride() == other.stride()
    assert torch.equal(restored.state[other]["exp_avg"], expected)
    assert restored.state[other]["step"].item() == 1
