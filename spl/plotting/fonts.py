"""Names in any script in figures: by a font that has their letters, else by code points."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from spl.printable import printable

PLAIN = "DejaVu Sans"  # which Matplotlib brings along: Latin, Greek, Cyrillic, Arabic, Hebrew, and more
CANDIDATES = (  # beginnings of the names of fonts of other scripts, as systems have them
    *("Noto Sans", "Noto Serif", "Source Han", "WenQuanYi", "Droid Sans Fallback", "AR PL", "Unifont"),
    *("IPA", "Takao", "VL Gothic", "Nanum", "UnDotum", "Baekmuk", "Lohit", "FreeSans", "Symbola"),
    *("Hiragino", "PingFang", "Heiti", "Apple SD Gothic", "Arial Unicode MS", "Segoe UI Symbol"),
    *("Yu Gothic", "Meiryo", "MS Gothic", "Microsoft YaHei", "Microsoft JhengHei", "SimHei", "SimSun"),
    *("Malgun Gothic", "Nirmala UI", "Leelawadee UI"),
)


class Font(NamedTuple):
    """A font that is installed."""

    family: str
    path: str
    face: int  # number of the font in its file


class Line(NamedTuple):
    """A line of text as its font can draw it."""

    text: str
    font: Font


def drawable(text: str) -> str:
    """Return a name with each letter that no font here has as its number: ``U+732B U+72AC``."""
    return _spelled(printable(text), _letters(fonts_of([text])))


def drawn(texts: Iterable[str]) -> dict[str, Any]:
    """Return what Matplotlib's texts take to draw names that :func:`drawable` returned, none as a formula."""
    return {"fontfamily": [font.family for font in fonts_of(texts)], "parse_math": False}


def fonts_of(texts: Iterable[str]) -> list[Font]:
    """Return the plain font, and those installed that have letters of ``texts`` which it has not."""
    return list(_fonts_of(frozenset("".join(map(printable, texts)))))


def font_of_all(text: str) -> Line:
    """Return a line of text in the one font that draws most of it."""
    text = printable(text)
    font = max(fonts_of([text]), key=lambda one: sum(letter in _letters_of(one) for letter in text))
    return Line(_spelled(text, _letters([font])), font)


def _spelled(text: str, letters: set[str]) -> str:
    words: list[str] = []
    for letter in text:
        is_number = letter not in letters
        if is_number and words and words[-1].startswith("U+"):
            words.append(" ")
        words.append(f"U+{ord(letter):04X}" if is_number else letter)
    return "".join(words)


@lru_cache(256)
def _fonts_of(letters: frozenset[str]) -> tuple[Font, ...]:
    found = [_plain()]
    missing = set(letters) - _letters_of(found[0])
    for font in _others() if missing else ():
        if covered := missing & _letters_of(font):
            found.append(font)
            missing -= covered
    return tuple(found)


def _letters(fonts: Iterable[Font]) -> set[str]:
    return set().union(*map(_letters_of, fonts))


def _plain() -> Font:
    from matplotlib import get_data_path

    return Font(PLAIN, f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 0)


def _others() -> list[Font]:
    """Return the installed fonts of the candidates, in their order."""
    from matplotlib.font_manager import fontManager

    entries = {
        entry.name: Font(entry.name, str(entry.fname), int(getattr(entry, "index", 0)))
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.size == "scalable" and "Color" not in entry.name
    }
    names = sorted(entries)
    return [entries[name] for begin in CANDIDATES for name in names if name.startswith(begin)]


@lru_cache
def _letters_of(font: Font) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    face = FT2Font(font.path, face_index=font.face) if font.face else FT2Font(font.path)
    return frozenset(map(chr, face.get_charmap()))
