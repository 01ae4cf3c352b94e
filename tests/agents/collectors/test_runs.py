"""Collectors on Ray: exact counts, the same run to the bit where it is ordered, and whatever dies."""

import io
import json
import os
import re
import resource
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from spl.agents.collectors import actor, remote
from spl.agents.collectors.options import ladder_epsilon
from spl.agents.config import TrainAgentConfig
from spl.agents.replay.memory import ReplayMemory
from spl.agents.train import train_agent
from spl.cli import main as cli
from spl.config.errors import RunError, UsageError
from spl.config.parse import parse
from spl.runs import checkpoint
from tests.stub_ray import RayError, instead_of_ray

TINY = ("--num_steps", "123", "--collectors", "3", "--chunk_steps", "8", "--memory.capacity", "1200")


@pytest.fixture
def stub(monkeypatch):
    """Return a maker of stand-ins, of which the last made is what ``import ray`` gives."""
    return partial(instead_of_ray, monkeypatch)


def train(config, **options):
    """Return the folder of a run, and what it said."""
    told = io.StringIO()
    console = Console(file=told, width=400)
    result = train_agent(config, console=console, **options)
    return result, told.getvalue()


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if key != "seconds" and not key.startswith("time/")}
        for row in rows
    ]


def leaves(tree):
    """Yield what a checkpoint holds, arrays as bytes."""
    if isinstance(tree, dict):
        for key in sorted(tree, key=str):
            yield key
            yield from leaves(tree[key])
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from leaves(one)
    else:
        yield np.ascontiguousarray(np.asarray(tree)).tobytes() if hasattr(tree, "shape") else tree


def left_by(folder):
    """Return all that a run left: its checkpoint, its memory, its rows but for times."""
    memory = ReplayMemory.load(folder / "memory")
    slots, envs = memory.indices()
    arrays = [field[slots, envs].tobytes() for field in memory.fields]
    state = checkpoint.load(folder / "checkpoints")
    return [*leaves(state)], memory.written, arrays, rows_of(folder)


def written_in(memory):
    return np.arange(memory.slots)[:, None] < np.array(memory.written)


def num_taken(memory):
    """Return how many steps a memory holds that never was full; a last one that is open has action -1."""
    return int((memory.fields.action[written_in(memory)] >= 0).sum())


def killing(every):
    """Return what kills a collector before each so many of the waits in which it has begun."""
    waits = iter(range(1, 10**9))

    def kill(actors):
        begun = [one for one in actors if getattr(one.it, "_life", None) is not None]
        if len(begun) == len(actors) and (number := next(waits)) % every == 0:
            begun[number // every % len(begun)].kill()

    return kill


def test_counts_are_those_of_one_process(smoke, stub):
    stub()
    config = smoke(*TINY)
    result, told = train(config)
    assert result.step == 123
    memory = ReplayMemory.load(result.folder / "memory", capacity=1200)
    assert num_taken(memory) == 123  # each step once
    assert all(count > 8 for count in memory.written)
    alone, _ = train(smoke("--num_steps", "123", "--memory.capacity", "1200"))
    states = [checkpoint.load(folder / "checkpoints") for folder in (result.folder, alone.folder)]
    assert states[0]["agent"]["num_updates"] == states[1]["agent"]["num_updates"] == 42
    assert states[0]["progress"]["episode"] == sum(
        "rollout/episode_return" in row for row in rows_of(result.folder)
    )
    rows = rows_of(result.folder)
    assert all(row["collector/weights_age"] >= 0 for row in rows)
    assert rows[-1]["collector/weights_age"] > 0
    last = next(row for row in rows[::-1] if "train/n_updates" in row)
    assert {last[f"collector/{index}/restarts"] for index in range(3)} == {0}
    assert "collectors 3 on " in told
    assert "collector 2 " in told


def test_ordered_repeats_to_the_bit_and_resumes_so(smoke, stub):
    config = smoke(*TINY, "--ordered", "true", "--agent.modality_dropout", "0.2")
    stub(seed=1)
    whole = left_by(train(config)[0].folder)
    stub(seed=2)
    assert left_by(train(config)[0].folder) == whole
    assert all(row["collector/weights_age"] <= (2 * 3 + 1) * 4 for row in whole[3])  # two chunks of each
    for step in (50, 90):  # in a chunk, and where updates are due
        stub(seed=step)

        def stop(now, episode, step=step):
            return now < step

        result, _ = train(config, on_episode=stop)
        assert not result.is_finished
        stub(seed=3)
        result, _ = train(config, resume=result.folder)
        assert result.is_finished
        assert left_by(result.folder) == whole


def test_ordered_a_killed_collector_changes_nothing(smoke, stub):
    config = smoke(*TINY, "--ordered", "true")
    stub()
    whole = left_by(train(config)[0].folder)
    stub(before_wait=killing(3))
    result, told = train(config)
    found = left_by(result.folder)
    assert told.count("it goes on after its last chunk") >= 2
    assert found[1:3] == whole[1:3]
    died = [row for row in found[3] if "collector" in row]
    assert len(died) == told.count(" died (its process died)") >= 2
    kept = [
        {key: one for key, one in row.items() if "restarts" not in key} for row in found[3] if row not in died
    ]
    assert kept == [{key: one for key, one in row.items() if "restarts" not in key} for row in whole[3]]


def test_a_killed_collector_begins_anew_and_counts_stay_exact(smoke, stub):
    stub(before_wait=killing(3))
    result, told = train(smoke(*TINY))
    assert result.step == 123
    memory = ReplayMemory.load(result.folder / "memory", capacity=1200)
    assert num_taken(memory) == 123
    died = told.count("it begins anew, and its open episodes have no end")
    assert died >= 2
    last = next(row for row in rows_of(result.folder)[::-1] if "train/n_updates" in row)
    assert sum(last[f"collector/{index}/restarts"] for index in range(3)) == died
    state = checkpoint.load(result.folder / "checkpoints")
    assert state["agent"]["num_updates"] == 42
    taken = (memory.fields.action >= 0) & written_in(memory)
    assert sorted(taken.sum(axis=0) % 8)[:2] == [0, 0]  # whole chunks, but for the last of the run
    begun = (memory.fields.age[written_in(memory)] == 0).sum()
    assert 0 <= begun - (state["progress"]["episode"] + 3) <= died  # episodes that stay without an end


def test_a_run_without_order_resumes_with_new_collectors(smoke, stub):
    stub()
    config = smoke(*TINY)
    result, _ = train(config, on_episode=lambda step, _: step < 60)
    assert not result.is_finished
    result, _ = train(config, resume=result.folder)
    assert result.is_finished
    assert result.step == 123
    memory = ReplayMemory.load(result.folder / "memory", capacity=1200)
    assert num_taken(memory) == 123


def test_a_collector_that_always_dies_ends_the_run(smoke, stub):
    stub(before_wait=lambda actors: actors[1].kill() if actors[1].it.player else None)
    with pytest.raises(RunError, match=r"collector 1 died 6 times, bringing nothing"):
        train(smoke(*TINY, "--ordered", "true"))


def test_the_ladder_gives_each_its_epsilon_and_tells_the_lowest_apart(smoke, stub):
    assert [round(ladder_epsilon(index, 4), 6) for index in range(4)] == [0.4, 0.047156, 0.005559, 0.000655]
    assert ladder_epsilon(0, 1) == 0.4
    ray = stub()
    result, _ = train(smoke(*TINY, "--agent.epsilon_ladder", "true"))
    seen = [one.it.player.acting.epsilon_at(10) for one in ray.actors]
    assert seen == [ladder_epsilon(index, 3) for index in range(3)]
    last = next(row for row in rows_of(result.folder)[::-1] if "train/n_updates" in row)
    assert last["rollout/ep_rew_mean_lowest_epsilon"] == last["collector/2/episode_return"]


def test_more_collectors_than_cores_share_them_and_a_cluster_is_joined(smoke, stub):
    ray = stub()
    _, told = train(smoke(*TINY, "--ray", "auto"))
    assert "3 collectors share 1 core: they wait for each other" in told
    assert ray.options["num_cpus"] == 0
    assert ray.options["max_restarts"] == -1
    assert ray.options["max_task_retries"] == 0
    assert ray.joined == ["auto", "left"]


def test_several_environments_of_each_collector_have_rings_of_their_own(smoke, stub):
    stub()
    result, _ = train(smoke(*TINY, "--num_envs", "2", "--ordered", "true"))
    assert result.step == 124  # the last step is taken in both
    memory = ReplayMemory.load(result.folder / "memory", capacity=1200)
    assert len(memory.written) == 6
    assert num_taken(memory) == 124


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ordered", "true"], "ordered is an option of collectors: say how many, --collectors 4"),
        (["--chunk_steps", "8"], "chunk_steps is an option of collectors: say how many, --collectors 4"),
        (
            ["--ray", "auto"],
            "ray is an option of collectors: say how many, --collectors 4, or of several seeds",
        ),
        (["--agent.epsilon_ladder", "true"], "agent.epsilon_ladder is an option of collectors: say how many"),
        (["--collectors", "2", "--seeds", "0-1"], "play for one training of spl train agent: leave them out"),
        (["--collectors", "2", "--ordered", "true", "--save_memory", "false"], "needs its memory"),
        (["--collectors", "99", "--memory.capacity", "700"], "memory.capacity must be at least 792"),
    ],
)
def test_options_that_do_not_fit_are_a_sentence(words, sentence, capsys):
    assert cli.main(["train", "agent", *words]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_grids_searches_and_measurements_take_no_collectors(capsys):
    for command in (
        ["ablate", "agent", "--vary.agent.n_step", "1,3"],
        ["bench"],
        ["ablate", "curriculum", "--of", "agent"],
    ):
        assert cli.main([*command, "--collectors", "2"]) == 2
        assert "leave" in capsys.readouterr().err


def test_an_environment_that_cannot_be_made_there_is_named_with_the_cure(smoke, stub, monkeypatch):
    stub()

    def refuse(config):
        raise UsageError("there is no module 'mine'")

    monkeypatch.setattr(actor, "make_env", refuse)
    config = smoke(*TINY)
    with pytest.raises(
        UsageError, match=r"cannot|not on .*: there is no module 'mine'. Install what it needs there"
    ):
        train(config)
    assert not any(folder.iterdir() for folder in [*config_runs(config)])


def test_a_machine_without_spl_is_named(smoke, stub):
    ray = stub(without_spl=["worker-7", "worker-3"])
    with pytest.raises(
        UsageError, match=r"^--ray auto: spl is missing on worker-3, worker-7: install it as it is"
    ):
        train(smoke(*TINY, "--ray", "auto"))
    assert ray.joined == ["auto", "left"]
    assert not ray.actors
    assert remote.cause_of(RayError("No module named 'spl'")) == "its machine has no spl"


def test_a_full_disk_stops_the_run_in_a_sentence_and_it_goes_on_from_its_save(smoke, stub, capfd):
    words = ("--ordered", "true", "--memory.on_disk", "true", "--checkpoint_every_steps", "40")
    config = smoke(*TINY, "--env.kwargs.num_rounds", "2", *words, "--track", "tensorboard")
    stub(seed=1)
    whole = left_by(train(config)[0].folder)
    stub(seed=2)
    limits, told = resource.getrlimit(resource.RLIMIT_FSIZE), io.StringIO()

    def fill(step, _):
        if step > 90:  # no file may grow any more
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))

    try:
        with pytest.raises(OSError, match=r"^cannot save .*: File too large; .*, and what was saved before"):
            train_agent(config, console=Console(file=told, width=400), on_episode=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "Traceback" not in "".join(capfd.readouterr())
    (folder,) = re.findall(r"last saved at step 80; resume with: .*--resume (\S+)", told.getvalue())
    result, _ = train(config, resume=Path(folder))
    assert result.is_finished
    assert left_by(result.folder) == whole


def config_runs(config):
    return [folder for folder in [Path(config.runs) / "agent"] if folder.exists()]


def test_an_ordered_run_goes_on_without_its_memory(smoke, stub):
    stub()
    config = smoke(*TINY, "--ordered", "true")
    result, _ = train(config, on_episode=lambda step, _: step < 60)
    shutil.rmtree(result.folder / "memory")
    result, _ = train(config, resume=result.folder)
    assert result.is_finished
    assert result.step == 123


def test_nothing_of_ray_is_imported_without_collectors(smoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # importing it fails
    assert train(smoke("--num_steps", "44"))[0].is_finished


def test_options_are_read_back():
    config = parse(TrainAgentConfig, ["--collectors", "2"], prog="spl")
    assert config.num_rings == 2


def test_ray_itself_gives_the_same_to_the_bit_though_a_collector_is_killed(smoke, stub, monkeypatch):
    real = pytest.importorskip("ray")
    words = ("--num_steps", "71", "--collectors", "2", "--chunk_steps", "8", "--ordered", "true")
    config = smoke(*words, "--memory.capacity", "1200")
    stub()
    expected = left_by(train(config)[0].folder)
    monkeypatch.setitem(sys.modules, "ray", real)
    before, killed = remote.Remote.receive, []

    def receive(self):
        came = before(self)
        if came and self.index == 1 and not killed:  # after its first chunk
            killed.append(True)
            os.kill(self._ray.get(self._actor.look.remote()).process, signal.SIGKILL)
        return came

    monkeypatch.setattr(remote.Remote, "receive", receive)
    result, told = train(config)
    assert told.count("collector 1 died (its process died): it goes on after its last chunk") == 1
    assert left_by(result.folder)[1:3] == expected[1:3]
