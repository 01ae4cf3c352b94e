"""Running a model in evaluation mode and restoring its state afterwards, on every path."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode and each of its modules back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        if any(is_training for _, is_training in modes):
            model.eval()
        yield
    finally:
        for module, is_training in modes:
            if module.training != is_training:
                module.training = is_training


@contextmanager
def borrowed(model: nn.Module) -> Iterator[None]:
    """Let ``model`` evaluate with gradients of what one chooses, whatever the caller's mode is.

    No weight wants a gradient meanwhile, so that a backward pass goes no further than it must. What
    `torch.compile` made runs as it was before. Modes, each weight's ``requires_grad`` and torch's generators
    are then as they were.
    """
    wants = [(weight, weight.requires_grad) for weight in model.parameters()]
    devices = {weight.device for weight, _ in wants if weight.device.type != "cpu"}
    with ExitStack() as lent:
        for kind in {device.type for device in devices} or {"cuda"}:
            of_kind = [device for device in devices if device.type == kind]
            lent.enter_context(torch.random.fork_rng(devices=of_kind, device_type=kind))
        lent.enter_context(torch.compiler.set_stance("force_eager"))
        lent.enter_context(torch.inference_mode(False))
        lent.enter_context(torch.enable_grad())
        lent.enter_context(evaluating(model))
        lent.callback(_restore, wants)
        for weight, _ in wants:
            weight.requires_grad_(False)
        yield


def _restore(wants: list[tuple[nn.Parameter, bool]]) -> None:
    for weight, wants_gradient in wants:
        weight.requires_grad_(wants_gradient)


def lent(x: Tensor) -> Tensor:
    """Return ``x`` of any shape without its graph; a copy where gradients could not pass through it."""
    return x.clone() if x.is_inference() else x.detach()
