"""The shooter: enemies and their fire are seen, and heard at four receivers; with an oracle."""

from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spl.envs.worlds.base import AudioVisualWorld, Scenery
from spl.envs.worlds.drawing import PICTURE_SIZE, SAMPLE_RATE_HZ, STEP_SAMPLES

Act = IntEnum("Act", "LEFT RIGHT SHOOT NOOP", start=0)
NUM_COLUMNS = 5  # of the field, and as many rows: the enemy in the highest, the ship in the lowest
PITCH = 13  # pixels from a column or row to the next
FIRE_STEPS = 3  # rows between the enemy's and the ship's: fire falls one a step
NUM_FIRES = 1 + NUM_COLUMNS * FIRE_STEPS  # none, or where it is
FIRE_PROBABILITY = 0.5  # of an enemy that has no fire under way, at each step
MOVE_PROBABILITY = 0.25  # of an enemy, to either side
KILL_REWARD, HIT_REWARD = 1.0, -1.0
DECAY = 1.25  # columns over which a sound falls to 1 / e
LOUDEST = 5_000.0  # int16 units of one source at one receiver
RECEIVERS = ((0.0, 0.0), (0.0, 5.0), (5.0, 0.0), (5.0, 5.0))  # x, y downwards, in cells: left, then right
TONES_HZ = {  # a source's partials, one for each receiver, all whole periods of a step
    "ship": (300, 500, 400, 620),
    "enemy": (1_000, 1_250, 1_120, 1_400),
    "fire": (2_100, 2_800, 2_400, 3_300),
}


def fire_index(column: int, height: int) -> int:
    """Return the number of the fire 3, 2 or 1 steps (``height``) above the ship's row; 0 is none."""
    return 1 + column * FIRE_STEPS + height - 1


@cache
def enemy_moves() -> NDArray[np.float64]:
    """Return ``(5, 5)``: how likely an enemy goes from a column to another in a step; walls hold it."""
    moves = np.zeros((NUM_COLUMNS, NUM_COLUMNS))
    for column in range(NUM_COLUMNS):
        for step, p in ((-1, MOVE_PROBABILITY), (0, 1 - 2 * MOVE_PROBABILITY), (1, MOVE_PROBABILITY)):
            moves[column, min(max(column + step, 0), NUM_COLUMNS - 1)] += p
    return moves


def act_on(ship: int, enemy: int, fire: int, action: int) -> tuple[int, bool, int, bool]:
    """Return the ship's column, whether the enemy is shot, the fire one step on and whether it hits.

    The shot goes first, then the ship moves, then the fire falls: what stands one step above the ship's row
    hits a ship that does not leave its column.
    """
    is_kill = action == Act.SHOOT and ship == enemy
    moved = ship + {Act.LEFT: -1, Act.RIGHT: 1}.get(Act(action), 0)
    ship = min(max(moved, 0), NUM_COLUMNS - 1)
    if fire == 0:
        return ship, is_kill, 0, False
    column, lower = divmod(fire - 1, FIRE_STEPS)
    return (ship, is_kill, fire - 1, False) if lower else (ship, is_kill, 0, column == ship)


@cache
def action_values(num_steps: int) -> NDArray[np.float64]:
    """Return the best expected reward of the rest of an episode, undiscounted, by exact backward induction.

    Returns:
        ``(num_steps + 1, 5, 5, 16, 4)`` by steps left, ship, enemy, fire and action, read-only.
    """
    shape = (NUM_COLUMNS, NUM_COLUMNS, NUM_FIRES, len(Act))
    outcomes = np.array([act_on(*state) for state in np.ndindex(shape)]).reshape(*shape, 4)
    ship, is_kill, fire, is_hit = np.moveaxis(outcomes, -1, 0)
    rewards = KILL_REWARD * is_kill + HIT_REWARD * is_hit
    columns = np.arange(NUM_COLUMNS)
    # Where the enemy comes from; 5: a new one.
    before = np.where(is_kill, NUM_COLUMNS, columns[:, None, None])
    moves = np.vstack([enemy_moves(), np.full(NUM_COLUMNS, 1 / NUM_COLUMNS)])  # (6, 5)
    values = np.zeros((num_steps + 1, *shape))
    for n in range(1, num_steps + 1):
        ahead = values[n - 1].max(axis=3)  # (5, 5, 16)
        fired = ahead[:, columns, [fire_index(column, FIRE_STEPS) for column in range(NUM_COLUMNS)]]  # (5, 5)
        ahead[:, :, 0] += FIRE_PROBABILITY * (fired - ahead[:, :, 0])
        expected = np.einsum("be,sef->sbf", moves, ahead)  # (5, 6, 16): over where the enemy goes
        values[n] = rewards + np.where(is_hit, 0.0, expected[ship, before, fire])
    values.flags.writeable = False
    return values


@cache
def hyperhot_sounds() -> dict[str, NDArray[np.int16]]:
    """Return each source's sound by where it is, ``(places, 3200, 2)``: a random start is a random phase.

    Receiver ``i`` hears a source at distance ``d`` columns as its own partial of that source's tone, with
    the amplitude ``a_max exp(-d / 1.25)``. The left channel holds the two left receivers, the right the
    others.
    """
    columns = np.arange(NUM_COLUMNS) + 0.5
    places = {
        "ship": [(x, 4.5) for x in columns],
        "enemy": [(x, 0.5) for x in columns],
        "fire": [(x, 4.5 - height) for x in columns for height in range(1, FIRE_STEPS + 1)],
    }
    seconds = np.arange(2 * STEP_SAMPLES) / SAMPLE_RATE_HZ
    sounds = {}
    for source, where in places.items():
        distances = np.hypot(*(np.array(where)[:, None] - np.array(RECEIVERS)).transpose(2, 0, 1))
        amplitudes = LOUDEST * np.exp(-distances / DECAY)  # (places, 4)
        tones = np.sin(2 * np.pi * np.array(TONES_HZ[source])[:, None] * seconds)  # (4, 3200)
        heard = (amplitudes[:, :, None] * tones).reshape(len(where), 2, 2, -1).sum(axis=2)
        sounds[source] = heard.transpose(0, 2, 1).astype(np.int16)
    return sounds


def _stamp(rows: list[str], grey: int) -> NDArray[np.uint8]:
    return np.array([[grey * (pixel == "#") for pixel in row] for row in rows], np.uint8)


def _draw(picture: NDArray[np.uint8], stamp: NDArray[np.uint8], row: int, column: int) -> None:
    picture[row * PITCH :, column * PITCH :][: len(stamp), : len(stamp)] = stamp


SHIP = _stamp(
    [
        ".....##.....",
        ".....##.....",
        "....####....",
        "....####....",
        "...######...",
        "..########..",
        ".##########.",
        "############",
        "############",
        "####....####",
        "##........##",
        "#..........#",
    ],
    160,
)
ENEMY = _stamp(
    [
        "#..........#",
        ".#........#.",
        "..########..",
        ".##########.",
        "###..##..###",
        "###..##..###",
        "############",
        "############",
        ".##########.",
        "..##.##.##..",
        ".##..##..##.",
        "##........##",
    ],
    220,
)
FIRE = _stamp(
    [
        "............",
        "....####....",
        "...######...",
        "...######...",
        "...######...",
        "...######...",
        "...######...",
        "....####....",
        "....####....",
        "....####....",
        ".....##.....",
        ".....##.....",
    ],
    190,
)


class HyperhotEnv(AudioVisualWorld):
    """Shoot enemies and dodge their fire: +1 for an enemy that is shot, -1 for being hit, which ends it.

    The ship moves in the lowest of five rows, one column a step, and shoots straight up, which hits an
    enemy in its column at once. An enemy in the highest row stays (1/2) or goes one column to either side
    (1/4 each), and where no fire of its is under way, it fires with probability 1/2: that falls straight
    down and reaches the ship's row three steps later. A new enemy enters at any column in place of one that
    was shot. An episode ends when the ship is hit, or after ``num_steps``.

    Either modality suffices: a single picture shows where ship, enemy and fire are, and so does a single
    step's sound. Each of the three has a tone of its own, heard at four receivers in the corners of the
    frame, the louder the nearer; each receiver is tuned to a partial of its own, so that the mono mix keeps
    them apart. What is won by one modality alone is therefore ``best_return``, too, exact by backward
    induction.

    Args:
        num_steps: of an episode in which the ship is not hit, positive.

    Raises:
        ValueError: if ``num_steps`` or ``render_mode`` is not one of the above.

    Source: Hyperhot, Silva et al. (2020), Playing games in the dark: an approach for cross-modality
    transfer in reinforcement learning, rebuilt from its description: a shooter from above, a tone for each
    kind of thing, amplitudes that decay exponentially with the distance to four receivers. Differs: one
    enemy at a time on a grid, so that the optimum is exact; a partial for each receiver.
    """

    def __init__(self, num_steps: int = 64, render_mode: str | None = None) -> None:
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        super().__init__(render_mode, num_actions=len(Act), num_channels=2)
        self.num_steps = num_steps
        self._ship = self._enemy = self._fire = self._clock = 0

    def get_action_meanings(self) -> list[str]:
        """Return the four acts."""
        return [act.name for act in Act]

    @property
    def best_return(self) -> float:
        """The mean over first states of the best expected return, exact up to rounding."""
        return float(action_values(self.num_steps)[self.num_steps, :, :, 0].max(axis=2).mean())

    def oracle_action(self) -> int:
        """Return the first of the best actions for the true ship, enemy, fire and clock."""
        steps_left = self.num_steps - self._clock
        return int(action_values(self.num_steps)[steps_left, self._ship, self._enemy, self._fire].argmax())

    def _begin(self) -> None:
        self._ship, self._enemy = self.np_random.integers(NUM_COLUMNS, size=2).tolist()
        self._fire = self._clock = 0

    def _advance(self, action: int) -> tuple[float, bool]:
        self._ship, is_kill, self._fire, is_hit = act_on(self._ship, self._enemy, self._fire, action)
        move_draw, fire_draw = self.np_random.random(2).tolist()
        if is_kill:
            self._enemy = int(move_draw * NUM_COLUMNS)
        else:
            step = (move_draw >= 1 - MOVE_PROBABILITY) - (move_draw < MOVE_PROBABILITY)
            self._enemy = min(max(self._enemy + step, 0), NUM_COLUMNS - 1)
        if self._fire == 0 and fire_draw < FIRE_PROBABILITY:
            self._fire = fire_index(self._enemy, FIRE_STEPS)
        self._clock += 1
        return KILL_REWARD * is_kill + HIT_REWARD * is_hit, is_hit or self._clock == self.num_steps

    def _scenery(self) -> Scenery:
        sounds = hyperhot_sounds()
        sound = sounds["ship"][self._ship] + sounds["enemy"][self._enemy]
        picture = np.zeros((PICTURE_SIZE, PICTURE_SIZE), np.uint8)
        _draw(picture, SHIP, FIRE_STEPS + 1, self._ship)
        _draw(picture, ENEMY, 0, self._enemy)
        if self._fire:
            sound = sound + sounds["fire"][self._fire - 1]
            column, lower = divmod(self._fire - 1, FIRE_STEPS)
            _draw(picture, FIRE, FIRE_STEPS - lower, column)
        return picture, sound
