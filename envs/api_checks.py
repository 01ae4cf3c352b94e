"""Checks of what ``reset`` and ``step`` return against Gymnasium's interface: how many values, which types.

What can be meant in one way only is taken; anything else is refused in one sentence.

Not here: whether observations keep to their space (``adapter``), and what episodes show (``symptoms``).
"""

import inspect
from contextlib import suppress
from numbers import Real
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

SIGNATURE = "def reset(self, *, seed=None, options=None)"
RAISED = (Exception, SystemExit)  # whatever an environment raises; a closed window often calls sys.exit
KINDS = "biuf"  # of numbers: bool, signed, unsigned, floating


class AnswerError(TypeError):
    """An answer that cannot be used.

    Args:
        what: was wrong.
        fix: what to do about it.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.what, self.fix = what, fix

    def __str__(self) -> str:
        return f"{self.what}: {self.fix}"


class Answers(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Stands around the environment as its author wrote it, below all wrappers, and refuses wrong forms.

    Raises:
        AnswerError: from ``reset`` and ``step``.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Return an observation and an info."""
        answer: Any = self.env.reset(seed=seed, options=options)
        if not (isinstance(answer, tuple | list) and len(answer) == 2 and isinstance(answer[1], dict | None)):
            where = place_of(self.env, "reset")
            what = f"reset{where} returned {told(answer)} instead of an observation and an info"
            raise AnswerError(what, "return observation, {}")
        self._check_keys(answer[0])
        return answer[0], {} if answer[1] is None else answer[1]

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Return observation, reward, terminated, truncated and info."""
        answer: Any = self.env.step(action)
        if not (isinstance(answer, tuple | list) and len(answer) == 5 and isinstance(answer[4], dict | None)):
            is_old = isinstance(answer, tuple | list) and len(answer) == 4
            old = ", as environments of the old Gym did," if is_old else ""
            raise AnswerError(
                f"step{place_of(self.env, 'step')} returned {told(answer)}{old} instead of five",
                "return observation, reward, terminated, truncated, info (terminated: the task has ended; "
                "truncated: a time limit was reached)",
            )
        self._check_keys(answer[0])
        return *answer[:4], {} if answer[4] is None else answer[4]

    def _check_keys(self, observation: Any) -> None:
        space: Any = self.env.observation_space
        if not isinstance(space, spaces.Dict):
            if observation is None:
                raise AnswerError("the observation is None", "return what observation_space promises")
            return
        if not isinstance(observation, dict):
            raise AnswerError(
                f"the observation is {told(observation)} instead of a dict",
                "return what observation_space promises",
            )
        if missing := [key for key in space.spaces if key not in observation]:
            has = ", ".join(map(repr, observation)) or "nothing"
            raise AnswerError(
                f"the observation has no {', '.join(map(repr, missing))}, it has {has}",
                "return every key that observation_space promises",
            )


def put_away(env: gymnasium.Env[Any, Any]) -> None:
    """Close an environment that is not needed any more; what it raises meanwhile concerns nobody."""
    with suppress(*RAISED):
        env.close()


def hold_to_form(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return ``env`` with :class:`Answers` below all its wrappers.

    Raises:
        AnswerError: if it or a wrapper of it has a ``reset`` that takes no seed or no options.
    """
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    for layer in layers:
        _check_reset(layer)
    answers = Answers(layers[-1])
    if len(layers) == 1:
        return answers
    layers[-2].env = answers  # type: ignore[attr-defined]
    return env


def _check_reset(env: gymnasium.Env[Any, Any]) -> None:
    parameters = inspect.signature(env.reset).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    taken = {
        name for name, one in parameters.items() if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)
    }
    if missing := [name for name in ("seed", "options") if name not in taken]:
        where = place_of(env, "reset")
        raise AnswerError(
            f"the reset of {type(env).__name__} takes no {' and no '.join(missing)}{where}",
            f"write {SIGNATURE} and call super().reset(seed=seed) first, then draw from self.np_random",
        )


def place_of(env: gymnasium.Env[Any, Any], method: str) -> str:
    """Return `` (file, line)`` of a method of the environment as its author wrote it, empty where unknown."""
    try:
        function = inspect.unwrap(getattr(type(env), method))
        return f" ({inspect.getsourcefile(function)}, line {inspect.getsourcelines(function)[1]})"
    except (OSError, TypeError):  # not written in Python, or not in a file
        return ""


def number_of(reward: Any) -> float:
    """Return a reward as a number; an array that holds a single number is one.

    Raises:
        AnswerError: if it is not one number.
    """
    if isinstance(reward, Real):  # numpy's scalars, too
        with suppress(OverflowError):  # an integer beyond all floats
            return float(reward)
    array = _array_of(reward)
    if array.size == 1 and array.dtype.kind in KINDS:
        return float(array.item())
    fix = "return one number, such as float(reward)" if isinstance(reward, str) else "return one number"
    if reward is None:
        fix = "return 0.0 where nothing is earned"
    elif array.size > 1:
        fix = "return one number, such as the sum of all: an agent learns from a single reward"
    elif array.dtype.kind == "c":
        fix = "return one real number, such as reward.real"
    raise AnswerError(f"the reward must be one number, got {told(reward)}", fix)


def flag_of(name: str, flag: Any) -> bool:
    """Return ``terminated`` or ``truncated`` as a bool; a number 0 or 1, and an array of one, is one.

    Raises:
        AnswerError: if it is not.
    """
    if isinstance(flag, bool):
        return flag
    array = _array_of(flag)
    if array.size == 1 and array.dtype.kind in KINDS and array.item() in (0, 1):
        return bool(array.item())
    raise AnswerError(f"{name} must be True or False, got {told(flag)}", f"return bool({name}) in its place")


def _array_of(value: Any) -> NDArray[Any]:
    """Return the numbers in ``value``; an empty array where it is none and holds none."""
    with suppress(ValueError, RuntimeError):  # lists of unequal lengths; a tensor with a gradient
        if not isinstance(value, str | bytes | dict | None):
            return np.asarray(value)
    return np.zeros(0)


def odd_form(reward: Any, terminated: Any, truncated: Any) -> tuple[str, str] | None:
    """Return what is taken though Gymnasium asks for another form, and the fix; None where nothing is."""
    if not isinstance(reward, Real):
        fix = "return reward.item()" if hasattr(reward, "item") else "return reward[0]"
        return f"the reward is {told(reward)} instead of a number; its one value is taken", fix
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(flag, bool | np.bool_):
            return f"{name} is {told(flag)} instead of a bool; it is taken as {flag_of(name, flag)}", (
                f"return bool({name})"
            )
    return None


def told(value: Any) -> str:
    """Return in a few words what a value is."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    if isinstance(value, tuple | list):
        return f"{len(value)} values"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(repr, list(value)[:4])) or 'nothing'}"
    text = repr(value)
    return (
        f"{type(value).__name__} {text[:40]}"
        if value is not None and not isinstance(value, str)
        else text[:42]
    )
