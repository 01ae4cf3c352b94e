"""One picture of an agent at work: bars, shares, maps and words are where, and as long as, they shall be."""

import numpy as np
import pytest

from spl.agents.film.frame import (
    AUDIO_COLOUR,
    BACKGROUND,
    CHOSEN,
    FAINT,
    LABEL_WIDTH,
    MARGIN,
    MAX_ROWS,
    NUMBER_WIDTH,
    PANEL_WIDTH,
    STATE_COLOUR,
    STRIP_HEIGHT,
    VIDEO_COLOUR,
    Screen,
    View,
)
from spl.agents.film.text import enlarged, fill, heated, painted, palette, word, write

LONGEST = PANEL_WIDTH - LABEL_WIDTH - NUMBER_WIDTH
EMPTY = View(None, None, None, None, None, (0.0, 1.0), (), "", None, (True, True), 0.0, "")


def screen(num_actions: int = 3, **options) -> Screen:
    given = {"picture_size": (20, 30), "scale": 2, "strip_s": 4.0, **options}
    return Screen("a world", [f"act {number}" for number in range(num_actions)], **given)


def longest_run(page: np.ndarray, colour: tuple[int, int, int], left: int = 0) -> int:
    """Return the longest row of pixels of exactly this colour."""
    best = 0
    for row in (page[:, left:] == np.array(colour)).all(axis=2):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        best = max([best, *(edges[1::2] - edges[::2])])
    return int(best)


def test_bars_are_as_long_as_their_values_and_the_chosen_one_has_its_colour():
    values = np.array([0.0, 0.5, 1.0], np.float32)
    page = screen().draw(EMPTY._replace(values=values, chosen=(2,), value_range=(-1.0, 1.0)))
    left = screen().panel_left + LABEL_WIDTH
    assert longest_run(page, CHOSEN, left) == LONGEST
    assert longest_run(page, FAINT, left) == pytest.approx(0.75 * LONGEST, abs=1)
    page = screen().draw(EMPTY._replace(values=values, chosen=(0,), value_range=(-1.0, 1.0)))
    assert longest_run(page, CHOSEN, left) == pytest.approx(0.5 * LONGEST, abs=1)
    even = EMPTY._replace(values=np.ones(3, np.float32), chosen=(0,), value_range=(1.0, 1.0))
    assert longest_run(screen().draw(even), FAINT, left) < 20, "no range, no bars; and no division by zero"


@pytest.mark.parametrize("shares", [(0.25, 0.75), (1.0, 0.0), (0.0, 0.0), (0.25, 0.25, 0.5), (0.0, 0.0, 1.0)])
def test_shares_split_one_bar(shares):
    page = screen().draw(EMPTY._replace(shares=shares))
    for share, colour in zip(shares, (VIDEO_COLOUR, AUDIO_COLOUR, STATE_COLOUR), strict=False):
        expected = round(share * PANEL_WIDTH)
        found = longest_run(page, colour)
        assert found == expected if expected else found < 20, "letters apart"


def test_every_picture_of_a_screen_is_even_and_alike_in_size():
    one = screen(scale=1, picture_size=(21, 33))
    sizes = {
        one.draw(view).shape for view in (EMPTY, EMPTY._replace(picture=np.zeros((21, 33, 3), np.uint8)))
    }
    assert len(sizes) == 1
    assert all(side % 2 == 0 for side in sizes.pop()[:2])
    assert screen(strip_s=None).draw(EMPTY).shape[0] < screen().draw(EMPTY).shape[0]
    assert screen(picture_size=None).draw(EMPTY).shape[1] < screen().draw(EMPTY).shape[1]
    assert screen(scale=None, picture_size=(64, 64)).scale == 6
    assert screen(scale=None, picture_size=(210, 160)).scale == 2
    assert screen(scale=None, picture_size=(900, 900)).scale == 1


def test_the_values_of_every_dimension_are_shown_and_a_long_name_takes_two_lines():
    values = np.arange(30, dtype=np.float32)  # three dimensions of ten, the chosen of the first below others
    view = EMPTY._replace(values=values, value_range=(-60.0, 29.0))
    page = screen(30).draw(view._replace(chosen=(9, 19, 29), action="gas +1, brake +0, steering -0.33"))
    bars = (page[:, screen().panel_left + LABEL_WIDTH :] == np.array(CHOSEN)).all(axis=2).sum(axis=1) > 80
    assert (np.diff(bars.astype(int)) == 1).sum() == 3
    one = screen(30).draw(view._replace(chosen=(9, 19, 29), action="gas +1, brake +0"))
    assert longest_run(page, CHOSEN) == longest_run(one, CHOSEN)
    assert (page != one).any()


def test_of_many_actions_the_best_are_shown_and_none_is_drawn_outside():
    values = np.arange(100, dtype=np.float32)
    one = screen(100)
    page = one.draw(EMPTY._replace(values=values, chosen=(99,), value_range=(0.0, 99.0)))
    bars = (page[:, one.panel_left + LABEL_WIDTH + 10] != BACKGROUND).any(axis=1)
    assert (np.diff(bars.astype(int)) == 1).sum() >= MAX_ROWS
    assert longest_run(page, CHOSEN, one.panel_left + LABEL_WIDTH) == LONGEST


def test_the_picture_is_enlarged_and_the_map_lies_on_it():
    picture = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)
    one = screen()
    top = MARGIN + (one.height - 40) // 2
    page = one.draw(EMPTY._replace(picture=picture))
    place = slice(top, top + 40), slice(MARGIN, MARGIN + 60)
    np.testing.assert_array_equal(page[place], picture.repeat(2, axis=0).repeat(2, axis=1))
    seen = np.zeros((20, 30), np.float32)
    seen[:10, :10] = 1.0
    warm = one.draw(EMPTY._replace(picture=picture, seen=seen))[place]
    assert (warm[:18, :18] != page[place][:18, :18]).any(axis=2).mean() > 0.95
    np.testing.assert_array_equal(warm[:, 30:], page[place][:, 30:])


def test_the_strip_has_low_tones_at_the_bottom_and_the_newest_at_the_right():
    levels = np.zeros((4, 10), np.float32)
    levels[0, 9] = 1.0
    one = screen()
    quiet = one.draw(EMPTY._replace(levels=np.zeros_like(levels)))
    changed = (one.draw(EMPTY._replace(levels=levels)) != quiet).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows.size == STRIP_HEIGHT // 4
    width = quiet.shape[1] - 2 * MARGIN
    assert columns.min() >= MARGIN + 0.9 * width - 1
    assert columns.max() == MARGIN + width - 1
    heard = np.zeros_like(levels)
    heard[3] = 1.0
    weighed = (one.draw(EMPTY._replace(levels=levels, heard=heard)) != quiet).any(axis=2)
    assert np.flatnonzero(weighed.any(axis=1)).max() > rows.max()


def test_heat_of_zero_leaves_the_picture_and_size_does_not_matter():
    picture = np.random.default_rng(0).integers(256, size=(12, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(heated(picture, np.zeros((3, 5), np.float32)), picture)
    hot = heated(picture, np.ones((7, 2), np.float32)).astype(int)
    colour = np.frombuffer(palette("turbo", 0.92), np.uint8)[-3:]
    np.testing.assert_allclose(hot, 0.3 * picture + 0.7 * colour, atol=2)


def test_painted_by_hand():
    colours = bytes(number for number in range(256) for _ in range(3))
    page = painted(np.array([[0.0, 1.0], [0.5, 2.0]], np.float32), colours, 2, 4)
    assert page[:, :, 0].tolist() == [[127, 127, 255, 255], [0, 0, 255, 255]]
    assert enlarged(page, 3).shape == (6, 12, 3)


def test_words_and_bars_are_cut_at_the_edge_and_stay_on_their_line():
    page = np.zeros((20, 40, 3), np.uint8)
    write(page, "a long word", 2, 30, size=12, colour=(255, 0, 0), paper=(0, 0, 0))
    assert page[:, 30:].any()
    assert not page[:, :30].any()
    write(page, "much too long a word", 2, 40, size=12, colour=(255, 0, 0), paper=(0, 0, 0), is_right=True)
    fill(page, 18, 35, 10, 10, (0, 255, 0))
    assert (page[18:, 35:] == (0, 255, 0)).all()
    fill(page, 0, 0, 0, 5, (9, 9, 9))
    assert not (page == 9).any()
    assert (
        word("x", 12, False, (1, 1, 1), (0, 0, 0)).shape[0]
        == word("gÅ", 12, False, (1, 1, 1), (0, 0, 0)).shape[0]
    )


def test_a_modality_that_the_agent_was_not_given_is_shown_absent():
    view = EMPTY._replace(shares=(0.0, 1.0))
    both, blind = (screen().draw(view._replace(present=present)) for present in ((True, True), (False, True)))
    _, columns = np.nonzero((both != blind).any(axis=2))
    assert columns.size
    assert columns.max() < screen().panel_left + PANEL_WIDTH / 2, "the words of the video, to the left"
