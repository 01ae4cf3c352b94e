"""Collectors on Ray, from the learner's side: asked for chunks, which are taken in step by step.

`Collectors` stands where a single process has its `Collector`, so that the training around it is the same: a
step brings what every environment of one collector did, and updates fall due by the steps that the memory
holds. A collector is asked for its next chunk as the last but one is begun to be taken: it plays on while the
learner learns, two chunks ahead at most.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from spl.agents.collectors.chunks import Chunk
from spl.agents.collectors.crew import Crew
from spl.agents.collectors.progress import Collected, Episode, Progress
from spl.agents.collectors.protocol import Agent
from spl.agents.collectors.remote import Asked, Remote
from spl.agents.replay.memory import ReplayMemory
from spl.envs.vector import Fault, VectorisedEnv
from spl.records import Observation, Transition

WAIT_S = 0.5  # for a chunk at a time: signals are looked at between
SAVE_S = 10.0  # that a save waits for chunks; of those that did not come it is saved what was asked
MOST_TRIES = 3  # of the same chunk
MOST_SHOWN = 16  # collectors on the panel


class Collectors:
    """Takes in what collectors bring: in the order in which it comes, or ``ordered`` by chunk and collector.

    Ordered, what is asked of whom, with which weights, depends on nothing but the chunks taken before. So a
    run repeats to the bit, and one that was stopped goes on so: where each collector stood after its last
    chunk, chunks that are not taken yet, and what is asked for are saved. Otherwise they begin anew.

    Args:
        crew: that plays.
        agent: whose weights they get.
        envs: environments like theirs, which say what streams there are.
        memory: with a ring for each of their environments.
        progress: of the run.
    """

    def __init__(
        self,
        crew: Crew,
        agent: Agent,
        envs: VectorisedEnv,
        memory: ReplayMemory,
        progress: Progress,
    ) -> None:
        self.plan, self.agent, self.envs = crew.plan, agent, envs
        self.memory, self.progress = memory, progress
        self.told = crew.told
        self._ray = crew.ray
        self._remotes = [Remote(crew.ray, actor, number) for number, actor in enumerate(crew.actors)]
        self._weights: tuple[Any, Any] = (None, None)  # version, and Ray's reference of them
        self._asked_steps = 0  # taken already, or asked for
        self._turn = 0  # of the collector whose chunk comes next, where they are ordered
        self._come: deque[Remote] = deque()  # that have chunks, the first to come first
        self._taking: tuple[Remote, Asked, Chunk] | None = None  # whose steps are taken in
        self._step = 0  # of that chunk
        self._age = 0  # of the weights of the newest steps
        self._lost: list[str] = []

    def epsilon_at(self, step: int) -> float:
        """Return the chance of a random action; of several the mean."""
        if not self.plan.has_ladder:
            return self.plan.epsilon_at(step)
        return float(np.mean([self.plan.epsilon_of(remote.index, step) for remote in self._remotes]))

    @property
    def weights_age(self) -> int:
        """Updates since the weights were sent with which the newest steps were taken."""
        return self._age

    def step(self) -> Collected:
        """Take in a step of one collector's environments; nothing where none comes within `WAIT_S`."""
        if self._taking is None:
            self._begin_chunk()
        lost, self._lost = self._lost, []
        if self._taking is None:
            return Collected([], [], [], lost)
        return self._take(*self._taking)._replace(lost=lost)

    def begin(self, begun: Mapping[int, Observation]) -> None:
        """Do nothing: each collector's first chunk has what its environments began with."""

    def _begin_chunk(self) -> None:
        """Let the next chunk, if there is one, be the one that is taken in; ask for one in its place."""
        for one in self._remotes:
            one.start()
        self._ask()
        self._receive(0.0 if self._chosen() else WAIT_S)
        for one in self._remotes:
            if one.death is not None:
                self._restart(one)
        if (remote := self._chosen()) is None:
            return
        asked, chunk = remote.chunks.popleft()
        if self.plan.is_ordered:
            self._turn = (self._turn + 1) % len(self._remotes)
        else:
            self._come.remove(remote)
        self._asked_steps += chunk.num_transitions - asked.num_steps * self.plan.num_envs
        self._let_take(remote, asked, chunk, 0)
        remote.note(chunk)
        for sentence in chunk.news:
            self.envs.note(sentence)
        self._ask()

    def _let_take(self, remote: Remote, asked: Asked, chunk: Chunk, step: int) -> None:
        """Let a chunk be taken in from a step of it on."""
        self._taking, self._step = (remote, asked, chunk), step
        self._edges: list[int] = np.searchsorted(chunk.at, np.arange(chunk.num_steps + 1)).tolist()
        self._ended: list[list[float]] = chunk.episodes.tolist()

    def _ask(self) -> None:
        """Ask for what is still to be collected: two chunks of each collector at most."""
        plan = self.plan
        for depth in (1, 2):
            for remote in self._remotes:
                if len(remote.asked) + len(remote.chunks) >= depth or self._asked_steps >= plan.num_steps:
                    continue
                if not (remote.is_sent or plan.is_ordered):
                    continue  # its weights would age
                left = -(-(plan.num_steps - self._asked_steps) // plan.num_envs)
                num_steps = min(plan.chunk_steps, left)
                remote.ask(Asked(*self._newest_weights(), self._asked_steps, num_steps))
                self._asked_steps += num_steps * plan.num_envs

    def _newest_weights(self) -> tuple[Any, Any]:
        """Return the version of the network's weights and Ray's reference; they are put there once."""
        has_norm = self.envs.spec_of_streams.state > 0  # which follows the steps, not the updates
        version = [self.agent.num_updates, self.progress.step if has_norm else 0]
        if self._weights[0] != version:
            weights = self.agent.network.state_dict()
            arrays = {name: weight.detach().cpu().numpy() for name, weight in weights.items()}
            self._weights = version, self._ray.put(arrays)
        return self._weights

    def _chosen(self) -> Remote | None:
        """Return whose chunk is taken next; None where it has not come."""
        if self.plan.is_ordered:
            remote = self._remotes[self._turn]
            return remote if remote.chunks else None
        return self._come[0] if self._come else None

    def _receive(self, timeout_s: float) -> None:
        """Receive what has come from any collector within a time."""
        for remote in Remote.ready(self._ray, self._remotes, timeout_s):
            if remote.receive():
                self._come.append(remote)

    def _restart(self, remote: Remote) -> None:
        """Let a collector that died go on: from its last chunk where they are ordered, else anew.

        Ordered, what was asked is asked again, with the same weights; if it dies of that, it begins anew.

        Raises:
            RunError: if that would not help.
        """
        remote.check()
        goes_on = self.plan.is_ordered and remote.deaths_in_a_row < MOST_TRIES
        if not self.plan.is_ordered:
            for asked in remote.forget():
                self._asked_steps -= asked.num_steps * self.plan.num_envs
        how = "goes on after its last chunk" if goes_on else "begins anew, and its open episodes have no end"
        self._lost.append(f"collector {remote.index} died ({remote.death}): it {how}")
        remote.begin_again(is_anew=not goes_on)

    def _take(self, remote: Remote, asked: Asked, chunk: Chunk) -> Collected:
        """Take in the next step of a chunk."""
        step, ring = self._step, remote.index * self.plan.num_envs
        first, stop = self._edges[step : step + 2]
        transitions = [one for place in range(first, stop) if (one := self._add(chunk, place, ring))]
        episodes = [Episode(total, int(length)) for at, total, length in self._ended if at == step]
        remote.episodes.extend(episodes)
        faults = [Fault(ring + fault[1], *fault[2:]) for fault in chunk.faults if fault[0] == step]
        self._age = self.agent.num_updates - asked.version[0]
        self._step = step + 1
        if self._step == chunk.num_steps:
            self._taking = None
        self.progress.step += len(transitions)
        self.progress.episode += len(episodes)
        self.progress.recent.extend(episodes)
        return Collected(transitions, episodes, faults)

    def _add(self, chunk: Chunk, place: int, ring: int) -> Transition | None:
        """Put an observation into the memory; return the transition that led to it."""
        observation = Observation(
            chunk.video[place], chunk.audio[place], chunk.present[place], chunk.state[place]
        )
        self.agent.see(observation)
        ring, recurrent = ring + int(chunk.env[place]), chunk.recurrent[place]
        if chunk.is_first[place]:
            self.memory.begin(observation, ring, recurrent)
            return None
        action, (terminated, truncated) = chunk.action[place].tolist(), chunk.ends[place].tolist()
        transition = Transition(
            observation,  # not read: it is what the memory has
            action[0] if len(action) == 1 else tuple(action),
            float(chunk.reward[place]),
            terminated,
            truncated,
            observation,
        )
        self.memory.add(transition, ring, recurrent)
        return transition

    def row(self) -> dict[str, float | int]:
        """Return what a row of the log tells of each collector."""
        values: dict[str, float | int] = {}
        for remote in self._remotes:
            values[f"time/collector_{remote.index}_fps"] = remote.steps_per_second()
            values[f"collector/{remote.index}/restarts"] = remote.restarts
            if remote.episodes:
                values[f"collector/{remote.index}/episode_return"] = remote.mean_return()
        if self.plan.has_ladder and (lowest := self._remotes[-1]).episodes:
            values["rollout/ep_rew_mean_lowest_epsilon"] = lowest.mean_return()
        return values

    def status(self) -> Iterator[tuple[str, str]]:
        """Yield what the panel shows: a line of each collector."""
        yield "weights", f"{self.weights_age:,} updates old"
        for remote in self._remotes[:MOST_SHOWN]:
            yield f"collector {remote.index}", str(remote)
        if rest := self._remotes[MOST_SHOWN:]:
            rate, restarts = sum(one.steps_per_second() for one in rest), sum(one.restarts for one in rest)
            yield f"{len(rest)} more", f"{rate:.4g} steps/s, {restarts} restarts"

    def state_dict(self) -> dict[str, Any]:
        """Return where the collectors stand; ordered, with what they brought and what is asked for."""
        state: dict[str, Any] = {"asked_steps": self._asked_steps, "turn": self._turn, "taking": None}
        if self.plan.is_ordered:
            until = time.monotonic() + SAVE_S
            while any(one.asked and one.is_sent for one in self._remotes) and time.monotonic() < until:
                self._receive(WAIT_S)
        if self.plan.is_ordered and self._taking is not None:
            remote, asked, chunk = self._taking
            state["taking"] = [
                remote.index,
                asked.state_dict(),
                chunk.rest(self._step).state_dict(),
                self._step,
            ]
        state["remotes"] = [one.state_dict(is_whole=self.plan.is_ordered) for one in self._remotes]
        pending = [asked for one in self._remotes for asked in one.asked] if self.plan.is_ordered else []
        weights = {tuple(asked.version): asked.weights for asked in pending}
        state["weights"] = [[list(version), self._ray.get(ref)] for version, ref in weights.items()]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> list[Fault]:
        """Go on from :meth:`state_dict`; without the memory's transitions as if they began anew."""
        is_whole = self.plan.is_ordered and len(self.memory) > 0
        refs = {tuple(version): self._ray.put(arrays) for version, arrays in state["weights"]}
        for remote, saved in zip(self._remotes, state["remotes"], strict=True):
            remote.load_state_dict(saved, refs, is_whole=is_whole)
        if not is_whole:
            self._asked_steps = self.progress.step
            return []
        self._asked_steps, self._turn = int(state["asked_steps"]), int(state["turn"])
        if state["taking"] is not None:
            index, asked, chunk, step = state["taking"]
            self._let_take(self._remotes[index], Asked.of(asked, refs), Chunk(**chunk), int(step))
        return []
