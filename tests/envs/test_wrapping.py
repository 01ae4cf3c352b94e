"""Wrappers of the user's, in order and with arguments, and an environment's own rendered picture."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from spl.agents.env_signature import check_environment
from spl.agents.record import RecordConfig
from spl.agents.train import train_agent
from spl.config.errors import UsageError
from spl.config.parse import dump, parse
from spl.envs.api_checks import AnswerError
from spl.envs.check.config import CheckEnvConfig
from spl.envs.check.examine import examine
from spl.envs.config import EnvConfig
from spl.envs.filmed import make_filmed
from spl.envs.registry import make_env

WORLDS = "brought_worlds"
DOUBLED, RAISED = f"{WORLDS}:Doubled", f"{WORLDS}:Raised"
BY_3 = {RAISED: {"amount": 3}}


def rewards(*wrappers: str | dict, right: int = 1) -> list[float]:
    """Return the rewards of an action that is right and one that is wrong."""
    env = make_env(EnvConfig(id=f"{WORLDS}:Plain", wrappers=wrappers))
    env.reset(seed=0)
    world = env.unwrapped
    return [env.step((world.state + off) % 3)[1] for off in (0, right)]


@pytest.mark.parametrize(
    ("wrappers", "expected"),
    [
        ((DOUBLED,), [2, 0]),
        ((DOUBLED, RAISED), [3, 1]),
        ((RAISED, DOUBLED), [4, 2]),
        ((BY_3, DOUBLED), [8, 6]),
        ((RAISED, RAISED), [3, 2]),
    ],
    ids=str,
)
def test_wrappers_lie_around_each_other_in_order(wrappers, expected):
    assert rewards(*wrappers) == expected


def test_wrappers_are_given_on_the_command_line_and_in_yaml_with_arguments(tmp_path):
    def parsed(*words: str) -> tuple:
        return parse(RecordConfig, words, prog="spl", aliases={"env": "env.id"}).env.wrappers

    assert parsed("--env.wrappers", f"{DOUBLED},{RAISED}") == (DOUBLED, RAISED)
    file = tmp_path / "options.yaml"
    file.write_text(f"env:\n  wrappers:\n  - {RAISED}: {{amount: 3}}\n  - {DOUBLED}\n")
    assert parsed("--config", str(file)) == (BY_3, DOUBLED)
    file.write_text(dump(RecordConfig(env=EnvConfig(wrappers=(BY_3, DOUBLED)))))
    assert parsed("--config", str(file)) == (BY_3, DOUBLED)


@pytest.mark.parametrize(
    ("wrapper", "sentence"),
    [
        (
            "no_such_module:Doubled",
            "there is no module 'no_such_module' for env.wrappers=no_such_module:Doubled",
        ),
        (f"{WORLDS}:Halved", "brought_worlds has no Halved; see env.wrappers="),
        (
            f"{WORLDS}:Plain",
            "brought_worlds:Plain is not a gymnasium.Wrapper but a Plain: env.wrappers takes",
        ),
        (f"{WORLDS}:NUM", "brought_worlds:NUM is not a gymnasium.Wrapper but a int"),
        (
            f"{WORLDS}:Fussy",
            "Fussy could not be put around brought_worlds:Plain with no arguments: RuntimeError: no",
        ),
        (
            {RAISED: {"height": 3}},
            "Raised could not be put around brought_worlds:Plain with height=3: .*'height'",
        ),
    ],
    ids=str,
)
def test_a_wrapper_that_does_not_serve_is_refused_in_a_sentence(wrapper, sentence):
    with pytest.raises(UsageError, match=sentence) as raised:
        make_env(EnvConfig(id=f"{WORLDS}:Plain", wrappers=(wrapper,)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "entry", ["Doubled", ":Doubled", "a:", {RAISED: 3}, {}, {RAISED: {}, DOUBLED: {}}], ids=str
)
def test_what_names_no_wrapper_is_refused(entry):
    with pytest.raises(ValueError, match="each of wrappers must be module:Class"):
        EnvConfig(wrappers=(entry,))


def test_a_wrapper_that_answers_in_another_form_is_told_so():
    env = make_env(EnvConfig(id=f"{WORLDS}:Plain", wrappers=(f"{WORLDS}:Forgetful",)))
    env.reset(seed=0)
    with pytest.raises(AnswerError, match=r"step \(.*brought_worlds.py, line \d+\) returned 4 values"):
        env.step(0)


def test_wrappers_are_told_at_the_start_kept_and_part_of_the_environment(smoke):
    console = Console(file=io.StringIO(), width=500)
    words = ("--env", f"{WORLDS}:Plain", "--env.wrappers", f"{RAISED}: {{amount: 3}},{DOUBLED}")
    config = smoke(*words, "--num_steps", "40", "--env_workers", "false")
    run = train_agent(config, console=console).folder
    assert f"; in {RAISED}(amount=3), {DOUBLED}\n" in console.file.getvalue()
    described = json.loads((run / "env.json").read_text())
    assert described["wrappers"] == [f"{RAISED}(amount=3)", DOUBLED]
    without = make_env(EnvConfig(id=f"{WORLDS}:Plain")).describe()
    with pytest.raises(UsageError, match=r"wrappers is None \(it was \['brought_worlds:Raised"):
        check_environment(described, without, run)
    with pytest.raises(UsageError, match=r"wrappers is \['brought_worlds:Raised.* \(it was None\)"):
        check_environment(without, described, run)


def test_the_checker_names_the_wrappers_and_looks_through_them():
    env = EnvConfig(id=f"{WORLDS}:Plain", wrappers=(DOUBLED, BY_3))
    found = {one.name: one for one in examine(CheckEnvConfig(env=env, num_steps=20))}
    assert found["wrappers"].what == f"{DOUBLED}, {RAISED}(amount=3)"
    assert not [one for one in found.values() if one.verdict == "fault"]


def test_an_environment_that_shows_no_picture_is_seen_as_it_draws_itself():
    options = EnvConfig(
        id=f"{WORLDS}:Heard", kwargs={"shade": 30}, render=True, video_size=(48, 64), grey=False
    )
    env = make_env(options)
    assert env.describe()["video"]["from"] == [[48, 64, 3], "uint8"]
    assert env.describe()["audio"]["key"] == "observation"
    heard, _ = make_env(EnvConfig(id=f"{WORLDS}:Heard")).reset(seed=1)
    seen, _ = env.reset(seed=1)
    assert np.unique(seen.video).tolist() == [30 + 60 * env.unwrapped.state]
    np.testing.assert_array_equal(seen.audio, heard.audio)
    assert heard.present.tolist() == [False, True]
    assert seen.present.tolist() == [True, True]
    for _ in range(5):
        seen, *_ = env.step(0)
        assert np.unique(seen.video).tolist() == [30 + 60 * env.unwrapped.state]


def test_what_is_drawn_takes_the_place_of_a_picture_that_is_there():
    env = make_env(EnvConfig(id="spl/Beacon-v0", render=True))
    assert env.describe()["video"]["key"] == "rendered"
    assert [one["key"] for one in env.describe()["left_out"]] == ["video"]
    env, camera = make_filmed(EnvConfig(id="spl/Beacon-v0", render=True))
    env.reset(seed=0)
    assert camera.take()[0].picture.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("world", "kwargs", "sentence"),
    [
        (
            "Heard",
            {"render_mode": "human"},
            "needs the render mode rgb_array, but .*:Heard has the mode human",
        ),
        ("HeardOddly", {}, r"needs pictures \(H, W, 3\) of uint8, but .* returned 48 x 64 x 3 float64"),
        ("Plain", {}, "could not be made with render_mode='rgb_array'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(world, kwargs, sentence):
    with pytest.raises(UsageError, match=sentence):
        make_env(EnvConfig(id=f"{WORLDS}:{world}", kwargs=kwargs, render=True))
