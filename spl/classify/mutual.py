"""Two classifiers that learn from the same batches, each drawn towards what the other looks at or says.

Where both are saved and judged is decided elsewhere.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from spl.batches import Images
from spl.borrowing import evaluating
from spl.classify.classifier import Classifier, Seen, Update
from spl.config import UsageError
from spl.descent import clip, descend, gradient_norm
from spl.resnet import ResNet
from spl.transfer import global_map, largest, map_distance, patches, prediction_distance, tapped


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """With whom a classifier learns together, and what each takes from the other."""

    peer: str | None = None  # network that learns beside it, with weights of its own; null: it learns alone
    attention: str = "none"  # of the peer
    kind: Literal["maps", "predictions", "none"] = "maps"  # what is carried over
    weight: float = 1.0  # of its term, beside the cross-entropy's 1
    layers: tuple[str, ...] = ()  # of both, whose maps are summed; empty: all stages
    power: float = 1.0  # of the features in a layer's map
    grid: int = 4  # patches along each side of the summed map
    overlap: float = 0.0  # share of a patch that the next one has, too
    below: float | None = None  # carry over patches whose correlation is below this; null: all
    is_joint: bool = False  # let the gradient of each one's term reach the other, too

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf or not 0 < self.power < math.inf:
            raise ValueError(
                f"weight must not be negative and power be positive, got {self.weight} and {self.power}"
            )
        if self.grid < 1 or not 0.0 <= self.overlap < 1.0:
            raise ValueError(
                f"grid must be at least 1 and overlap in [0, 1), got {self.grid} and {self.overlap}"
            )
        if self.below is not None and not -1.0 < self.below <= 1.0:
            raise ValueError(f"below must be a correlation in (-1, 1], got {self.below}")


class Mutual:
    """Takes the steps of two classifiers together, and counts how far they are from each other.

    Args:
        own, peer: on one device.
        config: what is carried over.
        image_size: height and width of the images.

    Raises:
        UsageError: if a layer does not serve, or the grid is too fine for it.
    """

    def __init__(self, own: Classifier, peer: Classifier, config: TransferConfig, image_size: int) -> None:
        self.pair, self.config = (own, peer), config
        self.distance_sum = torch.zeros((), device=own.device)  # over the images of this epoch
        self.num_seen = 0
        if config.kind == "maps":
            try:
                self.size = max(map(largest, self._looked_at(image_size)), key=math.prod)
                patches(torch.zeros(1, *self.size), config.grid, overlap=config.overlap)
            except ValueError as error:
                raise UsageError(f"transfer: {error}") from error

    def _looked_at(self, image_size: int) -> list[list[Tensor]]:
        """Return what the layers of both give for an empty image."""
        found = []
        for one in self.pair:
            empty = torch.zeros(1, 3, image_size, image_size, device=one.device)
            with evaluating(one.model), torch.no_grad(), tapped(one.model, self._layers(one)) as features:
                one.model(empty)
            found.append(features)
        return found

    def _layers(self, one: Classifier) -> tuple[str, ...]:
        assert isinstance(one.model, ResNet), "so are all that spl train classifier makes"
        return self.config.layers or tuple(f"layer{1 + stage}" for stage in range(one.model.num_stages))

    def update(self, batch: Images, weights: Tensor | None = None) -> tuple[Update, Update]:
        """Take one step with each, down its cross-entropy and its distance from the other, weighed alike.

        Both look before either moves, so neither is ahead.

        Raises:
            NonFiniteError: if loss or gradient is not finite; no step was taken, batch norms are as before.
        """
        own, peer = self.pair
        with own.undoing(), peer.undoing():
            (mine, theirs), distances = self._see(batch)
            weights = own.weights(weights, mine.losses)
            losses = mine.losses + theirs.losses + self.config.weight * distances
            both = _Both(self.pair)
            parameters = [*own.parameters, *peer.parameters]
            descend(losses, weights, both, parameters, max_grad_norm=None)  # type: ignore[arg-type]
            self.distance_sum += distances.detach().sum() / 2
            self.num_seen += len(distances)
            return own.moved(mine, weights), peer.moved(theirs, weights)

    def _see(self, batch: Images) -> tuple[list[Seen], Tensor]:
        """Return what both make of a batch, and the sum of their distances from each other ``(B,)``."""
        config = self.config
        with ExitStack() as stack:
            if is_looking := config.kind == "maps":
                taps = [stack.enter_context(tapped(one.model, self._layers(one))) for one in self.pair]
            seen = [one.see(batch) for one in self.pair]
        if is_looking:
            one, two = (global_map(features, power=config.power, size=self.size) for features in taps)
            distances = [
                map_distance(
                    a,
                    b,
                    grid=config.grid,
                    overlap=config.overlap,
                    below=config.below,
                    is_joint=config.is_joint,
                )
                for a, b in ((one, two), (two, one))
            ]
        elif config.kind == "predictions":
            one, two = (each.logits for each in seen)
            distances = [
                prediction_distance(a, b, is_joint=config.is_joint) for a, b in ((one, two), (two, one))
            ]
        else:
            distances = [torch.zeros_like(each.losses) for each in seen]
        return seen, distances[0] + distances[1]

    def row(self) -> dict[str, float]:
        """Return the mean distance of this epoch, and begin to count anew."""
        mean = float(self.distance_sum) / max(1, self.num_seen)
        self.distance_sum, self.num_seen = torch.zeros_like(self.distance_sum), 0
        return {} if self.config.kind == "none" else {f"train/{self.config.kind}_distance": mean}

    def state_dict(self) -> dict[str, Any]:
        """Return what is counted; both classifiers keep theirs."""
        return {"distance_sum": self.distance_sum, "num_seen": self.num_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.distance_sum = state["distance_sum"].to(self.distance_sum.device)
        self.num_seen = int(state["num_seen"])


class _Both:
    """The optimizers of both, as one; each gradient is clipped on its own, as if the other were not there."""

    def __init__(self, pair: tuple[Classifier, Classifier]) -> None:
        self.pair = pair

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of both."""
        for one in self.pair:
            one.optimizer.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Take a step with each."""
        for one in self.pair:
            if one.recipe.max_grad_norm is not None:
                clip(one.parameters, one.recipe.max_grad_norm, gradient_norm(one.parameters))
            one.optimizer.step()
