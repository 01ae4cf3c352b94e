"""What each curriculum draws from a memory, by an agent whose loss is known: half the squared reward."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from spl.agents.config import ALIASES, TrainAgentConfig
from spl.agents.curriculum import ReplayCurriculum
from spl.agents.curriculum_config import Pace, ReplayCurriculumConfig
from spl.agents.replay.memory import ReplayMemory
from spl.agents.replay.prioritized import EPSILON
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.records import Batch, Observation, StreamSpec, Transition

SPEC = StreamSpec((1, 2, 2), (1, 1, 2))
NUM_STEPS = 1000
NAMES = ("uniform", "self-paced", "prioritized", "spl-to-per")


class Knowing:
    """An agent whose loss is ``reward^2 / 2``, and 100 where a modality is absent; it counts its scores."""

    def __init__(self) -> None:
        self.network = nn.Linear(1, 1)
        self.scored: list[int] = []
        self.seen: list[Batch] = []

    def score(self, batch: Batch) -> Tensor:
        self.scored.append(batch.size)
        self.seen.append(batch)
        return batch.reward**2 / 2


def filled(rewards: Any, num_actions: int = 3) -> ReplayMemory:
    """Return a memory whose transitions earned ``rewards``, in that order."""
    memory = ReplayMemory(SPEC, len(rewards) + 1, history=2, slack=3)
    seen = Observation(np.full(SPEC.video, 7, np.uint8), np.ones(SPEC.audio, np.float16), np.ones(2, bool))
    memory.begin(seen)
    for number, reward in enumerate(rewards):
        memory.add(Transition(seen, number % num_actions, float(reward), False, False, seen))
    return memory


def made(
    memory: ReplayMemory, *, seed: int = 0, agent: Any = None, huber: bool = False, **options: Any
) -> ReplayCurriculum:
    return ReplayCurriculum(
        ReplayCurriculumConfig(**options),
        Knowing() if agent is None else agent,
        memory,
        np.random.default_rng(seed),
        num_steps=NUM_STEPS,
        huber=huber,
    )


def rewards_of(memory: ReplayMemory, places: np.ndarray) -> list[float]:
    return memory.at(places).reward.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": 0.0}, r"start must be in \(0, 1\], got 0\.0"),
        ({"start": float("nan")}, r"start must be in \(0, 1\], got nan"),
        ({"end": 1.5}, r"end must be in \(0, 1\], got 1\.5"),
        ({"over": 0.0}, r"over must be in \(0, 1\], got 0\.0"),
        ({"warmup": -0.1}, r"warmup must be in \[0, 1\], got -0\.1"),
        ({"rescored": float("nan")}, r"rescored must be in \[0, 1\], got nan"),
        ({"start": 0.9, "end": 0.5}, r"start must be at most end \(0\.5\), got 0\.9: the share grows"),
        ({"name": "prioritized", "alpha": -1.0}, r"alpha must be in \[0, 1\], got -1\.0"),
        ({"name": "prioritized", "alpha": float("nan")}, r"alpha must be in \[0, 1\], got nan"),
        ({"name": "prioritized", "beta": 1.1}, r"beta must be in \[0, 1\], got 1\.1"),
        (
            {"name": "uniform", "start": 0.3},
            "start 0.3 means nothing to the uniform curriculum: leave it out",
        ),
        (
            {"name": "prioritized", "modality": "audio"},
            "modality audio means nothing to the prioritized curriculum",
        ),
        ({"alpha": 0.5}, "alpha 0.5 means nothing to the self-paced curriculum"),
        ({"warmup": 0.5, "over": 0.6}, "warmup and over must not exceed 1 together, got 0.5 and 0.6: end"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ReplayCurriculumConfig(**{"name": "self-paced", **options})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--curriculum", "self-pased"],
            "--curriculum must be one of 'uniform', 'self-paced', 'prioritized',",
        ),
        (["--curriculum", "self-paced", "--curriculum.start", "0"], "curriculum: start must be in (0, 1]"),
        (["--curriculum", "prioritized", "--curriculum.alpha", "-1"], "curriculum: alpha must be in [0, 1]"),
        (["--curriculum", "prioritized", "--curriculum.alpha", ".nan"], "alpha must be in [0, 1], got nan"),
        (
            ["--curriculum.modality", "smell"],
            "--curriculum.modality must be one of 'video', 'audio' or null, got",
        ),
    ],
)
def test_the_command_line_refuses_in_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(TrainAgentConfig, words, prog="spl train agent", aliases=ALIASES)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_names_a_curriculum() -> None:
    words = ["--curriculum", "spl-to-per", "--curriculum.alpha", "0.7"]
    config = parse(TrainAgentConfig, words, prog="spl train agent", aliases=ALIASES)
    assert config.curriculum == ReplayCurriculumConfig(name="spl-to-per", alpha=0.7)


def test_the_pace_at_its_beginning_its_end_and_between() -> None:
    options: dict[str, Any] = {"warmup": 0.1, "over": 0.4, "start": 0.4, "end": 0.8}
    paced = ReplayCurriculumConfig(name="self-paced", **options)
    mixed = ReplayCurriculumConfig(name="spl-to-per", beta=0.4, **options)
    shares = [Pace.at(paced, done).share for done in (0.0, 0.099, 0.1, 0.3, 0.5, 1.0, 2.0)]
    assert shares == pytest.approx([1.0, 1.0, 0.4, 0.6, 0.8, 0.8, 0.8])
    assert [Pace.at(mixed, done).share for done in (0.0, 0.3)] == pytest.approx([1.0, 0.6])
    hardness = [Pace.at(mixed, done).hardness for done in (0.0, 0.1, 0.3, 0.5, 1.0)]
    assert hardness == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
    assert [Pace.at(mixed, done).beta for done in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([0.4, 0.7, 1.0, 1.0])
    geometric = ReplayCurriculumConfig(name="self-paced", schedule="geometric", **options)
    assert Pace.at(geometric, 0.3).share == pytest.approx(0.4 * 2**0.5)
    assert all(Pace.at(paced, done).hardness == 0.0 for done in (0.0, 0.3, 1.0))
    prioritized = ReplayCurriculumConfig(name="prioritized")
    assert [Pace.at(prioritized, done)[:2] for done in (0.0, 1.0)] == [(1.0, 1.0)] * 2


def test_uniform_draws_what_the_memory_draws_and_keeps_nothing() -> None:
    memory = filled(range(50))
    curriculum, generator = made(memory, name="uniform"), np.random.default_rng(0)
    for step in (0, 500):
        drawn = curriculum.draw(16, step)
        assert drawn.places.tolist() == memory.draw(16, generator).tolist()
        assert drawn.weights is None
        curriculum.see(drawn.places, torch.zeros(16))
    assert (curriculum.state_dict(), curriculum.told, curriculum._unread) == ({}, {}, [])


@pytest.mark.parametrize("name", NAMES)
def test_as_many_are_drawn_as_are_asked_for_wherever_the_pace_stands(name: str) -> None:
    memory = filled(np.arange(40) % 5)
    options: dict[str, Any] = {} if name in ("uniform", "prioritized") else {"start": 0.15, "end": 0.9}
    curriculum = made(memory, name=name, **options)
    for step in range(0, NUM_STEPS + 1, 50):
        for num in (1, 7, 32):
            drawn = curriculum.draw(num, step)
            assert drawn.places.size == num
            assert memory.sampleable.mask[drawn.places].all()
            assert drawn.weights is None or drawn.weights.size == num
            curriculum.see(drawn.places, torch.full((num,), 0.5))


def test_the_warm_up_draws_as_uniform_does_and_scores_nothing() -> None:
    memory, agent = filled(range(50)), Knowing()
    curriculum = made(memory, agent=agent, name="self-paced", warmup=0.2)
    drawn = curriculum.draw(16, 199)
    assert drawn.places.tolist() == memory.draw(16, np.random.default_rng(0)).tolist()
    assert (agent.scored, curriculum.told) == ([], {"curriculum/share": 1.0})


def test_the_easiest_half_is_learned_from_easy_to_hard() -> None:
    memory = filled(range(1, 200))
    curriculum = made(memory, name="self-paced", warmup=0.0, over=1.0, rescored=1.0)
    drawn = curriculum.draw(50, 0)
    candidates = memory.draw(100, np.random.default_rng(0))
    assert rewards_of(memory, drawn.places) == sorted(rewards_of(memory, candidates))[:50]
    assert drawn.weights is None
    kept = np.array(rewards_of(memory, drawn.places)) ** 2 / 2
    everything = np.array(rewards_of(memory, candidates)) ** 2 / 2
    assert curriculum.told == pytest.approx(
        {
            "curriculum/share": 0.5,
            "curriculum/threshold": kept[-1],
            "curriculum/mean_loss": kept.mean(),
            "curriculum/mean_loss_of_drawn": everything.mean(),
            "curriculum/rescored": np.unique(candidates).size / 100,
            "curriculum/without_loss": 0.0,
        }
    )


@pytest.mark.parametrize(
    ("groups", "shares"), [("reward", {0: 0.5, 9: 0.5}), ("none", {0: 0.625, 9: 0.0}), ("action", None)]
)
def test_rewards_keep_their_share_where_they_are_a_group(
    groups: str, shares: dict[int, float] | None
) -> None:
    rewards = np.where(np.arange(3000) % 5 == 0, 9, 0)
    memory = filled(rewards, num_actions=5)  # action 0 earns
    curriculum = made(memory, name="self-paced", warmup=0.0, groups=groups)
    kept = np.array(rewards_of(memory, curriculum.draw(400, 0).places))
    if shares is None:  # one action in five, as without a pace, and all of its rewards
        shares = {0: 0.5, 9: 0.5}
    for reward, share in shares.items():
        drawn = 800 * (0.2 if reward else 0.8)
        assert np.count_nonzero(kept == reward) == pytest.approx(share * drawn, abs=25)


def test_only_some_are_scored_anew_and_what_is_new_always() -> None:
    memory, agent = filled(range(1, 41)), Knowing()
    curriculum = made(memory, agent=agent, name="self-paced", warmup=0.0, rescored=0.25)
    first = curriculum.draw(200, 0)
    assert agent.scored == [40]  # each once
    curriculum.see(first.places, torch.zeros(200))  # learned: now the easiest of all
    easy = []
    for _ in range(3):
        easy = [place in set(first.places.tolist()) for place in curriculum.draw(20, 0).places.tolist()]
        assert easy == sorted(easy, reverse=True)
    assert agent.scored == [40]  # three times a quarter of 40 are not yet worth a pass
    assert True in easy
    seen = Observation(np.zeros(SPEC.video, np.uint8), np.zeros(SPEC.audio, np.float16), np.ones(2, bool))
    for _ in range(5):
        memory.add(Transition(seen, 0, -77.0, False, False, seen))
    curriculum.draw(20, 0)
    assert agent.scored[1:] != []
    assert (agent.seen[-1].reward == -77.0).sum() == 5
    state = curriculum.state_dict()
    never = made(memory, agent=agent, name="self-paced", warmup=0.0, rescored=0.0)
    never.load_state_dict(state)
    del agent.scored[:]
    never.draw(300, 0)
    assert agent.scored == []


def test_a_large_mini_buffer_is_scored_in_parts() -> None:
    memory, agent = filled(range(2000)), Knowing()
    curriculum = made(memory, agent=agent, name="self-paced", warmup=0.0, rescored=1.0)
    drawn = curriculum.draw(500, 0)
    assert agent.scored[:-1] == [256] * (len(agent.scored) - 1)
    assert sum(agent.scored) == np.unique(memory.draw(1000, np.random.default_rng(0))).size
    assert drawn.places.size == 500


@pytest.mark.parametrize(("modality", "absent"), [("video", "audio"), ("audio", "video")])
def test_the_pace_can_look_at_one_modality(modality: str, absent: str) -> None:
    memory, agent = filled(range(1, 30)), Knowing()
    curriculum = made(memory, agent=agent, name="self-paced", warmup=0.0, modality=modality, rescored=0.0)
    drawn = curriculum.draw(20, 0)
    (batch,) = agent.seen
    present = [modality == "video", modality == "audio"]
    for prefix in ("", "next_"):
        assert getattr(batch, f"{prefix}present").tolist() == [present] * batch.size
        assert not getattr(batch, prefix + absent).any()
        assert getattr(batch, prefix + modality)[:, -1].all()
    known = curriculum.losses
    assert known is not None
    before = known.at(drawn.places).tolist()
    curriculum.see(drawn.places, torch.full((20,), 50.0))  # with both modalities: not what the pace looks at
    curriculum.draw(1, 0)
    assert known.at(drawn.places).tolist() == before


def test_a_modality_that_the_environment_lacks_is_refused() -> None:
    config = ReplayCurriculumConfig(name="self-paced", modality="audio")
    config.check_modalities(SPEC)
    with pytest.raises(
        ValueError, match=r"curriculum\.modality must be a stream of the environment, got audio"
    ):
        config.check_modalities(StreamSpec((1, 2, 2), (1, 0, 2)))


def test_priorities_decide_how_often_each_is_drawn() -> None:
    memory = filled([1, 2, 3, 4])
    curriculum = made(memory, name="prioritized", alpha=1.0, beta=0.0)
    assert sorted(curriculum.draw(4, 0).places.tolist()) == [0, 1, 2, 3]  # all new: alike
    errors = torch.tensor([1.0, 2.0, 3.0, 4.0])
    curriculum.see(np.arange(4), errors**2 / 2)
    draws = np.concatenate([curriculum.draw(1, 0).places for _ in range(5000)])
    counts = np.bincount(draws, minlength=memory.sampleable.mask.size)
    assert counts[4:].tolist() == [0] * (counts.size - 4)
    assert stats.chisquare(counts[:4], np.arange(1, 5) / 10 * 5000).pvalue > 1e-3
    drawn = curriculum.draw(1000, NUM_STEPS)  # beta is 1 in the end
    assert drawn.weights is not None
    assert drawn.weights == pytest.approx(1.0 / (drawn.places + 1), rel=1e-5)
    assert curriculum.draw(100, 0).weights == pytest.approx(np.ones(100))
    assert curriculum.told == pytest.approx(
        {
            "curriculum/share": 1.0,
            "curriculum/hardness": 1.0,
            "curriculum/beta": 0.0,
            "curriculum/mean_priority": 2.5 + EPSILON,
        }
    )


def test_hard_ones_come_in_as_the_pace_grows() -> None:
    """At hardness 1/2 a place is drawn with chance ``(1/N + p_i / sum p) / 2``, and weighed by that."""
    memory = filled([1, 2, 3, 4])
    curriculum = made(memory, name="spl-to-per", alpha=1.0, beta=1.0, warmup=0.0, over=1.0, start=1.0)
    curriculum.draw(1, 0)
    curriculum.see(np.arange(4), torch.tensor([1.0, 2.0, 3.0, 4.0]) ** 2 / 2)
    for step, hardness in ((0, 0.0), (500, 0.5), (1000, 1.0)):
        chances = (1 - hardness) / 4 + hardness * np.arange(1, 5) / 10
        drawn = curriculum.draw(20_000, step)
        counts = np.bincount(drawn.places, minlength=4)
        assert counts == pytest.approx(20_000 * chances, abs=400)
        assert drawn.weights == pytest.approx((chances.min() / chances)[drawn.places], rel=1e-5)
        assert curriculum.told["curriculum/hardness"] == hardness


def test_huber_losses_are_read_as_errors() -> None:
    memory = filled([0, 0])
    curriculum = made(memory, name="prioritized", alpha=1.0, huber=True)
    curriculum.see(np.arange(2), torch.tensor([4.5, 0.125]))
    curriculum.draw(1, 0)
    priorities = curriculum.priorities
    assert priorities is not None
    assert priorities.tree.values[:2] == pytest.approx([5.0, 0.5], rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_curriculum_put_back_goes_on_as_if_it_had_never_stopped(name: str) -> None:
    def go_on(curriculum: ReplayCurriculum, memory: ReplayMemory, first: int, last: int) -> list[Any]:
        found: list[Any] = []
        for round_ in range(first, last):
            drawn = curriculum.draw(8, 20 * round_)
            weights = None if drawn.weights is None else drawn.weights.tolist()
            found.append((drawn.places.tolist(), weights, dict(curriculum.told)))
            curriculum.see(drawn.places, torch.arange(8.0) / (round_ + 1))
            seen = Observation(
                np.zeros(SPEC.video, np.uint8), np.zeros(SPEC.audio, np.float16), np.ones(2, bool)
            )
            for step in range(3):
                memory.add(Transition(seen, step, float(round_ + step), False, False, seen))
        return found

    whole, stopped = filled(range(30)), filled(range(30))
    expected = go_on(made(whole, name=name), whole, 0, 40)
    first = made(stopped, name=name)
    found = go_on(first, stopped, 0, 15)
    state, drawn_by = first.state_dict(), first.generator.bit_generator.state
    second = made(stopped, name=name, seed=9)
    second.load_state_dict(state)
    second.generator.bit_generator.state = drawn_by
    assert found + go_on(second, stopped, 15, 40) == expected


@pytest.mark.parametrize("name", NAMES[1:])
def test_an_empty_memory_keeps_nothing_of_what_was_known(name: str) -> None:
    full, empty = filled(range(30)), ReplayMemory(SPEC, 31, history=2, slack=3)
    before = made(full, name=name)
    before.see(before.draw(8, 0).places, torch.ones(8))
    later = made(empty, name=name)
    later.load_state_dict(before.state_dict())
    with pytest.raises(ValueError, match="must hold a complete transition"):
        later.draw(4, 0)
    assert later.priorities is None or later.priorities.tree.total == 0.0
