"""Which files are videos: whatever FFmpeg decodes as more than one picture, found by looking."""

import io
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from spl.media import video_files
from spl.media.video_files import PICTURE, SOUND, TEXT, Look, MediaError, look_at, open_video

VIDEO = Look("video", "")
KINDS = {  # ending, codec, pixel format
    "3gp": ("mpeg4", "yuv420p"),
    "apng": ("apng", "rgb24"),
    "asf": ("msmpeg4", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "dv": ("mjpeg", "yuvj420p"),  # its name says DV, and it is a stream of JPEG
    "f4v": ("libx264", "yuv420p"),
    "flv": ("flv", "yuv420p"),
    "gif": ("gif", "rgb8"),
    "h264": ("libx264", "yuv420p"),
    "m4v": ("libx264", "yuv420p"),
    "mkv": ("ffv1", "yuv444p10le"),
    "mov": ("prores_ks", "yuva444p10le"),
    "mp4": ("libx264", "yuv420p"),
    "mpg": ("mpeg2video", "yuv420p"),
    "mxf": ("mpeg2video", "yuv422p"),
    "nut": ("ffv1", "gray"),
    "swf": ("flv", "yuv420p"),
    "ts": ("mpeg2video", "yuv420p"),
    "vob": ("mpeg2video", "yuv420p"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "wmv": ("wmv2", "yuv420p"),
    "y4m": ("wrapped_avframe", "yuv420p"),
}
FORMATS = {
    "dv": "mjpeg",
    "f4v": "mp4",
    "m4v": "mp4",
    "ts": "mpegts",
    "wmv": "asf",
    "y4m": "yuv4mpegpipe",
}


def write(
    path: Path, codec: str, pixels: str, count: int = 6, *, kind: str | None = None, tone: bool = False
) -> Path:
    with av.open(str(path), "w", format=kind) as container:
        fill(container, codec, pixels, count, tone=tone)
    return path


def fill(container, codec: str, pixels: str, count: int, *, tone: bool = False) -> None:
    """Write pictures, with silence if there is to be a tone."""
    stream = container.add_stream(codec, rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
    sound = container.add_stream("aac", rate=16_000, layout="mono") if tone else None
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 * number % 256, np.uint8), "rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    if sound is not None:
        mute(container, sound)


def mute(container, stream) -> None:
    """Write a second of silence."""
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@pytest.mark.parametrize("ending", KINDS)
def test_a_video_is_known_whatever_its_name_ends_in(tmp_path, ending):
    codec, pixels = KINDS[ending]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg does not write {codec}")
    path = write(tmp_path / f"a.{ending}", codec, pixels, kind=FORMATS.get(ending))
    assert look_at(path) == VIDEO
    assert look_at(path.rename(tmp_path / "a.txt")) == VIDEO
    assert look_at((tmp_path / "a.txt").rename(tmp_path / "without ending")) == VIDEO


def test_a_first_fragment_of_one_frame_is_no_single_picture(tmp_path):
    for count, look in ((6, VIDEO), (1, Look("other", PICTURE))):
        path = tmp_path / f"{count}.mp4"
        with av.open(str(path), "w", options={"movflags": "frag_every_frame"}) as container:
            fill(container, "libx264", "yuv420p", count)
        with av.open(str(path)) as container:
            assert container.streams.video[0].frames == 1
        assert look_at(path) == look


def pictures(path: Path) -> None:
    Image.effect_noise((40, 40), 50).convert("RGB").save(path)


@pytest.mark.parametrize(
    "ending", ["jpg", "png", "bmp", "tif", "webp", "gif", "ico", "tga", "ppm", "pcx", "jp2"]
)
def test_a_picture_is_no_video(tmp_path, ending):
    pictures(tmp_path / f"a.{ending}")
    assert look_at(tmp_path / f"a.{ending}") == Look("other", PICTURE)


def test_a_pattern_in_a_pictures_name_reads_no_other_pictures(tmp_path):
    for name in ("a001.jpg", "a002.jpg", "a003.jpg", "a%03d.jpg"):
        pictures(tmp_path / name)
    assert look_at(tmp_path / "a%03d.jpg") == Look("other", PICTURE)


@pytest.mark.parametrize("kind", ["one frame", "cover", "sound"])
def test_what_shows_one_picture_is_no_video(tmp_path, kind):
    path = tmp_path / "a.mp4"
    if kind == "one frame":
        assert look_at(write(path, "libx264", "yuv420p", 1)) == Look("other", PICTURE)
        assert look_at(write(tmp_path / "a.mkv", "ffv1", "yuv420p", 1)) == Look("other", PICTURE)
        assert look_at(write(tmp_path / "b.mkv", "ffv1", "yuv420p", 1, tone=True)) == Look("other", PICTURE)
        return
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        if kind == "cover":
            cover = container.add_stream("mjpeg", rate=25)
            cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            data = io.BytesIO()
            Image.new("RGB", (64, 48)).save(data, "jpeg")
            packet = av.Packet(data.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 25)
            container.mux(packet)
        mute(container, sound)
    assert look_at(path) == Look("other", SOUND)


TEXTS = {
    "a.txt": "a note\n" * 50,
    "a.nfo": "a note\n",
    "a.ts": "const x: number = 1;\n",
    "a.json": "{}",
    "a.srt": "1\n00:00:01,000 --> 00:00:02,000\nhello\n\n",
    "a.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n",
    "a.csv": "naïve,1\n" * 200,
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nvideo.mp4\n#EXT-X-ENDLIST\n",
    "a.ffconcat": "ffconcat version 1.0\nfile video.mp4\n",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_no_video_and_leads_to_none(tmp_path, name):
    write(tmp_path / "video.mp4", "libx264", "yuv420p")
    (tmp_path / name).write_text(TEXTS[name], encoding="utf-8")
    assert look_at(tmp_path / name) == Look("other", TEXT)


def test_a_playlist_never_opens_what_it_names(tmp_path):
    os.mkfifo(tmp_path / "pipe.ts")  # whoever opened it would wait for ever
    (tmp_path / "a.m3u8").write_text(TEXTS["a.m3u8"].replace("video.mp4", str(tmp_path / "pipe.ts")))
    with pytest.raises(MediaError, match=r"a\.m3u8 is not a video file, or truncated: "):
        open_video(tmp_path / "a.m3u8")


def test_a_name_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b", "http:a.mkv", "pipe:0", "-", "a?b=c#d.mkv"):
        write(tmp_path / "a.mkv", "ffv1", "yuv420p").rename(name)
        assert look_at(Path(name)) == VIDEO


def test_what_is_meant_as_a_video_and_is_none_is_broken(tmp_path):
    whole = write(tmp_path / "a.mp4", "libx264", "yuv420p", 60).read_bytes()
    for content, reason in (
        (whole[: len(whole) // 2], "not a video file, or truncated: "),
        (bytes(5_000), "not a video file, or truncated: "),
        (b"<!DOCTYPE html><html>Not found</html>", "text, not a video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "text, not a video"),
    ):
        (tmp_path / "a.mp4").write_bytes(content)
        kind, told = look_at(tmp_path / "a.mp4")
        assert kind == "broken"
        assert told.startswith(reason)
        (tmp_path / "a.dat").write_bytes(content)
        assert look_at(tmp_path / "a.dat").kind == "other"
    assert look_at(tmp_path / "gone.mp4") == Look("broken", "cannot be opened: No such file or directory")


@pytest.mark.parametrize(
    ("begin", "is_text"),
    [
        (b"", True),
        ("h\u00e4kchen".encode(), True),
        ("x\U0001f600".encode()[:-1], True),  # four bytes, cut behind three of them
        ("x\U0001f600".encode()[:-3], True),
        (b"x\xffabc", False),  # no character is longer than four bytes
        (b"a\0b", False),
        (b"a\0\xf0\x9f", False),
    ],
)
def test_what_begins_as_text_is_text_though_its_last_character_is_cut(begin: bytes, is_text: bool) -> None:
    assert video_files._is_text(begin) == is_text
