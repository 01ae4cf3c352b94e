"""A page's curves and charts: how seeds are joined, and that colours are the page's own."""

import re

import numpy as np

from spl.report.charts import Curve, color_of, draw_confusion, draw_curves
from spl.report.curves import MOST_POINTS, join, thinned
from spl.report.read_run import Series


def test_seeds_are_joined_over_the_stretch_that_all_have() -> None:
    curve = join([Series([0.0, 10.0, 20.0], [0.0, 1.0, 2.0]), Series([5.0, 15.0], [4.0, 6.0])], 0, 0)
    assert curve is not None
    assert curve.xs.tolist() == [10.0]  # 0 and 20 lie outside of the second one
    assert curve.low.tolist() == [1.0]
    assert curve.high.tolist() == [5.0]  # halfway between 4 and 6
    assert curve.mean.tolist() == [3.0]
    assert join([], 0, 0) is None


def test_long_curves_are_averaged_and_short_ones_kept() -> None:
    xs = np.arange(10.0 * MOST_POINTS)
    short_xs, short_ys = thinned(xs, xs * 2.0)
    assert len(short_xs) == MOST_POINTS
    assert short_xs[0] == np.arange(10).mean()
    np.testing.assert_allclose(short_ys, short_xs * 2.0)
    assert thinned(xs[:MOST_POINTS], xs[:MOST_POINTS])[0] is not xs
    assert len(thinned(xs[:MOST_POINTS], xs[:MOST_POINTS])[0]) == MOST_POINTS


def test_a_chart_takes_its_colours_from_the_page_and_tells_itself_in_words() -> None:
    xs = np.array([0.0, 1.0])
    curve = Curve(1, 0, xs, xs + 1.0, xs, xs + 2.0)
    first, second = (draw_curves("Loss < $5 & $6", "step", [curve]) for _ in range(2))
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r'(url\(|href=")#[\w-]+', "", first))
    assert "stroke: var(--line-1)" in first
    assert "fill: var(--line-1); fill-opacity: 0.18" in first  # the spread
    assert 'aria-label="Loss &lt; $5 &amp; $6 over steps. Last value: 2."' in first
    ids = [set(re.findall(r' id="([^"]+)"', one)) for one in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r"url\(#([^)]+)\)", first)) <= ids[0]
    assert "<style" not in first
    assert "font-family" not in first
    assert "font-size: calc(11px * var(--letters, 1))" in first


def test_a_line_without_spread_has_no_band() -> None:
    xs = np.array([0.0, 1.0])
    assert "fill-opacity" not in draw_curves("Loss", "step", [Curve(0, 0, xs, xs, xs, xs)])


def test_colours_begin_again_when_they_are_used_up() -> None:
    assert color_of(8) == color_of(0) != color_of(7)


def test_a_confusion_matrix_has_its_counts_and_shades() -> None:
    svg = draw_confusion(np.array([[8, 0], [3, 1]]), ["$5", "<b>"])
    assert ">8</text>" in svg
    assert ">0</text>" not in svg
    shades = {round(float(one), 3) for one in re.findall(r"opacity: ([\d.]+)", svg)}
    assert shades == {0.58, 0.455, 0.205}  # 0.08 + 0.5 of 1, 3/4 and 1/4
    assert "&lt;b&gt;</text>" in svg
    assert "9 of 12 images are on the diagonal" in svg


def test_a_name_with_control_letters_is_drawn_without_them() -> None:
    svg = draw_confusion(np.eye(2, dtype=np.int64), ["\x1bcat", "do\x07g"])
    assert ">cat<" in svg
    assert ">dog<" in svg


def test_letters_of_a_confusion_matrix_are_smaller_where_there_are_many_classes() -> None:
    few, many = (
        draw_confusion(np.eye(size, dtype=np.int64), [str(one) for one in range(size)]) for size in (10, 21)
    )
    assert set(re.findall(r"calc\((\d+)px", few)) == {"11"}
    assert ">1</text>" in few
    assert "calc(9px" in many
