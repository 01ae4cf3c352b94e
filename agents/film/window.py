"""A window on the screen and a loudspeaker, by pygame; what is shown and played is made elsewhere."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.agents.film.frame import BACKGROUND
from spl.config.errors import UsageError
from spl.packages import install_advice, is_installed

MIXER_HZ = 44_100
BLOCK_S, MOST_WAITING_S = 0.1, 0.5  # of sound that is handed over at a time; beyond which it lags too far
NO_SCREEN = ("offscreen", "dummy")  # drivers that show nothing
TICK_S = 0.005


def import_pygame() -> Any:
    """Return pygame, which does not greet.

    Raises:
        UsageError: if it is not installed.
    """
    if not is_installed("pygame"):
        raise UsageError(f"spl watch needs pygame-ce: {install_advice('pygame-ce')}")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    return pygame


def _is_headless() -> bool:
    """Return whether Linux names no display: SDL would look for one and write that there is none."""
    return sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)


class Window:
    """Shows pictures of one size, fitted into the window, and tells which keys are pressed.

    Raises:
        UsageError: if there is no display.
    """

    def __init__(self, title: str) -> None:
        self._pygame = pygame = import_pygame()
        wanted = os.environ.get("SDL_VIDEODRIVER")
        driver, why = "", "none is connected"
        try:
            if wanted is not None or not _is_headless():
                pygame.display.init()
                driver = pygame.display.get_driver()
        except pygame.error as error:
            driver, why = "", str(error)
        if not driver or (driver in NO_SCREEN and wanted != driver):
            pygame.display.quit()
            raise UsageError(
                f"there is no display to open a window on ({why}): 'spl film RUN' writes a video instead"
            )
        pygame.display.set_caption(title)
        pygame.key.set_repeat()  # a key that is held is pressed once
        self._surface: Any = None

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Show a picture ``(H, W, 3)``; the first one opens the window, as large as it is."""
        pygame = self._pygame
        rows, columns = picture.shape[:2]
        if self._surface is None:
            self._surface = pygame.display.set_mode((columns, rows), pygame.RESIZABLE)
        drawn = pygame.image.frombuffer(np.ascontiguousarray(picture), (columns, rows), "RGB")
        width, height = self._surface.get_size()
        if (width, height) != (columns, rows):
            share = min(width / columns, height / rows)
            size = max(1, round(columns * share)), max(1, round(rows * share))
            drawn = pygame.transform.smoothscale(drawn, size)
            self._surface.fill(BACKGROUND)
        place = (width - drawn.get_width()) // 2, (height - drawn.get_height()) // 2
        self._surface.blit(drawn, place)
        pygame.display.flip()

    def key_events(self) -> Iterator[tuple[str, bool]]:
        """Yield the keys since the last call by their names, and whether each was pressed, not released.

        A window that is closed presses ``q``.
        """
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                yield "q", True
            elif event.type == pygame.VIDEORESIZE:
                self._surface = pygame.display.get_surface()
            elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
                typed = getattr(event, "unicode", "")
                name = typed if typed in ("+", "-", ".") else pygame.key.name(event.key)
                yield name, event.type == pygame.KEYDOWN

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()


class Speaker:
    """Plays sound of a rate as it comes, at any speed: faster is higher.

    Args:
        rate_hz: of the sound.

    Raises:
        OSError: if there is no device.
    """

    def __init__(self, rate_hz: int) -> None:
        self._pygame = pygame = import_pygame()
        self.rate_hz = rate_hz
        try:
            with _quiet():
                pygame.mixer.init(MIXER_HZ, -16, 2, 1_024, allowedchanges=0)
        except pygame.error as error:
            raise OSError(str(error)) from error
        self._channel = pygame.mixer.Channel(0)
        self._waiting: NDArray[np.float32] = np.zeros((0, 2), np.float32)  # at the mixer's rate

    def play(self, sound: NDArray[np.float32], speed: float) -> None:
        """Let ``sound (N, C)`` in -1..1 follow what plays; what would lag too far is left out."""
        number = round(len(sound) * MIXER_HZ / self.rate_hz / speed)
        if number:
            at = np.linspace(0.0, len(sound), number, endpoint=False)
            left, right = sound[:, 0], sound[:, -1]
            both = [np.interp(at, np.arange(len(sound)), channel) for channel in (left, right)]
            self._waiting = np.concatenate([self._waiting, np.stack(both, axis=1).astype(np.float32)])
        self._waiting = self._waiting[-round(MOST_WAITING_S * MIXER_HZ) :]
        if len(self._waiting) >= BLOCK_S * MIXER_HZ and self._channel.get_queue() is None:
            block = (32_767 * self._waiting).astype(np.int16)
            self._channel.queue(self._pygame.mixer.Sound(buffer=np.ascontiguousarray(block).tobytes()))
            self._waiting = self._waiting[:0]

    def stop(self) -> None:
        """Be silent at once."""
        self._channel.stop()
        self._waiting = self._waiting[:0]

    def close(self) -> None:
        """Give the device back."""
        self._pygame.mixer.quit()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what a sound library writes to standard error where there is no device."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def wait_until(due_s: float) -> None:
    """Sleep until that time of `time.monotonic`, but no longer than a tick."""
    time.sleep(min(TICK_S, max(0.0, due_s - time.monotonic())))
