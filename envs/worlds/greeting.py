"""The greeting world: whom to greet is seen and heard, with an oracle and a known best return."""

from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spl.envs.worlds.base import AudioVisualWorld, Scenery
from spl.envs.worlds.drawing import greeting_pictures, greeting_sounds

Act = IntEnum("Act", "WAIT LOOK WAVE HANDSHAKE", start=0)
# What is to be seen in the greeting world; the poses of a standing person are scenes like the others.
Scene = IntEnum("Scene", "EMPTY COMING_FAR COMING_NEAR AWAY FACING HAND LEAVING_NEAR LEAVING_FAR", start=0)
STANDING = (Scene.AWAY, Scene.FACING, Scene.HAND)
LEAVING = (Scene.LEAVING_NEAR, Scene.LEAVING_FAR)
# The scene that may follow and how likely it does after each act; otherwise the scene stays. The zeros are
# never read: ``visit_outcome`` sends away whoever comes or stands and is offered a handshake.
CHANGES = {
    Scene.EMPTY: (Scene.COMING_FAR, (1.0, 1.0, 1.0, 1.0)),  # at a visit's first step only
    Scene.COMING_FAR: (Scene.COMING_NEAR, (1.0, 1.0, 1.0, 0.0)),
    Scene.COMING_NEAR: (Scene.AWAY, (1.0, 1.0, 1.0, 0.0)),
    Scene.AWAY: (Scene.FACING, (0.1, 0.8, 0.1, 0.0)),
    Scene.FACING: (Scene.HAND, (0.1, 0.1, 0.8, 0.0)),
    Scene.HAND: (Scene.FACING, (0.15, 0.15, 0.15, 0.0)),
    Scene.LEAVING_NEAR: (Scene.LEAVING_FAR, (1.0, 1.0, 1.0, 1.0)),
    Scene.LEAVING_FAR: (Scene.EMPTY, (1.0, 1.0, 1.0, 1.0)),
}
GREETING_PROBABILITY = 0.4  # of a standing person's voice, anew at every step
TAKEN_REWARD, REFUSED_REWARD = 1.0, -0.1
VISIT_STEPS = 18
LAST_STANDING_CLOCK = 14  # one step of empty room, two of coming, at most twelve of standing


@cache
def visit_outcome(clock: int, scene: Scene, is_greeting: bool, action: int) -> tuple[float, Scene, float]:
    """Return an action's reward, the scene that may follow and its probability; otherwise the scene stays.

    The only statement of the dynamics: the simulator draws from it and the oracle averages over it.

    Args:
        clock: step within the visit, 0..17.
        scene: what is to be seen.
        is_greeting: whether a standing person greets the robot, rather than talks to somebody else.
        action: one of ``Act``.
    """
    reward, is_farewell = 0.0, False
    if action == Act.HANDSHAKE and scene != Scene.EMPTY:
        reward = TAKEN_REWARD if scene == Scene.HAND and is_greeting else REFUSED_REWARD
        is_farewell = scene not in LEAVING  # shaken or put off, the person goes at once
    if is_farewell or (scene in STANDING and clock >= LAST_STANDING_CLOCK):
        return reward, Scene.LEAVING_NEAR, 1.0
    follower, probabilities = CHANGES[scene]
    is_empty_for_good = scene == Scene.EMPTY and clock > 0
    return reward, follower, 0.0 if is_empty_for_good else probabilities[action]


@cache
def visit_action_values() -> NDArray[np.float64]:
    """Return the best expected reward of the rest of a visit by clock, scene, voice and action.

    Exact backward induction, undiscounted: ``q = r + sum_s' p(s') E_voice max_a' q'(s', voice, a')``.

    Returns:
        ``(18, 8, 2, 4)``, read-only; voice 1 is a greeting; where nobody stands only voice 0 occurs.
    """
    values = np.zeros((VISIT_STEPS, len(Scene), 2, len(Act)))
    ahead = np.zeros(len(Scene))  # mean over the voice of the best value one step on
    for clock in reversed(range(VISIT_STEPS)):
        for scene, voice, action in np.ndindex(values.shape[1:]):
            reward, follower, p = visit_outcome(clock, Scene(scene), bool(voice), action)
            values[clock, scene, voice, action] = reward + p * ahead[follower] + (1 - p) * ahead[scene]
        best = values[clock].max(axis=2)  # (8, 2)
        p_greeting = np.array([GREETING_PROBABILITY * (scene in STANDING) for scene in Scene])
        ahead = best[:, 0] + p_greeting * (best[:, 1] - best[:, 0])
    values.flags.writeable = False
    return values


class GreetingEnv(AudioVisualWorld):
    """A robot earns handshakes from visitors: +1 for one that is taken, -0.1 for one that is refused.

    A visit has 18 steps: the empty room, a person coming (2), standing (at most 12), leaving (2), and the
    empty room again. A hand is taken only while it is held out, which is seen, and the person greets the
    robot rather than talks to somebody else, which is heard. While the person stands, the picture does not
    depend on the voice nor the sound on the pose. ``CHANGES`` and ``visit_outcome`` have the rules. The
    episode terminates after the last visit, when the robot's shift is over.

    The best deaf policy gets 35 % of the best return. The best blind one gets 81 %, but only by counting
    steps since the footsteps: it looks three times, then waves, and shakes at a greeting once a hand is
    likely. A blind policy without memory gets far less.

    Args:
        num_visits: visits in an episode, positive.

    Raises:
        ValueError: if ``num_visits`` or ``render_mode`` is not one of the above.

    Source: Qureshi et al. (2016), Robot gains social intelligence through multimodal deep reinforcement
    learning. Differs: their people are real and the second stream is depth; ours are a small Markov process
    and the second stream is sound.
    """

    def __init__(self, num_visits: int = 6, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if num_visits < 1:
            raise ValueError(f"num_visits must be at least 1, got {num_visits}")
        self.num_visits = num_visits
        self._begin()

    def get_action_meanings(self) -> list[str]:
        """Return the four acts."""
        return [act.name for act in Act]

    @property
    def best_return(self) -> float:
        """``num_visits`` times the value of one visit, exact up to rounding."""
        return float(self.num_visits * visit_action_values()[0, Scene.EMPTY, 0].max())

    def oracle_action(self) -> int:
        """Return the first of the best actions for the true clock, scene and voice."""
        return int(visit_action_values()[self._clock, self._scene, int(self._is_greeting)].argmax())

    def _begin(self) -> None:
        self._visit = self._clock = 0
        self._scene, self._is_greeting = Scene.EMPTY, False

    def _advance(self, action: int) -> tuple[float, bool]:
        reward, follower, p = visit_outcome(self._clock, self._scene, self._is_greeting, action)
        scene_draw, voice_draw = self.np_random.random(2).tolist()
        self._scene = follower if scene_draw < p else self._scene
        self._is_greeting = self._scene in STANDING and voice_draw < GREETING_PROBABILITY
        num_visits_over, self._clock = divmod(self._clock + 1, VISIT_STEPS)
        self._visit += num_visits_over
        return reward, self._visit == self.num_visits

    def _scenery(self) -> Scenery:
        voice = "talking" if self._scene in STANDING else self._scene.name
        return greeting_pictures()[self._scene], greeting_sounds()["greeting" if self._is_greeting else voice]
