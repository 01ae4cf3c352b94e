"""Restarts of an agent: each as if started alone, the best kept, resumed; what is refused."""

import io
import json

import pytest
import torch
from rich.console import Console

from spl.agents.load import load_agent
from spl.agents.studies.curriculum_ablation import return_in_training
from spl.agents.train import train_agent
from spl.agents.training import Training
from spl.cli.main import main
from spl.config.errors import RunError, UsageError
from spl.config.parse import dump
from spl.runs.files import read_rows

SHORT = ("--env.kwargs.num_rounds", "2", "--num_steps", "36", "--memory.min_size", "20", "--num_threads", "1")


def test_the_best_of_several_initialisations_is_kept(smoke, monkeypatch, tmp_path):
    alone = [
        train_agent(smoke(*SHORT, "--seed", str(seed)), console=Console(file=io.StringIO()))
        for seed in (0, 1)
    ]
    config = smoke(*SHORT, "--restarts", "2")
    learn, said = Training._learn, Console(file=io.StringIO())

    def stop_in_the_second(self, updates):
        learn(self, updates)
        if self.config.seed == 1:
            self.stop.stop()

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_learn", stop_in_the_second)
        stopped = train_agent(config, console=said)
    assert not stopped.is_finished
    assert said.file.getvalue().count("resume with: ") == 1
    assert said.file.getvalue().endswith(f"resume with: spl train agent --resume {stopped.folder}\n")
    with pytest.raises(UsageError, match="has 2 restarts that are not all trained: resume it first"):
        load_agent(stopped.folder)
    result = train_agent(config, resume=stopped.folder, console=said)
    told = json.loads((result.folder / "restarts.json").read_text())
    assert told["return"] == [one.mean_return for one in alone]
    assert told["return"] == [pytest.approx(return_in_training(read_rows(one.folder))) for one in alone]
    assert len(set(told["return"])) == 2
    best = told["return"].index(max(told["return"]))
    assert (told["kept"], result.mean_return) == (f"restart-{best}", max(told["return"]))
    assert f"restart-{best} is kept, the best of 2; it is what spl evaluate agent" in said.file.getvalue()
    assert [path.parent.name for path in result.folder.glob("restart-*/checkpoints")] == [told["kept"]]
    assert [path.parent.name for path in result.folder.glob("restart-*/memory")] == [told["kept"]]
    weights = [load_agent(folder)[0].network.state_dict() for folder in (result.folder, alone[best].folder)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert main(["report", str(result.folder)]) == 0
    page = (result.folder / "report.html").read_text()
    assert f"restart-{best} is kept, the best of 2 by the mean return of the last 100 episodes" in page
    before = (result.folder / "restarts.json").read_text()
    assert train_agent(config, resume=stopped.folder, console=said).is_finished  # whole already
    assert (result.folder / "restarts.json").read_text() == before


def test_restarts_that_are_all_trained_do_not_go_on(smoke, capsys, tmp_path):
    folder = tmp_path / "run"
    kept = folder / "restart-1"
    for place, config in ((folder, smoke("--restarts", "2")), (kept, smoke("--seed", "1"))):
        place.mkdir()
        (place / "config.yaml").write_text(dump(config))
    (folder / "restarts.json").write_text(json.dumps({"kept": kept.name, "return": [1.0, 2.0], "failed": {}}))
    assert main(["train", "agent", "--resume", str(folder), "--num_steps", "300"]) == 2
    told = capsys.readouterr().err
    assert f"go on with that one, spl train agent --resume {kept} --num_steps 300" in told
    assert main(["train", "agent", "--resume", str(folder), "--restarts", "3"]) == 2
    assert (
        "a resumed run keeps its configuration, got --restarts 3 (the run has 2)" in capsys.readouterr().err
    )


def test_one_without_an_episode_cannot_be_the_best(smoke, tmp_path):
    with pytest.raises(RunError, match=r"none of the 2 restarts .*: no episode ended in its 5 steps"):
        train_agent(smoke("--restarts", "2", "--num_steps", "5"), console=Console(file=io.StringIO()))


def test_there_are_no_more_restarts_than_seeds(smoke):
    with pytest.raises(
        UsageError, match=r"2 restarts have the seeds from 4294967295 on: seed must be in 0\.\."
    ):
        train_agent(smoke("--restarts", "2", "--seed", str(2**32 - 1)), console=Console(file=io.StringIO()))
