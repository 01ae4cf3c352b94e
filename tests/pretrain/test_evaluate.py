"""``spl evaluate autoencoder``: errors by hand, probes that tell classes, retrieval, what is left out."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import seen_and_heard as toy
import torch
from rich.console import Console

from spl.cli.main import main
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.models.autoencoder import CONDITIONS, mask
from spl.models.streams import in_units
from spl.pretrain import evaluate
from spl.pretrain.config import ALIASES, PretrainConfig, measure
from spl.pretrain.data import load_pairs
from spl.pretrain.evaluate import EvaluateAutoencoderConfig, HeldOutConfig, evaluate_autoencoder
from spl.pretrain.evaluation.pool_seeds import pool
from spl.pretrain.load import check_signature, read_autoencoder
from spl.pretrain.train import pretrain_autoencoder
from spl.records import StreamSpec
from spl.runs import checkpoint
from spl.training.losses import reconstruction


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings of two classes, more of them held out, and two runs."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("place")
    for name, places in {"left": (0.0, 0.45), "right": (0.55, 1.0)}.items():
        toy.record(place / name, 80, 0, places)
        toy.record(place / "held" / name, 60, 1, places)
    for name, words in {
        "aligned": ["--objective.alignment", "infonce"],
        "blind": ["--objective.views", "both"],
    }.items():
        fixed = {
            "data": f"{place / 'left'},{place / 'right'}",
            "encoder.video_stream": "dense",
            "encoder.audio_stream": "dense",
            "encoder.attention": "none",
            "encoder.features": "24",
            "data.history": "1",
            "recipe.epochs": "20",
            "recipe.batch_size": "48",
            "recipe.learning_rate": "0.003",
            "num_threads": "1",
            "num_drawn": "0",
            "device": "cpu",
            "runs": str(place / name),
        }
        argv = [word for key, value in fixed.items() for word in (f"--{key}", value)]
        config = parse(PretrainConfig, [*argv, *words], prog="spl", aliases=ALIASES)
        assert pretrain_autoencoder(config, command=["test"], console=Console(file=io.StringIO())).is_finished
    return place


def run_of(place: Path, name: str = "aligned") -> Path:
    (folder,) = (place / name / "autoencoder").iterdir()
    return folder


def held_out(place: Path, *names: str) -> HeldOutConfig:
    return HeldOutConfig(paths=tuple(str(place / "held" / name) for name in names or ("left", "right")))


def test_errors_on_the_data_learned_from_are_those_of_the_loss(place: Path):
    folder = run_of(place)
    result = evaluate_autoencoder(folder, EvaluateAutoencoderConfig(num_splits=1))
    assert result["data"] == "the data that the run learned from: nothing is held out"
    trained, config = read_autoencoder(folder), PretrainConfig()
    source = load_pairs(trained.config.data)
    assert result["samples"] == len(source) == 160
    assert result["update"] == trained.num_updates == 20 * 10
    pairs = source.pairs(np.arange(len(source)))
    for condition in CONDITIONS:
        with torch.no_grad():
            made = trained.model(*mask(pairs.video, pairs.audio, pairs.present, condition))
        for modality, (name, found) in enumerate(
            zip(("video", "audio"), measure(source, config.seed), strict=True)
        ):
            expected = reconstruction(
                made[modality], in_units(pairs[modality]), variance=found.variance
            ).mean()
            assert result["reconstruction"][condition][name] == pytest.approx(expected.item(), rel=1e-3)


def test_held_out_samples_are_told_within_and_across_modalities(place: Path):
    result = evaluate_autoencoder(run_of(place), EvaluateAutoencoderConfig(data=held_out(place)))
    assert result["samples"] == 120
    assert result["data"].startswith("recordings ")
    probe = result["probe"]
    assert probe["classes"] == ["left", "right"]
    assert probe["chance"] == 0.5
    accuracy = probe["accuracy"]
    for pair in ("both to both", "video to video", "audio to audio", "video to audio", "audio to video"):
        assert accuracy["code"][pair]["mean"] > 0.8, pair
        assert accuracy["code"][pair]["low"] <= accuracy["code"][pair]["mean"]
    assert len(accuracy["code"]) == len(accuracy["direction"]) == 9
    assert accuracy["direction"]["audio to video"]["mean"] > 0.8
    assert set(accuracy["raw"]) == {"both to both", "video to video", "audio to audio"}
    assert accuracy["canonical"]["video to audio"]["mean"] > 0.8
    found = result["retrieval"]
    assert found["samples"] == 120
    assert found["chance"] == {"1": 1 / 120, "5": 5 / 120, "10": 10 / 120}
    for kind in ("video to audio", "audio to video"):
        assert found[kind]["10"] > 2.5 * found["chance"]["10"]
        assert found[kind]["1"] <= found[kind]["5"] <= found[kind]["10"]


def test_a_run_that_was_never_blind_is_worse_where_a_modality_is_hidden(place: Path):
    config = EvaluateAutoencoderConfig(data=held_out(place), against=str(run_of(place, "blind")))
    result = evaluate_autoencoder(run_of(place), config)
    aligned, blind = result["reconstruction"], result["reconstruction_against"]
    assert aligned["video"]["audio"] < 0.7 < blind["video"]["audio"]
    assert aligned["audio"]["video"] < blind["audio"]["video"]
    assert blind["both"]["audio"] < 0.7
    text = (run_of(place) / "evaluation.md").read_text()
    assert f"audio, {run_of(place, 'blind').name}" in text


def test_codes_of_another_run_are_probed_on_the_same_splits(place: Path):
    usual = EvaluateAutoencoderConfig(data=held_out(place), num_splits=2)
    alone = evaluate_autoencoder(run_of(place, "blind"), usual)["probe"]["accuracy"]
    compared = replace(usual, against=str(run_of(place, "blind")))
    both = evaluate_autoencoder(run_of(place), compared)["probe"]["accuracy"]
    assert both["code_against"] == alone["code"] != both["code"]
    assert f"| code | code, {run_of(place, 'blind').name} |" in (run_of(place) / "evaluation.md").read_text()


def test_the_same_seed_gives_the_same_and_options_are_heeded(place: Path, monkeypatch: pytest.MonkeyPatch):
    usual = EvaluateAutoencoderConfig(data=held_out(place), num_splits=2)
    first, again = (evaluate_autoencoder(run_of(place), usual) for _ in range(2))
    assert first == again
    asked = []
    split = evaluate.splits_in_time
    monkeypatch.setattr(evaluate, "splits_in_time", lambda *a, **k: asked.append(k) or split(*a, **k))
    evaluate_autoencoder(run_of(place), replace(usual, seed=5))
    assert asked == [{"gap": 1, "count": 2, "seed": 5}]
    fewer = evaluate_autoencoder(run_of(place), replace(usual, num_measured=100, num_retrieved=20))
    assert (fewer["samples"], fewer["retrieval"]["samples"]) == (100, 20)
    assert fewer["reconstruction"] != first["reconstruction"]
    one = evaluate_autoencoder(run_of(place), replace(usual, num_splits=1))
    assert one["probe"]["accuracy"]["code"]["both to both"]["low"] is None


def test_what_cannot_be_asked_is_left_out_with_a_sentence(place: Path):
    usual = EvaluateAutoencoderConfig(data=held_out(place, "left"))
    result = evaluate_autoencoder(run_of(place), usual)
    sentence = "the probe is left out: it needs 2 classes with both modalities, got 1 class"
    assert result["probe"] == {"left_out": sentence}
    assert sentence in (run_of(place) / "evaluation.md").read_text()
    few = evaluate_autoencoder(run_of(place), replace(usual, data=held_out(place), num_measured=10))
    assert few["probe"]["left_out"].endswith("it needs 8 samples of each class, got 5; raise --num_measured")


def test_samples_that_lack_a_modality_count_where_they_have_it(place: Path, tmp_path: Path):
    for name in ("left", "right"):
        toy.record(tmp_path / name, 60, 1, has_audio=False)
    data = HeldOutConfig(paths=(str(tmp_path / "left"), str(tmp_path / "right")))
    result = evaluate_autoencoder(run_of(place), EvaluateAutoencoderConfig(data=data))
    assert result["reconstruction"]["video"]["video"] is not None
    assert result["reconstruction"]["video"]["audio"] is None
    assert result["reconstruction"]["both"] == result["reconstruction"]["audio"]
    assert result["probe"]["left_out"].endswith("got 0 classes")
    assert "retrieval is left out" in result["retrieval"]["left_out"]


def test_sound_that_never_changes_has_no_baseline(place: Path, tmp_path: Path):
    for name in ("left", "right"):
        toy.record(tmp_path / name, 60, 1, is_silent=True)
    data = HeldOutConfig(paths=(str(tmp_path / "left"), str(tmp_path / "right")))
    result = evaluate_autoencoder(run_of(place), EvaluateAutoencoderConfig(data=data, num_splits=1))
    accuracy = result["probe"]["accuracy"]
    assert set(accuracy["raw"]) == {"both to both", "video to video"}
    assert accuracy["canonical"] == {}
    assert accuracy["code"]["audio to audio"]["mean"] == pytest.approx(0.5, abs=0.05)
    assert result["retrieval"]["video to audio"]["10"] == 0.0


def test_the_command_prints_tables_and_writes_files(place: Path, capsys: pytest.CaptureFixture[str]):
    folder = run_of(place)
    words = ["--data", f"{place / 'held' / 'left'},{place / 'held' / 'right'}", "--num_splits", "2"]
    assert main(["evaluate", "autoencoder", str(folder), *words]) == 0
    told = capsys.readouterr().out
    for words_printed in (
        "predicting the mean costs 1",
        "video only",
        "2 classes, ",
        "chance 50%",
        "video to",
    ):
        assert words_printed in told
    written = json.loads((folder / "evaluation.json").read_text())
    assert f"{written['reconstruction']['audio']['video']:.3f}" in told
    assert "2 of its 8 stretches of time, on which it is tried; ± is the 95 % interval over 2 such" in told
    text = (folder / "evaluation.md").read_text()
    assert "| shown | video | audio |\n| --- | ---: | ---: |\n| both |" in text
    assert f"{written['reconstruction']['audio']['video']:.3f}" in text


def test_several_runs_are_told_as_one_with_their_spread(place: Path, capsys: pytest.CaptureFixture[str]):
    runs = [run_of(place, name) for name in ("aligned", "blind")]
    words = ["--data", f"{place / 'held' / 'left'},{place / 'held' / 'right'}", "--num_splits", "2"]
    assert main(["evaluate", "autoencoder", str(runs[0]), str(runs[0]), *words]) == 2
    assert "give each run once" in capsys.readouterr().err
    assert main(["evaluate", "autoencoder", *map(str, runs), *words]) == 0
    told = capsys.readouterr().out
    alone = [json.loads((run / "evaluation.json").read_text()) for run in runs]
    found = pool(alone)
    one, two = (result["reconstruction"]["audio"]["video"] for result in alone)
    error = found["reconstruction"]["audio"]["video"]
    assert error["mean"] == pytest.approx((one + two) / 2)
    half = 12.706 * abs(one - two) / 2  # Student's t, one degree of freedom
    assert error["mean"] - error["low"] == pytest.approx(half, rel=1e-3)
    assert f"{error['mean']:.3f} ± {half:.3f}" in told
    accuracy = found["probe"]["accuracy"]["code"]["audio to video"]
    each = [result["probe"]["accuracy"]["code"]["audio to video"]["mean"] for result in alone]
    assert accuracy["mean"] == pytest.approx(sum(each) / 2)
    assert "2 runs" in told
    assert "± is everywhere the 95 % interval over the runs" in told
    with pytest.raises(
        UsageError, match=r"was evaluated on other samples \(120 of recordings .*; give --data"
    ):
        pool([{**alone[0], "samples": 99}, alone[1]])


def test_mistakes_are_one_sentence(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from tests.data.test_recordings import record

    larger = record(tmp_path / "larger", [9], spec=StreamSpec((1, 16, 12), (1, 8, 4)))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("env:\n  id: spl/Beacon-v0\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.yaml").write_text((run_of(place) / "config.yaml").read_text())
    run = str(run_of(place))
    for words, sentence in {
        (): "give the run directory: spl evaluate autoencoder runs/autoencoder/",
        (str(tmp_path),): "is not a run directory: it has no config.yaml",
        (str(tmp_path / "other"),): "unknown key 'env' in",
        (str(tmp_path / "bare"),): "has no autoencoder to read",
        (
            run,
            "--data",
            str(larger),
        ): "the data do not fit the run: their video is [1, 16, 12], not [1, 12, 12]",
        (run, "--data", "nowhere"): "there is no folder or file nowhere",
        (run, "--data", str(larger), "--films", "f"): "--data and --films are one option: leave one out",
        (run, "--films", str(tmp_path / "none")): "there is no folder or file",
        (run, "--against", str(tmp_path)): "is not a run directory",
        (run, "--num_splits", "0"): "num_splits must be at least 1, got 0",
        (run, "--device", "gpu"): "device must be cpu, cuda, cuda:N, mps or auto, got 'gpu'",
    }.items():
        assert main(["evaluate", "autoencoder", *words]) == 2, words
        told = capsys.readouterr().err
        assert sentence in told
        assert len(told.splitlines()) == 1


def test_films_are_cut_as_the_run_had_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from tests.data.test_videos import CUT, make_video

    for folder, tones in {"known": (300.0, 2000.0), "held": (350.0, 1800.0)}.items():
        for name, tone_hz in zip(("low", "high"), tones, strict=True):
            make_video(tmp_path / folder / name / "a.mkv", [*range(0, 200, 10)], tone_hz=tone_hz)
    cut = {f"data.videos.{key}": value for key, value in CUT.items() if key != "video_size"}
    fixed = {
        **cut,
        "films": tmp_path / "known",
        "data.videos.video_size": "16,16",
        "data.videos.stride": "2",
        "encoder.video_stream": "dense",
        "encoder.audio_stream": "dense",
        "encoder.attention": "none",
        "recipe.epochs": "1",
        "recipe.batch_size": "30",
        "num_threads": "1",
        "num_drawn": "0",
        "runs": tmp_path / "runs",
    }
    argv = [word for key, value in fixed.items() for word in (f"--{key}", str(value))]
    assert main(["pretrain", "autoencoder", *argv]) == 0
    (folder,) = (tmp_path / "runs" / "autoencoder").iterdir()
    assert main(["evaluate", "autoencoder", str(folder), "--films", str(tmp_path / "held")]) == 0
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["data"] == f"videos in {tmp_path / 'held'}"
    assert result["samples"] == 20  # two videos of 20 steps, every second
    assert result["probe"]["classes"] == ["high", "low"]
    assert (tmp_path / "held.clips").exists()
    capsys.readouterr()


def test_films_that_cannot_be_cut_so_are_refused(place: Path):
    trained = read_autoencoder(run_of(place))
    config = evaluate._cut_as(trained.signature, trained.config.data)
    assert (config.video_size, config.grey, config.num_mels, config.audio_frames) == ((12, 12), True, 8, 4)
    assert (config.history, config.sample_rate_hz, config.step_s, config.stereo) == (1, 8000, 0.05, False)
    waveform = trained._replace(signature=trained.signature | {"audio": [1, 1, 400]})
    unknown = trained._replace(signature=trained.signature | {"step_s": None})
    crowded = trained._replace(signature=trained.signature | {"audio": [1, 8, 500]})
    for other, sentence in (
        (waveform, "learned from a waveform"),
        (unknown, "without sample rate and step length"),
        (crowded, "cannot be cut for this run: audio_frames must be in 1..400"),
    ):
        with pytest.raises(UsageError, match=sentence):
            evaluate._cut_as(other.signature, trained.config.data)


def test_an_unknown_number_fits_and_one_that_differs_is_named():
    needed = {"history": 4, "step_s": 0.1, "sample_rate_hz": None}
    check_signature(needed, {"history": 4, "step_s": 0.1 + 1e-12, "sample_rate_hz": 8000}, "the videos")
    check_signature(needed, {"history": 4, "step_s": None}, "the videos")
    with pytest.raises(UsageError, match=r"the videos do not fit the run: their step_s is 0.2, not 0.1"):
        check_signature(needed, {"history": 4, "step_s": 0.2}, "the videos")


def test_what_is_read_is_what_was_saved(place: Path):
    state = checkpoint.load(run_of(place) / "checkpoints")
    trained = read_autoencoder(run_of(place))
    assert not trained.model.training
    assert trained.signature == state["signature"]
    for name, tensor in trained.model.encoder.state_dict().items():
        assert torch.equal(tensor, state["learner"]["encoder"][name])
    for name, tensor in state["learner"]["decoders"].items():
        assert torch.equal(tensor, trained.model.state_dict()[name])
    assert torch.equal(trained.means[1], state["mean"]["audio"])
