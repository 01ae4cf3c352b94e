"""What a run keeps of its rounds: bits and losses come back, a round run again is written again."""

from pathlib import Path

import numpy as np
import pytest

from spl.config.errors import UsageError
from spl.curriculum import Curriculum, CurriculumConfig, rounds
from spl.curriculum.rounds import chosen, keep_round, read_rounds


def run(folder: Path, num_rounds: int = 4, num_samples: int = 11) -> Curriculum:
    config = CurriculumConfig(name="self-paced", warmup=0.25, start=0.5, end=0.5, unseen="exclude")
    curriculum = Curriculum(config, num_samples, num_rounds=num_rounds, seed=0)
    for number in range(num_rounds):
        curriculum.begin(number)
        curriculum.see(np.arange(1, num_samples), np.arange(1, num_samples, dtype=np.float32) + number)
        keep_round(folder, curriculum, number)
    return curriculum


def test_rounds_come_back_and_one_that_is_run_again_is_written_again(tmp_path: Path):
    curriculum = run(tmp_path)
    curriculum.see(np.array([2]), np.array([7e9], np.float32))
    keep_round(tmp_path, curriculum, 3)
    found = read_rounds(tmp_path)
    assert found.numbers.tolist() == [0, 1, 2, 3]
    assert found.is_included[0].all()
    assert np.flatnonzero(found.is_included[1]).tolist() == [1, 2, 3, 4, 5, 6]
    assert np.isnan(found.losses[:, 0]).all()
    assert found.losses[2, 5] == 7.0
    assert found.losses[3, 2] == np.finfo(np.float16).max
    assert found.thinning is None


def test_what_is_kept_is_bounded_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds, "MOST_SAMPLES", 5)
    monkeypatch.setattr(rounds, "MOST_ROUNDS", 3)
    run(tmp_path, num_rounds=9)
    found = read_rounds(tmp_path)
    assert (found.samples.tolist(), found.numbers.tolist()) == ([0, 2, 5, 8, 10], [0, 4, 8])
    assert found.thinning == "Kept are 5 of 11 samples and at most 3 of 9 rounds, evenly chosen."


def test_uniform_keeps_nothing(tmp_path: Path):
    keep_round(tmp_path, Curriculum(CurriculumConfig(), 5, num_rounds=2, seed=0), 0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="kept no rounds"):
        read_rounds(tmp_path)
    assert chosen(3, 9).tolist() == [0, 1, 2]


def test_a_kill_at_the_first_round_leaves_nothing_that_cannot_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save = np.save

    def kill(path: Path, array: np.ndarray) -> None:
        save(path, array)
        if array.dtype == np.uint8:
            path.write_bytes(path.read_bytes()[:50])
            raise OSError("the disk is full")

    monkeypatch.setattr(np, "save", kill)
    with pytest.raises(OSError, match="the disk is full"):
        run(tmp_path)
    monkeypatch.undo()
    run(tmp_path)
    assert read_rounds(tmp_path).numbers.tolist() == [0, 1, 2, 3]
    included = np.load(tmp_path / "curriculum" / "included.npy")
    np.save(tmp_path / "curriculum" / "included.npy", np.zeros_like(included))
    with pytest.raises(UsageError, match="kept no rounds yet: it was stopped before the first was written"):
        read_rounds(tmp_path)
