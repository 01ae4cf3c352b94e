"""``spl train classifier --model.weights``: a run that starts from another's, with its body frozen or not."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from spl.classify.config import TrainClassifierConfig
from spl.classify.train import Result, train_classifier
from spl.classify.training import Training
from spl.config.errors import UsageError
from spl.runs import checkpoint

Maker = Callable[..., TrainClassifierConfig]


def train(config: TrainClassifierConfig, resume: Path | None = None) -> tuple[Result, str]:
    told = Console(file=io.StringIO(), width=400)
    return train_classifier(config, resume=resume, command=["test"], console=told), told.file.getvalue()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "checkpoints")["classifier"]["model"]


@pytest.fixture
def first(tiny: Maker) -> Path:
    return train(tiny("--recipe.ema_decay", "0.5"))[0].folder


def test_a_run_starts_from_anothers_average_and_keeps_its_last_layer_for_the_same_classes(
    tiny: Maker, first: Path
):
    little = ("--recipe.learning_rate", "1e-12", "--recipe.weight_decay", "0", "--recipe.epochs", "1")
    result, told = train(tiny(*little, "--model.weights", str(first)))
    assert f"starts from {first}: " in told
    assert "new: nothing" in told
    averaged = checkpoint.load(first / "checkpoints")["classifier"]["averaged"]
    for name in ("conv1.weight", "fc.weight"):
        torch.testing.assert_close(weights(result.folder)[name], averaged[f"module.{name}"])


def test_a_frozen_body_stays_as_it_was_and_the_new_parts_learn(
    tiny: Maker, first: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ("--model.weights", str(first / "best"), "--recipe.freeze", "--attention", "se")
    alone, told = train(tiny(*words))
    assert "of them trained; starts from" in told
    before, after = checkpoint.load(first / "best")["model"], weights(alone.folder)
    moved = {key for key, one in after.items() if key not in before or not torch.equal(one, before[key])}
    assert {"fc.weight", "layer1.0.attention.reduce.weight"} <= moved
    assert all(key.startswith("fc.") or ".attention." in key for key in moved), "nor do statistics move"
    assert alone.scores["parameters"] == 269_267 + 2_016  # resnet20 with three classes, and se
    learn = Training._learn

    def stop_after(self: Training, batch: object) -> None:
        learn(self, batch)
        if self.classifier.num_updates == 2:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped, _ = train(tiny(*words))
    monkeypatch.undo()
    for path in (first / "best").rglob("*.safetensors"):
        path.unlink()  # a run that goes on does not need what it started from
    resumed, _ = train(tiny(*words), resume=stopped.folder)
    assert all(torch.equal(one, after[key]) for key, one in weights(resumed.folder).items())


def test_another_network_and_a_body_without_weights_are_refused(tiny: Maker, first: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"not those of this resnet32: it has no layer1.3.*nothing"):
        train(tiny("--model", "resnet32", "--model.weights", str(first)))
    assert len(list((tmp_path / "runs" / "classifier").iterdir())) == 1, "no folder of a run that was refused"
    checkpoint.save(tmp_path / "other" / "checkpoints", {"agent": {}}, step=3)
    with pytest.raises(UsageError, match=r"its checkpoint is of another training than spl train classifier"):
        train(tiny("--model.weights", str(tmp_path / "other")))
    with pytest.raises(UsageError, match=r"recipe.freeze keeps the weights that model.weights names"):
        tiny("--recipe.freeze")
