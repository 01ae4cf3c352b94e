"""The shooter: its rules, its exact values, and that either modality alone tells the whole state."""

import numpy as np
import pytest

from spl.envs.worlds.hyperhot import (
    ENEMY,
    FIRE,
    FIRE_STEPS,
    NUM_FIRES,
    SHIP,
    TONES_HZ,
    Act,
    HyperhotEnv,
    act_on,
    action_values,
    enemy_moves,
    fire_index,
    hyperhot_sounds,
)


def seen_state(video) -> tuple[int, int, int]:
    """Return ship, enemy and fire as the places of the picture that look most like them."""
    grey = video.astype(int)

    def likeness(stamp, top, column):
        return -np.abs(grey[top : top + 12, 13 * column : 13 * column + 12] - 12 - stamp.astype(int)).mean()

    ship = int(np.argmax([likeness(SHIP, 52, column) for column in range(5)]))
    enemy = int(np.argmax([likeness(ENEMY, 0, column) for column in range(5)]))
    fires = {
        fire_index(column, h): likeness(FIRE, 52 - 13 * h, column) for column in range(5) for h in (1, 2, 3)
    }
    fire = max(fires, key=fires.__getitem__)
    return ship, enemy, fire if fires[fire] > -20 else 0


def heard_state(audio) -> tuple[int, int, int]:
    """Return ship, enemy and fire by the loudness of their twelve tones in the mono mix."""
    levels = np.abs(np.fft.rfft(audio.astype(float).mean(axis=1))) / 800
    found = []
    for source, tones in TONES_HZ.items():
        bins = [hz // 10 for hz in tones]
        known = np.abs(np.fft.rfft(hyperhot_sounds()[source][:, :1_600].astype(float).mean(axis=2), axis=1))
        known = known[:, bins] / 800  # (places, 4)
        if source == "fire":
            known = np.concatenate([np.zeros((1, 4)), known])
        found.append(int(np.abs(known - levels[bins]).sum(axis=1).argmin()))
    return found[0], found[1], found[2]


def put(env, ship: int, enemy: int, fire: int) -> None:
    env._ship, env._enemy, env._fire = ship, enemy, fire


def play(env, choose, num_episodes: int) -> np.ndarray:
    returns = np.zeros(num_episodes)
    for episode in range(num_episodes):
        observation, _ = env.reset(seed=episode)
        terminated = False
        while not terminated:
            observation, reward, terminated, _, _ = env.step(choose(env, observation))
            returns[episode] += reward
    return returns


def test_each_modality_alone_tells_the_whole_state():
    env, rng = HyperhotEnv(), np.random.default_rng(0)
    env.reset(seed=0)
    states = [(column, 4 - column, fire) for column in range(5) for fire in range(NUM_FIRES)]
    states += [tuple(rng.integers((5, 5, NUM_FIRES)).tolist()) for _ in range(100)]
    for state in states:
        put(env, *state)
        observation = env._observe()
        assert seen_state(observation["video"]) == state
        assert heard_state(observation["audio"]) == state


def test_the_oracle_earns_the_best_return_by_either_modality_alone():
    env = HyperhotEnv()

    def act(steps_left, state):
        return int(action_values(64)[(steps_left, *state)].argmax())

    best = play(env, lambda env, _: env.oracle_action(), 40)
    seen = play(env, lambda env, now: act(64 - env._clock, seen_state(now["video"])), 4)
    heard = play(env, lambda env, now: act(64 - env._clock, heard_state(now["audio"])), 4)
    assert seen.tolist() == heard.tolist() == best[:4].tolist()
    assert best.mean() == pytest.approx(env.best_return, abs=3 * best.std() / np.sqrt(40))
    assert env.best_return == pytest.approx(19.76, abs=1e-3)
    rng = np.random.default_rng(0)
    assert abs(play(env, lambda *_: int(rng.integers(4)), 40).mean()) < 0.6


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [  # ship, enemy, fire -> ship, is shot, fire, is hit
        ((3, 3, 0), Act.SHOOT, (3, True, 0, False)),
        ((3, 4, 0), Act.SHOOT, (3, False, 0, False)),
        ((3, 3, 0), Act.NOOP, (3, False, 0, False)),
        ((0, 3, 0), Act.LEFT, (0, False, 0, False)),
        ((4, 3, 0), Act.RIGHT, (4, False, 0, False)),
        ((3, 3, fire_index(3, 3)), Act.SHOOT, (3, True, fire_index(3, 2), False)),
        ((3, 3, fire_index(3, 1)), Act.SHOOT, (3, True, 0, True)),
        ((3, 3, fire_index(3, 1)), Act.LEFT, (2, False, 0, False)),
        ((2, 3, fire_index(3, 1)), Act.RIGHT, (3, False, 0, True)),
        ((2, 3, fire_index(2, 2)), Act.NOOP, (2, False, fire_index(2, 1), False)),
    ],
)
def test_what_an_act_does(before, action, after):
    assert act_on(*before, action) == after


def test_being_hit_costs_one_and_ends_the_episode():
    env = HyperhotEnv()
    env.reset(seed=0)
    put(env, 3, 1, fire_index(3, 1))
    assert env.step(Act.NOOP)[1:4] == (-1.0, True, False)
    env.reset(seed=0)
    put(env, 3, 3, fire_index(3, 1))
    assert env.step(Act.SHOOT)[1:4] == (0.0, True, False)  # one shot, and hit


def test_enemies_move_enter_and_fire_as_often_as_stated():
    env = HyperhotEnv()
    env.reset(seed=0)
    went, entered, fired = np.zeros(5), np.zeros(5), 0
    for _ in range(2_000):
        put(env, 0, 3, 0)
        env._advance(Act.NOOP)
        went[env._enemy] += 1
        if env._fire:
            fired += 1
            assert env._fire == fire_index(env._enemy, FIRE_STEPS)
        put(env, 3, 3, fire_index(1, 3))
        env._advance(Act.SHOOT)
        entered[env._enemy] += 1
        assert env._fire == fire_index(1, 2)  # no second fire while one is under way
    assert went / 2_000 == pytest.approx(enemy_moves()[3], abs=0.05)
    assert entered / 2_000 == pytest.approx(np.full(5, 1 / 5), abs=0.04)
    assert fired / 2_000 == pytest.approx(0.5, abs=0.05)
    assert enemy_moves()[0].tolist() == [0.75, 0.25, 0, 0, 0]


def test_the_values_of_the_last_steps_by_hand():
    values = action_values(64)
    assert values[1, 3, 3, 0].tolist() == [0, 0, 1, 0]
    assert values[1, 3, 4, fire_index(3, 1)].tolist() == [0, 0, -1, -1]
    # Two steps, aligned, no fire: shoot, and the next enemy enters in this column with 1/5.
    assert values[2, 3, 3, 0, Act.SHOOT] == pytest.approx(1 + 1 / 5)
    # One column aside: going there meets an enemy that stayed (1/2); staying one that came (1/4).
    assert values[2, 2, 3, 0, Act.RIGHT] == pytest.approx(0.5)
    assert values[2, 2, 3, 0, Act.NOOP] == pytest.approx(0.25)
    # Fire about to land: shooting wins one and loses it again, and nothing comes after.
    assert values[2, 3, 3, fire_index(3, 1), Act.SHOOT] == pytest.approx(0.0)


def test_sounds_are_whole_periods_and_never_too_loud():
    loudest = np.zeros((1_600, 2))
    for source, sound in hyperhot_sounds().items():
        np.testing.assert_allclose(sound[:, :1_600].astype(int), sound[:, 1_600:], atol=1)
        loudest += np.abs(sound.astype(int)).max(axis=0)[:1_600]
        assert len(set(TONES_HZ[source])) == 4
    assert loudest.max() < 32_767 - 200
    assert len({hz for tones in TONES_HZ.values() for hz in tones}) == 12
    # A nearer receiver is louder: the enemy in the first column at the upper left one, whose tone is 1 kHz.
    levels = np.abs(np.fft.rfft(hyperhot_sounds()["enemy"][0, :1_600].astype(float).mean(axis=1)))
    assert levels[[100, 125, 112, 140]].argmax() == 0


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        HyperhotEnv(num_steps=0)
