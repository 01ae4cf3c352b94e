"""Greedy pre-training ahead of the whole: each layer of dense streams alone, one after the other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spl.data.audiovisual import NAMES, Pairs, PairSource
from spl.data.statistics import Moments
from spl.models.autoencoder import TwoStreamAutoencoder
from spl.pretrain.config import PretrainRecipe
from spl.pretrain.greedy_stages import Stage, greedy_stages
from spl.runs.directory import generator_of
from spl.training.step import descend, restore

MOMENT_SAMPLES = 1_024  # from which the variance of a layer's target is taken
MOMENT_BATCH = 64


class Layerwise:
    """The stages of `greedy_stages`, each trained for ``recipe.layer_epochs`` epochs; none if that is 0.

    Args:
        model: trained in place.
        recipe: epochs, samples per update, learning rate.
        source: where samples come from.
        seed: of their order and of what is hidden.
        device: where the model is.

    Raises:
        ValueError: if a stream is not dense.
    """

    def __init__(
        self,
        model: TwoStreamAutoencoder,
        recipe: PretrainRecipe,
        source: PairSource,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.recipe, self.source, self.seed, self.device = recipe, source, seed, device
        self.stages = list(greedy_stages(model)) if recipe.layer_epochs else []
        self.updates_per_epoch = -(-len(source) // recipe.batch_size)
        self.updates_per_stage = max(1, recipe.layer_epochs * self.updates_per_epoch)
        self.total_updates = len(self.stages) * self.updates_per_stage
        self.generator = torch.Generator().manual_seed(int(generator_of(seed, "layers").integers(2**63)))
        self.num_updates, self._losses = 0, 0.0  # the sum over the stage's epoch under way
        self._begin()

    def _begin(self) -> None:
        """Begin the stage that is due, if one is left."""
        number = self.num_updates // self.updates_per_stage
        if number == len(self.stages):
            return
        self.stage: Stage = self.stages[number]
        self.variance = self._variance_of_target()
        rate, is_fused = self.recipe.learning_rate, self.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.stage.parameters, lr=rate, fused=is_fused)

    def _variance_of_target(self) -> float:
        moments, modality = Moments(), self.stage.modality
        chosen = np.sort(generator_of(self.seed, "moments").permutation(len(self.source))[:MOMENT_SAMPLES])
        for first in range(0, len(chosen), MOMENT_BATCH):
            pairs = self.source.pairs(chosen[first : first + MOMENT_BATCH])
            moments.add(self.stage.target(pairs[modality][pairs.present[:, modality]].to(self.device)))
        return max(moments.variance, 1e-12)  # a layer whose units are all dead predicts itself

    def after(self, update: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the indices of every update from ``update`` on, with conditions that nobody reads."""
        size = self.recipe.batch_size
        for number in range(update, self.total_updates):
            epoch, place = divmod(number, self.updates_per_epoch)
            order = np.random.default_rng([self.seed, epoch, 1]).permutation(len(self.source))
            chosen = order[place * size : (place + 1) * size]
            yield chosen, np.zeros_like(chosen)

    def update(self, pairs: Pairs) -> None:
        """Take one step of the stage that is due.

        Raises:
            NonFiniteError: if loss or gradient is not finite; no step was taken.
        """
        x = pairs[self.stage.modality][pairs.present[:, self.stage.modality]].to(self.device)
        if len(x):
            losses = self.stage.losses(
                x, variance=self.variance, drop=self.recipe.layer_drop, generator=self.generator
            )
            norm, weights = self.recipe.max_grad_norm, torch.ones_like(losses)
            loss = descend(losses, weights, self.optimizer, self.stage.parameters, max_grad_norm=norm)
            self._losses += float(loss)
        self.num_updates += 1

    def end_epoch(self) -> dict[str, float | int | str] | None:
        """Return the row of the stage's epoch that has just ended, if one has; a next stage may begin."""
        if self.num_updates % self.updates_per_epoch:
            return None
        row: dict[str, float | int | str] = {
            "layer/modality": NAMES[self.stage.modality],
            "layer/number": self.stage.number,
            "layer/loss": self._losses / self.updates_per_epoch,
        }
        self._losses = 0.0
        if self.num_updates % self.updates_per_stage == 0:
            self._begin()
        return row

    def status(self) -> dict[str, Any]:
        """Return what a person wants to know while a stage is trained."""
        return {"layer": f"{self.stage.number} of {NAMES[self.stage.modality]}, alone"}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next update depends on, but the model."""
        is_over = self.num_updates == self.total_updates
        return {
            "num_updates": self.num_updates,
            "losses": self._losses,
            "optimizer": [] if is_over else [self.optimizer.state_dict()],
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; the model must have been restored before."""
        self.num_updates, self._losses = int(state["num_updates"]), float(state["losses"])
        self.generator.set_state(state["generator"])
        self._begin()
        for optimizer in state["optimizer"]:
            restore(self.optimizer, optimizer)
