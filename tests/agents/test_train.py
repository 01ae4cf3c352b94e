"""A run from its first step to its last: folder, rows, checkpoints, seeds, resuming, learning."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from spl.agents.config import MAY_CHANGE, read_run, slack_of
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.evaluation.explain import ExplainAgentConfig, explain_agent
from spl.agents.replay.memory import ReplayMemory
from spl.agents.train import train_agent
from spl.agents.training import Training
from spl.config.errors import RunError, UsageError
from spl.envs.config import EnvConfig
from spl.envs.vector import VectorisedEnv
from spl.records import StreamSpec
from spl.runs import checkpoint
from spl.runs.directory import check_resumable


def quiet() -> Console:
    return Console(file=io.StringIO())


def rows_of(folder, key="time/fps"):
    """Return the rows that tell ``key``: those of the report by default, or one per episode."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if key in row]


def weights_of(folder):
    return checkpoint.load(folder / "checkpoints")["agent"]["network"]


def test_a_run_leaves_its_folder(smoke):
    config = smoke()
    result = train_agent(config, command=["spl", "train", "agent"], console=quiet())
    assert result.is_finished
    assert result.step == 200
    assert (result.folder / "command.txt").read_text() == "spl train agent\n"
    assert read_run(result.folder) == config
    described = json.loads((result.folder / "env.json").read_text())
    assert described["audio"]["sample_rate_hz"] == 16_000
    rows, episodes = rows_of(result.folder), rows_of(result.folder, "rollout/episode_return")
    assert [row["step"] for row in rows] == [50, 100, 150, 200]
    assert [row["step"] for row in episodes] == [32, 64, 96, 128, 160, 192]
    assert rows[-1]["rollout/ep_rew_mean"] == np.mean([row["rollout/episode_return"] for row in episodes])
    tags = {"rollout/ep_rew_mean", "rollout/exploration_rate", "time/fps", "train/loss", "train/n_updates"}
    assert tags <= set(rows[-1])
    assert rows[-1]["train/n_updates"] == 80  # from the 42nd step on, one update every two
    assert (result.folder / "checkpoints" / "last").is_symlink()


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(smoke):
    first, second, other = (
        train_agent(smoke("--seed", seed, "--num_steps", "100"), console=quiet()).folder
        for seed in ("3", "3", "4")
    )
    same, again, different = weights_of(first), weights_of(second), weights_of(other)
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not all(torch.equal(same[name], different[name]) for name in same)

    def told(folder):
        return [
            {k: v for k, v in row.items() if "time" not in k and k != "seconds"} for row in rows_of(folder)
        ]

    assert told(first) == told(second)


def test_a_resumed_run_goes_on_from_what_was_saved(smoke):
    config = smoke("--num_steps", "100")
    folder = train_agent(config, console=quiet()).folder
    before = checkpoint.load(folder / "checkpoints")
    done = train_agent(replace(config, num_steps=160), resume=folder, console=quiet())
    assert done.folder == folder
    assert done.step == 160
    assert read_run(folder).num_steps == 160
    assert (folder / "command.txt").read_text().count("\n") == 2
    after = checkpoint.load(folder / "checkpoints")
    assert after["agent"]["num_updates"] == before["agent"]["num_updates"] + 30
    assert after["progress"]["episode"] == 5
    assert [row["step"] for row in rows_of(folder)] == [50, 100, 150]
    memory = ReplayMemory.load(folder / "memory")
    assert len(memory) == 160
    with pytest.raises(
        UsageError, match=r"num_steps must be more than the 160 steps that .* has already, got 90"
    ):
        train_agent(replace(config, num_steps=90), resume=folder, console=quiet())
    assert read_run(folder).num_steps == 160, "a refusal changes nothing"
    assert (folder / "command.txt").read_text().count("\n") == 2


def test_resuming_without_the_memory_collects_anew_before_learning(smoke):
    config = smoke("--num_steps", "100", "--save_memory", "false")
    folder = train_agent(config, console=quiet()).folder
    assert not (folder / "memory").exists()
    updates = checkpoint.load(folder / "checkpoints")["agent"]["num_updates"]
    train_agent(replace(config, num_steps=140), resume=folder, console=quiet())
    state = checkpoint.load(folder / "checkpoints")
    assert 0 <= state["agent"]["num_updates"] - updates <= 1  # 40 transitions are the memory's min_size


def test_a_memory_on_disk_learns_the_same_as_one_in_ram(smoke):
    in_ram = train_agent(smoke(), console=quiet()).folder
    on_disk = train_agent(smoke("--memory.on_disk", "true"), console=quiet()).folder
    ram, disk = weights_of(in_ram), weights_of(on_disk)
    assert all(torch.equal(ram[name], disk[name]) for name in ram)


def test_a_memory_kept_on_the_device_learns_the_same(smoke):
    on_host = train_agent(smoke(), console=quiet()).folder
    on_device = train_agent(smoke("--memory.on_device", "true"), console=quiet()).folder
    host, device = weights_of(on_host), weights_of(on_device)
    assert all(torch.equal(host[name], device[name]) for name in host)


def test_a_changed_configuration_is_refused_by_name(smoke):
    with pytest.raises(UsageError, match=r"--agent.gamma 0.5 \(the run has 0.95\)"):
        check_resumable(smoke(), smoke("--agent.gamma", "0.5"), MAY_CHANGE)
    check_resumable(smoke(), smoke("--num_steps", "900", "--checkpoint_every_steps", "7"), MAY_CHANGE)


def test_a_memory_once_saved_cannot_be_left_out_later(smoke):
    with pytest.raises(UsageError, match=r"--save_memory False \(the run has True\)"):
        check_resumable(smoke(), smoke("--save_memory", "false"), MAY_CHANGE)


def test_a_memory_on_disk_has_slack_even_if_it_is_not_saved_beside(smoke):
    assert slack_of(smoke("--save_memory", "false")) == 0
    assert slack_of(smoke("--save_memory", "false", "--memory.on_disk", "true")) == 64


def test_a_refused_dropout_leaves_no_folder_behind(smoke, tmp_path):
    with pytest.raises(UsageError, match="set a larger modality_dropout_steps"):
        train_agent(smoke("--agent.modality_dropout", "0.6", "--agent.modality_dropout_steps", "1"))
    config = smoke("--agent.modality_dropout", "0.3")
    wrappers = ({"gymnasium.wrappers:FilterObservation": {"filter_keys": ["video"]}},)
    with pytest.raises(UsageError, match=r"environment has no audio: set --agent\.modality_dropout 0"):
        train_agent(replace(config, env=replace(config.env, wrappers=wrappers)))
    assert not list(tmp_path.glob("runs/agent/*"))


def test_a_waveform_that_nothing_can_read_leaves_no_folder_behind(smoke, tmp_path):
    with pytest.raises(UsageError, match=r"got one, as a waveform has it: set --encoder\.audio_stream mlp"):
        train_agent(smoke("--env.audio_features", "waveform"), console=quiet())
    assert not (tmp_path / "runs").exists()


def test_a_game_is_learned_resumed_and_evaluated_from_its_bytes(smoke):
    pytest.importorskip("ale_py")
    options = ("--env.audio_features", "waveform", "--encoder.audio_stream", "mlp")
    config = smoke(*options, "--env.kwargs.max_num_frames_per_episode", "80", name="atari")
    folder = train_agent(config, console=quiet()).folder
    assert json.loads((folder / "env.json").read_text())["audio"]["features"] == "waveform"
    train_agent(replace(config, num_steps=130), resume=folder, console=quiet())
    memory = ReplayMemory.load(folder / "memory")
    assert memory.spec == StreamSpec((1, 84, 84), (1, 1, 512), "int8")
    assert len(memory) == 130
    result = evaluate_agent(folder, EvaluateAgentConfig(num_episodes=1, num_seeds=1), console=quiet())
    assert np.isfinite(result["conditions"]["noise on audio"]["mean"])


def test_a_run_that_cannot_be_saved_does_not_say_that_it_was(smoke, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left on the device")

    monkeypatch.setattr(checkpoint, "save", full)
    console = quiet()
    with pytest.raises(OSError, match="no space left"):
        train_agent(smoke("--num_steps", "60"), console=console)
    told = console.file.getvalue()
    assert "stopped; nothing was saved" in told
    assert "finished" not in told


def test_a_checkpoint_of_another_network_is_refused(smoke):
    config = smoke("--num_steps", "60")
    folder = train_agent(config, console=quiet()).folder
    with pytest.raises(UsageError, match="cannot be resumed"):
        train_agent(smoke("--encoder.features", "8"), resume=folder, console=quiet())


def test_the_two_long_phases_of_the_published_agent(smoke):
    result = train_agent(smoke(name="mdqn"), console=quiet())
    # 3 collections of 100 steps, each followed by 2 replays of 50 transitions in batches of 25
    assert checkpoint.load(result.folder / "checkpoints")["agent"]["num_updates"] == 3 * 2 * 2


class Failing(Exception):
    """What a user's environment may raise."""


FAULTY = (
    *("--env", "faulty_worlds:FaultyWorld", "--env.video_size", "36,36", "--env.audio_frames", "4"),
    *("--num_steps", "120", "--memory.min_size", "20"),
)


def test_a_run_outlives_faults_of_its_environment_and_tells_them(smoke, monkeypatch, request, tmp_path):
    monkeypatch.syspath_prepend(request.path.parent)
    console = quiet()
    config = smoke(*FAULTY, "--env.kwargs.kind", "nan_sound", "--env.kwargs.once", str(tmp_path / "once"))
    result = train_agent(config, console=console)
    assert result.is_finished
    (row,) = rows_of(result.folder, "fault")
    assert row["step"] == 4
    assert re.search(
        r"environment 0, 4 steps after its reset with seed \d+: ValueError: the audio", row["fault"]
    )
    assert row["fault"] in console.file.getvalue()
    memory = ReplayMemory.load(result.folder / "memory")
    assert len(memory) == 120
    assert np.isfinite(memory.fields.audio).all()


def test_a_run_outlives_the_death_of_its_environments_process(smoke, monkeypatch, request, tmp_path):
    monkeypatch.syspath_prepend(request.path.parent)
    console = quiet()
    config = smoke(*FAULTY, "--env.kwargs.kind", "abort", "--env.kwargs.once", str(tmp_path / "once"))
    assert config.is_apart  # without a word: it is a user's code
    assert not smoke().is_apart
    assert not smoke(*FAULTY, "--env_workers", "false").is_apart
    result = train_agent(config, console=console)
    assert result.is_finished
    (row,) = rows_of(result.folder, "fault")
    assert "its process died of SIGABRT" in row["fault"]
    assert "envs       1, in a process of its own" in console.file.getvalue()


def test_a_run_that_died_with_its_environment_goes_on_with_a_worker(tmp_path, request):
    argv = [*FAULTY, "--env.kwargs.kind", "abort", "--env.kwargs.after", "3", "--runs", str(tmp_path)]
    argv += ["--env.kwargs.once", str(tmp_path / "once"), "--checkpoint_every_steps", "10"]
    command = [sys.executable, "-m", "spl", "train", "agent", "--config", "smoke/agent", *argv]
    dead = subprocess.run(
        [*command, "--env_workers", "false"],
        cwd=request.path.parents[1],  # where faulty_worlds.py is
        capture_output=True,
    )
    assert dead.returncode == -signal.SIGABRT
    assert b"faulty_worlds.py" in dead.stderr  # where it was
    (run,) = (tmp_path / "agent").iterdir()
    assert checkpoint.load(run / "checkpoints")["progress"]["step"] == 40
    os.remove(tmp_path / "once")
    config = replace(read_run(run), env_workers=True)
    console = quiet()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(request.path.parent)
        assert train_agent(config, resume=run, console=console).is_finished


def test_a_run_whose_environment_fails_too_often_is_saved_and_ends_in_one_sentence(
    smoke, monkeypatch, request
):
    monkeypatch.syspath_prepend(request.path.parent)
    console = quiet()
    config = smoke(*FAULTY, "--env.kwargs.kind", "raise", "--env.kwargs.at", "9", "--max_faults", "2")
    with pytest.raises(
        RunError, match=r"failed 3 times \(--max_faults 2\).*: RuntimeError: the motor is stuck"
    ):
        train_agent(config, console=console)
    assert "stopped and saved at step 24; resume with" in console.file.getvalue()
    run = next((Path(config.runs) / "agent").iterdir())
    assert checkpoint.load(run / "checkpoints")["progress"]["step"] == 24


def test_a_loss_that_is_not_finite_stops_the_run_saved_with_its_batch_set_aside(smoke):
    config = smoke("--agent.learning_rate", "1e6", "--agent.huber", "false")
    with pytest.raises(RunError, match=r"update \d+ was not taken: the loss is (inf|nan)"):
        train_agent(config, console=quiet())
    run = next((Path(config.runs) / "agent").iterdir())
    state = checkpoint.load(run / "checkpoints")
    assert all(weight.isfinite().all() for weight in state["agent"]["network"].values())
    batch = load_file(run / f"batch-{state['agent']['num_updates']}.safetensors")
    assert (len(batch["reward"]), len(batch["losses"])) == (8, 3 * 8)  # whole, video alone, audio alone
    assert not batch["losses"].isfinite().all()


def test_a_memory_that_can_never_hold_enough_ends_the_run_in_one_sentence(smoke):
    with pytest.raises(RunError, match=r"full with \d+ transitions and would never hold the 100"):
        train_agent(smoke("--memory.capacity", "100", "--memory.min_size", "100"), console=quiet())


def state_of(folder):
    """Return all that a run left which may not depend on whether it was stopped."""
    state = checkpoint.load(folder / "checkpoints")
    memory = ReplayMemory.load(folder / "memory")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in row.items() if "time/" not in k and k != "seconds"} for row in rows]
    slots = memory.indices()
    return flat(state), timeless, memory.written, [field[slots].tobytes() for field in memory.fields]


def flat(tree):
    if isinstance(tree, dict):
        return {str(key): flat(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [flat(value) for value in tree]
    return np.asarray(tree).tobytes() if hasattr(tree, "tolist") else tree  # NaN equals itself in bytes


def assert_equal(one, other, place="state"):
    """Assert that what two runs left is equal; a failure names the place, not megabytes."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_equal(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_equal(left, right, f"{place}[{index}]")
    else:
        is_equal = one == other
        assert is_equal, place


@pytest.mark.parametrize(
    ("name", "options", "stops"),
    [
        pytest.param("agent", (), (97,), marks=pytest.mark.slow),
        pytest.param(
            *("agent", ("--agent.modality_dropout", "0.4", "--agent.n_step", "3"), (30, 130)),
            marks=pytest.mark.slow,
        ),
        ("agent", ("--num_envs", "3", "--env_workers", "false", "--loop.collect_steps", "5"), (61, 118)),
        pytest.param(
            *("agent", ("--memory.on_disk", "true", "--memory.capacity", "120"), (140,)),
            marks=pytest.mark.slow,
        ),
        pytest.param("mdqn", (), (110, 200), marks=pytest.mark.slow),
        ("atari", (), (77,)),
    ],
    ids=["plain", "dropout", "three envs", "on disk", "mdqn", "atari"],
)
def test_a_run_resumed_equals_one_that_never_stopped_to_the_bit(smoke, name, options, stops):
    config = smoke(*options, name=name)
    whole = train_agent(config, console=quiet()).folder
    folder = None
    for num_steps in (*stops, config.num_steps):
        folder = train_agent(replace(config, num_steps=num_steps), resume=folder, console=quiet()).folder
    assert_equal(state_of(folder), state_of(whole))


def test_a_run_stopped_while_it_learns_goes_on_there(smoke, monkeypatch):
    config = smoke(name="mdqn")
    whole = train_agent(config, console=quiet()).folder
    learn = Training._learn

    def stop_at_the_third(training, updates):
        learn(training, updates)
        if training.parts.agent.num_updates == 3:
            training.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_at_the_third)
    stopped = train_agent(config, console=quiet())
    monkeypatch.undo()
    state = checkpoint.load(stopped.folder / "checkpoints")
    assert state["agent"]["num_updates"] == 3
    assert (len(state["progress"]["drawn"]), state["progress"]["replays_due"]) == (25, 0)
    assert_equal(
        state_of(train_agent(config, resume=stopped.folder, console=quiet()).folder), state_of(whole)
    )


PACE = ("--curriculum.start", "0.3", "--curriculum.warmup", "0.3", "--curriculum.over", "0.6")
PHASES = ("--loop.collect_steps", "8", "--loop.replays", "2", "--loop.mini_buffer", "20")  # of batches of 8
THREE = ("--num_envs", "3", "--env_workers", "false")


@pytest.mark.parametrize(
    ("curriculum", "options"),
    [
        pytest.param("uniform", (), marks=pytest.mark.slow),
        pytest.param("self-paced", (*PACE, "--agent.n_step", "3"), marks=pytest.mark.slow),
        ("self-paced", (*PACE, "--curriculum.modality", "audio", "--curriculum.groups", "action")),
        pytest.param(
            *("self-paced", (*PACE, "--curriculum.scheme", "linear", "--curriculum.groups", "episode")),
            marks=pytest.mark.slow,
        ),
        pytest.param("prioritized", ("--memory.capacity", "90"), marks=pytest.mark.slow),
        pytest.param("spl-to-per", (*PACE, *THREE), marks=pytest.mark.slow),
    ],
    ids=["uniform", "self-paced", "one modality", "soft", "prioritized", "spl-to-per"],
)
def test_any_curriculum_stopped_between_two_steps_and_amid_a_mini_buffer_goes_on_there(
    smoke, monkeypatch, curriculum, options
):
    config = smoke("--curriculum.name", curriculum, *options, *PHASES)
    whole = train_agent(config, console=quiet()).folder
    learn, collect = Training._learn, Training._collect

    def stop_at_some(training, *args):
        (learn if args else collect)(training, *args)
        step, updates = training.done, training.parts.agent.num_updates
        if (training.progress.drawn.size and updates in (34, 56, 83)) or (step == 123 and updates % 6 == 0):
            training.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_at_some)
    monkeypatch.setattr(Training, "_collect", stop_at_some)
    folder, starts = None, 0
    while folder is None or checkpoint.load(folder / "checkpoints")["progress"]["step"] < config.num_steps:
        folder, starts = train_agent(config, resume=folder, console=quiet()).folder, starts + 1
    assert starts == 5, "it was stopped in three mini-buffers and between two steps"
    assert_equal(state_of(folder), state_of(whole))
    last = rows_of(whole)[-1]
    assert ("curriculum/share" in last) == (curriculum != "uniform")


def test_a_run_stopped_after_its_last_step_is_not_finished_before_it_has_learned(smoke, monkeypatch):
    config = smoke("--num_steps", "200", name="mdqn")
    whole = train_agent(config, console=quiet()).folder
    collect = Training._collect

    def stop_at_the_last(training):
        collect(training)
        if training.done == 200:
            training.stop.stop()

    monkeypatch.setattr(Training, "_collect", stop_at_the_last)
    console = quiet()
    stopped = train_agent(config, console=console)
    monkeypatch.undo()
    assert not stopped.is_finished
    assert "stopped and saved at step 200" in console.file.getvalue()
    assert_equal(
        state_of(train_agent(config, resume=stopped.folder, console=quiet()).folder), state_of(whole)
    )


def test_a_run_interrupted_in_mid_step_takes_the_same_step_when_it_is_resumed(smoke, monkeypatch):
    config = smoke("--num_steps", "120")
    whole = train_agent(config, console=quiet()).folder
    step, taken = VectorisedEnv.step, []

    def interrupt_at_the_90th(envs, actions):
        taken.append(actions)
        if len(taken) == 90:
            raise KeyboardInterrupt
        return step(envs, actions)

    monkeypatch.setattr(VectorisedEnv, "step", interrupt_at_the_90th)
    with pytest.raises(KeyboardInterrupt):
        train_agent(config, console=quiet())
    monkeypatch.undo()
    run = max((Path(config.runs) / "agent").iterdir(), key=lambda path: path.stat().st_ctime)
    assert checkpoint.load(run / "checkpoints")["progress"]["step"] == 89
    assert_equal(state_of(train_agent(config, resume=run, console=quiet()).folder), state_of(whole))


def test_a_run_killed_before_its_first_save_begins_again_in_its_folder(smoke):
    config = smoke("--num_steps", "60")
    whole = train_agent(config, console=quiet()).folder
    folder = train_agent(config, console=quiet()).folder
    shutil.rmtree(folder / "checkpoints")
    assert_equal(state_of(train_agent(config, resume=folder, console=quiet()).folder), state_of(whole))


def test_an_environment_that_does_not_repeat_is_told_on_resume(smoke, monkeypatch, request):
    monkeypatch.syspath_prepend(request.path.parent)
    config = smoke(*FAULTY, "--env.kwargs.kind", "unseeded")
    folder = train_agent(replace(config, num_steps=64), console=quiet()).folder
    console = quiet()
    assert train_agent(config, resume=folder, console=console).is_finished
    assert "does not repeat with the same seed and actions" in console.file.getvalue()


def test_a_run_is_saved_by_minutes_too(smoke, monkeypatch):
    saved = []
    monkeypatch.setattr(Training, "save", lambda training: saved.append(training.done))
    train_agent(smoke("--num_steps", "60", "--checkpoint_every_minutes", "1e-9"), console=quiet())
    assert set(range(1, 61)) <= set(saved)


@pytest.mark.parametrize(("num_steps", "rest"), [(250, 50), (200, 0)])
def test_steps_that_no_phase_learns_from_are_told(smoke, num_steps, rest):
    console = quiet()
    train_agent(smoke("--num_steps", str(num_steps), name="mdqn"), console=console)
    told = "the last 50 steps are not learned from: num_steps is no multiple of loop.collect_steps (100)"
    assert (told in " ".join(console.file.getvalue().split())) is bool(rest)


def test_a_run_without_its_checkpoints_begins_again_and_says_so(smoke):
    config = smoke("--num_steps", "60")
    run = train_agent(config, console=quiet()).folder
    shutil.rmtree(run / "checkpoints")
    console = quiet()
    assert train_agent(config, resume=run, console=console).step == 60
    assert f"{run} has no checkpoint: it begins again at step 0" in " ".join(console.file.getvalue().split())
    console = quiet()
    train_agent(replace(config, num_steps=70), resume=run, console=console)
    assert "begins again" not in console.file.getvalue()


def test_a_run_that_learns_nothing_says_so(smoke):
    console = quiet()
    train_agent(smoke("--num_steps", "40", "--memory.min_size", "41"), console=console)
    told = " ".join(console.file.getvalue().split())
    assert "NOTHING IS LEARNED: the first update comes after step 42, and num_steps is 40" in told
    assert "finished without an update: nothing was learned" in told


def test_a_horizon_that_is_never_reached_is_told(smoke):
    console = quiet()
    words = ["--agent.n_step", "1", "--agent.n_step_start", "8", "--agent.anneal_updates", "100"]
    train_agent(smoke("--num_steps", "40", "--memory.min_size", "21", *words), console=console)
    told = " ".join(console.file.getvalue().split())
    assert "horizon ends at n_step 6 and gamma" in told  # 8^0.9 = 6.5 after 10 updates
    assert "after about 10 updates of agent.anneal_updates=100" in told


def test_the_terminal_is_told_what_was_chosen(smoke):
    console = quiet()
    train_agent(smoke("--num_steps", "50"), console=console)
    told = console.file.getvalue()
    assert "video 'video' 64 x 64 -> 1 x 36 x 36, audio 'audio' 1600 at 16,000 Hz -> 1 x 64 x 8" in told
    assert "finished; evaluate with: spl evaluate agent" in told


LEARNS = (
    *("--memory.capacity", "3000", "--checkpoint_every_steps", "2500"),
    *("--encoder.video_features", "64", "--encoder.audio_features", "64", "--encoder.features", "64"),
    *("--agent.learning_rate", "1e-3", "--agent.gamma", "0"),
    *("--agent.target_every_updates", "50", "--loop.mini_buffer", "32", "--loop.batch_size", "32"),
)


@pytest.mark.parametrize(
    "modality",
    [pytest.param("eye", marks=pytest.mark.slow), pytest.param("ear", marks=pytest.mark.slow), "both"],
)
def test_an_agent_solves_the_beacon_and_needs_the_modality_it_is_for(smoke, modality):
    num_steps, decay = ("1200", "700") if modality == "both" else ("2500", "1500")
    steps = ("--num_steps", num_steps, "--agent.epsilon_decay_steps", decay)
    config = smoke("--env.kwargs.sense", modality, *LEARNS, *steps)
    folder = train_agent(config, console=quiet()).folder
    found = evaluate_agent(folder, EvaluateAgentConfig(num_episodes=10, num_seeds=1), console=quiet())[
        "conditions"
    ]
    mean = {name: one["mean"] for name, one in found.items()}
    assert mean["all modalities"] >= 0.95 * mean["oracle"]
    chance, half = 8.0, 16.0
    expected = {"eye": (None, chance), "ear": (chance, None), "both": (half, half)}[modality]
    for name, value in zip(("video only", "audio only"), expected, strict=True):
        if value is None:
            assert mean[name] >= 0.9 * mean["oracle"]
        else:
            assert abs(mean[name] - value) < 4.0  # ten episodes of 32 rounds: three standard errors
    if modality != "both":
        (told,) = explain_agent(folder, ExplainAgentConfig(device="cpu"))["episodes"]
        assert told[{"eye": "share_of_video", "ear": "share_of_audio"}[modality]] > 0.8


def test_an_environment_of_one_modality_trains(smoke, monkeypatch, tmp_path):
    (tmp_path / "pictures.py").write_text(
        "import gymnasium, numpy as np\n"
        "class Pictures(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 255, (40, 40, 3), np.uint8)\n"
        "    action_space = gymnasium.spaces.Discrete(3)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        self.left = 10\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        self.left -= 1\n"
        "        return self.observation_space.high, float(action), False, self.left == 0, {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = train_agent(smoke("--env", "pictures:Pictures"), console=quiet()).folder
    found = evaluate_agent(folder, EvaluateAgentConfig(num_episodes=2, num_seeds=1), console=quiet())
    assert set(found["conditions"]) == {
        "all modalities",
        "without video",
        "noise on video",
        "video fails midway",
        "random actions",
    }


def test_env_config_defaults_to_the_world_of_the_demo():
    assert EnvConfig().id == "spl/Beacon-v0"
    assert np.prod(EnvConfig().video_size) == 84 * 84


def test_a_run_that_another_process_trains_is_refused(smoke):
    config = smoke("--num_steps", "60")
    folder = train_agent(config, console=quiet()).folder
    code = "import sys; from pathlib import Path; from spl.runs.files import hold"
    code += f"\nwith hold(Path({str(folder)!r})):"
    code += "\n    print('held', flush=True)\n    sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match=f"is being trained by process {other.pid}"):
            train_agent(config, resume=folder, console=quiet())
        other.stdin.close()
    assert train_agent(config, resume=folder, console=quiet()).is_finished
