"""A classifier that paces itself: what it learns from, that it goes on where it stood, and what it tells."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from spl.classify.config import TrainClassifierConfig
from spl.classify.curriculum import Pacing
from spl.classify.train import Result, train_classifier
from spl.classify.training import Training
from spl.config.errors import UsageError
from spl.curriculum import Curriculum
from spl.data.images.datasets import load_images
from spl.data.labels import flip_labels
from spl.runs import checkpoint

Maker = Callable[..., TrainClassifierConfig]
PACED = (
    "--curriculum",
    "self-paced",
    "--recipe.epochs",
    "4",
    "--curriculum.warmup",
    "0.25",
    "--curriculum.over",
    "1",
)
NOISY = (*PACED, "--data.label_noise", "0.4")


def train(config: TrainClassifierConfig, resume: Path | None = None) -> Result:
    return train_classifier(config, resume=resume, command=["test"], console=Console(file=io.StringIO()))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "checkpoints")["classifier"]["model"]


def rows(folder: Path) -> list[dict[str, float]]:
    told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in told]


def equal(one: Path, two: Path) -> bool:
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_paced_run_tells_what_it_learned_from(tiny: Maker):
    config = tiny(*NOISY)
    sizes = np.bincount(flip_labels(load_images(config.data), 0.4, config.seed).train.labels)
    shares = [sum(np.rint(share * sizes)) / 18 for share in (1.0, 0.3, 0.425, 0.55)]
    told = rows(train(config).folder)
    assert [row["curriculum/share"] for row in told] == pytest.approx(shares)
    assert [row["curriculum/warmup"] for row in told] == [1.0, 0.0, 0.0, 0.0]
    assert "curriculum/threshold" not in told[0]
    assert all(row["curriculum/threshold"] > 0 for row in told[1:])
    assert told[0]["curriculum/flipped_share"] == pytest.approx(7 / 18)
    assert all(row["curriculum/not_finite"] == row["curriculum/is_empty"] == 0.0 for row in told)
    plain = rows(train(tiny("--data.label_noise", "0.4")).folder)
    assert [row["curriculum/flipped_share"] for row in plain] == pytest.approx([7 / 18] * 2)
    assert not [
        key for key in plain[0] if key.startswith("curriculum/") and key != "curriculum/flipped_share"
    ]
    assert not [key for key in rows(train(tiny()).folder)[0] if key.startswith("curriculum/")]


def test_what_is_learned_from_are_the_included_images_with_the_labels_told(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
):
    learned: list[tuple[list[int], list[int]]] = []
    learn = Training._learn

    def spy(self: Training, batch: object) -> None:
        learned.append((batch.indices.tolist(), batch.labels.tolist()))
        learn(self, batch)

    monkeypatch.setattr(Training, "_learn", spy)
    config = tiny(*NOISY)
    result = train(config)
    sets = flip_labels(load_images(config.data), 0.4, config.seed)
    told = dict(zip(sets.train.indices, sets.train.labels.tolist(), strict=True))
    assert all(labels == [told[index] for index in indices] for indices, labels in learned)
    numbers = [
        len({index for indices, _ in learned[3 * e : 3 * e + 3] for index in indices}) for e in range(4)
    ]
    assert numbers[0] == 18 > numbers[3] > numbers[1] > 3
    state = checkpoint.load(result.folder / "checkpoints")["curriculum"]
    weights = state["rounds"][3]["weights"]
    last = {index for indices, _ in learned[9:] for index in indices}
    assert last == {sets.train.indices[place] for place in np.flatnonzero(weights)}


def test_the_easiest_by_the_losses_of_the_last_epoch_are_included(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[int, float] = {}
    see, begin, checked = Pacing.see, Curriculum.begin, []

    def note(self: Pacing, update: int, losses: torch.Tensor) -> None:
        seen.update(zip(self.order.places(update).tolist(), losses.tolist(), strict=True))
        see(self, update, losses)

    def check(self: Curriculum, number: int) -> object:
        is_new = number == 1 and number not in self._rounds
        one = begin(self, number)
        if is_new:
            known = np.array([seen[place] for place in range(18)], np.float32)
            members = [np.flatnonzero(self.groups == group) for group in range(len(self.sizes))]
            counts = [max(1, round(0.3 * len(places))) for places in members]
            easy = [p[np.argsort(known[p])[:k]] for p, k in zip(members, counts, strict=True)]
            checked.append(sorted(np.concatenate(easy).tolist()) == np.flatnonzero(one.weights).tolist())
        return one

    monkeypatch.setattr(Pacing, "see", note)
    monkeypatch.setattr(Curriculum, "begin", check)
    train(tiny(*NOISY))
    assert checked == [True]


def test_soft_weights_are_descended(tiny: Maker):
    hard = train(tiny(*PACED))
    soft = train(tiny(*PACED, "--curriculum.scheme", "linear"))
    assert not equal(hard.folder, soft.folder)
    assert rows(soft.folder)[1]["curriculum/weight"] < 1.0 == rows(hard.folder)[1]["curriculum/weight"]


SOFT = ("--curriculum.scheme", "linear", "--curriculum.order", "easy-first")


# in the warm-up, at its end, in the first and in the third round after it
@pytest.mark.parametrize(
    ("after", "options"),
    [
        (2, ()),
        pytest.param(3, SOFT, marks=pytest.mark.slow),
        pytest.param(4, (), marks=pytest.mark.slow),
        (8, SOFT),
    ],
)
def test_a_stopped_run_goes_on_to_the_bit(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch, after: int, options: tuple[str, ...]
):
    config = tiny(*NOISY, *options)
    alone, learn = train(config), Training._learn

    def stop_after(self: Training, batch: object) -> None:
        learn(self, batch)
        if self.classifier.num_updates == after:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped = train(config)
    assert not stopped.is_finished
    monkeypatch.undo()
    resumed = train(config, resume=stopped.folder)
    assert resumed.scores == alone.scores
    assert equal(resumed.folder, alone.folder)
    assert rows(resumed.folder) == rows(alone.folder)


def test_workers_change_nothing(tiny: Maker):
    alone, helped = (train(tiny(*NOISY, "--data.num_workers", number)) for number in ("0", "2"))
    assert equal(alone.folder, helped.folder)
    assert rows(alone.folder) == rows(helped.folder)


@pytest.mark.parametrize("name", ["anti", "random"])
def test_the_baselines_learn_from_others(tiny: Maker, name: str):
    paced, other = train(tiny(*PACED)), train(tiny(*PACED, "--curriculum", name))
    assert rows(paced.folder)[0] == rows(other.folder)[0], "the warm-up is the same"
    shares = [[row["curriculum/share"] for row in rows(one.folder)] for one in (paced, other)]
    assert shares[0] == shares[1]
    assert not equal(paced.folder, other.folder)


def test_a_whole_share_learns_what_a_run_without_a_curriculum_learns(tiny: Maker):
    words = ("--curriculum.start", "1", "--curriculum.end", "1", "--recipe.epochs", "4")
    assert equal(
        train(tiny("--curriculum", "self-paced", *words)).folder, train(tiny("--recipe.epochs", "4")).folder
    )


def test_a_difficulty_that_is_given_decides(tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "difficulty.npy"
    np.save(file, np.arange(18))
    words = (*PACED, "--curriculum", "predefined", "--curriculum.difficulty", str(file))
    result = train(tiny(*words, "--curriculum.groups", "false"))
    state = checkpoint.load(result.folder / "checkpoints")["curriculum"]
    assert np.flatnonzero(state["rounds"][3]["weights"]).tolist() == list(range(10))  # round(0.55 18)
    (result.folder / "result.json").unlink()
    np.save(file, np.arange(18)[::-1])
    with pytest.raises(UsageError, match=r"the difficulties in .* are not those it began with"):
        train(tiny(*words, "--curriculum.groups", "false"), resume=result.folder)
    np.save(file, np.arange(5))
    with pytest.raises(UsageError, match="must hold one number for each of the 18 samples, got 5"):
        train(tiny(*words))
    np.save(file, np.where(np.arange(18) == 3, np.nan, 1.0))
    with pytest.raises(UsageError, match="must hold finite numbers, got nan for sample 3"):
        train(tiny(*words))


def test_restarts_are_told_the_same_labels(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    told = []
    make = Pacing.__init__

    def note(self: Pacing, config: TrainClassifierConfig, sets: object) -> None:
        told.append(sets.train.labels.tolist())
        make(self, config, sets)

    monkeypatch.setattr(Pacing, "__init__", note)
    train(tiny("--restarts", "2", "--recipe.epochs", "1", "--data.label_noise", "0.4"))
    assert len(told) == 2
    assert told[0] == told[1]


def test_a_restart_that_goes_on_alone_is_told_the_labels_of_all(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    told = []
    keep = Training.__init__

    def watch(self, config, folder, sets, *others):
        told.append(sets.train.labels)
        keep(self, config, folder, sets, *others)

    monkeypatch.setattr(Training, "__init__", watch)
    words = ("--recipe.epochs", "1", "--data.label_noise", "0.4")
    folder = train(tiny("--restarts", "2", *words)).folder / "restart-1"
    (folder / "result.json").unlink()
    train(tiny(*words, "--seed", "1"), resume=folder)
    assert np.array_equal(told[1], told[2])
