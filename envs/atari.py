"""ALE games with every sample of their sound.

ALE's own frame skip returns the last emulated frame's sound alone, so the skip is left to the adapter.
"""

import multiprocessing
from typing import Any

import gymnasium
import numpy as np

FRAME_RATE_HZ = 60  # emulated frames
SAMPLE_RATE_HZ = (
    512 * FRAME_RATE_HZ
)  # one chunk of 512 mono samples per emulated frame, uint8, at rest at 128
REST_LEVEL = 128
FRAME_SKIP = 4
PRESSED = 4  # frames for which FIRE is held: sticky actions leave it out of one of them in four


class SilentReset(gymnasium.Wrapper[Any, int, Any, int]):
    """Begins each game in silence, and tells the rates and the sound's rest level.

    ``reset`` emulates no frame of its own to be heard: ALE then returns zeros (the first time) or the
    *last* game's last chunk. Both would be a click at the start of every episode.
    """

    sample_rate_hz = SAMPLE_RATE_HZ
    frame_rate_hz = FRAME_RATE_HZ  # its own metadata tells half of it
    sound_rest_level = REST_LEVEL

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Return the first picture, with a sound at rest."""
        observation, info = self.env.reset(seed=seed, options=options)
        if isinstance(observation, dict) and "sound" in observation:
            observation["sound"] = np.full_like(observation["sound"], REST_LEVEL)
        return observation, info


class PressFire(gymnasium.Wrapper[Any, int, Any, int]):
    """Presses FIRE when a game begins and after each lost life, in place of what was chosen.

    Breakout and some other games wait for it, and an agent that does not press it plays nothing and learns
    nothing. No frame is emulated beside those of the game, so that no sound is lost.

    Source: `FireResetEnv` of OpenAI Baselines (Dhariwal et al., 2017), which presses it at each reset.

    Raises:
        ValueError: if the game has no FIRE.
    """

    def __init__(self, env: gymnasium.Env[Any, int]) -> None:
        super().__init__(env)
        meanings = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        if "FIRE" not in meanings:
            raise ValueError(
                f"env.kwargs.press_fire needs an action FIRE, got {', '.join(meanings)}: leave it out"
            )
        self._fire = meanings.index("FIRE")
        self._left = self._lives = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin a game, whose first action will be FIRE."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._left, self._lives = PRESSED, info["lives"]
        return observation, info

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Emulate a frame with FIRE, if a life has just begun, or with ``action``."""
        if self._left:
            action, self._left = self._fire, self._left - 1
        observation, reward, terminated, truncated, info = self.env.step(action)
        if info["lives"] < self._lives:
            self._left = PRESSED
        self._lives = info["lives"]
        return observation, reward, terminated, truncated, info


def register_games() -> None:
    """Let Gymnasium know the games. A worker's ALE keeps its banner to itself, so that a run shows it once.

    Raises:
        ImportError: if ale-py is not installed.
    """
    import ale_py

    if multiprocessing.parent_process() is not None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Warning)
    gymnasium.register_envs(ale_py)


def make_atari(env_id: str, *, press_fire: bool = False, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Return the game with picture and sound of every emulated frame: ``Dict(image, sound)``.

    Args:
        env_id: such as ``ALE/Pong-v5``.
        press_fire: press FIRE when a life begins (`PressFire`).
        kwargs: passed to ``gymnasium.make``; ``obs_type`` may be ``grayscale`` (default) or ``rgb``.

    Raises:
        ImportError: if ale-py is not installed.
        ValueError: if ``frameskip`` is given, which would lose sound, or there is no FIRE to press.
    """
    if not isinstance(press_fire, bool):
        raise ValueError(f"press_fire must be true or false, got {press_fire!r}")
    if "frameskip" in kwargs:
        raise ValueError(
            "env.kwargs.frameskip loses three quarters of ALE's sound; use --env.frame_skip instead"
        )
    register_games()
    kwargs = {"obs_type": "grayscale", "sound_obs": True, **kwargs}
    env = gymnasium.make(env_id, frameskip=1, **kwargs)
    return SilentReset(PressFire(env) if press_fire else env)
