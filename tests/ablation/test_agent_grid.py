"""``spl ablate agent``: what a grid varies, its cells, its table, and what it refuses."""

import csv
import json
from dataclasses import replace

import pytest

from spl.agents.config import ALIASES, read_run
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.studies.ablation import AblateAgentConfig, Options, ablate_agent, label_of, name_of
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.envs.resumable import reset_seed

TINY = "--config smoke/agent --env.kwargs.num_rounds 2 --num_steps 44 --num_threads 1 --device cpu "
TINY += "--num_episodes 2"


def read(*words: str) -> AblateAgentConfig:
    return parse(AblateAgentConfig, [*TINY.split(), *words], prog="spl ablate agent", aliases=ALIASES)


def test_every_combination_is_a_row_named_by_what_it_varies():
    config = read("--vary.agent.quantiles", "null,4", "--vary.memory.history", "2,4")
    options = Options(config)
    assert list(options.changes) == [
        f"quantiles-{quantiles}-history-{history}" for quantiles in ("null", "4") for history in (2, 4)
    ]
    (cell,) = options.runs("quantiles-4-history-2", 7)
    assert (cell.agent.quantiles, cell.memory.history, cell.seed) == (4, 2, 7)
    (plain,) = options.runs("quantiles-null-history-4", 0)
    alone = parse(type(plain), [*TINY.split()[:-2]], prog="spl")
    assert plain == replace(alone, memory=replace(alone.memory, history=4))
    assert list(Options(read()).changes) == ["as-it-is"]


def test_each_arm_is_a_row_against_the_training_as_it_is(tmp_path):
    words = "--arm.soft.agent.munchausen 0.9 --arm.soft.agent.double false --arm.wide.env.video_size 42,36"
    config = read(*words.split())
    options = Options(config)
    assert options.labels == {"as-it-is": "as it is", "soft": "soft", "wide": "wide"}
    assert options.notes[-2:] == ["soft: munchausen 0.9, double false.", "wide: video_size 42+36."]
    (plain,), (soft,), (wide,) = (options.runs(name, 0) for name in options.changes)
    assert soft == replace(plain, agent=replace(plain.agent, munchausen=0.9, double=False))
    assert wide == replace(plain, env=replace(plain.env, video_size=(42, 36)))
    file = tmp_path / "arms.yaml"
    file.write_text(
        "arm:\n  soft: {agent.munchausen: 0.9, agent: {double: false}}\n  wide: {env.video_size: [42, 36]}\n"
    )
    assert Options(read("--config", str(file))).changes == options.changes


def test_options_that_end_alike_are_named_whole():
    chosen = {"encoder.custom": None, "agent.custom": "a:B", "agent.n_step": 3}
    assert label_of(chosen) == "encoder.custom null, agent.custom a:B, n_step 3"
    assert name_of(chosen) == "encoder.custom-null-agent.custom-a_B-n_step-3"


def test_a_grid_is_trained_judged_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--vary.agent.n_step", "1,3", "--each_modality", "true", *TINY.split()]
    assert cli.main(["ablate", "agent", *words, "--seeds", "0"]) == 0
    told = capsys.readouterr()
    assert "cell       2 of 2: n_step 3, seed 0: return " in told.err
    assert "video only" in told.out
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    rows = list(csv.DictReader((folder / "ablation.csv").read_text().splitlines()))
    assert [(row["options"], row["seed"], row["state"]) for row in rows] == [
        ("n_step 1", "0", "finished"),
        ("n_step 3", "0", "finished"),
    ]
    cell = folder / "cells" / "n_step-3" / "seed-0"
    assert read_run(cell).agent.n_step == 3
    judged = evaluate_agent(cell, EvaluateAgentConfig(num_episodes=2, num_seeds=1, device="cpu"))
    found = json.loads((cell / "outcome.json").read_text())["measures"]
    names = {"return": "all modalities", "video_only": "video only", "audio_only": "audio only"}
    assert found == {name: judged["conditions"][word]["mean"] for name, word in names.items()}
    assert cli.main(["report", str(folder)]) == 0
    assert "n_step 3" in (folder / "report.html").read_text()
    grown = ["ablate", "agent", "--resume", str(folder), "--vary.agent.n_step", "1,3,5"]
    assert cli.main(grown) == 0
    assert "3 x 1, options x seeds), 2 finished" in capsys.readouterr().err


def test_an_arm_keeps_what_it_changes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*TINY.split(), "--seeds", "0"]
    assert cli.main(["ablate", "agent", *words, "--arm.soft.agent.gamma", "0.5"]) == 0
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    again = ["ablate", "agent", "--resume", str(folder)]
    chosen = (folder / "config.yaml").read_bytes()
    assert cli.main([*again, "--device", "cuda:99"]) == 2
    assert (folder / "config.yaml").read_bytes() == chosen, "a refusal changes nothing"
    capsys.readouterr()
    before = (folder / "config.yaml").read_text()
    for option, was, value in (("gamma", "0.5", "0.9"), ("n_step", "1", "3")):
        assert cli.main([*again, f"--arm.soft.agent.{option}", value]) == 2
        told = (
            f"soft has begun with agent.{option} {was}, which would now be {value}: give the change another"
        )
        assert told in told_in(capsys)
    assert (folder / "config.yaml").read_text() == before
    assert cli.main([*again, "--arm.soft.agent.gamma", "0.5", "--arm.far.agent.gamma", "0.9"]) == 0
    assert "3 x 1, options x seeds), 2 finished" in told_in(capsys)


def told_in(capsys) -> str:
    """Return what was written to both streams, in one line."""
    return " ".join("".join(capsys.readouterr()).split())


def test_an_environment_that_fails_while_a_cell_is_judged_fails_that_cell_alone(
    tmp_path, monkeypatch, capsys
):
    """Of two cells the first one judged meets an episode that raises."""
    monkeypatch.chdir(tmp_path)
    broken = reset_seed(EvaluateAgentConfig().seed, 1)
    (tmp_path / "fragile.py").write_text(
        "from spl.envs.worlds.beacon import BeaconEnv\n"
        "class Fragile(BeaconEnv):\n"
        "    num_judged = 0\n"
        "    def reset(self, *, seed=None, options=None):\n"
        f"        Fragile.num_judged += seed == {broken}\n"
        f"        self.breaks = seed == {broken} and Fragile.num_judged == 1\n"
        "        return super().reset(seed=seed, options=options)\n"
        "    def step(self, action):\n"
        "        if self.breaks:\n"
        "            raise OSError('the cable is out')\n"
        "        return super().step(action)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["--env.id", "fragile:Fragile", "--env_workers", "false", "--vary.agent.n_step", "1,3"]
    assert cli.main(["ablate", "agent", *TINY.split(), *words, "--seeds", "0"]) == 1
    told = told_in(capsys)
    assert f"at step 1 of the episode whose seed is {broken}: OSError: the cable is out" in told
    assert "spl check env fragile:Fragile" in told
    (folder,) = (tmp_path / "runs" / "ablation").iterdir()
    rows = list(csv.DictReader((folder / "ablation.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["failed", "finished"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--vary.env.id", "a,b"], r"--vary\.env\.id: the cells of a grid play one environment"),
        (["--vary.runs", "a,b"], r"--vary\.runs: this changes nothing that is learned"),
        (
            ["--vary.agent.n_stop", "1,2"],
            r"there is no option agent\.n_stop to vary; did you mean agent\.n_step\?",
        ),
        (["--vary.learning_rate", "1,2"], r"there is no option learning_rate .*mean agent\.learning_rate\?"),
        (["--vary.agent.gamma", "0.9,0.9"], r"--vary\.agent\.gamma must name each value once"),
        (["--vary.agent.gamma", "0.9,2"], r"gamma 2 cannot be trained: .*gamma must be in \[0, 1\], got 2"),
        (
            ["--vary.pretrained.run", "runs/a/b,runs/a_b"],
            "each row of a grid needs a folder of its own, and 2 would lie in cells/run-runs_a_b: choose",
        ),
        (["--arm.soft", "3"], r"--arm\.soft: name the option that this arm changes: --arm\.soft\.OPTION"),
        (["--arm.soft.agent.n_stop", "3"], r"--arm\.soft\.agent\.n_stop: there is no option.*agent\.n_step"),
        (["--arm.as-it-is.agent.n_step", "3"], r"--arm\.as-it-is: choose another name"),
        (["--arm.far.agent.gamma", "2"], r"far cannot be trained: .*gamma must be in \[0, 1\], got 2"),
        (["--arm.far.agent.n_step", "3", "--vary.agent.n_step", "1,2"], "arm a row of each .* leave one out"),
        (["--seed", "3"], "--seeds names the seeds of a grid: leave seed out, got 3"),
        (["--restarts", "3"], "a cell of a grid is one run: leave restarts out, got 3"),
    ],
)
def test_what_cannot_be_compared_is_refused(words, told):
    with pytest.raises(UsageError, match=told):
        Options(read(*words))


def test_a_silent_environment_has_no_each_modality(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse(
        AblateAgentConfig, ["--env", "CartPole-v1", "--each_modality", "true"], prog="spl", aliases=ALIASES
    )
    with pytest.raises(UsageError, match="each_modality needs video and audio, and CartPole-v1 has one"):
        ablate_agent(config)
    assert not (tmp_path / "runs").exists()


def test_a_grid_that_varies_nothing_is_refused(tmp_path, capsys):
    assert cli.main(["ablate", "agent", *TINY.split(), "--runs", str(tmp_path)]) == 2
    assert "there is nothing to compare: give values of an option, --vary.agent.gamma 0.9,0.99, or" in (
        capsys.readouterr().err
    )
    assert not any(tmp_path.iterdir())
