"""The cache of decoded videos: each becomes one ``.npy`` file of steps, and a ``.json`` written last.

Imports no torch, so that a decoding process starts at once. Cutting samples is in ``spl.data.videos``.
"""

import hashlib
import io
import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import RunError
from spl.folder_files import unfinished
from spl.media.log_mel import LogMel
from spl.media.video_files import MediaError
from spl.media.video_reader import Video
from spl.processes.signals import interrupts_blocked, serve_above
from spl.records import StreamSpec
from spl.runs.files import replace_text

VERSION = 4  # of what a video becomes; another one decodes again
BLOCK_STEPS = 64  # that are held at once
FORGOTTEN_S = (
    3_600.0  # a half-written file that nobody has touched for so long is of a process that was killed
)


class Cut(NamedTuple):
    """How videos are cut to steps."""

    video_size: tuple[int, int]  # rows, columns
    grey: bool
    sample_rate_hz: int
    stereo: bool
    step_s: float
    num_mels: int
    audio_frames: int  # log-mel frames a step

    @property
    def spec(self) -> StreamSpec:
        """Shapes of one step."""
        return StreamSpec((1 if self.grey else 3, *self.video_size), self.log_mel().shape)

    @property
    def record(self) -> np.dtype[Any]:
        """The layout of one step in a file."""
        spec = self.spec
        return np.dtype(
            [("audio", "<f2", spec.audio), ("video", "|u1", spec.video), ("present", "|b1", (2,))]
        )

    def log_mel(self) -> LogMel:
        """Return what hears; where steps are of unequal lengths, made for the longest."""
        return LogMel(
            sample_rate_hz=self.sample_rate_hz,
            num_samples=math.ceil(round(self.sample_rate_hz * self.step_s, 6)),
            num_mels=self.num_mels,
            num_frames=self.audio_frames,
            num_channels=2 if self.stereo else 1,
        )


class Decoded(NamedTuple):
    """What became of a video."""

    name: str  # its path within the folder of videos
    num_steps: int
    has_audio: bool
    notes: list[str]
    reason: str | None  # why it cannot be read; None: it can
    num_bytes: int  # of the ``.npy`` file


class Job(NamedTuple):
    """A video to be decoded and where it shall lie."""

    path: Path
    name: str
    target: Path  # without suffix
    num_bytes: int  # of the video file; 0: it cannot be opened


def job_of(path: Path, name: str, cache: Path, cut: Cut) -> Job:
    """Return the job of a video; where it lies follows from its name, size, time of change and ``cut``."""
    try:
        now = path.stat()
        state = [now.st_size, now.st_mtime_ns]
    except OSError:  # reported when it is to be decoded
        state = []
    told = json.dumps([VERSION, name, state, cut._asdict()])
    return Job(path, name, cache / hashlib.sha256(told.encode()).hexdigest()[:32], *state[:1] or [0])


def find_decoded(job: Job) -> Decoded | None:
    """Return what became of a video before, or None if it must be decoded."""
    try:
        decoded = Decoded(**json.loads(job.target.with_suffix(".json").read_text(encoding="utf-8")))
        size = 0 if decoded.reason is not None else job.target.with_suffix(".npy").stat().st_size
    except (OSError, ValueError, TypeError):
        return None
    return decoded if size == decoded.num_bytes else None


def decode_all(jobs: Sequence[Job], cut: Cut, num_workers: int) -> Iterator[Decoded]:
    """Decode videos in ``num_workers`` processes, and yield what became of each as it is done.

    With fewer than two workers or videos, this process decodes. What is done when a process is stopped stays.

    Raises:
        RunError: if a process was killed.
        OSError: if the disk refuses.
    """
    if min(num_workers, len(jobs)) < 2:
        yield from (decode(job, cut, num_threads=0) for job in jobs)
        return
    # started afresh: a fork of a process in which torch has threads may hang
    pool = ProcessPoolExecutor(
        min(num_workers, len(jobs)), multiprocessing.get_context("spawn"), initializer=_begin
    )
    left = {job.name for job in jobs}
    try:
        for done in as_completed(_submitted(pool, jobs, cut)):
            decoded = done.result()
            left.discard(decoded.name)
            yield decoded
    except BrokenProcessPool as error:
        raise RunError(
            f"a process that decodes was killed while {len(left)} videos were left, the first of them "
            f"{min(left)}: what is decoded stays; run again, with num_workers 0 to see at which video"
        ) from error
    finally:
        with suppress(OSError):  # of a broken pool, as in `_submitted`
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Let this process, one that decodes, end with the one above it, and at a Ctrl-C without a word."""
    serve_above()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _submitted(pool: ProcessPoolExecutor, jobs: Sequence[Job], cut: Cut) -> list[Future[Decoded]]:
    """Return what decodes each video.

    Raises:
        BrokenProcessPool: if a process was killed meanwhile: CPython may say that a handle is closed, or a
            file descriptor bad.
        OSError: if no process can be started.
    """
    try:
        with interrupts_blocked():  # they start with the first jobs
            return [pool.submit(decode, job, cut, num_threads=1) for job in jobs]
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BrokenProcessPool(str(error)) from error


def decode(job: Job, cut: Cut, *, num_threads: int) -> Decoded:
    """Decode a video into ``job.target``; a kill leaves nothing that could be taken for a video."""
    try:
        video = Video(job.path, num_threads=num_threads)
    except (MediaError, OSError) as error:
        return _refused(job, error)
    beside = unfinished(job.target)
    try:
        with beside.open("wb") as file:
            _write_header(file, cut.record, 0)
            num_steps = 0
            for records in _records(video, cut):
                file.write(records.tobytes())
                num_steps += len(records)
            num_bytes = file.tell()
            file.seek(0)
            _write_header(file, cut.record, num_steps)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, job.target.with_suffix(".npy"))
    except MediaError as error:
        return _refused(job, error)
    finally:
        beside.unlink(missing_ok=True)
    decoded = Decoded(job.name, num_steps, video.has_audio, video.notes, None, num_bytes)
    _report(job, decoded)
    return decoded


def _refused(job: Job, error: MediaError | OSError) -> Decoded:
    """Keep and return why a video cannot be read."""
    is_refused = isinstance(error, OSError) and error.strerror is not None
    reason = f"cannot be opened: {error.strerror}" if is_refused else str(error)  # type: ignore[union-attr]
    decoded = Decoded(job.name, 0, False, [], reason.removeprefix(f"{job.path} "), 0)
    if isinstance(error, MediaError):  # who may not open a file today may do so tomorrow
        _report(job, decoded)
    return decoded


def sweep(cache: Path) -> None:
    """Remove the half-written files of processes that were killed."""
    for path in cache.glob(".*.new"):
        try:
            if time.time() - path.stat().st_mtime > FORGOTTEN_S:
                path.unlink()
        except FileNotFoundError:  # another process was faster
            continue


def _report(job: Job, decoded: Decoded) -> None:
    replace_text(job.target.with_suffix(".json"), json.dumps(decoded._asdict(), indent=1))


def _records(video: Video, cut: Cut) -> Iterator[NDArray[Any]]:
    """Yield the video's steps in blocks; a window of sound reaches back into earlier steps, as an agent's."""
    log_mel, record = cut.log_mel(), cut.record
    num_channels, num_mels, num_frames = log_mel.shape
    context = np.zeros((num_channels, log_mel.window_size), np.float32)
    steps = video.steps(
        video_size=cut.video_size,
        grey=cut.grey,
        sample_rate_hz=cut.sample_rate_hz,
        stereo=cut.stereo,
        step_s=cut.step_s,
    )
    while block := list(islice(steps, BLOCK_STEPS)):
        records = np.zeros(len(block), record)
        records["video"] = [step.picture for step in block]
        records["present"] = (True, video.has_audio)
        sounds = [step.sound for step in block if step.sound is not None]
        if sounds:
            heard = np.concatenate([context, *sounds], axis=1)
            bounds = np.cumsum([0, *(sound.shape[1] for sound in sounds)])
            levels = log_mel.of_steps(heard, bounds)  # (C, M, S F)
            levels = levels.reshape(num_channels, num_mels, len(block), num_frames)
            records["audio"] = levels.transpose(2, 0, 1, 3)
            context = heard[:, -log_mel.window_size :]
        yield records


def _write_header(file: Any, record: np.dtype[Any], num_steps: int) -> None:
    """Write the header of ``(num_steps,)`` records; numpy leaves room for the number to grow."""
    text = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(record), "fortran_order": False, "shape": (num_steps,)}
    np.lib.format.write_array_header_1_0(text, described)
    file.write(text.getvalue())
