"""A paced pretraining: which samples an epoch shows, what is lost on them, and what it leaves aside."""

import io
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import seen_and_heard as toy
import torch
from rich.console import Console

from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.curriculum import Curriculum, CurriculumConfig
from spl.data.audiovisual import Pairs, read_ahead
from spl.data.mispairing import Mismatched
from spl.data.statistics import Moments
from spl.pretrain.config import ALIASES, PretrainConfig, PretrainRecipe, measure
from spl.pretrain.curriculum import Pacing, across
from spl.pretrain.data import PairsConfig, ViewOrder, load_pairs
from spl.pretrain.objective import ObjectiveConfig, Parts, Views
from spl.pretrain.train import pretrain_autoencoder

PLACES = {"left": (0.0, 0.3), "right": (0.7, 1.0)}


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    """Two games: spots at the left with low tones, spots at the right with high ones."""
    return [
        str(toy.record(tmp_path / name, 60, k, places)) for k, (name, places) in enumerate(PLACES.items())
    ]


def paced(recordings: list[str], **options: object) -> PretrainConfig:
    return PretrainConfig(
        data=PairsConfig(paths=tuple(recordings), history=1),
        recipe=PretrainRecipe(epochs=4, batch_size=30),
        curriculum=CurriculumConfig(name="self-paced", warmup=0.25, start=0.5, end=0.5, **options),
    )


@pytest.mark.parametrize("order", ["shuffled", "easy-first"])
@pytest.mark.parametrize("alignment", ["none", "squared"])
def test_a_round_shows_its_samples_in_all_three_conditions(recordings: list[str], order: str, alignment: str):
    config = paced(recordings, order=order)
    config = PretrainConfig(**{**vars(config), "objective": ObjectiveConfig(alignment=alignment)})
    source = load_pairs(config.data)
    pacing = Pacing(config, source, measure(source, 0))
    losses = np.random.default_rng(0).random(120).astype(np.float32)
    pacing.curriculum.see(np.arange(120), losses)
    updates = list(pacing.order.after(pacing.order.updates_per_epoch))[: pacing.order.updates_per_epoch]
    indices, conditions = (np.concatenate(parts) for parts in zip(*updates, strict=True))
    labels = source.labels()
    easy = [k for label in (0, 1) for k in np.argsort(losses + 9 * (labels != label))[:30].tolist()]
    expected = sorted((index, condition) for index in easy for condition in range(3))
    assert sorted(zip(indices.tolist(), conditions.tolist(), strict=True)) == sorted(2 * expected)
    first = losses[updates[0][0]].mean()
    assert first < losses[easy].mean() - 0.05 if order == "easy-first" else first > 0
    assert pacing.row(1)["curriculum/share"] == 0.5


def test_the_loss_of_a_sample_is_the_mean_of_its_views_last_losses(recordings: list[str]):
    source = load_pairs(PairsConfig(paths=tuple(recordings), history=1))
    config = PretrainConfig(**{**vars(paced(recordings)), "paced_by": "loss"})
    pacing = Pacing(config, source, measure(source, 0))

    def see(indices: list[int], conditions: list[int], losses: list[float]) -> None:
        found = torch.tensor(losses)
        errors = torch.zeros(len(losses), 2)
        parts = Parts(found, errors, torch.tensor(conditions), found.mean())
        pacing.see(source.pairs(np.array(indices)), parts)

    see([5, 5, 7], [0, 2, 1], [1.0, 3.0, 4.0])
    assert pacing.curriculum.state_dict()["losses"][[5, 7]].tolist() == [2.0, 4.0]
    see([5, 5], [0, 1], [2.0, 7.0])
    assert pacing.curriculum.state_dict()["losses"][5] == 4.0  # 2, 7 and the 3 of before
    assert pacing.weights(0, torch.tensor([5, 7])).tolist() == [1.0, 1.0]  # warm-up


def test_across_by_hand():
    moments = Moments(), Moments()
    video = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).reshape(4, 1, 1, 1, 1).expand(4, 1, 1, 1, 2)
    audio = torch.tensor([0.0, 1.0, 0.0, 2.0]).reshape(4, 1, 1, 1, 1)
    moments[0].add(torch.tensor([[0.0], [1.0]]).expand(2, 2).reshape(2, 1, 1, 1, 2))  # mean 1/2, variance 1/4
    moments[1].add(torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1, 1))  # mean 1, variance 1
    present = torch.tensor([[True, True], [True, True], [True, True], [False, True]])
    pairs = Pairs(video, audio.half(), present, torch.zeros(4), torch.arange(4))
    errors = torch.tensor([[0.3, 0.5], [0.2, 0.6], [0.4, 0.7], [0.1, 0.9]])
    found = across(Parts(errors.sum(1), errors, torch.tensor([1, 1, 2, 1]), errors.mean()), pairs, moments)
    # Silence 0 lies 1 from the mean, which costs 1; a sound at the mean costs nothing but what is added; a
    # white picture lies 1/2 from the mean, which costs 1; a sample without video has no view across.
    assert found[:3].tolist() == pytest.approx([0.51 / 1.01, 0.61 / 0.01, 0.41 / 1.01])
    assert torch.isnan(found[3])
    both = across(Parts(errors.sum(1), errors, torch.zeros(4).long(), errors.mean()), pairs, moments)
    assert torch.isnan(both).all()


def test_across_finds_the_mean_predictor_as_wrong_on_quiet_samples_as_on_loud_ones():
    moments = Moments(), Moments()
    moments[0].add(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1))
    moments[1].add(torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1, 1))  # mean 1, variance 1
    audio = torch.tensor([1.0, 1.125, 1.5, 4.0]).reshape(4, 1, 1, 1, 1)  # exact in half precision
    pairs = Pairs(
        torch.zeros(4, 1, 1, 1, 1, dtype=torch.uint8),
        audio.half(),
        torch.ones(4, 2, dtype=torch.bool),
        torch.zeros(4),
        torch.arange(4),
    )
    errors = torch.stack([torch.zeros(4), (audio.flatten() - 1) ** 2], dim=1)  # of predicting the mean
    found = across(Parts(errors.sum(1), errors, torch.ones(4).long(), errors.mean()), pairs, moments)
    assert found.tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])


def test_what_is_seen_with_both_modalities_alone_is_not_seen_yet(recordings: list[str]):
    source = load_pairs(PairsConfig(paths=tuple(recordings), history=1))
    pacing = Pacing(paced(recordings), source, measure(source, 0))
    losses, errors = torch.ones(2), torch.full((2, 2), 0.5)
    pacing.see(source.pairs(np.array([5, 7])), Parts(losses, errors, torch.tensor([0, 1]), losses.mean()))
    assert np.isnan(pacing.curriculum.losses[5])
    assert pacing.curriculum.losses[7] > 0


@pytest.mark.parametrize("views", ["both", "video", "audio"])
def test_going_by_the_other_modality_needs_views_that_hide_each(recordings: list[str], views: Views):
    with pytest.raises(
        ValueError,
        match=rf"paced_by=across needs views that hide each modality, got objective\.views={views}",
    ):
        PretrainConfig(**{**vars(paced(recordings)), "objective": ObjectiveConfig(views=views)})


def test_a_mismatched_sample_has_the_sound_of_another_class(recordings: list[str]):
    config = PairsConfig(paths=tuple(recordings), history=1, mismatch=0.25)
    clean, mixed = load_pairs(PairsConfig(paths=tuple(recordings), history=1)), load_pairs(config, 3)
    assert isinstance(mixed, Mismatched)
    one, two = clean.pairs(np.arange(120)), mixed.pairs(np.arange(120))
    assert torch.equal(one.video, two.video)
    differs = (one.audio != two.audio).flatten(1).any(dim=1).numpy()
    assert differs.tolist() == mixed.is_mismatched.tolist()
    assert differs.sum() == 30
    pitch = two.audio[:, 0, 0, :, 0].argmax(dim=1).numpy()
    assert (pitch[mixed.is_mismatched & (mixed.labels() == 0)] >= 4).all()
    assert (pitch[mixed.is_mismatched & (mixed.labels() == 1)] <= 3).all()
    assert load_pairs(config, 3).is_mismatched.tolist() == mixed.is_mismatched.tolist()
    assert load_pairs(config, 4).is_mismatched.tolist() != mixed.is_mismatched.tolist()
    with pytest.raises(UsageError, match="the data have one class only"):
        load_pairs(PairsConfig(paths=(recordings[0],), mismatch=0.5))


def test_a_self_paced_run_leaves_mismatched_samples_aside(recordings: list[str], tmp_path: Path):
    words = {
        "data": ",".join(recordings),
        "data.history": "1",
        "data.mismatch": "0.25",
        "recipe.epochs": "16",
        "recipe.batch_size": "24",
        "recipe.learning_rate": "0.003",
        "encoder.video_stream": "dense",
        "encoder.audio_stream": "dense",
        "encoder.attention": "none",
        "num_drawn": "0",
        "num_threads": "1",
        "runs": str(tmp_path / "runs"),
        "curriculum": "self-paced",
    }
    argv = [word for key, value in words.items() for word in (f"--{key}", value)]
    config = parse(PretrainConfig, argv, prog="spl", aliases=ALIASES)
    told = io.StringIO()
    result = pretrain_autoencoder(config, console=Console(file=told))
    assert "data       30 samples have another's sound, on purpose" in told.getvalue()
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["curriculum/mismatched_share"] == 0.25
    assert rows[-1]["curriculum/share"] == pytest.approx(0.55, abs=0.01)
    assert rows[-1]["curriculum/mismatched_share"] < 0.125


class Places:
    """Stands for samples: what is read of them are their places."""

    def pairs(self, indices: np.ndarray) -> np.ndarray:
        return indices


@pytest.mark.parametrize("batch_size", [96, 400], ids=["two updates an epoch", "one"])
def test_a_round_is_chosen_once_all_of_the_round_before_is_learned(batch_size: int):
    config = CurriculumConfig(name="self-paced", warmup=0.25, start=0.5, groups=False)
    curriculum = Curriculum(config, 64, num_rounds=4, seed=3)
    order = order_of(64, batch_size=batch_size, num_epochs=4, curriculum=curriculum)
    update, known = 0, []
    while update < order.num_updates:
        for indices, _ in read_ahead(Places(), order.stretch(update)):  # type: ignore[arg-type]
            if update % order.updates_per_epoch == 0:
                known.append(np.nan_to_num(curriculum.losses, nan=-1).max())
            update += 1
            curriculum.see(indices, np.full(len(indices), update, np.float32))
    ends = [order.updates_per_epoch * epoch for epoch in range(1, 4)]
    assert known == [-1, *ends], "the loss of the last update of the epoch before"


def order_of(num_samples: int, *, batch_size: int, num_epochs: int, **options: object) -> ViewOrder:
    options = {"views": "thirds", "is_aligned": False, "seed": 3, **options}
    return ViewOrder(num_samples, batch_size=batch_size, num_epochs=num_epochs, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_aligned", [False, True])
def test_the_warm_up_shows_what_a_run_without_a_curriculum_does(is_aligned: bool):
    config = CurriculumConfig(name="self-paced", warmup=0.5, over=1.0, groups=False)
    curriculum = Curriculum(config, 20, num_rounds=4, seed=3)
    orders = [
        order_of(20, batch_size=12, num_epochs=4, is_aligned=is_aligned, curriculum=one)
        for one in (None, curriculum)
    ]
    num = 2 * orders[0].updates_per_epoch
    plain, paced = (list(islice(order.after(0), num)) for order in orders)
    for one, other in zip(plain, paced, strict=True):
        assert np.array_equal(one, other)
