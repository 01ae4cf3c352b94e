"""Finds an environment by Gymnasium id, ``module:Id`` or ``module:Class``, and lists what is registered."""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
from gymnasium.error import UnregisteredEnv

import spl.envs  # noqa: F401  registers our ids
from spl.config.errors import UsageError
from spl.config.named_class import imported
from spl.envs import retro
from spl.envs.adapter import AudioVisualEnv
from spl.envs.api_checks import AnswerError, hold_to_form, put_away
from spl.envs.atari import FRAME_SKIP, make_atari, register_games
from spl.envs.atari_names import ale_id
from spl.envs.config import EnvConfig
from spl.envs.doom import make_doom
from spl.envs.wrapping import wrap
from spl.packages import install_advice, require

ALE, DOOM, OURS = "ALE/", ("Vizdoom", "spl/Doom"), "spl/"


def make_env(config: EnvConfig) -> AudioVisualEnv:
    """Return the environment of ``config``, seen and heard.

    Raises:
        UsageError: if it is unknown, cannot be imported or made, or has nothing that serves.
    """
    config = settle(config)
    try:
        env = make_raw(config)
    except AnswerError as error:
        raise UsageError(f"{config.id}: {error}") from error
    try:
        return AudioVisualEnv(env, config)
    except ValueError as error:
        put_away(env)
        raise UsageError(str(error)) from error


def settle(config: EnvConfig) -> EnvConfig:
    """Return the config with what its family of environments wants where it says nothing itself."""
    if config.id.startswith(ALE):
        frame_skip = FRAME_SKIP if config.frame_skip is None else config.frame_skip
        max_pool = frame_skip > 1 if config.max_pool is None else config.max_pool
        config = replace(config, frame_skip=frame_skip, max_pool=max_pool)
    if config.id.startswith(retro.PREFIX) and config.frame_skip is None:
        config = replace(config, frame_skip=retro.FRAME_SKIP)
    if config.id.startswith(DOOM) and config.frame_skip is not None:  # the engine skips, and keeps the sound
        kwargs = {**config.kwargs, "frame_skip": config.frame_skip}
        config = replace(config, frame_skip=None, kwargs=kwargs)
    return config


def make_raw(config: EnvConfig, *, is_fixed: bool = True) -> gymnasium.Env[Any, Any]:
    """Return the environment as its author wrote it, in its wrappers.

    Args:
        config: says which, with which arguments, in which wrappers.
        is_fixed: what spoils the sound of ALE and ViZDoom is fixed; False makes them as they are shipped,
            faults and all. For others there is no difference.

    Raises:
        UsageError: if it or a wrapper is unknown, cannot be imported or made.
        AnswerError: if it cannot be reset with a seed; later from it, if it answers in another form than
            Gymnasium's.
    """
    kwargs = config.kwargs
    if config.render:
        kwargs = {"render_mode": "rgb_array", **kwargs}
    return wrap(_make(config.id, kwargs, is_fixed=is_fixed), config)


def _make(env_id: str, kwargs: dict[str, Any], *, is_fixed: bool) -> gymnasium.Env[Any, Any]:
    """Return the environment without wrappers of the user's."""
    maker: Callable[..., gymnasium.Env[Any, Any]]
    if env_id.startswith(retro.PREFIX):
        maker = retro.make_retro
    elif is_named(env_id):
        maker = _from_module(env_id)
    elif env_id.startswith(ALE):
        require("ale_py", f"{env_id} needs ale-py")
        maker = make_atari if is_fixed else _shipped
    elif env_id.startswith(DOOM):
        require("vizdoom", f"{env_id} needs vizdoom")
        maker = make_doom if is_fixed else _shipped
    else:
        maker = gymnasium.make
        entry_point = str(getattr(gymnasium.registry.get(env_id), "entry_point", ""))
        if entry_point.startswith("gymnasium.envs.box2d"):
            require("Box2D", f"{env_id} needs Box2D")
        if entry_point.startswith("ale_py"):
            raise UsageError(f"{env_id} has no sound, and its frame skip loses frames: use {ale_id(env_id)}")
    try:
        env = maker(env_id, **kwargs)
    except UnregisteredEnv as error:
        raise UsageError(_unknown(env_id)) from error
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(f"{env_id} needs a package that is not installed: {error}") from error
    except (gymnasium.error.Error, TypeError, ValueError, KeyError) as error:
        told = ", ".join(f"{name}={value!r}" for name, value in kwargs.items()) or "no arguments"
        raise UsageError(f"{env_id} could not be made with {told}: {error}") from error
    return env if env_id.startswith((ALE, *DOOM, OURS, retro.PREFIX)) else hold_to_form(env)


def is_named(env_id: str) -> bool:
    """Whether an environment is named by its module, which is imported: ``module:Name``."""
    return ":" in env_id and not env_id.startswith(retro.PREFIX)


def may_crash(env_id: str) -> bool:
    """Whether an environment may end its process, and gets one of its own: a user's code, ViZDoom, retro."""
    return is_named(env_id) or env_id.startswith((*DOOM, retro.PREFIX))


def _shipped(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make an ALE game or a ViZDoom scenario without our fixes; a game gets its sound, off by default."""
    if env_id.startswith(ALE):
        ale_ids()  # registers the games
        kwargs = {"sound_obs": True, **kwargs}
    else:
        importlib.import_module("vizdoom.gymnasium_wrapper")  # registers the scenarios
    return gymnasium.make(env_id, **kwargs)


def _from_module(env_id: str) -> Callable[..., gymnasium.Env[Any, Any]]:
    """Import ``module`` of ``module:Name``; ``Name`` is an id that it registers or a class in it."""
    module_name, name = env_id.split(":", 1)
    module = imported(module_name, f"--env {env_id}")
    if name in gymnasium.registry:
        return lambda _, **kwargs: gymnasium.make(name, **kwargs)
    made_by = getattr(module, name, None)
    if isinstance(made_by, type) and issubclass(made_by, gymnasium.Env):
        return lambda _, **kwargs: made_by(**kwargs)
    if made_by is not None:
        raise UsageError(f"{env_id}: {name} is not a gymnasium.Env class but {type(made_by).__name__}")
    offers = [key for key, value in vars(module).items() if _is_env_of(value, module_name)]
    raise UsageError(
        f"{module_name} neither registers the id {name} nor has a class of that name; "
        f"it has {', '.join(offers) or 'no gymnasium.Env'}"
    )


def _is_env_of(value: Any, module_name: str) -> bool:
    return isinstance(value, type) and issubclass(value, gymnasium.Env) and value.__module__ == module_name


def _unknown(env_id: str) -> str:
    known = [*gymnasium.registry, *ale_ids()]
    names = {known_id.lower(): known_id for known_id in known}
    nearest = [names[name] for name in difflib.get_close_matches(env_id.lower(), names, n=1, cutoff=0.5)]
    game = ale_id(env_id)
    nearest = [game] if game not in (None, env_id) else nearest
    near = f" (did you mean {nearest[0]}?)" if nearest else ""
    missing = f" ALE games need ale-py: {install_advice('ale-py')}." if not ale_ids() else ""
    return (
        f"there is no environment {env_id}{near}; 'spl envs' lists what is registered, "
        f"and --env module:Id or module:Class names your own.{missing}"
    )


def ale_ids() -> list[str]:
    """Return the ids of the ALE games, none where ale-py cannot be imported."""
    try:
        register_games()
    except ImportError:
        return []
    return sorted(known_id for known_id in gymnasium.registry if known_id.startswith(ALE))


def ale_games() -> list[str]:
    """Return the names of the ALE games, as in ``ALE/<name>-v5``."""
    return [known_id.removeprefix(ALE).removesuffix("-v5") for known_id in ale_ids()]


def our_ids() -> list[str]:
    """Return the ids of our own worlds."""
    return sorted(
        known_id
        for known_id in gymnasium.registry
        if known_id.startswith(OURS) and not known_id.startswith(DOOM)
    )


def doom_ids() -> list[str]:
    """Return the ids of our scenarios of ViZDoom."""
    return sorted(
        known_id
        for known_id in gymnasium.registry
        if known_id.startswith("spl/Doom") and known_id != "spl/Doom-v0"
    )
