"""Recordings of noise, for tests of the formats that they are written in."""

import numpy as np

from spl.agents.replay.memory import ReplayMemory
from spl.data.exchange.formats import recorded_as
from spl.data.recording_files import trim
from spl.envs.actions import as_action
from spl.records import Observation, StreamSpec, Transition

SPECS = {
    "log-mel": StreamSpec((1, 9, 8), (1, 4, 2)),
    "colour, waveform": StreamSpec((3, 40, 36), (2, 1, 70), "int8"),  # large enough for Minari's JPEG
    "silent": StreamSpec((1, 9, 8), (0, 0, 0)),
    "blind": StreamSpec((0, 0, 0), (1, 4, 2)),
    "state": StreamSpec((1, 9, 8), (1, 4, 2), state=3),
}
ENDS = ("terminated", "fault", "none", "truncated", "")


def noise(folder, spec=SPECS["log-mel"], *, sizes=(5,)):
    """Record noise: an episode of three steps for each of `ENDS`, but that without a step."""
    generator = np.random.default_rng(3)

    def observed() -> Observation:
        audio = generator.integers(-128, 128, spec.audio) if spec.audio_dtype == "int8" else None
        heard = generator.normal(size=spec.audio) if audio is None else audio
        video = generator.integers(0, 256, spec.video, np.uint8)
        flags = generator.random(2) < 0.5
        state = generator.normal(size=spec.state).astype(np.float32)
        return Observation(video, heard.astype(spec.audio_dtype), flags, state)

    memory = ReplayMemory(spec, 60, history=1, folder=folder, num_dimensions=len(sizes))
    sound = {"sample_rate_hz": 22_050, "samples_per_step": 441}
    actions = sizes[0] if len(sizes) == 1 else {"space": "MultiDiscrete", "sizes": list(sizes)}
    memory.meta = {"id": "Noise-v0", "actions": actions, "actor": "random", "seed": 7, "audio": sound}
    for end in ENDS:
        last = observed()
        memory.begin(last)
        for step in range(0 if end == "none" else 3):
            action = as_action(generator.integers(sizes))
            flags = (end == "terminated" and step == 2, end == "truncated" and step == 2)
            last, before = observed(), last
            memory.add(Transition(before, action, float(generator.normal()), *flags, last))
    memory.save(folder)
    del memory
    trim(folder)


def write(folder, kind, out, **options):
    """Record the same noise as ``kind`` at ``out``, and in our own format into ``folder``."""
    with recorded_as(kind, out) as place:
        noise(place, **options)
    noise(folder, **options)
