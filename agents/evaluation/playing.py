"""Episodes of a policy in several environments at once, under a condition, and greedy ones step by step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple, Protocol

from gymnasium import spaces

from spl.agents.conditions import MOST_STEPS, Condition, Spoiler
from spl.agents.history import History, Stack
from spl.agents.protocol import Actor
from spl.config.errors import RunError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.api_checks import RAISED
from spl.envs.resumable import reset_seed, told
from spl.records import Action, Observation
from spl.runs.directory import generator_of

Policy = Callable[[History, Sequence[AudioVisualEnv], list[int]], list[Action]]


class Watch(Protocol):
    """What sees each observation before the agent gets it, and may change it."""

    def __call__(self, observation: Observation, env: int = 0, *, is_first: bool) -> Observation:
        """Return what the agent gets."""
        ...


def play(
    policy: Policy,
    envs: Sequence[AudioVisualEnv],
    condition: Condition,
    *,
    history: int,
    seed: int,
    watch: Watch | None = None,
) -> tuple[list[float], list[int]]:
    """Play one episode in each environment, all in step; return their returns and lengths.

    What the condition leaves of an observation goes through ``watch``, if any, before the agent gets it. An
    episode that has not ended after `MOST_STEPS` is cut there.

    Raises:
        RunError: if an environment fails.
    """

    def give(observation: Observation, position: int) -> None:
        step = lengths[position]
        given = spoilers[position](observation, step)
        if watch is not None:
            given = watch(given, position, is_first=step == 0)
        stacks.push(given, position, is_first=envs[position].begins)

    generator = generator_of(seed, "condition")
    is_waveform = envs[0].config.audio_features == "waveform"
    spoilers = [Spoiler(condition, is_waveform=is_waveform, generator=generator) for _ in envs]
    stacks = History(envs[0].spec_of_streams, history=history, num_envs=len(envs))
    totals, lengths = [0.0] * len(envs), [0] * len(envs)
    for position, env in enumerate(envs):
        with blamed(env, reset_seed(seed, position), 0):
            observation, _ = env.reset(seed=reset_seed(seed, position))
        give(observation, position)
    running = list(range(len(envs)))
    while running:
        actions = policy(stacks, envs, running)
        still_running = []
        for position, action in zip(running, actions, strict=True):
            with blamed(envs[position], reset_seed(seed, position), lengths[position] + 1):
                observation, reward, terminated, truncated, _ = envs[position].step(action)
            totals[position] += reward
            lengths[position] += 1
            if not (terminated or truncated or lengths[position] == MOST_STEPS):
                give(observation, position)
                still_running.append(position)
        running = still_running
    return totals, lengths


class GreedyStep(NamedTuple):
    """A step of an agent that does not explore."""

    stack: Stack  # on which it acted
    action: Action
    reward: float
    is_terminal: bool  # nothing follows, or nothing that the agent counts: a lost life, for some
    follows: Stack


def greedy_steps(
    agent: Actor, env: AudioVisualEnv, *, history: int, seed: int, num_episodes: int | None = None
) -> Iterator[GreedyStep]:
    """Yield the steps of an agent that does not explore, episode after episode; without end if None.

    Raises:
        RunError: if the environment fails.
    """
    stacks = History(env.spec_of_streams, history=history)
    for episode in count() if num_episodes is None else range(num_episodes):
        reset_with, step, is_over = reset_seed(seed, episode), 0, False
        with blamed(env, reset_with, 0):
            observation, _ = env.reset(seed=reset_with)
        stacks.push(observation, is_first=True)
        stack = None
        while not is_over:
            (action,) = stacks.act(agent, 0.0)
            if stack is None:  # how much is remembered is known once it has acted
                stack = stacks.stack()
            step += 1
            with blamed(env, reset_with, step):
                observation, reward, terminated, truncated, _ = env.step(action)
            stacks.push(observation, is_first=env.begins)
            acted_on, stack, is_over = stack, stacks.stack(), terminated or truncated
            yield GreedyStep(acted_on, action, float(reward), terminated or env.begins, stack)


@contextmanager
def blamed(env: AudioVisualEnv, seed: int, step: int) -> Iterator[None]:
    """Tell in a sentence what an environment raises meanwhile, at a step of the episode of that seed.

    Raises:
        RunError: if it does.
    """
    try:
        yield
    except RAISED as error:
        raise RunError(
            f"the environment failed at step {step:,} of the episode whose seed is {seed}: {told(error)}; "
            f"look at it with: spl check env {env.config.id}"
        ) from error


def policy_of(agent: Actor, epsilon: float) -> Policy:
    """Return the agent as a policy over the environments still running."""
    return lambda stacks, envs, running: stacks.act(agent, epsilon, running)


def has_oracle(env: AudioVisualEnv) -> bool:
    """Return whether the environment knows its own best action, by the number that the agent would give."""
    return isinstance(env.actions.space, spaces.Discrete) and env.has_wrapper_attr("oracle_action")


def oracle(stacks: History, envs: Sequence[AudioVisualEnv], running: list[int]) -> list[Action]:
    """Return what an environment that knows its own best action would do."""
    return [int(envs[position].get_wrapper_attr("oracle_action")()) for position in running]
