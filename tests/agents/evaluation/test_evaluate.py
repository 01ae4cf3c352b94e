"""``spl evaluate agent``: its ranges, what it writes, and what its table says."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from spl.agents.conditions import UNTOUCHED, Condition
from spl.agents.evaluation import evaluate, monitored, playing, returns
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent, print_evaluation, remarks_on
from spl.agents.evaluation.playing import play
from spl.agents.monitor.fitted import load_usual
from spl.agents.train import train_agent
from spl.config.errors import RunError, UsageError
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.envs.resumable import reset_seed
from spl.records import VIDEO


def test_ranges():
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        EvaluateAgentConfig(num_episodes=0)
    with pytest.raises(ValueError, match=r"seed must be in 0\.\.4294967295, got -1"):
        EvaluateAgentConfig(seed=-1)
    with pytest.raises(ValueError, match="epsilon must be in"):
        EvaluateAgentConfig(epsilon=1.5)


def quiet():
    return Console(file=io.StringIO())


def test_the_agent_is_given_what_the_condition_leaves():
    env = make_env(EnvConfig())
    seen, heard = [], []

    def watching(stacks, envs, running):
        stack = stacks.stack(running)
        seen.append(stack.video[0, -1].numpy())
        heard.append(stack.audio[0, -1].numpy())
        return [0] * len(running)

    for _ in range(2):  # the second episode remembers nothing of the first
        seen.clear(), heard.clear()
        play(watching, [env], Condition(VIDEO, "frozen", 3), history=2, seed=5)
        assert len(seen) == 32
        assert [np.array_equal(one, seen[2]) for one in seen] == [False, False, *[True] * 30]
        assert not any(np.array_equal(one, heard[2]) for one in heard[3:])
    env.close()


def test_an_episode_without_end_is_cut_and_said(smoke, monkeypatch, capsys):
    monkeypatch.setattr(playing, "MOST_STEPS", 20)
    monkeypatch.setattr(returns, "MOST_STEPS", 20)
    monkeypatch.setattr(evaluate, "MOST_STEPS", 20)
    folder = train_agent(smoke("--num_steps", "60"), console=quiet()).folder
    result = evaluate_agent(folder, EvaluateAgentConfig(num_episodes=3, num_seeds=1), console=quiet())
    assert {one["num_cut"] for one in result["conditions"].values()} == {3}, "Beacon's episodes have 32 steps"
    assert (result["most_steps"], result["fails_midway_at_step"]) == (20, 10)
    print_evaluation(result)
    sentence = (
        f"{3 * len(result['conditions'])} episodes did not end by themselves: they were cut after 20 steps"
    )
    assert sentence in capsys.readouterr().out


def test_episodes_that_end_before_a_modality_fails_are_counted(smoke, monkeypatch):
    folder = train_agent(smoke("--num_steps", "60"), console=quiet()).folder
    lengths = [4, 8, 9, 19]  # half of their mean is 5
    monkeypatch.setattr(evaluate, "play", lambda *_, **__: ([1.0] * 4, lengths))
    result = evaluate_agent(folder, EvaluateAgentConfig(num_episodes=4, num_seeds=1), console=quiet())
    assert result["fails_midway_at_step"] == 5
    assert result["conditions"]["video fails midway"]["share_reached"] == 0.75
    assert "share_reached" not in result["conditions"]["video only"], "it fails from the first step on"
    (sentence,) = remarks_on(result)
    assert sentence.startswith("what fails midway does so at step 5, which 75% of the episodes reach")


def test_an_environment_that_raises_is_named_with_step_and_seed(monkeypatch):
    env = make_env(EnvConfig())
    monkeypatch.setattr(env.unwrapped, "step", lambda action: {}["missing"])
    seed = reset_seed(5, 0)
    with pytest.raises(RunError, match=rf"step 1 of the episode whose seed is {seed}: KeyError: 'missing'"):
        play(lambda *_: [0], [env], UNTOUCHED, history=1, seed=5)
    env.close()


def test_every_condition_is_played_and_told(smoke, monkeypatch, capsys):
    folder = train_agent(smoke("--num_steps", "60"), console=quiet()).folder
    played = []
    whole = evaluate.play

    def noted(policy, envs, condition, **options):
        played.append(condition)
        return whole(evaluate.oracle if len(played) <= 5 else policy, envs, condition, **options)

    monkeypatch.setattr(evaluate, "play", noted)
    config = EvaluateAgentConfig(num_episodes=4, num_seeds=1, conditions="all")
    result = evaluate_agent(folder, config, console=quiet())
    assert json.loads((folder / "evaluation.json").read_text()) == result
    found = result["conditions"]
    assert len(found) == 1 + 14 + 2
    assert len(played) == len(found), "each once"
    assert found["video frozen"]["from_step"] == result["fails_midway_at_step"] == 16
    assert (found["video frozen"]["modality"], found["video frozen"]["happening"]) == ("video", "frozen")
    assert found["video only"]["retained"] == 1.0, "the oracle needs neither"
    assert found["audio mute"]["retained"] < 0.9, "an agent of 60 steps is none"
    assert (folder / "robustness.png").is_file()
    print_evaluation(result)
    told = capsys.readouterr().out
    (row,) = [line for line in told.splitlines() if "video only" in line]
    assert row.split()[-4:] == ["100%", "100%", "…", "100%"]
    assert told.count("retained") == 1


def test_it_plays_on_as_many_threads_as_are_asked_for(smoke, capsys, monkeypatch):
    before, seen = torch.get_num_threads(), []
    folder = train_agent(smoke("--num_steps", "60"), console=quiet()).folder
    assert torch.get_num_threads() == before
    assert torch.tensor(1e-40) * 1 != 0, "a training leaves torch as it was"
    played = evaluate.play
    monkeypatch.setattr(
        evaluate, "play", lambda *a, **k: seen.append(torch.get_num_threads()) or played(*a, **k)
    )
    for count in (before + 2, before + 1):
        config = EvaluateAgentConfig(num_episodes=1, num_seeds=1, num_threads=count)
        told = evaluate_agent(folder, config, console=quiet())
        assert set(seen) == {count}
        assert torch.get_num_threads() == before
        seen.clear()
    assert told["reset_seeds"] == [[reset_seed(told["seeds"][0], 0)]]
    print_evaluation(told)
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.strip().startswith("all modalities")]
    assert row.split()[3] == "-", "one episode has no interval"


def test_a_run_that_cannot_be_written_is_refused_before_it_is_played(smoke, monkeypatch):
    folder = train_agent(smoke("--num_steps", "60"), console=quiet()).folder
    with pytest.raises(UsageError, match="is not a run directory"):
        evaluate_agent(folder.with_name("missing"), EvaluateAgentConfig(), console=quiet())
    assert not folder.with_name("missing").exists(), "what is no run gets no folder"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    monkeypatch.setattr(evaluate, "play", None)
    with pytest.raises(UsageError, match=r"cannot be written: Permission denied; make it writable, or copy"):
        evaluate_agent(folder, EvaluateAgentConfig(), console=quiet())


def test_an_agent_no_better_than_chance_is_told_so(smoke, monkeypatch, capsys):
    folder = train_agent(smoke("--num_steps", "60"), console=quiet()).folder
    monkeypatch.setattr(
        evaluate, "play", lambda policy, envs, *_, **__: ([8.0] * len(envs), [32] * len(envs))
    )
    result = evaluate_agent(folder, EvaluateAgentConfig(num_episodes=2, num_seeds=2), console=quiet())
    print_evaluation(result)
    assert "nothing to retain: with all modalities the return is 8" in capsys.readouterr().out
    assert not (folder / "robustness.png").exists()
    assert len(result["conditions"]) == 1 + 6 + 2, "no more by default"


def test_failures_are_played_once_more_under_the_monitor(smoke, monkeypatch, capsys):
    folder = train_agent(smoke("--num_steps", "60"), console=quiet()).folder
    with pytest.raises(
        UsageError, match=r"has no monitor yet: fit it with: spl evaluate agent .* --monitor true"
    ):
        load_usual(folder, 60)
    monkeypatch.setattr(monitored, "FIT_STEPS", 2_000)
    config = EvaluateAgentConfig(num_episodes=2, num_seeds=1, conditions="all", monitor=True)
    result = evaluate_agent(folder, config, console=quiet())
    found = result["conditions"]
    watched = {name.removesuffix(", monitored"): one for name, one in found.items() if "monitor" in one}
    assert len(watched) == 1 + 2 + 8
    assert not any("fails midway" in name for name in watched), "the flag tells already"
    for name, one in watched.items():
        assert one["monitor"]["false_alarms"] < 0.01
        if name != "all modalities":
            assert one["monitor"]["found"] == 1.0
            assert one["monitor"]["found_90"] <= 10
            assert one["is_monitored"]
    # what the monitor takes away is what the flag takes away: the returns are the same
    for name in ("video", "audio"):
        assert watched[f"{name} frozen"]["returns"] == found[f"{name} fails midway"]["returns"]
    print_evaluation(result)
    assert "What the monitor found" in capsys.readouterr().out
    usual = load_usual(folder, 60)
    assert usual.num_steps >= 2_000
    with pytest.raises(UsageError, match="was fitted to the agent at step 60, which is at 90 now"):
        load_usual(folder, 90)
    monkeypatch.setattr(monitored, "Fitting", None)  # it is fitted once
    assert evaluate_agent(folder, config, console=quiet())["conditions"] == found
    (folder / "monitor" / "last" / "state.json").write_text("{")
    with pytest.raises(UsageError, match=r"the monitor of .* cannot be read"):
        load_usual(folder, 60)
