"""The two phases: collect with frozen weights, and learn from the memory without stepping the environment.

Everything that decides what comes next has a state: a run that is saved between two environment steps, or
between two updates, goes on from there to the bit.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.collectors.progress import Collected, Episode, Progress
from spl.agents.config import LoopConfig
from spl.agents.curriculum import ReplayCurriculum
from spl.agents.exploration import ModalityDropout
from spl.agents.history import History, Stack
from spl.agents.protocol import Agent, Remembering
from spl.agents.replay.memory import ReplayMemory
from spl.agents.replay.sequences import Sequences
from spl.envs.actions import as_action
from spl.envs.resumable import Position
from spl.envs.vector import Arrival, Fault, VectorisedEnv
from spl.records import NO_STATE, Action, Batch, Following, Observation, Transition
from spl.training.step import NonFiniteError, descend


class NonFiniteBatch(ArithmeticError):
    """The batch whose loss or gradient is not finite; the weights are those before it."""

    def __init__(self, batch: Batch | Sequences, losses: Tensor, soon: Following | None = None) -> None:
        super().__init__("the loss or its gradient is not finite")
        self.soon = {} if soon is None else {f"soon_{name}": field for name, field in soon._asdict().items()}
        self.batch = batch
        self.losses = losses


class Collector:
    """The first phase: acts in all environments and remembers; the weights are only read.

    Returns add up the true rewards, the memory keeps ``keep_reward`` of them. With
    ``remembers_hidden`` memory and history keep what ``dropout`` hides, with its true presence, and only what
    acts does not get it: every view that is acted on is then one that replay can make of a whole transition.
    ``see``, if any, gets each observation that is remembered, before it is acted on. With
    ``ends_at_life_loss`` what is remembered ends where a life is lost, and begins there again; the returns
    are those of whole episodes.
    """

    def __init__(
        self,
        agent: Agent,
        envs: VectorisedEnv,
        memory: Remembering,
        progress: Progress,
        *,
        epsilon_at: Callable[[int], float],
        dropout: ModalityDropout,
        keep_reward: Callable[[float], float],
        remembers_hidden: bool = False,
        ends_at_life_loss: bool = False,
        see: Callable[[Observation], None] | None = None,
    ) -> None:
        self.agent = agent
        self.envs = envs
        self.memory = memory
        self.progress = progress
        self.epsilon_at = epsilon_at
        self.dropout = dropout
        self.keep_reward = keep_reward
        self.history = History(memory.spec, history=memory.history, num_envs=envs.num_envs)
        self.totals = [0.0] * envs.num_envs  # of the episodes under way
        self.lengths = [0] * envs.num_envs
        self._observations = [self.history.newest(env) for env in range(envs.num_envs)]
        self.remembers_hidden, self.ends_at_life_loss, self.see = remembers_hidden, ends_at_life_loss, see
        self._chosen: list[Action] | None = None  # actions that are not yet taken: a step may be interrupted

    def step(self) -> Collected:
        """Act once in each environment; count the steps and the episodes that ended."""
        if self._chosen is None:
            self._chosen, remembered = self.agent.decide(self._shown(), self.epsilon_at(self.progress.step))
            self.history.remember(remembered)
        arrival = self.envs.step(self._chosen)
        actions, self._chosen = self._chosen, None
        transitions, episodes = [], []
        for env, reached in enumerate(arrival.reached):
            if reached is None:  # a fault: the step was not taken
                continue
            has_ended = bool(arrival.terminated[env] or arrival.truncated[env])
            is_life_over = self.ends_at_life_loss and not has_ended and bool(arrival.life_lost[env])
            transitions.append(self._remember(env, actions[env], reached, arrival, is_life_over))
            if has_ended:
                episodes.append(Episode(self.totals[env], self.lengths[env]))
            elif is_life_over:
                self._open(reached, env)
        self.begin(arrival.begun)
        self.progress.step += len(transitions)
        self.progress.episode += len(episodes)
        self.progress.recent.extend(episodes)
        return Collected(transitions, episodes, arrival.faults)

    def _shown(self) -> Stack:
        """Return what the agent acts on."""
        stack = self.history.stack()
        if not self.remembers_hidden:
            return stack  # what is hidden is not even in the history
        return stack._replace(present=stack.present & torch.from_numpy(self.dropout.shown))

    def _kept(self, observation: Observation, env: int, *, is_first: bool) -> Observation:
        """Return what is remembered of an observation, after the draw of what is hidden."""
        shown = self.dropout(observation, env, is_first=is_first)
        return observation if self.remembers_hidden else shown

    def _remember(
        self, env: int, action: Action, reached: Observation, arrival: Arrival, is_life_over: bool
    ) -> Transition:
        following = self._kept(reached, env, is_first=False)
        reward = float(arrival.rewards[env])
        transition = Transition(
            self._observations[env],
            action,
            self.keep_reward(reward),
            bool(arrival.terminated[env]) or is_life_over,
            bool(arrival.truncated[env]),
            following,
        )
        self._push(following, env, is_first=False)
        self.memory.add(transition, env, self._remembered(env))
        self.totals[env] += reward
        self.lengths[env] += 1
        return transition

    def _remembered(self, env: int) -> NDArray[np.float32]:
        """Return the recurrent state before the newest step, of a memory that keeps one."""
        return self.history.recurrent[env] if self.memory.spec.recurrent else NO_STATE

    def _push(self, observation: Observation, env: int, *, is_first: bool) -> None:
        """Let ``observation`` be where the environment stands."""
        if self.see is not None:
            self.see(observation)
        self.history.push(observation, env, is_first=is_first)
        self._observations[env] = observation

    def begin(self, begun: dict[int, Observation]) -> None:
        """Let episodes begin with these observations; one that was open stays without an end."""
        for env, first in begun.items():
            self._open(first, env)
            self.totals[env], self.lengths[env] = 0.0, 0

    def _open(self, first: Observation, env: int) -> None:
        """Let what is remembered begin with this observation."""
        observation = self._kept(first, env, is_first=True)
        self._push(observation, env, is_first=True)
        self.memory.begin(observation, env, self._remembered(env))

    def state_dict(self) -> dict[str, Any]:
        """Return where each environment stands, and what was seen, heard and earned on the way there."""
        return {
            "positions": [
                {
                    "seeding": place.seeding,
                    "actions": np.array(place.actions, np.int16),
                    "digest": place.digest,
                }
                for place in self.envs.positions()
            ],
            "history": self.history.state_dict(),
            "totals": list(self.totals),
            "lengths": list(self.lengths),
            "dropout": self.dropout.state_dict(),
            "chosen": self._chosen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[Fault]:
        """Put each environment back to where it stood; return those that had to begin an episode again."""
        self.history.load_state_dict(state["history"])
        self.totals, self.lengths = list(state["totals"]), list(state["lengths"])
        self.dropout.load_state_dict(state["dropout"])
        self._chosen = None if state["chosen"] is None else [as_action(one) for one in state["chosen"]]
        self._observations = [self.history.newest(env) for env in range(self.envs.num_envs)]
        arrival = self.envs.go_to(
            [
                Position(one["seeding"], tuple(map(as_action, one["actions"])), one["digest"])
                for one in state["positions"]
            ]
        )
        for env in range(self.envs.num_envs):
            if not self.memory.is_open(env) and env not in arrival.begun:  # the memory was not saved
                self.memory.begin(self._observations[env], env, self._remembered(env))
        self.begin(arrival.begun)
        return arrival.faults


def learn(
    agent: Agent,
    memory: ReplayMemory,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: LoopConfig,
    *,
    curriculum: ReplayCurriculum,
    max_grad_norm: float | None,
) -> Iterator[Tensor]:
    """Replay the memory as often as is due, in batches; the environments are not touched.

    Every view of a transition that the agent learns is a sample with the transition's weight, and the step
    goes down the weighted mean over all of them. The alternative, the sum of the views' means, leaves the
    whole transition's part beside Adam's epsilon what it is without other views; audio alone learns worse.
    What the curriculum sees, and so priorities and last losses, is the loss of the whole transition.

    Yields the weighted mean loss of each update, on the device: ``()``, or with several views ``(1 + V,)``,
    that mean and the plain mean of each view.

    Raises:
        NonFiniteBatch: if a loss or its gradient is not finite; the weights are left as they are.
    """
    # as a list of those that learn; gathering them from the network would walk all of it
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    device = parameters[0].device
    while progress.is_learning:
        if (horizon := agent.horizon) is not None:
            memory.look_ahead(*horizon)
        if not progress.drawn.size:
            progress.drawn, progress.weights = curriculum.draw(config.mini_buffer, progress.step)
            progress.replays_due -= 1
        places, later = np.split(progress.drawn, [config.batch_size])
        batch = curriculum.batch(places).to(device)
        needs_soon = agent.has_thirds and agent.unroll is None  # sequences have it
        soon = memory.one_ahead(places) if needs_soon else None
        soon = None if soon is None else soon.to(device)
        losses = agent.losses(batch, soon)  # (V B,)
        views = losses.detach().reshape(-1, len(places))  # (V, B)
        weights = curriculum.weights_of_views(views).repeat_interleave(len(places))  # (V B,)
        if progress.weights is not None:
            weights = weights * torch.from_numpy(progress.weights[: config.batch_size]).to(device).repeat(
                len(views)
            )
        try:
            loss = descend(losses, weights, optimizer, parameters, max_grad_norm=max_grad_norm)
        except NonFiniteError as error:
            raise NonFiniteBatch(batch, losses.detach(), soon) from error
        for weight in agent.sync():  # before the yield: a caller may stop there, and the update must be whole
            optimizer.state.pop(weight, None)
        curriculum.see(places, views[0].clone())  # a compiled update may write over what the last returned
        progress.drawn = later
        progress.weights = None if progress.weights is None else progress.weights[config.batch_size :]
        yield loss if len(views) == 1 else torch.cat([loss[None], views.mean(dim=1)])


def owed_steps(progress: Progress, config: LoopConfig) -> float:
    """Return how many collected steps are still to be learned from: by the share of a phase that is due."""
    due = progress.replays_due * config.mini_buffer + progress.drawn.size  # transitions
    return config.collect_steps * due / (config.replays * config.mini_buffer)
