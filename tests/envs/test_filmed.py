"""The camera keeps every frame and sample as the environment gave it, and nobody notices it."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from spl.config.errors import UsageError
from spl.envs.config import EnvConfig
from spl.envs.filmed import Camera, make_filmed
from spl.envs.registry import make_env


class Drum(gymnasium.Env):
    """A step's picture and sound are its number; both buffers are used again and again."""

    metadata = {"audio_sample_rate_hz": 8_000, "render_modes": ["rgb_array"]}
    action_space = spaces.Discrete(2)

    def __init__(self, dtype="uint8", channels=2, render_mode=None, view=(10, 12)):
        self.render_mode, self.view, self.number = render_mode, view, 0
        low, high = (-1.0, 1.0) if dtype == "float32" else (0, 255)
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (10, 12), np.uint8),
            sound=spaces.Box(low, high, (100, channels), np.dtype(dtype).type),
        )
        self._image, self._sound = (self.observation_space[key].sample() for key in ("image", "sound"))

    def _look(self):
        self._image[:] = self.number
        self._sound[:] = 128 + self.number if self._sound.dtype == np.uint8 else 0.1 * self.number
        self._sound[:, -1] = 128 if self._sound.dtype == np.uint8 else 3.0
        return {"image": self._image, "sound": self._sound}

    def reset(self, *, seed=None, options=None):
        self.number = 0
        return self._look(), {}

    def step(self, action):
        self.number += 1
        return self._look(), float(self.number), self.number == 7, False, {}

    def render(self):
        return np.full((*self.view, 3), 100 + self.number, np.uint8)


def config(**options) -> EnvConfig:
    kwargs = options.pop("kwargs", {})
    return EnvConfig(
        id=f"{__name__}:Drum", kwargs=kwargs, rest_level=options.pop("rest_level", 128), **options
    )


@pytest.fixture(autouse=True)
def _here(monkeypatch, request):
    monkeypatch.syspath_prepend(request.path.parent)


def test_every_skipped_frame_is_kept_with_its_own_sound_and_reward():
    env, camera = make_filmed(config(frame_skip=3, video_size=(10, 12)))
    env.reset(seed=1)
    env.step(0)
    env.step(1)
    moments = camera.take()
    assert [moment.reward for moment in moments] == [0, 1, 2, 3, 4, 5, 6]
    assert [int(moment.picture[0, 0, 0]) for moment in moments] == [100, 101, 102, 103, 104, 105, 106]
    assert all(moment.sound.shape == (100, 2) for moment in moments), "both channels"
    np.testing.assert_allclose([moment.sound[0, 0] * 128 for moment in moments], range(7), atol=1e-5)
    assert not moments[3].sound[:, 1].any()
    assert camera.take() == []
    assert (camera.frame_rate_hz, camera.sample_rate_hz) == (80, 8_000)


def test_the_agent_is_given_what_it_would_be_given_without_a_camera():
    plain, (filmed, _) = make_env(config(frame_skip=3)), make_filmed(config(frame_skip=3))
    for one, other in zip(plain.reset(seed=3)[0], filmed.reset(seed=3)[0], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(plain.step(1)[0], filmed.step(1)[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert plain.describe() == filmed.describe()


def test_another_view_than_the_observed_one_is_not_filmed():
    _, camera = make_filmed(config(kwargs={"view": (20, 24)}))
    camera.reset()
    (moment,) = camera.take()
    assert moment.picture.shape == (10, 12, 3)
    assert not moment.picture.any()


def test_sound_is_cut_at_full_scale_and_unsigned_sound_that_rests_low_fits():
    _, camera = make_filmed(config(kwargs={"dtype": "float32"}, rest_level=None))
    camera.reset()
    camera.step(0)
    sound = camera.take()[1].sound
    np.testing.assert_allclose(sound[0], [0.1, 1.0])
    camera = Camera(Drum(), config(rest_level=0))
    camera.reset()
    (moment,) = camera.take()
    np.testing.assert_allclose(moment.sound[0], [0.5, 0.5])


def test_what_nobody_took_is_forgotten_at_a_reset():
    env, camera = make_filmed(config())
    env.reset()
    env.step(0)
    env.reset()
    assert len(camera.take()) == 1


def test_colours_of_the_observation_need_no_rendering():
    class Coloured(Drum):
        def __init__(self):
            super().__init__(channels=1, render_mode="rgb_array")
            self.observation_space = spaces.Dict(image=spaces.Box(0.0, 1.0, (3, 10, 12), np.float32))

        def _look(self):
            return {
                "image": np.array([1.0, 0.5, 0.0], np.float32)[:, None, None]
                * np.ones((1, 10, 12), np.float32)
            }

    camera = Camera(Coloured(), EnvConfig())
    camera.reset()
    (moment,) = camera.take()
    assert moment.picture.shape == (10, 12, 3)
    assert moment.picture[0, 0].tolist() == [255, 128, 0]
    assert moment.sound is None
    assert camera.frame_rate_hz == 30


def test_what_does_not_serve_is_told():
    with pytest.raises(UsageError, match="there is no environment"):
        make_filmed(EnvConfig(id="No-v0"))
    with pytest.raises(UsageError, match="audio_key=x is not in the observation"):
        make_filmed(config(audio_key="x"))
