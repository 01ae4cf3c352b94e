"""Text, bars and heat maps drawn directly into byte images: fast enough for every frame of a film.

Pictures are ``(H, W, 3)`` uint8. Writing and filling change them in place; what lies outside is cut.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spl.plotting.fonts import PLAIN, font_of_all

Picture = NDArray[np.uint8]
Levels = NDArray[np.float32]  # in 0..1; values outside are clipped
Colour = tuple[int, int, int]
Colours = tuple[str, float]  # a colour map of Matplotlib's, and how far it is used
NUM_KEPT = 512  # words, and areas, that are kept as they were drawn
OPACITY, FAINTEST = 0.7, 0.15  # of heat where it is hottest, and below which it is not seen


@lru_cache
def palette(name: str, end: float = 1.0) -> bytes:
    """Return one of Matplotlib's colour maps, as far as ``end``, as 256 x RGB."""
    from matplotlib import colormaps  # where it is used: it takes a second to import

    return (255 * colormaps[name](np.linspace(0.0, end, 256))[:, :3]).astype(np.uint8).tobytes()


HEAT: Colours = ("turbo", 0.92)  # which ends in a red that is nearly black
LOUDNESS: Colours = ("magma", 1.0)
OPACITIES = [round(255 * OPACITY * max(0.0, (n / 255 - FAINTEST) / (1 - FAINTEST))) for n in range(256)]


@lru_cache
def font(size: int, is_bold: bool) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which Matplotlib brings along, ``size`` pixels high."""
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


@lru_cache(NUM_KEPT)
def word(text: str, size: int, is_bold: bool, colour: Colour, paper: Colour) -> Picture:
    """Return a line of text on paper, ``(h, w, 3)``; all of a size are as high."""
    face, other = font(size, is_bold), font_of_all(text)
    text = other.text
    if other.font.family != PLAIN:  # a script that the plain font lacks
        face = ImageFont.truetype(other.font.path, size, index=other.font.face)
    page = Image.new("RGB", (max(1, round(face.getlength(text)) + 1), sum(face.getmetrics())), paper)
    ImageDraw.Draw(page).text((0, 0), text, colour, face)
    drawn = np.array(page)
    drawn.flags.writeable = False
    return drawn


def write(
    picture: Picture,
    text: str,
    top: int,
    left: int,
    *,
    size: int,
    colour: Colour,
    paper: Colour,
    is_bold: bool = False,
    is_right: bool = False,
) -> None:
    """Write one line of text over what was there, ``left`` being its right end where ``is_right``."""
    drawn = word(text, size, is_bold, colour, paper)
    left = max(0, left - drawn.shape[1]) if is_right else left
    place = picture[top : top + drawn.shape[0], left : left + drawn.shape[1]]
    place[:] = drawn[: place.shape[0], : place.shape[1]]


def fill(picture: Picture, top: int, left: int, height: int, width: int, colour: Colour) -> None:
    """Fill a rectangle."""
    if height > 0 and width > 0:
        place = picture[top : top + height, left : left + width]
        place[:] = plain(height, width, colour)[: place.shape[0], : place.shape[1]]


@lru_cache(NUM_KEPT)
def plain(height: int, width: int, colour: Colour) -> Picture:
    """Return an area of one colour: copying it is many times quicker than spreading three numbers."""
    area = np.full((height, width, 3), colour, np.uint8)
    area.flags.writeable = False
    return area


def heated(picture: Picture, heat: Levels) -> Picture:
    """Return the picture with ``heat (h, w)`` laid over all of it; where there is none, it stays as it is."""
    rows, columns = picture.shape[:2]
    levels = _image(heat).resize((columns, rows), Image.Resampling.BILINEAR)
    opacity = levels.point(OPACITIES)
    return np.asarray(Image.composite(_coloured(levels, palette(*HEAT)), Image.fromarray(picture), opacity))


def painted(levels: Levels, colours: bytes, height: int, width: int) -> Picture:
    """Return ``levels (M, L)`` as a picture ``(height, width, 3)``, row 0 lowest, nearest neighbours."""
    image = _image(levels[::-1]).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(_coloured(image, colours))


def enlarged(picture: Picture, scale: int) -> Picture:
    """Return each pixel as a square of ``scale`` pixels."""
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))


def _image(levels: Levels) -> Image.Image:
    return Image.fromarray(np.clip(255.0 * levels, 0.0, 255.0).astype(np.uint8))


def _coloured(image: Image.Image, colours: bytes) -> Image.Image:
    copied = image.copy()
    copied.putpalette(colours)
    return copied.convert("RGB")
