"""From files to samples: which of them are videos, by content; each video is decoded once."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from spl.config.errors import RunError, UsageError
from spl.data.videos import CACHE, ClipConfig, Clips
from spl.folder_files import FolderFiles, named, sift, told
from spl.media.video_cache import Decoded, Job, decode_all, find_decoded, job_of, sweep
from spl.media.video_files import look_at
from spl.printable import printable
from spl.runs.files import free_bytes
from spl.runs.logger import Report

NUM_LOOKING = 4  # threads; most of a look is waiting for the disk
NOT_OF_RUN = "not among those that the run learned from"
CHANGED = "bring back what it was, or start a new run"


def load_clips(
    files: FolderFiles,
    config: ClipConfig,
    *,
    skip_broken: bool = False,
    known: Mapping[str, Sequence[int]] | None = None,
    console: Console | None = None,
) -> Clips:
    """Return the videos among ``files`` as samples.

    All files are looked at; then what was not decoded before, or has changed since, is decoded.

    Args:
        files: whatever lies there.
        config: how they are cut.
        skip_broken: leave out videos that cannot be read, instead of refusing them all.
        known: of the run that goes on: steps and bytes of each video that it learned from, by name.
        console: where the progress is shown; standard error by default.

    Raises:
        UsageError: if none is a video, one cannot be read or has changed, or the cache cannot be written.
        RunError: if the disk is full, or a process that decodes was killed.
    """
    files = sift(files, lambda name: "decoded videos" if f"{CACHE}/" in name else None)
    if known is not None:
        files = _those_of_the_run(files, known)
    is_refusing = not skip_broken and known is None
    root, cache = files.root, config.cache_of(files.root)
    jobs = {name: job_of(root / name, name, cache, config.cut) for name in files.used}
    decoded = {name: video for name, job in jobs.items() if (video := find_decoded(job)) is not None}
    others, broken = _look_at_all(root, [name for name in jobs if name not in decoded])
    broken |= _broken_of(decoded)
    files = _videos_of(files, others, broken, is_refusing)
    if missing := [jobs[name] for name in files.used if name not in decoded]:
        decoded |= _decode(missing, config, root, cache, console)
        files = _videos_of(files, {}, _broken_of(decoded), is_refusing)
    clips = Clips([(decoded[name], jobs[name]) for name in files.used], config, files.left_out)
    if known is not None:
        _check_unchanged(root, clips.described()["files"], known)
    return clips


def _those_of_the_run(files: FolderFiles, known: Mapping[str, Any]) -> FolderFiles:
    """Return the files that a run learned from.

    Raises:
        UsageError: if one is gone.
    """
    if gone := sorted(known.keys() - set(files.used)):
        raise UsageError(
            f"{len(gone):,} of the {len(known):,} videos that the run learned from left {files.root}: "
            f"{named(map(printable, gone), len(gone))}; {CHANGED}"
        )
    return sift(files, lambda name: None if name in known else NOT_OF_RUN)


def _check_unchanged(root: Path, found: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    if changed := [name for name in known if list(known[name]) != found.get(name)]:
        raise UsageError(
            f"{len(changed):,} of the {len(known):,} videos that the run learned from changed in {root}: "
            f"{named(map(printable, changed), len(changed))}; {CHANGED}"
        )


def _look_at_all(root: Path, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return why files are no videos, and why videos cannot be read; in both by name."""
    with ThreadPoolExecutor(NUM_LOOKING) as pool:
        looks = dict(zip(names, pool.map(lambda name: look_at(root / name), names), strict=True))
    others = {name: look.reason for name, look in looks.items() if look.kind == "other"}
    return others, {name: look.reason for name, look in looks.items() if look.kind == "broken"}


def _broken_of(decoded: Mapping[str, Decoded]) -> dict[str, str]:
    return {name: video.reason for name, video in decoded.items() if video.reason is not None}


def _videos_of(
    files: FolderFiles, others: Mapping[str, str], broken: Mapping[str, str], is_refusing: bool
) -> FolderFiles:
    """Return the videos among ``files`` that can be read.

    Args:
        files: as they lie there.
        others: why those that are no videos are none.
        broken: why videos cannot be read.
        is_refusing: refuse them all if one cannot be read.

    Raises:
        UsageError: if none is left, or as ``is_refusing`` says.
    """
    left = sift(sift(files, others.get), broken.get)
    if broken and (is_refusing or not left.used):
        reasons = [f"{printable(name)} ({reason})" for name, reason in sorted(broken.items())]
        what = (
            f"{len(broken):,} of the {len(left.used) + len(broken):,} videos in {files.root} cannot be read"
        )
        skip = "leave them out for good with --data.skip_broken true" if left.used else "give others"
        raise UsageError(f"{what}: {named(reasons, len(reasons))}; mend or delete them, or {skip}")
    if not left.used:
        raise UsageError(
            f"{files.root} holds neither a recording (a folder with recording.json) nor a video: "
            f"{'; '.join(told(left.left_out)) or 'it is empty'}"
        )
    return left


def _decode(
    jobs: list[Job], config: ClipConfig, root: Path, cache: Path, console: Console | None
) -> dict[str, Decoded]:
    """Decode videos and show how it goes."""
    done = dict[str, Decoded]()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        sweep(cache)
    except OSError as error:
        raise UsageError(
            f"the folder of decoded videos {cache} cannot be written: {error.strerror}; choose another with "
            "--data.videos.cache"
        ) from error
    with Report(cache, f"decoding {root}", len(jobs), is_logged=False, console=console) as report:
        report.say(f"decoding {len(jobs):,} video{'s' * (len(jobs) != 1)} into {cache}, once")
        try:
            for video in decode_all(jobs, config.cut, config.num_workers):
                done[video.name] = video
                if report.is_due():
                    num_broken = len(_broken_of(done))
                    report.show(len(done), {"newest video": video.name, "not to be read": num_broken})
        except OSError as error:
            raise RunError(
                f"decoded videos cannot be kept in {cache}: {error.strerror or error}; "
                f"{free_bytes(cache):,} bytes are free there"
            ) from error
    return done
