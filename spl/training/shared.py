"""An update shared among processes: each takes its rows of the batch, and all take the same step.

Sums over the processes make the step that of one process alone, but for rounding: of gradients, of losses,
and of the statistics of batch normalisation. Without other processes nothing is changed, to the bit.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from spl.config.errors import UsageError
from spl.processes.ranks import num_ranks, rank

S = TypeVar("S")


def mine(batch: S) -> S:
    """Return this process's rows of a batch, a tensor or a list; the first ones may have one more."""
    if (parts := num_ranks()) == 1:
        return batch
    rows: Any = batch
    first, end = _share(len(rows), parts, rank())
    found: S = rows[first:end]
    return found


def _share(count: int, parts: int, place: int) -> tuple[int, int]:
    each, more = divmod(count, parts)
    first = place * each + min(place, more)
    return first, first + each + (place < more)


def check_shares(least: int) -> None:
    """Refuse to share batches of ``least`` rows among more processes than that.

    Raises:
        UsageError: in one sentence.
    """
    if least < num_ranks():
        raise UsageError(
            f"an epoch's last update has {least} samples for {num_ranks()} processes: choose another "
            "--recipe.batch_size, or start fewer"
        )


class _Sum(torch.autograd.Function):
    """A sum over the processes; its gradient is the sum of theirs, as each has a loss of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0])


def summed(x: Tensor) -> Tensor:
    """Return the sum over the processes, with a graph; ``x`` itself where there are no others."""
    if num_ranks() == 1:
        return x
    found: Tensor = _Sum.apply(x)
    return found


def gathered(rows: Tensor) -> Tensor:
    """Return ``(B, ...)`` of the rows ``(b, ...)`` that each process has of a batch, with a graph."""
    if (parts := num_ranks()) == 1:
        return rows
    count = int(summed(torch.tensor(len(rows), device=rows.device)))
    first, end = _share(count, parts, rank())
    shape = (count, *rows.shape[1:])
    return summed(rows.new_zeros(shape).index_add(0, torch.arange(first, end, device=rows.device), rows))


def mean(rows: Tensor) -> Tensor:
    """Return this process's part ``()`` of the mean over a batch of which it has the ``rows (b,)``."""
    if num_ranks() == 1:
        return rows.mean()
    return rows.sum() / summed(torch.tensor(len(rows), device=rows.device))


def agreed(is_so: bool) -> bool:
    """Return whether it is so in any of the processes."""
    if num_ranks() == 1:
        return is_so
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    return bool(summed(torch.tensor(int(is_so), device=device)))


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its sum over the processes; one that no process has stays None."""
    if num_ranks() == 1 or not parameters:
        return
    here = [p.grad is not None for p in parameters]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flags = torch.tensor(here, dtype=grads[0].dtype, device=grads[0].device)
    total = torch.cat([flags, *(grad.flatten() for grad in grads)])
    distributed.all_reduce(total)
    known, *pieces = torch.split(total, [len(grads), *(grad.numel() for grad in grads)])
    for p, grad, piece, is_known in zip(parameters, grads, pieces, known.tolist(), strict=True):
        p.grad = grad.copy_(piece.view_as(grad)) if is_known else None  # laid out in memory as before


class _Normalised(torch.autograd.Function):
    """``(x - mean) / sqrt(variance + eps)``, scaled and shifted, by the statistics of the whole batch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the rows ``(b, C, H, W)`` normalised, mean and variance ``(C,)``, and the values of each."""
        variance, middle = (one.double() for one in torch.var_mean(x, dim=(0, 2, 3), correction=0))
        count = middle.new_tensor(x.numel() / x.shape[1])
        here = torch.stack([count.expand_as(middle), count * middle, count * (variance + middle.square())])
        number, first, second = summed(here)  # (C,) each
        middle, variance = first / number, second / number - (first / number).square()
        mean, spread = middle.to(x.dtype), variance.clamp(min=0.0).to(x.dtype)
        ctx.save_for_backward(x, scale, mean, (spread + eps).rsqrt(), number.to(x.dtype))
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, spread, number)
        return nn.functional.batch_norm(x, mean, spread, scale, shift, eps=eps), mean, spread, number

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, scale, mean, inverse, number = ctx.saved_tensors
        wanted = [False, True, True]  # only the sums, over the rows here
        _, of_scale, of_shift = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, scale, None, None, mean, inverse, True, ctx.eps, wanted
        )
        slope, level = summed(torch.stack([of_scale, of_shift])) / number  # (C,) each
        factor, tilt = scale * inverse, scale * inverse.square() * slope
        offset = tilt * mean - factor * level
        of_x = gradients[0] * factor[:, None, None] - x * tilt[:, None, None] + offset[:, None, None]
        return of_x, of_scale, of_shift, None


class SharedNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch, of which each process has some rows.

    PyTorch's own, ``SyncBatchNorm``, is for GPUs alone.

    Source: Ioffe & Szegedy (2015), Batch normalization, algorithm 1 and the gradients of section 3.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(b, C, H, W)`` normalised; in evaluation mode by the running statistics, as ever."""
        if not self.training:
            return super().forward(x)
        exact = x.float()
        scale = exact.new_ones(self.num_features) if self.weight is None else self.weight
        shift = torch.zeros_like(scale) if self.bias is None else self.bias
        found, middle, variance, number = _Normalised.apply(exact, scale, shift, self.eps)
        self._run(middle, (variance * number / (number - 1.0)).to(variance.dtype))
        result: Tensor = found.to(x.dtype)
        return result

    @torch.no_grad()
    def _run(self, middle: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of a batch, ``(C,)`` each."""
        if not self.track_running_stats:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(middle, share)
        self.running_var.lerp_(variance, share)


def share_norms(model: nn.Module) -> None:
    """Let batch normalisations see whole batches where these are shared; they keep weights and names."""
    for module in model.modules() if num_ranks() > 1 else ():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SharedNorm
