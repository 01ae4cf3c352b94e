"""Ray in this process: tasks are done at once, actors, which can be killed, as they are waited for."""

import pickle
import random
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


def instead_of_ray(monkeypatch: Any, **options: Any) -> "StubRay":
    """Let ``import ray`` give a stand-in, which is returned."""
    ray = StubRay(**options)
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


class RayError(Exception):
    pass


class ActorDiedError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Ref:
    def __init__(self, do: Callable[[], Any]) -> None:
        self.do, self.is_done, self.value, self.error = do, False, None, None

    def settle(self) -> None:
        if not self.is_done:
            try:
                self.value = pickle.loads(pickle.dumps(self.do(), protocol=5))
            except RayError as error:
                self.error = error
            except Exception as error:
                self.error = RayTaskError(error)
            self.is_done = True


class Actor:
    """Does what it was asked in turn; killed, it forgets that, and is made anew."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.it = make, make()
        self.asked: list[tuple[Ref, bool]] = []  # with whether it is asked again after a death

    def __getattr__(self, name: str) -> Any:
        def ask(retries: int, *args: Any) -> Ref:
            def do() -> Any:
                while self.asked and self.asked[0][0] is not ref:  # those before it
                    self.asked[0][0].settle()
                self.asked = self.asked[1:]
                return getattr(self.it, name)(*(one.value if isinstance(one, Ref) else one for one in args))

            ref = Ref(do)
            self.asked.append((ref, retries != 0))
            return ref

        return SimpleNamespace(
            remote=lambda *args: ask(0, *args),
            options=lambda max_task_retries: SimpleNamespace(
                remote=lambda *args: ask(max_task_retries, *args)
            ),
        )

    def kill(self) -> None:
        for ref, _ in [one for one in self.asked if not one[1]]:
            ref.error, ref.is_done = ActorDiedError("killed"), True
        self.asked = [one for one in self.asked if one[1]]
        self.it = self.make()


class StubRay:
    """What of Ray is used.

    Args:
        seed: decides whose answer comes first.
        before_wait: called with the actors before each wait.
        without_spl: machines on which functions find nothing.
    """

    __version__ = "2.60.0"
    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    )

    def __init__(
        self,
        seed: int = 0,
        before_wait: Callable[[list[Actor]], None] | None = None,
        without_spl: Sequence[str] = (),
    ) -> None:
        self.random, self.before_wait, self.without_spl = random.Random(seed), before_wait, without_spl
        self.actors: list[Actor] = []
        self.options: dict[str, Any] = {}
        self.joined: list[str] = []

    def init(self, address: str, **options: Any) -> None:
        self.joined.append(address)

    def shutdown(self) -> None:
        self.joined.append("left")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}

    def remote(self, **options: Any) -> Any:
        self.options = options

        def of(kind: Any) -> Any:
            def remote(*args: Any) -> Actor | Ref:
                if not isinstance(kind, type):
                    return self.done(lambda: kind(*args))
                self.actors.append(Actor(lambda: kind(*args)))
                return self.actors[-1]

            def options(scheduling_strategy: str) -> Any:
                return of((lambda *_: None) if scheduling_strategy in self.without_spl else kind)

            return SimpleNamespace(remote=remote, options=options)

        return of

    def nodes(self) -> list[dict[str, Any]]:
        names = ["this", *self.without_spl]
        kept = {"Alive": True, "Resources": {"CPU": 1.0}}
        return [{"NodeID": name, "NodeManagerHostname": name, **kept} for name in names]

    def put(self, value: Any) -> Ref:
        return self.done(lambda: value)

    def done(self, do: Callable[[], Any]) -> Ref:
        ref = Ref(do)
        ref.settle()
        return ref

    def wait(self, refs: list[Ref], *, num_returns: int = 1, timeout: float) -> tuple[list[Ref], list[Ref]]:
        if self.before_wait is not None:
            self.before_wait(self.actors)
        refs = self.random.sample(refs, len(refs))
        for ref in refs[:num_returns] if timeout else []:
            ref.settle()
        done = [ref for ref in refs if ref.is_done][:num_returns]
        return done, [ref for ref in refs if ref not in done]

    def get(self, ref: Ref) -> Any:
        ref.settle()
        if ref.error is not None:
            raise ref.error
        return ref.value
