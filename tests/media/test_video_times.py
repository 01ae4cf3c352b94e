"""When pictures are shown and sound is heard of files whose timestamps are missing, wrong or begin again."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from spl.media.video_times import in_order
from tests.media.test_video_reader import FPS, PICTURES, levels, mux, picture, read


@pytest.mark.parametrize("suffix", [".avi", ".asf", ".mkv"])
@pytest.mark.parametrize("num_between", [1, 3, 14])
def test_pictures_stored_out_of_order_are_all_shown_in_their_place(tmp_path, suffix, num_between):
    frames = [(n / FPS, picture(n % 19)) for n in range(40)]
    between = {"bf": str(num_between), "x264-params": "b-adapt=0:scenecut=0"}
    settings = PICTURES | {"time_base": Fraction(1, FPS), "options": between}
    path = mux(tmp_path / f"a{suffix}", [("libx264", FPS, frames, settings)])
    pictures, _ = read(path)
    assert len(pictures) in (39, 40)  # ASF does not tell how long the last is shown
    np.testing.assert_allclose(levels(pictures)[:39], [20 + 10 * (n % 19) for n in range(39)], atol=4)


def test_of_large_pictures_few_are_held():
    frames = [SimpleNamespace(time=n, width=7_680, height=4_320) for n in (0, 4, 1, 2, 3, 5, None, 8, 7)]
    drawn = []
    ordered = in_order(drawn.append(frame) or frame for frame in frames)
    assert next(ordered) == (frames[0], 0.0)
    assert len(drawn) == 5
    assert [time_s for _, time_s in ordered] == [1, 2, 3, 4, 5, None, 7, 8]


@pytest.mark.parametrize(("suffix", "codec"), [(".h264", "libx264"), (".hevc", "libx265"), (".m4v", "mpeg4")])
def test_a_bare_stream_is_as_fast_as_it_says(tmp_path, suffix, codec):
    frames = [(n / 30, picture(n % 19)) for n in range(30)]
    settings = PICTURES | {"time_base": Fraction(1, 30), "options": {"x265-params": "log-level=none"}}
    path = mux(tmp_path / f"a{suffix}", [(codec, 30, frames, settings)])
    pictures, _ = read(path)
    assert len(pictures) == 15
    np.testing.assert_allclose(levels(pictures), [20 + 10 * (n % 19) for n in range(1, 30, 2)], atol=5)
