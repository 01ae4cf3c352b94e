"""Rendering for the worlds: images of ellipses and int16 sound, all plain NumPy.

Which of them a state shows, where it stands and the noise on top belong to each world.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
STEP_SAMPLES = 1_600  # sound of one step: 0.1 s
PICTURE_SIZE = 64  # rows and columns
JITTER = 4  # columns by which a figure may stand left or right of its place
TONES_HZ = (400, 800, 1_600, 3_200)  # of the beacon

Ellipse = tuple[float, float, float, float, int]  # x, y, half width, half height, grey level


@cache
def beacon_pictures() -> list[NDArray[np.uint8]]:
    """Return four ``(64, 72)`` pictures with a blob up, right, down and left."""
    centres = ((36, 12), (56, 32), (36, 52), (16, 32))  # x, y
    return [_picture([(x, y, 7, 7, 220)], wall=20, floor=20) for x, y in centres]


@cache
def beacon_tones() -> list[NDArray[np.int16]]:
    """Return four tones, long enough that a random start is a random phase."""
    seconds = np.arange(2 * STEP_SAMPLES) / SAMPLE_RATE_HZ
    return [_sound(np.sin(2 * np.pi * hz * seconds)) for hz in TONES_HZ]


@cache
def greeting_pictures() -> list[NDArray[np.uint8]]:
    """Return the ``(64, 72)`` picture of every scene, in the order of ``greeting.Scene``."""
    coming, leaving = ([_figure(scale, has_face) for scale in (0.4, 0.65)] for has_face in (True, False))
    away, facing = _figure(1, has_face=False), _figure(1, has_face=True)
    arm: list[Ellipse] = [(46 - i, 28 + 2 * i, 3 + 0.4 * i, 3 + 0.4 * i, 215) for i in range(8)]
    fingers: list[Ellipse] = [(30 + 4 * i, 53, 1.7, 6, 230) for i in range(4)]
    hand: list[Ellipse] = [(36, 45, 8, 7, 230), *fingers]
    figures = [[], *coming, away, facing, facing + arm + hand, *reversed(leaving)]
    return [_picture(figure, wall=50, floor=85) for figure in figures]


@cache
def greeting_sounds() -> dict[str, NDArray[np.int16]]:
    """Return the sounds by voice (``greeting``, ``talking``) and, where nobody stands, by scene name."""
    seconds = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    click = seconds % 0.1  # one footstep in every step's sound
    footsteps = np.exp(-300 * click) * np.sin(2 * np.pi * 2_500 * click)
    murmurs = ((110, 7), (170, 5), (230, 11), (310, 8))  # pitch and syllables, both in Hz
    babble = [np.sin(2 * np.pi * hz * seconds) * np.sin(np.pi * beat * seconds) ** 2 for hz, beat in murmurs]
    hello = np.pad(np.concatenate([_chirp(600, 800, 600), _chirp(1_000, 1_800, 800)]), 200)
    bye = np.pad(_chirp(1_200, 400, 1_400), 200) + footsteps[:1_800]
    return {
        "greeting": _sound(hello),
        "talking": _sound(0.4 * np.sum(babble, axis=0)),
        "EMPTY": _sound(0 * seconds),
        "COMING_FAR": _sound(0.4 * footsteps),
        "COMING_NEAR": _sound(footsteps),
        "LEAVING_NEAR": _sound(0.6 * bye),
        "LEAVING_FAR": _sound(0.2 * bye),
    }


def _chirp(first_hz: float, last_hz: float, num_samples: int) -> NDArray[np.float64]:
    phase = np.cumsum(np.linspace(first_hz, last_hz, num_samples)) / SAMPLE_RATE_HZ
    return np.sin(2 * np.pi * phase) * np.hanning(num_samples)


def _sound(wave: NDArray[np.float64]) -> NDArray[np.int16]:
    return (8_000 * wave).astype(np.int16)


def _picture(ellipses: list[Ellipse], wall: int, floor: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:PICTURE_SIZE, : PICTURE_SIZE + 2 * JITTER]
    picture = np.where(rows < 56, wall, floor).astype(np.uint8)
    for x, y, half_width, half_height, grey in ellipses:
        picture[((columns - x) / half_width) ** 2 + ((rows - y) / half_height) ** 2 <= 1] = grey
    return picture


def _figure(scale: float, has_face: bool) -> list[Ellipse]:
    """Return the ellipses of a person who stands on the floor, seen from the front or from behind."""
    shirt, skin, hair = 140, 200, 10
    legs = [(-4, -8, 3, 10, hair), (4, -8, 3, 10, hair)]
    trunk = [(-10, -26, 3, 12, shirt), (10, -26, 3, 12, shirt), (0, -26, 9, 14, shirt)]
    head = [(0, -47, 8, 9, skin if has_face else hair)]
    face = [(-3, -49, 1.5, 1.5, hair), (3, -49, 1.5, 1.5, hair), (0, -43, 3.5, 1.2, hair)]
    parts = [*legs, *trunk, *head, *(face if has_face else [])]
    return [(36 + scale * x, 60 + scale * y, scale * w, scale * h, grey) for x, y, w, h, grey in parts]
