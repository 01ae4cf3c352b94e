"""The cost of a model: parameters, multiply-accumulates, and the memory of a forward pass.

The pass is made with tensors that have a shape and no contents, as a CPU would make it; a model on any device
will do, also on ``meta``. Nothing here measures time.
"""

from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """Of one forward pass."""

    macs: int
    peak_activation_bytes: int


def num_parameters(model: nn.Module) -> int:
    """Return the number of trainable and frozen weights, each tensor once; buffers are none."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, input_size: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of one forward pass: see `forward_cost`."""
    return forward_cost(model, input_size).macs


def peak_activation_bytes(model: nn.Module, input_size: tuple[int, ...]) -> int:
    """Return the most bytes of intermediate tensors alive at once in one forward pass: see `forward_cost`."""
    return forward_cost(model, input_size).peak_activation_bytes


def forward_cost(model: nn.Module, input_size: tuple[int, ...]) -> Cost:
    """Return what one forward pass of ``model`` over a float32 tensor of ``input_size`` takes.

    The model evaluates (running means in normalisations, no dropout) and no gradients are kept. Its weights
    and modes are as before afterwards.

    - ``macs``: multiply-accumulates of convolutions, linear layers, matrix products and dot-product
      attention. Biases, normalisations, activations, pooling and scaling are not counted. FLOPs are twice as
      many. A module that writes one of these as another (ECA a convolution as a sum, HAM pooling as a matrix
      product) has a method ``macs_correction``, called with its inputs: what to add to what is seen.
    - ``peak_activation_bytes``: after each operation, the bytes of all storages that the pass has made and
      that are still alive, its inputs and outputs among them; the largest of these sums. The input of the
      model, parameters and buffers do not belong to it, nor does what an operation needs only for itself.
      Views share their storage. Training keeps much more.

    Args:
        input_size: with the batch: ``(1, 3, 32, 32)``.

    Source: `torch.utils.flop_counter` halved, with dot-product attention as CPUs have it added.
    """
    corrections: list[int] = []

    def correct(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        corrections.append(module.macs_correction(*inputs))

    flops = FlopCounterMode(display=False, custom_mapping={_CPU_ATTENTION: _attention_flops})
    alive = _Alive()
    modes = {module: module.training for module in model.modules()}
    with ExitStack() as borrowed:
        for module, mode in modes.items():
            borrowed.callback(setattr, module, "training", mode)
            module.training = False
            if hasattr(module, "macs_correction"):
                borrowed.callback(module.register_forward_hook(correct).remove)
        borrowed.enter_context(torch.device("cpu"))
        borrowed.enter_context(torch.no_grad())
        borrowed.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        tensors = {
            name: torch.empty(
                tensor.shape, dtype=torch.float32 if tensor.is_floating_point() else tensor.dtype
            )
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        }
        x = torch.empty(input_size)
        borrowed.enter_context(alive)
        borrowed.enter_context(flops)
        torch.func.functional_call(model, tensors, (x,))
    return Cost(flops.get_total_flops() // 2 + sum(corrections), alive.peak)


_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *args: Any, **kwargs: Any) -> int:
    """Return the FLOPs of ``query @ key^T`` and of its product with ``value``, each ``(B, heads, L, D)``."""
    return 2 * query[:-1].numel() * key[-2] * (query[-1] + value[-1])


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages that operations make; ``peak`` is the largest sum of the bytes of those alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._sizes: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = {} if kwargs is None else kwargs
        outputs = function(*args, **kwargs)
        given = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(outputs):
            if isinstance(leaf, Tensor) and (storage := _storage(leaf)) not in given:
                self._sizes[storage] = leaf.untyped_storage().nbytes()
        for storage in [storage for storage in self._sizes if storage.expired()]:  # type: ignore[no-untyped-call]
            del self._sizes[storage]
        self.peak = max(self.peak, sum(self._sizes.values()))
        return outputs


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
