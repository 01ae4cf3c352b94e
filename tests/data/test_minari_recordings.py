"""Recordings as Minari datasets: equal to the byte after a round trip, lossless for others, whole or none."""

import json
import re
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from recorded_noise import SPECS, noise, write

from spl.config.errors import RunError, UsageError
from spl.data.exchange.formats import FORMATS, is_address, opened, recorded_as
from spl.data.recording_files import open_recording
from spl.data.recordings import Recordings
from spl.packages import install_advice
from spl.pretrain.data import PairsConfig, load_pairs

minari = pytest.importorskip("minari")
NAME = "spl-tests/noise-v0"


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("sizes", [(5,), (2, 3)])
def test_a_round_trip_gives_the_recording_to_the_byte(tmp_path, spec, sizes):
    write(tmp_path / "ours", "minari", NAME, spec=spec, sizes=sizes)
    header, arrays = open_recording(tmp_path / "ours", mmap=True, writable=False)
    back = opened(f"minari:{NAME}")
    assert back.header == header
    assert list(back.arrays) == list(arrays)
    for name, array in arrays.items():
        assert (back.arrays[name].dtype, back.arrays[name].tobytes()) == (array.dtype, array.tobytes()), name


def test_the_samples_are_those_of_the_folder(tmp_path):
    write(tmp_path / "ours", "minari", NAME)
    address = f"minari:{NAME}"
    ours, theirs = (
        load_pairs(PairsConfig(paths=(str(at),), history=3)) for at in (tmp_path / "ours", address)
    )
    assert theirs.signature == ours.signature
    assert theirs.signature["sample_rate_hz"] == 22_050
    for mine, other in zip(ours.pairs(np.arange(len(ours))), theirs.pairs(np.arange(len(ours))), strict=True):
        assert mine.equal(other)
    [(count, checksum)] = ours.described()["files"].values()
    assert theirs.described()["files"] == {address: [count, checksum]}
    assert count == len(ours)
    both = load_pairs(PairsConfig(paths=(str(tmp_path / "ours"), address)))
    assert both.classes == (address, "ours")


def test_others_read_pictures_sounds_and_the_rate_without_loss(tmp_path):
    spec = SPECS["colour, waveform"]
    write(tmp_path / "ours", "minari", NAME, spec=spec)
    dataset = minari.load_dataset(NAME)
    arrays = open_recording(tmp_path / "ours", mmap=True, writable=False)[1]
    assert dataset.storage.jpeg_encoding is False
    assert dataset.storage.metadata["sample_rate_hz"] == 22_050
    assert dataset.action_space == spaces.Discrete(5)
    assert dataset.observation_space["video"] == spaces.Box(0, 255, (40, 36, 3), np.uint8)
    episodes = list(dataset.iterate_episodes())
    assert [len(episode) for episode in episodes] == [3, 3, 3, 3]
    assert [episode.truncations.tolist()[-1] for episode in episodes] == [False, True, True, True]
    assert [episode.terminations.tolist()[-1] for episode in episodes] == [True, False, False, False]
    first = episodes[0].observations
    assert np.array_equal(first["video"], arrays["video"][:4, 0].transpose(0, 2, 3, 1))
    assert np.array_equal(first["audio"], arrays["audio"][:4, 0])
    for number, observation in enumerate(first["video"]):
        assert dataset.observation_space["video"].contains(observation), number
    assert dataset.storage.get_size() > 0
    assert list(minari.list_local_datasets()) == [NAME]


def test_what_cannot_be_written_is_kept_in_our_format_and_is_no_dataset(datasets, monkeypatch):
    def fail(recording, name, folder):
        folder.mkdir()
        (folder / "half.hdf5").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, "minari", FORMATS["minari"]._replace(write=fail))
    with pytest.raises(RunError, match=r"was not written .*No space left.* is kept in .*/recording,"):
        write(datasets / "ours", "minari", NAME)
    (kept,) = datasets.glob("spl-tests/.noise-v0.*")
    assert len(Recordings([kept / "recording"], history=1)) == 17
    assert [path.name for path in kept.iterdir()] == ["recording"]
    assert minari.list_local_datasets() == {}


def test_a_recording_that_fails_before_its_first_step_leaves_nothing(datasets):
    with pytest.raises(RuntimeError, match="no reset today"), recorded_as("minari", NAME):
        raise RuntimeError("no reset today")
    assert not list(datasets.iterdir())


def test_one_that_fails_later_is_written_as_far_as_it_went(tmp_path):
    with pytest.raises(ZeroDivisionError), recorded_as("minari", NAME) as place:
        1 / len(noise(place) or ())  # it returns None
    assert len(Recordings([opened(f"minari:{NAME}")], history=1)) == 17


def edit(datasets, change):
    """Change the metadata of the dataset."""
    path = datasets / NAME / "data" / "metadata.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def change_a_pixel(datasets):
    import h5py

    with h5py.File(datasets / NAME / "data" / "main_data.hdf5", "r+") as file:
        file["episode_0/observations/video"][1, 2, 3] ^= 1


def add_a_step(datasets):
    import h5py

    with h5py.File(datasets / NAME / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_1/rewards"]


DAMAGE = {
    "another version": (
        lambda at: edit(at, lambda told: told["spl"]["recording"].update(version=9)),
        "got .*9",
    ),
    "no header": (
        lambda at: edit(at, lambda told: told.update(spl={})),
        r"must say format .* got \(None, None\)",
    ),
    "a flipped bit": (
        change_a_pixel,
        "must hold what was recorded, got other checksums; copy or record it again",
    ),
    "a part that is gone": (add_a_step, "cannot be read: .*rewards"),
    "no episodes": (
        lambda at: edit(at, lambda told: told.update(total_episodes=1, total_steps=3)),
        "must hold 17 observations, got 4",
    ),
    "half a file": (
        lambda at: (at / NAME / "data" / "main_data.hdf5").write_bytes(b"\x89HDF"),
        "cannot be read: .*file",
    ),
    "half of what nothing followed": (
        lambda at: (at / NAME / "data" / "unstepped.safetensors").write_bytes(b"half"),
        "unstepped.safetensors is missing or cut: ",
    ),
    "Minari's own": (
        lambda at: edit(at, lambda told: told.update(minari_version="9.0")),
        "does not support the dataset generated by Minari 9.0",
    ),
    "an environment to make": (
        lambda at: edit(at, lambda told: told.pop("action_space")),
        "its metadata must hold observation_space and action_space",
    ),
}


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "file" / "datasets"))
    with pytest.raises(UsageError, match=r"MINARI_DATASETS_PATH must be a folder to write in, got: .*file"):
        FORMATS["minari"].target(NAME)


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_or_of_another_version_is_refused_in_one_sentence(
    tmp_path, datasets, damage, message
):
    write(tmp_path / "ours", "minari", NAME)
    damage(datasets)
    with pytest.raises(UsageError, match=rf"minari:{NAME}.*{message}"):
        load_pairs(PairsConfig(paths=(f"minari:{NAME}",)))


def test_names(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"no Minari dataset noise-v0 in .*; there are none"):
        load_pairs(PairsConfig(paths=("minari:noise-v0",)))
    write(tmp_path / "ours", "minari", NAME)
    with pytest.raises(UsageError, match=f"no Minari dataset noise-v0 in .*; there are {NAME}"):
        load_pairs(PairsConfig(paths=("minari:noise-v0",)))
    with pytest.raises(
        UsageError, match=f"there is a Minari dataset {NAME} already, in .*: choose another --out"
    ):
        FORMATS["minari"].target(NAME)
    for wrong in ("noise", "../noise-v0", "a/noise-v0", ""):
        with pytest.raises(
            UsageError, match=r"must be like beacon/random-v0: .* and a version at the end, got"
        ):
            FORMATS["minari"].target(wrong)
    assert is_address(f"minari:{NAME}")
    assert not any(map(is_address, ("minari", "C:minari", "hub:a/b", "recordings/minari:a")))
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(UsageError, match=f"minari:x-v0 needs minari: {re.escape(install_advice('minari'))}"):
        load_pairs(PairsConfig(paths=("minari:x-v0",)))


class TheirWorld(gymnasium.Env):
    """A picture that becomes brighter, a tone, and joints; the action is a Box without bounds."""

    observation_space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (20, 24, 3), np.uint8),
            "audio": spaces.Box(-1, 1, (800,), np.float32),
            "joints": spaces.Box(-np.inf, np.inf, (7,)),
        }
    )
    action_space = spaces.Box(-np.inf, np.inf, (2,))


def theirs(name, space, make, **told):
    """Create a dataset as others do: two episodes of 3 steps; ``make(step)`` is an observation."""
    steps = [make(step) for step in range(4)]
    seen = (
        {key: np.stack([one[key] for one in steps]) for key in steps[0]}
        if isinstance(steps[0], dict)
        else None
    )
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=np.stack(steps) if seen is None else seen,
            actions=np.zeros((3, 2), np.float32),
            rewards=np.arange(3.0),
            terminations=np.array([False, False, True]),
            truncations=np.zeros(3, np.bool_),
        )
    ] * 2
    dataset = minari.create_dataset_from_buffers(
        name, buffers, observation_space=space, action_space=TheirWorld.action_space, jpeg_encoding=False
    )
    dataset.storage.update_metadata(told)


def their_observation(step):
    camera = np.full((20, 24, 3), 60 * step, np.uint8)
    audio = np.sin(np.arange(800) / 5, dtype=np.float32) * (step == 2)
    return {"camera": camera, "audio": audio, "joints": np.zeros(7, np.float32)}


@pytest.mark.filterwarnings("ignore:.*set to None")
@pytest.mark.filterwarnings("ignore:env_spec is None")
def test_anothers_dataset_is_seen_and_heard_as_an_environment_is():
    theirs("theirs-v0", TheirWorld.observation_space, their_observation, sample_rate_hz=16_000)
    source = load_pairs(PairsConfig(paths=("minari:theirs-v0",), history=2))
    assert len(source) == 8
    assert (source.signature["sample_rate_hz"], source.signature["step_s"]) == (16_000, 0.05)
    pairs = source.pairs(np.arange(4))
    assert pairs.video[:, -1, 0, 40, 40].tolist() == [0, 60, 120, 180]
    assert pairs.audio[:, -1].float().amax(dim=(1, 2, 3)).argmax() == 2
    assert pairs.present.all()


@pytest.mark.filterwarnings("ignore:.*set to None")
@pytest.mark.filterwarnings("ignore:env_spec is None")
@pytest.mark.parametrize(
    ("space", "make", "message"),
    [
        (
            TheirWorld.observation_space,
            their_observation,
            r"must say the sample rate of its sound, got None: minari.load_dataset\(",
        ),
        (
            spaces.Box(-1, 1, (4,)),
            lambda step: np.zeros(4, np.float32),
            "does not serve: no picture and no sound in the observation",
        ),
        (
            spaces.Dict(
                left=spaces.Box(0, 255, (9, 9, 3), np.uint8), right=spaces.Box(0, 255, (9, 9, 3), np.uint8)
            ),
            lambda step: dict.fromkeys(("left", "right"), np.zeros((9, 9, 3), np.uint8)),
            "does not serve: several entries could be the video: left, right$",
        ),
    ],
)
def test_anothers_dataset_that_does_not_serve_is_refused_in_one_sentence(space, make, message):
    theirs("theirs-v0", space, make)
    with pytest.raises(UsageError, match=f"minari:theirs-v0 {message}"):
        load_pairs(PairsConfig(paths=("minari:theirs-v0",)))
