"""What a run would take of the machine: reported or refused before anything is allocated."""

import io
import re
import resource
import time
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

from spl.agents import estimates
from spl.agents.config import LoopConfig, MemoryConfig, TrainAgentConfig, build_agent
from spl.agents.estimates import check_copy, check_envs, check_network, num_parameters, ram_bytes
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.train import train_agent
from spl.config.errors import UsageError
from spl.models.encoder import EncoderConfig
from spl.records import StreamSpec

SPEC = StreamSpec(video=(1, 84, 84), audio=(1, 64, 8))
HUGE = 10**9


def test_the_parameters_are_counted_without_a_network():
    config = TrainAgentConfig()
    agent = build_agent(config, SPEC, (4,), torch.device("cpu"))
    assert num_parameters(config, SPEC, (4,)) == sum(one.numel() for one in agent.network.parameters())


class NeedsNumbers(nn.Module):
    """An encoder that cannot be made without its numbers."""

    def __init__(self, spec, *, history):
        super().__init__()
        self.features = 2
        self.read = nn.Linear(3, 2)
        self.scale = self.read.weight.abs().max().item()

    def forward(self, video, audio, present):
        return self.read(torch.ones(len(video), 3))


def test_a_class_that_needs_its_numbers_is_counted_with_them():
    config = TrainAgentConfig(encoder=EncoderConfig(custom=f"{__name__}:NeedsNumbers"))
    heads = 3 * (3 * 3 + 3)  # value and advantages of two features; the two of the thirds likewise
    assert num_parameters(config, SPEC, (3,)) == 3 * 2 + 2 + heads


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": EncoderConfig(features=HUGE)}, "a network of .* parameters, learning .* make --encoder"),
        ({"encoder": EncoderConfig(video_stream="dense", video_widths=(HUGE,))}, "make --encoder"),
        ({"loop": LoopConfig(batch_size=HUGE, mini_buffer=HUGE)}, "a batch of 1,000,000,000 transitions"),
        ({"memory": MemoryConfig(capacity=HUGE, history=10**8)}, "this run needs about .* GiB"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_allocated(changes, words):
    begun = time.monotonic()
    with pytest.raises(UsageError, match=words):
        check_network(replace(TrainAgentConfig(), **changes), SPEC, (4,))
    assert time.monotonic() - begun < 5
    check_network(TrainAgentConfig(), SPEC, (4,))


def test_a_copy_that_does_not_fit_on_the_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**8, 10**9))
    config = TrainAgentConfig(memory=MemoryConfig(on_device=True))
    check_copy(config, SPEC, torch.device("cpu"))
    check_copy(replace(config, memory=MemoryConfig()), SPEC, torch.device("cuda", 0))
    with pytest.raises(
        UsageError, match=r"cuda:0 needs .* 100,000,000 .* --memory.capacity (\d+) or less"
    ) as got:
        check_copy(config, SPEC, torch.device("cuda", 0))
    fits = int(re.search(r"capacity (\d+) or less", str(got.value)).group(1))
    check_copy(
        replace(config, memory=MemoryConfig(capacity=fits, on_device=True)), SPEC, torch.device("cuda", 0)
    )


def test_more_environments_than_the_machine_holds_are_refused(smoke):
    begun = time.monotonic()
    number = ram_bytes() // (20 * 2**20)
    with pytest.raises(UsageError) as refused:
        train_agent(smoke("--num_envs", str(number), "--memory.capacity", str(10 * number)))
    told = str(refused.value)
    assert f"{number:,} environments, each in a process of its own, need about" in told
    assert f"and this machine allows {ram_bytes() / 2**30:.1f} GiB" in told
    assert "use --num_envs" in told
    assert time.monotonic() - begun < 10
    fits = int(told.split("--num_envs ")[1].split()[0])
    check_envs(fits, is_apart=True, option="--num_envs")


def test_processes_and_open_files_count_too(monkeypatch):
    monkeypatch.setattr(estimates, "_most_processes", lambda: 120)
    with pytest.raises(
        UsageError, match=r"21 environments, .* are too many, .* allows 120 processes: use --n 20"
    ):
        check_envs(21, is_apart=True, option="--n")
    check_envs(20, is_apart=True, option="--n")
    monkeypatch.undo()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (140, 140))
    with pytest.raises(UsageError, match=r"allows 140 open files: use --n 10 or less"):
        check_envs(11, is_apart=True, option="--n")


def test_many_environments_are_worth_a_word(monkeypatch):
    monkeypatch.setattr(estimates, "allowed_cores", lambda: [0, 1])
    assert check_envs(16, is_apart=True, option="--num_envs") is None
    told = check_envs(17, is_apart=True, option="--num_envs")
    assert told == (
        "17 environments, each in a process of its own, need about 0.5 GiB of memory and share 2 cores: "
        "more than a few for each wait in turn"
    )
    assert check_envs(17, is_apart=False, option="--num_envs") is None


def test_evaluating_in_too_many_environments_is_refused(smoke):
    run = train_agent(smoke("--num_steps", "20"), console=Console(file=io.StringIO())).folder
    number = ram_bytes() // 2**20
    with pytest.raises(UsageError, match=r"environments need about .* use --num_episodes \d+ or less"):
        evaluate_agent(run, EvaluateAgentConfig(num_episodes=number))
