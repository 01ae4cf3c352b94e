"""An agent that begins with an autoencoder's encoder: whose weights, what learns, what is refused."""

import io
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from rich.console import Console

from spl.agents import build as start
from spl.agents import pretraining
from spl.agents.config import ALIASES, TrainAgentConfig, read_run
from spl.agents.encoder_init import adopt_encoder
from spl.agents.env_signature import read_environment
from spl.agents.load import load_agent
from spl.agents.loop import Collector
from spl.agents.pretrained_config import PretrainedConfig, PretrainingConfig
from spl.agents.record import RecordConfig, record
from spl.agents.train import train_agent
from spl.classify.train import train_classifier
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.envs.config import EnvConfig
from spl.models.encoder import CODE, EncoderConfig, build_encoder
from spl.pretrain.config import PretrainConfig, PretrainRecipe
from spl.pretrain.data import PairsConfig
from spl.pretrain.learner import Learner
from spl.pretrain.train import pretrain_autoencoder
from spl.records import StreamSpec
from spl.runs import checkpoint
from spl.runs.directory import read_run as read_any
from tests.agents.test_train import state_of

ENCODER = EncoderConfig(video_features=12, audio_features=24, features=20, code_activation="sigmoid")
TOLD = ("video_features", "audio_features", "features", "code_activation")


def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    """Return a folder with a recording of the smoke test's world and a tiny autoencoder's run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pretrained")
    env = EnvConfig(video_size=(36, 36))
    record(RecordConfig(env=env, num_steps=40, out=str(folder / "recording")), console=quiet())
    config = PretrainConfig(
        data=PairsConfig(paths=(str(folder / "recording"),), history=4),
        encoder=ENCODER,
        recipe=PretrainRecipe(epochs=1, batch_size=48),
        num_threads=1,
        device="cpu",
        runs=str(folder / "runs"),
    )
    pretrain_autoencoder(config, command=["spl"], console=quiet())
    return folder


@pytest.fixture
def run(parent) -> Path:
    """Return the autoencoder's run."""
    return next((parent / "runs" / "autoencoder").iterdir())


@pytest.fixture
def begin(smoke, run):
    """Return a maker of tiny agents' configurations that begin with the encoder of `run`."""

    def make(*argv: str) -> TrainAgentConfig:
        config = smoke("--pretrained.run", str(run), *argv)
        return replace(config, encoder=EncoderConfig())  # the user repeats none of its options

    return make


def encoder_of(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "checkpoints")["learner"]["encoder"]


def part_of(folder: Path, name: str = "encoder", network: str = "network") -> dict[str, torch.Tensor]:
    weights = checkpoint.load(folder / "checkpoints")["agent"][network]
    return {
        key.removeprefix("encoder."): weight for key, weight in weights.items() if key.startswith(f"{name}.")
    }


def are_equal(one, other) -> bool:
    assert one.keys() == other.keys()
    assert one
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("options", [(), ("--agent.precision", "bfloat16")], ids=["float32", "bfloat16"])
def test_both_networks_begin_with_the_weights_of_the_run(begin, run, options):
    folder = train_agent(begin("--num_steps", "30", *options), console=quiet()).folder
    assert are_equal(part_of(folder), encoder_of(run))
    assert are_equal(part_of(folder, network="target"), encoder_of(run))
    assert read_run(folder).encoder == ENCODER
    assert load_agent(folder)[0].network.encoder.code_activation == "sigmoid"


def test_the_copies_that_compute_in_bfloat16_begin_with_them_too(begin, run, monkeypatch):
    agents = []
    new_agent = start.new_agent
    monkeypatch.setattr(start, "new_agent", lambda *args: agents.append(new_agent(*args)) or agents[-1])
    train_agent(begin("--num_steps", "30", "--agent.precision", "bfloat16"), console=quiet())
    weights = encoder_of(run)
    for low in agents[0]._low:
        low_weights = low.copied.encoder.state_dict()
        assert all(torch.equal(low_weights[key], weights[key].to(torch.bfloat16)) for key in weights)


@pytest.mark.parametrize(
    "options",
    [(), ("--agent.precision", "bfloat16"), ("--agent.fusion", "mdqn", "--agent.dueling", "false")],
    ids=["float32", "bfloat16", "mdqn"],
)
def test_a_frozen_encoder_stays_to_the_bit_while_the_heads_learn(begin, run, options):
    config = begin("--pretrained.mode", "frozen", "--num_steps", "60", *options)
    before = train_agent(replace(config, num_steps=30), console=quiet()).folder
    after = train_agent(config, console=quiet()).folder
    assert checkpoint.load(after / "checkpoints")["agent"]["num_updates"] == 11
    unread = CODE if "mdqn" in options else ()
    read = {name: weight for name, weight in encoder_of(run).items() if name not in unread}
    assert are_equal(part_of(after), read)
    assert are_equal(part_of(after, network="target"), read)
    heads, begun = (part_of(one, "heads") | part_of(one, "privileged") for one in (after, before))
    assert not any(torch.equal(heads[key], begun[key]) for key in heads)
    state = checkpoint.load(after / "checkpoints")["optimizer"]
    assert len(state["state"]) == len(heads)


@pytest.mark.parametrize("attention", get_args(get_type_hints(EncoderConfig)["attention"]))
def test_no_encoder_has_buffers_which_would_move_in_a_frozen_one(attention):
    spec = StreamSpec((1, 36, 36), (1, 64, 8))
    assert not list(build_encoder(replace(ENCODER, attention=attention), spec, history=2).buffers())


def test_a_fine_tuned_encoder_learns_and_has_the_agents_rate(begin, run):
    folder = train_agent(begin("--num_steps", "60"), console=quiet()).folder
    assert not are_equal(part_of(folder), encoder_of(run))
    (group,) = checkpoint.load(folder / "checkpoints")["optimizer"]["param_groups"]
    assert group["lr"] == 5e-4


def test_an_encoder_with_a_rate_of_its_own_moves_less(begin, run):
    folder = train_agent(
        begin("--num_steps", "60", "--pretrained.learning_rate", "1e-6"), console=quiet()
    ).folder
    encoder, heads = checkpoint.load(folder / "checkpoints")["optimizer"]["param_groups"]
    assert (encoder["lr"], heads["lr"]) == (1e-6, 5e-4)
    weights, before = part_of(folder), encoder_of(run)
    moved = max(float((weights[key] - before[key]).abs().max()) for key in weights)
    assert 0.0 < moved < 11 * 1e-6 * 1.5  # Adam moves a weight by about its rate at each of 11 updates
    ours = part_of(folder, "heads").keys() | part_of(folder, "privileged").keys()
    assert (len(weights), len(ours)) == (len(encoder["params"]), len(heads["params"]))


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--pretrained.mode", "frozen"),
        ("--pretrained.learning_rate", "1e-4"),
        ("--agent.precision", "bfloat16"),
    ],
    ids=["fine-tune", "frozen", "own rate", "bfloat16"],
)
def test_a_resumed_run_equals_one_that_never_stopped_and_needs_no_pretrained_run(
    begin, run, tmp_path, options
):
    shutil.copytree(run, tmp_path / "copy")
    config = replace(begin(*options), num_steps=90)
    config = replace(config, pretrained=replace(config.pretrained, run=str(tmp_path / "copy")))
    whole = train_agent(config, console=quiet()).folder
    folder = train_agent(replace(config, num_steps=57), console=quiet()).folder
    shutil.rmtree(tmp_path / "copy")
    config = replace(read_run(folder), num_steps=90)
    train_agent(config, resume=folder, console=quiet())
    assert state_of(folder) == state_of(whole)


def test_the_command_line_takes_the_run_by_a_short_name(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "agent", "--encoder", str(run), "--env.video_size", "36,36", "--num_steps", "20"]
    small = ["--memory.capacity", "500", "--device", "cpu", "--num_threads", "1"]
    assert cli.main([*words, *small]) == 0
    (folder,) = (tmp_path / "runs" / "agent").iterdir()
    assert are_equal(part_of(folder), encoder_of(run))
    assert f"encoder    of {run}, learns on" in capsys.readouterr().err
    assert cli.main([*words, *small, "--encoder.features", "256"]) == 2  # which is the default
    told = capsys.readouterr().err
    assert f"the encoder is that of {run}, got --encoder.features 256 (the run has 20): leave it out" in told
    assert len(list((tmp_path / "runs" / "agent").iterdir())) == 1


def test_what_the_user_repeats_must_be_the_runs(smoke, run):
    given = [word for name in TOLD for word in (f"--encoder.{name}", str(getattr(ENCODER, name)))]
    assert adopt_encoder(smoke("--pretrained.run", str(run), *given)).encoder == ENCODER
    with pytest.raises(
        UsageError, match=r"--encoder\.video_features 16 \(the run has 12\), .*features 16 \(the run has 20\)"
    ):
        adopt_encoder(smoke("--pretrained.run", str(run)))  # smoke.yaml says 16
    assert ALIASES["pretrained"] == ALIASES["encoder"] == "pretrained.run"


def refused(config, match, tmp_path):
    """Check that a run is refused in one sentence and leaves no folder."""
    with pytest.raises(UsageError, match=match) as caught:
        train_agent(config, console=quiet())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("runs/agent/*"))


def test_a_folder_that_is_no_run_is_refused(begin, tmp_path):
    config = begin()
    wrong = replace(config, pretrained=PretrainedConfig(run=str(tmp_path / "nothing")))
    refused(wrong, "nothing is not a run directory: it has no config.yaml", tmp_path)


def test_a_run_of_a_classifier_is_refused(begin, tiny, tmp_path):
    folder = train_classifier(tiny("--recipe.epochs", "1"), console=quiet()).folder
    config = replace(begin(), pretrained=PretrainedConfig(run=str(folder)))
    refused(
        config, "is not a run of an autoencoder, but of another kind: give --pretrained a run of", tmp_path
    )


def test_a_run_that_saved_nothing_is_refused(begin, run, tmp_path):
    shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints"))
    config = replace(begin(), pretrained=PretrainedConfig(run=str(tmp_path / "copy")))
    refused(config, "has no checkpoint yet: resume it with spl pretrain autoencoder --resume", tmp_path)


def test_weights_that_are_not_those_of_its_configuration_are_refused(begin, run, tmp_path):
    shutil.copytree(run, tmp_path / "copy", symlinks=True)
    path = tmp_path / "copy" / "config.yaml"
    path.write_text(path.read_text().replace("\n  features: 20\n", "\n  features: 21\n"))
    config = replace(begin(), pretrained=PretrainedConfig(run=str(tmp_path / "copy")))
    refused(config, r"encoder/fuse.weight must have shape \(21, 38\), got \(20, 38\)", tmp_path)


def test_another_history_is_refused(begin, tmp_path):
    match = r"does not fit spl/Beacon-v0: its history is 4, the environment's 2 \(set --memory\.history 4\)$"
    refused(begin("--memory.history", "2"), match, tmp_path)


def test_another_sample_rate_is_refused(begin, tmp_path):
    match = r"its sample_rate_hz is 16000, the environment's 8000 \(pretrain on this environment: --pretrain"
    refused(begin("--env.sample_rate_hz", "8000"), match, tmp_path)


def test_other_streams_are_refused_with_their_fix(begin, tmp_path):
    match = r"its video is \[1, 36, 36\], .* \(set --env\.video_size 36,36 --env\.grey true\)"
    refused(begin("--env.grey", "false", "--env.video_size", "40,40"), match, tmp_path)
    match = r"its audio is \[1, 64, 8\], .* \(set --env\.num_mels 64 --env\.audio_frames 8 --env\.stereo fals"
    refused(begin("--env.audio_frames", "6"), match, tmp_path)


def test_ranges():
    with pytest.raises(ValueError, match="mode=frozen learns nothing: leave learning_rate"):
        PretrainedConfig(run="x", mode="frozen", learning_rate=1e-3)
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        PretrainedConfig(run="x", learning_rate=0.0)
    with pytest.raises(ValueError, match="pretrained options need an encoder"):
        TrainAgentConfig(pretrained=PretrainedConfig(mode="frozen"))
    with pytest.raises(ValueError, match="both give an encoder: choose one"):
        TrainAgentConfig(pretrained=PretrainedConfig(run="x"), pretrain_steps=5)
    with pytest.raises(ValueError, match="pretrain options need pretrain_steps"):
        TrainAgentConfig(pretrain=tiny_pretraining())
    with pytest.raises(ValueError, match="pretrain_steps must be at least 0"):
        TrainAgentConfig(pretrain_steps=-1)


def tiny_pretraining():
    return PretrainingConfig(recipe=PretrainRecipe(epochs=2, batch_size=24))


FIRST = (
    *("--pretrain_steps", "40", "--pretrain.recipe.epochs", "2", "--pretrain.recipe.batch_size", "24"),
    *("--num_steps", "60"),
)


def test_one_command_records_pretrains_and_trains(smoke):
    config = smoke(*FIRST, "--pretrained.mode", "frozen", "--pretrain.objective.alignment", "squared")
    result = train_agent(config, command=["spl", "train", "agent"], console=quiet())
    assert result.is_finished
    first = result.folder / "pretraining"
    assert are_equal(part_of(result.folder), encoder_of(first))
    assert (result.folder / "command.txt").read_text() == "spl train agent\n"
    described = read_any(PretrainConfig, first, Path())
    assert (described.objective.alignment, described.recipe.batch_size) == ("squared", 24)
    header = json.loads((first / "recording" / "recording.json").read_text())
    assert (header["meta"]["steps"], header["meta"]["actor"]) == (40, "random")
    assert header["slots"] == 42  # cut to what was recorded: an episode ended, and there is the newest
    assert not (first / "recording" / "checkpoints").exists()
    assert read_environment(result.folder)["id"] == "spl/Beacon-v0"
    with pytest.raises(UsageError, match=r"of another kind: .*; did you mean .*pretraining\?"):
        adopt_encoder(
            replace(
                config,
                pretrain_steps=0,
                pretrain=TrainAgentConfig().pretrain,
                pretrained=PretrainedConfig(run=str(result.folder)),
            )
        )
    again = replace(smoke(), encoder=config.encoder, pretrained=PretrainedConfig(run=str(first)))
    assert are_equal(
        part_of(train_agent(replace(again, num_steps=20), console=quiet()).folder), encoder_of(first)
    )


@pytest.mark.parametrize("num_envs", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_run_stopped_in_every_stage_equals_one_that_never_was(smoke, monkeypatch, num_envs):
    options = ("--num_envs", str(num_envs), "--env_workers", "false")
    config = smoke(*FIRST, *options, "--checkpoint_every_steps", "8")
    whole = train_agent(config, console=quiet()).folder

    step, update, signals = Collector.step, Learner.update, []
    with monkeypatch.context() as patched:
        patched.setattr(pretraining, "StopSignals", output_stops(signals))

        def stop_in_recording(collector):
            if collector.progress.step >= 14:
                signals[-1].stop()
            return step(collector)

        patched.setattr(Collector, "step", stop_in_recording)
        console = quiet()
        stopped = train_agent(config, console=console)
    assert (stopped.step, stopped.is_finished) == (0, False)
    assert "resume with: spl train agent --resume" in console.file.getvalue()
    recording = stopped.folder / "pretraining" / "recording"
    assert 14 < checkpoint.load(recording / "checkpoints")["progress"]["step"] < 20

    with monkeypatch.context() as patched:

        def stop_in_pretraining(learner, *args):
            if learner.num_updates == 7:
                signal.raise_signal(signal.SIGTERM)
            return update(learner, *args)

        patched.setattr(Learner, "update", stop_in_pretraining)
        stopped = train_agent(config, resume=stopped.folder, console=quiet())
    assert (stopped.step, stopped.is_finished) == (0, False)
    assert checkpoint.load(stopped.folder / "pretraining" / "checkpoints")["learner"]["num_updates"] == 8

    train_agent(replace(config, num_steps=50), resume=stopped.folder, console=quiet())
    for name in ("video", "audio", "action", "reward", "age"):
        files = (run / "pretraining" / "recording" / f"{name}.npy" for run in (whole, stopped.folder))
        assert len({file.read_bytes() for file in files}) == 1, name
    shutil.rmtree(stopped.folder / "pretraining")  # the weights are in the agent's checkpoint
    train_agent(config, resume=stopped.folder, console=quiet())
    assert state_of(stopped.folder) == state_of(whole)


def output_stops(found):
    """Return a class of stop signals that adds each of its objects to ``found``."""

    class Told(pretraining.StopSignals):
        def __init__(self):
            super().__init__()
            found.append(self)

    return Told


def test_a_recording_killed_before_its_first_save_begins_anew(smoke, monkeypatch):
    config = smoke(*FIRST)
    whole = train_agent(config, console=quiet()).folder
    with monkeypatch.context() as patched:
        patched.setattr(pretraining._Recorder, "_save", lambda *args: None)
        patched.setattr(pretraining, "trim", lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_agent(config, console=quiet())
    killed = max((Path(config.runs) / "agent").iterdir(), key=lambda path: path.stat().st_ctime)
    assert killed != whole
    assert not (killed / "pretraining" / "recording" / "recording.json").exists()
    assert state_of(train_agent(config, resume=killed, console=quiet()).folder) == state_of(whole)


def test_an_environment_of_one_modality_cannot_be_pretrained_on(smoke, monkeypatch, tmp_path):
    (tmp_path / "seeing_only.py").write_text(
        "import gymnasium, numpy as np\n"
        "class Pictures(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 255, (40, 40, 3), np.uint8)\n"
        "    action_space = gymnasium.spaces.Discrete(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    refused(
        smoke(*FIRST, "--env", "seeing_only:Pictures"),
        "with video and audio, and seeing_only:Pictures lacks sound",
        tmp_path,
    )
