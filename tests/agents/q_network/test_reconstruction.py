"""The decoders that learn on from replay: their losses by hand, whom they teach, and that runs resume."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spl.agents.pretrained_config import PretrainedConfig
from spl.agents.q_network.reconstruction import MIN_VARIANCE, Decoders
from spl.agents.train import train_agent
from spl.config.errors import UsageError
from spl.models.streams import in_units
from spl.records import Batch
from tests.agents.test_loop import Bench
from tests.agents.test_train import quiet, state_of


@pytest.fixture
def bench() -> Bench:
    made = Bench(thirds="auto", reconstruction=0.5)
    made.collect(60)
    return made


def drawn(bench: Bench) -> tuple[Batch, Decoders]:
    assert bench.agent.decoders is not None
    return bench.memory.at(bench.curriculum().draw(32, 0).places), bench.agent.decoders


def test_predicting_the_mean_costs_one_at_the_start(bench: Bench) -> None:
    batch, decoders = drawn(bench)
    decoders.begin(batch)
    video, audio = in_units(batch.video), in_units(batch.audio)
    assert decoders.variances.tolist() == pytest.approx(
        [max(MIN_VARIANCE, one.var(dim=0, correction=0).mean().item()) for one in (video, audio)], rel=1e-4
    )
    (losses,) = decoders.losses([torch.zeros(32, 12)], batch)
    assert losses.shape == (32,)
    assert losses.mean().item() == pytest.approx(1.0, abs=0.1)


def test_a_modality_that_lacks_counts_for_nothing(bench: Bench) -> None:
    batch, decoders = drawn(bench)
    decoders.begin(batch)
    code = torch.rand(32, 12)
    present = torch.tensor([[True, False], [False, True]]).repeat(16, 1)
    apart = decoders.losses([code], batch._replace(present=present))[0].detach()
    errors = [
        (decoder(code) - in_units(values)).square().flatten(1).mean(dim=1).detach() / variance
        for decoder, values, variance in zip(
            (decoders.video, decoders.audio), (batch.video, batch.audio), decoders.variances, strict=True
        )
    ]
    assert apart[0::2].tolist() == pytest.approx(errors[0][0::2].tolist(), rel=1e-4)
    assert apart[1::2].tolist() == pytest.approx(errors[1][1::2].tolist(), rel=1e-4)
    both = decoders.losses([code], batch._replace(present=torch.ones_like(present)))[0].detach()
    assert both.tolist() == pytest.approx(((errors[0] + errors[1]) / 2).tolist(), rel=1e-4)


def test_they_teach_the_encoder_by_their_gradient_alone(bench: Bench) -> None:
    batch, decoders = drawn(bench)
    agent, soon = bench.agent, bench.memory.one_ahead(bench.curriculum().draw(32, 0).places)
    audio: Tensor = agent.network.encoder.audio.project.weight
    with_them = agent.losses(batch, soon)
    agent.decoders = None
    without = agent.losses(batch, soon)
    codes = agent.network.views(batch.video, batch.audio, batch.present).codes
    parts = torch.cat(decoders.losses(codes, batch))
    torch.testing.assert_close(with_them, without)
    torch.testing.assert_close(with_them[:32].detach(), agent.score(batch), msg="priorities are of one kind")
    taught, plain, added = (
        torch.autograd.grad(each.sum(), audio, retain_graph=True)[0] for each in (with_them, without, parts)
    )
    torch.testing.assert_close(taught, plain + 0.5 * added)
    found = [
        torch.autograd.grad(each, audio, retain_graph=True)[0] for each in parts.reshape(3, 32).sum(dim=1)
    ]
    assert found[0].any()
    assert not found[1].any()  # video alone: the audio stream is gated away
    assert found[2].any()


def test_a_run_with_decoders_resumes_to_the_bit(smoke) -> None:
    config = smoke("--agent.reconstruction", "0.2", "--agent.thirds", "asymmetric", "--num_steps", "110")
    whole = state_of(train_agent(config, console=quiet()).folder)
    folder = train_agent(replace(config, num_steps=97), console=quiet()).folder
    assert state_of(train_agent(config, resume=folder, console=quiet()).folder) == whole
    plain = smoke("--agent.thirds", "asymmetric", "--num_steps", "110")
    assert state_of(train_agent(plain, console=quiet()).folder) != whole


def test_it_must_teach_something(smoke) -> None:
    with pytest.raises(UsageError, match=r"none \(agent.thirds=none\): set --agent.reconstruction 0"):
        train_agent(smoke("--agent.reconstruction", "1", "--agent.thirds", "none"), console=quiet())
    frozen = PretrainedConfig(run="somewhere", mode="frozen")
    with pytest.raises(ValueError, match=r"agent\.reconstruction 1\.0 would teach a frozen encoder nothing"):
        replace(smoke("--agent.reconstruction", "1"), pretrained=frozen)
