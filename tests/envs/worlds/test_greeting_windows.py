"""What the last steps heard can earn in the greeting world: by hand, and by playing the policies."""

import numpy as np
import pytest

from spl.envs.worlds.greeting import GreetingEnv
from spl.envs.worlds.greeting_optimum import best_visit_return
from spl.envs.worlds.greeting_rules import VISIT_STEPS, Act, Scene, visit_outcome
from spl.envs.worlds.greeting_windows import best_heard_by_window, pose_changes, window_values


def reactive_value(choose) -> float:
    """Return the exact value of a visit under acts by scene and voice, summed over all that may happen."""
    chances, value = {(Scene.EMPTY, False): 1.0}, 0.0
    for clock in range(VISIT_STEPS):
        after: dict[tuple[Scene, bool], float] = {}
        for (scene, is_greeting), chance in chances.items():
            reward, follower, p = visit_outcome(clock, scene, is_greeting, choose(scene, is_greeting))
            value += chance * reward
            for next_scene, q in ((follower, p), (scene, 1 - p)):
                is_standing = next_scene in (Scene.AWAY, Scene.FACING, Scene.HAND)
                for voice, v in ((True, 0.4 * is_standing), (False, 1 - 0.4 * is_standing)):
                    after[next_scene, voice] = after.get((next_scene, voice), 0.0) + chance * q * v
        chances = after
    return value


@pytest.mark.parametrize("acts", [(Act.LOOK, Act.HANDSHAKE), (Act.WAVE, Act.LOOK), (Act.HANDSHAKE, Act.WAIT)])
def test_the_value_of_a_window_of_one_step_is_that_of_the_voice(acts):
    def choose(scene, is_greeting):
        return acts[is_greeting] if scene in (Scene.AWAY, Scene.FACING, Scene.HAND) else Act.WAIT

    assert window_values(np.array([acts]), 1)[0] == pytest.approx(reactive_value(choose))


@pytest.mark.parametrize("history", [1, 2, 3])
def test_policies_by_window_earn_what_is_computed(history):
    rng = np.random.default_rng(history)
    policy = rng.choice([Act.LOOK, Act.WAVE, Act.WAVE, Act.HANDSHAKE], size=2 ** (history + 1) - 2)
    env = GreetingEnv(num_visits=400)
    env.reset(seed=0)
    total, heard, terminated = 0.0, [], False
    while not terminated:
        is_standing = env._scene in (Scene.AWAY, Scene.FACING, Scene.HAND)
        heard = [*heard, int(env._is_greeting)] if is_standing else []
        window = heard[-history:]
        bits = sum(bit << i for i, bit in enumerate(reversed(window)))
        action = policy[2 ** len(window) - 2 + bits] if window else Act.WAIT
        _, reward, terminated, _, _ = env.step(action)
        total += reward
    expected = window_values(policy[None], history)[0]
    assert total / 400 == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(400))


def test_a_longer_memory_is_worth_more():
    values = [best_heard_by_window(history) for history in (1, 2, 3, 4)]
    values.append(best_visit_return("audio", has_memory=True))
    assert values[0] == pytest.approx(best_visit_return("audio", has_memory=False))
    assert values == sorted(values)
    with pytest.raises(ValueError, match=r"history must be in 1\.\.4 steps, got 5"):
        best_heard_by_window(5)
    assert 6 * np.array(values) == pytest.approx([0.0, 2.92, 4.26, 4.65, 4.78], abs=0.01)


def test_acts_that_are_no_nudge_leave_the_pose_to_nobody():
    changes = pose_changes()
    assert changes.sum(axis=2).tolist() == [[1, 1, 1]] * 3 + [[0, 0, 0]]
    assert changes[Act.LOOK, 0].tolist() == pytest.approx([0.2, 0.8, 0])
