"""``spl evaluate agent``: what an agent earns with all modalities, and when something happens to one.

The conditions are in :mod:`spl.agents.conditions`, the figures in :mod:`spl.agents.evaluation.returns`.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import spl
from spl.agents.conditions import MOST_STEPS, UNTOUCHED, Condition, conditions
from spl.agents.dqn import MultimodalDqn
from spl.agents.estimates import check_envs
from spl.agents.evaluation.monitored import Watched, print_monitor, usual_running
from spl.agents.evaluation.playing import Policy, Watch, has_oracle, oracle, play, policy_of
from spl.agents.evaluation.returns import ALL, ORACLE, RANDOM, Outcome, outcomes_as_json
from spl.agents.evaluation.robustness import draw_robustness
from spl.agents.evaluation.sureness import played_sureness
from spl.agents.hub import local_folder
from spl.agents.load import Which, load_agent
from spl.config.fields import check_fields
from spl.config.ranges import Count, Seed, Share
from spl.config.ranges import Threads as NumThreads
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import describe_left_out
from spl.envs.resumable import reset_seed
from spl.processes.threads import Threads, torch_as_before
from spl.runs.directory import generator_of
from spl.runs.files import OWN, replace_text, writable
from spl.runs.logger import print_table, say


@dataclass(frozen=True, kw_only=True)
class EvaluateAgentConfig:
    """How long and how an agent is evaluated."""

    num_episodes: Count = 20  # per seed and condition
    num_seeds: Count = 5  # sets of episodes; every condition plays the same
    conditions: Literal["flagged", "all"] = "flagged"  # all: also failures that no presence flag reports
    monitor: bool = False  # also play each unflagged failure with the monitor of modalities
    epsilon: Share = 0.0  # probability of a random action
    seed: Seed = 1_000_000  # of the first set of episodes; differs from those of training
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    num_threads: NumThreads | None = None  # of torch on the CPU; null: as many as there are free cores
    checkpoint: Which = "last"  # newest checkpoint, or the best one evaluated during training
    trust: bool = False  # import the classes that a bundle names

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def suffix(self) -> str:
        """What the names of the files that are written end in, before the ending."""
        return "" if self.checkpoint == "last" else f"-{self.checkpoint}"


def evaluate(run: str | Path, *, console: Console | None = None, **options: Any) -> dict[str, Any]:
    """Play a run's agent under every condition: :func:`evaluate_agent` with options as keywords.

    Args:
        run: run directory of ``spl train agent``.
        console: where to tell how far it is; standard error by default.
        options: fields of `EvaluateAgentConfig`, such as ``num_episodes=10``.
    """
    return evaluate_agent(run, EvaluateAgentConfig(**options), console=console)


def evaluate_agent(
    run: str | Path, config: EvaluateAgentConfig, *, console: Console | None = None
) -> dict[str, Any]:
    """Play the run's agent under every condition; write ``evaluation.json`` into the run's folder.

    Of the best checkpoint ``evaluation-best.json``.

    Returns:
        What was written: per condition the returns ``(seeds, episodes)``, their interquartile mean and its
        95 % bootstrap interval, what share of the return it retains
        (:func:`spl.agents.evaluation.returns.retained`), and how they were made. The figure of the shares is
        written beside it.
    """
    run, console = local_folder(run), Console(stderr=True) if console is None else console
    columns = TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with contextlib.ExitStack() as held:
        held.enter_context(torch_as_before())
        Threads(config.num_threads)
        agent, make, history, step = load_agent(run, config.device, config.checkpoint, trusts=config.trust)
        writable(run, OWN)
        check_envs(config.num_episodes, is_apart=False, option="--num_episodes")
        envs = [held.enter_context(contextlib.closing(make())) for _ in range(config.num_episodes)]
        for sentence in describe_left_out(envs[0].describe()):
            say(console, f"left out   {sentence}")
        with torch.inference_mode(), Progress(*columns, console=console, transient=True) as bar:
            rounds = Rounds(agent, envs, history, config, bar)
            rounds.play_all(run, step)
        for sentence in dict.fromkeys(sentence.partition("; ")[0] for env in envs for sentence in env.news()):
            say(console, f"range      {sentence}")
        num_judged = config.num_episodes * config.num_seeds
        sure = played_sureness(agent, envs[0], history=history, seed=config.seed, num_episodes=num_judged)
    made = {"run": str(run), "checkpoint": config.checkpoint, "step": step}
    result = made | how_made(config) | rounds.as_json() | {"sureness": sure}
    replace_text(file_of(run, config), json.dumps(result, indent=1) + "\n")
    draw_robustness(result, run, f"robustness{config.suffix}")
    return result


@dataclass
class Rounds:
    """The same sets of episodes, played under one condition after the other."""

    agent: MultimodalDqn
    envs: Sequence[AudioVisualEnv]
    history: int
    config: EvaluateAgentConfig
    bar: Progress

    def __post_init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}  # by the condition's name
        self.happening: dict[str, Condition] = {}  # what happens to a modality
        self.monitored: dict[str, Watched] = {}

    def play_all(self, run: Path, step: int) -> None:
        """Play the run's agent of that step under every condition, then chance, and an oracle if any."""
        agent, config = self.agent, self.config
        policy = policy_of(agent, config.epsilon)
        self.play(policy, UNTOUCHED, ALL)
        streams, is_all = self.envs[0].spec_of_streams, config.conditions == "all"
        self.happening = conditions(streams, self.half_length, with_unflagged=is_all)
        for name, condition in self.happening.items():
            self.play(policy, condition, name)
        if config.monitor:
            usual = usual_running(
                run, step, agent, self.envs, self.bar, history=self.history, seed=config.seed
            )
            for name, condition in {ALL: UNTOUCHED, **self.happening}.items():
                if not condition.is_declared:
                    watched = self.monitored[name] = Watched(usual, condition, num_envs=len(self.envs))
                    self.play(policy, condition, f"{name}, monitored", watched)
        self.play(policy_of(agent, 1.0), UNTOUCHED, RANDOM)
        if has_oracle(self.envs[0]):
            self.play(oracle, UNTOUCHED, ORACLE)

    def play(self, policy: Policy, condition: Condition, name: str, watch: Watch | None = None) -> None:
        """Play all sets of episodes under a condition, which draws for itself."""
        self.agent.generator = generator_of(self.config.seed, name)
        seeds = range(self.config.seed, self.config.seed + self.config.num_seeds)
        task = self.bar.add_task(name, total=len(seeds))
        played = []
        for seed in seeds:
            played.append(play(policy, self.envs, condition, history=self.history, seed=seed, watch=watch))
            self.bar.advance(task)
        self.outcomes[name] = Outcome(*(np.array(found) for found in zip(*played, strict=True)))

    @property
    def half_length(self) -> int:
        """The step at which a modality fails midway: half an episode with all of them."""
        return max(1, round(float(self.outcomes[ALL].lengths.mean()) / 2))

    def as_json(self) -> dict[str, Any]:
        """Return what the conditions came to, and what they were."""
        result = outcomes_as_json(self.outcomes, self.config.seed)
        for name, condition in self.happening.items():
            result["conditions"][name] |= condition.as_json()
            if condition.from_step:  # an episode may end before
                reached = self.outcomes[name].lengths > condition.from_step
                result["conditions"][name]["share_reached"] = float(reached.mean())
        for name, watched in self.monitored.items():
            result["conditions"][f"{name}, monitored"] |= watched.as_json()
        return {"fails_midway_at_step": self.half_length, **result}


def file_of(run: Path, config: EvaluateAgentConfig) -> Path:
    """Return where an evaluation is written."""
    return run / f"evaluation{config.suffix}.json"


def how_made(config: EvaluateAgentConfig) -> dict[str, Any]:
    """Return how an evaluation was made, as JSON holds it."""
    seeds, episodes = range(config.seed, config.seed + config.num_seeds), range(config.num_episodes)
    return {
        "episodes": config.num_episodes,
        "seeds": list(seeds),
        "reset_seeds": [[reset_seed(seed, episode) for episode in episodes] for seed in seeds],
        "epsilon": config.epsilon,
        "most_steps": MOST_STEPS,
        "spl": spl.__version__,
        "torch": str(torch.__version__),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def print_evaluation(result: dict[str, Any]) -> None:
    """Print the table of :func:`evaluate_agent`."""
    columns = ["condition", "IQM", "95 % interval", "mean ± sd", "steps", "retained", "95 % interval"]
    num_episodes, rows = result["episodes"] * len(result["seeds"]), []
    for name, one in result["conditions"].items():
        low, high = one["interval_95"]
        row = [
            name,
            f"{one['interquartile_mean']:.2f}",
            f"{low:.2f} … {high:.2f}" if num_episodes > 1 else "-",  # one episode has no spread
            f"{one['mean']:.2f} ± {one['standard_deviation']:.2f}",
            f"{one['mean_length']:.0f}",
            *retained_cells(one),
        ]
        rows.append(row)
    episodes = f"{num_episodes} episode{'s' * (num_episodes != 1)}"
    title = f"Return over {episodes} a condition, agent at step {result['step']:,}"
    print_table(title, columns, rows)
    if "not_retained" in result:
        print(result["not_retained"])
    for sentence in remarks_on(result):
        print(sentence)
    print(result["sureness"]["sentence"])
    print_monitor(result)


def remarks_on(result: dict[str, Any]) -> Iterator[str]:
    """Yield what the table does not show: failures that came too late, and episodes that were cut."""
    shares = (one.get("share_reached", 1.0) for one in result["conditions"].values())
    if late := [share for share in shares if share < 1.0]:
        spread = f"{min(late):.0%}" if min(late) == max(late) else f"{min(late):.0%} to {max(late):.0%}"
        yield (
            f"what fails midway does so at step {result['fails_midway_at_step']:,}, which {spread} of the "
            "episodes reach; those that end before count, too"
        )
    num_cut = sum(one["num_cut"] for one in result["conditions"].values())
    if num_cut:
        most = result["most_steps"]
        yield f"{num_cut:,} episodes did not end by themselves: they were cut after {most:,} steps"


def retained_cells(one: dict[str, Any]) -> list[str]:
    """Return a condition's retained share and its interval, as cells of a table."""
    if "retained" not in one:
        return ["-", "-"]
    low, high = one["retained_95"]
    return [f"{one['retained']:.0%}", f"{low:.0%} … {high:.0%}"]
