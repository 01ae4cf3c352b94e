"""The curriculum of a pretraining: a sample's difficulty is the mean of the latest losses of its views."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.config.errors import UsageError
from spl.curriculum import Curriculum, read_difficulty
from spl.curriculum.rounds import keep_round, row_of
from spl.data.audiovisual import Pairs, PairSource
from spl.data.mispairing import Mismatched
from spl.data.statistics import Moments
from spl.models.autoencoder import CONDITIONS
from spl.models.streams import in_units
from spl.pretrain.config import PretrainConfig
from spl.pretrain.data import ViewOrder
from spl.pretrain.objective import Parts
from spl.training.losses import reconstruction

SOFTENING = 0.01  # added to both errors of a share: a sample that is all mean has no share of its own
HIDDEN = {1: 1, 2: 0}  # by condition the modality that is not shown


class Pacing:
    """A curriculum over the samples, in groups of their labels; a sample is in with all of its views.

    With ``paced_by=across`` it goes by `across`: whether picture and sound tell of each other. The whole loss
    is smaller for whatever is quiet and empty, and says less of that.

    Args:
        config: of the run.
        source: of the samples.
        moments: of the source's video and audio.

    Raises:
        UsageError: if batches or alignment do not serve, or a file of difficulties does not.
    """

    def __init__(self, config: PretrainConfig, source: PairSource, moments: tuple[Moments, Moments]) -> None:
        self.by, self.moments = config.paced_by, moments
        self.is_mismatched = source.is_mismatched if isinstance(source, Mismatched) else None
        self.curriculum, self.order = ordered(config, source)
        size = 0 if self.curriculum.is_uniform else len(source)
        self._latest = np.full((len(CONDITIONS), size), np.nan, np.float32)  # of each view

    def weights(self, update: int, indices: Tensor) -> Tensor | None:
        """Return the weights ``(B,)`` of an update's views, of samples ``indices (B,)``; None: all alike."""
        if self.curriculum.is_uniform:
            return None
        one = self.curriculum.begin(update // self.order.updates_per_epoch)
        return torch.from_numpy(one.weights[indices.numpy()])

    def see(self, pairs: Pairs, parts: Parts) -> None:
        """Take what became of an update's views of ``pairs``."""
        if self.curriculum.is_uniform:
            return
        found = parts.losses if self.by == "loss" else across(parts, pairs, self.moments)
        samples = pairs.indices.numpy()
        self._latest[parts.conditions.cpu().numpy(), samples] = found.cpu().numpy()
        distinct = np.unique(samples)
        distinct = distinct[~np.isnan(self._latest[:, distinct]).all(axis=0)]
        self.curriculum.see(distinct, _mean_of_known(self._latest[:, distinct]))

    def row(self, epoch: int) -> dict[str, float]:
        """Return what to tell of an epoch, from 0."""
        shares = {}
        if self.is_mismatched is not None:
            shares["mismatched_share"] = float(self.is_mismatched[self.order.samples_of(epoch)].mean())
        return row_of(self.curriculum, epoch, **shares)

    def keep(self, folder: Path, epoch: int) -> None:
        """Keep what an epoch, from 0, was drawn from and what was lost, in the run's folder."""
        keep_round(folder, self.curriculum, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what the curriculum knows."""
        return {
            "num_samples": self.curriculum.num_samples,
            "latest": self._latest.copy(),
            "curriculum": self.curriculum.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; `ValueError` if it is of other samples or difficulties."""
        before, now = state["num_samples"], self.curriculum.num_samples
        if before != now:  # an epoch would have other updates
            raise ValueError(f"its data were {before:,} samples, and are {now:,} now")
        self.curriculum.load_state_dict(state["curriculum"])
        self._latest = state["latest"].copy()


def ordered(config: PretrainConfig, source: PairSource) -> tuple[Curriculum, ViewOrder]:
    """Return the curriculum of a run over the samples of ``source``, and the order that it gives the views.

    Raises:
        UsageError: as `Pacing`.
    """
    chosen, num_samples = config.curriculum, len(source)
    try:
        curriculum = Curriculum(
            chosen,
            num_samples,
            num_rounds=config.recipe.epochs,
            seed=config.seed,
            groups=source.labels(),
            difficulty=read_difficulty(chosen.difficulty, num_samples),
        )
        order = ViewOrder(
            num_samples,
            batch_size=config.recipe.batch_size,
            views=config.objective.views,
            is_aligned=config.objective.alignment != "none",
            seed=config.seed,
            num_epochs=config.recipe.epochs,
            curriculum=curriculum,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    return curriculum, order


def across(parts: Parts, pairs: Pairs, moments: tuple[Moments, Moments]) -> Tensor:
    """Return how wrong each view's hidden modality is made from the one shown.

    ``(error + c) / (own + c)``, where ``own`` is what predicting the data's mean would cost on that very
    sample (1 on average over the data) and ``c`` is `SOFTENING`. Near 0 is perfect, 1 no better than the
    mean, and above 1 the shown modality misleads, as when a picture has another's sound. The mean predictor
    gets 1 on every sample: with ``c`` below the line only, it would get less on quiet samples than on loud
    ones, and the quietest would come first.

    Args:
        parts: what became of the views.
        pairs: the views, ``B`` samples.
        moments: of the data's video and audio.

    Returns:
        ``(B,)``; NaN where both modalities are shown or the sample lacks one.
    """
    errors, conditions = parts.errors.cpu().float(), parts.conditions.cpu()
    shares = torch.full((len(conditions),), torch.nan)
    for condition, modality in HIDDEN.items():
        is_meant = (conditions == condition) & pairs.present.all(dim=1)
        if is_meant.any():
            clean, one = in_units(pairs[modality][is_meant]), moments[modality]
            own = reconstruction(one.mean.expand_as(clean), clean, variance=one.variance)
            shares[is_meant] = (errors[is_meant, modality] + SOFTENING) / (own + SOFTENING)
    return shares


def _mean_of_known(losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean ``(B,)`` of the views' losses ``(3, B)`` that are known; one of them is."""
    is_known = ~np.isnan(losses)
    total = np.where(is_known, losses, 0.0).sum(axis=0)
    return np.asarray(total / is_known.sum(axis=0), np.float32)
