"""A plain Gymnasium environment of what the adapter sees, hears and reads, for agents of other libraries."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.api_checks import AnswerError, put_away
from spl.envs.chosen_streams import doubts_of
from spl.envs.config import EnvConfig
from spl.envs.range_probe import measured
from spl.envs.registry import make_raw, settle
from spl.envs.wrapping import wrap
from spl.records import Observation

LOUDEST = 2.0  # bound of a log-mel level, where 1 is a full-scale sine, and of a waveform
FULL_SCALE = {"float16": 1.0, "int8": 128.0}  # of a kept sound


class _Passing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Takes any action from the adapter, and passes on the one that was meant."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.action_space = spaces.Discrete(1)
        self.meant: Any = None

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take the action that was meant."""
        return self.env.step(self.meant)


class PlainEnv(gymnasium.Env[dict[str, Any], Any]):
    """An environment whose observations are a Dict of ``image``, ``sound``, ``state``; actions are its own.

    ``image`` is ``(C, H, W)`` uint8; ``sound`` is ``(C, M, F)`` float32, log-mel levels of the newest step
    from 0, silence, to 1, a full-scale sine, or its waveform; ``state`` is ``(S,)`` float32, its vectors as
    they are. What the environment lacks is left out.

    Args:
        env: as its author wrote it.
        config: how its streams are cut to shape.

    Raises:
        ValueError: if the environment has no usable stream, or no sample rate.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
        self._passing = _Passing(env)
        self._adapter = AudioVisualEnv(self._passing, config)
        self.config, self.action_space = config, env.action_space
        self.metadata, self.render_mode, self.spec = env.metadata or {}, env.render_mode, None
        spec = self._adapter.spec_of_streams
        parts: dict[str, spaces.Space[Any]] = {}
        if spec.has_video:
            parts["image"] = spaces.Box(0, 255, spec.video, np.uint8)
        if spec.has_audio:
            lowest = 0.0 if config.audio_features == "log_mel" else -LOUDEST
            parts["sound"] = spaces.Box(lowest, LOUDEST, spec.audio, np.float32)
        if spec.state:
            parts["state"] = spaces.Box(-np.inf, np.inf, (spec.state,), np.float32)
        self.observation_space: spaces.Space[Any] = spaces.Dict(parts)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        observation, info = self._adapter.reset(seed=seed, options=options)
        return self._plain(observation), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take one of the environment's own actions for ``frame_skip`` frames."""
        self._passing.meant = action
        observation, *rest = self._adapter.step(0)
        return self._plain(observation), *rest  # type: ignore[return-value]

    def render(self) -> Any:
        """Return what the environment renders."""
        return self._passing.env.render()

    def close(self) -> None:
        """Close the environment."""
        self._adapter.close()

    def describe(self) -> dict[str, Any]:
        """Return what was chosen of the environment's streams."""
        return self._adapter.describe()

    def _plain(self, observation: Observation) -> dict[str, Any]:
        scale = FULL_SCALE[self._adapter.spec_of_streams.audio_dtype]
        sound = np.clip(observation.audio.astype(np.float32) / np.float32(scale), -LOUDEST, LOUDEST)
        parts = {"image": observation.video, "sound": sound, "state": observation.state}
        return {key: parts[key] for key in self.observation_space}  # type: ignore[attr-defined]


def make_env(env: "str | gymnasium.Env[Any, Any] | EnvConfig", **options: Any) -> PlainEnv:
    """Return a Gymnasium environment whose observations are a Dict of ``image``, ``sound`` and ``state``.

    Args:
        env: an id (a Gymnasium id, ``module:Id`` or ``module:Class``), an environment, or an `EnvConfig`.
            What the spaces of an environment that is made here leave open is measured, as training does.
        options: fields of `EnvConfig`, such as ``video_size=(64, 64)``.

    Raises:
        UsageError: if it is unknown, cannot be made, has nothing that serves, or is an environment whose
            spaces do not tell the range of a stream.
        TypeError: if there is no such option.
        ValueError: if an option is out of its range.
    """
    if isinstance(env, gymnasium.Env):
        return _of_given(env, options)
    if not isinstance(env, EnvConfig | str):
        raise UsageError(f"make_env wants an id, an EnvConfig or a gymnasium.Env, got {env!r}")
    config = settle(replace(env, **options) if isinstance(env, EnvConfig) else EnvConfig(id=env, **options))
    with _telling(config.id):
        raw = make_raw(config)
        try:
            if doubts_of(raw, config):
                put_away(raw)
                config = settle(measured(config, is_apart=False)[0])
                raw = make_raw(config)
            return PlainEnv(raw, config)
        except (AnswerError, ValueError):
            put_away(raw)
            raise


def _of_given(env: gymnasium.Env[Any, Any], options: Mapping[str, Any]) -> PlainEnv:
    """Return an environment that is made already in our streams; it is not stepped to measure it.

    Raises:
        UsageError: if an option is of the making, the range of a stream is nowhere told, or the environment
            does not serve.
    """
    if of_making := sorted({"id", "kwargs"} & options.keys()):
        raise UsageError(f"{of_making[0]} is of an environment that is yet to be made, got one that is")
    config = EnvConfig(id=type(env.unwrapped).__name__ if env.spec is None else env.spec.id, **options)
    with _telling(config.id):
        raw = wrap(env, config)
        if unknown := [doubt for doubt in doubts_of(raw, config) if doubt.endswith("_range")]:
            raise ValueError(f"its space has no bounds: give {unknown[0]}=(lowest, highest)")
        return PlainEnv(raw, config)


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Say of which environment it is that does not serve."""
    try:
        yield
    except (AnswerError, ValueError) as error:
        raise UsageError(f"{name}: {error}") from error
