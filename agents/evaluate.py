"""``spl evaluate agent``: returns with all modalities, one alone, noise on one, and one failing midway."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import spl
from spl.agents.config import build_agent, read_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.env_signature import check_environment, read_environment
from spl.agents.estimates import check_envs
from spl.agents.history import History
from spl.agents.protocol import Agent
from spl.config.errors import UsageError
from spl.config.ranges import Count, Seed, Share, check_ranges
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import describe_left_out
from spl.envs.registry import make_env
from spl.envs.resumable import reset_seed
from spl.records import AUDIO, VIDEO, Observation, StreamSpec
from spl.runs import checkpoint
from spl.runs.directory import generator_of, pick_device
from spl.runs.files import replace_text
from spl.runs.logger import print_table, say
from spl.runs.state import check_fits

NUM_RESAMPLES = 2_000  # of the bootstrap
VIDEO_NOISE = 64.0  # standard deviation, of 255
AUDIO_NOISE = 0.25  # standard deviation, in levels of 100 dB; of a waveform, in full scales
Spoil = Callable[[Observation, int, np.random.Generator], Observation]
Policy = Callable[[History, Sequence[AudioVisualEnv], list[int]], list[int]]


@dataclass(frozen=True, kw_only=True)
class EvaluateAgentConfig:
    """How long and how an agent is evaluated."""

    num_episodes: Count = 20  # per seed and condition
    num_seeds: Count = 5  # sets of episodes; every condition plays the same
    epsilon: Share = 0.0  # probability of a random action
    seed: Seed = 1_000_000  # of the first set of episodes; differs from those of training
    device: str = "auto"  # cpu, cuda, or auto: cuda where there is one

    def __post_init__(self) -> None:
        check_ranges(self)


class Outcome(NamedTuple):
    """Returns and lengths under one condition, ``(seeds, episodes)``."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]


def interquartile_mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the middle half: a quarter of the values, rounded down, is cut at each end.

    Source: Agarwal et al. (2021), Deep RL at the edge of the statistical precipice, section 4.3.
    """
    ordered = np.sort(values, axis=None)
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def bootstrap_interval(values: NDArray[np.float64], generator: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of the interquartile mean of ``values (seeds, episodes)``.

    Percentile bootstrap, the episodes drawn anew within each seed (stratified).
    """
    num_seeds, num_episodes = values.shape
    rows = np.arange(num_seeds)[:, None]
    means = [
        interquartile_mean(values[rows, generator.integers(num_episodes, size=values.shape)])
        for _ in range(NUM_RESAMPLES)
    ]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def noisy(sense: int, *, is_waveform: bool = False) -> Spoil:
    """Return a condition that adds Gaussian noise to one sense, which still counts as present.

    A log-mel level is cut at 0, which is silence; a waveform swings about it and is cut at full scale.
    """

    def spoil(observation: Observation, step: int, generator: np.random.Generator) -> Observation:
        if sense == VIDEO:
            noise = generator.normal(0.0, VIDEO_NOISE, observation.video.shape)
            return observation._replace(video=np.clip(observation.video + noise, 0, 255).astype(np.uint8))
        audio = observation.audio
        noise = generator.normal(0.0, AUDIO_NOISE, audio.shape)
        if audio.dtype == np.int8:
            levels = np.clip(np.rint(audio + 128.0 * noise), -128, 127)
            return observation._replace(audio=levels.astype(np.int8))
        spoilt = np.clip(audio + noise, -1.0, 1.0) if is_waveform else np.maximum(audio + noise, 0)
        return observation._replace(audio=spoilt.astype(np.float16))

    return spoil


def missing(sense: int, from_step: int = 0) -> Spoil:
    """Return a condition in which one sense is absent from a step on."""

    def spoil(observation: Observation, step: int, generator: np.random.Generator) -> Observation:
        return observation.without(sense) if step >= from_step else observation

    return spoil


def untouched(observation: Observation, step: int, generator: np.random.Generator) -> Observation:
    """Leave the observation as it is."""
    return observation


def conditions(spec: StreamSpec, half_length: int, *, is_waveform: bool = False) -> dict[str, Spoil]:
    """Return what is done to the senses that ``spec`` has, by the name of the condition."""
    if not (spec.has_video and spec.has_audio):
        sense, name = (VIDEO, "video") if spec.has_video else (AUDIO, "audio")
        return {
            f"without {name}": missing(sense),
            f"noise on {name}": noisy(sense, is_waveform=is_waveform),
            f"{name} fails midway": missing(sense, half_length),
        }
    return {
        "video only": missing(AUDIO),
        "audio only": missing(VIDEO),
        "noise on video": noisy(VIDEO),
        "noise on audio": noisy(AUDIO, is_waveform=is_waveform),
        "video fails midway": missing(VIDEO, half_length),
        "audio fails midway": missing(AUDIO, half_length),
    }


def play(
    policy: Policy, envs: Sequence[AudioVisualEnv], spoil: Spoil, *, history: int, seed: int
) -> tuple[list[float], list[int]]:
    """Play one episode in each environment, all in step; return their returns and lengths."""
    generator = generator_of(seed, "condition")
    stacks = History(envs[0].spec_of_streams, history=history, num_envs=len(envs))
    totals, lengths = [0.0] * len(envs), [0] * len(envs)
    for position, env in enumerate(envs):
        observation, _ = env.reset(seed=reset_seed(seed, position))
        stacks.push(spoil(observation, 0, generator), position, is_first=True)
    running = list(range(len(envs)))
    while running:
        actions = policy(stacks, envs, running)
        still_running = []
        for position, action in zip(running, actions, strict=True):
            observation, reward, terminated, truncated, _ = envs[position].step(action)
            totals[position] += reward
            lengths[position] += 1
            if not (terminated or truncated):
                stacks.push(spoil(observation, lengths[position], generator), position, is_first=False)
                still_running.append(position)
        running = still_running
    return totals, lengths


def policy_of(agent: Agent, epsilon: float) -> Policy:
    """Return the agent as a policy over the environments still running."""
    return lambda stacks, envs, running: agent.act(stacks.stack(running), epsilon)


def oracle(stacks: History, envs: Sequence[AudioVisualEnv], running: list[int]) -> list[int]:
    """Return what an environment that knows its own best action would do."""
    return [int(envs[position].get_wrapper_attr("oracle_action")()) for position in running]


def load_agent(
    run: Path, device_name: str = "auto"
) -> tuple[MultimodalDqn, Callable[[], AudioVisualEnv], int, int]:
    """Return the agent of a run, a maker of its environment, its history and the checkpoint's step.

    Raises:
        UsageError: if it is not an agent's run, or has no readable checkpoint.
    """
    config = read_run(run)
    path = checkpoint.latest(run / "checkpoints")
    if path is None:
        raise UsageError(f"{run} has no checkpoint yet: let it train for longer")
    device = pick_device(device_name)
    env = make_env(config.env)
    try:
        check_environment(read_environment(run), env.describe(), run)
        agent = build_agent(config, env.spec_of_streams, env.num_actions, device)
        state = checkpoint.load(run / "checkpoints")
        check_fits(state, {"agent": agent.state_dict(), "progress": {"step": 0}}, "checkpoint")
        agent.load_state_dict(state["agent"])
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"the checkpoint {path} cannot be used: {error}") from error
    finally:
        env.close()
    return agent, lambda: make_env(config.env), config.memory.history, int(state["progress"]["step"])


def evaluate_agent(
    run: Path, config: EvaluateAgentConfig, *, console: Console | None = None
) -> dict[str, Any]:
    """Play the run's newest agent under every condition; write ``evaluation.json`` into the run's folder.

    Returns:
        What was written: per condition the returns ``(seeds, episodes)``, their interquartile mean and its
        95 % bootstrap interval, and how they were made.
    """
    agent, make, history, step = load_agent(run, config.device)
    check_envs(config.num_episodes, is_apart=False, option="--num_episodes")
    envs = [make() for _ in range(config.num_episodes)]
    seeds = range(config.seed, config.seed + config.num_seeds)
    policy = policy_of(agent, config.epsilon)
    console = Console(stderr=True) if console is None else console
    for sentence in describe_left_out(envs[0].describe()):
        say(console, f"left out   {sentence}")

    def outcome(policy: Policy, spoil: Spoil, name: str) -> Outcome:
        agent.generator = generator_of(config.seed, name)  # each condition draws for itself
        task = bar.add_task(name, total=len(seeds))
        played = []
        for seed in seeds:
            played.append(play(policy, envs, spoil, history=history, seed=seed))
            bar.advance(task)
        return Outcome(np.array([one[0] for one in played]), np.array([one[1] for one in played]))

    columns = TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with torch.inference_mode(), Progress(*columns, console=console, transient=True) as bar:
        outcomes = {"all modalities": outcome(policy, untouched, "all modalities")}
        half_length = max(1, round(float(outcomes["all modalities"].lengths.mean()) / 2))
        is_waveform = envs[0].config.audio_features == "waveform"
        for name, spoil in conditions(envs[0].spec_of_streams, half_length, is_waveform=is_waveform).items():
            outcomes[name] = outcome(policy, spoil, name)
        outcomes["random actions"] = outcome(policy_of(agent, 1.0), untouched, "random actions")
        if envs[0].has_wrapper_attr("oracle_action"):
            outcomes["oracle"] = outcome(oracle, untouched, "oracle")
    for sentence in dict.fromkeys(sentence.partition("; ")[0] for env in envs for sentence in env.news()):
        say(console, f"range      {sentence}")
    for env in envs:
        env.close()
    made = {"run": str(run), "step": step, "fails_midway_at_step": half_length}
    result = made | told_outcomes(outcomes, config)
    replace_text(run / "evaluation.json", json.dumps(result, indent=1) + "\n")
    return result


def told_outcomes(outcomes: dict[str, Outcome], config: EvaluateAgentConfig) -> dict[str, Any]:
    """Return all conditions' figures and how they were made, as JSON holds them."""
    return {
        "episodes": config.num_episodes,
        "seeds": list(range(config.seed, config.seed + config.num_seeds)),
        "epsilon": config.epsilon,
        "spl": spl.__version__,
        "torch": str(torch.__version__),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "conditions": {name: told(one, config.seed) for name, one in outcomes.items()},
    }


def told(outcome: Outcome, seed: int) -> dict[str, Any]:
    """Return one condition's figures as JSON holds them."""
    low, high = bootstrap_interval(outcome.returns, generator_of(seed, "bootstrap"))
    return {
        "interquartile_mean": interquartile_mean(outcome.returns),
        "interval_95": [low, high],
        "mean": float(outcome.returns.mean()),
        "standard_deviation": float(outcome.returns.std()),
        "mean_length": float(outcome.lengths.mean()),
        "returns": outcome.returns.tolist(),
    }


def print_evaluation(result: dict[str, Any]) -> None:
    """Print the table of :func:`evaluate_agent`; the oracle's share where there is an oracle."""
    found = result["conditions"]
    best = found["oracle"]["mean"] if "oracle" in found else None
    columns = ["condition", "IQM", "95 % interval", "mean ± sd", "steps"]
    rows = []
    for name, one in found.items():
        low, high = one["interval_95"]
        row = [
            name,
            f"{one['interquartile_mean']:.2f}",
            f"{low:.2f} … {high:.2f}",
            f"{one['mean']:.2f} ± {one['standard_deviation']:.2f}",
            f"{one['mean_length']:.0f}",
        ]
        rows.append([*row, f"{one['mean'] / best:.0%}"] if best else row)
    num_episodes = result["episodes"] * len(result["seeds"])
    title = f"Return over {num_episodes} episodes a condition, agent at step {result['step']:,}"
    print_table(title, [*columns, "of oracle"] if best else columns, rows)
