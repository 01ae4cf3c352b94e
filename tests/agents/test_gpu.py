"""Each training on a GPU, in each precision, compiled and not; on the CPU with ``-m slow``."""

import json
import math

import pytest
import torch

from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.record import RecordConfig, record
from spl.agents.train import train_agent
from spl.attention import ATTENTION
from spl.classify.train import train_classifier
from spl.config.parse import parse
from spl.pretrain.config import PretrainConfig
from spl.pretrain.train import pretrain_autoencoder

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [pytest.mark.slow] if DEVICE == "cpu" else []
AGENT = {
    "float32": [],
    "bfloat16": ["--agent.precision", "bfloat16"],
    "memory on the device": ["--memory.on_device", "true"],
    "compiled": ["--agent.compile", "true"],
    "compiled and paced": [
        *("--agent.compile", "true", "--curriculum.name", "self-paced"),
        *("--loop.mini_buffer", "64", "--loop.batch_size", "32"),
    ],
}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("options", AGENT.values(), ids=AGENT.keys())
def test_an_agent_trains_resumes_and_is_evaluated(options, smoke):
    result = train_agent(smoke("--device", DEVICE, *options))
    assert result.is_finished
    losses = [row["train/loss"] for row in rows_of(result.folder) if "train/loss" in row]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    longer = smoke("--device", DEVICE, "--num_steps", "300", *options)
    assert train_agent(longer, resume=result.folder).step == 300
    told = {
        device: evaluate_agent(result.folder, EvaluateAgentConfig(num_seeds=1, num_episodes=2, device=device))
        for device in ("cpu", DEVICE)
    }
    returns = [told[device]["conditions"]["all modalities"]["mean"] for device in told]
    assert returns[0] == pytest.approx(returns[-1], abs=4.0)  # near-equal Q-values may be ranked otherwise


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_losses_are_those_of_the_cpu(precision, smoke):
    from spl.agents.config import build_agent
    from spl.envs.registry import make_env
    from spl.records import Batch

    config = smoke("--agent.precision", precision)
    spec = make_env(config.env).spec_of_streams
    generator = torch.Generator().manual_seed(0)
    history = config.memory.history
    video = torch.randint(256, (8, history, *spec.video), dtype=torch.uint8, generator=generator)
    audio = torch.rand(8, history, *spec.audio, generator=generator)
    modalities = video, audio, torch.ones(8, 2, dtype=torch.bool)
    numbers = (
        torch.zeros(8, dtype=torch.int64),
        torch.randn(8, generator=generator),
        torch.full((8,), 0.99),
    )
    batch = Batch(*modalities, *numbers, *modalities, *[torch.zeros(8, 0)] * 2)
    losses = []
    for device in (torch.device("cpu"), torch.device(DEVICE)):
        agent = build_agent(config, spec, (4,), device)
        losses.append(agent.losses(batch.to(device)).float().cpu().detach())
    tolerance = {"float32": 1e-3, "bfloat16": 5e-2}[precision]
    torch.testing.assert_close(losses[0], losses[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("attention", ["none", *ATTENTION])
def test_a_classifier_trains(attention, tiny):
    result = train_classifier(tiny("--device", DEVICE, "--model.attention", attention))
    assert result.is_finished
    assert 0.0 <= result.scores["top1"] <= 1.0


def test_an_autoencoder_trains(tmp_path):
    words = ["--env", "spl/Beacon-v0", "--num_steps", "200", "--out", str(tmp_path / "recording")]
    record(parse(RecordConfig, words, prog="spl", aliases={"env": "env.id"}))
    words = ["--data.path", str(tmp_path / "recording"), "--device", DEVICE, "--runs", str(tmp_path / "runs")]
    words += ["--recipe.epochs", "1"]
    result = pretrain_autoencoder(parse(PretrainConfig, words, prog="spl"))
    assert result.is_finished
