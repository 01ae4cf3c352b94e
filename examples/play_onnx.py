"""Play an exported agent with numpy and onnxruntime alone: no torch, and nothing of spl is imported.

python -m examples.play_onnx agent.onnx, for the worlds of spl and examples; the loop serves any environment.
"""

import json
import sys

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
        self.reset()

    def reset(self):
        """Begin an episode."""
        self.states = {name: self.zeros[name] for name in self.told["states"]}
        self.frames, self.action = [], None

    def act(self, observation):
        """Return an action; call it for each frame of the environment."""
        self.frames.append(observation)
        skip = self.told["frame_skip"]
        if self.action is not None and len(self.frames) < skip:
            return self.action
        inputs, present = dict(self.states), []
        for name in ("image", "sound"):
            parts = [self._part(frame, self.told[name]) for frame in self.frames]
            present.append(parts[-1] is not None)
            if name in self.zeros:
                inputs[name] = self._stacked(name, parts, skip)
        if "state" in self.told:  # joint angles and the like: the newest, in the order of training
            parts = [self._part(self.frames[-1], key) for key in self.told["state"]]
            inputs["state"] = np.concatenate([np.asarray(part, np.float32) for part in parts])
        names = [one.name for one in self.session.get_outputs()]
        outputs = dict(
            zip(names, self.session.run(names, {**inputs, "present": np.array(present)}), strict=True)
        )
        self.states = {name: outputs[f"next_{name}"] for name in self.states}
        self.frames, self.action, self.q_values = [], outputs["action"], outputs["q_values"]
        return self.action if self.action.ndim else int(self.action)

    def _part(self, observation, key):
        for step in [] if key is None else key.split("."):
            observation = None if observation is None else observation.get(step)
        return observation

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


if __name__ == "__main__":
    import gymnasium

    import spl.envs  # noqa: F401  only for the world to play in

    player = Player(sys.argv[1])
    env = gymnasium.make(player.told["env"], **player.told["env_kwargs"])
    observation, _ = env.reset(seed=0)
    total, is_over = 0.0, False
    while not is_over:
        observation, reward, terminated, truncated, _ = env.step(player.act(observation))
        total, is_over = total + reward, terminated or truncated
    last = player.action if player.action.ndim else player.told["actions"][player.action]
    print(f"return {total:g}; the last action was {last}")
