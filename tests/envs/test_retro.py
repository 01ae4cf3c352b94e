"""Console games: every sample of a game that changes its chunks, and two games at once."""

import numpy as np
import pytest

from spl.config.errors import UsageError
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.envs.retro import Elsewhere, WithSound, make_retro

retro = pytest.importorskip("stable_retro")
GAME = "retro:Airstriker-Genesis"
NUM_STEPS, ACTION = 12, 10


@pytest.fixture
def game():
    env = make_env(EnvConfig(id=GAME, stereo=True))
    yield env
    env.close()


@pytest.fixture(scope="module")
def made():
    """Return the sound (N, 2) of a game as the emulator makes it, and the lengths of its chunks."""
    env = retro.make("Airstriker-Genesis-v0", use_restricted_actions=retro.Actions.DISCRETE, render_mode=None)
    env.reset(seed=0)
    chunks = [env.em.get_audio().copy()]
    for _ in range(4 * NUM_STEPS):
        env.step(ACTION)
        chunks.append(env.em.get_audio().copy())
    env.close()
    return np.concatenate(chunks), [len(chunk) for chunk in chunks]


def test_every_sample_of_a_game_is_heard(made, game):
    sound, lengths = made
    assert set(lengths) == {735, 736}
    assert np.abs(sound).max() > 1_000
    game.reset(seed=0)
    waveforms = [game.waveform[:, -lengths[0] :]]
    for _ in range(NUM_STEPS):
        game.step(ACTION)
        waveforms.append(game.waveform)
    np.testing.assert_array_equal(np.concatenate(waveforms, axis=1).T, sound / np.float32(32_768))
    assert game.describe()["frame_skip"] == 4
    assert game.sample_rate_hz == 44_100
    assert len(game.get_wrapper_attr("get_action_meanings")()) == game.action_sizes[0] == 126


def test_a_second_game_gets_a_process_of_its_own_and_plays_alike():
    first, second = make_retro(GAME), make_retro(GAME)
    assert (type(first), type(second)) == (WithSound, Elsewhere)
    assert first.observation_space == second.observation_space
    assert first.get_action_meanings() == second.get_action_meanings()
    for step in range(20):
        (one, info), (other, again) = (
            (env.reset(seed=0) if step == 0 else env.step(ACTION)[::4]) for env in (first, second)
        )
        assert all(np.array_equal(one[key], other[key]) for key in ("image", "audio"))
        assert info["audio_samples"] == again["audio_samples"]
    np.testing.assert_array_equal(first.render(), second.render())
    with pytest.raises(TypeError, match="unsupported operand"):
        second.step([])
    second.close()
    first.close()


def test_what_is_beyond_the_longest_chunk_comes_with_the_next():
    env = make_retro(GAME)
    env.most = 700
    env.reset(seed=0)
    numbers = [env.step(ACTION)[4]["audio_samples"] for _ in range(5)]
    assert numbers == [700] * 5
    assert len(env._left) == 735 + 5 * 736 - 6 * 700
    env.close()


@pytest.mark.parametrize(
    ("env_id", "kwargs", "sentence"),
    [
        (
            "retro:Airstrike-Genesis",
            {},
            r"knows no game Airstrike-Genesis \(did you mean retro:Airstriker-Genesis\?\)",
        ),
        (
            "retro:1942-Nes",
            {},
            r"no ROM of 1942-Nes \(Airstriker-Genesis alone is free\): python -m stable_retro",
        ),
        (
            GAME,
            {"use_restricted_actions": "some"},
            "must be one of all, filtered, discrete, multidiscrete, got some",
        ),
        (GAME, {"buttons": 3}, "could not be made with buttons=3: .*'buttons'"),
    ],
)
def test_what_cannot_be_played_is_refused_in_a_sentence(env_id, kwargs, sentence):
    with pytest.raises(UsageError, match=sentence):
        make_env(EnvConfig(id=env_id, kwargs=kwargs))
