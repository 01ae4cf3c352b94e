"""The rules of the greeting world: scenes, acts, what follows on what, and what is earned."""

from enum import IntEnum
from functools import cache

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
GREETING_PROBABILITY = 0.4  # of a standing person's voice, again at every step
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
