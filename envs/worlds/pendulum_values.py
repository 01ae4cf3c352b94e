"""How the pendulum turns, for one state or for arrays of them, and the best return from a state."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

FRAME_S, FRAMES_PER_STEP = 0.05, 2
GRAVITY_M_S2, MAX_TORQUE_NM, MAX_SPEED = 10.0, 2.0, 8.0  # the rod: 1 kg, 1 m; radians per second
NUM_ANGLES, NUM_SPEEDS = 240, 181  # of the grid: 1.5 degrees, 0.09 rad/s

Numbers = NDArray[np.float64]


@cache
def torques_of(num_torques: int) -> list[float]:
    """Return the torques (N m) of the actions, evenly spaced over -2..2."""
    return [float(torque) for torque in np.linspace(-MAX_TORQUE_NM, MAX_TORQUE_NM, num_torques)]


def turn(angle: Numbers, velocity: Numbers, torque: float) -> tuple[Numbers, Numbers, Numbers]:
    """Return angle, velocity and cost one decision on, which is two frames of ``Pendulum-v1``.

    ``cost = theta^2 + 0.1 theta'^2 + 0.001 u^2`` of the state before each frame, summed;
    ``theta'' = 3 g / (2 l) sin(theta) + 3 u / (m l^2)``, velocity first (semi-implicit Euler), cut at 8.

    Args:
        angle: radians from upright, in -pi..pi.
        velocity: radians per second.
        torque: N m.

    Source: Gymnasium 1.x, ``gymnasium.envs.classic_control.pendulum``. Differs: the angle is kept in -pi..pi.
    """
    cost = 0.0 * angle
    for _ in range(FRAMES_PER_STEP):
        cost = cost + angle * angle + 0.1 * velocity * velocity + 0.001 * torque**2
        velocity = velocity + (1.5 * GRAVITY_M_S2 * np.sin(angle) + 3.0 * torque) * FRAME_S
        velocity = np.minimum(np.maximum(velocity, -MAX_SPEED), MAX_SPEED)
        angle = (angle + velocity * FRAME_S + np.pi) % (2 * np.pi) - np.pi
    return angle, velocity, cost


@cache
def grid_values(num_torques: int, num_steps: int) -> NDArray[np.float32]:
    """Return the best return by steps left, angle and velocity on the grid.

    Backward induction over decisions, undiscounted, with bilinear interpolation between the grid's points:
    ``V_n(s) = max_u -cost(s, u) + V_{n-1}(s')``, ``V_0 = 0``.

    Returns:
        ``(num_steps + 1, 240, 181)``, read-only; angles from -pi, velocities from -8 rad/s.
    """
    angles = -np.pi + 2 * np.pi * np.arange(NUM_ANGLES) / NUM_ANGLES
    speeds = np.linspace(-MAX_SPEED, MAX_SPEED, NUM_SPEEDS)
    angle, speed = (axis.ravel() for axis in np.meshgrid(angles, speeds, indexing="ij"))
    outcomes = [turn(angle, speed, torque) for torque in torques_of(num_torques)]
    costs = np.stack([cost for _, _, cost in outcomes]).astype(np.float32)  # (A, points)
    index, weights = _corners(*(np.stack([outcome[i] for outcome in outcomes]) for i in range(2)))
    values = np.zeros((num_steps + 1, angle.size), np.float32)
    for n in range(1, num_steps + 1):
        ahead = sum(w * values[n - 1][i] for i, w in zip(index, weights, strict=True))  # (A, points)
        values[n] = (ahead - costs).max(axis=0)
    values.flags.writeable = False
    return values.reshape(num_steps + 1, NUM_ANGLES, NUM_SPEEDS)


def action_values(angle: float, velocity: float, num_torques: int, after: NDArray[np.float32]) -> list[float]:
    """Return the value of each torque in a state, by one decision and the grid's ``(240, 181)`` after it."""
    found, ahead = [], after.ravel()
    for torque in torques_of(num_torques):
        next_angle, next_velocity, cost = turn(np.asarray(angle), np.asarray(velocity), torque)
        index, weights = _corners(next_angle, next_velocity)
        found.append(float(sum(w * ahead[i] for i, w in zip(index, weights, strict=True)) - cost))
    return found


def best_mean_return(num_torques: int, num_steps: int) -> float:
    """Return the grid's mean value over the first states: any angle, -1..1 rad/s, both uniform."""
    speeds = np.linspace(-MAX_SPEED, MAX_SPEED, NUM_SPEEDS)
    first = grid_values(num_torques, num_steps)[num_steps].mean(axis=0)  # (181,) over angles
    return float(np.interp(np.linspace(-1.0, 1.0, 201), speeds, first).mean())


def _corners(angle: Numbers, velocity: Numbers) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]]:
    """Return the four grid points around each state, as indices into the flat grid, and their weights."""
    row = (angle + np.pi) / (2 * np.pi) * NUM_ANGLES
    column = (velocity + MAX_SPEED) / (2 * MAX_SPEED) * (NUM_SPEEDS - 1)
    left = np.minimum(np.floor(column), NUM_SPEEDS - 2).astype(np.int64)
    top = np.floor(row).astype(np.int64)
    down, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
    rows = (top % NUM_ANGLES, (top + 1) % NUM_ANGLES)
    index = [r * NUM_SPEEDS + left + step for r in rows for step in (0, 1)]
    weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    return index, weights
