"""``spl train agent --seeds``: one folder, one table, one page; grown and trained on; what is refused."""

import json
from pathlib import Path

import pytest

from spl.ablation.comparison import Comparison, Entry, Outcome
from spl.ablation.tables import by_measure
from spl.agents.config import read_run
from spl.agents.studies.seeds import FINAL, note_on, summary_of, table_of
from spl.cli import main as cli

TINY = "--config smoke/agent --env.kwargs.num_rounds 2 --num_steps 44 --num_threads 1 --device cpu"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the runs of two seeds."""
    place = tmp_path_factory.mktemp("seeds")
    words = ["train", "agent", *TINY.split(), "--seeds", "0,3", "--runs", str(place)]
    assert cli.main(words) == 0
    (folder,) = (place / "agent").iterdir()
    return folder


def test_each_seed_is_an_ordinary_run_as_if_started_alone(trained, tmp_path, capsys):
    assert read_run(trained / "seed-3").seed == 3
    words = ["train", "agent", *TINY.split(), "--seed", "3", "--runs", str(tmp_path)]
    assert cli.main(words) == 0
    (alone,) = (tmp_path / "agent").iterdir()
    weights = [
        (one / "checkpoints/last/tensors.safetensors").read_bytes() for one in (alone, trained / "seed-3")
    ]
    assert weights[0] == weights[1]
    assert cli.main(["evaluate", "agent", str(trained)]) == 2
    assert "has the runs of several seeds: give one of them, such as" in capsys.readouterr().err


def test_the_page_has_the_curves_of_all_and_their_returns(trained):
    assert cli.main(["report", str(trained)]) == 0
    page = (trained / "report.html").read_text()
    assert "spl train agent --seeds · seeds 0,3" in page
    assert "Return at the end of training" in page
    assert "seed 3" in page
    assert "s t over the seeds." in page, "Student, escaped"


def test_seeds_and_steps_are_added_on_resume(trained, capsys):
    before = json.loads((trained / "seeds.json").read_text())
    words = ["train", "agent", "--resume", str(trained)]
    assert cli.main([*words, "--seeds", "0,3,5"]) == 0
    told = json.loads((trained / "seeds.json").read_text())
    assert told["runs"].keys() == {"0", "3", "5"}
    assert all(told["runs"][seed] == before["runs"][seed] for seed in ("0", "3"))
    assert "1 finished" not in capsys.readouterr().err
    assert cli.main([*words, "--seeds", "3", "--num_steps", "50"]) == 0
    assert read_run(trained / "seed-3").num_steps == 50
    assert read_run(trained / "seed-0").num_steps == 44
    assert cli.main(["train", "agent", "--resume", str(trained / "seed-0"), "--seeds", "0-1"]) == 2
    assert "is the run of one seed" in capsys.readouterr().err


def test_a_summary_by_hand():
    """Of 1..8 the mean is 4.5 and s^2 = 6; t(0.975, 7) = 2.36462, so half the interval is 2.04780."""
    layout = by_measure("training", [FINAL])
    entry = Entry("training", "Beacon")
    comparison = Comparison([entry], range(9), (FINAL,), (), (), layout)
    assert summary_of(comparison)["mean"] is None
    for seed, value in enumerate([8.0, 1.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]):
        entry.outcomes[seed] = Outcome({"return": value}, 60.0, {})
        if seed == 0:
            assert summary_of(comparison)["interval_95"] == [None, None]
    entry.failures[8] = "it broke"
    told = summary_of(comparison)
    assert told["mean"] == 4.5
    low, high = told["interval_95"]
    assert (low, high) == (pytest.approx(4.5 - 2.04780, abs=1e-4), pytest.approx(4.5 + 2.04780, abs=1e-4))
    rows = table_of(told)[1]
    assert rows[0][:3] == ["mean", "4.50", "2.45 … 6.55"]
    assert rows[1] == ["seed 0", "8.00", "", "1:00"]
    assert rows[-1][:2] == ["seed 8", "failed"]
    assert note_on(told).endswith("Seed 8 failed: it broke.")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seed", "3", "--seeds", "0-4"], "--seed and --seeds both say with which seeds to train"),
        (["--seed", "0", "--seeds", "0-4"], "--seed and --seeds both say with which seeds to train"),
        (["--parallel", "2"], "parallel 2 is for several seeds: name them, --seeds 0-4"),
        (
            ["--seeds", "4-0"],
            "seeds must be numbers up to 4294967295, such as 0,3,7, or rising ranges, 0-4, got '4-0'",
        ),
        (["--seeds", "4294967296"], "seeds must be numbers up to 4294967295"),
        (["--seeds", "1,1"], "seeds must name each seed once, got 1 twice"),
        (["--seeds", "0-1", "--restarts", "3"], "restarts keep one of several seeds, and seeds keep all"),
        (["--seeds", "0-1", "--parallel", "0"], "parallel must be at least 1, got 0"),
        (["--seeds", "0-1", "--jobs", "2"], "did you mean --parallel"),
    ],
)
def test_what_makes_no_sense_is_refused(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "agent", *TINY.split(), *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_runs_too_short_for_a_row_are_told_as_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*TINY.replace("_steps 44", "_steps 2").split(), "--env.kwargs.num_rounds", "9", "--seeds", "0-1"]
    assert cli.main(["train", "agent", *words]) == 1
    told = capsys.readouterr()
    assert "finished: 0 of 2 cells; 2 failed" in told.err
    assert "ended before its first row: train it for longer" in told.out + told.err
