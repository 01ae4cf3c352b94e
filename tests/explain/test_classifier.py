"""``spl explain classifier`` as a user meets it: what is drawn, what is measured, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from spl.classify.load import read_classifier
from spl.classify.train import train_classifier
from spl.cli import main as cli
from spl.explain.classifier import ExplainClassifierConfig, explain_classifier
from spl.explain.figures import CELL
from spl.explain.gates import WIDTH, Gates
from spl.explain.overlay import overlaid
from spl.explain.subjects import spread
from spl.plotting.tiles import save
from spl.saliency import chosen, grad_cam, predicted
from spl.saliency.metrics import average_drop, average_increase, confidence, deletion, explained, insertion

SHORT = ["--num_curve_steps", "2", "--device", "cpu"]


@pytest.fixture
def runs(tiny):
    """Return the folders of two runs on the same images, of which one has attention to places."""
    return [train_classifier(tiny("--attention", attention)).folder for attention in ("none", "cbam")]


def test_two_runs_side_by_side(runs, capsys):
    words = [*map(str, runs), "--method", "grad-cam,attention", "--num_drawn", "3", *SHORT]
    assert cli.main(["explain", "classifier", *words]) == 0
    told = capsys.readouterr()
    words = " ".join(told.out.split())
    assert "resnet20 cbam attention" in words
    assert "resnet20 has no column for attention" in words
    assert "softmax probability of the class" in words
    assert "step 18 of 18" in told.err
    out = runs[0] / "explanation"
    result = json.loads((out / "measures.json").read_text())
    assert [(row["run"], row["method"], row["images"]) for row in result["measures"]] == [
        ("resnet20", "grad-cam", 6),
        ("resnet20 cbam", "grad-cam", 6),
        ("resnet20 cbam", "attention", 6),
    ]
    assert result["confidence"] == "softmax over classes"
    assert [row["truth"] for row in result["images"]] == ["blue", "green", "red"]
    assert result["measures"][0]["win_rate"] is None
    assert 0 <= result["measures"][2]["win_rate"] <= 100
    assert "| resnet20 cbam | attention |" in (out / "measures.md").read_text()
    # Three columns of maps and one of images, three rows
    drawn = imread(out / "overlays.png")
    assert drawn.shape[1] == pytest.approx(4 * CELL * 110, rel=0.1)
    assert drawn.shape[0] == pytest.approx(3 * CELL * 110, rel=0.4)
    assert (out / "measures.png").exists()


def test_the_measures_are_those_of_the_maps(runs):
    config = ExplainClassifierConfig(method=("grad-cam",), num_curve_steps=3, device="cpu", batch_size=4)
    (row,) = explain_classifier(runs[:1], config).rows
    classifier, sets, *_ = read_classifier(runs[0], "last", device="cpu")
    loaded = [np.asarray(sets.test.images[index][0].convert("RGB")) for index in sets.test.indices]
    assert len(row.measured.full) == len(loaded) == 6
    from spl.data.loading import Pictures, batches, in_order, plain

    pictures = Pictures(sets.test, plain(config_of(runs[0]).data, sets.size), 0)
    (batch,) = batches(pictures, in_order(6, 6), num_workers=0, is_pinned=False)
    model, inputs = classifier.judged, classifier.inputs(batch.images)
    classes = predicted(model, inputs)
    maps = grad_cam(model, "layer3", inputs, chosen(classes))
    full, masked = (confidence(model, x, classes) for x in (inputs, explained(inputs, maps)))
    told = row.measured.summary()
    assert told["average_drop"] == pytest.approx(average_drop(full, masked), abs=0.01)
    assert told["average_increase"] == pytest.approx(average_increase(full, masked))
    for name, curve in (("insertion", insertion), ("deletion", deletion)):
        area = curve(model, inputs, maps, classes, num_steps=3).areas.mean()
        assert told[name] == pytest.approx(float(area), abs=1e-3)


def config_of(folder):
    from spl.classify.config import RUNS, TrainClassifierConfig
    from spl.runs.directory import read_run

    return read_run(TrainClassifierConfig, folder, RUNS)


def test_files_are_drawn_with_the_class_that_is_named(runs, tmp_path, pictures):
    Image.new("L", (40, 30), 90).save(tmp_path / "a, grey one.png")
    files = [str(tmp_path / "a, grey one.png"), str(pictures / "red" / "0.png")]
    words = ["--images", *files, "--num_measured", "0", "--out", str(tmp_path / "out" / "deep")]
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "measures.png").write_bytes(b"of an earlier explanation")
    assert cli.main(["explain", "classifier", str(runs[0]), *words, *SHORT]) == 0
    result = json.loads((tmp_path / "out" / "deep" / "measures.json").read_text())
    assert [row["image"] for row in result["images"]] == ["a, grey one.png", "0.png"]
    assert [row["truth"] for row in result["images"]] == [None, None]
    assert result["measures"] == []
    assert not (tmp_path / "out" / "deep" / "measures.png").exists()
    named = result["images"][1]["named"]["resnet20"]
    assert named["class"] in ("red", "green", "blue")
    assert 1 / 3 < named["probability"] <= 1.0


def test_best_weights_another_layer_and_fewer_images(runs):
    config = ExplainClassifierConfig(
        checkpoint="best", layers=("layer1",), num_measured=2, num_drawn=1, method=("layer-cam",),
        num_curve_steps=1, device="cpu",
    )  # fmt: skip
    told = explain_classifier(runs[:1], config)
    assert len(told.rows[0].measured.full) == 2
    result = json.loads((told.out / "measures.json").read_text())
    assert (result["checkpoint"], result["runs"][0]["layer"]) == ("best", "layer1")
    other = explain_classifier(runs[:1], ExplainClassifierConfig(**{**vars(config), "layers": ("layer3",)}))
    assert not torch.equal(other.rows[0].measured.masked, told.rows[0].measured.masked)


def test_two_runs_of_one_network_are_told_apart(tiny):
    folders = [train_classifier(tiny("--seed", seed)).folder for seed in ("1", "2")]
    config = ExplainClassifierConfig(method=("grad-cam",), num_curve_steps=1, num_drawn=1, device="cpu")
    rows = explain_classifier(folders, config).rows
    assert [row.label for row in rows] == [f"resnet20 ({folder.name})" for folder in folders]


def test_no_more_images_are_asked_about_at_once_than_fit_a_batch(runs, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "spl.explain.classifier.predicted", lambda model, x: sizes.append(len(x)) or predicted(model, x)
    )
    config = ExplainClassifierConfig(
        method=("grad-cam",), num_drawn=3, num_measured=0, batch_size=2, device="cpu"
    )
    told = explain_classifier(runs[:1], config)
    assert sizes == [2, 1]
    assert len(json.loads((told.out / "measures.json").read_text())["images"]) == 3


def test_runs_whose_folders_are_called_alike_are_told_apart(runs, tmp_path, capsys):
    folders = [tmp_path / name / "restart-0" for name in ("one", "two")]
    for folder in folders:
        shutil.copytree(runs[0], folder)
    config = ExplainClassifierConfig(method=("grad-cam",), num_curve_steps=1, num_drawn=1, device="cpu")
    rows = explain_classifier(folders, config).rows
    assert [row.label for row in rows] == ["resnet20 (one/restart-0)", "resnet20 (two/restart-0)"]
    images = json.loads((folders[0] / "explanation" / "measures.json").read_text())["images"]
    assert len(images[0]["named"]) == 2
    assert cli.main(["explain", "classifier", str(runs[0]), f"{runs[0]}/"]) == 2
    assert capsys.readouterr().err.endswith("spl: give each run once\n")


def test_mistakes_are_one_sentence(runs, tmp_path, capsys, monkeypatch):
    (tmp_path / "words.png").write_text("no picture")
    run = str(runs[0])
    for words, said in {
        (): "give the run directory: spl explain classifier",
        (str(tmp_path),): "is not a run directory: it has no config.yaml",
        (run, "--layers", "layer9"): "ResNet has no layer 'layer9'; did you mean 'layer3'?",
        (run, "--layers", "fc"): "layer 'fc' must give (B, C, H, W), got (1, 3)",
        (run, "--layers", "layer9", "--method", "score-cam"): "ResNet has no layer 'layer9'",
        (
            run,
            "--layers",
            "layer1",
            "--method",
            "occlusion",
        ): "none of the methods occlusion is taken at a layer",
        (run, "--num_drawn", "6", "--images", "a.png"): "--num_drawn is of held-out images: leave it out",
        (run, "--method", "grad-kam"): "method must be some of grad-cam, grad-cam++",
        (run, "--method", "attention"): "resnet20 has no column for attention",
        (run, "--images", str(tmp_path / "no.png")): "no.png cannot be read as an image: No such file",
        (run, "--images", str(tmp_path / "words.png")): "words.png cannot be read as an image",
        (run, "--images"): "--images needs a value",
        (run, "--out", "/proc/explanation"): "the folder /proc/explanation cannot be written",
        (run, "--num_measured", "-1"): "num_measured must be at least 0, got -1",
        (run, "--num_drawn", "0"): "num_drawn must be at least 1, got 0",
        (run, "--checkpoint", "first"): "--checkpoint must be one of 'last', 'best'",
    }.items():
        assert cli.main(["explain", "classifier", *words]) == 2, words
        told = capsys.readouterr().err
        assert said in told
        assert "Traceback" not in told
    assert not (runs[0] / "explanation").exists(), "nothing is left of what was refused"


def test_a_run_without_checkpoints_is_told(runs, capsys):
    for path in sorted((runs[0] / "checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() or path.is_symlink() else path.rmdir()
    assert cli.main(["explain", "classifier", str(runs[0]), *SHORT]) == 2
    assert f"the last weights of {runs[0]} cannot be used" in capsys.readouterr().err


def test_runs_on_other_images_need_files(tiny, runs, tmp_path, capsys):
    other = train_classifier(tiny("--data.test_share", "0.5")).folder
    words = ["explain", "classifier", str(runs[0]), str(other), "--num_measured", "0", *SHORT]
    assert cli.main(words) == 2
    assert "do not hold out the same images; say which to explain with --images" in capsys.readouterr().err
    Image.new("RGB", (20, 20)).save(tmp_path / "one.png")
    assert cli.main([*words, "--images", str(tmp_path / "one.png")]) == 0


def test_a_picture_of_very_many_images_is_coarser(tmp_path):
    save(Figure(figsize=(0.5, 700.0)), tmp_path / "long.png", dpi=110)
    assert 59_000 < imread(tmp_path / "long.png").shape[0] <= 60_000


def test_an_overlay_by_hand():
    picture = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    none = overlaid(picture, torch.zeros(1, 2))
    np.testing.assert_allclose(none, [[[0.0] * 3, [1.0] * 3]])
    most = overlaid(picture, torch.ones(1, 2))
    np.testing.assert_allclose(most[0, 0], 0.5 * most[0, 1], atol=1e-6)
    assert most[0, 1].argmin() == 2, "the hottest is yellow"


def test_places_are_spread_evenly():
    assert spread(10, 3) == [0, 4, 9]
    assert spread(4, None) == [0, 1, 2, 3]
    assert spread(2, 5) == [0, 1]
    assert spread(5, 1) == [0]


@pytest.mark.slow
def test_each_stage_side_by_side(tiny, tmp_path):
    modules = ("se", "shared", "cbam")
    runs = [train_classifier(tiny("--attention", name, "--recipe.epochs", "1")).folder for name in modules]
    config = ExplainClassifierConfig(
        method=("grad-cam", "occlusion", "attention"), layers=("stages", "layer3"), num_drawn=2,
        num_measured=2, num_curve_steps=1, device="cpu", out=str(tmp_path / "out"),
    )  # fmt: skip
    rows = explain_classifier(runs, config).rows
    told = [(row.label, row.method) for row in rows]
    assert told[:4] == [
        ("resnet20 se, layer1", "grad-cam"),
        ("resnet20 se, layer1", "occlusion"),
        ("resnet20 se, layer2", "grad-cam"),
        ("resnet20 se, layer3", "grad-cam"),
    ]
    assert len(told) == 2 * 4 + 7
    looked = [row for row in rows if row.method == "attention"]  # where cbam does, stage by stage
    assert [row.label for row in looked] == [f"resnet20 cbam, layer{stage}" for stage in (1, 2, 3)]
    assert not torch.equal(looked[0].measured.masked, looked[1].measured.masked)
    masked = [row.measured.masked for row in rows if row.method == "grad-cam"]
    assert not torch.equal(masked[0], masked[2])
    result = json.loads((tmp_path / "out" / "measures.json").read_text())
    per_block, per_stage = (result["runs"][place]["parameters"] for place in (0, 3))
    told = (tmp_path / "out" / "measures.md").read_text()
    assert f"resnet20 se: {per_block:,} parameters, " in told
    assert f"resnet20 shared: {per_stage:,} parameters, " in told
    assert "layer 'layer2' weighs channels, not positions" in told
    assert per_block - per_stage == 2 * 2 * (16**2 + 32**2 + 64**2) // 16  # two blocks of three have none
    assert result["runs"][0]["milliseconds_per_image"] > 0
    assert [one["gates"]["modules"] for one in result["runs"]] == [3, 3, 3, 1, 1, 1, 3, 3, 3]
    assert all(-1 <= one["gates"]["likeness"] <= 1 for one in result["runs"][:3])
    assert result["runs"][3]["gates"]["likeness"] is None
    drawn = imread(tmp_path / "out" / "gates.png")
    assert drawn.shape[1] == pytest.approx(120 * (3 * WIDTH + 1), abs=2)


def test_the_likeness_of_gates_by_hand():
    one, two = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.3, 0.1, 0.2])  # r = (-0.1 * 0.1) / 0.02
    gates = Gates(None, torch.stack([torch.stack([one, one]), torch.stack([2 * one, two])]))
    assert gates.likeness == pytest.approx((1.0 - 0.5) / 2)  # two images, one pair of modules
    assert Gates(None, gates.values[:1]).likeness is None


def test_without_gates_those_of_an_earlier_explanation_go(runs):
    config = ExplainClassifierConfig(
        layers=("layer2",), num_measured=0, num_drawn=3, batch_size=2, device="cpu"
    )
    out = explain_classifier(runs[1:], config).out
    assert (out / "gates.png").exists()
    shutil.copytree(out, runs[0] / "explanation")
    assert not (explain_classifier(runs[:1], config).out / "gates.png").exists()
    assert not (explain_classifier(runs[1:], replace(config, layers=())).out / "gates.png").exists()
