"""What environments answer in other forms: taken where it can be meant in one way, else refused.

The fix that the environment checker names makes its finding go away.
"""

import inspect
import os
from pathlib import Path

import bad_answers
import gymnasium
import numpy as np
import planted
import pytest

from spl.agents.record import RecordConfig, record
from spl.agents.train import train_agent
from spl.cli import main as cli
from spl.config.errors import RunError, UsageError
from spl.envs.api_checks import flag_of, number_of
from spl.envs.check.command import check_env
from spl.envs.check.config import CheckEnvConfig
from spl.envs.check.examine import examine
from spl.envs.check.findings import Finding
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env


def config(name: str, **changes) -> CheckEnvConfig:
    module = "bad_answers" if hasattr(bad_answers, name) else "planted"
    return CheckEnvConfig(env=EnvConfig(id=f"{module}:{name}", **changes))


def found(name: str, **changes) -> dict[str, Finding]:
    """Return what the checker finds that is not well."""
    return {one.name: one for one in examine(config(name, **changes)) if one.verdict in ("warning", "fault")}


@pytest.mark.parametrize(
    "given", ["array of no axes", "numpy scalar", "numpy int", "numpy bool", "bool", "int"]
)
def test_a_reward_that_is_one_number_is_that_number(given):
    assert number_of(bad_answers.GIVEN[given]) == 1.0
    assert type(number_of(bad_answers.GIVEN[given])) is float


@pytest.mark.parametrize(
    ("given", "fix", "mended"),
    [
        ("array of one", "return reward.item()", lambda reward: reward.item()),
        ("array of no axes", "return reward.item()", lambda reward: reward.item()),
        ("list of one", "return reward[0]", lambda reward: reward[0]),
    ],
)
def test_an_array_of_one_number_is_taken_and_its_fix_silences_the_checker(given, fix, mended, monkeypatch):
    env = make_env(EnvConfig(id="bad_answers:Given", kwargs={"reward": given}))
    env.reset(seed=0)
    _, reward, *_ = env.step(0)
    assert (reward, type(reward)) == (1.0, float)
    (one,) = found("Given", kwargs={"reward": given}).values()
    assert (one.name, one.verdict, one.fix) == ("interface", "warning", fix)
    assert "at step 1 (seed 0), 36 times in all" in one.what
    monkeypatch.setitem(bad_answers.GIVEN, given, mended(bad_answers.GIVEN[given]))
    assert found("Given", kwargs={"reward": given}) == {}


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("none", "got None: return 0.0 where nothing is earned"),
        ("text", "got '1.0': return one number, such as float(reward)"),
        ("complex", "got complex 1j: return one real number, such as reward.real"),
        ("two", "got an array of shape (2,): return one number, such as the sum of all"),
        ("empty", "got an array of shape (0,): return one number"),
        ("ragged", "got 2 values: return one number"),
        ("dict", "got a dict of 'reward': return one number"),
        ("integer beyond floats", "return one number"),
    ],
)
def test_a_reward_that_is_not_one_number_is_refused_in_a_sentence(given, fix):
    env = make_env(EnvConfig(id="bad_answers:Given", kwargs={"reward": given}))
    env.reset(seed=0)
    with pytest.raises(TypeError) as refused:
        env.step(0)
    assert str(refused.value).startswith("the reward must be one number, got ")
    assert fix in str(refused.value)
    one = found("Given", kwargs={"reward": given})["interface"]
    assert one.verdict == "fault"
    assert f"{one.what}: {one.fix}" == f"step 1 (seed 0): {refused.value}"


@pytest.mark.parametrize(("ends", "verdict"), [("numpy", None), ("ints", "warning"), ("arrays", "warning")])
def test_end_flags_that_are_true_or_false_are_taken(ends, verdict):
    env = make_env(EnvConfig(id="bad_answers:Given", kwargs={"ends": ends}))
    env.reset(seed=0)
    assert env.step(0)[2:4] == (False, False)
    told = found("Given", kwargs={"ends": ends})
    assert [one.verdict for one in told.values()] == ([] if verdict is None else [verdict])
    if verdict is not None:
        assert told["interface"].fix == "return bool(terminated)"


@pytest.mark.parametrize("ends", ["none", "text", "two", "info", "both axes"])
def test_end_flags_that_are_neither_are_refused(ends):
    one = found("Given", kwargs={"ends": ends})["interface"]
    assert one.verdict == "fault"
    assert "must be True or False, got " in one.what
    name = "truncated" if ends in ("two", "info") else "terminated"
    assert one.fix == f"return bool({name}) in its place"
    assert flag_of(name, bool(0)) is False


def line_of(cls: type, method: str) -> str:
    function = getattr(cls, method)
    return f"({inspect.getsourcefile(function)}, line {inspect.getsourcelines(function)[1]})"


# environment -> finding, words of what was found, words of the fix, the fixed twin and its options
FIXES = {
    "NoSeed": (
        "interface",
        f"takes no seed and no options {line_of(bad_answers.NoSeed, 'reset')}",
        "write def reset(self, *, seed=None, options=None) and call super().reset(seed=seed)",
        "World",
        {},
    ),
    "NoOptions": ("interface", "of NoOptions takes no options (", "options=None", "Keywords", {}),
    "NoSeedAround": ("interface", "of NoSeedAround takes no seed", "seed=None", "World", {}),
    "OldReset": (
        "interface",
        f"reset {line_of(bad_answers.OldReset, 'reset')} returned a dict of 'picture', 'sound' "
        "instead of an observation and an info",
        "return observation, {}",
        "World",
        {},
    ),
    "OldStep": (
        "interface",
        f"step {line_of(bad_answers.OldStep, 'step')} returned 4 values, as environments of the "
        "old Gym did, instead of five",
        "return observation, reward, terminated, truncated, info",
        "World",
        {},
    ),
    "InfoForTruncated": ("interface", "returned 4 values", "truncated, info", "World", {}),
    "NoKey": (
        "interface",
        "step 1 (seed 0): the observation has no 'sound', it has 'picture'",
        "every key",
        "World",
        {},
    ),
    "OtherKey": (
        "interface",
        "reset (seed 0): the observation has no 'picture', it has 'image', 'sound'",
        "every key",
        "World",
        {},
    ),
    "NotADict": (
        "interface",
        "the observation is an array of shape (16, 16) instead of a dict",
        "promises",
        "World",
        {},
    ),
    "NoObservation": ("interface", "the observation is None instead of a dict", "promises", "World", {}),
    "Exits": (
        "errors",
        "step 4 (seed 0) called exit('window closed')",
        f"bad_answers.py, line {inspect.getsourcelines(bad_answers.Exits.ends)[1] + 2})",
        "World",
        {},
    ),
    "FailsInLibrary": (
        "errors",
        "raised LinAlgError: Singular matrix",
        f"bad_answers.py, line {inspect.getsourcelines(bad_answers.FailsInLibrary.reward)[1] + 1})",
        "World",
        {},
    ),
    "Unseeded": ("seed", "does not repeat", "draw everything from self.np_random", "World", {}),
    "NotPassedOn": ("seed", "does not repeat", "call super().reset(seed=seed) first in reset", "World", {}),
    "Leftover": ("seed", "fresh environment only", "let reset clear what the last episode left", "World", {}),
    "Built": ("seed", "not in a fresh one", "keep nothing in the class or the module", "World", {}),
    "Silent": ("signal", "silent", "return the samples that the step made", "World", {}),
    "Constant": ("signal", "constant: every sample", "return the waveform", "World", {}),
    "Stuck": ("signal", "chunks are the same", "samples of the step that was just made", "World", {}),
    "Offset": ("signal", "offset", "subtract its mean in the environment", "World", {}),
    "Hums": (
        "signal",
        "offset",
        "--env.rest_level 200, or the attribute sound_rest_level",
        "Hums",
        {"rest_level": 200.0},
    ),
    "Rests": ("signal", "begins at 0", "let reset return a chunk at 128", "RestsAtReset", {}),
    "Skips": (
        "frame skip",
        "75% is lost",
        "--env.kwargs.frame_skip 1 --env.frame_skip 4",
        "Skips",
        {"kwargs": {"frame_skip": 1}, "frame_skip": 4},
    ),
    "Skips ": (
        "frame skip",
        "75% is lost",
        "or return the sound of every skipped frame, joined",
        "Joined",
        {},
    ),
    "Blank": ("last observation", "all zeros at step 12", "or repeat the one before", "NotBlank", {}),
    "Both": ("endings", "both true", "only truncated at a time limit", "World", {}),
    "Both ": ("endings", "both true", "only terminated where the task ends", "Ends", {}),
    "Shape": ("shapes", "15 x 16 uint8 instead of", "promises at every step", "World", {}),
    "Dtype": ("shapes", "400 int64 instead of", "promises at every step", "World", {}),
    "NoNumber": ("numbers", "sound holds NaN", "find what divides by zero or reads nothing", "World", {}),
    "NoLimit": ("numbers", "reward is inf at step 12 (seed 0)", "return a finite reward", "World", {}),
    "Raises": (
        "errors",
        "step 12 (seed 0) raised ZeroDivisionError: ",
        f"planted.py, line {inspect.getsourcelines(planted.Raises.ends)[1] + 1})",
        "World",
        {},
    ),
    "NoRate": (
        "rate",
        "does not declare its audio's sample rate",
        "give --env.sample_rate_hz",
        "NoRate",
        {"sample_rate_hz": 8_000},
    ),
}


@pytest.mark.parametrize("name", FIXES)
def test_the_fix_of_a_finding_makes_it_go_away(name):
    finding, words, fix, twin, options = FIXES[name]
    one = found(name.strip())[finding]
    assert words in one.what
    assert fix in one.fix
    assert found(twin, **options) == {}


@pytest.mark.parametrize("name", ["NoInfo", "Reused", "Keywords"])
def test_what_is_right_in_another_way_is_no_finding(name):
    assert found(name) == {}


def test_a_reused_array_is_copied():
    env = make_env(EnvConfig(id="bad_answers:Reused"))
    first, _ = env.reset(seed=0)
    kept = first.video.copy()
    second, *_ = env.step(0)
    assert np.array_equal(first.video, kept)
    assert not np.array_equal(first.video, second.video)


@pytest.mark.parametrize(
    ("given", "words", "fix"),
    [
        ("NaN", "reward is nan at step 1 (seed 0), 36 times in all", "return a finite reward"),
        ("NaN array", "reward is nan", "return a finite reward"),
        ("large", "reward is 1e+39", "divide all rewards by a constant: a float32 holds 3.4e+38"),
    ],
)
def test_a_reward_that_cannot_be_learned_from(given, words, fix):
    one = found("Given", kwargs={"reward": given})["numbers"]
    assert one.verdict == "fault"
    assert words in one.what
    assert fix in one.fix


def test_what_was_seen_never_is_not_told_to_be_well():
    findings = {one.name: one for one in examine(config("FailsAtReset"))}
    for name in ("shapes", "numbers"):
        assert findings[name][1:3] == ("note", "not checked: no observation came")
    assert findings["signal"].what.startswith("not checked: no chunk came")
    assert findings["endings"].verdict == "note"
    assert findings["errors"].what == "reset (seed 0) raised RuntimeError: no \x1b[2J\nreset today"
    assert "seed" not in findings
    assert "last observation" not in findings


def test_one_chunk_is_not_told_to_be_a_constant_sound():
    findings = {one.name: one for one in examine(config("OldStep"))}
    assert findings["signal"].verdict == "note"
    assert "only one chunk came" in findings["signal"].what


def test_environments_registered_with_wrappers_are_held_to_the_form_below_them():
    gymnasium.register("OldStep-v0", bad_answers.OldStep, max_episode_steps=5)
    try:
        (one,) = (
            one for one in examine(CheckEnvConfig(env=EnvConfig(id="OldStep-v0"))) if one.name == "interface"
        )
        assert "returned 4 values, as environments of the old Gym did" in one.what
        env = make_env(EnvConfig(id="OldStep-v0"))
        env.reset(seed=0)
        with pytest.raises(TypeError, match="returned 4 values"):
            env.step(0)
    finally:
        del gymnasium.registry["OldStep-v0"]


def test_the_command_shows_no_control_characters_and_names_the_fix(capsys):
    assert cli.main(["check", "env", "bad_answers:FailsAtReset"]) == 1
    told = capsys.readouterr().out
    assert "\x1b[2J" not in told
    assert r"no \x1b[2J\nreset today" in " ".join(told.split())
    assert "fix: fix what raised it (" in told


@pytest.mark.parametrize(
    ("name", "words", "fix"),
    [
        ("Exits", "step 4 (seed 0) called exit('window closed')", "end the episode instead"),
        ("Leaves", "the process died of exit code 3 at step 4 (seed 0)", "find what calls os._exit"),
        ("Aborts", "the process died of SIGABRT at step 6", "(--env_workers true)"),
    ],
)
def test_what_ends_the_process_is_a_finding(name, words, fix):
    (one,) = (one for one in check_env(config(name)) if one.verdict == "fault")
    assert one.what.startswith(words)
    assert fix in one.fix
    assert ("planted.py, line " in one.fix) == (name == "Aborts")


def test_a_run_is_refused_before_it_starts_where_it_cannot_be_seeded(capsys, tmp_path):
    argv = [
        "train",
        "agent",
        "--env",
        "bad_answers:NoSeed",
        "--runs",
        str(tmp_path),
        "--env_workers",
        "false",
    ]
    assert cli.main(argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("spl: bad_answers:NoSeed: the reset of NoSeed takes no seed and no options (")
    assert "write def reset(self, *, seed=None, options=None)" in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_training_takes_the_one_number_of_an_array(smoke):
    argv = ["--env", "bad_answers:Given", "--env.kwargs.reward", "array of one", "--num_steps", "40"]
    result = train_agent(smoke(*argv, "--env_workers", "false"))
    assert result.mean_return == planted.NUM_STEPS


def test_training_names_the_fix_of_what_it_cannot_take(smoke):
    argv = [
        "--env",
        "bad_answers:OldStep",
        "--num_steps",
        "40",
        "--env_workers",
        "false",
        "--max_faults",
        "0",
    ]
    with pytest.raises(RunError, match=r"step .*returned 4 values.*: return observation, reward, terminated"):
        train_agent(smoke(*argv))


def test_recording_names_it_too(tmp_path):
    with pytest.raises(UsageError, match="takes no seed"):
        record(RecordConfig(env=EnvConfig(id="bad_answers:NoSeed"), out=str(tmp_path / "out")))
    assert os.listdir(tmp_path) == []
    assert Path(bad_answers.__file__).name == "bad_answers.py"
