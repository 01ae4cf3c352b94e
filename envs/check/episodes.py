"""Episodes of random actions in the checked environment, step by step."""

import contextlib
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from spl.envs.actions import as_action
from spl.envs.adapter import AudioVisualEnv
from spl.envs.api_checks import flag_of, number_of, odd_form
from spl.envs.check.config import CheckEnvConfig, Say
from spl.envs.check.failures import RAISED, EnvFailure
from spl.envs.check.findings import Moment
from spl.envs.space_entries import Stream
from spl.envs.spaces import Streams
from spl.envs.state import read_state


def play(
    env: gymnasium.Env[Any, Any], adapted: AudioVisualEnv, config: CheckEnvConfig, say: Say
) -> Iterator[Moment]:
    """Yield the moments of all episodes; ``env`` is that of ``adapted`` or another one made alike.

    Raises:
        EnvFailure: if the environment raises.
    """
    form = adapted.actions
    shape = config.num_steps, len(form.sizes)
    draws = np.random.default_rng(config.seed).integers(form.sizes, size=shape)
    actions = [form.raw(as_action(action)) for action in draws]
    for episode in range(config.num_episodes):
        step = 0
        for moment in _play_episode(env, adapted.streams, actions, config.seed + episode, say):
            step = moment.step
            yield moment
        actions = actions[step:]
        if not actions:
            return


def _play_episode(
    env: gymnasium.Env[Any, Any], streams: Streams, actions: list[Any], seed: int, say: Say
) -> Iterator[Moment]:
    """Yield the reset and then the steps, until the episode or the actions end."""
    chosen = {"picture": streams.video, "sound": streams.audio}

    def part(raw: Any, info: dict[str, Any], stream: Stream) -> Any:
        with contextlib.suppress(ValueError):  # it is missing, or of no such length
            return stream.part(raw, info)

    for step in range(len(actions) + 1):
        where = f"step {step} (seed {seed})" if step else f"reset (seed {seed})"
        say(where)
        reward: Any = 0.0
        terminated: Any = False
        truncated: Any = False
        try:
            if step == 0:
                raw, info = env.reset(seed=seed)
            else:
                raw, reward, terminated, truncated, info = env.step(actions[step - 1])
            odd = odd_form(reward, terminated, truncated)
            reward = number_of(reward)
            terminated, truncated = flag_of("terminated", terminated), flag_of("truncated", truncated)
        except RAISED as error:  # an author's environment may fail in any way; the finding names it
            raise EnvFailure(where) from error
        parts = {name: part(raw, info, stream) for name, stream in chosen.items() if stream is not None}
        wrong_state = None
        if streams.state:
            try:
                parts["state"] = read_state(streams.state, raw)
            except ValueError as error:
                parts["state"], wrong_state = None, str(error)
        moment = Moment(where, step, parts, reward, terminated, truncated, odd, wrong_state)
        yield moment
        if moment.is_last:
            return
