"""Datasets of others, played as an environment: our adapter cuts their picture and sound to shape."""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.data.exchange.episodes import Episode, fill
from spl.data.recording_format import describe, layout_of
from spl.data.recordings import Opened
from spl.envs.adapter import AudioVisualEnv
from spl.envs.config import EnvConfig
from spl.envs.spaces import find_streams
from spl.records import Observation

Space = spaces.Space[Any]


class Played(NamedTuple):
    """An episode as another's dataset holds it."""

    observations: Any  # of the dataset's space, every leaf with a leading axis of N + 1
    rewards: NDArray[Any]  # (N,)
    terminations: NDArray[Any]  # (N,)
    truncations: NDArray[Any]  # (N,)


class _Player(gymnasium.Env[Any, Any]):
    """Shows the observations of ``episode`` one after the other, whatever is done."""

    def __init__(self, space: Space, rate_hz: int | None, episode: Played) -> None:
        self.observation_space, self.action_space = space, spaces.Discrete(1)
        self.metadata = {} if rate_hz is None else {"audio_sample_rate_hz": rate_hz}
        self.episode, self._step = episode, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        self._step = 0
        return _at(self.episode.observations, 0), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        step, one = self._step, self.episode
        self._step += 1
        ends = bool(one.terminations[step]), bool(one.truncations[step])
        return _at(one.observations, step + 1), float(one.rewards[step]), *ends, {}


def play(
    address: str, space: Space, episodes: Iterable[Played], count: int, rate_hz: Any, how_to_rate: str
) -> Opened:
    """Return another's dataset as a recording: its picture and sound cut as by default (`EnvConfig`).

    Its actions are not kept, as nothing that is learned from recordings reads them.

    Args:
        address: of the dataset.
        space: of its observations.
        episodes: all of them.
        count: observations in them.
        rate_hz: what it says of its sound's sample rate, None for nothing.
        how_to_rate: how a user adds the rate.

    Raises:
        UsageError: if it has no picture and no sound that our adapter recognises, or the rate is missing.
    """
    rate = rate_hz if isinstance(rate_hz, int) and rate_hz > 0 else None
    try:
        streams = find_streams(space, video_key=None, audio_key=None, has_rate=rate is not None)
    except ValueError as error:
        raise UsageError(f"{address} does not serve: {str(error).partition('; ')[0]}") from error
    if streams.video is None and streams.audio is None:
        raise UsageError(f"{address} does not serve: no picture and no sound in the observation")
    if streams.audio is not None and rate is None:
        raise UsageError(f"{address} must say the sample rate of its sound, got {rate_hz!r}: {how_to_rate}")
    rest = iter(episodes)
    first = next(rest, None)
    if first is None:
        raise UsageError(f"{address} holds no episode")
    player = _Player(space, rate, first)
    env = AudioVisualEnv(player, EnvConfig(id=address))
    if env.doubts:
        raise UsageError(f"{address} does not serve: its space leaves the {' and '.join(env.doubts)} open")
    meta = {key: value for key, value in env.describe().items() if key != "actions"}
    layout = layout_of(env.spec_of_streams, count, 1)
    header = describe(layout, spec=env.spec_of_streams, written=[count], capacity=count, meta=meta)
    return fill(address, json.loads(header), _shown(env, player, itertools.chain([first], rest)))


def _shown(env: AudioVisualEnv, player: _Player, episodes: Iterable[Played]) -> Iterator[Episode]:
    for episode in episodes:
        player.episode = episode
        observation, _ = env.reset()
        seen: list[Observation] = [observation]
        for _ in range(len(episode.rewards)):
            seen.append(env.step(0)[0])
        video, audio, present, state = (np.stack(parts) for parts in zip(*seen, strict=True))
        yield Episode(
            video,
            audio,
            present,
            np.zeros(len(episode.rewards), np.int16),
            np.asarray(episode.rewards, np.float32),
            np.asarray(episode.terminations, np.bool_),
            np.asarray(episode.truncations, np.bool_),
            state if state.shape[1] else None,
        )


def _at(observations: Any, step: int) -> Any:
    """Return the observation of a step."""
    if isinstance(observations, dict):
        return {key: _at(part, step) for key, part in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_at(part, step) for part in observations)
    return observations[step]
