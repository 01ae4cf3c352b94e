"""Accuracies and confusions by hand."""

import math
from pathlib import Path

import pytest
import torch

from spl.classify.metrics import Tally, class_rows, draw_confusion

CPU = torch.device("cpu")
CONFUSION = torch.tensor([[3, 1, 0], [0, 2, 2], [0, 0, 0]])


def test_a_tally_by_hand():
    tally = Tally(6, CPU)
    logits = torch.tensor(
        [[9.0, 8, 7, 6, 5, 4], [4.0, 5, 6, 7, 8, 9], [0.0, 1, 0, 0, 0, 0], [0.0, 9, 1, 2, 3, 4]]
    )
    tally.add(logits[:3], torch.tensor([0, 0, 1]), torch.tensor([0.5, 1.5, 1.0]))
    tally.add(logits[3:], torch.tensor([5]), torch.tensor([3.0]))
    scores = tally.scores()
    assert scores.top1 == 0.5  # the first and the third
    assert scores.top5 == 0.75  # not the second, whose class is the last of six
    assert scores.loss == 1.5
    assert scores.confusion[0].tolist() == [1, 0, 0, 0, 0, 1]
    assert scores.confusion[1, 1] == scores.confusion[5, 1] == 1
    assert scores.confusion.sum() == 4


def test_with_few_classes_every_one_is_among_the_five():
    tally = Tally(3, CPU)
    tally.add(torch.eye(3), torch.tensor([1, 2, 0]), torch.ones(3))
    assert (tally.scores().top1, tally.scores().top5) == (0.0, 1.0)


def test_no_image_has_no_score():
    with pytest.raises(ValueError, match="at least one image to score, got none"):
        Tally(3, CPU).scores()


def test_a_logit_that_is_not_a_number_still_counts_its_image():
    tally = Tally(2, CPU)
    tally.add(torch.full((1, 2), math.nan), torch.tensor([0]), torch.tensor([math.nan]))
    assert math.isnan(tally.scores().loss)


def test_classes_are_told_the_worst_first():
    rows = class_rows(CONFUSION, ["cat", "dog", "owl"])
    assert [row["class"] for row in rows] == ["dog", "cat", "owl"]
    assert rows[0] == {"class": "dog", "images": 4, "recall": 0.5, "precision": 2 / 3, "confused_with": "owl"}
    assert rows[1] == {"class": "cat", "images": 4, "recall": 0.75, "precision": 1.0, "confused_with": "dog"}
    assert rows[2]["recall"] is None
    assert rows[2]["precision"] == 0.0
    assert rows[2]["confused_with"] is None


def test_a_confusion_is_drawn(tmp_path: Path):
    draw_confusion(CONFUSION, ["cat", "dog", "owl"], "three", tmp_path / "few.png")
    draw_confusion(
        torch.eye(60, dtype=torch.int64), [f"class {k}" for k in range(60)], "many", tmp_path / "many.png"
    )
    for name in ("few", "many"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
