"""The beacon and the greeting world: contract, determinism, what each sense tells, the known best return."""

from collections.abc import Callable
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from spl.envs.registry import our_ids
from spl.envs.worlds.base import AudioVisualWorld
from spl.envs.worlds.beacon import BeaconEnv
from spl.envs.worlds.drawing import TONES_HZ, greeting_pictures, greeting_sounds
from spl.envs.worlds.greeting import GreetingEnv
from spl.envs.worlds.greeting_optimum import visit_action_values
from spl.envs.worlds.greeting_rules import (
    CHANGES,
    VISIT_STEPS,
    Act,
    Scene,
    visit_outcome,
)
from spl.envs.worlds.hyperhot import HyperhotEnv
from spl.envs.worlds.pendulum import PendulumEnv


def made(env_id: str) -> AudioVisualWorld:
    """Return a registered world without the wrappers of Gymnasium."""
    return gymnasium.make(env_id).unwrapped  # type: ignore[return-value]


WORLDS: dict[str, Callable[[], AudioVisualWorld]] = {
    "eye": lambda: BeaconEnv("eye"),
    "ear": lambda: BeaconEnv("ear"),
    "both": lambda: BeaconEnv("both"),
    "either": lambda: BeaconEnv("either"),
    "greeting": lambda: GreetingEnv(num_visits=2),
    **{env_id: partial(made, env_id) for env_id in our_ids()},
}
every_world = pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS.keys())


def returns_of(env, choose, num_episodes: int, seed: int = 0) -> np.ndarray:
    returns = np.zeros(num_episodes)
    env.reset(seed=seed)
    for episode in range(num_episodes):
        env.reset()
        terminated = False
        while not terminated:
            _, reward, terminated, _, _ = env.step(choose(env))
            returns[episode] += reward
    return returns


def side_of(observation) -> int:
    rows, columns = np.nonzero(observation["video"] > 150)
    row, column = rows.mean() - 31.5, columns.mean() - 31.5
    if abs(row) > abs(column):
        return 0 if row < 0 else 2
    return 1 if column > 0 else 3


def tone_of(observation) -> int:
    peak_hz = 10 * np.abs(np.fft.rfft(observation["audio"].astype(float))).argmax()
    return int(np.abs(np.array(TONES_HZ) - peak_hz).argmin())


def put(env: GreetingEnv, clock: int, scene: Scene, is_greeting: bool = False) -> None:
    env._clock, env._scene, env._is_greeting = clock, scene, is_greeting


@pytest.mark.parametrize(
    ("env_id", "arguments"),
    [
        *(("spl/Beacon-v0", {"sense": sense}) for sense in BeaconEnv.SENSES),
        *((name, {}) for name in our_ids()),
        ("spl/Pendulum-v0", {"num_torques": 9}),
    ],
)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasium_accepts_the_world(env_id, arguments, render_mode):
    env = gymnasium.make(env_id, render_mode=render_mode, **arguments)
    check_env(env.unwrapped, skip_render_check=False)
    assert env.metadata["audio_sample_rate_hz"] == env.unwrapped.sample_rate_hz == 16_000


@every_world
def test_a_seed_decides_everything(make):
    def play(seed):
        env = make()
        observation, _ = env.reset(seed=seed)
        rows = [(observation["video"].tobytes(), observation["audio"].tobytes(), 0.0)]
        for action in np.random.default_rng(0).integers(4, size=30):
            observation, reward, terminated, *_ = env.step(action)
            if terminated:
                observation, _ = env.reset()
            rows.append((observation["video"].tobytes(), observation["audio"].tobytes(), reward))
        return rows

    assert play(3) == play(3)
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in zip(play(3), play(4), strict=True))


@every_world
def test_rendering_shows_the_newest_picture(make):
    env = make()
    observation, _ = env.reset(seed=0)
    assert env.render() is None
    env.render_mode = "rgb_array"
    for action in range(4):
        np.testing.assert_array_equal(env.render()[:, :, 1], observation["video"])
        observation, *_ = env.step(action)
    observation["video"][:] = 0  # what a caller does to its observation stays the caller's
    assert env.render().any()
    assert env.render().shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("make", "length"),
    [
        (lambda: BeaconEnv(num_rounds=7), 7),
        (lambda: GreetingEnv(num_visits=3), 3 * VISIT_STEPS),
        (lambda: HyperhotEnv(num_steps=4), 4),  # fire takes longer to land
        (lambda: PendulumEnv(num_steps=5), 5),
    ],
    ids=["beacon", "greeting", "hyperhot", "pendulum"],
)
def test_an_episode_terminates_at_its_length_and_needs_a_reset(make, length):
    env = make()
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\)"):
        env.step(0)
    for seed in range(2):
        env.reset(seed=seed)
        flags = [env.step(0)[2:4] for _ in range(length)]
        assert flags == [(False, False)] * (length - 1) + [(True, False)]
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(0)


@every_world
@pytest.mark.parametrize("action", [-1, 5, 1.5, "wave", None])
def test_an_unknown_action_is_refused(make, action):
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action must be an integer in 0\.\.[34]"):
        env.step(action)


def test_bad_arguments_are_refused():
    for make, message in [
        (lambda: BeaconEnv(sense="nose"), "sense must be one of eye, ear, both, either, got 'nose'"),
        (lambda: BeaconEnv(num_rounds=0), "num_rounds must be at least 1, got 0"),
        (lambda: GreetingEnv(num_visits=0), "num_visits must be at least 1, got 0"),
        (lambda: GreetingEnv(render_mode="human"), "render_mode must be None or 'rgb_array', got 'human'"),
        (lambda: BeaconEnv().reset(options={"level": 2}), "options must be empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("sense", BeaconEnv.SENSES)
def test_the_beacon_oracle_is_always_right_and_chance_gets_a_quarter(sense):
    env = BeaconEnv(sense, num_rounds=20)
    assert env.best_return == 20
    assert set(returns_of(env, lambda env: env.oracle_action(), 5)) == {20.0}
    rng = np.random.default_rng(1)
    assert returns_of(env, lambda _: int(rng.integers(4)), 100).mean() == pytest.approx(5, abs=0.8)


def test_each_beacon_sense_tells_what_it_should_and_no_more():
    num_rounds = 1_600
    for sense in BeaconEnv.SENSES:
        env = BeaconEnv(sense, num_rounds)
        observation, _ = env.reset(seed=5)
        seen, heard = np.zeros((4, 4)), np.zeros((4, 4))  # direction by what was made out
        for _ in range(num_rounds):
            direction = env.oracle_action()
            seen[direction, side_of(observation)] += 1
            heard[direction, tone_of(observation)] += 1
            observation, *_ = env.step(0)
        if sense == "both":  # one bit each: the best guess from one sense is right half of the time
            assert set(zip(*np.nonzero(seen), strict=True)) == {(0, 3), (1, 1), (2, 3), (3, 1)}
            assert set(zip(*np.nonzero(heard), strict=True)) == {(0, 0), (1, 0), (2, 3), (3, 3)}
            for table in (seen, heard):
                assert table.max(axis=0).sum() / num_rounds == pytest.approx(0.5, abs=0.05)
            continue
        if sense == "either":
            assert np.trace(seen) == np.trace(heard) == num_rounds
            continue
        telling, decoy = (seen, heard) if sense == "eye" else (heard, seen)
        assert np.trace(telling) == num_rounds
        assert np.abs(decoy - num_rounds / 16).max() < 4 * np.sqrt(num_rounds / 16)


@pytest.mark.parametrize("seed", range(5))
def test_the_voice_is_only_heard_and_the_pose_only_seen(seed):
    def observe(scene, is_greeting):
        env = GreetingEnv()
        env.reset(seed=seed)
        put(env, 5, scene, is_greeting)
        return env._observe()

    poses = (Scene.AWAY, Scene.FACING, Scene.HAND)
    for pose in poses:
        np.testing.assert_array_equal(observe(pose, True)["video"], observe(pose, False)["video"])
    for is_greeting in (True, False):
        sounds = [observe(pose, is_greeting)["audio"] for pose in poses]
        assert all(np.array_equal(sounds[0], sound) for sound in sounds)
    for scene in Scene:  # and every scene is made out by the nearest of the eight drawings
        video = observe(scene, False)["video"].astype(int) - 12
        distances = [
            min(np.abs(video - drawing[:, left : left + 64]).sum() for left in range(9))
            for drawing in greeting_pictures()
        ]
        assert int(np.argmin(distances)) == scene


def test_the_sounds_of_the_greeting_world_differ():
    def spectrum(name):
        sound = greeting_sounds()[name]
        return np.abs(np.fft.rfft(sound[:1_600].astype(float)))

    hz = 10 * np.arange(801)
    assert hz[spectrum("greeting").argmax()] > 500
    assert hz[spectrum("talking").argmax()] < 400
    loudness = {name: np.abs(sound.astype(float)).mean() for name, sound in greeting_sounds().items()}
    assert loudness["EMPTY"] == 0
    assert loudness["COMING_FAR"] < loudness["COMING_NEAR"]
    assert loudness["LEAVING_NEAR"] > loudness["LEAVING_FAR"]
    assert max(np.abs(sound.astype(int)).max() for sound in greeting_sounds().values()) < 32_767 - 200


def test_a_visit_left_alone_keeps_its_timetable():
    env = GreetingEnv(num_visits=2)
    for seed in range(5):
        env.reset(seed=seed)
        scenes = []
        for _ in range(2 * VISIT_STEPS):
            scenes.append(env._scene)
            assert env.step(Act.WAIT)[1] == 0
        for start in (0, VISIT_STEPS):
            visit = scenes[start : start + VISIT_STEPS]
            assert visit[:4] == [Scene.EMPTY, Scene.COMING_FAR, Scene.COMING_NEAR, Scene.AWAY]
            assert set(visit[4:15]) <= {Scene.AWAY, Scene.FACING, Scene.HAND}
            assert visit[15:] == [Scene.LEAVING_NEAR, Scene.LEAVING_FAR, Scene.EMPTY]


@pytest.mark.parametrize(
    ("clock", "scene", "is_greeting", "reward", "next_scene"),
    [
        (0, Scene.EMPTY, False, 0.0, Scene.COMING_FAR),
        (9, Scene.EMPTY, False, 0.0, Scene.EMPTY),
        (1, Scene.COMING_FAR, False, -0.1, Scene.LEAVING_NEAR),
        (2, Scene.COMING_NEAR, False, -0.1, Scene.LEAVING_NEAR),
        (5, Scene.AWAY, True, -0.1, Scene.LEAVING_NEAR),
        (5, Scene.FACING, True, -0.1, Scene.LEAVING_NEAR),
        (5, Scene.HAND, False, -0.1, Scene.LEAVING_NEAR),
        (5, Scene.HAND, True, 1.0, Scene.LEAVING_NEAR),
        (14, Scene.HAND, True, 1.0, Scene.LEAVING_NEAR),
        (6, Scene.LEAVING_NEAR, False, -0.1, Scene.LEAVING_FAR),
        (7, Scene.LEAVING_FAR, False, -0.1, Scene.EMPTY),
    ],
)
def test_what_a_handshake_brings(clock, scene, is_greeting, reward, next_scene):
    env = GreetingEnv()
    env.reset(seed=0)
    put(env, clock, scene, is_greeting)
    assert env.step(Act.HANDSHAKE)[1] == reward
    assert env._scene == next_scene


@pytest.mark.parametrize(
    ("scene", "action", "next_scene", "probability"),
    [
        (Scene.AWAY, Act.LOOK, Scene.FACING, 0.8),
        (Scene.AWAY, Act.WAVE, Scene.FACING, 0.1),
        (Scene.AWAY, Act.WAIT, Scene.FACING, 0.1),
        (Scene.FACING, Act.WAVE, Scene.HAND, 0.8),
        (Scene.FACING, Act.LOOK, Scene.HAND, 0.1),
        (Scene.HAND, Act.WAIT, Scene.FACING, 0.15),
        (Scene.HAND, Act.WAVE, Scene.FACING, 0.15),
    ],
)
def test_poses_change_as_often_as_stated(scene, action, next_scene, probability):
    env = GreetingEnv()
    env.reset(seed=0)
    num_changes = num_greetings = 0
    for _ in range(800):
        put(env, 5, scene)
        env._advance(action)
        assert env._scene in (scene, next_scene)
        num_changes += env._scene == next_scene
        num_greetings += env._is_greeting
    assert num_changes / 800 == pytest.approx(
        probability, abs=4 * np.sqrt(probability * (1 - probability) / 800)
    )
    assert num_greetings / 800 == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / 800))


def test_the_values_agree_with_hand_work():
    best = visit_action_values().max(axis=3)  # by clock, scene, voice
    assert best[14, Scene.HAND].tolist() == [0.0, 1.0]  # the last standing step: now or never
    assert best[14, Scene.FACING].tolist() == [0.0, 0.0]
    # Two steps left: waiting keeps the hand with 0.85, then a greeting comes with 0.4: 0.85 * 0.4 = 0.34.
    assert best[13, Scene.HAND] == pytest.approx([0.34, 1.0])
    # Waving brings the hand with 0.8, then 0.8 * 0.4 = 0.32; looking at one who is away comes too late.
    assert best[13, Scene.FACING] == pytest.approx([0.32, 0.32])
    assert best[13, Scene.AWAY] == pytest.approx([0.0, 0.0])
    # Three steps left, hand, talking: 0.85 * (0.6 * 0.34 + 0.4) + 0.15 * 0.32 = 0.5134 + 0.048 = 0.5614.
    assert best[12, Scene.HAND, 0] == pytest.approx(0.5614)
    assert (best[:, Scene.LEAVING_NEAR, 0] == 0).all()
    # Nothing is won or lost before a person stands.
    assert best[0, Scene.EMPTY, 0] == pytest.approx(
        0.6 * best[3, Scene.AWAY, 0] + 0.4 * best[3, Scene.AWAY, 1]
    )
    assert GreetingEnv(num_visits=5).best_return == pytest.approx(5 * best[0, Scene.EMPTY, 0])


def test_every_outcome_is_a_probability():
    for clock, scene, voice, action in np.ndindex(VISIT_STEPS, 8, 2, 4):
        reward, follower, probability = visit_outcome(clock, Scene(scene), bool(voice), action)
        assert reward in (-0.1, 0.0, 1.0)
        assert follower in Scene
        assert 0 <= probability <= 1


def test_the_greeting_oracle_earns_the_best_return():
    env = GreetingEnv()
    returns = returns_of(env, lambda env: env.oracle_action(), 300)
    standard_error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert standard_error < 0.05
    assert returns.mean() == pytest.approx(env.best_return, abs=3 * standard_error)


def test_one_sense_alone_earns_clearly_less_than_both():
    rng = np.random.default_rng(2)
    answer = {Scene.AWAY: Act.LOOK, Scene.FACING: Act.WAVE, Scene.HAND: Act.HANDSHAKE}

    def count_blindly(env):
        if env._is_greeting and env._clock > 7:
            return Act.HANDSHAKE
        return Act.LOOK if env._clock < 6 else Act.WAVE

    policies = {  # the share of the best return that each may earn at most
        "random": (lambda _: rng.integers(4), 0.1),
        "always handshake": (lambda _: Act.HANDSHAKE, 0.0),
        "eye only": (lambda env: answer.get(env._scene, Act.WAIT), 0.5),
        "ear only, looks": (lambda env: Act.HANDSHAKE if env._is_greeting else Act.LOOK, 0.5),
        "ear only, waves": (lambda env: Act.HANDSHAKE if env._is_greeting else Act.WAVE, 0.5),
        "ear only, both": (lambda env: Act.HANDSHAKE if env._is_greeting else rng.integers(1, 3), 0.5),
        "ear only, counts": (count_blindly, 0.9),
    }
    env = GreetingEnv()
    for name, (choose, share) in policies.items():
        mean = returns_of(env, choose, 40).mean()
        assert mean < share * env.best_return, f"{name} earned {mean:.2f} of {env.best_return:.2f}"


def test_the_best_deaf_and_blind_policies_earn_what_the_docstring_says():
    turns = np.array([CHANGES[scene][1][:3] for scene in (Scene.AWAY, Scene.FACING, Scene.HAND)])

    def blind_value(away: float, facing: float, hand: float, num_steps: int) -> float:
        """Best expected reward over all plans, from the probabilities of the three poses."""
        ahead = 0.0
        if num_steps > 1:
            for to_facing, to_hand, withdrawn in turns.T.tolist():
                moved, given, lost = away * to_facing, facing * to_hand, hand * withdrawn
                after = (away - moved, facing + moved - given + lost, hand + given - lost)
                ahead = max(ahead, blind_value(*after, num_steps - 1))
        return 0.4 * max(ahead, hand - 0.1 * (1 - hand)) + 0.6 * ahead

    best = GreetingEnv(num_visits=1).best_return
    assert blind_value(1.0, 0.0, 0.0, 12) / best == pytest.approx(0.81, abs=0.005)
    assert (0.4 - 0.6 * 0.1) / best == pytest.approx(0.35, abs=0.005)  # one handshake, at any held-out hand


def test_what_one_modality_earns_of_the_beacon():
    shares = {
        sense: [BeaconEnv(sense, 20).best_return_of(modality) / 20 for modality in ("video", "audio")]
        for sense in BeaconEnv.SENSES
    }
    assert shares == {"eye": [1, 0.25], "ear": [0.25, 1], "both": [0.5, 0.5], "either": [1, 1]}
    with pytest.raises(ValueError, match="modality must be video or audio, got 'nose'"):
        BeaconEnv().best_return_of("nose")
