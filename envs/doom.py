"""ViZDoom scenarios with sound: no crash from sound effects, and consistent ends of episodes."""

import ctypes.util
from pathlib import Path
from typing import Any

import gymnasium

FRAME_SKIP = 4  # tics per step; the engine skips them itself and keeps the sound of each
ENGINE_STEPS = 1_000  # at most what lies between two seeds of a run, so that each finds a new engine
NO_SOUND = "silent: ViZDoom finds no OpenAL on this machine; install it (Debian: libopenal1)"


class StraightEnds(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Cures what ViZDoom says of an episode's end, and tells the sound's rate.

    The engine has no state after the last tic and its wrapper returns zeros instead: here the last true
    picture stays and the sound falls silent. A time-out comes as ``terminated`` and ``truncated`` both:
    here it is ``truncated`` alone. In an engine that has played before, the same seed gives the same sound
    but for 2 of 32,768: one that has played for ``ENGINE_STEPS`` is started again with its next seed.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        game = env.unwrapped.game  # type: ignore[attr-defined]
        game.add_game_args("+snd_efx 0")  # OpenAL's effects abort the whole process
        self.sample_rate_hz = int(game.get_audio_sampling_rate())
        self.buttons = [button.name for button in game.get_available_buttons()]  # names of a MultiBinary
        self.sound_warning = NO_SOUND if ctypes.util.find_library("openal") is None else None
        self._last: dict[str, Any] = {}
        self._num_steps = 0  # of the engine

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin an episode."""
        if seed is not None and self._num_steps >= ENGINE_STEPS:
            self.env.unwrapped.game.close()  # type: ignore[attr-defined]  # it opens itself at its reset
            self._num_steps = 0
        self._last, info = self.env.reset(seed=seed, options=options)
        return self._last, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one action for ``frame_skip`` tics."""
        self._num_steps += 1
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            observation = {**observation, "screen": self._last["screen"]}
        self._last = observation
        return observation, reward, bool(terminated and not truncated), bool(truncated), info


def make_doom(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Return the scenario, ``frame_skip`` tics a step, with screen and (where the scenario has it) audio.

    Args:
        env_id: such as ``VizdoomBasicAudio-v1``.
        kwargs: passed to ``gymnasium.make``.

    Raises:
        ImportError: if vizdoom is not installed.
    """
    import vizdoom.gymnasium_wrapper  # noqa: F401  registers the scenarios

    return StraightEnds(gymnasium.make(env_id, **{"frame_skip": FRAME_SKIP, **kwargs}))


def scenario(config: str | None, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Return the scenario of a file, its sound switched on; one button is pressed at a time.

    Args:
        config: a ``.cfg`` of one's own, or the name of one of ViZDoom's.
        kwargs: of ViZDoom's environment: ``frame_skip``, ``max_buttons_pressed``, settings of the file.

    Raises:
        ValueError: if there is no such file, or ViZDoom cannot read it.
    """
    import vizdoom
    from vizdoom.gymnasium_wrapper.base_gymnasium_env import VizdoomEnv

    if config is None:
        raise ValueError("it needs a scenario: give --env.kwargs.config FILE.cfg")
    path = Path(config)
    if not path.is_file() and path.name == config:
        path = Path(vizdoom.scenarios_path) / path.with_suffix(".cfg")
    if not path.is_file():
        raise ValueError(f"there is no file {config}, nor a scenario of ViZDoom's of that name")
    try:
        return VizdoomEnv(str(path), **{"max_buttons_pressed": 1, "audio_buffer_enabled": True, **kwargs})
    except Exception as error:  # the engine has errors of its own for each mistake in a file
        raise ValueError(f"ViZDoom cannot use {config}: {error}") from error
