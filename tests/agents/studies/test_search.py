"""`spl search agent`: what a space may say, what is drawn and ranked, and that a stopped search goes on."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from spl.agents.config import TrainAgentConfig, read_run
from spl.agents.studies import search
from spl.agents.studies.search import SearchAgentConfig, open_study, search_agent
from spl.agents.studies.search_result import RESULT, print_search
from spl.agents.studies.search_space import Between, OneOf, as_json, from_json, read_space
from spl.cli import main as cli
from spl.config.errors import RunError, UsageError
from spl.config.parse import parse
from spl.runs.files import read_json

SPACE = "agent.learning_rate: {low: 1e-5, high: 1e-3, log: true}\nagent.n_step: [1, 3, 5]\n"


def space_file(folder: Path, text: str = SPACE) -> Path:
    path = folder / "space.yaml"
    path.write_text(text)
    return path


def test_a_space_is_ranges_and_lists_of_options(tmp_path):
    text = (
        "agent: {learning_rate: {low: 1e-5, high: 1e-3, log: true}, n_step: [1, 3], double: [yes, off]}\n"
        "loop.batch_size: {low: 16, high: 64}\nagent.max_grad_norm: [null, 10]\n"
        "curriculum: [uniform, self-paced]\n"
        "env.video_size: [[36, 36], [64, 64]]\n"
    )
    space = read_space(space_file(tmp_path, text))
    assert space == {
        "agent.learning_rate": Between(1e-5, 1e-3, True, False),
        "agent.n_step": OneOf([1, 3]),
        "agent.double": OneOf([True, False]),
        "loop.batch_size": Between(16, 64, False, True),
        "agent.max_grad_norm": OneOf([None, 10.0]),
        "curriculum.name": OneOf(["uniform", "self-paced"]),
        "env.video_size": OneOf([[36, 36], [64, 64]]),
    }
    assert from_json(json.loads(json.dumps(as_json(space)))) == space


BAD = {
    "agent.n_stepp: [1]": "unknown option agent.n_stepp (did you mean agent.n_step?)",
    "lr: [1e-3]": "unknown option lr (did you mean agent.learning_rate?)",
    "agent.learning_rate: {low: -1, high: 1}": "agent.learning_rate: low must be positive, got -1",
    "agent.gamma: {low: 0.9, high: 1.5}": "agent.gamma: high must be in [0, 1], got 1.5",
    "agent.learning_rate: {low: .nan, high: 1}": "agent.learning_rate: low must be positive, got .nan",
    "agent.epsilon_end: {low: 0, high: 0.5, log: true}": "agent.epsilon_end: log needs a low above 0, got 0",
    "agent.gamma: {low: 0.9, high: 0.5}": "agent.gamma: low must be at most high (0.5), got 0.9",
    "agent.gamma: {low: 0.9}": "agent.gamma: a range needs low and high, high is missing",
    "agent.gamma: {low: 0.1, high: 1, step: 2}": "agent.gamma: a range has low, high and log, got step",
    "agent.gamma: {low: 0.1, high: 1, log: 7}": "agent.gamma: log must be true or false, got '7'",
    "agent.n_step: {low: 1.5, high: 3}": "agent.n_step: low must be an int, got '1.5'",
    "agent.double: {low: 0, high: 1}": (
        "agent.double is no number (true or false): list the values to choose from"
    ),
    "agent.n_step: []": "agent.n_step must have at least one value to choose from, got an empty list",
    "agent.n_step: 3": "agent.n_step must be a list of values or a range {low: ..., high: ...}, got '3'",
    "agent.n_step: [1, 0]": "agent.n_step: each value must be at least 1, got 0",
    "agent.n_step: [1, 1]": "agent.n_step must name each value once, got 1 twice",
    "agent.n_step: [one]": "agent.n_step: each value must be an int of at least 1, got 'one'",
    "seed: [1, 2]": "seed is the same in all trials: leave it out",
    "env: {id: [spl/Greeting-v0, CartPole-v1]}": (
        "env.id: all trials play one environment, so that their returns can be compared: leave it out"
    ),
    "curriculum: [uniform]\ncurriculum.name: [uniform]": "curriculum.name is there twice: leave one out",
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_space_is_told_in_a_sentence(text, tmp_path):
    path = space_file(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        read_space(path)
    assert str(refused.value) == f"--space {path}: {BAD[text]}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must name at least one option, such as 'agent.n_step: [1, 3, 5]', got None"),
        ("- a", "must name at least one option, such as 'agent.n_step: [1, 3, 5]', got ['a']"),
        ("a: [1", "expected a YAML file such as 'agent.n_step: [1, 3, 5]', got: "),
    ],
)
def test_what_is_no_space_is_told_and_what_is_not_there(text, sentence, tmp_path, capsys):
    path = space_file(tmp_path, text)
    assert cli.main(["search", "agent", "--space", str(path), "--runs", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
    assert cli.main(["search", "agent", "--space", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: expected a YAML file such as" in capsys.readouterr().err
    assert cli.main(["search", "agent"]) == 2
    told = capsys.readouterr().err
    assert "--space must be given: YAML file of options: " in told
    assert told.endswith(" -- a path\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--restarts", "2"], "a trial has num_seeds runs: leave restarts out, got 2"),
        (["--seed", str(2**32 - 1)], "the seeds from 4294967295 on are not 3: choose a lower seed"),
        (["--num_trials", "0"], "num_trials must be at least 1, got 0"),
    ],
)
def test_options_that_no_search_has(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(SearchAgentConfig, ["--space", "x", *words], prog="spl")


@pytest.fixture
def trained(monkeypatch):
    """Let a run be its options, and its returns a formula of them; return what was trained, in order."""
    pytest.importorskip("optuna")
    runs: list[tuple[str, TrainAgentConfig]] = []
    stop_at: list[int] = []

    def train(config, *, resume, **_):
        if stop_at and len(runs) == stop_at[0]:
            stop_at.clear()
            return SimpleNamespace(is_finished=False)
        runs.append((str(resume.relative_to(resume.parents[2])), config))
        if config.agent.n_step == 5:
            raise RunError("the loss is not finite")
        (resume / "metrics.jsonl").write_text('{"step": 1, "seconds": 1.0}\n')
        (resume / "config.json").write_text(json.dumps([config.agent.learning_rate, config.seed]))
        return SimpleNamespace(is_finished=True)

    def returns(folder, num_episodes, device):
        rate, seed = json.loads((folder / "config.json").read_text())
        return [1e4 * rate + seed + 0.01 * episode for episode in range(num_episodes)]

    monkeypatch.setattr(search, "train_agent", train)
    monkeypatch.setattr(search, "returns_of", returns)
    monkeypatch.setattr("spl.agents.evaluation.returns.NUM_RESAMPLES", 20)
    return SimpleNamespace(runs=runs, stop_at=stop_at)


def searching(folder, *words):
    fixed = [
        "--space",
        str(space_file(folder)),
        "--runs",
        str(folder),
        "--num_seeds",
        "2",
        "--num_episodes",
        "4",
    ]
    return parse(SearchAgentConfig, [*fixed, "--num_trials", "8", *words], prog="spl")


QUIET = Console(quiet=True)


def test_trials_are_drawn_trained_and_ranked(trained, tmp_path, capsys):
    found = search_agent(searching(tmp_path), console=QUIET)
    assert found.is_finished
    assert found.folder.parent == tmp_path / "search"
    result = read_json(found.folder / RESULT)
    trials = result["trials"]
    assert sorted(one["trial"] for one in trials) == [f"trial-{number}" for number in range(8)]
    failed = [one for one in trials if one["options"]["agent.n_step"] == 5]
    whole = [one for one in trials if one not in failed]
    assert failed  # the formula's own
    assert {(one["iqm"], one["rank"], one["failed"]) for one in failed} == {
        (None, None, "the loss is not finite")
    }
    assert trials == [*whole, *failed]
    assert [one["rank"] for one in whole] == list(range(1, len(whole) + 1))
    rates = [one["options"]["agent.learning_rate"] for one in whole]
    assert rates == sorted(rates, reverse=True)
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    middle = [
        0.01,
        0.02,
        0.03,
        1.0,
        1.01,
        1.02,
    ]  # of eight returns of two seeds, without the quarters at the ends
    assert whole[0]["iqm"] == pytest.approx(1e4 * rates[0] + sum([0.02, 0.03, 1.0, 1.01]) / 4, abs=1e-9), (
        middle
    )
    low, high = whole[0]["interval_95"]
    assert low <= whole[0]["iqm"] <= high
    assert [config.seed for _, config in trained.runs[:2]] in ([0, 1], [0, 0])
    best = parse(TrainAgentConfig, ["--config", str(found.folder / "best.yaml")], prog="spl")
    assert best.agent.learning_rate == rates[0]
    assert result["command"] == f"spl train agent --config {found.folder / 'best.yaml'}"
    print_search(found.folder, found.result)
    told = capsys.readouterr().out
    assert f"Best of {len(whole)} trials: 2 seeds of 4 episodes each" in told
    assert result["command"] in told
    assert told.count("the loss is not finite") == len(failed)


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "RANDOM_TRIALS", 3)  # the others follow from how those did
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = search_agent(searching(tmp_path / "whole", "--num_trials", "7"), console=QUIET)
    runs = list(trained.runs)
    trained.runs.clear()
    config = searching(tmp_path / "stopped", "--num_trials", "7")
    trained.stop_at.append(9)
    stopped = search_agent(config, console=QUIET)
    assert not stopped.is_finished
    (tmp_path / "stopped" / "space.yaml").unlink()  # it is kept
    resumed = search_agent(config, resume=stopped.folder, console=QUIET)
    assert resumed.is_finished
    assert [(place, one.agent) for place, one in trained.runs] == [(place, one.agent) for place, one in runs]
    assert resumed.result["trials"] == whole.result["trials"]
    study = open_study(stopped.folder)
    assert [trial.state.is_finished() for trial in study.trials] == [True] * 7
    again = search_agent(config, resume=stopped.folder, console=QUIET)
    assert again.result == resumed.result
    assert len(trained.runs) == len(runs)


def test_a_trial_that_was_killed_while_it_was_drawn_has_all_options(trained, tmp_path, monkeypatch):
    from optuna import Trial

    def search_for(num_trials, folder, resume=None):
        words = ["--num_trials", str(num_trials), "--num_seeds", "1"]
        return search_agent(searching(folder, *words), resume=resume, console=QUIET)

    (tmp_path / "whole").mkdir()
    whole, (folder, *_) = search_for(2, tmp_path / "whole"), search_for(1, tmp_path)
    suggest, drawn = Trial._suggest, []

    def killed(self, name, distribution):
        drawn.append(name)
        if len(drawn) == 2:
            raise OSError("killed")
        return suggest(self, name, distribution)

    monkeypatch.setattr(Trial, "_suggest", killed)
    with pytest.raises(OSError, match="killed"):
        search_for(2, tmp_path, folder)
    assert search_for(2, tmp_path, folder).result["trials"] == whole.result["trials"]


def test_a_study_that_is_damaged_is_told_in_a_sentence(trained, tmp_path, capsys):
    folder = search_agent(searching(tmp_path, "--num_trials", "1"), console=QUIET).folder
    (folder / "study.db").write_bytes(b"no database" * 1000)
    assert cli.main(["search", "agent", "--resume", str(folder)]) == 1
    told = f"spl: {folder}/study.db cannot be read or written: file is not a database; make room"
    assert capsys.readouterr().err.splitlines()[-1].startswith(told)


def test_a_search_may_grow_and_changes_nothing_else(trained, tmp_path, capsys):
    first = search_agent(searching(tmp_path, "--num_trials", "2"), console=QUIET)
    resume = ["search", "agent", "--resume", str(first.folder)]
    assert cli.main([*resume, "--num_trials", "3"]) == 0
    assert len(read_json(first.folder / RESULT)["trials"]) == 3
    assert cli.main([*resume, "--num_seeds", "3"]) == 2
    assert "a resumed run keeps its configuration, got --num_seeds 3" in capsys.readouterr().err


def test_the_highest_seed_has_trials_beyond_the_first(trained, tmp_path):
    words = ["--num_trials", "2", "--num_seeds", "1", "--seed", str(2**32 - 1)]
    assert search_agent(searching(tmp_path, *words), console=QUIET).is_finished


def test_options_that_do_not_go_together_fail_their_trial_alone(trained, tmp_path):
    path = tmp_path / "space.yaml"
    config = searching(tmp_path, "--num_trials", "6")
    path.write_text("loop.batch_size: [32, 64]\n")
    found = search_agent(config, console=QUIET)
    told = {one["failed"] for one in found.result["trials"] if one["options"]["loop.batch_size"] == 64}
    assert told == {
        "its options do not go together: loop: batch_size must be at most mini_buffer (32), got 64"
    }


def test_what_no_run_can_begin_with_ends_the_search(trained, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise UsageError("there is no such environment")

    monkeypatch.setattr(search, "train_agent", refuse)
    with pytest.raises(UsageError, match="no such environment"):
        search_agent(searching(tmp_path), console=QUIET)


def test_runs_are_real_ones(smoke, tmp_path, capsys):
    pytest.importorskip("optuna")
    words = ["--config", "smoke/agent", "--num_steps", "40", "--num_trials", "1", "--num_seeds", "1"]
    words += ["--space", str(space_file(tmp_path, "agent.n_step: [1, 3]")), "--runs", str(tmp_path / "runs")]
    words += ["--num_episodes", "1", "--env.kwargs.num_rounds", "4", "--num_threads", "1", "--device", "cpu"]
    assert cli.main(["search", "agent", *words]) == 0
    told = capsys.readouterr()
    (folder,) = (tmp_path / "runs" / "search").iterdir()
    places = sorted(str(path.parent.relative_to(folder)) for path in folder.glob("**/metrics.jsonl"))
    assert places == ["cells/trial-0/seed-0"]
    assert f"spl train agent --config {folder / 'best.yaml'}" in told.out
    assert "spl search agent" not in told.err.replace(str(sys.argv[0]), "")  # nothing to resume
    assert read_run(folder / places[0]).agent.n_step in (1, 3)


def test_one_trial_of_one_seed_is_told_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = {"rank": 1, "trial": "trial-0", "iqm": 1.0, "interval_95": [0.5, 1.5], "failed": None}
    options = {"agent.n_step": 1}
    print_search(tmp_path, {"trials": [{**trial, "options": options}], "seeds": [0], "episodes": 4})
    assert "Best of 1 trial: 1 seed of 4 episodes each" in capsys.readouterr().out
