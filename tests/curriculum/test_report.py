"""`spl report curriculum`: what a run chose, when, and which samples those were."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import seen_and_heard as toy
from PIL import Image

from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.curriculum import Curriculum, CurriculumConfig, figures, report
from spl.curriculum.figures import NUM_BINS, Marks, Tile, draw_tiles, edges_of
from spl.curriculum.report import exemplars, report_rounds, round_rows
from spl.curriculum.rounds import Rounds, keep_round
from spl.plotting.tiles import as_tile

PACED = ("--curriculum.warmup", "0.25", "--curriculum.over", "1", "--recipe.epochs", "4")
# five samples, four rounds: the first is the warm-up
INCLUDED = np.array([[1, 1, 1, 1, 1], [0, 1, 0, 0, 0], [0, 1, 0, 1, 0], [1, 1, 0, 0, 0]], np.bool_)
LOSSES = np.array(
    [[9, 9, 9, 9, 9], [8, 8, 8, 8, 8], [7, 1, 7, 7, np.nan], [0.5, 0.1, 4, 2, np.nan]], np.float32
)


@pytest.fixture
def rounds() -> Rounds:
    return Rounds(np.arange(4), np.arange(5), LOSSES, INCLUDED, 5, 4)


def test_the_warm_up_is_no_choice_and_who_never_comes_in_has_the_number_of_rounds(rounds: Rounds):
    assert rounds.entries.tolist() == [3, 1, 4, 2, 4]
    without = Rounds(np.arange(3), np.arange(5), LOSSES[1:], INCLUDED[1:], 5, 3)
    assert without.entries.tolist() == [2, 0, 3, 1, 3], "no warm-up: the first round is a choice"
    all_in = Rounds(np.arange(4), np.arange(5), LOSSES, np.ones_like(INCLUDED), 5, 4)
    assert all_in.entries.tolist() == [4] * 5, "nobody was ever left out: nobody was chosen"


def test_samples_stand_in_the_row_that_they_belong_in(rounds: Rounds):
    found = {name: places.tolist() for name, places in exemplars(rounds).items()}
    assert found == {
        "easiest": [1, 0, 3, 2],  # the one without a loss is in no row
        "in from round 2": [1],
        "in from round 3": [3],
        "in from round 4": [0],
        "never in": [2],
        "hardest": [2, 3, 0, 1],
    }


def test_in_the_warm_up_none_is_told_to_be_left_out(rounds: Rounds):
    found = exemplars(rounds._replace(numbers=np.arange(1), losses=LOSSES[:1], is_included=INCLUDED[:1]))
    assert list(found) == ["easiest", "hardest"]


def test_the_table_by_hand(rounds: Rounds):
    marks = Marks("wrong label", np.array([0, 0, 1, 1, 0], np.bool_))
    assert round_rows(rounds, marks) == [
        ["1", "100.0%", "9", "40.0%"],
        ["2", "20.0%", "8", "0.0%"],
        ["3", "40.0%", "7", "50.0%"],
        ["4", "40.0%", "0.5", "0.0%"],
    ]


def test_bins_hold_every_loss():
    edges, is_log = edges_of(np.array([[0.0, 2.0, np.nan, np.inf]], np.float32))
    assert is_log
    assert (edges[0], edges[-1], len(edges)) == (pytest.approx(1e-4), pytest.approx(2.0), NUM_BINS + 1)
    edges, is_log = edges_of(np.array([-3.0, 5.0], np.float32))
    assert not is_log
    assert (edges[0], edges[-1]) == (-3.0, 5.0)
    assert np.diff(edges_of(np.full((2, 2), np.nan, np.float32))[0]).min() > 0, (
        "nothing is known: bins all the same"
    )


def silent_tiles(indices: np.ndarray) -> list[report.Tile]:
    return [report.Tile(np.full((4, 6, 3), index / 50), f"sample {index}") for index in indices]


SILENT = report.Samples(51, None, silent_tiles)


def test_samples_that_were_thinned_out_keep_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from spl.curriculum import rounds

    monkeypatch.setattr(rounds, "MOST_SAMPLES", 6)
    config = CurriculumConfig(name="self-paced", start=0.5, end=0.5, warmup=0.0, over=1.0, groups=False)
    paced = Curriculum(config, 51, num_rounds=3, seed=0)
    for number in range(3):
        paced.begin(number)
        paced.see(np.arange(51), np.arange(51, dtype=np.float32) + 1)
        keep_round(tmp_path, paced, number)
    told = report_rounds(tmp_path, SILENT, "a run")
    assert told.note is not None
    lines = list(csv.DictReader((tmp_path / "curriculum" / "samples.csv").read_text().splitlines()))
    assert [line["sample"] for line in lines] == ["0", "10", "20", "30", "40", "50"]
    assert [line["last_loss"] for line in lines] == ["1", "11", "21", "31", "41", "51"]
    assert [line["first_round"] for line in lines] == ["2", "2", "2", "", "", ""]
    assert [line["rounds_in"] for line in lines] == ["3", "3", "3", "1", "1", "1"]


def test_data_that_are_others_by_now_are_refused(tmp_path: Path):
    config = CurriculumConfig(name="self-paced", start=0.5, end=0.5, warmup=0.0, over=1.0, groups=False)
    paced = Curriculum(config, 60, num_rounds=1, seed=0)
    paced.see(np.arange(60), np.ones(60, np.float32))
    keep_round(tmp_path, paced, 0)
    with pytest.raises(UsageError, match="learned from 60 samples, and its data have 51 now"):
        report_rounds(tmp_path, SILENT, "a run")


def test_a_tile_has_what_there_is():
    import torch

    video, audio = torch.rand(2, 1, 8, 10), torch.rand(2, 1, 16, 5)
    assert as_tile(video, audio).shape == (8 + 1 + 4, 10, 3)
    assert as_tile(video, audio[:0]).shape == (8, 10, 3)
    assert as_tile(video[:, :, :0], audio).shape == (16, 10, 3)


def test_a_caption_of_two_lines_stands_on_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved = []
    monkeypatch.setattr(figures, "save", lambda figure, path: saved.append(figure))
    draw_tiles({"easiest": [Tile(np.zeros((4, 4, 3)), "a$b$\x1b\n0.1")]}, tmp_path / "tiles.png", "run")
    assert saved[0].axes[1].get_title() == "a$b$\\x1b\n0.1"


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "curriculum").iterdir() if path.suffix != ".npy")


def test_a_classifiers_report_shows_who_has_a_wrong_label(tiny: Callable, tmp_path: Path, capsys):
    from tests.classify.test_curriculum import train

    folder = train(tiny("--curriculum", "self-paced", "--data.label_noise", "0.4", *PACED)).folder
    assert cli.main(["report", "curriculum", str(folder)]) == 0
    assert "wrong label, of the included" in capsys.readouterr().out
    assert written(folder) == ["rounds.png", "samples.csv", "samples.png"]
    lines = list(csv.DictReader((folder / "curriculum" / "samples.csv").read_text().splitlines()))
    assert sum(int(line["wrong_label"]) for line in lines) == 7
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    in_all = sum(int(line["rounds_in"]) for line in lines)
    assert in_all == round(sum(row["curriculum/share"] for row in rows) * 18)
    assert cli.main(["report", str(folder)]) == 0, "the page shows them, too"
    assert "Curriculum" in (folder / "report.html").read_text()


def test_a_restart_is_shown_with_the_wrong_labels_that_it_was_told(tiny: Callable):
    from spl.data.images.datasets import load_images
    from spl.data.labels import flip_labels, true_labels
    from tests.classify.test_curriculum import train

    config = tiny("--curriculum", "self-paced", "--data.label_noise", "0.4", "--restarts", "2", *PACED)
    folder = train(config).folder / "restart-1"
    assert cli.main(["report", "curriculum", str(folder)]) == 0
    lines = list(csv.DictReader((folder / "curriculum" / "samples.csv").read_text().splitlines()))
    told = flip_labels(load_images(config.data), 0.4, config.seed).train
    assert [int(line["wrong_label"]) for line in lines] == (told.labels != true_labels(told)).tolist()


def test_an_autoencoders_report_is_seen_and_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    places = {"left": (0.0, 0.3), "right": (0.7, 1.0)}
    data = [str(toy.record(tmp_path / name, 40, k, at)) for k, (name, at) in enumerate(places.items())]
    options = [
        "--data",
        ",".join(data),
        "--data.history",
        "2",
        "--data.mismatch",
        "0.2",
        "--num_threads",
        "1",
    ]
    options += [
        "--encoder.video_stream",
        "dense",
        "--encoder.audio_stream",
        "dense",
        "--encoder.attention",
        "none",
    ]
    options += ["--recipe.batch_size", "30", "--curriculum", "self-paced", "--num_drawn", "0", *PACED]
    assert cli.main(["pretrain", "autoencoder", *options]) == 0
    (folder,) = (tmp_path / "runs" / "autoencoder").iterdir()
    assert cli.main(["report", "curriculum", str(folder)]) == 0
    assert written(folder) == ["easiest.wav", "hardest.wav", "rounds.png", "samples.csv", "samples.png"]
    lines = list(csv.DictReader((folder / "curriculum" / "samples.csv").read_text().splitlines()))
    assert sum(int(line["another's_sound"]) for line in lines) == 16


def test_an_agents_report_shows_its_memory(smoke: Callable, capsys):
    from spl.agents.train import train_agent

    folder = train_agent(
        smoke("--num_steps", "120", "--curriculum.name", "self-paced", "--curriculum.warmup", "0.1")
    ).folder
    assert cli.main(["report", "curriculum", str(folder)]) == 0
    assert "mean loss learned" in capsys.readouterr().out
    assert written(folder) == ["replay.png", "samples.png"]
    with Image.open(folder / "curriculum" / "samples.png") as picture:
        assert picture.size[0] > 500
    folder = train_agent(
        smoke("--num_steps", "80", "--save_memory", "false", "--curriculum.name", "prioritized")
    ).folder
    assert cli.main(["report", "curriculum", str(folder)]) == 0
    assert "The memory was not saved" in capsys.readouterr().out
    assert written(folder) == ["replay.png"]


def test_help_is_no_mistake(capsys):
    assert cli.main(["report", "curriculum", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: spl report curriculum RUN\n")


def test_what_cannot_be_reported_is_one_sentence(smoke: Callable, tiny: Callable, capsys, tmp_path: Path):
    from spl.agents.train import train_agent
    from tests.classify.test_curriculum import train

    plain, agent = train(tiny("--recipe.epochs", "1")).folder, train_agent(smoke("--num_steps", "60")).folder
    cases = {
        (str(plain),): "kept no rounds: only runs with a curriculum do",
        (str(agent),): "had no curriculum: train with --curriculum self-paced",
        (str(tmp_path),): "is not a run directory",
        (str(plain), "--out", "x"): "takes one run and no options, got --out",
        (): "give the run directory: spl report curriculum runs/classifier/...",
    }
    capsys.readouterr()
    for words, sentence in cases.items():
        assert cli.main(["report", "curriculum", *words]) == 2, words
        told = capsys.readouterr().err
        assert sentence in told
        assert told.count("\n") == 1
