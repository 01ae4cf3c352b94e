"""Recordings as a source of pairs: every step with its history, from disk, labelled by folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spl.agents.replay.memory import ReplayMemory
from spl.config.errors import UsageError
from spl.data.recordings import Recordings
from spl.records import Observation, StreamSpec, Transition
from spl.runs.checksums import seal

SPEC = StreamSpec((1, 2, 3), (1, 4, 2))
META = {"audio": {"sample_rate_hz": 8000, "samples_per_step": 400, "window_samples": 512}}


def observation(number: int, spec: StreamSpec = SPEC) -> Observation:
    """What is seen and heard tells its number."""
    video = np.full(spec.video, number % 256, np.uint8)
    return Observation(
        video, np.full(spec.audio, number / 100, spec.audio_dtype), np.array([True, number % 2 == 0])
    )


def record(
    folder: Path, lengths: list[int], *, first: int = 1, capacity: int = 100, spec: StreamSpec = SPEC
) -> Path:
    """Record episodes of so many observations, numbered on from ``first``; return the folder."""
    memory, number = ReplayMemory(spec, capacity, history=1), first
    memory.meta = META
    for length in lengths:
        last = observation(number, spec)
        memory.begin(last)
        for step in range(1, length):
            number += 1
            last, before = observation(number, spec), last
            memory.add(Transition(before, 0, 0.0, step == length - 1, False, last))
        number += 1
    memory.save(folder)
    return folder


def seen(source: Recordings, index: int) -> list[int]:
    return source.pairs(np.array([index])).video[0, :, 0, 0, 0].tolist()


def test_every_step_has_its_history_and_nothing_of_the_episode_before(tmp_path: Path):
    source = Recordings([record(tmp_path / "one", [3, 4])], history=3)
    assert len(source) == 7
    assert [seen(source, index) for index in range(7)] == [
        [0, 0, 1],
        [0, 1, 2],
        [1, 2, 3],
        [0, 0, 4],
        [0, 4, 5],
        [4, 5, 6],
        [5, 6, 7],
    ]
    pairs = source.pairs(np.array([6, 2]))
    assert pairs.audio.dtype == torch.float16
    torch.testing.assert_close(
        pairs.audio[0, :, 0, 0, 0].float(), torch.tensor([0.05, 0.06, 0.07]), atol=1e-4, rtol=0
    )
    assert pairs.present.tolist() == [[True, False], [True, False]]
    assert pairs.indices.tolist() == [6, 2]
    assert source.classes == ()
    assert source.signature == {
        "video": [1, 2, 3],
        "audio": [1, 4, 2],
        "audio_dtype": "float16",
        "history": 3,
        "sample_rate_hz": 8000,
        "step_s": 0.05,
        "num_mels": 4,
        "window_samples": 512,
        "level_range_db": [-100.0, 0.0],
    }


def test_a_stride_takes_every_so_many_steps_with_their_whole_history(tmp_path: Path):
    source = Recordings([record(tmp_path / "one", [3, 4])], history=2, stride=3)
    assert [seen(source, index) for index in range(len(source))] == [[0, 1], [0, 4], [6, 7]]
    assert source.summary().startswith("1 recording: 3 samples")
    with pytest.raises(UsageError, match="stride of at least 1, got 1, 2 and 0"):
        Recordings([tmp_path / "one"], history=2, stride=0)


def test_an_overwritten_ring_gives_only_whole_histories(tmp_path: Path):
    source = Recordings([record(tmp_path / "one", [12], capacity=5)], history=3)
    assert [seen(source, index) for index in range(len(source))] == [[8, 9, 10], [9, 10, 11], [10, 11, 12]]


@pytest.mark.parametrize(("capacity", "kept"), [(4, 2), (5, 3), (6, 3)])
def test_a_ring_of_two_environments_gives_each_half_of_its_capacity_rounded_up(tmp_path, capacity, kept):
    memory = ReplayMemory(SPEC, capacity, num_envs=2, history=1)
    memory.meta = META
    for env in range(2):
        last = observation(10 * env + 1)
        memory.begin(last, env)
        for number in range(10 * env + 2, 10 * env + 10):  # 9 in all
            last, before = observation(number), last
            memory.add(Transition(before, 0, 0.0, False, False, last), env)
    memory.save(tmp_path / "two")
    source = Recordings([tmp_path / "two"], history=1)
    shown = [seen(source, index)[0] for index in range(len(source))]
    assert shown == [*range(10 - kept, 10), *range(20 - kept, 20)]


def test_several_recordings_are_labelled_by_their_folder(tmp_path: Path):
    folders = [record(tmp_path / "pong", [3]), record(tmp_path / "enduro", [4], first=50)]
    source = Recordings(folders, history=2)
    assert source.classes == ("pong", "enduro")
    assert source.labels().tolist() == [0, 0, 0, 1, 1, 1, 1]
    pairs = source.pairs(np.array([5, 0, 3, 1]))
    assert pairs.labels.tolist() == [1, 0, 1, 0]
    assert pairs.video[:, -1, 0, 0, 0].tolist() == [52, 1, 50, 2]


def test_the_memory_is_mapped_and_not_loaded(tmp_path: Path):
    source = Recordings([record(tmp_path / "one", [9])], history=2)
    flat = source._recordings[0].flat
    assert isinstance(flat.video.base.base, np.memmap)
    assert isinstance(flat.audio.base.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        flat.video[0] = 1


def test_mistakes_are_one_sentence(tmp_path: Path):
    one = record(tmp_path / "run" / "memory", [5])
    with pytest.raises(
        UsageError, match=r"run is not a recording: it has no recording.json; did you mean .*memory\?"
    ):
        Recordings([tmp_path / "run"], history=1)
    with pytest.raises(UsageError, match=r"it has no recording.json$"):
        Recordings([tmp_path / "nowhere"], history=1)
    with pytest.raises(UsageError, match="a recording, and history and stride of at least 1, got 0, 4 and 1"):
        Recordings([], history=4)
    other = record(tmp_path / "other", [5], spec=StreamSpec((1, 4, 4), (1, 4, 2)))
    with pytest.raises(
        UsageError, match=r"other does not fit .*: its video is \[1, 4, 4\], not \[1, 2, 3\]; record all"
    ):
        Recordings([one, other], history=1)
    with pytest.raises(ValueError, match=r"indices must be in 0..4, got 5 to 5"):
        Recordings([one], history=1).pairs(np.array([5]))
    (one / "video.npy").write_bytes((one / "video.npy").read_bytes()[:-3])
    with pytest.raises(UsageError, match=r"video.npy must"):
        Recordings([one], history=1)


def test_a_recording_of_nothing_is_refused(tmp_path: Path):
    folder = record(tmp_path / "one", [3])
    header = json.loads((folder / "recording.json").read_text())
    del header["crc32"]
    (folder / "recording.json").write_text(seal(header | {"written": [1]}))
    with pytest.raises(UsageError, match=r"must hold at least 2 steps with their history, got 1"):
        Recordings([folder], history=1)


@pytest.mark.parametrize(
    "heard", [None, [8000], {"sample_rate_hz": "8000"}, {"sample_rate_hz": 8000, "samples_per_step": 0}]
)
def test_a_header_whose_sound_makes_no_sense_is_refused(heard, tmp_path: Path):
    folder = record(tmp_path / "one", [6])
    header = json.loads((folder / "recording.json").read_text())
    del header["crc32"]
    (folder / "recording.json").write_text(seal(header | {"meta": {"audio": heard}}))
    with pytest.raises(UsageError, match=r"must hold meta.audio with sample_rate_hz and samples_per_step"):
        Recordings([folder], history=1)


def test_a_count_beyond_any_recording_is_refused(tmp_path: Path):
    folder = record(tmp_path / "one", [6])
    header = json.loads((folder / "recording.json").read_text())
    del header["crc32"]
    (folder / "recording.json").write_text(seal(header | {"written": [10**30]}))
    with pytest.raises(UsageError, match="must hold 1 counts as written"):
        Recordings([folder], history=1)


def test_a_sound_that_is_not_a_number_is_named(tmp_path: Path):
    folder = record(tmp_path / "one", [6])
    sound = np.lib.format.open_memmap(folder / "audio.npy", mode="r+")
    sound[3, 0, 0, 1, 1] = np.nan
    sound.flush()
    with pytest.raises(
        UsageError, match="1 of 6 observations whose checksum does not hold, the first in slot 3"
    ):
        Recordings([folder], history=2)
    header = json.loads((folder / "recording.json").read_text())  # one of before checksums
    del header["crc32"], header["arrays"]["sums"]
    (folder / "recording.json").write_text(json.dumps(header | {"version": 1}))
    source = Recordings([folder], history=2)
    source.pairs(np.array([0, 1, 2]))
    with pytest.raises(UsageError, match=r"one holds NaN or infinity in its sound; record it again"):
        source.pairs(np.array([4]))
