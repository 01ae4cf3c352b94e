"""Hybrid attention (HAM): channel gates, then a spatial map for the important channels and one for the rest.

Source: Li, Fang, Zha, Gao, Zheng (2022), "HAM: Hybrid attention module in deep convolutional neural networks
for image classification", Pattern Recognition 129; equation numbers are theirs.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from spl.attention.cbam import PooledSpatialAttention
from spl.attention.eca import eca_kernel
from spl.attention.maps import AttentionMap
from spl.attention.pooling import largest, mean, mixed


class HAMChannelAttention(nn.Module):
    """Weigh each channel by a gate in (0, 1) from the means and maxima of its neighbours and itself.

    ``A = sigmoid(conv1d_k((mean + max) / 2 + alpha mean + beta max))`` (equations 5 to 7): one kernel of
    ``k`` weights along the channels, zeros beyond the ends, no bias. Its map is ``A (B, C, 1, 1)``.

    Args:
        channels: ``C``, from which ``k`` follows as in ECA.
        is_adaptive: have ``alpha`` and ``beta``, trained from 0.5 on; without them both count as 0.
        is_clamped: use ``alpha`` and ``beta`` within [0, 1], as the text (but not the authors' code) has it.

    Raises:
        ValueError: if ``is_clamped`` has nothing to clamp.
    """

    def __init__(self, channels: int, *, is_adaptive: bool = True, is_clamped: bool = False) -> None:
        super().__init__()
        if is_clamped and not is_adaptive:
            raise ValueError("is_clamped=True needs is_adaptive=True: without it there is nothing to clamp")
        kernel_size = eca_kernel(channels)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.alpha = nn.Parameter(torch.tensor(0.5)) if is_adaptive else None
        self.beta = nn.Parameter(torch.tensor(0.5)) if is_adaptive else None
        self.is_clamped = is_clamped
        self.map = AttentionMap()

    def gate(self, x: Tensor) -> Tensor:
        """Return the gates ``(B, C, 1, 1)`` of ``x (B, C, H, W)``."""
        positions = x.flatten(2)  # (B, C, H W)
        average, most = mean(positions, dim=2), largest(positions, dim=2)  # (B, C) each
        alpha, beta = (
            one.clamp(0, 1) if one is not None and self.is_clamped else one for one in (self.alpha, self.beta)
        )
        pooled = mixed(average, most, alpha, beta)  # (B, C)
        gate = torch.sigmoid(self.conv(pooled[:, None])[:, 0])  # (B, C)
        out: Tensor = self.map(gate[:, :, None, None])  # (B, C, 1, 1)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` with every channel scaled by its gate (equation 1)."""
        return x * self.gate(x)  # (B, C, H, W)


class PositionGate(nn.Module):
    """The end of equations 9 and 10, after the norm: ReLU, then sigmoid, so a gate is in [0.5, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.map = AttentionMap()

    def forward(self, normed: Tensor) -> Tensor:
        """Return the gates of ``normed``, ``(B, 1, H, W)`` both; they are the map."""
        out: Tensor = self.map(torch.sigmoid(torch.relu(normed)))
        return out


class HAMSpatialAttention(nn.Module):
    """Weigh each position of the more important channels by one map, of the other channels by another.

    The ``C_im`` channels of the largest gates are the important ones, and all that tie with the least of
    them. Either group is pooled over its channels to a mean and a maximum, convolved by one shared kernel,
    normalized and made a gate (equations 2, 3, 8 to 10). A group's mean divides by ``C_im`` or ``C - C_im``
    even where ties make it larger or smaller. No gradient flows through the choice of the channels.

    Args:
        channels: ``C``.
        share: ``lambda``; ``C_im`` is the even number nearest to ``lambda C``, of two the larger.
        kernel_size: odd.
        max_over: ``masked`` takes the maximum over all channels with the other group's set to 0, as the
            authors' code does, so no maximum is negative; ``own`` over the group's channels (0 if none).
        has_shared_norm: normalize both groups by one norm instead of one each.
        norm: ``batch`` normalizes over the batch, as the paper does; ``sample`` each map by its own mean and
            variance, the same in training and evaluation.

    Raises:
        ValueError: if an option is not of these, or leaves a group without channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        share: float = 0.6,
        kernel_size: int = 7,
        max_over: str = "masked",
        has_shared_norm: bool = False,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if norm not in ("batch", "sample"):
            raise ValueError(f"norm must be 'batch' or 'sample', got {norm!r}")
        if max_over not in ("masked", "own"):
            raise ValueError(f"max_over must be 'masked' or 'own', got {max_over!r}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the picture's size, got {kernel_size}")
        self.sizes = group_sizes(channels, share)
        self.max_over = max_over
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(1) if norm == "batch" else nn.GroupNorm(1, 1)
            for _ in range(1 if has_shared_norm else 2)
        )
        self.important = PositionGate()
        self.rest = PositionGate()

    def groups(self, gate: Tensor) -> Tensor:
        """Return the masks ``(B, 2, C)`` of the important and the other channels by ``gate (B, C, 1, 1)``."""
        values = gate.detach().flatten(1)  # (B, C)
        least = values.topk(self.sizes[0], dim=1).values[:, -1:]  # (B, 1)
        is_important = values >= least  # (B, C)
        return torch.stack((is_important, ~is_important), dim=1)  # (B, 2, C)

    def pool(self, x: Tensor, weights: Tensor, groups: Tensor) -> Tensor:
        """Return mean and maximum ``(B, 2, 2, H, W)`` of each group; ``weights (B, 2, C)`` are its gates."""
        B, _, H, W = x.shape
        shares = torch.stack([weights[:, k] / size for k, size in enumerate(self.sizes)], dim=1)
        average = shares @ x.flatten(2)  # (B, 2, H W)
        shift = None
        if self.max_over == "own":
            is_allowed = groups | ~groups.any(dim=2, keepdim=True)
            shift = torch.zeros_like(weights).masked_fill(~is_allowed, -math.inf)  # (B, 2, C)
        most: Tensor = GroupMax.apply(x, weights, shift)  # (B, 2, H, W)
        return torch.stack((average.view(B, 2, H, W), most), dim=2)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return ``x (B, C, H, W)`` scaled by its channels' ``gate (B, C, 1, 1)`` and its groups' maps.

        Raises:
            ValueError: if ``x`` has another number of channels.
        """
        if x.shape[1] != sum(self.sizes):
            raise ValueError(
                f"x must have {sum(self.sizes)} channels, for which HAM was made, got {x.shape[1]}"
            )
        groups = self.groups(gate)  # (B, 2, C)
        # The gates ride on the groups' masks, so that the channel refined feature is never written down.
        weights = (groups * gate.flatten(1)[:, None]).to(x.dtype)  # (B, 2, C)
        pooled = self.pool(x, weights, groups)  # (B, 2, 2, H, W)
        scores = self.conv(pooled.flatten(0, 1)).unflatten(0, (-1, 2))  # (B, 2, 1, H, W)
        normal = self.norms[0](scores[:, 0]), self.norms[-1](scores[:, 1])  # (B, 1, H, W) each
        rest = self.rest(normal[1])
        important = self.important(normal[0])  # the last map of a layer is the one that is shown
        maps = torch.cat((important, rest), dim=1).to(x.dtype)  # (B, 2, H, W)
        scale = weights.transpose(1, 2) @ maps.flatten(2)  # (B, C, H W)
        return x * scale.view(x.shape)  # (B, C, H, W)

    def macs_correction(self, x: Tensor, gate: Tensor) -> int:
        """Return the multiply-accumulates, negative, of two products that only pool and scale ``x``."""
        return -4 * x.numel()


class GroupMax(torch.autograd.Function):
    """The largest weighted channel at each position, for several weightings at once.

    Values come from ``amax``, which is ten times as fast as a maximum with its index; the index is looked for
    where a gradient needs it. Of channels that tie one gets the gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weights: Tensor, shift: Tensor | None) -> Tensor:
        """Return ``max_c (weights x + shift) (B, K, H, W)`` for ``x (B, C, H, W)`` and two ``(B, K, C)``."""
        return torch.stack(
            [weighted(x, weights, shift, k).amax(dim=1) for k in range(weights.shape[1])], dim=1
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weights, shift = ctx.saved_tensors
        with torch.no_grad():
            index = torch.stack(
                [weighted(x, weights, shift, k).max(dim=1).indices for k in range(weights.shape[1])], dim=1
            )  # (B, K, H, W)
        flat = index.flatten(2)  # (B, K, H W)
        factor = weights.gather(2, flat).view_as(index)  # (B, K, H, W)
        grad_x = torch.zeros_like(x).scatter_add(1, index, grad * factor)
        grad_weights = torch.zeros_like(weights).scatter_add(2, flat, (grad * x.gather(1, index)).flatten(2))
        return grad_x, grad_weights, None


def weighted(x: Tensor, weights: Tensor, shift: Tensor | None, k: int) -> Tensor:
    """Return ``x (B, C, H, W)`` times the ``k``-th of ``weights (B, K, C)``, plus that of ``shift``."""
    out = x * weights[:, k, :, None, None]
    return out if shift is None else out.add_(shift[:, k, :, None, None])


def group_sizes(channels: int, share: float) -> tuple[int, int]:
    """Return ``C_im`` and ``C - C_im`` (equation 8).

    Raises:
        ValueError: if one of them is 0.
    """
    size = math.floor(round(share * channels, 9))  # 0.58 * 50 is 29, and not 28.999...
    size += size % 2
    if not 0 < size < channels:
        raise ValueError(
            f"share must leave both groups channels, got {share} of {channels}, which makes {size} important;"
            " choose another share, or have at least 3 channels"
        )
    return size, channels - size


class HAM(nn.Module):
    """Channel gates, then position maps for the more and the less important channels (equations 1 to 4).

    Args:
        channels: ``C``, at least 3.
        share: of the channels that are important, ``lambda``.
        kernel_size: of the position maps.
        max_over: ``masked`` or ``own``, see `HAMSpatialAttention`.
        has_shared_norm: one norm for both maps.
        norm: ``batch`` or ``sample``.
        is_adaptive: weigh mean and maximum by trained ``alpha`` and ``beta``.
        is_clamped: keep those in [0, 1].
        spatial: ``groups`` for HAM's own maps; its tables 1 and 2 also have ``pooled``, CBAM's one map for
            all channels, and ``none``, the channel gates alone.

    Raises:
        ValueError: if an option is not of these, or is for a spatial part that is not there.
    """

    def __init__(
        self,
        channels: int,
        *,
        share: float = 0.6,
        kernel_size: int = 7,
        max_over: str = "masked",
        has_shared_norm: bool = False,
        is_adaptive: bool = True,
        is_clamped: bool = False,
        norm: str = "batch",
        spatial: str = "groups",
    ) -> None:
        super().__init__()
        if spatial not in ("groups", "pooled", "none"):
            raise ValueError(f"spatial must be 'groups', 'pooled' or 'none', got {spatial!r}")
        if spatial != "groups" and (share, max_over, has_shared_norm) != (0.6, "masked", False):
            raise ValueError(f"share, max_over and has_shared_norm are for spatial='groups', got {spatial!r}")
        if spatial == "none" and kernel_size != 7:
            raise ValueError(f"kernel_size is of the spatial part: leave it out, got {kernel_size}")
        self.channel = HAMChannelAttention(channels, is_adaptive=is_adaptive, is_clamped=is_clamped)
        self.spatial: HAMSpatialAttention | PooledSpatialAttention | None = None
        if spatial == "pooled":
            self.spatial = PooledSpatialAttention(kernel_size=kernel_size)
        if spatial != "groups":
            return
        self.spatial = HAMSpatialAttention(
            channels,
            share=share,
            kernel_size=kernel_size,
            max_over=max_over,
            has_shared_norm=has_shared_norm,
            norm=norm,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        if isinstance(self.spatial, HAMSpatialAttention):
            out: Tensor = self.spatial(x, self.channel.gate(x))
            return out
        refined: Tensor = self.channel(x)
        return refined if self.spatial is None else self.spatial(refined)
