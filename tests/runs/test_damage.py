"""What happened to a save on its disk: a flipped bit, files of two saves, cut, lost and added ones."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spl.agents.replay.memory import ReplayMemory
from spl.data.recording_files import trim
from spl.data.recording_format import HEADER, Fields
from spl.records import Observation, StreamSpec, Transition
from spl.runs import checkpoint
from spl.runs.checkpoint import DamagedError
from spl.runs.checksums import checksum_of, seal, sums_of, unseal

SPEC = StreamSpec((1, 3, 2), (1, 4, 2), state=2, recurrent=3)
ARRAYS = [f"{name}.npy" for name in Fields._fields]


def flip(path: Path, place: int) -> None:
    """Flip one bit of the byte at ``place``, a different one at each."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << place % 8
    path.write_bytes(content)


def observe(number: int) -> Observation:
    audio = np.full(SPEC.audio, number / 64, np.float16)
    video, state = np.full(SPEC.video, number % 256, np.uint8), np.full(SPEC.state, number / 8, np.float32)
    return Observation(video, audio, np.array([True, number % 3 > 0]), state)


def remember(memory: ReplayMemory, numbers: range) -> None:
    """Go on in every environment with what is seen and earned at these numbers; an episode has 7 steps."""
    for number in numbers:
        for env in range(memory.num_envs):
            recurrent = np.full(SPEC.recurrent, number / 16, np.float32)
            if memory.written[env] == 0 or not memory.is_open(env):
                memory.begin(observe(number), env, recurrent)
            end = number % 7 == 6
            step = Transition(observe(0), number % 5, number / 2, end, False, observe(number + 1))
            memory.add(step, env, recurrent)


def saved(place: Path, *, first: int = 0, num_envs: int = 2, **options: Any) -> ReplayMemory:
    memory = ReplayMemory(SPEC, 20 * num_envs, num_envs=num_envs, slack=4, **options)
    remember(memory, range(first, first + 30))
    memory.save(place)
    return memory


def contents(memory: ReplayMemory) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in memory.gather(*memory.indices())]


def test_checksums_by_hand(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456789")
    assert checksum_of(tmp_path / "file") == "cbf43926"  # the check value of CRC-32
    digits, none = np.frombuffer(b"12341234", np.uint8).reshape(2, 4), np.zeros((2, 0, 3), np.float16)
    others = np.frombuffer(b"5678956780", np.uint8).reshape(2, 5)
    sums = sums_of([digits, none, others], np.array([0, 1, 0]))
    assert [int(sums[0]), int(sums[2])] == [0xCBF43926] * 2
    assert sums[1] != sums[0]


@pytest.mark.parametrize("content", [{"version": 2, "x": [0.1, "ü"]}, {"version": 2}])
def test_every_bit_of_a_sealed_document_counts(content: dict[str, Any]) -> None:
    text = seal(content).encode()
    assert {key: value for key, value in unseal(text).items() if key != "crc32"} == content
    for bit in range(8 * len(text)):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(
            ValueError, match=r"checksum|delimiter|decode|Expecting|Extra|control|Invalid|Illegal"
        ):
            unseal(bytes(changed))
    assert unseal(b'{"version": 1}') == {"version": 1}
    with pytest.raises(ValueError, match="nested too deep"):
        unseal(b"[" * 200_000)


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_bit_flipped_anywhere_in_a_checkpoint_is_noticed(name: str, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"step": 1, "x": torch.zeros(2)}, step=1)
    state = {"step": 2, "x": torch.arange(50.0), "y": {"z": [1.5, "word"]}}
    file = checkpoint.save(tmp_path, state, step=2) / name
    whole = file.read_bytes()
    for place in range(0, len(whole), 5):
        flip(file, place)
        told: list[str] = []
        assert checkpoint.load(tmp_path, tell=told.append)["step"] == 1
        assert len(told) == 1
        assert f"{name} is missing, cut or corrupt" in told[0]
        assert told[0].endswith(": step-000000001 is used instead")
        file.write_bytes(whole)
    assert checkpoint.load(tmp_path, tell=told.append)["step"] == 2


def test_a_file_of_another_save_is_noticed(tmp_path: Path) -> None:
    one, two = (
        checkpoint.save(tmp_path, {"step": step, "x": torch.full((3,), step)}, step=step) for step in (1, 2)
    )
    for name in ("tensors.safetensors", "state.json"):
        whole = (two / name).read_bytes()
        shutil.copy(one / name, two / name)
        with pytest.raises(
            DamagedError, match=r"its checksum is .{8}, that of the file saved with state.json"
        ):
            checkpoint.load(two)
        (two / name).write_bytes(whole)
    assert checkpoint.load(two)["step"] == 2


def as_old(path: Path) -> None:
    """Make a checkpoint one of before there were checksums."""
    document = json.loads((path / "state.json").read_text())
    del document["crc32"], document["tensors_crc32"]
    (path / "state.json").write_text(json.dumps(document | {"version": 1}, indent=1))


def test_a_checkpoint_of_before_checksums_is_read(tmp_path: Path, capsys) -> None:
    as_old(checkpoint.save(tmp_path, {"x": torch.arange(3)}, step=1))
    assert checkpoint.load(tmp_path)["x"].tolist() == [0, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ARRAYS)
def test_a_bit_flipped_in_a_memory_is_noticed(name: str, tmp_path: Path) -> None:
    memory = saved(tmp_path)
    state, file = memory.state_dict(), tmp_path / name
    whole = file.read_bytes()
    live = [
        count % memory.slots for count in memory.written
    ]  # the slots from here on hold nothing that counts
    for place in np.linspace(128, len(whole) - 1, 8).astype(int).tolist():
        slot = (place - 128) * memory.slots // (len(whole) - 128)
        if (slot - live[0]) % memory.slots < 4 or slot == live[0] - 1:  # slack, and what is not done yet
            continue
        flip(file, place)
        for options in ({}, {"mmap": True}):
            with pytest.raises(
                ValueError, match=r"1 of 20 obs.*move .* away and resume without it"
            ) as raised:
                ReplayMemory.load(tmp_path, **options)
            assert "\n" not in str(raised.value)
        going_on = ReplayMemory.load(tmp_path, mmap=True, writable=True)
        with pytest.raises(ValueError, match="1 of 20 observations whose checksum does not hold"):
            going_on.load_state_dict(state)
        file.write_bytes(whole)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # numpy's, of kinds that a flip makes of ours
@pytest.mark.parametrize("name", ["video.npy", "age.npy", "sums.npy"])
def test_a_bit_flipped_in_the_head_of_an_array_is_a_sentence_or_harmless(name: str, tmp_path: Path) -> None:
    memory, file = saved(tmp_path), tmp_path / name
    whole, num_noticed = file.read_bytes(), 0
    for bit in range(0, 8 * 128, 5):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        try:
            found = contents(ReplayMemory.load(tmp_path))
        except ValueError:
            num_noticed += 1
        else:
            assert found == contents(memory)
    assert num_noticed > 200


@pytest.mark.parametrize("name", [*ARRAYS, HEADER])
def test_a_file_of_another_memory_is_noticed(name: str, tmp_path: Path) -> None:
    """Of another run with the same shapes; of an earlier save of the same run."""
    memory = saved(tmp_path / "one")
    state, whole = memory.state_dict(), contents(memory)
    saved(tmp_path / "other", first=3)
    remember(memory, range(30, 33))
    memory.save(tmp_path / "later")
    for source in ("other", "later"):
        shutil.copytree(tmp_path / "one", tmp_path / "mixed")
        shutil.copy(tmp_path / source / name, tmp_path / "mixed" / name)
        try:
            mixed = ReplayMemory.load(tmp_path / "mixed")
            mixed.load_state_dict(state)
        except ValueError:
            pass
        else:
            assert contents(mixed) == whole, f"{name} of {source}"
            assert source == "later" or name in ("present.npy", "terminated.npy", "truncated.npy", HEADER)
        shutil.rmtree(tmp_path / "mixed")


LOSSES: dict[str, Callable[[Path], object]] = {
    "lost": Path.unlink,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "emptied": lambda path: path.write_bytes(b""),
    "lengthened": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", [*ARRAYS, HEADER])
def test_a_lost_cut_or_exchanged_file_of_a_memory_is_noticed(name: str, loss: str, tmp_path: Path) -> None:
    saved(tmp_path)
    LOSSES[loss](tmp_path / name)
    for options in ({}, {"mmap": True}, {"mmap": True, "writable": True}):
        with pytest.raises(ValueError, match="resume without it") as raised:
            ReplayMemory.load(tmp_path, **options)
        assert "\n" not in str(raised.value)


def as_old_recording(folder: Path) -> None:
    header = json.loads((folder / HEADER).read_text())
    del header["crc32"], header["arrays"]["sums"]
    (folder / HEADER).write_text(json.dumps(header | {"version": 1}, indent=1))
    (folder / "sums.npy").unlink()


@pytest.mark.parametrize("options", [{}, {"mmap": True, "writable": True}], ids=["in RAM", "on disk"])
def test_a_memory_of_before_checksums_is_read_and_gets_them(options: dict[str, Any], tmp_path: Path) -> None:
    memory = saved(tmp_path, num_envs=1)
    as_old_recording(tmp_path)
    old = ReplayMemory.load(tmp_path, **options)
    assert contents(old) == contents(memory)
    assert contents(ReplayMemory.load(tmp_path, mmap=True)) == contents(memory)
    old.load_state_dict(memory.state_dict())
    remember(old, range(30, 32))
    remember(memory, range(30, 32))
    old.save(tmp_path)
    assert contents(ReplayMemory.load(tmp_path)) == contents(memory)
    flip(tmp_path / "video.npy", 128 + 6 * 10)
    with pytest.raises(ValueError, match="1 of 20 observations whose checksum"):
        ReplayMemory.load(tmp_path)


@pytest.mark.parametrize("is_old", [False, True])
def test_a_trimmed_recording_keeps_its_checksums(is_old: bool, tmp_path: Path) -> None:
    memory = ReplayMemory(SPEC, 90)
    remember(memory, range(30))
    memory.save(tmp_path)
    if is_old:
        as_old_recording(tmp_path)
    trim(tmp_path)
    assert contents(ReplayMemory.load(tmp_path)) == contents(memory)
    if not is_old:
        flip(tmp_path / "reward.npy", 128 + 4 * 10)
        with pytest.raises(ValueError, match="the first in slot 10 of environment 0"):
            ReplayMemory.load(tmp_path)


def test_a_memory_on_disk_outlives_two_kills_between_its_save_and_the_checkpoint(tmp_path: Path) -> None:
    """The header speaks of more than the checkpoint: going back, then on, changes slots it counts."""
    memory = saved(tmp_path, num_envs=1, folder=tmp_path)
    state, whole = memory.state_dict(), contents(memory)
    remember(memory, range(30, 33))
    memory.save(tmp_path)  # killed before its checkpoint
    for _ in range(2):
        again = ReplayMemory.load(tmp_path, mmap=True, writable=True)
        again.load_state_dict(state)
        assert contents(again) == whole
        remember(again, range(60, 62))  # and killed
    again.save(tmp_path)
    assert contents(ReplayMemory.load(tmp_path)) == contents(again)
