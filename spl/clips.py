"""A folder of films as a source of pairs: found, decoded once, labelled by sub-folder, read step by step."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from spl.config import RunError, UsageError
from spl.decoding import Cut, Decoded, Job, decode_all, find_decoded, job_of, sweep
from spl.files import free_bytes
from spl.media import SUFFIXES
from spl.pairs import Pairs, signature_of
from spl.report import Report

NUM_TOLD = 5  # films that one message names


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which films, and how they are cut to samples; the defaults are those of an agent's eyes and ears."""

    root: str = "films"  # folder of films; its sub-folders are labels
    cache: str | None = None  # folder of what was decoded; null: root with .clips behind its name
    video_size: tuple[int, int] = (84, 84)  # rows, columns after resizing by area
    grey: bool = True  # one channel instead of three
    sample_rate_hz: int = 16_000  # to which every sound is brought
    stereo: bool = False  # keep left and right apart
    step_s: float = 1 / 15  # seconds from one step to the next
    num_mels: int = 64  # mel bands
    audio_frames: int = 8  # log-mel frames per step
    history: int = 4  # steps in a sample
    stride: int = 1  # steps from one sample to the next
    num_workers: int = 2  # processes that decode; 0: none of their own

    def __post_init__(self) -> None:
        if min(self.video_size) < 1:
            raise ValueError(f"video_size must be two positive numbers, got {self.video_size}")
        for name in ("num_mels", "history", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {self.num_workers}")
        if not 1_000 <= self.sample_rate_hz <= 768_000:
            raise ValueError(f"sample_rate_hz must be in 1000..768000, got {self.sample_rate_hz}")
        if not 0.001 <= self.step_s <= 60.0:
            raise ValueError(f"step_s must be in 0.001..60, got {self.step_s}")
        self.cut.log_mel()  # audio_frames must fit into a step

    @property
    def cut(self) -> Cut:
        """How films are cut to steps."""
        return Cut(
            self.video_size,
            self.grey,
            self.sample_rate_hz,
            self.stereo,
            self.step_s,
            self.num_mels,
            self.audio_frames,
        )

    @property
    def cache_folder(self) -> Path:
        """Where what was decoded lies."""
        root = Path(self.root).absolute()
        return root.with_name(f"{root.name}.clips") if self.cache is None else Path(self.cache)


class Clips:
    """Samples of decoded films: every ``stride``-th step of each film with the ``T - 1`` steps before it.

    A step is stored once, however many samples show it; before a film's first step there are zeros. A film's
    class is the first sub-folder above it; where some film lies in none, there are no classes.

    Args:
        films: what became of each, the skipped ones included, and the ``.npy`` file's path.
        config: as they were decoded.
    """

    def __init__(self, films: Sequence[tuple[Decoded, Path]], config: ClipConfig) -> None:
        self.films = [(film, path) for film, path in films if film.reason is None]
        self.skipped = {film.name: film.reason for film, _ in films if film.reason is not None}
        self.notes = {film.name: film.notes for film, _ in self.films if film.notes}
        self.spec, self.history, self.stride = config.cut.spec, config.history, config.stride
        folders = [Path(film.name).parts[:-1] for film, _ in films]
        names = sorted({parts[0] for parts in folders if parts}) if all(folders) else []
        self.classes = tuple(names)
        self.signature: dict[str, Any] = signature_of(
            self.spec,
            history=config.history,
            sample_rate_hz=config.sample_rate_hz,
            step_s=config.step_s,
            window_samples=config.cut.log_mel().window_size,
        )
        self._step_s = config.step_s
        counts = np.array([-(-film.num_steps // self.stride) for film, _ in self.films], np.int64)
        self._ends = np.cumsum(counts)  # of each film's samples
        self._begins = self._ends - counts
        labels = [names.index(Path(film.name).parts[0]) if names else 0 for film, _ in self.films]
        self._labels = np.repeat(np.array(labels, np.int64), counts)

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self) -> NDArray[np.int64]:
        """Return the label of every sample, ``(N,)``: the place of its sub-folder among ``classes``."""
        return self._labels

    def film_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which of ``films`` the samples ``indices (B,)`` are cut from: whoever holds some out, holds
        out whole films, as neighbouring samples are nearly the same.

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
        films = self.film_of(indices)
        newest_steps = (indices - self._begins[films]) * self.stride  # within each film
        for place, (film, newest) in enumerate(zip(films, newest_steps, strict=True)):
            steps = _mapped(str(self.films[film][1]))[max(0, newest + 1 - self.history) : newest + 1]
            video[place, -len(steps) :] = steps["video"]
            audio[place, -len(steps) :] = steps["audio"]
            present[place] = steps["present"][-1]
        arrays = (video, audio, present, self._labels[indices], indices)
        return Pairs(*(torch.from_numpy(array) for array in arrays))

    def summary(self) -> str:
        """Return what there is and what was skipped and why, one sentence per line."""
        num_steps = sum(film.num_steps for film, _ in self.films)
        num_silent = sum(not film.has_audio for film, _ in self.films)
        lines = [
            f"{len(self.films):,} films of {num_steps * self._step_s:,.0f} s in all: {len(self):,} samples "
            f"of {self.history} steps, {len(self.classes) or 'no'} classes; {num_silent:,} films without "
            f"sound, {len(self.skipped):,} skipped"
        ]
        lines += [f"skipped {name}: {reason}" for name, reason in sorted(self.skipped.items())]
        lines += [f"{name}: {'; '.join(notes)}" for name, notes in sorted(self.notes.items())]
        return "\n".join(lines)


@lru_cache(maxsize=4_096)
def _mapped(path: str) -> NDArray[Any]:
    steps: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")  # (S,) records
    return steps


def load_clips(config: ClipConfig, *, console: Console | None = None) -> Clips:
    """Return the films of a folder as samples; what was not decoded before, or has changed since, is now.

    Args:
        config: which films, and how they are cut.
        console: where the progress is shown; standard error by default.

    Raises:
        UsageError: if the folder holds no film that can be read, or the cache cannot be written.
        RunError: if the disk is full, or a process that decodes was killed.
    """
    root, cache = Path(config.root), config.cache_folder
    paths = _find_films(root)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        sweep(cache)
    except OSError as error:
        raise UsageError(f"the cache of films {cache} cannot be written: {error.strerror}") from error
    jobs = [job_of(path, path.relative_to(root).as_posix(), cache, config.cut) for path in paths]
    decoded = {job.name: find_decoded(job) for job in jobs}
    missing = [job for job in jobs if decoded[job.name] is None]
    if missing:
        decoded |= _decode(missing, config, console)
    films = [
        (film, job.target.with_suffix(".npy")) for job in jobs if (film := decoded[job.name]) is not None
    ]
    clips = Clips(films, config)
    if not clips.films:
        told = [f"{name} {reason}" for name, reason in list(clips.skipped.items())[:NUM_TOLD]]
        more = f"; and {len(clips.skipped) - NUM_TOLD} more" if len(clips.skipped) > NUM_TOLD else ""
        raise UsageError(f"none of the {len(films)} films in {root} can be read: {'; '.join(told)}{more}")
    return clips


def _decode(jobs: list[Job], config: ClipConfig, console: Console | None) -> dict[str, Decoded | None]:
    """Decode films and show how it goes."""
    cache, done = config.cache_folder, dict[str, Decoded | None]()
    with Report(cache, f"decoding {config.root}", len(jobs), is_logged=False, console=console) as report:
        report.say(f"decoding {len(jobs):,} films into {cache}, once")
        try:
            for film in decode_all(jobs, config.cut, config.num_workers):
                done[film.name] = film
                if report.is_due():
                    num_skipped = sum(each is not None and each.reason is not None for each in done.values())
                    report.show(len(done), {"newest film": film.name, "skipped": num_skipped})
        except OSError as error:
            raise RunError(
                f"decoded films cannot be kept in {cache}: {error.strerror or error}; "
                f"{free_bytes(cache):,} bytes are free there"
            ) from error
    return done


def _find_films(root: Path) -> list[Path]:
    """Return the films below ``root`` in the order of their names; what is hidden is left out."""
    if not root.is_dir():
        raise UsageError(f"{root} is no folder: give the one in which the films lie")
    found, num_others = [], 0
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if not name.startswith(".")]
        films = [Path(folder) / name for name in names if Path(name).suffix.lower() in SUFFIXES]
        found += films
        num_others += len(names) - len(films)
    if not found:
        what = (
            f"none of its {num_others:,} files ends in" if num_others else "it is empty, and a film ends in"
        )
        raise UsageError(f"{root} holds no film: {what} {', '.join(SUFFIXES)}")
    return sorted(found)
