"""The state of an observation: vectors of joint angles, velocities or game variables beside the streams.

Which entries they are, and how they are read. Their normalisation is the agent's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.config import StateKeys
from spl.envs.layouts import MIN_SAMPLES
from spl.envs.space_entries import Leaf
from spl.records import NO_STATE

BARE = "observation"  # what a vector without a key is called


def is_vector(leaf: Leaf) -> bool:
    """Whether an entry is of one axis: a Box, MultiBinary or MultiDiscrete, not empty."""
    is_array = isinstance(leaf.space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete)
    return is_array and len(leaf.space.shape or ()) == 1 and leaf.space.shape != (0,)


def chosen_state(
    leaves: Sequence[Leaf], keys: StateKeys, *, usual: Sequence[Leaf], taken: Mapping[str, Leaf | None]
) -> tuple[Leaf, ...]:
    """Return the vectors that make the state, in order.

    Args:
        leaves: all entries.
        keys: the vectors wanted; None: the ``usual`` ones; ``none``: none.
        usual: vectors that are neither a stream nor look like one.
        taken: the entry of each modality.

    Raises:
        ValueError: if a key does not exist, is no vector, or is a stream.
    """
    if keys is None or keys == "none":
        return tuple(usual) if keys is None else ()
    known = {leaf.key: leaf for leaf in leaves}
    for key in keys:
        if key not in known:
            vectors = ", ".join(str(leaf.key) for leaf in leaves if is_vector(leaf)) or "none"
            raise ValueError(f"env.state_keys={key} is not in the observation; its vectors: {vectors}")
        if not is_vector(known[key]):
            raise ValueError(f"env.state_keys={key} is {known[key].told}, and a state is a Box of one axis")
        for modality, leaf in taken.items():
            if known[key] is leaf:
                raise ValueError(
                    f"env.state_keys={key} is the {modality} already; another one is chosen by "
                    f"--env.{modality}_key"
                )
    return tuple(known[key] for key in keys)


def size_of(leaf: Leaf) -> int:
    """Return how many numbers a vector has."""
    (size,) = leaf.space.shape or ()
    return int(size)


def read_state(leaves: Sequence[Leaf], raw: Any) -> NDArray[np.float32]:
    """Return the vectors of a raw observation joined in order, ``(S,)``.

    Raises:
        ValueError: if one is missing, of another shape, of no numbers, or not finite in float32.
    """
    return np.concatenate([_read(leaf, raw) for leaf in leaves]) if leaves else NO_STATE


def _read(leaf: Leaf, raw: Any) -> NDArray[np.float32]:
    name = f"the state {leaf.key!r}" if leaf.path else "the state"
    try:
        for step in leaf.path:
            raw = raw[step]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{name} is missing in an observation") from error
    vector = np.asarray(raw)
    if vector.shape != leaf.space.shape or vector.dtype.kind not in "buif":
        came = "nothing" if raw is None else f"{vector.dtype} of shape {vector.shape}"
        raise ValueError(f"{name} must be numbers of shape {leaf.space.shape}, got {came}")
    with np.errstate(over="ignore"):
        vector = vector.astype(np.float32)
    if not np.isfinite(vector).all():
        place = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise ValueError(f"{name} must be finite in float32, got {np.asarray(raw)[place]} at place {place}")
    return vector


def describe_state(leaves: Sequence[Leaf]) -> dict[str, Any]:
    """Return the vectors and their sizes, for ``env.json``."""
    sizes = [size_of(leaf) for leaf in leaves]
    return {"keys": [leaf.key for leaf in leaves], "sizes": sizes, "to": [sum(sizes)]}


def told_state(chosen: Mapping[str, Any]) -> str | None:
    """Return what is said of the state that ``env.json`` describes; None where there is none."""
    state = chosen.get("state")
    if state is None:
        return None
    hint = ": if it is a sound, name it audio or give --env.audio_key and --env.sample_rate_hz"
    return " + ".join(
        f"{BARE if key is None else repr(key)} ({size}{hint if size >= MIN_SAMPLES else ''})"
        for key, size in zip(state["keys"], state["sizes"], strict=True)
    )
