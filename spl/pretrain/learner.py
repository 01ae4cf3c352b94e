"""An autoencoder and what trains it: one loss per view, one weight per view, one step."""

from typing import Any

import torch
from torch import Tensor

from spl.data.audiovisual import Pairs, PairSource
from spl.data.statistics import Moments
from spl.models.autoencoder import TwoStreamAutoencoder
from spl.pretrain.config import PretrainConfig, PretrainRecipe, build_model
from spl.pretrain.objective import Objective, Parts
from spl.runs.directory import generator_of, pick_device
from spl.training.schedule import learning_rate_at
from spl.training.shared import gathered, mine, share_norms
from spl.training.step import descend, restore


class Learner:
    """The model, its optimizer, and the number of updates taken.

    Args:
        model: moved to ``device``.
        objective: gives one loss per view.
        recipe: how it is trained.
        num_updates: of the whole run.
        device: where it computes.
    """

    def __init__(
        self,
        model: TwoStreamAutoencoder,
        objective: Objective,
        recipe: PretrainRecipe,
        *,
        num_updates: int,
        device: torch.device,
    ) -> None:
        self.model = model.to(device)
        self.objective, self.recipe = objective, recipe
        self.total_updates, self.device = num_updates, device
        self.num_updates = 0
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=recipe.learning_rate, fused=device.type in ("cpu", "cuda")
        )

    def learning_rate_at(self, update: int) -> float:
        """Return the learning rate of an update, from 0."""
        recipe = self.recipe
        return learning_rate_at(
            update,
            peak=recipe.learning_rate,
            num_updates=self.total_updates,
            schedule=recipe.schedule,
            warmup=recipe.warmup_epochs * self.total_updates // recipe.epochs,
        )

    def update(self, pairs: Pairs, conditions: Tensor, weights: Tensor | None = None) -> Parts:
        """Take one step on ``pairs``, each shown in its condition ``(B,)``; return what the losses were.

        ``weights (B,)`` are the views' in the mean that is descended; None: all alike.

        Raises:
            NonFiniteError: if loss or gradient is not finite; no step was taken.
        """
        parts = self.objective(self.model, pairs.to(self.device), conditions.to(self.device))
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate_at(self.num_updates)
        count = torch.ones(len(conditions)) if weights is None else weights
        norm = self.recipe.max_grad_norm
        descend(
            parts.losses, mine(count).to(self.device), self.optimizer, self.parameters, max_grad_norm=norm
        )
        self.num_updates += 1
        return parts._replace(losses=gathered(parts.losses.detach()))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next update depends on; the encoder under a key of its own."""
        model = self.model.state_dict()
        is_encoder = {name: name.startswith("encoder.") for name in model}
        return {
            "encoder": self.model.encoder.state_dict(),
            "decoders": {name: tensor for name, tensor in model.items() if not is_encoder[name]},
            "optimizer": self.optimizer.state_dict(),
            "corruption": self.objective.generator.get_state(),
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        encoder = {f"encoder.{name}": tensor for name, tensor in state["encoder"].items()}
        self.model.load_state_dict(encoder | state["decoders"])
        restore(self.optimizer, state["optimizer"])
        self.objective.generator.set_state(state["corruption"])
        self.num_updates = int(state["num_updates"])


def build_learner(
    config: PretrainConfig, source: PairSource, moments: tuple[Moments, Moments], num_updates: int
) -> Learner:
    """Return a fresh learner; its model predicts the means of `measure`.

    Raises:
        UsageError: if model or device do not serve.
    """
    model = build_model(config.encoder, source.spec, source.history, config.seed)
    share_norms(model)
    video, audio = moments
    model.begin_with(video.mean, audio.mean, video.variance)
    device = pick_device(config.device)
    generator = torch.Generator()
    generator.manual_seed(int(generator_of(config.seed, "corruption").integers(2**63)))
    objective = Objective(config.objective, (video.variance, audio.variance), generator)
    return Learner(model, objective, config.recipe, num_updates=num_updates, device=device)
