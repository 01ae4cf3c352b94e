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

for _name, _file in {  # scenarios of ViZDoom that are heard; spl/Doom-v0 takes any, as env.kwargs.config
    "": None,
    "Basic": "basic.cfg",
    "BasicAudio": "basic_audio.cfg",
    "DeadlyCorridor": "deadly_corridor.cfg",
    "DefendCenter": "defend_the_center.cfg",
    "DefendLine": "defend_the_line.cfg",
    "HealthGathering": "health_gathering.cfg",
    "HealthGatheringSupreme": "health_gathering_supreme.cfg",
    "PredictPosition": "predict_position.cfg",
    "TakeCover": "take_cover.cfg",
}.items():
    if (_id := f"spl/Doom{_name}-v0") not in registry:
        register(_id, entry_point="spl.envs.doom:scenario", kwargs={"config": _file})
