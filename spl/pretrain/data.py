"""Where pairs for pretraining come from, and the order in which they are shown."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spl.clips import ClipConfig, load_clips
from spl.config import UsageError
from spl.curriculum import Curriculum
from spl.mismatch import Mismatched
from spl.pairs import Pairs, PairSource
from spl.pretrain.objective import Views
from spl.recordings import Recordings


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Which recordings or films."""

    recordings: tuple[str, ...] = ()  # folders of recordings, one label each
    films: ClipConfig = field(default_factory=lambda: ClipConfig(root=""))  # or a folder of video files
    history: int = 4  # steps in a sample of a recording
    stride: int = 1  # steps from one sample of a recording to the next
    mismatch: float = 0.0  # share of the samples that get the sound of another class, on purpose

    def __post_init__(self) -> None:
        for name in ("history", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.mismatch <= 1:
            raise ValueError(f"mismatch must be in [0, 1], got {self.mismatch}")


def load_pairs(config: PairsConfig, seed: int = 0) -> PairSource:
    """Return the source that ``config`` names; the seed decides what is mismatched.

    Raises:
        UsageError: if none or both are named, or the source does not serve.
    """
    source = _load(config)
    return Mismatched(source, config.mismatch, seed) if config.mismatch else source


def _load(config: PairsConfig) -> PairSource:
    if config.recordings and config.films.root:
        raise UsageError("data.recordings and data.films.root are both given; choose one")
    if config.recordings:
        folders = [Path(folder) for folder in config.recordings]
        return Recordings(folders, history=config.history, stride=config.stride)
    if config.films.root:
        return load_clips(config.films)
    raise UsageError(
        "there is nothing to learn from: give --data.recordings FOLDER,... (spl record makes them) or "
        "--data.films.root FOLDER (of video files with sound)"
    )


class ViewOrder:
    """Which samples are shown in which update, and which of their senses; from seed and update alone.

    ``thirds``: an epoch shows every sample three times, with both senses, the video alone and the audio
    alone: exactly a third each. ``random`` draws the condition of each of as many views. ``both`` never
    hides a sense, as often. ``is_aligned`` puts the three views of a sample into one update, one after the
    other: first all with both senses, then all with the video, then all with the audio.

    Args:
        num_samples: ``N``, of the source.
        batch_size: views in an update.
        views: as above.
        is_aligned: only with ``thirds``.
        seed: of the permutations.
        num_epochs: of ``3 N`` views each.
        curriculum: whose rounds' samples an epoch shows, three times each; None: all.

    Raises:
        ValueError: if there are fewer than 3 views in a batch, or ``is_aligned`` without ``thirds``.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        views: Views,
        is_aligned: bool,
        seed: int,
        num_epochs: int,
        curriculum: Curriculum | None = None,
    ) -> None:
        if batch_size < 3:
            raise ValueError(f"batch_size must be at least 3, a view of each kind, got {batch_size}")
        if is_aligned and views != "thirds":
            raise ValueError(f"alignment needs all three views of a sample: views=thirds, got {views}")
        self.num_samples, self.views, self.is_aligned, self.seed = num_samples, views, is_aligned, seed
        self.curriculum = None if curriculum is None or curriculum.is_uniform else curriculum
        self._per_update = batch_size // 3 if is_aligned else batch_size
        total = num_samples if is_aligned else 3 * num_samples
        self.updates_per_epoch = -(-total // self._per_update)
        self.num_updates = num_epochs * self.updates_per_epoch

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the indices and conditions, ``(B,)`` each, of every update."""
        return self.after(0)

    def after(self, update: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield as many, from ``update`` on."""
        before, views, samples = -1, np.zeros(0, np.int64), np.zeros(0, np.int64)
        for number in range(update, self.num_updates):
            epoch, place = divmod(number, self.updates_per_epoch)
            if epoch != before:
                before, views, samples = epoch, self._views_of(epoch), self.samples_of(epoch)
            chosen = views[place * self._per_update : (place + 1) * self._per_update]
            if self.is_aligned:
                yield np.tile(samples[chosen], 3), np.repeat(np.arange(3), len(chosen))
            else:
                yield samples[chosen % self.num_samples], chosen // self.num_samples

    def samples_of(self, epoch: int) -> NDArray[np.int64]:
        """Return the samples that an epoch shows, ``(N,)``; of a curriculum some twice, others not."""
        if self.curriculum is None:
            return np.arange(self.num_samples)
        return self.curriculum.begin(epoch).order

    def _views_of(self, epoch: int) -> NDArray[np.int64]:
        """Return ``condition * N + place`` of every view of an epoch, shuffled; aligned, the places.

        From easy to hard the three views of a sample stay together.
        """
        generator = np.random.default_rng([self.seed, epoch])
        is_ordered = self.curriculum is not None and self.curriculum.config.order == "easy-first"
        if self.is_aligned:
            return np.arange(self.num_samples) if is_ordered else generator.permutation(self.num_samples)
        views = generator.permutation(3 * self.num_samples)
        if is_ordered:
            views = views[np.argsort(views % self.num_samples, kind="stable")]
        if self.views == "thirds":
            return views
        indices = views % self.num_samples
        if self.views == "both":
            return indices
        return indices + self.num_samples * generator.integers(3, size=indices.size)


def read_ahead(
    source: PairSource, order: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> Iterator[tuple[Pairs, NDArray[np.int64]]]:
    """Yield the pairs of every update with their conditions; a thread reads the next while one is learned."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for indices, conditions in order:
            coming = pool.submit(source.pairs, indices), conditions
            if waiting is not None:
                yield waiting[0].result(), waiting[1]
            waiting = coming
        if waiting is not None:
            yield waiting[0].result(), waiting[1]
