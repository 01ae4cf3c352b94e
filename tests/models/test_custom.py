"""Encoders and Q-heads of the user's own: they train as ours do, and break their contract in one sentence."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import spl
from spl.agents.load import load_agent
from spl.cli import main as cli
from spl.config import parse
from spl.models.custom import CustomEncoder
from spl.models.encoder import build_encoder

ROOT = Path(__file__).parents[2]
SMALL = {"video_features": 16, "audio_features": 16, "features": 16}
ME = "tests.models.test_custom"


class Same(nn.Module):
    """Our own encoder, as a user's."""

    def __init__(self, spec, *, history):
        super().__init__()
        self.inner = build_encoder(spl.EncoderConfig(**SMALL), spec, history=history)
        self.features = self.inner.features

    def forward(self, video, audio, present):
        return self.inner(video, audio, present)


class Linear(nn.Module):
    """A Q-head without dueling."""

    def __init__(self, features, sizes, *, actions=None):
        super().__init__()
        self.advantage = nn.Linear(features, actions or sum(sizes))

    def forward(self, code):
        return self.advantage(code)


class NoWidth(Same):
    def __init__(self, spec, *, history):
        super().__init__(spec, history=history)
        del self.features


class Narrow(Same):
    def forward(self, video, audio, present):
        return super().forward(video, audio, present)[:, 1:]


class Careless(Same):
    """Reads both modalities, whatever is flagged."""

    def forward(self, video, audio, present):
        return super().forward(video, audio, torch.ones_like(present))


class Failing(Same):
    def forward(self, video, audio, present):
        raise RuntimeError("out of ideas")


class Hollow(Same):
    def forward(self, video, audio, present):
        return super().forward(video, audio, present) / 0.0


def trained(runs: Path, *options: str) -> Path:
    words = ["--num_steps", "80", "--num_threads", "1", "--device", "cpu", "--runs", str(runs)]
    words += ["--memory.min_size", "32", "--env.kwargs.num_rounds", "4", *options]
    config = parse.parse(spl.TrainAgentConfig, words, prog="spl", aliases={"encoder.class": "encoder.custom"})
    return spl.train_agent(config, console=Console(quiet=True)).folder


def test_what_is_absent_cannot_reach_the_code():
    spec = spl.StreamSpec((1, 36, 36), (1, 64, 8))
    encoder = CustomEncoder(f"{ME}:Careless", spec, history=2)
    video = torch.randint(1, 256, (3, 2, *spec.video), dtype=torch.uint8)
    audio = torch.rand(3, 2, *spec.audio).half()
    flags = torch.tensor([[True, True], [True, False], [False, True]])
    code = encoder(video, audio, flags)
    both = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(code[:1], encoder(video[:1], audio[:1], both))
    torch.testing.assert_close(code[1:2], encoder(video[1:2], 0 * audio[1:2], both))
    torch.testing.assert_close(code[2:], encoder(0 * video[2:], audio[2:], both))


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A run with an encoder and a head of one's own."""
    options = ["--encoder.class", f"{ME}:Same", "--agent.head", f"{ME}:Linear"]
    return trained(tmp_path_factory.mktemp("own"), *options)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    agent, *_ = load_agent(run, "cpu")
    return agent.network.state_dict()


def test_ours_as_a_users_learns_what_it_learns(own, tmp_path):
    ours = weights_of(
        trained(
            tmp_path,
            "--agent.dueling", "false",
            *(word for name, value in SMALL.items() for word in (f"--encoder.{name}", str(value))),
        )
    )  # fmt: skip
    its = {name.replace("module.", "").replace("inner.", ""): one for name, one in weights_of(own).items()}
    assert its.keys() == ours.keys()
    for name, one in ours.items():
        torch.testing.assert_close(its[name], one, rtol=1e-3, atol=1e-5)  # three passes, where ours is one


def test_it_goes_on_is_evaluated_and_explained(own, tmp_path, capsys):
    brief = ["--num_episodes", "1", "--num_seeds", "1", "--device", "cpu"]
    assert cli.main(["train", "agent", "--resume", str(own), "--num_steps", "90"]) == 0
    assert cli.main(["evaluate", "agent", str(own), *brief]) == 0
    capsys.readouterr()
    assert cli.main(["explain", "agent", str(own), "--method", "grad_cam", "--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith("spl: ")
    short = ["--num_drawn", "1", "--batch_size", "8", "--device", "cpu"]
    assert cli.main(["explain", "agent", str(own), "--method", "integrated-gradients", *short]) == 0
    assert "% on the video" in capsys.readouterr().out
    bundle = spl.export_agent(own, to="bundle", out=str(tmp_path / "bundle"))
    assert cli.main(["evaluate", "agent", str(bundle), *brief]) == 2
    named = f"names {ME}:Linear, {ME}:Same, and nothing of a network is imported"
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--encoder.class", "nowhere_to_be:Found"],
            "there is no module 'nowhere_to_be' for encoder.custom=",
        ),
        (["--encoder.class", f"{ME}:Missing"], f"{ME} has no Missing; see encoder.custom={ME}:Missing"),
        (["--encoder.class", f"{ME}:SMALL"], f"{ME}:SMALL is not a torch.Module but a dict"),
        (["--encoder.class", "Same"], "custom must be module:Class"),
        (["--encoder.class", f"{ME}:NoWidth"], "must have a whole number as features, got None"),
        (
            ["--encoder.class", f"{ME}:Narrow"],
            "must return floats (B, 16), its features, and returned (2, 15)",
        ),
        (["--encoder.class", f"{ME}:Failing"], "RuntimeError: out of ideas"),
        (["--encoder.class", f"{ME}:Hollow"], "returns numbers that are not finite"),
        (["--encoder.class", f"{ME}:Same", "--encoder.features", "8"], "both streams: leave features out"),
        (["--encoder.class", f"{ME}:Same", "--pretrain_steps", "50"], "pretrain_steps needs the two streams"),
        (["--agent.head", f"{ME}:Same"], f"agent.head={ME}:Same could not be made: TypeError"),
        (["--agent.head", f"{ME}:NoHead"], f"{ME} has no NoHead; see agent.head={ME}:NoHead"),
    ],
)
def test_what_breaks_the_contract_is_told_before_a_run_begins(words, sentence, tmp_path, capsys):
    code = cli.main(["train", "agent", *words, "--runs", str(tmp_path), "--num_threads", "1"])
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_head_that_returns_too_few_values_is_told(tmp_path, capsys):
    options = tmp_path / "options.yaml"
    options.write_text(f"agent:\n  head:\n    {ME}:Linear: {{actions: 3}}\n")
    assert cli.main(["train", "agent", "--config", str(options), "--runs", str(tmp_path / "runs")]) == 2
    assert (
        "must return floats (B, 4), a Q-value of each action, and returned (2, 3)" in capsys.readouterr().err
    )
