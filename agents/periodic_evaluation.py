"""Evaluation while an agent is trained: greedy episodes beside the training, and the best checkpoint of them.

The whole evaluation of a trained agent, with all that may happen to it, is :mod:`spl.agents.evaluation`.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spl.agents.checkpoint import Parts, folder_of
from spl.agents.conditions import MODALITIES, MOST_STEPS
from spl.agents.config import TrainAgentConfig
from spl.agents.history import History
from spl.agents.protocol import Agent
from spl.config.errors import RunError
from spl.envs.resumable import Position
from spl.envs.vector import VectorisedEnv
from spl.records import AUDIO, VIDEO, Observation, StreamSpec
from spl.runs import checkpoint
from spl.runs.directory import generator_of

SEEDS_APART = 500_000_000  # by which the episodes' seed lies beyond that of training
RETURN = "eval/mean_reward"  # the usual tag; behind it "_video" or "_audio", of an agent given that one alone


class Judged(NamedTuple):
    """What the agent earned at a step, with all modalities."""

    step: int
    mean: float


class Evaluations:
    """Plays the same greedy episodes every ``evaluate_every_steps``, in an environment of its own.

    The agent is left as it was, its generator too, so that a run learns the same with and without it. What
    was evaluated already is read from the rows of the log: an evaluation that was interrupted is made again.

    Args:
        config: of the run.
        folder: of the run, whose ``metrics.jsonl`` ends where the run stands.
        step: where that is; a best agent of a later step goes.
    """

    def __init__(self, config: TrainAgentConfig, folder: Path, step: int) -> None:
        self.config, self.folder = config, folder
        checkpoint.drop_later(folder_of(folder, "best"), step)
        self.has_new_best = False  # since the run was saved: a run that is killed would go on without its row
        self.judged = _judged(folder / "metrics.jsonl")
        self._tried_at = self.judged[-1].step if self.judged else 0
        self._envs: VectorisedEnv | None = None

    @property
    def best(self) -> Judged | None:
        """The highest return so far, the first of equal ones; None before the first evaluation."""
        return max(self.judged, key=lambda one: one.mean, default=None)

    def is_due(self, step: int) -> bool:
        """Whether a multiple of ``evaluate_every_steps`` was reached since the last evaluation."""
        every = self.config.evaluate_every_steps
        return bool(every) and step // every > self._tried_at // every

    def evaluate(self, parts: Parts) -> dict[str, float]:
        """Play the episodes, keep a checkpoint of the best agent, and return a row.

        Raises:
            RunError: if the environment fails; the next evaluation begins with a new one.
        """
        agent, self._tried_at = parts.agent, parts.progress.step
        generator = agent.generator
        agent.generator = generator_of(self.config.seed, "evaluation")
        try:
            with agent.by_average():  # as a trained agent acts
                row = self._row(agent)
        except RunError:
            self.close()
            raise
        finally:
            agent.generator = generator
        found = Judged(parts.progress.step, row[RETURN])
        if self.best is None or found.mean > self.best.mean:
            state = {"agent": agent.state_dict(), "progress": parts.progress.state_dict()}
            checkpoint.save(folder_of(self.folder, "best"), state, step=found.step)
            self.has_new_best = True
        self.judged.append(found)
        return row

    def _row(self, agent: Agent) -> dict[str, float]:
        if self._envs is None:
            self._envs = _environment(self.config)
        returns, lengths = self._played(self._envs, agent, ())
        row = {RETURN: float(returns.mean()), "eval/std_reward": float(returns.std())}
        row["eval/mean_ep_length"] = float(lengths.mean())
        spec = self._envs.spec_of_streams
        if self.config.evaluate_each_modality and spec.has_video and spec.has_audio:
            for kept, hidden in ((VIDEO, AUDIO), (AUDIO, VIDEO)):
                returns, _ = self._played(self._envs, agent, (hidden,))
                row[f"{RETURN}_{MODALITIES[kept]}"] = float(returns.mean())
        return row

    def _played(self, envs: VectorisedEnv, agent: Agent, hidden: tuple[int, ...]) -> Any:
        """Return returns and lengths of the episodes, ``(E,)`` each."""
        numbers = range(self.config.evaluate_episodes)
        episodes = [_episode(envs, agent, self.config, number, hidden) for number in numbers]
        return np.array([total for total, _ in episodes]), np.array([length for _, length in episodes])

    def told(self) -> dict[str, str]:
        """Return what the live panel shows."""
        if not self.judged or (best := self.best) is None:
            return {}
        last = self.judged[-1]
        return {"evaluated": f"{last.mean:.4g} at step {last.step:,}, best {best.mean:.4g} at {best.step:,}"}

    def close(self) -> None:
        """Close the environment."""
        if self._envs is not None:
            self._envs.close()
        self._envs = None


def _environment(config: TrainAgentConfig) -> VectorisedEnv:
    """Return the one environment of the evaluation, apart where training's is for safety."""
    is_apart = replace(config, num_envs=1).is_apart
    seed = (config.seed + SEEDS_APART) % 2**32
    timeout_s = config.step_timeout_s
    return VectorisedEnv(config.env, num_envs=1, seed=seed, is_apart=is_apart, timeout_s=timeout_s)


def _episode(
    envs: VectorisedEnv, agent: Agent, config: TrainAgentConfig, number: int, hidden: tuple[int, ...]
) -> tuple[float, int]:
    """Return return and length of one greedy episode.

    Raises:
        RunError: if the environment fails.
    """

    def give(observation: Observation, *, is_first: bool) -> None:
        stacks.push(observation.without(*hidden) if hidden else observation, is_first=is_first)

    arrival = envs.go_to([Position(number)])
    spec: StreamSpec = envs.spec_of_streams
    stacks = History(spec, history=config.memory.history)
    give(envs.newest[0], is_first=True)
    total, length, is_over = 0.0, 0, False
    while not is_over:
        if arrival.faults:
            raise RunError(f"the environment of the evaluation failed: {arrival.faults[0]}")
        arrival = envs.step(stacks.act(agent, 0.0))
        if (reached := arrival.reached[0]) is None:
            continue
        give(reached, is_first=config.agent.terminal_on_life_loss and bool(arrival.life_lost[0]))
        total, length = total + float(arrival.rewards[0]), length + 1
        is_over = bool(arrival.terminated[0] or arrival.truncated[0]) or length == MOST_STEPS
    return total, length


def _judged(path: Path) -> list[Judged]:
    """Return the evaluations that a run's rows tell of; a line that cannot be read is none."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        if RETURN in line and isinstance((row := json.loads(line)).get(RETURN), int | float):
            found.append(Judged(int(row["step"]), float(row[RETURN])))
    return found
