"""Ctrl-C, SIGTERM and SIGHUP: a run stops at a resumable point; a second Ctrl-C ends any command at once."""

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

HANGUP = getattr(signal, "SIGHUP", None)  # a terminal that was closed; Windows has none
DOUBLE_S = 0.3  # some wrappers pass on a Ctrl-C that the terminal has sent to the whole group already
PARTING_S = 5.0  # what threads are given to end once a command was interrupted
EXIT_CODE = 130  # of a command that was interrupted
ENDED = b"\x1b[?25h\nspl: ended at once by a second Ctrl-C; what was saved before stays\n"  # and the cursor


class StopSignals:
    """Turns Ctrl-C, SIGTERM and SIGHUP into a flag that is looked at between steps.

    SIGHUP stays ignored where it was (nohup). Otherwise the terminal is gone, and what would be printed there
    goes nowhere, so that saving does not fail.

    An environment may hang in its step: where nobody has looked after ``PATIENCE_S``, or at a Ctrl-C that
    comes ``TWICE_S`` after the first signal, what goes on is interrupted (no sooner, as only what takes that
    long is sure to wait for an environment, and an update or a transition to be whole), and again each
    ``PATIENCE_S``, as what cleans up may hang as well.
    """

    PATIENCE_S, TWICE_S = 10.0, 1.0

    def __init__(self) -> None:
        self._received_at: float | None = None
        self._is_patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        handlers = {signal.SIGINT: self._receive, signal.SIGTERM: self._receive}
        if HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN:
            handlers[HANGUP] = self._receive
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
        if number == HANGUP:
            forget_terminal()
        if self._received_at is None:
            self.stop()
            self._set_alarm(self.PATIENCE_S)
        elif number == signal.SIGINT and time.monotonic() - self._received_at >= self.TWICE_S:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._is_patient:
            raise KeyboardInterrupt

    def _set_alarm(self, after_s: float) -> None:
        if hasattr(signal, "SIGALRM") and signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, after_s, after_s)

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


def forget_terminal() -> None:
    """Let what this process prints on a terminal go nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        with suppress(OSError):  # closed
            if stat.S_ISCHR(os.fstat(stream).st_mode):  # one that is gone says that it is no terminal
                os.dup2(nowhere, stream)
    os.close(nowhere)


@contextmanager
def end_at_second_ctrl_c() -> Iterator[None]:
    """Let a second Ctrl-C end the process at once, whatever it does: for a command, not for a library.

    A thread is notified of each signal as it arrives, so that it need not wait for the main thread, which may
    be in a call that blocks and looks at no signal. Only a library that holds Python's lock holds this up.
    """
    reader, writer = os.pipe()
    if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12
        os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if hasattr(os, "register_at_fork"):  # or a Ctrl-C would be told once by each worker
        os.register_at_fork(after_in_child=_forget_signals)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)  # ends the thread


def _forget_signals() -> None:
    with suppress(ValueError):  # not in the main thread
        signal.set_wakeup_fd(-1)


def _watch(reader: int) -> None:
    """End the process at a second Ctrl-C; ``reader`` brings a byte for each signal."""
    first_at: float | None = None
    while numbers := os.read(reader, 1):
        if numbers[0] != signal.SIGINT:
            continue
        now = time.monotonic()
        if first_at is not None and now - first_at >= DOUBLE_S:
            with suppress(OSError):
                os.write(2, ENDED if os.isatty(2) else ENDED.split(b"\n", 1)[1])
            os._exit(EXIT_CODE)
        first_at = now if first_at is None else first_at
    os.close(reader)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Let no interrupt reach processes that start meanwhile: the one above stops them, or they `serve_above`.

    A Ctrl-C goes to all processes of a terminal, and would be told by each that is still importing.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing.resource_tracker import ensure_running  # not for every command

    ensure_running()  # else it begins with the first process, and unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve_above() -> None:
    """Let this process, a worker, live as long as the one that started it: a signal is that one's to follow.

    A closed terminal and some schedulers signal every process of a run. What is above takes ``PARTING_S`` at
    the most to come to where it needs no worker any more.
    """
    from multiprocessing import parent_process  # not for every command

    above = parent_process()
    if above is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if HANGUP is not None:
        signal.signal(HANGUP, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a fork has that of the one above
        signal.signal(signal.SIGTERM, lambda *_: signal.setitimer(signal.ITIMER_REAL, PARTING_S))
    threading.Thread(target=_end_with, args=(above,), daemon=True).start()


def _end_with(above: Any) -> None:
    above.join()
    os._exit(1)


def leave(code: int) -> int:
    """Return ``code`` once no thread holds the process up; after ``PARTING_S``, end it with that code."""
    until = time.monotonic() + PARTING_S
    threads = [
        one for one in threading.enumerate() if not one.daemon and one is not threading.current_thread()
    ]
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code
