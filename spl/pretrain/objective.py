"""The objective of an autoencoder: one loss per view, from its reconstructions of both modalities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from spl.config.fields import check_fields
from spl.config.ranges import Count0, NotNegative, Positive, Share
from spl.data.audiovisual import Pairs
from spl.data.corruptions import gaussian_noise, mask_blocks, shift_in_time
from spl.models.autoencoder import Modalities, Reconstruction, TwoStreamAutoencoder, mask
from spl.models.encoder import EncoderConfig
from spl.models.hidden_units import hidden_units
from spl.models.streams import in_units
from spl.training.losses import ALIGNMENT, SPARSITY, over_modalities, reconstruction
from spl.training.shared import gathered, mine

NUM_CONDITIONS = 3
Views = Literal["thirds", "random", "both", "video", "audio"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is shown, what is hidden, and what the code should be like."""

    views: Views = "thirds"  # views: both, video and audio a third each, one at random, or always the same
    video_weight: NotNegative = 1.0  # weight of the video's error, relative to predicting the mean
    audio_weight: NotNegative = 1.0  # weight of the audio's error, relative to predicting the mean
    alignment: Literal["none", "squared", "infonce"] = (
        "none"  # loss that pulls both modalities' codes together
    )
    alignment_weight: NotNegative = 1.0  # weight of the alignment loss
    temperature: Positive = 0.1  # temperature of infonce
    sparsity: Literal["none", "squared", "kl", "l1"] = "none"  # penalty on each unit's expected activation
    sparsity_target: Share = 0.05  # target of the expected activation; l1 has none
    sparsity_weight: NotNegative = 0.1  # weight of the sparsity penalty
    sparsity_of: Literal["code", "all"] = "code"  # units of the joint code, or of every dense layer too
    sparsity_per_layer: tuple[Share, ...] = ()  # target of each layer, the code's last; empty: one for all
    noise: NotNegative = 0.0  # standard deviation of noise on the input; 1 is full scale
    block: Share = 0.0  # side of a blanked block, as a share of rows and columns
    shift: Count0 = 0  # shift video and audio in time, each by at most so many steps

    def __post_init__(self) -> None:
        check_fields(self)
        if self.video_weight == self.audio_weight == 0:
            raise ValueError("video_weight and audio_weight must not both be 0: nothing would be learned")
        if self.sparsity == "none" and (self.sparsity_of, self.sparsity_per_layer) != ("code", ()):
            raise ValueError(
                "sparsity_of and sparsity_per_layer need a penalty: set sparsity to squared or l1"
            )
        if self.sparsity == "kl" and self.sparsity_of == "all":
            raise ValueError(
                "sparsity=kl needs activations in 0..1, and hidden layers have ReLU: use squared or l1, or "
                "sparsity_of=code"
            )
        if self.sparsity_per_layer and (self.sparsity, self.sparsity_of) != ("squared", "all"):
            raise ValueError(
                "sparsity_per_layer needs sparsity_of=all and sparsity=squared: set these, or give "
                "sparsity_target"
            )
        if self.alignment != "none" and self.views != "thirds":
            raise ValueError(f"alignment={self.alignment} needs views=thirds, got {self.views}")

    def check_code(self, encoder: EncoderConfig) -> None:
        """Raise ValueError if the codes of such an encoder do not suit the penalty."""
        if self.sparsity == "kl" and encoder.code_activation != "sigmoid":
            raise ValueError(
                "sparsity=kl needs codes in 0..1: set encoder.code_activation=sigmoid, or use squared or l1"
            )


class Parts(NamedTuple):
    """What the losses of a batch of views consist of."""

    losses: Tensor  # (B,) with a graph
    errors: Tensor  # (B, 2) of video and audio, detached; predicting the mean costs 1
    conditions: Tensor  # (B,)
    activation: Tensor  # mean of the code's units, detached


class Objective:
    """Computes `Parts` from pairs.

    Args:
        config: what counts how much.
        variances: of video and audio over the dataset, in the units of `in_units`.
        generator: of the corruptions, on the CPU.
    """

    def __init__(self, config: ObjectiveConfig, variances: tuple[float, float], generator: Generator) -> None:
        self.config, self.variances, self.generator = config, variances, generator

    def __call__(self, model: TwoStreamAutoencoder, pairs: Pairs, conditions: Tensor) -> Parts:
        """Return the losses of ``model`` on ``pairs``, each shown in its condition ``(B,)``.

        Of processes that share a batch each has the losses of its rows, and all else is that of the whole.
        """
        config = self.config
        shown = mask(self._corrupted(pairs.video), self._corrupted(pairs.audio), pairs.present, conditions)
        made, units = self._made(model, Modalities(*map(mine, shown)))
        errors = torch.stack(
            [
                reconstruction(output, in_units(clean, output.dtype), variance=variance)
                for output, clean, variance in zip(
                    made[:2], map(mine, pairs[:2]), self.variances, strict=True
                )
            ],
            dim=1,
        )  # (B, 2)
        weights = (config.video_weight, config.audio_weight)
        losses = over_modalities(errors, mine(pairs.present), weights=weights)  # (B,)
        if config.sparsity != "none":
            whole = {name: gathered(layer) for name, layer in units.items()}
            losses = losses + config.sparsity_weight * mine(self._sparsity(whole))
        if config.alignment != "none":
            apart = self._apart(gathered(made.code), pairs.present)
            losses = losses + config.alignment_weight * mine(apart)
        return Parts(losses, gathered(errors.detach()), conditions, gathered(made.code.detach()).mean())

    def _made(
        self, model: TwoStreamAutoencoder, shown: Modalities
    ) -> tuple[Reconstruction, dict[str, Tensor]]:
        """Return what ``model`` makes of what is shown, and the units ``(B, D)`` that are to be sparse."""
        if self.config.sparsity_of == "code":
            made = model(*shown)
            return made, {"code": made.code}
        with hidden_units(model) as units:
            made = model(*shown)
        return made, {**units, "code": made.code}

    def _sparsity(self, units: dict[str, Tensor]) -> Tensor:
        """Return the penalties of all layers, added up, ``(B,)``.

        Raises:
            ValueError: if there are targets for another number of layers.
        """
        targets = self.config.sparsity_per_layer or (self.config.sparsity_target,) * len(units)
        if len(targets) != len(units):
            raise ValueError(
                f"sparsity_per_layer must be {len(units)} numbers, one for each of {', '.join(units)}; "
                f"got {len(targets)}"
            )
        penalty = SPARSITY[self.config.sparsity]
        each = [penalty(layer, target) for layer, target in zip(units.values(), targets, strict=True)]
        return torch.stack(each).sum(dim=0)

    def _apart(self, code: Tensor, present: Tensor) -> Tensor:
        """Return how far the codes of video alone and audio alone lie apart, ``(B,)``, equal for all views.

        The views come in three blocks, as the aligned order has them. A sample that lacks a modality costs 0.
        """
        _, seen, heard = code.reshape(NUM_CONDITIONS, -1, code.shape[1])  # (B / 3, D) each
        has_both = present.reshape(NUM_CONDITIONS, -1, 2)[0].all(dim=1)  # (B / 3,)
        apart = code.new_zeros(len(seen))
        if has_both.any():
            found = ALIGNMENT[self.config.alignment](seen[has_both], heard[has_both], self.config.temperature)
            apart = apart.masked_scatter(has_both, found)
        return apart.repeat(NUM_CONDITIONS)

    def _corrupted(self, x: Tensor) -> Tensor:
        config = self.config
        steps: list[tuple[float, Callable[..., Tensor]]] = [
            (config.shift, shift_in_time),
            (config.noise, gaussian_noise),
            (config.block, mask_blocks),
        ]
        for amount, corrupt in steps:
            if amount > 0:
                x = corrupt(x, amount, self.generator)
        return x
