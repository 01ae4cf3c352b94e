"""The preset of the papers' whole system: each part is there, and it runs on a world and on a game."""

import pytest

from spl.agents.config import TrainAgentConfig
from spl.agents.load import load_agent
from spl.agents.train import train_agent
from spl.attention.csm import CSM
from spl.config.parse import parse
from spl.models.hidden_units import stream_layers
from spl.runs import checkpoint
from spl.runs.files import read_rows
from tests.agents.test_train import quiet

SMALL = {
    "env.num_mels": "8",
    "env.audio_frames": "4",
    "encoder.video_widths": "8,6",
    "encoder.audio_widths": "8,6",
    "encoder.video_features": "5",
    "encoder.audio_features": "5",
    "encoder.features": "5",
    "pretrain_steps": "30",
    "pretrain.recipe.epochs": "1",
    "agent.epsilon_warmup_steps": "0",
    "memory.min_size": "20",
    "memory.capacity": "200",
    "loop.collect_steps": "20",
    "loop.replays": "2",
    "loop.mini_buffer": "16",
    "loop.batch_size": "8",
    "num_steps": "60",
    "report_every_steps": "10",
    "curriculum.warmup": "0",
    "num_threads": "1",
    "device": "cpu",
}
WORLDS = {
    "Greeting": (),
    "Pong": ("--env.id", "ALE/Pong-v5", "--env.kwargs.max_num_frames_per_episode", "200"),
}


@pytest.mark.parametrize("world", WORLDS)
def test_every_part_of_it_runs(world, tmp_path):
    if world == "Pong":
        pytest.importorskip("ale_py")
    words = [word for name, value in SMALL.items() for word in (f"--{name}", value)]
    fixed = ["--config", "papers", "--runs", str(tmp_path), *words, *WORLDS[world]]
    result = train_agent(parse(TrainAgentConfig, fixed, prog="spl"), command=["spl"], console=quiet())
    assert result.is_finished
    encoder = load_agent(result.folder)[0].network.encoder
    assert isinstance(encoder.video.attention, CSM)
    layers = stream_layers(encoder)
    assert [layer.out_features for layer in layers.values()] == [8, 6, 5, 8, 6, 5], "identical streams"
    before = read_rows(result.folder / "pretraining")[-1]
    assert {"train/video_from_audio", "train/audio_from_video", "train/activation"} <= before.keys()
    assert "sparsity_of: all" in (result.folder / "pretraining" / "config.yaml").read_text()
    learned = [row for row in read_rows(result.folder) if "curriculum/share" in row]
    assert learned[0]["curriculum/share"] < 1.0, "paced"
    # phases after 20, 40 and 60 steps, in each two mini-buffers of two batches
    assert checkpoint.load(result.folder / "checkpoints")["agent"]["num_updates"] == 3 * 2 * 2
