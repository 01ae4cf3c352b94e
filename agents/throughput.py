"""Throughput of a run, and where its time goes, between two rows of its log."""

import time
from typing import Any

import torch
from torch import Tensor

from spl.agents.q_network.thirds import VIEWS

LOSSES = ("loss", *(f"loss_{view}" for view in VIEWS))  # of all that was learned, and of each view


class Meter:
    """Counts updates and adds up their losses on the device, between two rows of the report."""

    def __init__(self, first_step: int = 0) -> None:
        self.started = self.since = time.monotonic()
        self.first_step = self.row_step = first_step  # of this stretch, of this row
        self.num_updates = 0  # of this stretch
        self.row_updates = 0  # since the last row, which may lie in an earlier stretch
        self.stretch_updates = 0  # of them, those of this stretch
        self.saving_s = self.evaluating_s = 0.0  # since the last row
        self.loss_sum: Tensor | None = None

    def add(self, loss: Tensor) -> None:
        """Count one update with its loss."""
        self.loss_sum = loss if self.loss_sum is None else self.loss_sum + loss
        self.num_updates += 1
        self.row_updates += 1
        self.stretch_updates += 1

    def row(self, step: int) -> dict[str, float | int]:
        """Return speed and mean loss since the last row, and begin the next; the tags are usual ones."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        values: dict[str, float | int] = {
            "time/fps": (step - self.row_step) / seconds,
            "time/updates_per_second": self.stretch_updates / seconds,
            "time/share_saving": self.saving_s / seconds,
        }
        if self.evaluating_s:
            values["time/share_evaluating"] = self.evaluating_s / seconds
        if self.loss_sum is not None:
            values |= {
                f"train/{name}": loss / self.row_updates
                for name, loss in zip(LOSSES, self.loss_sum.reshape(-1).tolist(), strict=False)
            }
        self.since, self.row_step, self.loss_sum = time.monotonic(), step, None
        self.row_updates, self.stretch_updates, self.saving_s, self.evaluating_s = 0, 0, 0.0, 0.0
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return what the next row needs of the updates so far."""
        return {"row_updates": self.row_updates, "loss_sum": self.loss_sum}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from :meth:`state_dict`."""
        self.row_updates = int(state["row_updates"])
        self.loss_sum = None if state["loss_sum"] is None else state["loss_sum"].to(device)
