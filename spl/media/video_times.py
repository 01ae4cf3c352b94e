"""When the frames of a video are shown, whatever the file says of it. Decoding is not here."""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Literal

HELD = 16  # frames that may be shown before one that was stored before them
HELD_PIXELS = 2**25  # of frames held at once, but for the fewest: large ones are few
FEWEST_HELD = 4
JOINT_S = 1.0  # timestamps that go back by more begin again
LONGEST_RUN = 64  # packets that are held to see whether their times stay where they jumped to
LONGEST_GAP_S = 600.0  # a later timestamp is taken for damage


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


class Axis:
    """One time axis for the packets of all tracks, which does not begin again where timestamps do.

    Where a track's times of decoding go back by more than a second and stay there, as in files that were put
    one after the other, all tracks are moved by the same time to the end of what came before. Packets whose
    times lie far from those before and after them lose them. All else stays as it is.
    """

    def __init__(self) -> None:
        self.num_joints, self.num_damaged = 0, 0
        self._offset_s = self._before_s = 0.0  # of this part and, for tracks that lag, of the one before
        self._newest_s = 0.0  # time of the newest packet of any track
        self.ends_s = dict[int, float]()  # of each track
        self._units_s = dict[int, float]()  # of each track's times; PyAV makes a fraction at every look
        self._decoded_s = dict[int, float]()  # time of decoding of the newest packet of each track
        self._runs = dict[int, list[Any]]()  # of packets whose times lie far from the one before them

    def placed(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Yield the packets of PyAV's ``demux`` with times that fit, but for empty ones, which repeat."""
        for packet in packets:
            if not packet.size and packet.dts is not None:  # those that end the tracks have no time
                continue
            index = packet.stream.index
            if index not in self._units_s:
                self._units_s[index] = float(packet.time_base)
            if self._is_torn(packet):
                self.num_damaged, packet.pts = self.num_damaged + 1, None
            run = self._runs.get(index, [])
            if run and (is_over := self._is_over(run, packet)):
                self._judge(run, stays=is_over == "stays")
                yield from map(self._moved, self._runs.pop(index))
                run = []
            if run or self._is_far(packet):
                self._runs.setdefault(index, []).append(packet)
            else:
                yield self._moved(packet)

    def _is_far(self, packet: Any) -> bool:
        last_s = self._decoded_s.get(packet.stream.index)
        return packet.dts is not None and last_s is not None and abs(self._place(packet) - last_s) > JOINT_S

    def _is_over(self, run: list[Any], packet: Any) -> Literal["stays", "returns"] | None:
        """Return whether a track's times stay where they jumped to; None: not to be told yet."""
        is_ahead = self._place(run[0]) > (last_s := self._decoded_s[packet.stream.index])
        if not self._is_far(run[0]):  # since another track began again
            return "stays"
        if packet.dts is None:  # the end, most likely
            return "stays" if is_ahead or len(run) > 1 else "returns"
        if abs(self._time(packet) - self._time(run[-1])) > abs(self._place(packet) - last_s):
            return "returns"
        is_long = self._time(packet) - self._time(run[0]) > JOINT_S or len(run) >= LONGEST_RUN
        return "stays" if is_long else None

    def _judge(self, run: list[Any], *, stays: bool) -> None:
        """Begin again where times went back and stay there; take them away if they are damaged."""
        if not stays:
            self.num_damaged += len(run)
            for packet in run:
                packet.pts = packet.dts = None
        elif self._place(run[0]) < self._decoded_s[run[0].stream.index] - JOINT_S:
            self.num_joints += 1
            begin = run[0].dts if run[0].pts is None else run[0].pts
            begin_s = begin * self._units_s[run[0].stream.index]
            self._before_s, self._offset_s = self._offset_s, max(self.ends_s.values()) - begin_s

    def _is_torn(self, packet: Any) -> bool:
        """Whether a packet's times of decoding and of showing cannot both be true."""
        if packet.pts is None or packet.dts is None:
            return False
        return float(abs(packet.pts - packet.dts) * self._units_s[packet.stream.index]) > LONGEST_GAP_S

    def _time(self, packet: Any) -> float:
        return float(packet.dts * self._units_s[packet.stream.index])

    def _place(self, packet: Any) -> float:
        """Return a packet's time of decoding on the axis."""
        return self._time(packet) + self._offset_of(packet)

    def _offset_of(self, packet: Any) -> float:
        if self._offset_s == self._before_s:
            return self._offset_s
        known_s = self._newest_s, self._decoded_s.get(packet.stream.index, self._newest_s)
        return min(
            (self._offset_s, self._before_s),
            key=lambda offset_s: min(abs(self._time(packet) + offset_s - one_s) for one_s in known_s),
        )

    def _moved(self, packet: Any) -> Any:
        if packet.dts is None:
            offset_s = self._offset_s
        else:
            offset_s = self._offset_of(packet)
            self._newest_s = self._decoded_s[packet.stream.index] = self._time(packet) + offset_s
        if offset_s:
            moved = round(offset_s / packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts + moved
            packet.pts = None if packet.pts is None else packet.pts + moved
        if packet.pts is not None:
            index = packet.stream.index
            end_s = (packet.pts + (packet.duration or 0)) * self._units_s[index]
            self.ends_s[index] = max(end_s, self.ends_s.get(index, end_s))
        return packet


def _earliest(waiting: deque[Any], times: list[float]) -> tuple[Any, float | None]:
    frame = waiting.popleft()
    return frame, None if frame.time is None else heappop(times)
