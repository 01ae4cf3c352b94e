"""Several environments at once: seeds, true final observations, going back, and every way to fail."""

import gc
import multiprocessing
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spl.config.errors import RunError, UsageError
from spl.envs import resumable as seeded
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.envs.resumable import Position, digest_of, reset_seed
from spl.envs.vector import VectorisedEnv
from spl.envs.workers import PARTING_S, Apart
from spl.processes.signals import interrupts_blocked
from spl.records import Observation

EPISODE = 12  # steps of a faulty world's episode


@pytest.fixture(autouse=True)
def _worlds_can_be_imported(request, monkeypatch):
    monkeypatch.syspath_prepend(request.path.parent)


def envs_of(kind="none", *, num_envs=1, is_apart=False, timeout_s=None, seed=3, **kwargs) -> VectorisedEnv:
    config = EnvConfig(
        id="faulty_worlds:FaultyWorld",
        kwargs={"kind": kind, **kwargs},
        video_size=(16, 16),
        num_mels=8,
        audio_frames=2,
    )
    return VectorisedEnv(config, num_envs=num_envs, seed=seed, is_apart=is_apart, timeout_s=timeout_s)


def are_equal(one: Observation, two: Observation) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_each_environment_has_seeds_of_its_own_that_repeat():
    seeds = {reset_seed(run, episode, env) for run in range(5) for episode in range(20) for env in range(4)}
    assert len(seeds) == 400
    assert reset_seed(2, 5, 1) == reset_seed(2, 5, 1)
    assert reset_seed(2, 5) == reset_seed(2, 5, 0)


def test_environments_made_here_leave_signals_as_they_are(monkeypatch):
    """A run that is itself a worker, of a grid, is saved when the process above ends."""
    monkeypatch.setattr("spl.envs.workers.serve_above", lambda: pytest.fail("it would end at once"))
    envs_of(num_envs=2).close()


@pytest.mark.parametrize("is_apart", [False, True], ids=["here", "apart"])
def test_steps_are_those_of_the_environments_alone(is_apart):
    envs = envs_of(num_envs=2, is_apart=is_apart)
    alone = [make_env(envs.config) for _ in range(2)]
    begun = envs.start().begun
    actions = np.random.default_rng(0).integers(3, size=(2 * EPISODE + 3, 2))
    for env in range(2):
        assert are_equal(begun[env], alone[env].reset(seed=reset_seed(3, 0, env))[0])
    for step, pair in enumerate(actions):
        arrival = envs.step(pair.tolist())
        assert arrival.faults == []
        for env in range(2):
            observation, reward, terminated, truncated, _ = alone[env].step(int(pair[env]))
            assert are_equal(arrival.reached[env], observation)  # at the end, the true final one
            assert arrival.rewards[env] == reward
            assert (arrival.terminated[env], arrival.truncated[env]) == (terminated, truncated)
            assert terminated == ((step + 1) % EPISODE == 0)
            assert (env in arrival.begun) == terminated
            if terminated:
                first, _ = alone[env].reset()
                assert are_equal(arrival.begun[env], first)
    assert [place.seeding for place in envs.positions()] == [0, 0]
    assert envs.positions()[1].actions == tuple(actions[:, 1].tolist())
    envs.close()


@pytest.mark.parametrize("is_apart", [False, True], ids=["here", "apart"])
def test_vectorised_envs_sent_to_a_position_go_on_from_there(is_apart):
    first, second = envs_of(num_envs=2), envs_of(num_envs=2, is_apart=is_apart)
    first.start()
    for _ in range(EPISODE + 4):
        first.step([2, 1])
    arrival = second.go_to(first.positions())
    assert arrival.begun == {}
    assert arrival.faults == []
    assert second.positions() == first.positions()
    for _ in range(EPISODE):
        one, two = first.step([0, 2]), second.step([0, 2])
        assert all(are_equal(a, b) for a, b in zip(one.reached, two.reached, strict=True))
    second.close()


def test_a_new_seed_is_given_at_the_first_episode_that_begins_late_enough(monkeypatch):
    monkeypatch.setattr(seeded, "SEED_EVERY_STEPS", EPISODE + 1)
    envs = envs_of()
    envs.start()
    seedings = []
    for _ in range(4 * EPISODE):
        begun = envs.step([1]).begun
        (place,) = envs.positions()
        seedings.append(place.seeding)
    assert seedings == [0] * (2 * EPISODE - 1) + [1] * (2 * EPISODE) + [2]
    first, _ = make_env(envs.config).reset(seed=reset_seed(3, 2))
    assert are_equal(begun[0], first)
    assert place.actions == ()


def test_an_environment_that_does_not_repeat_is_told_and_begins_anew():
    first = envs_of("unseeded")
    first.start()
    for _ in range(4):
        first.step([1])
    second = envs_of("unseeded")
    arrival = second.go_to(first.positions())
    assert list(arrival.begun) == [0]
    assert arrival.faults[0].seed == reset_seed(3, 0)
    assert arrival.faults[0].step == 4
    assert "does not repeat with the same seed and actions" in str(arrival.faults[0])
    (place,) = second.positions()
    assert place == Position(1, (), digest_of(arrival.begun[0]))


@pytest.mark.parametrize("is_apart", [False, True], ids=["here", "apart"])
def test_values_beyond_their_range_are_cut_and_told_once_for_all_environments(is_apart, tmp_path):
    envs = envs_of("loud", num_envs=2, is_apart=is_apart)  # at the fifth step of each episode
    envs.start()
    told = []
    for _ in range(30):
        assert envs.step([1, 1]).faults == []
        told += envs.take_news()
    envs.close()
    (sentence,) = told
    assert sentence.startswith("the audio goes from")
    assert "beyond its range of -1 to 1: values outside are clipped; correct the bounds" in sentence


@pytest.mark.parametrize("is_apart", [False, True], ids=["here", "apart"])
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("raise", "RuntimeError: the motor is stuck"),
        ("exit", "SystemExit: 0$"),
        ("reward", "the reward must be finite as a float32, got nan"),
        ("big_reward", r"the reward must be finite as a float32, got 1e\+39"),
        ("nan_sound", "the audio must be finite, got NaN or infinity"),
        ("shape", r"the video must be uint8 of shape \(16, 16\) .* got uint8 of shape \(9, 16\)"),
        ("dtype", "the video must be uint8 .* got float64"),
    ],
)
def test_a_fault_is_told_and_only_its_environment_begins_anew(kind, told, is_apart, tmp_path):
    envs = envs_of(kind, num_envs=2, is_apart=is_apart, once=str(tmp_path / "once"))
    envs.start()
    for _ in range(4):
        assert envs.step([1, 1]).faults == []
    arrival = envs.step([1, 1])
    (fault,) = arrival.faults
    assert re.search(told, str(fault))
    assert (fault.step, fault.seed) == (4, reset_seed(3, 0, fault.env))
    assert arrival.reached[fault.env] is None
    assert list(arrival.begun) == [fault.env]
    other = 1 - fault.env
    assert arrival.reached[other] is not None
    places = envs.positions()
    assert (places[fault.env].seeding, places[fault.env].actions) == (1, ())
    assert (places[other].seeding, places[other].actions) == (0, (1,) * 5)
    for _ in range(2 * EPISODE):
        assert envs.step([0, 2]).faults == []
    envs.close()


@pytest.mark.parametrize(
    ("kind", "told"),
    [("abort", "its process died of SIGABRT"), ("hang", "longer than step_timeout_s=3")],
)
def test_a_worker_that_dies_or_hangs_is_replaced_and_the_others_go_on(kind, told, tmp_path):
    envs = envs_of(kind, num_envs=3, is_apart=True, timeout_s=3.0, once=str(tmp_path / "once"))
    alone = envs_of(num_envs=3)
    envs.start()
    alone.start()
    for _ in range(4):
        envs.step([1, 1, 1])
        alone.step([1, 1, 1])
    started = time.monotonic()
    arrival = envs.step([2, 2, 2])
    assert time.monotonic() - started < 40
    (fault,) = arrival.faults
    assert told in str(fault)
    assert arrival.reached == [None] * 3  # the step is taken again
    assert list(arrival.begun) == [fault.env]
    one, two = envs.step([0, 0, 0]), alone.step([0, 0, 0])
    for env in {0, 1, 2} - {fault.env}:
        assert are_equal(one.reached[env], two.reached[env])
    envs.close()


def test_an_environment_that_cannot_be_reset_ends_the_run_in_one_sentence():
    with pytest.raises(RunError, match="could not be reset, twice: RuntimeError: no reset today"):
        envs_of("no reset").start()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("no reset apart", "could not be reset, twice: Untransportable: its file is open$"),
        ("death at reset", "environment 0 of .* could not be reset: its process died of exit code 9"),
    ],
)
def test_a_worker_that_cannot_be_reset_ends_the_run_in_one_sentence(kind, told):
    envs = envs_of(kind, num_envs=2, is_apart=True)
    with pytest.raises(RunError, match=told):
        envs.start()


@pytest.mark.parametrize("is_apart", [False, True], ids=["here", "apart"])
def test_what_an_environment_raises_while_it_is_closed_concerns_nobody(is_apart, capfd):
    envs = envs_of("no close", num_envs=2, is_apart=is_apart)
    envs.start()
    envs.close()
    assert "no close today" not in capfd.readouterr().err


def test_a_time_limit_needs_workers():
    with pytest.raises(ValueError, match="env_workers=true"):
        envs_of(timeout_s=1.0)


def test_an_unknown_environment_is_refused_before_any_worker_starts():
    with pytest.raises(UsageError, match="there is no environment"):
        VectorisedEnv(EnvConfig(id="Nowhere-v0"), num_envs=2, seed=0, is_apart=True, timeout_s=None)


def test_workers_import_no_torch():
    code = "import spl.envs.vector, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_script_without_a_main_guard_is_told_in_one_sentence(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from spl.envs.config import EnvConfig\n"
        "from spl.envs.vector import VectorisedEnv\n"
        "VectorisedEnv(EnvConfig(), num_envs=2, seed=0, is_apart=True, timeout_s=None)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert "start the run under if __name__ == '__main__'" in done.stderr.splitlines()[-1]
    assert "bootstrapping phase" not in done.stderr


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="asks /proc who is alive")
def test_workers_end_with_the_process_above_them_even_if_they_hang(request):
    code = (
        f"import os, sys; sys.path[:0] = {[str(folder) for folder in request.path.parents[:2]]!r}\n"
        "from test_vector import envs_of\n"
        "envs = envs_of('hang', num_envs=2, is_apart=True, at=1)\n"
        "envs.start()\n"
        "envs._envs.step_async([0, 0])\n"
        "print(*(process.pid for process in envs._envs.processes), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    ends = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # a zombie waits for a process that is not ours


@pytest.mark.parametrize("is_apart", [False, True], ids=["here", "apart"])
@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "actions",
            r"the same actions, but of \S+:DifferentWorld environment 0 has \d and environment 1 has \d",
        ),
        ("sound", r"show the same, but of \S+:DifferentWorld .* \(1, 1, 40\d\) and environment"),
    ],
)
def test_environments_of_one_run_that_are_not_alike_are_refused(what, said, is_apart, tmp_path, capfd):
    config = EnvConfig(
        id="faulty_worlds:DifferentWorld",
        kwargs={"counter": str(tmp_path / "counter"), "what": what},
        audio_features="waveform",
    )
    with pytest.raises(UsageError, match=said):
        VectorisedEnv(config, num_envs=2, seed=0, is_apart=is_apart, timeout_s=None)
    assert "Traceback" not in capfd.readouterr().err


def test_an_interrupt_while_environments_start_ends_them_without_a_word(monkeypatch, capfd):
    def interrupted(envs: Apart, *_: object) -> None:
        envs.call_async("describe")  # what they answer, nobody hears
        raise KeyboardInterrupt

    monkeypatch.setattr(Apart, "get_attr", interrupted)
    others = multiprocessing.active_children()
    with pytest.raises(KeyboardInterrupt):
        VectorisedEnv(EnvConfig(), num_envs=1, seed=0, is_apart=True, timeout_s=None)
    gc.collect()
    for worker in multiprocessing.active_children():
        if worker not in others:
            worker.join(PARTING_S)
            assert not worker.is_alive()
    assert capfd.readouterr().err == ""


def test_processes_that_start_are_not_interrupted_before_they_can_look_away():
    told = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    with interrupts_blocked():
        within = subprocess.check_output([sys.executable, "-c", told], text=True)
    assert within.strip() == "True"
    assert subprocess.check_output([sys.executable, "-c", told], text=True).strip() == "False"


def test_nor_is_the_first_before_which_python_starts_its_tracker_of_resources():
    code = (
        "import signal; from multiprocessing import resource_tracker\n"
        "from spl.processes.signals import interrupts_blocked\n"
        "with interrupts_blocked():\n"
        "    resource_tracker.ensure_running()  # as the first process does\n"
        "    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "True"
