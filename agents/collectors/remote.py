"""One collector, as the learner sees it: what it was asked, what came of it, and its deaths."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from spl.agents.collectors.chunks import Chunk
from spl.agents.collectors.crew import summary_of
from spl.agents.collectors.progress import RECENT_EPISODES, Episode
from spl.config.errors import RunError

MOST_DEATHS = 5  # in a row, without a chunk between them
DIED = "its process died"
RECENT_CHUNKS = 8  # over which steps a second are told


def cause_of(error: Exception) -> str:
    """Return what a collector died of, by Ray's error."""
    told = f"{type(error).__name__} {error}".lower()
    causes = {
        "no module named 'spl": "its machine has no spl",
        "outofmemory": "its machine ran out of memory",
        "node": "its machine was lost",
    }
    return next((why for word, why in causes.items() if word in told), DIED)


class Asked(NamedTuple):
    """Steps that a collector was asked for."""

    version: list[int]  # of the weights: updates, and steps where the network follows those
    weights: Any  # Ray's reference of them
    step: int  # of the run, at which its exploration is
    num_steps: int  # of each of its environments

    def state_dict(self) -> list[Any]:
        """Return what a checkpoint holds of it; the weights are saved once for all."""
        return [list(self.version), self.step, self.num_steps]

    @classmethod
    def of(cls, saved: Sequence[Any], weights: Mapping[tuple[int, ...], Any]) -> Self:
        """Return what was saved."""
        version, step, num_steps = saved
        return cls(list(version), weights.get(tuple(version)), step, num_steps)


class Remote:
    """A collector that Ray runs; one that dies is started again by Ray, and told by us where to begin.

    Args:
        ray: joined.
        actor: Ray's handle of it.
        index: from 0.
    """

    def __init__(self, ray: Any, actor: Any, index: int) -> None:
        self.index, self._ray, self._actor = index, ray, actor
        self.asked: deque[Asked] = deque()
        self.chunks: deque[tuple[Asked, Chunk]] = deque()  # that came and are not taken yet
        self.episodes: deque[Episode] = deque(maxlen=RECENT_EPISODES)
        self.restarts = self.deaths_in_a_row = 0
        self.death: str | None = None  # why it does not play; None: it does
        self._is_cured = True  # of that by a new beginning
        self.is_sent = False  # whether it has begun, and works on what it is asked
        self._life = self._seeding = 0
        self._place: dict[str, Any] | None = None  # after its last chunk that came
        self._up: Any = None  # Ray's reference, until its process is there
        self._begun: Any = None  # then, until it has begun
        self._answers: deque[Any] = deque()  # Ray's references, of what is asked
        self._is_started = False
        self._recent: deque[tuple[float, int]] = deque(
            maxlen=RECENT_CHUNKS
        )  # when chunks came: seconds, steps

    def start(self) -> None:
        """Let it begin, the first time this is called."""
        if not self._is_started:
            self._is_started = True
            self._begin()

    def _begin(self) -> None:
        self._life += 1
        self._answers.clear()
        self.is_sent = False
        self._up = self._actor.up.options(max_task_retries=-1).remote()  # waits for a machine, too

    def ask(self, asked: Asked) -> None:
        """Ask for a chunk."""
        self.asked.append(asked)
        if self.is_sent:
            self._send(asked)

    def _send(self, asked: Asked) -> None:
        version, weights, step, num_steps = asked
        self._answers.append(self._actor.collect.remote(self._life, weights, version, step, num_steps))

    @property
    def awaited(self) -> Any:
        """Ray's reference of what comes next; None where nothing is asked."""
        if self._up is not None or self._begun is not None:
            return self._begun if self._up is None else self._up
        return self._answers[0] if self._answers else None

    @staticmethod
    def ready(ray: Any, remotes: Iterable["Remote"], timeout_s: float) -> "list[Remote]":
        """Return those of which something has come within a time."""
        awaited = {one.awaited: one for one in remotes if one.awaited is not None}
        if not awaited:
            time.sleep(timeout_s)
            return []
        found, _ = ray.wait([*awaited], num_returns=1, timeout=timeout_s)
        if found and len(awaited) > 1:
            found, _ = ray.wait([*awaited], num_returns=len(awaited), timeout=0)
        return [awaited[one] for one in found]

    def receive(self) -> bool:
        """Receive what has come; return whether that is a chunk. Where it died, see ``death``."""
        try:
            answer = self._ray.get(self.awaited)
        except self._ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            self._die(f"failed: {summary_of(cause)}", is_cured=False)
            return False
        except self._ray.exceptions.RayError as error:
            self._die(cause_of(error))
            return False
        if self._up is not None:
            self._up = None
            self._begun = self._actor.begin.remote(self._life, self._seeding, self._place)
            return False
        if self._begun is not None:
            self._begun, self.is_sent = None, True
            for asked in self.asked:
                self._send(asked)
            return False
        if answer is None:  # it was restarted before it could be told where to begin
            self._die(DIED)
            return False
        self._answers.popleft()
        chunk: Chunk = answer.owned()
        self._place, self.deaths_in_a_row = chunk.place, 0
        self.chunks.append((self.asked.popleft(), chunk._replace(place=None)))
        return True

    def _die(self, why: str, *, is_cured: bool = True) -> None:
        """Await nothing more of it until it begins again."""
        self.death, self._is_cured = why, is_cured
        self._up = self._begun = None
        self.is_sent = False
        self._answers.clear()
        self.restarts += 1
        self.deaths_in_a_row += 1

    def check(self) -> None:
        """Raise ``RunError`` where a new beginning would not help."""
        if not self._is_cured:
            raise RunError(f"collector {self.index} {self.death}")
        if self.deaths_in_a_row > MOST_DEATHS:
            raise RunError(
                f"collector {self.index} died {self.deaths_in_a_row} times, bringing nothing ({self.death}); "
                "'spl check env' examines the environment"
            )

    def forget(self) -> list[Asked]:
        """Return what it was asked for and did not bring, and ask for it no more."""
        asked = [*self.asked]
        self.asked.clear()
        return asked

    def begin_again(self, *, is_anew: bool) -> None:
        """Begin after its last chunk, or anew with other seeds."""
        self.death = None
        if is_anew:
            self._seeding, self._place = self._seeding + 1, None
        self._begin()

    def note(self, chunk: Chunk) -> None:
        """Take note that a chunk is taken in."""
        self._recent.append((time.monotonic(), chunk.num_transitions))

    def steps_per_second(self) -> float:
        """Return how fast it brings steps, over its last chunks until now."""
        if len(self._recent) < 2:
            return 0.0
        steps = sum(count for _, count in [*self._recent][1:])
        return steps / max(time.monotonic() - self._recent[0][0], 1e-9)

    def mean_return(self) -> float:
        """Return the mean return of its last episodes."""
        return float(np.mean([episode.total for episode in self.episodes]))

    def __str__(self) -> str:
        """Say how it does, in a line."""
        earned = f"return {self.mean_return():.4g}, " if self.episodes else ""
        waits = "" if self.is_sent else ", waits for a machine"
        times = "restart" if self.restarts == 1 else "restarts"
        return f"{self.steps_per_second():.4g} steps/s, {earned}{self.restarts} {times}{waits}"

    def state_dict(self, *, is_whole: bool) -> dict[str, Any]:
        """Return how often it began anew, and its returns; ``is_whole``: all that it goes on from."""
        chunks = [[asked.state_dict(), chunk.state_dict()] for asked, chunk in self.chunks]
        return {
            "restarts": self.restarts,
            "seeding": self._seeding,
            "episodes": [list(one) for one in self.episodes],
            "place": self._place if is_whole else None,
            "chunks": chunks if is_whole else [],
            "asked": [asked.state_dict() for asked in self.asked] if is_whole else [],
        }

    def load_state_dict(
        self, state: Mapping[str, Any], weights: Mapping[tuple[int, ...], Any], *, is_whole: bool
    ) -> None:
        """Go on from :meth:`state_dict`; what is not whole begins anew, with other seeds."""
        self.restarts, self._seeding = int(state["restarts"]), int(state["seeding"])
        self.episodes.extend(Episode(float(total), int(length)) for total, length in state["episodes"])
        if not is_whole:
            self._seeding += 1
            return
        self._place = state["place"]
        self.chunks.extend((Asked.of(asked, weights), Chunk(**chunk)) for asked, chunk in state["chunks"])
        self.asked.extend(Asked.of(asked, weights) for asked in state["asked"])
