"""Names in any script are drawn by a font that has their letters, or by the letters' numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from spl.agents.film.text import word
from spl.classify.metrics import draw_confusion
from spl.curriculum.figures import Tile, draw_tiles
from spl.plotting import fonts
from spl.plotting.fonts import PLAIN, drawable, drawn, font_of_all

SCRIPTS = ["猫犬", "한국어", "ねこ", "हिन्दी", "ไทย", "🙂", "𓀀", "中 cat", "\ue123"]


@pytest.fixture(autouse=True)
def _fresh():
    fonts._fonts_of.cache_clear()
    word.cache_clear()
    yield
    fonts._fonts_of.cache_clear()
    word.cache_clear()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No font but Matplotlib's own."""
    monkeypatch.setattr(fonts, "CANDIDATES", ())


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> str:
    """A letter that one other font has, which is installed with Matplotlib, and the plain one has not."""
    monkeypatch.setattr(fonts, "CANDIDATES", ("STIXGeneral",))
    (font,) = fonts._others()
    return min(
        one for one in fonts._letters_of(font) - fonts._letters_of(fonts._plain()) if one.isprintable()
    )


def test_a_letter_that_no_font_has_is_told_by_its_number(bare: None) -> None:
    assert drawable("猫犬") == "U+732B U+72AC"
    assert drawable("a猫") == "aU+732B"
    assert drawable("über Ж עברית $5") == "über Ж עברית $5"
    assert drawable("a\nb\x1b") == r"a\nb\x1b"
    assert drawn(["猫"]) == {"fontfamily": [PLAIN], "parse_math": False}
    assert drawable("") == ""


def test_a_letter_that_another_font_has_is_drawn_by_it(other: str) -> None:
    assert drawable(f"a{other}猫") == f"a{other}U+732B"
    assert drawn([other, "a"])["fontfamily"] == [PLAIN, "STIXGeneral"]
    assert drawn(["a"])["fontfamily"] == [PLAIN]
    assert font_of_all(other).font.family == "STIXGeneral"
    assert font_of_all("abc").font.family == PLAIN


@pytest.mark.parametrize("name", SCRIPTS)
def test_pictures_have_no_empty_boxes(name: str, tmp_path: Path) -> None:
    classes = [name, "plain", "$5"]  # a letter that is missing is a warning, and fails
    draw_confusion(torch.eye(3, dtype=torch.int64), classes, f"{name}: 100%", tmp_path / "confusion.png")
    draw_tiles({"easy": [Tile(np.zeros((4, 4, 3)), name)]}, tmp_path / "tiles.png", name)
    figure = Figure()
    text = figure.text(0.1, 0.5, drawable(name), **drawn([name]))
    assert set(text.get_text()) <= fonts._letters(fonts.fonts_of([name]))
    figure.savefig(tmp_path / "text.png")


def test_a_letter_is_drawn_as_its_font_has_it(other: str, tmp_path: Path) -> None:
    pictures = []
    for family in (drawn([other])["fontfamily"], ["STIXGeneral"]):
        figure = Figure(figsize=(1, 1))
        figure.text(0.3, 0.3, other, fontsize=30, fontfamily=family)
        figure.savefig(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            pictures.append(np.asarray(image))
    assert np.array_equal(*pictures)
    assert pictures[0].min() < 128


@pytest.mark.parametrize("name", SCRIPTS)
def test_films_have_no_empty_boxes(name: str, bare: None) -> None:
    black, white = (0, 0, 0), (255, 255, 255)
    assert np.array_equal(word(name, 16, False, black, white), word(drawable(name), 16, False, black, white))
    assert not np.array_equal(word("猫", 16, False, black, white), word("\uffff", 16, False, black, white))
