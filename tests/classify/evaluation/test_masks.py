"""``spl evaluate classifier --masks``: maps held against masks, and every mistake with them in a sentence."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from spl.classify.evaluation.masks import find_masks
from spl.classify.load import read_classifier
from spl.classify.train import train_classifier
from spl.cli.main import main
from spl.saliency import METHODS
from spl.saliency.metrics import energy_inside

SHAPES = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "figures" / "make_shapes.py"))


@pytest.fixture
def made(tiny, tmp_path):
    """Return the run of a classifier of shapes, and the folder of their masks."""
    SHAPES["write"](tmp_path / "shapes", 6, 3, 0)
    config = tiny("--data.root", str(tmp_path / "shapes/pictures"), "--data.image_size", "32")
    run = train_classifier(config, command=["test"], console=Console(quiet=True)).folder
    return run, tmp_path / "shapes/masks"


def test_energy_is_the_share_of_the_map_inside():
    maps = torch.tensor([[[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = torch.tensor([[[False, True], [True, False]]] * 2)
    assert energy_inside(maps, masks).tolist() == [0.75, 0.0]


def test_masks_are_those_of_the_held_out_pictures_cut_alike(made):
    run, folder = made
    _, sets, config, _ = read_classifier(run, "last")
    masks = find_masks(sets, config.data, folder)
    assert sorted(masks) == list(range(12))
    for place, mask in masks.items():
        path = Path(sets.test.images.samples[place][0])
        with Image.open(folder / "test" / path.parent.name / path.name) as given:
            share = (np.asarray(given.convert("L")) > 127).mean()
        assert mask.shape == (32, 32)
        assert abs(float(mask.float().mean()) * (7 / 8) ** 2 - share) < 0.08


def test_maps_are_held_against_them_and_a_map_of_the_mask_would_hit_always(made, capsys, monkeypatch):
    run, folder = made
    assert main(["evaluate", "classifier", str(run), "--masks", str(folder), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    told = json.loads((run / "evaluation-last.json").read_text())["masks"]
    assert told["images"] == 12
    assert 0 < told["chance"] < 0.5
    assert told["sentence"] in printed
    _, sets, config, _ = read_classifier(run, "last")
    masks = find_masks(sets, config.data, folder)
    cheat = torch.stack([masks[place] for place in masks]).float()
    monkeypatch.setitem(METHODS, "grad-cam", lambda *_: cheat)
    assert main(["evaluate", "classifier", str(run), "--masks", str(folder), "--device", "cpu"]) == 0
    told = json.loads((run / "evaluation-last.json").read_text())["masks"]
    assert (told["pointing_accuracy"], told["energy_inside"]) == (1.0, 1.0)


def test_mistakes_are_one_sentence(made, tmp_path, capsys):
    run, folder = made

    def refused(masks: Path, *words: str) -> str:
        assert main(["evaluate", "classifier", str(run), "--masks", str(masks), *words]) == 2
        return capsys.readouterr().err

    (tmp_path / "nothing").mkdir()
    assert "has no masks: give a folder of them" in refused(tmp_path / "nothing")
    lone = shutil.copytree(folder, tmp_path / "lone")
    shutil.copy(folder / "test/disc/0000.png", lone / "test/disc/9999.png")
    assert "each mask must have a picture of the same name" in (told := refused(lone))
    assert "got 1 of 13 without: test/disc/9999" in told
    small = shutil.copytree(folder, tmp_path / "small")
    Image.new("L", (8, 8), 255).save(small / "test/disc/0000.png")
    assert "must be as large as its picture, 64 x 64, got 8 x 8" in refused(small)
    Image.new("L", (64, 64)).save(small / "test/disc/0000.png")
    assert "is empty where its picture is looked at" in refused(small)
    (small / "test/disc/0000.png").write_bytes(b"no picture")
    assert "cannot be read" in refused(small)
    assert "method must be one of grad-cam" in refused(folder, "--method", "guess")
    assert main(["evaluate", "classifier", str(run), "--method", "layer-cam"]) == 2
    assert "got layer-cam without --masks FOLDER" in capsys.readouterr().err
