"""bfloat16 beside float32: close losses, masters that stay float32 and move, copies that follow."""

import copy

import numpy as np
import pytest
import torch

from spl.agents.config import build_agent
from spl.agents.dqn import MultimodalDqn
from spl.agents.history import Stack
from spl.records import Batch, StreamSpec
from spl.training.step import descend

SPEC = StreamSpec((1, 36, 36), (1, 64, 8))
LARGER = StreamSpec(
    (1, 44, 44), (1, 64, 8)
)  # of SPEC one position is left, of which attention learns nothing
CPU = torch.device("cpu")


def batch_of(size: int = 16, num_actions: int = 4, spec: StreamSpec = SPEC) -> Batch:
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(256, (size, 5, *spec.video), dtype=torch.uint8, generator=generator)
    audio = torch.rand(size, 5, *spec.audio, generator=generator).half()
    present = torch.ones(size, 2, dtype=torch.bool)
    action = torch.randint(num_actions, (size,), generator=generator)
    reward = torch.randn(size, generator=generator)
    discount = torch.full((size,), 0.9)
    now, following = (video[:, :-1], audio[:, :-1], present), (video[:, 1:], audio[:, 1:], present)
    return Batch(*now, action, reward, discount, *following, *[torch.zeros(size, 0)] * 2)


def agent_of(smoke, precision: str, *options: str, spec: StreamSpec = SPEC) -> MultimodalDqn:
    config = smoke("--agent.precision", precision, *options)
    return build_agent(config, spec, (4,), CPU)


def train(agent: MultimodalDqn, num_updates: int, spec: StreamSpec = SPEC) -> list[float]:
    parameters, batch = list(agent.network.parameters()), batch_of(spec=spec)
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    told = []
    for _ in range(num_updates):
        losses = agent.losses(batch)
        told.append(
            descend(losses, torch.ones_like(losses), optimizer, parameters, max_grad_norm=10.0).item()
        )
        agent.sync()
    return told


def stack_of(size: int) -> Stack:
    batch = batch_of(size)
    return Stack(batch.video, batch.audio, batch.present, batch.state)


MDQN = ("--agent.fusion", "mdqn", "--agent.dueling", "false")


@pytest.mark.parametrize("options", [(), MDQN, ("--agent.double", "false"), ("--agent.thirds", "none")])
def test_losses_and_gradients_are_close_to_those_of_float32(smoke, options):
    full, low = (agent_of(smoke, precision, *options) for precision in ("float32", "bfloat16"))
    expected, found = (
        agent.losses(batch_of(64)) for agent in (full, low)
    )  # of fewer, rounding averages less
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected), "something must have been rounded"
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)
    expected.mean().backward()
    found.mean().backward()
    for (name, one), two in zip(full.network.named_parameters(), low.network.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None), name
        if one.grad is None:  # of the fusion, which separate streams do not use
            continue
        assert two.grad.dtype == torch.float32
        error = (one.grad - two.grad).norm() / one.grad.norm().clamp(min=1e-6)
        # On noise, where all pictures are alike, a gate's terms nearly cancel, as those of one number do.
        nearly_cancels = "attention.channel" in name or one.numel() == 1
        assert error < (0.5 if nearly_cancels else 0.15), name


DENSE = ("--encoder.video_stream", "dense", "--encoder.audio_stream", "dense", "--encoder.attention", "none")


def test_the_means_that_dense_streams_take_off_reach_the_copies(smoke):
    agent = agent_of(smoke, "bfloat16", *DENSE)
    begin = {name: tensor.clone() for name, tensor in agent.network.encoder.state_dict().items()}
    begin["video.mean"] += 0.25
    begin["audio.mean"] += 0.5
    agent.begin_from(begin)
    assert agent.losses(batch_of()).isfinite().all()
    for low in agent._low:
        assert low.copied.encoder.video.mean.unique().tolist() == [0.25]
        assert low.copied.encoder.audio.mean.unique().tolist() == [0.5]


def test_masters_stay_float32_and_learn(smoke):
    agent = agent_of(smoke, "bfloat16", "--agent.thirds", "none", spec=LARGER)  # whose targets move slowly
    before = copy.deepcopy(agent.network.state_dict())
    told = train(agent, 60, LARGER)
    assert told[-1] < told[0] / 2
    for name, weight in agent.network.state_dict().items():
        assert weight.dtype == torch.float32
        assert not torch.equal(weight, before[name]), name
    # steps below what bfloat16 resolves are not lost
    moved = agent.network.encoder.fuse.weight
    assert not torch.equal(moved, moved.to(torch.bfloat16).float())


def test_acting_and_rating_follow_the_masters(smoke):
    agent = agent_of(smoke, "bfloat16", "--agent.target_every_updates", "2")
    other = (agent.act(stack_of(1), 0.0)[0] + 1) % 4
    with torch.no_grad():  # the head now prefers another action, whatever is seen
        for head in agent.network.heads:
            head.advantage.bias[other] += 9.0
    agent.sync()
    assert agent.act(stack_of(3), 0.0) == [other] * 3
    rated_by_old = agent.losses(batch_of())
    agent.sync()  # the second moves the target network
    assert not torch.equal(agent.losses(batch_of()), rated_by_old)
    for mine, copied in zip(agent.target.parameters(), agent._low[1].copied.parameters(), strict=True):
        torch.testing.assert_close(mine, copied.float(), rtol=0.01, atol=1e-3)


def test_a_checkpoint_is_that_of_float32_and_goes_on_alike(smoke):
    one, two = agent_of(smoke, "bfloat16"), agent_of(smoke, "bfloat16", "--seed", "1")
    full = agent_of(smoke, "float32")
    train(one, 7)
    state = one.state_dict()
    assert state["network"].keys() == full.state_dict()["network"].keys()
    assert all(weight.dtype == torch.float32 for weight in state["target"].values())
    two.act(stack_of(1), 0.0)
    two.load_state_dict(copy.deepcopy(state))
    assert torch.equal(one.losses(batch_of()), two.losses(batch_of()))
    assert one.act(stack_of(8), 0.0) == two.act(stack_of(8), 0.0)
    full.load_state_dict(state)
    torch.testing.assert_close(full.losses(batch_of()), two.losses(batch_of()), rtol=0.1, atol=0.05)


def test_what_acts_in_bfloat16_chooses_as_float32_where_it_is_clear(smoke):
    low = agent_of(smoke, "bfloat16")
    train(low, 30)
    full = agent_of(smoke, "float32")
    full.load_state_dict(low.state_dict())
    stack = stack_of(16)
    with torch.inference_mode():
        values = full.network(*stack)
    best = values.topk(2, dim=1).values
    is_clear = (best[:, 0] - best[:, 1] > 0.05).numpy()
    assert is_clear.any()
    chosen = np.array(low.act(stack, 0.0))
    assert (chosen == values.argmax(dim=1).numpy())[is_clear].all()
