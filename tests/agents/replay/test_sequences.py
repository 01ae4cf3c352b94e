"""Sequences cut out of a memory around places that were drawn, by hand and beside the episodes themselves."""

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spl.agents.replay.memory import ReplayMemory
from spl.agents.replay.sequences import Sequences, Unroll
from spl.records import Observation, StreamSpec, Transition

SPEC = StreamSpec(video=(1, 1, 1), audio=(1, 1, 1), recurrent=2)


class Drawn:
    """Stands in for a generator: the drawn place has ``before`` learned steps in front of it."""

    def __init__(self, before: int) -> None:
        self.before = before

    def integers(self, high: int, size: tuple[int, int]) -> NDArray[np.int64]:
        assert self.before < high
        return np.full(size, self.before)


def observe(number: int) -> Observation:
    audio = np.full((1, 1, 1), number / 100, np.float16)
    return Observation(np.full((1, 1, 1), number, np.uint8), audio, np.ones(2, np.bool_))


def remembered(number: int) -> NDArray[np.float32]:
    return np.array([number, -number], np.float32)


def memory_of(episodes: list[list[int]], *, is_open: bool = False, **options) -> ReplayMemory:
    """Return a memory of episodes that observe these numbers; a step earns the number that it leaves."""
    memory = ReplayMemory(SPEC, **{"capacity": 40, "history": 2, "gamma": 0.5, **options})
    for episode in episodes:
        env = episode[0] % memory.num_envs
        memory.begin(observe(episode[0]), env, remembered(episode[0]))
        for now, following in pairwise(episode):
            is_last = following == episode[-1] and not (is_open and episode is episodes[-1])
            step = Transition(observe(now), now % 3, float(now), is_last, False, observe(following))
            memory.add(step, env, remembered(following))
    return memory


def at(memory: ReplayMemory, number: int, unroll: Unroll, before: int) -> Sequences:
    """Return the sequence around the transition that leaves ``number``."""
    places = memory.sampleable.places()
    return memory.sequences_at(
        places[memory.at(places).video[:, -1].flatten() == number], Drawn(before), unroll
    )


def test_a_sequence_inside_an_episode_by_hand():
    memory = memory_of([[1, 2, 3, 4, 5, 6, 7, 8]])
    found = at(memory, 4, Unroll(burn_in=2, learned=2), before=1)  # learned are 3 and 4, after 1 and 2
    assert found.video[0, :, :, 0, 0, 0].tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert found.audio[0, :, 1, 0, 0, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05], rel=1e-2)
    assert found.recurrent.tolist() == [[1, -1]], "as stored before the first step"
    assert found.is_there.all()
    assert found.is_learned.all()
    assert (found.action.tolist(), found.reward.tolist()) == ([[0, 1]], [[3, 4]])
    assert (found.discount.tolist(), found.ahead.tolist()) == ([[0.5, 0.5]], [[1, 1]])


def test_before_an_episode_begins_nothing_is_there():
    memory = memory_of([[1, 2, 3], [11, 12, 13, 14, 15]])
    found = at(memory, 11, Unroll(burn_in=1, learned=3), before=1)  # in front of 11 lies another episode
    assert found.is_there.tolist() == [[False, False, True, True, True]]
    assert found.is_learned.tolist() == [[False, True, True]]
    assert found.recurrent.tolist() == [[11, -11]]
    assert found.video[0, 2:, 1, 0, 0, 0].tolist() == [11, 12, 13]


def test_behind_an_episode_s_end_nothing_is_learned_and_its_last_observation_is_there():
    memory = memory_of([[1, 2, 3, 4], [11, 12, 13]], n_step=2)
    found = at(memory, 3, Unroll(burn_in=1, learned=3), before=1)  # 2 and 3 are learned; 4 ends the episode
    assert found.is_there.tolist() == [[True, True, True, True, False, False]]
    assert found.is_learned.tolist() == [[True, True, False]]
    assert found.recurrent.tolist() == [[1, -1]]
    assert found.reward[0, :2].tolist() == [2 + 0.5 * 3, 3]
    assert (found.ahead[0, :2].tolist(), found.discount[0, :2].tolist()) == ([2, 1], [0, 0])


def test_what_awaits_its_n_steps_is_there_and_not_learned():
    memory = memory_of([[1, 2, 3, 4, 5]], is_open=True, n_step=2)
    found = at(memory, 2, Unroll(burn_in=0, learned=4), before=1)
    assert found.is_there.tolist() == [[True] * 5 + [False]]
    assert found.is_learned.tolist() == [[True, True, True, False]]
    assert found.reward[0, :3].tolist() == [1 + 1, 2 + 1.5, 3 + 2]


@pytest.mark.parametrize("num_envs", [1, 2])
def test_what_the_ring_overwrote_is_not_there(num_envs: int):
    long = [[1 + env + 2 * step for step in range(20)] for env in range(num_envs)]
    memory = memory_of(long, is_open=True, capacity=6 * num_envs, num_envs=num_envs)
    newest = long[-1][-1]
    found = at(memory, newest - 4, Unroll(burn_in=4, learned=2), before=0)
    # live are newest - 10 and those behind it; that one has not its whole history of two
    assert found.is_there.tolist() == [[False, False, True, True, True, True, True]]
    assert found.video[0, 2:, 1].flatten().tolist() == list(range(newest - 8, newest + 1, 2))
    assert found.recurrent.tolist() == [[newest - 8, 8 - newest]]
    assert found.is_learned.tolist() == [[True, True]]


def test_what_the_ring_overwrote_with_steps_of_the_same_age_is_not_there():
    memory = memory_of([[1, 2, 3, 4, 5, 6], [11, 12, 13]], capacity=6)  # 11 to 13 lie where 1 to 3 lay
    found = at(memory, 5, Unroll(burn_in=4, learned=1), before=0)
    assert found.is_there.tolist() == [[False, False, False, False, True, True]]
    assert found.recurrent.tolist() == [[5, -5]]


@pytest.mark.parametrize(("learned", "n_step"), [(1, 1), (3, 1), (5, 2)])
def test_each_step_of_every_episode_is_learned_alike(learned: int, n_step: int):
    memory = memory_of([[1, 2, 3, 4, 5, 6, 7, 8], [11, 12], [21, 22, 23]], n_step=n_step)
    counts = dict.fromkeys([1, 2, 3, 4, 5, 6, 7, 11, 21, 22], 0.0)
    for place, before in product(memory.sampleable.places(), range(learned)):
        found = memory.sequences_at(np.array([place]), Drawn(before), Unroll(2, learned))
        numbers = found.video[0, 2 : 2 + learned, 1, 0, 0, 0][found.is_learned[0]].tolist()
        for number in numbers:
            counts[number] += 1 / len(numbers) / learned
    assert list(counts.values()) == pytest.approx([1.0] * 10)


def test_recurrent_states_are_saved_with_the_memory(tmp_path: Path):
    memory = memory_of([[1, 2, 3, 4]])
    memory.save(tmp_path / "memory")
    loaded = ReplayMemory.load(tmp_path / "memory", history=2, gamma=0.5)
    assert loaded.spec == SPEC
    assert loaded.fields.recurrent[:4, 0, 0].tolist() == [1, 2, 3, 4]
    (tmp_path / "memory/recurrent.npy").write_bytes(
        (tmp_path / "memory/recurrent.npy")
        .read_bytes()
        .replace(remembered(2).tobytes(), remembered(5).tobytes())
    )
    with pytest.raises(ValueError, match="checksum does not hold, the first in slot 1"):
        ReplayMemory.load(tmp_path / "memory")


def test_a_state_of_another_size_is_refused():
    memory = memory_of([])
    with pytest.raises(ValueError, match=r"recurrent must have shape \(2,\), got \(0,\)"):
        memory.begin(observe(1))
    assert memory.written == (0,)
