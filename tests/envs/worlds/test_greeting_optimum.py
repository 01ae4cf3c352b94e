"""The best returns of the greeting world by one modality: against hand work, and against robots that play."""

from itertools import product

import numpy as np
import pytest

from spl.envs.worlds.greeting import GreetingEnv
from spl.envs.worlds.greeting_optimum import best_visit_return, visit_action_values
from spl.envs.worlds.greeting_rules import STANDING, Act, Scene


def returns_of(choose, num_episodes: int) -> np.ndarray:
    env = GreetingEnv()
    returns = np.zeros(num_episodes)
    env.reset(seed=0)
    for episode in range(num_episodes):
        env.reset()
        is_over = False
        while not is_over:
            _, reward, is_over, _, _ = env.step(choose(env))
            returns[episode] += reward
    return returns


def test_the_best_by_video_is_to_shake_every_hand():
    answer = {Scene.AWAY: Act.LOOK, Scene.FACING: Act.WAVE, Scene.HAND: Act.HANDSHAKE}
    # By hand: a hand is held out for certain to be shaken at once, which earns 0.4 - 0.06 = 0.34, and so the
    # visit is worth 0.34 times the chance that it comes within the 12 steps of standing.
    away, facing, hand = 1.0, 0.0, 0.0
    for _ in range(11):  # moves before the last standing step
        away, facing, hand = 0.2 * away, 0.8 * away + 0.2 * facing, hand + 0.8 * facing
    assert best_visit_return("video", has_memory=True) == pytest.approx(0.34 * hand)
    assert best_visit_return("video", has_memory=False) == pytest.approx(0.34 * hand)
    returns = returns_of(lambda env: answer.get(env._scene, Act.WAIT), 300)
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert returns.mean() == pytest.approx(6 * 0.34 * hand, abs=3 * error)


def by_counting(num_looks: int, first_shake: int) -> float:
    """Return the exact return of a visit: look so often, then wave; shake at a greeting from a step on."""
    pose, is_there, total = np.array([1.0, 0.0, 0.0]), 1.0, 0.0
    look = np.array([[0.2, 0.8, 0.0], [0.0, 0.9, 0.1], [0.0, 0.15, 0.85]])
    wave = np.array([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8], [0.0, 0.15, 0.85]])
    for step in range(12):
        if step >= first_shake:
            total += is_there * 0.4 * (1.1 * pose[2] - 0.1)
            is_there *= 0.6
        pose = pose @ (look if step < num_looks else wave)
    return total


def test_the_best_by_audio_counts_steps():
    counted = max(by_counting(looks, shake) for looks, shake in product(range(6), range(12)))
    best = best_visit_return("audio", has_memory=True)
    assert counted <= best + 1e-12
    assert counted == pytest.approx(best, rel=0.01)  # 4.7 of six visits, as good as it gets by counting

    def count(env):
        if env._is_greeting and env._clock >= 3 + 5:
            return Act.HANDSHAKE
        return Act.LOOK if env._clock < 3 + 3 else Act.WAVE

    returns = returns_of(count, 300)
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert returns.mean() == pytest.approx(6 * by_counting(3, 5), abs=3 * error)


def test_by_audio_without_memory_nothing_is_earned():
    # What it does until a greeting it does at every step: looking brings a hand by 0.1 a step, waving a face
    # by 0.1; it shakes at the first greeting, mostly too early.
    assert best_visit_return("audio", has_memory=False) == 0.0


def test_less_is_known_less_is_earned():
    both = float(visit_action_values()[0, Scene.EMPTY, 0].max())
    for modality in ("video", "audio"):
        with_memory = best_visit_return(modality, has_memory=True)
        assert 0 <= best_visit_return(modality, has_memory=False) <= with_memory + 1e-12
        assert with_memory < both
    assert GreetingEnv(num_visits=6).best_return_of("audio", has_memory=True) == pytest.approx(
        4.78, abs=0.005
    )
    assert GreetingEnv(num_visits=6).best_return_of("video", has_memory=True) == pytest.approx(
        2.04, abs=0.005
    )
    assert len(STANDING) == 3
    with pytest.raises(ValueError, match="modality must be 'video' or 'audio', got 'smell'"):
        best_visit_return("smell", has_memory=True)
