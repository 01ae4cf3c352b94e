"""Train Stable-Baselines3's DQN on an ALE game, as the baseline for our agent.

Hyperparameters are RL Baselines3 Zoo's for Atari; the two that presuppose ten million steps
(``learning_starts``, the exploration fraction's 1M steps) are scaled to short runs.
Writes one JSON line per finished training episode and a last one with the evaluation.
"""

import argparse
import json
import time
from pathlib import Path

import ale_py
import gymnasium
import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack


def make(env_id: str, seed: int):
    """Return a function that builds the game as SB3's users do: skip 4, 84 x 84 grey."""

    def build():
        env = Monitor(gymnasium.make(env_id, frameskip=1))
        env = AtariWrapper(env, terminal_on_life_loss=True, clip_reward=True)
        env.reset(seed=seed)
        return env

    return build


class EpisodeLines(BaseCallback):
    """Write ``{"step", "return", "seconds"}`` whenever a training episode ends."""

    def __init__(self, path: Path):
        super().__init__()
        self.file = path.open("w")
        self.started = time.monotonic()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                row = {
                    "step": self.num_timesteps,
                    "return": float(info["episode"]["r"]),
                    "seconds": round(time.monotonic() - self.started, 1),
                }
                self.file.write(json.dumps(row) + "\n")
                self.file.flush()
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="ALE/Pong-v5")
    parser.add_argument("--num_steps", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--num_episodes", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    gymnasium.register_envs(ale_py)

    env = VecFrameStack(DummyVecEnv([make(args.env, args.seed)]), n_stack=4)
    model = DQN(
        "CnnPolicy",
        env,
        buffer_size=100_000,
        learning_rate=1e-4,
        batch_size=32,
        learning_starts=10_000,
        target_update_interval=1000,
        train_freq=4,
        gradient_steps=1,
        exploration_fraction=0.1,
        exploration_final_eps=0.01,
        seed=args.seed,
        device=args.device,
    )
    started = time.monotonic()
    model.learn(args.num_steps, callback=EpisodeLines(args.out / "episodes.jsonl"))
    seconds = time.monotonic() - started
    model.save(args.out / "model")

    evaluation_env = VecFrameStack(DummyVecEnv([make(args.env, args.seed + 1000)]), n_stack=4)
    returns, _ = evaluate_policy(model, evaluation_env, args.num_episodes, return_episode_rewards=True)
    result = {
        "env": args.env,
        "steps": args.num_steps,
        "seed": args.seed,
        "threads": args.threads,
        "train_seconds": round(seconds, 1),
        "returns": [float(value) for value in returns],
        "mean": float(np.mean(returns)),
    }
    (args.out / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
