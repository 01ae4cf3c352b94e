"""Environments without a world behind them: one is handed its observations, one takes any action unread.

Between them the adapter cuts what others step: the user's own loop, and other libraries' agents.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from spl.envs.adapter import AudioVisualEnv
from spl.envs.space_entries import Stream
from spl.records import Observation

Frame = tuple[Any, dict[str, Any]]  # a raw observation, and the info that came with it


class GivenEnv(gymnasium.Env[Any, Any]):
    """Answers each ``reset`` and ``step`` with the next observation and info it was given; rewards are 0.

    Args:
        observation_space, action_space: of the environment that the observations are of.
        declared: what it says of itself, such as ``sample_rate_hz``; None stands for nothing.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        declared: Mapping[str, Any] = {},
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.given = deque[Frame]()
        for name, value in declared.items():
            if value is not None:
                setattr(self, name, value)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Return the next observation and info; IndexError where none was given."""
        return self.given.popleft()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return the next observation and info."""
        raw, info = self.given.popleft()
        return raw, 0.0, False, False, info


class Cutter:
    """Cuts raw observations as an environment's adapter does, without the environment.

    Args:
        adapter: of the environment, as it is before its first episode.
    """

    def __init__(self, adapter: AudioVisualEnv) -> None:
        sound = adapter.describe().get("audio", {})
        declared = {
            "sample_rate_hz": sound.get("sample_rate_hz"),
            "sound_rest_level": sound.get("rest_level"),
        }
        raw = adapter.env
        self._env = GivenEnv(raw.observation_space, raw.action_space, declared)
        self.adapter = AudioVisualEnv(self._env, adapter.config)
        self.adapter.begins_at_life_loss = adapter.begins_at_life_loss
        self.frame_skip = self.adapter.frame_skip

    def first(self, frame: Frame) -> Observation:
        """Return an episode's first observation; what is missing in ``frame`` is flagged absent."""
        return self._cut([frame], lambda: self.adapter.reset()[0])

    def following(self, frames: Sequence[Frame], action: Any) -> Observation:
        """Return what the ``frame_skip`` frames after an action are observed as."""
        return self._cut(frames, lambda: self.adapter.step(action)[0])

    def _cut(self, frames: Sequence[Frame], observe: Callable[[], Observation]) -> Observation:
        self._env.given.clear()
        absent: list[int] = []
        for raw, info in frames:
            whole, absent = self._whole(raw)
            self._env.given.append((whole, info))
        observation = observe()
        return observation.without(*absent) if absent else observation

    def _whole(self, raw: Any) -> tuple[Any, list[int]]:
        """Return ``raw`` with darkness and silence in place of what is missing, and which streams those are.

        Raises:
            ValueError: if nothing is there, or a key is likely to be a slip.
        """
        found = [(place, one) for place, one in enumerate(self.adapter.streams[:2]) if one is not None]
        absent = [place for place, stream in found if _is_missing(raw, stream.leaf.path)]
        is_array = isinstance(raw, np.ndarray)  # where a Dict or a Tuple is due
        if absent and len(absent) == len(found) and (is_array or not self.adapter.streams.state):
            wanted = " or ".join(repr(stream.key) if stream.key else stream.modality for _, stream in found)
            raise ValueError(f"the observation must hold {wanted}, got {_told(raw)}")
        known = getattr(self._env.observation_space, "spaces", raw)
        strange = [key for key in raw if key not in known] if absent and isinstance(raw, Mapping) else []
        if strange:
            lacking = " and ".join(repr(stream.key) for place, stream in found if place in absent)
            raise ValueError(
                f"the observation lacks {lacking} and has {strange[0]!r}, which the environment has not: "
                "name it as the environment does, or leave it out"
            )
        for place, stream in found:
            if place in absent:
                raw = _filled(raw, stream.leaf.path, self._nothing(stream))
        return raw, absent

    def _nothing(self, stream: Stream) -> Any:
        """Return what the environment would give of a stream that shows and sounds nothing."""
        rest = self.adapter.describe()["audio"]["rest_level"] if stream.modality == "audio" else None
        value = stream.box.low.min() if stream.modality == "video" else rest
        empty = np.full(stream.box.shape, 0 if value is None or not np.isfinite(value) else value)
        empty = empty.astype(stream.box.dtype)
        return (empty,) if isinstance(stream.leaf.space, spaces.Sequence) else empty


def _is_missing(raw: Any, path: Sequence[Any]) -> bool:
    """Whether nothing lies at a path, or None."""
    for step in path:
        if raw is None:
            return True
        try:
            raw = raw[step]
        except (KeyError, IndexError):
            return True
        except TypeError:  # no container: what it should be, the adapter tells
            return False
    return raw is None


def _filled(raw: Any, path: Sequence[Any], value: Any) -> Any:
    """Return a copy of nested mappings and sequences with ``value`` at a path."""
    if not path:
        return value
    step, *rest = path
    if raw is None or isinstance(raw, Mapping):
        before = {} if raw is None else raw
        return {**before, step: _filled(before.get(step), rest, value)}
    parts = [*raw, *[None] * (step + 1 - len(raw))]
    parts[step] = _filled(parts[step], rest, value)
    return tuple(parts)


def _told(raw: Any) -> str:
    if isinstance(raw, Mapping):
        return f"the keys {', '.join(map(repr, raw)) or 'none'}"
    return "None" if raw is None else type(raw).__name__
