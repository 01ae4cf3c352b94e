"""The stack that an agent acts on is the stack that it learns from."""

import numpy as np
import pytest
import torch

from spl.agents.history import History, Stack
from spl.agents.replay.memory import ReplayMemory
from spl.records import Observation, StreamSpec, Transition

SPEC = StreamSpec(video=(1, 3, 2), audio=(1, 2, 2))


def observe(generator: np.random.Generator) -> Observation:
    """Return an observation that is nowhere zero."""
    return Observation(
        generator.integers(1, 256, SPEC.video, dtype=np.uint8),
        generator.uniform(0.1, 1.0, SPEC.audio).astype(np.float16),
        generator.random(2) < 0.7,
    )


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("history", [1, 2, 4])
def test_equals_the_memory_on_random_episodes(history: int, num_envs: int) -> None:
    generator = np.random.default_rng(history)
    memory = ReplayMemory(SPEC, 600, num_envs=num_envs, history=history)
    rolled = History(SPEC, history=history, num_envs=num_envs)
    is_over, acted_on, numbers_of_zeros = [True] * num_envs, {}, set()
    for _ in range(90):
        for env in range(num_envs):
            newest = observe(generator)
            if is_over[env]:
                memory.begin(newest, env)
                rolled.push(newest, env, is_first=True)
                is_over[env] = False
            else:
                acted_on[memory.written[env] - 1, env] = rolled.stack([env])
                is_over[env] = bool(generator.random() < 0.2)
                memory.add(Transition(newest, 0, 0.0, is_over[env], False, newest), env)
                rolled.push(newest, env, is_first=False)
    slots, envs = memory.indices()
    batch = memory.gather(slots, envs)
    assert len(acted_on) == len(memory)
    for row, key in enumerate(zip(slots.tolist(), envs.tolist(), strict=True)):
        stack = acted_on[key]
        assert torch.equal(stack.video[0], batch.video[row])
        assert torch.equal(stack.audio[0], batch.audio[row])
        assert torch.equal(stack.present[0], batch.present[row])
        numbers_of_zeros.add(int((stack.video[0].flatten(1) == 0).all(dim=1).sum()))
    assert numbers_of_zeros == set(range(history))


@pytest.mark.parametrize("history", [1, 3])
def test_the_newest_is_the_last_that_was_pushed(history: int) -> None:
    generator = np.random.default_rng(0)
    rolled = History(SPEC, history=history, num_envs=2)
    for number in range(4):
        for env in range(2):
            pushed = observe(generator)
            rolled.push(pushed, env, is_first=number == 0)
            newest = rolled.newest(env)
            assert all(np.array_equal(one, other) for one, other in zip(newest, pushed, strict=True))
            newest.video[:] = 0  # a copy
            assert rolled.newest(env).video.all()


def test_bytes_of_sound_stay_bytes() -> None:
    rolled = History(SPEC._replace(audio=(1, 1, 2), audio_dtype="int8"), history=2)
    sound = np.array([[[-128, 127]]], np.int8)
    rolled.push(Observation(np.ones(SPEC.video, np.uint8), sound, np.ones(2, np.bool_)), is_first=True)
    stack = rolled.stack()
    assert stack.audio.dtype == torch.int8
    assert stack.audio[0].flatten().tolist() == [0, 0, -128, 127]


def test_a_stack_by_hand() -> None:
    rolled = History(SPEC, history=3)
    for number, is_first in ((1, True), (2, False), (3, False), (4, False)):
        ones = Observation(
            np.full(SPEC.video, number, np.uint8),
            np.full(SPEC.audio, number, np.float16),
            np.array([True, number < 4]),
        )
        rolled.push(ones, is_first=is_first)
        if number == 2:
            assert rolled.stack().video[0, :, 0, 0, 0].tolist() == [0, 1, 2]
    stack = rolled.stack()
    assert stack.video[0, :, 0, 0, 0].tolist() == [2, 3, 4]
    assert stack.audio[0, :, 0, 0, 0].tolist() == [2.0, 3.0, 4.0]
    assert stack.present.tolist() == [[True, False]]
    rolled.push(ones, is_first=True)
    assert rolled.stack().audio[0, :, 0, 0, 0].tolist() == [0.0, 0.0, 4.0]
    assert stack.video[0, :, 0, 0, 0].tolist() == [2, 3, 4]  # a copy: the push after it is not seen


def test_stacks_of_some_environments_keep_their_order_and_kinds() -> None:
    generator = np.random.default_rng(0)
    rolled = History(SPEC, history=2, num_envs=3)
    for env in range(3):
        rolled.push(observe(generator), env, is_first=True)
    whole, some = rolled.stack(), rolled.stack([2, 0])
    assert whole.video.shape == (3, 2, 1, 3, 2)
    assert whole.audio.shape == (3, 2, 1, 2, 2)
    assert whole.recurrent is None, "nothing is remembered yet"
    rolled.remember(torch.arange(3.0)[:, None])
    rolled.push(observe(generator), 2, is_first=False)
    whole, some = rolled.stack(), rolled.stack([2, 0])
    kinds = [torch.uint8, torch.float16, torch.bool, torch.float32, torch.float32]
    assert [field.dtype for field in whole] == kinds  # type: ignore[union-attr]
    assert whole.recurrent.tolist() == [[0], [0], [2]], "it is the state before the newest step"  # type: ignore[union-attr]
    for all_of, part in zip(whole, some, strict=True):
        assert torch.equal(part, all_of[[2, 0]])  # type: ignore[arg-type, index]
    assert all(torch.equal(a, b) for a, b in zip(some, some.to(torch.device("cpu")), strict=True))  # type: ignore[arg-type]
    assert isinstance(some.to(torch.device("cpu")), Stack)
