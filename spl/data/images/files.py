"""Image files: one function opens them all, upright, on a background, as three channels of 8 bits.

What a file says of its own pixels is honoured: how it is to be turned, what is transparent, how many bits a
value has, what its lowest and highest values are. Which files of a folder are pictures is found in
`spl.data.images.folders`.
"""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageColor, UnidentifiedImageError

ORIENTATION, BITS, PHOTOMETRIC, LOWEST, HIGHEST = 0x112, 258, 262, (340, 280), (341, 281)  # tags
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
UNUSED = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}  # run another program, or have no pixels for Pillow
UNMARKED = {"TGA", "IPTC", "SPIDER", "IM", "IMT", "PCD", "MCIDAS"}  # nearly any file may look like one
MARKS = {  # how a file begins that is taken for a picture and is none
    b"version https://git-lfs": "a Git LFS pointer: git lfs pull fetches the picture",
    b"<!doctype html": "an HTML page, as a failed download leaves it",
    b"<html": "an HTML page, as a failed download leaves it",
    b"<svg": "an SVG drawing, which has no pixels: export it as PNG",
    b"<?xml": "an XML document",
    b"%pdf": "a PDF document",
    b"%!ps": "a PostScript document",
    b"pk\3\4": "a ZIP archive",
    b"\xff\x0a": "JPEG XL, which Pillow does not read: convert it",
    b"\0\0\0\x0cjxl ": "JPEG XL, which Pillow does not read: convert it",
}
_HEIC, _VIDEO = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1"), (b"isom", b"mp41", b"mp42", b"qt  ")
BRANDS = {  # of files that begin with ``....ftyp``
    **dict.fromkeys(_HEIC, "HEIC, which Pillow does not read: convert it"),
    **dict.fromkeys(_VIDEO, "a video"),
}
MOST_LENGTHENED = 100  # times that a picture may be as long as it is wide, or as wide


class UnreadableError(ValueError):
    """A file that cannot be read as a picture; the text says in a few words why."""


def open_image(path: str | os.PathLike[str], background: str = "white") -> Image.Image:
    """Return the picture in a file as it is meant to be seen, in mode RGB.

    It is turned as its EXIF or XMP orientation says (all eight ways), of several frames the first is taken,
    and what is transparent shows ``background``. Colour profiles (ICC) are not applied.

    Raises:
        UnreadableError: if it is not a regular file (it is not waited for), or not a whole picture of a kind
            that Pillow reads, or one whose values cannot be brought to 8 bits without guessing.
    """
    with _reading(path) as image:
        image.load()
        return as_rgb(_upright(image), background)


def as_rgb(image: Image.Image, background: str = "white") -> Image.Image:
    """Return a picture of any mode in RGB, what is transparent in it laid on ``background``.

    16 bits a value become 8 by their full range, or by that which a TIFF file names; floats in 0..1 likewise.

    Raises:
        UnreadableError: if it has values whose range is not known.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        image = _narrowed(image)
    elif image.mode == "LAB":
        image = _from_lab(image)
    elif image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow has read it in Adobe's way, in which 255 is no ink
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (*colour_of(background), 255))
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


def colour_of(name: str) -> tuple[int, int, int]:
    """Return red, green and blue in 0..255 of ``white``, ``#ffffff`` or ``rgb(255, 255, 255)``.

    Raises:
        ValueError: if it is no colour, or one that is transparent itself.
    """
    colour: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):
        colour = ImageColor.getrgb(name)
    if len(colour) != 3:
        raise ValueError(f"background must be a colour such as white, black or #8090a0, got {name!r}")
    return colour[0], colour[1], colour[2]


def picture_endings() -> frozenset[str]:
    """Return the endings, such as ``.png``, of files that `open_image` reads."""
    return frozenset(ending for ending, name in _registered().items() if name in _formats())


def fault_of(path: str | os.PathLike[str], *, is_thorough: bool = False) -> str | None:
    """Return in a few words why a file cannot be opened as a picture, or None if nothing speaks against it.

    Its header is read and its end looked at; where that is not as it should be, or ``is_thorough``, it is
    read to its end, so that a fault in the middle is found, too.
    """
    try:
        if not is_thorough:
            with _reading(path) as image:
                kind, mode = image.format, image.mode
            if mode not in ("I", "F") and _is_closed(path, kind):
                return None
        open_image(path)
    except UnreadableError as error:
        return str(error)
    return None


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open a picture; whatever is raised while it is read becomes an `UnreadableError`."""
    try:
        with _open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what is odd in a file and is read all the same
            with Image.open(file, formats=_formats()) as image:
                _check(image, path)
                yield image
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError(_what_it_is(path)) from error
    except Exception as error:  # a decoder raises anything on bytes that it does not expect
        told = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableError(told.splitlines()[0]) from error


def _open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file for reading; a FIFO or device is refused at once, and no writer waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        raise UnreadableError("it is a folder" if is_folder else "it is not a regular file")
    return os.fdopen(descriptor, "rb")


def _check(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Refuse what only seems to be a picture, or would take up too much memory once it is cut to size."""
    ending = os.path.splitext(path)[1].lower()
    if image.format in UNMARKED and _registered().get(ending) != image.format:
        raise UnreadableError(_what_it_is(path))
    if max(image.size) > MOST_LENGTHENED * min(image.size):
        raise UnreadableError(f"{image.width} x {image.height} pixels are a line rather than a picture")


def _what_it_is(path: str | os.PathLike[str]) -> str:
    with _open_regular(path) as file:
        head = file.read(64)
    if not head:
        return "empty"
    if not any(head):
        return "it begins with zeros only"
    brand = BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    low = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return brand or next((told for mark, told in MARKS.items() if low.startswith(mark)), "no picture")


def _is_closed(path: str | os.PathLike[str], kind: str | None) -> bool:
    """Whether a file of a kind that marks its end has that mark; False for all other kinds."""
    with _open_regular(path) as file:
        head, size = file.read(8), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        end = file.read()
    if kind in ("JPEG", "MPO"):
        return b"\xff\xd9" in end
    if kind == "PNG":
        return b"IEND\xaeB`\x82" in end
    if kind == "GIF":
        return end.rstrip(b"\0").endswith(b";")
    return kind == "WEBP" and int.from_bytes(head[4:], "little") + 8 <= size


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # EXIF that is broken says nothing, and the picture is whole
        return image
    turn = TURNED.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def _narrowed(image: Image.Image) -> Image.Image:
    """Return a grey picture of wide values (12 to 32 bits, or floats) with 8 bits, in mode L or LA."""
    values = np.asarray(image)
    low, high = _range_of(image, values)
    scaled = (np.clip(values.astype(np.float64), low, high) - low) * (255.0 / (high - low))
    if _tags(image).get(PHOTOMETRIC) == 0:  # zero is white
        scaled = 255.0 - scaled
    grey = Image.fromarray(np.round(scaled).astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):  # the one value that is transparent
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def _range_of(image: Image.Image, values: NDArray[Any]) -> tuple[float, float]:
    """Return which values are black and white: those that the file names, else those of its depth."""
    tags = _tags(image)
    named = [next((_number(tags[tag]) for tag in pair if tag in tags), None) for pair in (LOWEST, HIGHEST)]
    if named[1] is not None and named[1] > (named[0] or 0.0):
        return named[0] or 0.0, named[1]
    if image.mode.startswith("I;16"):
        bits = tags.get(BITS, (16,))
        return 0.0, 2.0 ** (bits[0] if isinstance(bits, tuple) else bits) - 1
    if image.mode == "I" and image.format in ("PPM", "PNG"):  # Pillow brings PGM to 16 bits
        return 0.0, 65535.0
    if image.mode == "F" and np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0:
        return 0.0, 1.0
    kind = "floats" if image.mode == "F" else "integers"
    raise UnreadableError(
        f"its values are {kind} in {values.min():g}..{values.max():g} and the file does not say which are "
        "black and white: save it with 8 or 16 bits"
    )


def _tags(image: Image.Image) -> dict[int, Any]:
    return dict(getattr(image, "tag_v2", {}))


def _number(value: Any) -> float:
    return float(value[0] if isinstance(value, tuple) else value)


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None, "it is not done in place"
    return converted


@lru_cache
def _registered() -> dict[str, str]:
    """Return the format of each ending that Pillow knows."""
    return Image.registered_extensions()


@lru_cache
def _formats() -> tuple[str, ...]:
    """Return the formats that are opened; Pillow tries them in this order."""
    Image.init()
    return tuple(name for name in Image.ID if name not in UNUSED)
