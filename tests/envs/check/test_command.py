"""The environment checker: each planted fault gets its own verdict and no other, ALE and ViZDoom theirs."""

import ctypes.util
import importlib.util
import io
import re
import time

import gymnasium
import numpy as np
import planted
import pytest
from gymnasium import spaces
from rich.console import Console

from spl.agents.config import MemoryConfig, TrainAgentConfig, slack_of
from spl.agents.replay.memory import ReplayMemory
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.envs.check.command import check_env
from spl.envs.check.config import CheckEnvConfig, MemorySize
from spl.envs.check.examine import examine
from spl.envs.check.findings import Finding
from spl.envs.check.sound import Skipping, SoundCheck, judge_skipping
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env

needs_ale = pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="needs ale-py")
needs_doom = pytest.mark.skipif(importlib.util.find_spec("vizdoom") is None, reason="needs vizdoom")


def config(env_id: str, **changes) -> CheckEnvConfig:
    """Examine a world of ``planted``, or another by its whole id."""
    env_id = f"planted:{env_id}" if hasattr(planted, env_id) else env_id
    return CheckEnvConfig(env=EnvConfig(id=env_id), **changes)


def ailing(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    """Return verdict and words of what is not well."""
    assert all(found.fix for found in findings if found.verdict in ("warning", "fault"))
    return {name: (verdict, what) for name, verdict, what, _ in findings if verdict != "ok"}


FAULTS = {
    "silent sound": ("Silent", "signal", "fault", "silent: every sample of 39 chunks is 0"),
    "constant sound": ("Constant", "signal", "fault", "constant: every sample of 39 chunks is 700"),
    "stuck sound": ("Stuck", "signal", "fault", "constant: all 39 chunks are the same"),
    "offset sound": ("Offset", "signal", "warning", "offset: +0.37 of full scale from"),
    "step in the first sound": ("Rests", "signal", "fault", "begins at 0, rest level 128: a step of 1.00"),
    "sound lost to frame skip": ("Skips", "frame skip", "fault", "75% is lost: 400 samples a step"),
    "last one of zeros": ("Blank", "last observation", "fault", "all zeros at step 12 (seed 0)"),
    "both end flags": ("Both", "endings", "fault", "are both true at step 12 (seed 0), 3 times"),
    "shape drift": ("Shape", "shapes", "fault", "15 x 16 uint8 instead of 16 x 16 uint8 at step 7"),
    "dtype drift": ("Dtype", "shapes", "fault", "400 int64 instead of 400 int16 at reset"),
    "NaN": ("NoNumber", "numbers", "fault", "sound holds NaN or infinity at step 9 (seed 0), 3 times"),
    "infinite reward": ("NoReward", "numbers", "fault", "reward is inf at step 2 (seed 0)"),
    "floats beyond 1": ("Bright", "range", "fault", "picture goes from"),
    "seed that does not repeat": ("Unseeded", "seed", "fault", "does not repeat: picture at reset (seed 0)"),
    "seed kept in a new one only": ("Leftover", "seed", "warning", "fresh environment only; in the same one"),
    "seed kept in the same one only": ("Built", "seed", "fault", "not in a fresh one: picture at reset"),
    "error": ("Raises", "errors", "fault", "step 12 (seed 0) raised ZeroDivisionError: "),
    "no rate": ("NoRate", "rate", "fault", "does not declare its audio's sample rate"),
}


@pytest.mark.parametrize(("world", "name", "verdict", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_gets_its_own_verdict_and_no_other(world, name, verdict, words):
    found = ailing(list(examine(config(world))))
    if world == "Raises":
        del found["endings"]  # a note: it raised before an end was seen
    if world == "Dtype":
        assert found.pop("signal")[0] == "note"  # no chunk could be listened to
    assert list(found) == [name]
    assert found[name][0] == verdict
    assert words in found[name][1]


@pytest.mark.parametrize("name", ["World", "spl/Beacon-v0", "spl/Greeting-v0"])
def test_a_healthy_world_has_no_finding_but_good_ones(name):
    findings = list(examine(config(name)))
    assert ailing(findings) == {}
    assert {"picture", "sound", "frame skip", "signal", "seed", "memory"} <= {one.name for one in findings}


def test_the_streams_are_named_with_shape_rate_and_length():
    told = {one.name: one.what for one in examine(config("World"))}
    assert told["picture"] == "'picture', 16 x 16 uint8 -> 1 x 84 x 84"
    assert told["sound"] == "'sound', 400 int16, 8,000 Hz (50 ms) -> 1 x 64 x 8"
    assert told["endings"] == "0 terminated, 3 truncated"


def test_an_episode_that_does_not_end_is_a_note():
    findings = list(examine(config("World", num_steps=11)))
    assert list(ailing(findings)) == ["endings"]
    assert ailing(findings)["endings"][0] == "note"


def test_both_flags_at_gymnasiums_own_time_limit_are_right():
    gymnasium.register("LimitOfDoctor-v0", planted.Ends, max_episode_steps=12)
    findings = list(examine(config("LimitOfDoctor-v0", num_steps=24)))
    del gymnasium.registry["LimitOfDoctor-v0"]
    assert ailing(findings) == {}
    assert "2 terminated" in next(one.what for one in findings if one.name == "endings")


def test_the_bytes_told_are_those_of_the_memory():
    env = make_env(EnvConfig())
    memory = ReplayMemory(
        env.spec_of_streams, 500, slack=slack_of(TrainAgentConfig(memory=MemoryConfig(capacity=500)))
    )
    told = next(
        one.what
        for one in examine(config("spl/Beacon-v0", num_steps=3, memory=MemorySize(capacity=500)))
        if one.name == "memory"
    )
    assert memory.nbytes == (500 + 64) * 8_103
    assert told == f"8,103 bytes a transition; a memory of 500 takes {memory.nbytes / 2**20:,.0f} MiB of RAM"


@pytest.mark.parametrize(
    ("known", "verdict", "words"),
    [
        (Skipping(512, 512, None, None, 4), "fault", "75% is lost"),
        (Skipping(1260 * 4, 1260, None, None, 4), "ok", "all 4 frames"),
        (Skipping(512, None, 30_720, 60.0, 1), "ok", "16.67 ms of sound cover the step of 16.67 ms"),
        (Skipping(512, None, 30_720, 60.0, None), "ok", "cover the step"),
        (Skipping(512, None, 30_720, 30.0, None), "warning", "if render_fps 30 is right"),
        (Skipping(512, None, 30_720, 60.0, 4), "warning", "may be lost"),  # or render_fps counts steps
        (
            Skipping(256, None, 30_720, 60.0, 4),
            "fault",
            "88% is lost: 8.333 ms of sound in a step of 66.67 ms",
        ),
        (Skipping(512, None, 30_720, None, None), "note", "unknown whether sound is lost"),
        (Skipping(512, None, None, 60.0, 4), "note", "no sample rate"),
        (Skipping(512, None, None, None, 1), "ok", "a step is one frame"),
    ],
)
def test_lost_sound_is_told_only_as_far_as_it_is_known(known, verdict, words):
    found = judge_skipping(known)
    assert found.verdict == verdict
    assert words in found.what


@pytest.mark.parametrize(
    ("levels", "rest_level", "verdict"),
    [
        ((128, 128, 200), None, "ok"),
        ((0, 0, 0, 200), None, "ok"),  # rests at 0, and begins there
        ((0, 128, 128, 200), None, "fault"),
        ((0, 128, 128, 200), 128, "fault"),
        ((128, 248, 248, 248), 128, "warning"),  # begins where it says, and hums at a constant level
    ],
)
def test_the_rest_level_of_an_unsigned_sound(levels, rest_level, verdict):
    sound_check = SoundCheck(spaces.Box(0, 255, (64,), np.uint8), rest_level)
    for level in levels:
        chunk = np.full(64, level, np.uint8)
        chunk[::2] -= 40 * (level == 200)
        sound_check.add(chunk)
    (found,) = sound_check.findings()
    assert found.verdict == verdict


def test_pulses_to_one_side_of_the_rest_level_are_no_offset():
    sound_check = SoundCheck(spaces.Box(0, 255, (64,), np.uint8), 128)
    for period in (2, 3, 4):
        sound_check.add((128 + 100 * (np.arange(64) % period > 0)).astype(np.uint8))
    (found,) = sound_check.findings()
    assert found.verdict == "ok"


def test_the_death_of_the_process_becomes_a_sentence(capfd):
    (died,) = [found for found in check_env(config("Aborts")) if found.verdict == "fault"]
    assert died.what == "the process died of SIGABRT at step 6 (seed 0): libear: assertion failed: gain > 0"
    assert capfd.readouterr().err == ""  # its last words are in the sentence only


def test_an_error_that_is_known_is_told_and_else_what_may_have_ended_the_process():
    found = {world: check_env(config(world, num_episodes=1))[-1] for world in ("FailsToClose", "Exits")}
    assert found["FailsToClose"][:3] == ("errors", "fault", "closing it raised ZeroDivisionError: no motor")
    assert re.fullmatch(r"fix what raised it \(.*planted.py, line \d+\)", found["FailsToClose"].fix)
    assert found["Exits"].what == "the process died of exit code 3 at step 4 (seed 0)"
    assert found["Exits"].fix.startswith("find what calls os._exit, and raise an error instead")


def test_a_seed_that_only_a_fresh_process_repeats_is_told_from_one_that_nothing_does():
    built, unseeded = (
        next(one for one in check_env(config(name, num_episodes=1)) if one.name == "seed")
        for name in ("Built", "Unseeded")
    )
    assert built.what.startswith("repeats in a fresh process only; the seed repeats in the same environment")
    assert unseeded.what.startswith("the seed does not repeat")
    assert built.verdict == unseeded.verdict == "fault"


def test_a_hang_becomes_a_sentence_and_ends():
    console = Console(file=io.StringIO(), force_terminal=True)
    began = time.monotonic()
    found = check_env(config("Hangs", step_timeout_s=2.0), console=console)
    assert time.monotonic() - began < 60
    assert found[0].name == "actions"  # what was found before is kept
    assert found[-1].what == "hangs: step 4 (seed 0) took longer than 2 s"
    assert "step 4 (seed 0)" in console.file.getvalue()


def test_the_command_prints_fixes_and_fails_only_for_a_fault(capsys):
    assert cli.main(["check", "env", "planted:Silent"]) == 1
    told = capsys.readouterr().out
    assert "silent: every sample" in told
    assert "fix: return the samples that the step made" in told
    assert told.endswith("planted:Silent: 1 fault\n")
    assert cli.main(["check", "env", "planted:Offset", "--num_episodes", "1"]) == 0
    assert capsys.readouterr().out.endswith("1 warning\n")


def test_a_mistake_in_the_child_is_the_users(capsys):
    assert cli.main(["check", "env", "FrozenLake-v1"]) == 2
    assert "spl: no picture, sound or vector in the observation; found Discrete" in capsys.readouterr().err
    assert cli.main(["check", "env"]) == 2
    assert "spl check env spl/Beacon-v0" in capsys.readouterr().err
    with pytest.raises(ValueError, match="steps must be at least 1"):
        CheckEnvConfig(num_steps=0)


@needs_ale
def test_ale_as_shipped_loses_sound_and_begins_with_a_step():
    found = ailing(list(examine(config("ALE/Pong-v5", raw=True, num_steps=300))))
    assert "75% is lost: 512 samples a step" in found["frame skip"][1]
    assert "begins at 0, rest level 128" in found["signal"][1]
    assert set(found) == {"rate", "frame skip", "signal", "endings"}
    assert found["endings"][0] == "note"


@needs_ale
def test_ale_as_the_agent_gets_it_is_healthy():
    findings = list(examine(config("ALE/Pong-v5", num_steps=300)))
    assert {verdict for verdict, _ in ailing(findings).values()} <= {"note"}
    assert "fixed" in {one.name for one in findings}
    with pytest.raises(UsageError, match="frameskip loses three quarters of ALE's sound"):
        list(examine(CheckEnvConfig(env=EnvConfig(id="ALE/Pong-v5", kwargs={"frameskip": 4}))))


@needs_doom
def test_vizdoom_as_shipped_dies_or_shows_blank_ends_and_both_flags(tmp_path, monkeypatch):
    """Where OpenAL is, its effects kill the process; where it is not, there is no sound at all."""
    monkeypatch.chdir(tmp_path)  # the engine writes its settings here, and keeps them
    doom = EnvConfig(id="VizdoomBasicAudio-v1", sample_rate_hz=44_100, kwargs={"frame_skip": 4})
    findings = check_env(CheckEnvConfig(env=doom, raw=True))
    found = ailing(findings)
    if "process" in found:
        assert "the process died of SIG" in found["process"][1]
        assert "+snd_efx 0" in findings[-1].fix
    elif ctypes.util.find_library("openal") is None:
        assert "silent" in found["signal"][1]
    doom = EnvConfig(
        id="VizdoomBasicAudio-v1", kwargs={"frame_skip": 4, "game_args": "+snd_efx 0"}, sample_rate_hz=44_100
    )
    found = ailing(check_env(CheckEnvConfig(env=doom, raw=True)))
    assert "all zeros at step" in found["last observation"][1]
    assert "terminated and truncated are both true at step 75" in found["endings"][1]
    assert "process" not in found


@needs_doom
def test_vizdoom_as_the_agent_gets_it_has_no_fault_where_it_is_heard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = ailing(check_env(config("VizdoomBasicAudio-v1")))
    faults = {name for name, (verdict, _) in found.items() if verdict == "fault"}
    assert faults <= {"signal"}
    assert all("silent" in found[name][1] for name in faults)
