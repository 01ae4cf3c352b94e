"""When the frames of a video are shown, whatever the file says of it. Decoding is not here."""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

HELD = 16  # frames that may be shown before one that was stored before them
HELD_PIXELS = 2**25  # of frames held at once, but for the fewest: large ones are few
FEWEST_HELD = 4


def in_order(frames: Iterator[Any]) -> Iterator[tuple[Any, float | None]]:
    """Yield frames as they come, each with the smallest time among its own and those after it.

    AVI and ASF tell no time of showing: FFmpeg guesses one from the order of storage, so that the times of
    B-frames are right as a set but belong to other frames. Times that rise are given as they are.

    Args:
        frames: of PyAV, in the order in which they are shown.

    Yields:
        Each frame with its time in seconds; None: it has none.
    """
    waiting, times, most = deque[Any](), list[float](), 0
    for frame in frames:
        most = most or max(FEWEST_HELD, min(HELD, HELD_PIXELS // max(1, frame.width * frame.height)))
        waiting.append(frame)
        if frame.time is not None:
            heappush(times, float(frame.time))
        if len(waiting) > most:
            yield _earliest(waiting, times)
    while waiting:
        yield _earliest(waiting, times)


def _earliest(waiting: deque[Any], times: list[float]) -> tuple[Any, float | None]:
    frame = waiting.popleft()
    return frame, None if frame.time is None else heappop(times)
