"""A classification network: one loss per sample, one weight per sample, one step; and its scores."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spl.classify.config import RecipeConfig, TrainClassifierConfig, build_model
from spl.classify.metrics import Scores, Tally
from spl.config.errors import UsageError
from spl.data.images.datasets import ImageSets
from spl.data.loading import Images
from spl.eval_mode import evaluating
from spl.models.image.network_table import check_size
from spl.models.image.weights import DEFAULT, freeze_body, frozen_norms, read_weights, start_from
from spl.runs.directory import pick_device
from spl.training.compile import compiled
from spl.training.drawing import drawing
from spl.training.losses import classification
from spl.training.schedule import learning_rate_at
from spl.training.shared import gathered, mine, share_norms, summed
from spl.training.step import Walker, descend_together, restore


class Update(NamedTuple):
    """What an update says of its images, on the device."""

    loss: Tensor  # () weighted mean
    num_right: Tensor  # () images named as they are labelled
    losses: Tensor  # (B,)


class Seen(NamedTuple):
    """What a classifier makes of a batch before a step, with its graph."""

    labels: Tensor  # (B,)
    logits: Tensor  # (B, K)
    losses: Tensor  # (B,)


class Classifier:
    """A model, what trains it, and what is judged of it.

    Args:
        model: ``(B, 3, H, W) -> (B, K)``; moved to ``device``.
        recipe: how it is trained.
        updates_per_epoch: turns the recipe's epochs into updates.
        mean, std: of each channel, in 0..1.
        device: where it computes.
        seed: of what layers such as dropout draw.
        is_bfloat16: compute in bfloat16 where that is safe; weights and losses stay float32.
        is_channels_last: keep the channels of images and weights together in memory.
        compile_with: makes the model that computes out of the one that holds the weights.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: RecipeConfig,
        *,
        updates_per_epoch: int,
        stats: tuple[tuple[float, ...], tuple[float, ...]],
        device: torch.device,
        seed: int,
        is_bfloat16: bool = False,
        is_channels_last: bool = False,
        compile_with: Callable[[nn.Module], Callable[..., Any]] | None = None,
    ) -> None:
        self.layout = torch.channels_last if is_channels_last else torch.contiguous_format
        self.model = model.to(device=device, memory_format=self.layout)  # type: ignore[call-overload]
        self.recipe, self.device, self.seed = recipe, device, seed
        self.updates_per_epoch, self.is_bfloat16 = updates_per_epoch, is_bfloat16
        self.mean, self.std = (torch.tensor(s, device=device)[:, None, None] * 255.0 for s in stats)
        self.num_updates = 0
        self.parameters = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.frozen = frozen_norms(self.model)
        self.optimizer = torch.optim.SGD(
            self.parameters,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.averaged: AveragedModel | None = None
        if recipe.ema_decay is not None:
            average = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
            self.averaged = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self._forward: Callable[..., Any] = self.model if compile_with is None else compile_with(self.model)

    @property
    def walker(self) -> Walker:
        """What takes its steps."""
        return Walker(self.optimizer, self.parameters, self.recipe.max_grad_norm)

    @property
    def judged(self) -> nn.Module:
        """The model whose scores count: the average of the weights where there is one."""
        return self.model if self.averaged is None else self.averaged.module

    def learning_rate_at(self, update: int) -> float:
        """Return the learning rate of an update, from 0."""
        recipe, per_epoch = self.recipe, self.updates_per_epoch
        return learning_rate_at(
            update,
            peak=recipe.learning_rate,
            num_updates=recipe.epochs * per_epoch,
            schedule=recipe.schedule,
            milestones=[epoch * per_epoch for epoch in recipe.milestones],
            factor=recipe.factor,
            warmup=recipe.warmup_epochs * per_epoch,
        )

    def inputs(self, images: Tensor) -> Tensor:
        """Return ``(B, 3, H, W)`` uint8 as the model takes them: on the device, mean 0 and deviation 1."""
        images = images.to(self.device, non_blocking=True)
        return images.to(torch.float32, memory_format=self.layout).sub_(self.mean).div_(self.std)

    def logits(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Return ``(B, K)`` float32 of images ``(B, 3, H, W)`` uint8."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bfloat16):
            logits = model(self.inputs(images))
        return logits.float()

    def update(self, batch: Images, weights: Tensor | None = None) -> Update:
        """Take one step down the losses weighed by ``weights (B,)``; None: all alike.

        Raises:
            NonFiniteError: if loss or gradient is not finite; no step was taken, batch norms are as before.
        """
        with self.undoing():
            seen = self.see(batch)
            weights = self.on_device(weights, seen.losses)
            descend_together(seen.losses, weights, [self.walker])
            return self.moved(seen, weights)

    @contextmanager
    def undoing(self) -> Iterator[None]:
        """Put the batch norms' statistics back if an update within is not taken."""
        before = [buffer.clone() for buffer in self.model.buffers()]
        try:
            yield
        except Exception:
            for buffer, old in zip(self.model.buffers(), before, strict=True):
                buffer.copy_(old)
            raise

    def see(self, batch: Images, *, is_learning: bool = True) -> Seen:
        """Return what the model, which learns, makes of a batch; set the learning rate of its step.

        One that is not learning stays in the mode that it is in.
        """
        if is_learning:
            self.model.train()
            for norm in self.frozen:
                norm.eval()
        labels = batch.labels.to(self.device, non_blocking=True)
        with drawing(self.device, self.seed, self.num_updates):
            logits = self.logits(self._forward, batch.images)
        losses = classification(logits, labels, label_smoothing=self.recipe.label_smoothing)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate_at(self.num_updates)
        return Seen(labels, logits, losses)

    def on_device(self, weights: Tensor | None, losses: Tensor) -> Tensor:
        """Return those of the weights ``(B,)`` that belong to the losses, which may be shared; 1 for None."""
        if weights is None:
            return torch.ones_like(losses)
        return mine(weights).to(self.device, non_blocking=True)

    def moved(self, seen: Seen, weights: Tensor) -> Update:
        """Count the step that was taken, and return what it says of its images."""
        self.num_updates += 1
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        losses, weights = gathered(seen.losses.detach()), gathered(weights)
        num_right = summed((seen.logits.detach().argmax(dim=1) == seen.labels).sum())
        return Update((losses * weights).mean(), num_right, losses)

    def score(
        self, batches: Iterable[Images], num_classes: int, answers: list[tuple[Tensor, Tensor]] | None = None
    ) -> Scores:
        """Return the scores of the judged model, which stays in the mode it was in.

        Args:
            batches: of images.
            num_classes: ``K``.
            answers: where the logits ``(B, K)`` and labels ``(B,)`` of each batch are put; None: nowhere.
        """
        tally, model = Tally(num_classes, self.device), self.judged
        compute: Callable[..., Any] = self._forward if self.averaged is None else model
        with evaluating(model), torch.inference_mode():
            for batch in batches:
                labels = batch.labels.to(self.device, non_blocking=True)
                logits = self.logits(compute, batch.images)
                tally.add(logits, labels, classification(logits, labels))
                if answers is not None:
                    answers.append((logits.cpu(), labels.cpu()))
        return tally.scores()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next update depends on."""
        return {
            "model": self.model.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        restore(self.optimizer, state["optimizer"])
        self.num_updates = int(state["num_updates"])


def build_classifier(config: TrainClassifierConfig, sets: ImageSets, updates_per_epoch: int) -> Classifier:
    """Return a fresh classifier.

    Raises:
        UsageError: if model or device do not serve.
    """
    model = build_model(config.model, len(sets.classes), config.seed)
    check_size(config.model.name, sets.size, "--data.image_size")
    if config.recipe.freeze:
        freeze_body(model, config.model.name)
    share_norms(model)
    try:
        device = pick_device(config.device)
        return Classifier(
            model,
            config.recipe,
            updates_per_epoch=updates_per_epoch,
            stats=(sets.mean, sets.std),
            device=device,
            seed=config.seed,
            is_bfloat16=config.precision == "bfloat16",
            is_channels_last=config.channels_last,
            compile_with=(lambda whole: compiled(whole, device)) if config.compile else None,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def start(
    model: nn.Module, config: TrainClassifierConfig, sets: ImageSets, *, needs_head: bool = False
) -> str | None:
    """Load the weights that a run starts from into its model; return what is new in it, None without any.

    The last layer is taken over where its classes are those of the images; of a file that does not say which
    they are, where they are as many.

    Raises:
        UsageError: if there are no such weights, they are another network's, or ``needs_head`` and they tell
            other classes than those of the images.
    """
    if (source := config.model.weights) is None:
        return None
    weights = read_weights(source, config.model.name)
    is_same = weights.classes in (None, sets.classes)
    keeps_head = config.data.name == "imagenet" if source == DEFAULT else is_same
    try:
        told = start_from(model, config.model.name, weights, keeps_head=keeps_head)
    except ValueError as error:
        raise UsageError(f"model.weights {source}: {error}") from error
    if needs_head and "the last layer" in told:
        raise UsageError(
            f"model.weights {source}: they tell other classes than the images have; name a run on these"
        )
    return told
