"""``scripts/figures/maps_table.py``: classifiers judged by their maps, over seeds."""

import io
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from spl.classify.config import TrainClassifierConfig
from spl.classify.train import train_classifier

SCRIPT = Path(__file__).parents[2] / "scripts" / "figures" / "maps_table.py"


@pytest.mark.slow
def test_pairs_of_two_seeds_are_compared_with_the_same_alone(
    tiny: Callable[..., TrainClassifierConfig],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    folders = []
    for words in (["--transfer.weight", "0"], []):
        for seed in ("0", "1"):
            config = tiny("--transfer.peer", "resnet20", "--recipe.epochs", "1", "--seed", seed, *words)
            folders.append(train_classifier(config, command=[], console=Console(file=io.StringIO())).folder)
    words = ["--transfer.weights", str(folders[0]), "--transfer.kind", "attention", "--recipe.epochs", "1"]
    config = tiny("--transfer.peer", "resnet20", "--seed", "0", *words)
    folders.append(train_classifier(config, command=[], console=Console(file=io.StringIO())).folder)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, folders), "--num_measured", "1"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    taught = rows.pop(1)
    assert taught[:4] == ["resnet20", "none", "attention of a teacher, weight 1", "1"], "who is not judged"
    assert [row[:4] for row in rows] == [
        [network, "none", how, "2"]
        for network in ("resnet20", "resnet20, the peer")
        for how in ("alone", "maps, weight 1")
    ]
    assert rows[0][9:] == ["-", "-"]
    assert all(" ± " in cell for row in rows for cell in row[4:9])
    assert all("[" in cell for row in (rows[1], rows[3]) for cell in row[9:])


def test_a_second_run_of_a_seed_is_refused(
    tiny: Callable[..., TrainClassifierConfig],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    config = tiny("--recipe.epochs", "1")
    folder = train_classifier(config, command=[], console=Console(file=io.StringIO())).folder
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(folder), str(folder), "--num_measured", "3"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert f"{folder} is a second run of resnet20, none, alone with seed 0" in capsys.readouterr().err


def test_the_table_by_hand():
    script = runpy.run_path(str(SCRIPT))
    setting = script["Setting"]

    def values(*drops: float) -> dict[str, dict[int, float]]:
        seeds = dict(enumerate(drops))
        same = dict.fromkeys(seeds, 0.5)
        return {
            "top1": dict.fromkeys(seeds, 90.0),
            "average_drop": seeds,
            "average_increase": seeds,
            "insertion": same,
            "deletion": same,
        }

    found = {
        setting("resnet20", "none", "maps, weight 1"): values(30.0, 34.0),
        setting("resnet20", "none", "alone"): values(40.0, 42.0),
        setting("resnet20", "se", "alone"): values(40.0, 44.0),
        setting("resnet32", "none", "maps, weight 1"): values(20.0),
    }
    lines = script["table"](found)[2:]
    same = "0.500 ± 0.000 | 0.500 ± 0.000"
    assert (
        lines[0] == f"| resnet20 | none | alone | 2 | 90.0 ± 0.0 | 41.0 ± 1.4 | 41.0 ± 1.4 | {same} | - | - |"
    )
    # The differences are 0 and 2: 1 -+ 12.7062 sqrt(2) / sqrt(2), and -10 and -8.
    for line, means, told in (
        (lines[1], "se | alone | 2 | 90.0 ± 0.0 | 42.0 ± 2.8 | 42.0 ± 2.8", "+1.0 [-11.7, +13.7]"),
        (lines[2], "none | maps, weight 1 | 2 | 90.0 ± 0.0 | 32.0 ± 2.8 | 32.0 ± 2.8", "-9.0 [-21.7, +3.7]"),
    ):
        assert line == f"| resnet20 | {means} | {same} | {told} | {told} |"
    assert lines[3] == "| resnet32 | none | maps, weight 1 | 1 | 90.0 | 20.0 | 20.0 | 0.500 | 0.500 | - | - |"
