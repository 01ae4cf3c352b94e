"""A folder of videos as samples: looked at, decoded once, labelled, as an agent meets them."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from spl.config.errors import RunError, UsageError
from spl.data.audiovisual import PairSource
from spl.data.video_folders import load_clips
from spl.data.videos import ClipConfig
from spl.envs.adapter import AudioVisualEnv
from spl.envs.config import EnvConfig
from spl.envs.worlds.greeting import GreetingEnv
from spl.folder_files import LeftOut, gather
from spl.media import video_cache as decoding
from spl.media.frames import Cutter
from spl.media.video_reader import Video
from spl.media.video_writer import write_video
from spl.records import StreamSpec

RATE_HZ = 16_000
EXACT = {"video_codec": "ffv1", "audio_codec": "pcm_s16le"}
CUT = {
    "video_size": (16, 16),
    "step_s": 0.1,
    "num_mels": 8,
    "audio_frames": 2,
    "history": 3,
    "num_workers": 0,
}


MATROSKA = b"\x1a\x45\xdf\xa3" + bytes(100)  # as such a file begins, and nothing else


def make_video(path, levels, *, tone_hz=440.0):
    """Write a video of 10 pictures a second, each of one grey level, with a tone or without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (np.full((16, 16), level, np.uint8) for level in levels)
    sound, rate_hz, codecs = None, None, {"video_codec": "ffv1"}
    if tone_hz is not None:
        time_s = np.arange(len(levels) * RATE_HZ // 10) / RATE_HZ
        sound, rate_hz, codecs = np.float32(0.5) * np.sin(2 * np.pi * tone_hz * time_s), RATE_HZ, EXACT
    write_video(path, frames, fps=10, audio=sound, sample_rate_hz=rate_hz, **codecs)
    return path


def shown(pairs):
    """Return the grey level of each picture ``(B, T)`` in tens, as conversions may change it by one."""
    return (pairs.video[:, :, 0, 0, 0].float() / 10).round().int().tolist()


def load(root, console=None, **other):
    console = console or Console(file=io.StringIO())
    skip_broken, known = other.pop("skip_broken", False), other.pop("known", None)
    config = ClipConfig(**{**CUT, **other})
    return load_clips(gather([root]), config, skip_broken=skip_broken, known=known, console=console)


@pytest.fixture
def folder(tmp_path):
    make_video(tmp_path / "films" / "b" / "deep" / "one.mkv", range(10, 60, 10))
    make_video(tmp_path / "films" / "a" / "two.mkv", range(100, 170, 10), tone_hz=None)
    make_video(tmp_path / "films" / "b" / "three.MKV".lower(), range(200, 230, 10), tone_hz=1_000.0)
    (tmp_path / "films" / "a" / "note.txt").write_text("no film")
    (tmp_path / "films" / ".hidden.mkv").write_bytes(b"")
    return tmp_path / "films"


def test_samples_overlap_and_follow_zeros(folder):
    clips: PairSource = load(folder)
    assert len(clips) == 7 + 5 + 3
    assert clips.spec == StreamSpec((1, 16, 16), (1, 8, 2))
    assert clips.classes == ("a", "b")
    assert clips.labels().tolist() == [0] * 7 + [1] * 8
    pairs = clips.pairs(np.array([0, 1, 3, 7, 12, 14]))
    assert shown(pairs) == [
        [0, 0, 10],
        [0, 10, 11],
        [11, 12, 13],
        [0, 0, 1],
        [0, 0, 20],
        [20, 21, 22],
    ]
    assert pairs.present.tolist() == [[True, False]] * 3 + [[True, True]] * 3
    assert pairs.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert pairs.indices.tolist() == [0, 1, 3, 7, 12, 14]
    assert pairs.video.dtype == torch.uint8
    assert pairs.audio.dtype == torch.float16
    assert not pairs.audio[:3].any()
    assert not pairs.audio[3, :2].any()
    assert pairs.audio[3, 2].any()
    assert clips.video_of(np.array([6, 7, 11, 12])).tolist() == [0, 1, 1, 2]
    assert clips.summary().startswith(
        "3 videos of 2 s in all: 15 samples of 3 steps, 2 classes; 1 videos without sound, 2 files left out\n"
    )


def test_a_stride_leaves_samples_out_but_no_history(folder):
    clips = load(folder, stride=3)
    assert shown(clips.pairs(np.arange(len(clips)))) == [
        [0, 0, 10],
        [11, 12, 13],
        [14, 15, 16],
        [0, 0, 1],
        [2, 3, 4],
        [0, 0, 20],
    ]
    with pytest.raises(IndexError, match=r"indices must be in 0\.\.5, got 0\.\.6"):
        clips.pairs(np.array([0, 6]))
    with pytest.raises(IndexError, match=r"got -1\.\.0"):
        clips.pairs(np.array([0, -1]))


def test_a_video_of_an_agents_world_sounds_and_looks_as_the_agent_meets_it(tmp_path):
    config = EnvConfig(id="spl/Greeting-v0", video_size=(64, 64), num_mels=16, audio_frames=4)
    env, raw = AudioVisualEnv(GreetingEnv(), config), GreetingEnv()
    frames, sounds, met = [], [], []
    observation, _ = env.reset(seed=5)
    seen, _ = raw.reset(seed=5)
    for step in range(60):
        met.append(observation)
        frames.append(seen["video"])
        sounds.append(seen["audio"].astype(np.float32) / 32_768)
        observation, seen = env.step(step % 4)[0], raw.step(step % 4)[0]
    write_video(
        (tmp_path / "films.mkv").with_name("a.mkv"),
        frames,
        fps=10,
        audio=iter(sounds),
        sample_rate_hz=RATE_HZ,
        **EXACT,
    )
    clips = load(tmp_path, cache=str(tmp_path / ".c"), video_size=(64, 64), num_mels=16, audio_frames=4)
    pairs = clips.pairs(np.arange(60))
    np.testing.assert_allclose(pairs.video[:, -1], np.stack([each.video for each in met]), atol=2)
    ours, theirs = (
        pairs.audio[:, -1].float().numpy(),
        np.stack([each.audio for each in met]).astype(np.float32),
    )
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert clips.signature["window_samples"] == env.describe()["audio"]["window_samples"]
    assert clips.spec == env.spec_of_streams


def test_levels_of_unequal_steps_do_not_depend_on_blocks(tmp_path, monkeypatch):
    make_video(tmp_path / "films" / "a.mkv", range(100, 140))
    other = {"step_s": 1 / 15, "audio_frames": 5}
    whole = load(tmp_path / "films", **other)
    monkeypatch.setattr(decoding, "BLOCK_STEPS", 7)
    parts = load(tmp_path / "films", cache=str(tmp_path / "c"), **other)
    assert len(whole) == 60
    for one, two in zip(whole.pairs(np.arange(60)), parts.pairs(np.arange(60)), strict=True):
        np.testing.assert_array_equal(one, two)


def no_film(*_, **__):
    raise AssertionError("decoded again")


def test_the_second_time_nothing_is_decoded(folder, monkeypatch):
    (folder / "a" / "broken.mkv").write_bytes(MATROSKA)
    first = load(folder, skip_broken=True)
    monkeypatch.setattr(decoding, "Video", no_film)
    second = load(folder, skip_broken=True)
    assert second.summary() == first.summary()
    for one, two in zip(first.pairs(np.arange(15)), second.pairs(np.arange(15)), strict=True):
        np.testing.assert_array_equal(one, two)
    load(folder, history=1, stride=2, skip_broken=True)  # cut from the same steps
    moved = folder.rename(folder.with_name("moved"))
    folder.with_name("films.clips").rename(folder.with_name("moved.clips"))
    load(moved, skip_broken=True)


def test_what_is_decoded_of_all_folders_of_a_machine_needs_a_place(tmp_path):
    with pytest.raises(UsageError, match=r"all videos is /, .* with --data\.videos\.cache"):
        ClipConfig().cache_of(Path("/"))
    assert ClipConfig(cache=str(tmp_path)).cache_of(Path("/")) == tmp_path


def test_what_is_decoded_of_a_folder_above_lies_beside_it(folder, monkeypatch):
    monkeypatch.chdir(folder / "a")
    assert ClipConfig().cache_of(Path("..")) == folder.with_name("films.clips")


@pytest.mark.parametrize(
    "change",
    [
        {"video_size": (8, 8)},
        {"grey": False},
        {"sample_rate_hz": 8_000},
        {"stereo": True},
        {"step_s": 0.2},
        {"num_mels": 9},
        {"audio_frames": 3},
    ],
)
def test_another_setting_decodes_anew(folder, change):
    before = load(folder)
    after = load(folder, **change)
    assert after.signature != before.signature or after.spec != before.spec or len(after) != len(before)
    pairs = after.pairs(np.arange(len(after)))
    assert pairs.video.shape[2:] == after.spec.video
    assert pairs.audio.shape[2:] == after.spec.audio


def test_what_was_changed_is_decoded_anew_and_nothing_else(folder, monkeypatch):
    load(folder)
    make_video(folder / "b" / "three.mkv", range(50, 80, 10))
    os.utime(folder / "a" / "two.mkv", (1, 1))  # another one of the same length
    opened = []
    monkeypatch.setattr(decoding, "Video", lambda path, **kw: opened.append(path.name) or Video(path, **kw))
    clips = load(folder)
    assert sorted(opened) == ["three.mkv", "two.mkv"]
    assert shown(clips.pairs(np.array([14]))) == [[5, 6, 7]]


def test_what_is_damaged_in_the_cache_is_decoded_anew(folder, monkeypatch):
    load(folder)
    cache = folder.with_name("films.clips")
    cut = min(cache.glob("*.npy"), key=lambda path: path.stat().st_size)
    cut.write_bytes(cut.read_bytes()[:-10])
    opened = []
    monkeypatch.setattr(decoding, "Video", lambda path, **kw: opened.append(path.name) or Video(path, **kw))
    assert shown(load(folder).pairs(np.array([14]))) == [[20, 21, 22]]
    assert opened == ["three.mkv"]


def test_a_killed_decoding_leaves_nothing_half_and_goes_on(tmp_path):
    root = tmp_path / "films"
    for number in range(3):
        make_video(root / f"{number}.mkv", [100] * 100)
    code = (
        "import os, sys; from pathlib import Path; from spl.media import video_cache as decoding\n"
        "from spl.data.videos import ClipConfig; from spl.folder_files import gather\n"
        "from spl.data.video_folders import load_clips\n"
        "decoding.BLOCK_STEPS, before, calls = 4, decoding._records, []\n"
        "def records(*args):\n"
        "    calls.append(1)\n"
        "    for number, block in enumerate(before(*args)):\n"
        "        if len(calls) == 2 and number == 3: os.kill(os.getpid(), 9)\n"
        "        yield block\n"
        "decoding._records = records\n"
        f"load_clips(gather([Path({str(root)!r})]), ClipConfig(**{CUT!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -9
    cache = root.with_name("films.clips")
    (half,) = cache.glob(".*.new")
    assert len(list(cache.glob("*.npy"))) == 1
    os.utime(half, (time.time() - 4_000,) * 2)
    assert len(load(root)) == 300
    assert not half.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_that_decode_end_with_the_one_above_them_without_a_word(number, folder):
    code = (
        "from pathlib import Path; from spl.media import video_cache as decoding\n"
        "from spl.data.videos import ClipConfig; from spl.folder_files import gather\n"
        "from spl.data.video_folders import load_clips\n"
        "before = decoding.as_completed\n"
        "def told(*args):\n"
        "    print('begun', flush=True)\n"
        "    return before(*args)\n"
        "decoding.as_completed = told\n"
        "try:\n"
        f"    load_clips(gather([Path({str(folder)!r})]), ClipConfig(**{CUT | {'num_workers': 2}!r}))\n"
        "except KeyboardInterrupt:\n"
        "    pass"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"  # they import yet
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # as a terminal sends it
    else:
        running.send_signal(number)
    _, told = running.communicate(timeout=60)  # until all have closed what they tell on
    assert "Traceback" not in told


def test_two_processes_decode_the_same_as_one(folder):
    one, two = load(folder), load(folder, cache=str(folder / ".two"), num_workers=2)
    assert two.summary() == one.summary()
    for first, second in zip(one.pairs(np.arange(15)), two.pairs(np.arange(15)), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of CPython's own thread
def test_a_process_that_is_killed_is_told(folder):
    def kill_a_child():
        while not is_over.wait(0.01):
            for child in decoding.multiprocessing.active_children():
                child.kill()

    is_over = threading.Event()
    killer = threading.Thread(target=kill_a_child)
    killer.start()
    try:
        with pytest.raises(
            RunError, match=r"was killed while 3 videos were left, the first of them a/two\.mkv"
        ):
            load(folder, num_workers=2)
    finally:
        is_over.set()
        killer.join()


def test_a_process_that_is_killed_while_videos_are_handed_out_is_told_alike(folder, monkeypatch):
    def closed(*_: object, **__: object) -> None:
        raise OSError("handle is closed")  # as CPython's pool says it, without a number

    monkeypatch.setattr(decoding.ProcessPoolExecutor, "submit", closed)
    with pytest.raises(RunError, match=r"was killed while 3 videos were left, the first of them a/two\.mkv"):
        load(folder, num_workers=2)


def test_videos_are_found_by_looking_and_the_rest_is_told(folder):
    Image.new("RGB", (8, 8)).save(folder / "a" / "cover.jpg")
    make_video(folder / "b" / "short.mkv", [7])
    make_video(folder / "b" / "good.mkv", [10, 20], tone_hz=None).rename(folder / "b" / "noending")
    (folder / "b" / "text.ts").write_text("const x = 1;\n")
    (folder / "b" / "empty.mp4").touch()
    make_video(folder / "more" / "half.mkv", [1, 2]).rename(folder / "more" / "half.mkv.part")
    clips = load(folder)
    assert [video.name for video in clips.videos] == [
        "a/two.mkv",
        "b/deep/one.mkv",
        "b/noending",
        "b/three.mkv",
    ]
    assert clips.left_out == [
        LeftOut(".hidden.mkv", "hidden, or left by a program"),
        LeftOut("a/cover.jpg", "a single picture"),
        LeftOut("a/note.txt", "text"),
        LeftOut("b/empty.mp4", "empty"),
        LeftOut("b/short.mkv", "a single picture"),
        LeftOut("b/text.ts", "text"),
        LeftOut("more/half.mkv.part", "not written to its end"),
    ]
    told = clips.summary().split("\n")
    assert told[0].endswith("2 classes; 2 videos without sound, 7 files left out")
    assert told[1] == "left out 2 (a single picture): a/cover.jpg, b/short.mkv"
    assert clips.described()["left_out"][0]["names"] == ["a/cover.jpg", "b/short.mkv"]
    assert len(clips.described()["left_out"]) == 5


def test_a_video_whose_sound_or_pictures_cannot_be_converted_is_left_out(folder, monkeypatch):
    with av.open(str(folder / "b" / "nine.mkv"), "w") as container:
        pictures, sound = container.add_stream("ffv1", 10), container.add_stream("pcm_s16le", RATE_HZ)
        pictures.width, pictures.height, pictures.pix_fmt, sound.layout = 16, 16, "gray", "9C"
        for _ in range(5):
            container.mux(pictures.encode(av.VideoFrame(16, 16, "gray")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9 * RATE_HZ // 2), np.int16), "s16", "9C")
        frame.sample_rate = RATE_HZ
        container.mux(sound.encode(frame))
    clips = load(folder, skip_broken=True)
    assert len(clips) == 15
    assert "left out 1 (has sound of 9 channels that cannot be mixed: Invalid argument): b/nine.mkv" in (
        clips.summary()
    )
    (folder / "b" / "nine.mkv").unlink()
    make_video(folder / "b" / "huge.mkv", range(5))
    cut = Cutter.__call__

    def refuse(self, frame):
        if cut(self, frame).mean() < 10:
            raise av.error.InvalidDataError(1, "too large")
        return cut(self, frame)

    monkeypatch.setattr(Cutter, "__call__", refuse)
    clips = load(folder, skip_broken=True)
    assert len(clips) == 15
    assert "left out 1 (cannot be decoded: too large): b/huge.mkv" in clips.summary()
    assert not list(folder.with_name("films.clips").glob(".*.new"))


def test_broken_videos_are_refused_before_any_is_decoded_or_left_out_on_request(folder, monkeypatch):
    for name in ("a/text.webm", *(f"b/{number}.mkv" for number in range(6))):
        (folder / name).write_bytes(b"no video" if "text" in name else MATROSKA)
    whole = make_video(folder / "b" / "cut.mkv", range(50))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "Video", no_film)
        with pytest.raises(UsageError) as refused:
            load(folder)
    told = str(refused.value)
    assert told.startswith("7 of the 11 videos in ")
    assert (
        "cannot be read: a/text.webm (text, not a video), b/0.mkv (not a video file, or truncated: " in told
    )
    assert "b/3.mkv" in told
    assert "b/4.mkv" not in told
    assert told.endswith(
        " and 2 more; mend or delete them, or leave them out for good with --data.skip_broken true"
    )
    clips = load(folder, skip_broken=True)
    assert len(clips.videos) == 4
    assert "left out 6 (not a video file, or truncated: Invalid data" in clips.summary()
    assert "\nb/cut.mkv: the pictures end at " in clips.summary()
    assert sorted(clips.described()["notes"]) == ["b/cut.mkv"]


def test_what_is_found_broken_while_it_is_decoded_is_told_likewise(folder):
    path = folder / "b" / "blind.mp4"
    write_video(path, [np.full((16, 16), level, np.uint8) for level in range(5)], fps=10)
    data = path.read_bytes()
    begin = data.index(b"mdat") + 4
    path.write_bytes(data[:begin] + bytes(len(data) - begin))  # the header is whole, no picture is
    with pytest.raises(UsageError, match=r"1 of the 4 videos in .*: b/blind\.mp4 \(has no picture that"):
        load(folder)
    assert len(load(folder, skip_broken=True).videos) == 3


def test_a_run_goes_on_with_the_videos_that_it_began_with(folder):
    broken = folder / "a" / "broken.mkv"
    broken.write_bytes(MATROSKA)
    first = load(folder, skip_broken=True)
    known = json.loads(json.dumps(first.described()))["files"]
    broken.unlink()
    make_video(broken, range(10, 60, 10))  # mended: the run left it out for good
    make_video(folder / "c" / "new.mkv", [1, 2, 3])
    (folder / "c" / "broken.mp4").write_bytes(b"no video")
    again = load(folder, known=known)
    assert again.described()["files"] == known
    assert "left out 5 (not among those that the run learned from): .hidden" not in again.summary()
    assert "(not among those that the run learned from): a/broken.mkv, a/note.txt, " in again.summary()
    for one, two in zip(first.pairs(np.arange(15)), again.pairs(np.arange(15)), strict=True):
        np.testing.assert_array_equal(one, two)
    make_video(folder / "b" / "three.mkv", range(50, 90, 10))
    with pytest.raises(
        UsageError, match=r"1 of the 3 videos .* changed in .*: b/three\.mkv; bring back what"
    ):
        load(folder, known=known, skip_broken=True)
    (folder / "b" / "three.mkv").write_bytes(MATROSKA)
    with pytest.raises(
        UsageError, match=r"1 of the 3 videos .* changed in .*: b/three\.mkv; bring back what"
    ):
        load(folder, known=known, skip_broken=True)
    (folder / "b" / "three.mkv").unlink()
    with pytest.raises(UsageError, match=r"1 of the 3 videos .* left .*: b/three\.mkv; bring back what"):
        load(folder, known=known)


def test_videos_beside_sub_folders_have_no_classes_and_that_is_told(folder):
    make_video(folder / "four.mkv", [1, 2])
    clips = load(folder)
    assert clips.classes == ()
    assert clips.labels().tolist() == [0] * 17
    assert "no classes, as not every video is in a sub-folder: four.mkv" in clips.summary()


def test_what_was_decoded_is_no_data(folder):
    load(folder / "b")
    clips = load(folder)
    assert len(clips.videos) == 3
    assert "left out 4 (decoded videos): b.clips/" in clips.summary()


def test_files_are_labelled_as_in_the_folder_that_holds_them_all(folder):
    skipped = io.StringIO()
    paths = [folder / "b", folder / "a" / "two.mkv", folder / "b" / "three.mkv"]
    clips = load_clips(gather(paths), ClipConfig(**CUT), console=Console(file=skipped))
    assert [video.name for video in clips.videos] == ["a/two.mkv", "b/deep/one.mkv", "b/three.mkv"]
    assert clips.classes == ("a", "b")
    assert clips.left_out == [LeftOut("b/three.mkv", "given twice")]
    assert folder.with_name("films.clips").is_dir()
    alone = load(folder / "b" / "deep" / "one.mkv")
    assert [video.name for video in alone.videos] == ["one.mkv"]
    assert alone.classes == ()


def test_one_sentence_says_what_is_wrong_with_a_folder(tmp_path):
    with pytest.raises(UsageError, match=r"there is no .*none: No such file"):
        load(tmp_path / "none")
    (tmp_path / "films").mkdir()
    with pytest.raises(UsageError, match=r"films holds neither a recording .* nor a video: it is empty"):
        load(tmp_path / "films")
    (tmp_path / "films" / "a.txt").write_text("a")
    with pytest.raises(UsageError, match=r"films holds neither a recording .* nor a video: left out 1 "):
        load(tmp_path / "films")
    assert not (tmp_path / "films.clips").exists()
    for number in range(7):
        (tmp_path / "films" / f"{number}.mp4").write_text("a")
    with pytest.raises(
        UsageError, match=r"7 of the 7 videos in .* cannot be read: .* and 2 more; .* give others"
    ):
        load(tmp_path / "films", skip_broken=True)
    make_video(tmp_path / "films" / "good.mkv", [1, 2])
    (tmp_path / "file").write_text("a")
    with pytest.raises(UsageError, match=r"decoded videos .* cannot be written: .*--data\.videos\.cache"):
        load(tmp_path / "films", cache=str(tmp_path / "file" / "cache"), skip_broken=True)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"video_size": (0, 4)}, "video_size must all be in 1\\.\\.4096"),
        ({"history": 0}, "history must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"num_workers": -1}, "num_workers must be in 0\\.\\.1024"),
        ({"sample_rate_hz": 10}, "sample_rate_hz must be in"),
        ({"step_s": 0.0}, "step_s must be in"),
        ({"audio_frames": 2_000}, r"audio_frames must be in 1\.\.1067"),
    ],
)
def test_impossible_options_are_refused(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClipConfig(**option)


def test_a_full_disk_is_told(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoding, "_write_header", full)
    with pytest.raises(
        RunError, match=r"cannot be kept in .*No space left on device; [0-9,]+ bytes are free"
    ):
        load(folder)
    assert not list(folder.with_name("films.clips").iterdir())


def test_decoding_imports_no_torch():
    code = "import sys, spl.media.video_cache; assert 'torch' not in sys.modules, 'torch was loaded'"
    subprocess.run([sys.executable, "-c", code], check=True)
