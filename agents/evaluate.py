"""``spl evaluate agent``: what an agent earns with all modalities, and when something happens to one.

The conditions are in :mod:`spl.agents.conditions`, the figures in :mod:`spl.agents.returns`.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import spl
from spl.agents.bundle import bundled_config, check_trusted, is_bundle, read_bundle
from spl.agents.checkpoint import as_saved_now, folder_of
from spl.agents.conditions import UNTOUCHED, Condition, conditions
from spl.agents.config import build_agent, kept_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.env_signature import check_environment, read_environment
from spl.agents.estimates import check_envs
from spl.agents.hub import local_folder
from spl.agents.monitored import Watched, print_monitor, usual_running
from spl.agents.playing import Policy, Watch, has_oracle, oracle, play, policy_of
from spl.agents.returns import Outcome, outcomes_as_json
from spl.agents.robustness import draw_robustness
from spl.agents.sureness import played_choices, sentence_of, sureness
from spl.config.errors import UsageError
from spl.config.ranges import Count, Seed, Share, check_ranges
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import describe_left_out
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.runs import checkpoint
from spl.runs.directory import generator_of, pick_device
from spl.runs.files import replace_text
from spl.runs.logger import print_table, say
from spl.runs.state import check_fits

Which = Literal["last", "best"]  # of a run's checkpoints


@dataclass(frozen=True, kw_only=True)
class EvaluateAgentConfig:
    """How long and how an agent is evaluated."""

    num_episodes: Count = 20  # per seed and condition
    num_seeds: Count = 5  # sets of episodes; every condition plays the same
    conditions: Literal["flagged", "all"] = "flagged"  # all: also failures of which no presence flag tells
    monitor: bool = False  # each condition of which no flag tells once more, under the monitor of modalities
    epsilon: Share = 0.0  # probability of a random action
    seed: Seed = 1_000_000  # of the first set of episodes; differs from those of training
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda where there is one
    checkpoint: Which = "last"  # or the best of the evaluations while it was trained
    trust: bool = False  # import the classes that a bundle names

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def suffix(self) -> str:
        """What the names of the files that are written end in, before the ending."""
        return "" if self.checkpoint == "last" else f"-{self.checkpoint}"


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
    if is_bundle(run):
        if which != "last":
            raise UsageError(f"{run} is a bundle, which has one agent: leave --checkpoint {which} out")
        bundle = read_bundle(run, pick_device(device_name))
        if not trusts:
            check_trusted(run, bundle.config)
        env_config = bundle.config.env
        return bundle.agent, lambda: make_env(env_config), bundle.config.memory.history, bundle.step
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
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"the checkpoint {path} cannot be used: {error}") from error
    finally:
        env.close()
    return agent, lambda: make_env(config.env), config.memory.history, int(state["progress"]["step"])


def env_config_of(run: Path) -> EnvConfig:
    """Return the configuration of the environment that a run or a bundle is of."""
    return bundled_config(run).env if is_bundle(run) else kept_run(run)[1].env


def evaluate(run: str | Path, *, console: Console | None = None, **options: Any) -> dict[str, Any]:
    """Play a run's agent under every condition: :func:`evaluate_agent` with options as keywords.

    Args:
        run: run directory of ``spl train agent``.
        console: where to tell how far it is; standard error by default.
        options: fields of `EvaluateAgentConfig`, such as ``num_episodes=10``.
    """
    return evaluate_agent(local_folder(run), EvaluateAgentConfig(**options), console=console)


def evaluate_agent(
    run: Path, config: EvaluateAgentConfig, *, console: Console | None = None
) -> dict[str, Any]:
    """Play the run's agent under every condition; write ``evaluation.json`` into the run's folder.

    Of the best checkpoint ``evaluation-best.json``.

    Returns:
        What was written: per condition the returns ``(seeds, episodes)``, their interquartile mean and its
        95 % bootstrap interval, what share of the return it retains (:func:`spl.agents.returns.retained`),
        and how they were made. The figure of the shares is written beside it.
    """
    agent, make, history, step = load_agent(run, config.device, config.checkpoint, trusts=config.trust)
    check_envs(config.num_episodes, is_apart=False, option="--num_episodes")
    envs = [make() for _ in range(config.num_episodes)]
    seeds = range(config.seed, config.seed + config.num_seeds)
    policy = policy_of(agent, config.epsilon)
    console = Console(stderr=True) if console is None else console
    for sentence in describe_left_out(envs[0].describe()):
        say(console, f"left out   {sentence}")

    def outcome(policy: Policy, condition: Condition, name: str, watch: Watch | None = None) -> Outcome:
        agent.generator = generator_of(config.seed, name)  # each condition draws for itself
        task = bar.add_task(name, total=len(seeds))
        played = []
        for seed in seeds:
            played.append(play(policy, envs, condition, history=history, seed=seed, watch=watch))
            bar.advance(task)
        return Outcome(np.array([one[0] for one in played]), np.array([one[1] for one in played]))

    columns = TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with torch.inference_mode(), Progress(*columns, console=console, transient=True) as bar:
        outcomes = {"all modalities": outcome(policy, UNTOUCHED, "all modalities")}
        half_length = max(1, round(float(outcomes["all modalities"].lengths.mean()) / 2))
        happening = conditions(
            envs[0].spec_of_streams, half_length, with_unflagged=config.conditions == "all"
        )
        for name, condition in happening.items():
            outcomes[name] = outcome(policy, condition, name)
        monitored: dict[str, Watched] = {}
        if config.monitor:
            usual = usual_running(run, step, agent, envs, bar, history=history, seed=config.seed)
            for name, condition in {"all modalities": UNTOUCHED, **happening}.items():
                if not condition.is_declared:
                    watched = monitored[name] = Watched(usual, condition, num_envs=len(envs))
                    outcomes[f"{name}, monitored"] = outcome(policy, condition, name, watched)
        outcomes["random actions"] = outcome(policy_of(agent, 1.0), UNTOUCHED, "random actions")
        if has_oracle(envs[0]):
            outcomes["oracle"] = outcome(oracle, UNTOUCHED, "oracle")
    for sentence in dict.fromkeys(sentence.partition("; ")[0] for env in envs for sentence in env.news()):
        say(console, f"range      {sentence}")
    num_judged = config.num_episodes * config.num_seeds
    chosen = played_choices(agent, envs[0], history=history, seed=config.seed, num_episodes=num_judged)
    for env in envs:
        env.close()
    made: dict[str, Any] = {
        "run": str(run),
        "checkpoint": config.checkpoint,
        "step": step,
        "fails_midway_at_step": half_length,
    }
    result = made | how_made(config) | outcomes_as_json(outcomes, config.seed)
    told = sureness(chosen)
    result["sureness"] = told | {"sentence": sentence_of(told)}
    for name, condition in happening.items():
        result["conditions"][name] |= condition.as_json()
    for name, watched in monitored.items():
        result["conditions"][f"{name}, monitored"] |= watched.as_json()
    replace_text(file_of(run, config), json.dumps(result, indent=1) + "\n")
    draw_robustness(result, run, f"robustness{config.suffix}")
    return result


def file_of(run: Path, config: EvaluateAgentConfig) -> Path:
    """Return where an evaluation is written."""
    return run / f"evaluation{config.suffix}.json"


def how_made(config: EvaluateAgentConfig) -> dict[str, Any]:
    """Return how an evaluation was made, as JSON holds it."""
    return {
        "episodes": config.num_episodes,
        "seeds": list(range(config.seed, config.seed + config.num_seeds)),
        "epsilon": config.epsilon,
        "spl": spl.__version__,
        "torch": str(torch.__version__),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def print_evaluation(result: dict[str, Any]) -> None:
    """Print the table of :func:`evaluate_agent`."""
    columns = ["condition", "IQM", "95 % interval", "mean ± sd", "steps", "retained", "95 % interval"]
    rows = []
    for name, one in result["conditions"].items():
        low, high = one["interval_95"]
        row = [
            name,
            f"{one['interquartile_mean']:.2f}",
            f"{low:.2f} … {high:.2f}",
            f"{one['mean']:.2f} ± {one['standard_deviation']:.2f}",
            f"{one['mean_length']:.0f}",
            *retained_cells(one),
        ]
        rows.append(row)
    num_episodes = result["episodes"] * len(result["seeds"])
    title = f"Return over {num_episodes} episodes a condition, agent at step {result['step']:,}"
    print_table(title, columns, rows)
    if "not_retained" in result:
        print(result["not_retained"])
    print(result["sureness"]["sentence"])
    print_monitor(result)


def retained_cells(one: dict[str, Any]) -> list[str]:
    """Return a condition's retained share and its interval, as cells of a table."""
    if "retained" not in one:
        return ["-", "-"]
    low, high = one["retained_95"]
    return [f"{one['retained']:.0%}", f"{low:.0%} … {high:.0%}"]
