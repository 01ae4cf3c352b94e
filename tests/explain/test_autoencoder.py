"""``spl explain autoencoder``: maps of both modalities' errors, and what each modality adds to them."""

import io
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import seen_and_heard as toy
import torch
from matplotlib.image import imread
from rich.console import Console

from spl.cli.main import main
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.data.audiovisual import Pairs
from spl.data.recordings import Recordings
from spl.explain.autoencoder import (
    ExplainAutoencoderConfig,
    _explained,
    explain_autoencoder,
    print_explanation,
)
from spl.explain.two_streams import AsPictures, as_pictures
from spl.models.autoencoder import mask
from spl.models.streams import in_units
from spl.pretrain.config import ALIASES, PretrainConfig
from spl.pretrain.load import read_autoencoder
from spl.pretrain.train import pretrain_autoencoder
from spl.saliency.metrics import pointing_accuracy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dense autoencoder of spots and tones."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("place")
    toy.record(place / "data", 160, 0)
    words = ["--data", str(place / "data"), "--encoder.video_stream", "dense", "--device", "cpu"]
    words += ["--encoder.audio_stream", "dense", "--encoder.attention", "none", "--data.history", "1"]
    words += ["--encoder.features", "24", "--recipe.epochs", "30", "--recipe.batch_size", "48"]
    words += ["--recipe.learning_rate", "0.003", "--num_threads", "1", "--num_drawn", "0"]
    config = parse(PretrainConfig, [*words, "--runs", str(place)], prog="spl", aliases=ALIASES)
    return pretrain_autoencoder(config, command=["test"], console=Console(file=io.StringIO())).folder


def test_errors_maps_and_shares_are_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--num_drawn", "3", "--device", "cpu", "--out", str(tmp_path / "out"), "--score", "fit"]
    assert main(["explain", "autoencoder", str(run), *words]) == 0
    printed = capsys.readouterr().out
    assert "error of video" in printed
    assert "error of audio" in printed
    told = json.loads((tmp_path / "out" / "explanation.json").read_text())
    for modality in ("video", "audio"):
        errors = told["errors"][modality]
        assert len(errors["mean_squared_error"]) == 3
        assert errors["share_of_video"] + errors["share_of_audio"] == pytest.approx(1)
    # What is seen makes the picture better than what is heard does; the tone tells the spot's column only.
    of_video = told["errors"]["video"]
    assert sum(of_video["added_by_video"]) < sum(of_video["added_by_audio"])
    picture = imread(tmp_path / "out" / "reconstructions.png")
    assert picture.shape[1] > picture.shape[0] > 300
    assert picture.std() > 0.1


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_what_keeps_the_error_of_a_modality_small_is_the_spot_or_the_tone(
    run: Path, modality: Literal["video", "audio"]
):
    video, audio = toy.draw(24, 5)
    trained = read_autoencoder(run, "cpu")
    shown = mask(video, audio, torch.ones(24, 2, dtype=torch.bool), modality)  # so nothing else tells it
    config = ExplainAutoencoderConfig(score="fit", modalities=modality, device="cpu")
    given = in_units(video), in_units(audio)
    found = _explained(AsPictures(trained.model, 1), as_pictures(*shown), given, config)
    place = ("video", "audio").index(modality)
    heat = found.maps[modality][place]
    assert heat is not None
    assert pointing_accuracy(heat, given[place][:, 0, 0] > 0.3) > 0.8
    assert found.maps[modality][1 - place] is None
    made = getattr(found.made, modality)
    expected = (made - given[place]).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(found.errors[modality], expected)


def test_the_page_of_the_run_tells_it(run: Path):
    explain_autoencoder(run, ExplainAutoencoderConfig(num_drawn=2, device="cpu"))
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    told = json.loads((run / "explanation" / "explanation.json").read_text())["errors"]["audio"]
    cells = [
        f"<td>{sum(told[part]) / 2:.5f}</td>"
        for part in ("mean_squared_error", "added_by_video", "added_by_audio")
    ]
    assert "".join(cells) in page
    assert "Mean squared errors of the 2 samples (the data that the run learned from" in page


def test_a_modality_that_is_not_shown_has_no_map(run: Path, tmp_path: Path):
    config = ExplainAutoencoderConfig(
        num_drawn=2, modalities="audio", method="integrated-gradients", device="cpu", out=str(tmp_path)
    )
    told = explain_autoencoder(run, config)
    assert told["errors"]["video"]["share_of_video"] == 0.0
    assert told["errors"]["video"]["share_of_audio"] == 1.0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--method", "grad-cam"], "grad-cam needs convolutions, which no stream of .* has"),
        (["--method", "attention"], "method must be one of"),
        (["--num_drawn", "0"], "num_drawn must be at least 1"),
        (["--data.paths", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(run: Path, words: list[str], told: str):
    with pytest.raises(UsageError, match=told):
        explain_autoencoder(run, parse(ExplainAutoencoderConfig, words, prog="spl"))


def test_many_samples_are_drawn_as_fine_as_a_picture_may_be(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("spl.plotting.tiles.MOST_PIXELS", 500)
    explain_autoencoder(run, ExplainAutoencoderConfig(num_drawn=2, device="cpu", out=str(tmp_path)))
    assert max(imread(tmp_path / "reconstructions.png").shape) in (499, 500)


def test_a_modality_that_a_sample_lacks_has_no_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    whole = Recordings.pairs

    def silent(self: Recordings, indices: np.ndarray) -> Pairs:
        pairs = whole(self, indices)
        pairs.present[0, 1] = False
        return pairs

    monkeypatch.setattr(Recordings, "pairs", silent)
    words = ["--num_drawn", "3", "--device", "cpu"]
    assert main(["explain", "autoencoder", str(run), *words]) == 0
    printed = capsys.readouterr().out
    told = json.loads((run / "explanation" / "explanation.json").read_text())["errors"]
    heard = told["audio"]["mean_squared_error"]
    assert [error is None for error in heard] == [True, False, False]
    assert told["audio"]["added_by_video"][0] is None
    assert None not in told["video"]["mean_squared_error"]
    mean = f"{(heard[1] + heard[2]) / 2:.5f}"
    assert f"{mean} over 2 samples" in printed
    assert main(["report", str(run)]) == 0
    assert f"<td>{mean}</td>" in (run / "report.html").read_text()


def test_what_rounds_to_nothing_has_no_minus(capsys: pytest.CaptureFixture[str]):
    told = {"mean_squared_error": [0.5], "added_by_video": [-1e-7], "added_by_audio": [-0.25]}
    print_explanation({"errors": {"video": told}, "out": "here"})
    assert "video adds +0.00000 to it, audio -0.25000" in capsys.readouterr().out
