"""Gymnasium's spaces as JSON and back, so that what an agent saw and did is known without its environment."""

from typing import Any

import numpy as np
from gymnasium import spaces

Space = spaces.Space[Any]


def space_as_json(space: Space) -> dict[str, Any]:
    """Return a space as JSON holds it; one of a kind that is neither seen, heard nor acted in by its name."""
    if isinstance(space, spaces.Dict):
        return {"Dict": {str(key): space_as_json(part) for key, part in space.items()}}
    if isinstance(space, spaces.Tuple):
        return {"Tuple": [space_as_json(part) for part in space]}
    if isinstance(space, spaces.Sequence):
        return {"Sequence": space_as_json(space.feature_space)}
    if isinstance(space, spaces.Box):
        ends = {"low": _bound(space.low), "high": _bound(space.high)}
        return {"Box": {**ends, "shape": list(space.shape), "dtype": str(space.dtype)}}
    if isinstance(space, spaces.Discrete):
        return {"Discrete": {"n": int(space.n), "start": int(space.start)}}
    if isinstance(space, spaces.MultiDiscrete):
        return {"MultiDiscrete": {"nvec": space.nvec.tolist(), "start": space.start.tolist()}}
    if isinstance(space, spaces.MultiBinary):
        return {"MultiBinary": space.n if isinstance(space.n, int) else list(space.n)}
    return {"other": type(space).__name__}


def space_from_json(told: dict[str, Any]) -> Space:
    """Undo `space_as_json`; of another kind a space of texts, which is left out as that was.

    Raises:
        ValueError: if ``told`` is not what `space_as_json` returns.
    """
    if len(told) != 1:
        raise ValueError(f"a space must have one kind, got {sorted(told)}")
    try:
        ((kind, content),) = told.items()
        if kind == "Dict":
            return spaces.Dict([(key, space_from_json(part)) for key, part in content.items()])  # keeps order
        if kind == "Tuple":
            return spaces.Tuple([space_from_json(part) for part in content])
        if kind == "Sequence":
            return spaces.Sequence(space_from_json(content))
        if kind == "Box":
            shape, dtype = tuple(content["shape"]), np.dtype(content["dtype"])
            low, high = (np.broadcast_to(np.array(content[end], dtype), shape) for end in ("low", "high"))
            return spaces.Box(low, high, shape, dtype=dtype.type)
        if kind == "Discrete":
            return spaces.Discrete(content["n"], start=content["start"])
        if kind == "MultiDiscrete":
            return spaces.MultiDiscrete(np.array(content["nvec"]), start=np.array(content["start"]))
        if kind == "MultiBinary":
            return spaces.MultiBinary(content)
        if kind == "other":
            return spaces.Text(1)
    except (AttributeError, KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"a space cannot be read: {error}") from error
    raise ValueError(f"a space of the kind {kind!r} is not known")


def _bound(values: Any) -> Any:
    """Return one number where all are equal."""
    flat = np.ravel(values)
    return flat[0].item() if flat.size and (flat == flat[0]).all() else np.asarray(values).tolist()
