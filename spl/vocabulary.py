"""The words of the command line beside the names of options: what these were called before.

Which options there are is said by the dataclasses of the commands; nothing here knows them.
"""

# Option before -> now. Files of options, such as a run's config.yaml, are read as if they said the new one.
RENAMED = {
    "capacity": "memory.capacity",
    "curriculum.sense": "curriculum.modality",
    "data.films": "data.videos",
    "data.recordings": "data.paths",
    "data.videos.root": "data.paths",
    "episodes": "num_episodes",
    "first_seed": "seed",
    "layer": "layers",
    "methods": "method",
    "models": "model",
    "num_images": "num_drawn",
    "num_samples": "num_measured",
    "num_shown": "num_drawn",
    "root": "data.root",
    "seconds": "duration_s",
    "seeds": "num_seeds",
    "senses": "modalities",
    "shown": "modalities",
    "steps": "num_steps",
    "test.films": "test.paths",
    "test.recordings": "test.paths",
}
JOINED = {"data.recordings", "data.videos.root", "test.films", "test.recordings"}  # say nothing if empty
SPELLED = {"bf16": "bfloat16", "fp32": "float32"}  # choices, as others write them
