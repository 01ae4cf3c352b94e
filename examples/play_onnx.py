"""Play an exported agent with numpy and onnxruntime alone: no torch, and nothing of spl is imported.

python -m examples.play_onnx agent.onnx, for the worlds of spl and examples; the loop serves any environment.
"""

import copy
import json
import sys
from collections.abc import Mapping

import numpy as np
import onnxruntime


class Player:
    """Acts on raw observations of the environment that the agent was trained in."""

    def __init__(self, path, sample_rate_hz=None):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.told = json.loads(self.session.get_modelmeta().custom_metadata_map["spl"])
        if sample_rate_hz not in (None, self.told["sample_rate_hz"]):
            raise ValueError(
                f"the agent hears {self.told['sample_rate_hz']} Hz, got {sample_rate_hz}: resample the sound"
            )
        kinds = {"float": "float32", "double": "float64"}  # others are called as numpy does
        self.zeros = {
            one.name: np.zeros(one.shape, kinds.get(one.type[7:-1], one.type[7:-1]))
            for one in self.session.get_inputs()
        }
        paths = self.told.get("paths") or _split(self.told)
        self.paths = {name: paths[name] for name in ("image", "sound") if name in self.zeros}
        self.state_paths = paths.get("state", [])
        self.reset()

    def reset(self):
        """Begin an episode."""
        self.states = {name: self.zeros[name] for name in self.told["states"]}
        self.frames, self.action = [], None

    def act(self, observation):
        """Return an action; call it for each frame of the environment."""
        self._check(observation)
        frames, skip = [*self.frames, observation], self.told["frame_skip"]
        if self.action is not None and len(frames) < skip:
            self.frames.append(copy.deepcopy(observation))  # an environment may reuse its arrays
            return self._given()
        inputs, present = dict(self.states), [True, True]
        for place, name in enumerate(("image", "sound")):
            if name in self.paths:
                parts = [_part(frame, self.paths[name]) for frame in frames]
                present[place] = parts[-1] is not None
                inputs[name] = self._stacked(name, parts, skip)
        if self.state_paths:  # joint angles and the like: the newest, in the order of training
            parts = [_part(observation, path) for path in self.state_paths]
            inputs["state"] = np.concatenate([np.asarray(part, np.float32) for part in parts])
        names = [one.name for one in self.session.get_outputs()]
        outputs = dict(
            zip(names, self.session.run(names, {**inputs, "present": np.array(present)}), strict=True)
        )
        self.states = {name: outputs[f"next_{name}"] for name in self.states}
        self.frames, self.action, self.q_values = [], outputs["action"], outputs["q_values"]
        return self._given()

    def name(self):
        """Return what the newest action is called; of several dimensions the action itself."""
        start, names = self.told.get("start", 0), self.told["actions"]
        place = -1 if self.action.shape or start is None else int(self.action) - start
        return names[place] if 0 <= place < len(names) else self.action

    def _given(self):
        """Return the newest action, which the environment may write into."""
        is_array = self.action.shape or self.told.get("start", 0) is None
        return self.action.copy() if is_array else int(self.action)

    def _check(self, observation):
        """Refuse an observation that lacks what is likely to be there by another name."""
        missing = [name for name, path in self.paths.items() if _part(observation, path) is None]
        told = {name: repr(_joined(path)) if path else name for name, path in self.paths.items()}
        found = list(observation) if isinstance(observation, Mapping) else []
        if len(missing) == len(self.paths) and not self.state_paths:
            got = f"the keys {found}" if found else type(observation).__name__
            raise ValueError(f"the observation must hold {' or '.join(told.values())}, got {got}")
        strange = [key for key in found if key not in (self.told.get("keys") or found)]
        if missing and strange:
            raise ValueError(
                f"the observation lacks {' and '.join(told[name] for name in missing)} and has "
                f"{strange[0]!r}, which the environment has not: name it as that does, or leave it out"
            )
        for path in self.state_paths:
            if _part(observation, path) is None:
                raise ValueError(f"the observation must hold the state {_joined(path)!r}, got none of it")

    def _stacked(self, name, parts, skip):
        shape, dtype = self.zeros[name].shape[1 if skip > 1 else 0 :], self.zeros[name].dtype
        nothing = np.full(shape, (self.told["rest_level"] if name == "sound" else 0) or 0, dtype)
        parts = [nothing if part is None else np.asarray(part, dtype) for part in parts]
        if self.action is None:  # an episode begins: before its first frame it was silent
            parts = [parts[0] if name == "image" else nothing] * (skip - 1) + parts
        for part in parts:
            if part.shape != shape:
                raise ValueError(f"the {name} must have shape {shape}, got {part.shape}")
        return np.array(parts) if skip > 1 else parts[0]


def _part(observation, path):
    """Return what lies at a path of keys and places, None where it is missing."""
    for step in path:
        if observation is None or (isinstance(observation, Mapping) and step not in observation):
            return None
        if isinstance(observation, tuple | list) and isinstance(step, int) and step >= len(observation):
            return None
        try:
            observation = observation[step]
        except (IndexError, TypeError):
            kind = type(observation).__name__
            raise ValueError(
                f"{_joined(path)!r} must lie in the observation, got no {step!r} in a {kind}"
            ) from None
    return observation


def _joined(path):
    return ".".join(map(str, path))


def _split(told):
    """Return the paths of a file of before they were told: its keys are joined by dots."""
    split = {name: (told[name] or "").split(".") if told[name] else [] for name in ("image", "sound")}
    return {**split, "state": [key.split(".") if key else [] for key in told.get("state", [])]}


if __name__ == "__main__":
    import gymnasium

    import spl.envs  # noqa: F401  only for the world to play in

    player = Player(sys.argv[1])
    around = player.told.get("env_wrappers", []) + ["its render()"] * player.told.get("env_render", False)
    if around:
        sys.exit(
            f"the agent was trained in {player.told['env']} through {', '.join(around)}, which this loop "
            "has not: make the environment as in training, and give what it returns to Player.act"
        )
    env = gymnasium.make(player.told["env"], **player.told["env_kwargs"])
    observation, _ = env.reset(seed=0)
    total, is_over = 0.0, False
    while not is_over:
        observation, reward, terminated, truncated, _ = env.step(player.act(observation))
        total, is_over = total + reward, terminated or truncated
    print(f"return {total:g}; the last action was {player.name()}")
