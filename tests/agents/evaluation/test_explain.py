"""``spl explain agent``: what is written of an episode, and that two pictures are what the agent is given."""

import json

import pytest
import torch
from rich.console import Console

from spl.agents.evaluation.explain import ExplainAgentConfig, explain_agent
from spl.agents.evaluation.explain import _together as together
from spl.agents.load import load_agent
from spl.agents.q_network.network import MultimodalQNetwork
from spl.agents.train import train_agent
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.explain.episode import MOST_SHARES, shares_over_time
from spl.explain.two_streams import AsPictures, as_pictures, last_with_places
from spl.models.encoder import EncoderConfig, build_encoder
from spl.records import StreamSpec
from spl.saliency import METHODS, chosen
from spl.saliency.shapley import Shapley


@pytest.fixture
def folder(smoke):
    config = smoke("--num_steps", "60", "--agent.thirds", "none")  # whose maps matter to its Q-values
    return train_agent(config, console=Console(quiet=True)).folder


def test_an_episode_is_told_step_by_step(folder, capsys):
    words = ["explain", "agent", str(folder), "--num_episodes", "2", "--num_drawn", "3", "--device", "cpu"]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "on the video" in told
    assert "softmax over actions" in told
    out = folder / "explanation"
    result = json.loads((out / "explanation.json").read_text())
    assert (result["confidence"], result["score"], result["method"]) == (
        "softmax over actions",
        "advantage",
        "grad-cam",
    )
    assert len(result["episodes"]) == 2
    for number, one in enumerate(result["episodes"], start=1):
        assert one["steps"] == len(one["actions"]) == len(one["video"]) == 32
        values = torch.tensor(one["q_values"])
        assert values.argmax(dim=1).tolist() == one["actions"]
        sure = values.softmax(dim=1).amax(dim=1)
        torch.testing.assert_close(torch.tensor(one["probabilities"]), sure, atol=1e-4, rtol=0)
        assert one["share_of_video"] + one["share_of_audio"] == pytest.approx(1.0)
        assert (out / f"episode-{number}.png").stat().st_size > 10_000
        assert one["drawn"] == [0, 16, 31]
        assert len(one["sentences"]) == 32
        assert {line.partition(": ")[0] for line in one["sentences"]} <= {"UP", "RIGHT", "DOWN", "LEFT"}
        lines = (out / f"episode-{number}.txt").read_text().splitlines()
        assert lines == [f"{step}\t{line}" for step, line in enumerate(one["sentences"])]
        for step in one["drawn"]:
            assert f"  step {step}  {one['sentences'][step]}\n" in told
    assert cli.main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert "Decisions in words" in page
    assert result["episodes"][0]["sentences"][16] in page


def test_actions_are_called_as_the_environment_calls_them(folder, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "spl.agents.evaluation.explain.draw_episode", lambda moments, *_: drawn.extend(moments)
    )
    result = explain_agent(folder, ExplainAgentConfig(num_drawn=32, device="cpu"))
    env = load_agent(folder, "cpu")[1]()
    names = env.unwrapped.get_action_meanings()
    env.close()
    assert [moment.action for moment in drawn] == [names[one] for one in result["episodes"][0]["actions"]]


def test_maps_are_kept_of_the_drawn_steps_alone_and_are_theirs(folder, monkeypatch):
    found = []
    monkeypatch.setattr(
        "spl.agents.evaluation.explain._together", lambda parts: found.append(together(parts)) or found[-1]
    )
    for num_drawn, batch_size in ((3, 5), (32, 32)):
        explain_agent(folder, ExplainAgentConfig(num_drawn=num_drawn, batch_size=batch_size, device="cpu"))
    few, every = found
    assert len(few.actions) == len(every.video_maps) == len(every.audio_maps) == 32
    torch.testing.assert_close(few.video_maps, every.video_maps[[0, 16, 31]], atol=1e-3, rtol=0)
    torch.testing.assert_close(few.audio_maps, every.audio_maps[[0, 16, 31]], atol=1e-3, rtol=0)


def test_episodes_of_an_earlier_explanation_go_and_no_other_file(folder):
    out = folder / "explanation"
    out.mkdir()
    for name in ("episode-1.mp4", "episode-2.csv", "episode-7.png"):  # not ours: there was no explanation yet
        (out / name).touch()
    for count in (2, 1):
        options = ExplainAgentConfig(num_episodes=count, num_drawn=1)
        explain_agent(folder, options, console=Console(quiet=True))
        if count == 2:
            assert (out / "episode-7.png").is_file()
    assert sorted(path.name for path in out.glob("episode-*")) == [
        "episode-1.mp4",
        "episode-1.png",
        "episode-1.txt",
        "episode-2.csv",
    ]


@pytest.mark.parametrize("method", ["score-cam", "integrated-gradients"])
def test_other_methods_and_scores(folder, method):
    config = ExplainAgentConfig(method=method, score="q-value", num_drawn=1, device="cpu")
    other = explain_agent(folder, ExplainAgentConfig(num_drawn=1, device="cpu"))["episodes"][0]
    (found,) = explain_agent(folder, config)["episodes"]
    assert found["actions"] == other["actions"], "the episodes are the same"
    assert found["video"] != other["video"]
    assert found["average_drop"] != other["average_drop"]


def test_mistakes_are_one_sentence(folder, smoke, tmp_path, capsys):
    for words, said in {
        (): "give the run directory: spl explain agent",
        (str(tmp_path),): "is not a run directory: it has no config.yaml",
        (str(folder), "--method", "attention"): "method must be one of grad-cam",
        (str(folder), "--out", "/proc/explanation"): "the folder /proc/explanation cannot be written",
        (str(folder), "--num_episodes", "0"): "num_episodes must be at least 1, got 0",
        (str(folder), "--seed", "-1"): "seed must be in 0..4294967295, got -1",
        (
            str(folder),
            "--device",
            "abacus",
        ): "spl: device must be cpu, cuda, cuda:N, mps or auto, got 'abacus'",
        (str(folder), "--num_drawn", "101"): "num_drawn must be in 1..100, got 101",
    }.items():
        assert cli.main(["explain", "agent", *words]) == 2, words
        assert said in capsys.readouterr().err
    for path in sorted((folder / "checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() or path.is_symlink() else path.rmdir()
    assert cli.main(["explain", "agent", str(folder)]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err


def test_dense_streams_have_no_maps_of_layers(smoke, tmp_path):
    dense = (
        "--encoder.video_stream",
        "dense",
        "--encoder.audio_stream",
        "dense",
        "--encoder.attention",
        "none",
    )
    folder = train_agent(smoke("--num_steps", "60", *dense), console=Console(quiet=True)).folder
    with pytest.raises(UsageError, match="grad-cam needs convolutions, which no stream of"):
        explain_agent(folder, ExplainAgentConfig(device="cpu"))
    found = explain_agent(folder, ExplainAgentConfig(method="occlusion", num_drawn=1, device="cpu"))
    assert found["episodes"][0]["steps"] == 32


@pytest.mark.parametrize("video", ["small", "dense"])
@pytest.mark.parametrize("audio", ["conv", "mlp"])
def test_two_pictures_give_what_the_agent_gives(video, audio):
    torch.manual_seed(0)
    spec = StreamSpec((3, 36, 40), (2, 16, 8))
    config = EncoderConfig(video_stream=video, audio_stream=audio, attention="none")
    network = MultimodalQNetwork(build_encoder(config, spec, history=2), (4,), dueling=True, fusion="joint")
    generator = torch.Generator().manual_seed(0)
    given = (
        torch.randint(0, 256, (3, 2, 3, 36, 40), dtype=torch.uint8, generator=generator),
        torch.rand(3, 2, 2, 16, 8, generator=generator).half(),
        torch.tensor([[True, True], [True, False], [False, True]]),
    )
    model, pictures = AsPictures(network, 2), as_pictures(*given)
    assert [tuple(x.shape) for x in pictures[:2]] == [(3, 6, 36, 40), (3, 2, 16, 16)]
    with torch.no_grad():
        torch.testing.assert_close(model(*pictures), network(*given))
    assert [layer is None for layer in model.layers] == [video == "dense", audio == "mlp"]
    seen, heard = METHODS["integrated-gradients"](model, None, pictures, chosen(0))
    assert (seen.shape, heard.shape) == ((3, 36, 40), (3, 16, 16))
    if (video, audio) == ("small", "conv"):
        seen, heard = METHODS["grad-cam"](model, model.layers, pictures, chosen(0))
        assert (seen.shape, heard.shape) == ((3, 36, 40), (3, 16, 16))
        assert not heard[1].any()
        assert not seen[2].any()


def test_the_layer_that_is_looked_at_has_places():
    stream = build_encoder(EncoderConfig(), StreamSpec((1, 36, 36), (0, 0, 0)), history=2).video
    # 36 -> 8 -> 3 -> 1 by the three convolutions
    assert last_with_places(stream.convs, (36, 36)) is stream.convs[3]
    assert last_with_places(stream.convs, (84, 84)) is stream.convs[5]
    assert last_with_places(stream.convs, (12, 12)) is stream.convs[0]


def test_an_agent_of_one_modality():
    torch.manual_seed(0)
    spec = StreamSpec((1, 36, 36), (0, 0, 0))
    network = MultimodalQNetwork(
        build_encoder(EncoderConfig(), spec, history=2), (4,), dueling=False, fusion="joint"
    )
    video = torch.randint(0, 256, (2, 2, 1, 36, 36), dtype=torch.uint8)
    pictures = as_pictures(video, torch.zeros(2, 2, 0, 0, 0), torch.tensor([[True, False]] * 2))
    model = AsPictures(network, 2)
    for method in ("grad-cam", "occlusion", "integrated-gradients"):
        seen, heard = METHODS[method](model, model.layers, pictures, chosen(0))
        assert seen.shape == (2, 36, 36)
        assert heard is None


def test_shares_of_a_long_episode_are_told_in_parts():
    video, audio = torch.ones(2 * MOST_SHARES - 1), torch.zeros(2 * MOST_SHARES - 1)
    video[:2], audio[:2] = torch.tensor([3.0, 0.0]), torch.tensor([-1.0, 4.0])
    together, firsts, (sight, hearing) = shares_over_time(Shapley(video, audio, video + audio, 0 * video))
    assert (together, firsts[:2], firsts[-1], len(firsts)) == (2, [0, 2], 2 * MOST_SHARES - 2, MOST_SHARES)
    assert (sight[:2], sight[-1]) == ([3 / 8, 1.0], 1.0), "those that move more count more"
    assert hearing[:2] == [5 / 8, 0.0]


def test_shares_of_a_short_episode_are_told_step_by_step():
    shapley = Shapley(torch.tensor([1.0, -3.0]), torch.tensor([1.0, 1.0]), torch.zeros(2), torch.zeros(2))
    assert shares_over_time(shapley) == (1, [0, 1], [[0.5, 0.75], [0.5, 0.25]])
