"""`spl ablate curriculum`: what its cells are, that a stopped grid goes on, what is refused."""

import csv
import json
from pathlib import Path

import pytest
import seen_and_heard as toy

from spl.ablation.curriculum_options import APART, subject_of
from spl.ablation.curriculum_task import Curricula
from spl.agents.studies.curriculum_ablation import CurriculaConfig as OfAgent
from spl.agents.studies.curriculum_ablation import Learner as Agent
from spl.agents.studies.curriculum_ablation import return_in_training
from spl.agents.training import Training
from spl.classify import training
from spl.classify.curriculum_ablation import ALIASES, CurriculaConfig, Learner
from spl.cli import main as cli
from spl.config.errors import RunError, UsageError
from spl.config.parse import parse
from spl.curriculum import CurriculumConfig
from spl.pretrain.studies.curriculum_ablation import ALIASES as WORDS
from spl.pretrain.studies.curriculum_ablation import CurriculaConfig as OfAutoencoder
from spl.pretrain.studies.curriculum_ablation import Learner as Autoencoder
from spl.runs.files import read_rows

TINY = "--data folder --data.image_size 16 --data.test_share 0.25 --recipe.epochs 3 --recipe.batch_size 9"


@pytest.fixture
def words(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    options = f"{TINY} --recipe.learning_rate 0.05 --num-threads 1 --device cpu --label-noise 0.4"
    return ["--data.root", str(pictures), *options.split()]


def read(*argv: str) -> CurriculaConfig:
    return parse(CurriculaConfig, argv, prog="spl ablate curriculum", aliases=ALIASES)


def rows_of(folder: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((folder / "ablation.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_stopped_grid_goes_on_without_training_again(words, monkeypatch, capsys, tmp_path):
    learn, learned = training.Training._learn, []

    def stopping(self, batch):
        learn(self, batch)
        learned.append(str(self.folder))
        if len(learned) == 8:  # within the first restart
            self.stop.stop()

    monkeypatch.setattr(training.Training, "_learn", stopping)
    grid = ["--variants", "uniform,restarts", "--restarts", "2", "--seeds", "3"]
    assert cli.main(["ablate", "curriculum", *words, *grid]) == 130
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    assert (
        f"resume with: spl ablate curriculum --resume runs/ablation/{folder.name}" in capsys.readouterr().err
    )
    assert cli.main(["ablate", "curriculum", "--resume", str(folder)]) == 0
    assert len(learned) == 12, "2 updates an epoch, 3 epochs alone and 2 + 1 of the restarts"
    assert sum("uniform" in one for one in learned) == sum("restart-" in one for one in learned) == 6
    assert [row["state"] for row in rows_of(folder)] == ["finished"] * 2
    assert [float(row["flipped"]) for row in rows_of(folder)] == pytest.approx([700 / 18] * 2, abs=1e-4)
    cell = folder / "cells" / "restarts" / "seed-3"
    losses = [
        json.loads((cell / f"restart-{number}" / "metrics.jsonl").read_text().splitlines()[-1])
        for number in range(2)
    ]
    found = json.loads((cell / "outcome.json").read_text())
    best = min(losses, key=lambda row: row["train/loss"])
    assert found["measures"]["accuracy"] == pytest.approx(100 * best["test/top1"])
    assert (folder / "ablation.png").stat().st_size > 1000
    table = (folder / "ablation.md").read_text()
    assert table.startswith("# Ablation\n")
    assert "one with the lowest loss over its last epoch counts" in table
    assert cli.main(["report", str(folder)]) == 0, "a grid has a page"
    page = (folder / "report.html").read_text()
    assert "Accuracy of each seed" in page
    assert "one with the lowest loss over its last epoch counts" in page


def test_a_restart_that_fails_leaves_the_others_of_its_cell(words, monkeypatch, capsys, tmp_path):
    learn = training.Training._learn

    def fail(self, batch):
        if self.folder.name == "restart-0":
            raise RunError("planted")
        learn(self, batch)

    monkeypatch.setattr(training.Training, "_learn", fail)
    grid = ["--variants", "uniform,restarts", "--restarts", "2", "--seeds", "3"]
    assert cli.main(["ablate", "curriculum", *words, *grid]) == 0
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    found = json.loads((folder / "cells" / "restarts" / "seed-3" / "outcome.json").read_text())
    assert (found["run"], found["failed"]) == ("restart-1", {"restart-0": "planted"})
    assert "seed-3, restart-0 failed: planted" in capsys.readouterr().err


def test_a_grid_of_an_autoencoder_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"left": (0.0, 0.3), "right": (0.7, 1.0)}
    folders = {
        (part, name): str(toy.record(tmp_path / part / name, 40, k, at))
        for part in ("learn", "judge")
        for k, (name, at) in enumerate(places.items())
    }
    learn, judge = (",".join(folders[part, name] for name in places) for part in ("learn", "judge"))
    options = f"--data {learn} --test {judge} --data.mismatch 0.25 --data.history 1 --recipe.epochs 2"
    dense = "--encoder.video_stream dense --encoder.audio_stream dense --encoder.attention none"
    grid = "--variants uniform,self-paced --seeds 0,1 --recipe.batch_size 40 --num_threads 1 --num_drawn 0"
    words = f"{options} {dense} {grid} --curriculum.warmup 0.5 --curriculum.over 1".split()
    assert cli.main(["ablate", "curriculum", "--of", "autoencoder", *words]) == 0
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    found = {(row["variant"], row["seed"]): row for row in rows_of(folder)}
    assert [row["state"] for row in found.values()] == ["finished"] * 4
    shares = {key: float(row["mismatched"]) for key, row in found.items()}
    assert shares["uniform", "0"] == shares["uniform", "1"] == pytest.approx(25.0)
    assert shares["self-paced", "0"] != pytest.approx(25.0), "the second epoch has a choice of them"
    assert all(0 < float(row["error"]) < 10 for row in found.values())
    assert cli.main(["report", str(folder)]) == 0


@pytest.mark.parametrize("command", [pytest.param("curriculum", marks=pytest.mark.slow), "classifier"])
def test_a_grid_goes_on_with_the_pictures_that_it_began_with(command, words, pictures, tmp_path, capsys):
    broken = pictures / "red" / "broken.png"
    broken.write_text("no picture")
    words = [word.replace("--label-noise", "--data.label_noise") for word in words]
    words += ["--data.skip_broken", "true", "--seeds", "3"]
    words += ["--variants", "uniform"] if command == "curriculum" else ["--attention", "none"]
    assert cli.main(["ablate", command, *words]) == 0
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    assert json.loads((folder / "data.json").read_text())["skipped"] == ["red/broken.png"]
    broken.write_bytes((pictures / "red" / "0.png").read_bytes())  # mended
    assert cli.main(["ablate", command, "--resume", str(folder), "--seeds", "3,4"]) == 0
    assert len(list(folder.glob("cells/*/*/result.json"))) == 2
    (pictures / "red" / "1.png").rename(pictures / "red" / "one.png")  # as many as before
    assert cli.main(["ablate", command, "--resume", str(folder), "--seeds", "3,4,5"]) == 2
    assert "cannot be compared" in capsys.readouterr().err


def test_a_grid_goes_on_with_the_recordings_that_it_began_with(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = toy.record(tmp_path / "learn" / "first", 40, 0, (0.0, 0.3))
    words = "--data learn --data.history 1 --recipe.epochs 1 --variants uniform --seeds 0 --num_drawn 0"
    dense = "--encoder.video_stream dense --encoder.audio_stream dense --encoder.attention none"
    options = [*words.split(), *dense.split(), "--recipe.batch_size", "40", "--num_threads", "1"]
    assert cli.main(["ablate", "curriculum", "--of", "autoencoder", *options]) == 0
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    toy.record(tmp_path / "learn" / "second", 40, 1, (0.7, 1.0))
    assert cli.main(["ablate", "curriculum", "--resume", str(folder), "--seeds", "0,1"]) == 0
    assert [row["state"] for row in rows_of(folder)] == ["finished"] * 2
    assert "second" not in (folder / "data.json").read_text()
    Path(first).rename(tmp_path / "learn" / "third")  # as many samples as before
    assert cli.main(["ablate", "curriculum", "--resume", str(folder), "--seeds", "0,1,2"]) == 2
    assert "first, which is gone" in capsys.readouterr().err


def test_a_grid_of_an_agent_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    smoke = Path(__file__).parents[2] / "configs" / "smoke" / "agent.yaml"
    words = f"--config {smoke} --variants uniform,restarts --seeds 3 --num_episodes 2 --num_steps 100"
    words += " --restarts 2 --curriculum.start 0.4"
    words += " --env.kwargs.num_rounds 4 --num_threads 1 --device cpu"
    learn = Training._learn

    def stopping(self, updates):
        learn(self, updates)
        self.stop.stop()

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_learn", stopping)
        assert cli.main(["ablate", "curriculum", "--of", "agent", *words.split()]) == 130
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    told = capsys.readouterr().err
    assert told.count(f"resume with: spl ablate curriculum --resume runs/ablation/{folder.name}") == 2
    assert "spl train agent --resume" not in told, "a cell alone would leave the grid behind"
    assert cli.main(["ablate", "curriculum", "--resume", str(folder)]) == 0
    assert [(row["variant"], row["seed"], row["state"]) for row in rows_of(folder)] == [
        ("uniform", "3", "finished"),
        ("restarts", "3", "finished"),
    ]
    cell = folder / "cells" / "restarts" / "seed-3"
    returns = [return_in_training(read_rows(cell / f"restart-{number}")) for number in range(2)]
    kept = json.loads((cell / "outcome.json").read_text())["run"]
    assert kept == f"restart-{returns.index(max(returns))}"
    told = (folder / "ablation.md").read_text()
    assert (
        "Restarts: 2 initialisations of 50 steps each, 100 in all; the one with the highest mean ret" in told
    )
    assert (
        cli.main(["ablate", "curriculum", "--resume", str(folder), "--variants", "uniform,spl-to-per"]) == 0
    )
    assert [row["variant"] for row in rows_of(folder)] == ["uniform", "spl-to-per"]
    assert cli.main(["report", str(folder)]) == 0


def test_each_variant_has_the_options_that_it_has(words):
    config = read(*words, "--curriculum.start", "0.4", "--curriculum.scheme", "linear", "--restarts", "3")
    learner = Learner(config)
    cells = {variant: learner.runs(variant, 2) for variant in config.variants}
    assert {name: len(runs) for name, runs in cells.items()} == {
        "uniform": 1,
        "self-paced": 1,
        "anti": 1,
        "random": 1,
        "restarts": 3,
    }
    assert cells["uniform"][0].curriculum == cells["restarts"][0].curriculum == CurriculumConfig()
    paced = {name: cells[name][0].curriculum for name in ("self-paced", "anti", "random")}
    assert [(one.name, one.start, one.scheme) for one in paced.values()] == [
        ("self-paced", 0.4, "linear"),
        ("anti", 0.4, "hard"),
        ("random", 0.4, "hard"),
    ]
    assert [run.seed for run in cells["restarts"]] == [2, 2 + APART, 2 + 2 * APART]
    assert [run.recipe.epochs for run in cells["restarts"]] == [1, 1, 1]
    assert [run.restarts for runs in cells.values() for run in runs] == [1] * 7
    uneven = read(*words, "--recipe.epochs", "8", "--restarts", "3")
    assert [run.recipe.epochs for run in Learner(uneven).runs("restarts", 0)] == [3, 3, 2]


def test_an_agents_variants_have_the_options_that_they_have():
    config = parse(
        OfAgent, ["--curriculum.start", "0.3", "--curriculum.alpha", "0.7"], prog="spl", aliases={}
    )
    agent = Agent(config)
    (told,) = [note for note in Curricula(agent).comparison.notes if note.startswith("Seeds: ")]
    assert told.endswith("have the same environment and first weights, and as many steps."), (
        "not the same data"
    )
    words = ["--variants", "uniform,restarts", "--restarts", "3", "--num_steps", "8000"]
    shared = Agent(parse(OfAgent, words, prog="spl", aliases={})).runs("restarts", 1)
    assert [(run.seed, run.restarts, run.num_steps) for run in shared] == [
        (1, 1, 2667),
        (1 + APART, 1, 2667),
        (1 + 2 * APART, 1, 2666),
    ]
    explored = [(run.agent.epsilon_warmup_steps, run.agent.epsilon_decay_steps) for run in shared]
    assert explored == [(167, 1500), (167, 1500), (167, 1500)], "500 and 4,500 over 8,000 steps"
    assert {run.curriculum for run in shared} == {agent.runs("uniform", 1)[0].curriculum}
    whole = parse(OfAgent, ["--config", "papers"], prog="spl", aliases={})  # whose preset names its own
    assert [Agent(whole).runs(name, 0)[0].curriculum.name for name in whole.variants] == [*whole.variants]
    found = [agent.runs(variant, 1)[0].curriculum for variant in config.variants]
    assert [(one.name, one.start, one.alpha) for one in found] == [
        ("uniform", 0.5, 0.6),
        ("prioritized", 0.5, 0.7),
        ("self-paced", 0.3, 0.6),
        ("spl-to-per", 0.3, 0.7),
    ]


MISTAKES = {
    "name": ("--curriculum.name anti --variants uniform,random", "leave curriculum.name out, got 'anti'"),
    "twice": ("--variants uniform,anti,anti", "must name each curriculum once, got anti twice"),
    "typo": ("--variants uniform,ant", "--variants must be a list, each one of 'uniform', 'self-paced'"),
    "seed": ("--seed 3", "leave seed out, got 3"),
    "restarts": ("--restarts 9 --recipe.epochs 8", "restarts must be in 2..recipe.epochs (8)"),
    "no file": ("--variants uniform,predefined", "need each other: give both, or neither"),
    "high seed": (
        f"--variants uniform,restarts --recipe.epochs 8 --restarts 2 --seeds {2**32 - 1}",
        "the variant restarts cannot be trained: seed must be in 0..4294967295",
    ),
    "no pace": ("--curriculum.pace absolute", "the variant anti cannot be trained: anti needs scheme=hard"),
}


@pytest.mark.parametrize(("argv", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_is_one_sentence(argv, sentence):
    with pytest.raises(UsageError) as caught:
        read(*argv.split())
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


OF_AGENT = {
    "one": ("--restarts 1", "restarts must be in 2..num_steps (8000), which they share, got 1"),
    "no learning": ("--restarts 16", "each learns from memory.min_size (500) transitions on: choose fewer"),
    "pretraining": ("--pretrain_steps 9", "leave restarts out of --variants, or pretrain_steps, got 9"),
    "high seed": (f"--seeds {2**32 - 1}", "the variant restarts cannot be trained: seed must be in 0.."),
}


@pytest.mark.parametrize(("argv", "sentence"), OF_AGENT.values(), ids=OF_AGENT.keys())
def test_each_mistake_of_an_agents_restarts_is_one_sentence(argv, sentence):
    with pytest.raises(UsageError) as caught:
        parse(OfAgent, ["--variants", "uniform,restarts", *argv.split()], prog="spl", aliases={})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_no_run_of_a_variant_could_begin_with_is_refused_before_any_is_trained(words):
    with pytest.raises(UsageError, match=r"missing.npy cannot be read"):
        Learner(read(*words, "--variants", "uniform,predefined", "--difficulty", "missing.npy"))
    with pytest.raises(UsageError, match="self-paced would never choose: the warm-up of 90%"):
        Learner(read(*words, "--restarts", "3", "--curriculum.warmup", "0.9", "--curriculum.over", "1"))


def test_what_an_autoencoder_cannot_be_judged_by_is_refused_before_any_is_trained(tmp_path):
    learn = str(toy.record(tmp_path / "learn", 40, 0))
    words = ["--data", learn, "--data.history", "1", "--variants", "uniform"]
    config = parse(OfAutoencoder, [*words, "--test", str(tmp_path / "typo")], prog="spl", aliases=WORDS)
    with pytest.raises(UsageError, match=r"there is no folder or file .*typo"):
        Autoencoder(config)


def test_what_learns_is_told_by_of_or_by_the_grid(tmp_path):
    assert subject_of(["--of", "agent", "--seeds", "1"]) == ("agent", ["--seeds", "1"])
    assert subject_of([])[0] == "classifier"
    with pytest.raises(UsageError, match="--of must be one of classifier, autoencoder, agent, got 'agnet'"):
        subject_of(["--of", "agnet"])
    with pytest.raises(UsageError, match="is not a grid of curricula"):
        subject_of(["--resume", str(tmp_path)])
    (tmp_path / "config.yaml").write_text("of: autoencoder\n")
    assert subject_of(["--resume", str(tmp_path)])[0] == "autoencoder"
