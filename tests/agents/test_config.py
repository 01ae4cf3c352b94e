"""What describes a run: seeds with owners, devices, RAM and cores."""

import os
import re
from dataclasses import replace

import pytest
import torch

from spl.agents.config import LoopConfig, MemoryConfig, TrainAgentConfig, build_agent
from spl.agents.dqn_config import DqnConfig
from spl.agents.estimates import check_ram, ram_bytes
from spl.config.errors import UsageError
from spl.records import StreamSpec

SPEC = StreamSpec((1, 36, 36), (1, 64, 8))


def test_weights_follow_from_the_seed_whatever_was_drawn_before(smoke):
    torch.manual_seed(1)
    first = build_agent(smoke(), SPEC, (4,), torch.device("cpu"))
    torch.rand(7)
    state = torch.get_rng_state()
    second = build_agent(smoke(), SPEC, (4,), torch.device("cpu"))
    other = build_agent(smoke("--seed", "1"), SPEC, (4,), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    for one, two in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.network.encoder.fuse.weight, other.network.encoder.fuse.weight)
    assert torch.equal(first.target.encoder.fuse.weight, first.network.encoder.fuse.weight)


def test_the_network_of_the_benchmark_can_be_asked_for(smoke):
    sizes = {"video_features": "512", "audio_features": "128", "features": "512", "attention": "none"}
    chosen = {"video_stream": "nature", "audio_stream": "mlp", **sizes}
    argv = [word for name, value in chosen.items() for word in (f"--encoder.{name}", value)]
    spec = StreamSpec((1, 84, 84), (1, 1, 512), "int8")
    agent = build_agent(
        smoke(*argv, "--agent.dueling", "false", "--agent.thirds", "none"), spec, (4,), torch.device("cpu")
    )
    video = (8 * 8 * 4 + 1) * 32 + (4 * 4 * 32 + 1) * 64 + (3 * 3 * 64 + 1) * 64 + (7 * 7 * 64 + 1) * 512
    audio = (4 * 512 + 1) * 256 + (256 + 1) * 128
    joint = (512 + 128 + 2 + 1) * 512 + (512 + 1) * 4
    assert sum(parameter.numel() for parameter in agent.network.parameters()) == video + audio + joint
    assert video + audio + joint == 2_572_836


def test_ram_is_checked_before_the_start():
    config = TrainAgentConfig(memory=MemoryConfig(capacity=10**12), save_memory=False)
    with pytest.raises(UsageError, match=r"needs 2,320,000,000,000,000 bytes .* --memory.on_disk true"):
        check_ram(config, SPEC)  # 36 * 36 + 2 * 64 * 8 = 2,320 bytes
    with pytest.raises(UsageError, match=r"needs 2,412,800,000,000,000 bytes"):  # 4 % of slack
        check_ram(replace(config, save_memory=True), SPEC)
    with pytest.raises(UsageError, match=r"observations of 1,808 bytes"):  # 36 * 36 + 512
        check_ram(config, SPEC._replace(audio=(1, 1, 512), audio_dtype="int8"))
    check_ram(TrainAgentConfig(memory=MemoryConfig(capacity=10**12, on_disk=True)), SPEC)
    copied = replace(config, device="cpu", memory=replace(config.memory, on_device=True))
    with pytest.raises(UsageError, match=r"needs 4,640,000,000,000,000 bytes"):  # twice as many
        check_ram(copied, SPEC)
    with pytest.raises(UsageError) as caught:
        check_ram(config, SPEC)
    fits = int(re.search(r"--memory.capacity (\d+) or less", str(caught.value)).group(1))
    check_ram(TrainAgentConfig(memory=MemoryConfig(capacity=fits)), SPEC)
    assert 2**28 < ram_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MemoryConfig(history=0), "history must be at least 1, got 0"),
        (lambda: MemoryConfig(capacity=10, min_size=11), r"min_size must be in 1..capacity \(10\), got 11"),
        (lambda: LoopConfig(batch_size=64), r"batch_size must be at most mini_buffer \(32\), got 64"),
        (lambda: LoopConfig(replays=0), "replays must be at least 1, got 0"),
        (
            lambda: TrainAgentConfig(
                agent=DqnConfig(n_step=30), memory=MemoryConfig(capacity=34, min_size=9)
            ),
            "memory.capacity must be at least 35 with memory.history=4, n_step=30, num_envs=1, got 34",
        ),
        (lambda: TrainAgentConfig(num_steps=0), "num_steps must be at least 1, got 0"),
        (lambda: TrainAgentConfig(seed=-1), "seed must be in 0..4294967295, got -1"),
        (lambda: TrainAgentConfig(num_threads=0), "num_threads must be in 1..1024, got 0"),
    ],
)
def test_ranges(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
