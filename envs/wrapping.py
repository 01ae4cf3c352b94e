"""What is put around an environment before it is adapted: the user's wrappers, and its rendered picture."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.config.named_class import class_of, parts_of_named
from spl.envs.api_checks import Answers
from spl.envs.config import EnvConfig

RENDERED = "rendered"  # key of the picture that ``render`` returns


class Rendered(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds what ``render`` returns to the observation, as ``rendered``.

    The observation becomes a ``Dict``; what it was before stays in it, as ``observation`` if it was none.
    The environment is reset once, with seed 0, to see how large its pictures are.

    Raises:
        UsageError: if it does not render pictures ``(H, W, 3)`` of uint8.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        super().__init__(env)
        if env.render_mode != "rgb_array":
            modes = ", ".join(map(str, (env.metadata or {}).get("render_modes", ()))) or "none"
            raise UsageError(
                f"env.render=true needs the render mode rgb_array, but {name} has the mode {env.render_mode} "
                f"(it offers {modes}): leave it out"
            )
        env.reset(seed=0)
        shown = self._picture()
        if shown.dtype != np.uint8 or shown.ndim != 3 or shown.shape[2] != 3:
            raise UsageError(
                f"env.render=true needs pictures (H, W, 3) of uint8, but the render() of {name} returned "
                f"{' x '.join(map(str, shown.shape)) or 'no array'} {shown.dtype}"
            )
        before = env.observation_space
        parts = before.spaces if isinstance(before, spaces.Dict) else {"observation": before}
        picture = spaces.Box(0, 255, shown.shape, np.uint8)
        self.observation_space = spaces.Dict({**parts, RENDERED: picture})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin an episode."""
        raw, info = self.env.reset(seed=seed, options=options)
        return self._with_picture(raw), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act once."""
        raw, *others = self.env.step(action)
        return self._with_picture(raw), *others  # type: ignore[return-value]

    def _with_picture(self, raw: Any) -> dict[str, Any]:
        parts = raw if isinstance(self.env.observation_space, spaces.Dict) else {"observation": raw}
        return {**parts, RENDERED: self._picture()}

    def _picture(self) -> NDArray[Any]:
        shown: Any = self.env.render()
        return np.asarray(shown[-1] if isinstance(shown, list) and shown else shown)


def wrap(env: gymnasium.Env[Any, Any], config: EnvConfig) -> gymnasium.Env[Any, Any]:
    """Return ``env`` in the wrappers of ``config``, the first one innermost, and with its rendered picture.

    Raises:
        UsageError: if a wrapper is not found, is none or cannot be put around it, or nothing is rendered.
    """
    for entry in config.wrappers:
        name, kwargs = parts_of_named(entry, "each of wrappers")
        try:
            env = Answers(class_of(name, gymnasium.Wrapper, "env.wrappers")(env, **kwargs))
        except UsageError:
            raise
        except Exception as error:  # an author's constructor may fail in any way; the sentence names it
            told = ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) or "no arguments"
            kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
            raise UsageError(
                f"the wrapper {name} could not be put around {config.id} with {told}: {kind}{error}"
            ) from error
    return Rendered(env, config.id) if config.render else env


def describe_wrappers(config: EnvConfig) -> list[str]:
    """Return the wrappers as they are told, such as ``gymnasium.wrappers:TimeLimit(max_episode_steps=9)``."""
    entries = [parts_of_named(entry, "each of wrappers") for entry in config.wrappers]
    return [name + _arguments(kwargs) for name, kwargs in entries]


def _arguments(kwargs: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{key}={value!r}' for key, value in kwargs.items())})" if kwargs else ""
