"""`spl ablate classifier` as a user meets it: a tiny grid, stopped and resumed, reported and refused."""

import csv
from pathlib import Path

import numpy as np
import pytest

from spl.ablation.grid import Ablation
from spl.ablation.statistics import read_seeds
from spl.attention import ATTENTION
from spl.classify import training
from spl.classify.ablate import ablate_classifier
from spl.classify.grid import ALIASES, AblateClassifierConfig, variants_of
from spl.cli import main as cli
from spl.config.errors import RunError, UsageError
from spl.config.parse import parse

TINY = "--data folder --data.image_size 16 --data.test_share 0.25 --recipe.epochs 2 --recipe.batch_size 9"


@pytest.fixture
def words(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the options of a grid over tiny images, and go to a folder of its own."""
    monkeypatch.chdir(tmp_path)
    options = f"{TINY} --recipe.learning_rate 0.05 --num-threads 1 --device cpu"
    return ["--data.root", str(pictures), *options.split()]


def read(*argv: str) -> AblateClassifierConfig:
    return parse(AblateClassifierConfig, argv, prog="spl ablate classifier", aliases=ALIASES)


def names(*argv: str) -> list[str]:
    return [variant.name for variant in variants_of(read(*argv))]


def rows_of(folder: Path, name: str = "ablation.csv") -> list[dict[str, str]]:
    """Return the rows of a grid's file but for what the clock says."""
    rows = list(csv.DictReader((folder / name).read_text().splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def mistake(*argv: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(*argv)
    return str(caught.value)


def test_a_grid_end_to_end(words, tmp_path, capsys):
    argv = ["ablate", "classifier", *words, "--attention", "none,se", "--seeds", "0-1"]
    assert cli.main(argv) == 0
    told = capsys.readouterr()
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    assert {"config.yaml", "command.txt", "ablation.md", "ablation.csv", "ablation.png", "summary.csv"} <= {
        path.name for path in folder.iterdir()
    }
    for cell in ("none/seed-0", "none/seed-1", "se/seed-0", "se/seed-1"):
        assert (folder / "cells" / cell / "result.json").is_file()
    assert "cell       4 of 4: resnet20 + se, seed 1: error " in told.err
    assert "about 0:00 left" in told.err
    assert "PARTIAL" not in told.out
    assert "resnet20 + se" in told.out
    assert "one image is 17 %" in " ".join(told.out.split())  # 6 are held out
    cells = rows_of(folder)
    assert [(row["variant"], row["seed"], row["state"]) for row in cells] == [
        ("none", "0", "finished"),
        ("none", "1", "finished"),
        ("se", "0", "finished"),
        ("se", "1", "finished"),
    ]
    baseline, other = rows_of(folder, "summary.csv")
    errors = [float(row["error"]) for row in cells]
    assert float(other["difference"]) == pytest.approx(np.mean(errors[2:]) - np.mean(errors[:2]), abs=1e-3)
    assert baseline["difference"] == ""
    assert int(other["parameters"]) > int(baseline["parameters"])
    assert "| resnet20 + se |" in (folder / "ablation.md").read_text()


def run_grid(words: list[str], runs: str, resume: Path | None = None) -> Ablation:
    config = read(*words, "--attention", "none,se", "--seeds", "3,1", "--runs", runs)
    return ablate_classifier(config, resume=resume, command=["spl"])


def test_a_grid_that_was_stopped_goes_on_to_what_one_left_alone_gives(words, monkeypatch, capsys):
    alone = run_grid(words, "alone")
    assert alone.is_finished
    learn, num_learned = training.Training._learn, [0]

    def stopping(self, batch):
        learn(self, batch)
        num_learned[0] += 1
        if num_learned[0] in (7, 10):  # in the midst of the second cell, and of the third
            self.stop.stop()

    monkeypatch.setattr(training.Training, "_learn", stopping)
    stopped = run_grid(words, "stopped")
    assert not stopped.is_finished
    told = capsys.readouterr().err
    assert (
        f"stopped with 1 of 4 cells finished; resume with: spl ablate classifier --resume {stopped.folder}"
        in told
    )
    assert (stopped.folder / "ablation.md").read_text().startswith("# Ablation, PARTIAL: 1 of 4 cells\n")
    assert not run_grid(words, "stopped", stopped.folder).is_finished
    resumed = run_grid(words, "stopped", stopped.folder)
    assert resumed.is_finished
    assert rows_of(resumed.folder) == rows_of(alone.folder)
    assert rows_of(resumed.folder, "summary.csv") == rows_of(alone.folder, "summary.csv")
    assert [entry.outcomes[3].curves for entry in resumed.comparison.entries] == [
        entry.outcomes[3].curves for entry in alone.comparison.entries
    ]
    assert num_learned[0] == 4 * 4, "what was finished is not trained again"


def test_a_cell_that_fails_is_told_and_the_others_go_on(words, monkeypatch, capsys, tmp_path):
    learn = training.Training._learn

    def failing(self, batch):
        if self.config.model.attention == "se" and self.config.seed == 0:
            raise RunError("update 1 was not taken: the loss is nan")
        learn(self, batch)

    monkeypatch.setattr(training.Training, "_learn", failing)
    argv = ["ablate", "classifier", *words, "--attention", "none,se", "--seeds", "0-1"]
    assert cli.main(argv) == 1
    told = capsys.readouterr().out
    assert "PARTIAL: 3 of 4 cells, 1 failed" in told
    assert "Failed: resnet20 + se, seed 0: update 1 was not taken: the loss is nan" in told
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    assert [row["state"] for row in rows_of(folder)] == ["finished", "finished", "failed", "finished"]
    monkeypatch.setattr(training.Training, "_learn", learn)
    assert cli.main(["ablate", "classifier", "--resume", str(folder)]) == 0
    assert [row["state"] for row in rows_of(folder)] == ["finished"] * 4


def test_a_grid_may_grow_and_keeps_the_rest(words, monkeypatch, capsys, tmp_path):
    argv = ["ablate", "classifier", *words, "--attention", "none", "--seeds", "0"]
    assert cli.main(argv) == 0
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    again = ["ablate", "classifier", "--resume", str(folder)]
    assert cli.main([*again, "--recipe.epochs", "3"]) == 2
    assert "a resumed run keeps its configuration, got --recipe.epochs 3" in capsys.readouterr().err
    cell = str(folder / "cells" / "none" / "seed-0")
    assert cli.main(["ablate", "classifier", "--resume", cell]) == 2
    assert "seed-0 is the run of one classifier, expected a grid of them" in capsys.readouterr().err
    assert cli.main([*again, "--seeds", "0-1"]) == 0
    assert "cells      2 (1 x 2, networks x seeds), 1 finished" in capsys.readouterr().err


def test_a_refused_grid_leaves_no_folder(words, tmp_path, capsys):
    argv = ["ablate", "classifier", *words, "--attention", "se"]
    assert cli.main([*argv, "--model.attention_options.reduction", "-1"]) == 2
    assert cli.main([*argv, "--device", "cuda:99"]) == 2
    assert "device must be" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/ablation/*"))


def test_options_go_to_the_modules_that_have_them_once_for_each_value():
    argv = ("--attention", "none,se,csm")
    assert names(*argv) == ["none", "se", "csm"]
    config = read(*argv, "--order", "sam-cam,cam-sam", "--model.attention_options.reduction", "4")
    found = variants_of(config)
    assert [variant.name for variant in found] == ["none", "se", "csm-sam-cam", "csm-cam-sam"]
    assert [variant.options for variant in found] == [
        {},
        {"reduction": 4},
        {"reduction": 4, "order": "sam-cam"},
        {"reduction": 4, "order": "cam-sam"},
    ]
    assert [variant.label("resnet20") for variant in found] == [
        "resnet20",
        "resnet20 + se",
        "resnet20 + csm (sam-cam)",
        "resnet20 + csm (cam-sam)",
    ]


def test_separation_rates_go_to_the_modules_that_have_a_share():
    found = variants_of(read("--attention", "none,ham,se", "--lambda", "0.5,0.8"))
    assert [variant.name for variant in found] == ["none", "ham-0.5", "ham-0.8", "se"]
    assert found[1].options == {"share": 0.5}
    assert found[1].label("resnet56") == "resnet56 + ham (λ = 0.5)"


def test_a_module_with_both_is_tried_with_each_pair(monkeypatch):
    def both(channels: int, *, share: float, order: str) -> None:
        raise AssertionError

    monkeypatch.setitem(ATTENTION, "se", both)
    tried = names("--attention", "se", "--lambda", "0.5,0.8", "--order", "cam-sam,sam-cam")
    assert tried == ["se-cam-sam-0.5", "se-cam-sam-0.8", "se-sam-cam-0.5", "se-sam-cam-0.8"]


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("0,3,7", [0, 3, 7]), ("9, 2-3", [9, 2, 3])]
)
def test_seeds(text, seeds):
    assert read_seeds(text) == seeds


MISTAKES = {
    "unknown module": ("--attention none,csn", "there is no attention 'csn'; did you mean 'csm'?"),
    "falling range": (
        "--seeds 4-0",
        "seeds must be numbers or rising ranges, such as 0-4 or 0,3,7, got '4-0'",
    ),
    "no number": ("--seeds few", "seeds must be numbers or rising ranges, such as 0-4 or 0,3,7, got 'few'"),
    "seed twice": ("--seeds 0-2,1", "seeds must name each seed once, got 1 twice in '0-2,1'"),
    "no module": ("--attention []", "--attention must name at least one module, got none"),
    "module twice": ("--attention se,none,se", "--attention must name each value once, got se twice"),
    "order twice": ("--order cam-sam,cam-sam", "--order must name each value once, got cam-sam twice"),
    "rate of 1": ("--lambda 0.5,1", "separation must all be in (0, 1), got 1.0"),
    "rate of 0": ("--lambda 0", "separation must all be in (0, 1), got 0.0"),
    "no order": ("--order up", "--order must be a list, each one of 'cam-sam', 'sam-cam', got 'up'"),
    "order of none": (
        "--order sam-cam --attention none,se",
        "--order is for modules with the option order (csm): name one in --attention, or leave it out; "
        "got --attention none,se",
    ),
    "rate of none": (
        "--lambda 0.5 --attention none,se",
        "--lambda is for modules with the option share (ham): name one",
    ),
    "option of none": (
        "--attention none,eca --model.attention_options.reduction 4",
        "model.attention_options.reduction is for modules with the option reduction (se, ",
    ),
    "order said twice": (
        "--order sam-cam --model.attention_options.order cam-sam",
        "--order and model.attention_options.order say the same: leave one out",
    ),
    "module said twice": ("--model.attention se", "leave model.attention out, or at none, got 'se'"),
    "one seed": ("--seed 3", "--seeds names the seeds of a grid: leave seed out, got 3"),
    "restarts": ("--restarts 2", "which no comparison may: leave them at 1, got 2"),
    "what training refuses": ("--recipe.epochs 0", "recipe: epochs must be at least 1, got 0"),
}


@pytest.mark.parametrize(("argv", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_is_one_sentence(argv, sentence):
    told = mistake(*argv.split())
    assert sentence in told
    assert "\n" not in told
