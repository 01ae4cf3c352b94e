"""What is told of a classifier's answers, as numbers and as sentences."""

import numpy as np
import pytest
import torch

from spl.classify.evaluation.warning import draw_warning, draw_withheld, sentences, warnings_of


def made(count: int, share_wrong: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of two classes, of which the least probable answers are wrong."""
    margins = torch.linspace(0.1, 8.0, count)
    labels = (torch.arange(count) < share_wrong * count).long()
    return torch.stack([margins, -margins], dim=1), labels


def test_what_is_withheld_is_what_is_less_probable_than_the_threshold():
    logits, labels = made(2_000, 0.1)
    found = warnings_of(logits, labels, 0.02, np.random.default_rng(0))
    told = found.as_json()
    assert told["images"] == [1_000, 1_000]
    assert 0.05 < 1 - told["threshold"]["answered"] / 1_000 < 0.15
    assert told["withheld"] == list(range(len(told["withheld"]))), "the least probable come first"
    assert float(found.answers.scaled[told["withheld"][-1]]) < told["threshold"]["probability"]
    assert len(told["withheld"]) == int((found.answers.scaled < told["threshold"]["probability"]).sum()) > 100
    assert told["error_at_coverage"]["1"] == pytest.approx(1 - float(found.judged.is_right.double().mean()))
    assert told["error_at_coverage"]["0.5"] == 0.0
    calibration, promise = told["sentences"]
    assert calibration.startswith("expected calibration error ")
    assert "with the temperature" in calibration
    assert "promise an error of at most 2.00% with 95% confidence: of 1,000 images it answers" in promise


def test_scaling_changes_no_answer_and_is_judged_on_other_images():
    logits, labels = made(400, 0.1)
    found = warnings_of(logits, labels, 0.02, np.random.default_rng(1))
    assert torch.equal(found.answers.predicted, logits.argmax(dim=1))
    assert torch.equal(found.answers.raw, logits.double().softmax(dim=1).amax(dim=1))
    torch.testing.assert_close(
        found.answers.scaled, (logits.double() / found.temperature).softmax(dim=1).amax(dim=1)
    )
    assert len(found.judged.raw) == 200
    assert warnings_of(logits, labels, 0.02, np.random.default_rng(1)).as_json() == found.as_json()
    assert warnings_of(logits, labels, 0.02, np.random.default_rng(2)).as_json() != found.as_json()


def test_without_a_threshold_it_says_what_it_takes_and_withholds_all():
    logits, labels = made(100, 0.0)
    told = warnings_of(logits, labels, 0.02, np.random.default_rng(0)).as_json()
    assert told["threshold"] is None
    assert len(told["withheld"]) == 100
    assert (
        "takes at least 149 answers without a mistake among the 50; raise --max_error" in sentences(told)[1]
    )
    with pytest.raises(ValueError, match="at least 2 held-out images, got 1"):
        warnings_of(logits[:1], labels[:1], 0.02, np.random.default_rng(0))


def test_pictures_are_drawn_also_of_nothing(tmp_path):
    logits, labels = made(100, 0.2)
    found = warnings_of(logits, labels, 0.3, np.random.default_rng(0))
    draw_warning(found, "a $5 title", tmp_path / "answers.png")
    images = [torch.zeros(3, 4, 4, dtype=torch.uint8)] * 9
    draw_withheld(images, [("a", 0.5, "b")] * 9, "title", tmp_path / "nine.png")
    draw_withheld([], [], "title", tmp_path / "none.png")
    assert all((tmp_path / name).stat().st_size > 2_000 for name in ("answers.png", "nine.png", "none.png"))
