"""Replay memory: against a plain list of episodes, by hand, and through its folder on disk."""

import json
import math
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spl.agents.replay.memory import ReplayMemory
from spl.data.recording_files import trim
from spl.data.recording_format import HEADER, Fields
from spl.records import Batch, Observation, StreamSpec, Transition
from spl.runs.checksums import seal

SPEC = StreamSpec(video=(1, 3, 2), audio=(1, 2, 2), state=2)
BYTES = StreamSpec(video=(1, 3, 2), audio=(1, 1, 3), audio_dtype="int8")
GAMMA = 0.5
KEEPING = [name for name in Fields._fields if name != "recurrent"]  # of an agent without such a state
KEPT = {"history": 3, "n_step": 2, "gamma": GAMMA}


def observe(number: int, spec: StreamSpec = SPEC) -> Observation:
    """Return an observation that says its number, never zero."""
    video = np.full(spec.video, number % 255 + 1, np.uint8)
    audio = np.full(spec.audio, number % 127 + 1 if spec == BYTES else number + 1, spec.audio_dtype)
    state = np.full(spec.state, number / 4, np.float32)
    return Observation(video, audio, np.array([True, number % 2 == 0]), state)


class Episode:
    """Everything of one episode of one environment."""

    def __init__(self, start: int, observation: Observation) -> None:
        self.start = start  # number of the first observation in its ring
        self.observations = [observation]
        self.actions: list[int] = []
        self.rewards: list[float] = []
        self.end = ""


class World:
    """Plays random episodes into a memory and keeps them all, to say what sampling must return."""

    def __init__(self, memory: ReplayMemory, seed: int = 0, spec: StreamSpec = SPEC) -> None:
        self.memory, self.rng, self.counter = memory, np.random.default_rng(seed), 0
        self.spec = spec
        self.episodes: list[list[Episode]] = [[] for _ in range(memory.num_envs)]

    def step(self) -> None:
        """Write one observation to one environment."""
        env = int(self.rng.integers(self.memory.num_envs))
        episodes = self.episodes[env]
        self.counter += 1
        observation = observe(self.counter, self.spec)
        if not episodes or episodes[-1].end or self.rng.random() < 0.04:  # sometimes without an end
            self.memory.begin(observation, env)
            episodes.append(Episode(self.memory.written[env] - 1, observation))
            return
        end = str(self.rng.choice(["", "terminated", "truncated"], p=[0.8, 0.1, 0.1]))
        action, reward = int(self.rng.integers(5)), float(np.float32(self.rng.normal()))
        episode = episodes[-1]
        ends = {"terminated": end == "terminated", "truncated": end == "truncated"}
        self.memory.add(
            Transition(episode.observations[-1], action, reward, next_observation=observation, **ends), env
        )
        episode.actions.append(action)
        episode.rewards.append(reward)
        episode.observations.append(observation)
        episode.end = end

    def play(self, num_steps: int) -> None:
        for _ in range(num_steps):
            self.step()

    def sampleable(self) -> dict[tuple[int, int], tuple[Episode, int]]:
        """Return ``(slot, env) -> (episode, step)`` of all that may be sampled, by the definition."""
        memory, found = self.memory, {}
        for env, episodes in enumerate(self.episodes):
            oldest = memory.written[env] - memory.usable
            for episode, step in ((e, s) for e in episodes for s in range(len(e.actions))):
                number = episode.start + step
                has_history = number - min(step, memory.history - 1) >= oldest
                has_window = episode.end != "" or len(episode.actions) - step >= memory.n_step
                if has_history and has_window:
                    found[number % memory.slots, env] = episode, step
        return found

    def stack(self, episode: Episode, step: int, stream: str) -> torch.Tensor:
        frames = [
            getattr(episode.observations[max(k, 0)], stream) * (k >= 0)
            for k in range(step - self.memory.history + 1, step + 1)
        ]
        return torch.from_numpy(np.stack(frames))

    def check(self, batch: Batch, found: list[tuple[Episode, int]]) -> None:
        """Compare a batch with the episodes, field by field."""
        for row, (episode, step) in enumerate(found):
            ahead = min(self.memory.n_step, len(episode.actions) - step)
            later = step + ahead
            reward = sum(GAMMA**k * episode.rewards[step + k] for k in range(ahead))
            is_cut = episode.end == "terminated" and later == len(episode.actions)
            for at, prefix in ((step, ""), (later, "next_")):
                for stream in ("video", "audio"):
                    got = getattr(batch, prefix + stream)[row]
                    assert torch.equal(got, self.stack(episode, at, stream)), (prefix, stream)
                present = getattr(batch, f"{prefix}present")[row]
                assert present.tolist() == episode.observations[at].present.tolist()
                state = getattr(batch, f"{prefix}state")[row]
                assert state.tolist() == episode.observations[at].state.tolist()
            assert batch.action[row] == episode.actions[step]
            assert float(batch.reward[row]) == pytest.approx(reward, abs=1e-6)
            assert float(batch.discount[row]) == (0.0 if is_cut else GAMMA**ahead)


def check_all(world: World) -> None:
    """Compare everything sampleable, and the count of it, with the episodes."""
    found = world.sampleable()
    slots, envs = world.memory.indices()
    assert {*zip(slots.tolist(), envs.tolist(), strict=True)} == found.keys()
    assert len(world.memory) == slots.size == len(found)
    if found:
        order = [found[int(slot), int(env)] for slot, env in zip(slots, envs, strict=True)]
        world.check(world.memory.gather(slots, envs), order)


def assert_equal(one: ReplayMemory, two: ReplayMemory) -> None:
    """Compare counts, everything sampleable and seeded draws."""
    assert one.written == two.written
    assert one.meta == two.meta
    for a, b in zip(one.indices(), two.indices(), strict=True):
        assert np.array_equal(a, b)
    for a, b in zip(one.gather(*one.indices()), two.gather(*two.indices()), strict=True):
        assert torch.equal(a, b)
    for env, count in enumerate(one.written):
        for a, b in zip(one.fields[:-1], two.fields[:-1], strict=True):  # all but the checksums of saves
            live = np.arange(max(0, count - one.usable), count)
            assert np.array_equal(a[live % one.slots, env], b[live % two.slots, env])
    draws = [m.sample(20, np.random.default_rng(3)) for m in (one, two)]
    for a, b in zip(*draws, strict=True):
        assert torch.equal(a, b)


def make(capacity: int = 40, **options: Any) -> ReplayMemory:
    return ReplayMemory(SPEC, capacity, **(KEPT | options))


def transition(number: int, **changes: Any) -> Transition:
    whole = Transition(observe(number - 1), 1, 1.0, False, False, observe(number))
    return whole._replace(**changes)


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(("history", "n_step"), list(product(range(1, 5), range(1, 6))))
def test_equals_a_plain_list_of_episodes(history: int, n_step: int, num_envs: int) -> None:
    for usable, slack in ((2, 0), (5, 0), (7, 3), (100, 0)):
        capacity = usable * num_envs
        options = {"history": history, "n_step": n_step, "num_envs": num_envs, "slack": slack}
        world = World(make(capacity, **options), seed=usable)
        for step in range(50 * num_envs):
            world.step()
            assert len(world.memory) == len(world.sampleable())
            if step % 10 == 9:
                check_all(world)
        world.memory.load_state_dict(world.memory.state_dict())  # finds the sampleable from the arrays
        check_all(world)


@pytest.mark.parametrize("num_envs", [1, 2])
def test_sample_is_uniform_over_the_sampleable_and_nothing_else(num_envs: int) -> None:
    world = World(make(30, num_envs=num_envs, slack=4), seed=5)
    world.play(100)
    names = {
        float(o.audio.flat[0]): k for k, (e, s) in world.sampleable().items() for o in [e.observations[s]]
    }
    batch = world.memory.sample(20_000, np.random.default_rng(0))
    drawn, counts = np.unique(batch.audio[:, -1, 0, 0, 0].float().numpy(), return_counts=True)
    assert {*drawn.tolist()} == names.keys()
    expected = 20_000 / len(names)
    degrees = len(names) - 1
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < degrees + 4 * math.sqrt(2 * degrees)


def test_sample_equals_the_episodes_and_repeats_with_its_seed() -> None:
    world = World(make(30), seed=2)
    world.play(80)
    by_name = {float(e.observations[s].audio.flat[0]): (e, s) for e, s in world.sampleable().values()}
    one, two = (world.memory.sample(64, np.random.default_rng(7)) for _ in range(2))
    world.check(one, [by_name[float(name)] for name in one.audio[:, -1, 0, 0, 0]])
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    other = world.memory.sample(64, np.random.default_rng(8))
    assert not torch.equal(one.audio, other.audio)


def test_actions_and_rewards_are_told_without_the_batch() -> None:
    memory = make(60, num_envs=2, n_step=3)
    for env in range(2):
        memory.begin(observe(env), env)
        for number in range(25):
            memory.add(transition(number, terminated=number == 24), env)
    places = memory.draw(30, np.random.default_rng(0))
    batch = memory.at(places)
    assert memory.actions_at(places).tolist() == batch.action.tolist()
    assert memory.rewards_at(places).tolist() == batch.reward.tolist()


def test_few_sampleable_among_many_slots_are_found() -> None:
    memory = make(400, num_envs=20, history=1, n_step=1)
    for env in range(20):
        memory.begin(observe(env), env)
    memory.add(transition(77), 4)
    assert len(memory) == 1
    batch = memory.sample(5, np.random.default_rng(0))
    assert batch.next_audio[:, -1, 0, 0, 0].tolist() == [78.0] * 5


@pytest.mark.parametrize(("end", "last_discount"), [("terminated", 0.0), ("truncated", 0.5)])
def test_n_step_return_by_hand(end: str, last_discount: float) -> None:
    memory = make(20, history=2, n_step=3)
    memory.begin(observe(10))
    for number, reward in ((11, 1.0), (12, 2.0), (13, 4.0), (14, 8.0)):
        memory.add(transition(number, reward=reward, **({end: True} if number == 14 else {})))
    memory.begin(observe(50))  # never seen by the episode before
    batch = memory.gather(*memory.indices())
    # 1 + 2/2 + 4/4 = 3;  2 + 4/2 + 8/4 = 6;  4 + 8/2 = 8;  8
    assert batch.reward.tolist() == [3.0, 6.0, 8.0, 8.0]
    cut = end == "terminated"
    assert batch.discount.tolist() == [0.125, 0.0 if cut else 0.125, 0.0 if cut else 0.25, last_discount]
    newest = batch.next_audio[:, :, 0, 0, 0].tolist()  # a number n is heard as n + 1
    assert newest == [[13.0, 14.0], [14.0, 15.0], [14.0, 15.0], [14.0, 15.0]]
    assert batch.video[0, :, 0, 0, 0].tolist() == [0, 11]


def test_shapes_and_dtypes_of_a_batch() -> None:
    world = World(make())
    world.play(30)
    batch = world.memory.sample(5, world.rng)
    assert batch.video.shape == batch.next_video.shape == (5, 3, 1, 3, 2)
    assert batch.audio.shape == batch.next_audio.shape == (5, 3, 1, 2, 2)
    kinds = [torch.uint8, torch.float16, torch.bool, torch.int64, torch.float32, torch.float32]
    assert [field.dtype for field in batch] == kinds + kinds[:3] + [torch.float32] * 2
    assert batch.state.shape == batch.next_state.shape == (5, 2)


def test_storage_stays_within_five_percent_of_one_observation() -> None:
    spec = StreamSpec((1, 84, 84), (1, 64, 8))
    memory = ReplayMemory(spec, 600)
    observation = observe(1, spec)
    memory.begin(observation)
    for _ in range(900):
        memory.add(Transition(observation, 0, 0.0, False, False, observation))
    assert memory.bytes_per_transition <= 1.05 * (84 * 84 + 64 * 8 * 2)
    assert memory.nbytes <= 1.05 * 600 * (84 * 84 + 64 * 8 * 2)


@pytest.mark.parametrize("spec", [StreamSpec((1, 3, 2), (1, 0, 0)), StreamSpec((0, 0, 0), (1, 2, 2))])
def test_an_absent_stream_costs_nothing(spec: StreamSpec, tmp_path: Path) -> None:
    memory = ReplayMemory(spec, 20, history=2)
    memory.begin(observe(1, spec))
    for number in range(2, 8):
        memory.add(transition(number, next_observation=observe(number, spec)))
    memory.save(tmp_path)
    for one in (memory, ReplayMemory.load(tmp_path, history=2, mmap=True)):
        batch = one.sample(4, np.random.default_rng(0))
        assert batch.video.shape == (4, 2, *spec.video)
        assert batch.audio.shape == (4, 2, *spec.audio)
    trim(tmp_path)
    assert_equal(memory, ReplayMemory.load(tmp_path, history=2))
    assert 0 in (memory.fields.video.nbytes, memory.fields.audio.nbytes)


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("mmap", [False, True])
def test_save_append_and_load_are_equal_also_after_wrapping(
    mmap: bool, num_envs: int, tmp_path: Path
) -> None:
    world = World(make(24, num_envs=num_envs, slack=3))
    world.memory.meta["env"] = "spl/Beacon-v0"
    for num_steps in (20, 1, 7, 150, 2, 0, 30):
        world.play(num_steps)
        world.memory.save(tmp_path / "recording")
        assert_equal(world.memory, ReplayMemory.load(tmp_path / "recording", mmap=mmap, **KEPT))


@pytest.mark.parametrize("mmap", [False, True])
def test_bytes_of_sound_are_kept_saved_and_drawn_as_bytes(mmap: bool, tmp_path: Path) -> None:
    memory = ReplayMemory(BYTES, 20, **KEPT)
    memory.begin(observe(126, BYTES)._replace(audio=np.array([[[-128, 0, 127]]], np.int8)))
    for number in range(40):
        memory.add(transition(number, next_observation=observe(number, BYTES)))
        if number == 2:
            batch = memory.gather(*memory.indices())
            assert batch.audio.dtype == batch.next_audio.dtype == torch.int8
            assert batch.audio[0].flatten(1).tolist() == [[0] * 3, [0] * 3, [-128, 0, 127]]
            assert batch.next_audio[0].flatten(1).tolist() == [[-128, 0, 127], [1] * 3, [2] * 3]
    memory.save(tmp_path / "recording")
    loaded = ReplayMemory.load(tmp_path / "recording", mmap=mmap, **KEPT)
    assert loaded.spec == BYTES
    assert loaded.fields.audio.dtype == np.int8
    assert_equal(memory, loaded)
    with pytest.raises(ValueError, match=r"audio must be a int8 array of shape \(1, 1, 3\), got float16"):
        memory.begin(observe(1, BYTES)._replace(audio=np.zeros(BYTES.audio, np.float16)))


def test_a_recording_older_than_bytes_of_sound_is_loaded(tmp_path: Path) -> None:
    spec = SPEC._replace(state=0)
    world = World(ReplayMemory(spec, 15, **KEPT), spec=spec)
    world.play(20)
    world.memory.save(tmp_path)
    edit_header(tmp_path, spec={"video": list(SPEC.video), "audio": list(SPEC.audio)})
    loaded = ReplayMemory.load(tmp_path, **KEPT)
    assert loaded.spec == spec
    assert not (tmp_path / "state.npy").exists()
    assert_equal(world.memory, loaded)


def test_saving_again_writes_only_what_changed(tmp_path: Path) -> None:
    world = World(make(40))
    world.play(20)
    world.memory.save(tmp_path)
    video = np.load(tmp_path / "video.npy", mmap_mode="r+")
    video[3] = 99  # not written again: clean
    world.play(3)
    world.memory.save(tmp_path)
    assert (video[3] == 99).all()
    assert np.array_equal(video[19:23], world.memory.fields.video[19:23])


def test_going_on_after_loading_equals_not_having_stopped(tmp_path: Path) -> None:
    whole, parts = World(make(24, slack=5)), World(make(24, slack=5))
    whole.play(140)
    for num_steps in (20, 100, 20):
        parts.play(num_steps)
        parts.memory.save(tmp_path)
        parts.memory = ReplayMemory.load(tmp_path, **KEPT)
    assert_equal(whole.memory, parts.memory)
    check_all(parts)


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("is_on_disk", [False, True])
def test_slack_keeps_the_last_save_readable_through_a_kill(
    is_on_disk: bool, num_envs: int, tmp_path: Path
) -> None:
    live, before, killed = (tmp_path / name for name in ("live", "before", "killed"))
    world = World(make(12 * num_envs, num_envs=num_envs, slack=6, folder=live if is_on_disk else None))
    for num_steps in (50, 4, 11, 25):
        world.play(num_steps)
        world.memory.save(live)
        shutil.copytree(live, before)
        for _ in range(6):
            world.play(1)
            if not is_on_disk:
                world.memory.save(live)
            shutil.copytree(live, killed)
            shutil.copy(before / HEADER, killed)
            for mmap in (False, True):
                assert_equal(*(ReplayMemory.load(path, mmap=mmap, **KEPT) for path in (before, killed)))
            shutil.rmtree(killed)
        shutil.rmtree(before)


def test_counts_can_go_back_within_the_slack_and_on_again(tmp_path: Path) -> None:
    memory = make(12, slack=4)
    world = World(memory)
    world.play(60)
    memory.save(tmp_path / "then")
    then = ReplayMemory.load(tmp_path / "then", **KEPT)
    state = memory.state_dict()
    world.play(4)
    memory.save(tmp_path / "later")
    memory.load_state_dict(state)
    assert_equal(memory, then)
    for one in (memory, then):
        one.begin(observe(200))
        one.add(transition(201, reward=7.0))
        one.add(transition(202, reward=8.0, truncated=True))
    memory.save(tmp_path / "later")
    assert_equal(then, ReplayMemory.load(tmp_path / "later", **KEPT))
    world.memory.begin(observe(1))
    for number in range(5):
        memory.add(transition(number))
    with pytest.raises(ValueError, match="slack"):
        memory.load_state_dict(state)
    with pytest.raises(ValueError, match="1 counts"):
        memory.load_state_dict({"written": [1, 2]})


def test_storage_on_disk_equals_storage_in_ram(tmp_path: Path) -> None:
    in_ram, on_disk = World(make(15, slack=2)), World(make(15, slack=2, folder=tmp_path / "disk"))
    for world in (in_ram, on_disk):
        world.play(30)
        world.memory.meta["env"] = "a"
    on_disk.memory.save(tmp_path / "disk")
    assert_equal(in_ram.memory, on_disk.memory)
    on_disk.memory = ReplayMemory.load(tmp_path / "disk", mmap=True, writable=True, **KEPT)
    for world in (in_ram, on_disk):
        world.play(41)
        world.memory.save(tmp_path / "disk" if world is on_disk else tmp_path / "ram")
    for name in KEEPING:
        files = [(tmp_path / place / f"{name}.npy").read_bytes() for place in ("disk", "ram")]
        assert files[0] == files[1], name
    assert_equal(in_ram.memory, ReplayMemory.load(tmp_path / "disk", mmap=True, **KEPT))
    on_disk.memory.save(tmp_path / "copy")
    assert_equal(in_ram.memory, ReplayMemory.load(tmp_path / "copy", **KEPT))
    with pytest.raises(ValueError, match="holds a recording; open it with"):
        make(15, folder=tmp_path / "disk")


def test_a_folder_of_another_memory_is_not_overwritten(tmp_path: Path) -> None:
    worlds = [World(make(15), seed) for seed in (1, 2)]
    for world in worlds:
        world.play(20)
    worlds[0].memory.save(tmp_path)
    with pytest.raises(ValueError, match="another memory"):
        worlds[1].memory.save(tmp_path)
    assert_equal(worlds[0].memory, ReplayMemory.load(tmp_path, **KEPT))


def test_a_mapped_recording_refuses_to_be_written(tmp_path: Path) -> None:
    world = World(make(15))
    world.play(20)
    world.memory.save(tmp_path)
    memory = ReplayMemory.load(tmp_path, mmap=True, **KEPT)
    with pytest.raises(ValueError, match="writable"):
        memory.begin(observe(1))
    with pytest.raises(ValueError, match="writable"):
        memory.add(transition(1))
    with pytest.raises(ValueError, match="mmap=True"):
        ReplayMemory.load(tmp_path, writable=True)


def test_a_smaller_capacity_keeps_the_newest(tmp_path: Path) -> None:
    world = World(make(40))
    world.play(60)
    world.memory.save(tmp_path)
    world.memory = ReplayMemory.load(tmp_path, capacity=10, **KEPT)
    check_all(world)
    world.play(40)
    check_all(world)
    with pytest.raises(ValueError, match="capacity must be at most 40"):
        ReplayMemory.load(tmp_path, capacity=41)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_trim_cuts_the_arrays_to_the_slots_in_use(num_envs: int, tmp_path: Path) -> None:
    world = World(make(300, num_envs=num_envs))
    world.play(50)
    world.memory.save(tmp_path)
    trim(tmp_path)
    used = max(world.memory.written)
    for name in KEEPING:
        assert np.load(tmp_path / f"{name}.npy", allow_pickle=False).shape[:2] == (used, num_envs)
    loaded = ReplayMemory.load(tmp_path, mmap=True, **KEPT)
    assert loaded.slots == used
    world.memory.meta = loaded.meta
    for a, b in zip(
        world.memory.gather(*world.memory.indices()), loaded.gather(*loaded.indices()), strict=True
    ):
        assert torch.equal(a, b)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert json.loads(before["recording.json"])["is_trimming"] is False
    trim(tmp_path)  # a second time changes nothing
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("num_done", [0, 3, 8])
def test_a_kill_while_trimming_leaves_the_recording_readable(
    num_done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(make(300))
    world.play(50)
    world.memory.save(tmp_path)
    whole, calls = np.lib.format.write_array_header_1_0, []

    def die(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) > num_done:
            raise KeyboardInterrupt
        whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array_header_1_0", die)
        if num_done == 8:
            replace = "spl.data.recording_files.os.replace"
            patch.setattr(replace, lambda a, b: shutil.move(a, b) if not calls else die())
        with pytest.raises(KeyboardInterrupt):
            trim(tmp_path)
    killed = ReplayMemory.load(tmp_path, **KEPT)
    assert_equal(world.memory, killed)
    with pytest.raises(ValueError, match="another memory"):
        killed.save(tmp_path)
    with pytest.raises(ValueError, match="half trimmed"):
        ReplayMemory.load(tmp_path, mmap=True, writable=True)
    trim(tmp_path)
    assert_equal(world.memory, ReplayMemory.load(tmp_path, mmap=True, **KEPT))


def test_trim_refuses_what_wrapped_or_is_empty(tmp_path: Path) -> None:
    for name, num_steps in (("wrapped", 16), ("empty", 0)):
        world = World(make(15))
        world.play(num_steps)
        world.memory.save(tmp_path / name)
        with pytest.raises(ValueError, match="to be trimmed"):
            trim(tmp_path / name)


def edit_header(folder: Path, **changes: Any) -> None:
    header = json.loads((folder / HEADER).read_text())
    (folder / HEADER).write_text(seal({key: header[key] for key in header if key != "crc32"} | changes))


def replace(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        array = np.load(folder / f"{name}.npy")
        np.save(folder / f"{name}.npy", change(array))

    return damage


def cut(folder: Path) -> None:
    path = folder / "audio.npy"
    path.write_bytes(path.read_bytes()[:-3])


def lengthen(folder: Path) -> None:
    with open(folder / "video.npy", "ab") as file:
        file.write(b"more")


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing array": (lambda folder: (folder / "age.npy").unlink(), r"age\.npy must be an intact .npy file"),
    "missing header": (lambda folder: (folder / HEADER).unlink(), "must be the JSON header"),
    "longer array": (replace("video", lambda a: np.concatenate([a, a])), r"video\.npy must have shape"),
    "longer file": (lengthen, r"video\.npy must have \d+ bytes"),
    "wrong dtype": (replace("reward", lambda a: a.astype(np.float64)), r"reward\.npy must hold dtype <f4"),
    "cut file": (cut, r"audio\.npy must be an intact .npy file"),
    "pickle": (
        replace("action", lambda a: a.astype(object)),
        r"action\.npy must be an intact .npy file without pic",
    ),
    "text": (
        lambda folder: (folder / "age.npy").write_text("hello"),
        r"age\.npy must be an intact .npy file",
    ),
    "empty": (lambda folder: (folder / "age.npy").write_bytes(b""), r"age\.npy must be an intact .npy file"),
    "not JSON": (lambda folder: (folder / HEADER).write_text("{"), "must be the JSON header"),
    "a JSON list": (lambda folder: (folder / HEADER).write_text("[]"), "must say format"),
    "other format": (lambda folder: edit_header(folder, format="zip"), "must say format"),
    "other version": (lambda folder: edit_header(folder, version=3), "version 2 or 1, got"),
    "text as slots": (lambda folder: edit_header(folder, slots="9"), "must hold slots as int"),
    "negative count": (lambda folder: edit_header(folder, written=[-1]), "counts as written"),
    "no spec": (lambda folder: edit_header(folder, spec={}), "must hold spec"),
    "other sound": (
        lambda folder: edit_header(folder, spec={**SPEC._asdict(), "audio_dtype": "int64"}),
        "must hold audio_dtype as float16 or int8, got 'int64'",
    ),
    "a list of sounds": (
        lambda folder: edit_header(folder, spec={**SPEC._asdict(), "audio_dtype": ["int8"]}),
        "must hold audio_dtype as",
    ),
    "bytes of sound": (
        lambda folder: edit_header(folder, spec={**SPEC._asdict(), "audio_dtype": "int8"}),
        "must list arrays",
    ),
    "other arrays": (lambda folder: edit_header(folder, slots=9), "must list arrays"),
    "no capacity": (lambda folder: edit_header(folder, capacity=0), "capacity must be at least 2"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_recording_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    world = World(make(15))
    world.play(20)
    world.memory.save(tmp_path)
    damage, message = DAMAGE[name]
    damage(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for options in ({}, {"mmap": True}, {"mmap": True, "writable": True}):
        with pytest.raises(ValueError, match=message) as raised:
            ReplayMemory.load(tmp_path, **options)
        assert "\n" not in str(raised.value)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "NaN reward": ({"reward": math.nan}, "reward must be a finite"),
    "infinite reward": ({"reward": -math.inf}, "reward must be a finite"),
    "reward past float32": ({"reward": 1e39}, "reward must be a finite"),
    "negative action": ({"action": -1}, "action must be"),
    "large action": ({"action": 40_000}, "action must be"),
    "NaN audio": (
        {"next_observation": observe(1)._replace(audio=np.full(SPEC.audio, np.nan, np.float16))},
        "audio must be finite",
    ),
    "float video": (
        {"next_observation": observe(1)._replace(video=np.zeros(SPEC.video))},  # type: ignore[arg-type]
        r"video must be a uint8 array of shape \(1, 3, 2\), got float64",
    ),
    "video shape": (
        {"next_observation": observe(1)._replace(video=np.zeros((3, 2), np.uint8))},
        r"got uint8 \(3, 2\)",
    ),
    "present shape": (
        {"next_observation": observe(1)._replace(present=np.ones(3, np.bool_))},
        "present must be",
    ),
    "a list": ({"next_observation": observe(1)._replace(present=[True, True])}, "got list"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_leaves_the_memory_unchanged(name: str) -> None:
    world = World(make(15))
    world.play(21)
    memory = world.memory
    memory.begin(observe(9))
    before = [array.tobytes() for array in memory.fields], memory.written, len(memory)
    changes, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        memory.add(transition(5, **changes))
    if "next_observation" in changes:
        with pytest.raises(ValueError, match=message):
            memory.begin(changes["next_observation"])
    assert before == ([array.tobytes() for array in memory.fields], memory.written, len(memory))


def test_errors_of_use() -> None:
    memory = make(15, num_envs=2)
    with pytest.raises(ValueError, match="call begin first"):
        memory.add(transition(1))
    memory.begin(observe(1))
    memory.add(transition(2, terminated=True))
    with pytest.raises(ValueError, match="call begin first"):
        memory.add(transition(3))
    with pytest.raises(ValueError, match=r"env must be in 0\.\.1, got -1"):
        memory.begin(observe(1), -1)
    memory.begin(observe(3))
    with pytest.raises(TypeError):
        memory.add(transition(4, action=1.5))
    with pytest.raises(ValueError, match="batch_size"):
        memory.sample(0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="complete transition"):
        make().sample(1, np.random.default_rng(0))
    for slot, env in ((1, 0), (0, 1), (99, 0), (0, -1)):
        with pytest.raises(ValueError, match="slots must be sampleable"):
            memory.gather(np.array([0, slot]), np.array([0, env]))


@pytest.mark.parametrize(
    "options",
    [{"capacity": 1}, {"history": 0}, {"n_step": 0}, {"num_envs": 0}, {"slack": -1}, {"gamma": 1.1}],
)
def test_impossible_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        make(**options)
