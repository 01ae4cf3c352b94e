"""Q-heads: how Q-values are made of an encoder's streams, trained and fused. Targets are not here.

A new one is a class here, its row in `HEADS`, and its name in `Fusion`.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from spl.agents.q_network.decoupled import Sizes, means_within, parts_of
from spl.models.encoder import Features, TwoStreamEncoder

Fusion = Literal["joint", "mdqn"]
MakeHead = Callable[[int, Sizes], nn.Module]


class QHead(nn.Module):
    """Q-values of one code: a linear layer, or value plus centred advantages.

    Dueling: ``Q(s, a) = V(s) + A(s, a) - mean_a A(s, a)``; of several dimensions one ``V`` and for each
    ``Q_j(s, a_j) = V(s) + A_j(s, a_j) - mean_b A_j(s, b)``. With ``quantiles`` the same of each quantile.

    Source: Wang et al. (2016), Dueling network architectures, equation 9; Tavakoli et al. (2018), Action
    branching architectures, equation 1.
    """

    def __init__(self, features: int, sizes: Sizes, *, dueling: bool, quantiles: int | None = None) -> None:
        super().__init__()
        self.sizes = sizes
        self.quantiles = quantiles
        width = 1 if quantiles is None else quantiles
        self.advantage = nn.Linear(features, sum(sizes) * width)
        self.value = nn.Linear(features, width) if dueling else None

    def forward(self, code: Tensor) -> Tensor:
        """Return ``(B, A)`` for ``code (B, D)``, in the precision of the weights; quantiles ``(B, A, N)``."""
        code = code.to(self.advantage.weight.dtype)
        advantage: Tensor = self.advantage(code)  # (B, A)
        value = None if self.value is None else self.value(code)  # (B, 1)
        if self.quantiles is not None:
            advantage = advantage.reshape(len(code), sum(self.sizes), self.quantiles)  # (B, A, N)
            value = None if value is None else value[:, None]  # (B, 1, N)
        if value is None:
            return advantage
        return value + advantage - means_within(advantage, self.sizes)  # type: ignore[no-any-return]


class Heads(nn.ModuleList):
    """What every row of `HEADS` is: ``n`` heads, each trained on its own target, and their fusion to act.

    Args:
        encoder: whose streams or code they read; it stays the network's own.
        sizes: of the action's dimensions; ``A`` is their sum.
        make_head: makes one of how many features it reads, and ``sizes``; where `no_dueling` says why not,
            no dueling one.
    """

    reads_code: ClassVar[bool] = True  # False: the streams alone, and the network has no joint code
    fuses_shares: ClassVar[bool] = False  # True: what is acted on are shares of Q-values, not Q-values
    no_dueling: ClassVar[str | None] = None
    no_thirds: ClassVar[str | None] = None  # why thirds cannot be learned; None: heads.0 reads the joint code

    def __init__(self, encoder: TwoStreamEncoder, sizes: Sizes, make_head: MakeHead) -> None:
        super().__init__(make_head(width, sizes) for width in self.widths(encoder))
        self.sizes = sizes

    @abstractmethod
    def widths(self, encoder: TwoStreamEncoder) -> list[int]:
        """Return how many features each of the ``n`` heads reads."""

    @abstractmethod
    def values(
        self,
        encoder: TwoStreamEncoder,
        streams: Features,
        present: Tensor,
        beside: Tensor | None = None,
        fractions: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the ``n`` times ``(B, A)`` that are trained, for ``present (B, 2)``.

        ``beside`` is what joins at the joint code, as `TwoStreamEncoder.code` takes it; ``fractions (B, N)``
        say which quantiles implicit heads give.
        """

    def of(self, head: int, code: Tensor, fractions: Tensor | None = None) -> Tensor:
        """Return what one head makes of ``code (B, D)``."""
        values: Tensor = self[head](code) if fractions is None else self[head](code, fractions)
        return values

    @abstractmethod
    def fused(self, values: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return the ``(B, A)`` that are acted on, of ``values`` and ``present (B, 2)``."""

    @abstractmethod
    def counting(self, present: Tensor) -> Tensor:
        """Return ``(B, n)``, by which each head's loss counts in that of a transition.

        ``present (B, 2)`` says what is there both at the transition and in what its target is made of.
        """


class JointHead(Heads):
    """One head that reads the joint code, ``heads.0``."""

    def widths(self, encoder: TwoStreamEncoder) -> list[int]:
        """Return the width of the joint code."""
        return [encoder.features]

    def values(
        self,
        encoder: TwoStreamEncoder,
        streams: Features,
        present: Tensor,
        beside: Tensor | None = None,
        fractions: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the head's ``(B, A)``."""
        return [self.of(0, encoder.code(streams, present, beside), fractions)]

    def fused(self, values: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return the head's ``(B, A)``."""
        return values[0]

    def counting(self, present: Tensor) -> Tensor:
        """Return ones ``(B, 1)``."""
        return torch.ones_like(present[:, :1])


class StreamHeads(Heads):
    """A head per stream, ``heads.0`` and ``heads.1``, each trained on its own and fused only to act.

    A head learns where its stream is present both when the action is taken and in what its target is made
    of: of an absent stream it never learned a value. Source: Qureshi et al. (2016), as in
    :func:`fuse_normalised`.
    """

    reads_code, fuses_shares = False, True
    no_dueling = no_thirds = "has one head per stream"

    def __init__(self, encoder: TwoStreamEncoder, sizes: Sizes, make_head: MakeHead) -> None:
        super().__init__(encoder, sizes, make_head)
        self.built = [stream for stream, size in enumerate(encoder.stream_features) if size]  # in ``present``

    def widths(self, encoder: TwoStreamEncoder) -> list[int]:
        """Return the width of each stream that is built."""
        return [size for size in encoder.stream_features if size]

    def values(
        self,
        encoder: TwoStreamEncoder,
        streams: Features,
        present: Tensor,
        beside: Tensor | None = None,
        fractions: Tensor | None = None,
    ) -> list[Tensor]:
        """Return ``(B, A)`` of each stream that is built."""
        built = [part for part in streams if part is not None]
        return [self.of(head, part, fractions) for head, part in enumerate(built)]

    def fused(self, values: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return the normalised mean ``(B, A)``, of each dimension for itself."""
        parts = zip(*(parts_of(value, self.sizes) for value in values), strict=True)
        return torch.cat([fuse_normalised(part, present[:, self.built]) for part in parts], dim=1)

    def counting(self, present: Tensor) -> Tensor:
        """Return the flags ``(B, n)`` of the streams that are built."""
        return present[:, self.built]


def fuse_normalised(values: Sequence[Tensor], present: Tensor) -> Tensor:
    """Average the streams' Q-values, each divided by its sum over actions.

    ``Q = sum_s w_s Q_s / sum_a Q_s(a)``, with ``w_s`` equal over the streams that are present (over all
    where none is). The original divides by whatever the sum is: one below 0 flips the order, and one near 0
    lets a stream that hardly prefers an action overrule the other. So where a stream's smallest value is
    negative it is subtracted first, and equal values give equal shares.

    Args:
        values: per stream ``(B, A)``.
        present: ``(B, S)`` flags in the order of ``values``.

    Returns:
        ``(B, A)``, 0 to 1; each row sums to 1.

    Source: Qureshi et al. (2016), Robot gains social intelligence through multimodal deep reinforcement
    learning, section III.
    """
    stacked = torch.stack(list(values), dim=1)  # (B, S, A)
    shifted = stacked - stacked.amin(dim=2, keepdim=True).clamp(max=0.0)
    total = shifted.sum(dim=2, keepdim=True)
    shares = torch.where(total > 1e-6, shifted / total.clamp(min=1e-6), 1.0 / stacked.shape[2])  # (B, S, A)
    weights = present.to(stacked.dtype)  # (B, S)
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, torch.ones_like(weights))
    return (shares * (weights / weights.sum(dim=1, keepdim=True))[:, :, None]).sum(dim=1)  # (B, A)


HEADS: dict[Fusion, type[Heads]] = {
    "joint": JointHead,
    "mdqn": StreamHeads,
}
