"""A classifier's run over broken pictures: refused, or left out for good; what breaks later is reported."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from spl.classify.config import TrainClassifierConfig
from spl.classify.train import Result, train_classifier
from spl.classify.training import Training
from spl.cli.main import main
from spl.config.errors import UsageError
from spl.runs import checkpoint

Maker = Callable[..., TrainClassifierConfig]
SKIP = ("--data.skip_broken", "true")


def train(
    config: TrainClassifierConfig, resume: Path | None = None, file: io.StringIO | None = None
) -> Result:
    console = Console(file=io.StringIO() if file is None else file, width=200)
    return train_classifier(config, resume=resume, command=["test"], console=console)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = checkpoint.load(folder / "checkpoints")["classifier"]["model"]
    return model


def stop_after(monkeypatch: pytest.MonkeyPatch, num_updates: int, then: Callable[[], None]) -> None:
    """Let a run be told to stop after so many updates, and something happen then."""
    learn = Training._learn

    def learn_and_stop(self: Training, batch: object) -> None:
        learn(self, batch)  # type: ignore[arg-type]
        if self.classifier.num_updates == num_updates:
            self.stop.stop()
            then()

    monkeypatch.setattr(Training, "_learn", learn_and_stop)


def test_a_run_tells_and_keeps_what_it_uses_and_what_not(tiny: Maker, pictures: Path, capsys) -> None:
    (pictures / ".ipynb_checkpoints").mkdir()
    (pictures / "red" / "7.png").write_bytes(b"")
    for number in range(6):
        (pictures / "blue" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    file = io.StringIO()
    result = train(tiny(*SKIP, "--recipe.epochs", "1"), file=file)
    told = file.getvalue()
    assert "17 images to learn from, 6 held out, 3 classes" in told
    heic = "left out 6 (HEIC, which Pillow does not read: convert it): blue/0.heic"
    assert heic in told
    assert "left out 1 (broken): red/7.png" in told
    files = json.loads((result.folder / "result.json").read_text())["files"]
    assert (files["used"], files["left_out"], files["skipped"]) == (23, 8, ["red/7.png"])
    assert json.loads((result.folder / "data.json").read_text()) == files
    capsys.readouterr()
    assert main(["evaluate", "classifier", str(result.folder)]) == 0
    assert "left out       6 (HEIC" in capsys.readouterr().out
    assert json.loads((result.folder / "evaluation-last.json").read_text())["files"] == files


@pytest.mark.parametrize("fate", [pytest.param("mended", marks=pytest.mark.slow), "deleted"])
def test_a_run_without_broken_pictures_goes_on_to_the_bit_whatever_becomes_of_them(
    fate: str, tiny: Maker, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [pictures / "red" / "3.png", pictures / "green" / "0.png"]
    whole = [path.read_bytes() for path in broken]
    broken[0].write_bytes(whole[0][:60])
    middle = len(whole[1]) // 2
    broken[1].write_bytes(whole[1][:middle] + b"!" + whole[1][middle + 1 :])  # only found by reading it all
    alone = train(tiny(*SKIP))

    def change() -> None:
        for path, data in zip(broken, whole, strict=True):
            if fate == "mended":
                path.write_bytes(data)
            else:
                path.unlink()

    with monkeypatch.context() as patch:
        stop_after(patch, 2, change)
        stopped = train(tiny(*SKIP))
    assert not stopped.is_finished
    resumed = train(tiny(*SKIP), resume=stopped.folder)
    assert resumed.scores == alone.scores
    assert all(
        torch.equal(weights(alone.folder)[key], value) for key, value in weights(resumed.folder).items()
    )
    assert main(["evaluate", "classifier", str(resumed.folder)]) == 0


def test_a_broken_picture_stops_a_run_before_it_begins(tiny: Maker, pictures: Path, tmp_path: Path) -> None:
    (pictures / "red" / "3.png").write_bytes(b"no picture")
    with pytest.raises(
        UsageError, match=r"1 of 24 .* red/3.png \(no picture\); .* with --data.skip_broken true"
    ):
        train(tiny())
    assert not [*(tmp_path / "runs").glob("classifier/*")]
    assert train(tiny(*SKIP, "--recipe.epochs", "1")).is_finished  # the advice serves


@pytest.mark.parametrize("fate", ["broken", "deleted", "a FIFO"])
def test_a_picture_that_breaks_while_it_is_trained_is_told_and_the_advice_serves(
    fate: str, tiny: Maker, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    path, learn = pictures / "red" / "3.png", Training._learn
    whole = path.read_bytes()

    def break_one(self: Training, batch: object) -> None:
        learn(self, batch)  # type: ignore[arg-type]
        path.unlink(missing_ok=True)
        if fate == "broken":
            path.write_bytes(whole[:50])
        elif fate == "a FIFO":
            os.mkfifo(path)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_learn", break_one)
        with pytest.raises(UsageError) as caught:
            train(tiny(), file=file)
    assert "red/3.png cannot be read as an image: " in str(caught.value)
    assert "; restore an intact copy, or start a new run without it" in str(caught.value)
    assert "resume with: spl train classifier --resume" in file.getvalue()
    (folder,) = (Path(tiny().runs) / "classifier").iterdir()
    if fate == "broken":
        with pytest.raises(UsageError, match="restore intact copies: a run resumes with the images that"):
            train(tiny(), resume=folder)
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    assert train(tiny(), resume=folder).is_finished


def test_pictures_are_seen_alike_in_training_and_explanation(
    tiny: Maker, pictures: Path, tmp_path: Path
) -> None:
    from spl.data.images.datasets import load_images
    from spl.data.loading import Pictures, plain
    from spl.explain.subjects import ask_files, read_subjects

    grey = np.random.default_rng(1).integers(0, 2**16, (20, 24), np.uint16)
    Image.fromarray(grey).save(pictures / "red" / "3.png")
    turned = Image.Exif()
    turned[0x112] = 6
    Image.fromarray((grey // 257).astype(np.uint8)).save(pictures / "red" / "4.png", exif=turned)
    Image.fromarray(np.stack([(grey // 257).astype(np.uint8)] * 4, axis=2)).save(pictures / "red" / "5.png")
    result = train(tiny("--data.background", "#4080c0", "--recipe.epochs", "1"))
    sets = load_images(tiny("--data.background", "#4080c0").data)
    names = sets.train.images.names
    asked = [names.index(f"red/{number}.png") for number in (3, 4, 5)]
    held = Pictures(sets.train._replace(indices=asked), plain(tiny().data, 16), 0)
    seen = torch.stack([held[0, place][0] for place in range(3)])  # type: ignore[misc]
    subjects = read_subjects([result.folder], "last", layers=(), root=None, device="cpu")
    files = [str(pictures / "red" / f"{number}.png") for number in (3, 4, 5)]
    (explained,) = ask_files(subjects, files)
    assert torch.equal(explained.images, seen)
    assert seen[0].float().std() > 10  # not all white
    assert (seen[2, 2].float() - seen[2, 0].float()).mean() > 20  # the background is blue


def test_what_is_asked_to_be_explained_and_is_no_file_is_refused_at_once(
    tiny: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(train(tiny("--recipe.epochs", "1")).folder)
    os.mkfifo(tmp_path / "z\x1b[2J.png")
    assert main(["explain", "classifier", run, "--images", str(tmp_path / "z\x1b[2J.png")]) == 2
    error = capsys.readouterr().err
    assert r"z\x1b[2J.png cannot be read as an image: it is not a regular file; give another" in error
    assert "\x1b" not in error
