"""The curriculum over a fixed set of samples: which samples each round includes.

A round is as many updates as an epoch without a curriculum. No model and no data are known here.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spl.curriculum.config import CurriculumConfig
from spl.curriculum.pace import absolute_pace, easiest_of_groups, share_at
from spl.curriculum.soft import below
from spl.curriculum.weights import SCHEMES, diversity

_RANDOM = 0x5EED  # beside the seed: of the difficulty that random draws


class Round(NamedTuple):
    """What the updates of a round are drawn from."""

    order: NDArray[np.int64]  # (N,) samples as they come, each pass over all that are included
    weights: NDArray[np.float32]  # (N,) of every sample; 0: not included
    report: dict[str, float]  # numbers for a row
    num_included: int  # samples in a pass


class Curriculum:
    """Samples and their last losses; the weights of a round follow from them when it begins.

    Between two rounds the model descends the weighted mean: that is the alternation of self-paced learning.

    Args:
        config: which samples when.
        num_samples: ``N``.
        num_rounds: of the run.
        seed: of the permutations, which are those of a run without a curriculum while all are included.
        groups: ``(N,)`` integers, the labels; None: all samples are of one group.
        difficulty: ``(N,)``, with ``predefined``.

    Raises:
        ValueError: if groups or difficulties are not ``N``, a difficulty does not serve, the warm-up takes
            all rounds, or an absolute pace leaves what its form can take.
    """

    def __init__(
        self,
        config: CurriculumConfig,
        num_samples: int,
        *,
        num_rounds: int,
        seed: int,
        groups: NDArray[np.int64] | None = None,
        difficulty: NDArray[np.float32] | None = None,
    ) -> None:
        self.config, self.num_samples, self.num_rounds, self.seed = config, num_samples, num_rounds, seed
        for name, values in (("groups", groups), ("difficulty", difficulty)):
            if values is not None and values.shape != (num_samples,):
                raise ValueError(
                    f"{name} must have a number for each of the {num_samples:,} samples, got {values.shape}"
                )
        if difficulty is not None and config.name != "predefined":
            raise ValueError(
                f"difficulty is of the predefined curriculum, got one for {config.name}: leave it out"
            )
        is_grouped = config.groups and groups is not None and not self.is_uniform
        self.groups = np.zeros(num_samples, np.int64)
        if is_grouped:
            self.groups = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
        self.sizes = np.bincount(self.groups)
        self._losses = np.zeros(0 if self.is_uniform else num_samples, np.float32)
        self._is_seen = np.zeros(self._losses.size, np.bool_)
        self._fixed = _fixed_scores(config, num_samples, seed, difficulty)
        self._rounds: dict[int, Round] = {}
        self._first = math.ceil(round(config.warmup * num_rounds, 9))  # round that chooses
        if not self.is_uniform and self._first >= num_rounds:
            raise ValueError(
                f"{config.name} would never choose: the warm-up of {config.warmup:.0%} takes the first "
                f"{self._first} of {num_rounds} epochs; give more epochs"
            )
        if not self.is_uniform and config.pace == "absolute":
            _check_reach(config, num_rounds - 1 - self._first)

    def __str__(self) -> str:
        return "uniform" if self.is_uniform else f"{self.config.name}, {self.config.scheme}"

    @property
    def is_uniform(self) -> bool:
        """Whether it makes no choice, and needs no losses."""
        return self.config.name == "uniform"

    @property
    def losses(self) -> NDArray[np.float32]:
        """The last loss of each sample, ``(N,)``; NaN where none was seen."""
        return np.where(self._is_seen, self._losses, np.float32(np.nan))

    def pace_at(self, number: int) -> float | None:
        """Return the share or the loss that a round allows; None: it includes everything."""
        config, first = self.config, self._first
        if self.is_uniform or number < first:
            return None
        if config.pace == "absolute":
            return absolute_pace(number - first, first=config.threshold, growth=config.growth)
        last = max(
            first, math.ceil(round(config.over * self.num_rounds, 9)) - 1
        )  # the first at the end's share
        progress = (number - first) / (last - first) if last > first else 1.0
        return share_at(
            progress, start=config.start, end=config.end, schedule=config.schedule, root=config.root
        )

    def see(self, indices: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Take the losses ``(B,)`` of samples ``(B,)``; of a sample given twice the last counts.

        Raises:
            ValueError: if there is not a loss for each, or one is of no sample.
        """
        if np.shape(losses) != np.shape(indices) or np.ndim(indices) != 1:
            raise ValueError(
                f"losses and indices must be (B,) both, got {np.shape(losses)} and {np.shape(indices)}"
            )
        if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < self.num_samples:
            raise ValueError(
                f"indices must be in 0..{self.num_samples - 1}, got {np.min(indices)} to {np.max(indices)}"
            )
        if not self.is_uniform:
            self._losses[indices] = losses
            self._is_seen[indices] = True

    def begin(self, number: int) -> Round:
        """Return a round, from 0; what it is made of is decided when it is first asked for.

        Raises:
            ValueError: if there is no such round.
        """
        if not 0 <= number < self.num_rounds:
            raise ValueError(f"the round must be in 0..{self.num_rounds - 1}, got {number}")
        if number not in self._rounds:
            pace = self.pace_at(number)
            weights = np.ones(self.num_samples, np.float32) if pace is None else self._weights(pace)
            is_empty = not weights.any()
            if is_empty:
                weights = self._least()
            told = {"not_finite": self._num_not_finite(), "is_empty": float(is_empty)}
            told |= {"warmup": 1.0} if pace is None else {"warmup": 0.0, "pace": pace}
            self._rounds = {old: kept for old, kept in self._rounds.items() if old >= number - 1}
            self._rounds[number] = self._round(number, weights, told)
        return self._rounds[number]

    def state_dict(self) -> dict[str, Any]:
        """Return losses, the rounds that have begun, and the difficulties that a user gave."""
        rounds = {} if self.is_uniform else {number: one._asdict() for number, one in self._rounds.items()}
        is_given = self.config.name == "predefined"
        return {
            "losses": self._losses.copy(),
            "is_seen": self._is_seen.copy(),
            "rounds": rounds,
            "difficulty": self._fixed if is_given else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            ValueError: if it is of another number of samples, or of other difficulties.
        """
        if state["losses"].shape != self._losses.shape:
            raise ValueError(
                f"its curriculum is of {len(state['losses']):,} samples, not {len(self._losses):,}"
            )
        difficulty = state["difficulty"]
        if difficulty is not None and not np.array_equal(difficulty, np.asarray(self._fixed)):
            raise ValueError(f"the difficulties in {self.config.difficulty} are not those it began with")
        self._losses, self._is_seen = state["losses"].copy(), state["is_seen"].copy()
        self._rounds = {int(number): Round(**one) for number, one in state["rounds"].items()}

    def _scores(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return how hard each sample is, ``(N,)``, and of which that is known; infinite where it is not."""
        if self._fixed is not None:
            return self._fixed, np.ones(self.num_samples, np.bool_)
        is_known = self._is_seen & np.isfinite(self._losses)
        signed = -self._losses if self.config.name == "anti" else self._losses
        return np.where(is_known, signed, np.float32(np.inf)), is_known

    def _num_not_finite(self) -> float:
        return float(np.count_nonzero(self._is_seen & ~np.isfinite(self._losses)))

    def _weights(self, pace: float) -> NDArray[np.float32]:
        scores, is_known = self._scores()
        weigh = self._weights_of_share if self.config.pace == "quantile" else self._weights_of_loss
        weights = weigh(scores, is_known, pace)
        if self._fixed is None and self.config.unseen == "include":
            weights[~self._is_seen] = 1.0
        return weights

    def _weights_of_loss(
        self, scores: NDArray[np.float32], is_known: NDArray[np.bool_], pace: float
    ) -> NDArray[np.float32]:
        """Return the closed form at an absolute pace; SPLD's gamma grows as the pace does."""
        options = self._options()
        if self.config.scheme == "spld":
            options["gamma"] *= pace / self.config.threshold
        return self._form(scores, pace, options)

    def _weights_of_share(
        self, scores: NDArray[np.float32], is_known: NDArray[np.bool_], share: float
    ) -> NDArray[np.float32]:
        """Include the easiest share of each group; a soft form then weighs them against the first left out.

        SPLD includes the easiest share of all samples, each group's bonus taken off their losses.
        """
        scheme, groups, sizes = self.config.scheme, self.groups, self.sizes
        if scheme == "spld":
            bonus = diversity(torch.from_numpy(scores), torch.from_numpy(groups), self.config.gamma)
            scores, groups, sizes = scores - bonus.numpy(), np.zeros_like(groups), np.array([len(scores)])
        available = np.bincount(groups[is_known], minlength=len(sizes))
        counts = np.minimum(np.maximum(1, np.rint(share * sizes).astype(np.int64)), available)
        selection = easiest_of_groups(scores, groups, counts)
        chosen = selection.is_included.astype(np.float32)
        if scheme in ("hard", "spld"):
            return chosen
        limits, places = selection.thresholds[groups], np.flatnonzero(selection.is_included)
        weights = np.zeros_like(chosen)
        weights[places] = below(scheme, scores[places], limits[places], groups[places], self._options())
        return weights

    def _options(self) -> dict[str, float]:
        return {name: getattr(self.config, name) for name in SCHEMES[self.config.scheme].options}

    def _form(
        self, scores: NDArray[np.float32], pace: float, options: dict[str, float]
    ) -> NDArray[np.float32]:
        groups = [torch.from_numpy(self.groups)] if self.config.scheme == "spld" else []
        weigh = SCHEMES[self.config.scheme].weights
        return np.asarray(weigh(torch.from_numpy(scores), *groups, pace, **options).numpy())

    def _least(self) -> NDArray[np.float32]:
        """Return weights that include the easiest of each group, or all if nothing is known of any."""
        scores, is_known = self._scores()
        counts = np.minimum(1, np.bincount(self.groups[is_known], minlength=len(self.sizes)))
        is_included = easiest_of_groups(scores, self.groups, counts).is_included
        return (is_included if is_included.any() else ~is_included).astype(np.float32)

    def _round(self, number: int, weights: NDArray[np.float32], told: dict[str, float]) -> Round:
        """Return a round whose passes are permutations of the included, or each from easy to hard."""
        included = np.flatnonzero(weights)
        generator = np.random.default_rng([self.seed, number])
        order = included[generator.permutation(len(included))]
        num_passes = -(-self.num_samples // len(included))
        if self.config.order == "easy-first" and self.pace_at(number) is not None:
            rising = included[np.argsort(self._scores()[0][included], kind="stable")]
            order = np.tile(rising, num_passes)[: self.num_samples]
        elif num_passes > 1:
            more = generator.permuted(np.tile(included, (num_passes - 1, 1)), axis=1)
            order = np.concatenate([order, more.ravel()])[: self.num_samples]
        told = {"share": len(included) / self.num_samples, "weight": float(weights[included].mean()), **told}
        if not self.is_uniform:
            losses = self._losses[included[self._is_seen[included]]]
            told["threshold"] = float(losses.max(where=np.isfinite(losses), initial=-np.inf))
        if told.get("threshold") == -math.inf:  # no loss is known: nothing to tell
            del told["threshold"]
        return Round(order, weights, told, len(included))


def _fixed_scores(
    config: CurriculumConfig, num_samples: int, seed: int, difficulty: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """Return how hard the samples are if no loss tells: ``(N,)``, or None."""
    if config.name == "random":
        return np.random.default_rng([seed, _RANDOM]).random(num_samples, np.float32)
    if config.name != "predefined":
        return None
    if difficulty is None or not np.isfinite(difficulty).all():
        wrong = (
            "none" if difficulty is None else f"{np.count_nonzero(~np.isfinite(difficulty)):,} that are not"
        )
        raise ValueError(f"difficulty must be a finite number for each sample, got {wrong}")
    if config.scheme not in ("hard", "spld") and (difficulty < 0).any():
        raise ValueError(
            f"difficulty must not be negative with scheme={config.scheme}, whose weights are by shares of "
            f"the pace, got {difficulty.min():g}; subtract the least one from all, or choose scheme=hard"
        )
    return np.asarray(difficulty, np.float32)


def _check_reach(config: CurriculumConfig, num_rounds: int) -> None:
    """Refuse an absolute pace that its form cannot take at first, or after ``num_rounds`` rounds."""
    first, growth = config.threshold, config.growth
    most = 1.0 if config.scheme == "logarithmic" else math.inf
    try:
        last = absolute_pace(max(0, num_rounds), first=first, growth=growth)
    except OverflowError:
        last = math.inf
    if not 0.0 < min(first, last) <= max(first, last) < most:
        raise ValueError(
            f"the pace must stay above 0 and below {most:g} with scheme={config.scheme}, got a threshold of "
            f"{first:g} that becomes {last:g} at a growth of {growth:g} a round"
        )
