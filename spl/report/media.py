"""Images, audio and films of a run directory, embedded in a page as data URIs as far as there is room."""

import base64
import re
from pathlib import Path

from spl.data.images.files import UnreadableError, open_image
from spl.report.blocks import Block, Folded, Medium, Section

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
PLACES = {  # heading -> where in a run's folder
    "Film": ("*",),
    "Explanations": ("explanation/**/*",),
    "Curriculum": ("curriculum/**/*",),
    "Reconstructions": ("reconstructions/*",),
    "Pictures": ("*",),
}
DRAWN = (
    "confusion",
    "evaluation-last",
    "evaluation-best",
    "ablation",
    "robustness",
)  # pictures that a page draws itself
MOST_EPOCHS = 4  # whose reconstructions are shown


class Shelf:
    """Takes in files until it is full, and remembers in sentences which it had to leave out, and why.

    Args:
        num_bytes: that files may have, all together.
    """

    def __init__(self, num_bytes: int) -> None:
        self.room = num_bytes
        self.left_out: list[str] = []

    def take(self, path: Path, title: str) -> Medium | None:
        """Return a file as part of the page; None where it does not fit, or is a damaged picture."""
        num_bytes = path.stat().st_size
        if num_bytes > self.room:
            size = f"{num_bytes / 2**20:.1f} MiB"
            self.left_out.append(f"Left out for its size: {path}, {size}; raise --max_mib to take it in.")
            return None
        sort = TYPES[path.suffix.lower()]
        try:
            size_of = open_image(path).size if sort.startswith("image") else None
        except UnreadableError:
            self.left_out.append(f"Left out: {path} is not an intact image.")
            return None
        self.room -= num_bytes
        source = f"data:{sort};base64,{base64.b64encode(path.read_bytes()).decode()}"
        return Medium(title, sort.partition("/")[0], source, size_of)


def media_sections(folder: Path, shelf: Shelf) -> list[Section]:
    """Return what is to be seen and heard of the run in ``folder``, by headings."""
    found = []
    for heading, patterns in PLACES.items():
        paths = [path for path in _files(folder, patterns) if _belongs(path, heading)]
        is_by_epoch = heading == "Reconstructions"
        blocks = _epochs(paths, shelf) if is_by_epoch else _media(paths, shelf, folder)
        found.append(Section(heading, blocks))
    return found


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return files that a page can hold, by name; links that lead out of the run are left alone."""
    inside = folder.resolve()
    return sorted(
        path
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.suffix.lower() in TYPES
        and not path.name.startswith(".")
        and path.is_file()
        and path.resolve().is_relative_to(inside)
    )


def _belongs(path: Path, heading: str) -> bool:
    """Whether a file of a place goes under the heading: films and pictures lie in the same one."""
    is_film = TYPES[path.suffix.lower()].startswith("video")
    if heading == "Pictures":
        return not is_film and path.stem not in DRAWN
    return is_film or heading != "Film"


def _media(paths: list[Path], shelf: Shelf, folder: Path) -> list[Block]:
    taken = (shelf.take(path, _words(path.relative_to(folder).with_suffix(""))) for path in paths)
    return [medium for medium in taken if medium is not None]


def _words(path: Path) -> str:
    """Return a file's name as a caption."""
    parts = path.parts[1:] if len(path.parts) > 1 else path.parts
    return " / ".join(re.sub(r"[-_]+", " ", part) for part in parts)


def _epochs(paths: list[Path], shelf: Shelf) -> list[Block]:
    """Return the last epoch with the original sound, and a few of those before it folded away."""
    epochs: dict[str, list[Path]] = {}
    for path in paths:
        match = re.match(r"epoch-\d+", path.name)
        epochs.setdefault(match[0] if match else "", []).append(path)
    originals = epochs.pop("", [])
    if not epochs:
        return _plain(originals, shelf)
    names = list(epochs)
    last = names.pop()
    blocks = _plain([*originals, *epochs[last]], shelf)
    step = max(1, -(-len(names) // (MOST_EPOCHS - 1)))
    chosen = names[::-1][::step][::-1]
    if before := _plain([path for name in chosen for path in epochs[name]], shelf):
        blocks.append(Folded(f"Before: {len(chosen)} of {len(names)} earlier epochs", before))
    return blocks


def _plain(paths: list[Path], shelf: Shelf) -> list[Block]:
    taken = (shelf.take(path, _caption(path)) for path in sorted(paths, key=_is_sound))
    return [medium for medium in taken if medium is not None]


def _is_sound(path: Path) -> bool:
    return TYPES[path.suffix.lower()].startswith("audio")


def _caption(path: Path) -> str:
    match = re.fullmatch(r"epoch-(\d+)(-from-video)?", path.stem)
    if match is None:
        return (
            "original sound, through log-mel and back" if path.stem == "original" else _words(Path(path.stem))
        )
    return f"epoch {int(match[1])}{', the sound predicted from the video' if match[2] else ''}"
