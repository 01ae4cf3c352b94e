"""``spl show data``: what is drawn of images, recordings and videos, and what is said of them."""

from pathlib import Path

import numpy as np
import pytest
import seen_and_heard as toy
from matplotlib.image import imread

from spl.cli.main import main
from spl.config.errors import UsageError
from spl.explain.data import ShowDataConfig, find_samples, show_data
from spl.media.video_writer import write_video


def film(path: Path, level: int) -> None:
    """Write 2 s of video, grey with a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [np.full((16, 24), level, np.uint8)] * 20
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * 16_000) / 16_000).astype(np.float32)
    write_video(path, frames, fps=10, audio=tone[:, None], sample_rate_hz=16_000)


def test_a_folder_of_images_is_a_row_a_class(pictures, tmp_path, capsys):
    out = tmp_path / "sheets" / "pictures.png"
    words = [str(pictures), "--images.image_size", "16", "--num_drawn", "3", "--out", str(out)]
    assert main(["show", "data", *words]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "folder: 18 images to learn from, 6 held out, 3 classes, 16 x 16",
        f"written to {out}",
    ]
    assert imread(out).shape[2] == 4
    config = ShowDataConfig()
    samples = find_samples([str(pictures)], config)
    assert samples.classes == ("blue", "green", "red")
    for label, channel in enumerate((2, 1, 0)):
        first = int(np.flatnonzero(samples.labels == label)[0])
        (tile,) = samples.tiles([first])
        assert tile.mean(axis=(0, 1)).argmax() == channel, "the row has the pictures of its class"


def test_options_of_one_set_alone_are_taken_and_what_is_left_out_is_told(pictures, tmp_path, capsys):
    (pictures / "red" / "0.png").write_bytes(b"no picture")
    words = [str(pictures), "--images.image_size", "16", "--out", str(tmp_path / "data.png")]
    assert main(["show", "data", *words, "--images.skip_broken", "true"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "folder: 18 images to learn from, 5 held out, 3 classes, 16 x 16",
        "left out 1 (broken): red/0.png",
    ]


def test_a_set_of_images_is_named(tmp_path):
    samples = find_samples(["digits"], ShowDataConfig())
    assert samples.told == ["digits: 1,438 images to learn from, 359 held out, 10 classes, 32 x 32"]
    assert samples.tiles([0, 5])[1].shape == (32, 32, 3)


def test_recordings_are_pictures_above_spectrograms(tmp_path):
    for name, seed in (("here", 0), ("there", 1)):
        toy.record(tmp_path / name, 40, seed)
    words = [str(tmp_path / "here"), str(tmp_path / "there")]
    samples = find_samples(words, ShowDataConfig())
    assert samples.classes == ("here", "there")
    assert len(samples.labels) == 80
    (tile,) = samples.tiles([3])
    rows = toy.SPEC.video[1]
    assert tile.shape == (rows + 1 + rows // 2, toy.SPEC.video[2], 3)
    assert np.ptp(tile[rows + 1 :]) > 0.1, "the sound is drawn"
    lines = show_data(words, ShowDataConfig(out=str(tmp_path / "data.png")))
    assert lines[-1] == f"written to {tmp_path / 'data.png'}"


def test_videos_are_found_and_cut(tmp_path):
    for name, level in (("dark/a.mp4", 30), ("light/b.mp4", 220)):
        film(tmp_path / "videos" / name, level)
    samples = find_samples([str(tmp_path / "videos")], ShowDataConfig())
    assert samples.classes == ("dark", "light")
    dark, light = (samples.tiles([int(np.flatnonzero(samples.labels == one)[-1])])[0] for one in (0, 1))
    assert dark[0].mean() < 0.3 < 0.7 < light[0].mean()


def test_mistakes_are_one_sentence(pictures, tmp_path, capsys):
    for words, said in {
        (): "name a dataset (digits, cifar10, cifar100, stl10, imagenet), or give recordings, videos or",
        ("nowhere",): "there is no folder or file nowhere",
        ("digits", "--out", "sheet.txt"): "out must end in .png or .pdf, got sheet.txt",
        (str(pictures), "--out", "/proc/sheet.png"): "the sheet /proc/sheet.png cannot be written",
        (str(pictures / "red"), str(pictures / "blue")): "images are shown of one folder at a time, got 2",
        (
            "digits",
            "--pairs.history",
            "2",
        ): "images are shown, which read no --pairs: leave these options out",
        (str(pictures), "--pairs.history", "2"): "images are shown, which read no --pairs",
        (
            "digits",
            "--images.label_noise",
            "0.5",
        ): "images.label_noise changes nothing that is drawn: leave it out",
        ("digits", "--images.name", "cifar10"): "digits is shown: leave --images.name cifar10 out",
        (str(pictures), "--images.root", "there"): "leave --images.root there out",
        ("digits", "--num_drawn", "0"): "num_drawn must be at least 1, got 0",
    }.items():
        assert main(["show", "data", *words]) == 2, words
        assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match="is not in"):
        find_samples(["cifar10"], ShowDataConfig())
