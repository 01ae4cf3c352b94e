"""An agent that standardises its pictures: by what it collected before it learned, everywhere the same."""

import numpy as np
import pytest
import torch
from rich.console import Console

from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.load import load_agent
from spl.agents.replay.memory import ReplayMemory
from spl.agents.train import train_agent
from spl.models.pictures import PictureNorm
from spl.runs import checkpoint

OPTIONS = (
    "--encoder.standardise_video",
    "true",
    "--memory.min_size",
    "20",
    "--checkpoint_every_steps",
    "1000",
)
NORM = "encoder.video.convs.0.norm."


def quiet() -> Console:
    return Console(quiet=True)


def saved(run):
    return checkpoint.load(run / "checkpoints")["agent"]


def test_the_statistics_are_those_of_the_pictures_before_learning_began(smoke, monkeypatch):
    counts, fix = [], PictureNorm.fix
    monkeypatch.setattr(PictureNorm, "fix", lambda norm: (counts.append(int(norm.count)), fix(norm)))
    run = train_agent(smoke("--num_steps", "60", *OPTIONS), console=quiet()).folder
    assert len(counts) == 1
    assert 20 < counts[0] < 30  # min_size and the steps of a phase
    memory, agent = ReplayMemory.load(run / "memory"), saved(run)
    pictures = memory.fields.video[: counts[0], 0].astype(np.float64) / 255
    found = {key: agent["network"][NORM + key].numpy() for key in ("mean", "variance", "count")}
    np.testing.assert_allclose(found["mean"], pictures.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found["variance"], pictures.var(axis=0).mean(), rtol=1e-5)
    assert np.isinf(found["count"])
    for name in ("target", "averaged"):
        for key, value in found.items():
            np.testing.assert_array_equal(agent[name][NORM + key], value, err_msg=f"{name} {key}")


@pytest.mark.parametrize("stopped_at", [12, 40], ids=["before learning", "later"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resuming_equals_never_having_stopped(smoke, stopped_at, precision):
    options = (*OPTIONS, "--agent.precision", precision)
    whole = train_agent(smoke("--num_steps", "60", *options), console=quiet()).folder
    cut = train_agent(smoke("--num_steps", f"{stopped_at}", *options), console=quiet()).folder
    evaluate_agent(cut, EvaluateAgentConfig(num_episodes=1, num_seeds=1, device="cpu"), console=quiet())
    train_agent(smoke("--num_steps", "60", *options), resume=cut, console=quiet())
    one, two = saved(whole), saved(cut)
    assert one["num_updates"] == two["num_updates"] > 0
    for net in ("network", "target", "averaged"):
        for name, weight in one[net].items():
            assert torch.equal(weight, two[net][name]), (net, name)


def test_a_loaded_agent_reads_pictures_as_it_learned_to(smoke):
    run = train_agent(smoke("--num_steps", "60", *OPTIONS), console=quiet()).folder
    agent = load_agent(run, "cpu")[0]
    kept = saved(run)["averaged"]
    assert torch.equal(agent.network.state_dict()[f"{NORM}mean"], kept[f"{NORM}mean"])
    assert float(agent.network.encoder.video.norm.variance) > 0


def test_a_run_that_learned_with_0_for_black_pictures_keeps_it(smoke):
    run = train_agent(smoke("--num_steps", "40", *OPTIONS), console=quiet()).folder
    state = checkpoint.load(run / "checkpoints")
    for net in ("network", "target", "averaged"):
        assert state["agent"][net].pop(f"{NORM}blank") == 1
    step = state["progress"]["step"]
    checkpoint.save(run / "checkpoints", state, step=step + 1)
    assert float(load_agent(run, "cpu")[0].network.encoder.video.norm.blank) == 0
    train_agent(smoke("--num_steps", "60", *OPTIONS), resume=run, console=quiet())
    assert [float(saved(run)[net][f"{NORM}blank"]) for net in ("network", "target", "averaged")] == [0, 0, 0]


def test_a_pretrained_encoder_keeps_the_statistics_of_its_pretraining(smoke):
    config = smoke("--num_steps", "60", "--pretrain_steps", "200", "--pretrain.recipe.epochs", "1", *OPTIONS)
    run = train_agent(config, console=quiet()).folder
    encoder = checkpoint.load(run / "pretraining" / "checkpoints")["learner"]["encoder"]
    for key in ("mean", "variance", "count"):
        assert torch.equal(saved(run)["network"][NORM + key], encoder[f"video.convs.0.norm.{key}"]), key
