"""What is drawn and written while an autoencoder learns: files, mosaics by hand, and that nothing changes."""

import io
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import seen_and_heard as toy
import torch
from PIL import Image
from rich.console import Console

from spl.config.parse import parse
from spl.data.audiovisual import DatasetPairs
from spl.plotting.tiles import EDGE, WAVE_SIZE, as_picture, as_spectrogram, mosaic
from spl.pretrain.config import ALIASES, PretrainConfig
from spl.pretrain.evaluation.gallery import Gallery
from spl.pretrain.load import read_autoencoder
from spl.pretrain.train import pretrain_autoencoder
from spl.runs import checkpoint


def train(config: PretrainConfig) -> Path:
    return pretrain_autoencoder(config, command=["test"], console=Console(file=io.StringIO())).folder


@pytest.fixture
def config(tmp_path: Path) -> PretrainConfig:
    fixed = {
        "data": str(toy.record(tmp_path / "recording", 30, 0)),
        "encoder.video_stream": "dense",
        "encoder.audio_stream": "dense",
        "encoder.attention": "none",
        "data.history": "2",
        "recipe.epochs": "2",
        "recipe.batch_size": "30",
        "num_threads": "1",
        "num_drawn": "3",
        "device": "cpu",
        "runs": str(tmp_path / "runs"),
    }
    argv = [word for key, value in fixed.items() for word in (f"--{key}", value)]
    return parse(PretrainConfig, argv, prog="spl", aliases=ALIASES)


def test_each_epoch_leaves_a_picture_and_a_sound_and_changes_nothing(config: PretrainConfig, tmp_path: Path):
    folder = train(config)
    shown = folder / "reconstructions"
    assert sorted(path.name for path in shown.iterdir()) == [
        "epoch-0001-from-video.wav",
        "epoch-0001.png",
        "epoch-0002-from-video.wav",
        "epoch-0002.png",
        "original.wav",
    ]
    pictures = [np.asarray(Image.open(shown / f"epoch-000{number}.png")) for number in (1, 2)]
    assert pictures[0].std() > 10
    assert not np.array_equal(*pictures)
    with wave.open(str(shown / "original.wav")) as file:
        assert file.getframerate() == 8000
        assert file.getnframes() == pytest.approx(30 * 400, rel=0.05)  # less than 3 s: all there is
    without = train(replace(config, num_drawn=0))
    assert not (without / "reconstructions").exists()
    one, two = (checkpoint.load(each / "checkpoints")["learner"] for each in (folder, without))
    for part in ("encoder", "decoders"):
        assert all(torch.equal(tensor, two[part][name]) for name, tensor in one[part].items())


def test_what_is_drawn_is_what_was_shown_and_made(config: PretrainConfig, monkeypatch: pytest.MonkeyPatch):
    from spl.pretrain.evaluation import gallery

    trained = read_autoencoder(train(config))
    drawn: list[dict] = []
    monkeypatch.setattr(gallery, "draw_views", lambda views, *_: drawn.append(views))
    source = gallery_source(30)
    shown = Gallery(source, Path(config.runs), 3)
    assert shown.pairs.indices.tolist() == [5, 15, 25]
    assert shown.sound is None, "without a rate there is nothing to listen to"
    shown.show(trained.model, 1)
    (views,) = drawn
    assert list(views) == ["original", "both", "video", "audio"]
    pairs = source.pairs(np.array([5, 15, 25]))
    torch.testing.assert_close(views["original"][0], pairs.video / 255)
    made = trained.model(pairs.video * 0, pairs.audio, pairs.present & torch.tensor([False, True]))
    torch.testing.assert_close(views["audio"][0], made.video)
    torch.testing.assert_close(views["audio"][1], made.audio)


def gallery_source(count: int) -> DatasetPairs:
    video, audio = (x.repeat(1, 2, 1, 1, 1).numpy() for x in toy.draw(count, 3))
    return DatasetPairs([(*modalities, 0) for modalities in zip(video, audio, strict=True)])


def test_a_mosaic_by_hand():
    black, red = np.zeros((2, 3, 3)), np.full((2, 3, 3), [1.0, 0, 0])
    found = mosaic([[black, red], [red, black]])
    assert found.shape == (2 * 2 + EDGE, 3 * 2 + EDGE, 3)
    assert (found[:2, :3] == 0).all()
    assert (found[:2, 3 : 3 + EDGE] == 1).all()
    assert (found[:2, 3 + EDGE :] == [1, 0, 0]).all()
    assert (found[2 : 2 + EDGE] == 1).all()


def test_the_newest_picture_and_all_of_the_sound_are_drawn():
    video = torch.zeros(2, 1, 4, 5)
    video[1, 0, 3, 2] = 0.5
    drawn = as_picture(video)
    assert drawn.shape == (4, 5, 3)
    assert drawn[3, 2].tolist() == [0.5] * 3
    assert as_picture(torch.rand(2, 3, 4, 5)).std(axis=2).max() > 0
    audio = torch.zeros(2, 2, 8, 4)
    audio[1, 0, 0, 3] = 1.0  # the lowest band at the very end
    colours = as_spectrogram(audio)
    assert colours.shape == (8, 8, 3)
    brightest = np.unravel_index(colours.sum(axis=2).argmax(), (8, 8))
    assert brightest == (7, 7)


def test_a_waveform_is_drawn_as_its_range():
    audio = torch.zeros(2, 1, 1, 96)
    audio[1] = 0.5 * (-1.0) ** torch.arange(96)
    drawn = as_spectrogram(audio)
    assert drawn.shape == (*WAVE_SIZE, 3)
    heights = drawn[:, :, 0].sum(axis=0)
    assert set(heights[: WAVE_SIZE[1] // 2]) == {2.0}
    assert (abs(heights[WAVE_SIZE[1] // 2 :] - WAVE_SIZE[0] / 2) <= 3).all()
