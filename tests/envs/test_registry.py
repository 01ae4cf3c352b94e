"""Finding environments: by id, by module, and the sentence for everything that can go wrong."""

import importlib.util
import sys

import gymnasium
import pytest

from spl.config.errors import UsageError
from spl.envs import registry as catalog
from spl.envs.config import EnvConfig
from spl.envs.registry import ale_games, ale_ids, make_env, make_raw, our_ids
from spl.records import StreamSpec

HAS_ALE = importlib.util.find_spec("ale_py") is not None
needs_ale = pytest.mark.skipif(not HAS_ALE, reason="needs ale-py")

WORLD = """
import gymnasium
import numpy as np
from gymnasium import Env, spaces
from gymnasium.error import DependencyNotInstalled

class Tone(Env):
    sample_rate_hz = 8_000
    observation_space = spaces.Box(-1, 1, (800,), np.float32)
    action_space = spaces.Discrete(5)

    def __init__(self, level=0.0):
        if level > 1:
            raise ValueError("level must be at most 1")
        self.level = level

    def reset(self, *, seed=None, options=None):
        return np.full(800, self.level, np.float32), {}

class Vector(Tone):
    observation_space = spaces.Box(-1, 1, (4,), np.float32)

class Needy(Tone):
    def __init__(self):
        raise DependencyNotInstalled("install the swimming pool")

class Plain:
    pass

def build():
    return Tone()

PITCH = 440
gymnasium.register("TestTone-v2", entry_point="world_for_tests:Tone")
"""


@pytest.fixture(autouse=True)
def clean():
    """Give back the registry and forget the modules that a test has imported."""
    registered, imported = dict(gymnasium.registry), set(sys.modules)
    yield
    for name in set(sys.modules) - imported:
        if name.endswith("_for_tests"):
            del sys.modules[name]
    for env_id in set(gymnasium.registry) - set(registered):
        if not env_id.startswith(catalog.ALE):
            del gymnasium.registry[env_id]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a module where Python finds it."""
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name, text: (tmp_path / f"{name}.py").write_text(text)


@pytest.fixture
def world(write):
    write("world_for_tests", WORLD)
    return "world_for_tests"


@pytest.fixture
def no_ale(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)  # what import takes for a missing package


def refusal(env_id: str, **kwargs) -> str:
    with pytest.raises(UsageError) as refused:
        make_env(EnvConfig(id=env_id, kwargs=kwargs))
    return str(refused.value)


def test_our_worlds_are_found_and_take_arguments():
    assert {"spl/Beacon-v0", "spl/Greeting-v0"} <= set(our_ids())
    for env_id in our_ids():
        env = make_env(EnvConfig(id=env_id))
        assert env.spec_of_streams == StreamSpec((1, 84, 84), (1, 64, 8))
        assert (env.frame_skip, env.config.max_pool, env.sample_rate_hz) == (1, None, 16_000)
    assert make_env(EnvConfig(kwargs={"sense": "ear", "num_rounds": 3})).unwrapped.num_rounds == 3


@pytest.mark.parametrize(
    ("env_id", "nearest"),
    [
        ("spl/Becon-v0", "spl/Beacon-v0"),
        ("SPL/greeting-v0", "spl/Greeting-v0"),
        ("spl/Beacon-v9", "spl/Beacon-v0"),
    ],
)
def test_an_unknown_id_names_the_nearest(env_id, nearest):
    told = refusal(env_id)
    assert told.startswith(f"there is no environment {env_id} (did you mean {nearest}?); 'spl envs' lists")
    assert "--env module:Id or module:Class" in told


@pytest.mark.parametrize(
    "env_id", ["PongNoFrameskip-v4", "PongDeterministic-v4", "Pong-ram-v5", "Pong-v5", "pong"]
)
@pytest.mark.parametrize("is_there", [True, False])
def test_an_old_name_of_a_game_leads_to_that_of_now(env_id, is_there, monkeypatch):
    if not is_there:
        monkeypatch.setattr(catalog, "ale_ids", list)
    told = refusal(env_id)
    if env_id in catalog.gymnasium.registry:  # by ale-py, without sound
        assert told == f"{env_id} has no sound, and its frame skip loses frames: use ALE/Pong-v5"
    else:
        assert f"there is no environment {env_id} (did you mean ALE/Pong-v5?)" in told
        assert ("ALE games need ale-py" in told) is not (is_there and HAS_ALE)


def test_an_id_like_no_other_names_none():
    assert refusal("Qqqqqqq-v0").startswith("there is no environment Qqqqqqq-v0; 'spl envs' lists")


@needs_ale
def test_an_unknown_game_names_the_nearest():
    told = refusal("ALE/Pnog-v5")
    assert "did you mean ALE/Pong-v5?" in told
    assert "pip install" not in told


def test_an_id_that_gymnasium_refuses_is_told_in_its_words():
    assert "bad id! could not be made with no arguments: Malformed environment ID" in refusal("bad id!")


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_an_outdated_version_names_the_newer(world):
    make_env(EnvConfig(id=f"{world}:TestTone-v2"))
    assert "Please use `TestTone-v2` instead" in refusal("TestTone-v1")


def test_an_id_or_class_of_a_module_is_made_with_its_arguments(world):
    for env_id in (f"{world}:TestTone-v2", f"{world}:Tone"):
        assert make_env(EnvConfig(id=env_id)).unwrapped.level == 0
        env = make_env(EnvConfig(id=env_id, kwargs={"level": 0.5}))
        assert (env.unwrapped.level, env.action_sizes, env.sample_rate_hz) == (0.5, (5,), 8_000)
        env.reset()
        assert (env.waveform == 0.5).all()
    assert (
        type(make_raw(EnvConfig(id=f"{world}:Tone")).unwrapped).__name__ == "Tone"
    )  # as its author wrote it, without wrappers


def test_wrong_arguments_are_told(world):
    for env_id in (f"{world}:TestTone-v2", f"{world}:Tone"):
        told = refusal(env_id, volume=3)
        assert told.startswith(f"{env_id} could not be made with volume=3: ")
        assert "unexpected keyword argument 'volume'" in told
        assert refusal(env_id, level=2) == f"{env_id} could not be made with level=2: level must be at most 1"
    told = refusal("spl/Beacon-v0", sense="nose", num_rounds=2)
    assert told.startswith(
        "spl/Beacon-v0 could not be made with sense='nose', num_rounds=2: sense must be one"
    )


def test_a_missing_class_lists_those_of_the_module(world):
    assert refusal(f"{world}:Ton") == (
        f"{world} neither registers the id Ton nor has a class of that name; it has Tone, Vector, Needy"
    )


def test_a_module_without_environments_says_so(write):
    write("empty_for_tests", "from gymnasium import Env\n")
    assert refusal("empty_for_tests:World").endswith("it has no gymnasium.Env")


@pytest.mark.parametrize(("name", "kind"), [("Plain", "type"), ("build", "function"), ("PITCH", "int")])
def test_what_is_no_environment_class_is_refused(world, name, kind):
    assert refusal(f"{world}:{name}") == f"{world}:{name}: {name} is not a gymnasium.Env class but {kind}"


@pytest.mark.parametrize(
    ("module", "file"),
    [("nowhere_for_tests", "nowhere_for_tests"), ("nowhere.for_tests", "nowhere/for_tests")],
)
def test_a_missing_module_says_where_to_stand(module, file):
    told = refusal(f"{module}:World")
    assert told.startswith(f"there is no module '{module}' for --env {module}:World: run from the folder")
    assert f"{file}.py" in told


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all'"),
        ("from gymnasium import NoSuchName\n", "ImportError: cannot import name 'NoSuchName'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_fails_is_told_with_its_cause(write, text, cause):
    write("broken_for_tests", text)
    told = refusal("broken_for_tests:World")
    assert told.startswith("broken_for_tests of --env broken_for_tests:World could not be imported: ")
    assert cause in told


def test_a_module_that_lacks_another_of_a_like_name_is_not_called_missing(write):
    write("nowhere_for_tests", "import nowhere\n")
    told = refusal("nowhere_for_tests:World")
    assert told.endswith("nowhere_for_tests:World could not be imported: No module named 'nowhere'")


def test_a_package_that_an_environment_lacks_is_told(world):
    assert refusal(f"{world}:Needy") == (
        f"{world}:Needy needs a package that is not installed: install the swimming pool"
    )


def test_what_an_engine_may_end_gets_a_process_of_its_own():
    engines = ["VizdoomBasic-v1", "spl/DoomBasicAudio-v0", "retro:Airstriker-Genesis", "my_module:Env"]
    assert [catalog.may_crash(env_id) for env_id in engines] == [True] * 4
    assert not catalog.may_crash("spl/Beacon-v0")


def test_an_environment_without_streams_is_a_mistake_of_the_user():
    assert refusal("FrozenLake-v1").startswith("no picture, sound or vector in the observation; found")


def test_without_ale_the_package_is_named(no_ale):
    assert refusal("ALE/Pong-v5") == "ALE/Pong-v5 needs ale-py: pip install 'ale-py>=0.11,<0.13'"
    assert "ALE games need ale-py: pip install 'ale-py>=0.11,<0.13'" in refusal("Qqqqqqq-v0")
    assert ale_ids() == ale_games() == []


@needs_ale
def test_the_games_are_listed():
    assert "ALE/Pong-v5" in ale_ids()
    assert "Pong" in ale_games()
    assert len(ale_games()) == len(ale_ids()) > 100


@needs_ale
def test_ales_own_frame_skip_is_a_mistake_of_the_user():
    assert "use --env.frame_skip instead" in refusal("ALE/Pong-v5", frameskip=4)
