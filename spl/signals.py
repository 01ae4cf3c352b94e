"""Ctrl-C and SIGTERM while a run goes on: it stops where it can be saved, or is broken off where it hangs."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class StopSignals:
    """Turns Ctrl-C and SIGTERM into a flag that is looked at between steps.

    An environment may hang in its step: where nobody has looked after ``PATIENCE_S``, or at a Ctrl-C that
    comes ``TWICE_S`` after the first signal, what goes on is interrupted (no sooner, as only what takes that
    long is sure to wait for an environment, and an update or a transition to be whole).
    """

    PATIENCE_S, TWICE_S = 10.0, 1.0

    def __init__(self) -> None:
        self._received_at: float | None = None
        self._is_patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        handlers = {signal.SIGINT: self._receive, signal.SIGTERM: self._receive}
        if hasattr(signal, "SIGALRM"):
            handlers[signal.SIGALRM] = self._interrupt
        for number, handler in handlers.items():
            try:
                self._before[number] = signal.signal(number, handler)
            except ValueError:  # not in the main thread: the caller keeps its own handling
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._set_alarm(0.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received_at is None:
            self.stop()
            self._set_alarm(self.PATIENCE_S)
        elif number == signal.SIGINT and time.monotonic() - self._received_at >= self.TWICE_S:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._is_patient:
            raise KeyboardInterrupt

    def _set_alarm(self, after_s: float) -> None:
        if len(self._before) == 3:  # SIGALRM is ours
            signal.setitimer(signal.ITIMER_REAL, after_s)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Let what is done meanwhile take its time; a second Ctrl-C interrupts it even so."""
        before, self._is_patient = self._is_patient, True
        try:
            yield
        finally:
            self._is_patient = before

    def stop(self) -> None:
        """Let the run stop as if a signal had come."""
        self._received_at = time.monotonic()

    def has_come(self) -> bool:
        """Whether the run has been told to stop; who asks is trusted to stop then."""
        if self._received_at is None:
            return False
        self._set_alarm(0.0)
        return True
