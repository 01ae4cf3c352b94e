"""Opening video files, and whether a file is one: recognised by content, not by extension.

Decoding is not here. PyAV, whose wheel carries FFmpeg, is imported when a file is opened or written.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spl.packages import require

PICTURE, SOUND, TEXT, OTHER = "a single picture", "sound without pictures", "text", "no video"
DRAWN = ("adf", "bin", "idf", "tty", "xbin")  # formats in which FFmpeg draws text or any bytes
LISTS = ("concat", "dash", "hls", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest")
ENDINGS = {  # of files that are meant as videos, readable or not
    *("3g2", "3gp", "3gpp", "amv", "asf", "avi", "divx", "dv", "f4v", "flv", "h264", "h265", "hevc", "ivf"),
    *("m1v", "m2t", "m2ts", "m2v", "m4v", "mj2", "mjpeg", "mjpg", "mk3d", "mkv", "mov", "mp4", "mpe", "mpeg"),
    *("mpg", "mpv", "mts", "mxf", "nsv", "nut", "ogm", "ogv", "qt", "rm", "rmvb", "swf", "ts", "vob", "webm"),
    *("wmv", "wtv", "y4m"),
}
SOUNDS = {"aac", "ac3", "aif", "aiff", "flac", "m4a", "mid", "mp3", "oga", "ogg", "opus", "wav", "wma"}
PICTURES = {"avif", "bmp", "heic", "heif", "jpeg", "jpg", "jxl", "png", "svg", "tif", "tiff", "webp"}


class MediaError(ValueError):
    """A file that cannot be read as a video, reported in one sentence."""


class Look(NamedTuple):
    """What a look into a file found."""

    kind: Literal["video", "broken", "other"]  # broken: meant as a video, but not to be read as one
    reason: str  # why it is no video, in a few words; empty for one


def pyav() -> Any:
    """Return PyAV; `UsageError` if it cannot be imported."""
    return require("av", "video files are read and written by PyAV")


def open_video(path: Path | str) -> Any:
    """Open a file of pictures and sound; no other file is read for it, and nothing is fetched.

    Raises:
        MediaError: if FFmpeg finds neither pictures nor sound in it.
        UsageError: if PyAV is not installed.
        OSError: if it cannot be opened.
    """
    av = pyav()
    options = {"format_whitelist": _formats(), "protocol_whitelist": "file", "pattern_type": "none"}
    try:  # a whole path, or ``concat:a`` were taken for an address
        return av.open(str(Path(path).absolute()), metadata_errors="ignore", options=options)
    except av.FFmpegError as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise MediaError(f"{path} is not a video file, or truncated: {told(error)}") from error


def look_at(path: Path) -> Look:
    """Return whether a regular file is a video: one with a track of more than one picture.

    The track's codec must be known; nothing is decoded, so that damage further on is not seen.

    Raises:
        UsageError: if PyAV is not installed.
    """
    is_meant = path.suffix.lower().removeprefix(".") in ENDINGS
    try:
        with path.open("rb") as file:
            is_text = _is_text(file.read(1_024))
        with open_video(path) as container:
            found = _judged(container, is_meant)
            return Look("other", TEXT) if found.reason == OTHER and is_text else found  # subtitles
    except OSError as error:
        return Look("broken", f"cannot be opened: {error.strerror or error}")
    except MediaError as error:
        if is_meant and not (is_text and path.suffix.lower() in (".ts", ".mts")):  # or TypeScript
            return Look("broken", "text, not a video" if is_text else str(error).removeprefix(f"{path} is "))
    return Look("other", TEXT if is_text else _by_ending(path))


def is_shown(stream: Any) -> bool:
    """Whether a picture track is to be shown, and is not the cover of a sound file or a thumbnail."""
    kinds = pyav().stream.Disposition
    return not stream.disposition & (kinds.attached_pic | kinds.still_image | kinds.timed_thumbnails)


def told(error: Exception) -> str:
    """Return what FFmpeg says of an error."""
    return str(getattr(error, "strerror", None) or error)


@cache
def _formats() -> str:
    """Return the formats that are opened: none that leads to other files or draws any bytes."""
    return ",".join(sorted(pyav().formats_available - {*DRAWN, *LISTS}))


def _judged(container: Any, is_meant: bool) -> Look:
    tracks = [stream for stream in container.streams.video if is_shown(stream)]
    if not tracks:
        has_pictures = bool(container.streams.video)
        return Look("other", SOUND if container.streams.audio else PICTURE if has_pictures else OTHER)
    known = [stream for stream in tracks if stream.codec_context is not None]
    if not known:
        return Look("broken" if is_meant else "other", "in a codec that this FFmpeg does not know")
    if container.format.name == "image2" or container.format.name.endswith("_pipe"):
        return Look("other", PICTURE)
    if known[0].frames <= 1 and not _has_two(container, known[0]):  # a first fragment may tell of one alone
        return Look("other", PICTURE)
    return Look("video", "")


def _has_two(container: Any, stream: Any) -> bool:
    """Whether a track holds more than one picture, where the file's header does not say so."""
    packets = (packet for packet in container.demux(stream) if packet.size)
    try:
        return next(packets, None) is not None and next(packets, None) is not None
    except pyav().FFmpegError:
        return True  # is reported when it is decoded


def _is_text(begin: bytes) -> bool:
    """Whether what a file begins with is UTF-8 without a NUL."""
    try:
        return "\0" not in begin.decode()
    except UnicodeDecodeError as error:
        return b"\0" not in begin and error.start > len(begin) - 4  # a character that is cut


def _by_ending(path: Path) -> str:
    """Return what a file that FFmpeg cannot open probably is."""
    ending = path.suffix.lower().removeprefix(".")
    return PICTURE if ending in PICTURES else SOUND if ending in SOUNDS else OTHER
