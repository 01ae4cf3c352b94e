"""The forms of self-pacing in replay: weights against the first left out, SPLD's groups, and episodes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.replay.memory import ReplayMemory
from spl.records import Observation, Transition
from tests.agents.test_curriculum import SPEC, filled, made, rewards_of

PACED: dict[str, Any] = {"name": "self-paced", "warmup": 0.0, "start": 0.5, "end": 0.5, "rescored": 1.0}


def candidates(memory: ReplayMemory, num: int) -> np.ndarray:
    """Return the losses of what a curriculum of seed 0 draws first."""
    return np.array(rewards_of(memory, memory.draw(num, np.random.default_rng(0)))) ** 2 / 2


@pytest.mark.parametrize("scheme", ["linear", "mixture", "polynomial", "logarithmic", "logistic"])
def test_a_soft_form_weighs_the_easiest_half_against_the_first_left_out(scheme: str) -> None:
    memory = filled(np.linspace(0.5, 3.0, 40))
    draw = made(memory, scheme=scheme, groups="none", **PACED).draw(10, 0)
    losses = np.sort(candidates(memory, 20))
    assert rewards_of(memory, draw.places) == pytest.approx(np.sqrt(2 * losses[:10]).tolist(), rel=1e-5)
    assert draw.weights is not None
    assert (np.diff(draw.weights) <= 0).all()
    assert 0 <= draw.weights.min() < draw.weights.max() <= 1
    if scheme == "linear":
        assert draw.weights == pytest.approx(1 - losses[:10] / losses[10], abs=1e-5)


def test_the_limit_is_that_of_the_own_group() -> None:
    memory = filled([1.0, 2.0, 3.0, 4.0, -10.0, -20.0, -30.0, -40.0] * 5)
    draw = made(memory, scheme="linear", groups="reward", **PACED).draw(20, 0)
    losses = candidates(memory, 40)
    signs = np.sign(np.array(rewards_of(memory, memory.draw(40, np.random.default_rng(0)))))
    assert draw.weights is not None
    for sign in (1, -1):
        is_own = np.sign(rewards_of(memory, draw.places)) == sign
        own = np.sort(losses[signs == sign])
        limit = own[is_own.sum()]
        assert draw.weights[is_own] == pytest.approx(1 - own[: is_own.sum()] / limit, abs=1e-5)


def test_hard_and_spld_weigh_nothing() -> None:
    memory = filled(np.linspace(0.5, 3.0, 40))
    assert made(memory, scheme="hard", **PACED).draw(10, 0).weights is None
    assert made(memory, scheme="spld", groups="action", **PACED).draw(10, 0).weights is None


def test_spld_takes_from_every_group_what_hard_takes_from_the_easiest_alone() -> None:
    memory = filled([0.1, 1.0, 1.1] * 30)  # the action is the group, and action 0 always the easiest

    def kept(**options: Any) -> set[float]:
        places = made(memory, **{**PACED, "start": 0.3, "end": 0.3, **options}).draw(8, 0).places
        return {round(reward, 1) for reward in rewards_of(memory, places)}

    assert kept(groups="none") == {0.1}
    assert kept(scheme="spld", groups="action", gamma=4.0) == {0.1, 1.0, 1.1}
    assert kept(scheme="spld", groups="action", gamma=0.0) == {0.1}


def test_importance_weights_and_soft_weights_multiply() -> None:
    def drawn(**options: Any) -> np.ndarray:
        memory = filled(np.linspace(0.5, 3.0, 40))  # a curriculum of its own takes a memory's changes
        weights = made(memory, groups="none", **{**PACED, **options}).draw(10, 0).weights
        assert weights is not None
        return weights

    paced, hard = drawn(scheme="linear"), drawn(name="spl-to-per")
    assert drawn(name="spl-to-per", scheme="linear") == pytest.approx(hard * paced, rel=1e-5)
    assert hard.max() == 1.0


def test_the_number_of_an_episode_is_its_own_also_round_the_ring() -> None:
    memory = ReplayMemory(SPEC, 24, num_envs=2, history=2, slack=2)
    seen = Observation(np.zeros(SPEC.video, np.uint8), np.ones(SPEC.audio, np.float16), np.ones(2, bool))
    for number in range(9):  # episodes of three steps, their number as reward, in two environments
        for env in range(2):
            memory.begin(seen, env)
            for step in range(3):
                memory.add(Transition(seen, 0, float(2 * number + env), step == 2, False, seen), env)
    places = memory.sampleable.places()
    episodes, rewards = memory.episodes_at(places), memory.rewards_at(places)
    assert len(np.unique(rewards)) > 4
    pairs = set(zip(episodes.tolist(), rewards.tolist(), strict=True))
    assert len(pairs) == len(set(episodes.tolist())) == len(set(rewards.tolist()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"scheme": "linear", "inner": 0.3},
            "inner 0.3 means nothing to the self-paced curriculum with scheme=linear",
        ),
        ({"gamma": 2.0}, "gamma 2.0 means nothing to the self-paced curriculum with scheme=hard"),
        ({"scheme": "spld", "groups": "none"}, "groups must not be none with scheme=spld"),
        (
            {"name": "uniform", "scheme": "linear"},
            "scheme linear means nothing to the uniform curriculum: leave",
        ),
        (
            {"name": "prioritized", "power": 4.0},
            "power 4.0 means nothing to the prioritized curriculum: leave",
        ),
    ],
)
def test_an_option_that_its_form_does_not_use_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ReplayCurriculumConfig(**{"name": "self-paced", **options})


def test_another_name_keeps_the_form_where_it_has_one() -> None:
    config = ReplayCurriculumConfig(name="self-paced", scheme="mixture", inner=0.2)
    assert config.named("spl-to-per") == replace(config, name="spl-to-per")
    assert config.named("prioritized") == ReplayCurriculumConfig(name="prioritized")
