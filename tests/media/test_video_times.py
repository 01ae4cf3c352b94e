"""When pictures are shown and sound is heard of files whose timestamps are missing, wrong or begin again."""

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from spl.media.video_reader import Video
from spl.media.video_times import Axis, in_order
from tests.media.test_video_reader import (
    CUT,
    FPS,
    PICTURES,
    RATE_HZ,
    clicks,
    heard,
    levels,
    mux,
    onset,
    picture,
    read,
)


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


def stream(path, num=30, flash=10, *, tone=True):
    """Write a dark transport stream whose picture ``flash`` is bright while a click is heard."""
    frames = [(n / FPS, picture(15 if n == flash else 0)) for n in range(num)]
    sound = ("mp2", RATE_HZ, [(0, heard(clicks(num / FPS + 0.1, flash / FPS)))], {"layout": "mono"})
    return mux(path, [("libx264", FPS, frames, PICTURES), *[sound] * tone])


@pytest.mark.parametrize("tone", [True, False])
def test_streams_put_one_after_the_other_are_read_to_the_end(tmp_path, tone):
    parts = [stream(tmp_path / f"{flash}.ts", flash=flash, tone=tone).read_bytes() for flash in (10, 12, 14)]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    video = Video(tmp_path / "a.ts", num_threads=1)
    steps = list(video.steps(**CUT | {"step_s": 0.01}))
    bright = np.array([step.picture.mean() > 90 for step in steps])
    begins = np.flatnonzero(bright[1:] & ~bright[:-1]) + 1
    part_s = 2.16 if tone else 2.0  # as long as its sound
    np.testing.assert_allclose(begins * 0.01, [10 / FPS, part_s + 12 / FPS, 2 * part_s + 14 / FPS], atol=0.04)
    assert len(steps) == pytest.approx(200 * part_s + 200, abs=4)
    assert video.notes == ["its timestamps begin again (places: 2): each part follows the one before"]
    if tone:
        wave = np.concatenate([step.sound for step in steps], axis=1)[0]
        for begin in begins:
            assert abs(onset(wave, begin * 0.01)) < 0.025 * RATE_HZ


@pytest.mark.parametrize(("damaged", "byte"), [(15, 9), (15, 11), (26, 11)])  # 13 h, 1.5 s, -1.5 s
def test_one_damaged_timestamp_costs_nothing_but_itself(tmp_path, damaged, byte):
    path = stream(tmp_path / "a.ts")
    whole = read(path)
    data, num = bytearray(path.read_bytes()), 0
    for start in range(0, len(data), 188):  # packets of the transport stream
        if data[start + 1] & 0x40 and (data[start + 1] & 0x1F) << 8 | data[start + 2] == 0x100:
            head = start + 4 + (1 + data[start + 4] if data[start + 3] & 0x20 else 0)
            num += 1
            if num == damaged:
                data[head + byte] ^= 0x08
                if data[head + 7] & 0x40:  # the time of decoding
                    data[head + byte + 5] ^= 0x08
    path.write_bytes(data)
    for one, other in zip(read(path), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    video = Video(path)
    assert len(list(video.steps(**CUT))) == 30
    assert video.notes == ["damaged timestamps left out: 1"]


@pytest.mark.parametrize(("suffix", "is_heard"), [(".mkv", True), (".mp4", False)])
def test_sound_after_a_long_silence_is_heard_while_there_are_pictures(tmp_path, suffix, is_heard):
    last = 700 if is_heard else 2
    frames = [(second, picture(0)) for second in (0, 1, last // 2, last)]
    sound = ("aac", RATE_HZ, [(650, heard(np.sin(np.arange(48_000))))], {"layout": "mono"})
    video = Video(mux(tmp_path / f"a{suffix}", [("libx264", FPS, frames, PICTURES), sound]))
    loud = [
        step.sound is not None and np.abs(step.sound).max() > 0.5
        for step in video.steps(**CUT | {"step_s": 1.0})
    ]
    assert np.flatnonzero(loud).tolist() == ([650, 651, 652] if is_heard else [])
    assert video.has_audio == is_heard
    if not is_heard:
        told = ["its sound jumps from 0.0 to 649.9 s: it ends before the jump", "it counts as without sound"]
        assert video.notes == told


def test_what_an_edit_list_cuts_and_avi_never_stored_is_not_lost(tmp_path):
    frames = [(n / FPS - 1.0, picture(n % 19)) for n in range(30)]
    options = {"avoid_negative_ts": "disabled"}
    cut = mux(tmp_path / "a.mp4", [("libx264", FPS, frames, PICTURES)], options)
    sparse = [(n / FPS, picture(n % 19)) for n in range(0, 30, 3)]
    settings = {**PICTURES, "pix_fmt": "yuvj420p", "time_base": Fraction(1, FPS)}
    slots = mux(tmp_path / "a.avi", [("mjpeg", FPS, sparse, settings)])
    for path, num_declared, num_shown in ((cut, 30, 15), (slots, 28, 28)):
        with av.open(str(path)) as container:
            assert container.streams.video[0].frames == num_declared
        video = Video(path)
        assert len(list(video.steps(**CUT))) == num_shown
        assert video.notes == []


def packets(track, *times, base=Fraction(1, 10)):
    """Return packets of a track, one after each time in tenths of a second; None: what ends it."""
    kind, size = SimpleNamespace(index=track), 9
    return [SimpleNamespace(stream=kind, size=size, pts=n, dts=n, duration=1, time_base=base) for n in times]


def test_a_track_that_lags_behind_a_joint_stays_in_its_part():
    times = range(40)
    first = [one for pair in zip(packets(0, *times), packets(1, *times), strict=True) for one in pair]
    del first[-2]  # the last picture comes late
    pictures, sounds = packets(0, 39, *times, None), packets(1, *times, None)
    axis = Axis()
    placed = list(axis.placed(iter([*first, *sounds[:20], *pictures[:10], *sounds[20:], *pictures[10:]])))
    for track in (0, 1):
        assert [one.pts for one in placed if one.stream.index == track] == [*range(80), None]
    assert axis.num_joints == 1
    assert axis.num_damaged == 0


def test_packets_without_bytes_are_left_out_but_for_the_last():
    given = packets(0, 0, 1, 2, 3, None)
    for packet in given[1::2] + given[-1:]:
        packet.size = 0
    assert [packet.pts for packet in Axis().placed(iter(given))] == [0, 2, None]
