"""What plays in a run: in this process, or in that of a collector."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from spl.agents.collectors.chunks import Recorder
from spl.agents.collectors.options import Plan
from spl.agents.collectors.progress import Progress
from spl.agents.collectors.protocol import Player
from spl.agents.config import TrainAgentConfig, build_agent
from spl.agents.custom_network import own_classes
from spl.agents.dqn import MultimodalDqn
from spl.agents.exploration import ModalityDropout
from spl.agents.loop import Collector
from spl.agents.protocol import Remembering
from spl.config.errors import UsageError
from spl.envs.vector import VectorisedEnv
from spl.records import Observation
from spl.runs.directory import generator_of


def new_collector(
    config: TrainAgentConfig,
    agent: MultimodalDqn,
    envs: VectorisedEnv,
    memory: Remembering,
    progress: Progress,
    draws: np.random.Generator,
    epsilon_at: Callable[[int], float],
    see: Callable[[Observation], None] | None = None,
) -> Collector:
    """Return the collector of a run, in any process; ``draws`` decides what is hidden from it."""
    share, mean_steps = config.agent.modality_dropout, config.agent.modality_dropout_steps
    return Collector(
        agent,
        envs,
        memory,
        progress,
        epsilon_at=epsilon_at,
        dropout=ModalityDropout(share, mean_steps, draws, num_envs=config.num_envs),
        keep_reward=config.agent.kept_reward,
        remembers_hidden=agent.has_thirds,
        ends_at_life_loss=config.agent.terminal_on_life_loss,
        see=see,
    )


def start(config: TrainAgentConfig, envs: VectorisedEnv, *, has_crew: bool) -> dict[int, Observation]:
    """Return where the environments of a run begin; nothing of those that its collectors only look at.

    Raises:
        UsageError: if lives shall end what is learned, and the environment tells none.
        RunError: if an environment cannot be reset.
    """
    needs_lives = config.agent.terminal_on_life_loss
    if has_crew and not needs_lives:
        return {}
    begun = envs.start().begun
    if needs_lives and not envs.counts_lives():
        raise UsageError(
            f"agent.terminal_on_life_loss needs info['lives'], which {config.env.id} lacks: set it to false"
        )
    return {} if has_crew else begun


def plan_of(config: TrainAgentConfig) -> Plan:
    """Return how the collectors of a run play."""
    return Plan(
        num_collectors=config.collectors,
        num_envs=config.num_envs,
        num_steps=config.num_steps,
        chunk_steps=config.chunk_steps,
        is_ordered=config.ordered,
        has_ladder=config.agent.epsilon_ladder,
        epsilon_at=config.agent.epsilon_at,
        env=config.env,
        classes=own_classes(config),
        ray=config.ray,
    )


def open_player(config: TrainAgentConfig, index: int, seeding: int) -> Player:
    """Return what plays in a collector, its seeds from how often it has begun anew.

    Nothing of the learner's device or compilation is there.
    """
    config = replace(config, device="cpu", agent=replace(config.agent, compile=False))
    who = f"collector {index}, begun {seeding} times"
    envs = VectorisedEnv(
        config.env,
        num_envs=config.num_envs,
        seed=int(generator_of(config.seed, f"environments of {who}").integers(2**32)),
        is_apart=bool(config.env_workers) or config.step_timeout_s is not None,
        timeout_s=config.step_timeout_s,
    )
    agent = build_agent(config, envs.spec_of_streams, envs.action_sizes, torch.device("cpu"))
    agent.generator = generator_of(config.seed, f"exploration of {who}")
    progress = Progress()
    recorder = Recorder(
        envs.spec_of_streams._replace(recurrent=agent.network.num_remembered),
        history=config.memory.history,
        num_dimensions=len(envs.action_sizes),
    )
    draws, epsilon_at = (
        generator_of(config.seed, f"dropout of {who}"),
        partial(plan_of(config).epsilon_of, index),
    )
    acting = new_collector(config, agent, envs, recorder, progress, draws, epsilon_at)
    return Player(envs, agent, progress, recorder, acting)
