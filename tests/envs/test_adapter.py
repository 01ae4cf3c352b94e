"""The adapter: every kind of picture and sound by hand, the choice of streams, frame skipping, refusals."""

import json
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.config import EnvConfig
from spl.envs.preprocessing import area_weights
from spl.envs.registry import make_env
from spl.envs.space_entries import is_audio, is_video
from spl.media.log_mel import LogMel
from spl.records import Observation, StreamSpec

RATE_HZ = 8_000
NUM_SAMPLES = 64
SMALL = {"sample_rate_hz": RATE_HZ, "video_size": (8, 6), "num_mels": 8, "audio_frames": 4}
PICTURE = spaces.Box(0, 255, (12, 9), np.uint8)
SOUND = spaces.Box(-32768, 32767, (NUM_SAMPLES,), np.int16)


def small(space: spaces.Space[Any], **changes: Any) -> EnvConfig:
    """The options of these tests; a rate is given only where there is a sound to have one."""
    spaces_found = space.values() if isinstance(space, spaces.Dict) else [space]
    has_sound = any(is_audio(found) and not is_video(found) for found in spaces_found)
    kept = SMALL if has_sound else {key: value for key, value in SMALL.items() if key != "sample_rate_hz"}
    return EnvConfig(**kept | changes)


class Scripted(gymnasium.Env[Any, Any]):
    """Shows the given observations in order; the last one ends the episode. Rewards are 1, 2, 4, ..."""

    def __init__(self, space, script, action_space=None, *, truncates=False) -> None:
        self.observation_space = space
        self.action_space = spaces.Discrete(3) if action_space is None else action_space
        self.script, self.truncates = script, truncates
        self.actions: list[Any] = []
        self.reset_arguments: tuple[Any, ...] = ()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.actions, self.reset_arguments = [], (seed, options)
        return self.script[0], {"frame": 0}

    def step(self, action):
        assert self.action_space.contains(action)
        self.actions.append(action)
        frame = len(self.actions)
        is_last = frame == len(self.script) - 1
        ends = (is_last and not self.truncates, is_last and self.truncates)
        return self.script[frame], 2.0 ** (frame - 1), *ends, {"frame": frame}


def adapt(space: spaces.Space[Any], script: list[Any] | None = None, **changes: Any) -> AudioVisualEnv:
    """Return the adapted world of ``script``, which is two random observations if not given."""
    script = [space.sample(), space.sample()] if script is None else script
    return AudioVisualEnv(Scripted(space, script), small(space, **changes))


def play(env: AudioVisualEnv) -> tuple[list[Observation], np.ndarray]:
    """Return an episode's observations and its waveform laid end to end."""
    observations, waveforms = [env.reset()[0]], [env.waveform]
    is_over = False
    while not is_over:
        observation, _, terminated, truncated, _ = env.step(0)
        observations.append(observation)
        waveforms.append(env.waveform)
        is_over = terminated or truncated
    return observations, np.concatenate(waveforms, axis=1)


def random_script(num_frames: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(seed).integers
    return [
        {
            "image": draw(256, size=(12, 9), dtype=np.uint8),
            "sound": draw(-9_000, 9_000, size=NUM_SAMPLES, dtype=np.int16),
        }
        for _ in range(num_frames)
    ]


BOTH = spaces.Dict(image=PICTURE, sound=SOUND)

# Pictures: rows of 30, 60, 90 and so on, plus columns of 0, 3, 6 and so on. 12 rows become 8: a new row
# covers one and a half old ones, (2 * 30 + 60) / 3 = 40 and (60 + 2 * 90) / 3 = 80. Likewise 9 columns
# become 6: (2 * 0 + 3) / 3 = 1 and (3 + 2 * 6) / 3 = 5.
PLANE = np.add.outer(np.tile([30, 60, 90], 4), np.tile([0, 3, 6], 3))
RESIZED = np.add.outer(np.tile([40, 80], 4), np.tile([1, 5], 3))
COLOURS = np.array([0, 30, 64])  # what red, green and blue add; 0.587 * 30 + 0.114 * 64 = 24.906 in grey


def picture_of(shape: tuple[int, ...]) -> np.ndarray:
    if shape[-1] == 3:
        return PLANE[:, :, None] + COLOURS
    if shape[0] == 3:
        return PLANE + COLOURS[:, None, None]
    return PLANE.reshape(shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(12, 9), (12, 9, 1), (12, 9, 3), (1, 12, 9), (3, 12, 9)], ids=str)
@pytest.mark.parametrize("grey", [True, False])
def test_every_kind_of_picture(shape, dtype, grey):
    picture = picture_of(shape).astype(dtype)
    space = spaces.Box(0, 255, shape, dtype)
    if dtype != np.uint8:
        picture, space = picture / dtype(255), spaces.Box(0, 1, shape, dtype)
    env = adapt(space, [picture, picture], grey=grey)
    observation, _ = env.reset()
    if 3 not in shape:
        expected = RESIZED[None]
    elif grey:
        expected = np.rint(RESIZED + 24.906)[None]
    else:
        expected = RESIZED + COLOURS[:, None, None]
    assert env.spec_of_streams == StreamSpec(video=(len(expected), 8, 6), audio=(0, 0, 0))
    assert observation.video.dtype == np.uint8
    np.testing.assert_array_equal(observation.video, expected)


def test_the_weights_of_resizing_agree_with_hand_work():
    np.testing.assert_allclose(area_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], atol=1e-6)
    np.testing.assert_allclose(area_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(area_weights(2, 3), [[1, 0], [0.5, 0.5], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(area_weights(5, 5), np.eye(5), atol=1e-6)
    np.testing.assert_allclose(area_weights(210, 84).sum(axis=1), 1, atol=1e-6)


def test_a_picture_of_the_right_size_is_kept_and_is_the_observations_own():
    picture = PLANE.astype(np.uint8)
    observation, _ = adapt(PICTURE, [picture], video_size=(12, 9)).reset()
    picture[:] = 0
    np.testing.assert_array_equal(observation.video[0], PLANE)


def test_floats_beyond_the_range_are_clipped():
    picture = np.full((12, 9), 1.5, np.float32)
    picture[:6] = -0.5
    observation, _ = adapt(spaces.Box(0, 1, (12, 9), np.float32), [picture]).reset()
    assert (observation.video[0, :4] == 0).all()
    assert (observation.video[0, 4:] == 255).all()


# Sounds: the left channel (or the only one) runs 0, 1, ..., 31, twice; the right one is three times as far
# from rest, so that their mean is twice the left.
LEFT = np.tile(np.arange(32), 2)


def sound_of(shape: tuple[int, ...], rest: int, dtype: type) -> np.ndarray:
    channels = np.stack([LEFT, 3 * LEFT])[: min(shape) if len(shape) == 2 else 1]  # (C, N)
    sound = channels if shape[-1] == NUM_SAMPLES else channels.T
    if dtype == np.int16:
        sound = -344 * sound  # 3 * 31 * 344 = 31992, nearly full scale
    return (rest + (sound / 100 if dtype == np.float32 else sound)).reshape(shape).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "rest"), [(np.uint8, 0), (np.uint8, 100), (np.uint8, 128), (np.int16, 0), (np.float32, 0)]
)
@pytest.mark.parametrize("shape", [(64,), (64, 1), (64, 2), (1, 64), (2, 64)], ids=str)
@pytest.mark.parametrize("stereo", [True, False])
def test_every_kind_of_sound(shape, dtype, rest, stereo):
    low, high = (-1, 1) if dtype == np.float32 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    silence, sound = np.full(shape, rest, dtype), sound_of(shape, rest, dtype)
    stereo = stereo and 2 in shape
    env = adapt(spaces.Box(low, high, shape, dtype), [silence, sound, silence], stereo=stereo)
    scale = {np.uint8: 1 / 128, np.int16: -344 / 32_768, np.float32: 0.01}[dtype]
    expected = scale * np.stack([LEFT, 3 * LEFT]) if 2 in shape else scale * LEFT[None]
    if 2 in shape and not stereo:
        expected = scale * 2 * LEFT[None]
    assert env.spec_of_streams == StreamSpec(video=(0, 0, 0), audio=(len(expected), 8, 4))

    observation, _ = env.reset()
    assert observation.audio.dtype == np.float16
    assert observation.audio.shape == (len(expected), 8, 4)
    assert (observation.audio == 0).all()
    assert (env.waveform == 0).all()
    observation, *_ = env.step(0)
    assert env.waveform.dtype == np.float32
    np.testing.assert_allclose(env.waveform, expected, atol=1e-6)
    assert (observation.audio > 0).any()
    env.step(0)
    assert (env.waveform == 0).all()


@pytest.mark.parametrize(
    ("dtype", "lowest", "highest", "full_scale"),
    [(np.uint8, 0, 255, 127 / 128), (np.int16, -32768, 32767, 32767 / 32768), (np.float32, -1, 1, 1)],
)
def test_full_scale(dtype, lowest, highest, full_scale):
    sound = np.full(64, lowest, dtype)
    sound[32:] = highest
    env = adapt(spaces.Box(lowest, highest, (64,), dtype), [sound])
    env.reset()
    np.testing.assert_allclose(env.waveform[0], np.repeat([-1.0, full_scale], 32), atol=1e-7)


BYTES = spaces.Box(0, 255, (64,), np.uint8)


def first_waveform(first: np.ndarray, attribute: float | None = None, **changes: Any) -> np.ndarray:
    raw = Scripted(BYTES, [first])
    if attribute is not None:
        raw.sound_rest_level = attribute
    env = AudioVisualEnv(raw, small(raw.observation_space, **changes))
    env.reset()
    return env.waveform[0]


def test_where_an_unsigned_sound_rests():
    constant, moving = np.full(64, 100, np.uint8), np.arange(64, dtype=np.uint8)
    assert (first_waveform(constant) == 0).all()  # silence is what a constant beginning says
    np.testing.assert_allclose(first_waveform(moving), (np.arange(64) - 128) / 128)  # else the middle
    assert (first_waveform(constant, attribute=128) == -28 / 128).all()  # the environment knows better
    assert (first_waveform(constant, attribute=128, rest_level=0.0) == 100 / 128).all()  # the option best
    assert (first_waveform(constant, attribute=0) == 100 / 128).all()  # zero is a level, not an absence


class Restless(gymnasium.Env[np.ndarray, int]):
    """Begins with silence at 0 after a reset with an even seed, in mid-sound after all others."""

    metadata = {"audio_sample_rate_hz": 8_000}
    observation_space, action_space = BYTES, spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        is_silent = seed is not None and seed % 2 == 0
        return np.zeros(64, np.uint8) if is_silent else np.arange(64, dtype=np.uint8), {}


@pytest.mark.parametrize("seed", [1, 2, None])
def test_copies_of_an_environment_agree_where_its_sound_rests_whatever_they_heard_first(seed):
    raw = Restless()
    env = AudioVisualEnv(raw, small(raw.observation_space))
    assert env.describe()["audio"]["rest_level"] == 0
    env.reset(seed=seed)
    env.reset(seed=3)
    np.testing.assert_allclose(env.waveform[0], np.arange(64) / 128)


def test_more_actions_than_can_be_remembered_are_refused():
    raw = Scripted(PICTURE, [])
    raw.action_space = spaces.Discrete(2**15 + 1)
    with pytest.raises(ValueError, match="has 32,769 actions; at most 32,768 can be remembered"):
        AudioVisualEnv(raw, small(raw.observation_space))


@pytest.mark.parametrize("in_dict", [False, True])
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_one_modality_alone_leaves_the_other_absent(modality, in_dict):
    space = PICTURE if modality == "video" else SOUND
    env = adapt(spaces.Dict(it=space, speed=spaces.Box(0, 1, (3,))) if in_dict else space)
    (observation, _), (after, *_) = env.reset(), env.step(0)
    spec = env.spec_of_streams
    assert (spec.has_video, spec.has_audio) == (modality == "video", modality == "audio")
    shapes = ((1, 8, 6), (0, 0, 0)) if modality == "video" else ((0, 0, 0), (1, 8, 4))
    assert spec == StreamSpec(*shapes, state=3 if in_dict else 0)
    for seen in (observation, after):
        assert seen.present.dtype == np.bool_
        assert seen.present.tolist() == [modality == "video", modality == "audio"]
        assert (seen.video.shape, seen.audio.shape) == (spec.video, spec.audio)
        assert env.observation_space.contains(seen)
    assert {"video", "audio"} & set(env.describe()) == {modality}
    assert env.sample_rate_hz == (None if modality == "video" else RATE_HZ)


@pytest.mark.parametrize("stereo", [True, False])
@pytest.mark.parametrize("grey", [True, False])
def test_the_observation_lies_in_its_space(grey, stereo):
    colour = spaces.Box(0, 255, (12, 9, 3), np.uint8)
    two_ears = spaces.Box(-32768, 32767, (NUM_SAMPLES, 2), np.int16)
    env = adapt(spaces.Dict(screen=colour, audio=two_ears), grey=grey, stereo=stereo)
    (observation, _), (after, *_) = env.reset(), env.step(2)
    assert env.observation_space.contains(observation)
    assert env.observation_space.contains(after)
    assert env.action_space == spaces.Discrete(3)
    assert isinstance(observation, Observation)
    spec = env.spec_of_streams
    assert spec == StreamSpec((1 if grey else 3, 8, 6), (2 if stereo else 1, 8, 4))
    assert (observation.video.shape, observation.audio.shape) == (spec.video, spec.audio)
    assert observation.present.tolist() == [True, True]
    observation.present[:] = False
    assert env.reset()[0].present.all()  # what a caller does to its observation stays the caller's


@pytest.mark.parametrize(
    ("space", "names", "other"),
    [
        (PICTURE, ("front", "map", "RGB", "my_image"), SOUND),
        (SOUND, ("left", "pad", "Mic", "a_wave"), PICTURE),
    ],
    ids=["video", "audio"],
)
def test_one_of_several_is_chosen_by_name_or_key(space, names, other):
    modality = "video" if space is PICTURE else "audio"
    first, second, named, named_too = names

    def key_of(*keys: str, **changes: Any) -> str | None:
        env = adapt(spaces.Dict(dict.fromkeys(keys, space) | {"other": other}), **changes)
        assert env.describe()["audio" if modality == "video" else "video"]["key"] == "other"
        return env.describe()[modality]["key"]

    assert key_of(first) == first
    assert key_of(first, named) == named
    assert key_of(second, named_too) == named_too
    assert key_of(first, named, named_too, **{f"{modality}_key": first}) == first
    for keys in ((first, second), (first, named, named_too)):
        with pytest.raises(
            ValueError, match=f"several entries could be the {modality}: .*{modality}_key"
        ) as refused:
            key_of(*keys)
        assert all(key in str(refused.value) for key in keys)
    with pytest.raises(ValueError, match=rf"env\.{modality}_key=nose is not in the observation") as refused:
        key_of(first, **{f"{modality}_key": "nose"})
    assert first in str(refused.value)
    assert "other" in str(refused.value)
    with pytest.raises(
        ValueError, match=rf"env\.{modality}_key=other is Box .* cannot be used: a picture is"
    ):
        key_of(first, **{f"{modality}_key": "other"})
    with pytest.raises(ValueError, match=f"not a Dict .* no key '{first}'"):
        adapt(space, **{f"{modality}_key": first})


def test_the_chosen_entry_is_the_one_observed():
    space = spaces.Dict(front=PICTURE, image=PICTURE, left=SOUND, sound=SOUND)
    shown = {"front": 7, "image": 9, "left": 16_384, "sound": -16_384}
    raw = {key: np.full(space[key].shape, value, space[key].dtype) for key, value in shown.items()}
    env = adapt(space, [raw])
    assert (env.reset()[0].video == 9).all()
    assert (env.waveform == -0.5).all()
    env = adapt(space, [raw], video_key="front", audio_key="left")
    assert (env.reset()[0].video == 7).all()
    assert (env.waveform == 0.5).all()


@pytest.mark.parametrize(
    "useless",
    [
        spaces.Box(0, 1, (7, 9), np.float32),  # a picture has 8 rows and columns at least
        spaces.Box(0, 255, (17, 64, 64), np.uint8),  # of stacked frames at most 16
        spaces.Discrete(5),
    ],
    ids=str,
)
def test_nothing_usable_is_refused_with_what_was_found(useless):
    serves = "a picture is a Box .* a sound is a Box"
    with pytest.raises(
        ValueError, match=f"no picture, sound or vector in the observation; .*{serves}"
    ) as refused:
        adapt(useless)
    assert type(useless).__name__ in str(refused.value)
    with pytest.raises(ValueError, match=f"found first .*, second .*; {serves}"):
        adapt(spaces.Dict(first=useless, second=spaces.Discrete(2)))


@pytest.mark.parametrize(
    ("action_space", "sizes"),
    [
        (spaces.Box(-1, 1, (2,)), (5, 5)),
        (spaces.MultiDiscrete([2, 3]), (2, 3)),
        (spaces.MultiBinary(2), (2, 2)),
        (spaces.Dict(grip=spaces.Discrete(3), joint=spaces.Box(0, 1, (1,))), (3, 5)),
    ],
    ids=["Box", "MultiDiscrete", "MultiBinary", "Dict"],
)
def test_the_environment_gets_an_action_of_its_own(action_space, sizes):
    raw = Scripted(PICTURE, [PICTURE.sample()] * 5, action_space)
    has_box = 5 in sizes
    env = AudioVisualEnv(raw, replace(small(raw.observation_space), bins=5 if has_box else None))
    assert env.action_sizes == sizes
    assert env.action_space == spaces.MultiDiscrete(sizes)
    env.reset()
    for action in ((0, 0), (1, 1), np.array([0, 1])):
        env.step(action)
    assert all(action_space.contains(action) for action in raw.actions)
    told = [str(spaces.flatten(action_space, action)) for action in raw.actions]
    assert len(set(told)) == 3
    with pytest.raises(ValueError, match=r"^a world: the action space has a Text; only Discrete"):
        AudioVisualEnv(Scripted(PICTURE, [], spaces.Text(3)), EnvConfig(id="a world"))


@pytest.mark.parametrize("start", [1, -1, 0])
def test_actions_count_from_zero(start):
    raw = Scripted(PICTURE, [PICTURE.sample()] * 4, spaces.Discrete(3, start=start))
    env = AudioVisualEnv(raw, small(raw.observation_space))
    assert env.action_space == spaces.Discrete(3)
    assert env.action_sizes == (3,)
    env.reset()
    for action in (0, 2, np.int64(1)):
        env.step(action)
    assert raw.actions == [start, start + 2, start + 1]


def test_a_missing_sample_rate_is_refused_and_each_way_of_giving_it_works():
    raw = Scripted(spaces.Dict(sound=SOUND), [{"sound": SOUND.sample()}])
    with pytest.raises(ValueError, match=r"give --env\.sample_rate_hz, or .* sample_rate_hz or metadata"):
        AudioVisualEnv(raw, EnvConfig())
    raw.metadata = {"audio_sample_rate_hz": 11_025}
    assert AudioVisualEnv(raw, EnvConfig()).sample_rate_hz == 11_025
    raw.sample_rate_hz = 22_050
    wrapped = gymnasium.wrappers.TimeLimit(raw, 5)  # a wrapper does not hide it
    assert AudioVisualEnv(wrapped, EnvConfig()).sample_rate_hz == 22_050
    env = AudioVisualEnv(raw, EnvConfig(sample_rate_hz=44_100))
    assert env.sample_rate_hz == 44_100
    assert env.describe()["audio"]["window_samples"] == 2_048  # 0.032 s are 1411 samples


@pytest.mark.parametrize("truncates", [False, True])
def test_skipped_frames_keep_their_reward_and_sound(truncates):
    script = random_script(8)  # the reset's frame and seven more: steps of three, three and one
    raw = Scripted(BOTH, script, truncates=truncates)
    env = AudioVisualEnv(raw, small(raw.observation_space, frame_skip=3))
    waveforms = []
    for _ in range(2):
        env.reset()
        waveforms = [env.waveform]
        for reward, num_frames in ((1 + 2 + 4, 3), (8 + 16 + 32, 6), (64, 7)):
            _, got, terminated, truncated, info = env.step(1)
            waveforms.append(env.waveform)
            assert got == reward
            assert info == {"frame": num_frames}
            is_over = num_frames == 7
            assert (terminated, truncated) == (is_over and not truncates, is_over and truncates)
        assert raw.actions == [1] * 7
    emitted = np.concatenate([frame["sound"] for frame in script]) / 32_768
    silence = np.zeros(2 * NUM_SAMPLES)  # before the first frame, and after the last
    expected = np.concatenate([silence, emitted, silence])
    assert all(waveform.shape == (1, 3 * NUM_SAMPLES) for waveform in waveforms)
    np.testing.assert_allclose(np.concatenate(waveforms, axis=1)[0], expected, atol=1e-7)


def test_two_ears_keep_every_skipped_sample_too():
    space = spaces.Box(-1, 1, (2, NUM_SAMPLES), np.float32)
    script = [space.sample() for _ in range(5)]
    _, waveform = play(adapt(space, script, frame_skip=2, stereo=True))
    np.testing.assert_array_equal(waveform[:, NUM_SAMPLES:], np.concatenate(script, axis=1))
    assert (waveform[:, :NUM_SAMPLES] == 0).all()


@pytest.mark.parametrize("max_pool", [True, False, None])
def test_pooling_shows_the_brightest_of_the_last_two_frames(max_pool):
    script = [np.zeros((12, 9), np.uint8) for _ in range(5)]
    for frame, picture in enumerate(script):
        picture[frame] = 100 + frame  # frame k is a bright row k
    env = adapt(PICTURE, script, video_size=(12, 9), frame_skip=3, max_pool=max_pool)

    def rows(observation: Observation) -> dict[int, int]:
        bright = observation.video[0].max(axis=1)
        return {int(row): int(bright[row]) for row in np.nonzero(bright)[0]}

    assert rows(env.reset()[0]) == {0: 100}
    assert rows(env.step(0)[0]) == ({2: 102, 3: 103} if max_pool else {3: 103})
    assert rows(env.step(0)[0]) == {4: 104}  # the end: one frame, and none of the step before


def test_each_repeated_frame_is_given_an_action_of_its_own():
    given = []

    class Halves(Scripted):
        def step(self, action):
            given.append(action.tolist())
            action *= 0.5
            return super().step(action)

    raw = Halves(PICTURE, [PICTURE.sample()] * 8, spaces.Box(-1.0, 1.0, (2,), np.float32))
    env = AudioVisualEnv(raw, small(PICTURE, frame_skip=3))
    env.reset()
    env.step((2, 0))
    assert given == [[1.0, -1.0]] * 3


@pytest.mark.parametrize("frame_skip", [None, 1, 3])
def test_the_frames_of_an_episode_are_those_of_its_whole_waveform(frame_skip):
    script = random_script(8)
    env = adapt(BOTH, script, frame_skip=frame_skip)
    num_samples = NUM_SAMPLES * (frame_skip or 1)
    assert env.describe()["audio"]["samples_per_step"] == num_samples
    for _ in range(2):  # the second episode hears nothing of the first
        observations, waveform = play(env)
        assert len(observations) == (4 if frame_skip == 3 else 8)
        log_mel = LogMel(sample_rate_hz=RATE_HZ, num_samples=num_samples, num_mels=8, num_frames=4)
        streamed = np.concatenate([observation.audio for observation in observations], axis=2)
        assert streamed.any()
        np.testing.assert_array_equal(streamed, log_mel.whole(waveform))


def test_a_reset_hands_on_its_arguments_and_information():
    env = adapt(PICTURE)
    assert env.reset(seed=5, options={"level": 2})[1] == {"frame": 0}
    assert env.unwrapped.reset_arguments == (5, {"level": 2})
    assert env.step(0)[4] == {"frame": 1}


def test_the_description_says_what_was_chosen():
    env = adapt(BOTH, frame_skip=2, id="my:World")
    assert json.loads(json.dumps(env.describe())) == {
        "id": "my:World",
        "actions": 3,
        "frame_skip": 2,
        "video": {
            "key": "image",
            "from": [[12, 9], "uint8"],
            "layout": "HW",
            "taken": "",
            "range": [0.0, 255.0],
            "to": [1, 8, 6],
        },
        "audio": {
            "key": "sound",
            "from": [[64], "int16"],
            "layout": "N",
            "taken": "",
            "range": [-32768.0, 32767.0],
            "sample_rate_hz": 8_000,
            "samples_per_step": 128,
            "features": "log_mel",
            "window_samples": 256,
            "rest_level": 0.0,
            "to": [1, 8, 4],
        },
    }
    heard = adapt(BOTH, frame_skip=2, audio_features="waveform").describe()["audio"]
    assert heard["features"] == "waveform"
    assert heard["to"] == [1, 1, 64]
    assert "window_samples" not in heard


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_size": (0, 84)}, r"video_size must all be in 1\.\.4096, got 0"),
        ({"video_size": (84, 4_097)}, r"video_size must all be in 1\.\.4096, got 4097"),
        ({"num_mels": 0}, r"num_mels must be in 1\.\.1024, got 0"),
        ({"num_mels": 1_025}, r"num_mels must be in 1\.\.1024, got 1025"),
        ({"audio_frames": 0}, r"audio_frames must be in 1\.\.4096, got 0"),
        ({"audio_frames": 4_097}, r"audio_frames must be in 1\.\.4096, got 4097"),
        ({"frame_skip": 0}, r"frame_skip must be in 1\.\.1000, got 0"),
        ({"frame_skip": 1_001}, r"frame_skip must be in 1\.\.1000, got 1001"),
        ({"rest_level": float("nan")}, r"rest_level must be at least -1e\+12, got nan"),
        (
            {"video_range": (1.0, 1.0)},
            r"video_range must be two numbers, the lower first, got \(1\.0, 1\.0\)",
        ),
        ({"audio_range": (0.0, float("inf"))}, r"audio_range must all be at most 1e\+12, got inf"),
        ({"sample_rate_hz": 999}, r"sample_rate_hz must be in 1000\.\.768000, got 999"),
        ({"sample_rate_hz": 768_001}, r"sample_rate_hz must be in 1000\.\.768000, got 768001"),
    ],
)
def test_impossible_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EnvConfig(**change)


def test_the_ends_of_the_ranges_are_allowed():
    EnvConfig(video_size=(1, 1), num_mels=1, audio_frames=1, frame_skip=1, sample_rate_hz=1_000)
    EnvConfig(sample_rate_hz=768_000)


def test_more_audio_frames_than_samples_are_refused():
    with pytest.raises(ValueError, match=r"audio_frames must be in 1\.\.64 .* got 65"):
        adapt(SOUND, audio_frames=65)
    assert adapt(SOUND, audio_frames=65, frame_skip=2).spec_of_streams.audio == (1, 8, 65)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"max_pool": True}, "env.max_pool=true needs a frame_skip above 1"),
        ({"stereo": True}, "env.stereo=true needs two channels"),
        ({"rest_level": 5.0}, "env.rest_level is for a sound of uint8"),
    ],
)
def test_an_option_that_nothing_can_follow_is_refused(option, sentence):
    with pytest.raises(UsageError, match=sentence):
        make_env(EnvConfig(id="spl/Beacon-v0", **option))


@pytest.mark.parametrize(
    ("space", "option", "needed"),
    [
        (PICTURE, {"audio_range": (0.0, 1.0)}, "audio_range needs a sound"),
        (PICTURE, {"audio_layout": "N"}, "audio_layout needs a sound"),
        (SOUND, {"video_range": (0.0, 1.0)}, "video_range needs a picture"),
        (SOUND, {"video_layout": "HW"}, "video_layout needs a picture"),
    ],
)
def test_how_to_read_what_is_not_there_is_refused(space, option, needed):
    with pytest.raises(ValueError, match=rf"env\.{needed}, which .* does not have"):
        adapt(space, **option)


def test_a_waveform_of_nothing_is_refused():
    with pytest.raises(
        ValueError, match=r"env\.audio_features=waveform needs a sound, which .* does not have"
    ):
        adapt(PICTURE, audio_features="waveform")


def newest(space: spaces.Box, *sounds: np.ndarray, **changes: Any) -> tuple[AudioVisualEnv, np.ndarray]:
    """Return the world of these sounds and what is kept of the last, the others being one step before it."""
    env = adapt(space, [*sounds], audio_features="waveform", frame_skip=len(sounds) - 1, **changes)
    env.reset()
    return env, env.step(0)[0].audio


@pytest.mark.parametrize("stereo", [True, False])
def test_a_waveform_keeps_the_newest_frame_of_bytes_as_they_are(stereo):
    space = spaces.Box(0, 255, (NUM_SAMPLES, 2), np.uint8)
    rest, loud = np.full((NUM_SAMPLES, 2), 100, np.uint8), np.full((NUM_SAMPLES, 2), 250, np.uint8)
    sound = np.stack([LEFT, 3 * LEFT], axis=1).astype(np.uint8)  # -100..-69 and -100..-7 from rest
    env, kept = newest(space, rest, loud, loud, sound, stereo=stereo)
    assert env.spec_of_streams == StreamSpec((0, 0, 0), (1 + stereo, 1, NUM_SAMPLES), "int8")
    assert kept.dtype == np.int8
    expected = np.stack([LEFT, 3 * LEFT]) - 100 if stereo else 2 * LEFT[None] - 100
    np.testing.assert_array_equal(kept[:, 0], expected)
    silent, _ = env.reset()
    assert (silent.audio == 0).all()
    assert env.observation_space.contains(silent)
    assert env.waveform.shape == (1 + stereo, 3 * NUM_SAMPLES)  # all of it is heard, the newest is kept


def test_the_bytes_of_a_waveform_are_cut_at_the_ends_of_their_range():
    sound = np.resize(np.array([0, 50, 177, 178, 255], np.uint8), NUM_SAMPLES)
    _, kept = newest(BYTES, sound, sound, rest_level=50.0)
    assert kept[0, 0, :5].tolist() == [-50, 0, 127, 127, 127]
    _, kept = newest(BYTES, sound, sound, rest_level=200.0)
    assert kept[0, 0, :5].tolist() == [-128, -128, -23, -22, 55]


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_waveform_of_other_kinds_is_kept_at_half_precision(dtype):
    low, high, scale = (-32768, 32767, 32768) if dtype == np.int16 else (-1, 1, 1)
    space = spaces.Box(low, high, (2, NUM_SAMPLES), dtype)
    sounds = [space.sample() for _ in range(3)]
    env, kept = newest(space, *sounds, stereo=True)
    assert env.spec_of_streams == StreamSpec((0, 0, 0), (2, 1, NUM_SAMPLES), "float16")
    assert kept.dtype == np.float16
    np.testing.assert_array_equal(kept[:, 0], (sounds[-1] / np.float32(scale)).astype(np.float16))


def test_the_waveform_of_a_step_cut_short_is_its_last_frames():
    script = random_script(4)  # the reset's frame and three more: steps of two and one
    env = adapt(BOTH, script, audio_features="waveform", frame_skip=2)
    observations, _ = play(env)
    for observation, frame in zip(observations, (0, 2, 3), strict=True):
        expected = (script[frame]["sound"] / np.float32(32_768)).astype(np.float16)
        np.testing.assert_array_equal(observation.audio[0, 0], expected)
        assert env.observation_space.contains(observation)


class Reusing(gymnasium.Env[Any, Any]):
    """Hands out the same two arrays at every frame, filled with the frame's number."""

    observation_space = spaces.Dict(image=PICTURE, sound=SOUND)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.frame = 0
        self.arrays = {"image": np.zeros((12, 9), np.uint8), "sound": np.zeros(NUM_SAMPLES, np.int16)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.frame = 0
        return self._fill(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.frame += 1
        return self._fill(), 0.0, False, False, {}

    def _fill(self) -> dict[str, np.ndarray]:
        self.arrays["image"][:] = 0
        self.arrays["image"][self.frame] = 50 + self.frame
        self.arrays["sound"][:] = 1_000 * self.frame
        return self.arrays


def test_an_environment_may_reuse_its_arrays():
    env = AudioVisualEnv(Reusing(), EnvConfig(**SMALL | {"video_size": (12, 9)}, frame_skip=3, max_pool=True))
    first, _ = env.reset()
    second, *_ = env.step(0)
    assert first.video[0, 0].tolist() == [50] * 9, "the first observation is not overwritten by the next"
    assert second.video[0, 2:4, 0].tolist() == [52, 53], "the brightest of two different frames"
    heard = env.waveform[0].reshape(3, NUM_SAMPLES) * 32768
    assert heard[:, 0].round().tolist() == [1_000, 2_000, 3_000], "each frame's own sound"
