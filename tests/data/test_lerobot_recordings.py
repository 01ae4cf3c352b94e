"""Recordings as LeRobot datasets: equal to the byte after a round trip, as its own package reads them."""

import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image
from recorded_noise import SPECS, noise, write

from spl.config.errors import RunError, UsageError
from spl.data.exchange import lerobot_columns
from spl.data.exchange.formats import opened, recorded_as
from spl.data.recording_files import open_recording
from spl.data.recordings import Recordings
from spl.packages import install_advice
from spl.pretrain.data import PairsConfig, load_pairs

pq = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")


def load(place):
    return load_pairs(PairsConfig(paths=(f"lerobot:{place}",), history=2))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("sizes", [(5,), (2, 3)])
def test_a_round_trip_gives_the_recording_to_the_byte(tmp_path, spec, sizes):
    write(tmp_path / "ours", "lerobot", str(tmp_path / "theirs"), spec=spec, sizes=sizes)
    header, arrays = open_recording(tmp_path / "ours", mmap=True, writable=False)
    back = opened(f"lerobot:{tmp_path}/theirs")
    assert back.header == header
    for name, array in arrays.items():
        assert (back.arrays[name].dtype, back.arrays[name].tobytes()) == (array.dtype, array.tobytes()), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs"]


def test_the_files_are_those_of_its_format(tmp_path):
    """Checked with lerobot 0.4.4 itself, too, which reads pictures, sounds and actions as they are."""
    folder = tmp_path / "theirs"
    write(tmp_path / "ours", "lerobot", str(folder))
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 5, 17)
    assert (info["fps"], info["sample_rate_hz"]) == (50, 22_050)
    assert info["features"]["observation.image"]["shape"] == [9, 8, 1]
    assert info["features"]["observation.audio"] | {"names": 0} == {
        "dtype": "float32",
        "shape": [1, 4, 2],
        "names": 0,
    }
    arrays = open_recording(tmp_path / "ours", mmap=True, writable=False)[1]
    frames = pq.read_table(folder / "data/chunk-000/file-000.parquet").to_pydict()
    assert frames["episode_index"] == [0] * 4 + [1] * 4 + [2] + [3] * 4 + [4] * 4
    assert frames["action"] == arrays["action"][:, 0].tolist()
    assert [frames["action"][last] for last in (3, 7, 8, 12, 16)] == [-1] * 5
    assert np.allclose(frames["timestamp"][:4], [0, 0.02, 0.04, 0.06])
    assert frames["next.done"][:5] == [False, False, True, True, False]
    assert frames["next.truncated"][4:8] == [False, False, True, False]  # a fault ended it
    assert np.array_equal(frames["observation.audio"], arrays["audio"][:, 0])
    picture = Image.open(io.BytesIO(frames["observation.image"][5]["bytes"]))
    assert (picture.format, picture.mode) == ("PNG", "L")
    assert np.array_equal(picture, arrays["video"][5, 0, 0])
    (first, *_, last) = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert (first["length"], first["dataset_from_index"], first["tasks"]) == (4, 0, ["Noise-v0"])
    assert (last["dataset_from_index"], last["dataset_to_index"], last["data/file_index"]) == (13, 17, 0)
    tasks = pq.read_table(folder / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]
    assert tasks.to_pylist() == [{"task_index": 0, "__index_level_0__": "Noise-v0"}]
    stats = json.loads((folder / "meta/stats.json").read_text())
    pixels = arrays["video"] / 255
    assert np.allclose(stats["observation.image"]["mean"], [[[pixels.mean()]]])
    assert np.allclose(stats["observation.image"]["std"], [[[pixels.std()]]])
    assert np.allclose(stats["observation.audio"]["max"], arrays["audio"][:, 0].max(axis=0))
    assert stats["next.reward"]["count"] == [17]


def test_large_data_sets_lie_in_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_columns, "MOST_MB", 0)
    monkeypatch.setattr(lerobot_columns, "CHUNK", 2)
    write(tmp_path / "ours", "lerobot", str(tmp_path / "theirs"))
    files = sorted(
        path.relative_to(tmp_path / "theirs/data") for path in (tmp_path / "theirs/data").glob("*/*")
    )
    assert [str(path) for path in files[:3]] == [
        "chunk-000/file-000.parquet",
        "chunk-000/file-001.parquet",
        "chunk-001/file-000.parquet",
    ]
    rows = pq.read_table(tmp_path / "theirs/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["data/chunk_index"], row["data/file_index"]) for row in rows[:3]] == [(0, 0), (0, 1), (1, 0)]
    assert len(load(tmp_path / "theirs")) == len(Recordings([tmp_path / "ours"], history=2))


def edit(folder, change):
    told = json.loads((folder / "meta/info.json").read_text())
    change(told)
    (folder / "meta/info.json").write_text(json.dumps(told))


def change_a_reward(folder):
    path = folder / "data/chunk-000/file-000.parquet"
    rows = pq.read_table(path)
    place = rows.column_names.index("next.reward")
    pq.write_table(rows.set_column(place, "next.reward", pa.array(np.arange(17, dtype=np.float32))), path)


DAMAGE = {
    "another version of ours": (
        lambda at: edit(at, lambda told: told["spl"]["recording"].update(version=9)),
        r"must say format .*, got \('spl-recording', 9\)",
    ),
    "another version of theirs": (
        lambda at: edit(at, lambda told: told.update(codebase_version="v2.1")),
        "must be of LeRobot's format v3.0, got v2.1: convert it with",
    ),
    "a changed reward": (change_a_reward, "must hold what was recorded, got other checksums"),
    "a file that is cut": (
        lambda at: (at / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1"),
        "cannot be read: .*[Pp]arquet",
    ),
    "a file that is gone": (
        lambda at: (at / "data/chunk-000/file-000.parquet").unlink(),
        "must hold 17 observations, got 0",
    ),
    "a sound without sense": (
        lambda at: edit(at, lambda told: told["spl"]["recording"]["meta"].update(audio=[1])),
        "must hold meta.audio with sample_rate_hz",
    ),
    "a list in place of shapes": (
        lambda at: edit(at, lambda told: told["spl"]["recording"].update(spec=[])),
        "cannot be read",
    ),
    "no features": (lambda at: edit(at, lambda told: told.update(features=None)), "cannot be read"),
    "no features, nor ours": (
        lambda at: edit(at, lambda told: (told.pop("spl"), told.update(features={}))),
        "does not serve",
    ),
    "an endless list": (lambda at: (at / "meta/info.json").write_text("[" * 100_000), "cannot be read"),
    "a cut info.json": (
        lambda at: (at / "meta/info.json").write_text("{"),
        "cannot be read: Expecting property",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_or_of_another_version_is_refused_in_one_sentence(tmp_path, damage, message):
    write(tmp_path / "ours", "lerobot", str(tmp_path / "theirs"))
    damage(tmp_path / "theirs")
    with pytest.raises(UsageError, match=f"lerobot:.*theirs.*{message}"):
        load(tmp_path / "theirs")


def test_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_HOME", str(tmp_path / "home"))
    missing = r"there is no LeRobot dataset at 'me/noise', nor of that name in .*home; there are "
    with pytest.raises(UsageError, match=f"{missing}none"):
        load("me/noise")
    write(tmp_path / "ours", "lerobot", str(tmp_path / "home/you/noise"))
    with pytest.raises(UsageError, match=f"{missing}you/noise"):
        load("me/noise")
    assert len(load("you/noise")) == len(load(tmp_path / "home/you/noise")) == 17
    with (
        pytest.raises(UsageError, match="ours is not empty: choose another with --out"),
        recorded_as("lerobot", str(tmp_path / "ours")),
    ):
        pass
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=f"lerobot:x needs pyarrow: {re.escape(install_advice('pyarrow'))}"):
        load("x")


def test_what_cannot_be_written_is_kept_and_is_no_data_set(tmp_path, monkeypatch):
    def fail(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spl.data.exchange.lerobot_recordings.write_meta", fail)
    with (
        pytest.raises(RunError, match=r"No space left.* is kept in .*/recording,"),
        recorded_as("lerobot", str(tmp_path / "theirs")) as place,
    ):
        noise(place)
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith(".theirs.")
    assert len(Recordings([kept / "recording"], history=1)) == 17


def anothers(folder, *, rate_hz=16_000, dtype="image"):
    """Write two episodes of 4 frames as others do: a picture that becomes brighter, a tone, joints."""
    features = {
        "observation.images.cam": {"dtype": dtype, "shape": [20, 24, 3], "names": None},
        "observation.audio": {"dtype": "float32", "shape": [800], "names": None},
        "observation.state": {"dtype": "float32", "shape": [7], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
        "index": {"dtype": "int64", "shape": [1], "names": None},
    }
    tone = np.sin(np.arange(800) / 5, dtype=np.float32)
    frames = {
        "observation.images.cam": np.stack(
            [np.full((20, 24, 3), 60 * step, np.uint8) for step in range(4)] * 2
        ),
        "observation.audio": np.stack([tone * (step == 2) for step in range(4)] * 2),
        "observation.state": np.zeros((8, 7)),
        "episode_index": np.repeat([0, 1], 4),
        "index": np.arange(8),
    }
    if dtype == "video":
        del frames["observation.images.cam"]
    if rate_hz is None and dtype == "video":
        del features["observation.audio"], frames["observation.audio"], features["observation.state"]
    (folder / "meta").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    table = {
        key: lerobot_columns.as_column(values, features[key])
        for key, values in frames.items()
        if key in features
    }
    pq.write_table(pa.table(table), folder / "data/chunk-000/file-000.parquet")
    info = {"codebase_version": "v3.0", "total_frames": 8, "features": features, "sample_rate_hz": rate_hz}
    (folder / "meta/info.json").write_text(json.dumps(info))


def test_anothers_data_set_is_seen_and_heard_as_an_environment_is(tmp_path):
    anothers(tmp_path / "theirs")
    source = load(tmp_path / "theirs")
    assert len(source) == 8
    assert (source.signature["sample_rate_hz"], source.signature["step_s"]) == (16_000, 0.05)
    pairs = source.pairs(np.arange(4))
    assert pairs.video[:, -1, 0, 40, 40].tolist() == [0, 60, 120, 180]
    assert pairs.audio[:, -1].float().amax(dim=(1, 2, 3)).argmax() == 2


@pytest.mark.parametrize(
    ("rate_hz", "dtype", "message"),
    [
        (None, "image", 'must say the sample rate of its sound, got None: write "sample_rate_hz": '),
        (None, "video", r"has its pictures as MP4 alone: --data .*theirs/videos reads these as videos"),
    ],
)
def test_anothers_data_set_that_does_not_serve_is_refused_in_one_sentence(tmp_path, rate_hz, dtype, message):
    anothers(tmp_path / "theirs", rate_hz=rate_hz, dtype=dtype)
    with pytest.raises(UsageError, match=f"lerobot:.*theirs {message}"):
        load(tmp_path / "theirs")
