"""Gymnasium's action spaces as whole numbers, one for each dimension, and back.

No network is here; what one makes of several dimensions is in `spl.agents.q_network.decoupled`.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.records import Action

MAX_DIMENSIONS = 64
MAX_ACTIONS = 2**15  # values of a dimension: each is remembered as int16
NUM_BINS = 3  # of each dimension of a Box: low, middle, high
UNBOUNDED = float(np.finfo(np.float32).max)  # a bound as large is none

Space = spaces.Space[Any]


class ActionForm:
    """An action space as the sizes ``(n_1, ..., n_J)`` of ``J`` dimensions, each a choice of ``0..n_j - 1``.

    | Space | Dimensions |
    |---|---|
    | ``Discrete(n)`` | one of ``n`` |
    | ``MultiDiscrete`` | one for each entry, of as many values |
    | ``MultiBinary`` | one of 2 for each entry |
    | ``Box`` | one for each entry: ``bins`` values evenly spaced from low to high, both included |
    | ``Dict``, ``Tuple`` | those of their parts, one after the other |

    A Box of integers has at most as many bins as values, and where low equals high one.

    Args:
        space: the environment's.
        bins: of each dimension of a Box, at least 2; None: `NUM_BINS`.

    Raises:
        ValueError: if the space has no dimension or more than `MAX_DIMENSIONS`, is or holds one of another
            kind, has an unbounded Box, or ``bins`` are given for a space without a Box.
    """

    def __init__(self, space: Space, bins: int | None = None) -> None:
        self.space = space
        leaves = list(_leaves(space, ""))
        self.num_bins = NUM_BINS if bins is None else bins
        self.has_box = any(isinstance(leaf, spaces.Box) for _, leaf in leaves)
        if bins is not None and not self.has_box:
            raise ValueError(f"env.bins {bins} needs a Box, and the actions are {_line(space)}: leave it out")
        count = sum(math.prod(leaf.shape or ()) for _, leaf in leaves)
        if not 1 <= count <= MAX_DIMENSIONS:
            most = f"{count:,} dimensions, and at most {MAX_DIMENSIONS} are learned"
            raise ValueError(
                f"the action space {_line(space)[:200]} has {most if count else 'no dimension'}: wrap the "
                "environment in gymnasium.wrappers.TransformAction, with a space of what shall be chosen"
            )
        self.names: list[str] = []  # of each dimension
        self._values: list[NDArray[Any]] = []  # of each dimension, what its numbers stand for
        for name, leaf in leaves:
            places = (
                [""] if leaf.shape == () else [str(list(place)) for place in np.ndindex(leaf.shape or ())]
            )
            names = [f"{name}{place}".removeprefix(".") for place in places]
            self.names += names
            self._values += _values_of(leaf, self.num_bins, names)

    @property
    def values(self) -> list[NDArray[Any]]:
        """What the numbers of each dimension stand for, ``(n_j,)`` each."""
        return self._values

    @property
    def sizes(self) -> tuple[int, ...]:
        """``(n_1, ..., n_J)``."""
        return tuple(len(values) for values in self._values)

    def raw(self, action: Action | NDArray[np.int64]) -> Any:
        """Return what the environment is given for ``action``: a member of its space.

        Args:
            action: a number from 0 for each dimension; of one dimension a plain integer.
        """
        if isinstance(self.space, spaces.Discrete):
            return int(self.space.start) + as_action(action)  # type: ignore[operator]
        numbers = np.ravel(action).tolist()
        chosen = (values[number] for values, number in zip(self._values, numbers, strict=True))
        return _built(self.space, chosen)

    def described(self) -> int | dict[str, Any]:
        """Return the actions as ``env.json`` has them: of a Discrete space how many there are."""
        if isinstance(self.space, spaces.Discrete):
            return int(self.space.n)
        return {"space": _line(self.space), "sizes": list(self.sizes)}

    def told(self) -> str:
        """Return the space in words, such as ``Box(-1.0, 1.0, (3,), float32): 3 dimensions of 5 bins``."""
        space = _line(self.space)
        if isinstance(self.space, spaces.Discrete):
            return space
        sizes = self.sizes
        each = str(sizes[0]) if len(set(sizes)) == 1 else ", ".join(map(str, sizes))
        dimensions = "1 dimension" if len(sizes) == 1 else f"{len(sizes)} dimensions"
        return f"{space}: {dimensions} of {each} {'bins' if self.has_box else 'values'}"

    def labels(self, names: list[str] | None = None) -> list[str]:
        """Return what each value of each dimension is called, one dimension after the other.

        Args:
            names: of the dimensions; None: their keys and indices.
        """
        if isinstance(self.space, spaces.Discrete):
            return [f"action {number}" for number in self._values[0].tolist()]
        return [
            f"{name} {_word(value)}".strip()
            for name, values in zip(names or self.names, self._values, strict=True)
            for value in values.tolist()
        ]


def as_action(numbers: Any) -> Action:
    """Return an action of the numbers of its dimensions: one of a single dimension is a plain integer."""
    found: list[int] = np.ravel(numbers).tolist()
    return found[0] if len(found) == 1 else tuple(found)


def numbers_of(action: Action) -> tuple[int, ...]:
    """Return the numbers of an action's dimensions: what `as_action` made it of."""
    return (action,) if isinstance(action, int) else action


def _leaves(space: Space, name: str) -> Iterator[tuple[str, Space]]:
    """Yield the parts of a space that are no Dict or Tuple, with their names."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        named = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for key, part in named:
            yield from _leaves(part, f"{name}.{key}")
    elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary | spaces.Box):
        yield name, space
    else:
        at = f" at {name.removeprefix('.')!r}" if name else ""
        raise ValueError(
            f"the action space has a {type(space).__name__}{at}; only Discrete, MultiDiscrete, MultiBinary, "
            "Box, and Dict and Tuple of them, are learned: wrap the environment so that it takes one of these"
        )


def _values_of(leaf: Space, bins: int, names: list[str]) -> list[NDArray[Any]]:
    """Return the values of each dimension of a space that is no Dict or Tuple; ``names`` are theirs."""
    if isinstance(leaf, spaces.Box):
        ends = zip(leaf.low.ravel().tolist(), leaf.high.ravel().tolist(), names, strict=True)
        return [_bins(low, high, bins, leaf.dtype, name) for low, high, name in ends]
    if isinstance(leaf, spaces.MultiBinary):
        return [np.arange(2)] * len(names)
    sizes = [leaf.n] if isinstance(leaf, spaces.Discrete) else leaf.nvec.ravel()  # type: ignore[attr-defined]
    starts = np.ravel(leaf.start)  # type: ignore[attr-defined]
    if max(sizes) > MAX_ACTIONS:
        raise ValueError(
            f"{_line(leaf)} has {max(sizes):,} actions; at most {MAX_ACTIONS:,} can be remembered: "
            "wrap the environment so that it offers fewer"
        )
    return [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _bins(low: float, high: float, bins: int, dtype: Any, name: str) -> NDArray[Any]:
    """Return evenly spaced values from ``low`` to ``high``, both included, as ``dtype`` holds them."""
    if not (abs(low) < UNBOUNDED and abs(high) < UNBOUNDED):  # NaN compares false
        raise ValueError(
            f"dimension {name or '0'} of the actions must have finite bounds, got {low:g} to {high:g}: wrap "
            "the environment in gymnasium.wrappers.TransformAction(env, lambda a: a, Box(low, high))"
        )
    if low == high:
        return np.array([low], dtype)
    if np.issubdtype(dtype, np.integer):
        span = int(high) - int(low)
        last = min(bins, span + 1) - 1
        return np.array([int(low) + round(k * span / last) for k in range(last + 1)], dtype)
    values = np.linspace(low, high, bins).astype(dtype)
    values[-1] = high
    return values


def _built(space: Space, chosen: Iterator[Any]) -> Any:
    """Return a member of ``space`` whose dimensions are the next ones of ``chosen``."""
    if isinstance(space, spaces.Dict):
        return {key: _built(part, chosen) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_built(part, chosen) for part in space)
    if isinstance(space, spaces.Discrete):
        return int(next(chosen))
    flat = [next(chosen) for _ in range(math.prod(space.shape or ()))]
    return np.array(flat, space.dtype).reshape(space.shape or ())


def _line(space: Space) -> str:
    """Return a space in one line, which numpy breaks where bounds are many."""
    return " ".join(str(space).split())


def _word(value: float | int) -> str:
    return f"{value:+.3g}" if isinstance(value, float) else str(value)
