"""Saving on a disk that fills up: one sentence, and the last save stays; which rows are written again."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from spl.agents.replay.memory import ReplayMemory
from spl.agents.replay.persistence import _changed_rows
from spl.data.recording_format import HEADER, layout_of
from spl.records import Observation, StreamSpec, Transition

SPEC = StreamSpec(video=(1, 20, 20), audio=(1, 4, 4))


@contextmanager
def full_beyond(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: the kernel refuses, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def observe(number: int) -> Observation:
    video, audio = np.full(SPEC.video, number % 250 + 1, np.uint8), np.full(SPEC.audio, number, np.float16)
    return Observation(video, audio, np.array([True, True]))


def play(memory: ReplayMemory, num_steps: int) -> None:
    for env in range(memory.num_envs):
        if memory.written[env] == 0:
            memory.begin(observe(0), env)
        for _ in range(num_steps):
            number = memory.written[env]
            memory.add(Transition(observe(0), 1, float(number), False, False, observe(number)), env)


def contents(memory: ReplayMemory) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in memory.gather(*memory.indices())]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_full_disk_is_told_and_the_last_save_stays(num_envs: int, tmp_path: Path) -> None:
    memory = ReplayMemory(SPEC, 100 * num_envs, num_envs=num_envs, slack=60)
    play(memory, 90)
    memory.save(tmp_path)
    before, header = contents(memory), (tmp_path / HEADER).read_text()
    play(memory, 50)
    sentence = r"cannot save the memory in .*: File too large; [\d,]+ bytes are free there, and what was"
    with full_beyond(110 * num_envs * 400), pytest.raises(OSError, match=sentence):
        memory.save(tmp_path)
    assert (tmp_path / HEADER).read_text() == header
    assert contents(ReplayMemory.load(tmp_path)) == before
    memory.save(tmp_path)  # there is room again
    assert contents(ReplayMemory.load(tmp_path)) == contents(memory) != before


def test_a_first_save_on_a_full_disk_can_be_made_good(tmp_path: Path) -> None:
    memory = ReplayMemory(SPEC, 100)
    play(memory, 50)
    with full_beyond(10_000), pytest.raises(OSError, match="cannot save the memory"):
        memory.save(tmp_path)
    memory.save(tmp_path)
    assert contents(ReplayMemory.load(tmp_path)) == contents(memory)


def is_reserved(path: Path) -> bool:
    return path.stat().st_blocks * 512 >= path.stat().st_size


def test_a_memory_on_disk_takes_its_room_at_the_start(tmp_path: Path) -> None:
    memory = ReplayMemory(SPEC, 1_000, folder=tmp_path / "disk")
    assert all(is_reserved(tmp_path / "disk" / f"{name}.npy") for name in layout_of(SPEC, 1, 1))
    assert not any(array.any() for array in memory.fields if array.dtype != np.int16)
    sentence = r"the memory needs 454,000 bytes in .*full, where [\d,]+ are free: File too large; make room"
    with full_beyond(300_000), pytest.raises(OSError, match=sentence):
        ReplayMemory(SPEC, 1_000, folder=tmp_path / "full")
    assert not list((tmp_path / "full").iterdir())


def test_going_on_in_a_folder_reserves_what_is_missing_and_keeps_what_is_there(tmp_path: Path) -> None:
    memory = ReplayMemory(SPEC, 1_000)
    play(memory, 300)
    memory.save(tmp_path)
    assert not is_reserved(tmp_path / "video.npy")
    again = ReplayMemory.load(tmp_path, mmap=True, writable=True)
    assert is_reserved(tmp_path / "video.npy")
    assert contents(again) == contents(memory)


@pytest.mark.parametrize(
    ("num_clean", "written", "rows"),
    [
        ([0], [0], []),
        ([0], [4], [(0, 4)]),
        ([4], [4], [(3, 4)]),  # the newest one's action came later
        ([4], [7], [(3, 7)]),
        ([9], [12], [(0, 2), (8, 10)]),  # around the end of 10 slots
        ([9], [40], [(0, 10)]),
        ([4, 2], [6, 3], [(1, 6)]),
        ([2, 9], [3, 12], [(0, 3), (8, 10)]),
        ([2, 7], [3, 8], [(1, 3), (6, 8)]),
    ],
)
def test_rows_that_changed_by_hand(num_clean, written, rows) -> None:
    assert _changed_rows(num_clean, written, 10) == rows
