"""Runs made before the packages (at c0c4608): they are resumed, evaluated and reported as they were then.

``tests/data/runs_before`` holds a run of each training, stopped on the way, with what it learns from, and a
whole grid of curricula and one of attention modules (at fc4ca16), both without checkpoints; and a run of an
agent that trains its streams apart (at 2803e9e), whose networks still had a joint code. The classifier's
weights are rounded to powers of two and its momenta are zero, so that the archive is small. ``expected.json``
has the last row that the code of then wrote when it resumed each run.
"""

import csv
import json
import re
import tarfile
from pathlib import Path

import pytest

from spl.cli.main import main

BEFORE = Path(__file__).parent.parent / "data" / "runs_before"
EXPECTED = json.loads((BEFORE / "expected.json").read_text())
RESUMED = {
    "agent": ("train agent", 22),
    "mdqn": ("train agent", 20),
    "autoencoder": ("pretrain autoencoder", 7),
    "classifier": ("train classifier", 6),
}
FEW_EPISODES = ("--num_episodes", "1", "--num_seeds", "1")


def unpacked(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack the runs of a kind, go to the folder that they were made from, and return the run."""
    with tarfile.open(BEFORE / f"{kind}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    (config,) = Path().glob("*/*/*/config.yaml")
    return config.parent


def spl(*words: str) -> None:
    assert main([*words]) == 0


@pytest.mark.parametrize("kind", RESUMED)
def test_a_run_of_before_resumes_to_the_numbers_of_then(kind, tmp_path, monkeypatch, capsys):
    run = unpacked(kind, tmp_path, monkeypatch)
    command, step = RESUMED[kind]
    (saved,) = (run / "checkpoints").glob("step-*")
    assert int(saved.name.removeprefix("step-")) == step
    rows = len((run / "metrics.jsonl").read_text().splitlines())
    spl(*command.split(), "--resume", str(run))
    after = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()[rows:]]
    assert step < after[0]["step"] <= after[-1]["step"]
    for name, value in EXPECTED[kind].items():
        assert after[-1][name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("kind", RESUMED)
def test_a_run_of_before_is_evaluated_and_reported(kind, tmp_path, monkeypatch, capsys):
    run = unpacked(kind, tmp_path, monkeypatch)
    of = RESUMED[kind][0].split()[1]
    spl("evaluate", of, str(run), *(FEW_EPISODES if of == "agent" else ()))
    spl("report", str(run))
    assert of in (run / "report.html").read_text()


def test_a_grid_of_before_is_reported_and_resumed(tmp_path, monkeypatch, capsys):
    grid = unpacked("ablation", tmp_path, monkeypatch)
    before = (grid / "summary.csv").read_text()
    spl("report", str(grid))
    spl("ablate", "curriculum", "--of", "autoencoder", "--resume", str(grid))
    assert (grid / "summary.csv").read_text() == before


def test_a_grid_of_modules_of_before_is_reported_and_resumed(tmp_path, monkeypatch, capsys):
    grid = unpacked("modules", tmp_path, monkeypatch)
    files = [grid / name for name in ("summary.csv", "ablation.csv")]
    before = [list(csv.DictReader(path.read_text().splitlines())) for path in files]
    table = table_in(grid)
    assert table[-1].startswith("| resnet20 + se | 0.272 M | 40.6 M | 50.14 ± 8.27 | 44.29 | +31.06 [")
    spl("report", str(grid))
    page = (grid / "report.html").read_text()
    assert all(cell in page for line in table for cell in line.strip("| ").split(" | "))
    spl("ablate", "classifier", "--resume", str(grid))
    for path, rows in zip(files, before, strict=True):
        for row, now in zip(rows, csv.DictReader(path.read_text().splitlines()), strict=True):
            assert [*now][: len(row)] == [*row], "new columns come behind those of before"
            assert [*row.values()] == [shortened(value) for value in now.values()][: len(row)]
    titles, *cells = (
        [line.strip("| ").split(" | ") for line in lines] for lines in zip(table, table_in(grid), strict=True)
    )
    assert titles == [
        ["architecture", "parameters", "MACs", "error %", "best", "difference [95 %]", "seeds"],
        [
            "architecture",
            "parameters",
            "MACs",
            "error % [95 %]",
            "best",
            "difference [95 %]",
            "p (Holm)",
            "seeds",
        ],
    ]
    for then, now in cells:
        assert [*now[:3], now[4], now[5], now[7]] == [*then[:3], *then[4:]]
        assert now[3].split(" [")[0] == then[3].split(" ± ")[0]


def table_in(grid: Path) -> list[str]:
    """Return the lines of a grid's table but for the rule."""
    lines = (grid / "ablation.md").read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and ":--" not in line]


def shortened(text: str) -> str:
    """Return a number with the four digits behind the point that it had before, and others as they are."""
    return str(round(float(text), 4)) if "." in text else text


@pytest.mark.parametrize("kind", [*RESUMED, "ablation", "modules"])
def test_no_file_of_a_run_names_a_module(kind, tmp_path, monkeypatch, capsys):
    run = unpacked(kind, tmp_path, monkeypatch)
    if kind in RESUMED:  # what is written now as well
        spl(*RESUMED[kind][0].split(), "--resume", str(run))
    files = [path for path in run.rglob("*") if path.suffix in (".yaml", ".json", ".jsonl", ".csv")]
    assert len(files) >= 5
    for path in files:
        assert not re.search(r"\bspl\.[a-z]", path.read_text()), path
