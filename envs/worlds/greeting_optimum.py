"""What the best robots earn in the greeting world, with both modalities and with one alone; all exact.

The dynamics are those of ``greeting_rules.visit_outcome``; nothing about them is said twice.
"""

from functools import cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spl.envs.worlds.greeting_rules import (
    GREETING_PROBABILITY,
    LAST_STANDING_CLOCK,
    STANDING,
    VISIT_STEPS,
    Act,
    Scene,
    visit_outcome,
)

Modality = Literal["video", "audio"]
FIRST_STANDING_CLOCK = 3  # after the empty room and two steps of coming
STAYING = (Act.WAIT, Act.LOOK, Act.WAVE)  # a handshake ends the visit


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


@cache
def best_visit_return(modality: Modality, *, has_memory: bool) -> float:
    """Return the best expected return of a visit of 18 steps that is seen only, or heard only.

    With memory: over all policies that know every picture (or sound) and action of the visit so far.
    Without: over all deterministic policies of the newest picture (or sound) alone.

    Args:
        modality: ``video``: the scene is known, never the voice. ``audio``: where somebody stands the voice
            is known, never the pose; elsewhere the scene is.
        has_memory: whether the policy may depend on what was before.

    Raises:
        ValueError: for another modality.
    """
    if modality not in ("video", "audio"):
        raise ValueError(f"modality must be 'video' or 'audio', got {modality!r}")
    if not has_memory:
        return _best_reactive(modality)
    return _best_sighted() if modality == "video" else _best_hearing()


def _best_sighted() -> float:
    """Return the best visit by video: ``v = max_a E_voice r + E_s' v'``, backwards over the clock.

    The voice is drawn again at every step and moves nobody, so that the past says nothing about it.
    """
    ahead = np.zeros(len(Scene))
    for clock in reversed(range(VISIT_STEPS)):
        values = np.empty((len(Scene), len(Act)))
        for scene, action in np.ndindex(values.shape):
            talked, follower, p = visit_outcome(clock, Scene(scene), False, action)
            greeted, _, _ = visit_outcome(clock, Scene(scene), True, action)
            p_greeting = GREETING_PROBABILITY * (scene in STANDING)
            reward = talked + p_greeting * (greeted - talked)
            values[scene, action] = reward + p * ahead[follower] + (1 - p) * ahead[scene]
        ahead = values.max(axis=1)
    return float(ahead[Scene.EMPTY])


def _best_hearing() -> float:
    """Return the best visit by audio, by induction over what may be believed about the pose.

    Footsteps tell the clock. While the person stands, sounds say nothing about the pose, so that the belief
    ``b (3,)`` over `STANDING` follows from the actions alone: ``b' = T_a b``, all 3^11 sequences of them.
    ``v(b) = E_voice max(r(b, voice, shake), max_a v'(T_a b))``; nothing is earned before and after.
    """
    beliefs = [np.eye(len(STANDING))[[STANDING.index(Scene.AWAY)]]]  # (1, 3)
    clocks = range(FIRST_STANDING_CLOCK, LAST_STANDING_CLOCK + 1)
    for clock in clocks[:-1]:  # (3^k, 3) at the k-th
        moves = np.stack([_pose_moves(clock, action) for action in STAYING])  # (3, from, to)
        beliefs.append(np.einsum("bi,aij->baj", beliefs[-1], moves).reshape(-1, len(STANDING)))
    ahead = np.zeros(len(beliefs[-1]))  # of staying, by belief
    for clock in reversed(clocks):
        belief = beliefs.pop()
        values = np.zeros(len(belief))
        for is_greeting, p in ((True, GREETING_PROBABILITY), (False, 1 - GREETING_PROBABILITY)):
            rewards = [visit_outcome(clock, scene, is_greeting, Act.HANDSHAKE)[0] for scene in STANDING]
            values += p * np.maximum(belief @ np.array(rewards), ahead)
        ahead = values.reshape(-1, len(STAYING)).max(axis=1) if len(values) > 1 else values
    return float(ahead[0])


def _pose_moves(clock: int, action: Act) -> NDArray[np.float64]:
    """Return ``(3, 3)``: how likely each pose of `STANDING` turns into each, after an action that stays."""
    moves = np.zeros((len(STANDING), len(STANDING)))
    for place, scene in enumerate(STANDING):
        _, follower, p = visit_outcome(clock, scene, False, action)
        moves[place, STANDING.index(follower)] += p
        moves[place, place] += 1 - p
    return moves


def _best_reactive(modality: Modality) -> float:
    """Return the best visit over all tables from what is newly seen, or heard, to an action.

    All tables are evaluated backwards over the clock at once, each for every scene and voice.
    """
    states = list(product(Scene, (False, True)))
    shown = [_shown(modality, scene, is_greeting) for scene, is_greeting in states]
    kinds = sorted(set(shown))
    tables = np.array(list(product(Act, repeat=len(kinds))))  # (policies, kinds)
    ahead = np.zeros((len(Scene), len(tables)))  # mean over the voice
    for clock in reversed(range(VISIT_STEPS)):
        values = np.zeros((len(Scene), 2, len(tables)))
        for (scene, is_greeting), seen in zip(states, shown, strict=True):
            chosen = tables[:, kinds.index(seen)]
            for action in Act:
                reward, follower, p = visit_outcome(clock, scene, is_greeting, action)
                value = reward + p * ahead[follower] + (1 - p) * ahead[scene]
                values[scene, int(is_greeting)] = np.where(
                    chosen == action, value, values[scene, int(is_greeting)]
                )
        p_greeting = np.array([GREETING_PROBABILITY * (scene in STANDING) for scene in Scene])[:, None]
        ahead = values[:, 0] + p_greeting * (values[:, 1] - values[:, 0])
    return float(ahead[Scene.EMPTY].max())


def _shown(modality: Modality, scene: Scene, is_greeting: bool) -> str:
    """Return the name of what a state shows to one modality."""
    if modality == "audio" and scene in STANDING:
        return "greeting" if is_greeting else "talking"
    return scene.name
