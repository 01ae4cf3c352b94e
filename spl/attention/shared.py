"""One squeeze-excitation per stage: computed at the stage's first block, reused by all its blocks.

The gate lives for one pass through the stage. Our own nets hand it from block to block; for nets whose blocks
take nothing but their input, a `SharedStage` holds it open while it runs, for its own thread alone.
"""

import threading
from typing import Any

from torch import Tensor, nn

from spl.attention.se import SE


class _Pass(threading.local):
    """What the innermost stage that runs in this thread shares: its gate once it is there."""

    gates: list[Tensor] | None = None  # None: no stage runs; []: its first block has not come so far


_PASS = _Pass()


class SharedSE(SE):
    """Weigh each channel by a gate that every block of a stage uses and only the first computes.

    ``w = sigmoid(W2 relu(W1 mean(F)))`` with ``F`` the first block's last normalized output, before the add;
    block ``b`` gives ``relu(w * F_b + shortcut_b)``. Gradients of all blocks reach ``W1`` and ``W2``.
    Outside a stage that shares it is a plain squeeze-excitation. Its map is ``w (B, C, 1, 1)``.

    Its options are those of `SE`.

    Source: Bai and Joe (2024), "Deep learning methods with the improved attention for explainable image
    recognition"; only the abstract says how, and names neither the reduction nor the biases.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` scaled by its gates; a `SharedStage` keeps them for its other blocks."""
        gate = self.gate(x)  # (B, C, 1, 1)
        if _PASS.gates is not None:
            _PASS.gates = [gate]
        return x * gate  # (B, C, H, W)


class SharedGate(nn.Module):
    """Weigh each channel by the gate that the first block of the stage computed in this pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` scaled by the stage's gates ``(B, C, 1, 1)``.

        Raises:
            RuntimeError: outside the forward pass of a `SharedStage`, or before its first block.
        """
        if not _PASS.gates:
            raise RuntimeError(
                "a block reuses its stage's attention, but the stage's first block has not run in this pass; "
                "run the stage as a whole (and checkpoint whole stages, not their blocks)"
            )
        return x * _PASS.gates[0]  # (B, C, H, W)


class SharedStage(nn.Sequential):
    """Blocks that run one after the other and share a gate for as long as this stage runs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what the blocks make of ``x``; the gate is gone afterwards, on every path."""
        outer, _PASS.gates = _PASS.gates, []
        try:
            for block in self:
                x = block(x)
            return x
        finally:
            _PASS.gates = outer


def share_attention(stage: nn.Sequential, channels: int, **options: Any) -> list[nn.Module]:
    """Return a module for each block of ``stage``: the first computes the stage's gate, the others reuse it.

    Place the ``k``-th where the ``k``-th block's attention stands: after its last norm, before the add. All
    parameters are the first's. ``stage`` itself becomes a `SharedStage`, in place: its names, hooks and
    ``state_dict`` stay as they are. Each pass has a gate of its own, in each replica and thread, in a stage
    within a stage, and where `torch.utils.checkpoint` recomputes a whole stage.

    >>> net = torchvision.models.resnet50()
    >>> for block, attention in zip(net.layer1, share_attention(net.layer1, 256), strict=True):
    ...     block.bn3 = nn.Sequential(block.bn3, attention)

    Args:
        stage: the blocks, run in their order.
        channels: ``C`` of what the blocks weigh.
        options: of `SharedSE`.

    Raises:
        ValueError: if ``stage`` is not a plain sequence of blocks, has none, or shares already.
    """
    if type(stage).forward is not nn.Sequential.forward or len(stage) == 0:
        raise ValueError(
            f"stage must be an nn.Sequential of at least one block that shares no attention so far, "
            f"got {type(stage).__name__} of {len(list(stage.children()))}"
        )
    modules = [SharedSE(channels, **options), *(SharedGate() for _ in range(len(stage) - 1))]
    # Another class and not another module: what already refers to the stage keeps referring to it.
    stage.__class__ = SharedStage
    return modules
