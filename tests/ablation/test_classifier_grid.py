"""`spl ablate classifier` as a user meets it: a tiny grid, stopped and resumed, reported and refused."""

import csv
from pathlib import Path

import numpy as np
import pytest

from spl.ablation.grid import Ablation
from spl.ablation.statistics import read_seeds
from spl.attention import ATTENTION
from spl.classify import training
from spl.classify.ablation import ablate
from spl.classify.ablation.ablate import ablate_classifier
from spl.classify.ablation.grid import ALIASES, AblateClassifierConfig, cell_of, variants_of
from spl.cli import main as cli
from spl.config.errors import RunError, UsageError
from spl.config.parse import parse
from spl.data.images.datasets import load_images

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
    argv = ["ablate", "classifier", *words, "--attention", "se,none", "--seeds", "0"]
    assert cli.main(argv) == 1
    told = capsys.readouterr().out
    assert "PARTIAL: 1 of 2 cells, 1 failed" in told
    assert "Failed: resnet20 + se, seed 0: update 1 was not taken: the loss is nan" in told
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    assert [row["state"] for row in rows_of(folder)] == ["failed", "finished"]
    monkeypatch.setattr(training.Training, "_learn", learn)
    assert cli.main(["ablate", "classifier", "--resume", str(folder)]) == 0
    assert [row["state"] for row in rows_of(folder)] == ["finished"] * 2


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
    assert cli.main([*again, "--vary.recipe.epochs", "3"]) == 2  # one value names no folder of its own
    assert (
        "none has begun with recipe.epochs 2, which would now be 3: leave it out" in capsys.readouterr().err
    )
    assert cli.main([*again, "--seeds", "0-1"]) == 0
    assert "cells      2 (1 x 2, networks x seeds), 1 finished" in capsys.readouterr().err


def test_a_refused_grid_leaves_no_folder(words, tmp_path, capsys):
    for bad, sentence in (
        (["--attention", "ham", "--lambda", "0.5,1"], "share must leave both groups channels, got 1"),
        (["--attention", "csm", "--order", "up"], "order must be "),
        (["--attention", "se", "--attention.stages", "3,4"], "in 1..3, the stages of resnet20, got 4"),
        (
            ["--transfer.peer", "resnet20", "--vary.transfer.weights", "a/b,a_b"],
            "2 would lie in cells/a_b-none",
        ),
        (["--vary.recipe.epochs", "2,0"], "recipe: epochs must be at least 1, got 0"),
        (["--vary.recipe.epochs", "2,many"], "'recipe.epochs' must be an int of at least 1, got 'many'"),
        (["--model", "resnet20,squeezenet1_1"], "squeezenet1_1 needs pictures of at least 17 x 17"),
    ):
        assert cli.main(["ablate", "classifier", *words, *bad]) == 2
        assert sentence in capsys.readouterr().err
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
    tried = names("--attention", "se", "--order", "cam-sam,sam-cam", "--lambda", "0.5,0.8")
    assert tried == ["se-cam-sam-0.5", "se-cam-sam-0.8", "se-sam-cam-0.5", "se-sam-cam-0.8"]


def test_networks_and_options_of_the_training_are_varied_too():
    config = read(
        *(
            "--model",
            "resnet20,squeezenet1_1",
            "--attention",
            "none,csm",
            "--attention.order",
            "sam-cam,cam-sam",
        ),
        *("--vary.recipe.epochs", "2,4", "--vary.recipe.milestones", "[[1], [1, 2]]"),
    )
    found = variants_of(config)
    assert len(found) == 2 * 2 * 2 * 3
    first, last = found[0], found[-1]
    assert (first.name, last.name) == ("resnet20-2-1-none", "squeezenet1_1-4-1+2-csm-cam-sam")
    assert last.label("resnet20") == "squeezenet1_1 + csm (epochs = 4, milestones = 1+2, cam-sam)"
    assert (first.baseline, last.baseline) == (first.name, "squeezenet1_1-4-1+2-none")
    cell = cell_of(config, last, 7)
    assert (cell.seed, cell.model.name, cell.model.attention) == (7, "squeezenet1_1", "csm")
    assert (cell.recipe.epochs, cell.recipe.milestones) == (4, (1, 2))
    assert cell.model.attention_options == {"order": "cam-sam"}


def test_places_of_attention_are_tried_with_what_has_them():
    words = (
        "--attention",
        "none,se,shared,rcca",
        "--attention.stages",
        "1,3",
        "--attention.per",
        "block,stage",
    )
    assert names(*words) == [
        "none",
        *("1-block-se", "1-stage-se", "3-block-se", "3-stage-se"),
        *("1-shared", "3-shared", "rcca"),
    ]
    found = variants_of(read(*words))
    assert {variant.baseline for variant in found} == {"none"}
    assert found[3].label("resnet20") == "resnet20 + se (stage 3, per block)"
    assert cell_of(read(*words), found[3], 0).model.attention_stages == (3,)


def test_where_each_network_has_one_variant_the_first_is_the_baseline():
    found = variants_of(read("--model", "resnet20,resnet32", "--attention", "se"))
    assert [(variant.name, variant.baseline) for variant in found] == [
        ("resnet20-se", "resnet20-se"),
        ("resnet32-se", "resnet20-se"),
    ]
    (only,) = variants_of(read("--model", "resnet32", "--attention", "se"))
    assert (only.name, only.label("resnet20")) == ("se", "resnet32 + se"), (
        "one network needs no name of its own"
    )


def test_a_grid_that_was_made_before_is_read_as_it_was(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("attention: [none, csm, ham]\norder: [cam-sam, sam-cam]\nseparation: [0.5]\n")
    assert names("--config", str(file)) == ["none", "csm-cam-sam", "csm-sam-cam", "ham-0.5"]
    file.write_text("attention: [none, csm]\norder: []\nseparation: []\nseeds: 0-2\n")
    assert names("--config", str(file)) == ["none", "csm"]


def test_a_grid_over_networks_end_to_end(words, tmp_path, capsys):
    grid = ["--model", "resnet20,resnet32", "--attention", "none,se", "--seeds", "0-1"]
    assert cli.main(["ablate", "classifier", *words, "--recipe.epochs", "1", *grid]) == 0
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    told = {row["variant"]: row for row in rows_of(folder, "summary.csv")}
    assert list(told) == ["resnet20-none", "resnet20-se", "resnet32-none", "resnet32-se"]
    assert int(told["resnet32-none"]["parameters"]) > int(told["resnet20-none"]["parameters"])
    errors = {row["variant"]: [] for row in rows_of(folder)}
    for row in rows_of(folder):
        errors[row["variant"]].append(float(row["error"]))
    for network in ("resnet20", "resnet32"):
        row = told[f"{network}-se"]
        assert row["baseline"] == f"{network}-none"
        difference = np.mean(errors[f"{network}-se"]) - np.mean(errors[f"{network}-none"])
        assert float(row["difference"]) == pytest.approx(difference, abs=1e-3)
        assert 0 <= float(row["p"]) <= float(row["p_holm"]) <= 1
    text = (folder / "ablation.md").read_text()
    assert "p (Holm)" in text
    assert "to the first of each network and training (resnet20, resnet32)" in text
    capsys.readouterr()
    again = ["ablate", "classifier", "--resume", str(folder), "--model", "resnet32"]
    assert cli.main(again) == 2
    assert "none of which would be used: a grid grows by further values" in capsys.readouterr().err


def test_a_grid_that_takes_long_is_told_how_long_and_asks_for_yes(words, tmp_path, capsys, monkeypatch):
    argv = ["ablate", "classifier", *words, "--attention", "none,se", "--seeds", "0-999"]
    argv += ["--vary.recipe.learning_rate", "0.1,0.2,0.3,0.4,0.5", "--recipe.epochs", "200"]
    monkeypatch.setattr(ablate.Modules, "_seconds_per_cost", lambda self, entries: 1e-9)
    assert cli.main(argv) == 2
    told = capsys.readouterr().err
    assert "the grid has 10,000 cells, which take about " in told
    assert "by a trial of one update: begin it with --yes, or make it smaller" in told
    assert not list(tmp_path.glob("runs/ablation/*"))
    begun = []
    monkeypatch.setattr(ablate, "ablate", lambda modules, *_, **__: begun.append(modules))
    ablate.ablate_classifier(read(*words, "--seeds", "0-999", "--recipe.epochs", "2000", "--yes"))
    assert begun[0].comparison.num_cells == 4_000
    assert begun[0].comparison.seconds_left() > 8 * 3600


def test_the_trial_takes_an_update_of_the_least_network(words):
    config = read(*words, "--model", "resnet32,resnet20", "--attention", "none", "--seeds", "0")
    modules = ablate.Modules(config, load_images(config.data), is_tried=False)
    assert modules.comparison.seconds_left() is None
    per_cost = modules._seconds_per_cost(modules.comparison.entries)
    assert 1e-13 < per_cost < 1e-7  # a second is a gigaflop on a bad day, and ten teraflops on none
    modules = ablate.Modules(config, load_images(config.data), is_tried=True)
    assert modules.comparison.seconds_left() is None, "of a grid of seconds nobody asks"


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("0,3,7", [0, 3, 7]), ("9, 2-3", [9, 2, 3])]
)
def test_seeds(text, seeds):
    assert read_seeds(text) == seeds


MISTAKES = {
    "unknown module": ("--attention none,csn", "there is no attention 'csn'; did you mean 'csm'?"),
    "falling range": (
        "--seeds 4-0",
        "seeds must be numbers up to 4294967295, such as 0,3,7, or rising ranges, 0-4, got '4-0'",
    ),
    "no number": (
        "--seeds few",
        "seeds must be numbers up to 4294967295, such as 0,3,7, or rising ranges, 0-4, got 'few'",
    ),
    "seed twice": ("--seeds 0-2,1", "seeds must name each seed once, got 1 twice in '0-2,1'"),
    "no module": ("--attention []", "--attention must name at least one module, got none"),
    "module twice": ("--attention se,none,se", "--attention must name each value once, got se twice"),
    "order twice": (
        "--order cam-sam,cam-sam",
        "--vary.attention.order must name each value once, got cam-sam",
    ),
    "network twice": (
        "--model resnet20,resnet20",
        "--vary.model.name must name each value once, got resnet20",
    ),
    "no network": ("--model resnet20,wrn16-4", "there is no network 'wrn16-4'; did you mean 'wrn16-8'?"),
    "order of none": (
        "--order sam-cam --attention none,se",
        "--attention.order is for modules with the option order (csm): name one in --attention, or leave it "
        "out; got --attention none,se",
    ),
    "other images": ("--vary.data.name digits,stl10", "cannot be varied in one grid, whose cells have their"),
    "no option": ("--vary.recipe.epoch 1,2", "no option recipe.epoch to vary; did you mean recipe.epochs?"),
    "module as an option": (
        "--vary.model.attention none,se",
        "name modules in --attention, and their options",
    ),
    "rate of none": (
        "--lambda 0.5 --attention none,se",
        "--attention.share is for modules with the option share (ham): name one",
    ),
    "option of none": (
        "--attention none,eca --model.attention_options.reduction 4",
        "model.attention_options.reduction is for modules with the option reduction (se, ",
    ),
    "order said twice": (
        "--order sam-cam --model.attention_options.order cam-sam",
        "--attention.order and model.attention_options.order say the same: leave one out",
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
