"""Pictures and sounds kept on a device give the same batches as those of the host."""

import numpy as np
import pytest
import torch

from spl.agents.replay.memory import ReplayMemory
from spl.records import Observation, StreamSpec, Transition

SPECS = [StreamSpec((1, 5, 4), (2, 3, 2)), StreamSpec((3, 4, 4), (1, 1, 6), "int8")]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def play(memory: ReplayMemory, num_steps: int, seed: int) -> None:
    """Fill the rings of two environments with episodes of different lengths."""
    generator = np.random.default_rng(seed)

    def observe() -> Observation:
        spec = memory.spec
        video = generator.integers(1, 256, size=spec.video, dtype=np.uint8)
        audio = (generator.random(spec.audio) * 90 + 1).astype(spec.audio_dtype)
        return Observation(video, audio, np.array([True, True]))

    for env, length in ((0, 3), (1, 7)):
        memory.begin(observe(), env)
        for step in range(1, num_steps + 1):
            following, ends = observe(), step % length == 0
            memory.add(Transition(following, 1, 0.5, ends, False, following), env)
            if ends:
                memory.begin(observe(), env)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("spec", SPECS, ids=["log-mel", "bytes"])
def test_a_mirrored_memory_draws_what_one_without_draws(spec, n_step, device, tmp_path):
    plain, mirrored = (ReplayMemory(spec, 40, num_envs=2, n_step=n_step, slack=4) for _ in range(2))
    play(plain, 9, seed=0)
    play(mirrored, 9, seed=0)
    mirrored.mirror_on(torch.device(device))  # with something in it already
    play(plain, 60, seed=1)
    play(mirrored, 60, seed=1)  # around the rings
    one, two = (memory.sample(200, np.random.default_rng(2)) for memory in (plain, mirrored))
    assert two.video.device.type == device
    for field, other in zip(one, two, strict=True):
        assert torch.equal(field, other.cpu())
        assert field.dtype == other.dtype
    assert (one.video[:, 0] == 0).all(dim=(1, 2, 3)).any()  # some histories reach before their episode


def test_a_mirror_is_a_copy_that_follows(tmp_path):
    memory = ReplayMemory(SPECS[0], 40, num_envs=2)
    memory.mirror_on(torch.device("cpu"))
    play(memory, 5, seed=0)
    assert memory._windows.mirror is not None
    before = memory._windows.mirror.video.clone()
    memory.fields.video[:] = 0
    assert torch.equal(memory._windows.mirror.video, before)
    assert before.any()
