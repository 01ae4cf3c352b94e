"""A trained agent, read from its run or from a bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from spl.agents.bundle import bundled_config, check_trusted, is_bundle, read_bundle
from spl.agents.checkpoint import as_saved_now, folder_of
from spl.agents.config import TrainAgentConfig, build_agent, kept_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.env_signature import check_environment, read_environment
from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.runs import checkpoint
from spl.runs.directory import pick_device
from spl.runs.state import MISFIT, check_fits

Which = Literal["last", "best"]  # of a run's checkpoints


def load_agent(
    run: Path, device_name: str = "auto", which: Which = "last", *, trusts: bool = False
) -> tuple[MultimodalDqn, Callable[[], AudioVisualEnv], int, int]:
    """Return the agent of a run, a maker of its environment, its history and the checkpoint's step.

    Of a run with restarts, the one that was kept. The ``best`` checkpoint is that of the highest return when
    the run was evaluated while it was trained. A bundle serves as a run; ``trusts`` lets the classes of its
    environment be imported.

    Raises:
        UsageError: if it is not an agent's run, or has no readable checkpoint.
    """
    check_which(run, which)
    if is_bundle(run):
        bundle = read_bundle(run, pick_device(device_name))
        if not trusts:
            check_trusted(run, bundle.config)
        return bundle.agent, maker_of_env(bundle.config), bundle.config.memory.history, bundle.step
    run, config = kept_run(run)
    folder = folder_of(run, which)
    path = checkpoint.latest(folder)
    if path is None and which == "best":
        raise UsageError(
            f"{run} has no best checkpoint: train it with --evaluate_every_steps, or use the last"
        )
    if path is None:
        raise UsageError(f"{run} has no checkpoint yet: let it train for longer")
    device = pick_device(device_name)
    env = make_env(config.env)
    try:
        check_environment(read_environment(run), env.describe(), run)
        agent = build_agent(config, env.spec_of_streams, env.action_sizes, device)
        state = as_saved_now(checkpoint.load(folder), agent)
        check_fits(state, {"agent": agent.state_dict(), "progress": {"step": 0}}, "checkpoint")
        agent.load_state_dict(state["agent"])
        agent.act_by_average()
    except MISFIT as error:
        raise UsageError(f"the checkpoint {path} cannot be used: {error}") from error
    finally:
        env.close()
    return agent, maker_of_env(config), config.memory.history, int(state["progress"]["step"])


def maker_of_env(config: TrainAgentConfig) -> Callable[[], AudioVisualEnv]:
    """Return what makes a run's environment, in which the agent's stacks begin where they did in training."""

    def make() -> AudioVisualEnv:
        env = make_env(config.env)
        env.begins_at_life_loss = config.agent.terminal_on_life_loss
        return env

    return make


def check_which(run: Path, which: str) -> None:
    """Refuse a checkpoint that there cannot be: of a bundle, or by another name.

    Raises:
        UsageError: saying so.
    """
    if which not in get_args(Which):
        raise UsageError(f"checkpoint must be {' or '.join(map(repr, get_args(Which)))}, got {which!r}")
    if which != "last" and is_bundle(run):
        raise UsageError(f"{run} is a bundle, which has one agent: leave --checkpoint {which} out")


def env_config_of(run: Path) -> EnvConfig:
    """Return the configuration of the environment that a run or a bundle is of."""
    return bundled_config(run).env if is_bundle(run) else kept_run(run)[1].env
