"""The pendulum world: swing up and balance a rod whose tip is seen, and heard by its Doppler shift."""

import math
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.worlds.base import AudioVisualWorld, Scenery
from spl.envs.worlds.drawing import PICTURE_SIZE, SAMPLE_RATE_HZ, STEP_SAMPLES
from spl.envs.worlds.pendulum_values import (
    MAX_TORQUE_NM,
    action_values,
    best_mean_return,
    grid_values,
    torques_of,
    turn,
)

NUM_TORQUES = (5, 9)
ROD_PIXELS = 22.0  # the rod's length of 1 m in the picture
NUM_ANGLES = 720  # pictures, one every half degree
HALF_FRAME_M = PICTURE_SIZE / 2 / ROD_PIXELS  # 1.45 m from the pivot to the frame's edge
RECEIVERS_M = ((-HALF_FRAME_M, HALF_FRAME_M), (HALF_FRAME_M, HALF_FRAME_M))  # upper corners; x, y upwards
TONES_HZ = (600.0, 2_400.0)  # partial of the tip's tone to which each receiver is tuned
SOUND_M_S = 16.0  # speed of sound: the fastest tip, 8 m/s, doubles a pitch or takes a third of it
SAMPLES = np.arange(1, STEP_SAMPLES + 1, dtype=np.float32)  # of a step's sound
LOUDEST = 16_000.0  # int16 units, at the least distance
LEAST_DISTANCE_M = math.hypot(HALF_FRAME_M, HALF_FRAME_M) - 1.0


def heard_at_receivers(angle: float, velocity: float) -> list[tuple[float, float]]:
    """Return the pitch (Hz) and the amplitude (int16 units) of the tip's tone at each receiver.

    ``f_i = f0_i c / (c - v_i)`` with the tip's velocity ``v_i`` towards receiver ``i``, and
    ``a_i = a_max (d_min / d_i)^2``.

    Args:
        angle: in radians from upright, clockwise.
        velocity: in radians per second.
    """
    tip_x, tip_y = math.sin(angle), math.cos(angle)  # m, y upwards: the rod is 1 m long
    heard = []
    for (x, y), tone_hz in zip(RECEIVERS_M, TONES_HZ, strict=True):
        distance = math.hypot(x - tip_x, y - tip_y)
        towards = velocity * (tip_y * (x - tip_x) - tip_x * (y - tip_y)) / distance  # m/s
        amplitude = LOUDEST * (LEAST_DISTANCE_M / distance) ** 2
        heard.append((tone_hz * SOUND_M_S / (SOUND_M_S - towards), amplitude))
    return heard


@cache
def pendulum_pictures() -> NDArray[np.uint8]:
    """Return ``(720, 64, 64)`` pictures of the rod with its bob, by angle from upright, clockwise."""
    angles = 2 * np.pi * np.arange(NUM_ANGLES, dtype=np.float32) / NUM_ANGLES
    along = np.stack([np.sin(angles), -np.cos(angles)])[:, :, None, None]  # (2, 720, 1, 1) x, y downwards
    rows, columns = np.mgrid[:PICTURE_SIZE, :PICTURE_SIZE].astype(np.float32) - (PICTURE_SIZE - 1) / 2
    reach = np.clip(along[0] * columns + along[1] * rows, 0, ROD_PIXELS)  # (720, 64, 64) foot on the rod
    from_rod = np.hypot(columns - reach * along[0], rows - reach * along[1])
    from_bob = np.hypot(columns - ROD_PIXELS * along[0], rows - ROD_PIXELS * along[1])
    pictures = 30 + 110 * np.clip(2.0 - from_rod, 0, 1)  # edges one pixel soft: parts of a degree are seen
    bob = np.clip(5.5 - from_bob, 0, 1)
    drawn: NDArray[np.uint8] = (pictures * (1 - bob) + 225 * bob).astype(np.uint8)
    return drawn


class PendulumEnv(AudioVisualWorld):
    """Swing a pendulum up and hold it upright; its tip is seen, and heard at two receivers.

    The physics, the first states and the reward are those of Gymnasium's ``Pendulum-v1``, two frames of
    0.05 s to a decision: an episode is 200 frames, and its return is comparable with published ones. The
    action is one of ``num_torques`` torques evenly spaced in -2..2 N m, or with ``torque="box"`` any torque
    there, as in ``Pendulum-v1``; the last frame's state is shown.

    Either modality suffices. A picture shows the angle, two of them the velocity. Of the sound, the loudness
    at the two receivers tells where the tip is, and the Doppler shift how fast it moves. The receivers sit
    in the picture's upper corners, one in each channel. The tip's tone has two partials and each receiver is
    tuned to one of them (600 and 2,400 Hz, which no shift confuses): so the mono mix keeps both apart and
    says as much as stereo does.

    The best return, -138.4, is that of backward induction on a grid (``pendulum_values``); acting at random
    gives about -1,200. The reward stays that of ``Pendulum-v1``, at most 0: an untrained network's zeros are
    then hopeful, which makes it explore.

    Args:
        num_torques: 5 or 9; with ``torque="box"`` those of the best return alone.
        num_steps: decisions in an episode, positive.
        torque: ``bins``, or ``box``.

    Raises:
        ValueError: if ``num_torques``, ``num_steps``, ``torque`` or ``render_mode`` is not one of the above.

    Source: the pendulum that is heard, Silva et al. (2020), Playing games in the dark: an approach for
    cross-modality transfer in reinforcement learning, rebuilt from its description: Doppler shift, amplitude
    by the inverse square of the distance. Differs: two receivers instead of three, each with a partial of
    its own; discrete torques; sound as a waveform instead of pitches and amplitudes.
    """

    def __init__(
        self,
        num_torques: int = 5,
        num_steps: int = 100,
        render_mode: str | None = None,
        torque: str = "bins",
    ) -> None:
        if num_torques not in NUM_TORQUES:
            raise ValueError(f"num_torques must be 5 or 9, got {num_torques}")
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        if torque not in ("bins", "box"):
            raise ValueError(f"torque must be bins or box, got {torque!r}")
        super().__init__(render_mode, num_actions=num_torques, num_channels=2)
        if torque == "box":
            self.action_space = spaces.Box(-MAX_TORQUE_NM, MAX_TORQUE_NM, (1,), np.float32)
        self._has_bins = torque == "bins"
        self.num_torques, self.num_steps = num_torques, num_steps
        self._angle = self._velocity = 0.0
        self._clock = 0
        self._phases = [0.0, 0.0]  # radians, of the tone at each receiver: it sounds on without a click

    def get_action_meanings(self) -> list[str]:
        """Return the torques in N m."""
        return [f"{torque:+.1f}" for torque in torques_of(self.num_torques)]

    @property
    def best_return(self) -> float:
        """The mean over first states of the values on the grid, -138.4 as a rule.

        Over 1,000 first states the oracle earns 0.1 more (standard error 0.3), and grids of two and four
        times as many points put it at -138.1 and -137.9: it is within 1 of the optimum.
        """
        return best_mean_return(self.num_torques, self.num_steps)

    def oracle_action(self) -> int:
        """Return the best action by the values on the grid at the true angle, velocity and clock."""
        steps_left = self.num_steps - self._clock
        values = grid_values(self.num_torques, self.num_steps)[steps_left - 1]
        return int(np.argmax(action_values(self._angle, self._velocity, self.num_torques, values)))

    def _begin(self) -> None:
        self._clock = 0
        draw = self.np_random.uniform
        self._angle, self._velocity = float(draw(-np.pi, np.pi)), float(draw(-1.0, 1.0))
        self._phases = draw(0.0, 2 * math.pi, size=2).tolist()

    def _advance(self, action: Any) -> tuple[float, bool]:
        torque = torques_of(self.num_torques)[action] if self._has_bins else action
        angle, velocity, cost = turn(np.asarray(self._angle), np.asarray(self._velocity), torque)
        self._angle, self._velocity = float(angle), float(velocity)
        self._clock += 1
        return -float(cost), self._clock == self.num_steps

    def _scenery(self) -> Scenery:
        picture = pendulum_pictures()[round(self._angle / (2 * np.pi) * NUM_ANGLES) % NUM_ANGLES]
        sound = np.empty((STEP_SAMPLES, len(RECEIVERS_M)), np.int16)
        for i, (pitch_hz, amplitude) in enumerate(heard_at_receivers(self._angle, self._velocity)):
            per_sample = 2 * math.pi * pitch_hz / SAMPLE_RATE_HZ  # radians
            wave = SAMPLES * np.float32(per_sample)
            wave += np.float32(self._phases[i])
            np.sin(wave, out=wave)
            wave *= np.float32(amplitude)
            sound[:, i] = wave
            self._phases[i] = (self._phases[i] + STEP_SAMPLES * per_sample) % (2 * math.pi)
        return picture, sound
