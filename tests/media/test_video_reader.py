"""Films read step by step: what is shown when, what is heard where, and what is said of broken ones."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from spl.config.errors import UsageError
from spl.media.video_reader import MediaError, Video
from spl.media.video_writer import CODECS, write_video

FPS, RATE_HZ = 15, 16_000
CUT = {"video_size": (24, 32), "grey": True, "sample_rate_hz": RATE_HZ, "stereo": False, "step_s": 1 / FPS}


def flat(number, rows=48, columns=64):
    return np.full((rows, columns, 3), 20 + 10 * (number % 20), np.uint8)


def clicks(length, *at, rate_hz=RATE_HZ):
    """Silence of ``length`` seconds with 10 ms of a square wave at each of the given seconds."""
    sound = np.zeros(round(length * rate_hz), np.float32)
    for second in at:
        start = round(second * rate_hz)
        sound[start : start + rate_hz // 100] = 0.8
    return sound


def onset(sound, near_s, rate_hz=RATE_HZ):
    """Where, in samples, the sound first grows loud within 0.1 s of a second, compared with that second."""
    start = round((near_s - 0.1) * rate_hz)
    loud = np.abs(sound[start : start + rate_hz // 5]) > 0.3
    assert loud.any()
    return start + int(loud.argmax()) - round(near_s * rate_hz)


def write(path, *frames, audio=None, rate_hz=None, fps=FPS, **codecs):
    write_video(path, frames, fps=fps, audio=audio, sample_rate_hz=rate_hz, **codecs)
    return path


def read(path, **other):
    steps = list(Video(path, num_threads=1).steps(**{**CUT, **other}))
    sound = None if steps[0].sound is None else np.concatenate([step.sound for step in steps], axis=1)
    return np.stack([step.picture for step in steps]), sound


def levels(pictures):
    return pictures[:, 0].mean(axis=(1, 2)).round().tolist()


def mux(path, tracks, options=None):
    """Write tracks ``(codec, rate, frames with their time in seconds, settings)`` as they are reported."""
    with av.open(str(path), "w", options=options or {}) as container:
        streams = []
        for codec, rate, _, settings in tracks:
            streams.append(container.add_stream(codec, rate=rate))
            for name, value in settings.items():
                setattr(streams[-1], name, value)
        for stream, (_, _, frames, _) in zip(streams, tracks, strict=True):
            for second, frame in frames:
                frame.time_base = (
                    Fraction(1, 10_000) if isinstance(frame, av.VideoFrame) else Fraction(1, 16_000)
                )
                frame.pts = round(second / frame.time_base)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def picture(number, rows=48, columns=64):
    return av.VideoFrame.from_ndarray(flat(number, rows, columns), "rgb24")


def heard(samples, layout="mono", rate_hz=RATE_HZ):
    frame = av.AudioFrame.from_ndarray((samples * 32_767).astype(np.int16).reshape(1, -1), "s16", layout)
    frame.sample_rate = rate_hz
    return frame


PICTURES = {"width": 64, "height": 48, "pix_fmt": "yuv420p", "time_base": Fraction(1, 10_000)}


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("rate_hz", [8_000, 30_720, 44_100, 96_000])
def test_what_is_written_is_read_in_step_to_the_sample(tmp_path, suffix, rate_hz):
    sound = clicks(2.0, 0.3, 1.0, 1.7, rate_hz=rate_hz)
    path = write(tmp_path / f"a{suffix}", *map(flat, range(30)), audio=sound, rate_hz=rate_hz)
    pictures, heard = read(path)
    assert pictures.shape == (30, 1, 24, 32)
    assert heard.shape == (1, 32_000)
    np.testing.assert_allclose(levels(pictures), [20 + 10 * (n % 20) for n in range(30)], atol=4)
    most = 8 if suffix in (".mkv", ".webm") else 2  # half a millisecond, to which these round timestamps
    assert all(abs(onset(heard[0], second)) <= most for second in (0.3, 1.0, 1.7))
    assert np.abs(heard[0, 20_000:26_000]).max() < 0.02
    assert list(tmp_path.iterdir()) == [path]


def test_frames_and_sound_may_come_bit_by_bit(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, RATE_HZ).astype(np.float32)
    codecs = {"video_codec": "ffv1", "audio_codec": "pcm_s16le"}
    whole = write(tmp_path / "a.mkv", *map(flat, range(15)), audio=sound, rate_hz=RATE_HZ, **codecs)
    parts = (sound[start : start + 700] for start in range(0, RATE_HZ, 700))
    write_video(
        tmp_path / "b.mkv", map(flat, range(15)), fps=FPS, audio=parts, sample_rate_hz=RATE_HZ, **codecs
    )
    for one, other in zip(read(whole), read(tmp_path / "b.mkv"), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(read(whole)[1][0], sound, atol=1e-4)


def test_the_encoder_has_the_options_that_are_given(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(5, 64, 64, 3), dtype=np.uint8)
    sizes = []
    for crf in ("1", "50"):
        path = tmp_path / f"{crf}.mp4"
        write_video(path, iter(noise), fps=FPS, video_options={"crf": crf})
        sizes.append(path.stat().st_size)
    assert sizes[0] > 3 * sizes[1]


def test_no_sound_is_asked_for_before_its_picture(tmp_path):
    num_shown, ahead = 0, []

    def frames():
        nonlocal num_shown
        for number in range(60):
            num_shown += 1
            yield flat(number)

    def sounds():
        for number in range(60):
            ahead.append(number - num_shown)
            yield np.full(512, 0.5, np.float32)

    path = tmp_path / "a.avi"
    write_video(path, frames(), fps=60, audio=sounds(), sample_rate_hz=30_720)
    assert max(ahead) == -1
    assert len(ahead) == 60
    np.testing.assert_allclose(read(path)[1][0, 100:-100], 0.5, atol=0.01)


def test_frames_may_be_drawn_into_one_array_and_what_breaks_off_leaves_nothing(tmp_path):
    def drawn(last: int):
        page = np.zeros((32, 32, 3), np.uint8)
        for level in range(0, last, 20):
            page[:] = level
            yield page
        if last < 200:
            raise RuntimeError("the world ended")

    write_video(tmp_path / "whole.mp4", drawn(200), fps=10)
    with av.open(str(tmp_path / "whole.mp4")) as video:
        means = [frame.to_ndarray(format="rgb24").mean() for frame in video.decode(video=0)]
    assert means == pytest.approx(range(0, 200, 20), abs=3)
    with pytest.raises(RuntimeError, match="the world ended"):
        write_video(tmp_path / "half.mp4", drawn(100), fps=10)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.mp4"]


def test_mp4_plays_while_it_loads_and_in_a_browser(tmp_path):
    path = write(tmp_path / "a.mp4", *map(flat, range(3)), audio=clicks(0.2), rate_hz=RATE_HZ)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].pix_fmt == "yuv420p"
        assert container.streams.audio[0].codec_context.name == "aac"


def test_black_white_grey_and_colours_come_back(tmp_path):
    bands = np.zeros((40, 40, 3), np.uint8)
    bands[:10], bands[10:20], bands[20:30, :, 0], bands[30:, :, 2] = 255, 128, 255, 255
    path = write(tmp_path / "a.mp4", bands, bands)
    colour, _ = read(path, video_size=(4, 4), grey=False)
    assert colour.shape == (2, 3, 4, 4)
    wanted = [(255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 0, 255)]
    np.testing.assert_allclose(colour[0, :, :, 1].T, wanted, atol=14)  # colours at half the size
    grey, _ = read(path, video_size=(4, 4))
    np.testing.assert_allclose(grey[0, 0, :, 1], [255, 128, 76, 29], atol=4)  # ITU-R BT.601
    grey_written = write(tmp_path / "b.mp4", bands[:, :, :1])
    np.testing.assert_allclose(
        read(grey_written, video_size=(4, 4))[0][0, 0, :, 1], [255, 128, 255, 0], atol=4
    )


def test_an_odd_side_is_written_even_and_an_odd_film_is_read(tmp_path):
    ramp = np.repeat(np.arange(33, dtype=np.uint8)[:, None] * 7, 21, axis=1)
    written, _ = read(write(tmp_path / "a.mp4", ramp), video_size=(34, 22))
    np.testing.assert_allclose(written[0, 0, :33, 5], ramp[:, 5], atol=6)
    frame = av.VideoFrame.from_ndarray(ramp, "gray")
    odd = {"width": 21, "height": 33, "pix_fmt": "gray"}
    path = mux(tmp_path / "b.mkv", [("ffv1", 15, [(0, frame)], odd)])
    np.testing.assert_array_equal(read(path, video_size=(33, 21))[0][0, 0], ramp)


def test_a_picture_is_cut_by_area(tmp_path):
    board = (np.indices((40, 40)).sum(axis=0) % 2 * 200).astype(np.uint8)
    pictures, _ = read(write(tmp_path / "a.mkv", board, video_codec="ffv1"), video_size=(10, 10))
    np.testing.assert_allclose(pictures[0, 0], 100, atol=3)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_rotation_beside_the_pictures_is_honoured(tmp_path, degrees, corner):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:16, :16] = 255  # at the upper left
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write a rotation")
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    size = (48, 64) if degrees == 180 else (64, 48)
    turned = read(path, video_size=size)[0][0, 0]
    assert turned[corner] > 240
    assert turned.mean() < 30  # one corner alone
    expected = np.rot90(pixels[:, :, 0], degrees // 90)
    np.testing.assert_allclose(turned, expected, atol=60)


def test_a_step_shows_the_newest_frame_before_its_end(tmp_path):
    seconds = [0.0, 0.05, 0.35, 0.37, 0.38, 0.9]
    frames = [(second, picture(number)) for number, second in enumerate(seconds)]
    path = mux(tmp_path / "a.mkv", [("libx264", 30, frames, PICTURES)])
    pictures, _ = read(path, step_s=0.1)
    # ends: 0.1 .. 0.9; the frame of 0.9 s belongs to the step that begins there, of which too little is left
    shown = [1, 1, 1, 4, 4, 4, 4, 4, 4]
    np.testing.assert_allclose(levels(pictures)[:9], [20 + 10 * n for n in shown], atol=4)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_step_of_several_frames_shows_the_last_of_them(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", *map(flat, range(20)), fps=60)
    pictures, _ = read(path, step_s=4 / 60)
    np.testing.assert_allclose(levels(pictures), [20 + 10 * n for n in (3, 7, 11, 15, 19)], atol=4)
    slow, _ = read(path, step_s=1 / 120)
    np.testing.assert_allclose(levels(slow), [20 + 10 * (n // 2) for n in range(40)], atol=4)


def test_late_sound_gaps_and_another_zero_are_honoured(tmp_path):
    tone = np.full(1_600, 0.5, np.float32)
    frames = [(2.0 + n / FPS, picture(n)) for n in range(30)]
    chunks = [(1.95, heard(tone)), (2.5, heard(tone)), (3.2, heard(tone))]
    sound = ("pcm_s16le", RATE_HZ, chunks, {"layout": "mono"})
    path = mux(
        tmp_path / "a.mkv", [("libx264", FPS, frames, PICTURES), sound], {"avoid_negative_ts": "disabled"}
    )
    _, wave = read(path)
    loud = np.flatnonzero(np.abs(wave[0]) > 0.25)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > 1) + 1)
    bounds = [(run[0] / RATE_HZ, (run[-1] + 1) / RATE_HZ) for run in runs]
    np.testing.assert_allclose(bounds, [(0.0, 0.05), (0.5, 0.6), (1.2, 1.3)], atol=0.001)


def test_six_channels_at_96_khz_are_mixed_without_clipping_and_resampled(tmp_path):
    time_s = np.arange(96_000) / 96_000
    tone = np.sin(2 * np.pi * 440 * time_s)
    channels = np.tile(tone, (6, 1)).T.reshape(-1)  # all the same, as loud as can be
    frames = [(n / FPS, picture(n)) for n in range(15)]
    chunk = heard(channels, "5.1", 96_000)
    sound = ("pcm_s16le", 96_000, [(0, chunk)], {"layout": "5.1"})
    path = mux(tmp_path / "a.mkv", [("libx264", FPS, frames, PICTURES), sound])
    _, wave = read(path)
    np.testing.assert_allclose(
        wave[0, 500:-500], np.sin(2 * np.pi * 440 * np.arange(16_000) / RATE_HZ)[500:-500], atol=0.01
    )


def test_stereo_is_kept_apart_or_meant(tmp_path):
    sides = np.stack([clicks(1.0, 0.2), np.zeros(RATE_HZ, np.float32)], axis=1)
    path = write(tmp_path / "a.mkv", *map(flat, range(15)), audio=sides, rate_hz=RATE_HZ, audio_codec="flac")
    _, apart = read(path, stereo=True)
    _, mixed = read(path)
    assert apart.shape == (2, RATE_HZ)
    assert apart[0].max() == pytest.approx(0.8, abs=0.01)
    assert np.abs(apart[1]).max() < 0.001
    np.testing.assert_allclose(mixed[0], apart.mean(axis=0), atol=0.002)


def test_a_single_channel_is_as_loud_in_both_of_two(tmp_path):
    path = write(tmp_path / "a.mkv", *map(flat, range(15)), audio=clicks(1.0, 0.2), rate_hz=RATE_HZ)
    _, alone = read(path)
    _, both = read(path, stereo=True)
    assert both.shape == (2, RATE_HZ)
    np.testing.assert_array_equal(both, np.repeat(alone, 2, axis=0))


def test_steps_of_unequal_length_cover_every_sample(tmp_path):
    path = write(tmp_path / "a.mkv", *map(flat, range(15)), audio=clicks(1.0), rate_hz=RATE_HZ)
    lengths = [step.sound.shape[1] for step in Video(path).steps(**CUT)]
    assert lengths == [round((k + 1) * RATE_HZ / FPS) - round(k * RATE_HZ / FPS) for k in range(15)]
    assert set(lengths) == {1_066, 1_067}


def test_a_film_without_sound_is_read_and_one_frame_is_a_film(tmp_path):
    pictures, sound = read(write(tmp_path / "a.mp4", flat(3)))
    assert sound is None
    assert not Video(tmp_path / "a.mp4").has_audio
    assert levels(pictures) == pytest.approx([50], abs=4)
    assert len(read(tmp_path / "a.mp4", step_s=0.5)[0]) == 1


def test_of_several_tracks_the_first_is_used_and_told(tmp_path):
    def track(first):
        return ("libx264", FPS, [(n / FPS, picture(first + n)) for n in range(3)], PICTURES)

    sounds = [
        ("pcm_s16le", RATE_HZ, [(0, heard(np.full(3_200, level)))], {"layout": "mono"})
        for level in (0.5, 0.1)
    ]
    video = Video(mux(tmp_path / "a.mkv", [track(1), track(10), *sounds]))
    pictures, sound = read(video.path)
    assert video.notes == ["2 picture tracks: the first is used", "2 sound tracks: the first is used"]
    assert levels(pictures)[0] == pytest.approx(30, abs=4)
    assert sound[0, 1_000] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".webm"])
def test_of_a_film_that_is_cut_the_beginning_is_read(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(256, size=(60, 48, 64, 3), dtype=np.uint8)
    path = write(tmp_path / f"a{suffix}", *noise, audio=clicks(4.0, 0.5), rate_hz=RATE_HZ)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    video = Video(path)
    steps = list(video.steps(**CUT))
    assert 10 < len(steps) < 50
    assert onset(np.concatenate([step.sound for step in steps], axis=1)[0], 0.5) in range(-2, 3)
    assert any("frames could be decoded" in note or "the pictures end at" in note for note in video.notes)


def test_damage_in_the_middle_costs_what_is_damaged(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(60, 48, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "a.mp4", *noise, audio=clicks(4.0, 0.5), rate_hz=RATE_HZ)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2_000] = bytes(2_000)
    path.write_bytes(data)
    video = Video(path)
    assert len(list(video.steps(**CUT))) == 60
    assert video.notes == ["59 of 60 frames could be decoded"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"a\.mp4 is not a video file, or truncated: "),
        (b"this is a text, not a video\n" * 50, r"a\.mp4 is not a video file, or truncated: "),
        ("cut", r"a\.mp4 is not a video file, or truncated: "),
        ("sound", r"a\.mp4 has no picture track"),
    ],
)
def test_what_is_no_film_is_told_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "a.mp4"
    if content == "cut":  # its index stands at the end
        mux(path, [("libx264", FPS, [(n / FPS, picture(n)) for n in range(30)], PICTURES)])
        content = path.read_bytes()[:-600]
    if content == "sound":
        mux(path, [("aac", RATE_HZ, [(0, heard(np.zeros(8_000)))], {"layout": "mono"})])
    else:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=sentence) as told:
        Video(path)
    assert "\n" not in str(told.value)


def test_a_codec_that_nobody_knows_is_told(tmp_path):
    path = write(tmp_path / "a.avi", *map(flat, range(15)), audio=clicks(1.0), rate_hz=RATE_HZ)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"FMP4", b"ZZZZ"))
    with pytest.raises(MediaError, match=r"a\.avi has no picture track that can be decoded"):
        Video(path)
    riff = data.index(b"auds")
    place = data.index((1).to_bytes(2, "little") + (1).to_bytes(2, "little"), riff + 56)  # PCM, one channel
    path.write_bytes(data[:place] + (0x7777).to_bytes(2, "little") + data[place + 2 :])
    video = Video(path)
    assert video.notes == ["a sound track is in a codec that this FFmpeg does not know"]
    assert [step.sound for step in video.steps(**CUT)] == [None] * 15


def test_a_jump_of_the_timestamps_ends_the_film(tmp_path):
    frames = [(second, picture(n)) for n, second in enumerate((0.0, 0.1, 0.2, 90_000.0))]
    video = Video(mux(tmp_path / "a.mkv", [("libx264", FPS, frames, PICTURES)]))
    assert len(list(video.steps(**CUT))) < 10
    assert "timestamps jump from 0.2 to 90000.0 s" in video.notes[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "a.gif"}, r"must end in one of \.mp4, .* got a\.gif"),
        ({"frames": []}, "at least one frame, got none"),
        ({"frames": [flat(0), flat(0, rows=50)]}, r"frame 1 must be uint8 of shape \(48, 64, 3\)"),
        ({"frames": [flat(0) / 2]}, "frame 0 must be uint8 .* got float64"),
        ({"frames": [np.zeros((4, 4, 4), np.uint8)]}, r"must have shape .* got \(4, 4, 4\)"),
        ({"sample_rate_hz": None}, "must be given together, got audio and sample_rate_hz None"),
        ({"audio": None}, "must be given together, got no audio"),
        ({"audio": np.zeros((10, 3), np.float32)}, "1, 2 or 6 channels, got 3"),
        ({"audio": np.zeros(10, np.int16)}, "must be floats .* got int16"),
        ({"video_codec": "nothing"}, "writes no nothing"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, change, sentence):
    given = {
        "path": "a.mp4",
        "frames": [flat(0)],
        "audio": clicks(0.1),
        "sample_rate_hz": RATE_HZ,
        "fps": FPS,
        **change,
    }
    path = tmp_path / given.pop("path")
    with pytest.raises(ValueError, match=sentence):
        write_video(path, given.pop("frames"), **given)
    assert not list(tmp_path.iterdir())


def test_without_pyav_opening_a_file_is_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)  # what import takes for a missing package
    (tmp_path / "a.mp4").touch()
    sentence = "video files are read and written by PyAV: pip install 'av>=15,<19'"
    with pytest.raises(UsageError) as reading:
        Video(tmp_path / "a.mp4")
    with pytest.raises(UsageError) as writing:
        write_video(tmp_path / "b.mp4", [flat(0)], fps=FPS)
    assert str(reading.value) == str(writing.value) == sentence
    assert not (tmp_path / "b.mp4").exists()


def test_nothing_imports_pyav_before_a_file_is_opened():
    code = "import sys, spl.data.videos, spl.media.video_writer; assert 'av' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
