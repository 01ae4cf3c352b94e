"""Two classifiers on the same batches, each learning from the other's maps or predictions, or one from one.

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
from spl.eval_mode import borrowed, evaluating
from spl.receptive_fields.placement import Placement, laid
from spl.saliency.distillation import attention_distance, flow_distance, flows
from spl.saliency.local_transfer import (
    global_map,
    largest,
    layer_map,
    map_distance,
    placed,
    prediction_distance,
    tapped,
)
from spl.training.step import descend_together


class Mutual:
    """Takes the steps of two classifiers together, and counts how far they are from each other.

    A peer with weights of its own teaches and stays as it is, in evaluation mode.

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
        if config.looks_inside:
            counts = [len(names) for names in self.layers]
            if config.kind != "maps" and counts[0] != counts[1]:
                raise UsageError(
                    f"transfer.kind={config.kind} compares layer by layer, and the networks have {counts[0]} "
                    f"and {counts[1]} stages: name layers of both in transfer.layers, or choose kind=maps"
                )
            looked = [
                self._look(*one, image_size)
                for one in zip(self.pair, self.layers, ("", "peer's "), strict=True)
            ]
            self.placements = [placements for _, placements in looked]
            try:
                self._distances([features for features, _ in looked])
            except ValueError as error:
                raise UsageError(f"transfer: {error}") from error

    def _look(
        self, one: Classifier, layers: Sequence[str], whose: str, image_size: int
    ) -> tuple[list[Tensor], list[Placement]]:
        """Return the features of the layers of one that are looked at, and where they lie on an image."""
        empty = torch.zeros(1, 3, image_size, image_size, device=one.device)
        try:
            placements = placed(one.model, layers, empty)
            with borrowed(one.model), torch.no_grad(), tapped(one.model, layers, placements) as features:
                one.model(empty)
        except ValueError as error:
            raise UsageError(f"transfer.layers: the {whose}{error}") from error
        return features, placements

    def update(self, batch: Images, weights: Tensor | None = None) -> tuple[Update, Update]:
        """Take one step with each that learns, down its cross-entropy and its distance from the other.

        Both are weighed alike, and look before either moves, so neither is ahead.

        Raises:
            NonFiniteError: if loss or gradient is not finite; no step was taken, batch norms are as before.
        """
        own, peer = self.pair
        with own.undoing(), peer.undoing():
            (mine, theirs), distances = self._see(batch)
            weights = own.on_device(weights, mine.losses)
            learners = [own] if self.is_taught else [own, peer]
            losses = mine.losses if self.is_taught else mine.losses + theirs.losses
            losses = losses + self.config.weight * distances
            descend_together(losses, weights, [one.walker for one in learners])
            self.distance_sum += distances.detach().sum() / len(learners)
            self.num_seen += len(distances)
            return own.moved(mine, weights), peer.moved(theirs, weights)

    @property
    def is_taught(self) -> bool:
        """Whether the peer teaches and does not learn."""
        return self.config.weights is not None

    def _see(self, batch: Images) -> tuple[list[Seen], Tensor]:
        """Return what both make of a batch, and the sum of the distances of those that learn ``(B,)``."""
        layers = self.layers if self.config.looks_inside else [(), ()]
        with ExitStack() as stack:
            looked = [
                stack.enter_context(tapped(one.model, names, placements))
                for one, names, placements in zip(self.pair, layers, self.placements, strict=True)
            ]
            seen = [self.pair[0].see(batch), self._see_peer(batch)]
        if not self.config.looks_inside:
            looked = [[one.logits] for one in seen]
        return seen, self._distances(looked)

    def _see_peer(self, batch: Images) -> Seen:
        peer = self.pair[1]
        if not self.is_taught:
            return peer.see(batch)
        with evaluating(peer.model), torch.no_grad():
            return peer.see(batch, is_learning=False)

    def _distances(self, looked: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return the distances of those that learn, added up ``(B,)``.

        Args:
            looked: the features of the layers of both, or their logits.

        Raises:
            ValueError: if the layers cannot be compared.
        """
        one, two = self._compared(looked)
        distances = self._distance(one, two)
        return distances if self.is_taught else distances + self._distance(two, one)

    def _compared(self, looked: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Return of each what is compared with the other's."""
        power, both = self.config.power, list(zip(looked, self.placements, strict=True))
        if self.config.kind == "maps":
            on = largest([one for each in self.placements for one in each])
            return [[global_map(features, places, power=power, on=on)] for features, places in both]
        if self.config.kind == "attention":
            shared = [largest(pair) for pair in zip(*self.placements, strict=True)]
            return [
                [
                    laid(layer_map(one, power=power), place, on)
                    for one, place, on in zip(features, places, shared, strict=True)
                ]
                for features, places in both
            ]
        if self.config.kind == "fsp":
            return [flows(features) for features in looked]
        return [list(logits) for logits in looked]

    def _distance(self, own: list[Tensor], peer: list[Tensor]) -> Tensor:
        """Return how far one is from the other, ``(B,)``, by what is carried over."""
        config, is_joint = self.config, self.config.is_joint
        if config.kind == "attention":
            return attention_distance(own, peer, is_joint=is_joint)
        if config.kind == "fsp":
            return flow_distance(own, peer, is_joint=is_joint)
        (mine,), (theirs,) = own, peer
        if config.kind == "predictions":
            return prediction_distance(mine, theirs, temperature=config.temperature, is_joint=is_joint)
        return map_distance(
            mine,
            theirs,
            grid=config.grid,
            overlap=config.overlap,
            below=config.below,
            is_joint=is_joint,
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
