"""Environments: the adapter from any Gymnasium environment to video and audio, and worlds of our own.

Importing registers our ids by string and builds nothing.
"""

from gymnasium.envs.registration import register, registry

for _id, _entry_point in {
    "spl/Beacon-v0": "spl.envs.worlds.beacon:BeaconEnv",
    "spl/Greeting-v0": "spl.envs.worlds.greeting:GreetingEnv",
    "spl/Hyperhot-v0": "spl.envs.worlds.hyperhot:HyperhotEnv",
    "spl/Pendulum-v0": "spl.envs.worlds.pendulum:PendulumEnv",
}.items():
    if _id not in registry:
        register(_id, entry_point=_entry_point)
