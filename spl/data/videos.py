"""Decoded videos as a source of pairs: cut into samples, labelled by sub-folder, read step by step.

Which files are videos, and that they are decoded, is seen to in `spl.data.video_folders`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Range, SampleRate, Side, Workers
from spl.data.audiovisual import Pairs, describe_samples, signature_of
from spl.folder_files import NUM_NAMED, LeftOut, as_json, named, told
from spl.media.video_cache import Cut, Decoded, Job
from spl.printable import printable

CACHE = ".clips"  # behind the name of a folder of videos: where what was decoded lies


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """How videos are cut to samples; the defaults are those of an agent."""

    cache: PathName | None = None  # folder of decoded videos; null: the videos' folder with .clips appended
    video_size: tuple[Side, Side] = (84, 84)  # rows and columns after resizing
    grey: bool = True  # greyscale instead of colour
    sample_rate_hz: SampleRate = 16_000  # sample rate to which all audio is resampled
    stereo: bool = False  # two audio channels instead of their mean; a mono file's is in both
    step_s: Annotated[float, Range(0.001, 60.0)] = 1 / 15  # seconds per step
    num_mels: Count = 64  # mel bands
    audio_frames: Count = 8  # log-mel frames per step
    history: Count = 4  # steps in a sample
    stride: Count = 1  # steps between samples
    num_workers: Workers = 2  # decoding processes; 0 decodes in the main process

    def __post_init__(self) -> None:
        check_fields(self)
        self.cut.log_mel()  # audio_frames must fit into a step

    @property
    def cut(self) -> Cut:
        """How videos are cut to steps."""
        return Cut(
            self.video_size,
            self.grey,
            self.sample_rate_hz,
            self.stereo,
            self.step_s,
            self.num_mels,
            self.audio_frames,
        )

    def cache_of(self, root: Path) -> Path:
        """Return the folder of what was decoded of the videos in ``root``.

        Raises:
            UsageError: if none was chosen, and nothing can lie beside ``root``.
        """
        root = Path(os.path.abspath(root))  # without "..", or it would lie in a folder named "...clips"
        if self.cache is not None:
            return Path(self.cache)
        if not root.name:
            raise UsageError(
                f"the folder that holds all videos is {root}, and nothing can be kept beside it: say where "
                "decoded videos are kept with --data.videos.cache"
            )
        return root.with_name(root.name + CACHE)


class Clips:
    """Samples of decoded videos: every ``stride``-th step of each with the ``T - 1`` steps before it.

    A step is stored once, however many samples show it; before a video's first step there are zeros. A
    video's class is the first sub-folder above it; where some video lies in none, there are no classes.

    Args:
        videos: what became of each, and the job that it was.
        config: as they were decoded.
        left_out: the files beside them.
    """

    def __init__(
        self, videos: Sequence[tuple[Decoded, Job]], config: ClipConfig, left_out: Sequence[LeftOut]
    ) -> None:
        self.videos, self.left_out = [video for video, _ in videos], list(left_out)
        self._paths = [str(job.target.with_suffix(".npy")) for _, job in videos]
        self._files = {video.name: [video.num_steps, job.num_bytes] for video, job in videos}
        self.spec, self.history, self.stride = config.cut.spec, config.history, config.stride
        folders = [Path(video.name).parts[:-1] for video in self.videos]
        names = sorted({parts[0] for parts in folders if parts}) if all(folders) else []
        self.classes = tuple(names)
        self._loose = [video.name for video in self.videos if "/" not in video.name]
        self.signature: dict[str, Any] = signature_of(
            self.spec,
            history=config.history,
            sample_rate_hz=config.sample_rate_hz,
            step_s=config.step_s,
            window_samples=config.cut.log_mel().window_size,
        )
        self._step_s = config.step_s
        counts = np.array([-(-video.num_steps // self.stride) for video in self.videos], np.int64)
        self._ends = np.cumsum(counts)  # of each video's samples
        self._begins = self._ends - counts
        labels = [names.index(parts[0]) if names else 0 for parts in folders]
        self._labels = np.repeat(np.array(labels, np.int64), counts)

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self) -> NDArray[np.int64]:
        """Return the label of every sample, ``(N,)``: the place of its sub-folder among ``classes``."""
        return self._labels

    def video_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which of ``videos`` the samples ``indices (B,)`` are cut from: whoever holds some out, holds
        out whole videos, as neighbouring samples are nearly the same.

        Raises:
            IndexError: if there is no such sample.
        """
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(self)):
            raise IndexError(f"indices must be in 0..{len(self) - 1}, got {indices.min()}..{indices.max()}")
        return np.searchsorted(self._ends, indices, side="right")

    def pairs(self, indices: NDArray[np.int64]) -> Pairs:
        """Return the samples ``indices (B,)``; only their steps are read.

        Raises:
            IndexError: if there is no such sample.
        """
        indices = np.asarray(indices, np.int64)
        video = np.zeros((len(indices), self.history, *self.spec.video), np.uint8)
        audio = np.zeros((len(indices), self.history, *self.spec.audio), np.float16)
        present = np.zeros((len(indices), 2), np.bool_)
        videos = self.video_of(indices)
        newest_steps = (indices - self._begins[videos]) * self.stride  # within each video
        for place, (one, newest) in enumerate(zip(videos, newest_steps, strict=True)):
            steps = _mapped(self._paths[one])[max(0, newest + 1 - self.history) : newest + 1]
            video[place, -len(steps) :] = steps["video"]
            audio[place, -len(steps) :] = steps["audio"]
            present[place] = steps["present"][-1]
        arrays = (video, audio, present, self._labels[indices], indices)
        return Pairs(*(torch.from_numpy(array) for array in arrays))

    def described(self) -> dict[str, Any]:
        """Return what these data are, as JSON holds it; ``files`` has the steps and bytes of each video."""
        return {
            "kind": "videos",
            "used": len(self.videos),
            "samples": len(self),
            "without_sound": sum(not video.has_audio for video in self.videos),
            "left_out": as_json(self.left_out),
            "notes": {video.name: video.notes for video in self.videos if video.notes},
            "files": self._files,
        }

    def summary(self) -> str:
        """Return what there is and what was left out and why, one sentence per line."""
        seconds = sum(video.num_steps for video in self.videos) * self._step_s
        num_silent = sum(not video.has_audio for video in self.videos)
        lines = [
            f"{len(self.videos):,} videos of {seconds:,.0f} s in all: {describe_samples(self)}; "
            f"{num_silent:,} videos without sound, {len(self.left_out):,} files left out"
        ]
        if self._loose and len(self._loose) < len(self.videos):
            those = named(map(printable, self._loose), len(self._loose))
            lines.append(f"no classes, as not every video is in a sub-folder: {those}")
        lines += told(self.left_out)
        noted = [video for video in self.videos if video.notes]
        lines += [f"{printable(video.name)}: {'; '.join(video.notes)}" for video in noted[:NUM_NAMED]]
        if len(noted) > NUM_NAMED:
            lines.append(f"likewise {len(noted) - NUM_NAMED:,} more videos")
        return "\n".join(lines)


@lru_cache(maxsize=4_096)
def _mapped(path: str) -> NDArray[Any]:
    steps: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")  # (S,) records
    return steps
