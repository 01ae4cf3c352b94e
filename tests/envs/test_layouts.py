"""Every form of picture and sound that wrappers and libraries give, by the pixels and samples it becomes."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import streams_of
from spl.envs.config import EnvConfig
from spl.envs.layouts import PictureForm, SoundForm, picture_form, sound_form
from spl.envs.space_entries import is_audio, is_video
from spl.envs.spaces import find_streams

H, W, N = 12, 9, 96
RGB = np.random.default_rng(0).integers(256, size=(3, H, W), dtype=np.uint8)  # (C, H, W), the newest frame
GREY = RGB[:1]
OLD = np.full((3, H, W), 77, np.uint8)  # of an older frame: must not be seen
ALPHA = np.full((1, H, W), 255, np.uint8)


class Shown(gymnasium.Env[Any, Any]):
    """Shows one observation again and again."""

    sample_rate_hz = 8_000
    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space[Any], observation: Any) -> None:
        self.observation_space, self.observation = space, observation

    def reset(self, *, seed=None, options=None):
        return self.observation, {}

    def step(self, action):
        return self.observation, 0.0, False, False, {}


def adapt(space: spaces.Space[Any], observation: Any, **options: Any) -> AudioVisualEnv:
    config = EnvConfig(
        video_size=options.pop("video_size", (H, W)), grey=False, num_mels=8, audio_frames=4, **options
    )
    return AudioVisualEnv(Shown(space, observation), config)


def stacked(planes: np.ndarray, number: int, axis: int) -> np.ndarray:
    """``number`` frames in an axis of their own, the newest last."""
    old = np.broadcast_to(np.uint8(77), planes.shape)
    return np.stack([*[old] * (number - 1), planes], axis=axis)


HWC = RGB.transpose(1, 2, 0)
PICTURES = {
    "(H, W)": (GREY[0], GREY),
    "(H, W, 1)": (GREY[0][:, :, None], GREY),
    "(1, H, W)": (GREY, GREY),
    "(1, H, W, 1)": (GREY[:, :, :, None], GREY),
    "(1, 1, H, W)": (GREY[None], GREY),
    "(H, W, 3)": (HWC, RGB),
    "(3, H, W)": (RGB, RGB),
    "(1, H, W, 3)": (HWC[None], RGB),
    "(1, 3, H, W)": (RGB[None], RGB),
    "(1, 1, H, W, 3)": (HWC[None, None], RGB),
    "(H, W, 4), colours and alpha": (np.concatenate([HWC, ALPHA[0][:, :, None]], axis=2), RGB),
    "(1, H, W, 4), colours and alpha": (np.concatenate([HWC, ALPHA[0][:, :, None]], axis=2)[None], RGB),
    "(4, H, W), a stack": (stacked(GREY[0], 4, 0), GREY),
    "(2, H, W), a stack": (stacked(GREY[0], 2, 0), GREY),
    "(8, H, W), a stack": (stacked(np.tile(GREY[0], (2, 2)), 8, 0), np.tile(GREY, (1, 2, 2))),
    "(H, W, 5), a stack": (stacked(GREY[0], 5, 2), GREY),
    "(1, 4, H, W), a stack": (stacked(GREY[0], 4, 0)[None], GREY),
    "(4, H, W, 1), a stack": (stacked(GREY[0][:, :, None], 4, 0), GREY),
    "(4, 1, H, W), a stack": (stacked(GREY, 4, 0), GREY),
    "(4, H, W, 3), a stack": (stacked(HWC, 4, 0), RGB),
    "(4, 3, H, W), a stack": (stacked(RGB, 4, 0), RGB),
    "(3, H, W, 3), a stack": (stacked(HWC, 3, 0), RGB),
    "(3, 3, H, W), a stack": (stacked(RGB, 3, 0), RGB),
    "(H, W, 3, 4), a stack": (stacked(HWC, 4, 3), RGB),
    "(1, 4, H, W, 3), a stack": (stacked(HWC, 4, 0)[None], RGB),
    "(H, W, 12), a stack": (np.concatenate([OLD, OLD, OLD, RGB]).transpose(1, 2, 0), RGB),
    "(12, H, W), a stack": (
        np.tile(np.concatenate([OLD, OLD, OLD, RGB]), (1, 2, 2)),
        np.tile(RGB, (1, 2, 2)),
    ),
    "(H, W, 6), a stack": (np.concatenate([OLD, RGB]).transpose(1, 2, 0), RGB),
}


@pytest.mark.parametrize(("picture", "expected"), PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_of_every_form_is_seen_to_the_pixel(picture, expected):
    env = adapt(spaces.Box(0, 255, picture.shape, np.uint8), picture, video_size=expected.shape[1:])
    np.testing.assert_array_equal(env.reset()[0].video, expected)


def test_alpha_is_laid_on_black_and_depth_left_out():
    half = np.concatenate([HWC, np.full((H, W, 1), 51, np.uint8)], axis=2)  # a fifth of 255
    box = spaces.Box(0, 255, half.shape, np.uint8)
    np.testing.assert_array_equal(adapt(box, half).reset()[0].video, np.rint(RGB / 5))
    seen = adapt(spaces.Dict(rgbd=box), {"rgbd": half}).reset()[0].video
    np.testing.assert_array_equal(seen, RGB)
    first = spaces.Dict(rgba=spaces.Box(0, 255, (4, H, W), np.uint8))
    np.testing.assert_array_equal(
        adapt(first, {"rgba": half.transpose(2, 0, 1)}).reset()[0].video, np.rint(RGB / 5)
    )


def test_grey_with_alpha_is_grey():
    half = np.stack([GREY[0], np.full((H, W), 51, np.uint8)], axis=2)  # a fifth of 255
    env = adapt(spaces.Box(0, 255, half.shape, np.uint8), half, video_layout="HWA")
    np.testing.assert_array_equal(env.reset()[0].video, np.rint(GREY / 5))
    assert env.describe()["video"]["taken"] == "alpha laid on black"
    assert PictureForm("HWA", (8, 8, 2)).num_channels == 1
    assert PictureForm("HWA", (8, 8, 8)).num_channels == 3


def test_a_layout_that_is_given_overrules_what_is_found():
    turned = RGB.transpose(2, 1, 0)  # (W, H, C), as pygame's surfaces are
    env = adapt(spaces.Box(0, 255, turned.shape, np.uint8), turned, video_layout="WHC")
    np.testing.assert_array_equal(env.reset()[0].video, RGB)
    four = stacked(GREY[0], 4, 2)
    env = adapt(spaces.Box(0, 255, four.shape, np.uint8), four, video_layout="HWS")
    np.testing.assert_array_equal(env.reset()[0].video, GREY)


@pytest.mark.parametrize(
    ("form", "layout", "shape", "words"),
    [
        (PictureForm, "HW", (9, 9, 3), "must have a letter for each of the 3 axes"),
        (PictureForm, "HHC", (9, 9, 3), "must hold each of H, W once"),
        (PictureForm, "HWX", (9, 9, 3), "must hold each of H, W once, others of H, W, C, A, D, S, 1"),
        (PictureForm, "HWC", (9, 9, 4), "C must be 1 or a multiple of 3, got 4"),
        (PictureForm, "HWD", (9, 9, 8), "D must be 4, got 8"),
        (PictureForm, "HW1", (9, 9, 2), "an axis of .* that is called 1 is longer"),
        (PictureForm, "HW", (7, 9), "at least 8 rows and columns, got 7 x 9"),
        (PictureForm, "HWCA", (9, 9, 3, 4), "one axis of colours"),
        (SoundForm, "N", (63,), "at least 64 samples, got 63"),
        (SoundForm, "NC", (64, 9), "at most 8 channels, got 9"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(form, layout, shape, words):
    with pytest.raises(ValueError, match=words):
        form(layout, shape)


def test_the_smallest_picture_and_the_shortest_sound():
    for shape in ((8, 8), (8, 9, 3), (3, 8, 8), (4, 8, 8), (8, 8, 4)):
        assert picture_form(shape) is not None, shape
    for shape in (
        (7, 8),
        (8, 7),
        (7, 99, 3),
        (3, 7, 99),
        (4, 7, 8),
        (99, 7, 3),
        (7,),
        (8,) * 6,
        (99, 99, 99),
    ):
        assert picture_form(shape) is None, shape
    assert picture_form((16, 64, 64)) is not None  # of stacked frames
    assert picture_form((17, 64, 64)) is None
    for shape in ((64,), (64, 1), (2, 64), (8, 64), (64, 8)):
        assert sound_form(shape) is not None, shape
    for shape in ((63,), (63, 2), (1, 63), (64, 9), (), (1, 1), (8, 63)):
        assert sound_form(shape) is None, shape
    assert is_video(spaces.Box(0, 1, (8, 8)))
    assert not is_video(spaces.Box(0, 1, (7, 8)))
    assert is_audio(spaces.Box(-1, 1, (64,)))
    assert not is_audio(spaces.Box(-1, 1, (63,)))


WAVE = np.random.default_rng(1).uniform(-1, 1, size=(6, N)).astype(np.float32)  # (C, N)
ONE, MEAN, MIXED = WAVE[:1], WAVE[:2].mean(axis=0, keepdims=True), WAVE.mean(axis=0, keepdims=True)
SOUNDS = {
    "(N,)": (WAVE[0], ONE, {}),
    "(N, 1)": (WAVE[0][:, None], ONE, {}),
    "(1, N)": (WAVE[:1], ONE, {}),
    "(1, 1, N)": (WAVE[None, :1], ONE, {}),
    "(1, N, 1)": (WAVE[:1, :, None], ONE, {}),
    "(N, 2), mixed": (WAVE[:2].T, MEAN, {}),
    "(2, N), mixed": (WAVE[:2], MEAN, {}),
    "(2, N), apart": (WAVE[:2], WAVE[:2], {"stereo": True}),
    "(1, N, 2), apart": (WAVE[:2].T[None], WAVE[:2], {"stereo": True}),
    "(6, N), mixed": (WAVE, MIXED, {}),
    "(N, 6), mixed": (WAVE.T, MIXED, {}),
    "(6, N), the first two": (WAVE, WAVE[:2], {"stereo": True}),
    "(12, 8) as chunks": (WAVE[0].reshape(12, 8), ONE, {"audio_layout": "TN"}),
    "(4, 24) as chunks": (WAVE[0].reshape(4, 24), ONE, {"audio_layout": "TN"}),
    "(9, 64) chunks": (WAVE.reshape(9, 64), WAVE.reshape(1, 576), {}),
    "(4, 24, 2) chunks": (WAVE[:2].T.reshape(4, 24, 2), MEAN, {}),
    "(4, 2, 24) chunks": (WAVE[:2].reshape(2, 4, 24).swapaxes(0, 1), MEAN, {}),
    "(3, N) as a stack": (np.stack([WAVE[3], WAVE[4], WAVE[0]]), ONE, {"audio_layout": "SN"}),
}


@pytest.mark.parametrize(("sound", "expected", "options"), SOUNDS.values(), ids=SOUNDS.keys())
def test_a_sound_of_every_form_is_heard_to_the_sample(sound, expected, options):
    space = spaces.Dict(audio=spaces.Box(-1, 1, sound.shape, np.float32))
    env = adapt(space, {"audio": sound}, **options)
    env.reset()
    np.testing.assert_allclose(env.waveform, expected, atol=1e-6)


PICTURE, SOUND = spaces.Box(0, 255, (H, W, 3), np.uint8), spaces.Box(-1, 1, (N,), np.float32)


class Lazy:
    """Stacked frames as old wrappers hand them out: an array only when asked."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames = frames

    def __array__(self, dtype=None, copy=None):
        return np.concatenate(self.frames, axis=2)


SPACES = {
    "Tuple": (spaces.Tuple((PICTURE, SOUND)), (HWC, WAVE[0]), ("0", "1")),
    "Dict in a Dict": (
        spaces.Dict(robot=spaces.Dict(camera=PICTURE, mic=SOUND), time=spaces.Discrete(9)),
        {"robot": {"camera": HWC, "mic": WAVE[0]}, "time": 3},
        ("robot.camera", "robot.mic"),
    ),
    "Tuple in a Dict": (
        spaces.Dict(image=spaces.Tuple((PICTURE,)), audio=SOUND),
        {"image": (HWC,), "audio": WAVE[0]},
        ("image.0", "audio"),
    ),
    "Sequence of pictures": (
        spaces.Dict(image=spaces.Sequence(PICTURE), audio=SOUND),
        {"image": (OLD.transpose(1, 2, 0), HWC), "audio": WAVE[0]},
        ("image", "audio"),
    ),
    "Tuple of chunks": (
        spaces.Dict(image=PICTURE, audio=spaces.Tuple([spaces.Box(-1, 1, (64,), np.float32)] * 3)),
        {"image": HWC, "audio": tuple(WAVE[:2].reshape(3, 64))},
        ("image", "audio"),
    ),
    "LazyFrames": (
        spaces.Dict(image=spaces.Box(0, 255, (H, W, 6), np.uint8), audio=SOUND),
        {"image": Lazy([OLD.transpose(1, 2, 0), HWC]), "audio": WAVE[0]},
        ("image", "audio"),
    ),
    "dots in keys": (
        spaces.Dict({"observation.images.top": PICTURE, "observation.audio": SOUND}),
        {"observation.images.top": HWC, "observation.audio": WAVE[0]},
        ("observation.images.top", "observation.audio"),
    ),
}


@pytest.mark.parametrize(("space", "observation", "keys"), SPACES.values(), ids=SPACES.keys())
def test_streams_are_found_in_every_kind_of_space(space, observation, keys):
    env = adapt(space, observation)
    assert (env.streams.video.key, env.streams.audio.key) == keys
    np.testing.assert_array_equal(env.reset()[0].video, RGB)
    expected = WAVE[:2].ravel() if env.waveform.shape[1] == 192 else WAVE[0]
    np.testing.assert_allclose(env.waveform[0], expected, atol=1e-6)
    chosen = adapt(space, observation, video_key=keys[0], audio_key=keys[1])
    np.testing.assert_array_equal(chosen.reset()[0].video, RGB)


def test_a_stack_of_whole_observations_stacks_the_sound_too():
    space = spaces.Dict(image=PICTURE, audio=spaces.Box(-1, 1, (N,), np.float32))
    raw = Shown(space, {"image": HWC, "audio": WAVE[0]})
    env = AudioVisualEnv(
        gymnasium.wrappers.FrameStackObservation(raw, 4), EnvConfig(video_size=(H, W), grey=False)
    )
    assert env.streams.video.form.layout == "SHWC"
    assert env.streams.audio.form.layout == "SN"
    np.testing.assert_array_equal(env.reset()[0].video, RGB)
    np.testing.assert_array_equal(env.waveform, WAVE[:1])


def left_out(state_keys: Any = None, **entries: spaces.Space[Any]) -> dict[str, tuple[str, bool]]:
    streams = find_streams(spaces.Dict(entries), video_key=None, audio_key=None, state_keys=state_keys)
    return {one.key: (one.why, one.is_fault) for one in streams.left_out}


FAULTS = {
    "a spectrogram": ({"spectrogram": spaces.Box(0, 1, (64, 32))}, "a spectrogram by its name"),
    "mel bands": ({"log_mel": spaces.Box(-80, 0, (128, 44))}, "a spectrogram by its name"),
    "levels in time": ({"audio": spaces.Box(0, np.inf, (64, 100))}, "named as a sound"),
    "many channels": ({"audio": spaces.Box(-1, 1, (400, 9))}, "named as a sound"),
    "a short sound": ({"audio": spaces.Box(-1, 1, (63,))}, "named as a sound"),
    "a small picture": ({"image": spaces.Box(0, 255, (7, 7, 3), np.uint8)}, "named as a picture"),
    "voxels": ({"grid": spaces.Box(0, 1, (32, 32, 32))}, "neither a picture nor a sound"),
    "points": ({"points": spaces.Box(-1, 1, (100, 3))}, "neither a picture nor a sound"),
    "chunks in a Sequence": ({"sounds": spaces.Sequence(SOUND)}, "its length changes"),
    "an empty sound": ({"audio": spaces.Box(0, 1, (0,), np.float32)}, "named as a sound"),
    "a long vector": (
        {"hidden": spaces.Box(-1, 1, (1_024,))},
        "neither a picture nor, without a sample rate",
    ),
}


@pytest.mark.parametrize(("entry", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_large_array_that_is_neither_is_a_fault_by_name(entry, words):
    ((why, is_fault),) = left_out(camera=PICTURE, **entry).values()
    assert is_fault
    assert why.startswith(words)


@pytest.mark.parametrize(
    ("space", "is_fault"),
    [
        (spaces.Box(0, 1, (2, 32)), True),  # as many numbers as the smallest picture has
        (spaces.Box(0, 1, (3, 21)), False),
        (spaces.Box(0, 1, (1_024,)), True),
    ],
)
def test_what_is_left_out_at_the_bounds_of_its_size(space, is_fault):
    ((_, is_found_fault),) = left_out(camera=PICTURE, hidden=space).values()
    assert is_found_fault is is_fault


def test_a_layout_may_name_the_smallest_picture_and_the_shortest_sound():
    assert (PictureForm("HW", (8, 8)).rows, PictureForm("HW", (8, 8)).columns) == (8, 8)
    with pytest.raises(ValueError, match="at least 8 rows and columns, got 8 x 7"):
        PictureForm("HW", (8, 7))
    assert SoundForm("NC", (64, 8)).num_samples == 64
    assert SoundForm("TN", (2, 32)).num_samples == 64  # of all chunks


def test_vectors_are_the_state_and_what_is_none_is_left_out_without_a_fault():
    entries = spaces.Dict(
        image=PICTURE,
        vector=spaces.Box(0, 1, (3,)),
        lidar=spaces.Box(0, 1, (128,)),
        ram=spaces.Box(0, 255, (128,), np.uint8),
        joints=spaces.Box(-1, 1, (1_023,)),
        goal=spaces.MultiDiscrete([3, 4]),
        word=spaces.Text(5),
        door=spaces.Discrete(2),
        depth=spaces.Box(0, 10, (H, W)),
    )
    streams = find_streams(entries, video_key=None, audio_key=None)
    assert [leaf.key for leaf in streams.state] == ["vector", "lidar", "ram", "joints", "goal"]
    found = left_out(**entries.spaces, state_keys="none")
    assert {*found} == {*entries} - {"image"}
    assert not any(is_fault for _, is_fault in found.values())
    assert found["joints"][0] == "a state that env.state_keys leaves out"
    assert found["door"][0].startswith("no vector, of which a state is")
    assert found["depth"][0] == "another stream is taken; --env.video_key depth takes this one"


@pytest.mark.parametrize("box", [spaces.Box(-1, 1, (400,)), spaces.Box(-9, 9, (400, 2), np.int16)], ids=str)
def test_an_unnamed_vector_is_a_sound_only_with_a_sample_rate(box):
    space = spaces.Dict(image=PICTURE, ears=box)
    assert find_streams(space, video_key=None, audio_key=None).audio is None
    assert find_streams(space, video_key=None, audio_key=None, has_rate=True).audio.key == "ears"
    assert find_streams(space, video_key=None, audio_key="ears").audio.key == "ears"


class Lidar(gymnasium.Env):
    """Sees nothing but 180 distances."""

    observation_space, action_space = spaces.Box(0, 1, (180,)), spaces.Discrete(2)


@pytest.mark.parametrize(
    "told", [{"sample_rate_hz": 8_000}, {"audio_layout": "N"}, {"audio_range": (0.0, 1.0)}]
)
def test_a_lidar_alone_is_a_sound_only_where_the_user_says_so(told):
    streams = streams_of(Lidar(), EnvConfig())
    assert (streams.audio, len(streams.state)) == (None, 1)
    assert streams_of(Lidar(), EnvConfig(**told)).audio.num_samples == 180


def test_a_large_sound_that_nothing_calls_one_is_a_fault():
    chunk = spaces.Box(-9, 9, (800, 2), np.int16)
    why, is_fault = left_out(image=PICTURE, ears=chunk)["ears"]
    assert is_fault
    assert why.endswith("without a sample rate or a name that says so, a sound")
    assert left_out(image=PICTURE, ears=chunk, audio=chunk)["ears"] == (
        "another stream is taken; --env.audio_key ears takes this one",
        False,
    )
