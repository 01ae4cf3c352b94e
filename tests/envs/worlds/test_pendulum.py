"""The pendulum world: Gymnasium's physics, its values, and the state as told by either modality alone."""

import gymnasium
import numpy as np
import pytest

from spl.envs.actions import ActionForm
from spl.envs.worlds.pendulum import PendulumEnv, heard_at_receivers, pendulum_pictures
from spl.envs.worlds.pendulum_values import action_values, grid_values, torques_of, turn

HZ = 10 * np.arange(801)
ANGLES = np.linspace(-np.pi, np.pi, 1_440, endpoint=False)
HEARD = np.array([heard_at_receivers(float(angle), 1.0) for angle in ANGLES])  # (1440, 2, 2)


def seen_angle(video) -> float:
    """Return the angle of the bob's centre, which needs the picture alone."""
    rows, columns = np.nonzero(video > 175)
    return float(np.arctan2(columns.mean() - 31.5, 31.5 - rows.mean()))


def heard_state(audio) -> tuple[float, float]:
    """Return angle and velocity from the mono mix alone: loudness of the two tones, then their shift."""
    mono = audio.astype(float).mean(axis=1)
    levels = np.abs(np.fft.rfft(mono * np.hanning(1_600))) / 400  # a sine of amplitude 1 peaks at 1
    pitches, loudness = np.zeros(2), np.zeros(2)
    for i, (low, high) in enumerate(((380, 1_260), (1_500, 4_900))):
        peak = low // 10 + int(levels[low // 10 : high // 10].argmax())
        below, at, above = np.log(levels[peak - 1 : peak + 2])
        pitches[i] = 10 * (peak + 0.5 * (below - above) / (below - 2 * at + above))
        loudness[i] = 2 * np.sqrt((levels[peak - 2 : peak + 3] ** 2).sum() / 1.5)  # of the window's main lobe
    row = np.abs(np.log(HEARD[:, :, 1] / loudness)).sum(axis=1).argmin()
    shifts = 1 - np.array([600.0, 2_400.0]) / pitches  # v / c towards each receiver
    unit = 1 - np.array([600.0, 2_400.0]) / HEARD[row, :, 0]  # at 1 rad/s
    return float(ANGLES[row]), float(shifts @ unit / (unit @ unit))


def play(env, choose, num_episodes: int) -> np.ndarray:
    returns = np.zeros(num_episodes)
    for episode in range(num_episodes):
        observation, _ = env.reset(seed=episode)
        choice, terminated = choose(env), False
        next(choice)
        while not terminated:
            observation, reward, terminated, _, _ = env.step(choice.send(observation))
            returns[episode] += reward
    return returns


def by_values(env, angle: float, velocity: float) -> int:
    after = grid_values(env.num_torques, env.num_steps)[env.num_steps - 1 - env._clock]
    return int(np.argmax(action_values(angle, velocity, env.num_torques, after)))


def oracle(env):
    yield 0
    while True:
        yield env.oracle_action()


def test_it_turns_as_gymnasiums_pendulum():
    theirs = gymnasium.make("Pendulum-v1").unwrapped
    ours = PendulumEnv()
    rng = np.random.default_rng(0)
    for _ in range(20):
        state = np.array([rng.uniform(-np.pi, np.pi), rng.uniform(-8, 8)])
        action = int(rng.integers(5))
        theirs.reset(seed=0)
        ours.reset(seed=0)
        theirs.state, (ours._angle, ours._velocity) = state.copy(), state.tolist()
        expected = sum(theirs.step(np.array([action - 2.0]))[1] for _ in range(2))
        assert ours.step(action)[1] == pytest.approx(expected)
        assert np.cos(ours._angle - theirs.state[0]) == pytest.approx(1.0)
        assert ours._velocity == pytest.approx(theirs.state[1])


def test_the_torques_are_the_actions():
    assert torques_of(5) == [-2.0, -1.0, 0.0, 1.0, 2.0]
    env = PendulumEnv(num_torques=9)
    assert env.action_space.n == 9
    assert env.get_action_meanings()[3:6] == ["-0.5", "+0.0", "+0.5"]
    env.reset(seed=0)
    env.step(8)
    with pytest.raises(ValueError, match=r"0\.\.8"):
        env.step(9)


def test_the_torque_of_a_box_is_that_of_the_bins():
    bins, box = PendulumEnv(num_torques=9), PendulumEnv(torque="box")
    form = ActionForm(box.action_space, bins=9)
    assert [float(form.raw(action)[0]) for action in range(9)] == torques_of(9)
    bins.reset(seed=0), box.reset(seed=0)
    for action in (8, 0, 3, 5, 4):
        (seen, *others), (seen_too, *others_too) = bins.step(action), box.step(form.raw(action))
        assert others == others_too
        assert all((seen[name] == seen_too[name]).all() for name in seen)
    with pytest.raises(ValueError, match="action must be in Box"):
        box.step(np.array([2.1], np.float32))
    with pytest.raises(ValueError, match="torque must be bins or box, got 'free'"):
        PendulumEnv(torque="free")


def test_doppler_shift_and_loudness_by_hand():
    # Hanging still straight down, both receivers are equally far: 1.4545 m aside, 2.4545 m above.
    (left_hz, left), (right_hz, right) = heard_at_receivers(np.pi, 0.0)
    assert (left_hz, right_hz) == pytest.approx((600, 2_400))
    assert left == pytest.approx(right)
    assert left == pytest.approx(16_000 * (1.05704 / 2.85313) ** 2, rel=1e-3)
    # Upright and turning clockwise at 2 m/s, the tip moves right: towards one, away from the other.
    cosine = 1.45455 / np.hypot(1.45455, 0.45455)
    (left_hz, left), (right_hz, right) = heard_at_receivers(0.0, 2.0)
    assert left_hz == pytest.approx(600 * 16 / (16 + 2 * cosine), rel=1e-4)
    assert right_hz == pytest.approx(2_400 * 16 / (16 - 2 * cosine), rel=1e-4)
    # At 45 degrees clockwise the tip is nearest to the right receiver, and loudest there.
    assert heard_at_receivers(np.pi / 4, 0.0)[1][1] == pytest.approx(16_000)


def test_the_two_tones_never_meet():
    heard = np.array([heard_at_receivers(float(a), v) for a in ANGLES[::8] for v in (-8.0, 8.0)])
    assert heard[:, 0, 0].max() < 1_250 < 1_550 < heard[:, 1, 0].min()
    assert heard[:, 1, 0].max() < 4_900
    assert heard[:, :, 1].max() <= 16_000


def test_the_tone_sounds_on_from_step_to_step():
    env = PendulumEnv()
    env.reset(seed=0)
    env._angle, env._velocity = np.pi, 0.0
    sounds = [env._scenery()[1].astype(float) for _ in range(3)]
    whole = np.concatenate(sounds)
    jumps = np.abs(np.diff(whole, axis=0))
    edges = jumps[[1_599, 3_199]]
    assert (edges <= jumps[:1_599].max(axis=0) + 1).all()
    assert HZ[np.abs(np.fft.rfft(sounds[0][:, 0])).argmax()] == 600
    assert HZ[np.abs(np.fft.rfft(sounds[0][:, 1])).argmax()] == 2_400


def test_the_bob_is_where_the_tip_is():
    pictures = pendulum_pictures()
    assert pictures.max() <= 231  # noise is added on top
    for index in range(0, 720, 45):
        error = seen_angle(pictures[index]) - index * np.pi / 360
        assert abs((error + np.pi) % (2 * np.pi) - np.pi) < 0.02


def test_each_modality_alone_tells_the_state():
    env, rng = PendulumEnv(), np.random.default_rng(1)
    env.reset(seed=0)
    errors = []
    for _ in range(150):
        env._angle, env._velocity = rng.uniform(-np.pi, np.pi), rng.uniform(-6, 6)
        observation = env._observe()
        angle, velocity = heard_state(observation["audio"])
        turned = [found - env._angle for found in (seen_angle(observation["video"]), angle)]
        errors.append(
            [abs((t + np.pi) % (2 * np.pi) - np.pi) for t in turned] + [abs(velocity - env._velocity)]
        )
    seen, heard, speed = np.quantile(errors, 0.95, axis=0)
    assert seen < 0.03
    assert heard < 0.05
    assert speed < 0.1


def test_one_modality_alone_earns_what_both_do():
    def by_video(env):
        observation = yield 0
        last = None
        while True:
            angle = seen_angle(observation["video"])
            moved = 0.0 if last is None else (angle - last + np.pi) % (2 * np.pi) - np.pi
            velocity, last = np.clip(moved / 0.1 + 0.375 * np.sin(angle), -8, 8), angle
            observation = yield by_values(env, angle, float(velocity))

    def by_audio(env):
        observation = yield 0
        while True:
            angle, velocity = heard_state(observation["audio"])
            observation = yield by_values(env, angle, float(np.clip(velocity, -8, 8)))

    env = PendulumEnv()
    best, seen, heard = (play(env, choose, 6) for choose in (oracle, by_video, by_audio))
    for returns in (seen, heard):  # acting at random is 1,080 below the best
        assert (returns - best).mean() > -30


def test_the_values_of_the_last_decisions_by_hand():
    # One decision left, upright and still: only the torque costs, 2 * 0.001 u^2 and what it sets in motion.
    values = action_values(0.0, 0.0, 5, grid_values(5, 100)[0])
    assert int(np.argmax(values)) == 2
    assert values[2] == 0.0
    assert values[4] == pytest.approx(-(0.004 + 0.004 + 0.015**2 + 0.1 * 0.3**2))
    assert values[4] == pytest.approx(values[0])
    assert grid_values(5, 100)[0].max() == 0
    assert (np.diff(grid_values(5, 100).mean(axis=(1, 2))) < 1e-3).all()


def test_a_turn_of_arrays_is_that_of_each():
    angles, velocities = np.array([0.3, -3.1, 3.1]), np.array([1.0, -8.0, 8.0])
    together = turn(angles, velocities, 2.0)
    for i in range(3):
        np.testing.assert_allclose([one[i] for one in together], turn(angles[i], velocities[i], 2.0))
    assert (np.abs(together[0]) <= np.pi).all()


def test_the_oracle_earns_the_grids_value_of_its_first_state():
    env = PendulumEnv()
    returns = play(env, oracle, 20)
    values = np.zeros(20)
    for episode in range(20):
        env.reset(seed=episode)
        after = grid_values(5, 100)[99]
        values[episode] = max(action_values(env._angle, env._velocity, 5, after))
    assert abs(np.median(returns - values)) < 1
    assert abs((returns - values).mean()) < 8
    assert env.best_return == pytest.approx(-138.4, abs=0.5)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="num_torques must be 5 or 9, got 7"):
        PendulumEnv(num_torques=7)
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        PendulumEnv(num_steps=0)
