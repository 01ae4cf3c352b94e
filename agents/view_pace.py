"""Which view of a transition is learned when: the one whose loss falls, instead of a fixed third each."""

from typing import Any

import torch
from torch import Tensor

NEWEST, FORMER = 0.02, 0.002  # share of the newest update in the two means of a view's loss
FLOOR = 0.5  # of the weight, which every view has whatever its progress is
SMALL = 1e-6  # progress and losses below it count as none


class ViewPace:
    """Weighs the views of a batch by the progress of their losses.

    With ``m`` the mean of a view's loss over about the last 50 updates and ``M`` over about the last 500,
    its progress is ``p = max(0, M - m) / M``, and its weight ``floor + (1 - floor) V p / sum p`` of ``V``
    views: 1 on average, and 1 for all where none progresses. A view that is learned already, or cannot be
    yet, leaves its share to the others. Both means are corrected for their start, as Adam's are.

    Source: Oudeyer, Kaplan, Hafner (2007), Intrinsic motivation systems, for progress as what to learn next;
    Kumar, Packer, Koller (2010) for the pace set by the learner. Differs: the samples are views of one batch.
    """

    def __init__(self) -> None:
        self.means: Tensor | None = None  # (2, V), newest and former, uncorrected
        self.num_seen = 0

    def weights(self, losses: Tensor) -> Tensor:
        """Take the detached mean ``losses (V,)`` of an update; return the weight of each view ``(V,)``."""
        precise = torch.float32 if losses.device.type == "mps" else torch.float64  # which MPS has not
        rates = losses.new_tensor([[NEWEST], [FORMER]], dtype=precise)  # (2, 1)
        self.means = torch.zeros(2, len(losses)) if self.means is None else self.means
        moved = self.means.to(rates) + rates * (losses - self.means.to(rates))
        self.means = torch.where(moved.isfinite(), moved, self.means.to(rates))  # an update may be refused
        self.num_seen += 1
        newest, former = self.means / (1 - (1 - rates) ** self.num_seen)  # (V,) each
        progress = (former - newest).clamp(min=0) / former.clamp(min=SMALL)  # (V,)
        total = progress.sum()
        shares = torch.where(total > SMALL, len(losses) * progress / total.clamp(min=SMALL), 1.0)
        return (FLOOR + (1 - FLOOR) * shares).to(losses)

    def state_dict(self) -> dict[str, Any]:
        """Return the means and how often they moved."""
        return {"means": None if self.means is None else self.means.cpu(), "num_seen": self.num_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.means, self.num_seen = state["means"], int(state["num_seen"])
