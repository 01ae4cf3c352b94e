"""What hearing buys, and how soon: our agent and Stable-Baselines3's DQN and QR-DQN on tasks seen and heard.

Each cell, a task by an agent and a seed, is a process of its own on one thread, and leaves
``OUT/TASK/AGENT/seed-S.json``. What is there is kept: start the same command again to go on, with more tasks
and seeds if you like. ``--table FILE`` writes the tables of all cells that are there, and ``--picture FILE``
draws their returns while training.

All agents get the same observations of our adapter, and share the preset's discount, scale and clipping of
rewards, history, exploration, number of updates and size of a batch. The rest of the peers is RL Baselines3
Zoo's for Atari: Nature CNN, Adam at 1e-4, a target copied every 1,000 updates, one-step returns; their sound
goes through a perceptron of 256 and 128. Extras: atari, doom, bench.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from board_picture import draw

from board_tables import AGENTS, DEAF, EQUAL, FAST, FAST_OPTIONS, PEERS, RECENT, write_table
from timing import own_cpu_s

NUM_EPISODES, NUM_SETS = 10, 2  # that judge a cell under each condition
EVERY_S = 60.0  # a cell tells how far it is
UNHEARD = ({"gymnasium.wrappers:FilterObservation": {"filter_keys": ["video"]}},)


class Task(NamedTuple):
    """What is trained, for how long, and how its sound is left out."""

    words: tuple[str, ...]  # options of spl train agent
    num_steps: int
    deaf: dict[str, Any]  # of the environment's options

    @property
    def command(self) -> str:
        """What trains our agent."""
        return f"spl train agent {' '.join(self.words)} --num_steps {self.num_steps} --num_threads 1"


def atari(game: str) -> Task:
    """Return a game of ALE, with sticky actions."""
    words = ("--config", "atari", "--env.id", f"ALE/{game}-v5", "--agent.thirds", "none")
    return Task(
        (*words, "--encoder.video_stream", "small-pooled", "--encoder.attention", "none"),
        100_000,
        {"kwargs": {"sound_obs": False}},
    )


TASKS = {
    "Greeting": Task(("--config", "greeting"), 15_000, {"wrappers": UNHEARD}),
    "Pendulum": Task(("--config", "pendulum"), 15_000, {"wrappers": UNHEARD}),
    "Hyperhot": Task(("--config", "hyperhot"), 15_000, {"wrappers": UNHEARD}),
    "VizdoomBasicAudio": Task(
        ("--config", "doom"), 30_000, {"kwargs": {"audio_buffer_enabled": False}, "stereo": False}
    ),
    **{game: atari(game) for game in ("Pong", "Breakout", "Seaquest", "SpaceInvaders")},
}


def train_and_judge(task: Task, agent: str, seed: int, note: Any) -> dict[str, list[float]]:
    """Return the returns under each condition of an agent that is trained here.

    Args:
        task, agent, seed: which cell.
        note: called with the step and the return of each training episode.
    """
    import torch

    from spl.agents.conditions import UNTOUCHED, Condition
    from spl.agents.config import TrainAgentConfig
    from spl.agents.evaluation.playing import play
    from spl.config.parse import parse
    from spl.envs.registry import make_env
    from spl.records import AUDIO, VIDEO

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    words = [*task.words, *(FAST_OPTIONS if agent == FAST else ())]
    words += ["--num_steps", str(task.num_steps), "--num_threads", "1", "--seed", str(seed)]
    config = parse(TrainAgentConfig, words, prog="board")
    if agent in (DEAF, EQUAL, FAST):
        config = replace(config, agent=replace(config.agent, thirds="none", modality_dropout=0.0))
    if agent == DEAF:
        config = replace(config, env=replace(config.env, **task.deaf))
    policy = (peer if agent in PEERS else ours)(config, agent, note)
    under = {"all": UNTOUCHED, "video only": Condition(AUDIO), "audio only": Condition(VIDEO)}
    if agent == DEAF:
        under = {"all": UNTOUCHED}
    envs = [make_env(config.env) for _ in range(NUM_EPISODES)]
    history, sets = config.memory.history, range(1_000_000, 1_000_000 + NUM_SETS)
    rng, num_actions = np.random.default_rng(seed), envs[0].action_sizes[0]

    def chance(stacks: Any, envs: Any, running: list[int]) -> list[int]:
        return [int(rng.integers(num_actions)) for _ in running]

    def returns(name: str, actor: Any, condition: Condition) -> list[float]:
        print(f"  playing {NUM_EPISODES * NUM_SETS} episodes: {name}", file=sys.stderr, flush=True)
        played = (play(actor, envs, condition, history=history, seed=start) for start in sets)
        return [total for totals, _ in played for total in totals]

    with torch.inference_mode():
        found = {name: returns(name, policy, condition) for name, condition in under.items()}
        found["random"] = returns("random", chance, UNTOUCHED)
    for one in envs:
        one.close()
    return found


def ours(config: Any, agent: str, note: Any) -> Any:
    """Return the policy of our agent, trained as ``config`` says."""
    from rich.console import Console

    from spl.agents.evaluation.playing import policy_of
    from spl.agents.load import load_agent
    from spl.agents.train import train_agent

    with tempfile.TemporaryDirectory(prefix="board-") as folder, open(os.devnull, "w") as nowhere:
        done = train_agent(
            replace(config, runs=folder, save_memory=False),
            command=sys.argv,
            console=Console(file=nowhere),
            on_episode=lambda step, episode: note(step, episode.total),
        )
        if not done.is_finished:
            raise SystemExit(1)
        trained, *_ = load_agent(done.folder)
    return policy_of(trained, 0.0)


def peer(config: Any, agent: str, note: Any) -> Any:
    """Return the policy of a peer, trained on the environment and by the schedule of ``config``."""
    from stable_baselines3.common.callbacks import BaseCallback

    from contenders.agent import Stacked, stacks_of, train_peer

    learns = config.agent
    explores = learns.epsilon_warmup_steps + learns.epsilon_decay_steps
    totals = [0.0]

    class Episodes(BaseCallback):
        """Adds the rewards up."""

        def _on_step(self) -> bool:
            totals[0] += self.locals["infos"][0]["reward"]
            if self.locals["dones"][0]:
                note(self.num_timesteps, totals[0])
                totals[0] = 0.0
            return True

    model = train_peer(
        functools.partial(Stacked, config.env, history=config.memory.history, kept=learns.kept_reward),
        peer=agent,
        num_steps=config.num_steps,
        callback=Episodes(),
        buffer_size=min(config.num_steps, 50_000),
        learning_starts=config.memory.min_size,
        batch_size=config.loop.batch_size,
        train_freq=config.loop.collect_steps,
        gradient_steps=config.loop.replays,
        gamma=learns.gamma,
        target_update_interval=1_000 * config.loop.collect_steps,
        exploration_fraction=explores / config.num_steps,
        exploration_final_eps=learns.epsilon_end,
        device="cpu",
        seed=config.seed,
    )

    def policy(stacks: Any, envs: Any, running: list[int]) -> list[int]:
        stack = stacks.stack(running)
        actions, _ = model.predict(stacks_of(stack.video, stack.audio), deterministic=True)
        return [int(action) for action in actions]

    return policy


def run_cell(task: str, agent: str, seed: int) -> dict[str, Any]:
    """Return what a cell came to: its training's episodes with steps and CPU seconds, and its judgement."""
    curve: list[tuple[int, float, float]] = []
    started, num_steps = own_cpu_s(), TASKS[task].num_steps
    begun = told = time.monotonic()

    def note(step: int, total: float) -> None:
        nonlocal told
        curve.append((step, round(own_cpu_s() - started, 2), round(total, 4)))
        now = time.monotonic()
        if now - told >= EVERY_S:
            told, left = now, (now - begun) / step * (num_steps - step)
            mean = statistics.fmean(row[2] for row in curve[-RECENT:])
            done = f"step {step:,} of {num_steps:,}, {left / 60:.0f} min of training left"
            print(f"  {done}; return {mean:.4g}", file=sys.stderr, flush=True)

    found = train_and_judge(TASKS[task], agent, seed, note)
    from spl.runs.machine import describe_system  # imports torch, whose time counts

    cell = {"task": task, "agent": agent, "seed": seed, "num_steps": num_steps}
    return cell | {"curve": curve, "returns": found, "processor": describe_system()["processor"]}


def path_of(out: Path, task: str, seed: int, agent: str) -> Path:
    """Return where a cell is kept."""
    return out / task / agent / f"seed-{seed}.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the cells")
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=["Greeting", "Pendulum", "Hyperhot"])
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=list(AGENTS))
    parser.add_argument("--seeds", default="0-2", help="0-4, or 0,3,7")
    parser.add_argument("--table", type=Path, help="write the tables of all cells that are there")
    parser.add_argument("--picture", type=Path, help="draw the training returns of all cells that are there")
    parser.add_argument("--cell", nargs=3, metavar=("TASK", "AGENT", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell is not None:
        task, agent, seed = args.cell
        print(json.dumps(run_cell(task, agent, int(seed))))
        return
    from spl.ablation.statistics import read_seeds
    from spl.config.errors import UsageError

    try:
        seeds = read_seeds(args.seeds)
    except (UsageError, ValueError) as error:
        parser.error(str(error))
    cells = [(task, seed, agent) for task in args.tasks for seed in seeds for agent in args.agents]
    todo = [one for one in cells if not path_of(args.out, *one).exists()]
    if any(agent in PEERS for *_, agent in todo):
        absent = [name for name in ("stable_baselines3", "sb3_contrib") if find_spec(name) is None]
        if absent:
            parser.error(f"{' and '.join(absent)} missing for {' and '.join(PEERS)}: install the extra bench")
    for number, (task, seed, agent) in enumerate(todo, start=1):
        path = path_of(args.out, task, seed, agent)
        print(f"{number} of {len(todo)}: {task}, {agent}, seed {seed}", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--out", str(args.out), "--cell", task, agent, str(seed)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"{task}, {agent}, seed {seed} broke off; the others go on", file=sys.stderr)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(done.stdout.splitlines()[-1] + "\n")
        part.replace(path)
    if args.picture is not None:
        draw(args.out, args.picture)
    if args.table is not None:
        commands = {name: task.command for name, task in TASKS.items()}
        write_table(args.out, args.table, commands, args.picture)


if __name__ == "__main__":
    main()
