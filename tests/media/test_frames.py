"""How a file says that its pixels and sounds are to be read, and that we read them so."""

from fractions import Fraction

import av
import numpy as np
import pytest

from spl.media.video_reader import Video

RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 128, 128)
CORNERS = np.array([[RED, GREEN], [BLUE, GREY]], np.uint8)
CUT = {"grey": False, "sample_rate_hz": 16_000, "stereo": False, "step_s": 0.1}


def write(path, codec, pixels, frames, kind="rgb24", prepare=None, tag=None):
    """Write frames at 10 a second; ``prepare`` sets up the stream, ``tag`` each frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        if prepare is not None:
            prepare(stream)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), kind)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            if tag is not None:
                tag(frame)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def corners():
    """Four colours, one a quarter, 64 x 64."""
    return CORNERS.repeat(32, axis=0).repeat(32, axis=1)


def read(path, *, size=(16, 16), **other):
    video = Video(path, num_threads=1)
    steps = list(video.steps(video_size=size, **{**CUT, **other}))
    return video, steps


def middles(picture):
    """The four colours of a picture ``(3, H, W)``, row by row."""
    rows, columns = (np.array([1, 3]) * length // 4 for length in picture.shape[1:])
    return picture[:, rows][:, :, columns].transpose(1, 2, 0).astype(int)


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_all_eight_ways_to_lie_are_shown_upright(tmp_path, quarters, is_mirrored, is_flipped):
    def prepare(stream):
        stream.set_display_rotation(90 * quarters, is_mirrored, is_flipped)

    path = write(tmp_path / "a.mp4", "libx264", "yuv444p", [corners()] * 2, prepare=prepare)
    expected = np.rot90(CORNERS, quarters)  # to the left
    expected = expected[:, ::-1] if is_mirrored else expected
    expected = expected[::-1] if is_flipped else expected
    video, steps = read(path, size=(20, 12))
    assert steps[0].picture.shape == (3, 20, 12)
    np.testing.assert_allclose(middles(steps[0].picture), expected, atol=4)
    assert video.notes == []


def test_a_turn_by_less_than_a_quarter_is_told(tmp_path):
    path = write(
        tmp_path / "a.mp4",
        "libx264",
        "yuv444p",
        [corners()] * 2,
        prepare=lambda stream: stream.set_display_rotation(30),
    )
    video, steps = read(path)
    np.testing.assert_allclose(middles(steps[0].picture), CORNERS, atol=4)
    assert video.notes == ["it is turned by a part of a quarter, which is left out"]


FORMATS = [
    ("mkv", "ffv1", "yuv420p"),
    ("mkv", "ffv1", "yuv444p10le"),
    ("mkv", "ffv1", "yuv422p12le"),
    ("mkv", "ffv1", "yuv444p16le"),
    ("mkv", "ffv1", "bgr0"),
    ("mp4", "libx264", "yuv444p"),
    ("mp4", "libx264", "yuv420p10le"),
    ("mp4", "libx264rgb", "rgb24"),
    ("mov", "prores_ks", "yuv422p10le"),
    ("mov", "qtrle", "rgb24"),
    ("mov", "png", "rgb48be"),
    ("mov", "mjpeg", "yuvj420p"),
    ("avi", "rawvideo", "yuv411p"),
    ("avi", "huffyuv", "rgb24"),
    ("gif", "gif", "rgb8"),
]


@pytest.mark.parametrize(("ending", "codec", "pixels"), FORMATS)
def test_colours_come_back_from_every_kind_of_pixels(tmp_path, ending, codec, pixels):
    path = write(tmp_path / f"a.{ending}", codec, pixels, [corners()] * 3)
    video, steps = read(path)
    np.testing.assert_allclose(middles(steps[0].picture), CORNERS, atol=6)
    grey = read(path, grey=True)[1][0].picture
    np.testing.assert_allclose(grey[0, [4, 4, 12, 12], [4, 12, 4, 12]], [81, 130, 49, 128], atol=3)
    assert video.notes == []


@pytest.mark.parametrize("pixels", ["gray", "gray10le", "gray16le"])
def test_grey_of_any_depth_keeps_black_and_white(tmp_path, pixels):
    frames = [np.full((32, 32), level, np.uint8) for level in (0, 100, 255)]
    path = write(tmp_path / "a.mkv", "ffv1", pixels, frames, kind="gray")
    levels = [step.picture[0, 8, 8] for step in read(path, grey=True)[1]]
    np.testing.assert_allclose(levels, [0, 100, 255], atol=1)


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize(
    ("space", "red", "blue"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (9, 0.2627, 0.0593)]
)
def test_the_matrix_and_range_of_colours_that_a_file_names_are_used(tmp_path, space, red, blue, is_full):
    r, g, b = (value / 255 for value in RED)
    luma = red * r + (1 - red - blue) * g + blue * b
    parts = luma, (b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)
    scales = (255, 255, 255) if is_full else (219, 224, 224)
    begins = (0, 128, 128) if is_full else (16, 128, 128)
    values = [round(begin + scale * part) for begin, scale, part in zip(begins, scales, parts, strict=True)]
    planes = np.concatenate([np.full((32, 32), value, np.uint8) for value in values])[None].reshape(3, 32, 32)

    def tag(frame):
        frame.colorspace, frame.color_range = space, 2 if is_full else 1

    def prepare(stream):
        stream.codec_context.colorspace, stream.codec_context.color_range = space, 2 if is_full else 1
        stream.height = stream.width = 32

    path = write(
        tmp_path / "a.mkv", "ffv1", "yuv444p", [planes] * 2, kind="yuv444p", prepare=prepare, tag=tag
    )
    np.testing.assert_allclose(read(path)[1][0].picture[:, 8, 8], RED, atol=2)


@pytest.mark.parametrize(
    ("ending", "codec", "pixels"),
    [
        ("mov", "prores_ks", "yuva444p10le"),
        ("mov", "png", "rgba"),
        ("mkv", "ffv1", "yuva420p"),
        ("mov", "qtrle", "argb"),
    ],
)
def test_what_is_transparent_lies_on_white(tmp_path, ending, codec, pixels):
    picture = np.dstack([corners(), np.full((64, 64), 255, np.uint8)])
    picture[32:, 32:] = (0, 0, 0, 0)
    picture[:32, :32, 3] = 128
    path = write(tmp_path / f"a.{ending}", codec, pixels, [picture] * 2, kind="rgba")
    half = [round(value * 128 / 255 + 255 * 127 / 255) for value in RED]
    expected = [[half, GREEN], [BLUE, (255, 255, 255)]]
    np.testing.assert_allclose(middles(read(path)[1][0].picture), expected, atol=6)


def test_high_dynamic_range_is_told(tmp_path):
    def prepare(stream):
        stream.codec_context.color_trc = 16
        stream.codec_context.color_primaries = stream.codec_context.colorspace = 9

    path = write(tmp_path / "a.mp4", "libx265", "yuv420p10le", [corners()] * 3, prepare=prepare)
    assert read(path)[0].notes == ["its high dynamic range (PQ) is not mapped: it looks pale"]


def test_the_shape_of_pixels_makes_no_difference(tmp_path):
    def prepare(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)

    path = write(tmp_path / "a.mp4", "libx264", "yuv444p", [corners()] * 2, prepare=prepare)
    np.testing.assert_allclose(middles(read(path)[1][0].picture), CORNERS, atol=4)


def test_a_variable_frame_rate_shows_each_frame_for_its_time(tmp_path):
    def tag(frame):
        frame.pts = (0, 1, 6, 7)[frame.pts]

    frames = [np.full((32, 32), level, np.uint8) for level in (10, 20, 30, 40)]
    path = write(tmp_path / "a.mkv", "ffv1", "gray", frames, kind="gray", tag=tag)
    levels = [round(step.picture[0, 8, 8] / 10) for step in read(path, grey=True)[1]]
    assert levels == [1, 2, 2, 2, 2, 2, 3, 4]


SOUNDS = [  # format, codec, ending, rate, layout
    ("u8", "pcm_u8", "avi", 11_025, "mono"),
    ("s16", "pcm_s16be", "mov", 44_100, "stereo"),
    ("s32", "pcm_s24le", "mkv", 48_000, "mono"),
    ("s32", "pcm_s32le", "mkv", 96_000, "stereo"),
    ("flt", "pcm_f32le", "mkv", 22_050, "mono"),
    ("dbl", "pcm_f64le", "mkv", 16_000, "mono"),
    ("s16", "pcm_s16le", "mkv", 48_000, "5.1"),
    ("s16", "pcm_s16le", "mkv", 48_000, "quad"),
    ("s16", "pcm_s16le", "mkv", 8_000, "mono"),
    ("s16", "pcm_s16le", "avi", 15_999, "mono"),
]


def add_sound(path, kind, codec, rate_hz, layout, *, begin_s=0.0, length_s=0.6, level=0.5):
    """Write a video of 1 s, with a tone of 400 Hz from ``begin_s`` on."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("ffv1" if path.suffix == ".mkv" else "mpeg4", rate=10)
        picture.width = picture.height = 32
        sound = container.add_stream(codec, rate=rate_hz, layout=layout)
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        count = round(length_s * rate_hz)
        tone = level * np.sin(2 * np.pi * 400 * np.arange(count) / rate_hz)
        tone = np.tile(tone, (av.AudioLayout(layout).nb_channels, 1)).T.reshape(1, -1)
        if kind == "u8":
            samples = np.round(128 + 127 * tone).astype(np.uint8)
        elif kind in ("flt", "dbl"):
            samples = tone.astype({"flt": np.float32, "dbl": np.float64}[kind])
        else:
            bits = int(kind[1:])
            samples = np.round(tone * (2 ** (bits - 1) - 1)).astype(f"i{bits // 8}")
        if count:
            frame = av.AudioFrame.from_ndarray(samples, kind, layout)
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = round(begin_s * rate_hz)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(("kind", "codec", "ending", "rate_hz", "layout"), SOUNDS)
def test_sound_of_every_kind_has_its_level_and_place(tmp_path, kind, codec, ending, rate_hz, layout):
    path = add_sound(tmp_path / f"a.{ending}", kind, codec, rate_hz, layout)
    wave = np.concatenate([step.sound for step in read(path)[1]], axis=1)[0]
    assert len(wave) == 16_000
    heard = wave[1_600:8_000]  # from 0.1 to 0.5 s
    expected = 0.5 * np.sin(2 * np.pi * 400 * np.arange(1_600, 8_000) / 16_000)
    np.testing.assert_allclose(heard, expected, atol=0.02)
    assert np.abs(wave[10_000:]).max() < 0.01  # the sound ends before the pictures


def test_a_sound_track_that_begins_late_is_silent_before(tmp_path):
    path = add_sound(tmp_path / "a.mkv", "s16", "pcm_s16le", 16_000, "mono", begin_s=0.3)
    wave = np.concatenate([step.sound for step in read(path)[1]], axis=1)[0]
    assert not wave[:4_790].any()
    assert np.abs(wave[4_850:14_000]).max() == pytest.approx(0.5, abs=0.01)


def test_a_sound_track_without_a_sample_is_none(tmp_path):
    path = add_sound(tmp_path / "a.mkv", "s16", "pcm_s16le", 16_000, "mono", length_s=0.0)
    video, steps = read(path)
    assert not video.has_audio
    assert [step.sound for step in steps] == [None] * 10
    assert video.notes == ["its sound track is empty: it counts as without sound"]
