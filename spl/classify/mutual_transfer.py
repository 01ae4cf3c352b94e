"""Two classifiers trained on the same batches, each towards the other's maps or predictions.

Where both are saved and judged is decided elsewhere.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from spl.classify.config import TransferConfig
from spl.classify.model import Classifier, Seen, Update
from spl.config.errors import UsageError
from spl.data.loading import Images
from spl.eval_mode import borrowed
from spl.receptive_fields.placement import Placement
from spl.saliency.local_transfer import (
    global_map,
    largest,
    map_distance,
    patches,
    placed,
    prediction_distance,
    tapped,
)
from spl.training.step import descend_together


class Mutual:
    """Takes the steps of two classifiers together, and counts how far they are from each other.

    Args:
        own, peer: on one device.
        config: what is carried over.
        image_size: height and width of the images.
        stages: the layers of each whose maps are summed where ``config`` names none.

    Raises:
        UsageError: if a layer does not serve, or the grid is too fine for it.
    """

    def __init__(
        self,
        own: Classifier,
        peer: Classifier,
        config: TransferConfig,
        image_size: int,
        stages: tuple[Sequence[str], Sequence[str]],
    ) -> None:
        self.pair, self.config = (own, peer), config
        self.layers = [config.layers or tuple(names) for names in stages]
        self.distance_sum = torch.zeros((), device=own.device)  # over the images of this epoch
        self.num_seen = 0
        self.placements: list[list[Placement]] = [[], []]  # of the layers of each that are looked at
        if config.kind == "maps":
            self.placements = [
                self._placed(*one, image_size)
                for one in zip(self.pair, self.layers, ("", "peer's "), strict=True)
            ]
            self.on = largest([one for each in self.placements for one in each])  # for both global maps
            try:
                patches(torch.zeros(1, *self.on.size), config.grid, overlap=config.overlap)
            except ValueError as error:
                raise UsageError(f"transfer: {error}") from error

    def _placed(self, one: Classifier, layers: Sequence[str], whose: str, image_size: int) -> list[Placement]:
        """Return where the layers of one that are looked at lie on an image."""
        empty = torch.zeros(1, 3, image_size, image_size, device=one.device)
        try:
            placements = placed(one.model, layers, empty)
            with borrowed(one.model), torch.no_grad(), tapped(one.model, layers, placements):
                one.model(empty)
        except ValueError as error:
            raise UsageError(f"transfer.layers: the {whose}{error}") from error
        return placements

    def update(self, batch: Images, weights: Tensor | None = None) -> tuple[Update, Update]:
        """Take one step with each, down its cross-entropy and its distance from the other, weighed alike.

        Both look before either moves, so neither is ahead.

        Raises:
            NonFiniteError: if loss or gradient is not finite; no step was taken, batch norms are as before.
        """
        own, peer = self.pair
        with own.undoing(), peer.undoing():
            (mine, theirs), distances = self._see(batch)
            weights = own.on_device(weights, mine.losses)
            losses = mine.losses + theirs.losses + self.config.weight * distances
            descend_together(losses, weights, [own.walker, peer.walker])
            self.distance_sum += distances.detach().sum() / 2
            self.num_seen += len(distances)
            return own.moved(mine, weights), peer.moved(theirs, weights)

    def _see(self, batch: Images) -> tuple[list[Seen], Tensor]:
        """Return what both make of a batch, and the sum of their distances from each other ``(B,)``."""
        config, is_looking = self.config, self.config.kind == "maps"
        with ExitStack() as stack:
            looked = [
                stack.enter_context(tapped(one.model, layers if is_looking else (), placements))
                for one, layers, placements in zip(self.pair, self.layers, self.placements, strict=True)
            ]
            seen = [one.see(batch) for one in self.pair]
        if is_looking:
            one, two = (
                global_map(features, placements, power=config.power, on=self.on)
                for features, placements in zip(looked, self.placements, strict=True)
            )
        else:
            one, two = (each.logits for each in seen)
        return seen, self._distance(one, two) + self._distance(two, one)

    def _distance(self, own: Tensor, peer: Tensor) -> Tensor:
        """Return how far one is from the other, ``(B,)``, by what is carried over."""
        config = self.config
        if config.kind == "predictions":
            return prediction_distance(own, peer, is_joint=config.is_joint)
        return map_distance(
            own,
            peer,
            grid=config.grid,
            overlap=config.overlap,
            below=config.below,
            is_joint=config.is_joint,
        )

    def row(self) -> dict[str, float]:
        """Return the mean distance of this epoch, and begin to count again."""
        mean = float(self.distance_sum) / max(1, self.num_seen)
        self.distance_sum, self.num_seen = torch.zeros_like(self.distance_sum), 0
        return {f"train/{self.config.kind}_distance": mean}

    def state_dict(self) -> dict[str, Any]:
        """Return what is counted; both classifiers keep theirs."""
        return {"distance_sum": self.distance_sum, "num_seen": self.num_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.distance_sum = state["distance_sum"].to(self.distance_sum.device)
        self.num_seen = int(state["num_seen"])
