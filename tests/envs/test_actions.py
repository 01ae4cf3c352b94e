"""Every action space as numbers and back: sizes, the values that they stand for, and what is refused."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from spl.agents.names import ActionNames
from spl.envs.actions import MAX_DIMENSIONS, ActionForm, as_action
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env

WIDE = spaces.Box(np.array([-1.0, 0.0, 0.0], np.float32), np.array([1.0, 1.0, 1.0], np.float32))
NESTED = spaces.Dict(
    arm=spaces.Box(-2.0, 2.0, (1, 2), np.float32),
    grip=spaces.Discrete(3, start=-1),
    modes=spaces.Tuple((spaces.MultiBinary(2), spaces.MultiDiscrete([2, 4], start=[5, -1]))),
)
SPACES = {
    "Discrete": (spaces.Discrete(4, start=2), (4,)),
    "MultiDiscrete": (spaces.MultiDiscrete([2, 5, 3]), (2, 5, 3)),
    "MultiDiscrete of rank 2": (
        spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[0, 7], [-3, 9]]),
        (2, 3, 4, 1),
    ),
    "MultiBinary": (spaces.MultiBinary(4), (2,) * 4),
    "MultiBinary of rank 2": (spaces.MultiBinary([2, 3]), (2,) * 6),
    "Box": (WIDE, (3, 3, 3)),
    "Box of one": (spaces.Box(-2.0, 2.0, (1,), np.float64), (3,)),
    "Box without an axis": (spaces.Box(-2.0, 2.0, (), np.float32), (3,)),
    "Box of bytes": (spaces.Box(0, 255, (2,), np.uint8), (3, 3)),
    "Box of few integers": (spaces.Box(np.array([0, 5]), np.array([1, 5]), dtype=np.int64), (2, 1)),
    "Tuple of one": (spaces.Tuple((spaces.Discrete(3),)), (3,)),
    "nested": (NESTED, (3, 3, 3, 2, 2, 2, 4)),
}


@pytest.mark.parametrize(("space", "sizes"), SPACES.values(), ids=SPACES)
def test_every_action_is_one_of_the_space_and_no_two_are_alike(space, sizes):
    form = ActionForm(space)
    assert form.sizes == sizes
    draw = np.random.default_rng(0)
    ends = [[0] * len(sizes), [size - 1 for size in sizes]]
    drawn = [draw.integers(sizes).tolist() for _ in range(50)]
    given = {as_action(numbers): form.raw(as_action(numbers)) for numbers in ends + drawn}
    assert all(space.contains(action) for action in given.values())
    assert len({repr(action) for action in given.values()}) == len(given)
    assert len(form.labels()) == sum(sizes)


def test_the_values_of_each_dimension_are_those_of_the_space():
    box = ActionForm(WIDE, bins=5)
    assert box.raw((0, 0, 4)).tolist() == [-1.0, 0.0, 1.0]
    assert box.raw((2, 2, 1)).tolist() == [0.0, 0.5, 0.25]
    assert box.raw((0, 0, 0)).dtype == np.float32
    assert ActionForm(WIDE, bins=2).raw((0, 1, 0)).tolist() == [-1.0, 1.0, 0.0]
    assert ActionForm(spaces.Box(0, 255, (2,), np.uint8)).raw((1, 2)).tolist() == [128, 255]
    thirds = ActionForm(spaces.Box(-0.1, 0.7, (1,), np.float32), bins=7)
    assert (thirds.raw(0)[0], thirds.raw(6)[0]) == (np.float32(-0.1), np.float32(0.7))  # not rounded beyond
    assert ActionForm(spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[0, 7], [-3, 9]])).raw(
        (1, 2, 3, 0)
    ).tolist() == [[1, 9], [0, 9]]
    assert ActionForm(spaces.MultiBinary([2, 2])).raw((1, 0, 0, 1)).tolist() == [[1, 0], [0, 1]]
    assert ActionForm(spaces.Discrete(4, start=2)).raw(np.int64(3)) == 5
    assert ActionForm(spaces.Tuple((spaces.Discrete(3),))).raw(2) == (2,)
    nested = ActionForm(NESTED).raw((0, 2, 0, 1, 0, 1, 3))
    assert list(nested) == ["arm", "grip", "modes"]
    assert (nested["arm"].tolist(), nested["grip"]) == ([[-2.0, 2.0]], -1)
    assert [part.tolist() for part in nested["modes"]] == [[1, 0], [6, 2]]


def test_an_action_of_one_dimension_is_a_plain_integer():
    assert as_action(np.array([3])) == 3
    assert type(as_action(np.int64(3))) is int
    assert as_action(np.array([3, 1], np.int16)) == (3, 1)
    assert [type(one) for one in as_action(np.array([3, 1], np.int16))] == [int, int]


def test_labels_and_words():
    assert ActionForm(spaces.Discrete(2)).labels() == ["action 0", "action 1"]
    assert ActionForm(spaces.Discrete(2, start=5)).labels() == ["action 5", "action 6"]
    assert ActionForm(spaces.Box(-2.0, 2.0, (1,)), bins=2).labels() == ["[0] -2", "[0] +2"]
    assert ActionForm(spaces.MultiBinary(2)).labels(["JUMP", "FIRE"]) == [
        "JUMP 0",
        "JUMP 1",
        "FIRE 0",
        "FIRE 1",
    ]
    assert ActionForm(NESTED).labels()[:4] == ["arm[0, 0] -2", "arm[0, 0] +0", "arm[0, 0] +2", "arm[0, 1] -2"]
    assert ActionForm(spaces.Discrete(2)).told() == "Discrete(2)"
    assert ActionForm(WIDE, bins=5).told().endswith(": 3 dimensions of 5 bins")
    assert (
        ActionForm(spaces.MultiDiscrete([2, 5])).told() == "MultiDiscrete([2 5]): 2 dimensions of 2, 5 values"
    )


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            spaces.Dict(arm=spaces.Box(np.array([-1.0, -np.inf], np.float32), 1.0)),
            r"dimension arm\[1\] .* must have finite bounds, got -inf to 1: wrap .*TransformAction",
        ),
        (
            spaces.Box(-np.finfo(np.float32).max, 1.0, (1,)),
            r"dimension \[0\] .* finite bounds, got -3.40282e\+38",
        ),
        (spaces.MultiBinary(MAX_DIMENSIONS + 1), "has 65 dimensions, and at most 64 are learned: wrap"),
        (spaces.MultiDiscrete([]), "has no dimension: wrap"),
        (spaces.Tuple(()), "has no dimension: wrap"),
        (
            spaces.Text(4),
            "has a Text; only Discrete, MultiDiscrete, MultiBinary, Box, and Dict and Tuple of them",
        ),
        (spaces.Dict(of=spaces.Sequence(spaces.Discrete(2))), "has a Sequence at 'of'; only Discrete"),
        (spaces.Graph(spaces.Discrete(2), None), "has a Graph; only Discrete"),
        (spaces.MultiDiscrete([2, 2**15 + 1]), "has 32,769 actions; at most 32,768 can be remembered"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_a_sentence(space, words):
    with pytest.raises(ValueError, match=words):
        ActionForm(space)


def test_nan_in_bounds_and_bins_without_a_box_are_refused():
    space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    space.low[1] = np.nan
    with pytest.raises(
        ValueError, match=r"dimension \[1\] of the actions must have finite bounds, got nan to 1"
    ):
        ActionForm(space)
    with pytest.raises(
        ValueError, match=r"env.bins 5 needs a Box, and the actions are Discrete\(3\): leave it out"
    ):
        ActionForm(spaces.Discrete(3), bins=5)


def test_the_wrapper_that_the_sentence_names_bounds_the_actions():
    class Unbounded(gymnasium.Env):
        action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    wrapped = gymnasium.wrappers.TransformAction(Unbounded(), lambda a: a, spaces.Box(-1.0, 1.0, (2,)))
    assert ActionForm(wrapped.action_space).sizes == (3, 3)


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_a_car_is_steered_by_a_box():
    pytest.importorskip("Box2D")
    env = make_env(EnvConfig(id="CarRacing-v3", bins=5))
    assert env.action_sizes == (5, 5, 5)
    assert ActionNames(env).of((4, 0, 2)) == "[0] +1, [1] +0, [2] +0.5"
    env.reset(seed=0)
    observation, reward, *_ = env.step((2, 4, 0))  # straight on, gas
    assert observation.present.tolist() == [True, False]
    assert np.isfinite(reward)
    env.close()


def test_a_marine_presses_any_buttons_together():
    pytest.importorskip("vizdoom")
    env = make_env(EnvConfig(id="VizdoomBasicAudio-v1", kwargs={"max_buttons_pressed": 0}))
    assert env.action_sizes == (2, 2, 2)
    assert ActionNames(env).of((0, 1, 1)) == "MOVE_LEFT 0, MOVE_RIGHT 1, ATTACK 1"
    env.reset(seed=0)
    env.step((0, 1, 1))
    env.close()
