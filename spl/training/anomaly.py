"""Naming the module that produces the first NaN: slow, for debugging and not for training."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spl.attention.maps import AttentionMap
from spl.training.step import NonFiniteError


@contextmanager
def name_non_finite(model: nn.Module) -> Iterator[None]:
    """Let every module of ``model`` look at what it takes and gives while the ``with`` block lasts.

    Backward passes are looked at by torch's own anomaly mode. A model that `torch.compile` made runs as it
    was before meanwhile. Hooks and modes are given back on every path.

    Raises:
        NonFiniteError: naming the first module that makes NaN or infinity, or saying that the input of the
            model has one; in a backward pass, naming the operation that makes NaN.
    """
    with ExitStack() as borrowed:
        borrowed.enter_context(torch.compiler.set_stance("force_eager"))
        borrowed.enter_context(torch.autograd.set_detect_anomaly(True))
        for name, module in model.named_modules():
            if isinstance(module, AttentionMap):  # a map that is looked at is computed another way
                continue
            borrowed.callback(module.register_forward_pre_hook(partial(_look_at_inputs, name)).remove)
            borrowed.callback(module.register_forward_hook(partial(_look_at_output, name)).remove)
        try:
            yield
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            raise NonFiniteError(f"in the backward pass, {str(error).splitlines()[0]}") from error


def _look_at_inputs(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if (found := _found(inputs)) is not None:
        where = "the model" if not name else f"{name} ({type(module).__name__})"
        raise NonFiniteError(f"the input of {where} has {found}")


def _look_at_output(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    outputs = output if isinstance(output, tuple) else (output,)
    if (found := _found(outputs)) is None:
        return
    broken = next((key for key, value in module.named_parameters() if _found((value,)) is not None), None)
    why = "although its input has none" if broken is None else f"as its parameter {broken} is not finite"
    raise NonFiniteError(f"{name or 'the model'} ({type(module).__name__}) gives {found}, {why}")


def _found(values: tuple[Any, ...]) -> str | None:
    """Return what is wrong with the first floating tensor that is not finite, None if all are."""
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            num_nan, num_infinite = int(value.isnan().sum()), int(value.isinf().sum())
            return f"{num_nan:,} NaN and {num_infinite:,} infinite of {value.numel():,} numbers"
    return None
