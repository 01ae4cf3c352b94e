"""Console games of stable-retro, with the sound of every frame.

The emulator makes chunks whose length changes by a sample from frame to frame, and its own environment
returns none of them. There is one emulator in a process: a second game gets a process of its own.
"""

import difflib
import math
import multiprocessing
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.packages import require
from spl.processes.signals import serve_above

PREFIX = "retro:"  # of the ids
FRAME_SKIP = 4
FREE_GAME = "Airstriker-Genesis"  # comes with the package
IMPORT = "python -m stable_retro.import FOLDER reads in those that you own"
TOLD = (  # of a game in another process
    "observation_space",
    "action_space",
    "metadata",
    "render_mode",
    "sample_rate_hz",
    "frame_rate_hz",
    "action_names",
)


class WithSound(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds the frame's sound to its picture: ``Dict(image, audio)``, stereo int16.

    A chunk has as many samples as ``info["audio_samples"]`` says; what a longer one has beyond the space
    comes with the next.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        emulator = self._emulator
        self.sample_rate_hz = round(emulator.get_audio_rate())
        self.frame_rate_hz = float(emulator.get_screen_rate())
        self.most = math.ceil(self.sample_rate_hz / self.frame_rate_hz)
        sound = spaces.Box(-32_768, 32_767, (self.most, 2), np.int16)
        self.observation_space = spaces.Dict(image=env.observation_space, audio=sound)
        self._left: NDArray[np.int16] = np.zeros((0, 2), np.int16)

    @property
    def _emulator(self) -> Any:
        return self.env.unwrapped.em  # type: ignore[attr-defined]

    @property
    def action_names(self) -> list[str]:
        """What the actions are called: the buttons held down."""
        space = self.action_space
        if not isinstance(space, spaces.Discrete):
            return []
        tell = self.env.unwrapped.get_action_meaning  # type: ignore[attr-defined]
        return ["+".join(tell(action)) or "NOOP" for action in range(int(space.n))]

    def get_action_meanings(self) -> list[str]:
        """Return what the actions are called."""
        return self.action_names

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin the game."""
        picture, info = self.env.reset(seed=seed, options=options)
        self._left = self._left[:0]
        return self._with_sound(picture, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play one frame."""
        picture, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._with_sound(picture, info)
        return observation, reward, terminated, truncated, info

    def _with_sound(self, picture: Any, info: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        made = np.concatenate([self._left, self._emulator.get_audio()])
        chunk: NDArray[np.int16] = np.zeros((self.most, 2), np.int16)
        number = min(len(made), self.most)
        chunk[:number], self._left = made[:number], made[number:]
        return {"image": picture, "audio": chunk}, {**info, "audio_samples": number}


class Elsewhere(gymnasium.Env[Any, Any]):
    """A game in a process of its own."""

    def __init__(self, env_id: str, kwargs: dict[str, Any]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, env_id, kwargs), daemon=True)
        self._process.start()
        theirs.close()
        for name, value in self._ask("told").items():
            setattr(self, name, value)

    def get_action_meanings(self) -> list[str]:
        """Return what the actions are called."""
        return list(self.action_names)  # type: ignore[attr-defined]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin the game."""
        answer: tuple[Any, Any] = self._ask("reset", seed, options)
        return answer

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play one frame."""
        answer: tuple[Any, Any, bool, bool, dict[str, Any]] = self._ask("step", action)
        return answer

    def render(self) -> Any:
        """Return the newest picture."""
        return self._ask("render")

    def close(self) -> None:
        """End the process."""
        self._pipe.close()  # which ends it
        self._process.join()

    def _ask(self, *words: Any) -> Any:
        self._pipe.send(words)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection, env_id: str, kwargs: dict[str, Any]) -> None:
    """Play a game for another process until that closes its end of the pipe."""
    serve_above()
    env = _make_here(env_id, kwargs)
    with suppress(EOFError, OSError):
        while True:
            word, *arguments = pipe.recv()
            try:
                if word == "told":
                    pipe.send({name: getattr(env, name) for name in TOLD})
                elif word == "reset":
                    pipe.send(env.reset(seed=arguments[0], options=arguments[1]))
                else:
                    pipe.send(getattr(env, word)(*arguments))
            except Exception as error:  # it is the other process's to judge
                pipe.send(error)


def make_retro(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Return the game with picture and sound of every frame.

    Args:
        env_id: such as ``retro:Airstriker-Genesis``.
        kwargs: of ``stable_retro.make``; ``use_restricted_actions`` (default ``discrete``) also as a word.

    Raises:
        ImportError: if stable-retro is not installed.
        ValueError: if there is no such game, or no ROM of it.
    """
    try:
        return _make_here(env_id, kwargs)
    except RuntimeError as error:
        if "multiple emulator instances" not in str(error):
            raise
        return Elsewhere(env_id, kwargs)


def games() -> list[str]:
    """Return the names of the games whose ROM is there; raises ``ImportError`` without stable-retro."""
    import stable_retro

    found = []
    for game in stable_retro.data.list_games():
        with suppress(FileNotFoundError):
            stable_retro.data.get_romfile_path(game)
            found.append(game.removesuffix("-v0"))
    return found


def _make_here(env_id: str, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    retro = require("stable_retro", f"{env_id} needs stable-retro")
    name, known = env_id.removeprefix(PREFIX), retro.data.list_games()
    game = name if name in known else f"{name}-v0"
    if game not in known:
        near = difflib.get_close_matches(game, known, n=1)
        hint = f" (did you mean {PREFIX}{near[0].removesuffix('-v0')}?)" if near else ""
        raise ValueError(f"stable-retro knows no game {name}{hint}")
    kwargs = {"use_restricted_actions": "discrete", "render_mode": "rgb_array", **kwargs}
    actions = kwargs["use_restricted_actions"]
    if isinstance(actions, str):
        by_word = {one.name.lower().replace("_", ""): one for one in retro.Actions}
        word = actions.lower().replace("_", "")
        if word not in by_word:
            raise ValueError(f"use_restricted_actions must be one of {', '.join(by_word)}, got {actions}")
        kwargs["use_restricted_actions"] = by_word[word]
    try:
        return WithSound(retro.make(game, **kwargs))
    except FileNotFoundError as error:
        raise ValueError(f"there is no ROM of {name} ({FREE_GAME} alone is free): {IMPORT}") from error
