"""The sources of pairs for pretraining, and the order in which they are shown."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Share
from spl.curriculum import Curriculum
from spl.data.audiovisual import PairSource
from spl.data.exchange.formats import opened
from spl.data.mispairing import Mismatched
from spl.data.recordings import Opened, Recordings
from spl.data.video_folders import CHANGED, NOT_OF_RUN, load_clips
from spl.data.videos import ClipConfig
from spl.folder_files import FolderFiles, LeftOut
from spl.models.autoencoder import CONDITIONS
from spl.pretrain.inputs import RecordingFolders, find_inputs
from spl.pretrain.objective import Views

DATA = "data.json"  # in the folder of a run: what it learned from, and what was left out


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Which recordings or videos; each recording, and each sub-folder of videos, is a label."""

    paths: tuple[PathName, ...] = ()  # folders, files, of recordings or videos; minari:NAME; lerobot:PATH
    skip_broken: bool = False  # permanently leave out unreadable files, instead of refusing the data
    videos: ClipConfig = field(default_factory=ClipConfig)  # how videos are cut
    history: Count = 4  # steps in a sample of a recording
    stride: Count = 1  # steps between samples of a recording
    mismatch: Share = 0.0  # share of samples that get the audio of another class, on purpose

    def __post_init__(self) -> None:
        check_fields(self)


def load_pairs(config: PairsConfig, seed: int = 0, *, run: Path | None = None) -> PairSource:
    """Return the source that ``config`` names; the seed decides what is mismatched.

    Args:
        config: which data.
        seed: as above.
        run: folder of a run that learned from them: exactly what it learned from, by its ``data.json``.

    Raises:
        UsageError: if the source does not serve, or is not what the run learned from.
    """
    if not config.paths:
        raise UsageError(
            "there is nothing to learn from: give --data FOLDER, with recordings (spl record makes them) or "
            "with videos"
        )
    source = load_found(find_inputs(config.paths), config, None if run is None else read_known(run))
    return Mismatched(source, config.mismatch, seed) if config.mismatch else source


def load_found(
    inputs: RecordingFolders | FolderFiles,
    config: PairsConfig,
    known: Mapping[str, Sequence[int]] | None = None,
) -> PairSource:
    """Return recordings or videos that were found as samples, as `load_pairs` does."""
    if isinstance(inputs, FolderFiles):
        return load_clips(inputs, config.videos, skip_broken=config.skip_broken, known=known)
    return load_recordings(inputs, config, known)


def read_known(run: Path) -> dict[str, list[int]] | None:
    """Return what a run or a grid learned from, by name; None for one that is older than such lists.

    Raises:
        UsageError: if the list is damaged.
    """
    path = next((path for path in (run / DATA, *sorted(run.glob(f"**/{DATA}"))) if path.exists()), run / DATA)
    try:
        files: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} must be the list of the run's data, got {error}; copy it again") from error
    return files


def load_recordings(
    inputs: RecordingFolders, config: PairsConfig, known: Mapping[str, Sequence[int]] | None
) -> Recordings:
    """Return recordings as samples; those that cannot be read are left out if ``config`` says so.

    Raises:
        UsageError: if one cannot be read, or they are not those that are ``known``.
    """
    folders, left_out = list(inputs.folders), list(inputs.left_out)
    places: list[Path | Opened] = []
    if known is not None:
        names = {str(folder): folder for folder in folders}
        if gone := sorted(known.keys() - names.keys()):
            raise UsageError(f"the run learned from {gone[0]}, which is gone; {CHANGED}")
        left_out += [LeftOut(name, NOT_OF_RUN) for name in names if name not in known]
        folders = [names[name] for name in known]
    elif config.skip_broken:
        reasons = []
        for folder in folders:
            try:
                place = opened(folder)
                Recordings([place], history=config.history, stride=config.stride)
                places.append(place)
            except UsageError as error:
                reasons.append(str(error))
                left_out.append(LeftOut(str(folder), reasons[-1]))
        if not places:
            raise UsageError(f"no recording can be read: {'; '.join(reasons)}")
    places = places or [*map(opened, folders)]
    source = Recordings(places, history=config.history, stride=config.stride, left_out=left_out)
    found = source.described()["files"]
    known = {} if known is None else known  # of older runs without a checksum
    if changed := [name for name, one in known.items() if found[name][: len(one)] != list(one)]:
        raise UsageError(f"{changed[0]}, from which the run learned, has changed; {CHANGED}")
    return source


class ViewOrder:
    """Which samples are shown in which update, and which of their modalities; from seed and update alone.

    ``thirds``: an epoch shows every sample three times, with both modalities, the video alone and the audio
    alone: exactly a third each. ``random`` draws the condition of each of as many views; ``both``, ``video``
    and ``audio`` show as many, all in that condition. ``is_aligned`` puts the three views of a sample into
    one update, one after the other: first all with both modalities, then all with the video, then all with
    the audio.

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
        self.is_ordered = self.curriculum is not None and self.curriculum.config.order == "easy-first"
        self._per_update = batch_size // 3 if is_aligned else batch_size
        total = num_samples if is_aligned else 3 * num_samples
        self.updates_per_epoch = -(-total // self._per_update)
        self.num_updates = num_epochs * self.updates_per_epoch
        rest = total - (self.updates_per_epoch - 1) * self._per_update
        self.smallest = 3 * rest if is_aligned else rest  # of the updates: its views

    def after(self, update: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the indices and conditions, ``(B,)`` each, of every update from ``update`` on."""
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

    def stretch(self, update: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield those from ``update`` on that may be read ahead: of an epoch, if losses decide the next."""
        left = self.updates_per_epoch - update % self.updates_per_epoch
        return islice(self.after(update), None if self.curriculum is None else left)

    def samples_of(self, epoch: int) -> NDArray[np.int64]:
        """Return the samples that an epoch shows, ``(N,)``; of a curriculum some twice, others not."""
        if self.curriculum is not None:
            one = self.curriculum.begin(epoch)
            if self.is_ordered or one.num_included < self.num_samples:
                return one.order  # of all samples the views are shuffled, as without a curriculum
        return np.arange(self.num_samples)

    def _views_of(self, epoch: int) -> NDArray[np.int64]:
        """Return ``condition * N + place`` of every view of an epoch, shuffled; aligned, the places.

        From easy to hard the three views of a sample stay together.
        """
        generator = np.random.default_rng([self.seed, epoch])
        if self.is_aligned:
            return np.arange(self.num_samples) if self.is_ordered else generator.permutation(self.num_samples)
        views = generator.permutation(3 * self.num_samples)
        if self.is_ordered:
            views = views[np.argsort(views % self.num_samples, kind="stable")]
        if self.views == "thirds":
            return views
        indices = views % self.num_samples
        if self.views == "random":
            return indices + self.num_samples * generator.integers(3, size=indices.size)
        return indices + self.num_samples * list(CONDITIONS).index(self.views)
