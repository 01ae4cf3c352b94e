"""RLlib's DQN in the environment that sleeps: its steps a second and updates a step, as a line of JSON.

`cluster.py --rllib` starts it, with another interpreter: ``ray[rllib]`` asks for a Gymnasium of its own. It
reads the pictures alone, for its networks read no Dict: less work than ours.
"""

import argparse
import json
import logging
import time
from typing import Any

import gymnasium
import numpy as np
import ray
from gymnasium import spaces
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env
from sleeping import Sleeping

COLLECTED, BATCH, BEFORE = 16, 8, 64  # steps between updates, transitions of one, steps before the first


class Pictures(gymnasium.ObservationWrapper[Any, Any, Any]):
    """The pictures alone, in 0..1 and with their channel behind, as its networks read them."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0.0, 1.0, (84, 84, 1), np.float32)

    def observation(self, observation: dict[str, Any]) -> Any:
        return observation["video"][..., None].astype(np.float32) / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runners", type=int, required=True, help="0: in one process")
    parser.add_argument("--duration_s", type=float, default=20.0)
    args = parser.parse_args()
    ray.init(
        address="local", num_cpus=max(2, args.runners + 1), logging_level=logging.ERROR, log_to_driver=False
    )
    register_env("sleeping-pictures", lambda options: Pictures(Sleeping()))
    network = DefaultModelConfig(
        conv_filters=[[16, 8, 4], [32, 4, 2], [32, 3, 1]],
        head_fcnet_hiddens=[16],
        head_fcnet_activation="relu",
    )
    config = (
        DQNConfig()
        .environment("sleeping-pictures")
        .env_runners(num_env_runners=args.runners, rollout_fragment_length=COLLECTED)
        .learners(num_learners=0)
        .rl_module(model_config=network)
        .training(
            lr=5e-4,
            train_batch_size_per_learner=BATCH,
            training_intensity=BATCH / COLLECTED,
            num_steps_sampled_before_learning_starts=BEFORE,
            target_network_update_freq=4000,
            replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 20000},
        )
        .reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=10 * COLLECTED)
    )
    algorithm = config.build_algo()
    rows: list[tuple[float, float, float]] = []  # seconds, steps, updates
    began = time.perf_counter()
    while len(rows) < 3 or rows[-1][0] - rows[1][0] < args.duration_s:
        told = algorithm.train()
        learned = told["learners"].get("__all_modules__", {}).get("num_module_steps_trained_lifetime", 0)
        steps = told["env_runners"]["num_env_steps_sampled_lifetime"]
        rows.append((time.perf_counter() - began, float(steps), learned / BATCH))
    seconds, steps, updates = (last - first for first, last in zip(rows[1], rows[-1], strict=True))
    print(json.dumps({"steps_per_s": steps / seconds, "updates_per_step": updates / steps}))


if __name__ == "__main__":
    main()
